//! Signed messages written by hand (RFC 5652 §5), so that the digest can be chosen, and the signers
//! named in one.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use openssl::hash::MessageDigest;
use openssl::pkey::Id;
use openssl::sign::{RsaPssSaltlen, Signer};
use openssl::x509::X509;

use crate::der::{self, Element, Reader, element};
use crate::keys::{Certificate, PrivateKey};

/// A digest by its name.
#[derive(Clone, Copy)]
pub(super) struct Digest {
    algorithm: fn() -> MessageDigest,
    /// Content of its object identifier.
    oid: &'static [u8],
    /// The same, of ECDSA with it (RFC 5758).
    ecdsa: &'static [u8],
}

impl Digest {
    /// The digest of that name.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        DIGESTS.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, digest)| *digest)
    }

    /// The digest that an algorithm identifier names.
    fn identified(identifier: Element<'_>) -> Option<Self> {
        let oid = identifier.items().field(der::OID)?.content;
        DIGESTS.iter().find(|(_, digest)| digest.oid == oid).map(|(_, digest)| *digest)
    }

    /// Its algorithm identifier.
    fn identifier(self) -> Vec<u8> {
        element(der::SEQUENCE, &[&element(der::OID, &[self.oid]), &element(der::NULL, &[])])
    }
}

/// How a key signs that is for RSASSA-PSS alone (RFC 4055 §3.1).
struct Pss {
    digest: Digest,
    /// The digest of the mask generation function.
    mask: Digest,
    /// Octets of salt.
    salt: i32,
    /// All of it as it stands in algorithm identifiers.
    parameters: Vec<u8>,
}

impl Pss {
    /// What the key of a certificate (DER) asks for; a key that does not care is used with `digest`.
    /// `None` when it asks for what is not known here.
    fn of(certificate: &[u8], digest: Digest) -> Option<Self> {
        let mut key = certificate_fields(certificate)?;
        // Serial number, algorithm, issuer, validity and subject come first.
        let mut algorithm = key.nth(5)?.items().field(der::SEQUENCE)?.items();
        algorithm.field(der::OID)?;
        let Some(parameters) = algorithm.field(der::SEQUENCE) else { return Self::with(digest) };
        let mut fields = parameters.items();
        let sha1 = Digest::named(b"sha1")?;
        let mut inside = |tag| fields.field(tag).map(|field| field.items().next());
        let digest = match inside(der::CONTEXT_0) {
            None => sha1,
            Some(identifier) => Digest::identified(identifier?)?,
        };
        let mask = match inside(CONTEXT_1) {
            None => sha1,
            Some(function) => {
                let mut function = function?.items();
                function.field(der::OID).filter(|oid| oid.content == MGF1)?;
                Digest::identified(function.next()?)?
            }
        };
        let salt = match inside(CONTEXT_2) {
            None => 20,
            Some(number) => number
                .filter(|number| number.tag == der::INTEGER)?
                .content
                .iter()
                .try_fold(0_i32, |salt, octet| {
                    salt.checked_mul(256)?.checked_add(i32::from(*octet))
                })?,
        };
        Some(Self { digest, mask, salt, parameters: parameters.whole.to_vec() })
    }

    /// As RFC 4056 §3 recommends: one digest for both, and as much salt as it has octets.
    fn with(digest: Digest) -> Option<Self> {
        let salt = u8::try_from((digest.algorithm)().size()).ok()?;
        let identifier = digest.identifier();
        let mask = element(der::SEQUENCE, &[&element(der::OID, &[MGF1]), &identifier]);
        let parameters = element(
            der::SEQUENCE,
            &[
                &element(der::CONTEXT_0, &[&identifier]),
                &element(CONTEXT_1, &[&mask]),
                &element(CONTEXT_2, &[&element(der::INTEGER, &[&[salt]])]),
            ],
        );
        Some(Self { digest, mask: digest, salt: i32::from(salt), parameters })
    }
}

/// What a signature is made of.
pub(super) struct SignedData<'a> {
    pub(super) certificate: &'a Certificate,
    pub(super) chain: &'a [Certificate],
    pub(super) key: &'a PrivateKey,
    pub(super) digest: Digest,
    /// Seconds since 1970.
    pub(super) time: i64,
    /// Whether the message itself is left out.
    pub(super) is_detached: bool,
}

