//! `eodrcpt`: the end of data, once per recipient, behind the script of the message if there is one.
//! Implicit end: Deliver. Script error: Defer, and what the script made is dropped.
//!
//! What is decided for a recipient happens, whatever is decided for the others, unless the client is to
//! come again; the reply is one for all ([`deciding`](script_host::hooks::eod_rcpt::deciding)). Copies are
//! durable before it is sent.

use std::sync::Arc;
use std::time::Duration;

use hsl::Array;
use hsl_std::mime::MessageHandle;
use mta_types::{Address, Timestamp};
use script_host::hooks::eod::Variant;
use script_host::hooks::eod_rcpt::{
    Action, RecipientRun, connection_variables, counts, deciding, tls_of,
};
use smtp::server::Verdict;

use crate::hooks::eod;
use crate::hooks::runner::{self, Ending, Hook, Run};
use crate::hooks::shared;
use crate::hooks::verdict;
use crate::inbound::connection::Connection;
use crate::inbound::facts::{RecipientFacts, TransactionFacts};

/// What the scripts of all recipients decided.
pub(crate) struct Decided {
    /// In the order of the recipients.
    pub(crate) actions: Vec<Action>,
    /// Copies for the queue.
    pub(crate) variants: Vec<Variant>,
    /// Copies that are delivered while the client waits.
    pub(crate) in_line: Vec<Variant>,
}

/// Runs the scripts in turn. `variants` are the copies that the script of the message queued.
pub(crate) async fn call(
    connection: &mut Connection,
    facts: &TransactionFacts,
    message: &MessageHandle,
    now: Timestamp,
    variants: Vec<Variant>,
) -> Decided {
    let server = Arc::clone(&connection.server);
    let addresses: Vec<Address> =
        facts.recipients.iter().map(|recipient| recipient.address.clone()).collect();
    let mut queued = eod::queued(connection, facts, now);
    queued.variants = variants;
    let (mut actions, mut in_line) = (Vec::new(), Vec::new());
    let mut metadata = queue::Metadata::default();
    let mut actionid = 1;
    let known = verdict::array(Some(&mut connection.connection_value()));
    for recipient in &facts.recipients {
        let mut run = RecipientRun {
            message: message.lock().own_copy(),
            queued,
            in_line,
            sender: facts.sender.clone(),
            recipient: recipient.address.clone(),
            params: recipient.params.clone(),
            transportid: recipient.transportid.clone(),
            delay: Duration::ZERO,
            metadata,
            actionid,
            tls: tls_of(&known),
            actions: Vec::new(),
        };
        run = match server.hooks.eodrcpt.of(recipient.address.domain()) {
            Some(hook) => one(connection, hook, facts, (&known, &addresses), run).await,
            None => delivered(connection, recipient, run),
        };
        actions.append(&mut run.actions);
        RecipientRun { queued, in_line, metadata, actionid, .. } = run;
    }
    Decided { actions, variants: queued.variants, in_line }
}

/// Runs the script of one recipient. `known` is what is shown of the connection.
async fn one(
    connection: &mut Connection,
    hook: &Hook,
    facts: &TransactionFacts,
    (known, recipients): (&Array, &[Address]),
    run: RecipientRun,
) -> RecipientRun {
    let server = Arc::clone(&connection.server);
    let id = run.transaction();
    let before = (counts(&run.queued.variants), run.in_line.len());
    let arrival = eod::arrival(connection, facts, &run.message);
    let mut variables = connection_variables(known);
    variables.push(("senderparams", shared::parameters(&facts.params)));
    variables.extend(run.variables(recipients));
    variables.push(("context", connection.context.clone()));
    let execution = Run {
        hook,
        stats: &server.stats.eod,
        transaction: id,
        variables,
        states: vec![Box::new(run), Box::new(arrival)],
    };
    let (ending, mut vm) = runner::run(&connection.core.scripts, execution).await;
    connection.context = vm.variable("context").unwrap_or_default();
    let Some(mut run) = vm.take_state::<RecipientRun>() else {
        unreachable!("nobody else takes the state of an execution")
    };
    match ending {
        Ending::Exit(_) => {}
        Ending::End => {
            if let Err(error) = run.deliver(Array::new()) {
                tracing::error!(transaction = %id, hook = %hook.name, %error, "script.failed");
                run.fail(&before.0, before.1);
            }
        }
        Ending::Failed => run.fail(&before.0, before.1),
    }
    run
}

/// A recipient whose domain has no script.
fn delivered(
    connection: &Connection,
    recipient: &RecipientFacts,
    mut run: RecipientRun,
) -> RecipientRun {
    if let Err(error) = run.deliver(Array::new()) {
        let id = connection.facts.id;
        let recipient = &recipient.address;
        tracing::error!(transaction = %id, %recipient, %error, "inbound.message_refused");
        let before = counts(&run.queued.variants);
        let in_line = run.in_line.len();
        run.fail(&before, in_line);
    }
    run
}

/// The reply for all: what [`Verdict`] the client hears.
pub(crate) fn reply(actions: &[Action]) -> Verdict {
    // Compat: a message for which nothing was decided is deferred.
    deciding(actions).map_or_else(Verdict::defer, |action| action.verdict.clone())
}
