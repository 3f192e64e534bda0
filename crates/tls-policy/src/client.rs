//! The sending side: how much a peer's certificate matters.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::dane::{Judge, TlsaRecord};
use crate::{Ciphers, Identity, RootStore, Session, Socket, Stream, Versions};

/// What a peer's certificate must be.
#[derive(Clone, Debug)]
pub enum Verification {
    /// Anything: encryption against listeners, no proof of identity (RFC 7435).
    None,
    /// Signed by one of the roots.
    Authority {
        /// Who may sign.
        roots: RootStore,
        /// Names of which the certificate must carry one; empty takes any name.
        names: Vec<String>,
    },
    /// Named by TLSA records (RFC 7672).
    Dane {
        /// The records; those that cannot be used do not count.
        records: Vec<TlsaRecord>,
        /// Names of which a certificate below a trust anchor must carry one.
        names: Vec<String>,
    },
}

/// What a client's TLS is set to.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Versions that may be spoken.
    pub versions: Versions,
    /// What the peer's certificate must be.
    pub verification: Verification,
    /// Our certificate, shown when the peer asks.
    pub identity: Option<Identity>,
}

/// Connects with TLS. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// Sets a client up.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self::with_provider(options, crate::provider())
    }

    /// Sets a client up that speaks these ciphers only.
    #[must_use]
    pub fn with_ciphers(options: ClientOptions, ciphers: &Ciphers) -> Self {
        let mut provider = CryptoProvider::clone(&crate::provider());
        provider.cipher_suites.clone_from(&ciphers.suites);
        Self::with_provider(options, Arc::new(provider))
    }

    fn with_provider(options: ClientOptions, provider: Arc<CryptoProvider>) -> Self {
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = match builder.with_protocol_versions(&options.versions.list()) {
            Ok(builder) => builder,
            // As on the receiving side: any list of the two versions is usable.
            Err(_) => rustls::ClientConfig::builder(),
        };
        let verifier = Verifier::new(provider, options.verification);
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let config = match options.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(Ours(identity.key))),
        };
        Self { connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Runs the handshake after STARTTLS, or on a fresh connection.
    ///
    /// `name` goes into the server name indication; an address or `None` sends none.
    ///
    /// # Errors
    ///
    /// What the peer or the socket did wrong, a refused certificate included.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the connection is lost when the future is dropped.
    pub async fn connect(
        &self,
        stream: Socket,
        name: Option<&str>,
    ) -> io::Result<(Stream, Session)> {
        let (stream, session) = self.handshake(stream, name).await?;
        Ok((Stream::client(stream), session))
    }

    /// As [`Self::connect`], over any stream.
    ///
    /// # Errors
    ///
    /// What the peer or the stream did wrong, a refused certificate included.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the connection is lost when the future is dropped.
    pub async fn connect_over<S>(
        &self,
        stream: S,
        name: Option<&str>,
    ) -> io::Result<(impl AsyncRead + AsyncWrite + Send + Unpin + use<S>, Session)>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        self.handshake(stream, name).await
    }

    async fn handshake<S>(
        &self,
        stream: S,
        name: Option<&str>,
    ) -> io::Result<(TlsStream<S>, Session)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let server_name = name
            .and_then(|name| ServerName::try_from(name.to_owned()).ok())
            // The library wants a name; an address is never sent (RFC 6066 §3).
            .unwrap_or_else(|| ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into()));
        let stream = self.connector.connect(server_name, stream).await?;
        let session = {
            let (_, connection) = stream.get_ref();
            Session::of(connection, None)
        };
        Ok((stream, session))
    }
}

/// Shows the configured certificate to whoever asks.
#[derive(Debug)]
struct Ours(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Ours {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Judges a peer's certificate by [`Verification`]. Signatures of the handshake are always checked.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    measure: Measure,
}

/// What a certificate is measured by.
#[derive(Debug)]
enum Measure {
    Nothing,
    Authority(Authority),
    Dane(Judge),
}

#[derive(Debug)]
struct Authority {
    /// `None` when nobody is trusted: then no certificate is good.
    chain: Option<Arc<WebPkiServerVerifier>>,
    names: Vec<ServerName<'static>>,
    any_name: bool,
}

impl Verifier {
    fn new(provider: Arc<CryptoProvider>, verification: Verification) -> Self {
        let measure = match verification {
            Verification::None => Measure::Nothing,
            Verification::Dane { records, names } => {
                Measure::Dane(Judge::new(Arc::clone(&provider), records, names))
            }
            Verification::Authority { roots, names } => Measure::Authority(Authority {
                chain: WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots.roots),
                    Arc::clone(&provider),
                )
                .build()
                .ok(),
                any_name: names.is_empty(),
                names: names
                    .into_iter()
                    .filter_map(|name| ServerName::try_from(name).ok())
                    .collect(),
            }),
        };
        Self { provider, measure }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = match &self.measure {
            Measure::Nothing => return Ok(ServerCertVerified::assertion()),
            Measure::Dane(judge) => return judge.verify(end_entity, intermediates, now),
            Measure::Authority(authority) => authority,
        };
        let Some(chain) = &authority.chain else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let check = |name: &ServerName<'_>| {
            chain.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        if authority.any_name {
            // The chain is judged before the name, so a complaint about the name alone means that
            // the chain is good.
            let nobody = ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into());
            return match check(&nobody) {
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                other => other,
            };
        }
        let mut last = Error::InvalidCertificate(CertificateError::NotValidForName);
        for name in &authority.names {
            match check(name) {
                Ok(verified) => return Ok(verified),
                Err(cause) => last = cause,
            }
        }
        Err(last)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
