//! Cryptographic messages (RFC 5652, before that PKCS #7): signed and encrypted mail.
//!
//! All of them are read and written as DER octets. The signing side is written here, because the
//! digest is chosen by the script; everything else is libcrypto's.

use std::sync::Arc;

use hsl::host::{CallContext, Registry, Thrown};
use hsl::value::{Key, Value};
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::PKeyRef;
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use super::signed_data::{self, Digest};
use crate::args::{self, Options};
use crate::der;
use crate::keys::{self, Certificate, Keys, PrivateKey};
use crate::services::Services;
use crate::x509;

/// Registers the functions.
pub(super) fn register(registry: &mut Registry, services: &Services) {
    let store = Arc::clone(&services.keys);
    registry.function(
        "pkcs7_sign(string message, string or array certificate [, array options]) -> string or none",
        "an S/MIME signature in DER; options id, detached, digest",
        move |ctx, args| {
            let options = Options::new(args, 2);
            let request = SignRequest::read(ctx, options, true)?;
            let Some(signer) = Identity::of(args.get(1), options, &*store)? else {
                return Ok::<_, Thrown>(Value::None);
            };
            Ok(signer.sign(ctx, args::bytes(args, 0), &request).into())
        },
    );
    let store = Arc::clone(&services.keys);
    registry.function(
        "cms_sign(string message, array or string certificate [, array options]) -> array",
        "signs a message: result, data (DER) or error; options id, detached, digest",
        move |ctx, args| {
            let options = Options::new(args, 2);
            let request = SignRequest::read(ctx, options, true)?;
            let signer = Identity::of(args.get(1), options, &*store)?;
            let signed = signer.map(|signer| signer.sign(ctx, args::bytes(args, 0), &request));
            Ok::<_, Thrown>(match signed {
                Some(Some(data)) => good(data),
                Some(None) => bad("the message cannot be signed with this key"),
                None => bad(NO_IDENTITY),
            })
        },
    );
    registry.function(
        "cms_verify(string signature, string or none message, array certificates [, array options]) -> array",
        "checks a signed message: result, data, signers, error; options detached, data",
        verify,
    );
    registry.function(
        "cms_encrypt(string message, array certificates [, array options]) -> array",
        "encrypts a message for certificates (certs): result, data (DER) or error",
        encrypt,
    );
    let store = Arc::clone(&services.keys);
    registry.function(
        "cms_decrypt(string message, array or string certificate [, array options]) -> array",
        "decrypts a message: result, data or error; options id",
        move |ctx, args| {
            let message = args::bytes(args, 0);
            ctx.charge_memory(message.len())?;
            charge(ctx, message);
            let Some(reader) = Identity::of(args.get(1), Options::new(args, 2), &*store)? else {
                return Ok::<_, Thrown>(bad(NO_IDENTITY));
            };
            let decrypted = CmsContentInfo::from_der(message)
                .and_then(|cms| cms.decrypt(&reader.key, &reader.certificate));
            Ok(decrypted.map_or_else(|error| bad(&reason(&error)), good))
        },
    );
    registry.pure_function(
        "cms_type(string message) -> string or none",
        "what a cryptographic message is, such as pkcs7-signedData",
        |_, args| {
            let mut reader = der::Reader::new(args::bytes(args, 0));
            // The outer header may be of indefinite length; libcrypto reads those.
            let parsed;
            let oid = match reader.next().and_then(|outer| outer.items().field(der::OID)) {
                Some(oid) => oid,
                None => {
                    parsed = CmsContentInfo::from_der(args::bytes(args, 0)).ok()?.to_der().ok()?;
                    der::Reader::new(&parsed).next()?.items().field(der::OID)?
                }
            };
            let text = der::oid_text(oid.content);
            let nid = openssl::asn1::Asn1Object::from_str(&text).ok()?.nid();
            (nid != Nid::UNDEF).then(|| nid.short_name().ok()).flatten().map(Value::from)
        },
    );
}

