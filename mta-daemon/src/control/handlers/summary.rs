//! `queue groupby`.

use std::sync::Arc;

use control::{Message, pb};
use queue::Pattern;
use queue::listing::Order;
use queue::policy::{Field, PerField};
use queue::state::{FreezeFacet, QueueFacet, WorkingFacet};
use queue::summary::{
    Count, CountResult, GroupBy, Measure, Predicate, SummaryKey, SummaryRequest, SummaryRun,
    SummarySorting,
};

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::control::handlers::condition::{self, wrong};
use crate::time;

/// Counts rows by the values of some fields.
pub(crate) async fn group_by(core: &Arc<Core>, request: pb::QueueGroupByRequest) -> Answer {
    let now = time::now();
    let mut run = SummaryRun::new(read(request)?);
    while !run.step(&core.queue.lock(), STEP, now) {
        tokio::task::yield_now().await;
    }
    let page = run.finish();
    let items = page.items.into_iter().map(|item| pb::queue_group_by_response::Item {
        groupbys: item.groupbys.iter().map(ToString::to_string).collect(),
        counts: item.counts,
        total: item.total,
    });
    let items = items.collect();
    let paging = Some(pb::PagingTotal { total: page.total });
    Ok(pb::QueueGroupByResponse { items, paging }.encode_to_vec())
}

fn read(request: pb::QueueGroupByRequest) -> Result<SummaryRequest, ControlError> {
    let paging = request.paging.unwrap_or_default();
    let mut sortings = Vec::new();
    for sorting in &request.sortings {
        use pb::queue_group_by_request::sorting::Column;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let by = match sorting.column {
            Some(Column::Groupby(at)) => SummaryKey::GroupBy(place(at)),
            Some(Column::Count(at)) => SummaryKey::Count(place(at)),
            Some(Column::Total(_)) => SummaryKey::Total,
            None => continue,
        };
        let order = match pb::Order::try_from(sorting.order) {
            Ok(pb::Order::Desc) => Order::Descending,
            Ok(pb::Order::Asc) => Order::Ascending,
            Err(_) => return Err(wrong("order", sorting.order)),
        };
        sortings.push(SummarySorting { by, order });
    }
    let groupbys: Vec<_> = request
        .groupbys
        .into_iter()
        .filter_map(|groupby| groupby.field.map(self::groupby))
        .collect();
    let mut groupings = Vec::new();
    for (name, patterns) in request.groupings {
        groupings.push((name, read_patterns(patterns)?));
    }
    Ok(SummaryRequest {
        condition: condition::condition(request.conditions.unwrap_or_default())?,
        groupbys,
        counts: request.counts.into_iter().map(count).collect::<Result<_, _>>()?,
        measure: measure(request.r#return)?,
        groupings,
        policygroupings: condition::field_set(request.policygroupings),
        sortings,
        offset: paging.offset,
        limit: (paging.limit > 0).then_some(paging.limit),
    })
}

fn groupby(field: pb::queue_group_by_request::group_by::Field) -> GroupBy {
    use pb::queue_group_by_request::group_by::Field as Proto;
    match field {
        Proto::Transportid(_) => GroupBy::Field(Field::TransportId),
        Proto::Recipientdomain(_) => GroupBy::Field(Field::RecipientDomain),
        Proto::Senderdomain(_) => GroupBy::SenderDomain,
        Proto::Jobid(_) => GroupBy::Field(Field::JobId),
        Proto::Metadata(key) => GroupBy::Metadata(key),
        Proto::Senderip(_) => GroupBy::SenderIp,
        Proto::Remoteip(_) => GroupBy::Field(Field::RemoteIp),
        Proto::Remotemx(_) => GroupBy::Field(Field::RemoteMx),
        Proto::Localip(_) => GroupBy::Field(Field::LocalIp),
        Proto::Grouping(_) => GroupBy::Field(Field::Grouping),
    }
}

fn count(count: pb::queue_group_by_request::Counts) -> Result<Count, ControlError> {
    use pb::queue_group_by_request::counts::Field as Proto;
    use pb::queue_group_by_request::counts::r#return::Kind;
    let predicate = match count.field {
        None => Predicate::All,
        Some(Proto::Queue(queue)) => Predicate::Queue(match pb::Queue::try_from(queue) {
            Ok(pb::Queue::Active) => QueueFacet::Active,
            Ok(pb::Queue::Defer) => QueueFacet::Defer,
            Err(_) => return Err(wrong("queue state", queue)),
        }),
        Some(Proto::Freeze(freeze)) => Predicate::Freeze(match pb::Freeze::try_from(freeze) {
            Ok(pb::Freeze::Hold) => FreezeFacet::Hold,
            Ok(pb::Freeze::Update) => FreezeFacet::Update,
            Err(_) => return Err(wrong("freeze state", freeze)),
        }),
        Some(Proto::Working(working)) => Predicate::Working(match pb::Working::try_from(working) {
            Ok(pb::Working::Unknown) => WorkingFacet::Unknown,
            Ok(pb::Working::Sending) => WorkingFacet::Sending,
            Err(_) => return Err(wrong("working state", working)),
        }),
        Some(Proto::Ts(compare)) => Predicate::Ts(condition::compare_time(compare)?),
        Some(Proto::Retryts(compare)) => Predicate::RetryTs(condition::compare_time(compare)?),
        Some(Proto::Retrycount(compare)) => {
            Predicate::RetryCount(condition::compare_number(compare))
        }
        Some(Proto::Priority(compare)) => {
            // Priorities are compared for equality only; without a number the lowest is meant.
            Predicate::Priority(compare.eq.map_or(0, |number| number.value))
        }
    };
    let result = match count.r#return.and_then(|it| it.kind) {
        None => CountResult::Measure(Measure::Count),
        Some(Kind::Type(kind)) => CountResult::Measure(measure(kind)?),
        Some(Kind::Unique(unique)) => CountResult::Unique(read_unique(unique)?),
    };
    Ok(Count { predicate, result })
}

