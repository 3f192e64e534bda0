//! Private keys and certificates: read from text, named by `pki:<id>`, handed to scripts as resources.
//!
//! A private key resource wraps a [`PrivateKey`], a certificate resource a [`Certificate`], as they
//! are: native plugins recognise the same types, so a key or certificate of a plugin works in scripts
//! and the reverse. Everything here reads memory only; where the texts come from is the embedder's
//! business ([`Keys`]).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use hsl::value::{Resource, Value};
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::{X509, X509StoreContext};

/// A private key of any kind.
pub type PrivateKey = PKey<Private>;

/// A certificate.
pub type Certificate = X509;

/// Why a text is no key or certificate. The text itself is never part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No private key of a known kind, or one behind a pass phrase.
    #[error("unreadable private key")]
    PrivateKey,
    /// No certificate.
    #[error("unreadable certificate")]
    Certificate,
    /// The key is not the certificate's.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

/// One entry of `pki.private` in a configuration: a key, a certificate chain, or both.
pub struct PkiEntry {
    certificate_pem: Option<Arc<[u8]>>,
    key_pem: Option<Arc<[u8]>>,
    certificates: Vec<Certificate>,
    key: Option<PrivateKey>,
}

impl PkiEntry {
    /// Reads the halves of an entry, PEM. Both may stand in one text.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when a half is unreadable, or they do not belong together.
    pub fn from_pem(certificate: Option<&[u8]>, key: Option<&[u8]>) -> Result<Self, KeyError> {
        let certificates = certificate.map(certificates_from_pem).transpose()?.unwrap_or_default();
        let parsed = key.map(private_key_from_pem).transpose()?;
        if let (Some(leaf), Some(key)) = (certificates.first(), &parsed) {
            let public = leaf.public_key().map_err(|_| KeyError::Certificate)?;
            if !public.public_eq(key) {
                return Err(KeyError::Mismatch);
            }
        }
        Ok(Self {
            certificate_pem: certificate.map(Arc::from),
            key_pem: key.map(Arc::from),
            certificates,
            key: parsed,
        })
    }

    /// The chain, leaf first; empty when the entry has only a key.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The private key.
    pub fn key(&self) -> Option<&PrivateKey> {
        self.key.as_ref()
    }

    /// The texts of chain and key, when both are there.
    pub fn pem(&self) -> Option<(&[u8], &[u8])> {
        Some((self.certificate_pem.as_deref()?, self.key_pem.as_deref()?))
    }
}

/// Finds entries of `pki.private`. Called on runtime threads: it must not wait.
pub trait Keys: Send + Sync {
    /// The entry `id`, without `pki:` in front.
    fn find(&self, id: &str) -> Option<Arc<PkiEntry>>;
}

/// No keys.
pub struct NoKeys;

impl Keys for NoKeys {
    fn find(&self, _: &str) -> Option<Arc<PkiEntry>> {
        None
    }
}

impl Keys for HashMap<Arc<str>, Arc<PkiEntry>> {
    fn find(&self, id: &str) -> Option<Arc<PkiEntry>> {
        self.get(id).cloned()
    }
}

/// The entry that a script names: `pki:X`, or `X` alone.
pub fn find(keys: &dyn Keys, name: &[u8]) -> Option<Arc<PkiEntry>> {
    let name = str::from_utf8(name).ok()?;
    keys.find(name.strip_prefix("pki:").unwrap_or(name))
}

/// Reads a private key from PEM: PKCS #8, or the older forms of RSA (PKCS #1) and EC (SEC 1).
///
/// # Errors
///
/// [`KeyError::PrivateKey`], also for keys behind a pass phrase.
pub fn private_key_from_pem(text: &[u8]) -> Result<PrivateKey, KeyError> {
    // Without a callback of ours the library would ask for a pass phrase on the terminal.
    PKey::private_key_from_pem_callback(text, |_| Ok(0)).map_err(|_| KeyError::PrivateKey)
}

/// Reads a private key from DER: PKCS #8, PKCS #1 or SEC 1.
///
/// # Errors
///
/// [`KeyError::PrivateKey`].
pub fn private_key_from_der(octets: &[u8]) -> Result<PrivateKey, KeyError> {
    PKey::private_key_from_der(octets).map_err(|_| KeyError::PrivateKey)
}

/// Makes the Ed25519 key of 32 raw octets (RFC 8032 §5.1.5).
///
/// # Errors
///
/// [`KeyError::PrivateKey`] for any other number of octets.
pub fn ed25519_from_raw(octets: &[u8]) -> Result<PrivateKey, KeyError> {
    PKey::private_key_from_raw_bytes(octets, Id::ED25519).map_err(|_| KeyError::PrivateKey)
}

/// Reads all certificates of a PEM text, at least one; other blocks between them do not matter.
///
/// # Errors
///
/// [`KeyError::Certificate`].
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<Certificate>, KeyError> {
    match X509::stack_from_pem(text) {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(KeyError::Certificate),
    }
}

/// Whether a key is one of RSA: for all of its signatures, or for those of RSASSA-PSS alone (RFC 4055).
pub(crate) fn is_rsa(id: Id) -> bool {
    matches!(id, Id::RSA | Id::RSA_PSS)
}

/// The resource that scripts see for a private key, named by its kind.
pub fn private_key_value(key: PrivateKey) -> Value {
    let name = match key.id() {
        Id::RSA | Id::RSA_PSS => "RSAPrivateKey",
        Id::EC => "ECPrivateKey",
        Id::ED25519 => "ED25519PrivateKey",
        _ => "PrivateKey",
    };
    Value::Resource(Resource::new(name, key))
}

