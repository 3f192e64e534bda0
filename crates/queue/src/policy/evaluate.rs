//! From a row's values to the entries that count it, and to their limits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mta_types::{Tag, Timestamp};

use super::dynamic::{Dynamic, DynamicError, DynamicKind, DynamicUpdate, NewDynamic, OnEqual};
use super::entry::{Effective, EntryKey};
use super::{AppliedPolicy, Counter, Field, FieldSet, Limits, PerField, Policies};
use crate::index::PatternIndex;
use crate::list::NamedLists;
use crate::pattern::Pattern;
use crate::symbol::{Names, Symbol, Values};
use crate::window::Rate;

/// The configured counters with the dynamic conditions.
#[derive(Debug)]
pub(crate) struct PolicySet {
    counters: Vec<Counter>,
    /// The symbol of each counter's roll-ups, in their order; the set holds a reference to each.
    rolled: Vec<Vec<Symbol>>,
    /// Dynamic conditions in the order they were added.
    dynamics: BTreeMap<u64, Dynamic>,
    index: PatternIndex<u64>,
    ids: HashMap<Box<str>, u64>,
    expiries: BTreeSet<(Timestamp, u64)>,
    last: u64,
}

/// What a value is to patterns.
trait Matches {
    fn matches(&self, field: Field, pattern: &Pattern, lists: &NamedLists) -> bool;
}

/// A value as text.
trait Text<'a> {
    fn text(&self) -> &'a str;
}

impl<'a> Text<'a> for &'a str {
    fn text(&self) -> &'a str {
        self
    }
}

impl Matches for &str {
    fn matches(&self, field: Field, pattern: &Pattern, lists: &NamedLists) -> bool {
        pattern.matches(field, self, self.parse().ok(), lists)
    }
}

impl<'a> Text<'a> for (Symbol, &'a Names) {
    fn text(&self) -> &'a str {
        self.1.text(self.0)
    }
}

impl Matches for (Symbol, &Names) {
    fn matches(&self, field: Field, pattern: &Pattern, lists: &NamedLists) -> bool {
        pattern.matches(field, self.1.text(self.0), self.1.address(self.0), lists)
    }
}

impl Default for PolicySet {
    fn default() -> Self {
        Self {
            counters: Vec::new(),
            rolled: Vec::new(),
            dynamics: BTreeMap::new(),
            index: PatternIndex::new(None),
            ids: HashMap::new(),
            expiries: BTreeSet::new(),
            last: 0,
        }
    }
}

