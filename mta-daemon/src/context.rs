//! The shared handles of one daemon: everything hangs off [`Core`], nothing is global.

use std::sync::Arc;

use arc_swap::ArcSwap;
use config::{Loaded, Startup};
use plugin_host::PluginHost;
use script_host::server::metrics::Metrics;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::Registry;
pub(crate) use crate::generation::Server;
use crate::generation::{EarlyKeys, Generation};
use crate::hooks::HookSets;
use crate::hooks::runner::ScriptWorld;
use crate::ids::IdSource;
use crate::inbound::facts::InboundEntry;
use crate::outbound::pool::Pool;
use crate::outbound::smtp::OutboundEntry;
use crate::queue_service::QueueService;
use crate::stage::StageSlot;
use crate::stats::Stats;

/// What every task of a daemon can reach.
pub(crate) struct Core {
    /// Fixed from start to stop.
    pub(crate) startup: Loaded<Startup>,
    /// The running configuration, replaced whole by a reload; take a snapshot and keep to it.
    pub(crate) generation: ArcSwap<Generation>,
    /// A second running configuration beside it, for some connections.
    pub(crate) stage: StageSlot,
    pub(crate) spool: spool::Spool,
    pub(crate) queue: Arc<QueueService>,
    pub(crate) ids: IdSource,
    pub(crate) scripts: ScriptWorld,
    /// What `rate()` of scripts counted.
    pub(crate) rates: Arc<hsl_std::LocalRates>,
    /// What hook scripts may call, by hook.
    pub(crate) hook_sets: HookSets,
    /// The plugins of this process.
    pub(crate) plugins: PluginHost,
    /// Keys of the startup configuration, read before privileges were dropped.
    pub(crate) early_keys: EarlyKeys,
    pub(crate) pool: Pool,
    /// Open connections from peers.
    pub(crate) inbound: Registry<InboundEntry>,
    /// Open connections to peers, idle ones too.
    pub(crate) outbound: Registry<OutboundEntry>,
    pub(crate) stats: Stats,
    /// Metrics that scripts move.
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled when the daemon is asked to stop.
    pub(crate) stop: CancellationToken,
    /// Cancelled when the time for finishing is over too.
    pub(crate) abort: CancellationToken,
    /// Connections and control clients; shutdown waits for them.
    pub(crate) tasks: TaskTracker,
    /// Delivery attempts and scripts of the queue; shutdown waits for them after `tasks`.
    pub(crate) deliveries: TaskTracker,
    /// One reload at a time.
    pub(crate) reloading: tokio::sync::Mutex<()>,
}
