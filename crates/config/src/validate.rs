//! Walks a file's nodes along its key table and reports everything that does not fit.

use std::sync::Arc;

use crate::diagnostic::Severity;
use crate::keys::{Key, Kind, Support};
use crate::node::{Entry, KeyPath, Node, Position, Scalar, ScalarType, Value};
use crate::read::{self, Findings};
use crate::value::{Matcher, TlsProtocols};
use crate::yaml::shorten;

/// Checks `root` against `keys`; everything found lands in `findings`.
pub(crate) fn validate(root: &Node, keys: &'static [Key], findings: &mut Findings) {
    let mut walk = Walk { findings, later: false, secret: false };
    walk.value(root, &Kind::Map(keys), &At::Root);
}

struct Walk<'f> {
    findings: &'f mut Findings,
    /// Whether a key above is already listed as unimplemented.
    later: bool,
    /// Whether values here must not be shown.
    secret: bool,
}

/// Where the walk is; becomes a [`KeyPath`] only when there is something to say.
#[derive(Clone, Copy)]
enum At<'a> {
    Root,
    Key(&'a Self, &'a str),
    Index(&'a Self, usize),
}

impl At<'_> {
    fn path(&self) -> KeyPath {
        match *self {
            At::Root => KeyPath::root(),
            At::Key(parent, key) => parent.path().key(key),
            At::Index(parent, index) => parent.path().index(index),
        }
    }
}

impl Walk<'_> {
    fn value(&mut self, node: &Node, kind: &Kind, at: &At<'_>) {
        if self.findings.is_full() {
            return;
        }
        if let (Some(tag), false) = (&node.tag, matches!(kind, Kind::Any)) {
            self.error(node.position, at, format!("the tag `{tag}` has no meaning here"), None);
            return;
        }
        match *kind {
            Kind::Any => {}
            Kind::Either(kinds) => match kinds.iter().find(|kind| has_shape(node, kind)) {
                Some(kind) => self.value(node, kind, at),
                None => self.unexpected(node, kind, at),
            },
            Kind::OneOrMany(of) => match &node.value {
                Value::Sequence(elements) => self.list(node, elements, of, 1, at),
                Value::Mapping(_) | Value::Scalar(_) => self.value(node, of, at),
            },
            Kind::List { of, min } => match &node.value {
                Value::Sequence(elements) => self.list(node, elements, of, min, at),
                Value::Mapping(_) | Value::Scalar(_) => self.unexpected(node, kind, at),
            },
            Kind::Dict(of) => match &node.value {
                Value::Mapping(entries) => {
                    for entry in entries {
                        if entry.name().is_empty() {
                            self.error(entry.key.position, at, "a key is empty".to_owned(), None);
                        }
                        self.value(&entry.value, of, &At::Key(at, entry.name()));
                    }
                }
                Value::Sequence(_) | Value::Scalar(_) => self.unexpected(node, kind, at),
            },
            Kind::Map(keys) => match &node.value {
                Value::Mapping(entries) => self.mapping(node, entries, keys, at),
                Value::Sequence(_) | Value::Scalar(_) => self.unexpected(node, kind, at),
            },
            Kind::Source => match &node.value {
                Value::Mapping(entries) => self.source(node, entries, at),
                Value::Sequence(_) | Value::Scalar(_) => self.unexpected(node, kind, at),
            },
            _ => match &node.value {
                Value::Scalar(scalar) => self.scalar(node, scalar, kind, at),
                Value::Mapping(_) | Value::Sequence(_) => self.unexpected(node, kind, at),
            },
        }
    }

    fn mapping(&mut self, node: &Node, entries: &[Entry], keys: &'static [Key], at: &At<'_>) {
        for entry in entries {
            if self.findings.is_full() {
                return;
            }
            let here = At::Key(at, entry.name());
            let Some(key) = keys.iter().find(|key| key.name == entry.name()) else {
                let hint = close(entry.name(), keys.iter().map(|key| key.name))
                    .map(|name| format!("did you mean `{name}`?"))
                    .or_else(|| allowed(keys));
                self.error(entry.key.position, &here, "unknown key".to_owned(), hint);
                continue;
            };
            let (later, secret) = (self.later, self.secret);
            if key.support == Support::Later && !later {
                self.findings.unimplemented.push(here.path());
                self.later = true;
            }
            self.later |= key.support == Support::Ignored;
            self.secret |= key.secret;
            self.value(&entry.value, &key.kind, &here);
            (self.later, self.secret) = (later, secret);
        }
        for key in keys.iter().filter(|key| key.required) {
            if !entries.iter().any(|entry| entry.name() == key.name) {
                let message = format!("the key `{}` is missing", key.name);
                self.error(node.position, at, message, Some(key.kind.describe()));
            }
        }
    }

    fn list(&mut self, node: &Node, elements: &[Arc<Node>], of: &Kind, min: usize, at: &At<'_>) {
        if elements.len() < min {
            let message = format!("expected a list of at least {min}, found {}", elements.len());
            self.error(node.position, at, message, None);
        }
        for (index, element) in elements.iter().enumerate() {
            self.value(element, of, &At::Index(at, index));
        }
    }

    fn source(&mut self, node: &Node, entries: &[Entry], at: &At<'_>) {
        self.mapping(node, entries, SOURCE, at);
        let known =
            entries.iter().filter(|entry| SOURCE.iter().any(|key| key.name == entry.name()));
        if known.count() != 1 {
            let message = format!("expected {}", Kind::Source.describe());
            self.error(node.position, at, message, None);
        }
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, kind: &Kind, at: &At<'_>) {
        let Err(expected) = fits(scalar, kind) else { return };
        let found = self.found(node);
        let hint = hint(scalar, kind);
        self.error(node.position, at, format!("expected {expected}, found {found}"), hint);
    }

    fn unexpected(&mut self, node: &Node, kind: &Kind, at: &At<'_>) {
        let message = format!("expected {}, found {}", kind.describe(), self.found(node));
        self.error(node.position, at, message, None);
    }

    fn found(&self, node: &Node) -> String {
        match node.scalar() {
            Some(scalar) if scalar.kind == ScalarType::Null => "nothing".to_owned(),
            Some(scalar) if !self.secret => {
                let quote = if scalar.kind == ScalarType::String { "\"" } else { "" };
                format!("{} {quote}{}{quote}", node.kind_name(), shorten(&scalar.text))
            }
            _ => node.kind_name().to_owned(),
        }
    }

    fn error(&mut self, position: Position, at: &At<'_>, message: String, hint: Option<String>) {
        self.findings.push(Severity::Error, position, at.path(), message, hint);
    }
}

