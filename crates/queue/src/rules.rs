//! What decides whether rows may go: policies, suspensions, named lists, and how they change.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mta_types::{MessageId, Tag, Timestamp};

use crate::active::{Charges, mix};
use crate::list::NamedLists;
use crate::machine::Queue;
use crate::policy::dynamic::{Dynamic, DynamicError, DynamicUpdate, NewDynamic};
use crate::policy::entry::{Entries, EntryKey};
use crate::policy::evaluate::PolicySet;
use crate::policy::{AppliedPolicy, Counter, Field, FieldKind, PerField, Policies};
use crate::ring::Node;
use crate::suspend::{
    NewSuspend, StaticSuspend, SuspendError, SuspendFilter, SuspendInfo, Suspends,
};
use crate::symbol::{Names, Values};

/// What decides whether rows may go.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) names: Names,
    pub(crate) policies: PolicySet,
    pub(crate) lists: NamedLists,
    pub(crate) suspends: Suspends,
    pub(crate) entries: Entries,
    pub(crate) hosts: NonZeroU32,
}

impl Queue {
    /// Takes the pickup policies. Rows being sent stay counted, rates go on where the same fields
    /// are counted; dynamic conditions whose counter is gone are dropped.
    pub fn configure_policies(&mut self, policies: Policies, now: Timestamp) {
        self.rebuild(|rules| rules.policies.configure(policies, &mut rules.names), now);
    }

    /// The pickup policies in use.
    #[must_use]
    pub fn policies(&self) -> &[Counter] {
        self.rules.policies.counters()
    }

    /// Takes the static suspensions. Dynamic ones stay.
    pub fn configure_suspends(&mut self, suspends: Vec<StaticSuspend>, now: Timestamp) {
        self.rules.suspends.configure(suspends);
        self.active.file_all(&mut self.rules, now);
    }

    /// Takes the named lists that policies and suspensions refer to.
    pub fn configure_lists(&mut self, lists: NamedLists, now: Timestamp) {
        self.rebuild(|rules| rules.lists = lists, now);
    }

    /// The named lists as they stand, to be changed and given back.
    #[must_use]
    pub const fn lists(&self) -> &NamedLists {
        &self.rules.lists
    }

    /// The policies that apply to a row that is ACTIVE or SENDING, for the source address it uses
    /// (or its first candidate).
    #[must_use]
    pub fn applied_policies(&self, id: MessageId) -> Option<Vec<AppliedPolicy>> {
        let node = self.table.find(id)?;
        let lane = self.active.lane(self.table[node].lane?);
        let chosen = self.work.get(&node).and_then(|work| work.localip);
        let mut values = lane.values;
        values[Field::LocalIp.index()] = chosen.or_else(|| lane.candidates.ips.first().copied());
        let text = |field: Field| Some((field, self.rules.names.shared(values[field.index()]?)));
        let values = Field::ALL.into_iter().filter_map(text).collect();
        Some(self.rules.policies.applied(&values, &self.rules.lists))
    }

    /// The policies that would apply to a row with these values.
    #[must_use]
    pub fn match_policies(&self, values: &PerField<String>) -> Vec<AppliedPolicy> {
        let values = values.iter().map(|(field, text)| {
            // In the form that rows have them in.
            let text = match (field.kind(), text.parse::<IpAddr>()) {
                (FieldKind::Domain, _) => text.to_ascii_lowercase(),
                (FieldKind::Address, Ok(ip)) => ip.to_string(),
                (FieldKind::Address | FieldKind::Text, _) => text.clone(),
            };
            (field, Arc::from(text))
        });
        self.rules.policies.applied(&values.collect(), &self.rules.lists)
    }

