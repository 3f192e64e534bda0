//! Where hook scripts find what they include and import: configured files, the script folder,
//! plugins' script modules.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use config::running::ScriptFile;
use hsl::module::{ImportKind, ImportRequest, Loaded, ModuleLoader};
use indexmap::IndexMap;

use crate::generation::read_source;

/// The files of one generation. A file is read once, whatever the number of scripts that want it.
pub(crate) struct ScriptFiles {
    configured: HashMap<String, Result<Vec<u8>, String>>,
    root: Option<PathBuf>,
    plugins: PathBuf,
}

impl ScriptFiles {
    pub(crate) fn new(
        files: &IndexMap<Arc<str>, ScriptFile>,
        root: Option<&Path>,
        plugins: &Path,
        base: &Path,
    ) -> Self {
        let configured = files
            .values()
            .map(|file| (file.id.to_string(), read_source(&file.source, base)))
            .collect();
        Self { configured, root: root.map(Path::to_path_buf), plugins: plugins.join("hsl") }
    }

    /// Finds the identity and text of a path.
    fn find(&self, path: &str, importer: &str) -> Result<(String, Vec<u8>), String> {
        if let Some(rest) = path.strip_prefix("extras://") {
            return read_disk(&self.plugins, rest, "extras://");
        }
        if let Some(rest) = path.strip_prefix("file://") {
            let Some(root) = &self.root else {
                return Err("scripting.rootpath is not set, so there are no files to reach".into());
            };
            return read_disk(root, rest, "file://");
        }
        if path.starts_with("./") || path.starts_with("../") {
            return self.find(&relative(path, importer)?, importer);
        }
        let id = path.strip_prefix("file:").unwrap_or(path);
        for candidate in [id.to_owned(), format!("{id}/main.hsl")] {
            match self.configured.get(&candidate) {
                Some(Ok(text)) => return Ok((candidate, text.clone())),
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
        }
        Err("there is no such file in scripting.files".into())
    }
}

impl ModuleLoader for ScriptFiles {
    fn load(&self, request: &ImportRequest<'_>) -> Result<Loaded, String> {
        let path =
            std::str::from_utf8(request.path).map_err(|_| "the path is not UTF-8".to_owned())?;
        let (loader, path) = match path.split_once('!') {
            Some((loader, path)) => (Some(loader), path),
            None => (None, path),
        };
        let (identity, text) = self.find(path, request.importer)?;
        if request.kind == ImportKind::Data {
            let kind = loader.or_else(|| path.rsplit_once('.').map(|(_, extension)| extension));
            return hsl_std::import::decode(kind.unwrap_or_default(), &text, request.options)
                .map(Loaded::Data);
        }
        Ok(Loaded::Script { name: identity.clone(), identity, text })
    }
}

/// Reads a file below `root`; a folder stands for its `main.hsl`.
fn read_disk(root: &Path, rest: &str, scheme: &str) -> Result<(String, Vec<u8>), String> {
    let mut path = inside(root, rest)?;
    if path.is_dir() {
        path.push("main.hsl");
    }
    let text =
        std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    // The identity keeps to the scheme, so that relative paths in the file stay in it.
    let name = path.strip_prefix(root).unwrap_or(&path).display();
    Ok((format!("{scheme}{name}"), text))
}

/// A path below `root`; refuses to climb out of it.
fn inside(root: &Path, rest: &str) -> Result<PathBuf, String> {
    let mut out = root.to_path_buf();
    for part in Path::new(rest.trim_start_matches('/')).components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::CurDir => {}
            _ => return Err("the path leads out of its folder".into()),
        }
    }
    Ok(out)
}

/// A path relative to the importing file, in the importer's own scheme.
fn relative(path: &str, importer: &str) -> Result<String, String> {
    let (scheme, file) = importer.split_at(importer.find("://").map_or(0, |at| at + 3));
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err("the path leads out of its folder".into());
                }
            }
            part => parts.push(part),
        }
    }
    Ok(format!("{scheme}{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_their_folder() {
        let root = Path::new("/srv/scripts");
        assert_eq!(inside(root, "a/./b.hsl").unwrap(), Path::new("/srv/scripts/a/b.hsl"));
        assert!(inside(root, "../secret").is_err());
        assert!(inside(root, "a/../../secret").is_err());
        assert_eq!(relative("./b.hsl", "lib/a.hsl").unwrap(), "lib/b.hsl");
        assert_eq!(relative("../b.hsl", "lib/x/a.hsl").unwrap(), "lib/b.hsl");
        assert!(relative("../../b.hsl", "a.hsl").is_err());
    }
}
