//! String chapter: octets, searching, splitting. Everything counts octets.

use hsl::host::{CallContext, Registry, Thrown};
use hsl::value::Value;
use memchr::memmem;

use crate::args;
use crate::old_names::Renamed;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry) {
    registry
        .pure_function("chr(number number) -> string", "the octet of that number", |_, args| {
            // Compat: numbers wrap around, so that chr(256) is chr(0).
            Value::string([args::integer(args, 0) as u8])
        })
        .pure_function(
            "ord(string string) -> number",
            "the number of the first octet",
            |_, args| {
                let first = args::bytes(args, 0).first();
                first.map_or(0.0, |&byte| f64::from(byte))
            },
        )
        .pure_function(
            "str_repeat(string string, number multiplier) -> string",
            "the string as often as the multiplier says",
            |ctx, args| {
                let (text, times) = (args::text(args, 0), args::integer(args, 1));
                let times = usize::try_from(times).unwrap_or(0);
                ctx.charge_memory(text.len().saturating_mul(times))?;
                Ok::<_, Thrown>(text.repeat(times))
            },
        )
        .pure_function(
            "str_replace(string search, string replace, string subject) -> string",
            "replaces every occurrence",
            replace,
        )
        .pure_function(
            "str_split(string string, string delimiter, number limit = 0) -> array",
            "the parts between the delimiters; a negative limit counts from the right",
            |ctx, args| {
                let limit = args::integer(args, 2);
                split(ctx, args::bytes(args, 0), args::bytes(args, 1), limit)
            },
        )
        .renamed(
            &["strpos"],
            "str_find(string string, string substring, number offset = 0) -> number",
            "the first position of a substring, or -1",
            |_, args| find(args),
        )
        .renamed(
            &["strrpos"],
            "str_rfind(string string, string substring, number offset = 0) -> number",
            "the last position of a substring, or -1",
            |_, args| rfind(args),
        )
        .renamed(
            &["strtolower"],
            "str_lower(string string) -> string",
            "ASCII letters small",
            |_, args| args::bytes(args, 0).to_ascii_lowercase(),
        )
        .renamed(
            &["strtoupper"],
            "str_upper(string string) -> string",
            "ASCII letters big",
            |_, args| args::bytes(args, 0).to_ascii_uppercase(),
        )
        .renamed(
            &["substr"],
            "str_slice(string string, number offset [, number length]) -> string",
            "a part of the string; negative numbers count from the end",
            |_, args| {
                let text = args::bytes(args, 0);
                Value::from(slice(text, args::number(args, 1), args::number_opt(args, 2)))
            },
        )
        .renamed(
            &["trim"],
            "str_strip(string string [, string characters]) -> string",
            "without characters at both ends",
            |_, args| strip(args, Ends::Both),
        )
        .pure_function(
            "str_lstrip(string string [, string characters]) -> string",
            "without characters at the start",
            |_, args| strip(args, Ends::Left),
        )
        .pure_function(
            "str_rstrip(string string [, string characters]) -> string",
            "without characters at the end",
            |_, args| strip(args, Ends::Right),
        )
        .pure_function(
            "str_chunk(string string, number length [, number firstlength]) -> array",
            "pieces of a length; the first one may have its own",
            chunk,
        );
}

/// The parts of `text` between `delimiter`s; see the manual for `limit`.
///
/// # Errors
///
/// When the delimiter is empty, and when the parts are more than the execution may use.
pub(crate) fn split(
    ctx: &mut CallContext<'_>,
    text: &[u8],
    delimiter: &[u8],
    limit: i64,
) -> Result<Value, Thrown> {
    if delimiter.is_empty() {
        return Err(Thrown::new("str_split() needs a delimiter that is not empty"));
    }
    let max = usize::try_from(limit.unsigned_abs()).unwrap_or(usize::MAX);
    let cuts = if max == 0 { usize::MAX } else { max - 1 };
    let mut parts = Vec::new();
    if limit < 0 {
        let finder = memmem::FinderRev::new(delimiter);
        let mut rest = text;
        while parts.len() < cuts
            && let Some(at) = finder.rfind(rest)
        {
            let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            parts.push(Value::from(after.get(delimiter.len()..).unwrap_or_default()));
            charge_parts(ctx, parts.len())?;
            rest = before;
        }
        parts.push(Value::from(rest));
        parts.reverse();
    } else {
        let mut start = 0;
        for at in memmem::find_iter(text, delimiter).take(cuts) {
            parts.push(Value::from(text.get(start..at).unwrap_or_default()));
            charge_parts(ctx, parts.len())?;
            start = at + delimiter.len();
        }
        parts.push(Value::from(text.get(start..).unwrap_or_default()));
    }
    Ok(Value::list(parts))
}

