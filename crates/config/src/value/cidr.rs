//! Networks in CIDR notation; a bare address is a network of one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::InvalidValue;

/// An IPv4 or IPv6 network. Host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// First address of the network.
    address: IpAddr,
    /// Leading bits that count: at most 32 or 128.
    prefix: u8,
}

impl Cidr {
    /// The network of `prefix` leading bits around `address`; `None` when the family has fewer bits.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Self { address, prefix })
    }

    /// The network's first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that count.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Tells whether `address` lies in this network. Families never mix: an IPv4 address written as
    /// IPv6 (`::ffff:192.0.2.1`) is an IPv6 address here.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.prefix).is_some_and(|network| network == *self)
    }

    /// Tells whether the network is a single address.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.prefix == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }
}

impl FromStr for Cidr {
    type Err = InvalidValue;

    /// Parses `address` or `address/prefix`; host bits in the text are an error, since they hint at a
    /// misread prefix.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = InvalidValue::new("an IP address or network, such as `192.0.2.0/24`");
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Self::from).map_err(|_| invalid);
        };
        let digits = !prefix.is_empty() && prefix.bytes().all(|digit| digit.is_ascii_digit());
        let parsed =
            address.parse::<IpAddr>().ok().zip(prefix.parse::<u8>().ok().filter(|_| digits));
        let Some((address, prefix)) = parsed else { return Err(invalid) };
        let Some(network) = Self::new(address, prefix) else { return Err(invalid) };
        if network.address != address {
            return Err(InvalidValue::owned(format!("a network without host bits (`{network}`?)")));
        }
        Ok(network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Cidr {
        text.parse().expect("a network")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn contains_exactly_its_addresses() {
        assert!(net("192.0.2.0/24").contains(ip("192.0.2.255")));
        assert!(!net("192.0.2.0/24").contains(ip("192.0.3.0")));
        assert!(net("0.0.0.0/0").contains(ip("203.0.113.9")));
        assert!(!net("0.0.0.0/0").contains(ip("::1")));
        assert!(net("2001:db8::/32").contains(ip("2001:db8:ffff::1")));
        assert!(net("::1").contains(ip("::1")));
        assert!(!net("::/96").contains(ip("192.0.2.1")));
    }

    #[test]
    fn refuses_bad_prefixes_and_host_bits() {
        for text in
            ["", "192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/+8", "192.0.2.1/24", "a/8"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn print_and_parse_are_inverse(bits: u128, four: bool, prefix in 0_u8..=128) {
            let address = if four {
                IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32))
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            };
            if let Some(network) = Cidr::new(address, prefix) {
                prop_assert!(network.contains(address));
                prop_assert_eq!(network.to_string().parse(), Ok(network));
            }
        }
    }
}
