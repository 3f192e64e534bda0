//! The format operator: `"template" % [values]`.

use crate::host::Thrown;
use crate::value::{Array, Value, number};

/// One directive: `%[argument][[fill]align][width][.precision]type`.
struct Directive {
    fill: u8,
    align: Option<u8>,
    width: usize,
    precision: Option<usize>,
}

/// The widest field and longest fraction; beyond, a template could fill the memory.
const MAX_WIDTH: usize = 65_536;

/// Formats `values` by `template`.
///
/// # Errors
///
/// A builtin error for a malformed directive, a missing value, or a value of the wrong type.
pub(crate) fn format(template: &[u8], values: &Array, max: usize) -> Result<Value, Thrown> {
    let items: Vec<&Value> = values.values().collect();
    let mut out = Vec::with_capacity(template.len() + 16);
    let mut rest = template;
    let mut next = 0_usize;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (text, tail) = rest.split_at(at);
        out.extend_from_slice(text);
        let wrong = || malformed(tail);
        rest = &tail[1..]; // `tail` starts with the percent sign
        if let Some(behind) = rest.strip_prefix(b"%") {
            out.push(b'%');
            rest = behind;
            continue;
        }
        if let Some(behind) = rest.strip_prefix(b"[") {
            let (number, behind) = digits(behind);
            next = number.ok_or_else(wrong)?;
            rest = behind.strip_prefix(b"]").ok_or_else(wrong)?;
        }
        let directive;
        (directive, rest) = parse(rest, tail)?;
        let (&kind, behind) = rest.split_first().ok_or_else(wrong)?;
        rest = behind;
        let value = items
            .get(next)
            .ok_or_else(|| Thrown::new(format!("format has no value number {next}")))?;
        next += 1;
        if !directive.write(kind, value, &mut out)? {
            return Err(malformed(tail));
        }
        if out.len() > max {
            return Err(crate::memory::exceeded(max));
        }
    }
    out.extend_from_slice(rest);
    Ok(Value::from(out))
}

/// Takes a directive up to its type; `whole` is the template from its percent sign on.
fn parse<'t>(mut rest: &'t [u8], whole: &[u8]) -> Result<(Directive, &'t [u8]), Thrown> {
    let mut directive = Directive { fill: b' ', align: None, width: 0, precision: None };
    if let [b'\'', fill, tail @ ..] = rest {
        directive.fill = *fill;
        rest = tail;
    }
    if let [align @ (b'<' | b'>' | b'^' | b'='), tail @ ..] = rest {
        directive.align = Some(*align);
        rest = tail;
    }
    let (width, tail) = digits(rest);
    directive.width = width.unwrap_or(0);
    rest = tail;
    if let Some(tail) = rest.strip_prefix(b".") {
        let (precision, tail) = digits(tail);
        directive.precision = Some(precision.ok_or_else(|| malformed(whole))?);
        rest = tail;
    }
    if directive.width > MAX_WIDTH || directive.precision.is_some_and(|p| p > MAX_WIDTH) {
        return Err(Thrown::new("format field is too wide"));
    }
    Ok((directive, rest))
}

fn digits(text: &[u8]) -> (Option<usize>, &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(count);
    if count == 0 {
        return (None, rest);
    }
    let value = number
        .iter()
        .fold(0_usize, |sum, byte| sum.saturating_mul(10).saturating_add(usize::from(byte - b'0')));
    (Some(value), rest)
}

/// Makes the error for a directive that is none; `text` is the template from its percent sign on.
#[cold]
fn malformed(text: &[u8]) -> Thrown {
    let letter = text.iter().position(u8::is_ascii_alphabetic).unwrap_or(text.len());
    let shown = text.get(..=letter).unwrap_or(text);
    let shown = shown.get(..MAX_SHOWN).unwrap_or(shown).escape_ascii().to_string();
    // The mark of the fill is no quote here.
    let shown = shown.replace("\\'", "'");
    Thrown::new(format!(
        "malformed format directive \"{shown}\": the types are s, f, x, c and b, and %% is a percent sign"
    ))
}

/// Octets of a directive that an error shows.
const MAX_SHOWN: usize = 24;

