//! A row as it stands, borrowed.

use std::net::IpAddr;
use std::sync::Arc;

use mta_types::{Address, MessageId, Timestamp};

use crate::machine::Queue;
use crate::message::{Priority, QueuedMessage, Transaction};
use crate::metadata::Metadata;
use crate::state::State;

/// One row of the queue, read in place.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    queue: &'a Queue,
}

impl<'a> MessageView<'a> {
    /// Identity.
    #[must_use]
    pub fn id(&self) -> MessageId { todo!() }
    /// What it shares with the transaction's other recipients.
    #[must_use]
    pub fn transaction(&self) -> &'a Arc<Transaction> { todo!() }
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State { todo!() }
    /// Envelope sender of this copy.
    #[must_use]
    pub fn sender(&self) -> Address { todo!() }
    /// Envelope recipient.
    #[must_use]
    pub fn recipient(&self) -> &'a Address { todo!() }
    /// Way out.
    #[must_use]
    pub fn transportid(&self) -> &'a str { todo!() }
    /// Correlation given by a script.
    #[must_use]
    pub fn jobid(&self) -> Option<&'a str> { todo!() }
    /// Tenant given by a script.
    #[must_use]
    pub fn tenantid(&self) -> Option<&'a str> { todo!() }
    /// Set of remote hosts, with its `&`; while active or sending.
    #[must_use]
    pub fn grouping(&self) -> Option<&'a str> { todo!() }
    /// Destination host; while active or sending.
    #[must_use]
    pub fn remotemx(&self) -> Option<&'a str> { todo!() }
    /// Destination address; while active or sending.
    #[must_use]
    pub fn remoteip(&self) -> Option<IpAddr> { todo!() }
    /// Candidate source addresses; while active or sending.
    pub fn localips(&self) -> impl Iterator<Item = IpAddr> + 'a { std::iter::empty() }
    /// Source address chosen; while sending.
    #[must_use]
    pub fn localip(&self) -> Option<IpAddr> { todo!() }
    /// What scripts noted.
    #[must_use]
    pub fn metadata(&self) -> &'a Metadata { todo!() }
    /// Counted failures so far.
    #[must_use]
    pub fn retrycount(&self) -> u32 { todo!() }
    /// When it is due.
    #[must_use]
    pub fn retryts(&self) -> Timestamp { todo!() }
    /// Why the last attempt failed.
    #[must_use]
    pub fn retryreason(&self) -> Option<&'a str> { todo!() }
    /// Scheduling class.
    #[must_use]
    pub fn priority(&self) -> Priority { todo!() }
    /// Everything, owned.
    #[must_use]
    pub fn to_message(&self) -> QueuedMessage { todo!() }
}
