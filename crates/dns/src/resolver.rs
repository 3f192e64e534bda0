//! The resolver: one shared value, cheap to clone, that asks the configured servers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hickory_proto::op::{DnsRequestOptions, Query, ResponseCode};
use hickory_proto::rr::Name;
use hickory_resolver::caching_client::CachingClient;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ProtocolConfig, ResolveHosts,
    ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{
    NameServerPool, PoolContext, Resolver as Library, TlsConfig, TokioResolver,
};
use tokio::sync::Semaphore;

use crate::mx::{self, Exchanger, Route};
use crate::{Record, RecordKind, RecordValue};

/// How to resolve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Servers to ask, in order; empty means those of the system (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// Time that one server gets for one question.
    pub timeout: Duration,
    /// How often a question is repeated before it fails, at least 1.
    pub attempts: usize,
    /// Entries that the cache may hold; 0 switches it off.
    pub cache_size: u64,
    /// Shortest time an answer is kept, whatever its TTL says.
    pub min_ttl: Option<Duration>,
    /// Questions under way at the same time; further ones wait.
    pub concurrency: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
            cache_size: 10_000,
            min_ttl: None,
            concurrency: 100,
        }
    }
}

/// Asks name servers. Clones share cache, limits and counters.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
    /// Whether the server is asked to say which answers it validated.
    wants_authenticity: bool,
}

struct Shared {
    library: Arc<TokioResolver>,
    /// Asks the same servers for authenticity; made when it is first wanted.
    validating: OnceLock<Arc<Validating>>,
    config: Config,
    permits: Semaphore,
    counters: Counters,
    /// For scripts that name their own servers, by that list and by whether authenticity matters.
    special: Mutex<HashMap<(Vec<SocketAddr>, bool), Asker>>,
}

/// What questions go through.
#[derive(Clone)]
enum Asker {
    /// The library's resolver.
    Usual(Arc<TokioResolver>),
    /// Asks for authenticity.
    Authentic(Arc<Validating>),
}

#[derive(Default)]
struct Counters {
    asked: AtomicU64,
    running: AtomicU64,
    pending: AtomicU64,
}

/// Counters of a resolver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Questions put since the start.
    pub asked: u64,
    /// Questions under way.
    pub running: u64,
    /// Questions that wait for a place.
    pub pending: u64,
    /// Places there are.
    pub max_running: u64,
}

/// An answer, with what is known of its authenticity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// Whether a validating resolver vouches for it.
    pub security: Security,
}

/// Authenticity of an answer (RFC 4033 §5). A bogus answer is an error, never a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// The resolver validated it (AD bit).
    Secure,
    /// Nobody vouches for it.
    Insecure,
}

/// All addresses of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 addresses in the answer's order.
    pub v4: Vec<Ipv4Addr>,
    /// IPv6 addresses in the answer's order.
    pub v6: Vec<Ipv6Addr>,
}

impl Addresses {
    /// Tells whether there is no address at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// What came of looking for a confirmed name.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// The names that the address claims.
    pub reverse: Result<Vec<String>, LookupError>,
    /// The addresses of the name that leads back, or else of the last one tried; `None` when there
    /// was no name to try.
    pub forward: Option<Result<Vec<IpAddr>, LookupError>>,
    /// The name that leads back.
    pub name: Option<String>,
}

/// The resolver cannot be set up: the system's configuration is unreadable.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the system's resolver configuration: {0}")]
pub struct SetupError(String);

/// A question without a usable answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{name}: {kind}")]
pub struct LookupError {
    /// The name asked for.
    pub name: String,
    /// What happened.
    pub kind: LookupErrorKind,
}

