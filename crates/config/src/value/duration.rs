//! Durations: plain seconds (`90`, `0.5`) or `?d?h?m?s` (`1d12h`, `5m30s`).

use std::time::Duration;

use super::InvalidValue;

/// The longest duration a configuration may name: ten years. It keeps sums of times in range.
pub const MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Parses a duration in seconds or in `?d?h?m?s` notation.
///
/// Units come in falling order, each at most once, each with a whole number before it. Plain seconds
/// may have a fraction of up to nine digits.
///
/// # Errors
///
/// [`InvalidValue`] for other text and for durations over [`MAX`].
pub fn parse(text: &str) -> Result<Duration, InvalidValue> {
    let invalid =
        || InvalidValue::new("a duration in seconds or as `?d?h?m?s`, such as `90` or `1h30m`");
    let duration = if text.ends_with(|last: char| last.is_ascii_digit()) {
        parse_seconds(text)
    } else {
        parse_units(text)
    };
    match duration {
        Some(duration) if duration <= MAX => Ok(duration),
        Some(_) => Err(InvalidValue::new("a duration of at most ten years")),
        None => Err(invalid()),
    }
}

/// Writes a duration in the notation that [`parse`] reads, largest units first; fractions of a second
/// are only possible below one minute.
#[must_use]
pub fn print(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() != 0 {
        let fraction = format!("{:09}", duration.subsec_nanos());
        return format!("{seconds}.{}", fraction.trim_end_matches('0'));
    }
    if seconds == 0 {
        return "0".to_owned();
    }
    let parts = [
        (seconds / 86_400, 'd'),
        (seconds / 3_600 % 24, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    parts.iter().filter(|(n, _)| *n != 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

fn parse_seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > 9 {
        return None;
    }
    let seconds = whole_number(whole)?;
    let nanos = whole_number(fraction)? * 10_u64.pow(9 - u32::try_from(fraction.len()).ok()?);
    Some(Duration::new(seconds, u32::try_from(nanos).ok()?))
}

fn parse_units(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0_u64;
    for (unit, scale) in [('d', 86_400_u64), ('h', 3_600), ('m', 60), ('s', 1)] {
        if let Some((number, tail)) = rest.split_once(unit) {
            seconds = seconds.checked_add(whole_number(number)?.checked_mul(scale)?)?;
            rest = tail;
        }
    }
    (rest.is_empty() && !text.is_empty()).then(|| Duration::from_secs(seconds))
}

fn whole_number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_seconds_and_units() {
        let table = [
            ("0", 0),
            ("60", 60),
            ("1m", 60),
            ("1h30m", 5_400),
            ("1d12h", 129_600),
            ("2d3h4m5s", 183_845),
            ("0s", 0),
        ];
        for (text, seconds) in table {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("0.25"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn refuses_what_is_ambiguous_or_out_of_range() {
        for text in
            ["", " 5", "5 s", "-1", "+1", "1m1h", "1h1h", "h", "1.5h", "1e3", "5x", "1.", ".5", "٣"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("99999999999999999999").is_err());
        assert!(parse("99999999999d").is_err());
    }

    proptest! {
        #[test]
        fn print_and_parse_are_inverse(seconds in 0_u64..MAX.as_secs(), nanos in 0_u32..1_000_000_000) {
            for duration in [Duration::from_secs(seconds), Duration::new(seconds, nanos)] {
                prop_assert_eq!(parse(&print(duration)), Ok(duration));
            }
        }
    }
}
