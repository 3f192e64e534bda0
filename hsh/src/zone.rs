//! A DNS of a few records, for tests of scripts.

use std::net::IpAddr;

use hsl_std::services::{
    BoxFuture, DnsAnswer, DnsQuery, DnsRecord, RecordData, RecordType, Resolver,
};

/// Records by name; what is not in it does not exist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zone {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    /// What the name has, or the failure of every question for it.
    answer: Result<(RecordType, RecordData), String>,
}

impl Zone {
    /// Adds the record of a line: `NAME TYPE VALUE`, or `NAME CODE` for a name whose lookups fail
    /// with that code, `TRY_AGAIN` say.
    pub(crate) fn add(&mut self, line: &str) -> Result<(), String> {
        let wrong = || format!("\"{line}\" is no record: NAME TYPE VALUE or NAME CODE");
        let (name, rest) = line.trim().split_once([' ', '\t']).ok_or_else(wrong)?;
        let (kind, value) = rest.trim().split_once([' ', '\t']).unwrap_or((rest.trim(), ""));
        let value = value.trim();
        let is_code = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        let address = || value.parse::<IpAddr>().map(RecordData::Address).map_err(|_| wrong());
        let host = || RecordData::Name(value.trim_end_matches('.').to_owned());
        let answer = match (kind, value.is_empty()) {
            ("A", false) => Ok((RecordType::A, address()?)),
            ("AAAA", false) => Ok((RecordType::Aaaa, address()?)),
            ("CNAME", false) => Ok((RecordType::Cname, host())),
            ("NS", false) => Ok((RecordType::Ns, host())),
            ("PTR", false) => Ok((RecordType::Ptr, host())),
            ("TXT", _) => {
                let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                Ok((RecordType::Txt, RecordData::Txt(text.unwrap_or(value).into())))
            }
            ("MX", false) => {
                let (preference, exchange) = value.split_once([' ', '\t']).ok_or_else(wrong)?;
                let preference = preference.parse().map_err(|_| wrong())?;
                let exchange = exchange.trim().trim_end_matches('.').to_owned();
                Ok((RecordType::Mx, RecordData::Mx { preference, exchange }))
            }
            (code, true) if !code.is_empty() && is_code(code) => Err(code.to_owned()),
            _ => return Err(wrong()),
        };
        let name = reverse(name).unwrap_or_else(|| canonical(name));
        self.entries.push(Entry { name, answer });
        Ok(())
    }

    fn answer(&self, host: &str, record: RecordType) -> DnsAnswer {
        let mut name = canonical(host);
        let mut is_known = false;
        // Aliases are followed, as a resolver does; a loop of them ends.
        for _ in 0..=self.entries.len() {
            let here: Vec<&Entry> = self.entries.iter().filter(|e| e.name == name).collect();
            is_known |= !here.is_empty();
            if let Some(code) = here.iter().find_map(|entry| entry.answer.as_ref().err()) {
                return failed(code);
            }
            let of = |wanted: RecordType| {
                here.iter()
                    .filter_map(|entry| entry.answer.as_ref().ok())
                    .filter(move |(kind, _)| *kind == wanted)
                    .map(|(_, data)| data.clone())
            };
            let found: Vec<DnsRecord> =
                of(record).map(|data| DnsRecord { ttl: 300, data }).collect();
            if !found.is_empty() {
                return DnsAnswer { result: Ok(found), dnssec: false };
            }
            match of(RecordType::Cname).next() {
                Some(RecordData::Name(target)) => name = canonical(&target),
                _ => break,
            }
        }
        failed(if is_known { "NO_DATA" } else { "NXDOMAIN" })
    }
}

impl Resolver for Zone {
    fn query(&self, query: DnsQuery) -> BoxFuture<DnsAnswer> {
        Box::pin(std::future::ready(self.answer(&query.host, query.record)))
    }
}

fn failed(code: &str) -> DnsAnswer {
    DnsAnswer { result: Err(code.to_owned()), dnssec: false }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The reverse name of an address.
fn reverse(name: &str) -> Option<String> {
    match name.parse().ok()? {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            Some(format!("{d}.{c}.{b}.{a}.in-addr.arpa"))
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            Some(nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_through_aliases_and_the_rest_does_not_exist() {
        let mut zone = Zone::default();
        for line in [
            "example.org. MX 10 mx.example.org.",
            "www.example.org CNAME Example.org",
            "loop.example CNAME loop.example",
            "192.0.2.1 PTR a.example.org",
            "2001:db8::1 PTR b.example.org",
            "slow.example TRY_AGAIN",
            "example.org TXT \"v=spf1 -all\"",
        ] {
            zone.add(line).unwrap();
        }
        let ask = |name: &str, record| zone.answer(name, record).result;
        let mx = ask("WWW.example.org", RecordType::Mx).unwrap();
        let exchange = "mx.example.org".to_owned();
        assert_eq!(mx[0].data, RecordData::Mx { preference: 10, exchange });
        assert_eq!(ask("example.org", RecordType::A), Err("NO_DATA".to_owned()));
        assert_eq!(ask("loop.example", RecordType::A), Err("NO_DATA".to_owned()));
        assert_eq!(ask("other.example", RecordType::A), Err("NXDOMAIN".to_owned()));
        assert_eq!(ask("slow.example", RecordType::A), Err("TRY_AGAIN".to_owned()));
        assert!(ask("1.2.0.192.in-addr.arpa", RecordType::Ptr).is_ok());
        let reverse = format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(23));
        assert!(ask(&reverse, RecordType::Ptr).is_ok());
        let txt = ask("example.org", RecordType::Txt).unwrap();
        assert_eq!(txt[0].data, RecordData::Txt(b"v=spf1 -all".to_vec()));
        for wrong in ["example.org", "a A b", "a MX x y", "a a"] {
            assert!(zone.add(wrong).is_err(), "{wrong}");
        }
    }
}
