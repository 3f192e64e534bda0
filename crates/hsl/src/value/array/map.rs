//! Entries in insertion order, with an index by the hash of their keys.

use std::sync::OnceLock;

use hashbrown::HashTable;

use super::key::{Key, Probe};
use crate::value::Value;

/// Entries that are searched one by one rather than through the hash index.
const UNINDEXED: usize = 8;

/// Small, as every array has room for one.
#[derive(Clone, Default)]
pub(super) struct Map {
    /// In insertion order; `None` where an entry was removed.
    pub(super) entries: Vec<Option<(Key, Value)>>,
    /// Made when a key is looked for first: what is sorted or filtered is often walked only.
    index: OnceLock<Box<MapIndex>>,
    /// Entries that are there; four billion do not fit into memory.
    pub(super) live: u32,
    /// The highest numeric key plus one, at least 0; [`UNKNOWN`] if it must be looked for.
    next: i64,
}

/// A next key that must be looked for.
const UNKNOWN: i64 = -1;

/// Positions by hash of their key; not used while there are at most [`UNINDEXED`] entries.
type MapIndex = HashTable<Position>;

/// Where an entry is. The hash of its key saves most looks at entries, and all of them when the table
/// grows.
#[derive(Clone, Copy)]
struct Position {
    at: u32,
    hash: u32,
}

impl Position {
    /// Returns what the table takes for the hash: it looks at the upper and the lower bits.
    #[inline]
    fn spread(self) -> u64 {
        spread(self.hash)
    }
}

#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl Map {
    /// Makes a map of entries whose keys all differ.
    pub(super) fn of_distinct(entries: Vec<Option<(Key, Value)>>) -> Self {
        let live = entries.len() as u32;
        Self { entries, index: OnceLock::new(), live, next: UNKNOWN }
    }

    #[inline]
    pub(super) fn find(&self, probe: Probe<'_>) -> Option<usize> {
        if self.entries.len() <= UNINDEXED {
            if let Probe::Name(name) = probe {
                // Names of one program are one allocation each: addresses nearly always decide.
                let same = self.entries.iter().position(
                    |entry| matches!(entry, Some((Key::Str(key), _)) if key.ptr_eq(name)),
                );
                if same.is_some() {
                    return same;
                }
            }
            return self
                .entries
                .iter()
                .position(|entry| entry.as_ref().is_some_and(|(key, _)| probe.matches(key)));
        }
        self.find_hashed(probe, probe.hash())
    }

    fn find_hashed(&self, probe: Probe<'_>, hash: u32) -> Option<usize> {
        let entries = &self.entries;
        self.index
            .get_or_init(|| Box::new(index_of(entries)))
            .find(spread(hash), |position| {
                position.hash == hash
                    && entries
                        .get(position.at as usize)
                        .and_then(Option::as_ref)
                        .is_some_and(|(key, _)| probe.matches(key))
            })
            .map(|position| position.at as usize)
    }

    /// Returns the position of the entry with this key; a missing one is made and holds none.
    pub(super) fn find_or_append(&mut self, probe: Probe<'_>, key: impl FnOnce() -> Key) -> usize {
        if self.entries.len() <= UNINDEXED {
            return match self.find(probe) {
                Some(at) => at,
                None => self.append(key(), Value::None),
            };
        }
        let hash = probe.hash();
        match self.find_hashed(probe, hash) {
            Some(at) => at,
            None => self.append_hashed(key(), Value::None, hash),
        }
    }

    /// Adds an entry whose key is not there yet.
    pub(super) fn append(&mut self, key: Key, value: Value) -> usize {
        let hash = if self.index.get().is_some() { key.hash() } else { 0 };
        self.append_hashed(key, value, hash)
    }

    /// Adds an entry whose key is not there yet; the hash matters if there is an index.
    fn append_hashed(&mut self, key: Key, value: Value, hash: u32) -> usize {
        if self.entries.len() > UNINDEXED && (self.live as usize) * 2 < self.entries.len() {
            self.squeeze();
        }
        let at = self.entries.len();
        if let Key::Int(number) = &key
            && self.next != UNKNOWN
        {
            self.next = self.next.max(i64::from(*number) + 1);
        }
        self.entries.push(Some((key, value)));
        self.live += 1;
        if let Some(index) = self.index.get_mut() {
            // Four billion entries do not fit into memory.
            let position = Position { at: at as u32, hash };
            index.insert_unique(position.spread(), position, |position| position.spread());
        }
        at
    }

    /// Removes the gaps.
    fn squeeze(&mut self) {
        self.entries.retain(Option::is_some);
        self.index = OnceLock::new();
    }

    pub(super) fn remove(&mut self, probe: Probe<'_>) -> Option<Value> {
        let at = self.find(probe)?;
        if let Some(index) = self.index.get_mut() {
            let hash = spread(probe.hash());
            if let Ok(slot) = index.find_entry(hash, |position| position.at as usize == at) {
                slot.remove();
            }
        }
        let (key, value) = self.entries.get_mut(at)?.take()?;
        self.live -= 1;
        if let Key::Int(number) = &key
            && i64::from(*number) + 1 == self.next
        {
            self.next = UNKNOWN;
        }
        // Gaps at the end cost nothing to give up.
        while self.entries.len() > UNINDEXED + 1 && matches!(self.entries.last(), Some(None)) {
            self.entries.pop();
        }
        Some(value)
    }

    /// Returns the place at a position where an entry is.
    pub(super) fn place(&mut self, at: usize) -> &mut Value {
        match self.entries.get_mut(at) {
            Some(Some((_, value))) => value,
            _ => unreachable!("the entry was found or appended"),
        }
    }

    pub(super) fn next_index(&mut self) -> i64 {
        if self.next == UNKNOWN {
            let keys = self.entries.iter().flatten().filter_map(|(key, _)| match key {
                Key::Int(number) => Some(i64::from(*number) + 1),
                _ => None,
            });
            self.next = keys.fold(0, i64::max);
        }
        self.next
    }
}

/// Makes the index of a map.
fn index_of(entries: &[Option<(Key, Value)>]) -> MapIndex {
    let mut index = MapIndex::with_capacity(entries.len() + 1);
    for (at, entry) in (0..).zip(entries) {
        if let Some((key, _)) = entry {
            let position = Position { at, hash: key.hash() };
            index.insert_unique(position.spread(), position, |position| position.spread());
        }
    }
    index
}
