//! Entries: what a counter counts for one combination of values, and who waits for it.
//!
//! An entry lives while something is counted in it or somebody waits for it. Whoever is stopped by
//! one waits there and costs nothing until it has room again; then one waiter is woken at a time,
//! and the next when that one has been looked at and room is left.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use mta_types::Timestamp;

use crate::ring::{Node, Slab};
use crate::suspend::Source;
use crate::symbol::{Names, Values};
use crate::window::{Algorithm, Rate, Window};

/// Which entry: the counter's place in the configuration, and the values after roll-up. Fields
/// that the counter does not have are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntryKey {
    pub(crate) counter: u16,
    pub(crate) values: Values,
}

/// The limits of an entry, as conditions and cluster size make them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Effective {
    pub(crate) concurrency: Option<u32>,
    pub(crate) rate: Option<(Rate, Algorithm)>,
    pub(crate) connectinterval: Option<Duration>,
    pub(crate) stop: bool,
}

/// One entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: EntryKey,
    pub(crate) limits: Effective,
    /// Rows being sent that it counts.
    pub(crate) in_flight: u32,
    window: Option<Window>,
    /// The next pickup may not come before.
    not_before: Timestamp,
    /// Classes that wait here: the urgent ones first, then in the order they came.
    waiters: BTreeMap<(u8, u64), Node>,
    /// Classes that were woken and not looked at since.
    woken: u32,
    /// When the entry wants to be looked at.
    timer: Option<Timestamp>,
}

/// A class's place among an entry's waiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) entry: Node,
    rank: u8,
    number: u64,
}

/// Why an entry stops a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Its concurrency is used up.
    Concurrency,
    /// Its rate or connect interval is, until then.
    Until(Timestamp),
}

/// All entries in use.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    entries: Slab<Entry>,
    keys: HashMap<EntryKey, Node>,
    /// Entries that have waiters and free up by themselves, by when.
    waited: BTreeSet<(Timestamp, Node)>,
    /// Entries without waiters that can be forgotten, by when.
    fading: BTreeSet<(Timestamp, Node)>,
    tickets: u64,
}

impl Entry {
    /// What stops a row here at `now`, if anything does.
    pub(crate) fn stopped(&mut self, now: Timestamp) -> Option<Stopped> {
        if self.limits.concurrency.is_some_and(|limit| self.in_flight >= limit) {
            return Some(Stopped::Concurrency);
        }
        let mut ready = now;
        if self.limits.connectinterval.is_some() {
            ready = ready.max(self.not_before);
        }
        if let (Some((rate, _)), Some(window)) = (self.limits.rate, &mut self.window) {
            ready = ready.max(window.ready_at(rate, now));
        }
        (ready > now).then_some(Stopped::Until(ready))
    }

    fn charge(&mut self, now: Timestamp) {
        self.in_flight += 1;
        if let Some(interval) = self.limits.connectinterval {
            self.not_before = now.saturating_add(interval);
        }
        if let Some((rate, algorithm)) = self.limits.rate {
            self.window.get_or_insert_with(|| Window::new(algorithm, rate, now)).take(rate, now);
        }
    }

    /// Takes back what a row that was picked up at `since` cost, except its place among those being
    /// sent.
    fn give_back(&mut self, since: Timestamp) {
        let charged = self.limits.connectinterval.map(|interval| since.saturating_add(interval));
        // Unless another row went after it.
        if charged == Some(self.not_before) {
            self.not_before = since;
        }
        if let (Some((rate, _)), Some(window)) = (self.limits.rate, &mut self.window) {
            window.give_back(rate, since);
        }
    }

    /// When nothing would remind of the past any more.
    fn idle_at(&mut self, now: Timestamp) -> Timestamp {
        let not_before = match self.limits.connectinterval {
            Some(_) => self.not_before,
            None => now,
        };
        match (self.limits.rate, &mut self.window) {
            (Some((rate, _)), Some(window)) => window.idle_at(rate, now).max(not_before),
            _ => not_before,
        }
        .max(now)
    }

    pub(crate) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn waiters(&self) -> impl Iterator<Item = Node> {
        self.waiters.values().copied()
    }

    #[cfg(test)]
    pub(crate) const fn has_timer(&self) -> bool {
        self.timer.is_some()
    }

    #[cfg(test)]
    pub(crate) const fn woken(&self) -> u32 {
        self.woken
    }
}

