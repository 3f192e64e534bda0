//! [`Queue`]: the one value that holds every row and decides about it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use mta_types::{MessageId, Timestamp};

use crate::change::{End, QueueChange, Rewrite};
use crate::list::NamedLists;
use crate::message::NewMessage;
use crate::policy::dynamic::{Dynamic, DynamicError, DynamicUpdate, NewDynamic};
use crate::policy::{AppliedPolicy, PerField, Policies};
use crate::quota::Usage;
use crate::state::IllegalMove;
use crate::stats::Stats;
use crate::suspend::{NewSuspend, StaticSuspend, SuspendError, SuspendFilter, SuspendInfo};
use crate::view::MessageView;

/// The queue.
#[derive(Debug)]
pub struct Queue {}

/// What does not come from a configuration file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Rows being sent at a time, all together; `None` is no limit.
    pub concurrency: Option<NonZeroU32>,
    /// Hosts of the cluster: limits of cluster-wide policies are divided by it.
    pub hosts: NonZeroU32,
    /// Makes generated ids and random choices differ from run to run; the machine has no
    /// randomness of its own.
    pub seed: u64,
}

/// What hook and DNS found out about a row: its remaining policy fields.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Candidate source addresses; duplicates weight the choice. Empty when the delivery has none
    /// to choose (a plugin's).
    pub localips: Vec<IpAddr>,
    /// Whether the first candidate that may be used is taken, instead of any.
    pub localipsordered: bool,
    /// Destination address.
    pub remoteip: Option<IpAddr>,
    /// Destination host.
    pub remotemx: Option<String>,
    /// Set of remote hosts, with or without its leading `&`.
    pub grouping: Option<String>,
}

/// How work on a row ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The row is done with.
    End(End),
    /// The row stays in the queue.
    Requeue(Requeue),
}

/// How a row stays in the queue: a script's `Queue()`, or the transport's retry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requeue {
    /// When it is due, from now. Zero is at once.
    pub delay: Duration,
    /// Park it on HOLD instead.
    pub hold: bool,
    /// What happens to the count of failures.
    pub retrycount: RetryCount,
    /// Why; `None` leaves the last reason.
    pub reason: Option<Box<str>>,
    /// What else changes.
    pub rewrite: Rewrite,
}

/// What putting off does to the count of failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryCount {
    /// One more: `increment_retry`, the default.
    #[default]
    Increment,
    /// As it is.
    Keep,
    /// Back to 0: `reset_retry`.
    Reset,
}

/// Why the queue cannot do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// There is no such row.
    #[error("no message {0} is queued")]
    Unknown(MessageId),
    /// There is such a row already.
    #[error("a message {0} is queued already")]
    Duplicate(MessageId),
    /// The row is not where the caller thinks.
    #[error("message {id}: {source}")]
    Illegal {
        /// Which row.
        id: MessageId,
        /// What it cannot do.
        source: IllegalMove,
    },
    /// Four thousand million rows are queued.
    #[error("the queue holds as many messages as it can number")]
    Full,
}

impl Queue {
    /// An empty queue without policies and suspensions.
    #[must_use]
    pub fn new(settings: Settings) -> Self { todo!() }

    /// Takes new settings.
    pub fn configure(&mut self, settings: Settings) { todo!() }

    /// Takes the pickup policies. Rows being sent stay counted; dynamic conditions whose counter
    /// is gone are dropped.
    pub fn configure_policies(&mut self, policies: Policies, now: Timestamp) { todo!() }

    /// Takes the static suspensions. Dynamic ones stay.
    pub fn configure_suspends(&mut self, suspends: Vec<StaticSuspend>, now: Timestamp) { todo!() }

    /// Takes the named lists that policies and suspensions refer to.
    pub fn configure_lists(&mut self, lists: NamedLists, now: Timestamp) { todo!() }

    /// Takes a row: new, or from the spool after a restart.
    ///
    /// It goes to HOLD, UPDATE or DEFER; one that is due stays in DEFER until [`Queue::due`] takes
    /// it.
    ///
    /// # Errors
    ///
    /// [`QueueError::Duplicate`], [`QueueError::Full`].
    pub fn insert(&mut self, message: NewMessage, now: Timestamp) -> Result<(), QueueError> { todo!() }

