//! `proxy`: every command line before the state machine sees it. Implicit end: Pass. Script error:
//! a generic 421.

use hsl::{Array, Value};
use script_host::hooks::smtp_scripts::proxy_failure;
use smtp::server::ProxyAnswer;

use crate::hooks::runner::{self, Ending, Run};
use crate::hooks::shared::{self, put};
use crate::inbound::connection::Connection;

/// Runs the script for one command line.
pub(crate) async fn call(connection: &mut Connection, line: Vec<u8>) -> ProxyAnswer {
    let server = std::sync::Arc::clone(&connection.server);
    let pass = ProxyAnswer::Pass { command: None, next: false };
    let Some(hook) = &server.hooks.proxy else { return pass };
    let mut arguments = Array::new();
    put(&mut arguments, "command", Value::string(&line));
    let transaction =
        shared::transaction(connection.facts.id, connection.transaction.as_ref(), None);
    let run = Run {
        hook,
        stats: &server.stats.proxy,
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
    match ending {
        Ending::Exit(exit) => {
            exit.downcast::<ProxyAnswer>().map_or_else(|_| proxy_failure(), |answer| *answer)
        }
        Ending::End => pass,
        Ending::Failed => proxy_failure(),
    }
}
