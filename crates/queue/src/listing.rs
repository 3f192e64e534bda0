//! Lists of rows: filter, sort, page.

use std::cmp::Ordering;

use mta_types::{MessageId, Timestamp};
use smallvec::SmallVec;

use crate::condition::Condition;
use crate::machine::Queue;
use crate::message::QueuedMessage;
use crate::table::Scan;
use crate::view::MessageView;

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
    scan: Scan,
    found: Vec<Found>,
    total: u64,
}

/// A row that matches, with what it is sorted by.
#[derive(Debug)]
struct Found {
    keys: SmallVec<[SortValue; 1]>,
    id: MessageId,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SortValue {
    Number(u64),
    Text(Box<str>),
}

impl ListRun {
    /// Begins a list.
    #[must_use]
    pub fn new(request: ListRequest) -> Self {
        let scan = Scan::new(&request.condition);
        Self { request, scan, found: Vec::new(), total: 0 }
    }

    /// Goes over the next `rows` rows of the table; `true` when all were seen.
    pub fn step(&mut self, queue: &Queue, rows: usize, now: Timestamp) -> bool {
        for node in self.scan.step(&queue.table, rows) {
            let view = MessageView::new(queue, node);
            if self.request.condition.matches(&view, now) {
                self.total += 1;
                let keys = self.request.sortings.iter();
                let keys = keys.map(|sorting| sort_value(sorting.key, &view, now)).collect();
                self.found.push(Found { keys, id: view.id() });
            }
        }
        // What cannot be on the page any more is forgotten, now and then.
        let needed = self.needed();
        if self.found.len() / 2 > needed.max(1024) {
            let sortings = &self.request.sortings;
            self.found.select_nth_unstable_by(needed, |a, b| compare(sortings, a, b));
            self.found.truncate(needed);
        }
        self.scan.is_done()
    }

    /// Sorts what was found and takes the page out of the queue. Rows that ended meanwhile are
    /// missing from it.
    #[must_use]
    pub fn finish(mut self, queue: &Queue) -> ListPage {
        let sortings = &self.request.sortings;
        self.found.sort_unstable_by(|a, b| compare(sortings, a, b));
        let offset = usize::try_from(self.request.offset).unwrap_or(usize::MAX);
        let limit = self.needed().saturating_sub(offset);
        let page = self.found.iter().skip(offset).take(limit);
        let items = page.filter_map(|found| Some(queue.view(found.id)?.to_message())).collect();
        ListPage { items, total: self.total }
    }

    /// How many of the first rows the page needs.
    fn needed(&self) -> usize {
        let limit = self.request.limit.unwrap_or(u64::MAX);
        usize::try_from(self.request.offset.saturating_add(limit)).unwrap_or(usize::MAX)
    }
}

fn sort_value(key: SortKey, view: &MessageView<'_>, now: Timestamp) -> SortValue {
    match key {
        SortKey::Ts => SortValue::Number(view.transaction().ts().as_micros()),
        SortKey::SenderLocalpart => SortValue::Text(view.sender_parts().0.into()),
        SortKey::SenderDomain => SortValue::Text(view.sender_parts().1.into()),
        SortKey::RecipientLocalpart => SortValue::Text(view.recipient_parts().0.into()),
        SortKey::RecipientDomain => SortValue::Text(view.recipient_parts().1.into()),
        SortKey::WorkingDuration => {
            let since = view.working_since().map(|since| now.saturating_since(since));
            let micros = since.unwrap_or_default().as_micros();
            SortValue::Number(u64::try_from(micros).unwrap_or(u64::MAX))
        }
        SortKey::RetryTs => SortValue::Number(view.retryts().as_micros()),
        SortKey::Size => SortValue::Number(view.transaction().size()),
        SortKey::RetryCount => SortValue::Number(u64::from(view.retrycount())),
    }
}

fn compare(sortings: &[Sorting], a: &Found, b: &Found) -> Ordering {
    let keys = a.keys.iter().zip(&b.keys).zip(sortings);
    let by_keys = keys.map(|((a, b), sorting)| sorting.order.apply(a.cmp(b)));
    by_keys.fold(Ordering::Equal, Ordering::then).then_with(|| a.id.cmp(&b.id))
}

impl Order {
    pub(crate) const fn apply(self, ascending: Ordering) -> Ordering {
        match self {
            Self::Ascending => ascending,
            Self::Descending => ascending.reverse(),
        }
    }
}
