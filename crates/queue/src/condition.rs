//! The filter language shared by command line, control protocol and scripts.
//!
//! Entries of one kind are or-ed, kinds are and-ed. An entry with `exclude` takes rows away: a row
//! passes a kind when no excluding entry matches it and, if there are other entries, one of those
//! does. The three state kinds of the protocol count as one, because a row is in one state only.

use std::net::IpAddr;

use mta_types::{MessageId, QueueId, Timestamp, TransactionId};
use regex::Regex;

use crate::active::mix;
use crate::network::IpNet;
use crate::pattern::REGEX_LIMIT;
use crate::policy::{Field, FieldSet};
use crate::state::{Facet, FreezeFacet, QueueFacet, State, WorkingFacet};
use crate::view::MessageView;

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
    /// `groupings`, as rows have them: with the leading `&`.
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

impl Condition {
    /// Tells whether a row is meant.
    #[must_use]
    pub fn matches(&self, row: &MessageView<'_>, now: Timestamp) -> bool {
        let transaction = row.transaction();
        // Cheap and selective questions first: lists go over millions of rows.
        self.matches_state(row.state())
            && self.hold.is_none_or(|hold| hold == row.is_on_hold())
            && kind(&self.ids, |id| id.exclude, |id| id.matches(row.id()))
            && any(&self.priorities, |priority| *priority == u64::from(row.priority().number()))
            && any(&self.retrycounts, |count| count.holds(&u64::from(row.retrycount())))
            && any(&self.sizes, |size| size.holds(&transaction.size()))
            && any(&self.tss, |ts| ts.holds_at(transaction.ts(), now))
            && any(&self.retrytss, |ts| ts.holds_at(row.retryts(), now))
            && self.matches_fields(row)
            && text(&self.serverids, [transaction.serverid().as_str()])
            && text(&self.stageids, transaction.stageid())
            && text(&self.subjects, transaction.subject())
            && text(&self.retryreasons, row.retryreason())
            && address(&self.senderips, transaction.senderip())
            && mailbox(&self.senders, row.sender_parts())
            && mailbox(&self.recipients, row.recipient_parts())
            && (self.quotas.is_empty() || text(&self.quotas, row.quotas()))
            && (self.tags.is_empty() || text(&self.tags, row.tags()))
            && kind(&self.metadatas, |entry| entry.exclude, |entry| entry.matches(row))
            && self.probability.is_none_or(|probability| probability.chooses(row.id()))
    }

    fn matches_state(&self, state: State) -> bool {
        any(&self.states, |wanted| match (*wanted, state.facet()) {
            (StateMatch::Queue(wanted), Facet::Queue(queue)) => wanted == queue,
            (StateMatch::Freeze(wanted), Facet::Freeze(freeze)) => wanted == freeze,
            (StateMatch::Working(wanted, freezing), Facet::Working { working, updatefreezing }) => {
                wanted == working && freezing.is_none_or(|wanted| wanted == updatefreezing)
            }
            _ => false,
        })
    }

    /// The policy fields, rolled up when a counter is named.
    fn matches_fields(&self, row: &MessageView<'_>) -> bool {
        let texts = [
            (Field::TransportId, &self.transportids),
            (Field::JobId, &self.jobids),
            (Field::TenantId, &self.tenantids),
            (Field::Grouping, &self.groupings),
            (Field::RemoteMx, &self.remotemxs),
        ];
        let rules = &row.queue().rules;
        texts.into_iter().all(|(field, wanted)| {
            if wanted.is_empty() {
                return true;
            }
            if !self.policygroupings.contains(field) {
                return text(wanted, row.values(field));
            }
            // The value itself or what it is rolled up to: either can be named.
            let rolled = row.values(field).find_map(|value| {
                rules.policies.rolled_text(self.policygroupings, field, value, &rules.lists)
            });
            text(wanted, row.values(field).chain(rolled.as_deref()))
        }) && (self.localips.is_empty() || address(&self.localips, row.localips()))
            && (self.remoteips.is_empty() || address(&self.remoteips, row.remoteip()))
    }
}

impl IdMatch {
    fn matches(&self, id: MessageId) -> bool {
        self.transaction == id.transaction && self.queue.is_none_or(|queue| queue == id.queue)
    }
}

impl TextMatch {
    /// A text to compare with.
    ///
    /// # Errors
    ///
    /// The regular expression's own, when it does not compile or is too large.
    pub fn new(value: &str, kind: TextKind, case: Case) -> Result<Self, regex::Error> {
        let regex = |pattern: &str| {
            regex::RegexBuilder::new(pattern)
                .case_insensitive(case == Case::Ignored)
                .size_limit(REGEX_LIMIT)
                .build()
                .map(|regex| How::Regex(Box::new(regex)))
        };
        let how = match (kind, case) {
            (TextKind::Exact, Case::Sensitive) => How::Exact(value.into()),
            (TextKind::Exact, Case::Ignored) => How::ExactCaseless(value.into()),
            (TextKind::Partial, Case::Sensitive) => How::Partial(value.into()),
            (TextKind::Partial, Case::Ignored) => regex(&regex::escape(value))?,
            (TextKind::Regex, _) => regex(value)?,
        };
        Ok(Self { exclude: false, how })
    }

    /// The whole text, case included.
    #[must_use]
    pub fn exact(value: &str) -> Self {
        Self { exclude: false, how: How::Exact(value.into()) }
    }

