//! SPF records (RFC 7208 §4.6, §5, §6) and the macros in them (§7), as text.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A record taken apart; anything wrong in it makes all of it wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) mechanisms: Vec<(Qualifier, Mechanism)>,
    pub(super) redirect: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(String),
    A(Option<String>, Masks),
    Mx(Option<String>, Masks),
    Ptr(Option<String>),
    Ip(Network),
    Exists(String),
}

/// Prefix lengths for the two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Masks {
    v4: u8,
    v6: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    masks: Masks,
}

impl Record {
    /// Whether a TXT record is for us (§4.5).
    pub(super) fn is_one(text: &[u8]) -> bool {
        let version = text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"v=spf1"));
        version && matches!(text.get(6), None | Some(b' '))
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text.get(6..)?).ok().filter(|text| text.is_ascii())?;
        let mut record = Self { mechanisms: Vec::new(), redirect: None };
        let mut has_explanation = false;
        for term in text.split(' ').filter(|term| !term.is_empty()) {
            if let Some((name, value)) = modifier(term) {
                if name.eq_ignore_ascii_case("redirect") {
                    if record.redirect.replace(domain_spec(value)?).is_some() {
                        return None;
                    }
                } else if name.eq_ignore_ascii_case("exp") {
                    domain_spec(value)?;
                    if std::mem::replace(&mut has_explanation, true) {
                        return None;
                    }
                } else if !is_macro_string(value) {
                    return None;
                }
                continue;
            }
            record.mechanisms.push(mechanism(term)?);
        }
        Some(record)
    }
}

fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    is_name.then_some((name, value))
}

fn mechanism(term: &str) -> Option<(Qualifier, Mechanism)> {
    let (qualifier, term) = match term.split_at_checked(1)? {
        ("+", rest) => (Qualifier::Pass, rest),
        ("-", rest) => (Qualifier::Fail, rest),
        ("~", rest) => (Qualifier::SoftFail, rest),
        ("?", rest) => (Qualifier::Neutral, rest),
        _ => (Qualifier::Pass, term),
    };
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at_checked(end)?;
    let spec = rest.strip_prefix(':');
    let mechanism = match (name.to_ascii_lowercase().as_str(), spec) {
        ("all", None) if rest.is_empty() => Mechanism::All,
        ("include", Some(spec)) => Mechanism::Include(domain_spec(spec)?),
        ("exists", Some(spec)) => Mechanism::Exists(domain_spec(spec)?),
        ("ptr", None) if rest.is_empty() => Mechanism::Ptr(None),
        ("ptr", Some(spec)) => Mechanism::Ptr(Some(domain_spec(spec)?)),
        (name @ ("a" | "mx"), _) => {
            let (spec, masks) = dual(rest)?;
            let spec = match spec.strip_prefix(':') {
                Some(spec) => Some(domain_spec(spec)?),
                None if spec.is_empty() => None,
                None => return None,
            };
            if name == "a" { Mechanism::A(spec, masks) } else { Mechanism::Mx(spec, masks) }
        }
        (name @ ("ip4" | "ip6"), Some(text)) => {
            let (text, bits) = match text.split_once('/') {
                Some((text, bits)) => (text, Some(bits)),
                None => (text, None),
            };
            let address: IpAddr = text.parse().ok()?;
            if address.is_ipv4() != (name == "ip4") {
                return None;
            }
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| prefix(bits, most))?;
            Mechanism::Ip(Network { address, masks: Masks { v4: bits, v6: bits } })
        }
        _ => return None,
    };
    Some((qualifier, mechanism))
}

/// Takes `/n`, `//m` or both off the end.
fn dual(text: &str) -> Option<(&str, Masks)> {
    let mut masks = Masks { v4: 32, v6: 128 };
    let mut rest = text;
    if let Some((front, bits)) = rest.rsplit_once("//").filter(|(_, bits)| is_number(bits)) {
        masks.v6 = prefix(bits, 128)?;
        rest = front;
    }
    if let Some((front, bits)) = rest.rsplit_once('/').filter(|(_, bits)| is_number(bits)) {
        masks.v4 = prefix(bits, 32)?;
        rest = front;
    }
    Some((rest, masks))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn prefix(text: &str, most: u8) -> Option<u8> {
    let has_form = is_number(text) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|bits| has_form && *bits <= most)
}

/// Whether the macros of a text are well formed and nothing in it is out of sight (§7.1).
fn is_macro_string(text: &str) -> bool {
    let dummy = Macros {
        local: "l",
        sender_domain: "d.example",
        domain: "d.example",
        ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        helo: "h.example",
        name: "n.example",
    };
    text.bytes().all(|octet| octet.is_ascii_graphic()) && dummy.expand(text).is_some()
}

