//! DKIM in scripts: `signDKIM` of `MIME` and `MailMessage`, `verifyDKIM` of `MailMessage`.
//!
//! What a signature covers is worked out by [`mail_message::dkim`]; digests and keys are those of the
//! system's libcrypto. Bodies are read piece by piece; large ones on the pool for blocking work.

mod sign;
mod verify;

use std::io;
use std::sync::Arc;

use hsl::host::{CallContext, NativeStep, Thrown};
use hsl::value::Value;
use mail_message::dkim::{BodyCanonicalizer, Canonicalization};
use openssl::hash::{Hasher, MessageDigest};

use crate::services::FileContent;

pub use sign::Signer;
pub(super) use sign::{builder_method, message_method};
pub(super) use verify::method as verify_method;
pub(crate) use verify::{texts, verify};

/// Which part of which message is digested, and how.
struct BodyDigest {
    content: Arc<dyn FileContent>,
    start: u64,
    kind: Canonicalization,
    digest: MessageDigest,
    /// Octets of the canonical form that count (tag `l`).
    limit: Option<u64>,
}

impl BodyDigest {
    /// The digest, and how many octets the canonical form has.
    fn compute(&self) -> io::Result<(Vec<u8>, u64)> {
        let mut hasher = Hasher::new(self.digest)?;
        let mut canonicalizer = BodyCanonicalizer::new(self.kind);
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut total = 0;
        let mut take = |out: &mut Vec<u8>| {
            total += out.len() as u64;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
            left -= count as u64;
            let taken = hasher.update(out.get(..count).unwrap_or_default());
            out.clear();
            taken
        };
        let mut buffer = vec![0; CHUNK];
        let mut out = Vec::with_capacity(CHUNK + 16);
        let mut at = self.start;
        while at < self.content.len() {
            let count = self.content.read_at(at, &mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            canonicalizer.update(buffer.get(..count).unwrap_or_default(), &mut out);
            take(&mut out)?;
            at += count as u64;
        }
        canonicalizer.finish(&mut out);
        take(&mut out)?;
        Ok((hasher.finish()?.to_vec(), total))
    }

    /// Computes the digest and goes on with it; away from the runtime's threads when it is much.
    fn then(
        self,
        ctx: &mut CallContext<'_>,
        then: impl FnOnce(&mut CallContext<'_>, Vec<u8>, u64) -> NativeStep + Send + 'static,
    ) -> NativeStep {
        let octets = self.content.len().saturating_sub(self.start);
        ctx.charge_fuel(octets / OCTETS_PER_STEP);
        let unreadable = |error: &dyn std::fmt::Display| {
            Thrown::new(format!("the message cannot be read: {error}"))
        };
        if octets <= AT_ONCE {
            return match self.compute() {
                Ok((digest, total)) => then(ctx, digest, total),
                Err(error) => NativeStep::Throw(unreadable(&error)),
            };
        }
        let future = async move {
            let computed = tokio::task::spawn_blocking(move || self.compute()).await;
            let computed = computed.map_err(|error| unreadable(&error))?;
            let (digest, total) = computed.map_err(|error| unreadable(&error))?;
            Ok(Value::list([Value::from(digest), Value::Number(total as f64)]))
        };
        NativeStep::SuspendThen {
            future: Box::pin(future),
            then: Box::new(move |ctx: &mut CallContext<'_>, value: Value| {
                let mut values = value.as_array().into_iter().flat_map(|pair| pair.values());
                let digest = values.next().and_then(Value::as_bytes).unwrap_or_default().to_vec();
                let total = values.next().and_then(Value::as_number).unwrap_or_default() as u64;
                then(ctx, digest, total)
            }),
        }
    }
}

/// The algorithms of RFC 6376 §3.3 and RFC 8463.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    RsaSha1,
    RsaSha256,
    Ed25519Sha256,
}

impl Algorithm {
    fn parse(name: &[u8]) -> Option<Self> {
        let all = [Self::RsaSha1, Self::RsaSha256, Self::Ed25519Sha256];
        all.into_iter().find(|one| name.eq_ignore_ascii_case(one.name().as_bytes()))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::RsaSha1 => "rsa-sha1",
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    fn digest(self) -> MessageDigest {
        match self {
            Self::RsaSha1 => MessageDigest::sha1(),
            Self::RsaSha256 | Self::Ed25519Sha256 => MessageDigest::sha256(),
        }
    }
}

/// Reads the instance of an ARC set: digits only, and not 0. It may be beyond [`MAX_INSTANCE`].
fn arc_instance(text: &[u8]) -> Option<u32> {
    let digits = str::from_utf8(text).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let instance = is_number.then(|| digits.parse().unwrap_or(u32::MAX))?;
    (instance > 0).then_some(instance)
}

/// The last instance of an ARC set (RFC 8617 §4.2.1).
const MAX_INSTANCE: u32 = 50;

/// Octets read at once.
const CHUNK: usize = 64 << 10;

/// Bodies up to this size are digested where the script runs: about a millisecond.
const AT_ONCE: u64 = 256 << 10;

/// What counts as a step of the script.
const OCTETS_PER_STEP: u64 = 64;
