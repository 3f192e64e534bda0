//! `eod`: the end of data, once per message. Implicit end and script error: Defer, and what the
//! script queued is dropped.
//!
//! Nothing is delivered unless the script queues it. Copies become real when the script ends with
//! `Accept`, all or none, and before the client hears 250. Changes of the message are recorded and
//! become part of what is queued after them.

use std::sync::Arc;

use hsl::{Array, Value};
use hsl_std::Arrival;
use hsl_std::mime::MessageHandle;
use mta_types::Timestamp;
use script_host::hooks::eod::{self, Queued, Variant};
use smtp::server::{Decision, Verdict};

use crate::hooks::HookKind;
use crate::hooks::runner::{self, Ending, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict::HookVerdict;
use crate::inbound::connection::Connection;
use crate::inbound::facts::TransactionFacts;
use crate::inbound::receive::envelope_dsn;

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
    let arrival = arrival(connection, facts, &message);
    if let Some(mail) = eod::mail(&connection.core.hook_sets, message) {
        put(&mut arguments, "mail", mail);
    }
    if let Some(metadata) = &connection.metadata {
        put(&mut arguments, "metadata", metadata.clone());
    }
    let id = connection.facts.id;
    let transaction = shared::transaction(id, Some(facts), Some(now.as_seconds_f64()));
    let queued = queued(connection, facts, now);
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
        states: vec![Box::new(queued), Box::new(arrival)],
    };
    let (ending, mut vm) = runner::run(&connection.core.scripts, run).await;
    connection.context = vm.variable("context").unwrap_or_default();
    let verdict = match ending {
        Ending::Exit(exit) => exit
            .downcast::<HookVerdict>()
            .map_or_else(|_| Verdict::defer(), |decided| decided.verdict),
        Ending::End | Ending::Failed => HookKind::Eod.failed(),
    };
    let mut variants = Vec::new();
    if verdict.decision == Decision::Accept
        && let Some(queued) = vm.state::<Queued>()
    {
        variants = std::mem::take(&mut queued.variants);
    }
    (verdict, variants)
}

/// What a script starts to queue into.
pub(super) fn queued(connection: &Connection, facts: &TransactionFacts, now: Timestamp) -> Queued {
    let (envid, ret) = envelope_dsn(facts);
    let core = Arc::clone(&connection.core);
    Queued {
        transaction: connection.facts.id,
        new_transaction: Arc::new(move || core.ids.next()),
        variants: Vec::new(),
        envid,
        ret,
        date: mail_message::date::format(
            i64::try_from(now.as_secs()).unwrap_or(0),
            i32::from(crate::time::offset_minutes(now)),
        ),
    }
}

/// What scanners know of the message.
pub(super) fn arrival(
    connection: &Connection,
    facts: &TransactionFacts,
    message: &MessageHandle,
) -> Arrival {
    Arrival {
        message: Arc::clone(message),
        ip: connection.facts.remoteip(),
        helo: connection.facts.helo.as_ref().map(|(_, host)| host.clone()).unwrap_or_default(),
        domain: facts.sender.domain().to_owned(),
    }
}
