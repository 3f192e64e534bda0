//! The tables of all keys: name, kind of value, default, support, description.
//!
//! A table is the one statement of what a file may hold. From it come validation, defaults, the JSON
//! Schemas ([`crate::schema`]) and the rows of the compatibility page ([`rows`]).

use crate::value::Field;

/// Keys of `smtpd.yaml`.
pub const STARTUP: &[Key] = crate::startup::KEYS;
/// Keys of `smtpd-app.yaml`.
pub const RUNNING: &[Key] = crate::running::KEYS;
/// Keys of `smtpd-policy.yaml`.
pub const POLICY: &[Key] = crate::policy::KEYS;
/// Keys of `smtpd-suspend.yaml`.
pub const SUSPEND: &[Key] = crate::suspend::KEYS;
/// Keys of `smtpd-delivery.yaml`.
pub const DELIVERY: &[Key] = crate::delivery::KEYS;

/// Every file with its schema's name and its keys.
pub const FILES: &[(&str, &[Key])] = &[
    ("smtpd", STARTUP),
    ("smtpd-app", RUNNING),
    ("smtpd-policy", POLICY),
    ("smtpd-suspend", SUSPEND),
    ("smtpd-delivery", DELIVERY),
];

/// One key of a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Value when it is absent, as YAML; `None` when absence means something of its own.
    pub default: Option<&'static str>,
    /// Whether it must be there.
    pub required: bool,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether this release acts on it.
    pub support: Support,
    /// What it does, one sentence.
    pub doc: &'static str,
}

