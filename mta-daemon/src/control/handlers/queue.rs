//! `queue list` and `queue update`.
//!
//! Both go over the table in steps and give the lock back in between, so that mail keeps flowing
//! whatever the size of the queue.

use std::sync::Arc;

use control::{Message, pb};
use mta_types::MessageId;
use queue::change::QueueChange;
use queue::listing::{ListRequest, ListRun};
use queue::message::QueuedMessage;
use queue::state::{Facet, FreezeFacet, QueueFacet, WorkingFacet};
use queue::update::{Removal, Task, UpdateRequest, UpdateRun};
use spool::Durability;

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::control::handlers::condition;
use crate::outbound::dispatch::notify_text;
use crate::outbound::outcome::{self, Attempt};
use crate::outbound::plan::Left;
use crate::queue_service::persist;
use crate::time;

/// Lists rows.
pub(crate) async fn list(core: &Arc<Core>, request: pb::QueueListRequest) -> Answer {
    let now = time::now();
    let paging = request.paging.unwrap_or_default();
    let mut run = ListRun::new(ListRequest {
        condition: condition::condition(request.conditions.unwrap_or_default())?,
        sortings: request.sortings.iter().filter_map(condition::sorting).collect(),
        offset: paging.offset,
        limit: (paging.limit > 0).then_some(paging.limit),
    });
    while !run.step(&core.queue.lock(), STEP, now) {
        tokio::task::yield_now().await;
    }
    let page = run.finish(&core.queue.lock());
    // Rows may have changed while the walk went on: what is shown counts from their time.
    let shown = time::now().as_seconds_f64();
    let items = page.items.iter().map(|row| item(row, shown)).collect();
    let paging = Some(pb::PagingTotal { total: page.total });
    Ok(pb::QueueListResponse { items, paging }.encode_to_vec())
}

/// Changes rows; answers when the changes are on disk.
pub(crate) async fn update(core: &Arc<Core>, request: pb::QueueUpdateRequest) -> Answer {
    let request = update_request(request)?;
    let removal = match &request.task {
        Some(Task::Remove(removal)) => Some(removal.clone()),
        _ => None,
    };
    let mut run = UpdateRun::new(request)?;
    let mut completions = Vec::new();
    loop {
        let (removed, done) = {
            let mut queue = core.queue.lock();
            let step = run.step(&mut queue, STEP, time::now());
            completions.extend(persist::write(core, &queue, &step.changes, Durability::Awaited));
            for change in &step.changes {
                if let QueueChange::Placed { id, .. } = change {
                    core.queue.take_plan(*id);
                }
            }
            (step.removed, step.done)
        };
        for id in removed {
            remove(core, id, removal.as_ref());
        }
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }
    persist::settled(completions).await?;
    core.queue.wake.notify_one();
    let response = pb::QueueUpdateResponse { affected: run.affected(), working: run.working() };
    Ok(response.encode_to_vec())
}

/// Takes a row that was removed by hand through the post-delivery script to its end.
fn remove(core: &Arc<Core>, id: MessageId, removal: Option<&Removal>) {
    core.queue.take_plan(id);
    let Some(row) = core.queue.lock().view(id).map(|row| row.to_message()) else { return };
    let attempt = match removal {
        Some(Removal::Bounce { status, diagnosticcode }) => Attempt {
            stated: *status,
            said: diagnosticcode.as_deref().map(str::to_owned),
            by_hand: true,
            ..Attempt::decided(true)
        },
        _ => Attempt { by_hand: true, ..Attempt::decided(false) },
    };
    let core = Arc::clone(core);
    let fallen_back = row.clone();
    let worker = Arc::clone(&core);
    let work = async move {
        outcome::conclude(&worker, row, attempt, Left::default()).await;
    };
    core.deliveries.spawn(outcome::guarded(Arc::clone(&core), fallen_back, work));
}

