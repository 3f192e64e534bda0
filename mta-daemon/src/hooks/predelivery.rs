//! `predelivery`: a due message, before DNS and the active queue. Implicit end: Try. Script error:
//! put off for 300 seconds, without counting an attempt.

use std::sync::Arc;

use config::running::{Destination, Transport};
use hsl::{Array, Value};
use queue::message::QueuedMessage;
use queue::retry::Schedule;
use queue::{Metadata, Requeue, RetryCount, Rewrite};
use script_host::hooks::dsn_options::{DsnOptions, SetDsn};
use script_host::hooks::old_functions::{SetOptions, all_options};
use script_host::hooks::queue_scripts::{ERROR_DELAY, Notes, QueueExit, Removal};
use script_host::hooks::slots::TakenSlots;

use mail_client::options::{LOOKUP_MX, apply};

use crate::context::Core;
use crate::generation::Generation;
use crate::hooks::runner::{self, Ending, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict;
use crate::outbound::outcome::Attempt;
use crate::outbound::plan::{Left, Settings};
use crate::outbound::{matching, outcome};

/// What the script decided.
pub(crate) enum Decision {
    Try,
    Queue(Requeue, Option<Arc<DsnOptions>>),
    Bounce(Removal),
    Delete(Removal),
}

/// Runs the script. `settings` take what `Try` and older functions say; the second value is what is left
/// for the attempt and for the post-delivery script.
pub(crate) async fn call(
    core: &Arc<Core>,
    generation: &Generation,
    transport: &Transport,
    row: &QueuedMessage,
    settings: &mut Settings,
) -> (Decision, Left) {
    let Some(hook) = &generation.predelivery else { return (Decision::Try, Left::default()) };
    let mut arguments = Array::new();
    put(&mut arguments, "retry", f64::from(row.retrycount));
    if let Some(returned) = core.queue.given_back.take_returned(row.id) {
        put(&mut arguments, "queue", shared::plugin_return(returned));
    }
    let mut variables = vec![
        ("arguments", Value::Array(arguments)),
        ("message", message(core, row, None)),
        ("context", Value::None),
    ];
    if hook.has_old_variables() {
        let schedule = outcome::schedule(transport, &matching::settings(core, row, None));
        let mut facts = row_facts(row, Some(&schedule));
        put_route(&mut facts, settings);
        variables.push(("row", Value::Array(facts)));
    }
    let run = Run {
        hook,
        stats: &core.stats.predelivery,
        transaction: row.id.transaction,
        variables,
        states: vec![
            Box::new(Notes::of(row.metadata.clone())),
            Box::new(SetOptions::default()),
            Box::new(SetDsn::default()),
            Box::new(TakenSlots::new(Arc::clone(&core.queue.slots))),
        ],
    };
    let (ending, mut vm) = runner::run(&core.scripts, run).await;
    let left = Left {
        context: vm.variable("context").unwrap_or_default(),
        dsn: vm.take_state::<SetDsn>().and_then(|set| set.0),
        slots: vm.take_state().map(TakenSlots::into_taken).unwrap_or_default(),
    };
    let metadata = vm.state::<Notes>().filter(|n| n.changed).map(|n| n.metadata.clone());
    let script_error = || {
        let requeue = Requeue {
            delay: ERROR_DELAY,
            retrycount: RetryCount::Keep,
            reason: Some("the pre-delivery script failed".into()),
            ..Requeue::default()
        };
        Decision::Queue(requeue, None)
    };
    let decision = match ending {
        Ending::End => Ok(QueueExit::Try(Array::new())),
        Ending::Failed => Err(()),
        Ending::Exit(exit) => exit.downcast::<QueueExit>().map(|exit| *exit).map_err(drop),
    };
    let decision = match decision {
        Err(()) => script_error(),
        Ok(QueueExit::Try(given)) => {
            let options = all_options(&mut vm, given);
            let applied = apply(settings, &generation.running, &options);
            match applied.and_then(|()| verdict::text_option(&options, "jobid")) {
                Ok(jobid) => {
                    if let Some(jobid) = jobid {
                        let jobid = Some(Some(jobid.as_str().into()));
                        rewrite(core, row, Rewrite { jobid, ..Rewrite::default() });
                    }
                    Decision::Try
                }
                Err(error) => {
                    tracing::error!(transaction = %row.id.transaction, hook = %hook.name, %error, "script.failed");
                    script_error()
                }
            }
        }
        Ok(QueueExit::Queue(put_off) | QueueExit::Retry(put_off)) => {
            let delivery = matching::settings(core, row, None);
            let usual = || outcome::schedule(transport, &delivery).interval(row.retrycount).delay;
            Decision::Queue(put_off.requeue(metadata.clone(), usual), put_off.notice())
        }
        Ok(QueueExit::Bounce(removal)) => Decision::Bounce(removal),
        Ok(QueueExit::Delete(removal)) => Decision::Delete(removal),
        Ok(QueueExit::Default) => Decision::Try,
    };
    if let Some(metadata) = metadata
        && !matches!(decision, Decision::Queue(..))
    {
        keep_notes(core, row, metadata);
    }
    (decision, left)
}

/// Notes what a script set on the message that it left in the queue without `Queue`.
pub(crate) fn keep_notes(core: &Core, row: &QueuedMessage, metadata: Metadata) {
    rewrite(core, row, Rewrite { metadata: Some(metadata), ..Rewrite::default() });
}

/// Changes facts of a row that is being worked on, in the queue and in the spool.
fn rewrite(core: &Core, row: &QueuedMessage, rewrite: Rewrite) {
    let mut queue = core.queue.lock();
    if let Ok(Some(change)) = queue.rewrite(row.id, rewrite, crate::time::now()) {
        let changes = [change];
        let durability = spool::Durability::Lazy;
        drop(crate::queue_service::persist::write(core, &queue, &changes, durability));
    }
}

/// What only flat variables of older scripts show of a row (`old_variables`).
pub(crate) fn row_facts(row: &QueuedMessage, schedule: Option<&Schedule>) -> Array {
    let mut out = Array::new();
    if let Some(ip) = row.transaction.senderip() {
        put(&mut out, "senderip", ip.to_string());
    }
    put(&mut out, "senderhelo", row.transaction.senderhelo());
    if let Some(name) = row.transaction.saslusername() {
        put(&mut out, "saslusername", name);
    }
    if let Some(schedule) = schedule {
        put(&mut out, "retries", f64::from(schedule.count));
    }
    out
}

/// What they show of the way that the transport chose.
fn put_route(out: &mut Array, settings: &Settings) {
    if let Some(source) = settings.sources.first() {
        put(out, "sourceip", source.address.to_string());
    }
    let destination = match &settings.destination {
        Destination::Address(ip) => Value::from(ip.to_string()),
        Destination::Host(host) => Value::from(&**host),
        Destination::Mx => Value::from(LOOKUP_MX),
    };
    put(out, "destination", destination);
    put(out, "destinationport", f64::from(settings.port));
}

/// `$message`; after an attempt with what the script before it changed.
pub(crate) fn message(core: &Core, row: &QueuedMessage, attempt: Option<&Attempt>) -> Value {
    let asked = attempt.and_then(|attempt| attempt.asked.as_deref()).map(|asked| &asked.envelope);
    let sender = attempt.and_then(|attempt| attempt.sender.as_ref()).unwrap_or(&row.sender);
    let recipient = attempt.and_then(|attempt| attempt.recipient.as_ref());
    let recipient = recipient.unwrap_or(&row.recipient);
    let mut out = Array::with_capacity(14);
    let mut id = Array::new();
    put(&mut id, "transaction", row.id.transaction.to_string());
    put(&mut id, "queue", f64::from(row.id.queue.0));
    put(&mut out, "id", Value::Array(id));
    put(&mut out, "ts", row.transaction.ts().as_seconds_f64());
    put(&mut out, "serverid", row.transaction.serverid().as_str());
    put(&mut out, "sender", sender.to_lowercase());
    put(&mut out, "senderaddress", shared::address(sender));
    put(&mut out, "recipient", recipient.to_lowercase());
    put(&mut out, "recipientaddress", shared::address(recipient));
    put(&mut out, "transportid", row.transportid.as_str());
    if let Some(jobid) = &row.jobid {
        put(&mut out, "jobid", jobid.as_str());
    }
    if let Some(tenant) = &row.tenantid {
        put(&mut out, "tenantid", tenant.as_str());
    }
    put(&mut out, "priority", f64::from(row.priority.number()));
    put(&mut out, "size", row.transaction.size() as f64);
    put(
        &mut out,
        "file",
        crate::script_mail::files_of(core, row.id.transaction, row.transaction.size()),
    );
    let mut dsn = Array::new();
    let envid = asked.and_then(|asked| asked.envid.as_deref()).or(row.transaction.envid());
    if let Some(envid) = envid {
        put(&mut dsn, "envid", envid);
    }
    if let Some(ret) = asked.and_then(|asked| asked.ret).or(row.transaction.ret()) {
        put(
            &mut dsn,
            "ret",
            if ret == queue::message::DsnReturn::Headers { "HDRS" } else { "FULL" },
        );
    }
    if let Some(notify) = crate::outbound::dispatch::notify_text(row.notify) {
        put(&mut dsn, "notify", notify);
    }
    if let Some(orcpt) = &row.orcpt {
        put(&mut dsn, "orcpt", &**orcpt);
    }
    put(&mut out, "dsn", Value::Array(dsn));
    Value::Array(out)
}
