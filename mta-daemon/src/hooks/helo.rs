//! `helo`: HELO, EHLO and LHLO. Implicit end: Accept. Script error: Defer.

use hsl::{Array, Value};
use script_host::hooks::old_functions::SetOptions;
use smtp::server::{Hello, HelloVerb, Verdict};

use crate::hooks::HookKind;
use crate::hooks::runner::{self, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict;
use crate::inbound::connection::Connection;

/// Runs the script; returns the verdict, the keywords to announce and another name for the peer.
pub(crate) async fn call(
    connection: &mut Connection,
    hello: &Hello,
) -> (Verdict, Option<Vec<String>>, Option<String>) {
    let server = std::sync::Arc::clone(&connection.server);
    let Some(hook) = &server.hooks.helo else { return (Verdict::accept(), None, None) };
    let mut arguments = Array::new();
    put(&mut arguments, "verb", hello.verb.as_str());
    put(&mut arguments, "host", hello.host.as_str());
    if hello.verb != HelloVerb::Helo {
        let keywords = hello.extensions.iter().map(|keyword| Value::from(keyword.as_str()));
        put(&mut arguments, "extensions", Value::list(keywords));
    }
    let run = Run {
        hook,
        stats: &server.stats.helo,
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
    let decided = shared::decided(HookKind::Helo, ending, &mut vm);
    // Compat: ignored for HELO since 5.4-p3.
    let extensions = match decided.options.get_text("extensions") {
        Some(Value::Array(list)) if hello.verb != HelloVerb::Helo => {
            Some(list.values().map(shared::text).collect())
        }
        _ => None,
    };
    (decided.verdict, extensions, verdict::text(&decided.options, "host"))
}