/// The key behind a private key resource.
pub fn private_key_of(value: &Value) -> Option<Arc<PrivateKey>> {
    value.as_resource()?.get()
}

/// The resource that scripts see for a certificate.
pub fn certificate_value(certificate: Certificate) -> Value {
    Value::Resource(Resource::new("X509Resource", certificate))
}

/// The fingerprint of a certificate resource, lower-case hexadecimal digits. `None` when the value is no
/// certificate, or `hash` is none of `md5`, `sha1`, `sha256` and `sha512`.
pub fn fingerprint(certificate: &Value, hash: &str) -> Option<String> {
    let digest = match hash {
        "md5" => MessageDigest::md5(),
        "sha1" => MessageDigest::sha1(),
        "sha256" => MessageDigest::sha256(),
        "sha512" => MessageDigest::sha512(),
        _ => return None,
    };
    let certificate: Arc<Certificate> = certificate.as_resource()?.get()?;
    let octets = certificate.digest(digest).ok()?;
    Some(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// The resource for a certificate in DER form; `None` when it is none.
pub fn certificate_value_from_der(der: &[u8]) -> Option<Value> {
    Certificate::from_der(der).ok().map(certificate_value)
}

/// `peercert` of a connection, from the peer's certificates in DER form, leaf first: `x509`,
/// `chain` and `error`, which is OpenSSL's verify result against the authorities that the system
/// trusts (0 is good). `None` when there is no certificate that can be read.
pub fn peer_certificate(sent: &[Vec<u8>]) -> Option<Value> {
    let mut certificates = sent.iter().filter_map(|der| Certificate::from_der(der).ok());
    let leaf = certificates.next()?;
    let chain: Vec<Certificate> = certificates.collect();
    let error = verify_result(&leaf, &chain).unwrap_or(UNSPECIFIED);
    Some(Value::map([
        ("x509", certificate_value(leaf)),
        ("error", Value::Number(error.into())),
        ("chain", Value::list(chain.into_iter().map(certificate_value))),
    ]))
}

fn verify_result(
    leaf: &Certificate,
    chain: &[Certificate],
) -> Result<i32, openssl::error::ErrorStack> {
    // Reading all authorities takes milliseconds.
    static STORE: OnceLock<Option<X509Store>> = OnceLock::new();
    let store = STORE.get_or_init(|| {
        let mut builder = X509StoreBuilder::new().ok()?;
        builder.set_default_paths().ok()?;
        Some(builder.build())
    });
    let Some(store) = store else { return Ok(UNSPECIFIED) };
    let mut untrusted = Stack::new()?;
    for certificate in chain {
        untrusted.push(certificate.clone())?;
    }
    let mut context = X509StoreContext::new()?;
    context.init(store, leaf, &untrusted, |context| {
        context.verify_cert()?;
        Ok(context.error().as_raw())
    })
}

/// `X509_V_ERR_UNSPECIFIED`.
const UNSPECIFIED: i32 = 1;

/// The certificate behind an `X509Resource` or an `X509` object.
pub fn certificate_of(value: &Value) -> Option<Arc<Certificate>> {
    match value {
        Value::Resource(resource) => resource.get(),
        Value::Object(object) => object.state(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use openssl::pkey::Public;
    use openssl::symm::Cipher;

    use super::*;

    fn key() -> PrivateKey {
        PKey::generate_ed25519().unwrap()
    }

    fn certificate(key: &PrivateKey) -> Vec<u8> {
        let public: PKey<Public> =
            PKey::public_key_from_der(&key.public_key_to_der().unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(&public).unwrap();
        let now = openssl::asn1::Asn1Time::days_from_now(0).unwrap();
        builder.set_not_before(&now).unwrap();
        builder.set_not_after(&now).unwrap();
        builder.sign(key, openssl::hash::MessageDigest::null()).unwrap();
        builder.build().to_pem().unwrap()
    }

    #[test]
    fn an_entry_is_read_whole_or_refused() {
        let (ours, other) = (key(), key());
        let pem = ours.private_key_to_pem_pkcs8().unwrap();
        let chain = certificate(&ours);
        let read = |certificate: Option<&[u8]>, key: Option<&[u8]>| {
            PkiEntry::from_pem(certificate, key).map(|entry| entry.pem().is_some())
        };
        assert_eq!(read(Some(&chain), Some(&pem)), Ok(true));
        assert_eq!(read(None, Some(&pem)), Ok(false));
        let foreign = other.private_key_to_pem_pkcs8().unwrap();
        assert_eq!(read(Some(&chain), Some(&foreign)), Err(KeyError::Mismatch));
        assert_eq!(read(Some(b"x"), None), Err(KeyError::Certificate));
        assert_eq!(read(None, Some(&chain)), Err(KeyError::PrivateKey));
    }

    #[test]
    fn a_key_behind_a_pass_phrase_is_refused_without_asking() {
        let locked =
            key().private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
        assert_eq!(private_key_from_pem(&locked).map(drop), Err(KeyError::PrivateKey));
    }

    #[test]
    fn names_come_with_and_without_their_prefix() {
        let pem = key().private_key_to_pem_pkcs8().unwrap();
        let entry = Arc::new(PkiEntry::from_pem(None, Some(&pem)).unwrap());
        let keys: HashMap<Arc<str>, Arc<PkiEntry>> = [(Arc::from("a"), entry)].into();
        for (name, expected) in
            [("pki:a", true), ("a", true), ("pki:b", false), ("pki:pki:a", false)]
        {
            assert_eq!(find(&keys, name.as_bytes()).is_some(), expected, "{name}");
        }
    }
}
