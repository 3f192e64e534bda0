//! From a folder of sources to the files that the server reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use config::Diagnostic;
use config::node::{Entry, Node, Position, Scalar, ScalarType, Value};

use super::ignore::Ignored;
use super::{FILES, RUNNING, emit};

/// Texts by file name.
pub(super) type Packed = BTreeMap<String, String>;

/// Packs `src`.
pub(super) fn pack(src: &Path) -> anyhow::Result<Packed> {
    let folder = src.join("config");
    let mut packed = Packed::new();
    for name in FILES {
        let path = folder.join(name);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let shown = path.display().to_string();
        let root =
            config::yaml::parse(&text, &shown).map_err(|errors| anyhow!("{}", lines(&errors)))?;
        let text = if *name == RUNNING {
            let root = running(&root, src)?;
            let text = emit::document(&root);
            let again = config::yaml::parse(text.as_bytes(), name);
            if again.map_err(|errors| anyhow!("{}", lines(&errors)))?.to_json() != root.to_json() {
                bail!("{shown}: writing it anew would change its meaning");
            }
            text
        } else {
            // As it is, with its comments.
            String::from_utf8(text).with_context(|| format!("{shown} is no UTF-8"))?
        };
        packed.insert((*name).to_owned(), text);
    }
    if packed.is_empty() {
        bail!("there is no configuration file in {}", folder.display());
    }
    Ok(packed)
}

/// Writes the files. One that is no longer packed is removed, so that nobody deploys it.
pub(super) fn write(packed: &Packed, dist: &Path) -> anyhow::Result<()> {
    let cannot = |what: &str, path: &Path| format!("cannot {what} {}", path.display());
    std::fs::create_dir_all(dist).with_context(|| cannot("make", dist))?;
    for name in FILES {
        let path = dist.join(name);
        match packed.get(*name) {
            Some(text) => {
                // Under another name first: a file is the old one or the new one.
                let new = dist.join(format!(".{name}.new"));
                std::fs::write(&new, text).with_context(|| cannot("write", &new))?;
                std::fs::rename(&new, &path).with_context(|| cannot("write", &path))?;
            }
            None if path.exists() => {
                std::fs::remove_file(&path).with_context(|| cannot("remove", &path))?;
            }
            None => {}
        }
    }
    Ok(())
}

