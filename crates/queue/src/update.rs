//! Changing many rows at once: move, freeze, bounce, delete, copy, rewrite.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mta_types::{Address, AddressError, EnhancedCode, MessageId, Timestamp, TransportId};

use crate::change::{QueueChange, Rewrite};
use crate::condition::{Condition, TimeValue};
use crate::machine::Queue;
use crate::message::Priority;
use crate::metadata::Metadata;
use crate::ring::{Link, Node};
use crate::state::{Move, State};
use crate::table::{Extras, Row, Scan};
use crate::view::MessageView;

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
    scan: Scan,
    /// Made by this run, which must not copy them again.
    copies: HashSet<MessageId>,
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
    ///
    /// # Errors
    ///
    /// [`AddressError`] when a new half of an address cannot be part of one.
    pub fn new(request: UpdateRequest) -> Result<Self, AddressError> {
        for halves in [&request.sender, &request.recipient] {
            halves.of(("", ""))?;
        }
        let scan = Scan::new(&request.condition);
        Ok(Self { request, scan, copies: HashSet::new(), affected: 0, working: 0 })
    }

    /// Goes over the next `rows` rows of the table. Call until [`UpdateStep::done`], giving the
    /// lock back in between and persisting what each step returns.
    pub fn step(&mut self, queue: &mut Queue, rows: usize, now: Timestamp) -> UpdateStep {
        let mut step = UpdateStep::default();
        for node in self.scan.step(&queue.table, rows) {
            if self.request.limit.is_some_and(|limit| self.affected >= limit) {
                step.done = true;
                return step;
            }
            let view = MessageView::new(queue, node);
            if self.copies.contains(&view.id()) || !self.request.condition.matches(&view, now) {
                continue;
            }
            if view.state().is_working() && !self.request.duplicate {
                self.working += 1;
                if self.request.freeze || self.request.task == Some(Task::Update) {
                    // The table allows this from every working state.
                    let _ = queue.step(node, Move::Freeze, now);
                }
                continue;
            }
            if self.change(queue, node, now, &mut step).is_some() {
                self.affected += 1;
            }
        }
        step.done = self.scan.is_done();
        step
    }

    /// Rows that were changed so far.
    #[must_use]
    pub const fn affected(&self) -> u64 {
        self.affected
    }

    /// Rows that matched but were busy.
    #[must_use]
    pub const fn working(&self) -> u64 {
        self.working
    }

    /// Does to one row, or to a copy of it, what was asked for; `None` when that cannot be.
    fn change(
        &mut self,
        queue: &mut Queue,
        node: Node,
        now: Timestamp,
        step: &mut UpdateStep,
    ) -> Option<()> {
        let rewrite = self.rewrite(&MessageView::new(queue, node))?;
        let node = if self.request.duplicate {
            let of = queue.table[node].id();
            let copy = copy_row(queue, node, now)?;
            let id = queue.table[copy].id();
            self.copies.insert(id);
            step.changes.push(QueueChange::Copied { id, of });
            copy
        } else {
            node
        };
        let reroutes = rewrite.transportid.is_some() || rewrite.recipient.is_some();
        let before = queue.placed(node);
        if reroutes && queue.table[node].state == State::Active {
            // Hook and DNS must look at it again.
            queue.set_due(node, now);
            queue.step(node, Move::Schedule, now).ok()?;
        }
        step.changes.extend(queue.apply(node, rewrite, now));
        if let Some(retrycount) = self.request.retrycount {
            queue.table[node].retrycount = retrycount;
        }
        let task = self.request.task.as_ref();
        let moves = match task {
            None => None,
            // It is there already.
            Some(Task::Activate) if queue.table[node].state == State::Active => None,
            Some(Task::Activate) => {
                queue.set_due(node, now);
                Some(Move::Schedule)
            }
            Some(Task::Defer { retryts, jitter }) => {
                let due = retryts.map_or(queue.table[node].due, |retryts| retryts.resolve(now));
                let spread = Queue::random(queue.settings.seed, &queue.table, node) >> 32;
                let late = jitter.mul_f64(spread as f64 / f64::from(u32::MAX));
                queue.set_due(node, due.saturating_add(late));
                Some(Move::Schedule)
            }
            Some(Task::Hold) => Some(Move::Hold),
            Some(Task::Update) => Some(Move::Freeze),
            Some(Task::Remove(_)) => Some(Move::Seize),
        };
        let is_removed = matches!(task, Some(Task::Remove(_)));
        let freeze = (self.request.freeze && !is_removed).then_some(Move::Freeze);
        for step in moves.into_iter().chain(freeze) {
            // Rows at rest can make all of these moves.
            queue.step(node, step, now).ok()?;
        }
        if is_removed {
            step.removed.push(queue.table[node].id());
        }
        let after = queue.placed(node);
        if self.request.duplicate || (after != before && !is_removed) {
            step.changes.push(after);
        }
        Some(())
    }

    /// What changes about a row itself; `None` when its new address would be none.
    fn rewrite(&self, row: &MessageView<'_>) -> Option<Rewrite> {
        let request = &self.request;
        Some(Rewrite {
            transportid: request.transportid.clone(),
            jobid: None,
            sender: request.sender.of(row.sender_parts()).ok()?,
            recipient: request.recipient.of(row.recipient_parts()).ok()?,
            metadata: (!request.metadata.is_empty())
                .then(|| row.metadata().chain(&request.metadata).collect()),
            quotas: None,
            priority: request.priority,
        })
    }
}

impl Halves {
    /// The address that `old` becomes; `None` when it stays.
    fn of(&self, (local, domain): (&str, &str)) -> Result<Option<Address>, AddressError> {
        if self.localpart.is_none() && self.domain.is_none() {
            return Ok(None);
        }
        let local = self.localpart.as_deref().unwrap_or(local);
        Address::new(local, self.domain.as_deref().unwrap_or(domain)).map(Some)
    }
}

/// Adds a copy of a row under a new number: where the row stands, or due at once where that is
/// work or waiting for pickup.
fn copy_row(queue: &mut Queue, node: Node, now: Timestamp) -> Option<Node> {
    let row = &queue.table[node];
    let number = row.transaction.claim_queue()?;
    let (state, due) = match row.state {
        State::Defer | State::Hold | State::Update => (row.state, row.due),
        State::Active
        | State::Unknown
        | State::UnknownFreezing
        | State::Sending
        | State::SendingFreezing => (State::Defer, now),
    };
    let extras = row.extras.as_ref().map(|extras| {
        Box::new(Extras {
            sender: extras.sender.clone(),
            recipient: extras.recipient.clone(),
            orcpt: extras.orcpt.clone(),
            tags: extras.tags.clone(),
            quotas: extras.quotas.clone(),
        })
    });
    let copy = Row {
        transaction: Arc::clone(&row.transaction),
        texts: row.texts.clone(),
        extras,
        due,
        transportid: row.transportid,
        domain: row.domain,
        jobid: row.jobid,
        tenantid: row.tenantid,
        lane: None,
        link: Link::default(),
        queue: number,
        retrycount: row.retrycount,
        state,
        priority: row.priority,
        hold: state == State::Hold,
        notify: row.notify,
    };
    for symbol in copy.symbols() {
        queue.rules.names.retain(symbol);
    }
    queue.add(copy).ok()
}
