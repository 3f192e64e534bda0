//! DMARC (RFC 7489): does the author's domain stand behind a message, and what does it ask for?
//!
//! `ScanDMARC` of the end-of-data scripts. SPF and DKIM are those of [`super::spf`] and
//! [`crate::mime`]; organizational domains come from the public suffix list.
//!
//! # Compatibility
//!
//! `pct` draws no lots: the policy is what the domain asks for, and what is done is the script's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::value::Value;
use mail_message::PartId;
use mail_message::address_list;

use super::dkim_tags;
use super::spf::{Check, Outcome};
use crate::args::Options;
use crate::mime::{MessageHandle, texts, verify_dkim};
use crate::public_suffix::SuffixList;
use crate::services::{Resolver, Services};

/// What is known of a message that comes in, in the execution.
pub struct Arrival {
    /// The message.
    pub message: MessageHandle,
    /// Address of the client, where there is one.
    pub ip: Option<IpAddr>,
    /// What the client calls itself.
    pub helo: String,
    /// Domain of the envelope's sender; empty for the null sender.
    pub domain: String,
}

/// Registers `ScanDMARC`; it needs an [`Arrival`] in the execution.
pub fn register(registry: &mut Registry, services: &Services) {
    let resolver = Arc::clone(&services.resolver);
    let suffixes = SuffixList::new(services);
    registry.function(
        "ScanDMARC(array options = []) -> array or string",
        "what the domains of From ask for, pass where they stand behind the message; options ip, \
         helo, domain",
        move |ctx: &mut CallContext<'_>, args: &mut [Value]| {
            let now = ctx.clock().unix_time().as_secs();
            let options = Options::new(args, 0);
            let text = |key| {
                let text = options.bytes(key)?;
                Ok::<_, Thrown>(text.map(|text| String::from_utf8_lossy(text).into_owned()))
            };
            let (ip, helo, domain) = (text("ip")?, text("helo")?, text("domain")?);
            let ip = match ip {
                None => None,
                Some(ip) => match ip.parse::<IpAddr>() {
                    Ok(ip) => Some(ip),
                    Err(_) => return Err(Thrown::new("option \"ip\" must be an IP address")),
                },
            };
            let Some(arrival) = ctx.state::<Arrival>() else {
                return Err(Thrown::new("ScanDMARC() is available at the end of data only"));
            };
            let scan = Scan {
                message: Arc::clone(&arrival.message),
                ip: ip.or(arrival.ip),
                helo: helo.unwrap_or_else(|| arrival.helo.clone()),
                domain: domain.unwrap_or_else(|| arrival.domain.clone()),
                resolver: Arc::clone(&resolver),
                suffixes: suffixes.clone(),
                now,
            };
            Ok(NativeStep::suspend(async move { Ok(scan.run().await) }))
        },
    );
}

/// One scan.
struct Scan {
    message: MessageHandle,
    ip: Option<IpAddr>,
    helo: String,
    domain: String,
    resolver: Arc<dyn Resolver>,
    suffixes: SuffixList,
    now: u64,
}

/// A domain that SPF or DKIM speak of, in a way that may count.
struct Identifier {
    domain: String,
    is_spf: bool,
    /// Whether it is authenticated; otherwise that could not be found out.
    is_sure: bool,
}

impl Scan {
    async fn run(self) -> Value {
        let Some(authors) = self.authors() else { return Value::from("permerror") };
        let identifiers = self.authenticate().await;
        let mut out = Vec::with_capacity(authors.len());
        for author in authors {
            let result = self.judge(&author, &identifiers).await;
            out.push((author, Value::from(result)));
        }
        Value::map(out.iter().map(|(author, result)| (author.as_str(), result.clone())))
    }

    /// The domains of From, in lower case, each once; `None` without exactly one usable From field
    /// (§6.6.1).
    fn authors(&self) -> Option<Vec<String>> {
        let message = self.message.lock();
        let message = message.message();
        let fields = message.header().named(message.text(), b"From");
        let values: Vec<&[u8]> = fields.map(|(_, field)| field.value).collect();
        let [value] = values.as_slice() else { return None };
        let mut domains: Vec<String> = Vec::new();
        for mailbox in address_list::parse_list(value)? {
            let at = memchr::memrchr(b'@', &mailbox.address)?;
            let domain = str::from_utf8(mailbox.address.get(at + 1..)?).ok()?;
            let domain = idna(domain)?;
            if domains.contains(&domain) {
                continue;
            }
            if domains.len() == MOST_AUTHORS {
                return None;
            }
            domains.push(domain);
        }
        (!domains.is_empty()).then_some(domains)
    }

    async fn authenticate(&self) -> Vec<Identifier> {
        let mut out = Vec::new();
        let mut add = |domain: &str, is_spf, is_sure| {
            out.extend(idna(domain).map(|domain| Identifier { domain, is_spf, is_sure }));
        };
        if let Some(ip) = self.ip {
            // RFC 7208 §2.4: without a sender the host answers for itself.
            let domain = if self.domain.is_empty() { &self.helo } else { &self.domain };
            let sender = ("postmaster".to_owned(), domain.clone());
            let check = Check::new(Arc::clone(&self.resolver), ip, self.helo.clone(), sender);
            match check.run().await {
                Outcome::Pass => add(domain, true, true),
                Outcome::TempError => add(domain, true, false),
                _ => {}
            }
        }
        let signatures: Vec<Vec<u8>> = {
            let message = self.message.lock();
            let view = message.message().view(PartId::TOP);
            let fields = view.into_iter().flat_map(|view| view.fields());
            let is_signature =
                |name: &[u8]| name.trim_ascii_end().eq_ignore_ascii_case(b"dkim-signature");
            let fields = fields.filter(|field| is_signature(field.name));
            fields.take(MOST_SIGNATURES).map(|field| field.raw.to_vec()).collect()
        };
        for signature in signatures {
            let verified =
                verify_dkim(&self.message, &signature, self.now, &*self.resolver, PATIENCE).await;
            match verified {
                (domain, "pass") => add(&domain, false, true),
                (domain, "temperror") => add(&domain, false, false),
                _ => {}
            }
        }
        out
    }

