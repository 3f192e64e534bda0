//! `queue policy`: dynamic conditions, rates, and what the policies say about given values.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use control::{Message, pb};
use queue::policy::dynamic::{Dynamic, DynamicUpdate, NewDynamic};
use queue::policy::{AppliedPolicy, Counter, Limits, Properties, Property, RollUp};
use queue::window::Rate;
use queue::{Field, Pattern, PerField};
use script_host::server::fields;

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::control::handlers::condition::{field_set, seconds_until, tag, ttl};
use crate::time;

/// Lists the dynamic conditions.
pub(crate) fn list(core: &Core) -> Answer {
    let now = time::now();
    let dynamics = core.queue.lock().dynamic_policies();
    let items = dynamics
        .iter()
        .map(|dynamic| pb::policy_condition_response::Item {
            id: dynamic.id.to_string(),
            fields: Some(fields(dynamic.fields)),
            r#if: Some(matches(dynamic)),
            then: Some(pb::PolicyThen {
                rate: dynamic.then.rate.map(rate),
                concurrency: dynamic.then.concurrency.map_or(0, |limit| limit.get().into()),
                tag: dynamic.then.tag.as_ref().map(ToString::to_string).unwrap_or_default(),
                stop: dynamic.then.stop,
                properties: properties(&dynamic.then.properties),
            }),
            ttl: seconds_until(dynamic.expires, now),
        })
        .collect();
    Ok(pb::PolicyConditionResponse { items }.encode_to_vec())
}

/// Adds a dynamic condition, or updates an equal one.
pub(crate) fn add(core: &Core, request: pb::PolicyConditionAddRequest) -> Answer {
    let given = request.r#if.unwrap_or_default();
    let named = [
        (Field::TransportId, given.transportid),
        (Field::LocalIp, given.localip),
        (Field::RemoteIp, given.remoteip),
        (Field::RemoteMx, given.remotemx),
        (Field::RecipientDomain, given.recipientdomain),
        (Field::JobId, given.jobid),
        (Field::Grouping, given.grouping),
    ];
    let mut matches = PerField::default();
    for (field, value) in named {
        if let Some(value) = value {
            matches.set(field, Some(Pattern::parse(field, &value.value)?));
        }
    }
    let counted = field_set(request.fields);
    let then = request.then.unwrap_or_default();
    let new = NewDynamic {
        id: (!request.id.is_empty()).then(|| request.id.as_str().into()),
        fields: counted,
        matches,
        then: Limits {
            concurrency: concurrency(then.concurrency)?,
            rate: then.rate.as_ref().map(read_rate).transpose()?.flatten(),
            algorithm: core.queue.rate_algorithm(counted),
            tag: tag(&then.tag),
            stop: then.stop,
            properties: then
                .properties
                .into_iter()
                .map(|(key, value)| (key.into(), Property::Text(value.into())))
                .collect(),
            ..Limits::default()
        },
        ttl: ttl(request.ttl)?,
        ..NewDynamic::default()
    };
    let id = core.queue.add_policy(new)?;
    Ok(pb::PolicyConditionAddResponse { id: id.into() }.encode_to_vec())
}

/// Gives a dynamic condition new limits, if any are given, and a new time to live.
pub(crate) fn update(core: &Core, request: pb::PolicyConditionUpdateRequest) -> Answer {
    let mut update = DynamicUpdate { ttl: Some(ttl(request.ttl)?), ..DynamicUpdate::default() };
    if let Some(then) = request.then {
        update.concurrency = Some(concurrency(then.concurrency)?);
        update.rate = Some(then.rate.as_ref().map(read_rate).transpose()?.flatten());
        update.tag = Some(tag(&then.tag));
        update.stop = Some(then.stop);
    }
    let found = core.queue.update_policy(&request.id, update);
    Ok(pb::PolicyConditionUpdateResponse { affected: found.into() }.encode_to_vec())
}