/// Whether this release acts on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Done,
    /// The key has no function here and will not get one; it is accepted silently.
    Ignored,
    /// Its function comes later; it is checked, and named once at start.
    Later,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// An IPv4 or IPv6 address.
    Address,
    /// Anything; not looked into.
    Any,
    /// `true` or `false`.
    Boolean,
    /// Text of one or more characters.
    Id,
    /// Seconds or `?d?h?m?s`, at least so many seconds.
    Duration {
        /// Least value.
        min_seconds: u64,
    },
    /// A mapping with free keys, all values of one kind.
    Dict(&'static Self),
    /// Any of these, told apart by shape (scalar, list, mapping).
    Either(&'static [Self]),
    /// A host name or address: text without white space.
    Host,
    /// A whole number.
    Integer {
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// A list, at least so many elements.
    List {
        /// Kind of every element.
        of: &'static Self,
        /// Least number of elements.
        min: usize,
    },
    /// A mapping with these keys only.
    Map(&'static [Key]),
    /// A pattern for a field.
    Matcher(Field),
    /// An octal mode in quotes.
    Mode,
    /// One value, or a list of them.
    OneOrMany(&'static Self),
    /// A number.
    Number,
    /// One of these whole numbers.
    NumberOf(&'static [u64]),
    /// `N` or `N/seconds`.
    Rate,
    /// Octets or with a unit, at least so many octets.
    Size {
        /// Least value.
        min: u64,
    },
    /// `address:port`, or an address.
    SocketAddress,
    /// A mapping with either `path` or `data`.
    Source,
    /// Text of 1 to 32 characters.
    Tag,
    /// Text.
    Text,
    /// A list of TLS versions.
    TlsProtocols,
    /// `major.minor` in quotes.
    Version,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// A key that is optional, implemented and not secret.
pub(crate) const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, default: None, required: false, secret: false, support: Support::Done, doc }
}

impl Key {
    /// With a default.
    pub(crate) const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// That must be there.
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Whose value must not be shown.
    pub(crate) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Whose function comes later.
    pub(crate) const fn later(self) -> Self {
        Self { support: Support::Later, ..self }
    }

    /// Without a function here.
    pub(crate) const fn ignored(self) -> Self {
        Self { support: Support::Ignored, ..self }
    }
}

impl Kind {
    /// The keys of a mapping of this kind, looking through lists and alternatives.
    #[must_use]
    pub fn keys(&self) -> &'static [Key] {
        match *self {
            Self::Map(keys) => keys,
            Self::List { of, .. } | Self::OneOrMany(of) | Self::Dict(of) => of.keys(),
            Self::Either(kinds) => {
                kinds.iter().map(Self::keys).find(|keys| !keys.is_empty()).unwrap_or(&[])
            }
            _ => &[],
        }
    }

    /// The kind in words, ready to follow "expected".
    #[must_use]
    pub fn describe(&self) -> String {
        let plain = match *self {
            Self::Address => "an IP address",
            Self::Any => "anything",
            Self::Boolean => "`true` or `false`",
            Self::Id => "text of at least one character",
            Self::Duration { .. } => "seconds, or a duration such as `1h30m`",
            Self::Dict(_) | Self::Map(_) => "a mapping",
            Self::Host => "a host name or address",
            Self::List { .. } => "a list",
            Self::Matcher(field) if field.is_address() => "an address, network, `#name` or `@list`",
            Self::Matcher(field) if field.is_domain() => {
                "a domain, `*.domain`, `/regex/`, `#name` or `@list`"
            }
            Self::Matcher(_) => "text, `/regex/`, `#name` or `@list`",
            Self::Mode => "an octal mode in quotes, such as \"0660\"",
            Self::Number => "a number",
            Self::Rate => "a rate such as `50` (per second) or `1000/60`",
            Self::Size { .. } => "octets, or a size such as `50MiB`",
            Self::SocketAddress => "an address with port, such as `127.0.0.1:53`",
            Self::Source => "a mapping with either `path` or `data`",
            Self::Tag => "text of 1 to 32 characters",
            Self::Text => "text",
            Self::TlsProtocols => "a list of TLS versions such as `!TLSv1,!TLSv1.1`",
            Self::Version => "a version in quotes, such as \"5.6\"",
            Self::Either(kinds) => return join(kinds.iter().map(Self::describe)),
            Self::OneOrMany(kind) => return format!("{}, or a list of those", kind.describe()),
            Self::Integer { min, max: u64::MAX } => {
                return format!("a whole number of at least {min}");
            }
            Self::Integer { min, max } => return format!("a whole number from {min} to {max}"),
            Self::NumberOf(numbers) => return join(numbers.iter().map(u64::to_string)),
            Self::Word(words) => return join(words.iter().map(|word| format!("`{word}`"))),
        };
        plain.to_owned()
    }
}

/// One line of the compatibility page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key with its way from the top: `servers[].listeners[].port`.
    pub path: String,
    /// What it takes, in words.
    pub takes: String,
    /// Default, as YAML.
    pub default: Option<&'static str>,
    /// Whether this release acts on it; a key below one that comes later comes later too.
    pub support: Support,
    /// What it does.
    pub doc: &'static str,
}

/// Every key of a table, depth first, as the compatibility page lists them.
#[must_use]
pub fn rows(keys: &'static [Key]) -> Vec<Row> {
    let mut rows = Vec::new();
    collect(keys, "", Support::Done, &mut rows);
    rows
}

fn collect(keys: &'static [Key], prefix: &str, above: Support, rows: &mut Vec<Row>) {
    for key in keys {
        let support = if above == Support::Done { key.support } else { above };
        let path = format!("{prefix}{}", key.name);
        let steps = match key.kind {
            Kind::List { .. } => "[].",
            Kind::Dict(_) => ".*.",
            _ => ".",
        };
        rows.push(Row {
            path: path.clone(),
            takes: key.kind.describe(),
            default: key.default,
            support,
            doc: key.doc,
        });
        collect(key.kind.keys(), &format!("{path}{steps}"), support, rows);
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<_> = parts.collect();
    match parts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// A TCP port.
pub(crate) const PORT: Kind = Kind::Integer { min: 1, max: 65_535 };

/// A TCP port to listen on; 0 leaves the choice to the system.
pub(crate) const LISTEN_PORT: Kind = Kind::Integer { min: 0, max: 65_535 };
/// A number that is not zero and fits 32 bits.
pub(crate) const POSITIVE: Kind = Kind::Integer { min: 1, max: u32::MAX as u64 };
/// A number that fits 32 bits.
pub(crate) const COUNT: Kind = Kind::Integer { min: 0, max: u32::MAX as u64 };
/// A number of any size that JSON readers keep exact.
pub(crate) const LARGE: Kind = Kind::Integer { min: 0, max: i64::MAX as u64 };
/// A duration, possibly none.
pub(crate) const DURATION: Kind = Kind::Duration { min_seconds: 0 };
/// A duration of a second at least.
pub(crate) const SECONDS: Kind = Kind::Duration { min_seconds: 1 };
/// `version`, the first key of every file.
pub(crate) const VERSION: Key =
    key("version", Kind::Version, "Version of the configuration format, such as \"5.6\".")
        .required();

/// Number of threads; the event-driven runtime sizes itself.
pub(crate) const THREADS: Kind = Kind::Integer { min: 1, max: 1024 };
