//! Counters of the whole daemon, read by `process-stats`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use mail_client::count::{Counter, Level};
use mta_types::ServerId;

/// Executions of one kind of script.
#[derive(Debug, Default)]
pub(crate) struct ScriptStats {
    pub(crate) running: Arc<Counter>,
    pub(crate) suspended: Arc<Counter>,
    pub(crate) finished: Counter,
    pub(crate) errors: Counter,
}

/// The hooks in the order of the statistics message.
#[derive(Debug, Default)]
pub(crate) struct ServerStats {
    pub(crate) connections: Arc<Counter>,
    pub(crate) connect: ScriptStats,
    pub(crate) proxy: ScriptStats,
    pub(crate) helo: ScriptStats,
    pub(crate) auth: ScriptStats,
    pub(crate) mailfrom: ScriptStats,
    pub(crate) rcptto: ScriptStats,
    pub(crate) eod: ScriptStats,
    pub(crate) disconnect: ScriptStats,
}

/// All counters.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) started: Instant,
    pub(crate) servers: BTreeMap<ServerId, Arc<ServerStats>>,
    pub(crate) predelivery: ScriptStats,
    pub(crate) postdelivery: ScriptStats,
    pub(crate) delivered: Counter,
    pub(crate) delayed: Counter,
    pub(crate) failed: Counter,
    pub(crate) outbound: Arc<Counter>,
    pub(crate) pool: PoolStats,
}

/// The cache of idle outbound connections.
#[derive(Debug, Default)]
pub(crate) struct PoolStats {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) expires: Counter,
    pub(crate) evicts: Counter,
    pub(crate) skips: Counter,
}

impl Stats {
    pub(crate) fn new(servers: impl IntoIterator<Item = ServerId>) -> Self {
        Self {
            started: Instant::now(),
            servers: servers.into_iter().map(|id| (id, Arc::default())).collect(),
            predelivery: ScriptStats::default(),
            postdelivery: ScriptStats::default(),
            delivered: Counter::default(),
            delayed: Counter::default(),
            failed: Counter::default(),
            outbound: Arc::default(),
            pool: PoolStats::default(),
        }
    }
}
