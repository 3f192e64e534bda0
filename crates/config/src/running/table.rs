//! The keys of `smtpd-app.yaml`.

use crate::keys::{COUNT, DURATION, Key, Kind, LARGE, PORT, POSITIVE, SECONDS, VERSION, key};
use crate::startup::{PKI_PRIVATE, SERVER_KINDS};
use crate::value::Field;

/// Every key of the file.
pub(crate) const KEYS: &[Key] = &[
    VERSION,
    key(
        "servers",
        Kind::List { of: &Kind::Map(SERVER), min: 0 },
        "Behaviour of the virtual servers.",
    ),
    key(
        "transportgroups",
        Kind::List { of: &Kind::Map(GROUP), min: 0 },
        "Ways out, in groups that share settings.",
    ),
    key("scripting", Kind::Map(SCRIPTING), "Scripts and files."),
    key("addresses", Kind::List { of: &Kind::Map(ADDRESS), min: 0 }, "Named source addresses."),
    key("pki", Kind::Map(PKI), "Certificates and keys."),
    key(
        "lists",
        Kind::Map(LISTS),
        "Match lists, used as @name in policy, suspend and delivery files.",
    ),
    key("resolver", Kind::Map(RESOLVER), "The DNS resolver."),
    key("queues", Kind::Map(QUEUES), "Limits and roll-up of the delivery side."),
    key(
        "plugins",
        Kind::List { of: &Kind::Map(PLUGIN), min: 0 },
        "Running configuration of plugins.",
    ),
    key("monitor", Kind::Map(MONITOR), "Metrics and health."),
    key("__entrypoint", Kind::Text, "Script that hsh runs instead of a hook; set by debuggers."),
];

const SERVER: &[Key] = &[
    key("id", Kind::Id, "Id of the server in the startup configuration.").required(),
    key("type", Kind::Word(SERVER_KINDS), "As in the startup configuration.").or("smtp"),
    key("hostname", Kind::Host, "Name in the banner and in Received; without it the host's."),
    key("transport", Kind::Id, "Transport of recipients for which no script chose one."),
    key("phases", Kind::Map(PHASES), "Scripts and limits by phase."),
    key("concurrency", Kind::Map(SERVER_CONCURRENCY), "Inbound connections at a time."),
    key("timeout", Kind::Map(TIMEOUT), "Times after which a connection is closed."),
    key("tls", Kind::Map(TLS), "STARTTLS and implicit TLS."),
    key("logging", Kind::Boolean, "Whether every command is logged.").or("false").later(),
    key(
        "extensions",
        Kind::List { of: &Kind::Word(EXTENSIONS), min: 0 },
        "EHLO keywords that may be announced.",
    )
    .or("[PIPELINING, 8BITMIME, SIZE, CHUNKING, SMTPUTF8, STARTTLS, AUTH]"),
];

/// EHLO keywords that the configuration can switch.
const EXTENSIONS: &[&str] =
    &["PIPELINING", "8BITMIME", "SIZE", "CHUNKING", "SMTPUTF8", "STARTTLS", "AUTH"];

const PHASES: &[Key] = &[
    key("connect", Kind::Map(HOOK_ONLY), "At connect."),
    key("disconnect", Kind::Map(HOOK_ONLY), "After the end of the connection."),
    key("proxy", Kind::Map(HOOK_ONLY), "Before each command."),
    key("helo", Kind::Map(HOOK_ONLY), "At HELO, EHLO and LHLO."),
    key("auth", Kind::Map(HOOK_ONLY), "At AUTH."),
    key("mailfrom", Kind::Map(MAILFROM), "At MAIL FROM."),
    key("rcptto", Kind::Map(RCPTTO), "At RCPT TO."),
    key("data", Kind::Map(DATA), "The message itself."),
    key("eod", Kind::Map(EOD), "At the end of data."),
];

const HOOK_ONLY: &[Key] = &[key("hook", Kind::Id, "Id of the script.")];

const MAILFROM: &[Key] = &[
    key("hook", Kind::Id, "Id of the script."),
    key("maxmessages", POSITIVE, "Messages in one connection; without it unlimited."),
];

