//! Lists of rows: filter, sort, page.

use crate::condition::Condition;
use crate::message::QueuedMessage;

/// Which rows, in which order, which part of them: `QueueListRequest`.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Which rows.
    pub condition: Condition,
    /// First key first; rows that tie stay in the order of their ids.
    pub sortings: Vec<Sorting>,
    /// Rows to pass over.
    pub offset: u64,
    /// Rows to give at most.
    pub limit: Option<u64>,
}

/// One sort key and its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sorting {
    /// What to compare.
    pub key: SortKey,
    /// Which way.
    pub order: Order,
}

/// What rows can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// When received.
    Ts,
    /// Sender's local part.
    SenderLocalpart,
    /// Sender's domain.
    SenderDomain,
    /// Recipient's local part.
    RecipientLocalpart,
    /// Recipient's domain.
    RecipientDomain,
    /// How long somebody works on it; rows at rest count as 0.
    WorkingDuration,
    /// When due.
    RetryTs,
    /// Octets.
    Size,
    /// Counted failures.
    RetryCount,
}

/// Direction of a sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    #[default]
    Ascending,
    /// Greatest first.
    Descending,
}

/// One page: `QueueListResponse`.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// The rows of the page.
    pub items: Vec<QueuedMessage>,
    /// How many rows match in all.
    pub total: u64,
}

/// A list on its way through the table, so that the lock is never held for long.
#[derive(Debug)]
pub struct ListRun {
    request: ListRequest,
}

impl ListRun {
    /// Begins a list.
    #[must_use]
    pub fn new(request: ListRequest) -> Self { todo!() }

    /// Goes over the next `rows` rows of the table; `true` when all were seen.
    pub fn step(&mut self, queue: &crate::Queue, rows: usize, now: mta_types::Timestamp) -> bool { todo!() }

    /// Sorts what was found and takes the page out of the queue. Rows that ended meanwhile are
    /// missing from it.
    #[must_use]
    pub fn finish(self, queue: &crate::Queue) -> ListPage { todo!() }
}
