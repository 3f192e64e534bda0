//! Mail chapter: addresses, header values, encoded words, xtext.
//!
//! Addresses and encoded words are read and written by `mail-message`. SPF and DMARC are evaluated here,
//! over the embedder's resolver.

pub(crate) mod dkim_tags;
pub(crate) mod dmarc;
mod spf;
mod spf_functions;
mod spf_record;
mod xtext;

use hsl::host::{CallContext, Registry, Thrown};
use hsl::value::{Array, Key, Value};
use mail_message::address_list as address;
use mail_message::encoded_word::{self, WordEncoding};

use crate::args::{self, Options};
use crate::old_names::Renamed;
use crate::output::{self, Output, Stop};
use crate::services::Services;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    spf_functions::register(registry, services);
    registry
        .pure_function(
            "envelope_address_parse(string address) -> array or none",
            "local part and domain of an envelope address",
            |_, args| {
                let (local, domain) = address::parse_envelope(args::bytes(args, 0))?;
                let parts = [("localpart", Value::from(local)), ("domain", Value::from(domain))];
                Some(Value::map(parts))
            },
        )
        .pure_function(
            "envelope_localpart_escape(string localpart) -> string",
            "quoted where an envelope needs it",
            |_, args| address::escape_localpart(args::bytes(args, 0)),
        )
        .renamed(
            &["GetAddressList"],
            "header_addresslist_extract(string value [, array options]) -> array or none",
            "the addresses of a header value; options field, name",
            |_, args| {
                let options = Options::new(args, 1);
                let value = header_value(args::bytes(args, 0), options)?;
                Ok::<_, Thrown>(extract(value, options.boolean("name", false)?))
            },
        )
        .pure_function(
            "header_addresslist_compile(array addresses) -> string",
            "a header value out of names and addresses",
            |ctx, args| compile(ctx, args::array(args, 0)),
        )
        .pure_function(
            "header_dkim_decode(string value [, array options]) -> array or none",
            "the tags of a header value, sorted; option field",
            |_, args| {
                let value = header_value(args::bytes(args, 0), Options::new(args, 1))?;
                let tags = value.and_then(dkim_tags::parse);
                Ok::<_, Thrown>(tags.map(|tags| {
                    let tags = tags.into_iter();
                    Value::map(tags.map(|(tag, text)| (Key::from(tag.as_slice()), text.into())))
                }))
            },
        );
    type Codec = fn(&[u8]) -> Vec<u8>;
    let codecs: [(&str, &str, Codec); 4] = [
        ("xtext_encode(string string) -> string", "as xtext", xtext::encode),
        ("xtext_decode(string string) -> string", "out of xtext", xtext::decode),
        (
            "mimeword_encode(string string) -> string",
            "as encoded words, where a header needs them",
            encoded_word::encode,
        ),
        (
            "mimeword_decode(string string) -> string",
            "with encoded words replaced by their text",
            encoded_word::decode,
        ),
    ];
    for (signature, doc, codec) in codecs {
        registry.pure_function(signature, doc, move |ctx, args| {
            let text = args::bytes(args, 0);
            ctx.charge_memory(text.len().saturating_mul(3))?;
            Ok::<_, Thrown>(codec(text))
        });
    }
}

/// The value of a header: with the option `field`, what follows the first colon.
fn header_value<'a>(text: &'a [u8], options: Options<'_>) -> Result<Option<&'a [u8]>, Thrown> {
    if !options.boolean("field", false)? {
        return Ok(Some(text));
    }
    let colon = memchr::memchr(b':', text);
    Ok(colon.and_then(|colon| text.get(colon + 1..)))
}

fn extract(value: Option<&[u8]>, with_names: bool) -> Option<Value> {
    let list = address::parse_list(value?)?;
    Some(Value::list(list.into_iter().map(|mailbox| {
        if !with_names {
            return Value::from(mailbox.address);
        }
        let name = Value::from(encoded_word::decode(&mailbox.name));
        Value::map([("name", name), ("address", Value::from(mailbox.address))])
    })))
}

fn compile(ctx: &mut CallContext<'_>, addresses: &Array) -> Result<Option<Vec<u8>>, Thrown> {
    let mut out = Output::new(ctx.limits().memory);
    for item in addresses.values() {
        let (name, address) = match item {
            Value::String(address) => (None, Some(address.as_bytes())),
            Value::Array(item) => {
                let item = Options::of(Some(item));
                (item.bytes("name")?, item.bytes("address")?)
            }
            _ => (None, None),
        };
        let Some(address) = address else {
            let message = "header_addresslist_compile() needs items with an address";
            return Err(Thrown::new(message));
        };
        if [name.unwrap_or_default(), address].iter().any(|text| has_line_end(text)) {
            // A line end would begin a header field of the writer's choice.
            let message = "header_addresslist_compile() takes no line ends";
            return Err(Thrown::new(message));
        }
        let name = name.unwrap_or_default();
        let separator: &[u8] = if out.is_empty() { b"" } else { b", " };
        if let Err(stop) = write_mailbox(&mut out, separator, name, address) {
            return output::finish(ctx, Err(stop));
        }
    }
    output::finish(ctx, Ok(out.into_octets()))
}

fn write_mailbox(
    out: &mut Output,
    separator: &[u8],
    name: &[u8],
    address: &[u8],
) -> Result<(), Stop> {
    // No form is shorter.
    out.room(separator.len() + name.len() + address.len())?;
    out.extend(separator)?;
    out.extend(&address::write_mailbox(name, address, WordEncoding::shorter(name)))
}

fn has_line_end(text: &[u8]) -> bool {
    memchr::memchr2(b'\r', b'\n', text).is_some()
}
