//! `smtpd-delivery.yaml`: settings of delivery sessions by destination.

use std::time::Duration;

use indexmap::IndexMap;

use crate::running::RetryInterval;
use crate::startup::Version;
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
#[derive(Clone, Debug, Default, PartialEq)]
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
