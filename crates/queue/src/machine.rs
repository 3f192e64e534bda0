//! [`Queue`]: the one value that holds every row and decides about it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use mta_types::{Address, MessageId, Timestamp};

use crate::active::{Active, Candidates, Charges, mix};
use crate::change::{End, QueueChange, Rewrite};
use crate::defer::Defer;
use crate::list::NamedLists;
use crate::message::{MAX_REASON, NewMessage, Placement, cut};
use crate::policy::Field;
use crate::policy::entry::Entries;
use crate::policy::evaluate::PolicySet;
use crate::quota::{Quotas, Usage};
use crate::ring::{Link, Node};
use crate::rules::Rules;
use crate::state::{IllegalMove, Move, Next, State};
use crate::stats::Stats;
use crate::suspend::Suspends;
use crate::symbol::{Names, Symbol, Values};
use crate::table::{Extras, Row, Table, Texts};
use crate::view::MessageView;

/// The queue.
#[derive(Debug)]
pub struct Queue {
    pub(crate) table: Table,
    pub(crate) defer: Defer,
    pub(crate) active: Active,
    pub(crate) rules: Rules,
    /// The rows in a working state, and no others.
    pub(crate) work: HashMap<Node, Work>,
    pub(crate) quotas: Quotas,
    pub(crate) settings: Settings,
    pub(crate) totals: Totals,
    /// Ids generated so far.
    pub(crate) generated: u64,
}

