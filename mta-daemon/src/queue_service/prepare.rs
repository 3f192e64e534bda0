//! From due to active: the pre-delivery script, then DNS, then the active queue.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::running::Destination;
use dns::mx::{self, Route as MxRoute};
use dns::{Resolver, Security};
use mta_types::MessageId;
use queue::message::QueuedMessage;
use queue::{Outcome as QueueOutcome, Requeue, Route};
use spool::Durability;

use crate::context::Core;
use crate::dsn::notify::{self, Notice, NoticeKind};
use crate::generation::Generation;
use crate::hooks::predelivery::{self, Decision};
use crate::outbound::matching;
use crate::outbound::outcome::{self, Attempt, AttemptError, ErrorKind};
use crate::outbound::plan::{Plan, Settings, Target};
use crate::outbound::tls::{self, Dane};
use crate::plugins::decision;
use crate::queue_service::persist;
use crate::time;
use script_host::hooks::dsn_options::DsnOptions;

/// Prepares a row; without script and DNS at once, else in a task of its own.
pub(crate) fn begin(core: &Arc<Core>, id: MessageId) {
    let generation = core.generation.load_full();
    let Some(row) = core.queue.lock().view(id).map(|row| row.to_message()) else { return };
    if generation.predelivery.is_none()
        && let Some(transport) = generation.running.transports.get(row.transportid.as_str())
    {
        let settings = Settings::new(&generation, transport);
        if let Some(targets) = settings.fixed_targets() {
            let plan = Plan { targets, settings, context: hsl::Value::None };
            if let Err((attempt, context)) = activate(core, &row, plan) {
                let (core, row) = (Arc::clone(core), row.clone());
                let ended = row.clone();
                let inner = Arc::clone(&core);
                let work = async move { outcome::conclude(&inner, ended, *attempt, context).await };
                let guarded = outcome::guarded(Arc::clone(&core), row, work);
                core.deliveries.spawn(guarded);
            }
            return;
        }
    }
    let work = prepare(Arc::clone(core), generation, row.clone());
    core.deliveries.spawn(outcome::guarded(Arc::clone(core), row, work));
}

async fn prepare(core: Arc<Core>, generation: Arc<Generation>, mut row: QueuedMessage) {
    let Some(transport) = generation.running.transports.get(row.transportid.as_str()) else {
        let message = format!("transport {} is not in the configuration", row.transportid);
        let error = AttemptError { kind: ErrorKind::Config, temporary: true, message };
        return outcome::conclude(&core, row, Attempt::failed(error), hsl::Value::None).await;
    };
    let mut settings = Settings::new(&generation, transport);
    let mut context = hsl::Value::None;
    if generation.predelivery.is_some() {
        let (decision, left) =
            Box::pin(predelivery::call(&core, &generation, transport, &row, &mut settings)).await;
        context = left;
        // The script may have changed what is noted on the row.
        if let Some(fresh) = core.queue.lock().view(row.id).map(|row| row.to_message()) {
            row = fresh;
        }
        match decision {
            Decision::Try => {
                if let Some(asked) = &settings.dsn {
                    asked.lay_over(&mut row);
                }
            }
            Decision::Queue(requeue, notice) => {
                if let Some(options) = notice {
                    tell_of_delay(&core, &generation, &row, &requeue, options).await;
                }
                return put_off(&core, &row, requeue);
            }
            Decision::Bounce(ref removal) | Decision::Delete(ref removal) => {
                let mut attempt = Attempt::decided(matches!(decision, Decision::Bounce(_)));
                attempt.said.clone_from(&removal.reason);
                attempt.dsn = Some(Arc::clone(&removal.dsn));
                return outcome::conclude(&core, row, attempt, context).await;
            }
        }
    }
    match resolve(&generation, &settings, &row).await {
        Ok(targets) => {
            let plan = Plan { targets, settings, context };
            if let Err((attempt, context)) = activate(&core, &row, plan) {
                outcome::conclude(&core, row, *attempt, context).await;
            }
        }
        Err(error) => {
            let attempt = Attempt { asked: settings.dsn, ..Attempt::failed(error) };
            outcome::conclude(&core, row, attempt, context).await;
        }
    }
}

/// A script wants the sender to know that it puts the message off.
async fn tell_of_delay(
    core: &Arc<Core>,
    generation: &Generation,
    row: &QueuedMessage,
    requeue: &Requeue,
    options: Arc<DsnOptions>,
) {
    let reason = requeue.reason.as_deref().unwrap_or("put off by script");
    let attempt = Attempt::failed(AttemptError {
        kind: ErrorKind::Config,
        temporary: true,
        message: reason.to_owned(),
    });
    let notice =
        Notice { options: Some(options), ..Notice::new(NoticeKind::Delayed, row, &attempt) };
    notify::send(core, generation, &notice).await;
}

