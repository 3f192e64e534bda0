//! The filter language shared by command line, control protocol and scripts.
//!
//! Entries of one kind are or-ed, kinds are and-ed. An entry with `exclude` takes rows away: a row
//! passes a kind when no excluding entry matches it and, if there are other entries, one of those
//! does. The three state kinds of the protocol count as one, because a row is in one state only.

use std::net::IpAddr;
use std::time::Duration;

use mta_types::{QueueId, Timestamp, TransactionId};
use regex::Regex;

use crate::network::IpNet;
use crate::policy::{Field, FieldSet};
use crate::state::{Facet, FreezeFacet, QueueFacet, WorkingFacet};

/// Which rows are meant. The default means all.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// `queues`, `freezes`, `workings`.
    pub states: Vec<StateMatch>,
    /// `ids`.
    pub ids: Vec<IdMatch>,
    /// `hold`.
    pub hold: Option<bool>,
    /// `serverids`.
    pub serverids: Vec<TextMatch>,
    /// `senderips`.
    pub senderips: Vec<AddressMatch>,
    /// `transportids`.
    pub transportids: Vec<TextMatch>,
    /// `jobids`.
    pub jobids: Vec<TextMatch>,
    /// `groupings`, with or without the leading `&`.
    pub groupings: Vec<TextMatch>,
    /// Tenants.
    pub tenantids: Vec<TextMatch>,
    /// `stageids`.
    pub stageids: Vec<TextMatch>,
    /// `senders`.
    pub senders: Vec<MailboxMatch>,
    /// `recipients`.
    pub recipients: Vec<MailboxMatch>,
    /// `tss`: when received.
    pub tss: Vec<Compare<TimeValue>>,
    /// `retrytss`: when due.
    pub retrytss: Vec<Compare<TimeValue>>,
    /// `retrycounts`.
    pub retrycounts: Vec<Compare<u64>>,
    /// `subjects`.
    pub subjects: Vec<TextMatch>,
    /// `metadatas`.
    pub metadatas: Vec<MetadataMatch>,
    /// `quotas`.
    pub quotas: Vec<TextMatch>,
    /// `sizes`.
    pub sizes: Vec<Compare<u64>>,
    /// `retryreasons`.
    pub retryreasons: Vec<TextMatch>,
    /// `localips`: any candidate counts.
    pub localips: Vec<AddressMatch>,
    /// `remoteips`.
    pub remoteips: Vec<AddressMatch>,
    /// `remotemxs`.
    pub remotemxs: Vec<TextMatch>,
    /// `tags`.
    pub tags: Vec<TextMatch>,
    /// `priorities`.
    pub priorities: Vec<u64>,
    /// `probability`: a share of the rows.
    pub probability: Option<Probability>,
    /// `policygroupings`: the counter whose roll-ups apply to the policy fields above, so that
    /// `remotemxs` can name `#rolled-up`.
    pub policygroupings: FieldSet,
}

/// One state that rows may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateMatch {
    /// ACTIVE or DEFER.
    Queue(QueueFacet),
    /// HOLD or UPDATE.
    Freeze(FreezeFacet),
    /// UNKNOWN or SENDING; with `Some`, only with or without a freeze waiting.
    Working(WorkingFacet, Option<bool>),
}

/// One message, or all of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMatch {
    /// The transaction.
    pub transaction: TransactionId,
    /// One recipient's copy, or all.
    pub queue: Option<QueueId>,
    /// Takes away instead of letting through.
    pub exclude: bool,
}

/// A text to compare with: `StringMatch`, `CompareStringValue` and their like.
#[derive(Clone, Debug)]
pub struct TextMatch {
    exclude: bool,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Exact(Box<str>),
    ExactCaseless(Box<str>),
    Partial(Box<str>),
    /// Partial without regard to case, and regular expressions.
    Regex(Box<Regex>),
}

/// How a [`TextMatch`] compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextKind {
    /// The whole text.
    #[default]
    Exact,
    /// Anywhere in the text.
    Partial,
    /// A regular expression, anywhere in the text.
    Regex,
}

/// Whether ASCII case matters. (Regular expressions fold all of Unicode.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// It does.
    #[default]
    Sensitive,
    /// It does not.
    Ignored,
}

/// An address or network to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressMatch {
    /// Addresses in here match.
    pub network: IpNet,
    /// Takes away instead of letting through.
    pub exclude: bool,
}

/// A mailbox to compare with.
#[derive(Clone, Debug, Default)]
pub struct MailboxMatch {
    /// Local part; any when absent.
    pub localpart: Option<TextMatch>,
    /// Domain; any when absent.
    pub domain: Option<TextMatch>,
    /// Takes away instead of letting through.
    pub exclude: bool,
}

/// Metadata to compare with: every key named must be there and match.
#[derive(Clone, Debug, Default)]
pub struct MetadataMatch {
    /// Keys and what their values must be.
    pub values: Vec<(String, AnyMatch)>,
    /// Takes away instead of letting through.
    pub exclude: bool,
}

/// A metadata value to compare with.
#[derive(Clone, Debug)]
pub enum AnyMatch {
    /// As text.
    Text(TextMatch),
    /// As a number; a value that is none never matches.
    Number(Compare<f64>),
}

/// Comparisons that must all hold: `CompareTime`, `CompareUInt64`, `CompareDouble`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compare<T> {
    /// Equal.
    pub eq: Option<T>,
    /// Not equal.
    pub neq: Option<T>,
    /// Less.
    pub lt: Option<T>,
    /// Greater.
    pub gt: Option<T>,
    /// Greater or equal.
    pub gte: Option<T>,
    /// Less or equal.
    pub lte: Option<T>,
}

/// A time as the protocol gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TimeValue {
    /// That time.
    Absolute(Timestamp),
    /// So many seconds from now; negative is the past.
    Relative(f64),
}

/// A random share of the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probability {
    /// Which share, 0 to 1.
    pub share: f32,
    /// Chooses which rows: the same seed chooses the same rows.
    pub seed: u64,
}
