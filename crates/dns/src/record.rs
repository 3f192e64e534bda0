//! Records as the rest of the product sees them, free of the library's types.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hickory_proto::rr::{RData, RecordType};

/// Kinds of records that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Canonical name.
    Cname,
    /// Mail exchanger.
    Mx,
    /// Name server.
    Ns,
    /// Name of an address.
    Ptr,
    /// Start of authority.
    Soa,
    /// Certificate association (RFC 6698).
    Tlsa,
    /// Text.
    Txt,
}

impl RecordKind {
    pub(crate) const fn to_library(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Cname => RecordType::CNAME,
            Self::Mx => RecordType::MX,
            Self::Ns => RecordType::NS,
            Self::Ptr => RecordType::PTR,
            Self::Soa => RecordType::SOA,
            Self::Tlsa => RecordType::TLSA,
            Self::Txt => RecordType::TXT,
        }
    }
}

impl FromStr for RecordKind {
    type Err = ();

    /// Parses the lower-case name that scripts use (`a`, `aaaa`, `mx` …); case does not matter.
    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "a" => Self::A,
            "aaaa" => Self::Aaaa,
            "cname" => Self::Cname,
            "mx" => Self::Mx,
            "ns" => Self::Ns,
            "ptr" => Self::Ptr,
            "soa" => Self::Soa,
            "tlsa" => Self::Tlsa,
            "txt" => Self::Txt,
            _ => return Err(()),
        })
    }
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Time the record may still be used, in seconds.
    pub ttl: u32,
    /// What it says.
    pub value: RecordValue,
}

/// What a record says. Names have no trailing dot and keep the case of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordValue {
    /// IPv4 address.
    A(Ipv4Addr),
    /// IPv6 address.
    Aaaa(Ipv6Addr),
    /// A single name: CNAME, NS or PTR.
    Name(String),
    /// Mail exchanger; the root (`.`) is the empty name.
    Mx {
        /// Lower is preferred.
        preference: u16,
        /// Host name.
        exchange: String,
    },
    /// Start of authority.
    Soa {
        /// Primary name server.
        primary: String,
        /// Mailbox of the person in charge, as a name.
        mailbox: String,
        /// Serial number of the zone.
        serial: u32,
        /// Seconds between refreshes.
        refresh: i32,
        /// Seconds between retries.
        retry: i32,
        /// Seconds until the zone expires.
        expire: i32,
        /// Seconds that negative answers last.
        minimum: u32,
    },
    /// Certificate association (RFC 6698 §2.1).
    Tlsa {
        /// Certificate usage, 0 to 255.
        usage: u8,
        /// Selector, 0 to 255.
        selector: u8,
        /// Matching type, 0 to 255.
        matching: u8,
        /// Association data.
        data: Vec<u8>,
    },
    /// The strings of one TXT record, joined.
    Txt(Vec<u8>),
}

impl RecordValue {
    /// Reads the library's value; `None` for kinds that nobody here asks for.
    pub(crate) fn from_library(data: &RData) -> Option<Self> {
        Some(match data {
            RData::A(a) => Self::A(a.0),
            RData::AAAA(aaaa) => Self::Aaaa(aaaa.0),
            RData::CNAME(name) => Self::Name(plain(&name.0)),
            RData::NS(name) => Self::Name(plain(&name.0)),
            RData::PTR(name) => Self::Name(plain(&name.0)),
            RData::MX(mx) => Self::Mx { preference: mx.preference, exchange: plain(&mx.exchange) },
            RData::SOA(soa) => Self::Soa {
                primary: plain(&soa.mname),
                mailbox: plain(&soa.rname),
                serial: soa.serial,
                refresh: soa.refresh,
                retry: soa.retry,
                expire: soa.expire,
                minimum: soa.minimum,
            },
            RData::TLSA(tlsa) => Self::Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            },
            RData::TXT(txt) => Self::Txt(txt.txt_data.concat()),
            _ => return None,
        })
    }
}

/// Reads the answers of a DNS message as those of a name server are read; `None` when it is none.
/// Records of kinds that nobody here asks for are passed over.
pub fn records_of_message(octets: &[u8]) -> Option<Vec<Record>> {
    let message = hickory_proto::op::Message::from_vec(octets).ok()?;
    let answers = message.answers.iter();
    let record = |record: &hickory_proto::rr::Record| {
        let value = RecordValue::from_library(&record.data)?;
        Some(Record { ttl: record.ttl, value })
    };
    Some(answers.filter_map(record).collect())
}

/// A name without its trailing dot; the root is empty.
fn plain(name: &hickory_proto::rr::Name) -> String {
    let mut text = name.to_utf8();
    if text.ends_with('.') {
        text.pop();
    }
    text
}
