//! One stream type for clear and encrypted connections, and what a handshake agreed on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Socket;

/// A connection, clear or encrypted.
#[derive(Debug)]
pub struct Stream {
    inner: Inner,
}

// Boxed: an idle clear connection must not carry the size of a TLS one.
#[derive(Debug)]
enum Inner {
    Clear(Socket),
    Client(Box<tokio_rustls::client::TlsStream<Socket>>),
    Server(Box<tokio_rustls::server::TlsStream<Socket>>),
}

/// What a handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Protocol, such as `TLSv1.3`.
    pub protocol: &'static str,
    /// Cipher suite by its standard name, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Bits of the cipher's key.
    pub keysize: u16,
    /// The name the client asked for, on the receiving side.
    pub sni: Option<String>,
    /// The peer's certificates in DER form, leaf first.
    pub peer_certificates: Vec<Vec<u8>>,
}

impl Session {
    pub(crate) fn of<D>(connection: &rustls::ConnectionCommon<D>, sni: Option<&str>) -> Self {
        let protocol = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        let cipher = connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or_default()
            // The library writes TLS 1.3 suites with a version of its own in front.
            .replacen("TLS13_", "TLS_", 1);
        let keysize = if cipher.contains("128") { 128 } else { 256 };
        let certificates = connection.peer_certificates().unwrap_or_default();
        Self {
            protocol,
            keysize,
            cipher,
            sni: sni.map(str::to_owned),
            peer_certificates: certificates.iter().map(|der| der.to_vec()).collect(),
        }
    }
}

impl Stream {
    /// A clear connection.
    #[must_use]
    pub fn clear(socket: impl Into<Socket>) -> Self {
        Self { inner: Inner::Clear(socket.into()) }
    }

    pub(crate) fn client(stream: tokio_rustls::client::TlsStream<Socket>) -> Self {
        Self { inner: Inner::Client(Box::new(stream)) }
    }

    pub(crate) fn server(stream: tokio_rustls::server::TlsStream<Socket>) -> Self {
        Self { inner: Inner::Server(Box::new(stream)) }
    }

    /// The clear connection, for a handshake; gives the stream back when it is encrypted already.
    ///
    /// # Errors
    ///
    /// The stream itself.
    pub fn into_clear(self) -> Result<Socket, Self> {
        match self.inner {
            Inner::Clear(stream) => Ok(stream),
            inner => Err(Self { inner }),
        }
    }

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        match &self.inner {
            Inner::Clear(stream) => stream,
            Inner::Client(stream) => stream.get_ref().0,
            Inner::Server(stream) => stream.get_ref().0,
        }
    }

    /// Tells whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        !matches!(self.inner, Inner::Clear(_))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Inner::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Inner::Client(stream) => Pin::new(stream).poll_read(context, buffer),
            Inner::Server(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().inner {
            Inner::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Client(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Server(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().inner {
            Inner::Clear(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Inner::Client(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Inner::Server(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Inner::Clear(stream) => Pin::new(stream).poll_flush(context),
            Inner::Client(stream) => Pin::new(stream).poll_flush(context),
            Inner::Server(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Inner::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Client(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Server(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
