//! Where `include` and `import` find files: the configuration's files, a directory on disk, and the
//! script modules of plugins (`extras://`), which find their own configuration (`plugin-config://`).
//!
//! A file has one identity however it is written: `file:<id>` for a configured file, `path:<path>`
//! for one on disk. Paths that begin with `./` or `../` are relative to the importing file, of
//! any kind; they may not leave the configured files, or the directory, they started in.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hsl::module::{ImportKind, ImportRequest, Loaded, ModuleLoader};

use super::{decode, kind_of};
use crate::services::RootFiles;

/// Finds and reads the files of scripts.
#[derive(Default)]
pub struct FileLoader {
    files: HashMap<String, Source>,
    root: Option<RootFiles>,
    /// The directory of `extras://`.
    extras: Option<PathBuf>,
    /// Whether files on disk may name neighbours outside of the root, as in a shell.
    free_paths: bool,
}

enum Source {
    Data(Arc<[u8]>),
    Path(PathBuf),
}

/// A file that was found, before it is read.
enum Place {
    Configured(String),
    Disk(PathBuf),
}

impl FileLoader {
    /// A loader that finds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a configured file with its content.
    #[must_use]
    pub fn with_data(mut self, id: &str, data: Arc<[u8]>) -> Self {
        self.files.insert(id.to_owned(), Source::Data(data));
        self
    }

    /// Returns the names of the files whose content is known, with it.
    pub fn contents(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().filter_map(|(id, source)| match source {
            Source::Data(data) => Some((id.as_str(), &**data)),
            Source::Path(_) => None,
        })
    }

    /// Adds a configured file whose content is at `path`.
    #[must_use]
    pub fn with_path(mut self, id: &str, path: PathBuf) -> Self {
        self.files.insert(id.to_owned(), Source::Path(path));
        self
    }

    /// Sets the directory of `file://`.
    #[must_use]
    pub fn with_root(mut self, root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        // Found files are compared by their true paths.
        self.root = Some(RootFiles::new(root.canonicalize().unwrap_or(root)));
        self
    }

    /// Sets the directory of `extras://`, the `hsl` in that of the plugins.
    #[must_use]
    pub fn with_extras(mut self, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        self.extras = Some(folder.canonicalize().unwrap_or(folder));
        self
    }

    /// Adds the configuration that scripts of the plugin `plugin` import as data from
    /// `plugin-config://<file>`; a plugin without any finds an empty one. `data` is of the kind that
    /// the extension of `file` names.
    #[must_use]
    pub fn with_plugin_config(mut self, plugin: &str, file: &str, data: Arc<[u8]>) -> Self {
        self.files.insert(format!("{PLUGIN_CONFIG}{file}"), Source::Data(Arc::from(&b"{}"[..])));
        self.with_data(&format!("{PLUGIN_CONFIG}{file}/{plugin}"), data)
    }

    /// Lets files on disk name their neighbours, with or without `./`, wherever they are. For
    /// programs that run with the rights of who started them.
    #[must_use]
    pub fn with_free_paths(mut self) -> Self {
        self.free_paths = true;
        self
    }

    /// The identity of a script on disk, for the compiler.
    pub fn identity_of(path: &Path) -> String {
        format!("path:{}", path.display())
    }

    fn find(&self, path: &str, importer: &str) -> Option<Place> {
        if path.starts_with("file://") {
            let found = self.root.as_ref()?.path(path.as_bytes())?;
            return on_disk(found).map(Place::Disk);
        }
        if let Some(rest) = path.strip_prefix("extras://") {
            let folder = self.extras.as_ref()?;
            let found = normalize(folder, Path::new(rest.trim_start_matches('/')))?;
            return on_disk(found.starts_with(folder).then_some(found)?).map(Place::Disk);
        }
        if path.starts_with(PLUGIN_CONFIG) {
            // The plugin is the folder that the script lies in.
            let script = Path::new(importer.strip_prefix("path:")?);
            let inside = script.strip_prefix(self.extras.as_ref()?).ok()?;
            let plugin = inside.components().next()?.as_os_str().to_str()?;
            let own = self.configured(&format!("{path}/{plugin}"));
            return own.or_else(|| self.configured(path));
        }
        if path.starts_with("./") || path.starts_with("../") {
            return self.find_relative(path, importer);
        }
        let id = path.strip_prefix("file:").unwrap_or(path);
        self.configured(id)
            .or_else(|| if self.free_paths { self.find_relative(id, importer) } else { None })
    }

