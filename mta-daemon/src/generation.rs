//! A running configuration made ready: scripts compiled, certificates read, lookups by id.
//!
//! A generation is immutable. A reload builds the next one beside it and swaps them only when
//! everything in it is good, so a broken file never takes effect in part.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::value::Source;
use config::{Diagnostic, Loaded, Running, Startup};
use dns::Resolver;
use hsl_std::keys::PkiEntry;
use mail_client::world::{ClientTlsCache, World};
use mta_types::{ServerId, TransportId};
use queue::{Groupings, NamedLists};
use smtp::server::Limits;
use tls_policy::{Identity, ServerOptions, ServerTls, SniName, Versions};

use crate::hooks::runner::Hook;
use crate::hooks::{HookKind, HookSets};
use crate::queue_service::rule_files;
use crate::stage::session::Session;
use crate::stats::{ServerStats, Stats};

/// A running configuration in use.
pub(crate) struct Generation {
    /// The configuration itself and what deliveries need of it; a generation is used like one.
    world: World,
    /// The same as read from its file, for comparing generations.
    pub(crate) loaded: Loaded<Running>,
    /// Named lists and groupings, for the queue.
    pub(crate) lists: NamedLists,
    pub(crate) groupings: Groupings,
    pub(crate) servers: HashMap<ServerId, Arc<Server>>,
    pub(crate) predelivery: Option<Hook>,
    pub(crate) postdelivery: Option<Hook>,
    /// Entries of `pki.private` for scripts, keys without certificate included.
    pub(crate) keys: HashMap<Arc<str>, Arc<PkiEntry>>,
    /// Hashes of the contents of scripts' files, by id.
    files: HashMap<Box<str>, u64>,
}

impl std::ops::Deref for Generation {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

/// Behaviour of one virtual server.
pub(crate) struct Server {
    pub(crate) id: ServerId,
    /// The live stage that it is part of.
    pub(crate) stageid: Option<Arc<str>>,
    pub(crate) smtp: Arc<smtp::server::Config>,
    pub(crate) hooks: ServerHooks,
    pub(crate) transport: Option<TransportId>,
    pub(crate) tls: Option<ServerTls>,
    /// Listeners with TLS from the first octet.
    pub(crate) implicit_tls: HashSet<Arc<str>>,
    pub(crate) max_connections: u64,
    pub(crate) max_hops: u32,
    pub(crate) idle_timeout: Duration,
    pub(crate) reverse_dns: bool,
    pub(crate) stats: Arc<ServerStats>,
}

impl Server {
    /// Whether a listener speaks TLS from the first octet.
    pub(crate) fn is_implicit_tls(&self, listener: Option<&str>) -> bool {
        listener.is_some_and(|id| self.implicit_tls.contains(id))
    }
}

/// Compiled scripts of one virtual server.
#[derive(Default)]
pub(crate) struct ServerHooks {
    pub(crate) connect: Option<Hook>,
    pub(crate) disconnect: Option<Hook>,
    pub(crate) proxy: Option<Hook>,
    pub(crate) helo: Option<Hook>,
    pub(crate) auth: Option<Hook>,
    pub(crate) mailfrom: Option<Hook>,
    pub(crate) rcptto: RecipientHooks,
    pub(crate) eod: Option<Hook>,
    pub(crate) eodrcpt: RecipientHooks,
}

/// Compiled scripts that run once for each recipient.
#[derive(Default)]
pub(crate) struct RecipientHooks {
    fallback: Option<Hook>,
    by_domain: HashMap<Box<str>, Hook>,
}

impl RecipientHooks {
    /// The script for a recipient's domain: its own, else the fall-back.
    pub(crate) fn of(&self, domain: &str) -> Option<&Hook> {
        if !self.by_domain.is_empty()
            && let Some(hook) = self.by_domain.get(domain.to_ascii_lowercase().as_str())
        {
            return Some(hook);
        }
        self.fallback.as_ref()
    }

    /// Whether there is a script for some recipient.
    pub(crate) fn is_some(&self) -> bool {
        self.fallback.is_some() || !self.by_domain.is_empty()
    }
}

/// Why a running configuration cannot be used. Each line names file and place.
#[derive(Debug)]
pub struct GenerationError {
    /// One finding a line.
    pub findings: Vec<String>,
}

impl std::fmt::Display for GenerationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.findings.join("\n"))
    }
}

impl std::error::Error for GenerationError {}

impl GenerationError {
    pub(crate) fn of(findings: &[Diagnostic], text: &str) -> Self {
        Self { findings: findings.iter().map(|finding| finding.render(text)).collect() }
    }

