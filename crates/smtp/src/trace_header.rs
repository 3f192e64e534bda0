//! The `Received:` line that every hop adds on top (RFC 5321 §4.4).

use std::net::IpAddr;

use mta_types::{Address, Timestamp};

use crate::server::{HelloVerb, Security};

/// The facts of one reception, for [`Trace::header`].
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// The name the client gave in HELO; empty when it gave none.
    pub helo: &'a str,
    /// How it greeted.
    pub verb: HelloVerb,
    /// The client's confirmed host name, when there is one.
    pub ptr: Option<&'a str>,
    /// The client's address; `None` for local submission.
    pub ip: Option<IpAddr>,
    /// Our host name.
    pub by: &'a str,
    /// TLS state of the connection.
    pub security: Security,
    /// TLS protocol and cipher, for the comment, such as `TLSv1.3` and `TLS_AES_256_GCM_SHA384`.
    pub tls: Option<(&'a str, &'a str)>,
    /// The client logged in.
    pub authenticated: bool,
    /// The transaction used SMTPUTF8 (RFC 6531 §4.3).
    pub smtputf8: bool,
    /// Our id of the transaction.
    pub id: &'a str,
    /// The recipient; give it only when there is one, so that blind copies stay blind.
    pub recipient: Option<&'a Address>,
    /// When the message came in.
    pub time: Timestamp,
    /// Our zone, in minutes east of Greenwich (-1439 to 1439).
    pub offset_minutes: i16,
}

impl Trace<'_> {
    /// The whole header field, folded, CRLF at its end.
    ///
    /// Control characters in any of the texts become `?`, so no peer can add lines of its own.
    #[must_use]
    pub fn header(&self) -> String {
        let mut text = String::with_capacity(320);
        text.push_str("Received: ");
        let is_local = self.ip.is_none() && self.helo.is_empty();
        if !is_local {
            text.push_str("from ");
            push_clean(&mut text, if self.helo.is_empty() { "unknown" } else { self.helo });
        }
        match (self.ptr, self.ip) {
            (Some(ptr), Some(ip)) => {
                text.push_str(" (");
                push_clean(&mut text, ptr);
                text.push_str(" [");
                push_ip(&mut text, ip);
                text.push_str("])");
            }
            (None, Some(ip)) => {
                text.push_str(" ([");
                push_ip(&mut text, ip);
                text.push_str("])");
            }
            (_, None) if is_local => {}
            (_, None) => text.push_str(" (local)"),
        }
        // What was not sent over SMTP comes from nobody (RFC 5322 §3.6.7 allows that).
        text.push_str(if is_local { "by " } else { "\r\n\tby " });
        push_clean(&mut text, self.by);
        if !is_local {
            text.push_str(" with ");
            text.push_str(self.protocol());
        }
        if let (Security::Tls, Some((protocol, cipher))) = (self.security, self.tls) {
            text.push_str(" (");
            push_clean(&mut text, protocol);
            text.push(' ');
            push_clean(&mut text, cipher);
            text.push(')');
        }
        text.push_str("\r\n\tid ");
        push_clean(&mut text, self.id);
        if let Some(recipient) = self.recipient {
            text.push_str("\r\n\tfor <");
            push_clean(&mut text, &recipient.to_string());
            text.push('>');
        }
        text.push_str(";\r\n\t");
        text.push_str(&rfc5322_date(self.time, self.offset_minutes));
        text.push_str("\r\n");
        text
    }

    /// The `with` keyword: `SMTP`, `ESMTPSA`, `UTF8LMTPS`, … (RFC 3848, RFC 6531 §4.3).
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        let secured = matches!(self.security, Security::Tls);
        match (self.verb, self.smtputf8, secured, self.authenticated) {
            // Without EHLO there is neither STARTTLS nor AUTH; implicit TLS has no word there.
            (HelloVerb::Helo, ..) => "SMTP",
            (HelloVerb::Ehlo, false, false, false) => "ESMTP",
            (HelloVerb::Ehlo, false, true, false) => "ESMTPS",
            (HelloVerb::Ehlo, false, false, true) => "ESMTPA",
            (HelloVerb::Ehlo, false, true, true) => "ESMTPSA",
            (HelloVerb::Ehlo, true, false, false) => "UTF8SMTP",
            (HelloVerb::Ehlo, true, true, false) => "UTF8SMTPS",
            (HelloVerb::Ehlo, true, false, true) => "UTF8SMTPA",
            (HelloVerb::Ehlo, true, true, true) => "UTF8SMTPSA",
            (HelloVerb::Lhlo, false, false, false) => "LMTP",
            (HelloVerb::Lhlo, false, true, false) => "LMTPS",
            (HelloVerb::Lhlo, false, false, true) => "LMTPA",
            (HelloVerb::Lhlo, false, true, true) => "LMTPSA",
            (HelloVerb::Lhlo, true, false, false) => "UTF8LMTP",
            (HelloVerb::Lhlo, true, true, false) => "UTF8LMTPS",
            (HelloVerb::Lhlo, true, false, true) => "UTF8LMTPA",
            (HelloVerb::Lhlo, true, true, true) => "UTF8LMTPSA",
        }
    }
}