/// Who signs, or whose message is decrypted.
struct Identity {
    certificate: Certificate,
    chain: Vec<Certificate>,
    key: PrivateKey,
}

/// What the options of a signature say.
struct SignRequest {
    is_detached: bool,
    digest: Digest,
    time: i64,
}

impl SignRequest {
    fn read(
        ctx: &CallContext<'_>,
        options: Options<'_>,
        is_detached: bool,
    ) -> Result<Self, Thrown> {
        let digest = options.bytes("digest")?.unwrap_or(b"sha256");
        Ok(Self {
            is_detached: options.boolean("detached", is_detached)?,
            digest: Digest::named(digest).ok_or_else(|| {
                Thrown::new("option \"digest\" must be sha1, sha256, sha384 or sha512")
            })?,
            time: i64::try_from(ctx.clock().unix_time().as_secs()).unwrap_or_default(),
        })
    }
}

impl Identity {
    /// The identity in an argument: an array of `x509`, `privatekey` and `chain`; a PEM text; or with
    /// option `id` the name of an entry of the configuration. `None` when there is none behind it.
    fn of(
        value: Option<&Value>,
        options: Options<'_>,
        store: &dyn Keys,
    ) -> Result<Option<Self>, Thrown> {
        let is_id = options.boolean("id", false)?;
        match value {
            Some(Value::Array(array)) => {
                let parts = Options::of(Some(array));
                let certificate = parts.get("x509").and_then(keys::certificate_of);
                let key = parts.get("privatekey").and_then(keys::private_key_of);
                let (Some(certificate), Some(key)) = (certificate, key) else {
                    return Err(Thrown::new(
                        "a certificate array must hold x509 and privatekey resources",
                    ));
                };
                Ok(Some(Self {
                    certificate: Certificate::clone(&certificate),
                    chain: x509::list(parts, "chain")?,
                    key: PrivateKey::clone(&key),
                }))
            }
            Some(Value::String(name)) if is_id => Ok(keys::find(store, name.as_bytes())
                .and_then(|entry| Self::from_parts(entry.certificates(), entry.key()?.clone()))),
            Some(Value::String(text)) => {
                let certificates = keys::certificates_from_pem(text.as_bytes());
                let key = keys::private_key_from_pem(text.as_bytes());
                Ok(match (certificates, key) {
                    (Ok(certificates), Ok(key)) => Self::from_parts(&certificates, key),
                    _ => None,
                })
            }
            _ => Ok(None),
        }
    }

    fn from_parts(certificates: &[Certificate], key: PrivateKey) -> Option<Self> {
        let (leaf, chain) = certificates.split_first()?;
        Some(Self { certificate: leaf.clone(), chain: chain.to_vec(), key })
    }

    fn sign(
        &self,
        ctx: &mut CallContext<'_>,
        message: &[u8],
        request: &SignRequest,
    ) -> Option<Vec<u8>> {
        charge(ctx, message);
        let public = self.certificate.public_key().ok()?;
        if !public.public_eq(AsRef::<PKeyRef<_>>::as_ref(&self.key)) {
            return None;
        }
        signed_data::SignedData {
            certificate: &self.certificate,
            chain: &self.chain,
            key: &self.key,
            digest: request.digest,
            time: request.time,
            is_detached: request.is_detached,
        }
        .sign(message)
    }
}

