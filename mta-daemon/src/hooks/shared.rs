//! Values that several hooks show to scripts: `$connection`, `$transaction`, addresses, parameters.

use hsl::host::Thrown;
use hsl::{Array, Key, Value};
use mta_types::{Address, TransactionId};
use smtp::parameters::Parameters;

use crate::inbound::facts::{Facts, RecipientFacts, TransactionFacts};

/// `$connection`.
pub(crate) fn connection(facts: &Facts) -> Value {
    let mut out = Array::with_capacity(12);
    put(&mut out, "id", facts.id.to_string());
    if let Some(ends) = facts.ends {
        put(&mut out, "remoteip", ends.remote.ip().to_string());
        put(&mut out, "remoteport", f64::from(ends.remote.port()));
        put(&mut out, "localip", ends.local.ip().to_string());
        put(&mut out, "localport", f64::from(ends.local.port()));
    }
    if let Some(uid) = facts.remoteuid {
        put(&mut out, "remoteuid", f64::from(uid));
    }
    if let Some(name) = &facts.remoteptr {
        put(&mut out, "remoteptr", name.as_str());
    }
    put(&mut out, "serverid", facts.serverid.as_str());
    if let Some((verb, host)) = &facts.helo {
        let helo = [("verb", Value::from(verb.as_str())), ("host", Value::from(host.as_str()))];
        put(&mut out, "helo", Value::map(helo));
    }
    if let Some(session) = &facts.tls {
        let mut tls = Array::new();
        put(&mut tls, "started", true);
        put(&mut tls, "protocol", session.protocol);
        put(&mut tls, "cipher", session.cipher.as_str());
        put(&mut tls, "keysize", f64::from(session.keysize));
        if let Some(sni) = &session.sni {
            put(&mut tls, "sni", sni.as_str());
        }
        if let Some(peer) = hsl_std::keys::peer_certificate(&session.peer_certificates) {
            put(&mut tls, "peercert", peer);
        }
        put(&mut out, "tls", Value::Array(tls));
    }
    if let Some(auth) = &facts.auth {
        let mut value = Array::new();
        put(&mut value, "mechanism", auth.mechanism.as_str());
        if let Some(username) = &auth.username {
            put(&mut value, "username", Value::string(username));
        }
        put(&mut out, "auth", Value::Array(value));
    }
    Value::Array(out)
}

/// `$arguments["queue"]`: what a queue plugin returned.
pub(crate) fn plugin_return(returned: Value) -> Value {
    Value::map([("plugin", Value::map([("return", returned)]))])
}

/// `$transaction`; grows as the conversation goes on.
pub(crate) fn transaction(
    id: TransactionId,
    facts: Option<&TransactionFacts>,
    ts: Option<f64>,
) -> Value {
    let mut out = Array::with_capacity(6);
    put(&mut out, "id", id.to_string());
    if let Some(facts) = facts {
        put(&mut out, "sender", facts.sender.to_lowercase());
        put(&mut out, "senderaddress", address(&facts.sender));
        put(&mut out, "senderparams", parameters(&facts.params));
        put(&mut out, "recipients", Value::list(facts.recipients.iter().map(recipient)));
    }
    if let Some(ts) = ts {
        put(&mut out, "ts", ts);
    }
    Value::Array(out)
}

/// An item of `$transaction["recipients"]`.
pub(crate) fn recipient(facts: &RecipientFacts) -> Value {
    let mut out = Array::with_capacity(5);
    put(&mut out, "recipient", facts.address.to_lowercase());
    put(&mut out, "address", address(&facts.address));
    put(&mut out, "params", parameters(&facts.params));
    // Compat: the manual of 5.3 calls the same array by this name.
    put(&mut out, "recipientparams", parameters(&facts.params));
    if let Some(transport) = &facts.transportid {
        put(&mut out, "transportid", transport.as_str());
    }
    Value::Array(out)
}

/// An address as scripts see it: `localpart` and `domain` in their original case.
pub(crate) fn address(address: &Address) -> Value {
    Value::map([
        ("localpart", Value::from(address.local())),
        ("domain", Value::from(address.domain())),
    ])
}

/// ESMTP parameters: upper-case keys; a parameter without value is true.
pub(crate) fn parameters(parameters: &Parameters) -> Value {
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
pub(crate) fn parse_address(value: &Value) -> Result<Address, Thrown> {
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
pub(crate) fn parse_recipient(value: &Value) -> Result<Address, Thrown> {
    let address = parse_address(value)?;
    if address.is_null() { Err(Thrown::new("not an address: it is empty")) } else { Ok(address) }
}

/// A value as text; octets that are no UTF-8 are replaced.
pub(crate) fn text(value: &Value) -> String {
    String::from_utf8_lossy(hsl::ops::to_text(value).as_bytes()).into_owned()
}

/// An array as pairs of texts.
pub(crate) fn text_pairs(array: &Array) -> Vec<(String, String)> {
    array.iter().map(|(key, value)| (text(&key.to_value()), text(value))).collect()
}

/// Metadata from an array.
pub(crate) fn metadata(array: &Array) -> queue::Metadata {
    let pairs = text_pairs(array);
    pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Octets as hexadecimal digits, lower case.
pub(crate) fn hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut out, octet| {
        // Writing to a string does not fail.
        let _ = write!(out, "{octet:02x}");
        out
    })
}

/// Sets a text key.
pub(crate) fn put(array: &mut Array, key: &str, value: impl Into<Value>) {
    array.insert(Key::from(key), value.into());
}
