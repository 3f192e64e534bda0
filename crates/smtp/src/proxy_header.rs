//! The PROXY protocol, versions 1 and 2: who the client behind a load balancer is.

use std::net::SocketAddr;

/// A PROXY header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The two ends of the proxied connection.
    pub addresses: Addresses,
    /// Type-length-value records of version 2, raw and in their order.
    pub tlv: Vec<(u8, Vec<u8>)>,
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
    pub fn parse(_input: &[u8]) -> Result<Option<(Self, usize)>, ProxyHeaderError> {
        todo!()
    }

    /// The version 1 line, CRLF at its end. Records are left out.
    #[must_use]
    pub fn to_v1(&self) -> Vec<u8> {
        todo!()
    }

    /// The version 2 block. Records that do not fit into 65,535 octets are left out.
    #[must_use]
    pub fn to_v2(&self) -> Vec<u8> {
        todo!()
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

/// Octets of a header that are read at most; TLS information of version 2 stays well below.
pub const MAX_HEADER: usize = 4096;
