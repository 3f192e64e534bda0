//! `mailfrom`: MAIL FROM. Implicit end: Accept. Script error: Defer.

use hsl::{Array, Value};
use mta_types::Address;
use script_host::hooks::old_functions::SetOptions;
use smtp::server::{Mail, Verdict};

use crate::hooks::HookKind;
use crate::hooks::runner::{self, Run};
use crate::hooks::shared::{self, put};
use crate::inbound::connection::Connection;

/// Runs the script; returns the verdict and another sender, if the script wants one.
pub(crate) async fn call(connection: &mut Connection, mail: &Mail) -> (Verdict, Option<Address>) {
    let server = std::sync::Arc::clone(&connection.server);
    let Some(hook) = &server.hooks.mailfrom else { return (Verdict::accept(), None) };
    let mut arguments = Array::new();
    put(&mut arguments, "sender", mail.address.to_lowercase());
    put(&mut arguments, "address", shared::address(&mail.address));
    put(&mut arguments, "params", shared::parameters(&mail.params));
    let run = Run {
        hook,
        stats: &server.stats.mailfrom,
        transaction: connection.facts.id,
        variables: vec![
            ("arguments", Value::Array(arguments)),
            ("connection", connection.connection_value()),
            ("transaction", shared::transaction(connection.facts.id, None, None)),
            ("context", connection.context.clone()),
        ],
        states: vec![Box::new(SetOptions::default())],
    };
    let (ending, mut vm) = runner::run(&connection.core.scripts, run).await;
    connection.context = vm.variable("context").unwrap_or_default();
    let decided = shared::decided(HookKind::Mailfrom, ending, &mut vm);
    let sender = match decided.options.get_text("sender") {
        None | Some(Value::None) => return (decided.verdict, None),
        Some(sender) => shared::parse_address(sender),
    };
    match sender {
        Ok(sender) => (decided.verdict, Some(sender)),
        Err(error) => {
            let id = connection.facts.id;
            tracing::error!(transaction = %id, hook = %hook.name, %error, "script.failed");
            (Verdict::defer(), None)
        }
    }
}