    /// Takes up to `max` rows whose time has come at `now`, high priority first, then oldest first.
    ///
    /// They are UNKNOWN from now on, until [`Queue::activate`] or [`Queue::finish`].
    pub fn due(&mut self, now: Timestamp, max: usize) -> Vec<MessageId> { todo!() }

    /// When the next row of DEFER is due; `now` or earlier when one waits to be taken.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> { todo!() }

    /// Files a row that hook and DNS are done with in the active queue.
    ///
    /// Returns what must be persisted: a change only when a freeze was waiting and took effect.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unknown`], [`QueueError::Illegal`] unless the row is UNKNOWN.
    pub fn activate(&mut self, id: MessageId, route: &Route, now: Timestamp) -> Result<Option<QueueChange>, QueueError> { todo!() }

    /// Ends the work on a row that is UNKNOWN or SENDING.
    ///
    /// Returns what must be persisted, in order.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unknown`], [`QueueError::Illegal`] unless somebody works on the row.
    pub fn finish(&mut self, id: MessageId, outcome: Outcome, now: Timestamp) -> Result<Vec<QueueChange>, QueueError> { todo!() }

    /// Changes facts of a row that somebody works on: what scripts set in a hook.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unknown`]; [`QueueError::Illegal`] for a row in ACTIVE.
    pub fn rewrite(&mut self, id: MessageId, rewrite: Rewrite) -> Result<Option<QueueChange>, QueueError> { todo!() }

    /// A row as it stands.
    #[must_use]
    pub fn view(&self, id: MessageId) -> Option<MessageView<'_>> { todo!() }

    /// The policies that apply to a row that is ACTIVE or SENDING, for the source address it uses
    /// (or its first candidate).
    #[must_use]
    pub fn applied_policies(&self, id: MessageId) -> Option<Vec<AppliedPolicy>> { todo!() }

    /// The policies that would apply to a row with these values.
    #[must_use]
    pub fn match_policies(&self, values: &PerField<String>) -> Vec<AppliedPolicy> { todo!() }

    /// Gives tokens back to (without a number: fills) the rates of all entries that have these
    /// values after roll-up; returns how many entries that were.
    pub fn refill_rates(&mut self, values: &PerField<String>, tokens: Option<f64>, now: Timestamp) -> usize { todo!() }

    /// Adds a dynamic condition, or updates an equal one; returns its id.
    ///
    /// # Errors
    ///
    /// See [`DynamicError`].
    pub fn add_policy(&mut self, policy: NewDynamic, now: Timestamp) -> Result<Box<str>, DynamicError> { todo!() }

    /// Changes a dynamic condition; tells whether it is there.
    pub fn update_policy(&mut self, id: &str, update: DynamicUpdate, now: Timestamp) -> bool { todo!() }

    /// Deletes a dynamic condition; tells whether it was there.
    pub fn delete_policy(&mut self, id: &str, now: Timestamp) -> bool { todo!() }

    /// The dynamic conditions, oldest first.
    #[must_use]
    pub fn dynamic_policies(&self) -> Vec<Dynamic> { todo!() }

    /// Adds a dynamic suspension, or updates an equal one; returns its id.
    ///
    /// # Errors
    ///
    /// See [`SuspendError`].
    pub fn add_suspend(&mut self, suspend: NewSuspend, now: Timestamp) -> Result<Box<str>, SuspendError> { todo!() }

    /// Changes time to live and tag of a dynamic suspension; tells whether it is there.
    pub fn update_suspend(&mut self, id: &str, ttl: Option<Option<Duration>>, tag: Option<Option<mta_types::Tag>>, now: Timestamp) -> bool { todo!() }

    /// Deletes a dynamic suspension; tells whether it was there.
    pub fn delete_suspend(&mut self, id: &str, now: Timestamp) -> bool { todo!() }

    /// The suspensions that pass the filter, at most `limit`: static, dynamic, and the pickup's own
    /// for counters that are used up.
    #[must_use]
    pub fn suspends(&self, filter: &SuspendFilter, limit: usize) -> Vec<SuspendInfo> { todo!() }

    /// What is queued under a quota's name.
    #[must_use]
    pub fn quota(&self, name: &str) -> Usage { todo!() }

    /// Sizes and counters.
    #[must_use]
    pub fn stats(&self) -> Stats { todo!() }
}
