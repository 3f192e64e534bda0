//! Reads validated nodes into fields, filling in the table's defaults.
//!
//! By the time a [`Cursor`] moves, `validate` has found nothing to object to; a value that still does
//! not read means that table and type disagree. That is our fault, and it is reported as a
//! [`Mismatch`] instead of a panic.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Severity};
use crate::keys::Key;
use crate::node::{Entry, KeyPath, Node, Position, Scalar, ScalarType, Value};
use crate::startup::Version;
use crate::value::source::decode_base64;
use crate::value::{
    Field, InvalidValue, Matcher, Mode, Rate, Size, Source, TlsMode, TlsProtocols, duration,
};

/// Everything found while one file is read.
#[derive(Debug)]
pub(crate) struct Findings {
    /// The file's name.
    pub(crate) file: Arc<str>,
    /// Errors and warnings, in the order they were found.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Keys that this release does not act on.
    pub(crate) unimplemented: Vec<KeyPath>,
}

impl Findings {
    pub(crate) fn new(file: &str) -> Self {
        Self { file: Arc::from(file), diagnostics: Vec::new(), unimplemented: Vec::new() }
    }

    pub(crate) fn push(
        &mut self,
        severity: Severity,
        position: Position,
        path: KeyPath,
        message: String,
        hint: Option<String>,
    ) {
        let file = Arc::clone(&self.file);
        // A broken list of a million elements is broken enough after some of them.
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(Diagnostic { severity, file, position, path, message, hint });
        }
    }

    /// An error about the value of `name` below `cursor`.
    pub(crate) fn error(&mut self, cursor: &Cursor<'_>, name: &str, message: String) {
        self.error_with(cursor, name, message, None);
    }

    /// An error with advice.
    pub(crate) fn error_with(
        &mut self,
        cursor: &Cursor<'_>,
        name: &str,
        message: String,
        hint: Option<String>,
    ) {
        let (position, path) = cursor.locate(name);
        self.push(Severity::Error, position, path, message, hint);
    }

    /// A warning about the value of `name` below `cursor`.
    pub(crate) fn warning(&mut self, cursor: &Cursor<'_>, name: &str, message: String) {
        let (position, path) = cursor.locate(name);
        self.push(Severity::Warning, position, path, message, None);
    }

    /// An error for a reference that leads nowhere; names the closest target.
    pub(crate) fn dangling<'a>(
        &mut self,
        cursor: &Cursor<'_>,
        name: &str,
        message: String,
        reference: &str,
        targets: impl Iterator<Item = &'a str>,
    ) {
        let hint =
            crate::validate::close(reference, targets).map(|it| format!("did you mean `{it}`?"));
        self.error_with(cursor, name, message, hint);
    }

    /// Everything found, in file order.
    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        self.diagnostics
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// A value that passed validation and still did not read.
#[derive(Debug)]
pub(crate) struct Mismatch {
    position: Position,
    path: KeyPath,
}

impl Mismatch {
    pub(crate) fn report(self, findings: &mut Findings) {
        let message = "this value cannot be used".to_owned();
        findings.push(Severity::Error, self.position, self.path, message, None);
    }
}

pub(crate) type Read<T> = Result<T, Mismatch>;

