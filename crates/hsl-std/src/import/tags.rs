//! Tags of imported YAML files: `!Map`, `!Set`, `!Regex`, `!PrivateKey`, `!X509`.
//!
//! A tagged node becomes an object or resource, once, when the script is compiled; as with every
//! imported value all executions share it. A tag that is not known is an error: its value would be
//! of another type than the author meant.

use hsl::value::Value;
use serde::de::{Deserialize, Deserializer, Error};
use serde_saphyr::Tagged;

use crate::data_types::{map_object, set_object};
use crate::encoding::yaml::{self, ValueVisitor};
use crate::{keys, regex, x509};

/// Reads a document with tags.
///
/// # Errors
///
/// A text that says what is wrong.
pub(super) fn decode(text: &[u8]) -> Result<Value, String> {
    yaml::decode_as::<Item>(text)
}

/// A node with its tag applied.
struct Item(Value);

impl From<Item> for Value {
    fn from(item: Item) -> Self {
        item.0
    }
}

/// A node without its tag.
struct Bare(Value);

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor::<Item>::new()).map(Self)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(Bare(value), tag) = Tagged::deserialize(deserializer)?;
        match tag.as_deref().and_then(|tag| tag.strip_prefix('!')) {
            // `!!str` and the like, which the reader has seen to.
            Some(tag) if !tag.starts_with('!') => {
                apply(tag, value).map(Self).map_err(D::Error::custom)
            }
            _ => Ok(Self(value)),
        }
    }
}

fn apply(tag: &str, value: Value) -> Result<Value, String> {
    match (tag, &value) {
        ("Map", Value::Array(array)) => {
            let entries = array.iter().map(|(key, value)| (key.to_value(), value.clone()));
            map_object(entries.collect()).map_err(|thrown| thrown.message())
        }
        ("Set", Value::Array(array)) => {
            set_object(array.values().cloned().collect()).map_err(|thrown| thrown.message())
        }
        ("Regex", Value::String(text)) => {
            regex::object(text.as_bytes()).map_err(|error| error.to_string())
        }
        ("PrivateKey", Value::String(text)) => keys::private_key_from_pem(text.as_bytes())
            .map(keys::private_key_value)
            .map_err(|error| error.to_string()),
        ("X509", Value::String(text)) => {
            let list = keys::certificates_from_pem(text.as_bytes());
            let first = list.map(|list| list.into_iter().next().map(x509::object));
            first.map(Value::from).map_err(|error| error.to_string())
        }
        ("Map" | "Set" | "Regex" | "PrivateKey" | "X509", other) => {
            Err(format!("!{tag} cannot be made of a {}", other.type_of().name()))
        }
        _ => Err(format!("there is no tag !{tag}")),
    }
}
