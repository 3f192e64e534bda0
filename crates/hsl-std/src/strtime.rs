//! Times as text: `strftime` and `strptime` of C in the C locale, and durations such as `1d12h`.

use jiff::civil::{Date, Time};
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

/// Writes `seconds` (Unix time) as `format` asks for.
///
/// `None` when the time is out of range, or the text is longer than [`MAX_TEXT`] octets.
/// Directives that C does not know stay as they are.
pub(crate) fn format_time(format: &str, seconds: f64, zone: &TimeZone) -> Option<String> {
    let time = at(seconds, zone)?;
    let config = Config::new().lenient(true).custom(PosixCustom::default());
    let text = BrokenDownTime::from(&time).to_string_with_config(&config, format).ok()?;
    (text.len() <= MAX_TEXT).then_some(text)
}

/// Reads a time from the start of `text`; gives Unix time.
///
/// Date parts that the format does not name come from `now`, time parts are 0. An offset or a Unix
/// time in the text wins over `zone`. `None` when the text does not fit the format.
pub(crate) fn parse_time(text: &[u8], format: &str, now: f64, zone: &TimeZone) -> Option<f64> {
    let (parts, _) = BrokenDownTime::parse_prefix(expand(format), text).ok()?;
    if let Some(timestamp) = parts.timestamp() {
        return Some(seconds_of(timestamp));
    }
    let today = at(now, zone)?.date();
    let date = match (parts.year(), parts.month(), parts.day(), parts.day_of_year()) {
        (year, None, None, Some(day)) => {
            let first = Date::new(year.unwrap_or(today.year()), 1, 1).ok()?;
            first.checked_add(SignedDuration::from_hours(24 * (i64::from(day) - 1))).ok()?
        }
        (year, month, day, _) => Date::new(
            year.unwrap_or(today.year()),
            month.unwrap_or(today.month()),
            day.unwrap_or(today.day()),
        )
        .ok()?,
    };
    let time = Time::new(
        parts.hour().unwrap_or(0),
        parts.minute().unwrap_or(0),
        parts.second().unwrap_or(0),
        0,
    )
    .ok()?;
    let zone = match parts.offset() {
        Some(offset) => TimeZone::fixed(offset),
        None => zone.clone(),
    };
    Some(seconds_of(date.to_datetime(time).to_zoned_datetime(zone).ok()?.timestamp()))
}

/// Seconds east of UTC that `zone` has at `seconds`.
pub(crate) fn offset_at(seconds: f64, zone: &TimeZone) -> Option<f64> {
    Some(f64::from(at(seconds, zone)?.offset().seconds()))
}

/// Reads sums of days, hours, minutes and seconds: `1d12h`, `90m`, `30s`, `1h 30m`.
///
/// A number without unit counts seconds. `None` for anything else.
pub(crate) fn parse_duration(text: &[u8]) -> Option<f64> {
    let text = str::from_utf8(text).ok()?.trim();
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let mut tail_chars = tail.chars();
        total += number
            * match tail_chars.next() {
                Some('d') => 86_400.0,
                Some('h') => 3_600.0,
                Some('m') => 60.0,
                Some('s') => 1.0,
                None if digits == text.len() => 1.0,
                _ => return None,
            };
        rest = tail_chars.as_str().trim_start();
    }
    (!text.is_empty()).then_some(total)
}

fn at(seconds: f64, zone: &TimeZone) -> Option<ZonedDateTime> {
    let since_epoch = SignedDuration::try_from_secs_f64(seconds).ok()?;
    Some(Timestamp::from_duration(since_epoch).ok()?.to_zoned_datetime(zone.clone()))
}

fn seconds_of(timestamp: Timestamp) -> f64 {
    timestamp.as_duration().as_secs_f64()
}

/// Spells out the directives that stand for others in the C locale.
fn expand(format: &str) -> String {
    let mut out = String::with_capacity(format.len() + 16);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('c') => out.push_str("%a %b %e %H:%M:%S %Y"),
            Some('x') => out.push_str("%m/%d/%y"),
            Some('X') => out.push_str("%H:%M:%S"),
            Some('r') => out.push_str("%I:%M:%S %p"),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// The manual's limit on the result of `strftime`.
const MAX_TEXT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// 2021-03-21 13:05:09 UTC, a Sunday.
    const RELEASE: f64 = 1_616_331_909.0;

    #[test]
    fn writes_what_c_writes() {
        let table = [
            ("%Y-%m-%d %H:%M:%S", "2021-03-21 13:05:09"),
            ("%a, %d %b %Y %T %z", "Sun, 21 Mar 2021 13:05:09 +0000"),
            ("%c|%x|%X|%r", "Sun Mar 21 13:05:09 2021|03/21/21|13:05:09|01:05:09 PM"),
            ("%D %F %R %e %j %y %s", "03/21/21 2021-03-21 13:05 21 080 21 1616331909"),
            ("100%% %A %B %u %w %V %G", "100% Sunday March 7 0 11 2021"),
        ];
        for (format, expected) in table {
            assert_eq!(format_time(format, RELEASE, &TimeZone::UTC).as_deref(), Some(expected));
        }
        assert_eq!(format_time(&"x".repeat(101), RELEASE, &TimeZone::UTC), None);
        assert_eq!(format_time("%Y", f64::NAN, &TimeZone::UTC), None);
    }

    #[test]
    fn reads_what_it_writes_and_takes_the_rest_from_today() {
        let parse =
            |text: &str, format| parse_time(text.as_bytes(), format, RELEASE, &TimeZone::UTC);
        assert_eq!(parse("2021-03-21 13:05:09", "%Y-%m-%d %H:%M:%S"), Some(RELEASE));
        assert_eq!(parse("Sun Mar 21 13:05:09 2021", "%c"), Some(RELEASE));
        assert_eq!(parse("13:05:09 and more", "%H:%M:%S"), Some(RELEASE));
        assert_eq!(parse("2021-03-21 14:05:09 +0100", "%Y-%m-%d %T %z"), Some(RELEASE));
        assert_eq!(parse("1616331909", "%s"), Some(RELEASE));
        assert_eq!(parse("tomorrow", "%Y"), None);
        assert_eq!(parse("2021-02-30", "%Y-%m-%d"), None);
    }

    #[test]
    fn local_times_use_the_zone_s_offset_of_that_day() {
        let zone = TimeZone::get("Europe/Stockholm").unwrap();
        assert_eq!(format_time("%H:%M %Z", RELEASE, &zone).as_deref(), Some("14:05 CET"));
        assert_eq!(offset_at(RELEASE, &zone), Some(3600.0));
        let july = parse_time(b"2021-07-01 12:00", "%Y-%m-%d %H:%M", RELEASE, &zone).unwrap();
        assert_eq!(format_time("%H", july, &TimeZone::UTC).as_deref(), Some("10"));
    }

    #[test]
    fn durations_are_sums_of_parts() {
        assert_eq!(parse_duration(b"1d12h"), Some(129_600.0));
        assert_eq!(parse_duration(b"1h 30m 5s"), Some(5405.0));
        assert_eq!(parse_duration(b"90"), Some(90.0));
        for bad in ["", "d", "1x", "1h30", "h1"] {
            assert_eq!(parse_duration(bad.as_bytes()), None, "{bad}");
        }
    }
}
