//! `pack` and `unpack`: values as octets of a binary format, and back.
//!
//! A format is a row of codes, each with an optional count or `*`; white space between codes is
//! ignored.

use hsl::value::Value;

use super::base::{hex_encode, hex_value};
use crate::output::{Output, Stop};

/// Packs `values` as `format` says, into at most `most` octets.
///
/// # Errors
///
/// [`Stop::Full`], and [`Stop::Unfit`] when the format is none, or does not fit the values.
pub(crate) fn pack(format: &[u8], values: &[&Value], most: usize) -> Result<Vec<u8>, Stop> {
    let mut out = Output::new(most);
    let mut values = values.iter();
    for code in Codes(format) {
        let code = code.ok_or(Stop::Unfit)?;
        match code.letter {
            b'a' | b'Z' | b'H' => {
                let text = values.next().and_then(|value| value.as_bytes()).ok_or(Stop::Unfit)?;
                pack_text(&mut out, code, text)?;
            }
            b'x' => {
                let count = match code.count {
                    Count::One => 1,
                    Count::Exactly(count) => count,
                    Count::Rest => return Err(Stop::Unfit),
                };
                grow(&mut out, count)?;
            }
            letter => {
                let count = match code.count {
                    Count::One => 1,
                    Count::Exactly(count) => count,
                    Count::Rest => values.len(),
                };
                for _ in 0..count {
                    let number = values.next().and_then(|value| value.as_number());
                    pack_number(&mut out, letter, number.ok_or(Stop::Unfit)?)?;
                }
            }
        }
    }
    if values.next().is_some() {
        return Err(Stop::Unfit);
    }
    Ok(out.into_octets())
}

/// Unpacks `data` from `offset` on. `None` when the format is none, or the data too short for it.
pub(crate) fn unpack(format: &[u8], data: &[u8], offset: usize) -> Option<Vec<Value>> {
    let mut rest = data.get(offset..)?;
    let mut out = Vec::new();
    for code in Codes(format) {
        let code = code?;
        match code.letter {
            b'a' | b'Z' | b'H' => out.push(unpack_text(&mut rest, code)?),
            b'x' => {
                let count = match code.count {
                    Count::One => 1,
                    Count::Exactly(count) => count,
                    Count::Rest => return None,
                };
                rest = rest.get(count..)?;
            }
            letter => {
                let width = width(letter)?;
                let count = match code.count {
                    Count::One => 1,
                    Count::Exactly(count) => count,
                    Count::Rest => rest.len() / width,
                };
                for _ in 0..count {
                    let (octets, tail) = rest.split_at_checked(width)?;
                    out.push(Value::Number(unpack_number(letter, octets)?));
                    rest = tail;
                }
            }
        }
    }
    Some(out)
}

fn pack_text(out: &mut Output, code: Code, text: &[u8]) -> Result<(), Stop> {
    match (code.letter, code.count) {
        (b'H', count) => {
            let digits = match count {
                Count::One => 1,
                Count::Exactly(count) => count,
                Count::Rest => text.len(),
            };
            // Missing digits, and the second half of the last octet, are 0.
            let digit = |at: usize| match text.get(at) {
                Some(&digit) if at < digits => hex_value(digit),
                _ => Some(0),
            };
            if digits > MAX_OCTETS {
                return Err(Stop::Unfit);
            }
            let out = out.room(digits.div_ceil(2))?;
            for at in (0..digits).step_by(2) {
                let halves = digit(at).zip(digit(at + 1));
                let (high, low) = halves.ok_or(Stop::Unfit)?;
                out.push(high << 4 | low);
            }
        }
        (b'Z', Count::Rest) => {
            out.extend(text)?;
            out.push(0)?;
        }
        (_, Count::Rest) => out.extend(text)?,
        (letter, count) => {
            let count = if let Count::Exactly(count) = count { count } else { 1 };
            // The last octet of `Z` is NUL whatever the text is.
            let room = if letter == b'Z' { count.saturating_sub(1) } else { count };
            let taken = text.get(..room).unwrap_or(text);
            out.extend(taken)?;
            grow(out, count - taken.len())?;
        }
    }
    Ok(())
}

