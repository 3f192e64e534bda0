//! Rows that wait for their time, in its order.

use std::collections::BTreeSet;

use mta_types::Timestamp;

use crate::message::Priority;
use crate::ring::Node;

/// The defer queue: by priority, then by time.
#[derive(Debug, Default)]
pub(crate) struct Defer([BTreeSet<(Timestamp, Node)>; 2]);

impl Defer {
    pub(crate) fn insert(&mut self, priority: Priority, due: Timestamp, row: Node) {
        self.0[priority as usize].insert((due, row));
    }

    pub(crate) fn remove(&mut self, priority: Priority, due: Timestamp, row: Node) {
        self.0[priority as usize].remove(&(due, row));
    }

    /// The row to be taken at `now`: high priority first, then the longest due.
    pub(crate) fn first_due(&self, now: Timestamp) -> Option<Node> {
        let due = |waiting: &BTreeSet<(Timestamp, Node)>| {
            waiting.first().filter(|(due, _)| *due <= now).map(|(_, row)| *row)
        };
        self.0.iter().rev().find_map(due)
    }

    /// When the next row is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(|waiting| waiting.first()).map(|(due, _)| *due).min()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(BTreeSet::len).sum()
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, priority: Priority, due: Timestamp, row: Node) -> bool {
        self.0[priority as usize].contains(&(due, row))
    }
}
