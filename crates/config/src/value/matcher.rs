//! Fields and patterns by which policies, suspensions and delivery settings pick messages.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Cidr, InvalidValue};

/// A property of a queued message that a pickup policy, suspension or delivery condition may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Id of the transport.
    TransportId,
    /// Local (source) address; a message may have several candidates.
    LocalIp,
    /// Address of the next hop.
    RemoteIp,
    /// Name of the next hop.
    RemoteMx,
    /// Domain of the recipient.
    RecipientDomain,
    /// Correlation id given by the script.
    JobId,
    /// Roll-up id of the destination.
    Grouping,
    /// Tenant given by the script.
    TenantId,
}

impl Field {
    /// Every field with its word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("transportid", Self::TransportId),
        ("localip", Self::LocalIp),
        ("remoteip", Self::RemoteIp),
        ("remotemx", Self::RemoteMx),
        ("recipientdomain", Self::RecipientDomain),
        ("jobid", Self::JobId),
        ("grouping", Self::Grouping),
        ("tenantid", Self::TenantId),
    ];

    /// The field of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, field)| *field)
    }

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, field)| *field == self).map_or("", |(word, _)| word)
    }

    /// Tells whether values of this field are IP addresses.
    #[must_use]
    pub const fn is_address(self) -> bool {
        matches!(self, Self::LocalIp | Self::RemoteIp)
    }

    /// Tells whether values of this field are domain names (compared without regard to case, and
    /// `*.example.com` matches below the domain).
    #[must_use]
    pub const fn is_domain(self) -> bool {
        matches!(self, Self::RemoteMx | Self::RecipientDomain)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One pattern for the value of a [`Field`].
#[derive(Clone, Debug, PartialEq)]
pub enum Matcher {
    /// Exactly this text; lower case for domain fields.
    Exact(Arc<str>),
    /// `*.domain`: every name below the domain, kept in lower case with its leading dot.
    Below(Arc<str>),
    /// `/regex/`.
    Regex(Pattern),
    /// An address or network.
    Network(Cidr),
    /// `@name`: a list of the running configuration or of a plugin.
    List(Arc<str>),
    /// `#name`: a rolled-up entry of the policy's own fields.
    Rollup(Arc<str>),
    /// `&id`: a grouping of `queues.grouping.groupings`.
    Grouping(Arc<str>),
}

impl Matcher {
    /// Parses a pattern for `field`.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for an empty pattern, an invalid regular expression, or an address field whose
    /// text is neither address, network nor reference.
    pub fn parse(field: Field, text: &str) -> Result<Self, InvalidValue> {
        let name = |rest: &str| match rest {
            "" => Err(InvalidValue::new("a name behind the sign")),
            name => Ok(Arc::from(name)),
        };
        if let Some(rest) = text.strip_prefix('@') {
            return name(rest).map(Self::List);
        }
        if let Some(rest) = text.strip_prefix('#') {
            return name(rest).map(Self::Rollup);
        }
        if let Some(rest) = text.strip_prefix('&').filter(|_| field == Field::Grouping) {
            return name(rest).map(Self::Grouping);
        }
        if field.is_address() {
            return text.parse().map(Self::Network).map_err(|error: InvalidValue| {
                InvalidValue::owned(format!("{}, `#name` or `@list`", error.expected))
            });
        }
        if text.is_empty() {
            return Err(InvalidValue::new("a value, `/regex/` or `@list`"));
        }
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        if let Some(inner) = inner.filter(|inner| !inner.is_empty()) {
            return Pattern::new(inner).map(Self::Regex);
        }
        if !field.is_domain() {
            return Ok(Self::Exact(Arc::from(text)));
        }
        let domain = text.to_ascii_lowercase();
        match domain.strip_prefix('*') {
            Some(below) if below.len() > 1 && below.starts_with('.') && !below.contains('*') => {
                Ok(Self::Below(Arc::from(below)))
            }
            _ if domain.contains('*') => {
                Err(InvalidValue::new("a domain, `*.domain`, `/regex/` or `@list`"))
            }
            _ => Ok(Self::Exact(Arc::from(domain))),
        }
    }

    /// Tells whether `value` fits, for patterns that need no other list.
    ///
    /// Returns `None` for `@list`, `#name` and `&id`, which only the owner of those can answer.
    /// Domain values must be in lower case.
    #[must_use]
    pub fn matches_text(&self, value: &str) -> Option<bool> {
        match self {
            Self::Exact(text) => Some(**text == *value),
            Self::Below(suffix) => Some(value.len() > suffix.len() && value.ends_with(&**suffix)),
            Self::Regex(pattern) => Some(pattern.is_match(value)),
            Self::Network(network) => {
                Some(value.parse::<IpAddr>().is_ok_and(|address| network.contains(address)))
            }
            Self::List(_) | Self::Rollup(_) | Self::Grouping(_) => None,
        }
    }
}

impl fmt::Display for Matcher {
    /// Prints the pattern as the configuration writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Below(suffix) => write!(f, "*{suffix}"),
            Self::Regex(pattern) => write!(f, "/{}/", pattern.as_str()),
            Self::Network(network) => write!(f, "{network}"),
            Self::List(name) => write!(f, "@{name}"),
            Self::Rollup(name) => write!(f, "#{name}"),
            Self::Grouping(name) => write!(f, "&{name}"),
        }
    }
}

