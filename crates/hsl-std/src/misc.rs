//! Misc chapter: names, identifiers, the log, addresses.

use std::sync::Arc;

use hsl::host::{Registry, Thrown};
use hsl::value::Value;
use uuid::Uuid;

use crate::args;
use crate::inet;
use crate::old_names::Renamed;
use crate::random;
use crate::services::{LogLine, Services, UuidVersion};

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    let hostname = services.hostname.clone();
    registry
        .function("gethostname() -> string", "the name of this host", move |_, _| hostname.clone());
    let version = services.uuid_version;
    registry.function("uuid() -> string", "a new UUID", move |_, _| new_uuid(version).to_string());
    registry.pure_function(
        "uuidv5(string uuidnamespace, string value) -> string",
        "the UUID of a name within a namespace, which is a UUID itself",
        |_, args| {
            let namespace = Uuid::try_parse_ascii(args::bytes(args, 0))
                .map_err(|_| Thrown::new("uuidv5() needs a UUID as namespace"))?;
            Ok::<_, Thrown>(Uuid::new_v5(&namespace, args::bytes(args, 1)).to_string())
        },
    );
    let log = Arc::clone(&services.log);
    registry
        .function(
            "syslog(string or number priority, string message) -> none",
            "writes a line to the system log",
            move |ctx, args| {
                let (facility, severity) = priority(args.first().unwrap_or(&Value::None))?;
                let (transaction, text) = (ctx.message(), args::bytes(args, 1));
                log.syslog(&LogLine { facility, severity, transaction, text });
                Ok::<_, Thrown>(())
            },
        )
        .renamed(
            &["in_network"],
            "inet_includes(string ip, string network) -> boolean or none",
            "true if the address is in the network: an address, net/bits or a range a-b",
            |_, args| inet::includes(args::bytes(args, 0), args::bytes(args, 1)),
        )
        .pure_function(
            "inet_ntop(string ip) -> string or none",
            "the text of an address of 4 or 16 octets",
            |_, args| inet::ntop(args::bytes(args, 0)),
        )
        .pure_function(
            "inet_pton(string ip) -> string or none",
            "the octets of an address",
            |_, args| inet::pton(args::bytes(args, 0)),
        )
        .pure_function(
            "inet_reverse(string ip [, string zone]) -> string or none",
            "the name to look up for an address",
            |_, args| inet::reverse(args::bytes(args, 0), args::bytes_opt(args, 1)),
        );
}

fn new_uuid(version: UuidVersion) -> Uuid {
    match version {
        UuidVersion::Random => Uuid::new_v4(),
        UuidVersion::Time => {
            let [a, b, c, d, e, f, ..] = random::word().to_ne_bytes();
            // RFC 9562 §6.10: a random node has the multicast bit.
            Uuid::now_v1(&[a | 1, b, c, d, e, f])
        }
    }
}

/// Facility and severity of a priority; a number may add a facility, shifted left by 3 (RFC 5424).
fn priority(value: &Value) -> Result<(Option<u8>, u8), Thrown> {
    match value {
        Value::Number(number) if (0.0..192.0).contains(number) => {
            let number = *number as u8;
            let facility = number >> 3;
            Ok(((facility > 0).then_some(facility), number & 7))
        }
        Value::String(name) => SEVERITIES
            .iter()
            .zip(0..)
            .find(|(known, _)| known.as_bytes() == name.as_bytes())
            .map(|(_, severity)| (None, severity))
            .ok_or_else(unknown_priority),
        _ => Err(unknown_priority()),
    }
}

fn unknown_priority() -> Thrown {
    Thrown::new("syslog() does not know this priority")
}

const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
