//! `disconnect`: after the end of the connection. Nothing it does reaches the peer.

use hsl::{Array, Value};
use smtp::client::{ReplyLimits, ReplyReader};

use crate::hooks::postdelivery;
use crate::hooks::runner::{self, Run};
use crate::hooks::shared::put;
use crate::inbound::connection::Connection;

/// Runs the script. `local` tells whether we closed; `reply` is the last one of ours with what it
/// answered, `failure` the socket's error.
pub(crate) async fn call(
    connection: &mut Connection,
    local: bool,
    reply: Option<(&str, &[u8])>,
    failure: Option<&std::io::Error>,
) {
    let server = std::sync::Arc::clone(&connection.server);
    let Some(hook) = &server.hooks.disconnect else { return };
    let mut arguments = Array::new();
    put(&mut arguments, "close", if local { "local" } else { "remote" });
    if let Some((state, octets)) = reply
        && let (_, Some(Ok(reply))) = ReplyReader::new(ReplyLimits::default()).take(octets)
    {
        let mut value = postdelivery::reply(&reply);
        put(&mut value, "state", state);
        put(&mut arguments, "reply", Value::Array(value));
    }
    if let Some(error) = failure {
        let mut value = Array::new();
        put(&mut value, "reason", error.to_string());
        put(&mut value, "type", if error.raw_os_error().is_some() { "socket" } else { "tls" });
        put(&mut value, "code", f64::from(error.raw_os_error().unwrap_or(0)));
        put(&mut arguments, "error", Value::Array(value));
    }
    let run = Run {
        hook,
        stats: &server.stats.disconnect,
        transaction: connection.facts.id,
        variables: vec![
            ("arguments", Value::Array(arguments)),
            ("connection", connection.connection_value()),
            ("transaction", Value::Array(Array::new())),
            ("context", connection.context.clone()),
        ],
        states: Vec::new(),
    };
    // However it ends, the connection is over.
    let _ = runner::run(&connection.core.scripts, run).await;
}
