//! `smtpd-delivery.yaml`: settings of delivery sessions by destination.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use crate::condition;
use crate::keys::{Key, Kind, POSITIVE, SECONDS, VERSION, key};
use crate::node::{KeyPath, Node};
use crate::read::{Cursor, Findings, Read};
use crate::running::{INTERVALS, RetryInterval};
use crate::startup::{self, Version};
use crate::value::{Field, Matcher, TlsMode, TlsProtocols};

/// The delivery settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Version of the configuration format.
    pub version: Version,
    /// Settings for chosen messages, first match wins.
    pub conditions: Vec<DeliveryCondition>,
    /// Settings when no condition matches.
    pub default: DeliverySettings,
}

/// Settings for chosen messages.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryCondition {
    /// Patterns by field, all of which must fit (any pattern of a field is enough).
    pub when: Vec<(Field, Vec<Matcher>)>,
    /// The settings.
    pub then: DeliverySettings,
}

/// What a condition or default sets; what it leaves out stays as the transport says.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliverySettings {
    /// Whether connections are kept for the next message.
    pub pooling_enabled: bool,
    /// How long an idle connection is kept.
    pub pooling_timeout: Option<Duration>,
    /// Messages per connection.
    pub pooling_transactions: Option<u32>,
    /// Whether an idle connection may be pushed out of a full cache.
    pub pooling_evictable: bool,
    /// Time to connect.
    pub timeout_connect: Option<Duration>,
    /// Time to wait for an answer, by state.
    pub timeout_smtp: IndexMap<SmtpState, Duration>,
    /// How hard to insist on TLS; never a DANE mode.
    pub tls_mode: Option<TlsMode>,
    /// TLS versions.
    pub tls_protocols: Option<TlsProtocols>,
    /// Attempts after which the message expires, from here on.
    pub retry_count: Option<u32>,
    /// Waiting times from here on; never empty.
    pub retry_intervals: Option<Vec<RetryInterval>>,
}

impl Default for DeliverySettings {
    /// Nothing set: connections are not kept, everything else is as the transport says.
    fn default() -> Self {
        Self {
            pooling_enabled: false,
            pooling_timeout: None,
            pooling_transactions: None,
            pooling_evictable: true,
            timeout_connect: None,
            timeout_smtp: IndexMap::new(),
            tls_mode: None,
            tls_protocols: None,
            retry_count: None,
            retry_intervals: None,
        }
    }
}

/// A state of the delivery dialogue in which an answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SmtpState {
    /// AUTH, any mechanism.
    Auth,
    /// AUTH CRAM-MD5.
    AuthCramMd5,
    /// AUTH LOGIN.
    AuthLogin,
    /// The user name of AUTH LOGIN.
    AuthLoginUser,
    /// AUTH PLAIN.
    AuthPlain,
    /// The greeting.
    Banner,
    /// DATA.
    Data,
    /// EHLO.
    Ehlo,
    /// The end of the message.
    Eod,
    /// HELO.
    Helo,
    /// LHLO.
    Lhlo,
    /// MAIL FROM.
    Mail,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// RCPT TO.
    Rcpt,
    /// RSET.
    Rset,
    /// STARTTLS.
    Starttls,
    /// XCLIENT.
    Xclient,
}

impl SmtpState {
    /// Every state with its word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("BANNER", Self::Banner),
        ("HELO", Self::Helo),
        ("EHLO", Self::Ehlo),
        ("LHLO", Self::Lhlo),
        ("STARTTLS", Self::Starttls),
        ("AUTH-CRAM-MD5", Self::AuthCramMd5),
        ("AUTH-PLAIN", Self::AuthPlain),
        ("AUTH-LOGIN", Self::AuthLogin),
        ("AUTH-LOGIN-USER", Self::AuthLoginUser),
        ("AUTH", Self::Auth),
        ("XCLIENT", Self::Xclient),
        ("MAIL", Self::Mail),
        ("RCPT", Self::Rcpt),
        ("DATA", Self::Data),
        ("EOD", Self::Eod),
        ("RSET", Self::Rset),
        ("NOOP", Self::Noop),
        ("QUIT", Self::Quit),
    ];

    /// The state of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, state)| *state)
    }

    /// The word of the configuration and of scripts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, state)| *state == self).map_or("", |(word, _)| word)
    }
}

/// Every key of the file.
pub(crate) const KEYS: &[Key] =
    &[VERSION, key("delivery", Kind::Map(DELIVERY), "Settings of delivery sessions.")];

const DELIVERY: &[Key] = &[
    key(
        "conditions",
        Kind::List { of: &Kind::Map(CONDITION), min: 0 },
        "Settings for chosen messages, first match wins.",
    ),
    key("default", Kind::Map(SETTINGS), "Settings when no condition matches."),
];