/// Deletes a dynamic condition.
pub(crate) fn delete(core: &Core, request: &pb::PolicyConditionDeleteRequest) -> Answer {
    let found = core.queue.delete_policy(&request.id);
    Ok(pb::PolicyConditionDeleteResponse { affected: found.into() }.encode_to_vec())
}

/// Gives tokens back to rates; without a number they are full again.
pub(crate) fn refill(core: &Core, request: pb::PolicyRateRefillRequest) -> Answer {
    let values = texts([
        (Field::TransportId, request.transportid),
        (Field::LocalIp, request.localip),
        (Field::RemoteIp, request.remoteip),
        (Field::RemoteMx, request.remotemx),
        (Field::RecipientDomain, request.recipientdomain),
        (Field::JobId, request.jobid),
        (Field::Grouping, request.grouping),
    ]);
    if !request.tokens.is_finite() || request.tokens < 0.0 {
        return Err(ControlError(format!("{} is no number of tokens", request.tokens)));
    }
    let tokens = (request.tokens > 0.0).then_some(request.tokens);
    let affected = core.queue.lock().refill_rates(&values, tokens, time::now());
    core.queue.wake.notify_one();
    Ok(pb::PolicyRateRefillResponse { affected: affected as u64 }.encode_to_vec())
}

/// What the policies would say about a row with these values.
pub(crate) fn match_values(core: &Core, request: pb::PolicyMatchRequest) -> Answer {
    let values = texts([
        (Field::TransportId, request.transportid),
        (Field::LocalIp, request.localip),
        (Field::RemoteIp, request.remoteip),
        (Field::RemoteMx, request.remotemx),
        (Field::RecipientDomain, request.recipientdomain),
        (Field::JobId, request.jobid),
        (Field::Grouping, request.grouping),
    ]);
    let applied = core.queue.lock().match_policies(&values);
    let policies = applied.iter().map(policy).collect();
    Ok(pb::PolicyMatchResponse { policies }.encode_to_vec())
}

/// Lists the roll-ups of all policies.
pub(crate) fn groupings(core: &Core, request: pb::PolicyGroupingListRequest) -> Answer {
    let paging = request.paging.unwrap_or_default();
    let offset = usize::try_from(paging.offset).unwrap_or(usize::MAX);
    let limit = match paging.limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let queue = core.queue.lock();
    let all = queue
        .policies()
        .iter()
        .flat_map(|counter| counter.rollups.iter().filter_map(|rollup| grouping(counter, rollup)));
    let groupings = all.skip(offset).take(limit).collect();
    Ok(pb::PolicyGroupingListResponse { groupings }.encode_to_vec())
}

/// The patterns of one roll-up.
pub(crate) fn grouping_items(core: &Core, request: pb::PolicyGroupingRequest) -> Answer {
    use pb::policy_grouping_request::Value;
    let counted = field_set(request.fields);
    let (field, name) = match request.value {
        Some(Value::Transportid(name)) => (Field::TransportId, name),
        Some(Value::Localip(name)) => (Field::LocalIp, name),
        Some(Value::Remoteip(name)) => (Field::RemoteIp, name),
        Some(Value::Remotemx(name)) => (Field::RemoteMx, name),
        Some(Value::Recipientdomain(name)) => (Field::RecipientDomain, name),
        Some(Value::Jobid(name)) => (Field::JobId, name),
        Some(Value::Grouping(name)) => (Field::Grouping, name),
        None => return Err(ControlError("the grouping is not named".into())),
    };
    let name = name.strip_prefix('#').unwrap_or(&name);
    let queue = core.queue.lock();
    let rollups = queue.policies().iter().filter(|counter| counter.fields == counted);
    let mut rollups = rollups.flat_map(|counter| &counter.rollups);
    let Some(rollup) = rollups.find(|rollup| rollup.field == field && *rollup.name == *name) else {
        return Err(ControlError(format!(
            "no policy with the fields {counted:?} rolls {field} up to #{name}"
        )));
    };
    let items = rollup.patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    Ok(pb::PolicyGroupingResponse { items }.encode_to_vec())
}

