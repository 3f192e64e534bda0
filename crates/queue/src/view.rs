//! A row as it stands, borrowed.

use std::net::IpAddr;
use std::sync::Arc;

use mta_types::{Address, Grouping, JobId, MessageId, Tag, TenantId, Timestamp, TransportId};

use crate::active::Lane;
use crate::machine::Queue;
use crate::message::{DsnNotify, Priority, QueuedMessage, Transaction};
use crate::metadata::{Metadata, Pairs};
use crate::policy::Field;
use crate::ring::Node;
use crate::state::State;
use crate::symbol::Symbol;
use crate::table::Row;

/// One row of the queue, read in place.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    queue: &'a Queue,
    node: Node,
    row: &'a Row,
}

impl<'a> MessageView<'a> {
    pub(crate) fn new(queue: &'a Queue, node: Node) -> Self {
        Self { queue, node, row: &queue.table[node] }
    }

    /// Identity.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.row.id()
    }

    /// What it shares with the transaction's other recipients.
    #[must_use]
    pub const fn transaction(&self) -> &'a Arc<Transaction> {
        &self.row.transaction
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.row.state
    }

    /// Whether it stands on HOLD.
    #[must_use]
    pub const fn is_on_hold(&self) -> bool {
        self.row.hold
    }

    /// Envelope sender of this copy.
    #[must_use]
    pub fn sender(&self) -> Address {
        let own = self.row.extras.as_ref().and_then(|extras| extras.sender.clone());
        own.unwrap_or_else(|| self.row.transaction.sender())
    }

    /// Local part and domain of the sender of this copy, without an allocation.
    #[must_use]
    pub fn sender_parts(&self) -> (&'a str, &'a str) {
        match self.row.extras.as_ref().and_then(|extras| extras.sender.as_ref()) {
            Some(own) => (own.local(), own.domain()),
            None => self.row.transaction.sender_parts(),
        }
    }

    /// Envelope recipient.
    #[must_use]
    pub fn recipient(&self) -> Address {
        let (local, domain) = self.recipient_parts();
        // Both halves come out of an address, so they make one again.
        Address::new(local, domain).unwrap_or_default()
    }

    /// Local part and domain of the recipient, without an allocation.
    #[must_use]
    pub fn recipient_parts(&self) -> (&'a str, &'a str) {
        match self.row.extras.as_ref().and_then(|extras| extras.recipient.as_ref()) {
            Some(own) => (own.local(), own.domain()),
            None => (self.row.texts.parts().0, self.recipientdomain()),
        }
    }

    /// Domain of the recipient in lower case.
    #[must_use]
    pub fn recipientdomain(&self) -> &'a str {
        self.text(self.row.domain)
    }

    /// Way out.
    #[must_use]
    pub fn transportid(&self) -> &'a str {
        self.text(self.row.transportid)
    }

    /// Correlation given by a script.
    #[must_use]
    pub fn jobid(&self) -> Option<&'a str> {
        self.row.jobid.map(|jobid| self.text(jobid))
    }

    /// Tenant given by a script.
    #[must_use]
    pub fn tenantid(&self) -> Option<&'a str> {
        self.row.tenantid.map(|tenantid| self.text(tenantid))
    }

    /// Set of remote hosts, with its `&`; while active or sending.
    #[must_use]
    pub fn grouping(&self) -> Option<&'a str> {
        self.routed(Field::Grouping).map(|grouping| self.text(grouping))
    }

    /// Destination host; while active or sending.
    #[must_use]
    pub fn remotemx(&self) -> Option<&'a str> {
        self.routed(Field::RemoteMx).map(|remotemx| self.text(remotemx))
    }

    /// Destination address; while active or sending.
    #[must_use]
    pub fn remoteip(&self) -> Option<IpAddr> {
        self.address(self.routed(Field::RemoteIp)?)
    }

    /// Candidate source addresses; while active or sending.
    pub fn localips(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let view = *self;
        let ips: &'a [Symbol] = match view.lane() {
            Some(lane) => &lane.candidates.ips,
            None => &[],
        };
        ips.iter().filter_map(move |ip| view.address(*ip))
    }

    /// Whether the candidates are tried in order.
    #[must_use]
    pub fn localipsordered(&self) -> bool {
        self.lane().is_some_and(|lane| lane.candidates.ordered)
    }

    /// Source address chosen; while sending.
    #[must_use]
    pub fn localip(&self) -> Option<IpAddr> {
        self.address(self.queue.work.get(&self.node)?.localip?)
    }

    /// What scripts noted.
    #[must_use]
    pub fn metadata(&self) -> Pairs<'a> {
        Pairs::from_packed(self.row.texts.parts().2)
    }

    /// Counted failures so far.
    #[must_use]
    pub const fn retrycount(&self) -> u32 {
        self.row.retrycount
    }

    /// When it is due, or was last.
    #[must_use]
    pub const fn retryts(&self) -> Timestamp {
        self.row.due
    }

    /// Why the last attempt failed.
    #[must_use]
    pub fn retryreason(&self) -> Option<&'a str> {
        self.row.texts.parts().1
    }

    /// Scheduling class.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.row.priority
    }

    /// NOTIFY of RFC 3461.
    #[must_use]
    pub const fn notify(&self) -> DsnNotify {
        self.row.notify
    }

    /// ORCPT of RFC 3461.
    #[must_use]
    pub fn orcpt(&self) -> Option<&'a str> {
        self.row.extras.as_ref()?.orcpt.as_deref()
    }

    /// Words given when queueing.
    pub fn tags(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let view = *self;
        view.row.tags().iter().map(move |tag| view.text(*tag))
    }

    /// Quotas that it counts against.
    pub fn quotas(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let view = *self;
        view.row.quotas().iter().map(move |quota| view.text(*quota))
    }

    /// Since when somebody works on it; only while working.
    #[must_use]
    pub fn working_since(&self) -> Option<Timestamp> {
        self.queue.work.get(&self.node).map(|work| work.since)
    }

    /// Everything, owned.
    #[must_use]
    pub fn to_message(&self) -> QueuedMessage {
        let names = &self.queue.rules.names;
        QueuedMessage {
            id: self.id(),
            state: self.state(),
            transaction: Arc::clone(&self.row.transaction),
            hold: self.row.hold,
            sender: self.sender(),
            recipient: self.recipient(),
            transportid: TransportId::new(names.shared(self.row.transportid)),
            jobid: self.row.jobid.map(|jobid| JobId::new(names.shared(jobid))),
            tenantid: self.row.tenantid.map(|tenantid| TenantId::new(names.shared(tenantid))),
            grouping: self.routed(Field::Grouping).map(|group| Grouping::new(names.shared(group))),
            metadata: Metadata::from_packed(self.row.texts.parts().2),
            retrycount: self.row.retrycount,
            retryts: self.row.due,
            retryreason: self.retryreason().map(Box::from),
            localips: self.localips().collect(),
            localipsordered: self.localipsordered(),
            localip: self.localip(),
            remoteip: self.remoteip(),
            remotemx: self.routed(Field::RemoteMx).map(|remotemx| names.shared(remotemx)),
            tags: self.row.tags().iter().map(|tag| Tag::new(names.shared(*tag))).collect(),
            quotas: self.row.quotas().iter().map(|quota| names.shared(*quota)).collect(),
            notify: self.row.notify,
            orcpt: self.orcpt().map(Box::from),
            priority: self.row.priority,
            working_since: self.working_since(),
        }
    }

    /// The values of a policy field, as text: several source addresses, one or none of the others.
    pub(crate) fn values(&self, field: Field) -> impl Iterator<Item = &'a str> + use<'a> {
        let view = *self;
        let one = match field {
            Field::TransportId => Some(view.row.transportid),
            Field::RecipientDomain => Some(view.row.domain),
            Field::JobId => view.row.jobid,
            Field::TenantId => view.row.tenantid,
            Field::LocalIp => None,
            Field::RemoteIp | Field::RemoteMx | Field::Grouping => view.routed(field),
        };
        let several: &'a [Symbol] = match view.lane() {
            Some(lane) if field == Field::LocalIp => &lane.candidates.ips,
            _ => &[],
        };
        one.into_iter().chain(several.iter().copied()).map(move |value| view.text(value))
    }

    pub(crate) const fn queue(&self) -> &'a Queue {
        self.queue
    }

    fn lane(&self) -> Option<&'a Lane> {
        self.row.lane.map(|lane| self.queue.active.lane(lane))
    }

    fn routed(&self, field: Field) -> Option<Symbol> {
        self.lane()?.values[field.index()]
    }

    fn text(&self, symbol: Symbol) -> &'a str {
        self.queue.rules.names.text(symbol)
    }

    fn address(&self, symbol: Symbol) -> Option<IpAddr> {
        self.queue.rules.names.address(symbol)
    }
}