    /// The result for one author's domain.
    async fn judge(&self, author: &str, identifiers: &[Identifier]) -> &'static str {
        let organization = self.suffixes.organizational(author).await;
        let policy = match self.policy(author).await {
            Ok(Some(policy)) => policy,
            Err(Unknown) => return "temperror",
            Ok(None) if organization == author => return "policy_absent",
            Ok(None) => match self.policy(&organization).await {
                Ok(Some(policy)) => {
                    Policy { request: policy.subdomains.unwrap_or(policy.request), ..policy }
                }
                Ok(None) => return "policy_absent",
                Err(Unknown) => return "temperror",
            },
        };
        let mut is_unsure = false;
        for identifier in identifiers {
            let is_strict =
                if identifier.is_spf { policy.spf_is_strict } else { policy.dkim_is_strict };
            // Only aligned ones count: otherwise a forger whose own name servers fail would be spared what
            // the author's domain asks for.
            if self.aligns(&identifier.domain, author, &organization, is_strict).await {
                if identifier.is_sure {
                    return "pass";
                }
                is_unsure = true;
            }
        }
        if is_unsure { "temperror" } else { policy.request }
    }

    /// Identifier alignment (§3.1).
    async fn aligns(&self, domain: &str, author: &str, organization: &str, strict: bool) -> bool {
        domain == author || (!strict && self.suffixes.organizational(domain).await == organization)
    }

    /// The record of a domain (§6.6.3); several are none.
    async fn policy(&self, domain: &str) -> Result<Option<Policy>, Unknown> {
        let found = texts(&*self.resolver, format!("_dmarc.{domain}"), PATIENCE).await;
        let mut records = found.ok_or(Unknown)?;
        records.retain(|text| is_record(text));
        Ok(match records.as_slice() {
            [record] => Policy::parse(record),
            _ => None,
        })
    }
}

/// The question could not be answered.
struct Unknown;

/// A policy record (§6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    request: &'static str,
    subdomains: Option<&'static str>,
    dkim_is_strict: bool,
    spf_is_strict: bool,
}

impl Policy {
    fn parse(text: &[u8]) -> Option<Self> {
        let tags = dkim_tags::parse(text)?;
        let tag = |name: &str| tags.get(name.as_bytes()).map(Vec::as_slice);
        let request = match tag("p").map(request) {
            Some(Some(request)) => request,
            // §6.6.3: a record that wants reports and has no usable policy asks for none.
            _ if tag("rua").is_some_and(|uri| uri.starts_with(b"mailto:")) => "none",
            _ => return None,
        };
        let is_strict = |name| tag(name).is_some_and(|mode| mode.eq_ignore_ascii_case(b"s"));
        Some(Self {
            request,
            subdomains: tag("sp").and_then(self::request),
            dkim_is_strict: is_strict("adkim"),
            spf_is_strict: is_strict("aspf"),
        })
    }
}

/// Whether a text is a record of ours: the version comes first.
fn is_record(text: &[u8]) -> bool {
    let version = text.split(|&byte| byte == b';').next().unwrap_or_default();
    let Some(equals) = memchr::memchr(b'=', version) else { return false };
    let (name, value) = version.split_at_checked(equals).unwrap_or_default();
    name.trim_ascii() == b"v" && value.get(1..).unwrap_or_default().trim_ascii() == b"DMARC1"
}

fn request(word: &[u8]) -> Option<&'static str> {
    let words = ["none", "quarantine", "reject"];
    words.into_iter().find(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// A domain as the DNS knows it, in lower case.
fn idna(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    idna::domain_to_ascii(domain).ok().filter(|domain| !domain.is_empty())
}

/// Domains of From that are looked at; more of them are somebody's joke.
const MOST_AUTHORS: usize = 10;

/// Signatures that are verified.
const MOST_SIGNATURES: usize = 10;

/// For one question.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_the_rfc_says() {
        let policy = |text: &str| Policy::parse(text.as_bytes());
        let plain = Policy {
            request: "reject",
            subdomains: None,
            dkim_is_strict: false,
            spf_is_strict: false,
        };
        assert_eq!(policy("v=DMARC1; p=reject"), Some(plain));
        let all = policy("v=DMARC1;p=Quarantine; sp=none; adkim=s; aspf=r; pct=5;");
        let wanted = Policy {
            request: "quarantine",
            subdomains: Some("none"),
            dkim_is_strict: true,
            spf_is_strict: false,
        };
        assert_eq!(all, Some(wanted));
        assert_eq!(policy("v=DMARC1; rua=mailto:a@example.org").unwrap().request, "none");
        assert_eq!(policy("v=DMARC1; p=maybe"), None);
        assert_eq!(policy("v=DMARC1"), None);
        for (text, wanted) in [
            ("v=DMARC1; p=none", true),
            (" v = DMARC1 ;p=none", true),
            ("v=DMARC10; p=none", false),
            ("p=none; v=DMARC1", false),
            ("v=spf1 -all", false),
        ] {
            assert_eq!(is_record(text.as_bytes()), wanted, "{text}");
        }
    }
}
