//! IP addresses and networks as scripts write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Says whether `ip` is inside `network`: an address, `net/bits`, or a range `a-b`.
///
/// Addresses of different families never match. `None` when one of the texts is neither.
pub(crate) fn includes(ip: &[u8], network: &[u8]) -> Option<bool> {
    let ip = parse(ip)?;
    let network = str::from_utf8(network).ok()?;
    let (first, last) = if let Some((base, bits)) = network.split_once('/') {
        subnet(parse(base.as_bytes())?, bits)?
    } else if let Some((first, last)) = network.split_once('-') {
        (parse(first.as_bytes())?, parse(last.as_bytes())?)
    } else {
        let only = parse(network.as_bytes())?;
        (only, only)
    };
    match (ip, first, last) {
        (IpAddr::V4(ip), IpAddr::V4(first), IpAddr::V4(last)) => Some(first <= ip && ip <= last),
        (IpAddr::V6(ip), IpAddr::V6(first), IpAddr::V6(last)) => Some(first <= ip && ip <= last),
        (_, IpAddr::V4(_), IpAddr::V6(_)) | (_, IpAddr::V6(_), IpAddr::V4(_)) => None,
        _ => Some(false),
    }
}

/// The text of an address of 4 or 16 octets in network order.
pub(crate) fn ntop(octets: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(octets).ok()?;
    Some(Ipv6Addr::from(sixteen).to_string())
}

/// The octets of an address in network order.
pub(crate) fn pton(text: &[u8]) -> Option<Vec<u8>> {
    Some(match parse(text)? {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    })
}

/// The name to look up for `ip` below `zone`: reversed octets (RFC 1035 §3.5) or nibbles
/// (RFC 3596 §2.5). Without a zone, the family's own reverse zone.
pub(crate) fn reverse(ip: &[u8], zone: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(80);
    let own_zone: &[u8] = match parse(ip)? {
        IpAddr::V4(ip) => {
            for octet in ip.octets().iter().rev() {
                name.extend_from_slice(octet.to_string().as_bytes());
                name.push(b'.');
            }
            b"in-addr.arpa"
        }
        IpAddr::V6(ip) => {
            for octet in ip.octets().iter().rev() {
                let [high, low] = [octet >> 4, octet & 15];
                name.extend_from_slice(format!("{low:x}.{high:x}.").as_bytes());
            }
            b"ip6.arpa"
        }
    };
    name.extend_from_slice(zone.unwrap_or(own_zone));
    Some(name)
}

fn parse(text: &[u8]) -> Option<IpAddr> {
    str::from_utf8(text).ok()?.trim().parse().ok()
}

fn subnet(base: IpAddr, bits: &str) -> Option<(IpAddr, IpAddr)> {
    let bits: u32 = bits.trim().parse().ok()?;
    Some(match base {
        IpAddr::V4(base) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = base.to_bits() & !host;
            (bits <= 32).then_some(())?;
            (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(first | host).into())
        }
        IpAddr::V6(base) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = base.to_bits() & !host;
            (bits <= 128).then_some(())?;
            (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(first | host).into())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_addresses_networks_and_ranges() {
        let table: [(&str, &str, Option<bool>); 14] = [
            ("10.1.2.3", "10.1.2.3", Some(true)),
            ("10.1.2.3", "10.0.0.0/8", Some(true)),
            ("11.1.2.3", "10.0.0.0/8", Some(false)),
            ("10.1.2.3", "0.0.0.0/0", Some(true)),
            ("10.1.2.3", "10.1.2.3/32", Some(true)),
            ("10.1.2.3", "10.1.2.0-10.1.2.4", Some(true)),
            ("10.1.2.5", "10.1.2.0-10.1.2.4", Some(false)),
            ("::1", "0.0.0.0/0", Some(false)),
            ("2001:db8::5", "2001:db8::/32", Some(true)),
            ("2001:db9::5", "2001:db8::/32", Some(false)),
            ("2001:db8::5", "::/0", Some(true)),
            ("10.1.2.3", "10.0.0.0/33", None),
            ("10.1.2", "10.0.0.0/8", None),
            ("10.1.2.3", "10.0.0.0-::1", None),
        ];
        for (ip, network, expected) in table {
            assert_eq!(includes(ip.as_bytes(), network.as_bytes()), expected, "{ip} {network}");
        }
    }

    #[test]
    fn reverses_octets_and_nibbles() {
        assert_eq!(reverse(b"192.0.2.1", None).unwrap(), b"1.2.0.192.in-addr.arpa");
        assert_eq!(reverse(b"192.0.2.1", Some(b"zen.test")).unwrap(), b"1.2.0.192.zen.test");
        let nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(reverse(b"2001:db8::1", None).unwrap(), nibbles.as_bytes());
        assert_eq!(reverse(b"no address", None), None);
    }

    #[test]
    fn binary_form_and_text_are_inverse() {
        for text in ["192.0.2.1", "::", "2001:db8::1"] {
            assert_eq!(ntop(&pton(text.as_bytes()).unwrap()).unwrap(), text);
        }
        assert_eq!(ntop(b"abc"), None);
    }
}
