//! EHLO keywords: what is announced, and what an announcement makes legal.

use bitflags::bitflags;

bitflags! {
    /// The extensions this crate acts upon.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Extensions: u32 {
        /// RFC 2920.
        const PIPELINING = 1;
        /// RFC 1870.
        const SIZE = 1 << 1;
        /// RFC 6152.
        const EIGHTBITMIME = 1 << 2;
        /// RFC 6531.
        const SMTPUTF8 = 1 << 3;
        /// RFC 3030, without BINARYMIME.
        const CHUNKING = 1 << 4;
        /// RFC 3207.
        const STARTTLS = 1 << 5;
        /// RFC 4954.
        const AUTH = 1 << 6;
        /// RFC 3461.
        const DSN = 1 << 7;
        /// RFC 2034.
        const ENHANCEDSTATUSCODES = 1 << 8;
        /// RFC 8689.
        const REQUIRETLS = 1 << 9;
        /// Postfix's XCLIENT, client side only.
        const XCLIENT = 1 << 10;
    }
}

impl Extensions {
    /// What a server announces unless told otherwise: all but DSN, which a script adds, and
    /// REQUIRETLS, which binds every next hop.
    #[must_use]
    pub const fn default_offer() -> Self {
        Self::PIPELINING
            .union(Self::SIZE)
            .union(Self::EIGHTBITMIME)
            .union(Self::SMTPUTF8)
            .union(Self::CHUNKING)
            .union(Self::STARTTLS)
            .union(Self::AUTH)
            .union(Self::ENHANCEDSTATUSCODES)
    }

    /// The extension of an EHLO keyword, whatever its case.
    #[must_use]
    pub fn from_keyword(keyword: &str) -> Option<Self> {
        KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(keyword)).map(|(_, flag)| *flag)
    }
}

/// EHLO keywords in the order in which they are announced.
pub const KEYWORDS: &[(&str, Extensions)] = &[
    ("PIPELINING", Extensions::PIPELINING),
    ("SIZE", Extensions::SIZE),
    ("8BITMIME", Extensions::EIGHTBITMIME),
    ("SMTPUTF8", Extensions::SMTPUTF8),
    ("CHUNKING", Extensions::CHUNKING),
    ("STARTTLS", Extensions::STARTTLS),
    ("AUTH", Extensions::AUTH),
    ("DSN", Extensions::DSN),
    ("ENHANCEDSTATUSCODES", Extensions::ENHANCEDSTATUSCODES),
    ("REQUIRETLS", Extensions::REQUIRETLS),
    ("XCLIENT", Extensions::XCLIENT),
];

/// An EHLO list that was read: ours on its way out, or the peer's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The extensions we act upon.
    pub extensions: Extensions,
    /// The number after SIZE, unless absent or 0 (RFC 1870 §3: no limit is declared).
    pub size: Option<u64>,
    /// SASL mechanisms after AUTH, upper case.
    pub mechanisms: Vec<String>,
    /// Attributes after XCLIENT, upper case.
    pub xclient: Vec<String>,
    /// Keywords we know nothing about, upper case; a parameter of the same name is passed on.
    pub others: Vec<String>,
}

impl Offer {
    /// Reads EHLO lines such as `SIZE 10240000`; the first line of the reply is not among them.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut offer = Self::default();
        for line in lines {
            offer.add(line);
        }
        offer
    }

    /// Tells whether an extension is on offer.
    #[must_use]
    pub const fn has(&self, extension: Extensions) -> bool {
        self.extensions.contains(extension)
    }

    /// Tells whether the offer makes a MAIL parameter legal; `key` is in upper case.
    #[must_use]
    pub fn allows_mail_parameter(&self, key: &str) -> bool {
        self.allows(MAIL_PARAMETERS, key)
    }

    /// Tells whether the offer makes a RCPT parameter legal; `key` is in upper case.
    #[must_use]
    pub fn allows_rcpt_parameter(&self, key: &str) -> bool {
        self.allows(RCPT_PARAMETERS, key)
    }

    /// Octets that offered extensions add to the length of a MAIL or RCPT line.
    #[must_use]
    pub fn line_room(&self) -> usize {
        let known: usize = LINE_ROOM
            .iter()
            .filter(|(extension, _)| self.has(*extension))
            .map(|(_, room)| room)
            .sum();
        // What an extension of a script needs is not known; one more line's worth is fair.
        known + if self.others.is_empty() { 0 } else { 512 }
    }

    fn allows(&self, table: &[(&str, Extensions)], key: &str) -> bool {
        match table.iter().find(|(name, _)| *name == key) {
            Some((_, extension)) => self.has(*extension),
            None => self.others.iter().any(|keyword| parameter_of(keyword, key)),
        }
    }

    fn add(&mut self, line: &str) {
        // Old servers write `AUTH=LOGIN` for clients of their time.
        let mut words = line.split_ascii_whitespace();
        let Some(keyword) = words.next() else { return };
        let upper = |word: &str| word.to_ascii_uppercase();
        let Some(extension) = Extensions::from_keyword(keyword) else {
            if let Some(mechanism) = strip_prefix_ignore_case(keyword, "AUTH=") {
                self.extensions |= Extensions::AUTH;
                self.add_mechanisms(std::iter::once(mechanism).chain(words));
            } else if self.others.len() < MAX_WORDS {
                self.others.push(upper(keyword));
            }
            return;
        };
        self.extensions |= extension;
        match extension {
            Extensions::SIZE => {
                self.size = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
            }
            Extensions::AUTH => self.add_mechanisms(words),
            Extensions::XCLIENT => self.xclient.extend(words.take(MAX_WORDS).map(upper)),
            _ => {}
        }
    }

    fn add_mechanisms<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words {
            let word = word.to_ascii_uppercase();
            if self.mechanisms.len() < MAX_WORDS
                && !word.is_empty()
                && !self.mechanisms.contains(&word)
            {
                self.mechanisms.push(word);
            }
        }
    }
}

