//! `X509->verify()`: a chain to an authority, and revocation lists over it.

use std::sync::Arc;

use hsl::host::{CallContext, Thrown};
use hsl::value::{Array, Key, Value};
use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{CrlStatus, X509, X509Crl, X509CrlRef, X509Ref, X509StoreContext};

use super::{certificates, crl};

/// The method.
pub(super) fn verify(ctx: &mut CallContext<'_>, args: &mut [Value]) -> Result<Value, Thrown> {
    let certificate = ctx.state_of_this::<X509>()?;
    let read = |at: usize, name: &str| {
        let array = args.get(at).and_then(Value::as_array);
        array.map_or(Ok(Vec::new()), |array| certificates(array.values(), name))
    };
    let authorities = read(0, "calist")?;
    let intermediates = read(1, "intermediates")?;
    let lists = match args.get(2).and_then(Value::as_array) {
        Some(array) => Some(revocation_lists(array)?),
        None => None,
    };
    ctx.charge_fuel(STEPS * (1 + authorities.len() + intermediates.len()) as u64);
    // The execution's clock, not the machine's: they differ only where time is made up.
    let now = i64::try_from(ctx.clock().unix_time().as_secs()).unwrap_or_default();
    let result = chain(&certificate, authorities, &intermediates, now)
        .map_err(|_| Thrown::new("the certificate cannot be checked"))?
        .and_then(|chain| match lists {
            Some(lists) => check_revocation(&chain, &lists, now).map_err(str::to_owned),
            None => Ok(()),
        });
    let fields = match result {
        Ok(()) => vec![("result", Value::Bool(true))],
        Err(error) => vec![("result", Value::Bool(false)), ("error", Value::from(error))],
    };
    Ok(Value::map(fields.into_iter().map(|(name, value)| (Key::from(name), value))))
}

fn revocation_lists(array: &Array) -> Result<Vec<Arc<X509Crl>>, Thrown> {
    let lists: Option<Vec<_>> = array.values().map(crl::of).collect();
    lists.ok_or_else(|| Thrown::new("revokelist must be an array of X509CRL resources or objects"))
}

/// The chain from the certificate to an authority, or why there is none.
fn chain(
    certificate: &X509Ref,
    authorities: Vec<X509>,
    intermediates: &[X509],
    now: i64,
) -> Result<Result<Vec<X509>, String>, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for authority in authorities {
        store.add_cert(authority)?;
    }
    let mut parameters = X509VerifyParam::new()?;
    // Whoever is in the list is trusted, self-signed or not.
    parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    parameters.set_time(now);
    store.set_param(&parameters)?;
    let mut pool = Stack::new()?;
    for intermediate in intermediates {
        pool.push(intermediate.clone())?;
    }
    let mut context = X509StoreContext::new()?;
    context.init(&store.build(), certificate, &pool, |context| {
        Ok(if context.verify_cert()? {
            let chain = context.chain().into_iter().flatten();
            Ok(chain.map(ToOwned::to_owned).collect())
        } else {
            Err(context.error().error_string().to_owned())
        })
    })
}

/// Whether a certificate carries a name or address.
pub(super) fn is_for_name(certificate: &X509Ref, name: &str) -> Result<bool, ErrorStack> {
    let mut parameters = X509VerifyParam::new()?;
    parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::NO_CHECK_TIME)?;
    match name.parse() {
        Ok(address) => parameters.set_ip(address)?,
        Err(_) => parameters.set_host(name)?,
    }
    // The certificate is its own authority here, so that only the name is judged.
    let mut store = X509StoreBuilder::new()?;
    store.add_cert(certificate.to_owned())?;
    store.set_param(&parameters)?;
    let none = Stack::new()?;
    X509StoreContext::new()?
        .init(&store.build(), certificate, &none, |context| context.verify_cert())
}

/// Checks each certificate against the lists of its issuer. There must be one for the first.
fn check_revocation(chain: &[X509], lists: &[Arc<X509Crl>], now: i64) -> Result<(), &'static str> {
    for (at, certificate) in chain.iter().enumerate() {
        let Some(issuer) = chain.get(at + 1).or_else(|| chain.last()) else { continue };
        let mut is_covered = false;
        for list in lists {
            if !is_of(list, certificate) {
                continue;
            }
            let key = issuer.public_key().map_err(|_| "unable to decode issuer public key")?;
            if !list.verify(&key).unwrap_or(false) {
                return Err("CRL signature failure");
            }
            check_times(list, now)?;
            is_covered = true;
            match list.get_by_cert(&certificate.to_owned()) {
                CrlStatus::Revoked(_) => return Err("certificate revoked"),
                CrlStatus::NotRevoked | CrlStatus::RemoveFromCrl(_) => {}
            }
        }
        if at == 0 && !is_covered {
            return Err("unable to get certificate CRL");
        }
    }
    Ok(())
}

fn is_of(list: &X509CrlRef, certificate: &X509Ref) -> bool {
    list.issuer_name().try_cmp(certificate.issuer_name()).is_ok_and(std::cmp::Ordering::is_eq)
}

fn check_times(list: &X509CrlRef, now: i64) -> Result<(), &'static str> {
    let now = Asn1Time::from_unix(now).map_err(|_| "format error in CRL's lastUpdate field")?;
    if list.last_update() > &*now {
        return Err("CRL is not yet valid");
    }
    if list.next_update().is_some_and(|next| next < &*now) {
        return Err("CRL has expired");
    }
    Ok(())
}

/// About what one more certificate costs in steps.
const STEPS: u64 = 200;
