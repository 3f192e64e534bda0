//! How values look: numbers, sizes, spans, moments, addresses.

use control::pb::queue_list_response::{
    QueueItem,
    queue_item::{MailAddress, State},
};
use control::pb::{Freeze, Queue};
use jiff::{Timestamp, tz::TimeZone};

/// A number with separators: 1,204.
#[must_use]
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "1 message", "1,204 messages".
#[must_use]
pub fn messages(count: u64) -> String {
    if count == 1 { "1 message".into() } else { format!("{} messages", number(count)) }
}

/// Octets in a unit that keeps three digits: 12.3 KiB.
#[must_use]
pub fn size(octets: u64) -> String {
    if octets < 1024 {
        return format!("{octets} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = octets as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// Seconds in the two largest units: 3 h 12 min.
#[must_use]
pub fn span(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 1.0 {
        return "0 s".into();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate")]
    let seconds = seconds as u64;
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = parts.iter().skip(first).take(2).filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

/// A moment in the zone of this host, with UTC beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339, for programs.
    pub machine: String,
    /// The day in the zone of this host.
    pub day: String,
    /// The time of the day in the zone of this host.
    pub time: String,
    /// In UTC.
    pub utc: String,
}

/// Reads seconds since the Unix epoch.
#[must_use]
pub fn moment(seconds: f64) -> Option<Moment> {
    let span = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    let timestamp = Timestamp::from_second(span.as_secs()).ok()?;
    let local = timestamp.to_zoned_datetime(TimeZone::system());
    Some(Moment {
        machine: timestamp.to_string(),
        day: local.strftime("%Y-%m-%d").to_string(),
        time: local.strftime("%H:%M:%S").to_string(),
        utc: format!(
            "{} UTC",
            timestamp.to_zoned_datetime(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S")
        ),
    })
}

/// An address; the empty sender as `<>`.
#[must_use]
pub fn address(address: Option<&MailAddress>) -> String {
    match address {
        Some(address) if address.domain.is_empty() && address.localpart.is_empty() => "<>".into(),
        Some(address) if address.domain.is_empty() => address.localpart.clone(),
        Some(address) => format!("{}@{}", address.localpart, address.domain),
        None => "<>".into(),
    }
}

/// An address in the two parts between which it may be broken, the sign with the first.
#[must_use]
pub fn address_parts(address: Option<&MailAddress>) -> (String, String) {
    let mut first = self::address(address);
    let sign = first.rfind('@').map_or(first.len(), |sign| sign + 1);
    let second = first.split_off(sign);
    (first, second)
}

/// `transaction:queue`.
#[must_use]
pub fn id(item: &QueueItem) -> String {
    let id = item.id.clone().unwrap_or_default();
    format!("{}:{}", id.transaction, id.queue)
}

/// The state of a message: its name, and the class that gives it a colour.
#[must_use]
pub fn state(item: &QueueItem) -> (&'static str, &'static str) {
    match &item.state {
        Some(State::Queue(queue)) if *queue == i32::from(Queue::Defer) => ("Deferred", "defer"),
        Some(State::Queue(_)) | None => ("Active", "active"),
        Some(State::Freeze(freeze)) if *freeze == i32::from(Freeze::Update) => ("Update", "update"),
        Some(State::Freeze(_)) => ("Hold", "hold"),
        Some(State::Working(_)) => ("Sending", "sending"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        for (value, text) in [(0, "0"), (999, "999"), (1204, "1,204"), (1_000_000, "1,000,000")] {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(messages(1), "1 message");
    }

    #[test]
    fn sizes_keep_few_digits() {
        for (value, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (12_600, "12 KiB"),
            (1_048_575, "1.0 MiB"),
        ] {
            assert_eq!(size(value), text);
        }
        assert_eq!(size(u64::MAX), "16777216 TiB");
    }

    #[test]
    fn spans_have_two_units() {
        for (value, text) in [
            (0.4, "0 s"),
            (-5.0, "0 s"),
            (f64::NAN, "0 s"),
            (61.0, "1 min 1 s"),
            (3600.0, "1 h"),
            (11_520.0, "3 h 12 min"),
            (90_061.0, "1 d 1 h"),
        ] {
            assert_eq!(span(value), text);
        }
    }

    #[test]
    fn moments_that_are_none_stay_away() {
        assert_eq!(moment(1_577_840_523.0).unwrap().utc, "2020-01-01 01:02:03 UTC");
        assert_eq!(moment(f64::NAN), None);
        assert_eq!(moment(1e300), None);
    }

    #[test]
    fn the_empty_sender_is_visible() {
        assert_eq!(address(Some(&MailAddress::default())), "<>");
        let address_of = MailAddress { localpart: "a".into(), domain: "b".into() };
        assert_eq!(address(Some(&address_of)), "a@b");
        assert_eq!(address_parts(Some(&address_of)), ("a@".to_owned(), "b".to_owned()));
        assert_eq!(address_parts(None), ("<>".to_owned(), String::new()));
    }
}
