//! Changing many rows at once: move, freeze, bounce, delete, copy, rewrite.

use std::time::Duration;

use mta_types::{Address, EnhancedCode, MessageId, Timestamp, TransportId};

use crate::change::QueueChange;
use crate::condition::{Condition, TimeValue};
use crate::machine::Queue;
use crate::message::Priority;
use crate::metadata::Metadata;

/// What to do with the rows that match: `QueueUpdateRequest`.
#[derive(Clone, Debug, Default)]
pub struct UpdateRequest {
    /// Which rows.
    pub condition: Condition,
    /// Where they go; they stay where they are without one.
    pub task: Option<Task>,
    /// New way out.
    pub transportid: Option<TransportId>,
    /// Metadata laid over what is there.
    pub metadata: Metadata,
    /// Freeze the rows (UPDATE); for working ones when their work ends.
    pub freeze: bool,
    /// Leave the rows alone and do all this to a copy of each.
    pub duplicate: bool,
    /// New sender; halves that are `None` stay.
    pub sender: Halves,
    /// New recipient; halves that are `None` stay.
    pub recipient: Halves,
    /// New count of failures.
    pub retrycount: Option<u32>,
    /// New priority.
    pub priority: Option<Priority>,
    /// At most so many rows.
    pub limit: Option<u64>,
}

/// New halves of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Halves {
    /// New local part.
    pub localpart: Option<String>,
    /// New domain.
    pub domain: Option<String>,
}

/// Where updated rows go.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// To the active queue: due at once.
    Activate,
    /// To the defer queue. Without a time they keep theirs.
    Defer {
        /// When they are due.
        retryts: Option<TimeValue>,
        /// Each row is due up to so much later, evenly spread.
        jitter: Duration,
    },
    /// On hold.
    Hold,
    /// Frozen.
    Update,
    /// Out of the queue, through the post-delivery hook.
    Remove(Removal),
}

/// How rows are removed by hand.
#[derive(Clone, Debug, PartialEq)]
pub enum Removal {
    /// Without a trace to the sender.
    Delete,
    /// With a DSN.
    Bounce {
        /// Status of the DSN.
        status: Option<EnhancedCode>,
        /// Diagnostic code of the DSN.
        diagnosticcode: Option<Box<str>>,
    },
}

/// An update on its way through the table, so that the lock is never held for long.
#[derive(Debug)]
pub struct UpdateRun {
    request: UpdateRequest,
    scan: crate::table::Scan,
    affected: u64,
    working: u64,
}

/// What one step of an update did.
#[derive(Debug, Default)]
pub struct UpdateStep {
    /// What the daemon must persist before it answers.
    pub changes: Vec<QueueChange>,
    /// Rows taken out (working, UNKNOWN) for the post-delivery hook, which ends them with
    /// [`Queue::finish`].
    pub removed: Vec<MessageId>,
    /// Whether all rows were seen or the limit was reached.
    pub done: bool,
}

impl UpdateRun {
    /// Begins an update.
    #[must_use]
    pub fn new(request: UpdateRequest) -> Self { todo!() }

    /// Goes over the next `rows` rows of the table. Call until [`UpdateStep::done`], giving the
    /// lock back in between and persisting what each step returns.
    pub fn step(&mut self, queue: &mut Queue, rows: usize, now: Timestamp) -> UpdateStep { todo!() }

    /// Rows that were changed so far.
    #[must_use]
    pub const fn affected(&self) -> u64 { self.affected }

    /// Rows that matched but were busy.
    #[must_use]
    pub const fn working(&self) -> u64 { self.working }
}
