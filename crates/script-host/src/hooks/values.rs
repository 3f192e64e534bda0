//! Values that several hooks show to scripts or take from them: addresses, parameters, texts.

use hsl::host::Thrown;
use hsl::{Array, Key, Value};
use mta_types::Address;
use smtp::parameters::Parameters;

/// `$arguments["queue"]`: what a queue plugin returned.
pub fn plugin_return(returned: Value) -> Value {
    Value::map([("plugin", Value::map([("return", returned)]))])
}

/// An address as scripts see it: `localpart` and `domain` in their original case.
pub fn address(address: &Address) -> Value {
    Value::map([
        ("localpart", Value::from(address.local())),
        ("domain", Value::from(address.domain())),
    ])
}

/// ESMTP parameters: upper-case keys; a parameter without value is true.
pub fn parameters(parameters: &Parameters) -> Value {
    Value::map(
        parameters
            .iter()
            .map(|(key, value)| (Key::from(key), value.map_or(Value::Bool(true), Value::from))),
    )
}

/// Reads an address that a script gives: a string, or an array with `localpart` and `domain`.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn parse_address(value: &Value) -> Result<Address, Thrown> {
    let wrong = |cause: &dyn std::fmt::Display| Thrown::new(format!("not an address: {cause}"));
    let text = |value: Option<&Value>| match value {
        None | Some(Value::None) => Ok(String::new()),
        Some(Value::String(text)) => std::str::from_utf8(text.as_bytes())
            .map(str::to_owned)
            .map_err(|_| wrong(&"invalid UTF-8")),
        Some(_) => Err(wrong(&"localpart and domain are strings")),
    };
    match value {
        Value::String(_) => Address::parse(&text(Some(value))?).map_err(|cause| wrong(&cause)),
        Value::Array(parts) => {
            let local = text(parts.get_text("localpart"))?;
            let domain = text(parts.get_text("domain"))?;
            Address::new(&local, &domain).map_err(|cause| wrong(&cause))
        }
        _ => Err(wrong(&"it is neither a string nor an array")),
    }
}

/// Reads the address of a recipient, which cannot be the null path.
///
/// # Errors
///
/// As [`parse_address`].
pub fn parse_recipient(value: &Value) -> Result<Address, Thrown> {
    let address = parse_address(value)?;
    if address.is_null() { Err(Thrown::new("not an address: it is empty")) } else { Ok(address) }
}

/// A value as text; octets that are no UTF-8 are replaced.
pub fn text(value: &Value) -> String {
    String::from_utf8_lossy(hsl::ops::to_text(value).as_bytes()).into_owned()
}

/// An array as pairs of texts.
pub fn text_pairs(array: &Array) -> Vec<(String, String)> {
    array.iter().map(|(key, value)| (text(&key.to_value()), text(value))).collect()
}

/// Metadata from an array.
pub fn metadata(array: &Array) -> queue::Metadata {
    let pairs = text_pairs(array);
    pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Octets as hexadecimal digits, lower case.
pub fn hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut out, octet| {
        // Writing to a string does not fail.
        let _ = write!(out, "{octet:02x}");
        out
    })
}

/// Sets a text key.
pub fn put(array: &mut Array, key: &str, value: impl Into<Value>) {
    array.insert(Key::from(key), value.into());
}