/// Work on a row.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) since: Timestamp,
    /// The source address chosen, while sending.
    pub(crate) localip: Option<Symbol>,
    /// Entries that count the row, while sending.
    pub(crate) charges: Charges,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) misses: u64,
    pub(crate) picks: u64,
    delivered: u64,
    delayed: u64,
    failed: u64,
}

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
    pub fn new(settings: Settings) -> Self {
        Self {
            table: Table::default(),
            defer: Defer::default(),
            active: Active::default(),
            rules: Rules {
                names: Names::default(),
                policies: PolicySet::default(),
                lists: NamedLists::default(),
                suspends: Suspends::default(),
                entries: Entries::default(),
                hosts: settings.hosts,
            },
            work: HashMap::new(),
            quotas: Quotas::default(),
            settings,
            totals: Totals::default(),
            generated: 0,
        }
    }

    /// The settings in use.
    #[must_use]
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// Takes new settings.
    pub fn configure(&mut self, settings: Settings, now: Timestamp) {
        self.settings = settings;
        if self.rules.hosts != settings.hosts {
            self.rules.hosts = settings.hosts;
            for counter in 0..self.rules.policies.counters().len() {
                self.refresh(counter as u16, now);
            }
        }
    }

    /// Takes a row: new, or from the spool after a restart.
    ///
    /// It goes to HOLD, UPDATE or DEFER; one that is due stays in DEFER until [`Queue::due`] takes
    /// it.
    ///
    /// # Errors
    ///
    /// [`QueueError::Duplicate`], [`QueueError::Full`].
    pub fn insert(&mut self, message: NewMessage, now: Timestamp) -> Result<(), QueueError> {
        let id = message.id();
        if self.table.find(id).is_some() {
            return Err(QueueError::Duplicate(id));
        }
        let (state, due) = match message.placement {
            Placement::Now => (State::Defer, now),
            Placement::At(due) => (State::Defer, due),
            Placement::Hold => (State::Hold, Timestamp::EPOCH),
            Placement::Update(due) => (State::Update, due),
        };
        let names = &mut self.rules.names;
        let tags = message.tags.iter().map(|tag| names.intern_shared(tag.to_shared())).collect();
        let quotas = message.quotas.iter().map(|quota| names.intern(quota)).collect();
        let recipient = message.recipient;
        let texts = Texts::new(
            recipient.local(),
            message.retryreason.as_deref().map(short_reason),
            message.metadata.packed(),
        );
        let domain = names.intern_domain(recipient.domain());
        let extras = Extras {
            sender: message.sender,
            recipient: exact_case(recipient),
            orcpt: message.orcpt,
            tags,
            quotas,
        };
        message.transaction.note_queue(message.queue);
        let row = Row {
            transaction: message.transaction,
            texts,
            domain,
            extras: boxed(extras),
            due,
            transportid: names.intern_shared(message.transportid.to_shared()),
            jobid: message.jobid.map(|jobid| names.intern_shared(jobid.to_shared())),
            tenantid: message.tenantid.map(|tenantid| names.intern_shared(tenantid.to_shared())),
            lane: None,
            link: Link::default(),
            queue: message.queue,
            retrycount: message.retrycount,
            state,
            priority: message.priority,
            hold: state == State::Hold,
            notify: message.notify,
        };
        self.add(row).map(|_| ())
    }

    /// Takes up to `max` rows whose time has come at `now`, high priority first, then oldest first.
    ///
    /// They are UNKNOWN from now on, until [`Queue::activate`] or [`Queue::finish`].
    pub fn due(&mut self, now: Timestamp, max: usize) -> Vec<MessageId> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(node) = self.defer.first_due(now)
        {
            // Every row of the defer queue is in DEFER, where the table allows this.
            if self.step(node, Move::Prepare, now).is_err() {
                break;
            }
            taken.push(self.table[node].id());
        }
        taken
    }

    /// When the next row of DEFER is due; `now` or earlier when one waits to be taken.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.defer.next()
    }

    /// Files a row that hook and DNS are done with in the active queue.
    ///
    /// Returns what must be persisted: a change only when a freeze was waiting and took effect.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unknown`], [`QueueError::Illegal`] unless the row is UNKNOWN.
    pub fn activate(
        &mut self,
        id: MessageId,
        route: &Route,
        now: Timestamp,
    ) -> Result<Option<QueueChange>, QueueError> {
        let node = self.find(id)?;
        let next = self.after(node, Move::Activate)?;
        if next != Next::To(State::Active) {
            self.table[node].due = now;
            self.step(node, Move::Activate, now)?;
            return Ok(Some(self.placed(node)));
        }
        let names = &mut self.rules.names;
        let row = &self.table[node];
        let grouping = route.grouping.as_deref().filter(|grouping| !grouping.is_empty());
        let mut values: Values = [None; Field::COUNT];
        values[Field::TransportId.index()] = Some(row.transportid);
        values[Field::RecipientDomain.index()] = Some(row.domain);
        values[Field::JobId.index()] = row.jobid;
        values[Field::TenantId.index()] = row.tenantid;
        names.retain_all(&values);
        values[Field::RemoteIp.index()] = route.remoteip.map(|ip| names.intern(&ip.to_string()));
        values[Field::RemoteMx.index()] = route.remotemx.as_ref().map(|mx| names.intern_domain(mx));
        values[Field::Grouping.index()] = grouping.map(|grouping| {
            if grouping.starts_with('&') {
                names.intern(grouping)
            } else {
                names.intern(&format!("&{grouping}"))
            }
        });
        let candidates = Candidates {
            ips: route.localips.iter().map(|ip| names.intern(&ip.to_string())).collect(),
            ordered: route.localipsordered,
        };
        let lane = self.active.open_lane(values, candidates, &mut self.rules, now);
        self.table[node].lane = Some(lane);
        self.step(node, Move::Activate, now)?;
        Ok(None)
    }

    /// Ends the work on a row that is UNKNOWN or SENDING.
    ///
    /// Returns what must be persisted, in order.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unknown`], [`QueueError::Illegal`] unless somebody works on the row.
    pub fn finish(
        &mut self,
        id: MessageId,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<Vec<QueueChange>, QueueError> {
        let node = self.find(id)?;
        // The table allows End from the working states alone.
        self.after(node, Move::End)?;
        let requeue = match outcome {
            Outcome::End(end) => {
                match end {
                    End::Delivered => self.totals.delivered += 1,
                    End::Bounced | End::Deleted => self.totals.failed += 1,
                    End::Unloaded => {}
                }
                self.step(node, Move::End, now)?;
                return Ok(vec![QueueChange::Ended { id, end }]);
            }
            Outcome::Requeue(requeue) => requeue,
        };
        self.totals.delayed += 1;
        let mut changes = Vec::with_capacity(2);
        let row = &mut self.table[node];
        row.due = now.saturating_add(requeue.delay);
        row.retrycount = match requeue.retrycount {
            RetryCount::Increment => row.retrycount.saturating_add(1),
            RetryCount::Keep => row.retrycount,
            RetryCount::Reset => 0,
        };
        if let Some(reason) = requeue.reason {
            row.texts.set_reason(Some(short_reason(&reason)));
        }
        let step = if requeue.hold { Move::Hold } else { Move::Schedule };
        self.step(node, step, now)?;
        changes.extend(self.apply(node, requeue.rewrite, now));
        changes.push(self.placed(node));
        Ok(changes)
    }

    /// Takes back the pickup of a row that is not to go after all: it is due again after `delay`, and
    /// the policies that let it go count neither its rate token nor its connect interval.
    ///
    /// Returns what must be persisted, in order.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unknown`], [`QueueError::Illegal`] unless somebody works on the row.
    pub fn give_back(
        &mut self,
        id: MessageId,
        delay: Duration,
        now: Timestamp,
    ) -> Result<Vec<QueueChange>, QueueError> {
        let node = self.find(id)?;
        self.after(node, Move::Schedule)?;
        if let Some(work) = self.work.get(&node) {
            for entry in &work.charges {
                self.rules.entries.give_back(*entry, work.since);
            }
        }
        let requeue = Requeue { delay, retrycount: RetryCount::Keep, ..Requeue::default() };
        self.finish(id, Outcome::Requeue(requeue), now)
    }

    /// Changes facts of a row that somebody works on: what scripts set in a hook.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unknown`], [`QueueError::Illegal`] unless somebody works on the row.
    pub fn rewrite(
        &mut self,
        id: MessageId,
        rewrite: Rewrite,
        now: Timestamp,
    ) -> Result<Option<QueueChange>, QueueError> {
        let node = self.find(id)?;
        self.after(node, Move::End)?;
        Ok(self.apply(node, rewrite, now))
    }

    /// A row as it stands.
    #[must_use]
    pub fn view(&self, id: MessageId) -> Option<MessageView<'_>> {
        self.table.find(id).map(|node| MessageView::new(self, node))
    }

    /// What is queued under a quota's name.
    #[must_use]
    pub fn quota(&self, name: &str) -> Usage {
        self.rules.names.find(name).map_or_else(Usage::default, |quota| self.quotas.usage(quota))
    }

    /// Sizes and counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let count = |state| self.table.count(state);
        let [concurrency_counters, concurrency_suspends, rate_buckets, rate_suspends] =
            self.rules.entries.numbers();
        Stats {
            rows: self.table.len(),
            defer: count(State::Defer),
            active: count(State::Active),
            active_priorities: self.table.active_by_priority(),
            hold: count(State::Hold),
            update: count(State::Update),
            update_pending: count(State::UnknownFreezing) + count(State::SendingFreezing),
            unknown: count(State::Unknown) + count(State::UnknownFreezing),
            sending: self.sending(),
            subqueues: self.active.lanes_len(),
            concurrency_counters,
            concurrency_suspends,
            rate_buckets,
            rate_suspends,
            dynamic_suspends: self.rules.suspends.dynamics_len(),
            dynamic_conditions: self.rules.policies.dynamics_len(),
            quotas: self.quotas.len(),
            pickup_skips: self.active.skips,
            pickup_misses: self.totals.misses,
            pickup_count: self.totals.picks,
            pickup_pending: self.active.pending(),
            delivered: self.totals.delivered,
            delayed: self.totals.delayed,
            failed: self.totals.failed,
        }
    }

    /// Rows being sent.
    pub(crate) fn sending(&self) -> usize {
        self.table.count(State::Sending) + self.table.count(State::SendingFreezing)
    }

    /// When time alone will bring something about next.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        [
            self.rules.suspends.next_expiry(),
            self.rules.policies.next_expiry(),
            self.rules.entries.next_free(),
            self.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Adds a row that is not being worked on.
    pub(crate) fn add(&mut self, row: Row) -> Result<Node, QueueError> {
        let id = row.id();
        match self.table.insert(row) {
            Ok(node) => {
                let row = &self.table[node];
                for quota in row.quotas() {
                    self.quotas.add(*quota, row.transaction.size());
                }
                if row.state == State::Defer {
                    self.defer.insert(row.priority, row.due, node);
                }
                Ok(node)
            }
            Err(row) => {
                for symbol in row.symbols() {
                    self.rules.names.release(symbol);
                }
                let taken = self.table.find(id).is_some();
                Err(if taken { QueueError::Duplicate(id) } else { QueueError::Full })
            }
        }
    }

    pub(crate) fn find(&self, id: MessageId) -> Result<Node, QueueError> {
        self.table.find(id).ok_or(QueueError::Unknown(id))
    }

    /// What `step` would make of a row.
    pub(crate) fn after(&self, node: Node, step: Move) -> Result<Next, QueueError> {
        let row = &self.table[node];
        row.state.after(step).map_err(|source| QueueError::Illegal { id: row.id(), source })
    }

    /// Makes a row take a step and files it where that leads. The row's `due` and `lane` are to be
    /// right for where it goes, except that leaving DEFER needs the old `due` (see
    /// [`Queue::set_due`]).
    pub(crate) fn step(
        &mut self,
        node: Node,
        step: Move,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let before = self.table[node].state;
        let next = self.after(node, step)?;
        if let Next::To(after) = next
            && before.is_working()
            && after.is_working()
        {
            // A freeze was asked for; the work goes on.
            self.table.set_state(node, after);
            return Ok(());
        }
        self.unfile(node, before, now);
        match next {
            Next::To(after) => {
                self.table.set_state(node, after);
                self.table[node].hold = step == Move::Hold;
                self.file(node, after, now);
            }
            Next::Gone => {
                if let Some(row) = self.table.remove(node) {
                    for quota in row.quotas() {
                        self.quotas.remove(*quota, row.transaction.size());
                    }
                    for symbol in row.symbols() {
                        self.rules.names.release(symbol);
                    }
                }
            }
        }
        Ok(())
    }

    /// Changes when a row is due, wherever it stands.
    pub(crate) fn set_due(&mut self, node: Node, due: Timestamp) {
        let row = &mut self.table[node];
        if row.state == State::Defer {
            self.defer.remove(row.priority, row.due, node);
            self.defer.insert(row.priority, due, node);
        }
        row.due = due;
    }

    /// Changes a row's own facts. A row in ACTIVE stays in its lane, so what policies look at must
    /// not change there.
    pub(crate) fn apply(
        &mut self,
        node: Node,
        rewrite: Rewrite,
        now: Timestamp,
    ) -> Option<QueueChange> {
        if rewrite.is_empty() {
            return None;
        }
        let change = rewrite.clone();
        let names = &mut self.rules.names;
        let row = &mut self.table[node];
        let id = row.id();
        if let Some(transportid) = rewrite.transportid {
            let new = names.intern_shared(transportid.to_shared());
            names.release(std::mem::replace(&mut row.transportid, new));
        }
        if let Some(jobid) = rewrite.jobid {
            let new = jobid.map(|jobid| names.intern_shared(jobid.to_shared()));
            if let Some(old) = std::mem::replace(&mut row.jobid, new) {
                names.release(old);
            }
        }
        if let Some(recipient) = rewrite.recipient {
            let new = names.intern_domain(recipient.domain());
            names.release(std::mem::replace(&mut row.domain, new));
            row.texts.set_local(recipient.local());
            let mut extras = row.extras.take().map(|extras| *extras).unwrap_or_default();
            extras.recipient = exact_case(recipient);
            row.extras = boxed(extras);
        }
        if let Some(metadata) = rewrite.metadata {
            row.texts.set_metadata(&metadata);
        }
        if rewrite.sender.is_some() || rewrite.quotas.is_some() {
            let mut extras = row.extras.take().map(|extras| *extras).unwrap_or_default();
            if rewrite.sender.is_some() {
                extras.sender = rewrite.sender;
            }
            if let Some(quotas) = rewrite.quotas {
                let size = row.transaction.size();
                let new: Box<[Symbol]> = quotas.iter().map(|quota| names.intern(quota)).collect();
                for quota in &new {
                    self.quotas.add(*quota, size);
                }
                for quota in std::mem::replace(&mut extras.quotas, new) {
                    self.quotas.remove(quota, size);
                    names.release(quota);
                }
            }
            row.extras = boxed(extras);
        }
        if let Some(priority) = rewrite.priority
            && priority != row.priority
        {
            let (state, due, old) = (row.state, row.due, row.priority);
            match (state, row.lane) {
                (State::Defer, _) => {
                    self.defer.remove(old, due, node);
                    self.defer.insert(priority, due, node);
                    self.table.set_priority(node, priority);
                }
                (State::Active, Some(lane)) => {
                    self.active.take(&mut self.table, lane, node, &mut self.rules, now);
                    self.table.set_priority(node, priority);
                    self.active.push(&mut self.table, lane, node, &mut self.rules, now);
                }
                _ => self.table.set_priority(node, priority),
            }
        }
        Some(QueueChange::Rewritten { id, rewrite: Box::new(change) })
    }

    /// What the spool must know of where a row stands.
    pub(crate) fn placed(&self, node: Node) -> QueueChange {
        let row = &self.table[node];
        let placement = match row.state {
            State::Hold => Placement::Hold,
            State::Update => Placement::Update(row.due),
            State::Active
            | State::Defer
            | State::Unknown
            | State::UnknownFreezing
            | State::Sending
            | State::SendingFreezing => Placement::At(row.due),
        };
        QueueChange::Placed {
            id: row.id(),
            placement,
            retrycount: row.retrycount,
            reason: row.texts.parts().1.map(Box::from),
        }
    }

    /// Takes a row out of where its state has filed it.
    fn unfile(&mut self, node: Node, state: State, now: Timestamp) {
        match state {
            State::Defer => {
                let row = &self.table[node];
                self.defer.remove(row.priority, row.due, node);
            }
            State::Active => {
                if let Some(lane) = self.table[node].lane.take() {
                    self.active.remove(&mut self.table, lane, node, &mut self.rules, now);
                }
            }
            State::Hold | State::Update => {}
            State::Unknown | State::UnknownFreezing => {
                self.take_work(node);
            }
            State::Sending | State::SendingFreezing => {
                let charges = self.take_work(node).map(|work| work.charges).unwrap_or_default();
                if let Some(lane) = self.table[node].lane.take() {
                    self.active.sent(lane, &charges, &mut self.rules, now);
                }
            }
        }
    }

    fn take_work(&mut self, node: Node) -> Option<Work> {
        let work = self.work.remove(&node);
        if self.work.is_empty() && self.work.capacity() > MANY_WORKING {
            // After an update of millions of rows, say.
            self.work = HashMap::new();
        }
        work
    }

    /// Files a row where its state wants it.
    fn file(&mut self, node: Node, state: State, now: Timestamp) {
        let row = &self.table[node];
        match state {
            State::Defer => self.defer.insert(row.priority, row.due, node),
            State::Active => {
                if let Some(lane) = row.lane {
                    self.active.push(&mut self.table, lane, node, &mut self.rules, now);
                }
            }
            State::Hold | State::Update => {}
            // Rows come to SENDING through the pickup alone, which notes the work itself.
            State::Unknown | State::UnknownFreezing | State::Sending | State::SendingFreezing => {
                let charges = Charges::new();
                self.work.insert(node, Work { since: now, localip: None, charges });
            }
        }
    }

    /// A number that chooses for a row: the same for the same attempt.
    pub(crate) fn random(seed: u64, table: &Table, node: Node) -> u64 {
        let row = &table[node];
        let id = u128::from_be_bytes(*row.transaction.id().as_bytes());
        let halves = mix(id as u64) ^ mix((id >> 64) as u64).rotate_left(1);
        mix(halves ^ seed ^ u64::from(row.queue.0) << 32 ^ u64::from(row.retrycount))
    }
}

impl Default for Settings {
    /// No limit, one host.
    fn default() -> Self {
        Self { concurrency: None, hosts: NonZeroU32::MIN, seed: 0 }
    }
}

/// Extras, unless there are none.
pub(crate) fn boxed(extras: Extras) -> Option<Box<Extras>> {
    let Extras { sender, recipient, orcpt, tags, quotas } = &extras;
    let none = sender.is_none()
        && recipient.is_none()
        && orcpt.is_none()
        && tags.is_empty()
        && quotas.is_empty();
    (!none).then(|| Box::new(extras))
}

fn short_reason(reason: &str) -> &str {
    cut(reason, MAX_REASON)
}

/// The address, when its domain has upper case and must be kept as it was given.
fn exact_case(recipient: Address) -> Option<Address> {
    recipient.domain().bytes().any(|b| b.is_ascii_uppercase()).then_some(recipient)
}

/// Rows worked on at a time that need no clearing up after.
const MANY_WORKING: usize = 20_000;

#[cfg(test)]
mod tests;