fn verify(ctx: &mut CallContext<'_>, args: &mut [Value]) -> Result<Value, Thrown> {
    let signature = args::bytes(args, 0);
    let message = args::bytes_opt(args, 1);
    let certificates = Options::new(args, 2);
    let options = Options::new(args, 3);
    let is_detached = options.boolean("detached", message.is_some())?;
    let with_data = options.boolean("data", true)?;
    let certs = x509::list(certificates, "certs")?;
    let trusted = match certificates.get("store") {
        Some(_) => Some(x509::list(certificates, "store")?),
        None => None,
    };
    if is_detached && message.is_none() {
        return Err(Thrown::new("cms_verify() of a detached signature needs the message"));
    }
    if certs.is_empty() && trusted.is_none() {
        return Err(Thrown::new("cms_verify() needs certificates: certs, store or both"));
    }
    charge(ctx, signature);
    charge(ctx, message.unwrap_or_default());
    ctx.charge_memory(signature.len() + message.map_or(0, <[u8]>::len))?;
    let result = (|| {
        let mut cms = CmsContentInfo::from_der(signature)?;
        let plain = cms.to_der()?;
        let mut flags = CMSOptions::BINARY;
        let mut store = X509StoreBuilder::new()?;
        match trusted {
            Some(trusted) => {
                for certificate in trusted {
                    store.add_cert(certificate)?;
                }
            }
            // Without a store nobody is trusted but the certificates given: the signer is one of
            // them, whatever the message brings along.
            None => flags |= CMSOptions::NOVERIFY | CMSOptions::NOINTERN,
        }
        let pool = stack(&certs)?;
        let mut content = Vec::new();
        let detached = message.filter(|_| is_detached);
        cms.verify(Some(&pool), Some(&store.build()), detached, Some(&mut content), flags)?;
        Ok::<_, ErrorStack>((content, signed_data::signers(&plain, &certs)))
    })();
    Ok(match result {
        Err(error) => bad(&reason(&error)),
        Ok((content, signers)) => {
            let signers = signers.into_iter().map(keys::certificate_value);
            let mut fields = vec![("result", Value::Bool(true)), ("signers", Value::list(signers))];
            if with_data {
                fields.push(("data", Value::from(content)));
            }
            map(fields)
        }
    })
}

fn encrypt(ctx: &mut CallContext<'_>, args: &mut [Value]) -> Result<Value, Thrown> {
    let message = args::bytes(args, 0);
    let certs = x509::list(Options::new(args, 1), "certs")?;
    if certs.is_empty() {
        return Err(Thrown::new("cms_encrypt() needs the certificates of the readers in certs"));
    }
    ctx.charge_memory(message.len())?;
    charge(ctx, message);
    let encrypted = stack(&certs)
        .and_then(|certs| {
            CmsContentInfo::encrypt(&certs, message, Cipher::aes_256_cbc(), CMSOptions::BINARY)
        })
        .and_then(|cms| cms.to_der());
    Ok(encrypted.map_or_else(|error| bad(&reason(&error)), good))
}

fn stack(certificates: &[Certificate]) -> Result<Stack<X509>, ErrorStack> {
    let mut stack = Stack::new()?;
    for certificate in certificates {
        stack.push(certificate.clone())?;
    }
    Ok(stack)
}

fn good(data: Vec<u8>) -> Value {
    map(vec![("result", Value::Bool(true)), ("data", Value::from(data))])
}

fn bad(error: &str) -> Value {
    map(vec![("result", Value::Bool(false)), ("error", Value::from(error))])
}

fn map(fields: Vec<(&str, Value)>) -> Value {
    Value::map(fields.into_iter().map(|(name, value)| (Key::from(name), value)))
}

/// The last of libcrypto's complaints: the one nearest to what was asked.
fn reason(error: &ErrorStack) -> String {
    let last = error.errors().last();
    let text = last.and_then(openssl::error::Error::reason).unwrap_or("unreadable message");
    match last.and_then(openssl::error::Error::data).filter(|data| !data.is_empty()) {
        Some(data) => format!("{text}: {data}"),
        None => text.to_owned(),
    }
}

fn charge(ctx: &mut CallContext<'_>, message: &[u8]) {
    ctx.charge_fuel(MESSAGE_STEPS + (message.len() / super::OCTETS_PER_STEP) as u64);
}

const MESSAGE_STEPS: u64 = 2000;
const NO_IDENTITY: &str = "no certificate with a private key";
