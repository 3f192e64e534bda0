//! Numbers for `process-stats`: the queue's part of them.

/// Sizes and counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// All rows.
    pub rows: usize,
    /// Rows in DEFER.
    pub defer: usize,
    /// Rows in ACTIVE.
    pub active: usize,
    /// Rows in ACTIVE by priority, 0 first.
    pub active_priorities: [usize; 2],
    /// Rows on HOLD.
    pub hold: usize,
    /// Rows frozen by UPDATE.
    pub update: usize,
    /// Working rows on which a freeze waits.
    pub update_pending: usize,
    /// Rows in hooks and DNS.
    pub unknown: usize,
    /// Rows being sent.
    pub sending: usize,
    /// Sub-queues: distinct combinations of policy fields in ACTIVE or being sent.
    pub subqueues: usize,
    /// Entries with a concurrency in use or waited for.
    pub concurrency_counters: usize,
    /// Entries whose concurrency is used up while somebody waits.
    pub concurrency_suspends: usize,
    /// Entries with a rate or connect interval in use.
    pub rate_buckets: usize,
    /// Entries whose rate or connect interval is used up while somebody waits.
    pub rate_suspends: usize,
    /// Dynamic suspensions.
    pub dynamic_suspends: usize,
    /// Dynamic conditions.
    pub dynamic_conditions: usize,
    /// Names with something queued.
    pub quotas: usize,
    /// Total: sub-queues passed over because a counter was used up.
    pub pickup_skips: u64,
    /// Total: pickups that found nothing that may go.
    pub pickup_misses: u64,
    /// Total: rows picked.
    pub pickup_count: u64,
    /// Rows in ACTIVE that no policy or suspension is known to stop.
    pub pickup_pending: usize,
    /// Total: rows that ended delivered.
    pub delivered: u64,
    /// Total: attempts that were put off.
    pub delayed: u64,
    /// Total: rows that ended bounced or deleted after work on them.
    pub failed: u64,
}
