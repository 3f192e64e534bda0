//! The class `X509`.

use std::sync::LazyLock;

use foreign_types::ForeignType;
use hsl::host::Thrown;
use hsl::value::{Array, Class, Key, Value};
use openssl::x509::{GeneralNameRef, X509, X509Ref};

use super::verify;
use crate::args::{self, Options};
use crate::der;
use crate::ffi;
use crate::keys;

/// The class.
pub(super) fn class() -> &'static Class {
    static CLASS: LazyLock<Class> = LazyLock::new(|| {
        let mut class = Class::builder("X509", "a certificate");
        class
            .measure_with(|certificate: &X509, measure| {
                let octets = certificate.to_der().map_or(0, |der| der.len());
                measure.octets(CERTIFICATE_OCTETS + octets * OCTETS_PER_OCTET);
            })
            .constructor(
                "X509(X509Resource or X509 x509) -> X509",
                "the certificate of a resource or an object",
                |ctx, args| {
                    let certificate = args.first().and_then(keys::certificate_of);
                    let certificate =
                        certificate.ok_or_else(|| Thrown::new("X509() needs a certificate"))?;
                    ctx.new_object(X509::clone(&certificate))
                },
            )
            .static_function(
                "String(string data [, array options]) -> X509, array or none",
                "a certificate in DER or PEM, or a list of them; options pem, multiple",
                |ctx, args| {
                    let options = Options::new(args, 1);
                    let data = args::bytes(args, 0);
                    ctx.charge_memory(data.len().saturating_mul(OCTETS_PER_OCTET))?;
                    let is_many = options.boolean("multiple", false)?;
                    let list = match options.boolean("pem", false)? {
                        true => keys::certificates_from_pem(data).ok(),
                        false => {
                            let elements = der::Reader::new(data).map(|element| element.whole);
                            let list: Result<Vec<_>, _> = elements.map(X509::from_der).collect();
                            list.ok().filter(|list| !list.is_empty())
                        }
                    };
                    let count = list.as_ref().map_or(0, Vec::len);
                    ctx.charge_memory(count * CERTIFICATE_OCTETS)?;
                    Ok::<_, Thrown>(match list {
                        None => Value::None,
                        Some(list) if is_many => Value::list(list.into_iter().map(super::object)),
                        Some(list) => list.into_iter().next().map(super::object).into(),
                    })
                },
            )
            .method("subject() -> array", "the subject as pairs of name and value", |ctx, _| {
                Ok::<_, Thrown>(super::name(ctx.state_of_this::<X509>()?.subject_name()))
            })
            .method("issuer() -> array", "the issuer as pairs of name and value", |ctx, _| {
                Ok::<_, Thrown>(super::name(ctx.state_of_this::<X509>()?.issuer_name()))
            })
            .method(
                "subject_alt_name() -> array",
                "other names of the subject, lists by kind: DNS, email, URI, IP, DirName",
                |ctx, _| {
                    let certificate = ctx.state_of_this::<X509>()?;
                    Ok::<_, Thrown>(alternative_names(&certificate))
                },
            )
            .method(
                "toFFIValue() -> FFIValue",
                "an X509 pointer of libcrypto, good as long as the value lives",
                |ctx, _| {
                    ffi::check_allowed_by(ctx)?;
                    let certificate = X509::clone(&*ctx.state_of_this::<X509>()?);
                    let address = certificate.as_ptr() as usize;
                    Ok::<_, Thrown>(ffi::pointer_value(address, Box::new(certificate)))
                },
            )
            .method("version() -> number", "the version, 3 for all of today", |ctx, _| {
                Ok::<_, Thrown>(f64::from(ctx.state_of_this::<X509>()?.version()) + 1.0)
            })
            .method("serial_number() -> string", "the serial number in hex", |ctx, _| {
                Ok::<_, Thrown>(super::serial_number(ctx.state_of_this::<X509>()?.serial_number()))
            })
            .method("not_valid_before() -> number", "a Unix time", |ctx, _| {
                Ok::<_, Thrown>(super::unix_time(ctx.state_of_this::<X509>()?.not_before()))
            })
            .method("not_valid_after() -> number", "a Unix time", |ctx, _| {
                Ok::<_, Thrown>(super::unix_time(ctx.state_of_this::<X509>()?.not_after()))
            })
            .method(
                "public_key([array options]) -> string",
                "the public key (SubjectPublicKeyInfo) in DER; option pem",
                |ctx, args| {
                    let is_pem = Options::new(args, 0).boolean("pem", false)?;
                    let certificate = ctx.state_of_this::<X509>()?;
                    let key = certificate.public_key().and_then(|key| {
                        if is_pem { key.public_key_to_pem() } else { key.public_key_to_der() }
                    });
                    key.map(Value::from).map_err(|_| Thrown::new("the public key is unreadable"))
                },
            )
            .method(
                "export([array options]) -> string",
                "the certificate in DER; option pem",
                |ctx, args| {
                    let is_pem = Options::new(args, 0).boolean("pem", false)?;
                    let certificate = ctx.state_of_this::<X509>()?;
                    let text = if is_pem { certificate.to_pem() } else { certificate.to_der() };
                    text.map(Value::from).map_err(|_| Thrown::new("the certificate is unreadable"))
                },
            )
            .method(
                "verify(array calist [, array intermediates [, array revokelist]]) -> array",
                "whether an authority of the list signed it: result, error",
                verify::verify,
            )
            .method(
                "extensions([array options]) -> array",
                "the extensions: oid, name, critical, value (raw)",
                |ctx, _| {
                    let der = ctx.state_of_this::<X509>()?.to_der();
                    Ok::<_, Thrown>(
                        der.ok()
                            .and_then(|der| extensions(&der))
                            .unwrap_or_else(|| Value::list([])),
                    )
                },
            )
            .method("toResource() -> X509Resource", "the resource", |ctx, _| {
                let certificate = ctx.state_of_this::<X509>()?;
                Ok::<_, Thrown>(keys::certificate_value(X509::clone(&certificate)))
            });
        class.build()
    });
    &CLASS
}

fn extensions(der: &[u8]) -> Option<Value> {
    let fields = der::Reader::new(der).next()?.items().field(der::SEQUENCE)?.items();
    let mut fields = fields.skip_while(|field| field.tag != der::CONTEXT_3);
    Some(super::extensions(fields.next()?.items().field(der::SEQUENCE)?))
}

fn alternative_names(certificate: &X509Ref) -> Value {
    let mut out = Array::new();
    for name in certificate.subject_alt_names().iter().flatten() {
        let Some((kind, value)) = alternative_name(name) else { continue };
        match out.entry(Key::from(kind)) {
            Value::Array(list) => {
                list.push(value);
            }
            slot => *slot = Value::list([value]),
        }
    }
    out.into()
}

fn alternative_name(name: &GeneralNameRef) -> Option<(&'static str, Value)> {
    if let Some(octets) = name.ipaddress() {
        let address = crate::inet::ntop(octets)?;
        return Some(("IP", address.into()));
    }
    if let Some(text) = name.dnsname() {
        return Some(("DNS", text.into()));
    }
    if let Some(text) = name.email() {
        return Some(("email", text.into()));
    }
    if let Some(text) = name.uri() {
        return Some(("URI", text.into()));
    }
    Some(("DirName", super::name(name.directory_name()?)))
}

/// About what a certificate occupies in libcrypto beyond its text, and what an octet of its text adds.
const CERTIFICATE_OCTETS: usize = 4096;
const OCTETS_PER_OCTET: usize = 4;
