//! The PROXY header (versions 1 and 2) that a proxy sends before its client's first octet, so that
//! we see who is behind it.
//!
//! Exactly the header is taken from the socket: what follows may be the first octets of TLS.

use std::io;

use smtp::proxy_header::ProxyHeader;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Reads a header.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] for anything but a header, else the socket's.
///
/// # Cancel safety
///
/// Not cancel safe: what was read is lost when the future is dropped.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<ProxyHeader> {
    let mut octets = Vec::new();
    loop {
        let parsed = ProxyHeader::parse(&octets);
        let parsed = parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some((header, _)) = parsed {
            return Ok(header);
        }
        let from = octets.len();
        octets.resize(from + ProxyHeader::missing(&octets), 0);
        stream.read_exact(octets.get_mut(from..).unwrap_or_default()).await?;
    }
}

#[cfg(test)]
mod tests {
    use smtp::proxy_header::{Addresses, MAX_HEADER};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Sends octets in pieces and tells what was read of them, and what was left.
    async fn exchange(pieces: &[&[u8]]) -> (io::Result<ProxyHeader>, Vec<u8>) {
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

    fn proxied(source: &str, destination: &str) -> Addresses {
        let [source, destination] =
            [source, destination].map(|end| end.parse().expect("an address"));
        Addresses::Proxied { source, destination }
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
            let addresses = header.expect("a header").addresses;
            assert_eq!(addresses, proxied("192.0.2.1:4000", "198.51.100.2:25"));
            assert_eq!(rest, b"EHLO x\r\n");
        }
        let (header, _) = exchange(&[b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 25\r\n"]).await;
        let addresses = header.expect("a header").addresses;
        assert_eq!(addresses, proxied("[2001:db8::1]:4000", "[2001:db8::2]:25"));
        let (header, _) = exchange(&[b"PROXY UNKNOWN\r\n"]).await;
        assert_eq!(header.expect("a header").addresses, Addresses::Local);
    }

    #[tokio::test]
    async fn version_2_is_read_with_its_fields() {
        let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0x0f, 0xa0, 0, 25];
        let fields = [2, 0, 3, b'a', b'.', b'b'];
        let octets = v2(0x21, 0x11, &[&addresses[..], &fields[..]].concat());
        let (header, rest) = exchange(&[&octets, b"\x16\x03"]).await;
        let header = header.expect("a header");
        assert_eq!(header.addresses, proxied("192.0.2.1:4000", "198.51.100.2:25"));
        assert_eq!((header.tlv.as_slice(), rest.as_slice()), (&fields[..], &b"\x16\x03"[..]));
        // LOCAL: the proxy checks whether we are alive.
        let (header, _) = exchange(&[&v2(0x20, 0, &[])]).await;
        assert_eq!(
            header.expect("a header"),
            ProxyHeader { addresses: Addresses::Local, tlv: Vec::new() }
        );
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let huge = v2(0x21, 0x11, &vec![0; MAX_HEADER]);
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