const EOD: &[Key] = &[
    key("hook", Kind::Id, "Id of the script."),
    key("rcpt", Kind::Map(EOD_RCPT), "Once for each recipient, behind the script of the message."),
];

const EOD_RCPT: &[Key] = &[RECIPIENT_HOOK];

/// A script for all recipients, or scripts by their domains.
const RECIPIENT_HOOK: Key = key(
    "hook",
    Kind::Either(&[Kind::Id, Kind::Map(RCPTTO_HOOK)]),
    "Id of the script, or scripts by recipient domain.",
);

const RCPTTO: &[Key] =
    &[RECIPIENT_HOOK, key("maxrecipients", POSITIVE, "Recipients of one message.").or("1000")];

const RCPTTO_HOOK: &[Key] = &[
    key("id", Kind::Id, "Script of all other domains."),
    key("recipientdomains", Kind::Dict(&Kind::Id), "Scripts by recipient domain."),
];

const DATA: &[Key] = &[
    key("maxsize", Kind::Size { min: 0 }, "Largest message, announced as SIZE; 0 is unlimited.")
        .or("100MiB"),
    key("maxhops", POSITIVE, "Received fields at which a message is taken for a loop.").or("100"),
    key("multipart", Kind::Boolean, "Whether MIME parts are parsed.").or("true").later(),
    key("chunking", Kind::Boolean, "Whether BDAT is on.").or("true"),
];

const SERVER_CONCURRENCY: &[Key] = &[
    key("total", POSITIVE, "Connections of this server.").or("1000"),
    key("ip", POSITIVE, "Connections from one address; without it unlimited.").later(),
];

const TIMEOUT: &[Key] = &[key("idle", SECONDS, "Without traffic.").or("300")];

const TLS: &[Key] = &[
    key("certs", Kind::Map(CERTS), "Certificates."),
    key(
        "implicit",
        Kind::List { of: &Kind::Id, min: 0 },
        "Listeners with TLS from the first octet.",
    ),
    key(
        "clientcert",
        Kind::Boolean,
        "Whether a client certificate is asked for (an addition of this implementation).",
    )
    .or("false"),
];

const CERTS: &[Key] = &[
    key("cert", Kind::Id, "Certificate in pki; without it TLS is off."),
    key(
        "sni",
        Kind::Dict(&Kind::Id),
        "Further certificates by server name or *.domain (an addition of this implementation).",
    ),
];

const GROUP: &[Key] = &[
    key("id", Kind::Id, "Name of the group."),
    key("transports", Kind::List { of: &Kind::Map(TRANSPORT), min: 0 }, "The transports."),
    CONNECTION_KEY,
    SESSION_KEY,
    RETRY_KEY,
    DSN_KEY,
];

/// Keys of a transport; those of its group with the id being required.
pub(super) const TRANSPORT: &[Key] = &[
    key("id", Kind::Id, "Name of the transport, unique over all groups.").required(),
    CONNECTION_KEY,
    SESSION_KEY,
    RETRY_KEY,
    DSN_KEY,
];

const CONNECTION_KEY: Key =
    key("connection", Kind::Map(CONNECTION), "Where and from where to connect.");
const SESSION_KEY: Key = key("session", Kind::Map(SESSION), "What to say there.");
const RETRY_KEY: Key = key("retry", Kind::Map(RETRY), "When to try again.");
const DSN_KEY: Key = key("dsn", Kind::Map(DSN), "Bounces; without it none is made.");

const CONNECTION: &[Key] = &[
    key("server", Kind::Host, "Next hop; without it the MX records of the recipient's domain."),
    key("port", PORT, "TCP port.").or("25"),
    key("sourceip", Kind::Map(SOURCEIP), "Source addresses."),
    key("proxyprotocol", Kind::Map(PROXYPROTOCOL), "Proxy that is told the chosen source address."),
];

const SOURCEIP: &[Key] = &[
    key("ipv4", Kind::Boolean, "Whether IPv4 may be used.").or("true"),
    key("ipv6", Kind::Boolean, "Whether IPv6 may be used.").or("true"),
    key(
        "addresses",
        Kind::List { of: &Kind::Id, min: 0 },
        "Ids of source addresses; without it the system chooses.",
    ),
    key("random", Kind::Boolean, "Whether one is chosen at random; otherwise in order.").or("true"),
];

