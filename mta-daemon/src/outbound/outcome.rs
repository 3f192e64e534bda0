//! What became of an attempt: retry, bounce or done, through the post-delivery script.

use std::sync::Arc;
use std::time::Duration;

use config::delivery::DeliverySettings;
use config::running::Transport;
use mta_types::TransactionId;
use queue::message::{DsnNotify, QueuedMessage};
use queue::retry::{Interval, Schedule, Step};
use queue::{End, Outcome as QueueOutcome, Requeue, RetryCount, Rewrite};
use spool::Durability;

use crate::context::Core;
use crate::dsn::notify::{self, Notice, NoticeKind};
use crate::fence::fenced;
use crate::generation::Generation;
use crate::hooks::postdelivery::{self, Action, Decision};
use crate::outbound::matching;
use crate::outbound::plan::Left;
use crate::queue_service::persist;
use crate::time;
use script_host::hooks::dsn_options::DsnOptions;

pub(crate) use mail_client::attempt::{Attempt, AttemptError, ConnectionFacts, Ending, ErrorKind};

/// A transport's retry schedule, or what the delivery settings put in its place, as the queue wants
/// it.
pub(crate) fn schedule(transport: &Transport, delivery: &DeliverySettings) -> Schedule {
    Schedule {
        count: delivery.retry_count.unwrap_or(transport.retry.count),
        intervals: delivery
            .retry_intervals
            .as_ref()
            .unwrap_or(&transport.retry.intervals)
            .iter()
            .map(|interval| Interval { delay: interval.interval, notify: interval.notify })
            .collect(),
    }
}

/// Takes an attempt to its end: script, notification, queue, spool.
///
/// A notification is durable before the row's end is written, so a crash in between repeats it
/// rather than loses it.
pub(crate) async fn conclude(core: &Arc<Core>, row: QueuedMessage, attempt: Attempt, left: Left) {
    let Left { context, dsn, slots } = left;
    // The attempt is over; its script is not part of it.
    drop(slots);
    core.queue.given_back.forget(row.id);
    let generation = core.generation_of(row.transaction.stageid());
    let transport = generation.running.transports.get(row.transportid.as_str());
    log(&row, &attempt);
    let local = attempt.connection.as_ref().and_then(|connection| connection.local);
    let delivery = matching::settings(core, &row, local);
    let default = default_action(transport, &delivery, &row, &attempt);
    let announced = announce(core, &generation, &row, &attempt, dsn.as_deref(), default);
    let (decision, mut options) = match generation.postdelivery.is_some() {
        true => {
            let announced = announced.as_ref();
            let left = (context, dsn);
            Box::pin(postdelivery::call(
                core,
                &generation,
                &row,
                &attempt,
                default,
                announced,
                left,
            ))
            .await
        }
        false => (Decision::Default, dsn),
    };
    // A delay that a script wants is told when the script says so.
    let mut is_wanted = false;
    let (action, requeue) = match decision {
        Decision::Default => (default.action, None),
        Decision::Queue(requeue, notice) => {
            is_wanted = notice.is_some();
            options = notice;
            (Some(Action::Queue), Some(requeue))
        }
        Decision::Bounce(dsn) => {
            options = Some(dsn);
            (Some(Action::Bounce), None)
        }
        Decision::Delete => (Some(Action::Delete), None),
    };
    let notice = |kind: NoticeKind| Notice {
        // The id is that of the notification which was announced, not of another kind.
        id: announced.as_ref().filter(|announced| announced.kind == kind).map(|it| it.id),
        options: options.clone(),
        ..Notice::new(kind, &row, &attempt)
    };
    let outcome = match action {
        None => {
            core.stats.delivered.increment();
            // Whether one was asked for is known since before the script ran.
            if let Some(announced) = announced {
                notify::send(core, &generation, &notice(announced.kind)).await;
            }
            QueueOutcome::End(End::Delivered)
        }
        Some(Action::Queue) => {
            core.stats.delayed.increment();
            let (requeue, tell) = requeue.map_or_else(
                || {
                    let wait = default
                        .wait
                        .unwrap_or(Interval { delay: Schedule::DEFAULT_INTERVAL, notify: false });
                    (requeue_after(wait.delay, &attempt), wait.notify)
                },
                |requeue| (requeue, is_wanted),
            );
            if tell && (is_wanted || wants(&row, DsnNotify::DELAY)) {
                let remaining = transport.map(|t| schedule(t, &delivery).remaining(row.retrycount));
                let notice = Notice { remaining, ..notice(NoticeKind::Delayed) };
                notify::send(core, &generation, &notice).await;
            }
            QueueOutcome::Requeue(requeue)
        }
        Some(Action::Bounce) => {
            core.stats.failed.increment();
            if wants(&row, DsnNotify::FAILURE)
                && !notify::send(core, &generation, &notice(NoticeKind::Failed)).await
            {
                // Nobody was told, so the row must not go: it is tried again later.
                let requeue = Requeue {
                    delay: NOTICE_RETRY,
                    retrycount: RetryCount::Keep,
                    ..Requeue::default()
                };
                return settle(core, &row, QueueOutcome::Requeue(requeue));
            }
            QueueOutcome::End(End::Bounced)
        }
        Some(Action::Delete) => QueueOutcome::End(End::Deleted),
    };
    settle(core, &row, outcome);
}

