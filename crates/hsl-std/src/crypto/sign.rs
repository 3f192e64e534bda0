//! Private keys as resources, and signatures with RSA and Ed25519.

use std::sync::Arc;

use hsl::host::{CallContext, Registry, Thrown};
use hsl::value::Value;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Rsa;
use openssl::sign::{RsaPssSaltlen, Signer, Verifier};

use crate::args::{self, Options};
use crate::der::{self, Reader};
use crate::keys::{self, Keys, PrivateKey};
use crate::services::Services;

/// Registers the functions.
pub(super) fn register(registry: &mut Registry, services: &Services) {
    for (read, test, is_kind, kind) in [
        (
            "rsa_privatekey(string privatekey) -> RSAPrivateKey or none",
            "is_rsa_privatekey(any value) -> boolean",
            keys::is_rsa as fn(Id) -> bool,
            "RSA",
        ),
        (
            "ed25519_privatekey(string privatekey) -> ED25519PrivateKey or none",
            "is_ed25519_privatekey(any value) -> boolean",
            is_ed25519,
            "Ed25519",
        ),
        (
            "ec_privatekey(string privatekey) -> ECPrivateKey or none",
            "is_ec_privatekey(any value) -> boolean",
            |id| id == Id::EC,
            "elliptic curve",
        ),
    ] {
        registry.function(
            read,
            &format!("the {kind} private key in a PEM text"),
            move |_, args| {
                let key = keys::private_key_from_pem(args::bytes(args, 0)).ok();
                key.filter(|key| is_kind(key.id())).map_or(Value::None, keys::private_key_value)
            },
        );
        let doc = format!("true if the value is an {kind} private key");
        registry.pure_function(test, &doc, move |_, args| {
            let key = args.first().and_then(|value| keys::private_key_of(value));
            key.is_some_and(|key| is_kind(key.id()))
        });
    }
    let store = Arc::clone(&services.keys);
    registry.function(
        "rsa_sign(string message, string or RSAPrivateKey privatekey [, array options]) -> string or none",
        "an RSA signature: PKCS #1 v1.5, or RSASSA-PSS with a key for that alone; options hash, format, pem, id",
        move |ctx, args| rsa_sign(ctx, args, &*store),
    );
    let store = Arc::clone(&services.keys);
    registry
        .function(
            "rsa_verify(string message, string signature, string publickey [, array options]) -> boolean or none",
            "true if an RSA signature is good; options hash, format, pem, id",
            move |ctx, args| rsa_verify(ctx, args, &*store),
        )
        .function(
            "ed25519_sign(string message, string or ED25519PrivateKey privatekey) -> string or none",
            "an Ed25519 signature; a key that is a string is 32 raw octets",
            |ctx, args| {
                charge(ctx, args::bytes(args, 0));
                let key = match args.get(1) {
                    Some(key @ Value::Resource(_)) => resource(key, is_ed25519, "ed25519_sign", "ED25519PrivateKey")?,
                    _ => match keys::ed25519_from_raw(args::bytes(args, 1)) {
                        Ok(key) => Arc::new(key),
                        Err(_) => return Ok::<_, Thrown>(Value::None),
                    },
                };
                let signature = Signer::new_without_digest(&key)
                    .and_then(|mut signer| signer.sign_oneshot_to_vec(args::bytes(args, 0)));
                Ok(signature.ok().into())
            },
        )
        .pure_function(
            "ed25519_verify(string message, string signature, string publickey) -> boolean or none",
            "true if an Ed25519 signature is good; the key is 32 raw octets",
            |ctx, args| {
                let (message, signature) = (args::bytes(args, 0), args::bytes(args, 1));
                charge(ctx, message);
                let key =
                    PKey::public_key_from_raw_bytes(args::bytes(args, 2), Id::ED25519).ok()?;
                let mut verifier = Verifier::new_without_digest(&key).ok()?;
                Some(verifier.verify_oneshot(signature, message).unwrap_or(false))
            },
        );
}

/// The key behind a resource argument.
///
/// # Errors
///
/// When the resource is something else.
fn resource(
    value: &Value,
    is_kind: fn(Id) -> bool,
    function: &str,
    kind: &str,
) -> Result<Arc<PrivateKey>, Thrown> {
    keys::private_key_of(value)
        .filter(|key| is_kind(key.id()))
        .ok_or_else(|| Thrown::new(format!("{function}() needs a resource of type {kind}")))
}