const PROXYPROTOCOL: &[Key] = &[
    key("server", Kind::Host, "Host name or address of the proxy.").required(),
    key("port", PORT, "TCP port.").required(),
];

const SESSION: &[Key] = &[
    key("tls", Kind::Map(SESSION_TLS), "TLS."),
    key("protocol", Kind::Word(&["smtp", "lmtp"]), "SMTP or LMTP.").or("smtp"),
    key("helo", Kind::Host, "HELO name; without it the source address's, then the host's."),
    key("username", Kind::Id, "User name for AUTH."),
    key("password", Kind::Id, "Password for AUTH.").secret(),
];

const SESSION_TLS: &[Key] = &[
    key("mode", Kind::Word(TLS_MODES), "How hard to insist on TLS.").or("disabled"),
    key("protocols", Kind::TlsProtocols, "TLS versions; ! takes one away.").or("\"!SSLv2,!SSLv3\""),
];

/// Words of `session.tls.mode`.
const TLS_MODES: &[&str] = &[
    "disabled",
    "optional",
    "optional_verify",
    "dane",
    "dane_require",
    "dane_fallback_require_verify",
    "require",
    "require_verify",
];

const RETRY: &[Key] = &[
    key("count", Kind::Integer { min: 0, max: 100_000 }, "Attempts after which the message expires.").or("30"),
    key("intervals", INTERVALS, "Waiting times; the last one repeats.").or(
        "[{interval: 60}, {interval: 900}, {interval: 3600, notify: true}, {interval: 7200}, {interval: 10800}]",
    ),
];

/// A list of waiting times, here and in delivery settings.
pub(crate) const INTERVALS: Kind = Kind::List { of: &Kind::Map(INTERVAL), min: 1 };

const INTERVAL: &[Key] = &[
    key("interval", SECONDS, "Waiting time.").required(),
    key("notify", Kind::Boolean, "Whether the sender is told about the delay.").or("false"),
];

const DSN: &[Key] = &[key("transport", Kind::Id, "Transport of bounces.").required()];

const SCRIPTING: &[Key] = &[
    key("hooks", Kind::Map(HOOKS), "Scripts; one runs only where a phase names it."),
    key("files", Kind::List { of: &Kind::Map(FILE), min: 0 }, "What include and import find."),
    key("limits", Kind::Map(SCRIPT_LIMITS), "What one run of a script may take (ours)."),
];

const SCRIPT_LIMITS: &[Key] = &[
    DEPTH.or("256"),
    MEMORY.or("256MiB"),
    FUEL,
    TIME.or("300"),
    key("hooks", Kind::Map(HOOK_LIMITS), "What the scripts of one hook may take instead."),
];

const DEPTH: Key = key(
    "depth",
    Kind::Integer { min: 1, max: 10_000 },
    "Calls that may be under way at once; one more is an error of the script.",
);
const MEMORY: Key = key(
    "memory",
    Kind::Size { min: 1 << 20 },
    "What the values of the script may occupy, about; more is an error of the script.",
);
const FUEL: Key = key(
    "fuel",
    Kind::Integer { min: 1, max: i64::MAX as u64 },
    "Steps that it may take in all; without it as many as the time allows.",
);
const TIME: Key = key(
    "time",
    SECONDS,
    "How long it may run, waits included; then it fails, and cannot catch that.",
);

/// By the names of [`HOOKS`].
pub(super) const HOOK_LIMITS: &[Key] = &[
    key("connect", ONE_HOOK_LIMITS, "Those of connect."),
    key("disconnect", ONE_HOOK_LIMITS, "Those of disconnect."),
    key("proxy", ONE_HOOK_LIMITS, "Those of proxy."),
    key("helo", ONE_HOOK_LIMITS, "Those of helo."),
    key("auth", ONE_HOOK_LIMITS, "Those of auth."),
    key("mailfrom", ONE_HOOK_LIMITS, "Those of mailfrom."),
    key("rcptto", ONE_HOOK_LIMITS, "Those of rcptto."),
    key("eod", ONE_HOOK_LIMITS, "Those of eod."),
    key("eodrcpt", ONE_HOOK_LIMITS, "Those of eodrcpt."),
    key("predelivery", ONE_HOOK_LIMITS, "Those of predelivery."),
    key("postdelivery", ONE_HOOK_LIMITS, "Those of postdelivery."),
];

