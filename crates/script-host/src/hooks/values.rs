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

/// The flat variables of older scripts in which they see the sender, as [`address_forms`] wants them.
pub const SENDER: [&str; 3] = ["sender", "senderlocalpart", "senderdomain"];

/// Those of a recipient.
pub const RECIPIENT: [&str; 3] = ["recipient", "recipientlocalpart", "recipientdomain"];

/// The three forms in which older scripts see an address: lower case, local part, domain.
pub fn address_forms(names: [&'static str; 3], address: &Address) -> [(&'static str, Value); 3] {
    let [whole, local, domain] = names;
    [
        (whole, Value::from(address.to_lowercase())),
        (local, Value::from(address.local())),
        (domain, Value::from(address.domain())),
    ]
}

/// Reads ESMTP parameters that a script gives; one that is true, or none, has no value.
///
/// # Errors
///
/// Says which one cannot be a parameter.
pub fn parse_parameters(array: &Array) -> Result<Parameters, Thrown> {
    let mut out = Parameters::default();
    for (key, value) in array.iter() {
        let key = text(&key.to_value());
        let value = (!matches!(value, Value::Bool(true) | Value::None)).then(|| text(value));
        out.push(&key, value.as_deref())
            .map_err(|cause| Thrown::new(format!("parameter {key}: {cause}")))?;
    }
    Ok(out)
}

/// Tells whether a client can have greeted with this name.
pub fn is_hello_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic())
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
    if address.is_null() { Err(no_recipient()) } else { Ok(address) }
}

/// What is thrown for the null path where a recipient is wanted.
pub fn no_recipient() -> Thrown {
    Thrown::new("not an address: it is empty")
}

/// A value as text; octets that are no UTF-8 are replaced.
pub fn text(value: &Value) -> String {
    String::from_utf8_lossy(hsl::ops::to_text(value).as_bytes()).into_owned()
}

/// A number, or a text that is wholly one in decimal notation.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::String(text) => {
            text.as_text()?.parse().ok().filter(|number: &f64| number.is_finite())
        }
        _ => None,
    }
}

/// A value as data: what JSON has no form for (functions, objects, resources) as text.
pub fn as_data(value: Value) -> Value {
    match value {
        Value::Array(array) => {
            let mut out = Array::new();
            for (key, value) in array.iter() {
                out.insert(key, as_data(value.clone()));
            }
            Value::Array(out)
        }
        Value::None | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
        other => Value::from(text(&other)),
    }
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

/// What lies below a value at the end of a path of keys; none counts as absent.
pub fn below(value: &Value, path: &[&str]) -> Option<Value> {
    let Some((key, rest)) = path.split_first() else {
        return (!value.is_none()).then(|| value.clone());
    };
    let Value::Array(array) = value else { return None };
    below(array.get_text(key)?, rest)
}

/// Sets a text key.
pub fn put(array: &mut Array, key: &str, value: impl Into<Value>) {
    array.insert(Key::from(key), value.into());
}
