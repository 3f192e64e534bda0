//! What the command line and the configuration say together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use config::running::{CustomMetric, ScriptLimits};
use config::startup::{ControlSocket, Plugin};
use config::{Node, Running, Startup};
use control::client::Endpoint;
use hsl::host::{HostSet, Registry};
use hsl_std::Services;
use hsl_std::import::FileLoader;
use hsl_std::keys::{Keys, PkiEntry};
use hsl_std::services::{
    BoxFuture, DnsAnswer, DnsQuery, LogLine, LogSink, Resolver, RootFiles, UuidVersion,
};
use indexmap::IndexMap;
use plugin_host::{PluginHost, Program};
use script_host::hooks::HookKind;
use script_host::server::metrics::Metrics;
use script_host::server::{self, metric_functions};
use tls_policy::Identity;

use crate::Arguments;
use crate::ending::Ending;
use crate::hook::Recorder;
use crate::mail_client;
use crate::mail_queue::ServerQueue;
use crate::no_queue::NoQueue;
use crate::output::Output;
use crate::profile::Profiler;
use crate::server_functions;
use crate::stdin::StandardInput;

/// Everything a script runs with.
pub(crate) struct Settings {
    /// Finds what scripts include and import.
    pub(crate) loader: FileLoader,
    /// The embedder's side of the library.
    pub(crate) services: Services,
    /// The functions and classes that scripts see.
    pub(crate) host: Arc<HostSet>,
    /// Native plugins.
    pub(crate) plugins: PluginHost,
    /// The script that a debugger put into the running configuration.
    pub(crate) entrypoint: Option<Arc<str>>,
    /// Measures lines, when it was asked for.
    pub(crate) profiler: Option<Profiler>,
    /// Where a debugger listens.
    pub(crate) debugger: Option<PathBuf>,
    /// The running configuration that the command line names.
    pub(crate) running: Option<Running>,
    /// What a hook's script asks of the server that is not there.
    pub(crate) recorder: Recorder,
    /// Transport of recipients that have none in a hook.
    pub(crate) transport: String,
    /// Longest time of a test or a hook's script, where the command line names one.
    pub(crate) limit: Option<Duration>,
    /// Metrics of the running configuration, if there is one.
    metrics: Option<Vec<CustomMetric>>,
    /// Where `echo` goes.
    pub(crate) output: Output,
    /// Tells scripts when to end.
    pub(crate) ending: Arc<Ending>,
}

impl Settings {
    /// Reads the configuration that the command line names, and loads plugins.
    ///
    /// A missing startup configuration is an error only when the command line names it.
    pub(crate) fn load(
        arguments: &Arguments,
        stdin: &mut StandardInput,
        ending: Arc<Ending>,
    ) -> anyhow::Result<Self> {
        let startup = load_startup(arguments.config.as_deref())?;
        if arguments.privdrop {
            let startup = startup.as_ref().context("-P needs a startup configuration")?;
            script_host::privileges::drop_root(&startup.environment)
                .context("cannot drop privileges")?;
        }
        let mut root = std::env::current_dir().context("cannot tell the current directory")?;
        let mut services = Services {
            log: Arc::new(StderrLog),
            ffi: arguments.ffi || startup.as_ref().is_some_and(|startup| startup.scripting.ffi),
            ..Services::default()
        };
        let mut pluginspath = PathBuf::from(DEFAULT_PLUGINS);
        let mut keys = ConfiguredKeys::default();
        let mut control = None;
        if let Some(startup) = &startup {
            let file = arguments.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
            keys.add(&startup.pki, &folder_of(file));
            if let Some(rootpath) = &startup.scripting.rootpath {
                root.clone_from(rootpath);
            }
            services.public_suffix_list.clone_from(&startup.environment.publicsuffix);
            if startup.environment.uuid_version == config::startup::UuidVersion::Time {
                services.uuid_version = UuidVersion::Time;
            }
            let server = endpoint(&startup.environment.controlsocket);
            services.mail_queue = Arc::new(ServerQueue::new(server.clone()));
            control = Some(server);
            pluginspath.clone_from(&startup.environment.pluginspath);
        }
        if let Some(rootpath) = &arguments.rootpath {
            // Else every file:// path would be one that is not there.
            if !rootpath.is_dir() {
                bail!("--rootpath: {} is no directory", rootpath.display());
            }
            root.clone_from(rootpath);
        }
        let running = load_running(arguments, stdin)?;
        let no_files = IndexMap::new();
        let files = running.as_ref().map_or(&no_files, |running| &running.scripting.files);
        let appconf = arguments.appconf.as_deref().unwrap_or(Path::new("."));
        let folder = folder_of(appconf);
        let loader = script_host::script_files(files, Some(&root), &pluginspath, &folder);
        let loader = script_host::with_plugin_blocks(
            loader,
            startup.as_ref().map(|startup| startup.plugins.as_slice()).unwrap_or_default(),
            running.as_ref().map_or(&IndexMap::new(), |running| &running.plugins),
        );
        if let Some(running) = &running {
            keys.add(running.pki.values(), &folder);
        }
        let keys = Arc::new(keys);
        services.keys = Arc::clone(&keys) as Arc<dyn Keys>;
        services.files = Arc::new(RootFiles::new(&root));
        let servers =
            running.as_ref().map(|running| running.resolver.servers.clone()).unwrap_or_default();
        let resolver_config = dns::Config { servers, ..dns::Config::default() };
        services.resolver =
            Arc::new(ShellResolver { config: resolver_config.clone(), resolver: OnceLock::new() });
        // Tests have no network, and hooks' scripts are shown, not carried out.
        if arguments.test.is_none() && arguments.hook.hook.is_none() {
            let running = running.clone();
            services.mail_client = mail_client::new(running, resolver_config, keys);
        }

        let plugins = load_plugins(arguments, startup.as_ref(), running.as_ref(), &pluginspath)?;
        let recorder = Recorder::default();
        let is_hook = arguments.hook.hook.is_some();
        if is_hook {
            services.mail_queue = Arc::new(recorder.clone());
        }
        let metrics = running.as_ref().map(|running| running.monitor.metrics.clone());
        let mut registry = Registry::new();
        hsl_std::register(&mut registry, &services);
        if is_hook {
            recorder.register(&mut registry);
        } else {
            server::register(&mut registry, &server_functions::server(control));
            metric_functions::register(&mut registry, &metrics_of(metrics.as_deref()));
        }
        let transport = running
            .as_ref()
            .and_then(|running| {
                running.servers.values().find_map(|server| server.transport.as_ref())
            })
            .map_or("mx", |transport| transport.as_str())
            .to_owned();
        let profiler = arguments.profile.then(Profiler::default);
        if let Some(profiler) = &profiler {
            profiler.register(&mut registry);
        }
        if arguments.debugger.is_some() {
            script_host::debugging::register(&mut registry);
        }
        // A check of the syntax needs the names and nothing that a plugin starts.
        if arguments.syntax {
            plugins.register(&mut registry)?;
        } else {
            script_host::plugins::start(&plugins, &mut registry, || {})?;
        }
        Ok(Self {
            loader: loader.with_free_paths(),
            services,
            host: registry.freeze(),
            plugins,
            entrypoint: running.as_ref().and_then(|running| running.entrypoint.clone()),
            profiler,
            debugger: arguments.debugger.clone(),
            running,
            recorder,
            metrics,
            limit: arguments.limit,
            transport,
            output: Output::stdout(arguments.binary),
            ending,
        })
    }
}

