//! Certificates for one test: a root and a leaf for the names wanted.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData};

/// A leaf certificate with its key and the root that signed it, all as PEM.
#[derive(Clone, Debug)]
pub struct TestCertificate {
    /// Root certificate.
    pub root_pem: String,
    /// Leaf certificate.
    pub cert_pem: String,
    /// Private key of the leaf (PKCS#8).
    pub key_pem: String,
    /// Leaf certificate, DER.
    pub cert_der: Vec<u8>,
    /// Public key of the leaf (SubjectPublicKeyInfo), DER.
    pub cert_spki: Vec<u8>,
    /// Root certificate, DER.
    pub root_der: Vec<u8>,
    /// Public key of the root (SubjectPublicKeyInfo), DER.
    pub root_spki: Vec<u8>,
}

/// Makes a root and a leaf for `names` (DNS names or addresses).
///
/// # Panics
///
/// When a name cannot stand in a certificate: a mistake in the test.
#[must_use]
pub fn certificate(names: &[&str]) -> TestCertificate {
    let root_key = KeyPair::generate().expect("key generation");
    let mut root = CertificateParams::new(Vec::new()).expect("no names");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "Test root");
    let root_cert = root.self_signed(&root_key).expect("self-signed root");
    let root_spki = root_key.subject_public_key_info();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().expect("key generation");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names).expect("names for a certificate");
    let cert = leaf.signed_by(&key, &issuer).expect("signed leaf");
    TestCertificate {
        root_pem: root_cert.pem(),
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
        cert_der: cert.der().to_vec(),
        cert_spki: key.subject_public_key_info(),
        root_der: root_cert.der().to_vec(),
        root_spki,
    }
}