impl Entries {
    pub(crate) fn find(&self, key: &EntryKey) -> Option<Node> {
        self.keys.get(key).copied()
    }

    pub(crate) fn entry(&mut self, node: Node) -> &mut Entry {
        &mut self.entries[node]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Node, &Entry)> {
        self.entries.iter()
    }

    /// The entry of that key, made with `limits` when it is not there.
    pub(crate) fn open(&mut self, key: EntryKey, limits: Effective, names: &mut Names) -> Node {
        if let Some(node) = self.find(&key) {
            return node;
        }
        names.retain_all(&key.values);
        let node = self.entries.insert(Entry {
            key,
            limits,
            in_flight: 0,
            window: None,
            not_before: Timestamp::EPOCH,
            waiters: BTreeMap::new(),
            woken: 0,
            timer: None,
        });
        self.keys.insert(key, node);
        node
    }

    /// Counts one row that goes.
    pub(crate) fn charge(&mut self, node: Node, now: Timestamp) {
        self.entries[node].charge(now);
    }

    /// Forgets that a row counted at `since` cost a token and a connect interval;
    /// [`Entries::discharge`] is to follow.
    pub(crate) fn give_back(&mut self, node: Node, since: Timestamp) {
        self.entries[node].give_back(since);
    }

    /// Counts one row that goes on being sent under new policies.
    pub(crate) fn carry(&mut self, node: Node) {
        self.entries[node].in_flight += 1;
    }

    /// Takes back a row that is no longer being sent. The entry may have room for a waiter now.
    pub(crate) fn discharge(&mut self, node: Node) {
        let entry = &mut self.entries[node];
        entry.in_flight = entry.in_flight.saturating_sub(1);
    }

    /// Lets `class` wait at an entry; `rank` 0 goes ahead of rank 1.
    pub(crate) fn wait(&mut self, node: Node, class: Node, rank: u8, now: Timestamp) -> Ticket {
        self.tickets += 1;
        let number = self.tickets;
        self.entries[node].waiters.insert((rank, number), class);
        self.settle(node, now);
        Ticket { entry: node, rank, number }
    }

