//! The caches of the process: what `cache [options] f(…)` keeps.
//!
//! A cache is named by namespace and function; entries are found by the arguments. This room only
//! stores; calling the function and its callbacks is the machine's business.
//!
//! Scripts choose the size of a cache and how many there are, so all of them together are bounded in
//! octets too ([`CacheStore::MAX_OCTETS`]). When there is no room, entries whose time is over go first, then
//! other caches, by name, then the oldest entries of the same cache.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::memory::MeasureKept;
use crate::value::{Array, Key, Str, Value};

/// All caches. Share one per process behind an [`Arc`].
pub struct CacheStore {
    caches: Mutex<Caches>,
    /// Octets that all caches may occupy.
    most: usize,
}

#[derive(Default)]
struct Caches {
    by_name: BTreeMap<CacheName, Cache>,
    /// About what all of them occupy.
    octets: usize,
    /// How many there may be until those whose time is over are looked for.
    next_sweep: usize,
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
    /// Lists of value, end of life (seconds of the monotonic clock) and octets, the least recently used
    /// first.
    entries: Array,
    /// About what the cache and its entries occupy.
    octets: usize,
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

impl Default for CacheStore {
    fn default() -> Self {
        Self { caches: Mutex::default(), most: Self::MAX_OCTETS }
    }
}

impl CacheStore {
    /// About how many octets all caches of a process may occupy.
    pub const MAX_OCTETS: usize = 256 << 20;

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
        // What gives way is dropped outside of the lock.
        let _dropped: Vec<Cache>;
        let mut caches = self.caches.lock();
        _dropped = caches.open(name, now, self.most);
        let cache = caches.by_name.get_mut(name)?;
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
        let entry = caches.by_name.get(name)?.entries.get(&Key::from_value(arguments))?;
        entry.as_array()?.get_int(0).cloned()
    }

    /// Stores `value` for `arguments` until `now` plus `ttl`; a `ttl` of zero stores nothing.
    /// A full cache gives up its oldest entry if `lru`, else it takes nothing new.
    pub fn store(&self, name: &CacheName, arguments: &Value, value: Value, life: Life) {
        let mut measure = MeasureKept::new();
        let octets = ENTRY_OCTETS + measure.add(arguments) + measure.add(&value);
        // What gives way is dropped outside of the lock.
        let mut dropped = Vec::new();
        let mut guard = self.caches.lock();
        let caches = &mut *guard;
        dropped.extend(caches.open(name, life.now, self.most));
        let Some(cache) = caches.by_name.get_mut(name) else { return };
        let limit = &mut cache.statistics.max_size;
        *limit = if *limit == 0 { life.size } else { (*limit).min(life.size) };
        let limit = *limit;
        if life.ttl.is_zero() || limit == 0 || octets > self.most {
            return;
        }
        let key = Key::from_value(arguments);
        let before = cache.octets;
        cache.remove(&key);
        if cache.entries.len() >= limit {
            cache.remove_dead(life.now);
        }
        while life.lru && cache.entries.len() >= limit && cache.evict() {}
        let is_full = cache.entries.len() >= limit;
        caches.octets = (caches.octets + cache.octets).saturating_sub(before);
        if is_full {
            return;
        }
        if caches.octets + octets > self.most {
            dropped.extend(caches.make_room(name, octets, life.now, self.most));
        }
        let Some(cache) = caches.by_name.get_mut(name) else { return };
        let others = caches.octets.saturating_sub(cache.octets);
        while life.lru && others + cache.octets + octets > self.most && cache.evict() {}
        if others + cache.octets + octets <= self.most {
            let end = (life.now + life.ttl).as_secs_f64();
            let entry = [value, Value::Number(end), Value::Number(octets as f64)];
            cache.entries.insert(key, Value::list(entry));
            cache.octets += octets;
        }
        caches.octets = others + cache.octets;
    }

    /// Empties the caches that `is_meant` names; returns how many there were. Their figures go too.
    pub fn clear_named(&self, mut is_meant: impl FnMut(&CacheName) -> bool) -> usize {
        let mut caches = self.caches.lock();
        let before = caches.by_name.len();
        caches.by_name.retain(|name, _| !is_meant(name));
        caches.count();
        before - caches.by_name.len()
    }

    /// Returns the figures of all caches, sorted by name.
    pub fn statistics(&self) -> Vec<(CacheName, CacheStatistics)> {
        let caches = self.caches.lock();
        caches
            .by_name
            .iter()
            .map(|(name, cache)| {
                let size = cache.entries.len();
                (name.clone(), CacheStatistics { size, ..cache.statistics })
            })
            .collect()
    }
}

impl Caches {
    /// Makes sure that there is a cache; returns what gave way to it.
    fn open(&mut self, name: &CacheName, now: Duration, most: usize) -> Vec<Cache> {
        if self.by_name.contains_key(name) {
            return Vec::new();
        }
        let octets = CACHE_OCTETS + name.namespace.len() + name.function.len();
        self.by_name.insert(name.clone(), Cache { octets, ..Cache::default() });
        self.octets += octets;
        if self.by_name.len() > self.next_sweep {
            self.sweep(now, name);
        }
        if self.octets > most { self.make_room(name, 0, now, most) } else { Vec::new() }
    }