fn read_unique(
    unique: pb::queue_group_by_request::counts::Unique,
) -> Result<GroupBy, ControlError> {
    use pb::queue_group_by_request::counts::unique::Field as Proto;
    Ok(match unique.field {
        Some(Proto::Transportid(_)) => GroupBy::Field(Field::TransportId),
        Some(Proto::Recipientdomain(_)) => GroupBy::Field(Field::RecipientDomain),
        Some(Proto::Senderdomain(_)) => GroupBy::SenderDomain,
        Some(Proto::Jobid(_)) => GroupBy::Field(Field::JobId),
        Some(Proto::Metadata(key)) => GroupBy::Metadata(key),
        Some(Proto::Senderip(_)) => GroupBy::SenderIp,
        Some(Proto::Remoteip(_)) => GroupBy::Field(Field::RemoteIp),
        Some(Proto::Remotemx(_)) => GroupBy::Field(Field::RemoteMx),
        Some(Proto::Localip(_)) => GroupBy::Field(Field::LocalIp),
        Some(Proto::Grouping(_)) => GroupBy::Field(Field::Grouping),
        Some(Proto::Nogrouping(_)) | None => {
            return Err(ControlError("a unique count names no field".into()));
        }
    })
}

fn measure(kind: i32) -> Result<Measure, ControlError> {
    match pb::CountType::try_from(kind) {
        Ok(pb::CountType::Count) => Ok(Measure::Count),
        Ok(pb::CountType::Bytes) => Ok(Measure::Bytes),
        Err(_) => Err(wrong("kind of sum", kind)),
    }
}

fn read_patterns(named: pb::Groupings) -> Result<PerField<Vec<Pattern>>, ControlError> {
    let all = [
        (Field::TransportId, named.transportid),
        (Field::LocalIp, named.localip),
        (Field::RemoteIp, named.remoteip),
        (Field::RemoteMx, named.remotemx),
        (Field::RecipientDomain, named.recipientdomain),
        (Field::JobId, named.jobid),
        (Field::Grouping, named.grouping),
    ];
    let mut patterns = PerField::default();
    for (field, texts) in all.into_iter().filter(|(_, texts)| !texts.is_empty()) {
        let read: Result<Vec<_>, _> =
            texts.iter().map(|text| Pattern::parse(field, text)).collect();
        patterns.set(field, Some(read?));
    }
    Ok(patterns)
}

/// Rows looked at between two breaths: about a millisecond.
const STEP: usize = 1_000;
