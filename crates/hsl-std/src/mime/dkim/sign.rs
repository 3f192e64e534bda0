//! Signing (RFC 6376 §5, RFC 8463, RFC 8617 §4.1.2).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use hsl::host::{CallContext, ClassBuilder, NativeStep, Thrown};
use hsl::value::{Array, Value};
use mail_message::PartId;
use mail_message::dkim::{Canonicalization, name_of, select, without_signature};
use mail_message::header::WriteOptions;
use openssl::hash::hash;
use openssl::pkey::Id;
use openssl::sign::Signer as KeySigner;

use super::{Algorithm, BodyDigest, MAX_INSTANCE, arc_instance};
use crate::args::{self, Options};
use crate::keys::{self, Keys, PrivateKey};
use crate::mime::Access;
use crate::mime::handle::{SharedMessage, unreadable};
use crate::mime::options::date_of_now;
use crate::services::{FileContent, Services};

/// A signature to be made: everything but the message.
#[derive(Clone)]
pub struct Signer {
    key: Arc<PrivateKey>,
    algorithm: Algorithm,
    header: Canonicalization,
    body: Canonicalization,
    selector: String,
    domain: String,
    names: Vec<String>,
    oversigned: Vec<String>,
    timestamp: Option<u64>,
    expiration: Option<u64>,
    identity: Option<String>,
    is_arc: bool,
    /// The instance of the ARC set that a script names, 1 to 50.
    instance: Option<u32>,
}

/// Adds `signDKIM` to a class over an existing message.
pub(in crate::mime) fn message_method(
    class: &mut ClassBuilder,
    services: &Services,
    access: impl Access,
) {
    let (keys, zone) = (Arc::clone(&services.keys), services.time_zone.clone());
    class.method(
        "signDKIM(string selector, string domain, resource or string key [, array options]) \
         -> MailMessage, string or none",
        "signs the message with its changes; none without a usable key, or when the message has all ARC \
         sets there may be",
        move |ctx, args| {
            let Some(signer) = Signer::new(ctx, args, &*keys)? else {
                return Ok(NativeStep::Return(Value::None));
            };
            let returns = Options::new(args, 3).boolean("return_header", false)?;
            let part = access(ctx)?;
            let date = date_of_now(ctx, &zone);
            let content = part.message.lock().output(&date);
            let this = ctx.this().map(|this| Value::Object(this.clone())).unwrap_or_default();
            Ok::<_, Thrown>(signer.sign(ctx, content, move |_, name, value| {
                let Some(value) = value else { return NativeStep::Return(Value::None) };
                if returns {
                    return NativeStep::Return(Value::from(value));
                }
                let mut message = part.message.lock();
                let raw = WriteOptions { encode: false, ..WriteOptions::default() };
                let value = value.as_bytes();
                match message.message_mut().add_header(PartId::TOP, name, value, raw) {
                    Ok(()) => NativeStep::Return(this),
                    Err(error) => NativeStep::Throw(Thrown::new(error.to_string())),
                }
            }))
        },
    );
}

