//! Numbers to text and back, and to 32-bit integers.

/// Appends the shortest text that reads back to the same number, laid out by the rules of
/// ECMAScript: plain digits between 1e-6 and 1e21, an exponent outside.
pub(crate) fn write_number(value: f64, out: &mut Vec<u8>) {
    use std::io::Write as _;

    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
        return;
    }
    if value.trunc() == value && value.abs() < 1e15 {
        write_integer(value as i64, out);
        return;
    }
    if value < 0.0 {
        out.push(b'-');
    }
    if let Some((digits, places)) = few_places(value.abs()) {
        let scale = 10_u64.pow(places);
        let mut buffer = itoa::Buffer::new();
        out.extend_from_slice(buffer.format(digits / scale).as_bytes());
        out.push(b'.');
        let fraction = buffer.format(digits % scale).as_bytes();
        out.extend(std::iter::repeat_n(b'0', places as usize - fraction.len()));
        out.extend_from_slice(fraction);
        return;
    }
    // `{:e}` prints the shortest digits as d.ddde±x; only the layout differs.
    let mut text = [0_u8; 40];
    let mut cursor = &mut text[..];
    // Forty octets hold the sign, 17 digits, the point and the exponent.
    let _ = write!(cursor, "{:e}", value.abs());
    let left = cursor.len();
    let text = &text[..text.len() - left];
    let split = text.iter().position(|&byte| byte == b'e').unwrap_or(text.len());
    let digits: smallvec::SmallVec<[u8; 24]> =
        text[..split].iter().copied().filter(|byte| *byte != b'.').collect();
    let exponent = text
        .get(split + 1..)
        .and_then(|part| std::str::from_utf8(part).ok())
        .and_then(|part| part.parse::<i32>().ok())
        .unwrap_or(0);
    // The number is 0.DIGITS times ten to the power of `point`.
    let point = exponent + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if (count..=21).contains(&point) {
        out.extend_from_slice(&digits);
        out.extend(std::iter::repeat_n(b'0', usize::try_from(point - count).unwrap_or(0)));
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else if (-5..=0).contains(&point) {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', usize::try_from(-point).unwrap_or(0)));
        out.extend_from_slice(&digits);
    } else {
        out.push(digits[0]); // `{:e}` prints at least one digit
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        out.push(if point > 0 { b'+' } else { b'-' });
        write_integer(i64::from((point - 1).abs()), out);
    }
}

/// Returns the digits of a number with up to six decimal places, and how many these are. Prices, rates and
/// seconds are such numbers, and this is much quicker than looking for the shortest text: no two
/// texts of up to 15 digits read as one number, so the first one that reads as `value` is the shortest.
fn few_places(value: f64) -> Option<(u64, u32)> {
    if value >= 1e9 {
        return None;
    }
    let mut scale = 1.0;
    (1..=6).find_map(|places| {
        scale *= 10.0;
        let digits = (value * scale + 0.5) as u64;
        // A quotient of two exact numbers is rounded as the text would be.
        (digits as f64 / scale == value).then_some((digits, places))
    })
}

/// Appends a whole number in decimal.
fn write_integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Returns the text of a whole number below 1e15.
#[inline]
pub(crate) fn short_integer(value: f64, buffer: &mut itoa::Buffer) -> Option<&str> {
    let whole = value as i64;
    (whole as f64 == value && value.abs() < 1e15).then(|| buffer.format(whole))
}

/// Reads decimal and `0x` hexadecimal text; anything else gives 0.
///
/// White space around the number, a sign, and the forms that [`write_number`] prints are accepted.
pub(crate) fn parse_number(text: &[u8]) -> f64 {
    let text = text.trim_ascii();
    let Ok(text) = std::str::from_utf8(text) else { return 0.0 };
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return 0.0;
        }
        let value = hex.bytes().fold(0.0, |sum, byte| {
            sum * 16.0 + f64::from(char::from(byte).to_digit(16).unwrap_or(0))
        });
        return sign * value;
    }
    // Rust also reads "inf", "nan" and friends; HSL reads digits only.
    let plain =
        digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let starts = digits.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'.');
    if !plain || !starts {
        return 0.0;
    }
    sign * digits.parse::<f64>().unwrap_or(0.0)
}

/// Truncates to a 32-bit two's complement integer, modulo 2^32; not-a-number and infinities give 0.
#[inline]
pub(crate) fn to_i32(value: f64) -> i32 {
    let direct = value as i32;
    if f64::from(direct) == value {
        return direct;
    }
    if !value.is_finite() {
        return 0;
    }
    let wrapped = value.trunc().rem_euclid(4_294_967_296.0);
    (wrapped as u32).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        write_number(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_print_by_the_rules_of_ecmascript() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (1.5, "1.5"),
            (100.25, "100.25"),
            (1e15, "1000000000000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (-1.25e-9, "-1.25e-9"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn text_that_is_no_number_reads_as_zero() {
        for (text, expected) in [
            ("12", 12.0),
            (" 12.5 ", 12.5),
            ("-3", -3.0),
            ("0x1F", 31.0),
            ("1e3", 1000.0),
            ("", 0.0),
            ("12abc", 0.0),
            ("inf", 0.0),
            ("nan", 0.0),
            ("0x", 0.0),
        ] {
            assert_eq!(parse_number(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn conversion_to_32_bits_wraps() {
        assert_eq!(to_i32(1.9), 1);
        assert_eq!(to_i32(-1.9), -1);
        assert_eq!(to_i32(4_294_967_295.0), -1);
        assert_eq!(to_i32(2_147_483_648.0), i32::MIN);
        assert_eq!(to_i32(f64::NAN), 0);
    }

    proptest! {
        #[test]
        fn numbers_with_few_places_are_written_as_all_others(
            digits in 0_u64..1_000_000_000_000_000, places in 0_i32..9, nudge in 0_u64..3,
        ) {
            let exact = digits as f64 / 10_f64.powi(places);
            let value = f64::from_bits(exact.to_bits() + nudge);
            prop_assume!((1e-6..1e15).contains(&value));
            let mut text = Vec::new();
            write_number(value, &mut text);
            prop_assert_eq!(String::from_utf8(text).unwrap(), value.to_string());
        }
    }
}
