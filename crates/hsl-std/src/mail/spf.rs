//! SPF (RFC 7208): may this host send for that domain?
//!
//! Our own evaluation over the embedder's resolver, so that questions are cached, limited and
//! answered in tests like all others. Limits: ten terms that ask the DNS (§4.6.4), two questions
//! without an answer, ten exchangers, ten names of an address, 20 seconds.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::spf_record::{Macros, Mechanism, Qualifier, Record};
use crate::dns::domain_includes;
use crate::inet;
use crate::services::{DnsQuery, DnsRecord, RecordData, RecordType, Resolver};

/// The results of RFC 7208 §2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    None,
    Neutral,
    Pass,
    Fail,
    SoftFail,
    TempError,
    PermError,
}

impl Outcome {
    /// The word that scripts see.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl From<Qualifier> for Outcome {
    fn from(qualifier: Qualifier) -> Self {
        match qualifier {
            Qualifier::Pass => Self::Pass,
            Qualifier::Fail => Self::Fail,
            Qualifier::SoftFail => Self::SoftFail,
            Qualifier::Neutral => Self::Neutral,
        }
    }
}

/// One check.
pub(crate) struct Check {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) timeout: Duration,
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) ip: IpAddr,
    pub(crate) helo: String,
    /// Local part and domain of the sender.
    pub(crate) sender: (String, String),
    /// For all of the check.
    limit: Duration,
    terms: u32,
    voids: u32,
    /// Confirmed name of the address, once a macro asked for it.
    name: Option<String>,
}

impl Check {
    pub(crate) fn new(
        resolver: Arc<dyn Resolver>,
        ip: IpAddr,
        helo: String,
        sender: (String, String),
    ) -> Self {
        let ip = ip.to_canonical();
        let timeout = Duration::from_secs(5);
        let (servers, limit) = (Vec::new(), LIMIT);
        Self { resolver, timeout, servers, ip, helo, sender, limit, terms: 0, voids: 0, name: None }
    }

    /// Runs the check.
    pub(crate) async fn run(mut self) -> Outcome {
        let domain = self.sender.1.clone();
        let limit = self.limit.max(self.timeout);
        match tokio::time::timeout(limit, self.check_host(domain)).await {
            Ok(outcome) => outcome.unwrap_or_else(|error| error),
            Err(_) => Outcome::TempError,
        }
    }