/// Checks one scalar; the error says what was expected.
fn fits(scalar: &Scalar, kind: &Kind) -> Result<(), String> {
    let text = &*scalar.text;
    let is_text = scalar.kind == ScalarType::String;
    let valid = |fits: bool| if fits { Ok(()) } else { Err(kind.describe()) };
    let parsed = |result: Result<(), crate::value::InvalidValue>| {
        result.map_err(|error| error.expected.into_owned())
    };
    match *kind {
        Kind::Boolean => valid(matches!(scalar.kind, ScalarType::Bool(_))),
        Kind::Number => valid(
            matches!(scalar.kind, ScalarType::Integer(_))
                || matches!(scalar.kind, ScalarType::Float(number) if number.is_finite()),
        ),
        Kind::Integer { min, max } => {
            valid(read::whole_number(scalar).is_some_and(|number| (min..=max).contains(&number)))
        }
        Kind::NumberOf(numbers) => {
            valid(read::whole_number(scalar).is_some_and(|number| numbers.contains(&number)))
        }
        Kind::Duration { min_seconds } => match read::duration(scalar) {
            Some(Ok(duration)) if duration.as_secs() >= min_seconds => Ok(()),
            Some(Ok(_)) => Err(format!("a duration of at least {min_seconds} s")),
            Some(Err(error)) => Err(error.expected.into_owned()),
            None => Err(kind.describe()),
        },
        Kind::Size { min } => match read::size(scalar) {
            Some(Ok(size)) if size.bytes() >= min => Ok(()),
            Some(Ok(_)) => Err(format!("a size of at least {min} octets")),
            Some(Err(error)) => Err(error.expected.into_owned()),
            None => Err(kind.describe()),
        },
        Kind::Rate => match read::rate(scalar) {
            Some(result) => parsed(result.map(drop)),
            None => Err(kind.describe()),
        },
        // What follows is text, and only text: digits must be quoted, as the schemas demand.
        _ if !is_text => Err(kind.describe()),
        Kind::Text => Ok(()),
        Kind::Id => valid(!text.is_empty()),
        Kind::Tag => valid((1..=32).contains(&text.chars().count())),
        Kind::Host => valid(!text.is_empty() && !text.contains(char::is_whitespace)),
        Kind::Address => valid(text.parse::<std::net::IpAddr>().is_ok()),
        Kind::SocketAddress => valid(read::socket_address(text).is_some()),
        Kind::Mode => parsed(text.parse::<crate::value::Mode>().map(drop)),
        Kind::Matcher(field) => parsed(Matcher::parse(field, text).map(drop)),
        Kind::TlsProtocols => parsed(text.parse::<TlsProtocols>().map(drop)),
        Kind::Version => valid(read::version(text).is_some()),
        Kind::Word(words) => valid(words.contains(&text)),
        Kind::Any
        | Kind::Dict(_)
        | Kind::Either(_)
        | Kind::List { .. }
        | Kind::Map(_)
        | Kind::OneOrMany(_)
        | Kind::Source => Err(kind.describe()),
    }
}