/// A mapping of the file, or the place where it would be.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    node: Option<&'a Node>,
    keys: &'static [Key],
    path: KeyPath,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(node: &'a Node, keys: &'static [Key], path: KeyPath) -> Self {
        Self { node: Some(node), keys, path }
    }

    /// Whether the mapping itself is in the file.
    pub(crate) const fn is_present(&self) -> bool {
        self.node.is_some()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    pub(crate) fn node(&self, name: &str) -> Option<&'a Arc<Node>> {
        self.node.and_then(|node| node.member(name))
    }

    pub(crate) fn position(&self) -> Position {
        self.node.map_or(Position::default(), |node| node.position)
    }

    pub(crate) const fn path(&self) -> &KeyPath {
        &self.path
    }

    /// Place and path of a member; the place of the mapping when it is absent.
    fn locate(&self, name: &str) -> (Position, KeyPath) {
        if name.is_empty() {
            return (
                self.node.map_or(Position::default(), |node| node.position),
                self.path.clone(),
            );
        }
        let position = self.node(name).map(|node| node.position);
        let own = self.node.map(|node| node.position);
        (position.or(own).unwrap_or_default(), self.path.key(name))
    }

    /// The mapping below `name`, present or not.
    pub(crate) fn map(&self, name: &str) -> Self {
        Cursor {
            node: self.node(name).map(Arc::as_ref),
            keys: self.key(name).map_or(&[], |key| key.kind.keys()),
            path: self.path.key(name),
        }
    }

    /// The mappings in the list below `name`.
    pub(crate) fn list(&self, name: &str) -> Vec<Self> {
        let below = self.map(name);
        let elements = below.node.map_or(&[][..], Node::elements);
        let element = |(index, node): (usize, &'a Arc<Node>)| Cursor {
            node: Some(node.as_ref()),
            keys: below.keys,
            path: below.path.index(index),
        };
        elements.iter().enumerate().map(element).collect()
    }

    /// The entries of the free mapping below `name`.
    pub(crate) fn entries(&self, name: &str) -> &'a [Entry] {
        self.node(name).map_or(&[], |node| node.entries())
    }

    /// The value of `name`, or the table's default, or nothing.
    pub(crate) fn optional<T: FromNode>(&self, name: &str) -> Read<Option<T>> {
        match self.node(name) {
            Some(node) => T::from_node(node).map(Some).ok_or_else(|| self.mismatch(name)),
            None => match self.key(name).and_then(|key| key.default) {
                Some(default) => self.parse_default(name, default).map(Some),
                None => Ok(None),
            },
        }
    }

    /// The value of `name`, which has a default or must be there.
    pub(crate) fn value<T: FromNode>(&self, name: &str) -> Read<T> {
        self.optional(name)?.ok_or_else(|| self.mismatch(name))
    }

    /// The values in the list below `name` (or the single value there); none when absent.
    pub(crate) fn values<T: FromNode>(&self, name: &str) -> Read<Vec<T>> {
        Ok(self.optional::<Many<T>>(name)?.map_or_else(Vec::new, |many| many.0))
    }

    fn parse_default<T: FromNode>(&self, name: &str, default: &str) -> Read<T> {
        crate::yaml::parse(default.as_bytes(), "default")
            .ok()
            .and_then(|node| T::from_node(&node))
            .ok_or_else(|| self.mismatch(name))
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub(crate) fn mismatch(&self, name: &str) -> Mismatch {
        let (position, path) = self.locate(name);
        Mismatch { position, path }
    }
}

/// A type that a node can be read into.
pub(crate) trait FromNode: Sized {
    fn from_node(node: &Arc<Node>) -> Option<Self>;
}

/// One value or a list of them.
struct Many<T>(Vec<T>);

impl<T: FromNode> FromNode for Many<T> {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        match &node.value {
            Value::Sequence(elements) => {
                elements.iter().map(T::from_node).collect::<Option<_>>().map(Many)
            }
            Value::Mapping(_) | Value::Scalar(_) => Some(Self(vec![T::from_node(node)?])),
        }
    }
}

macro_rules! from_scalar {
    ($($type:ty => |$scalar:ident| $read:expr;)*) => {
        $(impl FromNode for $type {
            fn from_node(node: &Arc<Node>) -> Option<Self> {
                let $scalar = node.scalar()?;
                $read
            }
        })*
    };
}

from_scalar! {
    bool => |scalar| match scalar.kind { ScalarType::Bool(flag) => Some(flag), _ => None };
    u8 => |scalar| u8::try_from(whole_number(scalar)?).ok();
    u16 => |scalar| u16::try_from(whole_number(scalar)?).ok();
    u32 => |scalar| u32::try_from(whole_number(scalar)?).ok();
    u64 => |scalar| whole_number(scalar);
    NonZeroU32 => |scalar| NonZeroU32::new(u32::try_from(whole_number(scalar)?).ok()?);
    f64 => |scalar| number(scalar);
    Arc<str> => |scalar| Some(Arc::clone(&scalar.text));
    PathBuf => |scalar| Some(PathBuf::from(&*scalar.text));
    IpAddr => |scalar| scalar.text.parse().ok();
    SocketAddr => |scalar| socket_address(&scalar.text);
    Duration => |scalar| duration(scalar)?.ok();
    Size => |scalar| size(scalar)?.ok();
    Rate => |scalar| rate(scalar)?.ok();
    Mode => |scalar| scalar.text.parse().ok();
    TlsMode => |scalar| scalar.text.parse().ok();
    TlsProtocols => |scalar| scalar.text.parse().ok();
    Version => |scalar| version(&scalar.text);
    mta_types::ServerId => |scalar| Some(Self::new(Arc::clone(&scalar.text)));
    mta_types::TransportId => |scalar| Some(Self::new(Arc::clone(&scalar.text)));
}