    fn find_relative(&self, path: &str, importer: &str) -> Option<Place> {
        if let Some(importer) = importer.strip_prefix("file:") {
            let folder = importer.rsplit_once('/').map_or("", |(folder, _)| folder);
            let id = normalize(Path::new(folder), Path::new(path))?;
            return self.configured(id.to_str()?);
        }
        let importer = Path::new(importer.strip_prefix("path:")?);
        let folder = importer.parent()?;
        let found = if self.free_paths {
            folder.join(path)
        } else {
            let home = self.home_of(importer)?;
            normalize(folder, Path::new(path)).filter(|found| found.starts_with(home))?
        };
        on_disk(found).map(Place::Disk)
    }

    fn configured(&self, id: &str) -> Option<Place> {
        let main = format!("{id}/main.hsl");
        [id, main.as_str()]
            .into_iter()
            .find(|id| self.files.contains_key(*id))
            .map(|id| Place::Configured(id.to_owned()))
    }

    /// The directory that a file on disk belongs to and whose neighbours it may name.
    fn home_of(&self, path: &Path) -> Option<&Path> {
        let root = self.root.as_ref().map(RootFiles::root);
        [root, self.extras.as_deref()].into_iter().flatten().find(|home| path.starts_with(home))
    }

    /// Says why a path leads nowhere.
    fn missing(&self, path: &str) -> String {
        let unset = |what: &str| format!("{what} is not set, so there are no files to reach");
        match path.split_once("://") {
            Some(("file", _)) if self.root.is_none() => unset("scripting.rootpath"),
            Some(("extras", _)) if self.extras.is_none() => unset("environment.pluginspath"),
            Some(("plugin-config", _)) => {
                "only scripts of plugins have smtpd.yaml and smtpd-app.yaml there".to_owned()
            }
            Some(("extras", _)) => "there is no such plugin and no such module".to_owned(),
            _ => "there is no such file".to_owned(),
        }
    }

    fn read(&self, place: &Place) -> Result<Vec<u8>, String> {
        let path = match place {
            Place::Configured(id) => match self.files.get(id) {
                Some(Source::Data(data)) => return Ok(data.to_vec()),
                Some(Source::Path(path)) => path,
                None => return Err("not found".to_owned()),
            },
            Place::Disk(path) => path,
        };
        let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if metadata.len() > MAX_FILE_OCTETS {
            return Err(format!("the file is larger than {MAX_FILE_OCTETS} bytes"));
        }
        std::fs::read(path).map_err(|error| error.to_string())
    }
}

impl ModuleLoader for FileLoader {
    fn load(&self, request: &ImportRequest<'_>) -> Result<Loaded, String> {
        let path = str::from_utf8(request.path).map_err(|_| "the path is no UTF-8".to_owned())?;
        let (kind, bare) = match request.kind {
            ImportKind::Data => {
                let (kind, bare) = kind_of(path).ok_or("the path has no extension")?;
                (Some(kind), bare)
            }
            ImportKind::Include | ImportKind::Module => (None, path),
        };
        let place = self.find(bare, request.importer).ok_or_else(|| self.missing(bare))?;
        let content = self.read(&place)?;
        if let Some(kind) = kind {
            return decode(kind, &content, request.options, request.host).map(Loaded::Data);
        }
        Ok(match place {
            Place::Configured(id) => {
                Loaded::Script { identity: format!("file:{id}"), name: id, text: content }
            }
            Place::Disk(path) => Loaded::Script {
                identity: Self::identity_of(&path),
                name: path.display().to_string(),
                text: content,
            },
        })
    }
}

/// `folder` and `path` put together without `.` and `..`; `None` when that leads out of it all.
fn normalize(folder: &Path, path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            part => out.push(part),
        }
    }
    Some(out)
}

/// The file at `path`, or `main.hsl` in the directory there, by its one true path.
fn on_disk(path: PathBuf) -> Option<PathBuf> {
    let path = if path.is_dir() { path.join("main.hsl") } else { path };
    let path = path.canonicalize().ok()?;
    path.is_file().then_some(path)
}

/// How paths of the configuration of plugins begin.
const PLUGIN_CONFIG: &str = "plugin-config://";

