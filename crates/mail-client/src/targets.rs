//! The addresses of the servers that a message may go to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::running::Destination;
use dns::mx::Route as MxRoute;
use dns::{Resolver, Security};

use crate::attempt::{AttemptError, ErrorKind};
use crate::plan::{Settings, Target};
use crate::tls::{self, Dane};
use crate::world::World;

/// The addresses to try for a recipient, best first; `seed` mixes exchangers of equal preference.
///
/// # Errors
///
/// There is nowhere to go, or the DNS could not be asked.
///
/// # Cancel safety
///
/// Dropping the future loses nothing but the answer.
pub async fn targets(
    world: &World,
    settings: &Settings,
    recipient: &mta_types::Address,
    seed: u64,
) -> Result<Vec<Target>, AttemptError> {
    if let Some(targets) = settings.fixed_targets() {
        return Ok(targets);
    }
    let domain = match &settings.destination {
        Destination::Host(host) => {
            let resolver = resolver(world, settings)?;
            return hosts(&resolver, settings, vec![host.to_string()], true).await;
        }
        _ => recipient.domain(),
    };
    if let Some(literal) = address_literal(domain) {
        let address = SocketAddr::new(literal, settings.port);
        return Ok(vec![Target { host: domain.into(), address, dane: None }]);
    }
    let resolver = resolver(world, settings)?;
    let domain = &ascii_domain(domain)?;
    let route = resolver.route(domain, seed).await.map_err(|error| dns_error(&error))?;
    let is_secure = route.security == Security::Secure;
    match route.value {
        MxRoute::NullMx => Err(AttemptError {
            kind: ErrorKind::DnsNullMx,
            temporary: false,
            message: format!("{domain} does not accept mail (null MX)"),
        }),
        MxRoute::Hosts(list) => {
            let allowed = |host: &str| {
                let covers = |list: &[String]| list.iter().any(|p| host_matches(p, host));
                (settings.mx_include.is_empty() || covers(&settings.mx_include))
                    && !covers(&settings.mx_exclude)
            };
            let names: Vec<String> =
                list.into_iter().map(|x| x.host).filter(|host| allowed(host)).collect();
            if names.is_empty() {
                return Err(AttemptError {
                    kind: ErrorKind::DnsExcluded,
                    temporary: true,
                    message: format!("no mail exchanger of {domain} may be used"),
                });
            }
            // Without MX records the domain is its own host, and vouches for itself.
            let is_secure = is_secure || matches!(names.as_slice(), [only] if only == domain);
            hosts(&resolver, settings, names, is_secure).await
        }
    }
}

/// The resolver, asking for authenticity where that matters.
fn resolver(world: &World, settings: &Settings) -> Result<Resolver, AttemptError> {
    if !settings.tls.mode.is_dane() {
        return Ok(world.resolver.clone());
    }
    world.resolver.authentic().map_err(|error| AttemptError {
        kind: ErrorKind::DnsOther,
        temporary: true,
        message: error.to_string(),
    })
}

/// The addresses of hosts in their order, of the families wanted.
///
/// `is_secure` says that DNSSEC vouches for the names.
async fn hosts(
    resolver: &Resolver,
    settings: &Settings,
    names: Vec<String>,
    is_secure: bool,
) -> Result<Vec<Target>, AttemptError> {
    let mut targets = Vec::new();
    let mut failure: Option<AttemptError> = None;
    for name in names.into_iter().take(MAX_HOSTS) {
        let want = |v4: bool| {
            let family = if v4 { settings.ipv4 } else { settings.ipv6 };
            let reachable = settings.sources.is_empty()
                || settings.sources.iter().any(|source| source.address.is_ipv4() == v4);
            family && reachable
        };
        let (v4, v6) = (want(true), want(false));
        match resolver.addresses(&name, v4, v6).await {
            Ok(found) => {
                let dane = match settings.tls.mode.is_dane() {
                    false => None,
                    true if is_secure && found.security == Security::Secure => {
                        Some(tls::look_up(resolver, &name, settings.port).await)
                    }
                    true => Some(Arc::new(Dane::Insecure)),
                };
                let host: Arc<str> = name.into();
                let v6 = found.value.v6.into_iter().map(IpAddr::V6);
                let v4 = found.value.v4.into_iter().map(IpAddr::V4);
                targets.extend(v6.chain(v4).map(|ip| Target {
                    host: Arc::clone(&host),
                    address: SocketAddr::new(ip, settings.port),
                    dane: dane.clone(),
                }));
            }
            Err(error) => {
                let is_other = error.kind == dns::LookupErrorKind::NoData
                    && !(v4 && v6)
                    && resolver.addresses(&name, !v4, !v6).await.is_ok();
                let error = if is_other { other_family(&name) } else { dns_error(&error) };
                // What may go better later counts more.
                if failure.as_ref().is_none_or(|before| error.temporary || !before.temporary) {
                    failure = Some(error);
                }
            }
        }
    }
    if !targets.is_empty() {
        targets.truncate(MAX_TARGETS);
        return Ok(targets);
    }
    Err(failure.unwrap_or_else(|| AttemptError {
        kind: ErrorKind::DnsOther,
        temporary: true,
        message: "no address to connect to".into(),
    }))
}

fn other_family(name: &str) -> AttemptError {
    AttemptError {
        kind: ErrorKind::DnsIpFamily,
        temporary: false,
        message: format!("{name} has addresses of another family only"),
    }
}

fn dns_error(error: &dns::LookupError) -> AttemptError {
    let kind = match error.kind {
        dns::LookupErrorKind::NxDomain => ErrorKind::DnsNxDomain,
        dns::LookupErrorKind::NoData => ErrorKind::DnsNoData,
        _ => ErrorKind::DnsOther,
    };
    AttemptError { kind, temporary: error.is_transient(), message: error.to_string() }
}

/// A domain as DNS wants it (IDNA, RFC 5891).
fn ascii_domain(domain: &str) -> Result<String, AttemptError> {
    if domain.is_ascii() {
        return Ok(domain.to_owned());
    }
    idna::domain_to_ascii(domain).map_err(|_| AttemptError {
        kind: ErrorKind::DnsOther,
        temporary: false,
        message: format!("{domain} is no valid domain name"),
    })
}

/// The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
fn address_literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => inner.get(5..)?.parse().ok(),
        _ => inner.parse().ok(),
    }
}

/// Whole-label wildcards only: `*.example.org` covers one label.
fn host_matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_ascii_lowercase(), host.to_ascii_lowercase());
    match pattern.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => pattern == host,
    }
}

/// Mail exchangers looked up; a domain with more is either broken or an attack.
const MAX_HOSTS: usize = 10;

/// Addresses tried in one attempt.
const MAX_TARGETS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_addresses() {
        assert_eq!(address_literal("[192.0.2.1]"), "192.0.2.1".parse().ok());
        assert_eq!(address_literal("[IPv6:2001:db8::1]"), "2001:db8::1".parse().ok());
        assert_eq!(address_literal("example.org"), None);
        assert_eq!(address_literal("[nonsense]"), None);
    }

    #[test]
    fn host_wildcards_cover_whole_labels() {
        assert!(host_matches("*.example.org", "MX.example.org"));
        assert!(!host_matches("*.example.org", "a.b.example.org"));
        assert!(!host_matches("mx*.example.org", "mx1.example.org"));
    }
}