impl FromNode for Source {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        let text = |name| node.member(name).and_then(|node| node.text());
        match (text("path"), text("data")) {
            (Some(path), None) => Some(Self::Path(PathBuf::from(path))),
            (None, Some(data)) => Some(Self::Data(Arc::from(data.as_bytes()))),
            _ => None,
        }
    }
}

impl FromNode for Arc<Node> {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        Some(Self::clone(node))
    }
}

/// The patterns for `field` in `node`: one, or a list.
pub(crate) fn matchers(field: Field, node: &Arc<Node>) -> Option<Vec<Matcher>> {
    let one = |node: &Arc<Node>| Matcher::parse(field, node.text()?).ok();
    match &node.value {
        Value::Sequence(elements) => elements.iter().map(one).collect(),
        Value::Mapping(_) | Value::Scalar(_) => one(node).map(|matcher| vec![matcher]),
    }
}

/// Base64 or plain `data` of a script file.
pub(crate) fn file_data(text: &str, binary: bool) -> Option<Arc<[u8]>> {
    if binary { decode_base64(text).map(Arc::from) } else { Some(Arc::from(text.as_bytes())) }
}

pub(crate) fn whole_number(scalar: &Scalar) -> Option<u64> {
    match scalar.kind {
        ScalarType::Integer(number) => u64::try_from(number).ok(),
        // `1e3` and `5.0` are whole to JSON readers, and so to the schemas.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and in range"
        )]
        ScalarType::Float(number) if number.fract() == 0.0 && (0.0..9e15).contains(&number) => {
            Some(number as u64)
        }
        _ => None,
    }
}

pub(crate) fn number(scalar: &Scalar) -> Option<f64> {
    match scalar.kind {
        #[expect(clippy::cast_precision_loss, reason = "a number of the configuration")]
        ScalarType::Integer(number) => Some(number as f64),
        ScalarType::Float(number) => Some(number),
        _ => None,
    }
}

/// A duration; `None` when the YAML type cannot be one.
pub(crate) fn duration(scalar: &Scalar) -> Option<Result<Duration, InvalidValue>> {
    match scalar.kind {
        ScalarType::String => Some(duration::parse(&scalar.text)),
        ScalarType::Integer(number) => Some(duration::parse(&number.to_string())),
        ScalarType::Float(number) => Some(
            Duration::try_from_secs_f64(number)
                .ok()
                .filter(|duration| *duration <= duration::MAX)
                .ok_or(InvalidValue::new("a duration of at most ten years")),
        ),
        ScalarType::Bool(_) | ScalarType::Null => None,
    }
}

/// A size; `None` when the YAML type cannot be one.
pub(crate) fn size(scalar: &Scalar) -> Option<Result<Size, InvalidValue>> {
    match scalar.kind {
        ScalarType::String => Some(scalar.text.parse()),
        ScalarType::Integer(_) | ScalarType::Float(_) => {
            whole_number(scalar).map(|octets| octets.to_string().parse())
        }
        ScalarType::Bool(_) | ScalarType::Null => None,
    }
}

/// A rate; `None` when the YAML type cannot be one.
pub(crate) fn rate(scalar: &Scalar) -> Option<Result<Rate, InvalidValue>> {
    match scalar.kind {
        ScalarType::String => Some(scalar.text.parse()),
        ScalarType::Integer(_) | ScalarType::Float(_) => {
            whole_number(scalar).map(|count| count.to_string().parse())
        }
        ScalarType::Bool(_) | ScalarType::Null => None,
    }
}

/// `major.minor`.
pub(crate) fn version(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.')?;
    let part = |part: &str| {
        let digits =
            matches!(part.len(), 1..=3) && part.bytes().all(|digit| digit.is_ascii_digit());
        part.parse().ok().filter(|_| digits)
    };
    Some(Version { major: part(major)?, minor: part(minor)? })
}

/// `address:port` (IPv6 in brackets), or an address alone for the DNS port.
pub(crate) fn socket_address(text: &str) -> Option<SocketAddr> {
    let bare = || text.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 53));
    text.parse().ok().or_else(bare).filter(|address: &SocketAddr| address.port() != 0)
}

/// Findings after which nobody reads on.
const MAX_DIAGNOSTICS: usize = 1000;