impl Settings {
    /// What one run of a script may take: as the running configuration says, if there is one.
    pub(crate) fn limits(&self, hook: Option<HookKind>) -> ScriptLimits {
        let Some(running) = &self.running else { return ScriptLimits::default() };
        match hook {
            Some(hook) => running.scripting.limits_of(hook.name()),
            None => running.scripting.limits,
        }
    }

    /// Metrics that nobody moved yet.
    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        metrics_of(self.metrics.as_deref())
    }
}

/// Metrics of this process: those of a running configuration, or of any name without one.
fn metrics_of(definitions: Option<&[CustomMetric]>) -> Arc<Metrics> {
    Arc::new(match definitions {
        Some(definitions) => {
            let metrics = Metrics::default();
            metrics.define(definitions);
            metrics
        }
        None => Metrics::open(),
    })
}

/// Where a server listens that has this control socket.
fn endpoint(socket: &ControlSocket) -> Endpoint {
    match socket {
        ControlSocket::Unix(socket) => Endpoint::Unix(socket.path.clone()),
        ControlSocket::Tcp { address, port, .. } => {
            let address = match address {
                Some(address) if !address.is_unspecified() => *address,
                _ => std::net::Ipv4Addr::LOCALHOST.into(),
            };
            Endpoint::Tcp(address.to_string(), *port)
        }
    }
}

/// Loads the autoloaded plugins, those of the command line, and those of a configuration that the
/// command line names. The configuration in its default place is the mail server's: of it only the
/// settings of plugins that are loaded anyway count, for the others may own files and queues.
fn load_plugins(
    arguments: &Arguments,
    startup: Option<&Startup>,
    running: Option<&Running>,
    pluginspath: &Path,
) -> anyhow::Result<PluginHost> {
    let configured = startup.map(|startup| startup.plugins.as_slice()).unwrap_or_default();
    let autoload = pluginspath.join("autoload").join(Program::Hsh.name());
    let mut listed: Vec<Plugin> = Vec::new();
    for plugin in configured {
        let is_wanted = arguments.config.is_some()
            || arguments.plugin.iter().any(|id| **id == *plugin.id)
            || autoload.join(format!("{}.so", plugin.id)).exists();
        if is_wanted {
            listed.push(plugin.clone());
        }
    }
    for id in &arguments.plugin {
        if listed.iter().all(|plugin| *plugin.id != **id) {
            let config = Node::empty_mapping();
            listed.push(Plugin { id: Arc::from(id.as_str()), path: None, config });
        }
    }
    let block = |id: &str| running.and_then(|running| running.plugins.get(id).cloned());
    let services = script_host::plugins::services().with_queue(Arc::new(NoQueue::default()));
    Ok(script_host::plugins::load(pluginspath, Program::Hsh, &listed, block, services)?)
}