/// Adds `signDKIM` to the class of composed messages; `remember` keeps what will be signed with.
pub(in crate::mime) fn builder_method(
    class: &mut ClassBuilder,
    services: &Services,
    remember: impl Fn(&mut CallContext<'_>, Signer) -> Result<(), Thrown> + Send + Sync + 'static,
) {
    let keys = Arc::clone(&services.keys);
    class.method(
        "signDKIM(string selector, string domain, resource or string key [, array options]) \
         -> MIME",
        "has the message signed when it is written",
        move |ctx, args| {
            let signer = Signer::new(ctx, args, &*keys)?;
            let signer = signer.ok_or_else(|| Thrown::new("signDKIM() needs a private key"))?;
            remember(ctx, signer)?;
            Ok::<_, Thrown>(ctx.this().map(|this| Value::Object(this.clone())))
        },
    );
}

impl Signer {
    /// Reads selector, domain, key and options, as `signDKIM` takes them. `None` when the key cannot
    /// be found, read or used.
    ///
    /// # Errors
    ///
    /// An option of the wrong kind.
    pub fn new(
        ctx: &CallContext<'_>,
        args: &[Value],
        keys: &dyn Keys,
    ) -> Result<Option<Self>, Thrown> {
        let options = Options::new(args, 3);
        let algorithm = match options.bytes("algorithm")? {
            None => Algorithm::RsaSha256,
            Some(name) => Algorithm::parse(name).ok_or_else(|| wrong("algorithm"))?,
        };
        let canonicalization = |name: &str| match options.bytes(name)? {
            None => Ok(Canonicalization::Relaxed),
            Some(word) => Canonicalization::parse(word).ok_or_else(|| wrong(name)),
        };
        let now = ctx.clock().unix_time().as_secs();
        let timestamp = match options.get("timestamp") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(now),
            Some(Value::Number(seconds)) if *seconds >= 0.0 => Some(*seconds as u64),
            Some(_) => return Err(wrong("timestamp")),
        };
        let seconds = |name: &str| match options.number(name)? {
            Some(seconds) if seconds < 0.0 || seconds.is_nan() => Err(wrong(name)),
            seconds => Ok(seconds.map(|seconds| seconds as u64)),
        };
        let relative = seconds("expiration_relative")?;
        let relative = relative.map(|after| timestamp.unwrap_or(now).saturating_add(after));
        let expiration = seconds("expiration")?.or(relative);
        let mut names = match options.array("headers")? {
            None => RECOMMENDED.iter().map(|name| (*name).to_owned()).collect(),
            Some(list) => header_names("headers", list)?,
        };
        if let Some(list) = options.array("additional_headers")? {
            names.extend(header_names("additional_headers", list)?);
        }
        let oversigned = match options.array("oversign_headers")? {
            None => vec!["from".to_owned()],
            Some(list) => header_names("oversign_headers", list)?,
        };
        let is_id = match options.get("id") {
            None => None,
            Some(_) => Some(options.boolean("id", false)?),
        };
        let Some(key) = find_key(args.get(2), is_id, algorithm, keys) else { return Ok(None) };
        // Public scripts give the instance where the manual says a boolean.
        let instance = match options.get("arc") {
            None | Some(Value::Bool(_)) => None,
            Some(Value::Number(number)) if (1.0..=f64::from(MAX_INSTANCE)).contains(number) => {
                Some(*number as u32)
            }
            Some(_) => {
                let message = "option \"arc\" must be a boolean, or an instance from 1 to 50";
                return Err(Thrown::new(message));
            }
        };
        let identity = options.bytes("identity")?.map(|text| tag_text("identity", text));
        let identity = identity.transpose()?;
        let is_arc = instance.is_some() || matches!(options.get("arc"), Some(Value::Bool(true)));
        let by_identity = || identity.as_ref()?.parse().ok();
        let instance = if is_arc { instance.or_else(by_identity) } else { None };
        if instance.is_some_and(|instance| !(1..=MAX_INSTANCE).contains(&instance)) {
            return Err(wrong("identity"));
        }
        // RFC 8617 §4.1.2.
        if is_arc && names.iter().chain(&oversigned).any(|name| name == "arc-seal") {
            return Err(Thrown::new("an ARC-Message-Signature cannot sign ARC-Seal fields"));
        }
        Ok(Some(Self {
            key,
            algorithm,
            header: canonicalization("canonicalization_header")?,
            body: canonicalization("canonicalization_body")?,
            selector: tag_text("selector", args::bytes(args, 0))?,
            domain: tag_text("domain", args::bytes(args, 1))?,
            names,
            oversigned,
            timestamp,
            expiration,
            identity,
            is_arc,
            instance,
        }))
    }

    /// Signs `content` and goes on with the field's name and value, `None` when no ARC set may follow.
    fn sign(
        self,
        ctx: &mut CallContext<'_>,
        content: Arc<dyn FileContent>,
        then: impl FnOnce(&mut CallContext<'_>, &'static [u8], Option<String>) -> NativeStep
        + Send
        + 'static,
    ) -> NativeStep {
        let message = match SharedMessage::from_content(Arc::clone(&content)) {
            Ok(message) => message,
            Err(error) => return NativeStep::Throw(unreadable(error)),
        };
        let digest = BodyDigest {
            content,
            start: message.message().header().body_start() as u64,
            kind: self.body,
            digest: self.algorithm.digest(),
            limit: None,
        };
        digest.then(ctx, move |ctx, digest, _| match self.value(&message, &digest) {
            Ok(value) => then(ctx, self.field_name(), value),
            Err(error) => NativeStep::Throw(error),
        })
    }

    /// Signs a message in memory: the whole field with its line end.
    ///
    /// # Errors
    ///
    /// What the key's algorithm says; that no ARC set may follow.
    pub fn field(&self, octets: &Bytes) -> Result<Vec<u8>, Thrown> {
        let message = SharedMessage::from_octets(octets.clone());
        let digest = BodyDigest {
            content: Arc::new(octets.clone()),
            start: message.message().header().body_start() as u64,
            kind: self.body,
            digest: self.algorithm.digest(),
            limit: None,
        };
        let (digest, _) = digest.compute().map_err(unreadable)?;
        let value = self.value(&message, &digest)?;
        let value =
            value.ok_or_else(|| Thrown::new("the message has all ARC sets there may be"))?;
        Ok([self.field_name(), b": ", value.as_bytes(), b"\r\n"].concat())
    }

    const fn field_name(&self) -> &'static [u8] {
        if self.is_arc { b"ARC-Message-Signature" } else { b"DKIM-Signature" }
    }

    /// The field's value; `None` when no ARC set may follow those of the message.
    fn value(&self, message: &SharedMessage, body_hash: &[u8]) -> Result<Option<String>, Thrown> {
        let view = message.message().view(PartId::TOP);
        let fields: Vec<&[u8]> =
            view.into_iter().flat_map(|view| view.fields()).map(|field| field.raw).collect();
        let names = self.signed_names(&fields);
        let mut tags = if self.is_arc {
            let Some(instance) = self.instance(&fields) else { return Ok(None) };
            vec![format!("i={instance}")]
        } else {
            vec!["v=1".to_owned()]
        };
        tags.push(format!("a={}", self.algorithm.name()));
        tags.push(format!("c={}/{}", self.header.as_str(), self.body.as_str()));
        tags.push(format!("d={}", self.domain));
        tags.push(format!("s={}", self.selector));
        tags.extend(self.timestamp.map(|seconds| format!("t={seconds}")));
        tags.extend(self.expiration.map(|seconds| format!("x={seconds}")));
        if let Some(identity) = self.identity.as_ref().filter(|_| !self.is_arc) {
            tags.push(format!("i={identity}"));
        }
        tags.push(format!("h={}", fold_names(&names)));
        tags.push(format!("bh={}", openssl::base64::encode_block(body_hash)));
        let mut value = String::new();
        let mut line = self.field_name().len() + 1;
        for tag in tags {
            let first = tag.split("\r\n").next().unwrap_or_default().len();
            if line + first + 2 > LINE {
                value.push_str("\r\n\t");
                line = 1;
            } else if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(&tag);
            value.push(';');
            let last = tag.rsplit("\r\n").next().unwrap_or_default().len();
            line = if tag.contains('\n') { last + 1 } else { line + last + 2 };
        }
        value.push_str("\r\n\tb=");
        let own = [self.field_name(), b": ", value.as_bytes()].concat();
        let signed: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        let data = signed_octets(self.header, &fields, &signed, &own);
        let signature = self.signature(&data).map_err(|error| {
            Thrown::new(format!("signDKIM() cannot sign with this key: {error}"))
        })?;
        let signature = openssl::base64::encode_block(&signature);
        for (at, character) in signature.chars().enumerate() {
            if at > 0 && at % SIGNATURE_LINE == 0 {
                value.push_str("\r\n\t ");
            }
            value.push(character);
        }
        Ok(Some(value))
    }

    /// The names of tag `h`: each as often as there are fields, and once more if oversigned.
    fn signed_names(&self, fields: &[&[u8]]) -> Vec<String> {
        let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
        for field in fields {
            *counts.entry(name_of(field)).or_default() += 1;
        }
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for name in self.names.iter().chain(&self.oversigned).filter(|name| seen.insert(*name)) {
            let count = counts.get(name.as_bytes()).copied().unwrap_or_default();
            let count = count + usize::from(self.oversigned.contains(name));
            names.extend(std::iter::repeat_n(name.clone(), count));
        }
        names
    }

    /// The instance of an ARC set: as given, or one more than the highest seal, if that may be.
    fn instance(&self, fields: &[&[u8]]) -> Option<u32> {
        if self.instance.is_some() {
            return self.instance;
        }
        let seals = fields.iter().filter_map(|field| {
            let colon = memchr::memchr(b':', field)?;
            let (name, value) = field.split_at_checked(colon)?;
            if !name.trim_ascii_end().eq_ignore_ascii_case(b"arc-seal") {
                return None;
            }
            let tags = crate::mail::dkim_tags::parse(value.get(1..)?)?;
            arc_instance(tags.get(&b"i"[..])?)
        });
        let next = seals.max().unwrap_or(0).saturating_add(1);
        (next <= MAX_INSTANCE).then_some(next)
    }

    fn signature(&self, data: &[u8]) -> Result<Vec<u8>, openssl::error::ErrorStack> {
        match self.algorithm {
            Algorithm::Ed25519Sha256 => {
                // RFC 8463 §3: the digest is what is signed.
                let digest = hash(self.algorithm.digest(), data)?;
                KeySigner::new_without_digest(&self.key)?.sign_oneshot_to_vec(&digest)
            }
            Algorithm::RsaSha1 | Algorithm::RsaSha256 => {
                KeySigner::new(self.algorithm.digest(), &self.key)?.sign_oneshot_to_vec(data)
            }
        }
    }
}

