//! TLS for every connection of the product, in and out: certificates, settings, streams.
//!
//! The only room that knows the TLS library. Programs ask [`ServerTls`] to accept and [`ClientTls`]
//! to connect, and get a [`Stream`] that may be clear or encrypted. What a handshake agreed on is a
//! [`Session`]. Protocols older than TLS 1.2 do not exist here (the configuration says so when it
//! names one); a peer that has nothing else gets clear text where TLS is optional, and an error
//! where it is not.
#![forbid(unsafe_code)]

mod certificate;
mod ciphers;
mod client;
mod dane;
mod report;
mod server;
mod socket;
mod stream;

pub use certificate::{Identity, IdentityError, RootStore};
pub use ciphers::{CipherError, Ciphers};
pub use client::{ClientOptions, ClientTls, Verification};
pub use dane::TlsaRecord;
pub use report::Report;
pub use server::{ServerOptions, ServerTls, SniName};
pub use socket::Socket;
pub use stream::{Session, Stream};

/// The protocol versions that may be spoken; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    /// TLS 1.2 (RFC 5246).
    pub tls12: bool,
    /// TLS 1.3 (RFC 8446).
    pub tls13: bool,
}

impl Default for Versions {
    fn default() -> Self {
        Self { tls12: true, tls13: true }
    }
}

impl Versions {
    fn list(self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        let mut list = Vec::new();
        if self.tls13 || !self.tls12 {
            list.push(&rustls::version::TLS13);
        }
        if self.tls12 {
            list.push(&rustls::version::TLS12);
        }
        list
    }
}

/// The one source of cryptography, named here so that no process-wide default is needed.
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}
