//! The active queue held against its own rules, for the tests with random events.

use std::collections::BTreeSet;

use super::*;
use crate::policy::entry::Stopped;

impl Active {
    /// Holds the active queue against its own rules; returns every name it refers to.
    pub(crate) fn check(&mut self, table: &mut Table, rules: &mut Rules) -> Vec<Symbol> {
        let mut symbols = Vec::new();
        let lanes: Vec<Node> = self.lanes.nodes().collect();
        let classes: Vec<Node> = self.classes.nodes().collect();
        assert_eq!(self.lane_keys.len(), lanes.len());
        assert_eq!(self.class_keys.len(), classes.len());
        let mut waiting = 0;
        for node in &lanes {
            let lane = &self.lanes[*node];
            let key = (lane.values, Arc::clone(&lane.candidates));
            assert_eq!(self.lane_keys.get(&key), Some(node));
            assert!(lane.sending > 0 || lane.rows.iter().any(|rows| !rows.is_empty()));
            symbols.extend(lane.values.iter().flatten());
            for (p, rows) in lane.rows.iter().enumerate() {
                for row in rows.nodes(table) {
                    assert_eq!(table[row].lane, Some(*node));
                    assert_eq!(table[row].priority as usize, p);
                    assert_eq!(table[row].state, crate::State::Active);
                    waiting += 1;
                }
            }
            let ips = &lane.candidates.ips;
            let usable = rules.suspends.usable(&lane.values, ips, &rules.names, &rules.lists);
            assert_eq!(lane.restricted, usable != Usable::All);
            let usable = match usable {
                Usable::All => Some(ips.to_vec()),
                Usable::Some(ips) => Some(ips),
                Usable::None => None,
            };
            let filed = lane.class.map(|c| self.classes[c].key.candidates.ips.to_vec());
            assert_eq!(filed, usable, "filed under the addresses that are not suspended");
        }
        assert_eq!(waiting, table.count(crate::State::Active));
        let mut tickets = 0;
        let mut woken = HashMap::<Node, u32>::new();
        for node in &classes {
            let members = lanes.iter().filter(|lane| self.lanes[**lane].class == Some(*node));
            assert_eq!(self.classes[*node].members as usize, members.count());
            let class = &self.classes[*node];
            symbols.extend(class.key.entries.iter().flat_map(|key| key.values).flatten());
            tickets += class.tickets.len();
            for ticket in &class.tickets {
                let entry = rules.entries.entry(ticket.entry);
                assert!(entry.waiters().any(|waiter| waiter == *node));
            }
            if let Some(entry) = class.woken_by {
                *woken.entry(entry).or_default() += 1;
                assert!(class.tickets.is_empty());
            }
            if class.lanes.iter().all(Ring::is_empty) {
                assert!(class.tickets.is_empty() && class.woken_by.is_none());
            }
        }
        for priority in Priority::ALL {
            let p = priority as usize;
            let ready = self.ready[p].nodes(&mut ClassLinks(&mut self.classes, priority));
            let ready: BTreeSet<Node> = ready.into_iter().collect();
            for node in &classes {
                let ring = self.classes[*node].lanes[p];
                let filed = ring.nodes(&mut LaneLinks(&mut self.lanes, priority));
                let filed: BTreeSet<Node> = filed.into_iter().collect();
                let expected = lanes.iter().copied().filter(|lane| {
                    let lane = &self.lanes[*lane];
                    lane.class == Some(*node) && !lane.rows[p].is_empty()
                });
                assert_eq!(filed, expected.collect());
                let class = &self.classes[*node];
                let stands = !class.lanes[p].is_empty() && class.tickets.is_empty();
                assert_eq!(ready.contains(node), stands);
            }
        }
        let entries: Vec<Node> = rules.entries.iter().map(|(node, _)| node).collect();
        let mut waiters = 0;
        for node in entries {
            waiters += rules.entries.entry(node).waiters().count();
            let entry = rules.entries.entry(node);
            symbols.extend(entry.key.values.iter().flatten());
            assert_eq!(entry.woken(), woken.remove(&node).unwrap_or(0));
            if entry.has_waiters() && entry.woken() == 0 {
                let full = entry.limits.concurrency.is_some_and(|limit| entry.in_flight >= limit);
                assert!(full || entry.has_timer(), "somebody waits for nothing: {entry:?}");
            }
        }
        assert_eq!(waiters, tickets);
        assert!(woken.is_empty());
        let used: HashSet<_> = lanes
            .iter()
            .map(|lane| Arc::clone(&self.lanes[*lane].candidates))
            .chain(classes.iter().map(|c| Arc::clone(&self.classes[*c].key.candidates)))
            .collect();
        assert_eq!(used, self.candidates);
        symbols.extend(used.iter().flat_map(|candidates| candidates.ips.iter().copied()));
        symbols
    }

    /// Looks at every waiting row without the help of rings and tickets: one that may go?
    pub(crate) fn overlooked(
        &self,
        table: &mut Table,
        rules: &mut Rules,
        now: Timestamp,
    ) -> Option<Node> {
        for lane in self.lanes.nodes().collect::<Vec<_>>() {
            let lane = &self.lanes[lane];
            let rows: Vec<Node> = lane.rows.iter().flat_map(|rows| rows.nodes(table)).collect();
            let (Some(row), Some(class)) = (rows.first(), lane.class) else { continue };
            let key = Arc::clone(&self.classes[class].key);
            let ips = &key.candidates.ips;
            let choices: Vec<_> =
                if ips.is_empty() { vec![None] } else { ips.iter().copied().map(Some).collect() };
            for localip in choices {
                if stopped(&key.entries, localip, rules, now).is_none() {
                    return Some(*row);
                }
            }
        }
        None
    }
}

fn stopped(
    keys: &[EntryKey],
    localip: Option<Symbol>,
    rules: &mut Rules,
    now: Timestamp,
) -> Option<Stopped> {
    for key in keys {
        let key = rules.policies.with_localip(*key, localip, &rules.names, &rules.lists);
        let limits = rules.policies.limits(&key, rules.hosts, &rules.names, &rules.lists);
        if let Some(node) = rules.entries.find(&key) {
            let entry = rules.entries.entry(node);
            assert_eq!(entry.limits, limits, "limits are up to date");
            if let Some(stopped) = entry.stopped(now) {
                return Some(stopped);
            }
        }
        if limits.stop {
            break;
        }
    }
    None
}