fn grouping(
    counter: &Counter,
    rollup: &RollUp,
) -> Option<pb::policy_grouping_list_response::Grouping> {
    use pb::policy_grouping_list_response::grouping::Value;
    let name = format!("#{}", rollup.name);
    let value = match rollup.field {
        Field::TransportId => Value::Transportid(name),
        Field::LocalIp => Value::Localip(name),
        Field::RemoteIp => Value::Remoteip(name),
        Field::RemoteMx => Value::Remotemx(name),
        Field::RecipientDomain => Value::Recipientdomain(name),
        Field::JobId => Value::Jobid(name),
        Field::Grouping => Value::Grouping(name),
        // The protocol has no place for it.
        Field::TenantId => return None,
    };
    let fields = Some(fields(counter.fields));
    Some(pb::policy_grouping_list_response::Grouping { fields, value: Some(value) })
}

fn policy(applied: &AppliedPolicy) -> pb::policy_match_response::Policy {
    // One text for the whole entry, in the order of the fields.
    let values: Vec<&str> = applied.grouping.iter().map(|(_, value)| &**value).collect();
    pb::policy_match_response::Policy {
        fields: Some(fields(applied.fields)),
        grouping: values.join(","),
        dynamic: applied
            .dynamic
            .iter()
            .map(|(id, tag)| pb::policy_match_response::policy::Dynamic {
                id: id.to_string(),
                tag: tag.as_ref().map(ToString::to_string).unwrap_or_default(),
            })
            .collect(),
        tags: applied.tags.iter().map(ToString::to_string).collect(),
        concurrency: applied.limits.concurrency.map_or(0, |limit| limit.get().into()),
        rate: applied.limits.rate.map(rate),
        properties: properties(&applied.limits.properties),
        stop: applied.limits.stop,
    }
}

fn matches(dynamic: &Dynamic) -> pb::PolicyIf {
    let value = |field| {
        let pattern = dynamic.matches.get(field)?;
        Some(pb::StringValue { value: Pattern::as_str(pattern).to_owned() })
    };
    pb::PolicyIf {
        transportid: value(Field::TransportId),
        localip: value(Field::LocalIp),
        remoteip: value(Field::RemoteIp),
        remotemx: value(Field::RemoteMx),
        recipientdomain: value(Field::RecipientDomain),
        jobid: value(Field::JobId),
        grouping: value(Field::Grouping),
    }
}

fn rate(rate: Rate) -> pb::PolicyRate {
    pb::PolicyRate { count: rate.count().into(), interval: rate.interval().as_secs_f64() }
}

/// A rate; a count of 0 is no limit.
fn read_rate(rate: &pb::PolicyRate) -> Result<Option<Rate>, ControlError> {
    if rate.count == 0 {
        return Ok(None);
    }
    let wrong = || ControlError(format!("{}/{} is no rate", rate.count, rate.interval));
    let count = u32::try_from(rate.count).map_err(|_| wrong())?;
    let interval = Duration::try_from_secs_f64(rate.interval).map_err(|_| wrong())?;
    Rate::new(count, interval).map(Some).ok_or_else(wrong)
}

/// A limit on concurrency; 0 is none.
fn concurrency(limit: u64) -> Result<Option<NonZeroU32>, ControlError> {
    let limit =
        u32::try_from(limit).map_err(|_| ControlError("concurrency is too large".into()))?;
    Ok(NonZeroU32::new(limit))
}

fn properties(properties: &Properties) -> BTreeMap<String, String> {
    let text = |property: &Property| match property {
        Property::Text(text) => text.to_string(),
        Property::Number(number) => number.to_string(),
        Property::Boolean(flag) => flag.to_string(),
    };
    properties.iter().map(|(key, value)| (key.to_string(), text(value))).collect()
}

/// Values from texts; an empty one is none.
fn texts<const N: usize>(given: [(Field, String); N]) -> PerField<String> {
    given.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}
