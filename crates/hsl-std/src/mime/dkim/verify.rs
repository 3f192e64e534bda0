//! Verifying (RFC 6376 §6, RFC 8463, RFC 8301).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hsl::host::{ClassBuilder, NativeStep, Thrown};
use hsl::value::{Key, Value};
use mail_message::PartId;
use mail_message::dkim::Canonicalization;
use openssl::hash::hash;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Rsa;
use openssl::sign::Verifier;

use super::sign::signed_octets;
use super::{Algorithm, BodyDigest, MAX_INSTANCE, arc_instance};
use crate::args::{self, Options};
use crate::dns::domain_includes;
use crate::mail::dkim_tags;
use crate::mime::{Access, MessageHandle};
use crate::services::{DnsQuery, RecordData, RecordType, Resolver, Services};

type Tags = BTreeMap<Vec<u8>, Vec<u8>>;

/// Adds `verifyDKIM` to a class over an existing message.
pub(in crate::mime) fn method(class: &mut ClassBuilder, services: &Services, access: impl Access) {
    let resolver = Arc::clone(&services.resolver);
    class.method(
        "verifyDKIM(string headerfield [, array options]) -> array",
        "verifies a signature of the message as it came; options timeout, dns_function",
        move |ctx, args| {
            let options = Options::new(args, 1);
            let seconds = options.number("timeout")?.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
            let timeout = Duration::try_from_secs_f64(seconds)
                .map_err(|_| Thrown::new("option \"timeout\" must be a number of seconds"))?;
            let function = options.get("dns_function").cloned();
            let now = ctx.clock().unix_time().as_secs();
            let signature = match Signature::read(args::bytes(args, 0), now) {
                Ok(signature) => signature,
                Err((error, tags)) => {
                    return Ok(NativeStep::Return(permanent(error, tags.as_ref())));
                }
            };
            let part = access(ctx)?;
            let (data, digest) = signature.covered(&part.message);
            let resolver = Arc::clone(&resolver);
            Ok::<_, Thrown>(digest.then(ctx, move |_, digest, total| {
                if let Err(error) = signature.check_body(&digest, total) {
                    return NativeStep::Return(signature.failed(error));
                }
                let host = signature.host();
                if let Some(function) = function {
                    let arguments = [Value::from(host)];
                    return NativeStep::call(function, arguments, move |_, answer| {
                        NativeStep::Return(signature.conclude(read_answer(&answer), &data))
                    });
                }
                NativeStep::suspend(async move {
                    let records = texts(&*resolver, host, timeout).await;
                    let records = records.ok_or(("temperror", "key lookup failed".to_owned()));
                    Ok(signature.conclude(records, &data))
                })
            }))
        },
    );
}

/// Verifies one `DKIM-Signature` field of a message: the domain that signed, and `pass`, `permerror`
/// or `temperror`. `now` is Unix time in seconds.
///
/// # Cancel safety
///
/// Dropping the future gives up the question for the key.
pub(crate) async fn verify(
    message: &MessageHandle,
    field: &[u8],
    now: u64,
    resolver: &dyn Resolver,
    timeout: Duration,
) -> (String, &'static str) {
    let signature = match Signature::read(field, now) {
        Ok(signature) => signature,
        Err((_, tags)) => {
            let domain = tags.and_then(|mut tags| tags.remove(&b"d"[..])).unwrap_or_default();
            return (String::from_utf8_lossy(&domain).into_owned(), "permerror");
        }
    };
    let domain = String::from_utf8_lossy(signature.tag("d")).into_owned();
    let (data, digest) = signature.covered(message);
    let digest = tokio::task::spawn_blocking(move || digest.compute()).await;
    let Ok(Ok((digest, total))) = digest else { return (domain, "temperror") };
    if signature.check_body(&digest, total).is_err() {
        return (domain, "permerror");
    }
    let Some(records) = texts(resolver, signature.host(), timeout).await else {
        return (domain, "temperror");
    };
    let passes = records.iter().any(|record| signature.check(record, &data).is_ok());
    (domain, if passes { "pass" } else { "permerror" })
}

