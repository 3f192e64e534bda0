//! Conversions between types, and equality.

use hashbrown::HashSet;

use crate::host::Thrown;
use crate::value::{Array, Str, Type, Value, number};

/// The most octets that the text of an array may have. Arrays may hold one another many times over, so
/// a small script can ask for more than there is memory.
pub const MAX_DUMP: usize = 128 << 20;

/// Appends the text of a value: strings as they are.
///
/// # Errors
///
/// The limit error when the text of an array would be longer than [`MAX_DUMP`].
pub fn write_text(value: &Value, out: &mut Vec<u8>) -> Result<(), Thrown> {
    match value {
        Value::String(text) => {
            out.extend_from_slice(text);
            Ok(())
        }
        _ => dump_within(value, out, MAX_DUMP),
    }
}

/// Returns the text of a value, which may be `max` octets if it is that of an array.
///
/// # Errors
///
/// The limit error when it would be longer, or longer than [`MAX_DUMP`].
pub fn checked_text(value: &Value, max: usize) -> Result<Str, Thrown> {
    if let Value::String(text) = value {
        return Ok(text.clone());
    }
    let mut out = Vec::new();
    dump_within(value, &mut out, max.min(MAX_DUMP))?;
    Ok(out.into())
}

/// Returns the text of a value that is no array, or a small one: it is cut off at [`MAX_DUMP`].
pub fn to_text(value: &Value) -> Str {
    if let Value::String(text) = value {
        return text.clone();
    }
    let mut out = Vec::new();
    dump(value, &mut out);
    out.into()
}

/// Appends the form of a value inside of array dumps: strings in quotes, with `\`, `"`, `$` and
/// control characters escaped as a literal needs it. For messages: cut off at [`MAX_DUMP`].
pub fn dump(value: &Value, out: &mut Vec<u8>) {
    // What is there by then stays.
    let _ = dump_within(value, out, MAX_DUMP);
}

/// The same, up to about `limit` octets.
///
/// # Errors
///
/// The limit error when there would be more.
pub fn dump_within(value: &Value, out: &mut Vec<u8>, limit: usize) -> Result<(), Thrown> {
    let end = out.len().saturating_add(limit);
    // What is still to be written, the next one last.
    let mut work = Vec::new();
    dump_one(value, out, &mut work);
    while let Some(task) = work.pop() {
        if out.len() > end {
            return Err(Thrown::limit(format!(
                "the text of an array is longer than {limit} bytes"
            )));
        }
        match task {
            Task::Text(text) => out.extend_from_slice(text),
            Task::Quoted(text, at) => match text.get(at..) {
                Some(rest) if !rest.is_empty() => {
                    quote(rest.get(..PIECE).unwrap_or(rest), out);
                    work.push(Task::Quoted(text, at + PIECE));
                }
                _ => out.push(b'"'),
            },
            Task::Value(value) => dump_one(&value, out, &mut work),
            Task::Elements(array, at) => {
                let Some((next, key, value)) = array.walk(at) else {
                    out.push(b']');
                    continue;
                };
                if at > 0 {
                    out.push(b',');
                }
                let (key, value) = (key.to_value(), value.clone());
                work.push(Task::Elements(array, next));
                work.push(Task::Value(value));
                work.push(Task::Text(b"=>"));
                work.push(Task::Value(key));
            }
        }
    }
    Ok(())
}

/// Octets of a string that are written before the next look at the limit.
const PIECE: usize = 1 << 16;

enum Task {
    Text(&'static [u8]),
    /// A string from a position on, and the quote behind it.
    Quoted(Str, usize),
    Value(Value),
    /// The elements from a position on, and the bracket behind them.
    Elements(Array, usize),
}

fn dump_one(value: &Value, out: &mut Vec<u8>, work: &mut Vec<Task>) {
    match value {
        Value::None | Value::Unset | Value::Cell(_) => out.extend_from_slice(b"none"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(value) => number::write_number(*value, out),
        Value::String(text) => {
            out.push(b'"');
            if text.len() > PIECE {
                work.push(Task::Quoted(text.clone(), 0));
            } else {
                quote(text, out);
                out.push(b'"');
            }
        }
        Value::Array(array) => {
            out.push(b'[');
            work.push(Task::Elements(array.clone(), 0));
        }
        Value::Function(function) => {
            out.extend_from_slice(b"function");
            if let Some(name) = function.name() {
                out.push(b' ');
                out.extend_from_slice(name.as_bytes());
            }
        }
        Value::Object(object) => {
            if let Some(exception) = object.state::<crate::exception::Exception>() {
                out.extend_from_slice(&exception.text());
            } else {
                out.extend_from_slice(b"object ");
                out.extend_from_slice(object.class().name());
            }
        }
        Value::Resource(resource) => {
            out.extend_from_slice(b"resource ");
            out.extend_from_slice(resource.type_name().as_bytes());
        }
    }
}

/// Appends octets as they stand between quotes.
fn quote(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' | b'$' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f | 0x7f => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(&digits);
            }
            _ => out.push(byte),
        }
    }
}

/// Converts to a number: decimal and `0x` hexadecimal text, booleans; anything else is 0.
pub fn to_number(value: &Value) -> f64 {
    match value {
        Value::Number(value) => *value,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::String(text) => number::parse_number(text),
        _ => 0.0,
    }
}

/// Compares type and value: arrays element by element whatever the order of their keys; functions,
/// objects and resources by identity.
pub fn strict_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None | Value::Unset, Value::None | Value::Unset) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Array(a), Value::Array(b)) => arrays_equal(a, b),
        (Value::Function(a), Value::Function(b)) => a.same(b),
        (Value::Object(a), Value::Object(b)) => a.same(b),
        (Value::Resource(a), Value::Resource(b)) => a.same(b),
        _ => false,
    }
}

fn arrays_equal(a: &Array, b: &Array) -> bool {
    let mut work = vec![(a.clone(), b.clone())];
    // Arrays may hold one another many times over: pairs that were looked at, once there are many.
    let mut seen = HashSet::new();
    let mut count = 0_usize;
    while let Some((a, b)) = work.pop() {
        if a.ptr_eq(&b) {
            continue;
        }
        if a.len() != b.len() {
            return false;
        }
        count += 1;
        if count > MANY_PAIRS && !seen.insert((a.address(), b.address())) {
            continue;
        }
        for (key, x) in &a {
            let Some(y) = b.get(&key) else { return false };
            match (x, y) {
                (Value::Array(x), Value::Array(y)) => work.push((x.clone(), y.clone())),
                _ if !strict_equal(x, y) => return false,
                _ => {}
            }
        }
    }
    true
}

/// Pairs of arrays that are compared before the comparison remembers them.
const MANY_PAIRS: usize = 1000;

/// Compares as `==` does, by the table of the manual.
pub fn loose_equal(a: &Value, b: &Value) -> bool {
    use Value::{Bool, None, Number, String};
    match (a, b) {
        (None, _) | (_, None) => a.type_of() == b.type_of(),
        (Bool(x), Number(y)) | (Number(y), Bool(x)) => f64::from(u8::from(*x)) == *y,
        (Bool(x), other) | (other, Bool(x)) => *x == other.is_truthy(),
        (Number(x), String(y)) | (String(y), Number(x)) => *x == number::parse_number(y),
        (Number(x), other) | (other, Number(x)) if other.type_of() != Type::Number => {
            f64::from(u8::from(other.is_truthy())) == *x
        }
        _ => strict_equal(a, b),
    }
}