    /// `check_host()` of §4. An error ends the whole check.
    fn check_host(&mut self, domain: String) -> Pending<'_, Result<Outcome, Outcome>> {
        Box::pin(async move {
            if !is_domain(&domain) {
                return Ok(Outcome::None);
            }
            let texts = match self.ask(&domain, RecordType::Txt).await? {
                Answer::Found(records) => records,
                Answer::Void => return Ok(Outcome::None),
            };
            let mut records = texts.into_iter().filter_map(|record| match record.data {
                RecordData::Txt(text) if Record::is_one(&text) => Some(text),
                _ => None,
            });
            let Some(text) = records.next() else { return Ok(Outcome::None) };
            if records.next().is_some() {
                return Err(Outcome::PermError);
            }
            let record = Record::parse(&text).ok_or(Outcome::PermError)?;
            for (qualifier, mechanism) in &record.mechanisms {
                if self.is_match(&domain, mechanism).await? {
                    return Ok((*qualifier).into());
                }
            }
            let Some(redirect) = &record.redirect else { return Ok(Outcome::Neutral) };
            self.count_term()?;
            let target = self.expand(redirect, &domain).await?;
            match self.check_host(target).await? {
                Outcome::None => Err(Outcome::PermError),
                outcome => Ok(outcome),
            }
        })
    }

    async fn is_match(&mut self, domain: &str, mechanism: &Mechanism) -> Result<bool, Outcome> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(network) => Ok(network.includes(self.ip)),
            Mechanism::Include(spec) => {
                self.count_term()?;
                let target = self.expand(spec, domain).await?;
                match self.check_host(target).await? {
                    Outcome::Pass => Ok(true),
                    Outcome::None => Err(Outcome::PermError),
                    _ => Ok(false),
                }
            }
            Mechanism::A(spec, masks) => {
                self.count_term()?;
                let target = self.target(spec.as_deref(), domain).await?;
                let addresses = self.addresses(&target, true).await?;
                Ok(addresses.iter().any(|address| masks.includes(*address, self.ip)))
            }
            Mechanism::Mx(spec, masks) => {
                self.count_term()?;
                let target = self.target(spec.as_deref(), domain).await?;
                let Answer::Found(records) = self.question(&target, RecordType::Mx).await? else {
                    return Ok(false);
                };
                let exchanges: Vec<String> = records
                    .into_iter()
                    .filter_map(|record| match record.data {
                        RecordData::Mx { exchange, .. } => Some(exchange),
                        _ => None,
                    })
                    .collect();
                if exchanges.len() > MOST_NAMES {
                    return Err(Outcome::PermError);
                }
                for exchange in exchanges {
                    let addresses = self.addresses(&exchange, true).await?;
                    if addresses.iter().any(|address| masks.includes(*address, self.ip)) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Ptr(spec) => {
                self.count_term()?;
                let target = self.target(spec.as_deref(), domain).await?;
                let names = self.confirmed_names().await?;
                Ok(names.iter().any(|name| domain_includes(name.as_bytes(), target.as_bytes())))
            }
            Mechanism::Exists(spec) => {
                self.count_term()?;
                let target = self.expand(spec, domain).await?;
                Ok(matches!(self.question(&target, RecordType::A).await?, Answer::Found(_)))
            }
        }
    }

    fn count_term(&mut self) -> Result<(), Outcome> {
        self.terms += 1;
        if self.terms > MOST_TERMS { Err(Outcome::PermError) } else { Ok(()) }
    }

    async fn target(&mut self, spec: Option<&str>, domain: &str) -> Result<String, Outcome> {
        match spec {
            Some(spec) => self.expand(spec, domain).await,
            None => Ok(domain.to_owned()),
        }
    }

    /// Expands a domain-spec (§7).
    async fn expand(&mut self, spec: &str, domain: &str) -> Result<String, Outcome> {
        if self.name.is_none() && Macros::need_name(spec) {
            let names = self.confirmed_names().await.unwrap_or_default();
            let same = |name: &&String| name.eq_ignore_ascii_case(domain);
            let below = |name: &&String| domain_includes(name.as_bytes(), domain.as_bytes());
            let best = names.iter().find(same).or_else(|| names.iter().find(below));
            let best = best.or(names.first());
            self.name = Some(best.map_or_else(|| "unknown".to_owned(), Clone::clone));
        }
        let macros = Macros {
            local: &self.sender.0,
            sender_domain: &self.sender.1,
            domain,
            ip: self.ip,
            helo: &self.helo,
            name: self.name.as_deref().unwrap_or("unknown"),
        };
        macros.expand(spec).ok_or(Outcome::PermError)
    }

    /// Addresses of the family of the client; only void answers of terms count as such.
    async fn addresses(&mut self, host: &str, counts: bool) -> Result<Vec<IpAddr>, Outcome> {
        let kind = if self.ip.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
        let answer =
            if counts { self.question(host, kind).await? } else { self.ask(host, kind).await? };
        let Answer::Found(records) = answer else { return Ok(Vec::new()) };
        let addresses = records.into_iter().filter_map(|record| match record.data {
            RecordData::Address(address) => Some(address),
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// Names of the client that lead back to it (§5.5).
    async fn confirmed_names(&mut self) -> Result<Vec<String>, Outcome> {
        let reverse = inet::reverse(self.ip.to_string().as_bytes(), None).unwrap_or_default();
        let reverse = String::from_utf8_lossy(&reverse).into_owned();
        // A failure here is no error, the mechanism just does not match.
        let Ok(Answer::Found(records)) = self.ask(&reverse, RecordType::Ptr).await else {
            return Ok(Vec::new());
        };
        let mut confirmed = Vec::new();
        for record in records.into_iter().take(MOST_NAMES) {
            let RecordData::Name(name) = record.data else { continue };
            let addresses = self.addresses(&name, false).await.unwrap_or_default();
            if addresses.contains(&self.ip) {
                confirmed.push(name);
            }
        }
        Ok(confirmed)
    }

    /// Asks for a term; too many empty answers end the check (§4.6.4).
    async fn question(&mut self, host: &str, kind: RecordType) -> Result<Answer, Outcome> {
        let answer = self.ask(host, kind).await?;
        if matches!(answer, Answer::Void) {
            self.voids += 1;
            if self.voids > MOST_VOIDS {
                return Err(Outcome::PermError);
            }
        }
        Ok(answer)
    }

    async fn ask(&self, host: &str, record: RecordType) -> Result<Answer, Outcome> {
        if !is_domain(host) {
            // No such name can exist.
            return Ok(Answer::Void);
        }
        let answer = self.resolver.query(DnsQuery {
            host: host.to_owned(),
            record,
            timeout: self.timeout,
            servers: self.servers.clone(),
            port: 53,
            authentic: false,
        });
        match answer.await.result {
            Ok(records) if records.is_empty() => Ok(Answer::Void),
            Ok(records) => Ok(Answer::Found(records)),
            Err(code) if matches!(code.as_str(), "NXDOMAIN" | "NO_DATA") => Ok(Answer::Void),
            Err(_) => Err(Outcome::TempError),
        }
    }
}

/// A future over borrowed state.
type Pending<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

enum Answer {
    Found(Vec<DnsRecord>),
    Void,
}

/// Whether a text can be the name of a host: labels, at least two (§4.3).
fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(|label| !label.is_empty() && label.len() <= 63)
}

/// Slow servers hold nobody up for longer than this and one question (RFC 7208 §4.6.4).
const LIMIT: Duration = Duration::from_secs(20);
const MOST_TERMS: u32 = 10;
const MOST_VOIDS: u32 = 2;
const MOST_NAMES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::{BoxFuture, DnsAnswer};

    /// Never answers.
    struct Silent;

    impl Resolver for Silent {
        fn query(&self, _: DnsQuery) -> BoxFuture<DnsAnswer> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_check_that_takes_too_long_is_a_temporary_error() {
        let sender = ("a".to_owned(), "example.org".to_owned());
        let ip = IpAddr::from([192, 0, 2, 1]);
        let check = Check::new(Arc::new(Silent), ip, "h.example".to_owned(), sender);
        let (limit, timeout) = (Duration::from_millis(1), Duration::from_millis(2));
        assert_eq!(Check { limit, timeout, ..check }.run().await, Outcome::TempError);
    }
}
