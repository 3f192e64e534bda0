//! What goes next.

use std::net::IpAddr;

use mta_types::{MessageId, Timestamp};

use crate::machine::{Queue, Work};
use crate::state::State;
use crate::table::Table;

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pickup {
    /// This row is SENDING now: deliver it, then call [`Queue::finish`].
    Pick(Pick),
    /// Nothing may go before that time, unless something else happens first. (Covers DEFER too:
    /// then it is time for [`Queue::due`].)
    WaitUntil(Timestamp),
    /// Nothing will go until something else happens.
    Idle,
}

/// A row that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Which one; [`Queue::view`] tells the rest.
    pub id: MessageId,
    /// From which source address; `None` when its route had none to choose.
    pub localip: Option<IpAddr>,
}

impl Queue {
    /// Lets the next row go that no policy and no suspension stops.
    ///
    /// High priority goes first; within a priority the sub-queues take turns, and each is first in,
    /// first out.
    pub fn next(&mut self, now: Timestamp) -> Pickup {
        self.expire(now);
        let limit = self.settings.concurrency.map_or(usize::MAX, |limit| limit.get() as usize);
        if self.sending() >= limit {
            return self.wait();
        }
        let seed = self.settings.seed;
        let random = |table: &Table, row| Self::random(seed, table, row);
        let Some(chosen) = self.active.pick(&mut self.table, &mut self.rules, random, now) else {
            self.totals.misses += 1;
            return self.wait();
        };
        self.totals.picks += 1;
        // The row stays with its lane, which knows its values while it is being sent.
        self.table.set_state(chosen.row, State::Sending);
        let localip = chosen.localip.and_then(|localip| self.rules.names.address(localip));
        let work = Work { since: now, localip: chosen.localip, charges: chosen.charges };
        self.work.insert(chosen.row, work);
        Pickup::Pick(Pick { id: self.table[chosen.row].id(), localip })
    }

    fn wait(&self) -> Pickup {
        self.next_deadline().map_or(Pickup::Idle, Pickup::WaitUntil)
    }
}
