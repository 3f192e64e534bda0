//! Cryptographic chapter: digests, message authentication, random numbers; and below it ciphers,
//! signatures, cryptographic messages and pass words.
//!
//! What can come from the system's libcrypto does: scripts share it with plugins.

mod cipher;
mod cms;
mod password;
mod sign;
mod signed_data;

use hsl::host::{CallContext, Registry, Thrown};
use hsl::value::Value;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::args::{self, Options};
use crate::encoding::base::hex_encode;
use crate::random;
use crate::services::Services;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    cipher::register(registry);
    sign::register(registry, services);
    cms::register(registry, services);
    password::register(registry);
    registry
        .pure_function(
            "md5(string message [, array options]) -> string",
            "the MD5 digest in hex; option binary",
            |ctx, args| digest(ctx, args, MessageDigest::md5(), 1),
        )
        .pure_function(
            "sha1(string message [, array options]) -> string",
            "the SHA-1 digest in hex; option binary",
            |ctx, args| digest(ctx, args, MessageDigest::sha1(), 1),
        )
        .pure_function(
            "sha2(string message, number hashsize [, array options]) -> string",
            "the SHA-256 or SHA-512 digest in hex; option binary",
            |ctx, args| digest(ctx, args, sha2("sha2", args, 1)?, 2),
        )
        .pure_function(
            "hmac_md5(string key, string message [, array options]) -> string",
            "the HMAC with MD5 in hex; option binary",
            |ctx, args| hmac(ctx, args, MessageDigest::md5(), 2),
        )
        .pure_function(
            "hmac_sha1(string key, string message [, array options]) -> string",
            "the HMAC with SHA-1 in hex; option binary",
            |ctx, args| hmac(ctx, args, MessageDigest::sha1(), 2),
        )
        .pure_function(
            "hmac_sha2(string key, string message, number hashsize [, array options]) -> string",
            "the HMAC with SHA-256 or SHA-512 in hex; option binary",
            |ctx, args| hmac(ctx, args, sha2("hmac_sha2", args, 2)?, 3),
        )
        .pure_function(
            "hash(string message) -> number",
            "a number that is equal for equal messages",
            |_, args| f64::from(hash(args::bytes(args, 0))),
        )
        .function(
            "random_bytes(number bytes) -> string",
            "random octets, at most 1 MiB",
            |_, args| {
                let count = args::number(args, 0);
                if !(0.0..=MAX_RANDOM_OCTETS).contains(&count) {
                    return Err(Thrown::new("random_bytes() gives at most 1048576 bytes"));
                }
                random::bytes(count as usize)
            },
        )
        .function(
            "random_number([number first [, number last]]) -> number",
            "a whole number from first to last, or a fraction below 1",
            |_, args| random_number(args::number_opt(args, 0), args::number_opt(args, 1)),
        );
}

/// A whole number from `first` to `last`, both included; a fraction without both.
pub(crate) fn random_number(first: Option<f64>, last: Option<f64>) -> Result<Value, Thrown> {
    let (first, last) = match (first, last) {
        (None, None) => return Ok(Value::Number(random::fraction())),
        (Some(first), Some(last)) => (first.ceil(), last.floor()),
        _ => return Err(Thrown::new("random_number() takes both ends or none")),
    };
    let span = last - first;
    if !(0.0..=MAX_SAFE_INTEGER).contains(&span) {
        return Err(Thrown::new("random_number() needs a first that is not above last"));
    }
    Ok(Value::Number(first + random::below(span as usize + 1) as f64))
}

fn digest(
    ctx: &mut CallContext<'_>,
    args: &[&Value],
    algorithm: MessageDigest,
    options: usize,
) -> Result<Value, Thrown> {
    let message = args::bytes(args, 0);
    ctx.charge_fuel((message.len() / OCTETS_PER_STEP) as u64);
    let octets = openssl::hash::hash(algorithm, message).map_err(|_| unavailable())?;
    finish(&octets, Options::new(args, options))
}

fn hmac(
    ctx: &mut CallContext<'_>,
    args: &[&Value],
    algorithm: MessageDigest,
    options: usize,
) -> Result<Value, Thrown> {
    let (key, message) = (args::bytes(args, 0), args::bytes(args, 1));
    ctx.charge_fuel((message.len() / OCTETS_PER_STEP) as u64);
    // libcrypto refuses an empty key. Keys are filled with NULs (RFC 2104 §2), so this is the same.
    let octets = PKey::hmac(if key.is_empty() { &[0] } else { key })
        .and_then(|key| Signer::new(algorithm, &key)?.sign_oneshot_to_vec(message))
        .map_err(|_| unavailable())?;
    finish(&octets, Options::new(args, options))
}

fn finish(octets: &[u8], options: Options<'_>) -> Result<Value, Thrown> {
    let is_binary = options.boolean("binary", false)?;
    Ok(if is_binary { Value::from(octets) } else { Value::from(hex_encode(octets)) })
}

fn sha2(name: &str, args: &[&Value], at: usize) -> Result<MessageDigest, Thrown> {
    match args::integer(args, at) {
        256 => Ok(MessageDigest::sha256()),
        512 => Ok(MessageDigest::sha512()),
        _ => Err(Thrown::new(format!("{name}() knows the hash sizes 256 and 512"))),
    }
}

/// FNV-1a over 64 bits, folded: stable over restarts and machines, so that scripts may shard by it.
fn hash(message: &[u8]) -> u32 {
    let hash = message.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as u32
}

fn unavailable() -> Thrown {
    Thrown::new("the digest is not available in the system's libcrypto")
}

/// 1 MiB, by the manual.
const MAX_RANDOM_OCTETS: f64 = 1_048_576.0;
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;
const OCTETS_PER_STEP: usize = 256;