    /// Gives tokens back to (without a number: fills) the rates of all entries that have these
    /// values after roll-up; returns how many entries that were.
    pub fn refill_rates(
        &mut self,
        values: &PerField<String>,
        tokens: Option<f64>,
        now: Timestamp,
    ) -> usize {
        let names = &self.rules.names;
        let has = |found: &Values| {
            values.iter().all(|(field, text)| {
                found[field.index()].is_some_and(|value| names.text(value) == text)
            })
        };
        let entries = self.rules.entries.iter().filter(|(_, entry)| has(&entry.key.values));
        let nodes: Vec<Node> = entries.map(|(node, _)| node).collect();
        let mut refilled = 0;
        for node in nodes {
            if self.rules.entries.refill(node, tokens, now) {
                refilled += 1;
                self.active.wake(node, &mut self.rules, now);
            }
        }
        refilled
    }

    /// Adds a dynamic condition, or updates an equal one; returns its id.
    ///
    /// # Errors
    ///
    /// See [`DynamicError`].
    pub fn add_policy(
        &mut self,
        policy: NewDynamic,
        now: Timestamp,
    ) -> Result<Box<str>, DynamicError> {
        let generated = generate(self.settings.seed, &mut self.generated);
        let (id, counter) = self.rules.policies.add(policy, now, || generated)?;
        self.refresh(counter, now);
        Ok(id)
    }

    /// Changes a dynamic condition; tells whether it is there.
    pub fn update_policy(&mut self, id: &str, update: DynamicUpdate, now: Timestamp) -> bool {
        let counter = self.rules.policies.update(id, update, now);
        counter.inspect(|counter| self.refresh(*counter, now)).is_some()
    }

    /// Deletes a dynamic condition; tells whether it was there.
    pub fn delete_policy(&mut self, id: &str, now: Timestamp) -> bool {
        let counter = self.rules.policies.remove(id);
        counter.inspect(|counter| self.refresh(*counter, now)).is_some()
    }

    /// The dynamic conditions, oldest first.
    #[must_use]
    pub fn dynamic_policies(&self) -> Vec<Dynamic> {
        self.rules.policies.dynamics().cloned().collect()
    }

    /// Adds a dynamic suspension, or updates an equal one; returns its id.
    ///
    /// # Errors
    ///
    /// See [`SuspendError`].
    pub fn add_suspend(
        &mut self,
        suspend: NewSuspend,
        now: Timestamp,
    ) -> Result<Box<str>, SuspendError> {
        let generated = generate(self.settings.seed, &mut self.generated);
        let (id, new) = self.rules.suspends.add(suspend, now, || generated)?;
        if let Some(matches) = new {
            self.active.suspend(&matches, &mut self.rules, now);
        }
        Ok(id)
    }

    /// Changes time to live and tag of a dynamic suspension; tells whether it is there.
    ///
    /// # Errors
    ///
    /// [`SuspendError::TagTooLong`].
    pub fn update_suspend(
        &mut self,
        id: &str,
        ttl: Option<Option<Duration>>,
        tag: Option<Option<Tag>>,
        now: Timestamp,
    ) -> Result<bool, SuspendError> {
        self.rules.suspends.update(id, ttl, tag, now)
    }

    /// Deletes a dynamic suspension; tells whether it was there.
    pub fn delete_suspend(&mut self, id: &str, now: Timestamp) -> bool {
        let removed = self.rules.suspends.remove(id);
        if removed {
            self.active.resume(&mut self.rules, now);
        }
        removed
    }

    /// The suspensions that pass the filter, at most `limit`: static, dynamic, and the pickup's own
    /// for counters that are used up.
    #[must_use]
    pub fn suspends(&self, filter: &SuspendFilter, limit: usize) -> Vec<SuspendInfo> {
        let entries = &self.rules.entries;
        let names = &self.rules.names;
        let internal = entries.iter().filter_map(|(_, entry)| {
            let text = |field: Field| {
                Some((field, Box::from(names.text(entry.key.values[field.index()]?))))
            };
            Some(SuspendInfo {
                source: entries.suspends(entry)?,
                id: None,
                values: Field::ALL.into_iter().filter_map(text).collect(),
                expires: entries.frees_at(entry),
                tag: None,
                properties: Default::default(),
            })
        });
        let all = self.rules.suspends.infos().chain(internal);
        all.filter(|info| filter.passes(info)).take(limit).collect()
    }