/// A text with macros that ends as a name does: with a label that is no number, or with a macro
/// (§7.1).
fn domain_spec(text: &str) -> Option<String> {
    if text.is_empty() || !is_macro_string(text) {
        return None;
    }
    let trimmed = text.strip_suffix('.').unwrap_or(text);
    let last = trimmed.rsplit('.').next().unwrap_or_default();
    let is_label = last.starts_with(|c: char| c.is_ascii_alphanumeric())
        && last.ends_with(|c: char| c.is_ascii_alphanumeric())
        && last.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !is_number(last)
        && trimmed.contains('.');
    let macro_at_end = text.rfind("%{").and_then(|at| text.get(at..));
    let is_macro = macro_at_end.is_some_and(|body| body.find('}') == Some(body.len() - 1));
    (is_macro || is_label).then(|| text.to_owned())
}

impl Masks {
    /// Whether `ip` is in the network of `address`.
    pub(super) fn includes(self, address: IpAddr, ip: IpAddr) -> bool {
        match (address, ip) {
            (IpAddr::V4(address), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.v4)).unwrap_or(0);
                u32::from(address) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(address), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.v6)).unwrap_or(0);
                u128::from(address) & mask == u128::from(ip) & mask
            }
            _ => false,
        }
    }
}

impl Network {
    pub(super) fn includes(&self, ip: IpAddr) -> bool {
        self.masks.includes(self.address, ip)
    }
}

/// What macros stand for.
pub(super) struct Macros<'a> {
    pub(super) local: &'a str,
    pub(super) sender_domain: &'a str,
    pub(super) domain: &'a str,
    pub(super) ip: IpAddr,
    pub(super) helo: &'a str,
    /// `p`: the confirmed name of the address.
    pub(super) name: &'a str,
}

impl Macros<'_> {
    /// Whether the name of the address has to be known for `spec`.
    pub(super) fn need_name(spec: &str) -> bool {
        spec.contains("%{p") || spec.contains("%{P")
    }

    /// Replaces the macros; `None` when one is malformed. A name that gets too long loses labels on
    /// the left (§7.3).
    pub(super) fn expand(&self, spec: &str) -> Option<String> {
        let mut out = String::with_capacity(spec.len().min(2 * ENOUGH));
        let mut rest = spec;
        while let Some(at) = rest.find('%') {
            out.push_str(rest.get(..at)?);
            rest = rest.get(at + 1..)?;
            let (kind, after) = rest.split_at_checked(1)?;
            rest = after;
            match kind {
                "%" => out.push('%'),
                "_" => out.push(' '),
                "-" => out.push_str("%20"),
                "{" => {
                    let (body, after) = rest.split_once('}')?;
                    self.expand_one(body, &mut out)?;
                    rest = after;
                }
                _ => return None,
            }
            forget_front(&mut out);
        }
        out.push_str(rest);
        if out.len() <= MOST_OCTETS {
            return Some(out);
        }
        // What stays begins behind the first dot that leaves no more than a name may have.
        let from = (out.len() - MOST_OCTETS - 1..out.len()).find(|at| out.is_char_boundary(*at))?;
        let (_, name) = out.get(from..)?.split_once('.')?;
        Some(name.to_owned())
    }

    fn expand_one(&self, body: &str, out: &mut String) -> Option<()> {
        let (letter, rest) = body.split_at_checked(1)?;
        let value = match letter.to_ascii_lowercase().as_str() {
            "s" => format!("{}@{}", self.local, self.sender_domain),
            "l" => self.local.to_owned(),
            "o" => self.sender_domain.to_owned(),
            "d" => self.domain.to_owned(),
            "i" => dotted(self.ip),
            "p" => self.name.to_owned(),
            "v" => if self.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            "h" => self.helo.to_owned(),
            _ => return None,
        };
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, rest) = rest.split_at_checked(digits)?;
        let (is_reversed, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if !delimiters.chars().all(|c| matches!(c, '.' | '-' | '+' | ',' | '/' | '_' | '=')) {
            return None;
        }
        let delimiters = if delimiters.is_empty() { "." } else { delimiters };
        let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
        if is_reversed {
            parts.reverse();
        }
        if !count.is_empty() {
            let count: usize = count.parse().ok().filter(|count| *count > 0)?;
            parts.drain(..parts.len().saturating_sub(count));
        }
        let value = parts.join(".");
        if letter.starts_with(|c: char| c.is_ascii_uppercase()) {
            for byte in value.bytes() {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                    out.push(char::from(byte));
                } else {
                    // Writing to a string does not fail.
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        } else {
            out.push_str(&value);
        }
        Some(())
    }
}

