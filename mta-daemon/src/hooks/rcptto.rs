//! `rcptto`: RCPT TO, once per recipient. Implicit end: Accept. Script error: Defer.

use hsl::{Array, Value};
use mta_types::TransportId;
use script_host::hooks::old_functions::SetOptions;
use smtp::server::{Rcpt, Verdict};

use crate::hooks::HookKind;
use crate::hooks::runner::{self, Hook, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict;
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
        states: vec![Box::new(SetOptions::default())],
    };
    let (ending, mut vm) = runner::run(&connection.core.scripts, run).await;
    connection.context = vm.variable("context").unwrap_or_default();
    let mut recipient = RecipientFacts { address: rcpt.address, params: rcpt.params, transportid };
    let decided = shared::decided(HookKind::Rcptto, ending, &mut vm);
    let applied = apply(connection, &mut recipient, &decided.options);
    let verdict = match applied {
        Ok(()) => decided.verdict,
        Err(error) => {
            let id = connection.facts.id;
            tracing::error!(transaction = %id, hook = %hook.name, %error, "script.failed");
            Verdict::defer()
        }
    };
    (verdict, recipient)
}

/// Takes over what the options say about the recipient, and what an older script says about the sender
/// of all recipients.
fn apply(
    connection: &mut Connection,
    recipient: &mut RecipientFacts,
    options: &Array,
) -> Result<(), hsl::host::Thrown> {
    if let Some(address) = options.get_text("recipient").filter(|value| !value.is_none()) {
        recipient.address = shared::parse_address(address)?;
    }
    if let Some(transport) = verdict::text(options, "transportid") {
        recipient.transportid = Some(transport.into());
    }
    if let Some(sender) = options.get_text("sender").filter(|value| !value.is_none())
        && let Some(transaction) = &mut connection.transaction
    {
        transaction.sender = shared::parse_address(sender)?;
    }
    Ok(())
}
