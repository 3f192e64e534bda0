//! Encodings and JSON chapter.
//!
//! The codecs themselves are plain functions over octets in the files below; this one registers
//! them. `mimeword_*` is registered here as in the manual and lives with the mail chapter.

pub(crate) mod base;
pub(crate) mod csv;
mod csv_records;
mod iconv;
pub(crate) mod json;
mod pack;
pub(crate) mod yaml;
mod zlib;

use hsl::host::{CallContext, Continuation, NativeStep, Registry, Thrown};
use hsl::value::Value;
use smallvec::smallvec;

use crate::args::{self, Options};
use crate::output;

/// Octets of a value for people and other programs.
const MAX_JSON: usize = 64 << 20;

/// A value as JSON, as `json_encode` writes it without escaping; `None` when JSON cannot hold it, or
/// would be longer than 64 MiB: scripts can make small values that have no end in JSON.
#[must_use]
pub fn value_to_json(value: &Value) -> Option<String> {
    let style = json::Style { ensure_ascii: false, pretty_print: false };
    String::from_utf8(json::encode(value, style, MAX_JSON).ok()?).ok()
}

/// The value of a JSON text, as `json_decode` reads it; `None` when it is none.
#[must_use]
pub fn value_from_json(text: &str) -> Option<Value> {
    json::decode(text.as_bytes(), false)
}

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry) {
    type Codec = fn(&[u8]) -> Vec<u8>;
    let codecs: [(&str, &str, Codec); 8] = [
        ("base64_encode(string string) -> string", "as base64", base::base64_encode),
        ("base64_decode(string string) -> string", "out of base64", base::base64_decode),
        ("base64url_encode(string string) -> string", "as base64url", base::base64url_encode),
        ("base64url_decode(string string) -> string", "out of base64url", base::base64url_decode),
        ("base32_encode(string string) -> string", "as base32", base::base32_encode),
        ("base32_decode(string string) -> string", "out of base32", base::base32_decode),
        ("url_encode(string string) -> string", "percent-encoded", base::url_encode),
        ("url_decode(string string) -> string", "percent-decoded", base::url_decode),
    ];
    for (signature, doc, codec) in codecs {
        registry.pure_function(signature, doc, move |ctx, args| {
            let text = args::bytes(args, 0);
            ctx.charge_memory(text.len().saturating_mul(2))?;
            Ok::<_, Thrown>(codec(text))
        });
    }
    iconv::register(registry);
    zlib::register(registry);
    registry
        .pure_function(
            "csv_encode(array values [, array options]) -> string",
            "one record; option delimiter",
            |ctx, args| {
                let delimiter = Options::new(args, 1).bytes("delimiter")?.unwrap_or(b",");
                csv_records::check_delimiter(delimiter)
                    .map_err(|error| Thrown::new(error.to_string()))?;
                let most = ctx.limits().memory;
                output::finish(ctx, csv::encode(args::array(args, 0), delimiter, most))
            },
        )
        .pure_function(
            "csv_decode(string string [, array options]) -> array or none",
            "the rows of a CSV text; options delimiter, header, schema",
            csv_decode,
        )
        .pure_function(
            "json_encode(any value [, array options]) -> string or none",
            "as JSON; options ensure_ascii, pretty_print",
            |ctx, args| {
                let options = Options::new(args, 1);
                let style = json::Style {
                    ensure_ascii: options.boolean("ensure_ascii", true)?,
                    pretty_print: options.boolean("pretty_print", false)?,
                };
                let value = args.first().copied().unwrap_or(&Value::None);
                let most = ctx.limits().memory;
                output::finish(ctx, json::encode(value, style, most))
            },
        )
        .pure_function(
            "json_decode(string string [, array options]) -> any",
            "out of JSON, none if it is not JSON; option allow_comments",
            |ctx, args| {
                let allow_comments = Options::new(args, 1).boolean("allow_comments", false)?;
                let text = args::bytes(args, 0);
                args::charge_decoding(ctx, text, *b",[{")?;
                Ok::<_, Thrown>(json::decode(text, allow_comments))
            },
        )
        .function(
            "yaml_decode(string string [, array options]) -> any",
            "out of YAML, none if it is not YAML; option tags",
            yaml_decode,
        )
        .pure_function(
            "pack(string format, any ...args) -> string or none",
            "values as octets of a binary format",
            |ctx, args| {
                let (format, values) = (args::bytes(args, 0), args.get(1..).unwrap_or_default());
                let most = ctx.limits().memory;
                output::finish(ctx, pack::pack(format, values, most))
            },
        )
        .pure_function(
            "unpack(string format, string data, number offset = 0) -> array or none",
            "values out of octets of a binary format",
            |ctx, args| {
                let data = args::bytes(args, 1);
                // A code of the format may take nothing of the data.
                let most = data.len().saturating_add(args::bytes(args, 0).len());
                ctx.charge_memory(most.saturating_mul(size_of::<Value>()))?;
                let offset = usize::try_from(args::integer(args, 2)).ok();
                let values =
                    offset.and_then(|offset| pack::unpack(args::bytes(args, 0), data, offset));
                Ok::<_, Thrown>(values.map(Value::list))
            },
        );
}

fn yaml_decode(ctx: &mut CallContext<'_>, args: &mut [Value]) -> Result<NativeStep, Thrown> {
    let text = args::bytes(args, 0);
    args::charge_decoding(ctx, text, *b"\n,[")?;
    let tags = Options::new(args, 1).array("tags")?;
    let Some(tags) = tags else { return Ok(yaml::decode(text).unwrap_or_default().into()) };
    let function = |tag: &str| tags.get_text(tag).filter(|value| !value.is_none()).cloned();
    let Ok(steps) = yaml::steps(text, function) else { return Ok(Value::None.into()) };
    Ok(TaggedDecoding { steps: steps.into_iter(), values: yaml::Values::default() }.go_on())
}

/// A document whose tags are functions of the script: each gets its node's value and returns another.
struct TaggedDecoding {
    steps: std::vec::IntoIter<yaml::Step<Value>>,
    values: yaml::Values,
}

impl TaggedDecoding {
    fn go_on(mut self) -> NativeStep {
        match self.values.run(&mut self.steps) {
            None => NativeStep::Return(self.values.finish()),
            Some(function) => NativeStep::Call {
                function,
                arguments: smallvec![self.values.take()],
                then: Box::new(self),
            },
        }
    }
}

impl Continuation for TaggedDecoding {
    fn resume(mut self: Box<Self>, _: &mut CallContext<'_>, value: Value) -> NativeStep {
        self.values.put(value);
        self.go_on()
    }
}

fn csv_decode(ctx: &mut CallContext<'_>, args: &[&Value]) -> Result<Value, Thrown> {
    let format = csv::Format::new(Options::new(args, 1))?;
    let text = args::bytes(args, 0);
    args::charge_decoding(ctx, text, [format.last_of_delimiter(), b'\n', b'\n'])?;
    Ok(format.decode(text).unwrap_or_default())
}
