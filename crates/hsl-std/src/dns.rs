//! DNS chapter: questions through the embedder's resolver, and names of domains.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hsl::host::{NativeStep, Registry, Thrown};
use hsl::value::{Key, Value};

use crate::args::{self, Options};
use crate::inet;
use crate::services::{DnsAnswer, DnsQuery, DnsRecord, RecordData, RecordType, Resolver, Services};

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    let resolver = Arc::clone(&services.resolver);
    let lister = Arc::clone(&resolver);
    registry
        .function(
            "dns_query(string host [, array options]) -> array",
            "looks up records; options type, timeout, servers, port, extended_result",
            move |_, args| {
                let options = Options::new(args, 1);
                let record = record_type(options.bytes("type")?.unwrap_or(b"a"))?;
                let extended = options.boolean("extended_result", false)?;
                let query = query(args::bytes(args, 0), record, options, true)?;
                let answer = resolver.query(query);
                Ok::<_, Thrown>(NativeStep::suspend(async move {
                    Ok(full_result(answer.await, extended))
                }))
            },
        )
        .function(
            "dnsbl(string ip, string hostname [, array resolvers [, number timeout = 5]]) -> array",
            "the addresses with which a list of hosts lists an address; empty if it does not",
            move |_, args| {
                let name = inet::reverse(args::bytes(args, 0), Some(args::bytes(args, 1)));
                let Some(name) = name else {
                    return Err(Thrown::new("dnsbl() needs an IP address"));
                };
                let options = Value::map([
                    ("servers", args::take(args, 2)),
                    ("timeout", args::take(args, 3)),
                ]);
                let options = Options::of(options.as_array());
                let answer = lister.query(query(&name, RecordType::A, options, false)?);
                Ok(NativeStep::suspend(async move {
                    let found = answer.await.result.unwrap_or_default();
                    Ok(Value::list(found.iter().map(short_item)))
                }))
            },
        )
        .pure_function(
            "domain_includes(string subdomain, string domain [, array options]) -> boolean",
            "true if the first domain is the second or below it",
            |_, args| domain_includes(args::bytes(args, 0), args::bytes(args, 1)),
        )
        .pure_function(
            "idna_encode(string domain) -> string or none",
            "with international labels in punycode",
            |_, args| {
                let domain = str::from_utf8(args::bytes(args, 0)).ok()?;
                idna::domain_to_ascii(domain).ok().filter(|ascii| fits_in_the_dns(ascii))
            },
        )
        .pure_function(
            "idna_decode(string domain) -> string or none",
            "with punycode labels in UTF-8",
            |_, args| {
                let domain = str::from_utf8(args::bytes(args, 0)).ok()?;
                let (text, result) = idna::domain_to_unicode(domain);
                result.is_ok().then_some(text)
            },
        );
}

/// Registers `dns`, `dnsmx` and the like (3.19), which give a list of results.
pub(crate) fn register_old_names(registry: &mut Registry, services: &Services) {
    let names: [(&str, &[RecordType]); 8] = [
        ("dns", &[RecordType::A, RecordType::Aaaa]),
        ("dns4", &[RecordType::A]),
        ("dns6", &[RecordType::Aaaa]),
        ("dnscname", &[RecordType::Cname]),
        ("dnsmx", &[RecordType::Mx]),
        ("dnsns", &[RecordType::Ns]),
        ("dnsptr", &[RecordType::Ptr]),
        ("dnstxt", &[RecordType::Txt]),
    ];
    for (name, records) in names {
        let resolver = Arc::clone(&services.resolver);
        let signature = format!("{name}(string host [, array options]) -> array");
        registry.function(
            &signature,
            "old name of dns_query; a list of results",
            move |_, args| {
                let options = Options::new(args, 1);
                let extended = options.boolean("extended_result", false)?;
                let host = args::bytes(args, 0);
                let queries: Result<Vec<_>, Thrown> =
                    records.iter().map(|record| query(host, *record, options, extended)).collect();
                let answers = ask_all(Arc::clone(&resolver), queries?);
                Ok::<_, Thrown>(NativeStep::suspend(async move {
                    let answer = answers.await;
                    Ok(if extended {
                        full_result(answer, false)
                    } else {
                        Value::list(answer.result.unwrap_or_default().iter().map(short_item))
                    })
                }))
            },
        );
    }
}

/// Asks one question after the other and puts the answers together: an error counts only when
/// nothing was found.
async fn ask_all(resolver: Arc<dyn Resolver>, queries: Vec<DnsQuery>) -> DnsAnswer {
    let mut all = DnsAnswer { result: Err("NO_DATA".to_owned()), dnssec: true };
    for query in queries {
        let answer = resolver.query(query).await;
        all.dnssec &= answer.dnssec;
        match (&mut all.result, answer.result) {
            (Ok(found), Ok(more)) => found.extend(more),
            (slot @ Err(_), result) => *slot = result,
            (Ok(_), Err(_)) => {}
        }
    }
    all
}

