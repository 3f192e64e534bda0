//! The order of birth: configuration, sockets, keys, privileges, spool, queue, listeners, ready.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::startup::{Corrupt, Place, ServerKind};
use config::{Loaded, Running, Startup};
use hsl::host::Registry;
use hsl_std::LocalRates;
use mta_types::Timestamp;
use plugin_host::LoadError;
use queue::Queue;
use script_host::privileges;
use script_host::server::metrics::Metrics;
use script_host::server::{self, metric_functions};
use spool::{MinFree, Platform, Spool};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections;
use crate::context::Core;
use crate::control::server as control_server;
use crate::generation::{EarlyKeys, GenerationError};
use crate::hooks::runner::ScriptWorld;
use crate::hooks::{HookSets, server_functions};
use crate::ids::IdSource;
use crate::inbound::listener;
use crate::outbound::pool::Pool;
use crate::queue_service::rule_files::{self, DeliveryRules};
use crate::queue_service::{QueueService, pickup};
use crate::stage::StageSlot;
use crate::stats::Stats;
use crate::unix_socket;
use crate::{plugins, reload, services, time};

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The startup configuration.
    pub config: PathBuf,
}

/// A running daemon.
pub struct Daemon {
    pub(crate) core: Arc<Core>,
    pub(crate) control: JoinHandle<()>,
    pub(crate) control_end: CancellationToken,
    addresses: Vec<(String, SocketAddr)>,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A configuration file is wrong.
    #[error("{0}")]
    Config(#[from] GenerationError),
    /// A socket could not be bound.
    #[error("server {server}: cannot listen on {address}: {source}")]
    Listen {
        /// The virtual server.
        server: String,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A Unix socket for mail could not be bound.
    #[error("server {server}: cannot listen on {source}")]
    ListenLocal {
        /// The virtual server.
        server: String,
        /// Where, and why not.
        source: std::io::Error,
    },
    /// The control socket could not be bound.
    #[error("control socket: {0}")]
    Control(std::io::Error),
    /// Limits or identity could not be set.
    #[error("{what}: {source}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A plugin cannot be loaded, is of another version, or refused to start.
    #[error("{0}")]
    Plugin(#[from] LoadError),
    /// The spool cannot be used.
    #[error("spool: {0}")]
    Spool(#[from] spool::OpenError),
}

impl StartError {
    /// Tells whether the configuration is to blame, rather than the machine.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Config(_))
    }
}

/// Looks at all configuration files without starting anything.
///
/// # Errors
///
/// Everything that is wrong with them.
pub async fn check(options: &Options) -> Result<(), GenerationError> {
    let loaded = read_startup(&options.config)?;
    let startup = &loaded.config;
    let slot = services::CoreSlot::default();
    let refused = |error: LoadError| GenerationError { findings: vec![error.to_string()] };
    // Names are needed to compile scripts; nothing is initialised, so nothing starts.
    let plugins = plugins::load(startup, None, None).map_err(refused)?;
    let rates = Arc::default();
    let mut registry = library(&slot, startup, &rates, &Arc::default());
    plugins.register(&mut registry).map_err(refused)?;
    let hook_sets =
        HookSets::new(&registry.freeze(), &services::standard_library(&slot, startup, &rates));
    let stats = Stats::new(startup.servers.iter().map(|server| server.id.clone()));
    let keys = EarlyKeys::read(startup, &options.config)?;
    let mut findings = Vec::new();
    let mut tell = |error: GenerationError| findings.extend(error.findings);
    let generation = reload::load(&loaded, &keys, &hook_sets, &stats).map_err(&mut tell);
    drop(generation);
    let _ = rule_files::read_policies(&loaded).map_err(&mut tell);
    let _ = rule_files::read_suspends(&loaded).map_err(&mut tell);
    let _ = rule_files::read_delivery(&loaded).map_err(&mut tell);
    if findings.is_empty() { Ok(()) } else { Err(GenerationError { findings }) }
}

impl Daemon {
    /// Starts a daemon; it accepts mail when this returns.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left behind.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let loaded = read_startup(&options.config)?;
        let startup = &loaded.config;
        let process = |what| move |source| StartError::Process { what, source };
        privileges::set_limits(&startup.environment).map_err(process("environment"))?;
        let slot: services::CoreSlot = Arc::new(OnceLock::new());
        let stats = Stats::new(startup.servers.iter().map(|server| server.id.clone()));
        let early_keys = EarlyKeys::read(startup, &options.config)?;
        let bound = bind(startup)?;
        let control = control_server::bind(&startup.environment.controlsocket)
            .map_err(StartError::Control)?;
        prepare_spool_folder(startup).map_err(process("spool"))?;
        privileges::drop_root(&startup.environment).map_err(process("environment.privdrop"))?;
        // From here on as the unprivileged user: files of the running configuration must be
        // readable for it. Plugins start threads and open files, so they come after the drop too.
        let running = reload::read_running(startup)?;
        reload::name_ignored_keys(&loaded);
        reload::name_ignored_keys(&running);
        let rules = QueueRules::read(&loaded)?;
        let settings = queue_settings(&running.config);
        let queue = Arc::new(QueueService::new(Queue::new(settings)));
        let plugins =
            plugins::load(startup, Some(&running), Some((Arc::clone(&queue), Arc::clone(&slot))))?;
        let rates = Arc::new(LocalRates::default());
        let metrics: Arc<Metrics> = Arc::default();
        let mut registry = library(&slot, startup, &rates, &metrics);
        let apply_rules = || {
            let mut queue = queue.lock();
            queue.configure_policies(rules.policies, time::now());
            queue.configure_suspends(rules.suspends, time::now());
        };
        // A plugin may wait for its own threads here.
        tokio::task::block_in_place(|| plugins::start(&plugins, &mut registry, apply_rules))?;
        let hook_sets =
            HookSets::new(&registry.freeze(), &services::standard_library(&slot, startup, &rates));
        let generation = reload::load(&loaded, &early_keys, &hook_sets, &stats)?;
        let (spool, report) = open_spool(startup, &queue).await?;
        tracing::info!(
            messages = report.messages,
            rows = report.rows,
            damaged = report.damaged,
            duration_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
            "spool.loaded"
        );
        queue.configure_delivery(rules.delivery);
        queue.configure_running(generation.lists.clone(), generation.groupings.clone());
        metrics.define(&generation.running.monitor.metrics);
        let core = Arc::new(Core {
            ids: IdSource::new(startup.environment.uuid_version),
            generation: ArcSwap::from_pointee(generation),
            stage: StageSlot::default(),
            spool,
            queue,
            scripts: ScriptWorld::new(startup.scripting.shared_memory),
            rates,
            hook_sets,
            plugins,
            early_keys,
            pool: Pool::new(),
            inbound: connections::Registry::default(),
            outbound: connections::Registry::default(),
            stats,
            metrics,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            deliveries: TaskTracker::new(),
            reloading: tokio::sync::Mutex::new(()),
            startup: loaded,
        });
        // Filled exactly once, here.
        let _ = slot.set(Arc::downgrade(&core));
        let mut addresses = Vec::new();
        for socket in bound {
            if let listener::Sockets::Tcp(listener) = &socket.sockets
                && let Ok(address) = listener.local_addr()
            {
                addresses.push((socket.server.to_string(), address));
            }
            core.tasks.spawn(listener::serve(Arc::clone(&core), socket));
        }
        core.deliveries.spawn(pickup::run(Arc::clone(&core)));
        core.deliveries.spawn(sweep(Arc::clone(&core)));
        let control_end = CancellationToken::new();
        let control =
            tokio::spawn(control_server::serve(Arc::clone(&core), control, control_end.clone()));
        core.plugins.ready();
        tracing::info!(listeners = addresses.len(), "daemon.ready");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        Ok(Self { core, control, control_end, addresses })
    }

    /// The listening addresses with the ids of their servers.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Which priorities the configuration wants in syslog, one bit each (bit 0 is `emerg`).
    #[must_use]
    pub fn syslog_mask(&self) -> u8 {
        self.core.startup.config.environment.syslog_mask
    }

    /// Takes a new running configuration.
    ///
    /// # Errors
    ///
    /// What is wrong with it; the old one stays in force.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves either configuration in force, whole.
    pub async fn reload(&self) -> Result<(), GenerationError> {
        reload::run(&self.core).await
    }
}

/// The queue's files as they are at start.
struct QueueRules {
    policies: queue::Policies,
    suspends: Vec<queue::suspend::StaticSuspend>,
    delivery: DeliveryRules,
}

impl QueueRules {
    fn read(startup: &Loaded<Startup>) -> Result<Self, GenerationError> {
        let (policies, file) = rule_files::read_policies(startup)?;
        file.iter().for_each(reload::name_ignored_keys);
        let (suspends, file) = rule_files::read_suspends(startup)?;
        file.iter().for_each(reload::name_ignored_keys);
        let (delivery, file) = rule_files::read_delivery(startup)?;
        file.iter().for_each(reload::name_ignored_keys);
        Ok(Self { policies, suspends, delivery })
    }
}

fn read_startup(file: &Path) -> Result<Loaded<Startup>, GenerationError> {
    reload::read(file, |text, name| config::load_startup(text, name))
}

/// What all scripts may call, plugins apart: the standard library and the server's functions.
fn library(
    slot: &services::CoreSlot,
    startup: &Startup,
    rates: &Arc<LocalRates>,
    metrics: &Arc<Metrics>,
) -> Registry {
    let mut registry = Registry::new();
    hsl_std::register(&mut registry, &services::standard_library(slot, startup, rates));
    server::register(&mut registry, &server_functions::server(slot));
    metric_functions::register(&mut registry, metrics);
    registry
}

fn bind(startup: &Startup) -> Result<Vec<listener::Bound>, StartError> {
    let mut bound = Vec::new();
    for server in startup.servers.iter().filter(|server| server.kind == ServerKind::Smtp) {
        for point in &server.listeners {
            let of = |sockets| listener::Bound {
                sockets,
                server: server.id.clone(),
                id: point.id.clone(),
                proxies: server.proxyprotocol.iter().map(IpAddr::to_canonical).collect(),
            };
            if let Place::Unix(socket) = &point.place {
                let (listener, file) = unix_socket::bind(socket).map_err(|source| {
                    StartError::ListenLocal { server: server.id.to_string(), source }
                })?;
                bound.push(of(listener::Sockets::Unix(listener, file)));
            }
            for address in point.place.socket_addrs() {
                match listener::bind(address, point.backlog) {
                    Ok(listener) => bound.push(of(listener::Sockets::Tcp(listener))),
                    // A machine without IPv6 still serves "all addresses" over IPv4.
                    Err(error)
                        if matches!(point.place, Place::Network { address: None, .. })
                            && address.is_ipv6()
                            && error.kind() != std::io::ErrorKind::AddrInUse => {}
                    Err(source) => {
                        let server = server.id.to_string();
                        return Err(StartError::Listen { server, address, source });
                    }
                }
            }
        }
    }
    Ok(bound)
}

/// Makes the spool folder while that is allowed, for the user who will work in it.
fn prepare_spool_folder(startup: &Startup) -> std::io::Result<()> {
    let path = &startup.spool.path;
    let (uid, gid) = privileges::target_ids(&startup.environment)?;
    if (uid.is_some() || gid.is_some()) && !path.exists() {
        std::fs::create_dir_all(path)?;
        nix::unistd::chown(path.as_path(), uid, gid)?;
    }
    Ok(())
}

/// Opens the spool and fills the queue with what it holds.
async fn open_spool(
    startup: &Startup,
    queue: &QueueService,
) -> Result<(Spool, spool::LoadReport), StartError> {
    let settings = &startup.spool;
    let config = spool::Config {
        fsync: settings.fsync,
        corrupt: match settings.corrupt {
            Corrupt::Ignore => spool::Corrupt::Ignore,
            Corrupt::Rename => spool::Corrupt::Rename,
            Corrupt::Unlink => spool::Corrupt::Unlink,
        },
        loader_threads: settings.loader_threads as usize,
        minfree: MinFree {
            bytes: settings.minfree_bytes.map_or(0, |size| size.0),
            inodes: settings.minfree_inodes.unwrap_or(0),
        },
        segment_bytes: settings.segment_size.0,
        ..spool::Config::new(&settings.path)
    };
    let platform = Platform::system(log_spool_event);
    let now = time::now();
    // Reading the spool blocks; nothing else runs yet.
    let opened = tokio::task::block_in_place(|| {
        Spool::open(config, platform, &mut |found| recover(&mut queue.lock(), &found, now))
    })?;
    Ok(opened)
}

fn recover(queue: &mut Queue, found: &spool::Recovered<'_>, now: Timestamp) {
    let id = found.transaction;
    let damaged = |error: &dyn std::fmt::Display| {
        tracing::error!(transaction = %id, %error, "spool.damaged");
    };
    let transaction = match queue_records::decode_transaction(id, found.metadata, found.body_len) {
        Ok(transaction) => transaction,
        Err(error) => return damaged(&error),
    };
    for row in found.rows {
        match queue_records::decode_row(&transaction, row.queue, row.row, row.state) {
            Ok(row) => {
                if let Err(error) = queue.insert(row, now) {
                    damaged(&error);
                }
            }
            Err(error) => damaged(&error),
        }
    }
}

fn log_spool_event(event: spool::Event) {
    use spool::Event;
    match &event {
        Event::SegmentDamaged { path, offset, len } => {
            tracing::error!(path = %path.display(), offset, len, "spool.damaged");
        }
        Event::BodyMissing { transaction, path, segment, offset } => tracing::error!(
            transaction = %transaction,
            path = %path.display(),
            segment = %segment.display(),
            offset,
            error = "the body file is missing",
            "spool.damaged"
        ),
        Event::MessageDamaged { transaction, path, offset } => tracing::error!(
            transaction = %transaction,
            path = %path.display(),
            offset,
            error = "the message does not match its checksum",
            "spool.damaged"
        ),
        Event::DuplicateTransaction { transaction, path, offset } => tracing::error!(
            transaction = %transaction,
            path = %path.display(),
            offset,
            error = "two messages have one id",
            "spool.damaged"
        ),
        Event::WriteFailed { path, error } => {
            tracing::error!(path = %path.display(), error, "spool.commit_failed");
        }
        Event::BackgroundFailed { action, path, error } => {
            tracing::warn!(action, path = %path.display(), error, "spool.commit_failed");
        }
        other => tracing::info!(found = ?other, "spool.loaded"),
    }
}

fn queue_settings(running: &Running) -> queue::Settings {
    let mut seed = [0; 8];
    seed.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..8]);
    queue::Settings {
        concurrency: Some(running.queues.concurrency_total),
        hosts: NonZeroU32::MIN,
        seed: u64::from_le_bytes(seed),
    }
}

/// Closes idle outbound connections whose time is over, and forgets what is known of rows that left.
async fn sweep(core: Arc<Core>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            _ = tick.tick() => drop(core.pool.sweep(&core.stats.pool)),
            _ = minute.tick() => {
                core.queue.given_back.sweep(|id| core.queue.lock().view(id).is_some());
            }
        }
    }
}
