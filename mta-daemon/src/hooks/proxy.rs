//! `proxy`: every command line before the state machine sees it. Implicit end: Pass. Script error:
//! a generic 421.

use hsl::host::{NativeStep, Registry, Thrown};
use hsl::{Array, Value};
use smtp::server::ProxyAnswer;

use crate::hooks::runner::{self, Ending, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict;
use crate::inbound::connection::{Connection, proxy_failure};

pub(crate) fn register(registry: &mut Registry) {
    registry.function(
        "Pass(array options = []) -> none",
        "Lets the command through, or another one in its place, and ends the script.",
        |_, args| -> NativeStep {
            let options = verdict::array(args.first_mut());
            let command = match options.get_text("command") {
                Some(Value::String(line)) => Some(line.as_bytes().to_vec()),
                _ => None,
            };
            NativeStep::exit(ProxyAnswer::Pass { command, next: verdict::flag(&options, "next") })
        },
    );
    registry.function(
        "Reply(string or array reason = none, array options = []) -> none",
        "Swallows the command, answers it (250) and ends the script.",
        |_, args| -> Result<NativeStep, Thrown> {
            let reason = args.first_mut().map(Value::take).unwrap_or_default();
            let options = verdict::array(args.get_mut(1));
            let reply = verdict::reply_parts(&reason, &options)?;
            let disconnect = verdict::flag(&options, "disconnect");
            let next = verdict::flag(&options, "next");
            Ok(NativeStep::exit(ProxyAnswer::Reply { reply, disconnect, next }))
        },
    );
}

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