fn query(
    host: &[u8],
    record: RecordType,
    options: Options<'_>,
    authentic: bool,
) -> Result<DnsQuery, Thrown> {
    let mut name = String::from_utf8_lossy(host).into_owned();
    if record == RecordType::Ptr
        && let Some(reverse) = inet::reverse(host, None)
    {
        name = String::from_utf8_lossy(&reverse).into_owned();
    }
    let seconds = options.number("timeout")?.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let timeout = Duration::try_from_secs_f64(seconds)
        .map_err(|_| Thrown::new("option \"timeout\" must be a number of seconds"))?;
    let mut servers = Vec::new();
    if let Some(list) = options.array("servers")? {
        for server in list.values() {
            let address = server.as_text().and_then(|text| text.parse::<IpAddr>().ok());
            servers.push(address.ok_or_else(|| {
                Thrown::new("option \"servers\" must be an array of IP addresses")
            })?);
        }
    }
    let port = match options.number("port")? {
        None => DNS_PORT,
        Some(port) if (1.0..=65_535.0).contains(&port) => port as u16,
        Some(_) => return Err(Thrown::new("option \"port\" must be from 1 to 65535")),
    };
    Ok(DnsQuery { host: name, record, timeout, servers, port, authentic })
}

fn record_type(name: &[u8]) -> Result<RecordType, Thrown> {
    Ok(match name.to_ascii_lowercase().as_slice() {
        b"a" => RecordType::A,
        b"aaaa" => RecordType::Aaaa,
        b"mx" => RecordType::Mx,
        b"txt" => RecordType::Txt,
        b"cname" => RecordType::Cname,
        b"ns" => RecordType::Ns,
        b"ptr" => RecordType::Ptr,
        b"soa" => RecordType::Soa,
        other => {
            let other = other.escape_ascii();
            return Err(Thrown::new(format!("dns_query() does not know the type \"{other}\"")));
        }
    })
}

fn full_result(answer: DnsAnswer, extended: bool) -> Value {
    let dnssec = Value::Bool(answer.dnssec);
    match answer.result {
        Ok(mut records) => {
            // Scripts expect the best mail exchanger first.
            records.sort_by_key(|record| match record.data {
                RecordData::Mx { preference, .. } => preference,
                _ => 0,
            });
            let item = if extended { extended_item } else { short_item };
            let result = Value::list(records.iter().map(item));
            Value::map([("result", result), ("dnssec", dnssec)])
        }
        Err(error) => Value::map([("error", Value::from(error)), ("dnssec", dnssec)]),
    }
}

fn short_item(record: &DnsRecord) -> Value {
    match &record.data {
        RecordData::Address(address) => address.to_string().into(),
        RecordData::Name(name) => name.as_str().into(),
        RecordData::Mx { exchange, .. } => exchange.as_str().into(),
        RecordData::Txt(text) => text.as_slice().into(),
        RecordData::Soa { mname, rname, serial, refresh, retry, expire, minimum } => {
            let text = format!("{mname} {rname} {serial} {refresh} {retry} {expire} {minimum}");
            text.into()
        }
    }
}

fn extended_item(record: &DnsRecord) -> Value {
    let fields: Vec<(&str, Value)> = match &record.data {
        RecordData::Address(address) => vec![("address", address.to_string().into())],
        RecordData::Name(name) => vec![("host", name.as_str().into())],
        RecordData::Mx { preference, exchange } => vec![
            ("preference", Value::Number(f64::from(*preference))),
            ("host", exchange.as_str().into()),
        ],
        RecordData::Txt(text) => vec![("text", text.as_slice().into())],
        RecordData::Soa { mname, rname, serial, refresh, retry, expire, minimum } => vec![
            ("mname", mname.as_str().into()),
            ("rname", rname.as_str().into()),
            ("serial", (*serial).into()),
            ("refresh", (*refresh).into()),
            ("retry", (*retry).into()),
            ("expire", (*expire).into()),
            ("minimum", (*minimum).into()),
        ],
    };
    let ttl = ("ttl", Value::from(record.ttl));
    Value::map(fields.into_iter().chain([ttl]).map(|(name, value)| (Key::from(name), value)))
}

/// Whether no label has more than 63 octets, and the name no more than 253 (RFC 1035 §2.3.4).
fn fits_in_the_dns(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.split('.').all(|label| label.len() <= 63)
}

/// Says whether `subdomain` is `domain` or below it; with a leading dot in `domain` only below.
/// Case does not matter, nor does a final dot.
pub(crate) fn domain_includes(subdomain: &[u8], domain: &[u8]) -> bool {
    let bare = |name: &'_ [u8]| name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase();
    let (subdomain, domain) = (bare(subdomain), bare(domain));
    if domain.first() == Some(&b'.') {
        return subdomain.len() > domain.len() && subdomain.ends_with(&domain);
    }
    match subdomain.strip_suffix(domain.as_slice()) {
        Some(rest) => !domain.is_empty() && (rest.is_empty() || rest.ends_with(b".")),
        None => false,
    }
}

const DEFAULT_TIMEOUT_SECONDS: f64 = 5.0;
const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_includes_itself_and_what_is_below() {
        let table = [
            ("example.org", "example.org", true),
            ("a.example.org", "example.org", true),
            ("A.Example.ORG.", "example.org", true),
            ("badexample.org", "example.org", false),
            ("example.org", ".example.org", false),
            ("a.example.org", ".example.org", true),
            ("org", "example.org", false),
            ("a", "", false),
            ("", "", false),
        ];
        for (subdomain, domain, expected) in table {
            let result = domain_includes(subdomain.as_bytes(), domain.as_bytes());
            assert_eq!(result, expected, "{subdomain} {domain}");
        }
    }
}
