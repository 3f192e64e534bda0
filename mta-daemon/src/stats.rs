//! Counters of the whole daemon, read by `process-stats`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mta_types::ServerId;

/// A number that only grows, or a level that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts up until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Level {
        self.increment();
        Level(Arc::clone(self))
    }

    /// Counts up unless the level has reached `limit`.
    pub(crate) fn enter_below(self: &Arc<Self>, limit: u64) -> Option<Level> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now < limit).then_some(now + 1)
            })
            .ok()
            .map(|_| Level(Arc::clone(self)))
    }
}

/// One unit of a level; given back when dropped.
#[derive(Debug)]
pub(crate) struct Level(Arc<Counter>);

impl Drop for Level {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_never_entered_above_its_limit() {
        let counter = Arc::new(Counter::default());
        let first = counter.enter_below(1).unwrap();
        assert!(counter.enter_below(1).is_none());
        drop(first);
        assert!(counter.enter_below(1).is_some());
        assert_eq!(counter.read(), 0);
    }
}
