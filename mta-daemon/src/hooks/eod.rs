//! `eod`: the end of data, once per message. Implicit end and script error: Defer, and what the
//! script queued is dropped.
//!
//! Nothing is delivered unless the script queues it. Copies become real when the script ends with
//! `Accept`, all or none, and before the client hears 250. Changes of the message are recorded and
//! become part of what is queued after them.

use std::sync::Arc;
use std::time::Duration;

use hsl::host::{CallContext, Registry, Thrown};
use hsl::{Array, Object, Value};
use hsl_std::Services;
use hsl_std::mime::{self, MessageHandle, PartRef, mail_message_methods};
use mta_types::{Timestamp, TransactionId, TransportId};
use queue::message::DsnReturn;
use smtp::server::{Decision, Verdict};

use crate::context::Core;
use crate::hooks::HookKind;
use crate::hooks::runner::{self, Ending, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict::{self, HookVerdict};
use crate::inbound::connection::Connection;
use crate::inbound::content::Variant;
use crate::inbound::facts::TransactionFacts;
use crate::inbound::receive::{CopyFacts, envelope_dsn, parse_notify, parse_ret};

/// What the script has queued so far; lives in the execution.
struct Queued {
    /// The connection's transaction; the first content that is queued gets it.
    transaction: TransactionId,
    core: Arc<Core>,
    variants: Vec<Variant>,
    envid: Option<Box<str>>,
    ret: Option<DsnReturn>,
    /// For a `Date` field set by us: the same in all copies.
    date: String,
}

/// Name of the class of `$arguments["mail"]`.
const CLASS: &str = "EODMailMessage";

pub(crate) fn register(registry: &mut Registry, services: &Services) {
    verdict::register(registry);
    registry.class(CLASS, "The message that came in, at the end of its data.", |class| {
        mail_message_methods(class, services, mime::of_this);
        class.method(
            "queue(string or array sender, string or array recipient, string transportid, \
             array options = []) -> array",
            "Queues a copy with all changes made so far; it becomes real when the script accepts.",
            queue,
        );
    });
}

/// Runs the script; returns its verdict and the copies to make real.
pub(crate) async fn call(
    connection: &mut Connection,
    facts: &TransactionFacts,
    message: MessageHandle,
    now: Timestamp,
) -> (Verdict, Vec<Variant>) {
    let server = Arc::clone(&connection.server);
    let Some(hook) = &server.hooks.eod else { return (Verdict::defer(), Vec::new()) };
    let mut arguments = Array::new();
    let set = connection.core.hook_sets.set(HookKind::Eod);
    if let Some(class) = set.class(CLASS) {
        let mail = Object::new(class, PartRef::top(message));
        put(&mut arguments, "mail", Value::Object(mail));
    }
    if let Some(metadata) = &connection.metadata {
        put(&mut arguments, "metadata", metadata.clone());
    }
    let id = connection.facts.id;
    let transaction = shared::transaction(id, Some(facts), Some(now.as_seconds_f64()));
    let (envid, ret) = envelope_dsn(facts);
    let queued = Queued {
        transaction: id,
        core: Arc::clone(&connection.core),
        variants: Vec::new(),
        envid,
        ret,
        date: mail_message::date::format(
            i64::try_from(now.as_secs()).unwrap_or(0),
            i32::from(crate::time::offset_minutes(now)),
        ),
    };
    let run = Run {
        hook,
        stats: &server.stats.eod,
        transaction: id,
        variables: vec![
            ("arguments", Value::Array(arguments)),
            ("connection", connection.connection_value()),
            ("transaction", transaction),
            ("context", connection.context.clone()),
        ],
        states: vec![Box::new(queued)],
    };
    let (ending, mut vm) = runner::run(&connection.core.scripts, run).await;
    connection.context = vm.variable("context").unwrap_or_default();
    let verdict = match ending {
        Ending::Exit(exit) => exit
            .downcast::<HookVerdict>()
            .map_or_else(|_| Verdict::defer(), |decided| decided.verdict),
        Ending::End | Ending::Failed => Verdict::defer(),
    };
    let mut variants = Vec::new();
    if verdict.decision == Decision::Accept
        && let Some(queued) = vm.state::<Queued>()
    {
        variants = std::mem::take(&mut queued.variants);
    }
    (verdict, variants)
}

fn queue(context: &mut CallContext<'_>, args: &mut [Value]) -> Result<Value, Thrown> {
    let [sender, recipient, transport, options] = args else {
        return Err(Thrown::new("queue() expects a sender, a recipient and a transport"));
    };
    let sender = shared::parse_address(sender)?;
    let recipient = shared::parse_recipient(recipient)?;
    let transportid: TransportId = transport.as_text().unwrap_or_default().into();
    let options = verdict::array(Some(options));
    let part = mime::of_this(context)?;
    let message = part.message.lock();
    let Some(queued) = context.state::<Queued>() else {
        return Err(Thrown::new("queue() is available in the end-of-data script only"));
    };
    let mut copy = CopyFacts::new(sender, recipient, transportid);
    copy.envid = queued.envid.clone();
    copy.ret = queued.ret;
    read_options(&mut copy, &options)?;
    let output = message.message().output(&queued.date);
    let known = queued.variants.iter().position(|variant| variant.output == output);
    let at = known.unwrap_or(queued.variants.len());
    if known.is_none() {
        let is_first = queued.variants.is_empty();
        let id = if is_first { queued.transaction } else { queued.core.ids.next() };
        queued.variants.push(Variant::new(&message, output, id));
    }
    let Some(variant) = queued.variants.get_mut(at) else { return Ok(Value::None) };
    variant.copies.push(copy);
    Ok(Value::map([
        ("transaction", Value::from(variant.transaction.to_string())),
        ("queue", Value::from(variant.copies.len())),
    ]))
}

/// The options of `queue`, the same for every class that queues.
pub(crate) fn read_options(copy: &mut CopyFacts, options: &Array) -> Result<(), Thrown> {
    copy.jobid = verdict::text(options, "jobid").map(Into::into);
    copy.hold = verdict::flag(options, "hold");
    if let Some(delay) = options.get_text("delay").and_then(Value::as_number) {
        copy.delay = Duration::try_from_secs_f64(delay.max(0.0))
            .map_err(|_| Thrown::new("option delay is too large"))?;
    }
    if let Some(Value::Array(pairs)) = options.get_text("metadata") {
        copy.metadata = shared::metadata(pairs);
    }
    if let Some(Value::Array(names)) = options.get_text("quotas") {
        copy.quotas = names.values().map(|name| shared::text(name).into()).collect();
    }
    if let Some(Value::Array(dsn)) = options.get_text("dsn") {
        copy.envid = verdict::text(dsn, "envid").map(Into::into);
        copy.orcpt = verdict::text(dsn, "orcpt").map(Into::into);
        if let Some(notify) = verdict::text(dsn, "notify") {
            copy.notify = parse_notify(&notify);
        }
        copy.ret = verdict::text(dsn, "ret").map(|ret| parse_ret(&ret));
    }
    Ok(())
}