    /// Takes a waiter away; [`Entries::tidy`] is to follow.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.entries[ticket.entry].waiters.remove(&(ticket.rank, ticket.number));
    }

    /// The next waiter, when the entry has room for one; it counts as woken until
    /// [`Entries::looked_at`].
    ///
    /// Here, and where limits change, the entry may be gone: waking a class for one entry takes it
    /// away from others, which may be forgotten then.
    pub(crate) fn wake(&mut self, node: Node, now: Timestamp) -> Option<Node> {
        let entry = self.entries.get_mut(node)?;
        if entry.waiters.is_empty() || entry.stopped(now).is_some() {
            return None;
        }
        let class = entry.waiters.first_key_value().map(|(_, class)| *class)?;
        entry.woken += 1;
        Some(class)
    }

    /// A woken class has been looked at, or is no more.
    pub(crate) fn looked_at(&mut self, node: Node) {
        let entry = &mut self.entries[node];
        entry.woken = entry.woken.saturating_sub(1);
    }

    /// Forgets the entry when nothing is counted in it; otherwise sets its timer.
    pub(crate) fn tidy(&mut self, node: Node, now: Timestamp, names: &mut Names) {
        let Some(entry) = self.entries.get(node) else { return };
        let used = entry.in_flight > 0 || entry.woken > 0 || !entry.waiters.is_empty();
        if !used && self.entries[node].idle_at(now) <= now {
            self.forget(node, names);
        } else {
            self.settle(node, now);
        }
    }

    /// Takes the entries whose time has come: first those with waiters, which may have room now.
    pub(crate) fn due(&mut self, now: Timestamp, names: &mut Names) -> Vec<Node> {
        while let Some((at, node)) = self.fading.first().copied().filter(|(at, _)| *at <= now) {
            self.fading.remove(&(at, node));
            self.entries[node].timer = None;
            self.tidy(node, now, names);
        }
        let mut freed = Vec::new();
        while let Some((at, node)) = self.waited.first().copied().filter(|(at, _)| *at <= now) {
            self.waited.remove(&(at, node));
            self.entries[node].timer = None;
            freed.push(node);
        }
        freed
    }

    /// When the next entry that is waited for frees up by itself.
    pub(crate) fn next_free(&self) -> Option<Timestamp> {
        self.waited.first().map(|(at, _)| *at)
    }

    /// Sets the limits of an entry.
    pub(crate) fn set_limits(&mut self, node: Node, limits: Effective, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(node) else { return };
        if entry.limits.rate.map(|(_, algorithm)| algorithm)
            != limits.rate.map(|(_, algorithm)| algorithm)
        {
            entry.window = None;
        }
        if entry.limits.connectinterval.is_none() {
            entry.not_before = Timestamp::EPOCH;
        }
        entry.limits = limits;
        self.settle(node, now);
    }

    /// Gives tokens back to the entry's rate; tells whether it has one.
    pub(crate) fn refill(&mut self, node: Node, tokens: Option<f64>, now: Timestamp) -> bool {
        let Some(entry) = self.entries.get_mut(node) else { return false };
        let Some((rate, _)) = entry.limits.rate else { return false };
        if let Some(window) = &mut entry.window {
            window.refill(rate, tokens);
        }
        self.settle(node, now);
        true
    }

    /// Takes over what an entry remembers of the past from one of an earlier configuration.
    pub(crate) fn inherit(&mut self, node: Node, from: &Entry) {
        let entry = &mut self.entries[node];
        let algorithm = |limits: &Effective| limits.rate.map(|(_, algorithm)| algorithm);
        if algorithm(&entry.limits) == algorithm(&from.limits) {
            entry.window = from.window;
        }
        entry.not_before = from.not_before;
    }

    /// Takes everything out; the caller gives the keys' names back.
    pub(crate) fn drain(&mut self) -> Vec<Entry> {
        let nodes: Vec<_> = self.entries.nodes().collect();
        let all = std::mem::take(self);
        self.tickets = all.tickets;
        let mut entries = all.entries;
        nodes.into_iter().filter_map(|node| entries.remove(node)).collect()
    }

    /// Entries with a concurrency in use and used up, and with a rate in use and used up.
    pub(crate) fn numbers(&self) -> [usize; 4] {
        let mut numbers = [0; 4];
        for (_, entry) in self.iter() {
            numbers[0] += usize::from(entry.limits.concurrency.is_some());
            numbers[2] +=
                usize::from(entry.limits.rate.is_some() || entry.limits.connectinterval.is_some());
            match self.suspends(entry) {
                Some(Source::Concurrency) => numbers[1] += 1,
                Some(_) => numbers[3] += 1,
                None => {}
            }
        }
        numbers
    }

    /// What kind of internal suspension the entry is at the moment, if it is one.
    pub(crate) fn suspends(&self, entry: &Entry) -> Option<Source> {
        if entry.waiters.is_empty() {
            None
        } else if entry.limits.concurrency.is_some_and(|limit| entry.in_flight >= limit) {
            Some(Source::Concurrency)
        } else {
            entry.timer.map(|_| Source::Rate)
        }
    }

    /// When an entry that is waited for frees up by itself.
    pub(crate) fn frees_at(&self, entry: &Entry) -> Option<Timestamp> {
        entry.timer.filter(|_| entry.has_waiters())
    }

    fn forget(&mut self, node: Node, names: &mut Names) {
        self.clear_timer(node);
        if let Some(entry) = self.entries.remove(node) {
            self.keys.remove(&entry.key);
            names.release_all(&entry.key.values);
        }
    }

    /// Sets the timer that the entry needs as it is now.
    fn settle(&mut self, node: Node, now: Timestamp) {
        self.clear_timer(node);
        let entry = &mut self.entries[node];
        if !entry.waiters.is_empty() {
            let at = match entry.stopped(now) {
                Some(Stopped::Until(at)) => at,
                // It has become free, and nobody has noticed yet.
                None if entry.woken == 0 => now,
                // Somebody will: when a row ends, or when a woken class has been looked at.
                Some(Stopped::Concurrency) | None => return,
            };
            entry.timer = Some(at);
            self.waited.insert((at, node));
        } else if entry.in_flight == 0 && entry.woken == 0 {
            // An entry in use is looked at again when that use ends.
            let at = entry.idle_at(now);
            entry.timer = Some(at);
            self.fading.insert((at, node));
        }
    }

    fn clear_timer(&mut self, node: Node) {
        if let Some(at) = self.entries[node].timer.take() {
            self.waited.remove(&(at, node));
            self.fading.remove(&(at, node));
        }
    }
}
