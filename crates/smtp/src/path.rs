//! Forward and reverse paths: `<local@domain>` with what follows it (RFC 5321 §4.1.2).

use std::net::{Ipv4Addr, Ipv6Addr};

use mta_types::Address;

/// Which of the two paths is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// MAIL FROM: may be null.
    Reverse,
    /// RCPT TO: may be plain `postmaster` (RFC 5321 §4.5.1).
    Forward,
}

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Brackets, quotes or the text behind them are out of place.
    #[error("malformed path")]
    Syntax,
    /// The local part is empty or has a character that needs quotes.
    #[error("malformed local part")]
    BadLocal,
    /// The domain is missing, too long or malformed.
    #[error("malformed domain")]
    BadDomain,
}

/// Reads a path from the start of `text`; returns the address and the parameters behind it.
///
/// A source route is read and ignored (RFC 5321 appendix C). Domains beyond ASCII are let through;
/// whether SMTPUTF8 was asked for is the caller's question.
///
/// # Errors
///
/// [`PathError`].
///
/// # Compatibility
///
/// Brackets may be missing, and a local part may have dots in a row or at its ends: both are
/// common.
pub fn parse(text: &str, side: Side) -> Result<(Address, &str), PathError> {
    let (path, rest) = match text.strip_prefix('<') {
        Some(inner) => {
            let end = closing_bracket(inner).ok_or(PathError::Syntax)?;
            let (path, rest) = inner.split_at_checked(end).ok_or(PathError::Syntax)?;
            (path, rest.strip_prefix('>').ok_or(PathError::Syntax)?)
        }
        None => text.split_at_checked(text.find(' ').unwrap_or(text.len())).unwrap_or((text, "")),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(PathError::Syntax);
    }
    if path.is_empty() {
        let null = side == Side::Reverse && text.starts_with('<');
        return if null { Ok((Address::null(), rest)) } else { Err(PathError::Syntax) };
    }
    let mailbox = without_route(path)?;
    Ok((mailbox_address(mailbox, side)?, rest))
}

/// The position of the `>` that closes the path: the first one outside quotes.
fn closing_bracket(inner: &str) -> Option<usize> {
    let first = memchr::memchr2(b'>', b'"', inner.as_bytes())?;
    if inner.as_bytes().get(first) == Some(&b'>') {
        return Some(first);
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, b) in inner.bytes().enumerate().skip(first) {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Drops `@one,@two:` in front of a mailbox.
fn without_route(path: &str) -> Result<&str, PathError> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    let (route, mailbox) = path.split_once(':').ok_or(PathError::Syntax)?;
    let hop_ok = |hop: &str| hop.strip_prefix('@').is_some_and(is_domain);
    if route.split(',').all(hop_ok) { Ok(mailbox) } else { Err(PathError::Syntax) }
}

fn mailbox_address(mailbox: &str, side: Side) -> Result<Address, PathError> {
    if mailbox.starts_with('"') {
        let address = Address::parse(mailbox).map_err(|_| PathError::BadLocal)?;
        let domain_ok = is_domain(address.domain());
        let address_ok = domain_ok && !address.local().is_empty();
        return if address_ok { Ok(address) } else { Err(PathError::BadDomain) };
    }
    let Some((local, domain)) = mailbox.rsplit_once('@') else {
        let postmaster = side == Side::Forward && mailbox.eq_ignore_ascii_case("postmaster");
        return if postmaster {
            Address::new(mailbox, "").map_err(|_| PathError::BadLocal)
        } else {
            Err(PathError::BadDomain)
        };
    };
    if local.is_empty() || !local.bytes().all(|b| !b.is_ascii() || is_local(b)) {
        return Err(PathError::BadLocal);
    }
    if !is_domain(domain) {
        return Err(PathError::BadDomain);
    }
    Address::new(local, domain).map_err(|_| PathError::BadLocal)
}

/// Tells whether `domain` is a host name or an address literal (RFC 5321 §4.1.2, §4.1.3).
///
/// Underscores pass, and labels beyond ASCII (RFC 6531).
#[must_use]
pub fn is_domain(domain: &str) -> bool {
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match literal.split_at_checked(5) {
            Some((tag, ip)) if tag.eq_ignore_ascii_case("IPv6:") => ip.parse::<Ipv6Addr>().is_ok(),
            _ => literal.parse::<Ipv4Addr>().is_ok(),
        };
    }
    domain.len() <= MAX_DOMAIN
        && domain.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_') || !b.is_ascii())
        })
}

/// Characters that a local part may have without quotes (RFC 5322 §3.2.3), and the dot.
const fn is_local(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'.' | b'!'
                | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}

/// RFC 5321 §4.5.3.1.2.
const MAX_DOMAIN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(text: &str) -> Result<(String, &str), PathError> {
        parse(text, Side::Forward).map(|(address, rest)| (address.to_string(), rest))
    }

    #[test]
    fn reads_paths_of_every_kind() {
        for (text, address, rest) in [
            ("<User@Example.ORG>", "User@Example.ORG", ""),
            ("<a@b.c> NOTIFY=NEVER", "a@b.c", " NOTIFY=NEVER"),
            ("a@b.c NOTIFY=NEVER", "a@b.c", " NOTIFY=NEVER"),
            ("<\"a> b\"@c>", "\"a> b\"@c", ""),
            ("<\"a\\\"> b\"@c>", "\"a\\\"> b\"@c", ""),
            ("<@one,@two.example:a@b>", "a@b", ""),
            ("<a@[127.0.0.1]>", "a@[127.0.0.1]", ""),
            ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""),
            ("<PostMaster>", "PostMaster", ""),
            ("<jörg@müller.example>", "jörg@müller.example", ""),
            ("<a..b.@c>", "\"a..b.\"@c", ""),
        ] {
            assert_eq!(forward(text), Ok((address.to_owned(), rest)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        for text in [
            "",
            "<>",
            "<",
            "<a@b",
            "<a@b>x",
            "<a@>",
            "<@b>",
            "<a>",
            "a",
            "<a b@c>",
            "<a@b c>",
            "<a@b@c>",
            "<a@-b>",
            "<a@b..c>",
            "<a@.b>",
            "<a@[1.2.3]>",
            "<a@[IPv6:x]>",
            "<\"a@b>",
            "<\"\"@b>",
            "<\"a\"b@c>",
            "<@a:>",
            "<@a b@c>",
            "<<a@b>>",
            "<a@b\u{7f}>",
            "<\"a\"@>",
        ] {
            assert!(forward(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_null_path_is_for_senders_only() {
        assert_eq!(parse("<> SIZE=1", Side::Reverse), Ok((Address::null(), " SIZE=1")));
        assert_eq!(parse("<>", Side::Forward), Err(PathError::Syntax));
        assert_eq!(parse("", Side::Reverse), Err(PathError::Syntax));
        assert_eq!(parse("<postmaster>", Side::Reverse), Err(PathError::BadDomain));
    }

    proptest::proptest! {
        #[test]
        fn what_was_read_reads_the_same_when_printed(
            local in "[ -~]{1,20}",
            domain in "[a-z0-9]{1,10}(\\.[a-z0-9]{1,5}){0,2}",
        ) {
            let address = Address::new(&local, &domain).unwrap();
            let text = format!("<{address}>");
            proptest::prop_assert_eq!(parse(&text, Side::Forward), Ok((address, "")));
        }

        #[test]
        fn reading_never_panics(text in "[<>@\":,\\[\\]\\\\ a-cé.]{0,30}") {
            let _ = parse(&text, Side::Forward);
            let _ = parse(&text, Side::Reverse);
        }
    }
}