/// A data file of a script is a table, not a mailbox.
const MAX_FILE_OCTETS: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn load(loader: &FileLoader, path: &str, importer: &str, kind: ImportKind) -> Option<String> {
        let request =
            ImportRequest { path: path.as_bytes(), importer, kind, options: None, host: None };
        match loader.load(&request).ok()? {
            Loaded::Script { identity, .. } => Some(identity),
            Loaded::Data(value) => {
                Some(String::from_utf8_lossy(&hsl::ops::to_text(&value)).into_owned())
            }
        }
    }

    #[test]
    fn configured_files_are_found_by_every_spelling() {
        let loader = FileLoader::new()
            .with_data("lib/a.hsl", Arc::from(&b""[..]))
            .with_data("dir/main.hsl", Arc::from(&b""[..]))
            .with_data("t.csv", Arc::from(&b"a\n1\n"[..]));
        let module = |path| load(&loader, path, "file:lib/b.hsl", ImportKind::Module);
        for path in ["lib/a.hsl", "file:lib/a.hsl", "./a.hsl", "../lib/a.hsl"] {
            assert_eq!(module(path).as_deref(), Some("file:lib/a.hsl"), "{path}");
        }
        assert_eq!(module("dir").as_deref(), Some("file:dir/main.hsl"));
        for path in ["a.hsl", "../../lib/a.hsl", "file://lib/a.hsl", "/lib/a.hsl"] {
            assert_eq!(module(path), None, "{path}");
        }
        let data = |path| load(&loader, path, "file:x", ImportKind::Data);
        assert_eq!(data("t.csv").as_deref(), Some("[0=>[\"a\"=>\"1\"]]"));
        assert_eq!(data("txt!t.csv").as_deref(), Some("a\n1\n"));
        assert_eq!(data("lib/a.hsl"), None);
    }

    #[test]
    fn scripts_of_a_plugin_find_its_configuration_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let loader = FileLoader::new().with_extras(&base).with_plugin_config(
            "greet",
            "smtpd-app.yaml",
            Arc::from(&br#"{"a":1}"#[..]),
        );
        let from = |importer: &str, file: &str| {
            let importer = format!("path:{}/{importer}", base.display());
            load(&loader, &format!("plugin-config://{file}"), &importer, ImportKind::Data)
        };
        let own = Some("[\"a\"=>1]");
        assert_eq!(from("greet/main.hsl", "smtpd-app.yaml").as_deref(), own);
        assert_eq!(from("greet/lib/b.hsl", "smtpd-app.yaml").as_deref(), own);
        assert_eq!(from("other/main.hsl", "smtpd-app.yaml").as_deref(), Some("[]"));
        assert_eq!(from("greet/main.hsl", "smtpd-app.yaml/greet"), None);
        assert_eq!(from("greet/main.hsl", "smtpd.yaml"), None);
        assert_eq!(
            load(&loader, "plugin-config://smtpd-app.yaml", "file:a", ImportKind::Data),
            None
        );
    }

    #[test]
    fn disk_files_stay_below_the_root_unless_paths_are_free() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("root/sub")).unwrap();
        for file in ["root/a.hsl", "root/sub/main.hsl", "outside.hsl"] {
            std::fs::write(base.join(file), "").unwrap();
        }
        let importer = FileLoader::identity_of(&base.join("root/sub/main.hsl"));
        let found = |loader: &FileLoader, path: &str| {
            load(loader, path, &importer, ImportKind::Module).is_some()
        };
        let bound = FileLoader::new().with_root(base.join("root"));
        assert!(found(&bound, "file://a.hsl"));
        assert!(found(&bound, "file://sub"));
        assert!(found(&bound, "../a.hsl"));
        assert!(!found(&bound, "../../outside.hsl"));
        assert!(!found(&bound, "file://../outside.hsl"));
        assert!(!found(&bound, "a.hsl"));
        std::fs::create_dir_all(base.join("hsl/tool")).unwrap();
        std::fs::write(base.join("hsl/tool/main.hsl"), "").unwrap();
        std::fs::write(base.join("hsl/tool/part.hsl"), "").unwrap();
        assert!(!found(&bound, "extras://tool"));
        let extras = bound.with_extras(base.join("hsl"));
        assert!(found(&extras, "extras://tool"));
        assert!(!found(&extras, "extras://../outside.hsl"));
        let module = FileLoader::identity_of(&base.join("hsl/tool/main.hsl"));
        let beside = |path: &str| load(&extras, path, &module, ImportKind::Module).is_some();
        assert!(beside("./part.hsl"));
        assert!(!beside("../../root/a.hsl"), "from a plugin into the scripts");
        let free = FileLoader::new().with_free_paths();
        assert!(found(&free, "../../outside.hsl"));
        assert!(found(&free, "main.hsl"));
    }
}
