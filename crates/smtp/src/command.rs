//! Verbs and their arguments (RFC 5321 §4.1.1).
//!
//! Reading is split in two: [`Verb::split`] names the command, so that one out of order can be
//! refused before anybody looks at its arguments; the functions here then read the arguments.
//! Addresses are read in [`crate::path`].

use crate::server::HelloVerb;

/// The commands this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// HELO, EHLO or LHLO.
    Hello(HelloVerb),
    /// RFC 3207.
    StartTls,
    /// RFC 4954.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// RFC 3030.
    Bdat,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
}

impl Verb {
    /// All verbs, with the text of each in upper case.
    pub const ALL: [(&str, Self); 15] = [
        ("MAIL", Self::Mail),
        ("RCPT", Self::Rcpt),
        ("DATA", Self::Data),
        ("EHLO", Self::Hello(HelloVerb::Ehlo)),
        ("QUIT", Self::Quit),
        ("BDAT", Self::Bdat),
        ("RSET", Self::Rset),
        ("HELO", Self::Hello(HelloVerb::Helo)),
        ("LHLO", Self::Hello(HelloVerb::Lhlo)),
        ("STARTTLS", Self::StartTls),
        ("AUTH", Self::Auth),
        ("NOOP", Self::Noop),
        ("VRFY", Self::Vrfy),
        ("EXPN", Self::Expn),
        ("HELP", Self::Help),
    ];

    /// Its text in upper case.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, verb)| *verb == self).map_or("", |(word, _)| word)
    }

    /// Splits a line into its verb and what follows it, without white space around; `None` for a
    /// verb that is not known.
    #[must_use]
    pub fn split(line: &[u8]) -> Option<(Self, &[u8])> {
        let end = line.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(line.len());
        let (word, arguments) = line.split_at_checked(end)?;
        let (_, verb) =
            Self::ALL.iter().find(|(text, _)| text.as_bytes().eq_ignore_ascii_case(word))?;
        Some((*verb, arguments.trim_ascii()))
    }
}

/// Reads the argument of HELO, EHLO or LHLO: one word of printable ASCII.
///
/// # Compatibility
///
/// More than RFC 5321 §4.1.1.1 allows: what a name is worth is a script's decision, and many
/// clients give names with underscores or without dots.
#[must_use]
pub fn hello_host(arguments: &[u8]) -> Option<&str> {
    let host = std::str::from_utf8(arguments).ok()?;
    let fits = !host.is_empty() && host.len() <= MAX_HOST;
    (fits && host.bytes().all(|b| b.is_ascii_graphic())).then_some(host)
}

/// Reads the arguments of AUTH: the mechanism as given, and the initial response (base64, or `=`
/// for an empty one, RFC 4954 §4).
#[must_use]
pub fn auth_arguments(arguments: &[u8]) -> Option<(&str, Option<&str>)> {
    let mut words = std::str::from_utf8(arguments).ok()?.split_ascii_whitespace();
    let mechanism = words.next()?;
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    // RFC 4422 §3.1: 1 to 20 characters.
    if mechanism.len() > 20 || !mechanism.bytes().all(known) {
        return None;
    }
    let initial = words.next();
    words.next().is_none().then_some((mechanism, initial))
}

/// Takes `FROM:` or `TO:` off the arguments of MAIL and RCPT, and the white space that some
/// clients put behind it.
#[must_use]
pub fn after_keyword<'a>(arguments: &'a [u8], keyword: &str) -> Option<&'a [u8]> {
    let (head, tail) = arguments.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword.as_bytes()).then(|| tail.trim_ascii_start())
}

/// RFC 5321 §4.5.3.1.2: 255 octets for a domain.
const MAX_HOST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_known_in_any_case() {
        assert_eq!(Verb::split(b"mail FROM:<>"), Some((Verb::Mail, &b"FROM:<>"[..])));
        assert_eq!(Verb::split(b"StartTLS"), Some((Verb::StartTls, &b""[..])));
        assert_eq!(Verb::split(b"NOOP  x "), Some((Verb::Noop, &b"x"[..])));
        for unknown in [&b""[..], b" NOOP", b"NOOPS", b"MAI", b"\xff"] {
            assert_eq!(Verb::split(unknown), None);
        }
    }

    #[test]
    fn a_hello_name_is_one_printable_word() {
        assert_eq!(hello_host(b"[IPv6:::1]"), Some("[IPv6:::1]"));
        assert_eq!(hello_host(b"my_pc"), Some("my_pc"));
        for bad in [&b""[..], b"a b", b"a\tb", b"m\xc3\xbcller", &[b'a'; 256]] {
            assert_eq!(hello_host(bad), None);
        }
    }

    #[test]
    fn auth_takes_a_mechanism_and_at_most_one_response() {
        assert_eq!(auth_arguments(b"plain AGEAYg=="), Some(("plain", Some("AGEAYg=="))));
        assert_eq!(auth_arguments(b"X-OWN"), Some(("X-OWN", None)));
        for bad in [&b""[..], b"A B C", b"PL/AIN", b"ABCDEFGHIJKLMNOPQRSTU"] {
            assert_eq!(auth_arguments(bad), None);
        }
    }

    #[test]
    fn keywords_lead_to_the_path() {
        assert_eq!(after_keyword(b"from:<a@b>", "FROM:"), Some(&b"<a@b>"[..]));
        assert_eq!(after_keyword(b"TO: <a@b>", "TO:"), Some(&b"<a@b>"[..]));
        assert_eq!(after_keyword(b"TO <a@b>", "TO:"), None);
        assert_eq!(after_keyword(b"", "TO:"), None);
    }
}
