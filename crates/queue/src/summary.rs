//! Group-by: how many rows, or octets, by the values of some fields.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mta_types::Timestamp;
use smallvec::{SmallVec, smallvec};

use crate::condition::{Compare, Condition, TimeValue};
use crate::listing::Order;
use crate::machine::Queue;
use crate::pattern::Pattern;
use crate::policy::{Field, FieldSet, PerField};
use crate::state::{Facet, FreezeFacet, QueueFacet, WorkingFacet};
use crate::table::Scan;
use crate::view::MessageView;

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
    scan: Scan,
    groups: HashMap<Box<[Arc<str>]>, Group>,
}

#[derive(Debug)]
struct Group {
    total: u64,
    columns: Box<[Column]>,
}

#[derive(Debug)]
enum Column {
    Sum(u64),
    Unique(HashSet<Arc<str>>),
}

impl SummaryRun {
    /// Begins a summary.
    #[must_use]
    pub fn new(request: SummaryRequest) -> Self {
        let scan = Scan::new(&request.condition);
        Self { request, scan, groups: HashMap::new() }
    }

    /// Goes over the next `rows` rows of the table; `true` when all were seen.
    pub fn step(&mut self, queue: &Queue, rows: usize, now: Timestamp) -> bool {
        for node in self.scan.step(&queue.table, rows) {
            let view = MessageView::new(queue, node);
            if self.request.condition.matches(&view, now) {
                self.add(&view, now);
            }
        }
        self.scan.is_done()
    }

    /// Sorts the groups and takes the page. Without sortings the greatest total comes first.
    #[must_use]
    pub fn finish(self) -> SummaryPage {
        let total = self.groups.len() as u64;
        let mut items: Vec<_> = self
            .groups
            .into_iter()
            .map(|(groupbys, group)| SummaryItem {
                groupbys: groupbys.into_vec(),
                counts: group.columns.iter().map(Column::value).collect(),
                total: group.total,
            })
            .collect();
        let mut sortings = self.request.sortings;
        if sortings.is_empty() {
            sortings.push(SummarySorting { by: SummaryKey::Total, order: Order::Descending });
        }
        items.sort_unstable_by(|a, b| {
            let by_keys = sortings.iter().map(|sorting| {
                sorting.order.apply(match sorting.by {
                    SummaryKey::GroupBy(at) => a.groupbys.get(at).cmp(&b.groupbys.get(at)),
                    SummaryKey::Total => a.total.cmp(&b.total),
                    SummaryKey::Count(at) => a.counts.get(at).cmp(&b.counts.get(at)),
                })
            });
            by_keys.fold(Ordering::Equal, Ordering::then).then_with(|| a.groupbys.cmp(&b.groupbys))
        });
        let offset = usize::try_from(self.request.offset).unwrap_or(usize::MAX);
        let limit = self.request.limit.and_then(|limit| usize::try_from(limit).ok());
        let page = items.into_iter().skip(offset).take(limit.unwrap_or(usize::MAX));
        SummaryPage { items: page.collect(), total }
    }

    /// Counts a row in each of its groups.
    fn add(&mut self, view: &MessageView<'_>, now: Timestamp) {
        let values: Vec<Values> = self
            .request
            .groupbys
            .iter()
            .map(|groupby| group_values(&self.request, groupby, view))
            .collect();
        // A field with several values makes a group for each of them; there is one such field.
        let mut keys: Vec<Vec<Arc<str>>> = vec![Vec::with_capacity(values.len())];
        for values in &values {
            keys = keys
                .iter()
                .flat_map(|key| {
                    values.iter().map(|value| {
                        let mut longer = key.clone();
                        longer.push(Arc::clone(value));
                        longer
                    })
                })
                .collect();
        }
        let size = view.transaction().size();
        for key in keys {
            let group = self.groups.entry(key.into_boxed_slice()).or_insert_with(|| Group {
                total: 0,
                columns: self.request.counts.iter().map(Column::new).collect(),
            });
            group.total = group.total.saturating_add(self.request.measure.of(size));
            for (count, column) in self.request.counts.iter().zip(&mut group.columns) {
                if !count.predicate.holds(view, now) {
                    continue;
                }
                match (&count.result, column) {
                    (CountResult::Measure(measure), Column::Sum(sum)) => {
                        *sum = sum.saturating_add(measure.of(size));
                    }
                    (CountResult::Unique(groupby), Column::Unique(seen)) => {
                        seen.extend(group_values(&self.request, groupby, view));
                    }
                    // `Column::new` makes the one that the result needs.
                    (CountResult::Measure(_), Column::Unique(_))
                    | (CountResult::Unique(_), Column::Sum(_)) => {}
                }
            }
        }
    }
}