fn unpack_text(rest: &mut &[u8], code: Code) -> Option<Value> {
    if code.letter == b'H' {
        let digits = match code.count {
            Count::One => 1,
            Count::Exactly(count) => count,
            Count::Rest => rest.len() * 2,
        };
        let (octets, tail) = rest.split_at_checked(digits.div_ceil(2))?;
        *rest = tail;
        let mut text = hex_encode(octets);
        text.truncate(digits);
        return Some(Value::from(text));
    }
    let (field, tail) = match code.count {
        Count::Rest if code.letter == b'Z' => {
            let end = memchr::memchr(0, rest).map_or(rest.len(), |nul| nul + 1);
            rest.split_at_checked(end)?
        }
        Count::Rest => (*rest, &[][..]),
        Count::One => rest.split_at_checked(1)?,
        Count::Exactly(count) => rest.split_at_checked(count)?,
    };
    *rest = tail;
    let end = match code.letter {
        b'Z' => memchr::memchr(0, field).unwrap_or(field.len()),
        _ => field.len(),
    };
    Some(Value::from(field.get(..end)?))
}

fn pack_number(out: &mut Output, letter: u8, number: f64) -> Result<(), Stop> {
    let out = out.room(WIDEST)?;
    // Compat: numbers that do not fit wrap around, as C's conversions between integers do.
    let integer = number as i64;
    match letter {
        b'C' => out.push(integer as u8),
        b'n' => out.extend_from_slice(&(integer as u16).to_be_bytes()),
        b'v' => out.extend_from_slice(&(integer as u16).to_le_bytes()),
        b'N' => out.extend_from_slice(&(integer as u32).to_be_bytes()),
        b'V' => out.extend_from_slice(&(integer as u32).to_le_bytes()),
        b'e' => out.extend_from_slice(&number.to_le_bytes()),
        b'E' => out.extend_from_slice(&number.to_be_bytes()),
        _ => return Err(Stop::Unfit),
    }
    Ok(())
}

fn unpack_number(letter: u8, octets: &[u8]) -> Option<f64> {
    Some(match letter {
        b'c' => f64::from(i8::from_be_bytes(octets.try_into().ok()?)),
        b'C' => f64::from(u8::from_be_bytes(octets.try_into().ok()?)),
        b'n' => f64::from(u16::from_be_bytes(octets.try_into().ok()?)),
        b'v' => f64::from(u16::from_le_bytes(octets.try_into().ok()?)),
        b'N' => f64::from(u32::from_be_bytes(octets.try_into().ok()?)),
        b'V' => f64::from(u32::from_le_bytes(octets.try_into().ok()?)),
        b'e' => f64::from_le_bytes(octets.try_into().ok()?),
        b'E' => f64::from_be_bytes(octets.try_into().ok()?),
        _ => return None,
    })
}

fn width(letter: u8) -> Option<usize> {
    match letter {
        b'c' | b'C' => Some(1),
        b'n' | b'v' => Some(2),
        b'N' | b'V' => Some(4),
        b'e' | b'E' => Some(8),
        _ => None,
    }
}

fn grow(out: &mut Output, nuls: usize) -> Result<(), Stop> {
    let out = out.room(nuls)?;
    out.resize(out.len() + nuls, 0);
    Ok(())
}

#[derive(Clone, Copy)]
struct Code {
    letter: u8,
    count: Count,
}

#[derive(Clone, Copy)]
enum Count {
    One,
    Exactly(usize),
    Rest,
}

/// The codes of a format; `None` inside for a count that is too large.
struct Codes<'a>(&'a [u8]);

impl Iterator for Codes<'_> {
    type Item = Option<Code>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = self.0.trim_ascii_start();
        let (&letter, mut rest) = self.0.split_first()?;
        let count = if let Some(tail) = rest.strip_prefix(b"*") {
            rest = tail;
            Count::Rest
        } else {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (number, tail) = rest.split_at_checked(digits)?;
            rest = tail;
            if digits == 0 {
                Count::One
            } else {
                match str::from_utf8(number).ok().and_then(|number| number.parse().ok()) {
                    Some(count) if count <= MAX_OCTETS => Count::Exactly(count),
                    _ => {
                        // Nothing comes after it.
                        self.0 = &[];
                        return Some(None);
                    }
                }
            }
        };
        self.0 = rest;
        Some(Some(Code { letter, count }))
    }
}

