//! Keys, how they are looked for, and their hashes.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use super::set::strict_hash;
use crate::value::string::Short;
use crate::value::{Str, Value, number};

/// A key of an array.
#[derive(Clone, Debug)]
pub enum Key {
    /// A number, truncated to 32 bits; also booleans and strings that hold an integer.
    Int(i32),
    /// Any other string.
    Str(Str),
    /// Any other value, as it is. Never a boolean, number, string.
    Other(Box<Value>),
}

impl Key {
    /// Turns a value into the key it stands for.
    #[inline]
    pub fn from_value(value: &Value) -> Self {
        match value {
            Value::Number(number) => Self::Int(number::to_i32(*number)),
            Value::String(text) => match integer_text(text) {
                Some(number) => Self::Int(number),
                None => Self::Str(text.clone()),
            },
            Value::Bool(value) => Self::Int(i32::from(*value)),
            other => Self::Other(Box::new(other.clone())),
        }
    }

    /// Turns the key into a value.
    #[inline]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Int(number) => Value::Number(f64::from(*number)),
            Self::Str(text) => Value::String(text.clone()),
            Self::Other(value) => (**value).clone(),
        }
    }

    /// Returns the bytes of a string key.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Str(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    pub(super) fn hash(&self) -> u32 {
        match self {
            Self::Int(number) => hash_int(*number),
            Self::Str(text) => hash_str(text),
            Self::Other(value) => strict_hash(value) as u32,
        }
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Other(a), Self::Other(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Key {}

impl From<i32> for Key {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<&[u8]> for Key {
    fn from(text: &[u8]) -> Self {
        integer_text(text).map_or_else(|| Self::Str(Str::new(text)), Self::Int)
    }
}

impl From<Str> for Key {
    fn from(text: Str) -> Self {
        integer_text(&text).map_or_else(|| Self::Str(text), Self::Int)
    }
}

impl From<&Value> for Key {
    fn from(value: &Value) -> Self {
        Self::from_value(value)
    }
}

/// A key looked up without making one.
#[derive(Clone, Copy)]
pub(super) enum Probe<'a> {
    Int(i32),
    Bytes(&'a [u8]),
    Name(&'a Str),
    Key(&'a Key),
}

impl Probe<'_> {
    #[inline]
    pub(super) fn matches(self, key: &Key) -> bool {
        match (self, key) {
            (Self::Int(a), Key::Int(b)) => a == *b,
            (Self::Bytes(a), Key::Str(b)) => a == b.as_bytes(),
            (Self::Name(a), Key::Str(b)) => a == b,
            (Self::Key(a), b) => a == b,
            _ => false,
        }
    }

    pub(super) fn hash(self) -> u32 {
        match self {
            Self::Int(number) => hash_int(number),
            Self::Bytes(text) => hash_bytes(text),
            Self::Name(text) => hash_str(text),
            Self::Key(key) => key.hash(),
        }
    }
}

/// Returns the integer that `text` is the canonical decimal form of.
#[inline]
pub(super) fn integer_text(text: &[u8]) -> Option<i32> {
    let digits = match text {
        [b'-', rest @ ..] => rest,
        _ => text,
    };
    // Most keys are words: one look at the first octet settles it.
    let first = *digits.first()?;
    if !first.is_ascii_digit() || digits.len() > 10 || (first == b'0' && text.len() > 1) {
        return None;
    }
    let mut sum: i64 = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        sum = sum * 10 + i64::from(byte - b'0');
    }
    i32::try_from(if digits.len() < text.len() { -sum } else { sum }).ok()
}

/// Keys come from peers (header names, addresses), so the hash is seeded per process.
pub(super) static SEED: LazyLock<hashbrown::DefaultHashBuilder> =
    LazyLock::new(hashbrown::DefaultHashBuilder::default);

fn hash_int(number: i32) -> u32 {
    SEED.hash_one(number) as u32
}

fn hash_bytes(text: &[u8]) -> u32 {
    match Short::new(text) {
        Some(short) => hash_short(short),
        None => SEED.hash_one(text) as u32,
    }
}

#[inline]
fn hash_str(text: &Str) -> u32 {
    match text.as_short() {
        Some(short) => hash_short(short),
        None => SEED.hash_one(text.as_bytes()) as u32,
    }
}

/// Most keys are short: hashed as one number.
#[inline]
fn hash_short(short: Short) -> u32 {
    SEED.hash_one(short.packed()) as u32
}
