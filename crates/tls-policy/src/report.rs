//! Why a connection is not as secure as it should be, in the words of TLS reports (RFC 8460 §4.3).

use std::io;

use rustls::{CertificateError, Error};

/// A result type of RFC 8460 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The certificate's time is over, or has not come.
    CertificateExpired,
    /// The certificate is for another name.
    CertificateHostMismatch,
    /// Nobody who is trusted signed the certificate.
    CertificateNotTrusted,
    /// TLSA records are wanted and there are none.
    DaneRequired,
    /// DNSSEC does not vouch for what it should.
    DnssecInvalid,
    /// The peer does not offer TLS.
    StartTlsNotSupported,
    /// No TLSA record can be used.
    TlsaInvalid,
    /// Anything else.
    ValidationFailure,
}

impl Report {
    /// The registered word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::DaneRequired => "dane-required",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::StartTlsNotSupported => "starttls-not-supported",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::ValidationFailure => "validation-failure",
        }
    }

    /// Sorts the failure of a handshake.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return Self::ValidationFailure;
        };
        let Error::InvalidCertificate(cause) = error else { return Self::ValidationFailure };
        match cause {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::CertificateExpired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::CertificateHostMismatch
            }
            CertificateError::ApplicationVerificationFailure => Self::ValidationFailure,
            _ => Self::CertificateNotTrusted,
        }
    }
}