impl LookupError {
    /// Tells whether the same question may be answered later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind {
            LookupErrorKind::NxDomain | LookupErrorKind::NoData | LookupErrorKind::BadName => false,
            LookupErrorKind::ServFail
            | LookupErrorKind::Refused
            | LookupErrorKind::TimedOut
            | LookupErrorKind::Bogus
            | LookupErrorKind::Other => true,
        }
    }

    /// The word that scripts see: an rcode or h_errno name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind {
            LookupErrorKind::NxDomain => "NXDOMAIN",
            LookupErrorKind::NoData => "NO_DATA",
            LookupErrorKind::ServFail | LookupErrorKind::Bogus => "SERVFAIL",
            LookupErrorKind::Refused => "REFUSED",
            LookupErrorKind::BadName => "FORMERR",
            LookupErrorKind::TimedOut | LookupErrorKind::Other => "TRY_AGAIN",
        }
    }
}

/// What went wrong with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupErrorKind {
    /// The text is no domain name.
    #[error("not a domain name")]
    BadName,
    /// The answer failed validation.
    #[error("the answer failed DNSSEC validation")]
    Bogus,
    /// The name exists, but has no record of that kind.
    #[error("no such record")]
    NoData,
    /// The name does not exist.
    #[error("domain does not exist")]
    NxDomain,
    /// Anything else that may pass.
    #[error("lookup failed")]
    Other,
    /// The server refuses to answer.
    #[error("the name server refused the query")]
    Refused,
    /// The server could not find out.
    #[error("the name server failed")]
    ServFail,
    /// Nobody answered in time.
    #[error("no name server answered in time")]
    TimedOut,
}

impl Resolver {
    /// Sets a resolver up; nothing is asked yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the system's configuration is wanted and cannot be read.
    pub fn new(config: Config) -> Result<Self, SetupError> {
        let library = Arc::new(build(&config, &config.servers)?);
        Ok(Self {
            wants_authenticity: false,
            shared: Arc::new(Shared {
                library,
                validating: OnceLock::new(),
                permits: Semaphore::new(config.concurrency.max(1)),
                counters: Counters::default(),
                special: Mutex::new(HashMap::new()),
                config,
            }),
        })
    }

    /// The same resolver, asking its servers to say which answers they validated: only then can an
    /// answer be [`Security::Secure`]. Answers are larger by their signatures.
    ///
    /// The operator trusts those servers and the way to them, as RFC 7672 §1.3.1 has it: a
    /// validating resolver on the same machine.
    ///
    /// # Errors
    ///
    /// [`SetupError`] as [`Resolver::new`].
    pub fn authentic(&self) -> Result<Self, SetupError> {
        if self.shared.validating.get().is_none() {
            // Whoever is first wins; the other's is not used.
            let made = validating(&self.shared.config, &self.shared.config.servers)?;
            let _ = self.shared.validating.set(Arc::new(made));
        }
        Ok(Self { wants_authenticity: true, ..self.clone() })
    }

    /// Asks for records of one kind.
    ///
    /// # Errors
    ///
    /// [`LookupError`]; an answer without a record of that kind is [`LookupErrorKind::NoData`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the answer.
    pub async fn query(
        &self,
        name: &str,
        kind: RecordKind,
    ) -> Result<Answer<Vec<Record>>, LookupError> {
        let asker = match self.shared.validating.get() {
            Some(validating) if self.wants_authenticity => Asker::Authentic(Arc::clone(validating)),
            _ => Asker::Usual(Arc::clone(&self.shared.library)),
        };
        self.ask(asker, name, kind).await
    }

    /// Asks servers that a script names, instead of the configured ones. They too are asked to say
    /// which answers they validated if this is an [authentic](Resolver::authentic) resolver.
    ///
    /// # Errors
    ///
    /// As [`Resolver::query`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the answer.
    pub async fn query_servers(
        &self,
        servers: &[SocketAddr],
        name: &str,
        kind: RecordKind,
    ) -> Result<Answer<Vec<Record>>, LookupError> {
        let asker = {
            let mut special = self.shared.special.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (servers.to_vec(), self.wants_authenticity);
            // Scripts name few lists; should one invent many, start over rather than grow.
            if special.len() > MAX_SPECIAL && !special.contains_key(&key) {
                special.clear();
            }
            match special.get(&key) {
                Some(asker) => asker.clone(),
                None => {
                    let config = &self.shared.config;
                    let made = match self.wants_authenticity {
                        true => validating(config, servers).map(Arc::new).map(Asker::Authentic),
                        false => build(config, servers).map(Arc::new).map(Asker::Usual),
                    };
                    let asker = made.map_err(|_| error(name, LookupErrorKind::Other))?;
                    special.insert(key, asker.clone());
                    asker
                }
            }
        };
        self.ask(asker, name, kind).await
    }

