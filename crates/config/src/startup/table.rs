//! The keys of `smtpd.yaml`.

use crate::keys::{Key, Kind, LARGE, LISTEN_PORT, PORT, POSITIVE, THREADS, VERSION, key};

/// Every key of the file.
pub(crate) const KEYS: &[Key] = &[
    VERSION,
    key(
        "servers",
        Kind::List { of: &Kind::Map(SERVER), min: 0 },
        "Listeners of the virtual servers, whose behaviour is in the running configuration.",
    ),
    key("queues", Kind::Map(QUEUES), "Threads of the delivery side."),
    key("scripting", Kind::Map(SCRIPTING), "Where scripts may reach."),
    key(
        "pki",
        Kind::Map(PKI),
        "Keys and certificates that are readable only before privileges are dropped.",
    ),
    key("spool", Kind::Map(SPOOL), "The queue on disk."),
    key("plugins", Kind::List { of: &Kind::Map(PLUGIN), min: 0 }, "Native plugins, in load order."),
    key(
        "environment",
        Kind::Map(ENVIRONMENT),
        "Paths, sockets, identity and limits of the process.",
    ),
    key("monitor", Kind::Map(MONITOR), "HTTP listener for metrics and health.").later(),
    key("cluster", Kind::Map(CLUSTER), "Connection to a delivery orchestrator.").later(),
];

/// Words of `servers[].type`, in both files.
pub(crate) const SERVER_KINDS: &[&str] = &["smtp", "http", "https", "plugin"];

const SERVER: &[Key] = &[
    key("id", Kind::Id, "Id of the server in the running configuration.").required(),
    key(
        "type",
        Kind::Word(SERVER_KINDS),
        "What is spoken: SMTP, HTTP submission, or nothing but plugins.",
    )
    .or("smtp"),
    key(
        "listeners",
        Kind::List { of: &Kind::Map(LISTENER), min: 1 },
        "Bind points; servers of type plugin have none.",
    ),
    key(
        "proxyprotocol",
        Kind::List { of: &Kind::Address, min: 0 },
        "Proxies; each begins its connections with a PROXY header.",
    ),
    key("threads", Kind::Map(SERVER_THREADS), "Thread numbers of this server."),
];

const LISTENER: &[Key] = &[
    key("id", Kind::Id, "Name by which the running configuration may refer to this listener."),
    key("address", Kind::Address, "Bind address; without it all IPv4 and IPv6 addresses."),
    key("port", LISTEN_PORT, "TCP port; 0 takes one that is free (ours)."),
    key("path", Kind::Id, "Unix socket in place of a port (ours)."),
    key("owner", Kind::Id, "Owner of the Unix socket (ours)."),
    key("group", Kind::Id, "Group of the Unix socket (ours)."),
    key("chmod", Kind::Mode, "Mode of the Unix socket (ours).").or("\"0660\""),
    key("backlog", POSITIVE, "Listen backlog; without it the system's."),
];

const SERVER_THREADS: &[Key] = &[
    key("event", THREADS, "Event loop threads; the runtime sizes itself.").or("4").ignored(),
    key("script", THREADS, "Script threads; the runtime sizes itself.").ignored(),
];

const QUEUES: &[Key] = &[key("threads", Kind::Map(QUEUE_THREADS), "Threads of the delivery side.")];

const QUEUE_THREADS: &[Key] = &[
    key("event", THREADS, "Event loop threads; the runtime sizes itself.").ignored(),
    key("script", THREADS, "Threads of pre- and post-delivery scripts; the runtime sizes itself.")
        .ignored(),
];

const SCRIPTING: &[Key] = &[
    key("rootpath", Kind::Id, "Root of file:// includes and of File()."),
    key("ffi", Kind::Boolean, "Whether the FFI class may be used.").or("false"),
    key("sharedmemory", Kind::Map(SHARED_MEMORY), "The shared memory of scripts."),
];

const SHARED_MEMORY: &[Key] = &[key(
    "size",
    Kind::Size { min: 1 << 20 },
    "What all values together may occupy, about; a script that stores more fails.",
)
.or("256MiB")];

const PKI: &[Key] = &[key(
    "private",
    Kind::List { of: &Kind::Map(PKI_PRIVATE), min: 0 },
    "Certificates and keys, addressed as pki:<id>.",
)];

/// Keys of `pki.private[]`, in both files.
pub(crate) const PKI_PRIVATE: &[Key] = &[
    key("id", Kind::Id, "The name behind pki:.").required(),
    key("privatekey", Kind::Source, "Private key in PEM form.").secret(),
    key("certificate", Kind::Source, "Certificate chain in PEM form."),
];

const SPOOL: &[Key] = &[
    key("path", Kind::Id, "Queue folder.").or("/var/spool/halon/queue"),
    key("loader", Kind::Map(LOADER), "Reading the queue at start."),
    key(
        "corrupt",
        Kind::Word(&["unlink", "rename", "ignore"]),
        "What to do with an empty or incomplete queue file.",
    )
    .or("rename"),
    key("fsync", Kind::Boolean, "Whether mail is on stable storage before it is acknowledged.")
        .or("true"),
    key("minfree", Kind::Map(MINFREE), "Free space below which mail is refused."),
    key(
        "segment",
        Kind::Map(SEGMENT),
        "Files of the queue log (an addition of this implementation).",
    ),
];

const LOADER: &[Key] = &[key("threads", THREADS, "Threads that read the queue at start.").or("4")];