/// A notification that will be made unless the script decides otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced {
    pub(crate) kind: NoticeKind,
    /// The transaction it will have.
    pub(crate) id: TransactionId,
}

fn announce(
    core: &Core,
    generation: &Generation,
    row: &QueuedMessage,
    attempt: &Attempt,
    dsn: Option<&DsnOptions>,
    default: DefaultAction,
) -> Option<Announced> {
    let kind = match default.action {
        None => {
            // RFC 3461 §5.2.2: a next hop that took NOTIFY over answers for itself.
            let is_delivery = attempt.asked.as_ref().is_some_and(|asked| asked.is_delivery);
            let passed_on = attempt.connection.as_ref().is_some_and(|c| c.offers_dsn);
            let is_asked = row.notify.contains(DsnNotify::SUCCESS);
            match is_delivery {
                true => is_asked.then_some(NoticeKind::Delivered),
                false => (is_asked && !passed_on).then_some(NoticeKind::Relayed),
            }
        }
        Some(Action::Queue) => {
            let tells = default.wait.is_some_and(|wait| wait.notify);
            (tells && wants(row, DsnNotify::DELAY)).then_some(NoticeKind::Delayed)
        }
        Some(Action::Bounce) => wants(row, DsnNotify::FAILURE).then_some(NoticeKind::Failed),
        Some(Action::Delete) => None,
    }?;
    let usual = DsnOptions::default();
    notify::transport_of(generation, row, dsn.unwrap_or(&usual))?;
    Some(Announced { kind, id: core.ids.next() })
}

/// Runs work on a row behind a fence: should it panic, the row goes back into the queue.
pub(crate) async fn guarded(core: Arc<Core>, row: QueuedMessage, work: impl Future<Output = ()>) {
    if fenced(work).await.is_err() {
        tracing::error!(
            transaction = %row.id.transaction,
            queue = row.id.queue.0,
            error = "internal error",
            "delivery.failed_internally"
        );
        core.queue.take_plan(row.id);
        let requeue = Requeue {
            delay: INTERNAL_RETRY,
            retrycount: RetryCount::Keep,
            reason: Some("internal error".into()),
            ..Requeue::default()
        };
        settle(&core, &row, QueueOutcome::Requeue(requeue));
    }
}

/// What happens unless the script says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultAction {
    /// `None` when delivered.
    pub(crate) action: Option<Action>,
    /// Retries or age are used up.
    pub(crate) expired: bool,
    pub(crate) wait: Option<Interval>,
}