const ONE_HOOK_LIMITS: Kind = Kind::Map(&[DEPTH, MEMORY, FUEL, TIME]);

const HOOKS: &[Key] = &[
    key("connect", SCRIPTS, "At connect."),
    key("disconnect", SCRIPTS, "After the end of the connection."),
    key("proxy", SCRIPTS, "Before each command."),
    key("helo", SCRIPTS, "At HELO, EHLO and LHLO."),
    key("auth", SCRIPTS, "At AUTH."),
    key("mailfrom", SCRIPTS, "At MAIL FROM."),
    key("rcptto", SCRIPTS, "At RCPT TO."),
    key("eod", SCRIPTS, "At the end of data."),
    key("eodrcpt", SCRIPTS, "At the end of data, once for each recipient."),
    key("predelivery", Kind::Text, "Before a delivery attempt."),
    key("postdelivery", Kind::Text, "After a delivery attempt."),
];

const SCRIPTS: Kind = Kind::List { of: &Kind::Map(SCRIPT), min: 0 };

const SCRIPT: &[Key] = &[
    key("id", Kind::Id, "Name of the script.").required(),
    key("data", Kind::Text, "The script.").required(),
];

const FILE: &[Key] = &[
    key("id", Kind::Id, "Path by which scripts name the file.").required(),
    key("data", Kind::Text, "The content; base64 when binary is true."),
    key("binary", Kind::Boolean, "Whether data is base64.").or("false"),
    key("path", Kind::Id, "A file with the content; excludes data."),
];

const ADDRESS: &[Key] = &[
    key("id", Kind::Id, "Its name.").required(),
    key("address", Kind::Address, "IPv4 or IPv6 address.").required(),
    key("hostname", Kind::Host, "HELO name used with it."),
    key("proxyprotocol", Kind::Map(PROXYPROTOCOL), "Proxy that is told this address."),
];

const PKI: &[Key] =
    &[key("private", Kind::List { of: &Kind::Map(PKI_PRIVATE), min: 0 }, "Addressed as pki:<id>.")];

const LISTS: &[Key] = &[
    key(
        "transportid",
        Kind::Dict(&Kind::List { of: &Kind::Matcher(Field::TransportId), min: 0 }),
        "Lists of transport ids.",
    ),
    key(
        "localip",
        Kind::Dict(&Kind::List { of: &Kind::Matcher(Field::LocalIp), min: 0 }),
        "Lists of local addresses.",
    ),
    key(
        "remoteip",
        Kind::Dict(&Kind::List { of: &Kind::Matcher(Field::RemoteIp), min: 0 }),
        "Lists of remote addresses.",
    ),
    key(
        "remotemx",
        Kind::Dict(&Kind::List { of: &Kind::Matcher(Field::RemoteMx), min: 0 }),
        "Lists of next hop names.",
    ),
    key(
        "recipientdomain",
        Kind::Dict(&Kind::List { of: &Kind::Matcher(Field::RecipientDomain), min: 0 }),
        "Lists of recipient domains.",
    ),
    key(
        "jobid",
        Kind::Dict(&Kind::List { of: &Kind::Matcher(Field::JobId), min: 0 }),
        "Lists of job ids.",
    ),
    key(
        "grouping",
        Kind::Dict(&Kind::List { of: &Kind::Matcher(Field::Grouping), min: 0 }),
        "Lists of groupings.",
    ),
    key(
        "tenantid",
        Kind::Dict(&Kind::List { of: &Kind::Matcher(Field::TenantId), min: 0 }),
        "Lists of tenant ids.",
    ),
];