const MINFREE: &[Key] = &[
    key("inodes", LARGE, "Least number of free inodes."),
    key("bytes", Kind::Size { min: 0 }, "Least free space."),
];

const SEGMENT: &[Key] = &[key(
    "size",
    Kind::Size { min: 1 << 20 },
    "Size at which a file of the queue log is closed and a new one begun.",
)
.or("64MiB")];

const PLUGIN: &[Key] = &[
    key("id", Kind::Id, "Name of the plugin.").required(),
    key("path", Kind::Id, "The library; without it <environment.pluginspath>/<id>.so."),
    key("config", Kind::Any, "Handed to the plugin as it stands."),
];

const ENVIRONMENT: &[Key] = &[
    key("appconf", Kind::Id, "Running configuration.").or("/etc/halon/smtpd-app.yaml"),
    key("policyconf", Kind::Id, "Pickup policies.").or("/etc/halon/smtpd-policy.yaml"),
    key("suspendconf", Kind::Id, "Suspensions.").or("/etc/halon/smtpd-suspend.yaml"),
    key("deliveryconf", Kind::Id, "Delivery settings.").or("/etc/halon/smtpd-delivery.yaml"),
    key("pluginspath", Kind::Id, "Folder of plugins.").or("/opt/halon/plugins"),
    key("controlsocket", Kind::Map(CONTROLSOCKET), "Where control clients connect."),
    key("privdrop", Kind::Map(PRIVDROP), "Whom to become after start."),
    key("umask", Kind::Mode, "File mode creation mask."),
    key("rlimit", Kind::Map(RLIMIT), "Resource limits."),
    key("uuid", Kind::Map(UUID), "Transaction ids."),
    key("syslog", Kind::Map(SYSLOG), "System log."),
    key("publicsuffix", Kind::Id, "Public suffix list for the DMARC functions."),
    key("sockets", Kind::Map(SOCKETS), "Data sockets of side daemons.").later(),
    key("licensekey", Kind::Id, "Not used: there is no licence.").ignored(),
];

const CONTROLSOCKET: &[Key] = &[
    key("path", Kind::Id, "Unix socket; excludes port.").or("/var/run/halon/smtpd.ctl"),
    key("port", PORT, "TCP port; excludes path."),
    key("address", Kind::Address, "Bind address of the TCP port; without it all addresses."),
    key("owner", Kind::Id, "Owner of the Unix socket."),
    key("group", Kind::Id, "Group of the Unix socket."),
    key("chmod", Kind::Mode, "Mode of the Unix socket.").or("\"0660\""),
    key("tls", Kind::Map(CONTROL_TLS), "TLS of the TCP port.").later(),
];

const CONTROL_TLS: &[Key] = &[
    key("server", Kind::Map(CONTROL_TLS_END), "This end, when others connect."),
    key("client", Kind::Map(CONTROL_TLS_END), "This end, when it connects to others."),
];

const CONTROL_TLS_END: &[Key] = &[
    key("certificate", Kind::Source, "Certificate chain in PEM form."),
    key("privatekey", Kind::Source, "Private key in PEM form.").secret(),
    key("verify", Kind::Boolean, "Whether the other end's certificate must be good.").or("true"),
    key("verifyname", Kind::Host, "The name that certificate must carry."),
];

const PRIVDROP: &[Key] =
    &[key("user", Kind::Id, "User to become."), key("group", Kind::Id, "Group to become.")];

const RLIMIT: &[Key] =
    &[key("nofile", Kind::Integer { min: 64, max: i64::MAX as u64 }, "Open files.")];

const UUID: &[Key] =
    &[key("version", Kind::NumberOf(&[1, 4]), "1 makes ids of time and node, 4 random ones.")
        .or("1")];

const SYSLOG: &[Key] = &[key(
    "mask",
    Kind::Integer { min: 0, max: 255 },
    "Bit mask of the priorities that are logged, bit 0 being emergency; 191 leaves out info.",
)
.or("255")];

const SOCKETS: &[Key] = &[
    key("rated", Kind::Map(RATED), "The rate daemon."),
    key("dlpd", Kind::Map(DLPD), "The content inspection daemon."),
    key("httprd", Kind::Map(HTTPRD), "The HTTP queue daemon (until 5.4)."),
];

const RATED: &[Key] = &[key("path", Kind::Id, "Its data socket.").or("/var/run/halon/rated.sock")];
const DLPD: &[Key] = &[key("path", Kind::Id, "Its data socket.").or("/var/run/halon/dlpd.sock")];
const HTTPRD: &[Key] =
    &[key("path", Kind::Id, "Its data socket.").or("/var/run/halon/httprd.sock")];

const MONITOR: &[Key] = &[
    key("listener", Kind::Map(MONITOR_LISTENER), "Where to listen."),
    key("port", PORT, "Older form of listener.port."),
    key("address", Kind::Address, "Older form of listener.address."),
];

const MONITOR_LISTENER: &[Key] = &[
    key("port", PORT, "TCP port.").required(),
    key("address", Kind::Address, "Bind address; without it all addresses."),
    key("type", Kind::Word(&["http", "https"]), "Whether TLS is spoken.").or("http"),
];

const CLUSTER: &[Key] = &[
    key("address", Kind::Host, "Host name or address."),
    key("port", PORT, "TCP port.").or("2530"),
    key("startup", Kind::Map(CLUSTER_STARTUP), "Until the orchestrator has answered."),
];

const CLUSTER_STARTUP: &[Key] = &[key("hosts", POSITIVE, "Number of hosts assumed.")];
