//! DANE for SMTP: a peer's certificate judged by TLSA records (RFC 6698, RFC 7671, RFC 7672).
//!
//! Which records there are, and whether DNSSEC vouches for them, is found out elsewhere.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

/// A certificate association (RFC 6698 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsaRecord {
    /// Certificate usage: 2 (DANE-TA) and 3 (DANE-EE) are of use for mail (RFC 7672 §3.1).
    pub usage: u8,
    /// Selector: 0 the whole certificate, 1 its public key.
    pub selector: u8,
    /// Matching type: 0 as it is, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
    /// Association data.
    pub data: Vec<u8>,
}

impl TlsaRecord {
    /// Tells whether the record can be matched against certificates (RFC 7672 §2.2: others are as
    /// if they were not there, except that TLS is then required all the same).
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let has_length = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        has_length && matches!(self.usage, 2 | 3) && matches!(self.selector, 0 | 1)
    }

    fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        let selected = match self.selector {
            0 => certificate.to_vec(),
            _ => match public_key(certificate) {
                Some(key) => key,
                None => return false,
            },
        };
        let digest = |algorithm| ring::digest::digest(algorithm, &selected).as_ref() == self.data;
        match self.matching {
            0 => selected == self.data,
            1 => digest(&ring::digest::SHA256),
            _ => digest(&ring::digest::SHA512),
        }
    }
}

/// The SubjectPublicKeyInfo of a certificate, in DER form.
fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    // The type's name is about its other uses: any certificate can be read so.
    let read = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(read.subject_public_key_info().to_vec())
}

/// Judges by the usable ones among `records`.
#[derive(Debug)]
pub(crate) struct Judge {
    provider: Arc<CryptoProvider>,
    records: Vec<TlsaRecord>,
    names: Vec<ServerName<'static>>,
}

impl Judge {
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        records: Vec<TlsaRecord>,
        names: Vec<String>,
    ) -> Self {
        let names = names.into_iter().filter_map(|name| ServerName::try_from(name).ok()).collect();
        Self {
            provider,
            records: records.into_iter().filter(TlsaRecord::is_usable).collect(),
            names,
        }
    }

    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // RFC 7672 §3.1.1: neither names nor dates count where the leaf itself is known.
        if self.records.iter().any(|record| record.usage == 3 && record.matches(leaf)) {
            return Ok(ServerCertVerified::assertion());
        }
        let mut last = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let Some(chain) = self.below_anchor(intermediates) else { return Err(last) };
        for name in &self.names {
            match chain.verify_server_cert(leaf, intermediates, name, &[], now) {
                Ok(verified) => return Ok(verified),
                Err(cause) => last = cause,
            }
        }
        Err(last)
    }

    /// A verifier that trusts the anchors the records name; `None` when there is none in sight.
    fn below_anchor(&self, sent: &[CertificateDer<'_>]) -> Option<Arc<WebPkiServerVerifier>> {
        let mut anchors = RootCertStore::empty();
        for record in self.records.iter().filter(|record| record.usage == 2) {
            // RFC 7671 §5.2.1: an anchor that stands whole in the record need not be sent.
            if (record.selector, record.matching) == (0, 0) {
                let _ = anchors.add(CertificateDer::from(record.data.clone()));
            }
            for certificate in sent.iter().filter(|certificate| record.matches(certificate)) {
                // What is no certificate authority cannot sign anything; it is no anchor.
                let _ = anchors.add(certificate.clone().into_owned());
            }
        }
        if anchors.is_empty() {
            return None;
        }
        let provider = Arc::clone(&self.provider);
        WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider).build().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(usage: u8, selector: u8, matching: u8, length: usize) -> TlsaRecord {
        TlsaRecord { usage, selector, matching, data: vec![1; length] }
    }

    #[test]
    fn records_that_mail_cannot_use_are_known() {
        assert!(record(3, 1, 1, 32).is_usable());
        assert!(record(2, 0, 2, 64).is_usable());
        assert!(record(2, 0, 0, 700).is_usable());
        for unusable in [
            record(0, 1, 1, 32),
            record(1, 1, 1, 32),
            record(3, 2, 1, 32),
            record(3, 1, 3, 32),
            record(3, 1, 1, 31),
            record(3, 1, 2, 32),
            record(3, 0, 0, 0),
        ] {
            assert!(!unusable.is_usable(), "{unusable:?}");
        }
    }
}
