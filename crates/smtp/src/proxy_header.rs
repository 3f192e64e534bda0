//! The PROXY protocol, versions 1 and 2: who the client behind a load balancer is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::memchr;

/// A PROXY header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The two ends of the proxied connection.
    pub addresses: Addresses,
    /// The type-length-value section of version 2, as it came.
    pub tlv: Vec<u8>,
}

/// Whom the header speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The proxy's own connection (v2 LOCAL), or an unknown or unsupported family: use the
    /// addresses of the socket.
    Local,
    /// TCP over IPv4 or IPv6; both ends are of the same family.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// The address the client connected to.
        destination: SocketAddr,
    },
}

impl ProxyHeader {
    /// Reads a header of either version from the start of `input`.
    ///
    /// Returns the header and the octets it takes, or `None` when more input is needed; that ends
    /// at [`MAX_HEADER`] octets at the latest.
    ///
    /// # Errors
    ///
    /// [`ProxyHeaderError`]; the connection should be closed without a reply.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, ProxyHeaderError> {
        let shared = |signature: &[u8]| {
            let len = signature.len().min(input.len());
            input.get(..len) == signature.get(..len)
        };
        if shared(V2_SIGNATURE) {
            return parse_v2(input);
        }
        if shared(V1_SIGNATURE) {
            return parse_v1(input);
        }
        Err(ProxyHeaderError::Missing)
    }

    /// How many octets more surely belong to the header of which `input` is the beginning.
    ///
    /// At least one, so that whoever reads as many until [`ProxyHeader::parse`] has a header never reads
    /// past it: what follows may be the first octets of TLS.
    #[must_use]
    pub fn missing(input: &[u8]) -> usize {
        let known = match input.first_chunk::<V2_FIXED>() {
            Some([.., high, low]) if input.starts_with(V2_SIGNATURE) => {
                V2_FIXED + usize::from(u16::from_be_bytes([*high, *low]))
            }
            _ if input.starts_with(V2_SIGNATURE) => V2_FIXED,
            // No line of version 1 is shorter than the signature of version 2.
            _ => V2_SIGNATURE.len(),
        };
        known.saturating_sub(input.len()).max(1)
    }

    /// The version 1 line, CRLF at its end. The records are left out.
    #[must_use]
    pub fn to_v1(&self) -> Vec<u8> {
        match self.addresses.same_family() {
            None => b"PROXY UNKNOWN\r\n".to_vec(),
            Some((source, destination)) => {
                let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                let (from, to) = (source.ip(), destination.ip());
                let (from_port, to_port) = (source.port(), destination.port());
                format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
            }
        }
    }

    /// The version 2 block. Records that make it longer than [`MAX_HEADER`] are left out.
    #[must_use]
    pub fn to_v2(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(36);
        let (command, family) = match self.addresses.same_family() {
            None => (V2_LOCAL, 0),
            Some((SocketAddr::V4(source), SocketAddr::V4(destination))) => {
                body.extend(source.ip().octets());
                body.extend(destination.ip().octets());
                body.extend(source.port().to_be_bytes());
                body.extend(destination.port().to_be_bytes());
                (V2_PROXY, V2_TCP4)
            }
            Some((source, destination)) => {
                body.extend(octets_v6(source.ip()));
                body.extend(octets_v6(destination.ip()));
                body.extend(source.port().to_be_bytes());
                body.extend(destination.port().to_be_bytes());
                (V2_PROXY, V2_TCP6)
            }
        };
        if V2_FIXED + body.len() + self.tlv.len() <= MAX_HEADER {
            body.extend_from_slice(&self.tlv);
        }
        let mut block = Vec::with_capacity(V2_FIXED + body.len());
        block.extend_from_slice(V2_SIGNATURE);
        block.extend([0x20 | command, family]);
        // Bounded above.
        block.extend((body.len() as u16).to_be_bytes());
        block.append(&mut body);
        block
    }
}

impl Addresses {
    /// Both ends, if they are of one family, as every header needs.
    fn same_family(self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Proxied { source, destination } if source.is_ipv4() == destination.is_ipv4() => {
                Some((source, destination))
            }
            _ => None,
        }
    }
}

type Parsed = Result<Option<(ProxyHeader, usize)>, ProxyHeaderError>;

fn parse_v1(input: &[u8]) -> Parsed {
    let window = input.get(..V1_LONGEST.min(input.len())).unwrap_or_default();
    let Some(lf) = memchr(b'\n', window) else {
        let full = input.len() >= V1_LONGEST;
        return if full { Err(ProxyHeaderError::BadV1) } else { Ok(None) };
    };
    let line = window.get(..lf).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    let addresses = line.and_then(v1_addresses).ok_or(ProxyHeaderError::BadV1)?;
    Ok(Some((ProxyHeader { addresses, tlv: Vec::new() }, lf + 1)))
}

fn v1_addresses(line: &str) -> Option<Addresses> {
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // What follows is to be ignored.
        return Some(Addresses::Local);
    }
    let mut ip = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (from, to) = (ip()?, ip()?);
    let mut port = || -> Option<u16> {
        let word = words.next()?;
        word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok())?
    };
    let (from_port, to_port) = (port()?, port()?);
    let (source, destination) = (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
    words.next().is_none().then_some(Addresses::Proxied { source, destination })
}

