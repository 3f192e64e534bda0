//! The files that a configuration gives to scripts, as the library's loader finds them.

use std::path::Path;
use std::sync::Arc;

use config::Source;
use config::node::Node;
use config::running::ScriptFile;
use hsl_std::import::FileLoader;
use indexmap::IndexMap;

/// A loader of the files in `scripting.files`, of `file://` below `root` and of `extras://` below
/// the folder of plugins. Relative paths of configured files start at `base`, the folder of the
/// running configuration.
///
/// Files that can be read are read now, once for all scripts, and stay what they are while the
/// loader lives; a script that wants one of the others is told why there is none.
pub fn script_files(
    files: &IndexMap<Arc<str>, ScriptFile>,
    root: Option<&Path>,
    plugins: &Path,
    base: &Path,
) -> FileLoader {
    let mut loader = FileLoader::new().with_extras(plugins.join("hsl"));
    if let Some(root) = root {
        loader = loader.with_root(root);
    }
    for file in files.values() {
        loader = match &file.source {
            Source::Data(data) => loader.with_data(&file.id, Arc::clone(data)),
            Source::Path(path) => {
                let path = base.join(path);
                match std::fs::read(&path) {
                    Ok(data) => loader.with_data(&file.id, Arc::from(data)),
                    Err(_) => loader.with_path(&file.id, path),
                }
            }
        };
    }
    loader
}

/// Lets scripts of plugins import the blocks that the configurations have for them:
/// `plugin-config://smtpd.yaml` is that of `startup`, `plugin-config://smtpd-app.yaml` that of
/// `running`.
pub fn with_plugin_blocks(
    mut loader: FileLoader,
    startup: &[config::startup::Plugin],
    running: &IndexMap<Arc<str>, Arc<Node>>,
) -> FileLoader {
    let startup = startup.iter().map(|plugin| (STARTUP, &plugin.id, &plugin.config));
    let running = running.iter().map(|(id, block)| (RUNNING, id, block));
    // Both are there, if only for the plugins that they do not name.
    let empty = (Arc::from(""), Node::empty_mapping());
    let rest = [STARTUP, RUNNING].map(|file| (file, &empty.0, &empty.1));
    for (file, id, block) in rest.into_iter().chain(startup).chain(running) {
        // JSON is YAML too.
        loader =
            loader.with_plugin_config(id, file, block.to_json().to_string().into_bytes().into());
    }
    loader
}

/// The names of both files in `plugin-config://`, whatever they are called on disk.
const STARTUP: &str = "smtpd.yaml";
const RUNNING: &str = "smtpd-app.yaml";

#[cfg(test)]
mod tests {
    use hsl::module::{ImportKind, ImportRequest, ModuleLoader};

    use super::*;

    #[test]
    fn a_configured_file_that_cannot_be_read_is_an_error_of_the_script_that_wants_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.hsl"), "echo 2;").unwrap();
        let text = "version: \"5.6\"\nscripting:\n  files:\n    - id: a.hsl\n      data: echo 1;\n    \
                    - id: b.hsl\n      path: b.hsl\n    - id: c.hsl\n      path: c.hsl\n";
        let running = config::load_running(text, "smtpd-app.yaml").unwrap().config;
        let files = &running.scripting.files;
        let loader = script_files(files, None, Path::new("/nonexistent"), folder.path());
        std::fs::remove_file(folder.path().join("b.hsl")).unwrap();
        let load = |path: &str| {
            let kind = ImportKind::Module;
            let path = path.as_bytes();
            loader.load(&ImportRequest {
                path,
                importer: "hook:eod/x",
                kind,
                options: None,
                host: None,
            })
        };
        assert!(load("a.hsl").is_ok());
        assert!(load("b.hsl").is_ok(), "a generation keeps the files it began with");
        assert!(load("c.hsl").err().unwrap().contains("No such file"));
        assert!(load("file://x").err().unwrap().contains("scripting.rootpath is not set"));
    }
}
