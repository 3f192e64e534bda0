//! Every reply the server makes by itself: codes, enhanced codes and texts in one place.
//!
//! [`Phase`] has the three replies to each kind of event a script may judge; the constants are what
//! the engine says without asking anybody. Texts towards peers are bland on purpose.

use mta_types::{Class, EnhancedCode};

use crate::server::{Decision, ReplyParts, Verdict};

/// One reply of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// The code.
    pub code: u16,
    /// The enhanced code; none on 3yz, on greetings and on replies to HELO (RFC 2034 §4).
    pub enhanced: Option<EnhancedCode>,
    /// The text; empty where the host name stands.
    pub text: &'static str,
}

/// The kinds of events that are answered by a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The banner.
    Connect,
    /// HELO, EHLO, LHLO.
    Helo,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    MailFrom,
    /// RCPT TO.
    RcptTo,
    /// DATA, before the content.
    Data,
    /// After the content.
    Eod,
}

impl Phase {
    /// The default reply of a decision (codes: HSL reference, hooks).
    #[must_use]
    pub const fn stock(self, decision: Decision) -> Stock {
        use Decision::{Accept, Defer, Reject};
        match (self, decision) {
            (Self::Connect, Accept) => bare(220, ""),
            (Self::Connect, Reject) => bare(521, "Connection refused"),
            (Self::Connect, Defer) => bare(421, "Service not available, try again later"),
            (Self::Helo, Accept) => bare(250, ""),
            (Self::Helo, Reject) => bare(554, "Greeting refused"),
            (Self::Helo, Defer) => bare(450, "Try again later"),
            (Self::StartTls, Accept) => stock(220, (2, 0, 0), "Ready to start TLS"),
            (Self::StartTls, Reject) => stock(554, (5, 7, 0), "TLS refused"),
            (Self::StartTls, Defer) => stock(454, (4, 7, 0), "TLS not available at the moment"),
            (Self::Auth, Accept) => stock(235, (2, 7, 0), "Authentication successful"),
            (Self::Auth, Reject) => stock(535, (5, 7, 8), "Authentication failed"),
            (Self::Auth, Defer) => stock(454, (4, 7, 0), "Temporary authentication failure"),
            (Self::MailFrom, Accept) => stock(250, (2, 1, 0), "Sender OK"),
            (Self::MailFrom, Reject) => stock(554, (5, 7, 1), "Sender refused"),
            (Self::MailFrom, Defer) => stock(450, (4, 7, 1), "Sender deferred, try again later"),
            (Self::RcptTo, Accept) => stock(250, (2, 1, 5), "Recipient OK"),
            (Self::RcptTo, Reject) => stock(554, (5, 7, 1), "Recipient refused"),
            (Self::RcptTo, Defer) => stock(450, (4, 7, 1), "Recipient deferred, try again later"),
            (Self::Data, Accept) => bare(354, "Start mail input; end with <CRLF>.<CRLF>"),
            (Self::Data, Reject) => stock(554, (5, 7, 1), "Message refused"),
            (Self::Data, Defer) => stock(451, (4, 3, 0), "Try again later"),
            (Self::Eod, Accept) => stock(250, (2, 0, 0), "Message accepted"),
            (Self::Eod, Reject) => stock(550, (5, 7, 1), "Message refused"),
            (Self::Eod, Defer) => stock(421, (4, 3, 0), "Message deferred, try again later"),
        }
    }
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $code:literal $class:literal . $subject:literal . $detail:literal $text:literal;)+) => {
        $($(#[$doc])* pub const $name: Stock = stock($code, ($class, $subject, $detail), $text);)+
        #[cfg(test)]
        const TABLE: &[Stock] = &[$($name),+];
    };
}

table! {
    /// RSET done.
    RESET = 250 2 . 0 . 0 "OK";
    /// NOOP done.
    NOOP = 250 2 . 0 . 0 "OK";
    /// A BDAT chunk that is not the last was taken.
    CHUNK = 250 2 . 0 . 0 "Chunk OK";
    /// HELP.
    HELP = 214 2 . 0 . 0 "See RFC 5321";
    /// VRFY: neither yes nor no (RFC 5321 §3.5.3).
    CANNOT_VRFY = 252 2 . 0 . 0 "Cannot verify, but will try delivery";
    /// QUIT.
    BYE = 221 2 . 0 . 0 "Bye";
    /// The default of a proxy script's reply.
    PROXY = 250 2 . 0 . 0 "OK";

    /// An idle client.
    TIMEOUT = 421 4 . 4 . 2 "Idle for too long, closing";
    /// The server stops.
    SHUTDOWN = 421 4 . 3 . 2 "Shutting down, try again later";
    /// The last straw.
    TOO_MANY_BAD = 421 4 . 7 . 0 "Too many errors, closing";
    /// No more messages on this connection.
    TOO_MANY_MESSAGES = 421 4 . 7 . 0 "Too many messages on this connection";
    /// RFC 5321 §4.5.3.1.10.
    TOO_MANY_RECIPIENTS = 452 4 . 5 . 3 "Too many recipients";
    /// The driver answered for fewer recipients than there are.
    NOT_ANSWERED = 451 4 . 3 . 0 "Try again later";

    /// RFC 5321 §4.2.4.
    UNKNOWN_COMMAND = 500 5 . 5 . 1 "Command not recognized";
    /// RFC 5321 §4.3.2.
    LINE_TOO_LONG = 500 5 . 5 . 6 "Line too long";
    /// A CR, LF or NUL out of place in a command.
    BAD_LINE = 500 5 . 5 . 2 "Lines must end in CRLF";
    /// The same, and the connection ends.
    BAD_LINE_CLOSE = 521 5 . 5 . 2 "Lines must end in CRLF, closing";
    /// Malformed arguments.
    BAD_ARGUMENTS = 501 5 . 5 . 4 "Syntax error in arguments";
    /// A sender that is no path.
    BAD_SENDER = 501 5 . 1 . 7 "Bad sender address syntax";
    /// A recipient that is no path.
    BAD_RECIPIENT = 501 5 . 1 . 3 "Bad recipient address syntax";
    /// A known command that is switched off or not on offer.
    NOT_IMPLEMENTED = 502 5 . 5 . 1 "Command not available";
    /// A command out of order.
    BAD_SEQUENCE = 503 5 . 5 . 1 "Bad sequence of commands";
    /// MAIL without greeting.
    HELO_FIRST = 503 5 . 5 . 1 "Greet first";
    /// DATA although no recipient was accepted.
    NO_RECIPIENTS = 554 5 . 5 . 1 "No valid recipients";
    /// RFC 4954 §4.
    AUTH_UNKNOWN = 504 5 . 5 . 4 "Authentication mechanism not supported";
    /// RFC 4954 §4: the client sent `*`.
    AUTH_CANCELLED = 501 5 . 7 . 0 "Authentication cancelled";
    /// RFC 4954 §4: no base64, or not what the mechanism has.
    AUTH_MALFORMED = 501 5 . 5 . 2 "Malformed authentication data";
    /// RFC 4954 §4: a line over 12,288 octets.
    AUTH_TOO_LONG = 500 5 . 5 . 6 "Authentication exchange line is too long";
    /// RFC 5321 §4.1.1.11.
    BAD_PARAMETER = 555 5 . 5 . 4 "Parameter not recognized or not on offer";
    /// RFC 6531 §3.5.
    UTF8_NOT_DECLARED = 553 5 . 6 . 7 "Address needs SMTPUTF8";
    /// RFC 1870 §6.
    TOO_LARGE = 552 5 . 3 . 4 "Message exceeds the size limit";
    /// A CR, LF or NUL out of place in content.
    BAD_CONTENT = 550 5 . 6 . 0 "Message has a bare CR, a bare LF or a NUL";
    /// The same, and the connection ends.
    BAD_CONTENT_CLOSE = 521 5 . 6 . 0 "Message has a bare CR, a bare LF or a NUL, closing";
    /// RFC 5321 §4.5.3.1.6.
    TEXT_LINE_TOO_LONG = 550 5 . 6 . 0 "Message has a line that is too long";
}

/// Appends a reply of the table.
pub(crate) fn write_stock(out: &mut Vec<u8>, reply: Stock, enhanced: bool) {
    let code = reply.enhanced.filter(|_| enhanced);
    write_line(out, reply.code, true, code, reply.text);
}

/// Appends the reply a verdict asks for, with the phase's defaults for what it leaves open.
///
/// `hostname` stands in for the text where the default has none.
pub(crate) fn write_verdict(
    out: &mut Vec<u8>,
    phase: Phase,
    verdict: &Verdict,
    enhanced: bool,
    hostname: &str,
) {
    let default = phase.stock(verdict.decision);
    let code = reply_code(default, verdict);
    let chosen = enhanced_code(default, code, &verdict.reply).filter(|_| enhanced);
    let fallback = if default.text.is_empty() { hostname } else { default.text };
    write_lines(out, code, chosen, &verdict.reply.lines, fallback);
}

/// The code of a verdict's reply: its own if that fits the decision, otherwise the default.
pub(crate) fn reply_code(default: Stock, verdict: &Verdict) -> u16 {
    let fits = |code: &u16| match verdict.decision {
        // A client that reads 354 sends content: the code is not for scripts to give or take.
        Decision::Accept => code / 100 == default.code / 100 && default.code != 354,
        Decision::Reject | Decision::Defer => matches!(code / 100, 4 | 5),
    };
    verdict.reply.code.filter(fits).unwrap_or(default.code)
}

/// Appends a reply of several lines, or of the fallback text when there are none.
pub(crate) fn write_lines(
    out: &mut Vec<u8>,
    code: u16,
    enhanced: Option<EnhancedCode>,
    lines: &[String],
    fallback: &str,
) {
    let Some((last, others)) = lines.split_last() else {
        return write_line(out, code, true, enhanced, fallback);
    };
    for line in others {
        write_line(out, code, false, enhanced, line);
    }
    write_line(out, code, true, enhanced, last);
}

/// The enhanced code for `code`: the chosen one, or the default's with the class of the code.
pub(crate) fn enhanced_code(default: Stock, code: u16, parts: &ReplyParts) -> Option<EnhancedCode> {
    let class = u8::try_from(code / 100).ok().and_then(Class::from_digit);
    parts.enhanced.or_else(|| {
        let enhanced = default.enhanced?;
        Some(EnhancedCode { class: class?, ..enhanced })
    })
}

/// Appends one line; control characters become spaces, so no text can start a reply of its own.
pub(crate) fn write_line(
    out: &mut Vec<u8>,
    code: u16,
    last: bool,
    enhanced: Option<EnhancedCode>,
    text: &str,
) {
    push_number(out, code.clamp(200, 599));
    out.push(if last { b' ' } else { b'-' });
    if let Some(enhanced) = enhanced {
        out.extend([b'0' + enhanced.class.digit(), b'.']);
        push_number(out, enhanced.subject);
        out.push(b'.');
        push_number(out, enhanced.detail);
        out.push(b' ');
    }
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for octet in out.iter_mut().skip(start) {
        if octet.is_ascii_control() && *octet != b'\t' {
            *octet = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal; the formatting machinery costs more than the reply.
fn push_number(out: &mut Vec<u8>, number: u16) {
    let mut divisor = 10_000;
    while divisor > 1 && number < divisor {
        divisor /= 10;
    }
    while divisor > 0 {
        out.push(b'0' + (number / divisor % 10) as u8);
        divisor /= 10;
    }
}

const fn stock(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Stock {
    let class = match enhanced.0 {
        2 => Class::Success,
        4 => Class::Transient,
        _ => Class::Permanent,
    };
    let enhanced = Some(EnhancedCode::new(class, enhanced.1, enhanced.2));
    Stock { code, enhanced, text }
}

const fn bare(code: u16, text: &'static str) -> Stock {
    Stock { code, enhanced: None, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 8] = [
        Phase::Connect,
        Phase::Helo,
        Phase::StartTls,
        Phase::Auth,
        Phase::MailFrom,
        Phase::RcptTo,
        Phase::Data,
        Phase::Eod,
    ];

    #[test]
    fn codes_are_those_of_the_script_manual() {
        let codes =
            |phase: Phase| (phase.stock(Decision::Reject).code, phase.stock(Decision::Defer).code);
        assert_eq!(codes(Phase::Connect), (521, 421));
        assert_eq!(codes(Phase::Helo), (554, 450));
        assert_eq!(codes(Phase::Auth), (535, 454));
        assert_eq!(codes(Phase::MailFrom), (554, 450));
        assert_eq!(codes(Phase::RcptTo), (554, 450));
        assert_eq!(codes(Phase::Eod), (550, 421));
        assert_eq!(PROXY.code, 250);
    }

    #[test]
    fn every_enhanced_code_has_the_class_of_its_code() {
        let phases = PHASES.iter().flat_map(|phase| {
            [Decision::Accept, Decision::Reject, Decision::Defer].map(|d| phase.stock(d))
        });
        for reply in phases.chain(TABLE.iter().copied()) {
            if let Some(enhanced) = reply.enhanced {
                assert_eq!(u16::from(enhanced.class.digit()), reply.code / 100, "{reply:?}");
            }
        }
    }

    fn wire(verdict: &Verdict, phase: Phase) -> String {
        let mut out = Vec::new();
        write_verdict(&mut out, phase, verdict, true, "mx.example");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_verdict_fills_its_gaps_from_the_table() {
        assert_eq!(wire(&Verdict::accept(), Phase::Connect), "220 mx.example\r\n");
        assert_eq!(wire(&Verdict::accept(), Phase::RcptTo), "250 2.1.5 Recipient OK\r\n");
        let text = Verdict::reject().with_text("no\nway");
        assert_eq!(wire(&text, Phase::RcptTo), "554-5.7.1 no\r\n554 5.7.1 way\r\n");
        let code = Verdict::reject().with_code(450);
        assert_eq!(wire(&code, Phase::MailFrom), "450 4.7.1 Sender refused\r\n");
        let enhanced = Verdict::defer().with_enhanced(EnhancedCode::new(Class::Transient, 2, 123));
        assert_eq!(
            wire(&enhanced, Phase::Eod),
            "421 4.2.123 Message deferred, try again later\r\n"
        );
    }

    #[test]
    fn a_verdict_cannot_lie_about_its_decision() {
        let refused = Verdict::accept().with_code(550);
        assert_eq!(wire(&refused, Phase::RcptTo), "250 2.1.5 Recipient OK\r\n");
        let accepted = Verdict::reject().with_code(250);
        assert_eq!(wire(&accepted, Phase::Eod), "550 5.7.1 Message refused\r\n");
        let data = Verdict::accept().with_code(250);
        assert!(wire(&data, Phase::Data).starts_with("354 "));
    }

    #[test]
    fn a_text_cannot_start_a_reply_of_its_own() {
        let mut verdict = Verdict::reject();
        verdict.reply.lines = vec!["a\r\n250 ok".to_owned()];
        assert_eq!(wire(&verdict, Phase::Eod), "550 5.7.1 a  250 ok\r\n");
    }
}
