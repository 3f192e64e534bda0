//! `predelivery`: a due message, before DNS and the active queue. Implicit end: Try. Script error:
//! put off for 300 seconds, without counting an attempt.

use std::sync::Arc;
use std::time::Duration;

use config::running::Transport;
use hsl::{Array, Value};
use queue::message::QueuedMessage;
use queue::{Metadata, Requeue, RetryCount, Rewrite};
use script_host::hooks::dsn_options::DsnOptions;
use script_host::hooks::queue_scripts::{ERROR_DELAY, Notes, QueueExit, Removal};

use mail_client::options::apply;

use crate::context::Core;
use crate::generation::Generation;
use crate::hooks::runner::{self, Ending, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict;
use crate::outbound::plan::{Settings, TryDsn};
use crate::outbound::{matching, outcome};

/// What the script decided.
pub(crate) enum Decision {
    Try,
    Queue(Requeue, Option<Arc<DsnOptions>>),
    Bounce(Removal),
    Delete(Removal),
}

/// Runs the script. `settings` take what `Try` says; the second value is `$context`.
pub(crate) async fn call(
    core: &Arc<Core>,
    generation: &Generation,
    transport: &Transport,
    row: &QueuedMessage,
    settings: &mut Settings,
) -> (Decision, Value) {
    let Some(hook) = &generation.predelivery else { return (Decision::Try, Value::None) };
    let mut arguments = Array::new();
    put(&mut arguments, "retry", f64::from(row.retrycount));
    if let Some(returned) = core.queue.given_back.take_returned(row.id) {
        put(&mut arguments, "queue", shared::plugin_return(returned));
    }
    let run = Run {
        hook,
        stats: &core.stats.predelivery,
        transaction: row.id.transaction,
        variables: vec![
            ("arguments", Value::Array(arguments)),
            ("message", message(core, row, None)),
            ("context", Value::None),
        ],
        states: vec![Box::new(Notes { metadata: row.metadata.clone(), changed: false })],
    };
    let (ending, mut vm) = runner::run(&core.scripts, run).await;
    let context = vm.variable("context").unwrap_or_default();
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
        Ending::End => Decision::Try,
        Ending::Failed => script_error(),
        Ending::Exit(exit) => match exit.downcast::<QueueExit>().map(|exit| *exit) {
            Ok(QueueExit::Try(options)) => match apply(settings, generation, &options) {
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
            },
            Ok(QueueExit::Queue(put_off)) => {
                let delivery = matching::settings(core, row, None);
                let usual =
                    || outcome::schedule(transport, &delivery).interval(row.retrycount).delay;
                let requeue = requeue(put_off.options(), metadata.clone(), usual);
                Decision::Queue(requeue, put_off.notice())
            }
            Ok(QueueExit::Bounce(removal)) => Decision::Bounce(removal),
            Ok(QueueExit::Delete(removal)) => Decision::Delete(removal),
            Ok(QueueExit::Default) | Err(_) => Decision::Try,
        },
    };
    if let Some(metadata) = metadata
        && !matches!(decision, Decision::Queue(..))
    {
        keep_notes(core, row, metadata);
    }
    (decision, context)
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