/// What to do about a scalar that does not fit.
fn hint(scalar: &Scalar, kind: &Kind) -> Option<String> {
    let quoted = || match scalar.kind {
        ScalarType::String | ScalarType::Null => None,
        _ => Some("put it in quotes".to_owned()),
    };
    match *kind {
        Kind::Word(words) if scalar.kind == ScalarType::String => {
            close(&scalar.text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"))
        }
        Kind::Boolean if scalar.kind == ScalarType::String => {
            match scalar.text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "true" => Some("write `true`, without quotes".to_owned()),
                "no" | "off" | "false" => Some("write `false`, without quotes".to_owned()),
                _ => None,
            }
        }
        Kind::Integer { .. } | Kind::NumberOf(_) | Kind::Number
            if scalar.kind == ScalarType::String
                && matches!(crate::yaml::resolve(&scalar.text), ScalarType::Integer(_)) =>
        {
            Some("write it without quotes".to_owned())
        }
        Kind::Mode => {
            matches!(scalar.kind, ScalarType::Integer(_)).then(|| "put it in quotes".to_owned())
        }
        Kind::Text | Kind::Id | Kind::Tag | Kind::Version | Kind::Host | Kind::Matcher(_) => {
            quoted()
        }
        _ => None,
    }
}

/// Tells whether `node` has the outer shape of `kind`, to choose among alternatives.
fn has_shape(node: &Node, kind: &Kind) -> bool {
    match (kind, &node.value) {
        (Kind::Any, _) => true,
        (Kind::OneOrMany(of), value) => matches!(value, Value::Sequence(_)) || has_shape(node, of),
        (Kind::List { .. }, value) => matches!(value, Value::Sequence(_)),
        (Kind::Map(_) | Kind::Dict(_) | Kind::Source, value) => matches!(value, Value::Mapping(_)),
        (Kind::Either(kinds), _) => kinds.iter().any(|kind| has_shape(node, kind)),
        (Kind::Boolean, Value::Scalar(scalar)) => matches!(scalar.kind, ScalarType::Bool(_)),
        (Kind::Number | Kind::Integer { .. } | Kind::NumberOf(_), Value::Scalar(scalar)) => {
            matches!(scalar.kind, ScalarType::Integer(_) | ScalarType::Float(_))
        }
        (_, Value::Scalar(scalar)) => scalar.kind != ScalarType::Null,
        (_, Value::Mapping(_) | Value::Sequence(_)) => false,
    }
}

/// The candidate that `name` was probably meant to be.
pub(crate) fn close<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let limit = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance with neighbours swapped as one step.
fn distance(left: &str, right: &str) -> usize {
    let start = |name: &str| name.chars().take(MAX_NAME).collect::<String>();
    strsim::osa_distance(&start(left), &start(right))
}

fn allowed(keys: &[Key]) -> Option<String> {
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    (names.len() <= 12).then(|| format!("known here: {}", names.join(", ")))
}

/// Keys of [`Kind::Source`].
pub(crate) const SOURCE: &[Key] = &[
    crate::keys::key("path", Kind::Id, "A file with the content."),
    crate::keys::key("data", Kind::Text, "The content itself.").secret(),
];

/// Longer names are compared by their beginning.
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_found_and_far_ones_are_not() {
        let names = ["listeners", "threads", "proxyprotocol", "id"];
        for (typed, meant) in [
            ("listener", Some("listeners")),
            ("lsiteners", Some("listeners")),
            ("Threads", Some("threads")),
            ("protoprotocol", Some("proxyprotocol")),
            ("di", Some("id")),
            ("hostname", None),
            ("", None),
        ] {
            assert_eq!(close(typed, names.into_iter()), meant, "{typed}");
        }
    }
}
