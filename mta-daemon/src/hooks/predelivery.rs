//! `predelivery`: a due message, before DNS and the active queue. Implicit end: Try. Script error:
//! put off for 300 seconds, without counting an attempt.

use std::sync::Arc;
use std::time::Duration;

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
use crate::outbound::plan::{Left, Settings, TryDsn};
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
            Box::new(Notes { metadata: row.metadata.clone(), changed: false }),
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
            match apply(settings, generation, &options) {
                Ok(()) => {
                    if let Some(jobid) = verdict::text(&options, "jobid") {
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
            let requeue = requeue(put_off.options(), metadata.clone(), usual);
            Decision::Queue(requeue, put_off.notice())
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

/// The options of `Queue`, for both queue hooks; without a delay among them, the `usual` one.
pub(crate) fn requeue(
    options: &Array,
    metadata: Option<Metadata>,
    usual: impl FnOnce() -> Duration,
) -> Requeue {
    let delay = options
        .get_text("delay")
        .and_then(Value::as_number)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())
        .unwrap_or_else(usual);
    let increment = options.get_text("increment_retry").is_none_or(Value::is_truthy);
    let retrycount = if verdict::flag(options, "reset_retry") {
        RetryCount::Reset
    } else if increment {
        RetryCount::Increment
    } else {
        RetryCount::Keep
    };
    let quotas = match options.get_text("quotas") {
        Some(Value::Array(names)) => Some(
            names.values().filter_map(Value::as_text).map(Box::from).collect::<Vec<Box<str>>>(),
        ),
        _ => None,
    };
    Requeue {
        delay,
        hold: verdict::flag(options, "hold"),
        retrycount,
        reason: verdict::text(options, "reason").map(Into::into),
        rewrite: Rewrite {
            transportid: verdict::text(options, "transportid").map(Into::into),
            metadata,
            quotas,
            ..Rewrite::default()
        },
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

/// `$message`.
pub(crate) fn message(core: &Core, row: &QueuedMessage, asked: Option<&TryDsn>) -> Value {
    let mut out = Array::with_capacity(14);
    let mut id = Array::new();
    put(&mut id, "transaction", row.id.transaction.to_string());
    put(&mut id, "queue", f64::from(row.id.queue.0));
    put(&mut out, "id", Value::Array(id));
    put(&mut out, "ts", row.transaction.ts().as_seconds_f64());
    put(&mut out, "serverid", row.transaction.serverid().as_str());
    put(&mut out, "sender", row.sender.to_lowercase());
    put(&mut out, "senderaddress", shared::address(&row.sender));
    put(&mut out, "recipient", row.recipient.to_lowercase());
    put(&mut out, "recipientaddress", shared::address(&row.recipient));
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