impl PolicySet {
    /// Takes new counters; drops the dynamic conditions that have none any more.
    pub(crate) fn configure(&mut self, policies: Policies, names: &mut Names) {
        for symbol in self.rolled.iter().flatten() {
            names.release(*symbol);
        }
        self.counters = policies.counters;
        // Entries name their counter with 16 bits.
        self.counters.truncate(usize::from(u16::MAX));
        let intern = |counter: &Counter, names: &mut Names| {
            counter.rollups.iter().map(|rollup| names.intern(&rolled_name(&rollup.name))).collect()
        };
        self.rolled = self.counters.iter().map(|counter| intern(counter, names)).collect();
        let gone: Vec<u64> = self
            .dynamics
            .iter()
            .filter(|(_, dynamic)| self.counter_of(dynamic.fields).is_none())
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            self.remove_number(number);
        }
    }

    pub(crate) fn counters(&self) -> &[Counter] {
        &self.counters
    }

    pub(crate) fn fields(&self, counter: u16) -> FieldSet {
        self.counters.get(usize::from(counter)).map_or(FieldSet::EMPTY, |counter| counter.fields)
    }

    /// The first counter with exactly these fields.
    pub(crate) fn counter_of(&self, fields: FieldSet) -> Option<u16> {
        let at = self.counters.iter().position(|counter| counter.fields == fields)?;
        u16::try_from(at).ok()
    }

    /// The entry of each counter for `values`, without the source address.
    pub(crate) fn keys(
        &self,
        values: &Values,
        names: &Names,
        lists: &NamedLists,
    ) -> Box<[EntryKey]> {
        let key = |(at, counter): (usize, &Counter)| {
            let mut key = EntryKey { counter: at as u16, values: [None; Field::COUNT] };
            for field in counter.fields.iter().filter(|field| *field != Field::LocalIp) {
                key.values[field.index()] =
                    values[field.index()].map(|value| self.roll_up(at, field, value, names, lists));
            }
            key
        };
        self.counters.iter().enumerate().map(key).collect()
    }

    /// `key` completed with the source address, when its counter looks at it.
    pub(crate) fn with_localip(
        &self,
        mut key: EntryKey,
        localip: Option<Symbol>,
        names: &Names,
        lists: &NamedLists,
    ) -> EntryKey {
        if let Some(localip) = localip
            && self.fields(key.counter).contains(Field::LocalIp)
        {
            let counter = usize::from(key.counter);
            let value = self.roll_up(counter, Field::LocalIp, localip, names, lists);
            key.values[Field::LocalIp.index()] = Some(value);
        }
        key
    }

    /// The limits of an entry.
    pub(crate) fn limits(
        &self,
        key: &EntryKey,
        hosts: NonZeroU32,
        names: &Names,
        lists: &NamedLists,
    ) -> Effective {
        let value = |field: Field| Some((key.values[field.index()]?, names));
        let Some(chosen) = self.choose(key.counter, value, lists) else {
            return Effective::default();
        };
        effective(&chosen.limits, chosen.cluster_wide, hosts)
    }

    /// What every counter says about these values, as far as `stop` lets it be asked.
    pub(crate) fn applied(
        &self,
        values: &PerField<Arc<str>>,
        lists: &NamedLists,
    ) -> Vec<AppliedPolicy> {
        let mut applied = Vec::new();
        for (at, counter) in self.counters.iter().enumerate() {
            let rolled = |field: Field| {
                let value = values.get(field)?;
                Some(match self.rollup_of(at, field, &&**value, lists) {
                    Some(rollup) => Arc::from(rolled_name(&counter.rollups[rollup].name)),
                    None => Arc::clone(value),
                })
            };
            let grouping: PerField<Arc<str>> =
                counter.fields.iter().filter_map(|field| Some((field, rolled(field)?))).collect();
            let value = |field: Field| grouping.get(field).map(|value| &**value);
            let Some(chosen) = self.choose(at as u16, value, lists) else { continue };
            let stop = chosen.limits.stop;
            applied.push(AppliedPolicy {
                fields: counter.fields,
                dynamic: chosen
                    .dynamics
                    .iter()
                    .map(|dynamic| (dynamic.id.clone(), dynamic.then.tag.clone()))
                    .collect(),
                tags: chosen.tags,
                limits: chosen.limits,
                grouping,
            });
            if stop {
                break;
            }
        }
        applied
    }

    /// `value` as the counter with these fields rolls it up.
    pub(crate) fn rolled_text(
        &self,
        fields: FieldSet,
        field: Field,
        value: &str,
        lists: &NamedLists,
    ) -> Option<String> {
        let counter = usize::from(self.counter_of(fields)?);
        let rollup = self.rollup_of(counter, field, &value, lists)?;
        Some(rolled_name(&self.counters[counter].rollups[rollup].name))
    }

    /// Adds a dynamic condition; returns its id and counter.
    pub(crate) fn add(
        &mut self,
        new: NewDynamic,
        now: Timestamp,
        generate: impl FnOnce() -> Box<str>,
    ) -> Result<(Box<str>, u16), DynamicError> {
        let counter = self.counter_of(new.fields).ok_or(DynamicError::NoCounter(new.fields))?;
        let named = new.matches.fields();
        if named.iter().any(|field| !new.fields.contains(field)) {
            return Err(DynamicError::FieldNotCounted(new.fields));
        }
        if new.kind == DynamicKind::WarmUp && named != new.fields {
            return Err(DynamicError::WarmUpIncomplete(new.fields));
        }
        let expires = new.ttl.map(|ttl| now.saturating_add(ttl));
        let equal = self.dynamics.iter().find(|(_, dynamic)| {
            dynamic.fields == new.fields
                && dynamic.kind == new.kind
                && dynamic.matches == new.matches
                && new.id.as_ref().is_none_or(|id| *id == dynamic.id)
        });
        if let Some((number, dynamic)) = equal {
            if new.on_equal == OnEqual::Keep {
                return Err(DynamicError::Exists);
            }
            let (number, id) = (*number, dynamic.id.clone());
            self.set_expiry(number, expires);
            if let Some(dynamic) = self.dynamics.get_mut(&number) {
                dynamic.then = new.then;
            }
            return Ok((id, counter));
        }
        let id = new.id.unwrap_or_else(generate);
        if self.ids.contains_key(&id) {
            return Err(DynamicError::IdTaken);
        }
        self.last += 1;
        let number = self.last;
        self.ids.insert(id.clone(), number);
        self.index.insert(number, &new.matches);
        self.dynamics.insert(
            number,
            Dynamic {
                id: id.clone(),
                fields: new.fields,
                kind: new.kind,
                matches: new.matches,
                then: new.then,
                expires: None,
            },
        );
        self.set_expiry(number, expires);
        Ok((id, counter))
    }

    /// Changes a dynamic condition; returns its counter.
    pub(crate) fn update(
        &mut self,
        id: &str,
        update: DynamicUpdate,
        now: Timestamp,
    ) -> Option<u16> {
        let number = *self.ids.get(id)?;
        if let Some(ttl) = update.ttl {
            self.set_expiry(number, ttl.map(|ttl| now.saturating_add(ttl)));
        }
        let dynamic = self.dynamics.get_mut(&number)?;
        let then = &mut dynamic.then;
        replace(&mut then.concurrency, update.concurrency);
        replace(&mut then.rate, update.rate);
        replace(&mut then.algorithm, update.algorithm);
        replace(&mut then.connectinterval, update.connectinterval);
        replace(&mut then.tag, update.tag);
        replace(&mut then.stop, update.stop);
        replace(&mut then.cluster, update.cluster);
        replace(&mut then.properties, update.properties);
        let fields = dynamic.fields;
        self.counter_of(fields)
    }

    /// Deletes a dynamic condition; returns its counter.
    pub(crate) fn remove(&mut self, id: &str) -> Option<u16> {
        let number = *self.ids.get(id)?;
        self.remove_number(number)
    }

    /// Deletes one dynamic condition whose time is over; returns its counter.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Option<u16> {
        let (_, number) = self.expiries.first().copied().filter(|(at, _)| *at <= now)?;
        self.remove_number(number)
    }

    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    pub(crate) fn dynamics(&self) -> impl Iterator<Item = &Dynamic> {
        self.dynamics.values()
    }

    pub(crate) fn dynamics_len(&self) -> usize {
        self.dynamics.len()
    }

    /// Names of the roll-ups, with the references that are held to them.
    #[cfg(test)]
    pub(crate) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.rolled.iter().flatten().copied()
    }

    fn remove_number(&mut self, number: u64) -> Option<u16> {
        self.set_expiry(number, None);
        let dynamic = self.dynamics.remove(&number)?;
        self.ids.remove(&dynamic.id);
        self.index.remove(number, &dynamic.matches);
        self.counter_of(dynamic.fields)
    }

    fn set_expiry(&mut self, number: u64, expires: Option<Timestamp>) {
        let Some(dynamic) = self.dynamics.get_mut(&number) else { return };
        if let Some(before) = dynamic.expires {
            self.expiries.remove(&(before, number));
        }
        dynamic.expires = expires;
        if let Some(expires) = expires {
            self.expiries.insert((expires, number));
        }
    }

    fn roll_up(
        &self,
        counter: usize,
        field: Field,
        value: Symbol,
        names: &Names,
        lists: &NamedLists,
    ) -> Symbol {
        // Both lists are made together and have the same length.
        match self.rollup_of(counter, field, &(value, names), lists) {
            Some(rollup) => self.rolled[counter][rollup],
            None => value,
        }
    }

    fn rollup_of(
        &self,
        counter: usize,
        field: Field,
        value: &impl Matches,
        lists: &NamedLists,
    ) -> Option<usize> {
        self.counters[counter].rollups.iter().position(|rollup| {
            rollup.field == field
                && rollup.patterns.iter().any(|pattern| value.matches(field, pattern, lists))
        })
    }

    /// Which limits apply: the first static condition that matches, or the default, and over it
    /// each limit that dynamic conditions set. Where several of those set one, the strictest
    /// holds.
    fn choose<'a, T: Text<'a> + Matches>(
        &self,
        counter: u16,
        value: impl Fn(Field) -> Option<T>,
        lists: &NamedLists,
    ) -> Option<Chosen<'_>> {
        let configured = self.counters.get(usize::from(counter))?;
        let matches = |field: Field, pattern: &Pattern| {
            configured.fields.contains(field)
                && value(field).is_some_and(|value| value.matches(field, pattern, lists))
        };
        let fixed = configured
            .conditions
            .iter()
            .find(|condition| {
                condition
                    .matches
                    .iter()
                    .all(|(field, patterns)| patterns.iter().any(|pattern| matches(field, pattern)))
            })
            .map_or(&configured.default, |condition| &condition.then);
        let mut limits = fixed.clone();
        let mut cluster_wide = Cluster { concurrency: fixed.cluster, rate: fixed.cluster };
        let mut tags: Vec<Tag> = fixed.tag.iter().cloned().collect();
        let dynamics: Vec<&Dynamic> = self
            .index
            .candidates(|field| value(field).map(|value| value.text()))
            .iter()
            .filter_map(|number| self.dynamics.get(number))
            .filter(|dynamic| {
                dynamic.fields == configured.fields
                    && self.counter_of(dynamic.fields) == Some(counter)
                    && dynamic.matches.iter().all(|(field, pattern)| matches(field, pattern))
            })
            .collect();
        let (mut concurrency, mut rate, mut interval) =
            (None::<(NonZeroU32, bool)>, None::<(Rate, _, bool)>, None::<Duration>);
        for Dynamic { then, .. } in &dynamics {
            if let Some(new) = then.concurrency
                && concurrency.is_none_or(|(old, _)| new < old)
            {
                concurrency = Some((new, then.cluster));
            }
            if let Some(new) = then.rate
                && rate.is_none_or(|(old, ..)| per_second(new) < per_second(old))
            {
                rate = Some((new, then.algorithm, then.cluster));
            }
            if let Some(new) = then.connectinterval {
                interval = Some(interval.map_or(new, |old| old.max(new)));
            }
            limits.stop |= then.stop;
            tags.extend(then.tag.iter().cloned());
            if !then.properties.is_empty() {
                // Scripts see the properties of the condition that was laid over the others last.
                limits.properties = Arc::clone(&then.properties);
            }
        }
        if let Some((new, cluster)) = concurrency {
            limits.concurrency = Some(new);
            cluster_wide.concurrency = cluster;
        }
        if let Some((new, algorithm, cluster)) = rate {
            (limits.rate, limits.algorithm) = (Some(new), algorithm);
            cluster_wide.rate = cluster;
        }
        if interval.is_some() {
            limits.connectinterval = interval;
        }
        limits.tag = tags.last().cloned();
        Some(Chosen { limits, cluster_wide, tags, dynamics })
    }
}