    /// Asks for a domain's mail exchangers and orders them; see [`mx::order`] for `seed`.
    ///
    /// Without MX records the domain itself is the only host (RFC 5321 §5.1).
    ///
    /// # Errors
    ///
    /// [`LookupError`], [`LookupErrorKind::NxDomain`] when the domain does not exist.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the answer.
    pub async fn route(&self, domain: &str, seed: u64) -> Result<Answer<Route>, LookupError> {
        match self.query(domain, RecordKind::Mx).await {
            Ok(answer) => {
                let exchangers = answer.value.into_iter().filter_map(|record| match record.value {
                    RecordValue::Mx { preference, exchange } => {
                        Some(Exchanger { preference, host: exchange })
                    }
                    _ => None,
                });
                Ok(Answer {
                    value: mx::order(exchangers.collect(), seed),
                    security: answer.security,
                })
            }
            Err(error) if error.kind == LookupErrorKind::NoData => {
                let host = domain.trim_end_matches('.').to_owned();
                let value = Route::Hosts(vec![Exchanger { preference: 0, host }]);
                Ok(Answer { value, security: Security::Insecure })
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for the IPv4 and IPv6 addresses of a host, of the families wanted.
    ///
    /// # Errors
    ///
    /// [`LookupError`] when neither family has an address. A transient failure of one family is
    /// reported only when the other gave nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the answer.
    pub async fn addresses(
        &self,
        host: &str,
        want_v4: bool,
        want_v6: bool,
    ) -> Result<Answer<Addresses>, LookupError> {
        let ask = async |wanted: bool, kind| {
            if wanted { Some(self.query(host, kind).await) } else { None }
        };
        let (v4, v6) = tokio::join!(ask(want_v4, RecordKind::A), ask(want_v6, RecordKind::Aaaa));
        let mut found = Addresses::default();
        let mut security = Security::Secure;
        let mut failure: Option<LookupError> = None;
        for result in [v4, v6].into_iter().flatten() {
            match result {
                Ok(answer) => {
                    if answer.security == Security::Insecure {
                        security = Security::Insecure;
                    }
                    for record in answer.value {
                        match record.value {
                            RecordValue::A(ip) => found.v4.push(ip),
                            RecordValue::Aaaa(ip) => found.v6.push(ip),
                            _ => {}
                        }
                    }
                }
                Err(error) => {
                    if failure.as_ref().is_none_or(|old| !old.is_transient()) {
                        failure = Some(error);
                    }
                }
            }
        }
        if found.is_empty() {
            return Err(failure.unwrap_or_else(|| error(host, LookupErrorKind::NoData)));
        }
        Ok(Answer { value: found, security })
    }

    /// Looks for the name of an address that leads back to it (forward-confirmed reverse DNS).
    ///
    /// At most the first five names are tried, so that a hostile zone cannot make us ask for ever.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the answer.
    pub async fn confirm_name(&self, ip: IpAddr) -> Confirmation {
        let names = match self.query(&reverse_name(ip), RecordKind::Ptr).await {
            Ok(answer) => answer.value,
            Err(error) => return Confirmation { reverse: Err(error), forward: None, name: None },
        };
        let names: Vec<String> = names
            .into_iter()
            .filter_map(|record| match record.value {
                RecordValue::Name(name) => Some(name),
                _ => None,
            })
            .collect();
        let (mut forward, mut confirmed) = (None, None);
        for name in names.iter().take(5) {
            let found = self.addresses(name, ip.is_ipv4(), ip.is_ipv6()).await;
            let found = found.map(|found| match ip {
                IpAddr::V4(_) => found.value.v4.into_iter().map(IpAddr::V4).collect(),
                IpAddr::V6(_) => found.value.v6.into_iter().map(IpAddr::V6).collect::<Vec<_>>(),
            });
            let leads_back = found.as_ref().is_ok_and(|found| found.contains(&ip));
            forward = Some(found);
            if leads_back {
                confirmed = Some(name.clone());
                break;
            }
        }
        Confirmation { reverse: Ok(names), forward, name: confirmed }
    }

    /// Empties the cache.
    pub fn clear_cache(&self) {
        self.shared.library.clear_cache();
        if let Some(validating) = self.shared.validating.get() {
            validating.clear_cache();
        }
        self.shared.special.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The counters of this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            asked: counters.asked.load(Ordering::Relaxed),
            running: counters.running.load(Ordering::Relaxed),
            pending: counters.pending.load(Ordering::Relaxed),
            max_running: self.shared.config.concurrency as u64,
        }
    }

    async fn ask(
        &self,
        asker: Asker,
        name: &str,
        kind: RecordKind,
    ) -> Result<Answer<Vec<Record>>, LookupError> {
        let fqdn = absolute(name).ok_or_else(|| error(name, LookupErrorKind::BadName))?;
        let counters = &self.shared.counters;
        counters.asked.fetch_add(1, Ordering::Relaxed);
        let waiting = Gauge::new(&counters.pending);
        // The semaphore is never closed, so this waits and does not fail.
        let permit = self.shared.permits.acquire().await;
        drop(waiting);
        let running = Gauge::new(&counters.running);
        let result = match asker {
            Asker::Authentic(validating) => self.ask_authentic(&validating, fqdn, kind).await,
            Asker::Usual(library) => library.lookup(fqdn, kind.to_library()).await,
        };
        drop((running, permit));
        let lookup = result.map_err(|cause| error(name, classify(&cause)))?;
        let wanted = kind.to_library();
        let records: Vec<Record> = lookup
            .answers()
            .iter()
            .filter(|record| record.record_type() == wanted)
            .filter_map(|record| {
                let value = RecordValue::from_library(&record.data)?;
                Some(Record { ttl: record.ttl, value })
            })
            .collect();
        if records.is_empty() {
            return Err(error(name, LookupErrorKind::NoData));
        }
        let security = if lookup.message().metadata.authentic_data {
            Security::Secure
        } else {
            Security::Insecure
        };
        Ok(Answer { value: records, security })
    }

    async fn ask_authentic(
        &self,
        validating: &Validating,
        name: Name,
        kind: RecordKind,
    ) -> Result<Lookup, NetError> {
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        options.edns_payload_len = EDNS_PAYLOAD;
        options.edns_set_dnssec_ok = true;
        let query = Query::query(name, kind.to_library());
        let mut attempt = 1;
        loop {
            match validating.lookup(query.clone(), options).await {
                Err(NetError::Timeout | NetError::Io(_))
                    if attempt < self.shared.config.attempts =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }
}

/// A cache over connections to the servers, which sends what it is told to.
type Validating = CachingClient<NameServerPool<TokioRuntimeProvider>>;

/// Counts up while it lives.
struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The servers named, as the library wants them.
fn named(servers: &[SocketAddr]) -> Vec<NameServerConfig> {
    let one = |server: &SocketAddr| {
        let mut udp = ConnectionConfig::new(ProtocolConfig::Udp);
        let mut tcp = ConnectionConfig::new(ProtocolConfig::Tcp);
        udp.port = server.port();
        tcp.port = server.port();
        NameServerConfig::new(server.ip(), true, vec![udp, tcp])
    };
    servers.iter().map(one).collect()
}

fn validating(config: &Config, servers: &[SocketAddr]) -> Result<Validating, SetupError> {
    let failed = |cause: &dyn std::fmt::Display| SetupError(cause.to_string());
    let (servers, mut options) = if servers.is_empty() {
        let (system, options) = read_system_conf().map_err(|cause| failed(&cause))?;
        (system.name_servers().to_vec(), options)
    } else {
        (named(servers), ResolverOpts::default())
    };
    set_options(&mut options, config);
    let tls = TlsConfig::new().map_err(|cause| failed(&cause))?;
    let context = Arc::new(PoolContext::new(options, tls));
    let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
    Ok(CachingClient::new(config.cache_size, pool, false))
}

fn build(config: &Config, servers: &[SocketAddr]) -> Result<TokioResolver, SetupError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        Library::builder(provider).map_err(|cause| SetupError(cause.to_string()))?
    } else {
        let config = ResolverConfig::from_parts(None, Vec::new(), named(servers));
        Library::builder_with_config(config, provider)
    };
    set_options(builder.options_mut(), config);
    if !servers.is_empty() {
        // Whoever names servers wants their answers, not those of the machine's hosts file.
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
    }
    builder.build().map_err(|cause| SetupError(cause.to_string()))
}

fn set_options(options: &mut ResolverOpts, config: &Config) {
    options.timeout = config.timeout;
    options.attempts = config.attempts.max(1);
    options.cache_size = config.cache_size;
    options.positive_min_ttl = config.min_ttl;
    options.negative_min_ttl = config.min_ttl;
    // Each family is asked for by itself.
    options.ip_strategy = LookupIpStrategy::Ipv4Only;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.edns_payload_len = EDNS_PAYLOAD;
}

/// The name as an absolute one, so that no search list is tried.
fn absolute(name: &str) -> Option<Name> {
    let trimmed = name.strip_suffix('.').unwrap_or(name);
    if trimmed.is_empty() {
        return None;
    }
    let mut parsed = Name::from_utf8(trimmed).ok()?;
    parsed.set_fqdn(true);
    Some(parsed)
}

/// The name under which an address's PTR records live (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let mut name = String::with_capacity(72);
            for octet in ip.octets().iter().rev() {
                for nibble in [octet & 15, octet >> 4] {
                    name.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
                    name.push('.');
                }
            }
            name.push_str("ip6.arpa");
            name
        }
    }
}