/// A compiled regular expression, equal to another when its text is.
#[derive(Clone, Debug)]
pub struct Pattern(regex::Regex);

impl Pattern {
    /// Compiles `text`. Matching is unanchored and takes linear time.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] naming the fault; also for expressions that compile to over 1 MiB.
    pub fn new(text: &str) -> Result<Self, InvalidValue> {
        regex::RegexBuilder::new(text).size_limit(COMPILED_LIMIT).build().map(Self).map_err(
            |error| {
                let lines = error.to_string();
                let fault = lines.lines().last().unwrap_or_default().trim_start_matches("error: ");
                InvalidValue::owned(format!("a regular expression ({fault})"))
            },
        )
    }

    /// The expression without its slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Tells whether the expression matches somewhere in `value`.
    #[must_use]
    pub fn is_match(&self, value: &str) -> bool {
        self.0.is_match(value)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// Largest compiled expression, in octets: lists may hold thousands of them.
const COMPILED_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(field: Field, text: &str) -> Matcher {
        Matcher::parse(field, text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn domains_match_without_regard_to_case_and_below_a_star() {
        let below = parse(Field::RemoteMx, "*.Google.com");
        assert_eq!(below.matches_text("aspmx.l.google.com"), Some(true));
        assert_eq!(below.matches_text("google.com"), Some(false));
        assert_eq!(below.matches_text(".google.com"), Some(false));
        assert_eq!(below.matches_text("notgoogle.com"), Some(false));
        assert_eq!(
            parse(Field::RecipientDomain, "Example.COM").matches_text("example.com"),
            Some(true)
        );
    }

    #[test]
    fn addresses_match_by_network() {
        let network = parse(Field::LocalIp, "192.0.2.0/24");
        assert_eq!(network.matches_text("192.0.2.7"), Some(true));
        assert_eq!(network.matches_text("192.0.3.7"), Some(false));
        assert!(Matcher::parse(Field::RemoteIp, "example.com").is_err());
    }

    #[test]
    fn signs_refer_to_lists_rollups_and_groupings() {
        assert_eq!(parse(Field::LocalIp, "@pool"), Matcher::List("pool".into()));
        assert_eq!(parse(Field::RemoteMx, "#gsuite"), Matcher::Rollup("gsuite".into()));
        assert_eq!(parse(Field::Grouping, "&google"), Matcher::Grouping("google".into()));
        assert_eq!(parse(Field::JobId, "&google"), Matcher::Exact("&google".into()));
        assert_eq!(parse(Field::JobId, "@x").matches_text("x"), None);
    }

    #[test]
    fn refuses_empty_and_broken_patterns() {
        for text in ["", "@", "#", "/(/", "a.*.b", "*", "*.", "*google.com"] {
            assert!(Matcher::parse(Field::RemoteMx, text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for text in ["example.com", "*.example.com", "/^mx[0-9]+/", "@list", "#roll"] {
            assert_eq!(parse(Field::RemoteMx, text).to_string(), text);
        }
    }
}