    fn one(finding: String) -> Self {
        Self { findings: vec![finding] }
    }
}

/// What a generation is made from.
pub(crate) struct Inputs<'a> {
    pub(crate) startup: &'a Startup,
    pub(crate) running: Loaded<Running>,
    /// Keys read before privileges were dropped.
    pub(crate) early_keys: &'a EarlyKeys,
    pub(crate) hook_sets: &'a HookSets,
    pub(crate) stats: &'a Stats,
    /// The file that names relative paths.
    pub(crate) file: &'a Path,
    /// The live stage that it is made for: its id, and where its scripts stop.
    pub(crate) stage: Option<(&'a Arc<str>, &'a Arc<Session>)>,
}

/// PEM texts of the startup configuration, by id.
#[derive(Default)]
pub(crate) struct EarlyKeys(HashMap<Arc<str>, PemPair>);

/// Certificate and private key, as far as they are there.
type PemPair = (Option<Vec<u8>>, Option<Vec<u8>>);

impl Generation {
    /// Builds a generation. Must be called within the runtime.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, as far as it can be told in one go.
    pub(crate) fn build(inputs: Inputs<'_>) -> Result<Self, GenerationError> {
        let mut findings = Vec::new();
        let hostname = system_hostname();
        let base = inputs.file.parent().unwrap_or(Path::new("/")).to_path_buf();
        let (identities, keys) = read_pki(&inputs, &base, &mut findings);
        let files = script_host::script_files(
            &inputs.running.config.scripting.files,
            inputs.startup.scripting.rootpath.as_deref(),
            inputs.startup.environment.pluginspath.as_path(),
            &base,
        );
        let hashes = files.contents().map(|(id, content)| (id.into(), hash(content))).collect();
        let blocks = &inputs.running.config.plugins;
        let files = script_host::with_plugin_blocks(files, &inputs.startup.plugins, blocks);
        let session = inputs.stage.map(|(_, session)| session);
        let scripting = &inputs.running.config.scripting;
        let mut compile = |kind: HookKind, id: Option<&str>, text: &str| match inputs
            .hook_sets
            .compile(kind, id, text, &files)
        {
            Ok(script) => {
                let limits = scripting.limits_of(kind.name());
                Some(Hook { script, limits, session: session.cloned() })
            }
            Err(finding) => {
                findings.push(finding);
                None
            }
        };
        let hooks = &inputs.running.config.scripting.hooks;
        let mut compiled: HashMap<(HookKind, Arc<str>), Hook> = HashMap::new();
        for (kind, scripts) in [
            (HookKind::Connect, &hooks.connect),
            (HookKind::Disconnect, &hooks.disconnect),
            (HookKind::Proxy, &hooks.proxy),
            (HookKind::Helo, &hooks.helo),
            (HookKind::Auth, &hooks.auth),
            (HookKind::Mailfrom, &hooks.mailfrom),
            (HookKind::Rcptto, &hooks.rcptto),
            (HookKind::Eod, &hooks.eod),
            (HookKind::Eodrcpt, &hooks.eodrcpt),
        ] {
            for (id, text) in scripts {
                if let Some(hook) = compile(kind, Some(id), text) {
                    compiled.insert((kind, Arc::clone(id)), hook);
                }
            }
        }
        let predelivery =
            hooks.predelivery.as_ref().and_then(|text| compile(HookKind::Predelivery, None, text));
        let postdelivery = hooks
            .postdelivery
            .as_ref()
            .and_then(|text| compile(HookKind::Postdelivery, None, text));
        let resolver = match Resolver::new(resolver_config(&inputs.running.config)) {
            Ok(resolver) => Some(resolver),
            Err(error) => {
                findings.push(error.to_string());
                None
            }
        };
        let mut told = |error: GenerationError| findings.extend(error.findings);
        let lists = rule_files::lists(&inputs.running).map_err(&mut told).ok();
        let groupings = rule_files::groupings(&inputs.running).map_err(&mut told).ok();
        let mut servers = HashMap::new();
        for settings in inputs.running.config.servers.values() {
            let Some(stats) = inputs.stats.servers.get(&settings.id) else { continue };
            match server(settings, &hostname, &compiled, &identities, Arc::clone(stats)) {
                Ok(server) => {
                    let stageid = inputs.stage.map(|(id, _)| Arc::clone(id));
                    let server = Server { stageid, ..server };
                    drop(servers.insert(settings.id.clone(), Arc::new(server)));
                }
                Err(finding) => findings.push(finding),
            }
        }
        let Some(resolver) = resolver.filter(|_| findings.is_empty()) else {
            return Err(GenerationError { findings });
        };
        Ok(Self {
            world: World {
                running: inputs.running.config.clone(),
                resolver,
                identities,
                hostname,
                client_tls: ClientTlsCache::default(),
            },
            loaded: inputs.running,
            lists: lists.unwrap_or_default(),
            groupings: groupings.unwrap_or_default(),
            servers,
            predelivery,
            postdelivery,
            keys,
            files: hashes,
        })
    }