/// What header digests are made of (RFC 6376 §3.7): the fields, then the signature without itself.
pub(super) fn signed_octets(
    kind: Canonicalization,
    fields: &[&[u8]],
    names: &[&[u8]],
    own: &[u8],
) -> Vec<u8> {
    let mut data = Vec::new();
    for field in select(fields, names) {
        kind.field(field, &mut data);
        data.extend_from_slice(b"\r\n");
    }
    kind.field(&without_signature(own), &mut data);
    data
}

fn find_key(
    value: Option<&Value>,
    is_id: Option<bool>,
    algorithm: Algorithm,
    keys: &dyn Keys,
) -> Option<Arc<PrivateKey>> {
    let wanted = if algorithm == Algorithm::Ed25519Sha256 { Id::ED25519 } else { Id::RSA };
    let key = match value? {
        Value::String(text) => {
            let text = text.as_bytes();
            let looks_like_id = memchr::memmem::find(text, b"-----BEGIN").is_none();
            if is_id.unwrap_or(looks_like_id) {
                Arc::new(keys::find(keys, text)?.key()?.clone())
            } else {
                Arc::new(keys::private_key_from_pem(text).ok()?)
            }
        }
        other => keys::private_key_of(other)?,
    };
    (key.id() == wanted).then_some(key)
}

