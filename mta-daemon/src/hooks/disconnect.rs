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
        put(&mut value, "type", kind_of(error));
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

/// What broke: TLS errors come wrapped, those of the socket have a number or are a kind alone.
fn kind_of(error: &std::io::Error) -> &'static str {
    if error.get_ref().is_some() { "tls" } else { "socket" }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn what_is_not_of_tls_is_of_the_socket() {
        assert_eq!(kind_of(&Error::from_raw_os_error(104)), "socket");
        // A write that took too long.
        assert_eq!(kind_of(&ErrorKind::TimedOut.into()), "socket");
        assert_eq!(kind_of(&Error::new(ErrorKind::InvalidData, "bad record")), "tls");
    }
}
