//! What the queue knows of one recipient of one transaction.
//!
//! [`Transaction`] holds what all recipients share, behind one [`Arc`]; [`NewMessage`] is how a row
//! comes in (from a hook, or from the spool after a restart) and [`QueuedMessage`] how it is shown.
//! The row itself is `table`'s and keeps names as numbers, to stay small.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mta_types::{
    Address, Grouping, JobId, MessageId, QueueId, ServerId, Tag, TenantId, Timestamp,
    TransactionId, TransportId,
};

use crate::metadata::Metadata;
use crate::state::State;

/// What all recipients of one transaction share; built once, then read only.
///
/// The texts stand in one allocation, because a million of these are held in memory.
#[derive(Debug)]
pub struct Transaction {
    id: TransactionId,
    ts: Timestamp,
    size: u64,
    serverid: ServerId,
    /// All texts in the order of [`Part`], without separators.
    text: Box<str>,
    /// Where each text ends in `text`; never decreasing, always on a character boundary.
    ends: [u16; Part::COUNT],
    /// Which of the optional texts are there, by the bit of their [`Part`].
    present: u8,
    /// RET, SMTPUTF8 and 8BITMIME, by the bits of [`Flag`].
    flags: u8,
    senderip: Option<IpAddr>,
    /// Highest queue number ever given in this transaction, so that copies get new ones.
    last_queue: AtomicU32,
}

/// The facts of [`Transaction::new`].
#[derive(Clone, Copy, Debug)]
pub struct TransactionParts<'a> {
    /// Identity.
    pub id: TransactionId,
    /// Envelope sender.
    pub sender: &'a Address,
    /// When the message was received.
    pub ts: Timestamp,
    /// Octets of the message.
    pub size: u64,
    /// Virtual server that accepted it.
    pub serverid: &'a ServerId,
    /// Address of the peer that sent it; `None` for what the daemon made itself.
    pub senderip: Option<IpAddr>,
    /// HELO or EHLO name; kept up to 255 octets.
    pub senderhelo: &'a str,
    /// User that authenticated; kept up to 255 octets.
    pub saslusername: Option<&'a str>,
    /// Subject as scripts see it; kept up to 512 octets.
    pub subject: Option<&'a str>,
    /// ENVID of RFC 3461 §4.4, decoded; kept up to 100 octets, the RFC's limit.
    pub envid: Option<&'a str>,
    /// RET of RFC 3461 §4.3.
    pub ret: Option<DsnReturn>,
    /// Live stage that accepted it; kept up to 255 octets.
    pub stageid: Option<&'a str>,
    /// Path of the message's file, when it has one of its own; kept up to 1,024 octets.
    pub hqfpath: Option<&'a str>,
    /// The next hop must offer SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// The content has octets beyond ASCII (RFC 6152).
    pub eightbit: bool,
}

/// Yes-or-no facts of a transaction in one octet: a million of these are held in memory.
struct Flag;

impl Flag {
    const RET_FULL: u8 = 1;
    const RET_HEADERS: u8 = 2;
    const SMTPUTF8: u8 = 4;
    const EIGHTBIT: u8 = 8;

    const fn pack(parts: &TransactionParts<'_>) -> u8 {
        let ret = match parts.ret {
            Some(DsnReturn::Full) => Self::RET_FULL,
            Some(DsnReturn::Headers) => Self::RET_HEADERS,
            None => 0,
        };
        let smtputf8 = if parts.smtputf8 { Self::SMTPUTF8 } else { 0 };
        let eightbit = if parts.eightbit { Self::EIGHTBIT } else { 0 };
        ret | smtputf8 | eightbit
    }
}

/// RET: what a DSN returns of the message (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DsnReturn {
    /// The whole message.
    Full,
    /// Its header only.
    Headers,
}

/// NOTIFY: what DSNs the sender wants for a recipient (RFC 3461 §4.1).
///
/// Unset means the parameter was absent; with `never` the others are meaningless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DsnNotify(u8);