fn update_request(request: pb::QueueUpdateRequest) -> Result<UpdateRequest, ControlError> {
    use pb::queue_update_request as proto;
    let task = match request.task {
        None => None,
        Some(proto::Task::Move(target)) => Some(condition::movement(target)?),
        Some(proto::Task::Actiontype(kind)) => Some(Task::Remove(removal(kind, None)?)),
        Some(proto::Task::Action(action)) => {
            Some(Task::Remove(removal(action.r#type, action.dsn)?))
        }
    };
    let halves = |address: Option<proto::MailAddress>| {
        let address = address.unwrap_or_default();
        queue::update::Halves {
            localpart: address.localpart.map(|value| value.value),
            domain: address.domain.map(|value| value.value),
        }
    };
    Ok(UpdateRequest {
        condition: condition::condition(request.conditions.unwrap_or_default())?,
        task,
        transportid: request.transportid.map(|value| value.value.into()),
        metadata: request.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        freeze: request.freeze,
        duplicate: request.duplicate,
        sender: halves(request.sender),
        recipient: halves(request.recipient),
        retrycount: request
            .retrycount
            .map(|count| u32::try_from(count.value))
            .transpose()
            .map_err(|_| ControlError("retrycount is too large".into()))?,
        priority: request.priority.map(|value| queue::Priority::from_number(value.value)),
        limit: request.paging.map(|paging| paging.limit).filter(|limit| *limit > 0),
    })
}

fn removal(
    kind: i32,
    dsn: Option<pb::queue_update_request::action::Dsn>,
) -> Result<Removal, ControlError> {
    match pb::ActionType::try_from(kind) {
        Ok(pb::ActionType::Delete) => Ok(Removal::Delete),
        Ok(pb::ActionType::Bounce) => {
            let dsn = dsn.unwrap_or_default();
            let status = dsn.status.and_then(|status| {
                let part = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
                mta_types::EnhancedCode::from_numbers(
                    part(status.class),
                    part(status.subject),
                    part(status.detail),
                )
            });
            let diagnosticcode =
                (!dsn.diagnosticcode.is_empty()).then(|| dsn.diagnosticcode.into_boxed_str());
            Ok(Removal::Bounce { status, diagnosticcode })
        }
        Err(_) => Err(ControlError(format!("{kind} is no action"))),
    }
}

/// A row as the protocol shows it.
fn item(row: &QueuedMessage, now: f64) -> pb::queue_list_response::QueueItem {
    use pb::queue_list_response::queue_item as proto;
    let transaction = &row.transaction;
    let state = match row.state.facet() {
        Facet::Queue(QueueFacet::Active) => proto::State::Queue(pb::Queue::Active.into()),
        Facet::Queue(QueueFacet::Defer) => proto::State::Queue(pb::Queue::Defer.into()),
        Facet::Freeze(FreezeFacet::Hold) => proto::State::Freeze(pb::Freeze::Hold.into()),
        Facet::Freeze(FreezeFacet::Update) => proto::State::Freeze(pb::Freeze::Update.into()),
        Facet::Working { working, updatefreezing } => {
            let kind = match working {
                WorkingFacet::Unknown => pb::Working::Unknown,
                WorkingFacet::Sending => pb::Working::Sending,
            };
            let since = row.working_since.map_or(now, |since| since.as_seconds_f64());
            proto::State::Working(proto::WorkingState {
                working: kind.into(),
                updatefreezing,
                duration: (now - since).max(0.0),
            })
        }
    };
    let address = |address: &mta_types::Address| {
        Some(proto::MailAddress {
            localpart: address.local().to_owned(),
            domain: address.domain().to_owned(),
        })
    };
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    pb::queue_list_response::QueueItem {
        id: Some(pb::QueueItemId {
            transaction: row.id.transaction.to_string(),
            queue: row.id.queue.0.into(),
        }),
        state: Some(state),
        hqfpath: text(transaction.hqfpath()),
        ts: transaction.ts().as_seconds_f64(),
        hold: row.hold,
        jobid: text(row.jobid.as_ref().map(AsRef::as_ref)),
        stageid: text(transaction.stageid()),
        metadata: row.metadata.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        serverid: transaction.serverid().to_string(),
        transportid: row.transportid.to_string(),
        sender: address(&row.sender),
        recipient: address(&row.recipient),
        retrycount: row.retrycount.into(),
        retrydelay: (row.retryts.as_seconds_f64() - now).max(0.0),
        retryreason: text(row.retryreason.as_deref()),
        size: transaction.size(),
        senderip: transaction.senderip().map(|ip| ip.to_string()).unwrap_or_default(),
        senderhelo: transaction.senderhelo().to_owned(),
        saslusername: text(transaction.saslusername()),
        subject: text(transaction.subject()),
        localips: row.localips.iter().map(ToString::to_string).collect(),
        remoteip: row.remoteip.map(|ip| ip.to_string()).unwrap_or_default(),
        remotemx: text(row.remotemx.as_deref()),
        tags: row.tags.iter().map(ToString::to_string).collect(),
        quotas: row.quotas.iter().map(ToString::to_string).collect(),
        dsn: Some(proto::Dsn {
            envid: text(transaction.envid()),
            ret: match transaction.ret() {
                Some(queue::DsnReturn::Full) => "FULL".to_owned(),
                Some(queue::DsnReturn::Headers) => "HDRS".to_owned(),
                None => String::new(),
            },
            notify: notify_text(row.notify).unwrap_or_default(),
            orcpt: text(row.orcpt.as_deref()),
        }),
        priority: row.priority.number().into(),
        localipsordered: row.localipsordered,
        grouping: text(row.grouping.as_ref().map(AsRef::as_ref)),
    }
}

/// Rows looked at between two breaths: well under a millisecond.
const STEP: usize = 2_000;
