//! `connect`: before the banner. Implicit end: Accept. Script error: Defer.

use dns::{Confirmation, LookupError};
use hsl::{Array, Value};
use script_host::hooks::old_functions::SetOptions;
use smtp::server::Verdict;

use crate::hooks::HookKind;
use crate::hooks::runner::{self, Run};
use crate::hooks::shared::{self, put};
use crate::hooks::verdict;
use crate::inbound::connection::Connection;

/// Runs the script and returns the banner's verdict.
pub(crate) async fn call(connection: &mut Connection, found: Option<Confirmation>) -> Verdict {
    let server = std::sync::Arc::clone(&connection.server);
    let Some(hook) = &server.hooks.connect else { return Verdict::accept() };
    let run = Run {
        hook,
        stats: &server.stats.connect,
        transaction: connection.facts.id,
        variables: vec![
            ("arguments", arguments(connection, found)),
            // Compat: in 5.6 the facts of this hook are in its arguments, not in `$connection`.
            ("connection", Value::Array(Array::new())),
            ("transaction", shared::transaction(connection.facts.id, None, None)),
            ("context", connection.context.clone()),
        ],
        states: vec![Box::new(SetOptions::default())],
    };
    let (ending, mut vm) = runner::run(&connection.core.scripts, run).await;
    connection.context = vm.variable("context").unwrap_or_default();
    let decided = shared::decided(HookKind::Connect, ending, &mut vm);
    apply(connection, &decided.options);
    decided.verdict
}

fn arguments(connection: &Connection, found: Option<Confirmation>) -> Value {
    let facts = &connection.facts;
    let mut out = Array::new();
    if let Some(ends) = facts.ends {
        put(&mut out, "remoteip", ends.remote.ip().to_canonical().to_string());
        put(&mut out, "remoteport", f64::from(ends.remote.port()));
        put(&mut out, "localip", ends.local.ip().to_canonical().to_string());
        put(&mut out, "localport", f64::from(ends.local.port()));
    }
    if let Some(name) = &facts.remoteptr {
        put(&mut out, "remoteptr", name.as_str());
    }
    if let Some(found) = found {
        put(&mut out, "remoteptrresult", remoteptrresult(&found));
    }
    if let Some(uid) = facts.remoteuid {
        put(&mut out, "remoteuid", f64::from(uid));
    }
    if let Some(proxy) = &facts.proxy {
        put(&mut out, "proxyip", proxy.ip.to_string());
        if !proxy.tlv.is_empty() {
            put(&mut out, "proxytlv", shared::hex(&proxy.tlv));
        }
    }
    put(&mut out, "serverid", facts.serverid.as_str());
    Value::Array(out)
}

/// What the two lookups behind `remoteptr` gave, each as `dns_query` would have it.
fn remoteptrresult(found: &Confirmation) -> Value {
    fn answer<T: ToString>(result: &Result<Vec<T>, LookupError>) -> Value {
        match result {
            Ok(list) => {
                let list = list.iter().map(|item| Value::from(item.to_string()));
                Value::map([("result", Value::list(list))])
            }
            Err(error) => Value::map([("error", Value::from(error.code()))]),
        }
    }
    let mut out = Array::new();
    put(&mut out, "reverse", answer(&found.reverse));
    if let Some(forward) = &found.forward {
        put(&mut out, "forward", answer(forward));
    }
    Value::Array(out)
}

/// Takes over what `Accept` says about the peer.
fn apply(connection: &mut Connection, options: &Array) {
    if let Some(ip) = verdict::text(options, "remoteip").and_then(|ip| ip.parse().ok()) {
        connection.facts.stated = Some(ip);
    }
    if let Some(name) = verdict::text(options, "remoteptr") {
        connection.facts.remoteptr = Some(name);
    }
    connection.facts_changed();
}
