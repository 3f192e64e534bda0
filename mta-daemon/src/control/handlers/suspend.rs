//! `queue suspend`: list, add, update, delete.

use control::{Message, pb};
use queue::suspend::{NewSuspend, Source, SuspendFilter, SuspendInfo};
use queue::{Field, Pattern, PerField};

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::control::handlers::condition::{seconds_until, tag, ttl};
use crate::time;

/// Lists suspensions: static, dynamic, and the pickup's own for counters that are used up.
pub(crate) fn list(core: &Core, request: pb::SuspendRequest) -> Answer {
    use pb::suspend_request::Filter;
    let limit = request.paging.map(|paging| paging.limit).filter(|limit| *limit > 0);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let filter = match request.filter {
        None => SuspendFilter::default(),
        Some(Filter::Id(id)) => SuspendFilter { id: Some(id.into()), ..SuspendFilter::default() },
        Some(Filter::Condition(condition)) => {
            let mut values = PerField::default();
            let named = [
                (Field::TransportId, vec![condition.transportid]),
                (Field::LocalIp, condition.localips),
                (Field::RemoteIp, vec![condition.remoteip]),
                (Field::RemoteMx, vec![condition.remotemx]),
                (Field::RecipientDomain, vec![condition.recipientdomain]),
                (Field::JobId, vec![condition.jobid]),
                (Field::Grouping, vec![condition.grouping]),
            ];
            for (field, wanted) in named {
                let wanted: Vec<Box<str>> =
                    wanted.into_iter().filter(|text| !text.is_empty()).map(Into::into).collect();
                values.set(field, (!wanted.is_empty()).then_some(wanted));
            }
            SuspendFilter {
                id: None,
                values,
                tag: tag(&condition.tag),
                // Whoever filters gets the pickup's own only when they ask for them.
                pickup: Some(condition.pickup),
            }
        }
    };
    let now = time::now();
    let found = core.queue.lock().suspends(&filter, limit);
    let items = found.iter().map(|info| item(info, seconds_until(info.expires, now))).collect();
    Ok(pb::SuspendResponse { items }.encode_to_vec())
}

/// Adds a suspension, or updates an equal one.
pub(crate) fn add(core: &Core, request: &pb::SuspendAddRequest) -> Answer {
    let matches = patterns([
        (Field::TransportId, &request.transportid),
        (Field::LocalIp, &request.localip),
        (Field::RemoteIp, &request.remoteip),
        (Field::RemoteMx, &request.remotemx),
        (Field::RecipientDomain, &request.recipientdomain),
        (Field::JobId, &request.jobid),
        (Field::Grouping, &request.grouping),
    ])?;
    let id = core.queue.add_suspend(NewSuspend {
        id: (!request.id.is_empty()).then(|| request.id.as_str().into()),
        matches,
        ttl: ttl(request.ttl)?,
        tag: tag(&request.tag),
        ..NewSuspend::default()
    })?;
    Ok(pb::SuspendAddResponse { id: id.into() }.encode_to_vec())
}

/// Gives a dynamic suspension a new time to live and tag.
pub(crate) fn update(core: &Core, request: &pb::SuspendUpdateRequest) -> Answer {
    let new_tag = tag(&request.tag);
    let found = core.queue.update_suspend(&request.id, Some(ttl(request.ttl)?), Some(new_tag))?;
    Ok(pb::SuspendUpdateResponse { affected: found.into() }.encode_to_vec())
}

/// Deletes a dynamic suspension.
pub(crate) fn delete(core: &Core, request: &pb::SuspendDeleteRequest) -> Answer {
    let found = core.queue.delete_suspend(&request.id);
    Ok(pb::SuspendDeleteResponse { affected: found.into() }.encode_to_vec())
}

/// Patterns from texts; an empty one is none.
pub(crate) fn patterns<const N: usize>(
    texts: [(Field, &str); N],
) -> Result<PerField<Pattern>, ControlError> {
    let given = texts.into_iter().filter(|(_, text)| !text.is_empty());
    Ok(given
        .map(|(field, text)| Ok((field, Pattern::parse(field, text)?)))
        .collect::<Result<_, queue::pattern::PatternError>>()?)
}

fn item(info: &SuspendInfo, ttl: f64) -> pb::suspend_response::Item {
    use pb::suspend_response::item::Source as Proto;
    let source = match info.source {
        Source::Static => Proto::Static,
        Source::Concurrency => Proto::Concurrency,
        Source::Rate => Proto::Rate,
        Source::Dynamic => Proto::Dynamic,
    };
    let value = |field| info.values.get(field).map(ToString::to_string).unwrap_or_default();
    pb::suspend_response::Item {
        source: source.into(),
        id: info.id.as_ref().map(ToString::to_string).unwrap_or_default(),
        transportid: value(Field::TransportId),
        localip: value(Field::LocalIp),
        remoteip: value(Field::RemoteIp),
        remotemx: value(Field::RemoteMx),
        recipientdomain: value(Field::RecipientDomain),
        jobid: value(Field::JobId),
        grouping: value(Field::Grouping),
        ttl,
        tag: info.tag.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}