impl SignedData<'_> {
    /// The whole message in DER; `None` when libcrypto refuses the key.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let certificate = self.certificate.to_der().ok()?;
        let pss = match self.key.id() {
            Id::RSA_PSS => Some(Pss::of(&certificate, self.digest)?),
            _ => None,
        };
        let digest = match (&pss, self.key.id()) {
            (Some(pss), _) => pss.digest,
            // RFC 8419 §3.1: Ed25519 goes with SHA-512 and nothing else.
            (None, Id::ED25519) => Digest::named(b"sha512")?,
            (None, _) => self.digest,
        };
        let hashed = openssl::hash::hash((digest.algorithm)(), message).ok()?;
        let data_oid = element(der::OID, &[DATA]);
        let mut attributes = [
            attribute(CONTENT_TYPE, &data_oid),
            attribute(SIGNING_TIME, &self.time()?),
            attribute(MESSAGE_DIGEST, &element(der::OCTETS, &[&hashed])),
        ];
        // X.690 11.6: the elements of a set are sorted.
        attributes.sort();
        let attributes = attributes.concat();
        let signature = self.signature(digest, pss.as_ref(), &element(der::SET, &[&attributes]))?;

        let digest_id = digest.identifier();
        let signature_id = match (&pss, self.key.id()) {
            (Some(pss), _) => {
                element(der::SEQUENCE, &[&element(der::OID, &[RSASSA_PSS]), &pss.parameters])
            }
            (None, Id::RSA) => {
                element(der::SEQUENCE, &[&element(der::OID, &[RSA]), &element(der::NULL, &[])])
            }
            (None, Id::EC) => element(der::SEQUENCE, &[&element(der::OID, &[digest.ecdsa])]),
            (None, Id::ED25519) => element(der::SEQUENCE, &[&element(der::OID, &[ED25519])]),
            _ => return None,
        };
        let names = Names::of(&certificate)?;
        let signer = element(
            der::SEQUENCE,
            &[
                &element(der::INTEGER, &[&[1]]),
                &element(der::SEQUENCE, &[names.issuer, names.serial]),
                &digest_id,
                &element(der::CONTEXT_0, &[&attributes]),
                &signature_id,
                &element(der::OCTETS, &[&signature]),
            ],
        );
        let content = match self.is_detached {
            true => element(der::SEQUENCE, &[&data_oid]),
            false => {
                let octets = element(der::OCTETS, &[message]);
                element(der::SEQUENCE, &[&data_oid, &element(der::CONTEXT_0, &[&octets])])
            }
        };
        let mut certificates = certificate;
        for certificate in self.chain {
            certificates.extend(certificate.to_der().ok()?);
        }
        let signed = element(
            der::SEQUENCE,
            &[
                &element(der::INTEGER, &[&[1]]),
                &element(der::SET, &[&digest_id]),
                &content,
                &element(der::CONTEXT_0, &[&certificates]),
                &element(der::SET, &[&signer]),
            ],
        );
        let outer = [&element(der::OID, &[SIGNED_DATA])[..], &element(der::CONTEXT_0, &[&signed])];
        Some(element(der::SEQUENCE, &outer))
    }

    fn signature(&self, digest: Digest, pss: Option<&Pss>, attributes: &[u8]) -> Option<Vec<u8>> {
        let mut signer = match self.key.id() {
            Id::ED25519 => Signer::new_without_digest(self.key).ok()?,
            _ => Signer::new((digest.algorithm)(), self.key).ok()?,
        };
        if let Some(pss) = pss {
            signer.set_rsa_mgf1_md((pss.mask.algorithm)()).ok()?;
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(pss.salt)).ok()?;
        }
        signer.sign_oneshot_to_vec(attributes).ok()
    }

    /// RFC 5652 §11.3: two digits for the year until 2049.
    fn time(&self) -> Option<Vec<u8>> {
        let time = Timestamp::from_second(self.time).ok()?.to_zoned_datetime(TimeZone::UTC);
        Some(if (1950..2050).contains(&time.year()) {
            element(der::UTC_TIME, &[time.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()])
        } else {
            let text = time.strftime("%Y%m%d%H%M%SZ").to_string();
            element(der::GENERALIZED_TIME, &[text.as_bytes()])
        })
    }
}