fn load_startup(path: Option<&Path>) -> anyhow::Result<Option<Startup>> {
    let named = path.unwrap_or(Path::new(DEFAULT_CONFIG));
    if named == Path::new("/dev/null") {
        return Ok(None);
    }
    let text = match std::fs::read_to_string(named) {
        Ok(text) => text,
        Err(error) => {
            use std::io::ErrorKind::{NotFound, PermissionDenied};
            // Who is not the mail server need not be able to read its configuration.
            if path.is_none() && matches!(error.kind(), NotFound | PermissionDenied) {
                return Ok(None);
            }
            return Err(error).with_context(|| format!("cannot read {}", named.display()));
        }
    };
    match config::load_startup(&text, &named.display().to_string()) {
        Ok(loaded) => Ok(Some(loaded.config)),
        Err(diagnostics) => bail!(render(&diagnostics, &text)),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// `pki.private` of both files. Read when a script asks: who starts a script need not be allowed to
/// read every key.
#[derive(Default)]
pub(crate) struct ConfiguredKeys {
    entries: HashMap<Arc<str>, Halves>,
}

/// Certificate and private key, with relative paths resolved.
type Halves = (Option<config::Source>, Option<config::Source>);

/// Their texts.
type PemHalves = (Option<Vec<u8>>, Option<Vec<u8>>);

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

impl ConfiguredKeys {
    /// Certificate and key of an entry, in PEM form, as far as they are there and can be read.
    fn read(&self, id: &str) -> Option<PemHalves> {
        let read = |source: &Option<config::Source>| match source {
            None => Some(None),
            Some(config::Source::Data(data)) => Some(Some(data.to_vec())),
            Some(config::Source::Path(path)) => Some(Some(std::fs::read(path).ok()?)),
        };
        let (certificate, key) = self.entries.get(id)?;
        Some((read(certificate)?, read(key)?))
    }

    /// The certificates with their keys, for TLS; those that cannot be read are left out.
    pub(crate) fn identities(&self) -> HashMap<Arc<str>, Identity> {
        let identity = |id: &Arc<str>| match self.read(id)? {
            (Some(certificate), Some(key)) => Identity::from_pem(&certificate, &key).ok(),
            _ => None,
        };
        self.entries.keys().filter_map(|id| Some((Arc::clone(id), identity(id)?))).collect()
    }
}

impl Keys for ConfiguredKeys {
    fn find(&self, id: &str) -> Option<Arc<PkiEntry>> {
        let (certificate, key) = self.read(id)?;
        PkiEntry::from_pem(certificate.as_deref(), key.as_deref()).ok().map(Arc::new)
    }
}

fn absolute(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path)
}

fn load_running(
    arguments: &Arguments,
    stdin: &mut StandardInput,
) -> anyhow::Result<Option<Running>> {
    let Some(path) = &arguments.appconf else { return Ok(None) };
    let text = if path.as_os_str() == "-" {
        let is_script = arguments.script.as_ref().is_some_and(|script| script.as_os_str() == "-");
        stdin.configuration(is_script)?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    match config::load_running(&text, &path.display().to_string()) {
        Ok(loaded) => Ok(Some(loaded.config)),
        Err(diagnostics) => bail!(render(&diagnostics, &text)),
    }
}

fn render(diagnostics: &[config::Diagnostic], text: &str) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.render(text)).collect::<Vec<_>>().join("\n")
}

/// `syslog` lines go to standard error, where a shell user sees them.
struct StderrLog;

impl LogSink for StderrLog {
    fn syslog(&self, line: &LogLine<'_>) {
        eprintln!("syslog <{}> {}", line.severity, String::from_utf8_lossy(line.text));
    }
}

/// Asks name servers; made when the first question comes, for most scripts ask none.
struct ShellResolver {
    config: dns::Config,
    resolver: OnceLock<Option<dns::Resolver>>,
}

impl Resolver for ShellResolver {
    fn query(&self, query: DnsQuery) -> BoxFuture<DnsAnswer> {
        let make = || match dns::Resolver::new(self.config.clone()) {
            Ok(resolver) => Some(resolver),
            Err(error) => {
                eprintln!("hsh: there is no resolver: {error}");
                None
            }
        };
        let resolver = self.resolver.get_or_init(make).clone();
        Box::pin(async move {
            match resolver {
                Some(resolver) => script_host::ask(&resolver, query).await,
                None => DnsAnswer { result: Err("TRY_AGAIN".to_owned()), dnssec: false },
            }
        })
    }
}

/// Where the packages put the startup configuration.
const DEFAULT_CONFIG: &str = "/etc/halon/smtpd.yaml";

/// Where the packages put plugins.
const DEFAULT_PLUGINS: &str = "/opt/halon/plugins";
