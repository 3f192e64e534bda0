//! Patterns over policy fields: what the configuration, the control protocol and scripts write to
//! say which values they mean.
//!
//! The same text forms everywhere: a plain value; `*.example.org` for the domains below (domain
//! fields); a network (address fields); `/regular expression/`; `@list`; and the plain names
//! `#rolled-up` and `&grouping`, which are values like any other.

use std::fmt;
use std::net::IpAddr;

use regex::Regex;

use crate::list::NamedLists;
use crate::network::IpNet;
use crate::policy::{Field, FieldKind};

/// One pattern over the values of one field.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Exact,
    ExactDomain,
    /// The domain after `*.`, in lower case.
    Below(Box<str>),
    Net(IpNet),
    Regex(Box<Regex>),
    /// The list's name, without `@`.
    List(Box<str>),
}

impl Pattern {
    /// Parses the text form for values of `field`.
    ///
    /// A regular expression may carry the flag `i` behind its closing slash; in domain fields it
    /// never minds the case.
    ///
    /// # Errors
    ///
    /// [`PatternError`] when the regular expression does not compile, or an address field gets what
    /// is neither an address, a network, a rolled-up name nor a list.
    pub fn parse(field: Field, text: &str) -> Result<Self, PatternError> {
        let invalid = |why: String| PatternError { field, text: text.to_owned(), why };
        let form =
            if let Some(list) = text.strip_prefix('@') {
                Form::List(list.into())
            } else if let Some((regex, flags)) = regex_literal(text) {
                let regex = regex::RegexBuilder::new(regex)
                    .case_insensitive(flags == "i" || field.kind() == FieldKind::Domain)
                    .size_limit(REGEX_LIMIT)
                    .build()
                    .map_err(|error| invalid(error.to_string()))?;
                Form::Regex(Box::new(regex))
            } else if text.starts_with('#') {
                Form::Exact
            } else {
                match field.kind() {
                    FieldKind::Text => Form::Exact,
                    FieldKind::Domain => match text.strip_prefix("*.") {
                        Some(domain) => Form::Below(domain.to_ascii_lowercase().into()),
                        None => Form::ExactDomain,
                    },
                    FieldKind::Address => Form::Net(text.parse().map_err(
                        |error: crate::network::InvalidNetwork| invalid(error.to_string()),
                    )?),
                }
            };
        Ok(Self { text: text.into(), form })
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The only value that can match, in the form in which rows have it; `None` when there are
    /// several.
    pub(crate) fn plain_value(&self) -> Option<Box<str>> {
        match &self.form {
            Form::Exact => Some(self.text.clone()),
            Form::ExactDomain => Some(self.text.to_ascii_lowercase().into()),
            Form::Net(net) => Some(net.as_host()?.to_string().into()),
            Form::Below(_) | Form::Regex(_) | Form::List(_) => None,
        }
    }

    /// Tells whether `value` of `field` is meant; `@list` is looked up in `lists`.
    #[must_use]
    pub fn is_match(&self, field: Field, value: &str, lists: &NamedLists) -> bool {
        let address = match field.kind() {
            FieldKind::Address => value.parse().ok(),
            FieldKind::Text | FieldKind::Domain => None,
        };
        self.matches(field, value, address, lists)
    }

    /// Tells whether `value` of `field` is meant. `address` is the value as an address, when it is
    /// one.
    #[must_use]
    pub(crate) fn matches(
        &self,
        field: Field,
        value: &str,
        address: Option<IpAddr>,
        lists: &NamedLists,
    ) -> bool {
        match &self.form {
            Form::Exact => *value == *self.text,
            Form::ExactDomain => value.eq_ignore_ascii_case(&self.text),
            Form::Below(domain) => is_below(value, domain),
            Form::Net(net) => address.is_some_and(|address| net.contains(address)),
            // A rolled-up name is no value of the field, so no pattern reaches into it.
            Form::Regex(regex) => !value.starts_with('#') && regex.is_match(value),
            Form::List(name) => lists.contains(field, name, value, address),
        }
    }
}

impl PartialEq for Pattern {
    /// Patterns are equal when their texts are: what "an equal condition" means.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// The text is no pattern for that field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// Field whose values were to be matched.
    pub field: Field,
    /// The text that was given.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no pattern for {}: {}", self.text, self.field, self.why)
    }
}

impl std::error::Error for PatternError {}

/// Tells whether `value` is a domain below `domain`, which is in lower case.
pub(crate) fn is_below(value: &str, domain: &str) -> bool {
    let Some(at) = value.len().checked_sub(domain.len()) else { return false };
    at > 1
        && value.is_char_boundary(at)
        && value.as_bytes()[at - 1] == b'.'
        && value[at..].eq_ignore_ascii_case(domain)
}

/// Splits `/expression/` and `/expression/flags`.
fn regex_literal(text: &str) -> Option<(&str, &str)> {
    let (regex, flags) = text.strip_prefix('/')?.rsplit_once('/')?;
    matches!(flags, "" | "i").then_some((regex, flags))
}

/// Octets that a compiled expression may take: conditions come from scripts and control clients.
pub(crate) const REGEX_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(field: Field, pattern: &str, value: &str) -> bool {
        Pattern::parse(field, pattern).unwrap().matches(
            field,
            value,
            value.parse().ok(),
            &NamedLists::default(),
        )
    }

    #[test]
    fn each_kind_of_field_understands_its_forms() {
        for (field, pattern, value, expected) in [
            (Field::TransportId, "mx", "mx", true),
            (Field::TransportId, "mx", "MX", false),
            (Field::TransportId, "/^m.$/", "mx", true),
            (Field::TransportId, "/^M.$/i", "mx", true),
            (Field::JobId, "*.x", "a.x", false),
            (Field::RecipientDomain, "Example.org", "eXample.org", true),
            (Field::RecipientDomain, "*.example.org", "a.b.Example.org", true),
            (Field::RecipientDomain, "*.example.org", "example.org", false),
            (Field::RecipientDomain, "*.example.org", "badexample.org", false),
            (Field::RecipientDomain, "*.example.org", ".example.org", false),
            (Field::RemoteMx, "/GOOGLE\\.com$/", "aspmx.l.google.com", true),
            (Field::RemoteMx, "/./", "#google", false),
            (Field::RemoteMx, "#google", "#google", true),
            (Field::Grouping, "&google", "&google", true),
            (Field::LocalIp, "192.0.2.0/24", "192.0.2.9", true),
            (Field::LocalIp, "192.0.2.1", "192.0.2.9", false),
            (Field::RemoteIp, "2001:db8::/32", "2001:db8::1", true),
            (Field::LocalIp, "#pool", "#pool", true),
        ] {
            assert_eq!(matches(field, pattern, value), expected, "{field} {pattern} {value}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_named_in_the_error() {
        let error = Pattern::parse(Field::LocalIp, "example.org").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`example.org` is no pattern for localip: not an IP address or network"
        );
        assert!(Pattern::parse(Field::JobId, "/(/").is_err());
    }
}
