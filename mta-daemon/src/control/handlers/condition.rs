//! Filters, sortings and times of the protocol as the queue wants them.

use std::time::Duration;

use control::pb;
use mta_types::{QueueId, Timestamp};
use queue::condition::{
    AddressMatch, AnyMatch, Case, Compare, Condition, IdMatch, MailboxMatch, MetadataMatch,
    Probability, StateMatch, TextKind, TextMatch, TimeValue,
};
use queue::listing::{Order, SortKey, Sorting};
use queue::policy::{Field, FieldSet};
use queue::state::{FreezeFacet, QueueFacet, WorkingFacet};
use queue::update::Task;

use crate::control::dispatch::ControlError;

type Result<T> = std::result::Result<T, ControlError>;

/// A filter.
pub(crate) fn condition(filter: pb::Condition) -> Result<Condition> {
    let mut states = Vec::new();
    for state in &filter.queues {
        states.push(StateMatch::Queue(match pb::Queue::try_from(state.queue) {
            Ok(pb::Queue::Active) => QueueFacet::Active,
            Ok(pb::Queue::Defer) => QueueFacet::Defer,
            Err(_) => return Err(wrong("queue state", state.queue)),
        }));
    }
    for state in &filter.freezes {
        states.push(StateMatch::Freeze(freeze(state.freeze)?));
    }
    for state in &filter.workings {
        let working = match pb::Working::try_from(state.working) {
            Ok(pb::Working::Unknown) => WorkingFacet::Unknown,
            Ok(pb::Working::Sending) => WorkingFacet::Sending,
            Err(_) => return Err(wrong("working state", state.working)),
        };
        // False is proto3's absent value, so it asks for nothing.
        states.push(StateMatch::Working(working, state.updatefreezing.then_some(true)));
    }
    Ok(Condition {
        states,
        ids: each(filter.ids, id)?,
        hold: filter.hold.map(|hold| hold.value),
        serverids: each(filter.serverids, plain)?,
        senderips: each(filter.senderips, address)?,
        transportids: each(filter.transportids, text_or_regex)?,
        jobids: each(filter.jobids, text_or_regex)?,
        groupings: each(filter.groupings, text_or_regex)?,
        tenantids: Vec::new(),
        stageids: each(filter.stageids, plain)?,
        senders: each(filter.senders, mailbox)?,
        recipients: each(filter.recipients, mailbox)?,
        tss: each(filter.tss, compare_time)?,
        retrytss: each(filter.retrytss, compare_time)?,
        retrycounts: filter.retrycounts.into_iter().map(compare_number).collect(),
        subjects: each(filter.subjects, string_match)?,
        metadatas: each(filter.metadatas, metadata)?,
        quotas: each(filter.quotas, plain)?,
        sizes: filter.sizes.into_iter().map(compare_number).collect(),
        retryreasons: each(filter.retryreasons, string_match)?,
        localips: each(filter.localips, address)?,
        remoteips: each(filter.remoteips, address)?,
        remotemxs: each(filter.remotemxs, text_or_regex)?,
        tags: each(filter.tags, plain)?,
        priorities: filter
            .priorities
            .iter()
            .filter_map(|p| p.eq.as_ref())
            .map(|p| p.value)
            .collect(),
        probability: (filter.probability > 0.0).then(|| Probability {
            share: filter.probability,
            seed: uuid::Uuid::new_v4().as_u64_pair().0,
        }),
        policygroupings: field_set(filter.policygroupings),
    })
}

/// A set of fields; none when it is absent.
pub(crate) fn field_set(fields: Option<pb::Fields>) -> FieldSet {
    let fields = fields.unwrap_or_default();
    let named = [
        (Field::TransportId, fields.transportid),
        (Field::LocalIp, fields.localip),
        (Field::RemoteIp, fields.remoteip),
        (Field::RemoteMx, fields.remotemx),
        (Field::RecipientDomain, fields.recipientdomain),
        (Field::JobId, fields.jobid),
        (Field::Grouping, fields.grouping),
    ];
    named.into_iter().filter(|(_, on)| *on).map(|(field, _)| field).collect()
}

