//! A YAML document as positioned values: what plugins receive and what the readers walk.
//!
//! Scalars keep their text **as written** (after unquoting) beside the type that YAML gives them, keys
//! keep the order of the file, and every node knows where it stands.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// One value with its place in the file.
///
/// Children are shared, so that a subtree (a plugin's `config`) is handed out without a copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where the value starts.
    pub position: Position,
    /// A tag that is not of YAML's core schema, such as `!Env`.
    pub tag: Option<Arc<str>>,
    /// The value.
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Keys and values in file order. Keys are unique.
    Mapping(Vec<Entry>),
    /// Values in file order.
    Sequence(Vec<Arc<Node>>),
    /// Anything else.
    Scalar(Scalar),
}

/// One key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key as a scalar node of its own.
    pub key: Arc<Node>,
    /// The value.
    pub value: Arc<Node>,
}

/// A scalar as written, with the type YAML 1.2's core schema gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The text after unquoting and unfolding; `0640` stays `0640`.
    pub text: Arc<str>,
    /// The YAML type; quoted and block scalars are always [`ScalarType::String`].
    pub kind: ScalarType,
}

/// The type of a scalar by YAML's core schema (YAML 1.2.2 §10.3.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScalarType {
    /// `true` or `false`.
    Bool(bool),
    /// A floating point number, or an integer beyond 64 bits.
    Float(f64),
    /// A whole number from `i64::MIN` to `u64::MAX`.
    Integer(i128),
    /// Nothing, `~` or `null`.
    Null,
    /// Text.
    String,
}

/// A place in a file, counted from one; column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from one; zero when the place is the file as a whole.
    pub line: u32,
    /// Column in characters, from one.
    pub column: u32,
}

impl Node {
    /// A shared empty mapping, for plugins without `config`.
    #[must_use]
    pub fn empty_mapping() -> Arc<Self> {
        static EMPTY: OnceLock<Arc<Node>> = OnceLock::new();
        Arc::clone(EMPTY.get_or_init(|| {
            Arc::new(Self {
                position: Position::default(),
                tag: None,
                value: Value::Mapping(Vec::new()),
            })
        }))
    }

    /// The member called `key`, when this is a mapping that has it.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&Arc<Self>> {
        self.entries().iter().find(|entry| entry.name() == key).map(|entry| &entry.value)
    }

    /// The entries in file order; none when this is no mapping.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            Value::Sequence(_) | Value::Scalar(_) => &[],
        }
    }

    /// The elements in file order; none when this is no sequence.
    #[must_use]
    pub fn elements(&self) -> &[Arc<Self>] {
        match &self.value {
            Value::Sequence(elements) => elements,
            Value::Mapping(_) | Value::Scalar(_) => &[],
        }
    }

    /// The scalar, when this is one.
    #[must_use]
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::Mapping(_) | Value::Sequence(_) => None,
        }
    }

    /// The text of a scalar as written; `None` for mappings and sequences.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| &*scalar.text)
    }

    /// Tells whether this is nothing: `~`, `null` or an empty value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.kind == ScalarType::Null)
    }

    /// The node at `path` below this one.
    #[must_use]
    pub fn at(&self, path: &KeyPath) -> Option<&Self> {
        path.segments().iter().try_fold(self, |node, segment| match segment {
            Segment::Key(key) => node.member(key).map(Arc::as_ref),
            Segment::Index(index) => node.elements().get(*index).map(Arc::as_ref),
        })
    }

    /// The place of `path`, or of the deepest existing node on the way to it.
    #[must_use]
    pub fn position_of(&self, path: &KeyPath) -> Position {
        let mut node = self;
        for segment in path.segments() {
            let next = match segment {
                Segment::Key(key) => node.member(key),
                Segment::Index(index) => node.elements().get(*index),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.position
    }

    /// The value as JSON with YAML's types: integers become numbers, quoted digits stay strings.
    ///
    /// Infinite and undefined floats, which JSON lacks, become strings as written. The order of keys
    /// is kept. Depth is bounded by what [`crate::yaml`] accepts.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Mapping(entries) => entries
                .iter()
                .map(|entry| (entry.name().to_owned(), entry.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Value::Sequence(elements) => elements.iter().map(|node| node.to_json()).collect(),
            Value::Scalar(scalar) => scalar.to_json(),
        }
    }

    /// The kind of value in words: `mapping`, `list`, `text`, `number`, …
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::Mapping(_) => "a mapping",
            Value::Sequence(_) => "a list",
            Value::Scalar(scalar) => match scalar.kind {
                ScalarType::Bool(_) => "a boolean",
                ScalarType::Float(_) => "a number",
                ScalarType::Integer(_) => "a whole number",
                ScalarType::Null => "nothing",
                ScalarType::String => "text",
            },
        }
    }
}

impl Entry {
    /// The key's text.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.text().unwrap_or_default()
    }
}

impl Scalar {
    fn to_json(&self) -> serde_json::Value {
        use serde_json::{Number, Value as Json};
        match self.kind {
            ScalarType::Bool(flag) => Json::Bool(flag),
            ScalarType::Float(float) => Number::from_f64(float)
                .map_or_else(|| Json::String(self.text.to_string()), Json::Number),
            ScalarType::Integer(number) => Number::from_i128(number)
                .map_or_else(|| Json::String(self.text.to_string()), Json::Number),
            ScalarType::Null => Json::Null,
            ScalarType::String => Json::String(self.text.to_string()),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The way from the top of a file to a value, printed as `servers[0].listeners[1].port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyPath(Vec<Segment>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Into a mapping.
    Key(Arc<str>),
    /// Into a sequence, from zero.
    Index(usize),
}

impl KeyPath {
    /// The top of a file.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The steps from the top.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// This path with one more key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(Arc::from(key)))
    }

    /// This path with one more index.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    let plain = !key.is_empty()
                        && key
                            .bytes()
                            .all(|octet| octet.is_ascii_alphanumeric() || b"_-".contains(&octet));
                    if plain {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
