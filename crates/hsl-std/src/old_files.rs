//! `file`, `file_get_contents` and `in_file`: how scripts read files before there were imports and
//! the class `File` (reference 3.19).

use std::sync::Arc;

use hsl::host::{CallContext, Registry, Thrown};
use hsl::value::{Key, Value};

use crate::args::{self, Options};
use crate::encoding::csv;
use crate::services::{FileContent, Services};

/// Registers the functions.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    let files = Arc::clone(&services.files);
    registry.function(
        "file(string name) -> array or none",
        "the lines of a file without their ends",
        move |ctx, args| {
            let Some(text) = read(ctx, files.open(args::bytes(args, 0)))? else {
                return Ok::<_, Thrown>(Value::None);
            };
            args::charge_decoding(ctx, &text, [b'\n'; 3])?;
            Ok(Value::list(lines(&text).map(Value::from)))
        },
    );
    let files = Arc::clone(&services.files);
    registry.function(
        "file_get_contents(string name) -> string or none",
        "the content of a file",
        move |ctx, args| read(ctx, files.open(args::bytes(args, 0))),
    );
    let files = Arc::clone(&services.files);
    registry.function(
        "in_file(string needle, string name [, array options]) -> array or none",
        "the first line of a file with a word; options index, delimiter, type, assoc",
        move |ctx, args| {
            let search = Search::read(Options::new(args, 2))?;
            let Some(text) = read(ctx, files.open(args::bytes(args, 1)))? else {
                return Ok::<_, Thrown>(Value::None);
            };
            ctx.charge_fuel((text.len() / OCTETS_PER_STEP) as u64);
            search.run(ctx, args::bytes(args, 0), &text)
        },
    );
}

fn read(
    ctx: &mut CallContext<'_>,
    content: Option<Arc<dyn FileContent>>,
) -> Result<Option<Vec<u8>>, Thrown> {
    let Some(content) = content else { return Ok(None) };
    let length = usize::try_from(content.len()).unwrap_or(usize::MAX);
    ctx.charge_memory(length)?;
    let mut text = vec![0; length];
    Ok(content.read_at(0, &mut text).ok().map(|count| {
        text.truncate(count);
        text
    }))
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let lines = (!text.is_empty()).then(|| body.split(|octet| *octet == b'\n'));
    lines.into_iter().flatten().map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// What the options of `in_file` say.
struct Search {
    index: usize,
    delimiter: Option<u8>,
    is_csv: bool,
    is_assoc: bool,
}

impl Search {
    fn read(options: Options<'_>) -> Result<Self, Thrown> {
        let index = options.number("index")?.unwrap_or_default();
        if index.is_nan() || index < 0.0 {
            return Err(Thrown::new("option \"index\" must not be negative"));
        }
        let delimiter = match options.bytes("delimiter")? {
            None => None,
            Some(&[octet]) => Some(octet),
            Some(_) => return Err(Thrown::new("option \"delimiter\" must be one character")),
        };
        let is_csv = match options.bytes("type")?.unwrap_or(b"text/plain") {
            b"text/plain" => false,
            b"text/csv" => true,
            _ => return Err(Thrown::new("option \"type\" must be text/plain or text/csv")),
        };
        let is_assoc = options.boolean("assoc", true)?;
        Ok(Self { index: index as usize, delimiter, is_csv, is_assoc })
    }

    fn run(&self, ctx: &mut CallContext<'_>, needle: &[u8], text: &[u8]) -> Result<Value, Thrown> {
        if self.is_csv {
            return self.run_csv(ctx, needle, text);
        }
        let found = lines(text).find_map(|line| {
            let words: Vec<&[u8]> = match self.delimiter {
                Some(delimiter) => line.split(|octet| *octet == delimiter).collect(),
                None => {
                    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
                }
            };
            (words.get(self.index) == Some(&needle)).then_some(words)
        });
        Ok(found.map_or(Value::None, |words| Value::list(words.into_iter().map(Value::from))))
    }

    fn run_csv(
        &self,
        ctx: &mut CallContext<'_>,
        needle: &[u8],
        text: &[u8],
    ) -> Result<Value, Thrown> {
        let delimiter = self.delimiter.unwrap_or(b',');
        args::charge_decoding(ctx, text, [delimiter, b'\n', b'\r'])?;
        let options = Value::map(
            [("header", Value::Bool(self.is_assoc)), ("delimiter", Value::from(&[delimiter][..]))]
                .map(|(name, value)| (Key::from(name), value)),
        );
        let format = csv::Format::new(Options::of(options.as_array()))?;
        // Compat: a file that cannot be read holds nothing.
        let Ok(rows) = format.decode(text) else { return Ok(Value::None) };
        let mut rows = rows.as_array().into_iter().flat_map(|rows| rows.values());
        let found = rows.find(|row| {
            let word = row.as_array().and_then(|row| row.values().nth(self.index));
            word.and_then(Value::as_bytes) == Some(needle)
        });
        Ok(found.cloned().unwrap_or_default())
    }
}

const OCTETS_PER_STEP: usize = 256;