fn default_action(
    transport: Option<&Transport>,
    delivery: &DeliverySettings,
    row: &QueuedMessage,
    attempt: &Attempt,
) -> DefaultAction {
    if attempt.is_delivered() {
        return DefaultAction { action: None, expired: false, wait: None };
    }
    // Without DSN settings a failure leaves no trace at the sender.
    let give_up = match transport.is_none_or(|transport| transport.dsn_transport.is_some()) {
        true => Action::Bounce,
        false => Action::Delete,
    };
    if let Ending::Decided { bounce } = attempt.ending {
        let action = if bounce { Action::Bounce } else { Action::Delete };
        return DefaultAction { action: Some(action), expired: false, wait: None };
    }
    if attempt.is_permanent() {
        return DefaultAction { action: Some(give_up), expired: false, wait: None };
    }
    let step = transport.map_or(
        Step::Wait(Interval { delay: Schedule::DEFAULT_INTERVAL, notify: false }),
        |transport| schedule(transport, delivery).after_failure(row.retrycount),
    );
    match step {
        Step::Wait(wait) => {
            DefaultAction { action: Some(Action::Queue), expired: false, wait: Some(wait) }
        }
        Step::Expired => DefaultAction { action: Some(give_up), expired: true, wait: None },
    }
}

fn requeue_after(delay: Duration, attempt: &Attempt) -> Requeue {
    Requeue {
        delay,
        hold: false,
        retrycount: RetryCount::Increment,
        reason: Some(attempt.reason().into()),
        rewrite: Rewrite::default(),
    }
}

/// RFC 3461 §4.1: without NOTIFY failures and delays are told; with it only what it names.
fn wants(row: &QueuedMessage, kind: DsnNotify) -> bool {
    row.notify == DsnNotify::UNSET || row.notify.contains(kind)
}

/// Tells the queue, and the spool what the queue made of it.
fn settle(core: &Core, row: &QueuedMessage, outcome: QueueOutcome) {
    let event = match &outcome {
        QueueOutcome::End(End::Delivered) => "queue.message_delivered",
        QueueOutcome::End(End::Bounced) => "queue.message_bounced",
        QueueOutcome::End(_) => "queue.message_deleted",
        QueueOutcome::Requeue(requeue) if requeue.hold => "queue.message_held",
        QueueOutcome::Requeue(_) => "queue.message_deferred",
    };
    tracing::debug!(transaction = %row.id.transaction, queue = row.id.queue.0, "{event}");
    let done = matches!(outcome, QueueOutcome::End(_));
    let mut queue = core.queue.lock();
    match queue.finish(row.id, outcome, time::now()) {
        Ok(changes) => drop(persist::write(core, &queue, &changes, Durability::Lazy)),
        Err(error) => tracing::error!(
            transaction = %row.id.transaction,
            queue = row.id.queue.0,
            %error,
            "delivery.failed_internally"
        ),
    }
    drop(queue);
    if !done {
        core.queue.bodies.forget(row.id.transaction);
    }
    core.queue.wake.notify_one();
}

fn log(row: &QueuedMessage, attempt: &Attempt) {
    let connection = attempt.connection.as_ref();
    tracing::info!(
        transaction = %row.id.transaction,
        queue = row.id.queue.0,
        recipient = %row.recipient,
        transport = %row.transportid,
        remotemx = connection.map_or("", |c| &*c.remotemx),
        remoteip = %connection.and_then(|c| c.remote).map(|ip| ip.to_string()).unwrap_or_default(),
        retry = row.retrycount,
        duration_ms = u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
        enhanced = %attempt.status(),
        reason = attempt.reason(),
        "delivery.attempted"
    );
}

/// When a row is tried again whose attempt ended by our own fault.
const INTERNAL_RETRY: Duration = Duration::from_secs(300);

/// When a bounce whose notification could not be stored is tried again.
const NOTICE_RETRY: Duration = Duration::from_secs(60);