/// Accounts for the parts of a long text, a thousand at a time.
fn charge_parts(ctx: &mut CallContext<'_>, count: usize) -> Result<(), Thrown> {
    if count.is_multiple_of(1024) {
        args::charge_growth(ctx, 1024 * args::ITEM_OCTETS, count * args::ITEM_OCTETS)?;
    }
    Ok(())
}

/// A part of `text`; a negative offset counts from the end, a negative length leaves that many
/// octets off the end.
pub(crate) fn slice(text: &[u8], offset: f64, length: Option<f64>) -> &[u8] {
    let len = text.len() as i64;
    let from_end = |position: i64| {
        if position < 0 { len.saturating_add(position).max(0) } else { position.min(len) }
    };
    let start = from_end(offset as i64);
    let end = match length {
        None => len,
        Some(length) if length < 0.0 => from_end(length as i64),
        Some(length) => start.saturating_add(length as i64).min(len),
    };
    // Both are between 0 and the length.
    text.get(start as usize..end.max(start) as usize).unwrap_or_default()
}

fn replace(ctx: &mut CallContext<'_>, args: &[&Value]) -> Result<Value, Thrown> {
    let (search, replace) = (args::bytes(args, 0), args::bytes(args, 1));
    let subject = args::bytes(args, 2);
    if search.is_empty() {
        return Ok(args::text(args, 2).into());
    }
    let finder = memmem::Finder::new(search);
    if finder.find(subject).is_none() {
        return Ok(args::text(args, 2).into());
    }
    if replace.len() > search.len() {
        let matches = finder.find_iter(subject).count();
        let grown = matches.saturating_mul(replace.len() - search.len());
        ctx.charge_memory(subject.len().saturating_add(grown))?;
    }
    let mut out = Vec::with_capacity(subject.len());
    let mut start = 0;
    for at in finder.find_iter(subject) {
        out.extend_from_slice(subject.get(start..at).unwrap_or_default());
        out.extend_from_slice(replace);
        start = at + search.len();
    }
    out.extend_from_slice(subject.get(start..).unwrap_or_default());
    Ok(out.into())
}

fn find(args: &[&Value]) -> f64 {
    let (text, part) = (args::bytes(args, 0), args::bytes(args, 1));
    let offset = args::integer(args, 2);
    let start = if offset < 0 { (text.len() as i64).saturating_add(offset).max(0) } else { offset };
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let found = text.get(start..).and_then(|rest| memmem::find(rest, part));
    found.map_or(-1.0, |at| (start + at) as f64)
}

/// Compat: the offset of `str_rfind` counts from the end: that many octets are not looked at.
fn rfind(args: &[&Value]) -> f64 {
    let (text, part) = (args::bytes(args, 0), args::bytes(args, 1));
    let skipped = usize::try_from(args::integer(args, 2).unsigned_abs()).unwrap_or(usize::MAX);
    let found = text.len().checked_sub(skipped).and_then(|end| {
        let rest = text.get(..end)?;
        memmem::rfind(rest, part)
    });
    found.map_or(-1.0, |at| at as f64)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Left,
    Right,
    Both,
}

fn strip(args: &[&Value], ends: Ends) -> Value {
    let mut text = args::bytes(args, 0);
    let characters = args::bytes_opt(args, 1).unwrap_or(b" \t\r\n");
    if ends != Ends::Right {
        while let [first, rest @ ..] = text
            && characters.contains(first)
        {
            text = rest;
        }
    }
    if ends != Ends::Left {
        while let [rest @ .., last] = text
            && characters.contains(last)
        {
            text = rest;
        }
    }
    if text.len() == args::bytes(args, 0).len() {
        return Value::String(args::text(args, 0));
    }
    Value::from(text)
}

fn chunk(ctx: &mut CallContext<'_>, args: &[&Value]) -> Result<Value, Thrown> {
    let text = args::bytes(args, 0);
    let length = args::integer(args, 1);
    let first = args::number_opt(args, 2).map_or(length, |first| first as i64);
    let (Ok(length), Ok(first)) = (usize::try_from(length), usize::try_from(first)) else {
        return Err(Thrown::new("str_chunk() needs lengths that are not negative"));
    };
    if length == 0 {
        return Err(Thrown::new("str_chunk() needs a length that is not 0"));
    }
    ctx.charge_memory((text.len() / length).saturating_mul(64))?;
    let (head, tail) = text.split_at(first.min(text.len()));
    let head = (!head.is_empty()).then_some(head);
    Ok(Value::list(head.into_iter().chain(tail.chunks(length)).map(Value::from)))
}
