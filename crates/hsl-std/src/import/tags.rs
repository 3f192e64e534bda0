//! Tags of imported YAML files: `!Map`, `!Set`, `!Regex`, `!PrivateKey`, `!X509`, `!MailMessage`.
//!
//! A tagged node becomes an object or resource, once, when the script is compiled; as with every
//! imported value all executions share it. A tag that is not known is an error: its value would be
//! of another type than the author meant.

use hsl::host::HostSet;
use hsl::value::Value;

use crate::data_types::{map_object, set_object};
use crate::encoding::yaml::{self, Values};
use crate::{keys, mime, regex, x509};

/// Reads a document with tags.
///
/// # Errors
///
/// A text that says what is wrong.
pub(super) fn decode(text: &[u8], host: Option<&HostSet>) -> Result<Value, String> {
    // `!!str` and the like have been seen to by the reader.
    let wanted =
        |tag: &str| tag.strip_prefix('!').filter(|tag| !tag.starts_with('!')).map(str::to_owned);
    let mut steps = yaml::steps(text, wanted)?.into_iter();
    let mut values = Values::default();
    while let Some(tag) = values.run(&mut steps) {
        let value = values.take();
        values.put(apply(&tag, value, host)?);
    }
    Ok(values.finish())
}

fn apply(tag: &str, value: Value, host: Option<&HostSet>) -> Result<Value, String> {
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
        ("MailMessage", Value::String(text)) => mime::import(text.as_bytes(), host),
        ("Map" | "Set" | "Regex" | "PrivateKey" | "X509" | "MailMessage", other) => {
            Err(format!("!{tag} cannot be made of a {}", other.type_of().name()))
        }
        _ => Err(format!("there is no tag !{tag}")),
    }
}