/// The texts at a name; `None` when it cannot be told whether there are any.
pub(crate) async fn texts(
    resolver: &dyn Resolver,
    host: String,
    timeout: Duration,
) -> Option<Vec<Vec<u8>>> {
    let query = DnsQuery {
        host,
        record: RecordType::Txt,
        timeout,
        servers: Vec::new(),
        port: 53,
        authentic: false,
    };
    match resolver.query(query).await.result {
        Ok(records) => Some(
            records
                .into_iter()
                .filter_map(|record| match record.data {
                    RecordData::Txt(text) => Some(text),
                    _ => None,
                })
                .collect(),
        ),
        Err(code) if matches!(code.as_str(), "NXDOMAIN" | "NO_DATA") => Some(Vec::new()),
        Err(_) => None,
    }
}

/// A signature as it stands in its field.
struct Signature {
    raw: Vec<u8>,
    tags: Tags,
    algorithm: Algorithm,
    header: Canonicalization,
    body: Canonicalization,
    body_hash: Vec<u8>,
    signature: Vec<u8>,
    limit: Option<u64>,
    is_arc: bool,
}

impl Signature {
    /// Reads a field, or says why it cannot count.
    fn read(raw: &[u8], now: u64) -> Result<Self, (&'static str, Option<Tags>)> {
        let raw = raw.trim_ascii_end();
        let colon = memchr::memchr(b':', raw).ok_or(("not a header field", None))?;
        let (name, value) = raw.split_at_checked(colon).unwrap_or((raw, b""));
        let name = name.trim_ascii_end();
        let is_arc = name.eq_ignore_ascii_case(b"arc-message-signature");
        if !is_arc && !name.eq_ignore_ascii_case(b"dkim-signature") {
            return Err(("not a signature field", None));
        }
        let tags = dkim_tags::parse(value.get(1..).unwrap_or_default());
        let tags = tags.ok_or(("signature syntax error", None))?;
        match Self::from_tags(raw, &tags, is_arc, now) {
            Ok(signature) => Ok(signature),
            Err(error) => Err((error, Some(tags))),
        }
    }

