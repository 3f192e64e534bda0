//! IP networks as conditions and policies name them: `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An IPv4 or IPv6 network; a single address is a network of full length.
///
/// The host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNet {
    base: IpAddr,
    length: u8,
}

impl IpNet {
    /// The network of `length` leading bits around `address`.
    ///
    /// # Errors
    ///
    /// [`InvalidNetwork`] when `length` is over 32 (IPv4) or 128 (IPv6).
    pub fn new(address: IpAddr, length: u8) -> Result<Self, InvalidNetwork> {
        if length > width(address) {
            return Err(InvalidNetwork);
        }
        Ok(Self { base: mask(address, length), length })
    }

    /// The network that holds just `address`.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { base: address, length: width(address) }
    }

    /// The one address that the network holds, if it is one.
    #[must_use]
    pub fn as_host(&self) -> Option<IpAddr> {
        (self.length == width(self.base)).then_some(self.base)
    }

    /// Tells whether `address` is inside; families never match each other.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.base.is_ipv4() == address.is_ipv4() && mask(address, self.length) == self.base
    }
}

impl FromStr for IpNet {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        match text.split_once('/') {
            None => Ok(Self::host(text.parse().map_err(|_| InvalidNetwork)?)),
            Some((address, length)) => {
                if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(InvalidNetwork);
                }
                Self::new(
                    address.parse().map_err(|_| InvalidNetwork)?,
                    length.parse().map_err(|_| InvalidNetwork)?,
                )
            }
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == width(self.base) {
            write!(f, "{}", self.base)
        } else {
            write!(f, "{}/{}", self.base, self.length)
        }
    }
}

/// The text is no IP address or network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNetwork;

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an IP address or network")
    }
}

impl std::error::Error for InvalidNetwork {}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Clears all but the first `length` bits.
fn mask(address: IpAddr, length: u8) -> IpAddr {
    // A shift by the full width is no shift at all for the hardware, so it is asked for apart.
    match address {
        IpAddr::V4(v4) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & keep).into())
        }
        IpAddr::V6(v6) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & keep).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        for (net, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7/24", "192.0.2.1", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::", "192.0.2.1"),
        ] {
            let net: IpNet = net.parse().unwrap();
            assert!(net.contains(inside.parse().unwrap()), "{net} {inside}");
            assert!(!net.contains(outside.parse().unwrap()), "{net} {outside}");
        }
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in ["", "x", "192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/+8", "192.0.2/24"]
        {
            assert_eq!(text.parse::<IpNet>(), Err(InvalidNetwork), "{text}");
        }
    }
}