    /// Lets everything happen that time alone brings about: suspensions and conditions end, rates
    /// refill.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        if self.rules.suspends.expire(now) {
            self.active.resume(&mut self.rules, now);
        }
        while let Some(expiry) = self.rules.policies.next_expiry().filter(|at| *at <= now) {
            // A condition whose counter is gone went with it, so there is one for each.
            let Some(counter) = self.rules.policies.expire(expiry.max(now)) else { continue };
            self.refresh(counter, now);
        }
        for entry in self.rules.entries.due(now, &mut self.rules.names) {
            self.active.wake(entry, &mut self.rules, now);
            self.rules.entries.tidy(entry, now, &mut self.rules.names);
        }
    }

    /// Works out the limits of a counter's entries again.
    pub(crate) fn refresh(&mut self, counter: u16, now: Timestamp) {
        let entries = self.rules.entries.iter().filter(|(_, entry)| entry.key.counter == counter);
        let nodes: Vec<_> = entries.map(|(node, entry)| (node, entry.key)).collect();
        for (node, key) in nodes {
            let Rules { policies, names, lists, hosts, .. } = &self.rules;
            let limits = policies.limits(&key, *hosts, names, lists);
            self.rules.entries.set_limits(node, limits, now);
            self.active.wake(node, &mut self.rules, now);
        }
    }

    /// Changes rules that decide which entry counts a row, and files everything anew.
    fn rebuild(&mut self, change: impl FnOnce(&mut Rules), now: Timestamp) {
        self.active.unfile_all(&mut self.rules, now);
        let counters: Vec<_> = (0..self.rules.policies.counters().len())
            .map(|counter| self.rules.policies.fields(counter as u16))
            .collect();
        // Their names are given back below, when the entries that inherit have their own.
        let past = self.rules.entries.drain();
        change(&mut self.rules);
        for entry in &past {
            let fields = counters.get(usize::from(entry.key.counter)).copied();
            let Some(counter) = fields.and_then(|fields| self.rules.policies.counter_of(fields))
            else {
                continue;
            };
            let key = EntryKey { counter, ..entry.key };
            let heir = self.open_entry(key);
            self.rules.entries.inherit(heir, entry);
        }
        for entry in &past {
            self.rules.names.release_all(&entry.key.values);
        }
        let sending: Vec<Node> =
            self.work.keys().copied().filter(|node| self.table[*node].lane.is_some()).collect();
        for node in sending {
            let Some(lane) = self.table[node].lane else { continue };
            let values = self.active.lane(lane).values;
            let localip = self.work.get(&node).and_then(|work| work.localip);
            let keys = self.rules.policies.keys(&values, &self.rules.names, &self.rules.lists);
            let mut charges = Charges::new();
            for key in keys {
                let Rules { policies, names, lists, .. } = &self.rules;
                let entry = self.open_entry(policies.with_localip(key, localip, names, lists));
                self.rules.entries.carry(entry);
                charges.push(entry);
                if self.rules.entries.entry(entry).limits.stop {
                    break;
                }
            }
            if let Some(work) = self.work.get_mut(&node) {
                work.charges = charges;
            }
        }
        let all: Vec<Node> = self.rules.entries.iter().map(|(node, _)| node).collect();
        for entry in all {
            self.rules.entries.tidy(entry, now, &mut self.rules.names);
        }
        self.active.file_all(&mut self.rules, now);
    }

    fn open_entry(&mut self, key: EntryKey) -> Node {
        let Rules { policies, names, lists, hosts, entries, .. } = &mut self.rules;
        let limits = policies.limits(&key, *hosts, names, lists);
        entries.open(key, limits, names)
    }
}

/// An id in the form of a UUID (RFC 9562 §5.8, custom) that no other call of this run gives.
fn generate(seed: u64, generated: &mut u64) -> Box<str> {
    *generated += 1;
    let high = mix(seed ^ mix(*generated));
    let low = mix(high ^ *generated);
    let mut bytes = ((u128::from(high) << 64) | u128::from(low)).to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    mta_types::TransactionId::from_bytes(bytes).to_string().into()
}
