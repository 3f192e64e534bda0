//! What the command line and the configuration say together.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use hsl_std::Services;
use hsl_std::import::FileLoader;
use hsl_std::keys::{Keys, PkiEntry};
use hsl_std::services::{LogSink, RootFiles, UuidVersion};

use crate::Arguments;
use crate::output::Output;

/// Everything a script runs with.
pub(crate) struct Settings {
    /// Finds what scripts include and import.
    pub(crate) loader: FileLoader,
    /// The embedder's side of the library.
    pub(crate) services: Services,
    /// Where `echo` goes.
    pub(crate) output: Output,
}

impl Settings {
    /// Reads the configuration that the command line names.
    ///
    /// A missing startup configuration is an error only when the command line names it.
    pub(crate) fn load(arguments: &Arguments) -> anyhow::Result<Self> {
        let startup = load_startup(&arguments.config)?;
        let mut loader = FileLoader::new().with_free_paths();
        let mut services = Services { log: Arc::new(StderrLog), ..Services::default() };
        let mut root = std::env::current_dir().context("cannot tell the current directory")?;
        let mut keys = ConfiguredKeys::default();
        if let Some(startup) = startup {
            keys.add(&startup.pki, &folder_of(&arguments.config));
            if let Some(rootpath) = startup.scripting.rootpath {
                root = rootpath;
            }
            services.ffi = startup.scripting.ffi;
            services.public_suffix_list = startup.environment.publicsuffix;
            if startup.environment.uuid_version == config::startup::UuidVersion::Time {
                services.uuid_version = UuidVersion::Time;
            }
        }
        if let Some(rootpath) = &arguments.rootpath {
            root.clone_from(rootpath);
        }
        if let Some(appconf) = &arguments.appconf {
            let running = load_running(appconf)?;
            loader = add_files(loader, &running, &folder_of(appconf));
            keys.add(running.pki.values(), &folder_of(appconf));
        }
        services.ffi |= arguments.ffi;
        services.files = Arc::new(RootFiles::new(&root));
        services.keys = Arc::new(keys);
        let output = Output::stdout(arguments.binary);
        Ok(Self { loader: loader.with_root(root), services, output })
    }
}

fn load_startup(path: &Path) -> anyhow::Result<Option<config::Startup>> {
    if path == Path::new("/dev/null") {
        return Ok(None);
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let is_default = path == Path::new(DEFAULT_CONFIG);
            if is_default && error.kind() == std::io::ErrorKind::NotFound {
                return Ok(None);
            }
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    match config::load_startup(&text, &path.display().to_string()) {
        Ok(loaded) => Ok(Some(loaded.config)),
        Err(diagnostics) => bail!(render(&diagnostics, &text)),
    }
}

fn load_running(path: &Path) -> anyhow::Result<config::Running> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    match config::load_running(&text, &path.display().to_string()) {
        Ok(loaded) => Ok(loaded.config),
        Err(diagnostics) => bail!(render(&diagnostics, &text)),
    }
}

fn add_files(mut loader: FileLoader, running: &config::Running, folder: &Path) -> FileLoader {
    for file in running.scripting.files.values() {
        loader = match &file.source {
            config::Source::Data(data) => loader.with_data(&file.id, Arc::clone(data)),
            config::Source::Path(path) => loader.with_path(&file.id, absolute(folder, path)),
        };
    }
    loader
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// `pki.private` of both files. Read when a script asks: who starts a script need not be allowed to
/// read every key.
#[derive(Default)]
struct ConfiguredKeys {
    entries: HashMap<Arc<str>, Halves>,
}

/// Certificate and private key, with relative paths resolved.
type Halves = (Option<config::Source>, Option<config::Source>);

impl ConfiguredKeys {
    /// Adds entries; each half replaces one of the same id.
    fn add<'a>(&mut self, list: impl IntoIterator<Item = &'a config::running::Pki>, folder: &Path) {
        for pki in list {
            let resolve = |source: &config::Source| match source {
                config::Source::Data(data) => config::Source::Data(Arc::clone(data)),
                config::Source::Path(path) => config::Source::Path(absolute(folder, path)),
            };
            let (certificate, key) = self.entries.entry(Arc::clone(&pki.id)).or_default();
            if let Some(source) = &pki.certificate {
                *certificate = Some(resolve(source));
            }
            if let Some(source) = &pki.privatekey {
                *key = Some(resolve(source));
            }
        }
    }
}

impl Keys for ConfiguredKeys {
    fn find(&self, id: &str) -> Option<Arc<PkiEntry>> {
        let read = |source: &Option<config::Source>| match source {
            None => Some(None),
            Some(config::Source::Data(data)) => Some(Some(data.to_vec())),
            Some(config::Source::Path(path)) => Some(Some(std::fs::read(path).ok()?)),
        };
        let (certificate, key) = self.entries.get(id)?;
        let (certificate, key) = (read(certificate)?, read(key)?);
        PkiEntry::from_pem(certificate.as_deref(), key.as_deref()).ok().map(Arc::new)
    }
}

fn absolute(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path)
}

fn render(diagnostics: &[config::Diagnostic], text: &str) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.render(text)).collect::<Vec<_>>().join("\n")
}

/// `syslog` lines go to standard error, where a shell user sees them.
struct StderrLog;

impl LogSink for StderrLog {
    fn syslog(&self, _: Option<u8>, severity: u8, message: &[u8]) {
        eprintln!("syslog <{severity}> {}", String::from_utf8_lossy(message));
    }
}

/// Where the packages put the startup configuration.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/halon/smtpd.yaml";
