//! The caches of the process: what `cache [options] f(…)` keeps.
//!
//! A cache is named by namespace and function; entries are found by the arguments. This room only
//! stores; calling the function and its callbacks is the machine's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::value::{Array, Key, Str, Value};

/// All caches. Share one per process behind an [`Arc`].
#[derive(Default)]
pub struct CacheStore {
    caches: Mutex<BTreeMap<CacheName, Cache>>,
}

/// Which cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheName {
    /// The namespace; empty by default.
    pub namespace: Str,
    /// The function, with its class.
    pub function: Str,
}

#[derive(Default)]
struct Cache {
    /// Pairs of value and end of life (seconds of the monotonic clock), the least recently used first.
    entries: Array,
    statistics: CacheStatistics,
}

/// The figures of one cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Entries it may hold; the smallest size asked for so far.
    pub max_size: usize,
    /// Entries it holds.
    pub size: usize,
    /// Lookups that found something.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Entries that gave way to others.
    pub evicts: u64,
}

impl CacheStore {
    /// Makes a store without caches.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns what is stored for `arguments`, if it still lives at `now`, and counts the lookup.
    pub fn fetch(
        &self,
        name: &CacheName,
        arguments: &Value,
        now: Duration,
        lru: bool,
    ) -> Option<Value> {
        let key = Key::from_value(arguments);
        let mut caches = self.caches.lock();
        let cache = caches.entry(name.clone()).or_default();
        let found = cache.entries.get(&key).and_then(Value::as_array).and_then(|entry| {
            let end = entry.get_int(1)?.as_number()?;
            (end > now.as_secs_f64()).then(|| entry.clone())
        });
        let Some(entry) = found else {
            cache.statistics.misses += 1;
            return None;
        };
        cache.statistics.hits += 1;
        let value = entry.get_int(0).cloned();
        if lru {
            cache.entries.remove(&key);
            cache.entries.insert(key, Value::Array(entry));
        }
        value
    }

    /// Returns what is stored for `arguments`, however old, without counting. For `update_function`.
    pub fn peek(&self, name: &CacheName, arguments: &Value) -> Option<Value> {
        let caches = self.caches.lock();
        let entry = caches.get(name)?.entries.get(&Key::from_value(arguments))?;
        entry.as_array()?.get_int(0).cloned()
    }

    /// Stores `value` for `arguments` until `now` plus `ttl`; a `ttl` of zero stores nothing.
    /// A full cache gives up its oldest entry if `lru`, else it takes nothing new.
    pub fn store(&self, name: &CacheName, arguments: &Value, value: Value, life: Life) {
        let mut caches = self.caches.lock();
        let cache = caches.entry(name.clone()).or_default();
        let limit = &mut cache.statistics.max_size;
        *limit = if *limit == 0 { life.size } else { (*limit).min(life.size) };
        let limit = *limit;
        if life.ttl.is_zero() || limit == 0 {
            return;
        }
        let key = Key::from_value(arguments);
        cache.entries.remove(&key);
        if cache.entries.len() >= limit {
            let now = life.now.as_secs_f64();
            let dead: Vec<Key> = cache
                .entries
                .iter()
                .filter(|(_, entry)| {
                    let end = entry.as_array().and_then(|e| e.get_int(1)?.as_number());
                    end.is_none_or(|end| end <= now)
                })
                .map(|(key, _)| key)
                .collect();
            for key in dead {
                cache.entries.remove(&key);
            }
        }
        while cache.entries.len() >= limit {
            if !life.lru {
                return;
            }
            let Some(oldest) = cache.entries.keys().next() else { break };
            cache.entries.remove(&oldest);
            cache.statistics.evicts += 1;
        }
        let end = (life.now + life.ttl).as_secs_f64();
        cache.entries.insert(key, Value::list([value, Value::Number(end)]));
    }

    /// Empties the caches of a namespace, such as `file:X` when that file changes.
    pub fn clear(&self, namespace: &[u8]) {
        self.caches.lock().retain(|name, _| name.namespace.as_bytes() != namespace);
    }

    /// Empties the caches that `is_meant` names; returns how many there were. Their figures go too.
    pub fn clear_named(&self, mut is_meant: impl FnMut(&CacheName) -> bool) -> usize {
        let mut caches = self.caches.lock();
        let before = caches.len();
        caches.retain(|name, _| !is_meant(name));
        before - caches.len()
    }

    /// Returns the figures of all caches, sorted by name.
    pub fn statistics(&self) -> Vec<(CacheName, CacheStatistics)> {
        let caches = self.caches.lock();
        caches
            .iter()
            .map(|(name, cache)| {
                let size = cache.entries.len();
                (name.clone(), CacheStatistics { size, ..cache.statistics })
            })
            .collect()
    }
}

/// How long and among how many an entry lives.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// The monotonic time now.
    pub now: Duration,
    /// How long the entry lives.
    pub ttl: Duration,
    /// Entries the cache may hold.
    pub size: usize,
    /// Whether the least recently used entry gives way when the cache is full.
    pub lru: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn name() -> CacheName {
        CacheName { namespace: Str::default(), function: Str::from("f") }
    }

    fn life(ttl: u64, size: usize, lru: bool) -> Life {
        Life { now: NOW, ttl: Duration::from_secs(ttl), size, lru }
    }

    #[test]
    fn entries_die_after_their_ttl() {
        let store = CacheStore::new();
        let key = Value::list([Value::from(1)]);
        store.store(&name(), &key, Value::from("v"), life(60, 32, true));
        assert_eq!(store.fetch(&name(), &key, NOW, true), Some(Value::from("v")));
        assert_eq!(store.fetch(&name(), &key, NOW + Duration::from_secs(60), true), None);
        assert_eq!(store.statistics()[0].1.hits, 1);
        assert_eq!(store.statistics()[0].1.misses, 1);
    }

    #[test]
    fn a_full_cache_gives_up_what_was_not_used_longest() {
        let store = CacheStore::new();
        let key = |n: i32| Value::list([Value::from(n)]);
        for n in 0..3 {
            store.store(&name(), &key(n), Value::from(n), life(60, 3, true));
        }
        assert!(store.fetch(&name(), &key(0), NOW, true).is_some());
        store.store(&name(), &key(3), Value::from(3), life(60, 3, true));
        assert!(store.fetch(&name(), &key(1), NOW, true).is_none());
        assert!(store.fetch(&name(), &key(0), NOW, true).is_some());
        store.store(&name(), &key(4), Value::from(4), life(60, 3, false));
        assert!(store.fetch(&name(), &key(4), NOW, true).is_none());
        assert_eq!(store.statistics()[0].1.evicts, 1);
    }
}
