//! The class `X509CRL`.

use std::sync::{Arc, LazyLock};

use hsl::host::Thrown;
use hsl::value::{Class, Key, Object, Resource, Value};
use openssl::x509::{CrlReason, ReasonCode, X509Crl, X509CrlRef};

use crate::args::{self, Options};
use crate::der;

/// A list; libcrypto's cannot be copied, so resources and objects share it.
type Shared = Arc<X509Crl>;

/// The list behind an `X509CRLResource` or an `X509CRL` object.
pub(super) fn of(value: &Value) -> Option<Shared> {
    match value {
        Value::Resource(resource) => Some(Shared::clone(&*resource.get::<Shared>()?)),
        Value::Object(object) => Some(Shared::clone(&*object.state::<Shared>()?)),
        _ => None,
    }
}

fn object(list: X509Crl) -> Value {
    Value::Object(Object::new(class(), Shared::new(list)))
}

/// The class.
pub(super) fn class() -> &'static Class {
    static CLASS: LazyLock<Class> = LazyLock::new(|| {
        let mut class = Class::builder("X509CRL", "a list of revoked certificates");
        class
            .measure_with(|list: &Shared, measure| {
                measure.shared(list, || {
                    LIST_OCTETS + list.get_revoked().map_or(0, |all| all.len()) * REVOKED_OCTETS
                });
            })
            .constructor(
                "X509CRL(X509CRLResource x509crl) -> X509CRL",
                "a list of a resource",
                |ctx, args| {
                    let list = args.first().and_then(of);
                    let list =
                        list.ok_or_else(|| Thrown::new("X509CRL() needs an X509CRLResource"))?;
                    ctx.new_object(Shared::clone(&list))
                },
            )
            .static_function(
                "String(string data [, array options]) -> X509CRL or none",
                "a list in DER or PEM; option pem",
                |ctx, args| {
                    let data = args::bytes(args, 0);
                    // Some 40 octets are an entry.
                    let entries = (data.len() / 40).saturating_mul(REVOKED_OCTETS);
                    ctx.charge_memory(entries.saturating_add(LIST_OCTETS))?;
                    let list = match Options::new(args, 1).boolean("pem", false)? {
                        true => X509Crl::from_pem(data),
                        false => X509Crl::from_der(data),
                    };
                    Ok::<_, Thrown>(list.map_or(Value::None, object))
                },
            )
            .method("issuer() -> array", "the issuer as pairs of name and value", |ctx, _| {
                Ok::<_, Thrown>(super::name(ctx.state_of_this::<Shared>()?.issuer_name()))
            })
            .method(
                "revoked() -> array",
                "the revoked certificates: serial_number, reason, date",
                |ctx, _| {
                    let list = ctx.state_of_this::<Shared>()?;
                    let count = list.get_revoked().map_or(0, |revoked| revoked.len());
                    ctx.charge_memory(count * ENTRY_OCTETS)?;
                    ctx.charge_fuel(count as u64);
                    Ok::<_, Thrown>(revoked(&list))
                },
            )
            .method("version() -> number", "the version, 2 for all of today", |ctx, _| {
                let der = ctx.state_of_this::<Shared>()?.to_der().unwrap_or_default();
                Ok::<_, Thrown>(version(&der).unwrap_or(1.0))
            })
            .method("last_update() -> number", "a Unix time", |ctx, _| {
                Ok::<_, Thrown>(super::unix_time(ctx.state_of_this::<Shared>()?.last_update()))
            })
            .method("next_update() -> number or none", "a Unix time", |ctx, _| {
                let list = ctx.state_of_this::<Shared>()?;
                Ok::<_, Thrown>(list.next_update().map_or(Value::None, super::unix_time))
            })
            .method(
                "export([array options]) -> string",
                "the list in DER; option pem",
                |ctx, args| {
                    let is_pem = Options::new(args, 0).boolean("pem", false)?;
                    let list = ctx.state_of_this::<Shared>()?;
                    let text = if is_pem { list.to_pem() } else { list.to_der() };
                    text.map(Value::from).map_err(|_| Thrown::new("the list is unreadable"))
                },
            )
            .method(
                "extensions([array options]) -> array",
                "the extensions: oid, name, critical, value (raw)",
                |ctx, _| {
                    let der = ctx.state_of_this::<Shared>()?.to_der().unwrap_or_default();
                    Ok::<_, Thrown>(extensions(&der).unwrap_or_else(|| Value::list([])))
                },
            )
            .method("toResource() -> X509CRLResource", "the resource", |ctx, _| {
                let list = ctx.state_of_this::<Shared>()?;
                let resource = Resource::new("X509CRLResource", Shared::clone(&list));
                Ok::<_, Thrown>(Value::Resource(resource))
            });
        class.build()
    });
    &CLASS
}

fn revoked(list: &X509CrlRef) -> Value {
    Value::list(list.get_revoked().into_iter().flatten().map(|entry| {
        let reason = entry.extension::<ReasonCode>().ok().flatten().and_then(|(_, reason)| {
            let number = reason.get_i64().ok()?;
            reason_name(i32::try_from(number).ok()?)
        });
        Value::map(
            [
                ("serial_number", super::serial_number(entry.serial_number())),
                ("reason", reason.into()),
                ("date", super::unix_time(entry.revocation_date())),
            ]
            .map(|(name, value)| (Key::from(name), value)),
        )
    }))
}

/// By RFC 5280 §5.3.1.
fn reason_name(number: i32) -> Option<&'static str> {
    let names = [
        (CrlReason::UNSPECIFIED, "unspecified"),
        (CrlReason::KEY_COMPROMISE, "keyCompromise"),
        (CrlReason::CA_COMPROMISE, "cACompromise"),
        (CrlReason::AFFILIATION_CHANGED, "affiliationChanged"),
        (CrlReason::SUPERSEDED, "superseded"),
        (CrlReason::CESSATION_OF_OPERATION, "cessationOfOperation"),
        (CrlReason::CERTIFICATE_HOLD, "certificateHold"),
        (CrlReason::REMOVE_FROM_CRL, "removeFromCRL"),
        (CrlReason::PRIVILEGE_WITHDRAWN, "privilegeWithdrawn"),
        (CrlReason::AA_COMPROMISE, "aACompromise"),
    ];
    names.iter().find(|(reason, _)| reason.as_raw() == number).map(|(_, name)| *name)
}

fn version(der: &[u8]) -> Option<f64> {
    let mut fields = der::Reader::new(der).next()?.items().field(der::SEQUENCE)?.items();
    let &[number] = fields.field(der::INTEGER)?.content else { return None };
    Some(f64::from(number) + 1.0)
}

fn extensions(der: &[u8]) -> Option<Value> {
    let fields = der::Reader::new(der).next()?.items().field(der::SEQUENCE)?.items();
    let mut fields = fields.skip_while(|field| field.tag != der::CONTEXT_0);
    Some(super::extensions(fields.next()?.items().field(der::SEQUENCE)?))
}

/// About what a list without entries occupies in libcrypto, and what an entry adds.
const LIST_OCTETS: usize = 4096;
const REVOKED_OCTETS: usize = 400;
/// About what one entry of `revoked()` occupies.
const ENTRY_OCTETS: usize = 400;