impl Column {
    fn new(count: &Count) -> Self {
        match count.result {
            CountResult::Measure(_) => Self::Sum(0),
            CountResult::Unique(_) => Self::Unique(HashSet::new()),
        }
    }

    fn value(&self) -> u64 {
        match self {
            Self::Sum(sum) => *sum,
            Self::Unique(seen) => seen.len() as u64,
        }
    }
}

impl Measure {
    const fn of(self, size: u64) -> u64 {
        match self {
            Self::Count => 1,
            Self::Bytes => size,
        }
    }
}

impl Predicate {
    fn holds(&self, view: &MessageView<'_>, now: Timestamp) -> bool {
        match (self, view.state().facet()) {
            (Self::All, _) => true,
            (Self::Queue(wanted), Facet::Queue(queue)) => *wanted == queue,
            (Self::Freeze(wanted), Facet::Freeze(freeze)) => *wanted == freeze,
            (Self::Working(wanted), Facet::Working { working, .. }) => *wanted == working,
            (Self::Queue(_) | Self::Freeze(_) | Self::Working(_), _) => false,
            (Self::Ts(compare), _) => compare.holds_at(view.transaction().ts(), now),
            (Self::RetryTs(compare), _) => compare.holds_at(view.retryts(), now),
            (Self::RetryCount(compare), _) => compare.holds(&u64::from(view.retrycount())),
            (Self::Priority(priority), _) => *priority == u64::from(view.priority().number()),
        }
    }
}

/// The values that a row is grouped by; one empty value when it has none.
fn group_values(request: &SummaryRequest, groupby: &GroupBy, view: &MessageView<'_>) -> Values {
    let mut values = match groupby {
        GroupBy::Field(field) => field_values(request, *field, view),
        GroupBy::SenderDomain => smallvec![lower(view.sender_parts().1)],
        GroupBy::Metadata(key) => view.metadata().value(key).map(Arc::from).into_iter().collect(),
        GroupBy::SenderIp => {
            let ip = view.transaction().senderip();
            ip.map(|ip| Arc::from(ip.to_string())).into_iter().collect()
        }
    };
    if values.is_empty() {
        values.push(Arc::from(""));
    }
    values
}

fn field_values(request: &SummaryRequest, field: Field, view: &MessageView<'_>) -> Values {
    let rules = &view.queue().rules;
    let mut values = Values::new();
    for value in view.values(field) {
        let address = value.parse().ok();
        let named = request.groupings.iter().find(|(_, patterns)| {
            let mut patterns = patterns.get(field).into_iter().flatten();
            patterns.any(|pattern| pattern.matches(field, value, address, &rules.lists))
        });
        let rolled = || {
            let fields = request.policygroupings;
            let applies = fields.contains(field);
            applies.then(|| rules.policies.rolled_text(fields, field, value, &rules.lists))?
        };
        let value: Arc<str> = match named {
            Some((name, _)) => Arc::from(name.as_str()),
            None => rolled().map_or_else(|| Arc::from(value), Arc::from),
        };
        // Duplicates among the source addresses weight the choice; here they count once.
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

fn lower(domain: &str) -> Arc<str> {
    if domain.bytes().any(|b| b.is_ascii_uppercase()) {
        Arc::from(domain.to_ascii_lowercase())
    } else {
        Arc::from(domain)
    }
}

type Values = SmallVec<[Arc<str>; 2]>;
