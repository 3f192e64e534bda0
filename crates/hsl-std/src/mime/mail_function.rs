//! `mail`: composes and queues a short text in one call, as scripts of 5.x do.

use std::sync::Arc;

use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::value::{Array, Value};
use jiff::tz::TimeZone;
use mail_message::Builder;
use mail_message::address_list::{escape_localpart, write_mailbox};
use mail_message::encoded_word::WordEncoding;
use mail_message::header::WriteOptions;
use uuid::Uuid;

use super::options::date_of_now;
use crate::args::{self, Options};
use crate::services::{MailToQueue, Services};

/// Registers the function.
pub(super) fn register(registry: &mut Registry, services: &Services) {
    let (queue, zone) = (Arc::clone(&services.mail_queue), services.time_zone.clone());
    registry.function(
        "mail(string or array sender, string or array recipient, string subject, string body, \
         string transportid [, array options]) -> string",
        "queues a text, and gives its ID in the queue; options sender_name, recipient_name, headers, \
         metadata, jobid, quotas",
        move |ctx, args| {
            let content = Arc::new(compose(ctx, args, &zone)?);
            let options = Options::new(args, 5);
            let passed = ["metadata", "jobid", "quotas"]
                .into_iter()
                .filter_map(|name| Some((name, options.get(name)?.clone())));
            let options: Array =
                passed.map(|(name, value)| (hsl::value::Key::from(name), value)).collect();
            let waiting = queue.queue(MailToQueue {
                content,
                sender: args::take(args, 0),
                recipient: args::take(args, 1),
                transportid: String::from_utf8_lossy(args::bytes(args, 4)).into_owned(),
                options,
            })?;
            Ok::<_, Thrown>(NativeStep::suspend(async move {
                let queued = waiting.await?;
                Ok(Value::from(format!("{}:{}", queued.transaction, queued.queue)))
            }))
        },
    );
}

/// The message; a field of the option `headers` comes below ours.
fn compose(ctx: &mut CallContext<'_>, args: &[Value], zone: &TimeZone) -> Result<Vec<u8>, Thrown> {
    let options = Options::new(args, 5);
    let body = args::bytes(args, 3);
    ctx.charge_memory(body.len().saturating_mul(3))?;
    let mut builder = Builder::new(Uuid::new_v4().to_string());
    let mut add = |name: &[u8], value: &[u8], encode| {
        let writing = WriteOptions { encode, ..WriteOptions::default() };
        builder.add_header(name, value, writing).map_err(|error| Thrown::new(error.to_string()))
    };
    for (at, field, option) in [(0, &b"From"[..], "sender_name"), (1, b"To", "recipient_name")] {
        let name = options.bytes(option)?.unwrap_or_default();
        let address = address(args.get(at));
        // The null sender has no address that could stand in a field (RFC 5322 §3.6.2).
        if !address.is_empty() {
            let mailbox = write_mailbox(name, &address, WordEncoding::shorter(name));
            // What is in a mailbox is encoded already, where it has to be.
            add(field, &mailbox, false)?;
        }
    }
    add(b"Subject", args::bytes(args, 2), true)?;
    add(b"Date", date_of_now(ctx, zone).as_bytes(), false)?;
    for item in options.array("headers")?.into_iter().flat_map(Array::values) {
        let text = item.as_bytes().unwrap_or_default();
        let colon = memchr::memchr(b':', text);
        let (name, value) = colon
            .and_then(|colon| text.split_at_checked(colon))
            .ok_or_else(|| Thrown::new("option \"headers\" must be a list of \"Name: value\""))?;
        add(name, value.get(1..).unwrap_or_default().trim_ascii_start(), true)?;
    }
    builder.set_body(body.to_vec());
    Ok(builder.to_message())
}

/// An address as it stands in a field; whether it is one is the queue's to say.
fn address(value: Option<&Value>) -> Vec<u8> {
    match value {
        Some(Value::String(text)) => text.to_vec(),
        Some(Value::Array(parts)) => {
            let part =
                |name| parts.get_text(name).and_then(Value::as_bytes).unwrap_or_default().to_vec();
            let (local, domain) = (part("localpart"), part("domain"));
            if local.is_empty() && domain.is_empty() {
                return Vec::new();
            }
            [escape_localpart(&local), b"@".to_vec(), domain].concat()
        }
        _ => Vec::new(),
    }
}