/// What one code may make or take: a message is far smaller.
const MAX_OCTETS: usize = 16 << 20;
/// Octets of the widest number.
const WIDEST: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1 << 20;

    #[test]
    fn packs_each_code() {
        type Row<'a> = (&'a str, Vec<Value>, Option<&'a [u8]>);
        let table: [Row<'_>; 15] = [
            ("a3", vec!["x".into()], Some(b"x\0\0")),
            ("a", vec!["xyz".into()], Some(b"x")),
            ("a*Z*", vec!["xy".into(), "z".into()], Some(b"xyz\0")),
            ("Z3", vec!["xyz".into()], Some(b"xy\0")),
            ("H2", vec!["ab".into()], Some(b"\xab")),
            ("H*", vec!["abc".into()], Some(b"\xab\xc0")),
            ("C2", vec![1.into(), 255.into()], Some(b"\x01\xff")),
            ("n v", vec![258.into(), 258.into()], Some(b"\x01\x02\x02\x01")),
            ("N*", vec![1.into(), 2.into()], Some(b"\0\0\0\x01\0\0\0\x02")),
            ("x2C", vec![7.into()], Some(b"\0\0\x07")),
            ("C", vec![], None),
            ("C", vec![1.into(), 2.into()], None),
            ("c", vec![1.into()], None),
            ("q", vec![1.into()], None),
            ("x*", vec![], None),
        ];
        for (format, values, expected) in table {
            let lent: Vec<_> = values.iter().collect();
            assert_eq!(pack(format.as_bytes(), &lent, MOST).ok().as_deref(), expected, "{format}");
        }
        assert_eq!(pack(b"x99999999999", &[], MOST), Err(Stop::Unfit));
        assert_eq!(pack(b"x3", &[], 2), Err(Stop::Full));
        assert_eq!(
            Codes(b"x99999999999 C").map(|code| code.is_some()).collect::<Vec<_>>(),
            [false]
        );
        assert_eq!(pack(b"x1", &[], MOST), Ok(vec![0]));
    }

    #[test]
    fn unpacks_each_code() {
        type Row<'a> = (&'a str, &'a [u8], usize, Option<Vec<Value>>);
        let table: [Row<'_>; 9] = [
            ("a2 a", b"xyz", 0, Some(vec!["xy".into(), "z".into()])),
            ("Z*C", b"ab\0\x05", 0, Some(vec!["ab".into(), 5.into()])),
            ("Z4", b"ab\0d", 0, Some(vec!["ab".into()])),
            ("H*", b"\xab\xc0", 0, Some(vec!["abc0".into()])),
            ("H3", b"\xab\xc0", 0, Some(vec!["abc".into()])),
            ("cC", b"\xff\xff", 0, Some(vec![(-1).into(), 255.into()])),
            ("x n*", b"\0\x01\x02\x03\x04", 0, Some(vec![258.into(), 772.into()])),
            ("C", b"\x01\x02", 1, Some(vec![2.into()])),
            ("N", b"abc", 0, None),
        ];
        for (format, data, offset, expected) in table {
            assert_eq!(unpack(format.as_bytes(), data, offset), expected, "{format}");
        }
        assert_eq!(unpack(b"C", b"", 1), None);
    }

    proptest! {
        #[test]
        fn unpacking_undoes_packing(text in "[a-z]{0,9}", n: u16, v: u32, e: f64) {
            prop_assume!(!e.is_nan());
            let values = [text.as_str().into(), f64::from(n).into(), f64::from(v).into(), e.into()];
            let packed = pack(b"Z*nVE", &values.iter().collect::<Vec<_>>(), MOST).unwrap();
            prop_assert_eq!(unpack(b"Z*nVE", &packed, 0).unwrap(), values);
        }

        #[test]
        fn any_format_is_read_or_refused(format: Vec<u8>, data: Vec<u8>) {
            unpack(&format, &data, 0);
        }
    }
}