fn parse_v2(input: &[u8]) -> Parsed {
    let Some((fixed, rest)) = input.split_at_checked(V2_FIXED) else { return Ok(None) };
    let &[version_command, family, high, low] =
        fixed.last_chunk::<4>().ok_or(ProxyHeaderError::BadV2)?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 || V2_FIXED + len > MAX_HEADER {
        return Err(ProxyHeaderError::BadV2);
    }
    let Some(body) = rest.get(..len) else { return Ok(None) };
    let (addresses, tlv) = match (version_command & 15, family) {
        (V2_LOCAL, _) => (Addresses::Local, &[][..]),
        (V2_PROXY, V2_TCP4) => {
            let (ends, tlv) = split::<12>(body)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = ends;
            (proxied([a, b, c, d].into(), [e, f, g, h].into(), ports), tlv)
        }
        (V2_PROXY, V2_TCP6) => {
            let (from, rest) = split::<16>(body)?;
            let (to, rest) = split::<16>(rest)?;
            let (ports, tlv) = split::<4>(rest)?;
            (proxied(from.into(), to.into(), ports), tlv)
        }
        // Other families and UDP: the receiver must accept and may ignore them.
        (V2_PROXY, _) => (Addresses::Local, &[][..]),
        _ => return Err(ProxyHeaderError::BadV2),
    };
    Ok(Some((ProxyHeader { addresses, tlv: tlv.to_vec() }, V2_FIXED + len)))
}

fn proxied(from: IpAddr, to: IpAddr, [a, b, c, d]: [u8; 4]) -> Addresses {
    Addresses::Proxied {
        source: SocketAddr::new(from, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(to, u16::from_be_bytes([c, d])),
    }
}

fn split<const N: usize>(body: &[u8]) -> Result<([u8; N], &[u8]), ProxyHeaderError> {
    body.split_first_chunk::<N>().map(|(head, rest)| (*head, rest)).ok_or(ProxyHeaderError::BadV2)
}

const fn octets_v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Why the start of a connection is no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// Neither signature.
    #[error("no PROXY header")]
    Missing,
    /// A version 1 line of wrong form or over 107 octets.
    #[error("malformed PROXY version 1 header")]
    BadV1,
    /// A version 2 block of wrong form or too long.
    #[error("malformed PROXY version 2 header")]
    BadV2,
}

/// Octets of a header that are read at most: a certificate or two in its records, not more.
pub const MAX_HEADER: usize = V2_FIXED + 16 * 1024;

const V1_SIGNATURE: &[u8] = b"PROXY ";
/// Octets of a version 1 line with CRLF, at most.
const V1_LONGEST: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;
const V2_LOCAL: u8 = 0;
const V2_PROXY: u8 = 1;
const V2_TCP4: u8 = 0x11;
const V2_TCP6: u8 = 0x21;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(input: &[u8]) -> ProxyHeader {
        let (header, consumed) = ProxyHeader::parse(input).unwrap().unwrap();
        assert_eq!(consumed, input.len());
        header
    }

    #[test]
    fn reads_version_1() {
        let header = whole(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n");
        let (source, destination) =
            ("192.0.2.1:56324".parse().unwrap(), "198.51.100.2:25".parse().unwrap());
        assert_eq!(header.addresses, Addresses::Proxied { source, destination });
        assert_eq!(whole(b"PROXY UNKNOWN\r\n").addresses, Addresses::Local);
        assert_eq!(whole(b"PROXY UNKNOWN ffff::1 x 1 2\r\n").addresses, Addresses::Local);
        let followed = b"PROXY UNKNOWN\r\nEHLO x\r\n";
        assert_eq!(ProxyHeader::parse(followed).unwrap().unwrap().1, 15);
    }

    #[test]
    fn refuses_what_is_no_header() {
        for bad in [
            &b"EHLO x\r\n"[..],
            b"PROXY\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 65536\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 +6324 25\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25 x\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.2 56324 25\r\n",
            &[&b"PROXY "[..], &[b'x'; 101]].concat(),
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcd",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        ] {
            assert!(ProxyHeader::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_local_command_of_version_2_uses_the_socket() {
        let health_check = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x03xyz";
        assert_eq!(whole(health_check), ProxyHeader { addresses: Addresses::Local, tlv: vec![] });
    }

    fn any_header() -> impl Strategy<Value = ProxyHeader> {
        let v4 = (any::<([u8; 4], u16)>(), any::<([u8; 4], u16)>())
            .prop_map(|(a, b)| (SocketAddr::from(a), SocketAddr::from(b)));
        let v6 = (any::<([u8; 16], u16)>(), any::<([u8; 16], u16)>())
            .prop_map(|(a, b)| (SocketAddr::from(a), SocketAddr::from(b)));
        let tlv = prop::collection::vec(any::<u8>(), 0..40);
        (prop_oneof![v4, v6], tlv).prop_map(|((source, destination), tlv)| ProxyHeader {
            addresses: Addresses::Proxied { source, destination },
            tlv,
        })
    }

    proptest! {
        #[test]
        fn parse_undoes_print(header in any_header()) {
            let v2 = header.to_v2();
            for at in 0..v2.len() {
                prop_assert_eq!(ProxyHeader::parse(&v2[..at]), Ok(None));
            }
            prop_assert_eq!(ProxyHeader::parse(&v2), Ok(Some((header.clone(), v2.len()))));
            let v1 = header.to_v1();
            for at in 0..v1.len() {
                prop_assert_eq!(ProxyHeader::parse(&v1[..at]), Ok(None));
            }
            let bare = ProxyHeader { tlv: Vec::new(), ..header };
            prop_assert_eq!(ProxyHeader::parse(&v1), Ok(Some((bare, v1.len()))));
        }

        #[test]
        fn hostile_headers_never_panic(tail: Vec<u8>, version in 0usize..2) {
            let start = [V1_SIGNATURE, V2_SIGNATURE][version];
            let _ = ProxyHeader::parse(&[start, &tail].concat());
            let _ = ProxyHeader::parse(&tail);
        }
    }
}
