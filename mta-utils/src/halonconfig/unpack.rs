//! From the files of a server to a folder of sources.

use std::path::{Component, Path};

use anyhow::{Context, anyhow, bail};
use config::node::{Node, Value};

use super::{FILES, RUNNING, emit, pack};

/// Takes `dist` apart into `src`.
pub(super) fn unpack(dist: &Path, src: &Path) -> anyhow::Result<()> {
    let mut count = 0;
    for name in FILES {
        let path = dist.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        count += 1;
        let target = src.join("config").join(name);
        if *name != RUNNING {
            write(&target, text.as_bytes())?;
            continue;
        }
        let shown = path.display().to_string();
        let root = config::yaml::parse(text.as_bytes(), &shown)
            .map_err(|errors| anyhow!("{}", pack::lines(&errors)))?;
        write(&target, emit::document(&running(&root, src)?).as_bytes())?;
    }
    if count == 0 {
        bail!("there is no configuration file in {}", dist.display());
    }
    Ok(())
}

/// Writes scripts and files to their places and returns what is left. What names a path instead of
/// holding data stays.
fn running(root: &Node, src: &Path) -> anyhow::Result<Node> {
    let mut root = root.clone();
    let Value::Mapping(members) = &mut root.value else { return Ok(root) };
    let Some(scripting) = members.iter_mut().find(|member| member.name() == "scripting") else {
        return Ok(root);
    };
    let mut node = Node::clone(&scripting.value);
    if let Value::Mapping(parts) = &mut node.value {
        for part in parts.iter_mut() {
            let part_of = Node::clone(&part.value);
            match part.name() {
                "hooks" => part.value = hooks(part_of, src)?.into(),
                "files" => part.value = items(part_of, &src.join("files"), "")?.into(),
                _ => {}
            }
        }
        parts.retain(|part| !is_empty(&part.value));
    }
    scripting.value = node.into();
    members.retain(|member| member.name() != "scripting" || !is_empty(&member.value));
    Ok(root)
}

fn hooks(mut node: Node, src: &Path) -> anyhow::Result<Node> {
    let Value::Mapping(kinds) = &mut node.value else { return Ok(node) };
    let mut left = Vec::new();
    for mut kind in std::mem::take(kinds) {
        let name = kind.name().to_owned();
        if let ("predelivery" | "postdelivery", Some(script)) = (&*name, kind.value.text()) {
            write(&src.join("hooks/queue").join(format!("{name}.hsl")), script.as_bytes())?;
            continue;
        }
        let folder = inside(&src.join("hooks"), &name)?;
        kind.value = items(Node::clone(&kind.value), &folder, ".hsl")?.into();
        if !is_empty(&kind.value) {
            left.push(kind);
        }
    }
    *kinds = left;
    Ok(node)
}

/// Writes the items of a list that hold data, and keeps the others.
fn items(mut node: Node, folder: &Path, ending: &str) -> anyhow::Result<Node> {
    let Value::Sequence(list) = &mut node.value else { return Ok(node) };
    let mut left = Vec::new();
    for item in std::mem::take(list) {
        let id = item.member("id").and_then(|id| id.text());
        let data = item.member("data").and_then(|data| data.text());
        let (Some(id), Some(data)) = (id, data) else {
            left.push(item);
            continue;
        };
        let is_binary = item.member("binary").and_then(|node| node.scalar()).map(|s| &*s.text);
        let content = if is_binary == Some("true") {
            mail_message::transfer_encoding::base64_decode(data.as_bytes())
        } else {
            data.as_bytes().to_vec()
        };
        write(&inside(folder, &format!("{id}{ending}"))?, &content)?;
    }
    *list = left;
    Ok(node)
}

/// A path below `folder`; an id must not lead out of it.
fn inside(folder: &Path, id: &str) -> anyhow::Result<std::path::PathBuf> {
    let is_inside = Path::new(id).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_inside || id.is_empty() {
        bail!("the id \"{id}\" cannot be a file below {}", folder.display());
    }
    Ok(folder.join(id))
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Mapping(entries) => entries.is_empty(),
        Value::Sequence(elements) => elements.is_empty(),
        Value::Scalar(_) => node.is_null(),
    }
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(cannot)?;
    }
    std::fs::write(path, content).with_context(cannot)
}