    fn from_tags(raw: &[u8], tags: &Tags, is_arc: bool, now: u64) -> Result<Self, &'static str> {
        let tag = |name: &str| tags.get(name.as_bytes()).map(Vec::as_slice);
        let needed = |name| tag(name).filter(|value| !value.is_empty());
        let needed = |name| needed(name).ok_or("signature missing required tag");
        if !is_arc && needed("v")? != b"1" {
            return Err("incompatible version");
        }
        let algorithm = Algorithm::parse(needed("a")?).ok_or("unknown algorithm")?;
        let (domain, _) = (needed("d")?, needed("s")?);
        let mut kinds = tag("c").unwrap_or(b"simple/simple").splitn(2, |byte| *byte == b'/');
        let mut kind = || match kinds.next() {
            None => Some(Canonicalization::Simple),
            Some(word) => Canonicalization::parse(word.trim_ascii()),
        };
        let header = kind().ok_or("unknown canonicalization")?;
        let body = kind().ok_or("unknown canonicalization")?;
        let decode = |text: &[u8]| {
            let text = str::from_utf8(text).ok()?;
            openssl::base64::decode_block(text).ok()
        };
        let body_hash = decode(needed("bh")?).ok_or("signature syntax error")?;
        let signature = decode(needed("b")?).ok_or("signature syntax error")?;
        let number = |name: &str| match tag(name) {
            None => Ok(None),
            Some(digits) => str::from_utf8(digits)
                .ok()
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse::<u64>().ok())
                .map(Some)
                .ok_or("signature syntax error"),
        };
        let limit = number("l")?;
        let (time, expiration) = (number("t")?, number("x")?);
        if let Some(expiration) = expiration
            && (expiration < now || time.is_some_and(|time| expiration <= time))
        {
            return Err("signature expired");
        }
        if let Some(identity) = tag("i").filter(|_| !is_arc) {
            let at = memchr::memrchr(b'@', identity).ok_or("signature syntax error")?;
            if !domain_includes(identity.get(at + 1..).unwrap_or_default(), domain) {
                return Err("domain mismatch");
            }
        }
        if let Some(methods) = tag("q") {
            let mut methods = methods.split(|byte| *byte == b':').map(<[u8]>::trim_ascii);
            if !methods.any(|method| method.eq_ignore_ascii_case(b"dns/txt")) {
                return Err("unknown key query method");
            }
        }
        let read = Self {
            raw: raw.to_vec(),
            tags: tags.clone(),
            algorithm,
            header,
            body,
            body_hash,
            signature,
            limit,
            is_arc,
        };
        needed("h")?;
        if !read.names().any(|name| name.eq_ignore_ascii_case(b"from")) {
            return Err("From field not signed");
        }
        if is_arc {
            // RFC 8617 §4.2.1: two digits at most, 1 to 50.
            if arc_instance(needed("i")?).is_none_or(|instance| instance > MAX_INSTANCE) {
                return Err("ARC instance out of range");
            }
            // RFC 8617 §4.1.2: what signs all fields of a set cannot be signed by one of them.
            if read.names().any(|name| name.eq_ignore_ascii_case(b"arc-seal")) {
                return Err("ARC-Seal field signed");
            }
        }
        Ok(read)
    }

    /// What it covers: the octets of the header that are signed, and the body to be digested.
    fn covered(&self, message: &MessageHandle) -> (Vec<u8>, BodyDigest) {
        let message = message.lock();
        let view = message.message().view(PartId::TOP);
        let fields: Vec<&[u8]> =
            view.into_iter().flat_map(|v| v.fields()).map(|field| field.raw).collect();
        let names: Vec<&[u8]> = self.names().collect();
        let data = signed_octets(self.header, &fields, &names, &self.raw);
        let digest = BodyDigest {
            content: Arc::clone(message.content()),
            start: message.message().header().body_start() as u64,
            kind: self.body,
            digest: self.algorithm.digest(),
            limit: self.limit,
        };
        (data, digest)
    }

    fn check_body(&self, digest: &[u8], total: u64) -> Result<(), &'static str> {
        if self.limit.is_some_and(|limit| limit > total) {
            return Err("body length exceeds the body");
        }
        if self.body_hash != digest {
            return Err("body hash did not verify");
        }
        Ok(())
    }

    fn tag(&self, name: &str) -> &[u8] {
        self.tags.get(name.as_bytes()).map(Vec::as_slice).unwrap_or_default()
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.tag("h").split(|byte| *byte == b':').map(<[u8]>::trim_ascii)
    }

    /// Where the key is.
    fn host(&self) -> String {
        let (selector, domain) = (self.tag("s"), self.tag("d"));
        format!(
            "{}._domainkey.{}",
            String::from_utf8_lossy(selector),
            String::from_utf8_lossy(domain)
        )
    }

    fn failed(&self, error: &str) -> Value {
        permanent(error, Some(&self.tags))
    }

    /// Checks the signature with the key records found.
    fn conclude(
        &self,
        records: Result<Vec<Vec<u8>>, (&'static str, String)>,
        data: &[u8],
    ) -> Value {
        let records = match records {
            Ok(records) => records,
            Err((kind, error)) => return result(kind, Some(&error), Some(&self.tags)),
        };
        // RFC 6376 §6.1.2: which of several counts is undefined; the first that fits will do.
        let mut error = "no key for signature";
        for record in &records {
            match self.check(record, data) {
                Ok(()) => return result("pass", None, Some(&self.tags)),
                Err(reason) => error = reason,
            }
        }
        self.failed(error)
    }

    fn check(&self, record: &[u8], data: &[u8]) -> Result<(), &'static str> {
        let tags = dkim_tags::parse(record).ok_or("key syntax error")?;
        let tag = |name: &str| tags.get(name.as_bytes()).map(Vec::as_slice);
        if tag("v").is_some_and(|version| version != b"DKIM1") {
            return Err("key syntax error");
        }
        let words = |list: &'static str| {
            let list = tags.get(list.as_bytes()).map(Vec::as_slice);
            list.map(|list| list.split(|byte| *byte == b':').map(<[u8]>::trim_ascii))
        };
        let (kind, digest): (&[u8], &[u8]) = match self.algorithm {
            Algorithm::RsaSha1 => (b"rsa", b"sha1"),
            Algorithm::RsaSha256 => (b"rsa", b"sha256"),
            Algorithm::Ed25519Sha256 => (b"ed25519", b"sha256"),
        };
        if !tag("k").unwrap_or(b"rsa").eq_ignore_ascii_case(kind) {
            return Err("inappropriate key algorithm");
        }
        if words("h").is_some_and(|mut list| !list.any(|word| word.eq_ignore_ascii_case(digest))) {
            return Err("inappropriate hash algorithm");
        }
        let is_for_mail = |word: &[u8]| word == b"*" || word.eq_ignore_ascii_case(b"email");
        if words("s").is_some_and(|mut list| !list.any(is_for_mail)) {
            return Err("key is not for mail");
        }
        let is_strict = words("t").is_some_and(|mut list| list.any(|word| word == b"s"));
        if is_strict && !self.is_arc {
            let identity = self.tag("i");
            let at = memchr::memrchr(b'@', identity).map_or(0, |at| at + 1);
            let domain = identity.get(at..).unwrap_or_default();
            if !identity.is_empty() && !domain.eq_ignore_ascii_case(self.tag("d")) {
                return Err("domain mismatch");
            }
        }
        let text = tag("p").ok_or("key syntax error")?;
        if text.is_empty() {
            return Err("key revoked");
        }
        let octets = str::from_utf8(text).ok().and_then(|p| openssl::base64::decode_block(p).ok());
        let key = public_key(self.algorithm, &octets.ok_or("key syntax error")?);
        let key = key.ok_or("key syntax error")?;
        if self.algorithm != Algorithm::Ed25519Sha256 && key.bits() < MIN_RSA_BITS {
            return Err("key too short");
        }
        let verified = match self.algorithm {
            Algorithm::Ed25519Sha256 => hash(self.algorithm.digest(), data).and_then(|digest| {
                Verifier::new_without_digest(&key)?.verify_oneshot(&self.signature, &digest)
            }),
            _ => Verifier::new(self.algorithm.digest(), &key)
                .and_then(|mut verifier| verifier.verify_oneshot(&self.signature, data)),
        };
        if verified.unwrap_or(false) { Ok(()) } else { Err("signature did not verify") }
    }
}