/// The limits of an entry and where they come from.
struct Chosen<'a> {
    limits: Limits,
    cluster_wide: Cluster,
    tags: Vec<Tag>,
    dynamics: Vec<&'a Dynamic>,
}

/// Which limits are for the whole cluster.
struct Cluster {
    concurrency: bool,
    rate: bool,
}

/// This host's share of the limits.
fn effective(limits: &Limits, cluster: Cluster, hosts: NonZeroU32) -> Effective {
    let share = |wide: bool| if wide { hosts.get() } else { 1 };
    Effective {
        // No host is left without any: a share of nothing would hold its mail for ever.
        concurrency: limits
            .concurrency
            .map(|limit| (limit.get() / share(cluster.concurrency)).max(1)),
        rate: limits.rate.map(|rate| (divide(rate, share(cluster.rate)), limits.algorithm)),
        connectinterval: limits.connectinterval.filter(|interval| !interval.is_zero()),
        stop: limits.stop,
    }
}

/// `rate` shared by so many hosts: fewer per interval, or one in a longer one.
fn divide(rate: Rate, hosts: u32) -> Rate {
    let divided = match rate.count() / hosts {
        0 => Rate::new(1, rate.interval().saturating_mul(hosts) / rate.count()),
        count => Rate::new(count, rate.interval()),
    };
    divided.unwrap_or(rate)
}

fn per_second(rate: Rate) -> f64 {
    f64::from(rate.count()) / rate.interval().as_secs_f64()
}

fn rolled_name(name: &str) -> String {
    format!("#{name}")
}

fn replace<T>(place: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *place = new;
    }
}