/// The running configuration with scripts and files put in.
fn running(root: &Node, src: &Path) -> anyhow::Result<Node> {
    let mut root = root.clone();
    let hooks = src.join("hooks");
    for (kind, ids) in hook_ids(&root) {
        let mut list = Vec::new();
        let there: Vec<Arc<Node>> = ["scripting", "hooks", kind.as_str()]
            .iter()
            .try_fold(&root, |node, key| node.member(key).map(|node| &**node))
            .map(|node| node.elements().to_vec())
            .unwrap_or_default();
        let id_of = |node: &Node| node.member("id").and_then(|id| id.text()).map(str::to_owned);
        for id in &ids {
            let path = hooks.join(&kind).join(format!("{id}.hsl"));
            match std::fs::read_to_string(&path) {
                Ok(script) => list.push(object(&[("id", text(id)), ("data", text(&script))])),
                Err(error) => {
                    let known = there.iter().find(|node| id_of(node).as_deref() == Some(id));
                    let missing =
                        || format!("{RUNNING} names a script, and cannot read {}", path.display());
                    list.push(known.cloned().ok_or(error).with_context(missing)?);
                }
            }
        }
        // Scripts that stand in the file already and that no phase names.
        list.extend(
            there.into_iter().filter(|node| id_of(node).is_none_or(|id| !ids.contains(&id))),
        );
        set(&mut root, &["scripting", "hooks", &kind], sequence(list))?;
    }
    for kind in ["predelivery", "postdelivery"] {
        let path = hooks.join("queue").join(format!("{kind}.hsl"));
        match std::fs::read_to_string(&path) {
            Ok(script) => set(&mut root, &["scripting", "hooks", kind], text(&script))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    let files = files(src)?;
    if !files.is_empty() {
        let mut list: Vec<Arc<Node>> = root
            .member("scripting")
            .and_then(|node| node.member("files"))
            .map(|node| node.elements().to_vec())
            .unwrap_or_default();
        list.retain(|node| {
            node.member("id").and_then(|id| id.text()).is_none_or(|id| !files.contains_key(id))
        });
        for (id, content) in &files {
            list.push(match std::str::from_utf8(content) {
                Ok(content) => object(&[("id", text(id)), ("data", text(content))]),
                Err(_) => {
                    let data = mail_message::transfer_encoding::base64_encode(content);
                    let data = text(&String::from_utf8_lossy(&data));
                    object(&[("id", text(id)), ("data", data), ("binary", boolean(true))])
                }
            });
        }
        set(&mut root, &["scripting", "files"], sequence(list))?;
    }
    Ok(root)
}

/// The ids of scripts that phases name, by kind, in the order of the file.
fn hook_ids(root: &Node) -> Vec<(String, Vec<String>)> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    let servers = root.member("servers").map(|node| node.elements()).unwrap_or_default();
    for server in servers {
        let phases = server.member("phases").map(|node| node.entries()).unwrap_or_default();
        for phase in phases {
            let Some(hook) = phase.value.member("hook") else { continue };
            let mut ids: Vec<&str> = hook.text().into_iter().collect();
            ids.extend(hook.member("id").and_then(|id| id.text()));
            let domains = hook.member("recipientdomains").map(|node| node.entries());
            ids.extend(domains.unwrap_or_default().iter().filter_map(|entry| entry.value.text()));
            for id in ids {
                let position = out.iter().position(|(kind, _)| kind == phase.name());
                let index = position.unwrap_or_else(|| {
                    out.push((phase.name().to_owned(), Vec::new()));
                    out.len() - 1
                });
                if let Some((_, known)) = out.get_mut(index)
                    && known.iter().all(|known| known != id)
                {
                    known.push(id.to_owned());
                }
            }
        }
    }
    out
}

/// The files below `src/files` by their id.
fn files(src: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut ignored = Ignored::default();
    ignored.read_settings(src)?;
    ignored.read_folder(src)?;
    let mut out = BTreeMap::new();
    let top = src.join("files");
    if top.is_dir() {
        collect(&top, "", &mut ignored, &mut BTreeSet::new(), &mut out)?;
    }
    Ok(out)
}

fn collect(
    folder: &Path,
    prefix: &str,
    ignored: &mut Ignored,
    above: &mut BTreeSet<std::path::PathBuf>,
    out: &mut BTreeMap<String, Vec<u8>>,
) -> anyhow::Result<()> {
    let cannot = |path: &Path| format!("cannot read {}", path.display());
    let true_path = folder.canonicalize().with_context(|| cannot(folder))?;
    if !above.insert(true_path.clone()) {
        bail!("{} leads back into a folder above it", folder.display());
    }
    ignored.read_folder(folder)?;
    for entry in std::fs::read_dir(folder).with_context(|| cannot(folder))? {
        let path = entry.with_context(|| cannot(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_str();
        let name = name.with_context(|| format!("{}: the name is no UTF-8", path.display()))?;
        if name.starts_with('.') || ignored.contains(&path) {
            continue;
        }
        let id = format!("{prefix}{name}");
        if path.is_dir() {
            collect(&path, &format!("{id}/"), ignored, above, out)?;
        } else {
            out.insert(id, std::fs::read(&path).with_context(|| cannot(&path))?);
        }
    }
    above.remove(&true_path);
    Ok(())
}

/// Sets the value at a path of keys, making mappings on the way.
fn set(node: &mut Node, path: &[&str], value: Arc<Node>) -> anyhow::Result<()> {
    let Some((key, rest)) = path.split_first() else {
        *node = Arc::unwrap_or_clone(value);
        return Ok(());
    };
    if node.is_null() {
        node.value = Value::Mapping(Vec::new());
    }
    let Value::Mapping(entries) = &mut node.value else {
        bail!("{RUNNING}: {key} cannot be set in {}", node.kind_name());
    };
    let index = entries.iter().position(|entry| entry.name() == *key);
    let index = index.unwrap_or_else(|| {
        entries.push(Entry { key: text(key), value: Node::empty_mapping() });
        entries.len() - 1
    });
    match entries.get_mut(index) {
        Some(entry) => set(Arc::make_mut(&mut entry.value), rest, value),
        None => Ok(()),
    }
}

fn node(value: Value) -> Arc<Node> {
    Arc::new(Node { position: Position::default(), tag: None, value })
}

fn text(text: &str) -> Arc<Node> {
    node(Value::Scalar(Scalar { text: Arc::from(text), kind: ScalarType::String }))
}

fn boolean(value: bool) -> Arc<Node> {
    let text = Arc::from(if value { "true" } else { "false" });
    node(Value::Scalar(Scalar { text, kind: ScalarType::Bool(value) }))
}

fn sequence(list: Vec<Arc<Node>>) -> Arc<Node> {
    node(Value::Sequence(list))
}

fn object(members: &[(&str, Arc<Node>)]) -> Arc<Node> {
    let entry =
        |(key, value): &(&str, Arc<Node>)| Entry { key: text(key), value: Arc::clone(value) };
    node(Value::Mapping(members.iter().map(entry).collect()))
}

/// Findings, one a line.
pub(super) fn lines(errors: &[Diagnostic]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
