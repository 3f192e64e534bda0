//! From due to active: the pre-delivery script, then DNS, then the active queue.

use std::net::IpAddr;
use std::sync::Arc;

use dns::mx::{self};
use mta_types::MessageId;
use queue::message::QueuedMessage;
use queue::{Outcome as QueueOutcome, Requeue, Route};
use spool::Durability;

use mail_client::targets::targets;

use crate::context::Core;
use crate::dsn::notify::{self, Notice, NoticeKind};
use crate::generation::Generation;
use crate::hooks::predelivery::{self, Decision};
use crate::outbound::matching;
use crate::outbound::outcome::{self, Attempt, AttemptError, ErrorKind};
use crate::outbound::plan::{Left, Plan, Settings, Target};
use crate::plugins::decision;
use crate::queue_service::persist;
use crate::time;
use script_host::hooks::dsn_options::DsnOptions;

/// Prepares a row; without script and DNS at once, else in a task of its own.
pub(crate) fn begin(core: &Arc<Core>, id: MessageId) {
    let Some(row) = core.queue.lock().view(id).map(|row| row.to_message()) else { return };
    let generation = core.generation_of(row.transaction.stageid());
    if generation.predelivery.is_none()
        && let Some(transport) = generation.running.transports.get(row.transportid.as_str())
    {
        let settings = Settings::new(&generation, transport);
        if let Some(targets) = settings.fixed_targets() {
            let plan = Plan { targets, settings, left: Left::default() };
            if let Err((attempt, left)) = activate(core, &row, plan) {
                let (core, row) = (Arc::clone(core), row.clone());
                let ended = row.clone();
                let inner = Arc::clone(&core);
                let work = async move { outcome::conclude(&inner, ended, *attempt, left).await };
                let guarded = outcome::guarded(Arc::clone(&core), row, work);
                core.deliveries.spawn(guarded);
            }
            return;
        }
    }
    let work = prepare(Arc::clone(core), generation, row.clone());
    core.deliveries.spawn(outcome::guarded(Arc::clone(core), row, work));
}

async fn prepare(core: Arc<Core>, generation: Arc<Generation>, mut row: QueuedMessage) {
    let Some(transport) = generation.running.transports.get(row.transportid.as_str()) else {
        let message = format!("transport {} is not in the configuration", row.transportid);
        let error = AttemptError { kind: ErrorKind::Config, temporary: true, message };
        return outcome::conclude(&core, row, Attempt::failed(error), Left::default()).await;
    };
    let mut settings = Settings::new(&generation, transport);
    let mut left = Left::default();
    if generation.predelivery.is_some() {
        let decision;
        (decision, left) =
            Box::pin(predelivery::call(&core, &generation, transport, &row, &mut settings)).await;
        // The script may have changed what is noted on the row.
        if let Some(fresh) = core.queue.lock().view(row.id).map(|row| row.to_message()) {
            row = fresh;
        }
        match decision {
            Decision::Try => {
                if let Some(asked) = &settings.dsn {
                    asked.lay_over(&mut row);
                }
            }
            Decision::Queue(requeue, notice) => {
                if let Some(options) = notice {
                    tell_of_delay(&core, &generation, &row, &requeue, options).await;
                }
                return put_off(&core, &row, requeue);
            }
            Decision::Bounce(ref removal) | Decision::Delete(ref removal) => {
                let mut attempt = Attempt::decided(matches!(decision, Decision::Bounce(_)));
                attempt.said.clone_from(&removal.reason);
                left.dsn = Some(Arc::clone(&removal.dsn));
                return outcome::conclude(&core, row, attempt, left).await;
            }
        }
    }
    match resolve(&generation, &settings, &row).await {
        Ok(targets) => {
            let plan = Plan { targets, settings, left };
            if let Err((attempt, left)) = activate(&core, &row, plan) {
                outcome::conclude(&core, row, *attempt, left).await;
            }
        }
        Err(error) => {
            let attempt = Attempt::failed(error).under(&settings);
            outcome::conclude(&core, row, attempt, left).await;
        }
    }
}

/// A script wants the sender to know that it puts the message off.
async fn tell_of_delay(
    core: &Arc<Core>,
    generation: &Generation,
    row: &QueuedMessage,
    requeue: &Requeue,
    options: Arc<DsnOptions>,
) {
    let reason = requeue.reason.as_deref().unwrap_or("put off by script");
    let attempt = Attempt::failed(AttemptError {
        kind: ErrorKind::Config,
        temporary: true,
        message: reason.to_owned(),
    });
    let notice =
        Notice { options: Some(options), ..Notice::new(NoticeKind::Delayed, row, &attempt) };
    notify::send(core, generation, &notice).await;
}

/// A script's `Queue()` before the attempt.
fn put_off(core: &Core, row: &QueuedMessage, requeue: Requeue) {
    let mut queue = core.queue.lock();
    match queue.finish(row.id, QueueOutcome::Requeue(requeue), time::now()) {
        Ok(changes) => drop(persist::write(core, &queue, &changes, Durability::Lazy)),
        Err(error) => {
            tracing::error!(transaction = %row.id.transaction, queue = row.id.queue.0, %error, "delivery.failed_internally");
        }
    }
    drop(queue);
    core.queue.wake.notify_one();
}

/// Files a row in the active queue, with its plan.
///
/// # Errors
///
/// The attempt that a plugin's refusal counts as, and what the script left.
fn activate(core: &Core, row: &QueuedMessage, plan: Plan) -> Result<(), (Box<Attempt>, Left)> {
    let first = plan.targets.first();
    let remotemx = first.map(|target| target.host.to_string());
    let remoteip = first.map(|target| target.address.ip());
    let localips = local_ips(&plan.settings, remoteip);
    let grouping = matching::grouping(&core.queue.rules(), row, remotemx.as_deref(), remoteip);
    let localips = match decision::may_enter(core, &plan, row, grouping.as_deref(), localips) {
        Ok(localips) => localips,
        Err(attempt) => return Err((Box::new(attempt.under(&plan.settings)), plan.left)),
    };
    let route = Route {
        localips,
        localipsordered: !plan.settings.source_random,
        grouping,
        remoteip,
        remotemx,
    };
    core.queue.set_plan(row.id, Arc::new(plan));
    let mut queue = core.queue.lock();
    match queue.activate(row.id, &route, time::now()) {
        Ok(None) => {}
        Ok(Some(change)) => {
            drop(persist::write(core, &queue, &[change], Durability::Lazy));
            core.queue.take_plan(row.id);
        }
        Err(error) => {
            core.queue.take_plan(row.id);
            tracing::error!(transaction = %row.id.transaction, queue = row.id.queue.0, %error, "delivery.failed_internally");
        }
    }
    drop(queue);
    core.queue.wake.notify_one();
    Ok(())
}

/// Source addresses of the target's family.
fn local_ips(settings: &Settings, remote: Option<IpAddr>) -> Vec<IpAddr> {
    settings
        .sources
        .iter()
        .map(|source| source.address)
        .filter(|ip| remote.is_none_or(|remote| remote.is_ipv4() == ip.is_ipv4()))
        .collect()
}

/// The addresses to try, best first.
async fn resolve(
    generation: &Generation,
    settings: &Settings,
    row: &QueuedMessage,
) -> Result<Vec<Target>, AttemptError> {
    let recipient = settings.recipient.as_ref().unwrap_or(&row.recipient);
    let seed = mx::seed(row.id.transaction.as_bytes(), row.retrycount);
    targets(generation, settings, recipient, seed).await
}