/// A script's `Queue()` before the attempt.
fn put_off(core: &Core, row: &QueuedMessage, requeue: Requeue) {
    let mut queue = core.queue.lock();
    match queue.finish(row.id, QueueOutcome::Requeue(requeue), time::now()) {
        Ok(changes) => drop(persist::write(core, &queue, &changes, Durability::Lazy)),
        Err(error) => {
            tracing::error!(transaction = %row.id.transaction, queue = row.id.queue.0, %error, "delivery.failed_internally");
        }
    }
    drop(queue);
    core.queue.wake.notify_one();
}

/// Files a row in the active queue, with its plan.
///
/// # Errors
///
/// The attempt that a plugin's refusal counts as, and `$context` for its script.
fn activate(
    core: &Core,
    row: &QueuedMessage,
    plan: Plan,
) -> Result<(), (Box<Attempt>, hsl::Value)> {
    let first = plan.targets.first();
    let remotemx = first.map(|target| target.host.to_string());
    let remoteip = first.map(|target| target.address.ip());
    let localips = local_ips(&plan.settings, remoteip);
    let grouping = matching::grouping(&core.queue.rules(), row, remotemx.as_deref(), remoteip);
    let localips = match decision::may_enter(core, &plan, row, grouping.as_deref(), localips) {
        Ok(localips) => localips,
        Err(attempt) => return Err((attempt, plan.context)),
    };
    let route = Route {
        localips,
        localipsordered: !plan.settings.source_random,
        grouping,
        remoteip,
        remotemx,
    };
    core.queue.set_plan(row.id, Arc::new(plan));
    let mut queue = core.queue.lock();
    match queue.activate(row.id, &route, time::now()) {
        Ok(None) => {}
        Ok(Some(change)) => {
            drop(persist::write(core, &queue, &[change], Durability::Lazy));
            core.queue.take_plan(row.id);
        }
        Err(error) => {
            core.queue.take_plan(row.id);
            tracing::error!(transaction = %row.id.transaction, queue = row.id.queue.0, %error, "delivery.failed_internally");
        }
    }
    drop(queue);
    core.queue.wake.notify_one();
    Ok(())
}

/// Source addresses of the target's family.
fn local_ips(settings: &Settings, remote: Option<IpAddr>) -> Vec<IpAddr> {
    settings
        .sources
        .iter()
        .map(|source| source.address)
        .filter(|ip| remote.is_none_or(|remote| remote.is_ipv4() == ip.is_ipv4()))
        .collect()
}

/// The addresses to try, best first.
async fn resolve(
    generation: &Generation,
    settings: &Settings,
    row: &QueuedMessage,
) -> Result<Vec<Target>, AttemptError> {
    let recipient = settings.recipient.as_ref().unwrap_or(&row.recipient);
    let seed = mx::seed(row.id.transaction.as_bytes(), row.retrycount);
    targets(generation, settings, recipient, seed).await
}

/// The addresses to try for a recipient, best first; `seed` mixes exchangers of equal preference.
pub(crate) async fn targets(
    generation: &Generation,
    settings: &Settings,
    recipient: &mta_types::Address,
    seed: u64,
) -> Result<Vec<Target>, AttemptError> {
    if let Some(targets) = settings.fixed_targets() {
        return Ok(targets);
    }
    let domain = match &settings.destination {
        Destination::Host(host) => {
            let resolver = resolver(generation, settings)?;
            return hosts(&resolver, settings, vec![host.to_string()], true).await;
        }
        _ => recipient.domain(),
    };
    if let Some(literal) = address_literal(domain) {
        let address = SocketAddr::new(literal, settings.port);
        return Ok(vec![Target { host: domain.into(), address, dane: None }]);
    }
    let resolver = resolver(generation, settings)?;
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
fn resolver(generation: &Generation, settings: &Settings) -> Result<Resolver, AttemptError> {
    if !settings.tls.mode.is_dane() {
        return Ok(generation.resolver.clone());
    }
    generation.resolver.authentic().map_err(|error| AttemptError {
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
    let mut failure = None;
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
            Err(error) => failure = Some(error),
        }
    }
    if !targets.is_empty() {
        targets.truncate(MAX_TARGETS);
        return Ok(targets);
    }
    Err(failure.map_or_else(
        || AttemptError {
            kind: ErrorKind::DnsOther,
            temporary: true,
            message: "no address to connect to".into(),
        },
        |error| dns_error(&error),
    ))
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
