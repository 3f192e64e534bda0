//! Group-by: how many rows, or octets, by the values of some fields.

use std::sync::Arc;

use crate::condition::{Compare, Condition, TimeValue};
use crate::listing::Order;
use crate::pattern::Pattern;
use crate::policy::{Field, FieldSet, PerField};
use crate::state::{FreezeFacet, QueueFacet, WorkingFacet};

/// What to count: `QueueGroupByRequest`.
#[derive(Clone, Debug, Default)]
pub struct SummaryRequest {
    /// Which rows.
    pub condition: Condition,
    /// What makes a group; nothing makes one group of all.
    pub groupbys: Vec<GroupBy>,
    /// Further columns.
    pub counts: Vec<Count>,
    /// What the total adds up.
    pub measure: Measure,
    /// Values that count as one group, by field: the first name with a matching pattern.
    pub groupings: Vec<(String, PerField<Vec<Pattern>>)>,
    /// The counter whose roll-ups apply to the groups' values.
    pub policygroupings: FieldSet,
    /// Order of the groups.
    pub sortings: Vec<SummarySorting>,
    /// Groups to pass over.
    pub offset: u64,
    /// Groups to give at most.
    pub limit: Option<u64>,
}

/// What rows are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// One of the policy fields; a row with several source addresses counts in each of their
    /// groups.
    Field(Field),
    /// Domain of the sender.
    SenderDomain,
    /// Value of that metadata key.
    Metadata(String),
    /// Address of the peer that sent it.
    SenderIp,
}

/// A column that counts some of a group's rows.
#[derive(Clone, Debug)]
pub struct Count {
    /// Which of them.
    pub predicate: Predicate,
    /// What is added up.
    pub result: CountResult,
}

/// Which rows of a group a column counts.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// All.
    All,
    /// In that queue.
    Queue(QueueFacet),
    /// Frozen so.
    Freeze(FreezeFacet),
    /// Worked on so.
    Working(WorkingFacet),
    /// Received then.
    Ts(Compare<TimeValue>),
    /// Due then.
    RetryTs(Compare<TimeValue>),
    /// With so many failures.
    RetryCount(Compare<u64>),
    /// Of that priority.
    Priority(u64),
}

/// What a column shows.
#[derive(Clone, Debug)]
pub enum CountResult {
    /// A sum.
    Measure(Measure),
    /// How many different values there are of this.
    Unique(GroupBy),
}

/// What is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Rows.
    #[default]
    Count,
    /// Octets.
    Bytes,
}

/// Order of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SummarySorting {
    /// By what.
    pub by: SummaryKey,
    /// Which way.
    pub order: Order,
}

/// What groups can be sorted by; numbers count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryKey {
    /// The value of that group-by.
    GroupBy(usize),
    /// The total.
    Total,
    /// That column.
    Count(usize),
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryItem {
    /// Values, one for each group-by; empty when a row has none.
    pub groupbys: Vec<Arc<str>>,
    /// Columns.
    pub counts: Vec<u64>,
    /// The total.
    pub total: u64,
}

/// One page: `QueueGroupByResponse`.
#[derive(Clone, Debug, Default)]
pub struct SummaryPage {
    /// The groups of the page.
    pub items: Vec<SummaryItem>,
    /// How many groups there are.
    pub total: u64,
}

/// A summary on its way through the table, so that the lock is never held for long.
#[derive(Debug)]
pub struct SummaryRun {
    request: SummaryRequest,
}

impl SummaryRun {
    /// Begins a summary.
    #[must_use]
    pub fn new(request: SummaryRequest) -> Self { todo!() }

    /// Goes over the next `rows` rows of the table; `true` when all were seen.
    pub fn step(&mut self, queue: &crate::Queue, rows: usize, now: mta_types::Timestamp) -> bool { todo!() }

    /// Sorts the groups and takes the page.
    #[must_use]
    pub fn finish(self) -> SummaryPage { todo!() }
}