    /// Removes what is over, when there are twice as many caches as are in use: each message may have
    /// caches of its own. The figures of caches that go are lost.
    fn sweep(&mut self, now: Duration, new: &CacheName) {
        self.by_name.values_mut().for_each(|cache| cache.remove_dead(now));
        self.by_name.retain(|name, cache| !cache.entries.is_empty() || name == new);
        self.count();
        self.next_sweep = (2 * self.by_name.len()).max(FEW_CACHES);
    }

    /// Removes entries whose time is over, then whole caches but `keep`, until `needed` octets more fit.
    fn make_room(
        &mut self,
        keep: &CacheName,
        needed: usize,
        now: Duration,
        most: usize,
    ) -> Vec<Cache> {
        self.by_name.values_mut().for_each(|cache| cache.remove_dead(now));
        self.count();
        let mut dropped = Vec::new();
        while self.octets + needed > most {
            let Some(other) = self.by_name.keys().find(|name| *name != keep).cloned() else {
                break;
            };
            if let Some(cache) = self.by_name.remove(&other) {
                self.octets = self.octets.saturating_sub(cache.octets);
                dropped.push(cache);
            }
        }
        dropped
    }

    fn count(&mut self) {
        self.octets = self.by_name.values().map(|cache| cache.octets).sum();
    }
}

impl Cache {
    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        let octets = entry.as_array().and_then(|entry| entry.get_int(2)?.as_number());
        self.octets = self.octets.saturating_sub(octets.map_or(0, |octets| octets as usize));
    }

    /// Removes the entries whose time is over.
    fn remove_dead(&mut self, now: Duration) {
        let now = now.as_secs_f64();
        let is_dead = |entry: &Value| {
            let end = entry.as_array().and_then(|entry| entry.get_int(1)?.as_number());
            end.is_none_or(|end| end <= now)
        };
        let entries = self.entries.iter();
        let dead: Vec<Key> =
            entries.filter(|(_, entry)| is_dead(entry)).map(|(key, _)| key).collect();
        for key in dead {
            self.remove(&key);
        }
    }

    /// Gives up the oldest entry; false if there is none.
    fn evict(&mut self) -> bool {
        let Some(oldest) = self.entries.keys().next() else { return false };
        self.remove(&oldest);
        self.statistics.evicts += 1;
        true
    }
}

/// About what an entry occupies apart from arguments and value.
const ENTRY_OCTETS: usize = 160;
/// So many caches are kept with their figures, even if they are empty.
const FEW_CACHES: usize = 1024;
/// About what a cache without entries occupies, apart from its name.
const CACHE_OCTETS: usize = 256;

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

    #[test]
    fn caches_whose_entries_are_over_go_when_there_are_many() {
        let store = CacheStore::new();
        let key = Value::list([]);
        for n in 0..10_000_u64 {
            let namespace = Str::from(format!("message {n}").as_str());
            let name = CacheName { namespace, function: Str::from("f") };
            // Each lives for a second, and every second comes a hundred.
            let life = Life { now: NOW + Duration::from_millis(n * 10), ..life(1, 32, true) };
            store.store(&name, &key, Value::from("v"), life);
            assert_eq!(store.fetch(&name, &key, life.now, true), Some(Value::from("v")));
        }
        assert!(store.statistics().len() <= FEW_CACHES + 1, "{}", store.statistics().len());
    }

    #[test]
    fn all_caches_together_are_bounded_in_octets() {
        let store = CacheStore { most: 100_000, ..CacheStore::default() };
        let cache = |function: String| CacheName {
            namespace: Str::default(),
            function: Str::from(function.as_str()),
        };
        let text = |n: i32| Value::from(format!("{n:09000}"));
        let key = |n: i32| Value::list([Value::from(n)]);
        let octets = || store.caches.lock().octets;
        // One cache with room for many: the oldest entries go.
        for n in 0..100 {
            store.store(&name(), &key(n), text(n), life(60, 1_000_000, true));
            assert!(octets() <= 100_000);
        }
        assert_eq!(store.fetch(&name(), &key(99), NOW, true), Some(text(99)));
        assert_eq!(store.fetch(&name(), &key(0), NOW, true), None);
        assert!(octets() > 80_000);
        // Without `lru`, and for what never fits, nothing is stored and nothing goes.
        store.store(&name(), &key(100), text(100), life(60, 1_000_000, false));
        store.store(&name(), &key(101), Value::from("x".repeat(200_000)), life(60, 9, true));
        assert_eq!(store.fetch(&name(), &key(100), NOW, true), None);
        assert_eq!(store.fetch(&name(), &key(99), NOW, true), Some(text(99)));
        // Many caches: the others go.
        for n in 0..1000 {
            store.store(&cache(format!("g{n}")), &key(n), text(n), life(60, 32, true));
            assert!(octets() <= 100_000);
        }
        assert_eq!(store.fetch(&cache("g999".to_owned()), &key(999), NOW, true), Some(text(999)));
        for n in 0..1000 {
            assert_eq!(store.fetch(&cache(format!("h{n}")), &key(n), NOW, true), None);
            assert!(octets() <= 100_000);
        }
        store.clear_named(|_| true);
        assert_eq!(octets(), 0);
    }
}
