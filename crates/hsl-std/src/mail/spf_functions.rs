//! `spf_query`, and `spf` by its old name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hsl::host::{NativeStep, Registry, Thrown};
use hsl::value::Value;

use super::spf::{Check, Outcome};
use crate::args::{self, Options};
use crate::services::{Resolver, Services};

/// Registers both.
pub(super) fn register(registry: &mut Registry, services: &Services) {
    let resolver = Arc::clone(&services.resolver);
    registry.function(
        "spf_query(string ip, string helo, string domain [, array options]) -> array",
        "whether a host may send for a domain or sender; options timeout, servers",
        move |_, args| {
            let check = check(&resolver, args)?;
            Ok::<_, Thrown>(NativeStep::suspend(async move { Ok(words(run(check).await)) }))
        },
    );
    let resolver = Arc::clone(&services.resolver);
    registry.function(
        "spf(string ip, string helo, string domain [, array options]) -> number or array",
        "old name of spf_query: 0 pass, 20 softfail, 50 unknown, 100 fail; option extended_result",
        move |_, args| {
            let extended = Options::new(args, 3).boolean("extended_result", false)?;
            let check = check(&resolver, args)?;
            Ok::<_, Thrown>(NativeStep::suspend(async move {
                let outcome = run(check).await;
                Ok(if extended { words(outcome) } else { Value::Number(number(outcome)) })
            }))
        },
    );
}

/// The check that was asked for; `None` when the address is none.
fn check(resolver: &Arc<dyn Resolver>, args: &[Value]) -> Result<Option<Check>, Thrown> {
    let options = Options::new(args, 3);
    let text = |at| String::from_utf8_lossy(args::bytes(args, at)).into_owned();
    let Ok(ip) = text(0).parse::<IpAddr>() else { return Ok(None) };
    let (helo, given) = (text(1), text(2));
    let (local, domain) = match given.rsplit_once('@') {
        Some((local, domain)) if !domain.is_empty() => (local, domain),
        Some(_) => ("", helo.as_str()),
        // RFC 7208 §2.4: without a sender the host answers for itself.
        None if given.is_empty() => ("", helo.as_str()),
        None => ("", given.as_str()),
    };
    let local = if local.is_empty() { "postmaster" } else { local };
    let sender = (local.to_owned(), domain.to_owned());
    let mut check = Check::new(Arc::clone(resolver), ip, helo.clone(), sender);
    if let Some(seconds) = options.number("timeout")? {
        check.timeout = Duration::try_from_secs_f64(seconds)
            .map_err(|_| Thrown::new("option \"timeout\" must be a number of seconds"))?;
    }
    if let Some(list) = options.array("servers")? {
        for server in list.values() {
            let address = server.as_text().and_then(|text| text.parse::<IpAddr>().ok());
            check.servers.push(address.ok_or_else(|| {
                Thrown::new("option \"servers\" must be an array of IP addresses")
            })?);
        }
    }
    Ok(Some(check))
}

async fn run(check: Option<Check>) -> Option<Outcome> {
    match check {
        Some(check) => Some(check.run().await),
        None => None,
    }
}

fn words(outcome: Option<Outcome>) -> Value {
    let word = outcome.map_or("invalid", Outcome::as_str);
    Value::map([("result", Value::from(word))])
}

const fn number(outcome: Option<Outcome>) -> f64 {
    match outcome {
        Some(Outcome::Pass) => 0.0,
        Some(Outcome::SoftFail) => 20.0,
        Some(Outcome::Fail) => 100.0,
        _ => 50.0,
    }
}