/// A time to live in seconds: 0 is without end.
pub(crate) fn ttl(seconds: f64) -> Result<Option<Duration>> {
    if seconds == 0.0 {
        return Ok(None);
    }
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|_| ControlError(format!("{seconds} is no time to live in seconds")))
}

/// Seconds until then, for an answer: 0 is without end, and what ends now has a moment left.
pub(crate) fn seconds_until(end: Option<Timestamp>, now: Timestamp) -> f64 {
    end.map_or(0.0, |end| end.saturating_since(now).as_secs_f64().max(0.001))
}

/// A tag; the empty one is none.
pub(crate) fn tag(text: &str) -> Option<mta_types::Tag> {
    (!text.is_empty()).then(|| text.into())
}

/// A sort key; one without a field sorts nothing.
pub(crate) fn sorting(sorting: &pb::queue_list_request::Sorting) -> Option<Sorting> {
    use pb::queue_list_request::sorting::Field as Proto;
    use pb::queue_list_request::sorting::mail_address::Part;
    let (key, order) = match sorting.field.as_ref()? {
        Proto::Ts(order) => (SortKey::Ts, *order),
        Proto::Sender(address) => match address.part.as_ref()? {
            Part::Localpart(order) => (SortKey::SenderLocalpart, *order),
            Part::Domain(order) => (SortKey::SenderDomain, *order),
        },
        Proto::Recipient(address) => match address.part.as_ref()? {
            Part::Localpart(order) => (SortKey::RecipientLocalpart, *order),
            Part::Domain(order) => (SortKey::RecipientDomain, *order),
        },
        Proto::Working(working) => (SortKey::WorkingDuration, working.duration),
        Proto::Retryts(order) => (SortKey::RetryTs, *order),
        Proto::Size(order) => (SortKey::Size, *order),
        Proto::Retrycount(order) => (SortKey::RetryCount, *order),
    };
    let order = if pb::Order::try_from(order) == Ok(pb::Order::Desc) {
        Order::Descending
    } else {
        Order::Ascending
    };
    Some(Sorting { key, order })
}

/// Where an update moves rows.
pub(crate) fn movement(target: pb::queue_update_request::Move) -> Result<Task> {
    use pb::queue_update_request::r#move::Destination;
    let retryts = target.retryts.map(time).transpose()?;
    match target.destination {
        None => Err(ControlError("the move has no destination".into())),
        Some(Destination::Freeze(kind)) => Ok(match freeze(kind)? {
            FreezeFacet::Hold => Task::Hold,
            FreezeFacet::Update => Task::Update,
        }),
        Some(Destination::Queue(kind)) => match pb::Queue::try_from(kind) {
            Ok(pb::Queue::Active) => Ok(Task::Activate),
            Ok(pb::Queue::Defer) => {
                let jitter = Duration::try_from_secs_f64(target.retrytsjitter.max(0.0))
                    .map_err(|_| ControlError("retrytsjitter is too large".into()))?;
                Ok(Task::Defer { retryts, jitter })
            }
            Err(_) => Err(wrong("queue", kind)),
        },
    }
}

fn freeze(kind: i32) -> Result<FreezeFacet> {
    match pb::Freeze::try_from(kind) {
        Ok(pb::Freeze::Hold) => Ok(FreezeFacet::Hold),
        Ok(pb::Freeze::Update) => Ok(FreezeFacet::Update),
        Err(_) => Err(wrong("freeze state", kind)),
    }
}

fn each<T, U>(values: Vec<T>, read: impl Fn(T) -> Result<U>) -> Result<Vec<U>> {
    values.into_iter().map(read).collect()
}

pub(crate) fn wrong(what: &str, number: i32) -> ControlError {
    ControlError(format!("{number} is no {what}"))
}

fn id(id: pb::condition::ItemId) -> Result<IdMatch> {
    let transaction = id
        .transaction
        .parse()
        .map_err(|_| ControlError(format!("{} is no transaction id", id.transaction)))?;
    // 0 is proto3's absent value: all recipients of the transaction.
    let queue = match id.queue {
        0 => None,
        number => Some(QueueId(u32::try_from(number)?)),
    };
    Ok(IdMatch { transaction, queue, exclude: id.exclude })
}