/// MAIL parameters and the extension each belongs to.
const MAIL_PARAMETERS: &[(&str, Extensions)] = &[
    ("SIZE", Extensions::SIZE),
    ("BODY", Extensions::EIGHTBITMIME),
    ("SMTPUTF8", Extensions::SMTPUTF8),
    ("RET", Extensions::DSN),
    ("ENVID", Extensions::DSN),
    ("AUTH", Extensions::AUTH),
    ("REQUIRETLS", Extensions::REQUIRETLS),
];

/// RCPT parameters and the extension each belongs to.
const RCPT_PARAMETERS: &[(&str, Extensions)] =
    &[("NOTIFY", Extensions::DSN), ("ORCPT", Extensions::DSN)];

/// Extensions whose parameters are named otherwise: RFC 2852, RFC 4865.
const OTHER_PARAMETERS: &[(&str, &str)] =
    &[("DELIVERBY", "BY"), ("FUTURERELEASE", "HOLDFOR"), ("FUTURERELEASE", "HOLDUNTIL")];

/// Octets by which extensions lengthen MAIL and RCPT: RFC 1870 §3, RFC 6152 §2, RFC 6531 §3.1, RFC
/// 3461 §4, RFC 4954 §3, RFC 8689 §2.
const LINE_ROOM: &[(Extensions, usize)] = &[
    (Extensions::SIZE, 26),
    (Extensions::EIGHTBITMIME, 17),
    (Extensions::SMTPUTF8, 10),
    (Extensions::DSN, 635),
    (Extensions::AUTH, 500),
    (Extensions::REQUIRETLS, 11),
];

/// Words kept of one kind; real servers offer a dozen.
const MAX_WORDS: usize = 64;

fn parameter_of(keyword: &str, key: &str) -> bool {
    keyword == key || OTHER_PARAMETERS.contains(&(keyword, key))
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_announce() {
        let offer = Offer::parse([
            "PIPELINING",
            "size 10240000",
            "AUTH PLAIN login",
            "AUTH=LOGIN",
            "XCLIENT NAME ADDR",
            "X-SOMETHING a b",
            "",
        ]);
        assert!(offer.has(Extensions::PIPELINING | Extensions::SIZE | Extensions::AUTH));
        assert!(!offer.has(Extensions::DSN));
        assert_eq!(offer.size, Some(10_240_000));
        assert_eq!(offer.mechanisms, ["PLAIN", "LOGIN"]);
        assert_eq!(offer.xclient, ["NAME", "ADDR"]);
        assert_eq!(offer.others, ["X-SOMETHING"]);
    }

    #[test]
    fn a_size_of_zero_or_none_declares_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE many"] {
            let offer = Offer::parse([line]);
            assert!(offer.has(Extensions::SIZE));
            assert_eq!(offer.size, None, "{line}");
        }
    }

    #[test]
    fn parameters_are_legal_with_their_extension_only() {
        let none = Offer::default();
        let dsn = Offer::parse(["DSN", "DELIVERBY", "MT-PRIORITY MIXER"]);
        assert!(!none.allows_mail_parameter("ENVID") && dsn.allows_mail_parameter("ENVID"));
        assert!(!none.allows_rcpt_parameter("NOTIFY") && dsn.allows_rcpt_parameter("NOTIFY"));
        assert!(!dsn.allows_mail_parameter("SIZE"));
        assert!(dsn.allows_mail_parameter("BY") && dsn.allows_mail_parameter("MT-PRIORITY"));
        assert!(!none.allows_mail_parameter("BY"));
        assert!(dsn.line_room() > none.line_room());
    }

    #[test]
    fn a_hostile_list_stays_small() {
        let lines: Vec<String> = (0..1000).map(|n| format!("X{n}")).collect();
        assert_eq!(Offer::parse(lines.iter().map(String::as_str)).others.len(), MAX_WORDS);
    }
}