impl Directive {
    /// Writes a value; false if there is no such type.
    fn write(&self, kind: u8, value: &Value, out: &mut Vec<u8>) -> Result<bool, Thrown> {
        let mut text = Vec::new();
        let mut is_number = true;
        match kind {
            b's' => {
                is_number = matches!(value, Value::Number(_));
                super::write_text(value, &mut text)?;
                if let Some(precision) = self.precision {
                    text.truncate(precision);
                }
            }
            b'f' => match self.precision {
                Some(precision) => {
                    text.extend_from_slice(format!("{:.precision$}", numeric(value)?).as_bytes());
                }
                None => text.extend_from_slice(format!("{:.6}", numeric(value)?).as_bytes()),
            },
            b'x' => {
                text.extend_from_slice(format!("{:x}", number::to_i32(numeric(value)?)).as_bytes());
            }
            b'b' => {
                text.extend_from_slice(format!("{:b}", number::to_i32(numeric(value)?)).as_bytes());
            }
            b'c' => {
                is_number = false;
                text.push(number::to_i32(numeric(value)?).to_le_bytes()[0]);
            }
            _ => return Ok(false),
        }
        self.pad(&text, is_number, out);
        Ok(true)
    }

    fn pad(&self, text: &[u8], is_number: bool, out: &mut Vec<u8>) {
        let missing = self.width.saturating_sub(text.len());
        let fill = |count| std::iter::repeat_n(self.fill, count);
        match self.align.unwrap_or(if is_number { b'>' } else { b'<' }) {
            b'>' => {
                out.extend(fill(missing));
                out.extend_from_slice(text);
            }
            b'^' => {
                out.extend(fill(missing / 2));
                out.extend_from_slice(text);
                out.extend(fill(missing - missing / 2));
            }
            b'=' => {
                let sign = usize::from(is_number && matches!(text.first(), Some(b'-' | b'+')));
                let (sign, digits) = text.split_at(sign);
                out.extend_from_slice(sign);
                out.extend(fill(missing));
                out.extend_from_slice(digits);
            }
            _ => {
                out.extend_from_slice(text);
                out.extend(fill(missing));
            }
        }
    }
}

fn numeric(value: &Value) -> Result<f64, Thrown> {
    match value {
        Value::Number(value) => Ok(*value),
        Value::String(_) | Value::Bool(_) => Ok(super::to_number(value)),
        _ => Err(Thrown::new(format!("format needs a number, {} given", value.type_of().name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_format_as_documented() {
        let cases: &[(&str, Vec<Value>, &str)] = &[
            ("%'0>6s", vec![123.into()], "000123"),
            ("%s-%s", vec!["a".into(), true.into()], "a-true"),
            ("%.2f%%", vec![Value::Number(12.345)], "12.35%"),
            ("%[1]s%[0]s%s", vec!["a".into(), "b".into()], "bab"),
            ("%8.3s|", vec!["abcdef".into()], "abc     |"),
            ("%^5s|", vec!["x".into()], "  x  |"),
            ("%'0=6s", vec![(-42).into()], "-00042"),
            ("%x %b %c", vec![255.into(), 5.into(), 65.into()], "ff 101 A"),
        ];
        for (template, values, expected) in cases {
            let values = values.iter().cloned().collect();
            let value = format(template.as_bytes(), &values, 1 << 20).unwrap();
            assert_eq!(value, Value::from(*expected), "{template}");
        }
        for template in ["%", "%q", "%[x]s", "%[3]s", "%99999999s"] {
            let values = Array::from_iter([Value::from(1)]);
            assert!(format(template.as_bytes(), &values, 1 << 20).is_err());
        }
    }

    #[test]
    fn errors_show_the_directive() {
        for (template, shown) in [
            ("50% off", "\"% o\""),
            ("%s %'0>3d", "\"%'0>3d\""),
            ("%", "\"%\""),
            ("%.f", "\"%.f\""),
        ] {
            let values = Array::from_iter([Value::from(1), Value::from(2)]);
            let error = format(template.as_bytes(), &values, 1 << 20).unwrap_err().message();
            assert!(error.contains(shown), "{error}");
        }
    }
}