fn public_key(algorithm: Algorithm, octets: &[u8]) -> Option<PKey<Public>> {
    match algorithm {
        Algorithm::Ed25519Sha256 => PKey::public_key_from_raw_bytes(octets, Id::ED25519)
            .or_else(|_| PKey::public_key_from_der(octets))
            .ok(),
        _ => PKey::public_key_from_der(octets)
            .or_else(|_| Rsa::public_key_from_der_pkcs1(octets).and_then(PKey::from_rsa))
            .ok(),
    }
    .filter(|key| {
        key.id() == if algorithm == Algorithm::Ed25519Sha256 { Id::ED25519 } else { Id::RSA }
    })
}

/// What the script's own lookup gave: texts, or which kind of error.
fn read_answer(answer: &Value) -> Result<Vec<Vec<u8>>, (&'static str, String)> {
    let options = Options::of(answer.as_array());
    match options.get("result") {
        Some(Value::String(text)) => return Ok(vec![text.as_bytes().to_vec()]),
        Some(Value::Array(list)) => {
            return Ok(list.values().filter_map(Value::as_bytes).map(<[u8]>::to_vec).collect());
        }
        _ => {}
    }
    let error = options.get("error").and_then(Value::as_bytes);
    let kind = if error == Some(b"temperror") { "temperror" } else { "permerror" };
    Err((kind, "key lookup failed".to_owned()))
}

fn permanent(error: &str, tags: Option<&Tags>) -> Value {
    result("permerror", Some(error), tags)
}

fn result(kind: &str, error: Option<&str>, tags: Option<&Tags>) -> Value {
    let mut items = vec![("result", Value::from(kind))];
    if let Some(error) = error {
        items.push(("error", Value::from(error)));
    }
    if let Some(tags) = tags {
        let tags = tags.iter();
        let tags = tags.map(|(tag, text)| (Key::from(tag.as_slice()), text.as_slice().into()));
        items.push(("tags", Value::map(tags)));
    }
    Value::map(items)
}

const DEFAULT_TIMEOUT_SECONDS: f64 = 5.0;

/// RFC 8301 §3.2.
const MIN_RSA_BITS: u32 = 1024;