    /// The whole text, without regard to ASCII case: for domains.
    #[must_use]
    pub fn caseless(value: &str) -> Self {
        Self { exclude: false, how: How::ExactCaseless(value.into()) }
    }

    /// The same, taking away instead of letting through.
    #[must_use]
    pub fn excluding(mut self) -> Self {
        self.exclude = true;
        self
    }

    /// Tells whether the text is like this, whatever that leads to.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.how {
            How::Exact(value) => **value == *text,
            How::ExactCaseless(value) => value.eq_ignore_ascii_case(text),
            How::Partial(value) => text.contains(&**value),
            How::Regex(regex) => regex.is_match(text),
        }
    }
}

impl MetadataMatch {
    fn matches(&self, row: &MessageView<'_>) -> bool {
        self.values.iter().all(|(key, wanted)| {
            row.metadata().value(key).is_some_and(|value| match wanted {
                AnyMatch::Text(text) => text.is_match(value) != text.exclude,
                AnyMatch::Number(compare) => {
                    value.trim().parse().is_ok_and(|number| compare.holds(&number))
                }
            })
        })
    }
}

impl<T> Default for Compare<T> {
    fn default() -> Self {
        Self { eq: None, neq: None, lt: None, gt: None, gte: None, lte: None }
    }
}

impl<T: PartialOrd> Compare<T> {
    /// Tells whether every comparison that is given holds for `value`.
    #[must_use]
    pub fn holds(&self, value: &T) -> bool {
        self.eq.as_ref().is_none_or(|wanted| value == wanted)
            && self.neq.as_ref().is_none_or(|wanted| value != wanted)
            && self.lt.as_ref().is_none_or(|wanted| value < wanted)
            && self.gt.as_ref().is_none_or(|wanted| value > wanted)
            && self.gte.as_ref().is_none_or(|wanted| value >= wanted)
            && self.lte.as_ref().is_none_or(|wanted| value <= wanted)
    }
}

impl Compare<TimeValue> {
    /// Tells whether every comparison that is given holds for `time`, seen from `now`.
    #[must_use]
    pub fn holds_at(&self, time: Timestamp, now: Timestamp) -> bool {
        let resolve = |value: Option<TimeValue>| value.map(|value| value.resolve(now));
        let absolute = Compare {
            eq: resolve(self.eq),
            neq: resolve(self.neq),
            lt: resolve(self.lt),
            gt: resolve(self.gt),
            gte: resolve(self.gte),
            lte: resolve(self.lte),
        };
        absolute.holds(&time)
    }
}

impl TimeValue {
    /// The time that is meant, seen from `now`; never before the epoch.
    #[must_use]
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Absolute(time) => time,
            // Casts of floats saturate, and make 0 of what is no number.
            Self::Relative(seconds) => {
                let micros = (seconds.abs() * 1e6) as u64;
                Timestamp::from_micros(if seconds < 0.0 {
                    now.as_micros().saturating_sub(micros)
                } else {
                    now.as_micros().saturating_add(micros)
                })
            }
        }
    }
}

impl Probability {
    fn chooses(&self, id: MessageId) -> bool {
        let halves = u128::from_be_bytes(*id.transaction.as_bytes());
        let number = mix(self.seed ^ mix(halves as u64 ^ u64::from(id.queue.0) << 17))
            ^ mix((halves >> 64) as u64);
        // 24 bits are what a float tells apart.
        ((mix(number) >> 40) as f32) < self.share * (1 << 24) as f32
    }
}

/// A kind without exclusions: empty, or one entry matches.
fn any<T>(entries: &[T], matches: impl Fn(&T) -> bool) -> bool {
    entries.is_empty() || entries.iter().any(matches)
}

/// A kind with exclusions.
fn kind<T>(entries: &[T], excludes: impl Fn(&T) -> bool, matches: impl Fn(&T) -> bool) -> bool {
    let (mut wanted, mut found) = (false, false);
    for entry in entries {
        if excludes(entry) {
            if matches(entry) {
                return false;
            }
        } else {
            wanted = true;
            found = found || matches(entry);
        }
    }
    found || !wanted
}

/// A kind of texts, of which a row may have several.
fn text<'a>(entries: &[TextMatch], values: impl IntoIterator<Item = &'a str>) -> bool {
    if entries.is_empty() {
        return true;
    }
    let values: smallvec::SmallVec<[&str; 4]> = values.into_iter().collect();
    kind(entries, |entry| entry.exclude, |entry| values.iter().any(|value| entry.is_match(value)))
}

/// A kind of addresses, of which a row may have several.
fn address(entries: &[AddressMatch], values: impl IntoIterator<Item = IpAddr>) -> bool {
    if entries.is_empty() {
        return true;
    }
    let values: smallvec::SmallVec<[IpAddr; 4]> = values.into_iter().collect();
    kind(
        entries,
        |entry| entry.exclude,
        |entry| values.iter().any(|value| entry.network.contains(*value)),
    )
}

fn mailbox(entries: &[MailboxMatch], (local, domain): (&str, &str)) -> bool {
    let part = |wanted: &Option<TextMatch>, value| {
        wanted.as_ref().is_none_or(|wanted| wanted.is_match(value) != wanted.exclude)
    };
    kind(
        entries,
        |entry| entry.exclude,
        |entry| part(&entry.localpart, local) && part(&entry.domain, domain),
    )
}
