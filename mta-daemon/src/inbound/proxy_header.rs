//! The PROXY header (versions 1 and 2) that a proxy sends before its client's first octet, so that
//! we see who is behind it.
//!
//! Exactly the header is taken from the socket: what follows may be the first octets of TLS.

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::inbound::facts::Ends;

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The connection that the proxy took; `None` when it speaks for itself (a health check) or
    /// does not know.
    pub(crate) ends: Option<Ends>,
    /// Type-length-value fields of version 2, as they came.
    pub(crate) tlv: Vec<u8>,
}

/// Reads a header.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] for anything but a header, else the socket's.
///
/// # Cancel safety
///
/// Not cancel safe: what was read is lost when the future is dropped.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Header> {
    let mut octets = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut octets).await?;
    if octets == v2::PROTOCOL_PREFIX {
        let rest = V2_FIXED - octets.len();
        fill(stream, &mut octets, rest).await?;
        let length = octets.last_chunk().map_or(0, |length| u16::from_be_bytes(*length));
        if usize::from(length) > MAX_V2 {
            return Err(invalid("the header is too long"));
        }
        fill(stream, &mut octets, length.into()).await?;
    } else if octets.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        while octets.last() != Some(&b'\n') {
            let mut ahead = [0; MAX_V1];
            let room = MAX_V1.saturating_sub(octets.len());
            let seen = stream.peek(ahead.get_mut(..room).unwrap_or_default()).await?;
            if seen == 0 {
                return Err(invalid("the line does not end"));
            }
            let seen = ahead.get(..seen).unwrap_or_default();
            let take =
                seen.iter().position(|&octet| octet == b'\n').map_or(seen.len(), |at| at + 1);
            fill(stream, &mut octets, take).await?;
        }
    }
    parse(&octets)
}

async fn fill(stream: &mut TcpStream, octets: &mut Vec<u8>, more: usize) -> io::Result<()> {
    let from = octets.len();
    octets.resize(from + more, 0);
    stream.read_exact(octets.get_mut(from..).unwrap_or_default()).await.map(drop)
}

/// Understands a whole header.
fn parse(octets: &[u8]) -> io::Result<Header> {
    match HeaderResult::parse(octets) {
        HeaderResult::V1(Ok(header)) => {
            let ends = match header.addresses {
                v1::Addresses::Unknown => None,
                v1::Addresses::Tcp4(ip) => Some(ends(
                    (ip.source_address, ip.source_port),
                    (ip.destination_address, ip.destination_port),
                )),
                v1::Addresses::Tcp6(ip) => Some(ends(
                    (ip.source_address, ip.source_port),
                    (ip.destination_address, ip.destination_port),
                )),
            };
            Ok(Header { ends, tlv: Vec::new() })
        }
        HeaderResult::V2(Ok(header)) => {
            let ends = match (header.command, header.addresses) {
                (v2::Command::Local, _) => None,
                (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => Some(ends(
                    (ip.source_address, ip.source_port),
                    (ip.destination_address, ip.destination_port),
                )),
                (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => Some(ends(
                    (ip.source_address, ip.source_port),
                    (ip.destination_address, ip.destination_port),
                )),
                (v2::Command::Proxy, v2::Addresses::Unix(_) | v2::Addresses::Unspecified) => None,
            };
            Ok(Header { ends, tlv: header.tlv_bytes().to_vec() })
        }
        HeaderResult::V1(Err(error)) => Err(invalid(error.to_string())),
        HeaderResult::V2(Err(error)) => Err(invalid(error.to_string())),
    }
}

fn ends(remote: impl Into<SocketAddr>, local: impl Into<SocketAddr>) -> Ends {
    Ends { remote: remote.into(), local: local.into() }
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

/// Signature, version, family and length of version 2.
const V2_FIXED: usize = 16;

/// Longest line of version 1, with its end.
const MAX_V1: usize = 107;

/// Longest rest of version 2 that is taken: a certificate or two in its fields, not more.
const MAX_V2: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Sends octets in pieces and tells what was read of them, and what was left.
    async fn exchange(pieces: &[&[u8]]) -> (io::Result<Header>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let send = async {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            for piece in pieces {
                stream.write_all(piece).await.expect("octets go out");
                tokio::task::yield_now().await;
            }
            stream.shutdown().await.expect("the end goes out");
            stream
        };
        let receive = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let header = read(&mut stream).await;
            let mut rest = Vec::new();
            if header.is_ok() {
                stream.read_to_end(&mut rest).await.expect("the rest");
            }
            (header, rest)
        };
        tokio::join!(send, receive).1
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        out.extend([command, family]);
        out.extend(u16::try_from(rest.len()).expect("short").to_be_bytes());
        out.extend(rest);
        out
    }

    #[tokio::test]
    async fn version_1_is_read_to_its_line_end_and_no_further() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n";
        for pieces in
            [vec![&line[..], b"EHLO x\r\n"], vec![&line[..20], &line[20..], b"EHLO x\r\n"]]
        {
            let (header, rest) = exchange(&pieces).await;
            let ends = header.expect("a header").ends.expect("addresses");
            assert_eq!(ends.remote, "192.0.2.1:4000".parse().expect("an address"));
            assert_eq!(ends.local, "198.51.100.2:25".parse().expect("an address"));
            assert_eq!(rest, b"EHLO x\r\n");
        }
        let (header, _) = exchange(&[b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 25\r\n"]).await;
        let ends = header.expect("a header").ends.expect("addresses");
        assert_eq!(ends.remote, "[2001:db8::1]:4000".parse().expect("an address"));
        let (header, _) = exchange(&[b"PROXY UNKNOWN\r\n"]).await;
        assert_eq!(header.expect("a header").ends, None);
    }

    #[tokio::test]
    async fn version_2_is_read_with_its_fields() {
        let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0x0f, 0xa0, 0, 25];
        let fields = [2, 0, 3, b'a', b'.', b'b'];
        let octets = v2(0x21, 0x11, &[&addresses[..], &fields[..]].concat());
        let (header, rest) = exchange(&[&octets, b"\x16\x03"]).await;
        let header = header.expect("a header");
        assert_eq!(header.ends.expect("addresses").remote, "192.0.2.1:4000".parse().expect("one"));
        assert_eq!((header.tlv.as_slice(), rest.as_slice()), (&fields[..], &b"\x16\x03"[..]));
        // LOCAL: the proxy checks whether we are alive.
        let (header, _) = exchange(&[&v2(0x20, 0, &[])]).await;
        assert_eq!(header.expect("a header"), Header { ends: None, tlv: Vec::new() });
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let huge = v2(0x21, 0x11, &vec![0; MAX_V2 + 1]);
        let cases: [&[u8]; 6] = [
            b"EHLO client.example\r\n",
            b"PROXY TCP4 192.0.2.1 nonsense 4000 25\r\n",
            b"PROXY TCP4 192.0.2.1 19",
            &long,
            &huge,
            &v2(0x31, 0x11, &[0; 12]),
        ];
        for octets in cases {
            let (header, _) = exchange(&[octets]).await;
            assert!(header.is_err(), "{octets:?}");
        }
    }
}