fn header_names(option: &str, list: &Array) -> Result<Vec<String>, Thrown> {
    list.values()
        .map(|name| {
            let name = name.as_bytes().and_then(|name| str::from_utf8(name).ok());
            let name =
                name.filter(|name| mail_message::header::check_name(name.as_bytes()).is_ok());
            // `;` would end the tag.
            let name = name.filter(|name| !name.contains(';'));
            name.map(str::to_ascii_lowercase).ok_or_else(|| wrong(option))
        })
        .collect()
}

/// A text that can stand in a tag.
fn tag_text(what: &str, text: &[u8]) -> Result<String, Thrown> {
    let text = str::from_utf8(text).ok().filter(|text| !text.is_empty());
    let text =
        text.filter(|text| text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != ';'));
    text.map(str::to_owned).ok_or_else(|| Thrown::new(format!("signDKIM() cannot use this {what}")))
}

fn wrong(option: &str) -> Thrown {
    Thrown::new(format!("option \"{option}\" of signDKIM() has an unknown value"))
}

fn fold_names(names: &[String]) -> String {
    let mut out = String::new();
    let mut line = 3;
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            out.push(':');
            if line + name.len() + 1 > LINE {
                out.push_str("\r\n\t ");
                line = 2;
            }
        }
        out.push_str(name);
        line += name.len() + 1;
    }
    out
}

/// RFC 6376 §5.4.1.
const RECOMMENDED: [&str; 19] = [
    "from",
    "reply-to",
    "subject",
    "date",
    "to",
    "cc",
    "resent-date",
    "resent-from",
    "resent-to",
    "resent-cc",
    "in-reply-to",
    "references",
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
];

const LINE: usize = 76;
const SIGNATURE_LINE: usize = 70;