fn attribute(oid: &[u8], value: &[u8]) -> Vec<u8> {
    element(der::SEQUENCE, &[&element(der::OID, &[oid]), &element(der::SET, &[value])])
}

/// The certificates of those who signed `message` (DER), found in it and in `more`.
pub(super) fn signers(message: &[u8], more: &[Certificate]) -> Vec<Certificate> {
    collect(message, more).unwrap_or_default()
}

fn collect(message: &[u8], more: &[Certificate]) -> Option<Vec<Certificate>> {
    let mut outer = Reader::new(message).next()?.items();
    outer.field(der::OID)?;
    let mut signed = outer.field(der::CONTEXT_0)?.items().field(der::SEQUENCE)?.items();
    signed.field(der::INTEGER)?;
    signed.field(der::SET)?;
    signed.field(der::SEQUENCE)?;
    let mut pool: Vec<Vec<u8>> =
        more.iter().filter_map(|certificate| certificate.to_der().ok()).collect();
    if let Some(certificates) = signed.field(der::CONTEXT_0) {
        pool.extend(certificates.items().map(|certificate| certificate.whole.to_vec()));
    }
    // Revocation lists, if there are any.
    signed.field(CONTEXT_1);
    let mut found = Vec::new();
    for signer in signed.field(der::SET)?.items() {
        let mut fields = signer.items();
        fields.field(der::INTEGER)?;
        let who = fields.next()?;
        let is_signer = |certificate: &&Vec<u8>| {
            if who.tag == der::IMPLICIT_0 {
                let certificate = X509::from_der(certificate).ok();
                return certificate.is_some_and(|certificate| {
                    let id = certificate.subject_key_id();
                    id.is_some_and(|id| id.as_slice() == who.content)
                });
            }
            Names::of(certificate).is_some_and(|names| {
                let mut wanted = who.items();
                let is_same = |element: Option<der::Element<'_>>, octets: &[u8]| {
                    element.is_some_and(|element| element.whole == octets)
                };
                is_same(wanted.next(), names.issuer) && is_same(wanted.next(), names.serial)
            })
        };
        let certificate = pool.iter().find(is_signer);
        found.extend(certificate.and_then(|certificate| X509::from_der(certificate).ok()));
    }
    Some(found)
}

/// The fields of a certificate from the serial number on.
fn certificate_fields(certificate: &[u8]) -> Option<Reader<'_>> {
    let mut fields = Reader::new(certificate).next()?.items().field(der::SEQUENCE)?.items();
    fields.field(der::CONTEXT_0);
    Some(fields)
}

/// What names a certificate: issuer and serial number, as they stand in it.
struct Names<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
}

impl<'a> Names<'a> {
    fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut fields = certificate_fields(certificate)?;
        let serial = fields.field(der::INTEGER)?.whole;
        fields.field(der::SEQUENCE)?;
        Some(Self { serial, issuer: fields.field(der::SEQUENCE)?.whole })
    }
}

/// Context-specific `[1]`, constructed.
const CONTEXT_1: u8 = 0xa1;
/// Context-specific `[2]`, constructed.
const CONTEXT_2: u8 = 0xa2;
/// 1.2.840.113549.1.7.1.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
/// 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
/// 1.2.840.113549.1.9.3.
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
/// 1.2.840.113549.1.9.4.
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
/// 1.2.840.113549.1.9.5.
const SIGNING_TIME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 5];
/// 1.2.840.113549.1.1.1, rsaEncryption (RFC 3370 §3.2).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// 1.2.840.113549.1.1.8 (RFC 8017).
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
/// 1.2.840.113549.1.1.10 (RFC 8017).
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
/// 1.3.101.112 (RFC 8410).
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const DIGESTS: [(&str, Digest); 4] = [
    (
        "sha1",
        Digest {
            algorithm: MessageDigest::sha1,
            oid: &[0x2b, 0x0e, 3, 2, 0x1a],
            ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1],
        },
    ),
    (
        "sha256",
        Digest {
            algorithm: MessageDigest::sha256,
            oid: &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
            ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
        },
    ),
    (
        "sha384",
        Digest {
            algorithm: MessageDigest::sha384,
            oid: &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2],
            ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
        },
    ),
    (
        "sha512",
        Digest {
            algorithm: MessageDigest::sha512,
            oid: &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3],
            ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4],
        },
    ),
];