const CONDITION: &[Key] = &[
    key("if", Kind::Map(condition::MATCH), "Patterns by field, all of which must fit.").required(),
    key("then", Kind::Map(SETTINGS), "The settings.").required(),
];

const SETTINGS: &[Key] = &[
    key("pooling", Kind::Map(POOLING), "Connections kept for the next message."),
    key("timeout", Kind::Map(TIMEOUT), "How long to wait."),
    key("tls", Kind::Map(TLS), "TLS."),
    key("retry", Kind::Map(RETRY), "When to try again, from here on."),
];

const POOLING: &[Key] = &[
    key("enabled", Kind::Boolean, "Whether connections are kept.").or("false"),
    key("timeout", SECONDS, "How long an idle connection is kept."),
    key("transactions", POSITIVE, "Messages per connection."),
    key(
        "evictable",
        Kind::Boolean,
        "Whether an idle connection may be pushed out of a full cache.",
    )
    .or("true"),
];

const TIMEOUT: &[Key] = &[
    key("connect", SECONDS, "To connect."),
    key("smtp", Kind::Map(TIMEOUT_SMTP), "For an answer, by state."),
];

/// The words of [`SmtpState::WORDS`].
const TIMEOUT_SMTP: &[Key] = &[
    key("BANNER", SECONDS, "The greeting."),
    key("HELO", SECONDS, "HELO."),
    key("EHLO", SECONDS, "EHLO."),
    key("LHLO", SECONDS, "LHLO."),
    key("STARTTLS", SECONDS, "STARTTLS."),
    key("AUTH-CRAM-MD5", SECONDS, "AUTH CRAM-MD5."),
    key("AUTH-PLAIN", SECONDS, "AUTH PLAIN."),
    key("AUTH-LOGIN", SECONDS, "AUTH LOGIN."),
    key("AUTH-LOGIN-USER", SECONDS, "The user name of AUTH LOGIN."),
    key("AUTH", SECONDS, "AUTH, any mechanism."),
    key("XCLIENT", SECONDS, "XCLIENT."),
    key("MAIL", SECONDS, "MAIL."),
    key("RCPT", SECONDS, "RCPT."),
    key("DATA", SECONDS, "DATA."),
    key("EOD", SECONDS, "The end of the message."),
    key("RSET", SECONDS, "RSET."),
    key("NOOP", SECONDS, "NOOP."),
    key("QUIT", SECONDS, "QUIT."),
];

const TLS: &[Key] = &[
    key(
        "mode",
        Kind::Word(TLS_MODES),
        "How hard to insist on TLS; DANE is the transport's matter.",
    ),
    key("protocols", Kind::TlsProtocols, "TLS versions; ! takes one away."),
];

const TLS_MODES: &[&str] =
    &["disabled", "optional", "optional_verify", "require", "require_verify"];

const RETRY: &[Key] = &[
    key(
        "count",
        Kind::Integer { min: 0, max: 100_000 },
        "Attempts after which the message expires.",
    ),
    key("intervals", INTERVALS, "Waiting times; the last one repeats."),
];

/// Reads a validated file.
pub(crate) fn read(root: &Arc<Node>, findings: &mut Findings) -> Read<Delivery> {
    let top = Cursor::new(root, KEYS, KeyPath::root());
    let version = startup::version(&top, findings)?;
    let delivery = top.map("delivery");
    let mut conditions = Vec::new();
    for cursor in delivery.list("conditions") {
        let matching = cursor.map("if");
        let when = condition::when(&matching)?;
        condition::without_rollups(&matching, &when, findings);
        conditions.push(DeliveryCondition { when, then: settings(&cursor.map("then"))? });
    }
    Ok(Delivery { version, conditions, default: settings(&delivery.map("default"))? })
}

fn settings(cursor: &Cursor<'_>) -> Read<DeliverySettings> {
    let pooling = cursor.map("pooling");
    let timeout = cursor.map("timeout");
    let smtp = timeout.map("smtp");
    let tls = cursor.map("tls");
    let retry = cursor.map("retry");
    let mut timeout_smtp: IndexMap<SmtpState, Duration> = IndexMap::new();
    for (word, state) in SmtpState::WORDS {
        if let Some(duration) = smtp.optional(word)? {
            timeout_smtp.insert(*state, duration);
        }
    }
    let intervals: Vec<RetryInterval> = retry.values("intervals")?;
    Ok(DeliverySettings {
        pooling_enabled: pooling.value("enabled")?,
        pooling_timeout: pooling.optional("timeout")?,
        pooling_transactions: pooling.optional("transactions")?,
        pooling_evictable: pooling.value("evictable")?,
        timeout_connect: timeout.optional("connect")?,
        timeout_smtp,
        tls_mode: tls.optional("mode")?,
        tls_protocols: tls.optional("protocols")?,
        retry_count: retry.optional("count")?,
        retry_intervals: Some(intervals).filter(|intervals| !intervals.is_empty()),
    })
}