impl DsnNotify {
    /// The parameter was not given.
    pub const UNSET: Self = Self(0);
    /// No DSN at all.
    pub const NEVER: Self = Self(1);
    /// On successful delivery.
    pub const SUCCESS: Self = Self(2);
    /// On final failure.
    pub const FAILURE: Self = Self(4);
    /// On delay.
    pub const DELAY: Self = Self(8);

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`; nothing left is [`DsnNotify::NEVER`], for absence asks for more.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        match self.0 & !other.0 {
            0 if self.0 != 0 => Self::NEVER,
            rest => Self(rest),
        }
    }

    /// Tells whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set as a number below 16, for the spool.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of that number; bits that mean nothing are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 15)
    }
}

/// The two priorities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Priority {
    /// 0: the ordinary one.
    #[default]
    Normal,
    /// 1: goes ahead of priority 0 wherever both could go.
    High,
}

impl Priority {
    /// Both, 0 first.
    pub const ALL: [Self; 2] = [Self::Normal, Self::High];

    /// The protocol's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The priority of a number: 0 is normal, everything else high.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        if number == 0 { Self::Normal } else { Self::High }
    }
}

/// Where a row that nobody works on stands, in the form that survives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Due at once: goes to pre-delivery.
    #[default]
    Now,
    /// Due at that time.
    At(Timestamp),
    /// On hold.
    Hold,
    /// Frozen by an external program; due at that time once it is thawed.
    Update(Timestamp),
}

/// A row on its way into the queue: new, or found in the spool after a restart.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Number within the transaction, from 1.
    pub queue: QueueId,
    /// What it shares with the transaction's other recipients.
    pub transaction: Arc<Transaction>,
    /// Envelope recipient.
    pub recipient: Address,
    /// Sender of this copy, where it was rewritten.
    pub sender: Option<Address>,
    /// Way out.
    pub transportid: TransportId,
    /// Correlation given by a script.
    pub jobid: Option<JobId>,
    /// Tenant given by a script.
    pub tenantid: Option<TenantId>,
    /// Scheduling class.
    pub priority: Priority,
    /// What scripts noted.
    pub metadata: Metadata,
    /// Words given when queueing.
    pub tags: Vec<Tag>,
    /// Names of the quotas that this copy counts against.
    pub quotas: Vec<Box<str>>,
    /// NOTIFY of RFC 3461.
    pub notify: DsnNotify,
    /// ORCPT of RFC 3461, as received.
    pub orcpt: Option<Box<str>>,
    /// Where it starts.
    pub placement: Placement,
    /// Counted failures so far.
    pub retrycount: u32,
    /// Why the last attempt failed; kept up to 512 octets.
    pub retryreason: Option<Box<str>>,
}

impl NewMessage {
    /// A new row with nothing but the necessary, due at once.
    #[must_use]
    pub fn new(
        transaction: Arc<Transaction>,
        queue: QueueId,
        recipient: Address,
        transportid: TransportId,
    ) -> Self {
        Self {
            queue,
            transaction,
            recipient,
            sender: None,
            transportid,
            jobid: None,
            tenantid: None,
            priority: Priority::Normal,
            metadata: Metadata::default(),
            tags: Vec::new(),
            quotas: Vec::new(),
            notify: DsnNotify::UNSET,
            orcpt: None,
            placement: Placement::Now,
            retrycount: 0,
            retryreason: None,
        }
    }

    /// The row's identity.
    #[must_use]
    pub fn id(&self) -> MessageId {
        MessageId::new(self.transaction.id, self.queue)
    }
}

/// One row as lists show it: every item field, owned, so that no lock is needed to encode it.
#[derive(Clone, Debug)]
pub struct QueuedMessage {
    /// Identity.
    pub id: MessageId,
    /// Where it stands.
    pub state: State,
    /// What it shares with the transaction's other recipients: `ts`, `serverid`, `stageid`, `size`,
    /// `senderip`, `senderhelo`, `saslusername`, `subject`, `hqfpath`, `dsn.envid`, `dsn.ret`.
    pub transaction: Arc<Transaction>,
    /// Whether it is, or was when work on it began, on hold.
    pub hold: bool,
    /// Envelope sender of this copy.
    pub sender: Address,
    /// Envelope recipient.
    pub recipient: Address,
    /// Way out.
    pub transportid: TransportId,
    /// Correlation given by a script.
    pub jobid: Option<JobId>,
    /// Tenant given by a script.
    pub tenantid: Option<TenantId>,
    /// Set of remote hosts, with its `&`; while active or sending.
    pub grouping: Option<Grouping>,
    /// What scripts noted.
    pub metadata: Metadata,
    /// Counted failures so far.
    pub retrycount: u32,
    /// When it is due; the epoch when that was never set.
    pub retryts: Timestamp,
    /// Why the last attempt failed.
    pub retryreason: Option<Box<str>>,
    /// Candidate source addresses, duplicates included; while active or sending.
    pub localips: Vec<IpAddr>,
    /// Whether the candidates are tried in order.
    pub localipsordered: bool,
    /// The source address chosen; while sending.
    pub localip: Option<IpAddr>,
    /// Destination address; while active or sending.
    pub remoteip: Option<IpAddr>,
    /// Destination host; while active or sending.
    pub remotemx: Option<Arc<str>>,
    /// Words given when queueing.
    pub tags: Vec<Tag>,
    /// Quotas that it counts against.
    pub quotas: Vec<Arc<str>>,
    /// NOTIFY of RFC 3461.
    pub notify: DsnNotify,
    /// ORCPT of RFC 3461.
    pub orcpt: Option<Box<str>>,
    /// Scheduling class.
    pub priority: Priority,
    /// Since when somebody works on it; only while working.
    pub working_since: Option<Timestamp>,
}

impl Transaction {
    /// Packs the facts; texts over their limit are cut at a character boundary.
    #[must_use]
    pub fn new(parts: TransactionParts<'_>) -> Arc<Self> {
        let pieces: [Option<&str>; Part::COUNT] = [
            Some(parts.sender.local()),
            Some(parts.sender.domain()),
            Some(cut(parts.senderhelo, 255)),
            parts.saslusername.map(|text| cut(text, 255)),
            parts.subject.map(|text| cut(text, 512)),
            parts.envid.map(|text| cut(text, 100)),
            parts.stageid.map(|text| cut(text, 255)),
            parts.hqfpath.map(|text| cut(text, 1024)),
        ];
        let mut text = String::with_capacity(pieces.iter().flatten().map(|p| p.len()).sum());
        let mut ends = [0; Part::COUNT];
        let mut present = 0;
        for (index, piece) in pieces.iter().enumerate() {
            if let Some(piece) = piece {
                present |= 1 << index;
                text.push_str(piece);
            }
            // All limits together, an address's 2,048 octets included, stay below 5,000.
            ends[index] = u16::try_from(text.len()).unwrap_or(u16::MAX);
        }
        Arc::new(Self {
            id: parts.id,
            ts: parts.ts,
            size: parts.size,
            serverid: parts.serverid.clone(),
            text: text.into_boxed_str(),
            ends,
            present,
            flags: Flag::pack(&parts),
            senderip: parts.senderip,
            last_queue: AtomicU32::new(0),
        })
    }

    /// Identity.
    #[must_use]
    pub const fn id(&self) -> TransactionId {
        self.id
    }

    /// Tells whether the next hop must offer SMTPUTF8.
    #[must_use]
    pub const fn is_smtputf8(&self) -> bool {
        self.flags & Flag::SMTPUTF8 != 0
    }

    /// Tells whether the content has octets beyond ASCII.
    #[must_use]
    pub const fn is_eightbit(&self) -> bool {
        self.flags & Flag::EIGHTBIT != 0
    }

    /// When the message was received.
    #[must_use]
    pub const fn ts(&self) -> Timestamp {
        self.ts
    }

    /// Octets of the message.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Virtual server that accepted it.
    #[must_use]
    pub const fn serverid(&self) -> &ServerId {
        &self.serverid
    }

    /// Envelope sender as received; a row may have its own ([`QueuedMessage::sender`]).
    #[must_use]
    pub fn sender(&self) -> Address {
        let (local, domain) = self.sender_parts();
        // Both halves come out of an address, so they make one again.
        Address::new(local, domain).unwrap_or_default()
    }

    /// Local part and domain of the envelope sender, without an allocation.
    #[must_use]
    pub fn sender_parts(&self) -> (&str, &str) {
        (self.piece(Part::SenderLocal), self.piece(Part::SenderDomain))
    }

    /// Address of the peer that sent it.
    #[must_use]
    pub const fn senderip(&self) -> Option<IpAddr> {
        self.senderip
    }

    /// HELO or EHLO name.
    #[must_use]
    pub fn senderhelo(&self) -> &str {
        self.piece(Part::Helo)
    }

    /// User that authenticated.
    #[must_use]
    pub fn saslusername(&self) -> Option<&str> {
        self.optional(Part::Sasl)
    }

    /// Subject as scripts see it.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.optional(Part::Subject)
    }

    /// ENVID of RFC 3461.
    #[must_use]
    pub fn envid(&self) -> Option<&str> {
        self.optional(Part::Envid)
    }

    /// RET of RFC 3461.
    #[must_use]
    pub const fn ret(&self) -> Option<DsnReturn> {
        if self.flags & Flag::RET_FULL != 0 {
            Some(DsnReturn::Full)
        } else if self.flags & Flag::RET_HEADERS != 0 {
            Some(DsnReturn::Headers)
        } else {
            None
        }
    }

    /// Live stage that accepted it.
    #[must_use]
    pub fn stageid(&self) -> Option<&str> {
        self.optional(Part::Stage)
    }

    /// Path of the message's file, when it has one of its own.
    #[must_use]
    pub fn hqfpath(&self) -> Option<&str> {
        self.optional(Part::HqfPath)
    }

    /// Remembers that `queue` is taken, so that [`Transaction::claim_queue`] goes past it.
    pub(crate) fn note_queue(&self, queue: QueueId) {
        self.last_queue.fetch_max(queue.0, Ordering::Relaxed);
    }

    /// A queue number that no row of this transaction ever had; `None` when they are used up.
    pub(crate) fn claim_queue(&self) -> Option<QueueId> {
        self.last_queue
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |last| last.checked_add(1))
            .ok()
            .map(|last| QueueId(last + 1))
    }

    fn optional(&self, part: Part) -> Option<&str> {
        (self.present & 1 << part as u8 != 0).then(|| self.piece(part))
    }

    fn piece(&self, part: Part) -> &str {
        let index = part as usize;
        let start = if index == 0 { 0 } else { usize::from(self.ends[index - 1]) };
        self.text.get(start..usize::from(self.ends[index])).unwrap_or_default()
    }
}

/// Order of the texts within a [`Transaction`].
#[derive(Clone, Copy)]
#[repr(u8)]
enum Part {
    SenderLocal,
    SenderDomain,
    Helo,
    Sasl,
    Subject,
    Envid,
    Stage,
    HqfPath,
}

impl Part {
    const COUNT: usize = 8;
}

/// `text`, cut to at most `max` octets at a character boundary.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Octets kept of the reason for a failed attempt: peers choose its text.
pub(crate) const MAX_REASON: usize = 512;