fn rsa_sign(ctx: &mut CallContext<'_>, args: &[Value], store: &dyn Keys) -> Result<Value, Thrown> {
    let options = Options::new(args, 2);
    let hash = hash(options)?;
    let form = Form::of(options, &["RSAPrivateKey", "PrivateKeyInfo"])?;
    let text = args::bytes(args, 1);
    charge(ctx, args::bytes(args, 0));
    let key = match args.get(1) {
        Some(key @ Value::Resource(_)) => {
            Some(resource(key, keys::is_rsa, "rsa_sign", "RSAPrivateKey")?)
        }
        _ if form.is_id => {
            keys::find(store, text).and_then(|entry| entry.key().cloned()).map(Arc::new)
        }
        _ if form.is_pem => keys::private_key_from_pem(text).ok().map(Arc::new),
        _ => keys::private_key_from_der(text).ok().map(Arc::new),
    };
    let Some(key) = key.filter(|key| keys::is_rsa(key.id())) else { return Ok(Value::None) };
    let signature = Signer::new(hash, &key).and_then(|mut signer| {
        if is_free_pss(&key) {
            // What everybody reads; the library's own choice is as much as there is room for.
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        signer.sign_oneshot_to_vec(args::bytes(args, 0))
    });
    Ok(signature.ok().into())
}

/// Whether a key is for RSASSA-PSS alone, and does not say with which digest and salt (RFC 4055 §3.1).
fn is_free_pss(key: &PrivateKey) -> bool {
    let has_parameters = |octets: Vec<u8>| {
        let mut algorithm = Reader::new(&octets).next()?.items().field(der::SEQUENCE)?.items();
        algorithm.field(der::OID)?;
        Some(algorithm.field(der::SEQUENCE).is_some())
    };
    key.id() == Id::RSA_PSS && key.public_key_to_der().ok().and_then(has_parameters) == Some(false)
}

fn rsa_verify(
    ctx: &mut CallContext<'_>,
    args: &[Value],
    store: &dyn Keys,
) -> Result<Value, Thrown> {
    let options = Options::new(args, 3);
    let hash = hash(options)?;
    let form = Form::of(options, &["RSAPublicKey", "SubjectPublicKeyInfo"])?;
    charge(ctx, args::bytes(args, 0));
    let Some(key) = public_key(args::bytes(args, 2), &form, store) else { return Ok(Value::None) };
    let result = Verifier::new(hash, &key).and_then(|mut verifier| {
        verifier.verify_oneshot(args::bytes(args, 1), args::bytes(args, 0))
    });
    // A signature of another length or form is an error of the library, and simply not good.
    Ok(Value::Bool(result.unwrap_or(false)))
}

fn public_key(text: &[u8], form: &Form, store: &dyn Keys) -> Option<PKey<Public>> {
    let key = if form.is_id {
        let entry = keys::find(store, text)?;
        match (entry.certificates().first(), entry.key()) {
            (Some(certificate), _) => certificate.public_key().ok()?,
            (None, key) => PKey::public_key_from_der(&key?.public_key_to_der().ok()?).ok()?,
        }
    } else if form.is_pem {
        // The text itself says which of the two it is.
        PKey::public_key_from_pem(text)
            .or_else(|_| Rsa::public_key_from_pem_pkcs1(text).and_then(PKey::from_rsa))
            .ok()?
    } else if form.is_wrapped {
        PKey::public_key_from_der(text).ok()?
    } else {
        Rsa::public_key_from_der_pkcs1(text).and_then(PKey::from_rsa).ok()?
    };
    keys::is_rsa(key.id()).then_some(key)
}

/// How a key is given.
struct Form {
    is_id: bool,
    is_pem: bool,
    /// Whether an algorithm identifier stands around the key.
    is_wrapped: bool,
}

impl Form {
    /// Reads the options; `formats` are the bare form and the wrapped one.
    fn of(options: Options<'_>, formats: &[&str; 2]) -> Result<Self, Thrown> {
        let [bare, wrapped] = formats;
        let is_wrapped = match options.bytes("format")? {
            None => false,
            Some(format) if format == bare.as_bytes() => false,
            Some(format) if format == wrapped.as_bytes() => true,
            Some(_) => {
                return Err(Thrown::new(format!("option \"format\" must be {wrapped} or {bare}")));
            }
        };
        Ok(Self {
            is_id: options.boolean("id", false)?,
            is_pem: options.boolean("pem", false)?,
            is_wrapped,
        })
    }
}

fn is_ed25519(id: Id) -> bool {
    id == Id::ED25519
}

fn hash(options: Options<'_>) -> Result<MessageDigest, Thrown> {
    Ok(match options.bytes("hash")?.unwrap_or(b"sha256") {
        b"md5" => MessageDigest::md5(),
        b"sha1" => MessageDigest::sha1(),
        b"sha256" => MessageDigest::sha256(),
        b"sha512" => MessageDigest::sha512(),
        _ => return Err(Thrown::new("option \"hash\" must be md5, sha1, sha256 or sha512")),
    })
}

/// A signature costs about as much as thousands of steps, and its message by length.
fn charge(ctx: &mut CallContext<'_>, message: &[u8]) {
    ctx.charge_fuel(SIGNATURE_STEPS + (message.len() / super::OCTETS_PER_STEP) as u64);
}

const SIGNATURE_STEPS: u64 = 2000;