fn text(value: &str, kind: TextKind, case: Case, exclude: bool) -> Result<TextMatch> {
    let text = TextMatch::new(value, kind, case)
        .map_err(|error| ControlError(format!("bad regular expression: {error}")))?;
    Ok(if exclude { text.excluding() } else { text })
}

fn plain(value: pb::CompareStringValue) -> Result<TextMatch> {
    text(&value.value, TextKind::Exact, Case::Sensitive, value.exclude)
}

fn text_or_regex(value: pb::CompareStringRegexValue) -> Result<TextMatch> {
    use pb::compare_string_regex_value::Type;
    let kind = match value.r#type() {
        Type::Exact => TextKind::Exact,
        Type::Regex => TextKind::Regex,
    };
    text(&value.value, kind, Case::Sensitive, value.exclude)
}

pub(crate) fn string_match(value: pb::StringMatch) -> Result<TextMatch> {
    use pb::string_match::Type;
    let kind = match value.r#type() {
        Type::Exact => TextKind::Exact,
        Type::Partial => TextKind::Partial,
        Type::Regex => TextKind::Regex,
    };
    let case = if value.caseless { Case::Ignored } else { Case::Sensitive };
    text(&value.value, kind, case, value.exclude)
}

fn address(value: pb::CompareStringValue) -> Result<AddressMatch> {
    let network = value
        .value
        .parse()
        .map_err(|_| ControlError(format!("{} is no address or network", value.value)))?;
    Ok(AddressMatch { network, exclude: value.exclude })
}

fn mailbox(value: pb::condition::MailAddress) -> Result<MailboxMatch> {
    use pb::string_regex_value::Type;
    let domain = match value.domain {
        None => None,
        Some(domain) => Some(match domain.r#type() {
            Type::Exact => TextMatch::caseless(&domain.value),
            Type::Regex => text(&domain.value, TextKind::Regex, Case::Ignored, false)?,
        }),
    };
    let localpart = value.localpart.map(string_match).transpose()?;
    Ok(MailboxMatch { localpart, domain, exclude: value.exclude })
}

fn metadata(value: pb::condition::Metadata) -> Result<MetadataMatch> {
    let mut values = Vec::new();
    for (key, wanted) in value.value {
        if let Some(text) = wanted.string {
            values.push((key.clone(), AnyMatch::Text(string_match(text)?)));
        }
        if let Some(number) = wanted.double {
            let value = |bound: Option<pb::DoubleValue>| bound.map(|bound| bound.value);
            let compare = Compare {
                eq: value(number.eq),
                neq: value(number.neq),
                lt: value(number.lt),
                gt: value(number.gt),
                gte: value(number.gte),
                lte: value(number.lte),
            };
            values.push((key, AnyMatch::Number(compare)));
        }
    }
    Ok(MetadataMatch { values, exclude: value.exclude })
}

pub(crate) fn compare_number(value: pb::CompareUInt64) -> Compare<u64> {
    let bound = |bound: Option<pb::UInt64Value>| bound.map(|bound| bound.value);
    Compare {
        eq: bound(value.eq),
        neq: bound(value.neq),
        lt: bound(value.lt),
        gt: bound(value.gt),
        gte: bound(value.gte),
        lte: bound(value.lte),
    }
}

pub(crate) fn compare_time(value: pb::CompareTime) -> Result<Compare<TimeValue>> {
    let bound = |bound: Option<pb::TimeValue>| bound.map(time).transpose();
    Ok(Compare {
        eq: bound(value.eq)?,
        neq: bound(value.neq)?,
        lt: bound(value.lt)?,
        gt: bound(value.gt)?,
        gte: bound(value.gte)?,
        lte: bound(value.lte)?,
    })
}

fn time(value: pb::TimeValue) -> Result<TimeValue> {
    match value.value {
        Some(pb::time_value::Value::Absolute(seconds)) => {
            Ok(TimeValue::Absolute(Timestamp::from_seconds_f64(seconds)))
        }
        Some(pb::time_value::Value::Relative(seconds)) => Ok(TimeValue::Relative(seconds)),
        None => Err(ControlError("a time has no value".into())),
    }
}
