//! Texts put together of parts, which are read where they are: constants, variables and temporaries.

use super::quick::WINDOW;
use crate::bytecode::TextPart;
use crate::host::Thrown;
use crate::memory::exceeded;
use crate::ops;
use crate::value::number::short_integer;
use crate::value::string::ShortText;
use crate::value::{Str, Value};

/// Puts the parts of a text together, which may be `max` octets, into the register `d`. Temporaries become
/// none. Returns the octets of the text.
#[inline(never)]
pub(super) fn join(
    regs: &mut [Value; WINDOW],
    d: usize,
    constants: &[Value],
    parts: &[TextPart],
    max: usize,
) -> Result<usize, Thrown> {
    let values = parts.iter().map(|part| part_value(regs, constants, *part));
    let mut short = ShortText::default();
    let is_short = push_all(values.clone(), &mut short);
    let long = match is_short {
        true => None,
        false => match long(values, max) {
            Ok(text) => Some(text),
            Err(thrown) => {
                return Err(thrown.unwrap_or_else(|| no_text(regs, constants, parts)));
            }
        },
    };
    for &part in parts {
        if let TextPart::Temporary(register) = part {
            regs[register as usize].put_none();
        }
    }
    let place = &mut regs[d % WINDOW];
    let octets = long.as_ref().map_or(short.len(), Str::len);
    if octets > max {
        return Err(exceeded(max));
    }
    match long {
        Some(text) => place.put(Value::String(text)),
        None => place.put(Value::String(short.finish())),
    }
    Ok(octets)
}

/// Puts texts together, which may be `max` octets, and leaves none of them.
pub(super) fn concat(parts: &mut [Value], max: usize) -> Result<Str, Thrown> {
    let text = together(parts.iter(), max).map_err(|thrown| thrown.unwrap_or_else(none_as_text))?;
    for part in parts {
        part.put_none();
    }
    Ok(text)
}

/// The text of all values. `Err(None)` for none among them, which has no text.
#[inline(always)]
fn together<'a>(
    values: impl Iterator<Item = &'a Value> + Clone,
    max: usize,
) -> Result<Str, Option<Thrown>> {
    let mut text = ShortText::default();
    let is_short = push_all(values.clone(), &mut text);
    let text = if is_short { text.finish() } else { long(values, max)? };
    if text.len() > max {
        return Err(Some(exceeded(max)));
    }
    Ok(text)
}

/// Appends the texts of all values; false if there is no room, or for one that is no string or number.
#[inline(always)]
fn push_all<'a>(mut values: impl Iterator<Item = &'a Value>, text: &mut ShortText) -> bool {
    values.all(|value| match value {
        Value::String(part) => text.push_str(part),
        Value::Number(number) => push_number(*number, text),
        _ => false,
    })
}

/// The text of all values, of any length and kind. `Err(None)` for none among them.
#[inline(never)]
fn long<'a>(
    values: impl Iterator<Item = &'a Value> + Clone,
    max: usize,
) -> Result<Str, Option<Thrown>> {
    let mut size = 0;
    for value in values.clone() {
        size += about_size(value).ok_or(None)?;
    }
    if size > max {
        return Err(Some(exceeded(max)));
    }
    let mut text = Vec::with_capacity(size);
    for value in values {
        match value {
            Value::String(part) => text.extend_from_slice(part),
            other => {
                let other = ops::checked_text(other, max).map_err(Some)?;
                // What was not foreseen counts.
                size += other.len();
                if size > max {
                    return Err(Some(exceeded(max)));
                }
                text.extend_from_slice(&other);
            }
        }
    }
    Ok(Str::growing(text))
}

/// About how many octets the text of a value has; `None` for none, which has no text. Arrays tell when
/// they are written.
fn about_size(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.len()),
        Value::None => None,
        _ => Some(8),
    }
}

/// False if there is no room for the digits.
#[inline]
fn push_number(number: f64, text: &mut ShortText) -> bool {
    let whole = number as u32;
    if f64::from(whole) == number {
        return text.push(itoa::Buffer::new().format(whole).as_bytes());
    }
    push_any_number(number, text)
}

#[inline(never)]
fn push_any_number(number: f64, text: &mut ShortText) -> bool {
    match short_integer(number, &mut itoa::Buffer::new()) {
        Some(digits) => text.push(digits.as_bytes()),
        None => text.push(&ops::to_text(&Value::Number(number))),
    }
}

/// The value of a part.
#[inline(always)]
pub(super) fn part_value<'a>(
    regs: &'a [Value; WINDOW],
    constants: &'a [Value],
    part: TextPart,
) -> &'a Value {
    match part {
        TextPart::Temporary(register) | TextPart::Variable(register) => &regs[register as usize],
        TextPart::Constant(k) => constants.get(k as usize).unwrap_or(&Value::None),
    }
}

#[cold]
fn no_text(regs: &[Value; WINDOW], constants: &[Value], parts: &[TextPart]) -> Thrown {
    if let &[a, b] = parts {
        let (a, b) = (part_value(regs, constants, a), part_value(regs, constants, b));
        return ops::unsupported(".", a, b);
    }
    none_as_text()
}

#[cold]
fn none_as_text() -> Thrown {
    Thrown::new("none cannot be made a string")
}
