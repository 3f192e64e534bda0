//! Certificates, keys and roots from PEM.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A certificate chain with the key of its first certificate.
#[derive(Clone)]
pub struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} certificates)", self.key.cert.len())
    }
}

impl Identity {
    /// Reads a chain and a key from PEM; both may stand in one text.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] when either is missing, unreadable, or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|cause| IdentityError::Certificate(cause.to_string()))?;
        if chain.is_empty() {
            return Err(IdentityError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|cause| IdentityError::Key(cause.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &crate::provider())
            .map_err(|cause| IdentityError::Mismatch(cause.to_string()))?;
        Ok(Self { key: Arc::new(key) })
    }
}

/// Why a text is no usable identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The certificate does not parse.
    #[error("unreadable certificate: {0}")]
    Certificate(String),
    /// The key does not parse, or is of a kind that TLS here cannot use.
    #[error("unreadable private key: {0}")]
    Key(String),
    /// The key is not the certificate's, or of no usable kind.
    #[error("certificate and private key cannot be used together: {0}")]
    Mismatch(String),
    /// There is no certificate in the text.
    #[error("no certificate in the PEM text")]
    NoCertificate,
}

/// Authorities that may sign a peer's certificate.
#[derive(Clone, Debug)]
pub struct RootStore {
    pub(crate) roots: rustls::RootCertStore,
}

impl Default for RootStore {
    /// A store that trusts nobody.
    fn default() -> Self {
        Self { roots: rustls::RootCertStore::empty() }
    }
}

impl RootStore {
    /// A store that trusts nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the authorities of a PEM text and returns how many were usable.
    pub fn add_pem(&mut self, text: &[u8]) -> usize {
        let certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
        self.roots.add_parsable_certificates(certificates).0
    }

    /// Adds the authorities that the system trusts and returns how many were found. Reads files.
    pub fn add_system(&mut self) -> usize {
        SYSTEM_BUNDLES
            .iter()
            .find_map(|path| std::fs::read(Path::new(path)).ok())
            .map_or(0, |text| self.add_pem(&text))
    }

    /// Tells whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }
}

/// Where distributions keep their bundle: Debian and Ubuntu, then the RPM world.
const SYSTEM_BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_pair() {
        let good = testkit::certs::certificate(&["mx.example"]);
        let other = testkit::certs::certificate(&["mx.example"]);
        let read = |cert: &str, key: &str| Identity::from_pem(cert.as_bytes(), key.as_bytes());
        assert!(read(&good.cert_pem, &good.key_pem).is_ok());
        assert!(matches!(read("", &good.key_pem), Err(IdentityError::NoCertificate)));
        assert!(matches!(read(&good.cert_pem, "x"), Err(IdentityError::Key(_))));
        assert!(matches!(read(&good.cert_pem, &other.key_pem), Err(IdentityError::Mismatch(_))));
    }

    #[test]
    fn roots_come_from_pem() {
        let mut store = RootStore::new();
        assert!(store.is_empty());
        assert_eq!(store.add_pem(testkit::certs::certificate(&["a"]).root_pem.as_bytes()), 1);
        assert_eq!(store.add_pem(b"nothing"), 0);
    }
}