fn error(name: &str, kind: LookupErrorKind) -> LookupError {
    LookupError { name: name.to_owned(), kind }
}

fn classify(cause: &NetError) -> LookupErrorKind {
    match cause {
        NetError::Timeout => LookupErrorKind::TimedOut,
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => LookupErrorKind::NxDomain,
            ResponseCode::ServFail => LookupErrorKind::ServFail,
            ResponseCode::Refused => LookupErrorKind::Refused,
            ResponseCode::NoError => LookupErrorKind::NoData,
            _ => LookupErrorKind::Other,
        },
        NetError::Dns(DnsError::ResponseCode(code)) => match *code {
            ResponseCode::NXDomain => LookupErrorKind::NxDomain,
            ResponseCode::ServFail => LookupErrorKind::ServFail,
            ResponseCode::Refused => LookupErrorKind::Refused,
            _ => LookupErrorKind::Other,
        },
        _ => LookupErrorKind::Other,
    }
}

/// Payload we announce over UDP: the size that avoids fragments (DNS flag day 2020).
const EDNS_PAYLOAD: u16 = 1232;

/// Server lists of scripts for which a resolver is kept.
const MAX_SPECIAL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names_follow_the_standards() {
        assert_eq!(reverse_name("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            reverse_name("2001:db8::567:89ab".parse().unwrap()),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn only_names_are_asked_for() {
        assert!(absolute("").is_none());
        assert!(absolute(".").is_none());
        assert!(absolute(&"a".repeat(64)).is_none());
        assert_eq!(absolute("example.org").unwrap(), absolute("example.org.").unwrap());
    }
}
