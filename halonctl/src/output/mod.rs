//! Two renderings of one answer: tables for people, JSON for programs.

pub(crate) mod json;
pub(crate) mod table;

use std::borrow::Cow;

/// Makes text safe for a terminal and for one line: subjects and error texts are written by strangers,
/// and escape sequences in them must not reach the operator's screen.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    replace(text, |c| is_unsafe(c) || c == '\n')
}

/// As [`printable`], but line ends stay.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    replace(text, |c| is_unsafe(c) && c != '\n')
}

/// Control characters, and marks that change the direction of what follows.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn replace(text: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if bad(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// A moment in UTC, to the second.
pub(crate) fn moment(seconds: f64) -> String {
    jiff::SignedDuration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|duration| jiff::Timestamp::from_second(duration.as_secs()).ok())
        .map_or_else(|| seconds.to_string(), |timestamp| timestamp.to_string())
}

/// Seconds without needless digits.
pub(crate) fn seconds(seconds: f64) -> String {
    format!("{seconds:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_of_strangers_are_shown_not_sent() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(printable_lines("a\u{1b}b\nc"), "a\\u{1b}b\nc");
        assert_eq!(printable("tr\u{202e}ap"), "tr\\u{202e}ap");
        assert!(matches!(printable("Grüße"), Cow::Borrowed(_)));
    }

    #[test]
    fn moments_out_of_range_are_shown_as_numbers() {
        assert_eq!(moment(1_577_840_523.25), "2020-01-01T01:02:03Z");
        assert_eq!(moment(1e300), 1e300.to_string());
        assert_eq!(moment(f64::NAN), "NaN");
    }
}
