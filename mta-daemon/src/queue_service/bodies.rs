//! Fresh messages in memory, so that a first attempt right after reception reads no disk.
//!
//! Bounded by octets; what does not fit is simply not kept. A message is kept once for all its
//! recipients and dropped when the last of them has been tried, or when newer ones need the room.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use mta_types::TransactionId;
use parking_lot::Mutex;

/// The cache.
pub(crate) struct Bodies {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<TransactionId, Entry>,
    /// Oldest first; may name entries that are gone.
    order: VecDeque<TransactionId>,
    octets: usize,
}

struct Entry {
    pieces: Vec<Bytes>,
    octets: usize,
    /// Recipients that were not tried yet.
    uses: usize,
}

impl Bodies {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Keeps a message for `uses` recipients, pushing out the oldest if need be.
    pub(crate) fn put(&self, id: TransactionId, pieces: Vec<Bytes>, uses: usize) {
        let octets: usize = pieces.iter().map(Bytes::len).sum();
        if uses == 0 || octets > self.limit / 8 {
            return;
        }
        let mut inner = self.inner.lock();
        while inner.octets + octets > self.limit {
            let Some(oldest) = inner.order.pop_front() else { break };
            inner.remove(oldest);
        }
        inner.octets += octets;
        inner.order.push_back(id);
        inner.entries.insert(id, Entry { pieces, octets, uses });
    }

    /// The message for one recipient's attempt; counts as one use.
    pub(crate) fn take(&self, id: TransactionId) -> Option<Vec<Bytes>> {
        let mut inner = self.inner.lock();
        let entry = inner.entries.get_mut(&id)?;
        entry.uses -= 1;
        if entry.uses > 0 {
            return Some(entry.pieces.clone());
        }
        let pieces = std::mem::take(&mut entry.pieces);
        inner.remove(id);
        // Ids of entries that left by use pile up in `order`; sweep when they outnumber the rest.
        if inner.order.len() > 64 && inner.order.len() > 2 * inner.entries.len() {
            let Inner { entries, order, .. } = &mut *inner;
            order.retain(|id| entries.contains_key(id));
        }
        Some(pieces)
    }

    /// Forgets a message.
    pub(crate) fn forget(&self, id: TransactionId) {
        self.inner.lock().remove(id);
    }
}

impl Inner {
    fn remove(&mut self, id: TransactionId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.octets -= entry.octets;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TransactionId {
        TransactionId([n; 16])
    }

    #[test]
    fn a_message_goes_after_its_last_use() {
        let bodies = Bodies::new(1000);
        bodies.put(id(1), vec![Bytes::from_static(b"abc")], 2);
        assert_eq!(bodies.take(id(1)).unwrap()[0], "abc");
        assert_eq!(bodies.take(id(1)).unwrap()[0], "abc");
        assert!(bodies.take(id(1)).is_none());
        assert_eq!(bodies.inner.lock().octets, 0);
    }

    #[test]
    fn the_oldest_make_room() {
        let bodies = Bodies::new(1000);
        for n in 0..20 {
            bodies.put(id(n), vec![Bytes::from(vec![0; 100])], 1);
        }
        assert!(bodies.inner.lock().octets <= 1000);
        assert!(bodies.take(id(0)).is_none() && bodies.take(id(19)).is_some());
        bodies.put(id(99), vec![Bytes::from(vec![0; 900])], 1);
        assert!(bodies.take(id(99)).is_none(), "too large to keep");
    }

    #[test]
    fn the_order_does_not_grow_without_end() {
        let bodies = Bodies::new(1000);
        for round in 0..10_000_u32 {
            let id = TransactionId(u128::from(round).to_be_bytes());
            bodies.put(id, vec![Bytes::from_static(b"x")], 1);
            bodies.take(id);
        }
        assert!(bodies.inner.lock().order.len() < 200);
    }
}