    /// Whether a file of scripts is the same in both generations, as far as is known: files below
    /// `scripting.rootpath` may have changed.
    pub(crate) fn has_same_file(&self, other: &Self, id: &[u8]) -> bool {
        let hash_in =
            |generation: &Self| generation.files.get(std::str::from_utf8(id).ok()?).copied();
        hash_in(self).is_some_and(|hash| hash_in(other) == Some(hash))
    }

    pub(crate) fn server(&self, id: &ServerId) -> Option<&Arc<Server>> {
        self.servers.get(id)
    }
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn server(
    settings: &config::running::Server,
    hostname: &str,
    compiled: &HashMap<(HookKind, Arc<str>), Hook>,
    identities: &HashMap<Arc<str>, Identity>,
    stats: Arc<ServerStats>,
) -> Result<Server, String> {
    let find = |kind: HookKind, id: &Option<Arc<str>>| {
        id.as_ref().and_then(|id| compiled.get(&(kind, Arc::clone(id))).cloned())
    };
    let of_recipients = |kind: HookKind, hooks: &config::running::RecipientHooks| RecipientHooks {
        fallback: find(kind, &hooks.hook),
        by_domain: hooks
            .recipientdomains
            .iter()
            .filter_map(|(domain, id)| Some((domain.clone(), find(kind, &Some(Arc::clone(id)))?)))
            .collect(),
    };
    let phases = &settings.phases;
    let hooks = ServerHooks {
        connect: find(HookKind::Connect, &phases.connect),
        disconnect: find(HookKind::Disconnect, &phases.disconnect),
        proxy: find(HookKind::Proxy, &phases.proxy),
        helo: find(HookKind::Helo, &phases.helo),
        auth: find(HookKind::Auth, &phases.auth),
        mailfrom: find(HookKind::Mailfrom, &phases.mailfrom.hook),
        rcptto: of_recipients(HookKind::Rcptto, &phases.rcptto.hooks),
        eod: find(HookKind::Eod, &phases.eod),
        eodrcpt: of_recipients(HookKind::Eodrcpt, &phases.eodrcpt),
    };
    let identity = |id: &Arc<str>| {
        identities.get(id).cloned().ok_or_else(|| {
            format!("server {}: pki:{id} has no certificate with a private key", settings.id)
        })
    };
    let tls = match &settings.tls.cert {
        None => None,
        Some(id) => {
            let names = settings
                .tls
                .sni
                .iter()
                .map(|(name, id)| Ok(SniName { name: name.to_string(), identity: identity(id)? }))
                .collect::<Result<_, String>>()?;
            let options =
                ServerOptions { identity: identity(id)?, names, versions: Versions::default() };
            Some(match settings.tls.clientcert {
                true => ServerTls::asking_certificate(options),
                false => ServerTls::new(options),
            })
        }
    };
    let has_auth = hooks.auth.is_some() && settings.extensions.auth;
    let smtp = smtp::server::Config {
        hostname: settings.hostname.as_deref().unwrap_or(hostname).to_owned(),
        extensions: extensions(settings, tls.is_some(), has_auth),
        auth_mechanisms: if has_auth {
            vec!["LOGIN".to_owned(), "PLAIN".to_owned()]
        } else {
            Vec::new()
        },
        proxy_hook: hooks.proxy.is_some(),
        keep_last_reply: hooks.disconnect.is_some(),
        limits: Limits {
            size: phases.data.maxsize.map(|size| size.0),
            recipients: phases.rcptto.maxrecipients.get(),
            messages: phases.mailfrom.maxmessages.map(std::num::NonZeroU32::get),
            ..Limits::default()
        },
        ..smtp::server::Config::default()
    };
    Ok(Server {
        id: settings.id.clone(),
        stageid: None,
        smtp: Arc::new(smtp),
        transport: settings.transport.clone(),
        tls,
        implicit_tls: settings.tls.implicit.iter().cloned().collect(),
        max_connections: settings.concurrency_total.get().into(),
        max_hops: phases.data.maxhops.get(),
        idle_timeout: settings.timeout_idle,
        reverse_dns: true,
        hooks,
        stats,
    })
}

fn extensions(
    settings: &config::running::Server,
    has_tls: bool,
    has_auth: bool,
) -> smtp::extensions::Extensions {
    use smtp::extensions::Extensions;
    let offer = settings.extensions;
    let mut out = Extensions::default_offer();
    out.set(Extensions::PIPELINING, offer.pipelining);
    out.set(Extensions::EIGHTBITMIME, offer.eightbitmime);
    out.set(Extensions::SIZE, offer.size);
    out.set(Extensions::SMTPUTF8, offer.smtputf8);
    out.set(Extensions::CHUNKING, offer.chunking && settings.phases.data.chunking);
    out.set(Extensions::STARTTLS, offer.starttls && has_tls);
    out.set(Extensions::AUTH, has_auth);
    out
}

fn resolver_config(running: &Running) -> dns::Config {
    let settings = &running.resolver;
    dns::Config {
        servers: settings.servers.clone(),
        cache_size: settings.cache_size.into(),
        min_ttl: (!settings.cache_ttl_min.is_zero()).then_some(settings.cache_ttl_min),
        concurrency: settings.concurrency.get() as usize,
        ..dns::Config::default()
    }
}

/// `pki.private` by id: for TLS, and for scripts.
type Pki = (HashMap<Arc<str>, Identity>, HashMap<Arc<str>, Arc<PkiEntry>>);

/// Reads every certificate with its key, for TLS and for scripts; the halves may stand in different
/// files.
fn read_pki(inputs: &Inputs<'_>, base: &Path, findings: &mut Vec<String>) -> Pki {
    let (mut identities, mut keys) = (HashMap::new(), HashMap::new());
    let mut read =
        |id: &Arc<str>, source: Option<&Source>| match source.map(|s| read_source(s, base)) {
            None => None,
            Some(Ok(text)) => Some(text),
            Some(Err(error)) => {
                findings.push(format!("{}: pki:{id}: {error}", inputs.file.display()));
                None
            }
        };
    let mut texts = inputs.early_keys.0.clone();
    for pki in inputs.running.config.pki.values() {
        let certificate = read(&pki.id, pki.certificate.as_ref());
        let key = read(&pki.id, pki.privatekey.as_ref());
        let entry = texts.entry(Arc::clone(&pki.id)).or_default();
        if certificate.is_some() {
            entry.0 = certificate;
        }
        if key.is_some() {
            entry.1 = key;
        }
    }
    for (id, (certificate, key)) in texts {
        let mut refuse = |error: &dyn std::fmt::Display| {
            findings.push(format!("{}: pki:{id}: {error}", inputs.file.display()));
        };
        // A key without certificate is for DKIM, not for TLS.
        if let (Some(certificate), Some(key)) = (&certificate, &key) {
            match Identity::from_pem(certificate, key) {
                Ok(identity) => drop(identities.insert(Arc::clone(&id), identity)),
                Err(error) => {
                    refuse(&error);
                    continue;
                }
            }
        }
        match PkiEntry::from_pem(certificate.as_deref(), key.as_deref()) {
            Ok(entry) => drop(keys.insert(id, Arc::new(entry))),
            Err(error) => refuse(&error),
        }
    }
    (identities, keys)
}

/// Content that a configuration names or holds.
///
/// # Errors
///
/// Names the file.
fn read_source(source: &Source, base: &Path) -> Result<Vec<u8>, String> {
    match source {
        Source::Data(data) => Ok(data.to_vec()),
        Source::Path(path) => {
            let path: PathBuf = base.join(path);
            std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        }
    }
}

/// The name of this machine, fully qualified when the system knows it so.
pub(crate) fn system_hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

impl EarlyKeys {
    /// Reads the keys of the startup configuration, while that is still allowed.
    ///
    /// # Errors
    ///
    /// Names the key and the file.
    pub(crate) fn read(startup: &Startup, file: &Path) -> Result<Self, GenerationError> {
        let base = file.parent().unwrap_or(Path::new("/"));
        let mut out = HashMap::new();
        for pki in &startup.pki {
            let read = |source: &Option<Source>| {
                source.as_ref().map(|source| read_source(source, base)).transpose().map_err(
                    |error| {
                        GenerationError::one(format!("{}: pki:{}: {error}", file.display(), pki.id))
                    },
                )
            };
            out.insert(Arc::clone(&pki.id), (read(&pki.certificate)?, read(&pki.privatekey)?));
        }
        Ok(Self(out))
    }
}