/// A date-time in the form of RFC 5322 §3.3, such as `Mon, 23 Nov 2026 20:37:33 +0000`.
///
/// `offset_minutes` is held within a day either way.
#[must_use]
pub fn rfc5322_date(time: Timestamp, offset_minutes: i16) -> String {
    let offset = i64::from(offset_minutes.clamp(-1439, 1439));
    // 9999-12-31T00:00:00Z: the year has four digits whatever the clock says.
    let utc = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).min(253_402_214_400);
    let local = utc + offset * 60;
    let (days, seconds) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    // 1970-01-01 was a Thursday.
    let weekday = name(&WEEKDAYS, (days + 4).rem_euclid(7));
    let month = name(&MONTHS, month - 1);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let sign = if offset < 0 { '-' } else { '+' };
    let zone = offset.abs() / 60 * 100 + offset.abs() % 60;
    format!(
        "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} {sign}{zone:04}"
    )
}

/// Year, month (1 to 12) and day of the proleptic Gregorian calendar.
///
/// Counts in years that begin in March, so that the leap day comes last.
fn civil_from_days(days_since_epoch: i64) -> (i64, i64, i64) {
    // From 0000-03-01 to 1970-01-01.
    let days = days_since_epoch + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

fn name(names: &[&'static str], index: i64) -> &'static str {
    // Both callers stay within the table.
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// An address as in an address literal (RFC 5321 §4.1.3).
fn push_ip(text: &mut String, ip: IpAddr) {
    if ip.is_ipv6() {
        text.push_str("IPv6:");
    }
    text.push_str(&ip.to_string());
}

fn push_clean(text: &mut String, part: &str) {
    text.extend(part.chars().map(|c| if c.is_control() { '?' } else { c }));
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace<'static> {
        Trace {
            helo: "client.example",
            verb: HelloVerb::Ehlo,
            ptr: Some("host.example"),
            ip: Some(IpAddr::from([192, 0, 2, 1])),
            by: "mx.example",
            security: Security::Clear,
            tls: None,
            authenticated: false,
            smtputf8: false,
            id: "e3b0",
            recipient: None,
            time: Timestamp::from_secs(1_795_466_253),
            offset_minutes: 60,
        }
    }

    #[test]
    fn writes_the_whole_field() {
        assert_eq!(
            trace().header(),
            "Received: from client.example (host.example [192.0.2.1])\r\n\
             \tby mx.example with ESMTP\r\n\
             \tid e3b0;\r\n\
             \tMon, 23 Nov 2026 21:37:33 +0100\r\n"
        );
        let recipient = Address::parse("a b@example").unwrap();
        let full = Trace {
            ptr: None,
            ip: "2001:db8::1".parse().ok(),
            security: Security::Tls,
            tls: Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384")),
            authenticated: true,
            recipient: Some(&recipient),
            offset_minutes: -570,
            ..trace()
        };
        assert_eq!(
            full.header(),
            "Received: from client.example ([IPv6:2001:db8::1])\r\n\
             \tby mx.example with ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n\
             \tid e3b0\r\n\
             \tfor <\"a b\"@example>;\r\n\
             \tMon, 23 Nov 2026 11:07:33 -0930\r\n"
        );
    }

    #[test]
    fn the_protocol_word_tells_tls_login_and_utf8() {
        assert_eq!(trace().protocol(), "ESMTP");
        let all = Trace {
            verb: HelloVerb::Lhlo,
            security: Security::Tls,
            authenticated: true,
            smtputf8: true,
            ..trace()
        };
        assert_eq!(all.protocol(), "UTF8LMTPSA");
        assert_eq!(Trace { verb: HelloVerb::Helo, ..all }.protocol(), "SMTP");
    }

    #[test]
    fn no_text_adds_a_line() {
        let header = Trace { helo: "a\r\nX: b", ptr: Some("c\nd"), ..trace() }.header();
        assert!(header.starts_with("Received: from a??X: b (c?d "));
    }

    #[test]
    fn dates_are_right_at_the_edges() {
        for (seconds, offset, text) in [
            (0, 0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (0, -1, "Wed, 31 Dec 1969 23:59:00 -0001"),
            (951_782_400, 0, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (951_868_800, 0, "Wed, 01 Mar 2000 00:00:00 +0000"),
            (4_107_542_399, 0, "Sun, 28 Feb 2100 23:59:59 +0000"),
            (4_107_542_400, 0, "Mon, 01 Mar 2100 00:00:00 +0000"),
            (u64::MAX, 0, "Fri, 31 Dec 9999 00:00:00 +0000"),
        ] {
            assert_eq!(rfc5322_date(Timestamp::from_secs(seconds), offset), text);
        }
    }
}