const RESOLVER: &[Key] = &[
    key(
        "servers",
        Kind::List { of: &Kind::SocketAddress, min: 0 },
        "Name servers as address:port; without it the system's (an addition of this implementation).",
    ),
    key("cache", Kind::Map(CACHE), "Answers that are kept."),
    key("concurrency", POSITIVE, "Queries at a time.").or("100"),
];

const CACHE: &[Key] = &[
    key("size", COUNT, "Number of answers.").or("10000"),
    key("ttl", Kind::Map(TTL), "How long they are kept."),
];

const TTL: &[Key] = &[key("min", DURATION, "At least this long.").or("0")];

const QUEUES: &[Key] = &[
    key("concurrency", Kind::Map(QUEUES_CONCURRENCY), "Outbound connections at a time."),
    key("maxmessages", LARGE, "Messages in memory; 0 is unlimited.").or("0").later(),
    key("pooling", Kind::Map(POOLING), "Idle connections kept for the next message."),
    key("grouping", Kind::Map(GROUPING), "Destinations that count as one."),
];

const QUEUES_CONCURRENCY: &[Key] =
    &[key("total", POSITIVE, "Connections of the process.").or("10000")];

const POOLING: &[Key] = &[
    key("size", COUNT, "How many.").or("1000"),
    key(
        "policy",
        Kind::Word(&["remotemx", "grouping"]),
        "What must agree for one to be used again.",
    )
    .or("remotemx"),
];

const GROUPING: &[Key] = &[
    key(
        "default",
        Kind::Word(&["recipientdomain", "remotemx", ""]),
        "What grouping is for destinations outside every grouping.",
    )
    .or("\"\""),
    key(
        "groupings",
        Kind::List { of: &Kind::Map(GROUPING_RULE), min: 0 },
        "Groupings, first match wins.",
    ),
];

const GROUPING_RULE: &[Key] = &[
    key("id", Kind::Id, "Its name, used as &id.").required(),
    key("remotemx", Kind::List { of: &Kind::Matcher(Field::RemoteMx), min: 0 }, "Next hop names."),
    key(
        "recipientdomain",
        Kind::List { of: &Kind::Matcher(Field::RecipientDomain), min: 0 },
        "Recipient domains.",
    ),
    key(
        "remoteip",
        Kind::List { of: &Kind::Matcher(Field::RemoteIp), min: 0 },
        "Next hop addresses.",
    ),
];

const PLUGIN: &[Key] = &[
    key("id", Kind::Id, "Name of the plugin.").required(),
    key("config", Kind::Any, "Handed to the plugin as it stands."),
];

const MONITOR: &[Key] = &[
    key("apikeys", Kind::List { of: &Kind::Id, min: 0 }, "Keys that clients must present.")
        .secret()
        .later(),
    key("tls", Kind::Map(MONITOR_TLS), "TLS of the monitor listener.").later(),
    key("healthy", Kind::Map(HEALTHY), "What counts as healthy.").later(),
    key("metrics", Kind::List { of: &Kind::Map(METRIC), min: 0 }, "Metrics that scripts may move."),
];

const MONITOR_TLS: &[Key] = &[key("certs", Kind::Map(MONITOR_CERTS), "Certificates.")];
const MONITOR_CERTS: &[Key] = &[key("cert", Kind::Id, "Certificate in pki.")];

const HEALTHY: &[Key] = &[key("maxmessages", Kind::Map(MAXMESSAGES), "Number of messages.")];
const MAXMESSAGES: &[Key] = &[
    key("upper", LARGE, "Unhealthy above this many."),
    key("lower", LARGE, "Healthy again below this many."),
];

const METRIC: &[Key] = &[
    key("name", Kind::Id, "Its name.").required(),
    key("type", Kind::Word(&["counter", "gauge", "histogram"]), "Its type.").required(),
    key("help", Kind::Text, "Its description."),
    key(
        "buckets",
        Kind::List { of: &Kind::Number, min: 1 },
        "Upper bounds of a histogram, rising.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_can_have_limits() {
        let names = |keys: &[Key]| keys.iter().map(|key| key.name).collect::<Vec<_>>();
        assert_eq!(names(HOOK_LIMITS), names(HOOKS));
    }
}
