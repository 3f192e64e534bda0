//! X.509 chapter: the classes `X509` and `X509CRL` over libcrypto's own types.
//!
//! The state of an object is the certificate itself, so native plugins recognise objects and
//! resources alike. Both classes are the same for every set of functions in the process: data
//! imports make objects of them at compile time.

mod certificate;
mod crl;
mod verify;

use hsl::host::{Registry, Thrown};
use hsl::value::{Key, Object, Value};
use openssl::asn1::{Asn1IntegerRef, Asn1Time, Asn1TimeRef};
use openssl::nid::Nid;
use openssl::x509::X509NameRef;

use crate::args::Options;
use crate::der;
use crate::keys::{self, Certificate, KeyError};

/// Registers the classes.
pub(crate) fn register(registry: &mut Registry) {
    registry.add_class(certificate::class().clone());
    registry.add_class(crl::class().clone());
}

/// An `X509` object.
pub fn object(certificate: Certificate) -> Value {
    Value::Object(Object::new(certificate::class(), certificate))
}

/// The certificates in an option that is a list of resources or objects; empty when it is not given.
pub(crate) fn list(options: Options<'_>, name: &str) -> Result<Vec<Certificate>, Thrown> {
    let Some(array) = options.array(name)? else { return Ok(Vec::new()) };
    certificates(array.values(), name)
}

fn certificates<'a>(
    values: impl Iterator<Item = &'a Value>,
    name: &str,
) -> Result<Vec<Certificate>, Thrown> {
    let read =
        |value| keys::certificate_of(value).map(|certificate| Certificate::clone(&certificate));
    let list: Option<Vec<_>> = values.map(read).collect();
    list.ok_or_else(|| Thrown::new(format!("{name} must be an array of X509 resources or objects")))
}

/// What `import $x from "file.crt"` gives: objects, or with `resource` resources.
pub(crate) fn import(text: &[u8], as_resources: bool) -> Result<Value, KeyError> {
    let make = if as_resources { keys::certificate_value } else { object };
    Ok(Value::list(keys::certificates_from_pem(text)?.into_iter().map(make)))
}

/// Whether a certificate carries a name (RFC 6125) or address, whoever signed it.
pub(crate) fn is_for_name(certificate: &Certificate, name: &str) -> bool {
    verify::is_for_name(certificate, name).unwrap_or(false)
}

/// The parts of a name as pairs of short name and value.
fn name(name: &X509NameRef) -> Value {
    Value::list(name.entries().map(|entry| {
        let kind = entry.object();
        let kind = match kind.nid() {
            Nid::UNDEF => Value::from(kind.to_string()),
            nid => Value::from(nid.short_name().map_or_else(|_| kind.to_string(), str::to_owned)),
        };
        // Texts of old kinds become UTF-8; what is no text stays as it is.
        let value = match entry.data().to_string() {
            Ok(text) => Value::from(text.as_bytes()),
            Err(_) => Value::from(entry.data().as_slice()),
        };
        Value::list([kind, value])
    }))
}

/// Seconds since 1970.
fn unix_time(time: &Asn1TimeRef) -> Value {
    let seconds = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time)).ok();
    seconds.map(|diff| f64::from(diff.days) * 86_400.0 + f64::from(diff.secs)).into()
}

/// In hex, as libcrypto prints it.
fn serial_number(serial: &Asn1IntegerRef) -> Value {
    let text = serial.to_bn().and_then(|number| number.to_hex_str());
    text.ok().map(|text| Value::from(text.as_bytes())).into()
}

/// The elements of `Extensions` (RFC 5280 §4.1) as arrays of `oid`, `name`, `critical` and `value`,
/// the last as raw octets.
fn extensions(list: der::Element<'_>) -> Value {
    let extensions = list.items().filter_map(|extension| {
        let mut fields = extension.items();
        let oid = der::oid_text(fields.field(der::OID)?.content);
        let critical = fields.field(der::BOOLEAN);
        let is_critical = critical.is_some_and(|flag| flag.content.iter().any(|octet| *octet != 0));
        let value = fields.field(der::OCTETS)?.content;
        let nid = openssl::asn1::Asn1Object::from_str(&oid).map_or(Nid::UNDEF, |oid| oid.nid());
        let name = match nid {
            Nid::UNDEF => oid.clone(),
            nid => nid.short_name().map_or_else(|_| oid.clone(), str::to_owned),
        };
        Some(Value::map(
            [
                ("oid", Value::from(oid)),
                ("name", Value::from(name)),
                ("critical", Value::Bool(is_critical)),
                ("value", Value::from(value)),
            ]
            .map(|(name, value)| (Key::from(name), value)),
        ))
    });
    Value::list(extensions)
}
