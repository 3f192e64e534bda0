//! What the daemon must write to the spool.
//!
//! The queue never sees the spool: it hands these values out, and the daemon persists them before
//! it acknowledges anything that depends on them. Applied in order to what the spool holds, they
//! yield the [`crate::NewMessage`] to insert after a restart.

use mta_types::{Address, JobId, MessageId, TransportId};

use crate::message::{Placement, Priority};
use crate::metadata::Metadata;

/// One change to what is stored of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// The row is a copy of another one with a new number; what else differs follows.
    Copied {
        /// The copy.
        id: MessageId,
        /// What it is a copy of.
        of: MessageId,
    },
    /// The row stands elsewhere now.
    Placed {
        /// Which row.
        id: MessageId,
        /// Where it starts after a restart.
        placement: Placement,
        /// Counted failures so far.
        retrycount: u32,
        /// Why the last attempt failed.
        reason: Option<Box<str>>,
    },
    /// The row's own facts changed.
    Rewritten {
        /// Which row.
        id: MessageId,
        /// What changed.
        rewrite: Box<Rewrite>,
    },
    /// The row is no more; its record can be reclaimed.
    Ended {
        /// Which row.
        id: MessageId,
        /// How it ended.
        end: End,
    },
}

impl QueueChange {
    /// The row that changed.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        match self {
            Self::Copied { id, .. }
            | Self::Placed { id, .. }
            | Self::Rewritten { id, .. }
            | Self::Ended { id, .. } => *id,
        }
    }
}

/// New facts of a row; `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Way out.
    pub transportid: Option<TransportId>,
    /// Correlation; the inner `None` takes it away.
    pub jobid: Option<Option<JobId>>,
    /// Envelope sender of this copy.
    pub sender: Option<Address>,
    /// Envelope recipient.
    pub recipient: Option<Address>,
    /// All metadata.
    pub metadata: Option<Metadata>,
    /// Quotas that it counts against.
    pub quotas: Option<Vec<Box<str>>>,
    /// Scheduling class.
    pub priority: Option<Priority>,
}

impl Rewrite {
    /// Tells whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Delivered or relayed.
    Delivered,
    /// Failed for good: a DSN goes out, or would with DSN settings.
    Bounced,
    /// Deleted silently.
    Deleted,
    /// Handed over to an external program with its file.
    Unloaded,
}
