//! What goes next.

use std::net::IpAddr;

use mta_types::{MessageId, Timestamp};

use crate::machine::Queue;

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
    pub fn next(&mut self, now: Timestamp) -> Pickup { todo!() }
}
