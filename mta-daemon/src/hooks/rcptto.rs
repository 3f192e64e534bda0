//! `rcptto`: RCPT TO, once per recipient. Implicit end: Accept. Script error: Defer.

use hsl::{Array, Value};
use mta_types::TransportId;
use smtp::server::{Rcpt, Verdict};

use crate::hooks::HookKind;
use crate::hooks::runner::{self, Ending, Hook, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict::{self, HookVerdict};
use crate::inbound::connection::Connection;
use crate::inbound::facts::RecipientFacts;

/// Runs the script; returns the verdict and the recipient as it shall be taken.
pub(crate) async fn call(
    connection: &mut Connection,
    hook: &Hook,
    rcpt: Rcpt,
    transportid: Option<TransportId>,
) -> (Verdict, RecipientFacts) {
    let server = std::sync::Arc::clone(&connection.server);
    let mut arguments = Array::new();
    put(&mut arguments, "recipient", rcpt.address.to_lowercase());
    put(&mut arguments, "address", shared::address(&rcpt.address));
    put(&mut arguments, "params", shared::parameters(&rcpt.params));
    if let Some(transport) = &transportid {
        put(&mut arguments, "transportid", transport.as_str());
    }
    let transaction =
        shared::transaction(connection.facts.id, connection.transaction.as_ref(), None);
    let run = Run {
        hook,
        stats: &server.stats.rcptto,
        transaction: connection.facts.id,
        variables: vec![
            ("arguments", Value::Array(arguments)),
            ("connection", connection.connection_value()),
            ("transaction", transaction),
            ("context", connection.context.clone()),
        ],
        states: Vec::new(),
    };
    let (ending, mut vm) = runner::run(&connection.core.scripts, run).await;
    connection.context = vm.variable("context").unwrap_or_default();
    let mut recipient = RecipientFacts { address: rcpt.address, params: rcpt.params, transportid };
    let verdict = match ending {
        Ending::Exit(exit) => match exit.downcast::<HookVerdict>() {
            Ok(decided) => match apply(&mut recipient, &decided.options) {
                Ok(()) => decided.verdict,
                Err(error) => {
                    let id = connection.facts.id;
                    tracing::error!(transaction = %id, hook = %hook.name, %error, "script.failed");
                    Verdict::defer()
                }
            },
            Err(_) => Verdict::defer(),
        },
        Ending::End => HookKind::Rcptto.implicit(),
        Ending::Failed => HookKind::Rcptto.failed(),
    };
    (verdict, recipient)
}

fn apply(recipient: &mut RecipientFacts, options: &Array) -> Result<(), hsl::host::Thrown> {
    if let Some(address) = options.get_text("recipient").filter(|value| !value.is_none()) {
        recipient.address = shared::parse_address(address)?;
    }
    if let Some(transport) = verdict::text(options, "transportid") {
        recipient.transportid = Some(transport.into());
    }
    Ok(())
}