/// Drops what is cut off in the end anyhow: a record of many macros is no longer than what it names.
fn forget_front(out: &mut String) {
    if out.len() > 2 * ENOUGH {
        let at = out.len() - ENOUGH;
        let at = (at..out.len()).find(|at| out.is_char_boundary(*at)).unwrap_or(out.len());
        out.drain(..at);
    }
}

/// Octets of a name (RFC 1035 §2.3.4).
const MOST_OCTETS: usize = 253;

/// Octets at the end of an expansion that decide what is left of it.
const ENOUGH: usize = 1024;

/// The form of macro `i`: an IPv6 address as nibbles with dots.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => nibbles(ip),
    }
}

fn nibbles(ip: Ipv6Addr) -> String {
    let mut out = String::with_capacity(63);
    for octet in ip.octets() {
        let dot = if out.is_empty() { "" } else { "." };
        let _ = write!(out, "{dot}{:x}.{:x}", octet >> 4, octet & 15);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_macros_of_rfc_7208_7_4() {
        let macros = |ip: &str| Macros {
            local: "strong-bad",
            sender_domain: "email.example.com",
            domain: "email.example.com",
            ip: ip.parse().unwrap(),
            helo: "mx.example.org",
            name: "mx.example.org",
        };
        let table = [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
            ("%%%_%-", "% %20"),
            ("%{S}", "strong-bad%40email.example.com"),
        ];
        for (spec, expected) in table {
            assert_eq!(macros("192.0.2.3").expand(spec).as_deref(), Some(expected), "{spec}");
        }
        assert_eq!(
            macros("2001:db8::cb01").expand("%{ir}.%{v}._spf.%{d2}").as_deref(),
            Some(
                "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
            )
        );
        for bad in ["%", "%x", "%{", "%{}", "%{z}", "%{d0}", "%{d!}"] {
            assert_eq!(macros("192.0.2.3").expand(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_too_long_loses_labels_on_the_left() {
        let long = "é.".repeat(120);
        let macros = Macros {
            local: "l",
            sender_domain: "d.example",
            domain: &long,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "h.example",
            name: "n.example",
        };
        for spec in [
            "x.".repeat(123) + "example",
            "x.".repeat(130) + "example",
            "xy.".repeat(130) + "example",
            "%{d}example".to_owned(),
            "%{d}%{d}example".to_owned(),
            "%{d}".repeat(50) + "example",
        ] {
            let mut wanted = spec.replace("%{d}", &long);
            while wanted.len() > 253 {
                wanted = wanted.split_once('.').unwrap().1.to_owned();
            }
            assert_eq!(macros.expand(&spec), Some(wanted), "{spec}");
        }
        assert_eq!(macros.expand(&"x".repeat(300)), None);
    }

    #[test]
    fn a_record_of_many_macros_takes_no_square_of_the_time() {
        // 60,000 octets from the DNS that stand for 15,000,000 octets of labels.
        let helo = "a.".repeat(500);
        let macros = Macros {
            local: "l",
            sender_domain: "d.example",
            domain: "d.example",
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: &helo,
            name: "n.example",
        };
        let spec = "%{h}".repeat(15_000);
        assert!(macros.expand(&spec).unwrap().len() <= 253);
        assert!(
            Record::parse(format!("v=spf1 a:{}example", "a.".repeat(30_000)).as_bytes()).is_some()
        );
    }

    #[test]
    fn records_are_right_or_wrong_as_a_whole() {
        for good in [
            "v=spf1",
            "v=spf1 +all",
            "V=SPF1 A/24//64 mx:example.org ip4:192.0.2.0/24 -All",
            "v=spf1 ip6:2001:db8::/32 unknown=x exists:%{i}.x.example ?ptr redirect=%{d}",
            "v=spf1 a:b:c.d.example a:x.xn--p1ai. include:%{d1r/}",
        ] {
            assert!(Record::is_one(good.as_bytes()), "{good}");
            assert!(Record::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "v=spf1 al",
            "v=spf1 all:x",
            "v=spf1 include",
            "v=spf1 ip4:192.0.2.0/33",
            "v=spf1 a/033",
            "v=spf1 ip4:2001:db8::1",
            "v=spf1 redirect=a.b redirect=a.b",
            "v=spf1 a:foo",
            "v=spf1 exists:%{z}.b",
            "v=spf1 -",
            "v=spf1 ptr/24",
            // The Sender Policy Framework's test suite: a port, a prefix length, a control character
            // in a name, and a percent sign without a macro.
            "v=spf1 a:example.com:8080",
            "v=spf1 exists:example.com/24",
            "v=spf1 a:ctrl.example.com\rptr -all",
            "v=spf1 a:ctrl\r.example.com -all",
            "v=spf1 -all foo=%abc",
            "v=spf1 a:x.y}",
        ] {
            assert_eq!(Record::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(!Record::is_one(b"v=spf10 all") && !Record::is_one(b"spf1"));
    }
}
