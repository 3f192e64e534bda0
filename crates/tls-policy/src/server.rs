//! The receiving side: which certificate for which name.

use std::io;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tokio_rustls::TlsAcceptor;

use crate::{Identity, Session, Socket, Stream, Versions};

/// A server name with the identity shown for it.
#[derive(Clone, Debug)]
pub struct SniName {
    /// A name in lower case; `*.example.org` stands for one label.
    pub name: String,
    /// The identity.
    pub identity: Identity,
}

/// What a server's TLS is set to.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Shown when no name matches.
    pub identity: Identity,
    /// Shown for chosen names, first match wins.
    pub names: Vec<SniName>,
    /// Versions that may be spoken.
    pub versions: Versions,
}

/// Accepts TLS. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Sets a server up.
    #[must_use]
    pub fn new(options: ServerOptions) -> Self {
        Self::with_clients(options, Arc::new(NoClientAuth))
    }

    /// Sets a server up that asks clients for a certificate, and takes any and none: who they are
    /// is for scripts to judge. That they have the key is certain.
    #[must_use]
    pub fn asking_certificate(options: ServerOptions) -> Self {
        Self::with_clients(options, Arc::new(AnyClient(crate::provider())))
    }

    fn with_clients(options: ServerOptions, clients: Arc<dyn ClientCertVerifier>) -> Self {
        let resolver = ByName { default: options.identity.key, names: options.names };
        let builder = rustls::ServerConfig::builder_with_provider(crate::provider());
        let config = match builder.with_protocol_versions(&options.versions.list()) {
            Ok(builder) => builder,
            // The provider has suites for both versions, so any list of them is usable; should a
            // build lack one, the safe defaults of the library take over.
            Err(_) => rustls::ServerConfig::builder(),
        };
        let mut config =
            config.with_client_cert_verifier(clients).with_cert_resolver(Arc::new(resolver));
        // Mail clients seldom resume, and each ticket costs memory and bytes.
        config.send_tls13_tickets = 0;
        Self { acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// Runs the handshake on a fresh connection, or after STARTTLS.
    ///
    /// # Errors
    ///
    /// What the peer or the socket did wrong.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the connection is lost when the future is dropped.
    pub async fn accept(&self, stream: Socket) -> io::Result<(Stream, Session)> {
        let stream = self.acceptor.accept(stream).await?;
        let session = {
            let (_, connection) = stream.get_ref();
            Session::of(connection, connection.server_name())
        };
        Ok((Stream::server(stream), session))
    }
}

/// Takes every client certificate, and clients without one.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct ByName {
    default: Arc<CertifiedKey>,
    names: Vec<SniName>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let wanted = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let found = self.names.iter().find(|entry| matches(&entry.name, &wanted));
        Some(Arc::clone(found.map_or(&self.default, |entry| &entry.identity.key)))
    }
}

/// Tells whether a name from the configuration covers the wanted one.
fn matches(pattern: &str, wanted: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern == wanted,
        Some(parent) => {
            wanted.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        assert!(matches("*.example.org", "mx.example.org"));
        assert!(!matches("*.example.org", "a.mx.example.org"));
        assert!(!matches("*.example.org", "example.org"));
        assert!(matches("mx.example.org", "mx.example.org"));
    }
}
