//! Idle outbound connections, kept for the next message to the same place.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::outbound::smtp::OpenConnection;
use crate::stats::PoolStats;

/// What must be equal for a connection to be used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) local: Option<IpAddr>,
    pub(crate) remote: SocketAddr,
    /// Next hop's name or grouping, as the configuration says.
    pub(crate) policy: String,
    /// Everything that shaped the session: HELO, TLS, XCLIENT, login.
    pub(crate) session: String,
}

/// The cache of idle connections.
pub(crate) struct Pool {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    idle: HashMap<PoolKey, Vec<Idle>>,
    /// Keys in the order of their arrival, for eviction; may be stale.
    order: VecDeque<PoolKey>,
    size: usize,
}

struct Idle {
    connection: OpenConnection,
    until: Instant,
    evictable: bool,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::default() }
    }

    /// Takes a connection that is still good, newest first.
    pub(crate) fn take(
        &self,
        key: &PoolKey,
        now: Instant,
        stats: &PoolStats,
    ) -> Option<OpenConnection> {
        let mut inner = self.inner.lock();
        let found = loop {
            let Some(list) = inner.idle.get_mut(key) else { break None };
            let Some(idle) = list.pop() else {
                inner.idle.remove(key);
                break None;
            };
            inner.size -= 1;
            if idle.until <= now || idle.connection.is_closed() {
                stats.expires.increment();
                continue;
            }
            break Some(idle.connection);
        };
        if found.is_some() {
            stats.hits.increment();
        } else {
            stats.misses.increment();
        }
        found
    }

    /// Keeps a connection, pushing out an evictable one when `size` is reached.
    ///
    /// Gives the connection back when there is no room for it.
    pub(crate) fn put(
        &self,
        key: PoolKey,
        connection: OpenConnection,
        keep: Duration,
        evictable: bool,
        size: usize,
        stats: &PoolStats,
    ) -> Option<OpenConnection> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        // Once a second the sweep closes what is too old; here only when the room is needed.
        if inner.size >= size {
            inner.expire(now, stats);
        }
        if inner.size >= size && !inner.evict(stats) {
            stats.skips.increment();
            return Some(connection);
        }
        inner.size += 1;
        let idle = Idle { connection, until: now + keep, evictable };
        inner.idle.entry(key.clone()).or_default().push(idle);
        inner.order.push_back(key);
        None
    }

    /// Drops what has been idle for too long; returns what is left.
    pub(crate) fn sweep(&self, stats: &PoolStats) -> usize {
        let mut inner = self.inner.lock();
        inner.expire(Instant::now(), stats);
        inner.size
    }

    /// Drops connections that an operator, or the peer, has closed.
    pub(crate) fn drop_closed(&self) {
        let mut inner = self.inner.lock();
        let mut gone = 0;
        inner.idle.retain(|_, list| {
            let before = list.len();
            list.retain(|idle| !idle.connection.is_closed());
            gone += before - list.len();
            !list.is_empty()
        });
        inner.size -= gone;
    }

    /// Idle connections now.
    pub(crate) fn size(&self) -> usize {
        self.inner.lock().size
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        let old = std::mem::take(&mut *self.inner.lock());
        drop(old);
    }
}

impl Inner {
    fn expire(&mut self, now: Instant, stats: &PoolStats) {
        let mut gone = 0;
        self.idle.retain(|_, list| {
            let before = list.len();
            list.retain(|idle| idle.until > now);
            gone += before - list.len();
            !list.is_empty()
        });
        for _ in 0..gone {
            stats.expires.increment();
        }
        self.size -= gone;
        if self.order.len() > 64 && self.order.len() > 4 * self.size {
            let Self { idle, order, .. } = self;
            order.retain(|key| idle.contains_key(key));
        }
    }

    fn evict(&mut self, stats: &PoolStats) -> bool {
        for _ in 0..self.order.len() {
            let Some(key) = self.order.pop_front() else { return false };
            let Some(list) = self.idle.get_mut(&key) else { continue };
            if let Some(oldest) = list.iter().position(|idle| idle.evictable) {
                list.remove(oldest);
                self.size -= 1;
                stats.evicts.increment();
                return true;
            }
            self.order.push_back(key);
        }
        false
    }
}
