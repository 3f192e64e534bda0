//! Search filters: their text (RFC 4515) as the octets of a search (RFC 4511 §4.5.1.7).

use super::ber::{OCTETS, SEQUENCE, element, put};
use crate::encoding::base::hex_value;

/// Reads a filter; `None` when it is none. One without brackets around it is taken as well, and, as
/// C's library does it, white space between brackets and marks, and a backslash before a character
/// that is special in a filter (RFC 1960 §3).
pub(super) fn parse(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let with_brackets;
    let text = if text.first() == Some(&b'(') {
        text
    } else {
        with_brackets = [b"(", text, b")"].concat();
        &with_brackets
    };
    let mut rest = text;
    let filter = component(&mut rest, 0)?;
    rest.is_empty().then_some(filter)
}

/// Octets of a value as they may stand in a filter.
pub(super) fn escape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &octet in value {
        if matches!(octet, b'*' | b'(' | b')' | b'\\' | 0) {
            out.extend_from_slice(format!("\\{octet:02x}").as_bytes());
        } else {
            out.push(octet);
        }
    }
    out
}

fn component(rest: &mut &[u8], depth: usize) -> Option<Vec<u8>> {
    if depth > MAX_DEPTH {
        return None;
    }
    *rest = rest.strip_prefix(b"(")?.trim_ascii_start();
    let filter = match rest.first()? {
        mark @ (b'&' | b'|') => {
            let tag = if *mark == b'&' { 0xa0 } else { 0xa1 };
            *rest = rest.get(1..)?.trim_ascii_start();
            let mut parts = Vec::new();
            while rest.first() == Some(&b'(') {
                parts.extend(component(rest, depth + 1)?);
                *rest = rest.trim_ascii_start();
            }
            element(tag, &parts)
        }
        b'!' => {
            *rest = rest.get(1..)?.trim_ascii_start();
            let part = component(rest, depth + 1)?;
            *rest = rest.trim_ascii_start();
            element(0xa2, &part)
        }
        _ => {
            let end = unescaped(rest, b')')?;
            let (text, after) = rest.split_at_checked(end)?;
            *rest = after;
            item(text)?
        }
    };
    *rest = rest.strip_prefix(b")")?;
    Some(filter)
}

fn item(text: &[u8]) -> Option<Vec<u8>> {
    let equals = memchr::memchr(b'=', text)?;
    let (left, value) = (text.get(..equals)?, text.get(equals + 1..)?);
    let (kind, name) = match left.split_last()? {
        (b'>', name) => (0xa5, name),
        (b'<', name) => (0xa6, name),
        (b'~', name) => (0xa8, name),
        (b':', name) => return extensible(name, value),
        _ => (0xa3, left),
    };
    if !is_name(name) {
        return None;
    }
    if kind == 0xa3 && value == b"*" {
        return Some(element(0x87, name));
    }
    if kind == 0xa3 && unescaped(value, b'*').is_some() {
        return substrings(name, value);
    }
    let pair = [element(OCTETS, name), element(OCTETS, &unescape(value)?)].concat();
    Some(element(kind, &pair))
}

/// The name of an attribute with its options, or of a rule (RFC 4512 §2.5, §1.4).
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-.;".contains(octet))
}

fn substrings(name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = value;
    while let Some((piece, after)) = unescaped(rest, b'*').and_then(|at| rest.split_at_checked(at))
    {
        pieces.push(piece);
        rest = after.get(1..)?;
    }
    let last = pieces.len();
    pieces.push(rest);
    let mut parts = Vec::new();
    for (at, piece) in pieces.into_iter().enumerate().filter(|(_, piece)| !piece.is_empty()) {
        let tag = if at == 0 {
            0x80
        } else if at == last {
            0x82
        } else {
            0x81
        };
        put(&mut parts, tag, &unescape(piece)?);
    }
    let pair = [element(OCTETS, name), element(SEQUENCE, &parts)].concat();
    (!parts.is_empty()).then(|| element(0xa4, &pair))
}

/// `name:dn:rule:=value`, each part but one of name and rule may be missing.
fn extensible(left: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = left.split(|octet| *octet == b':');
    let name = parts.next()?;
    if !name.is_empty() && !is_name(name) {
        return None;
    }
    let (mut rule, mut with_dn) = (None, false);
    for part in parts {
        if part.eq_ignore_ascii_case(b"dn") && rule.is_none() {
            with_dn = true;
        } else if rule.is_none() && is_name(part) {
            rule = Some(part);
        } else {
            return None;
        }
    }
    let mut out = Vec::new();
    if let Some(rule) = rule {
        put(&mut out, 0x81, rule);
    }
    if !name.is_empty() {
        put(&mut out, 0x82, name);
    }
    put(&mut out, 0x83, &unescape(value)?);
    if with_dn {
        put(&mut out, 0x84, &[0xff]);
    }
    (rule.is_some() || !name.is_empty()).then(|| element(0xa9, &out))
}

/// Where an octet stands for the first time that is not behind a backslash.
fn unescaped(text: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            octet if *octet == wanted => return Some(at),
            _ => at += 1,
        }
    }
}

/// Undoes `\hh`, and the backslash of RFC 1960; `None` for any other backslash.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.iter();
    while let Some(&octet) = octets.next() {
        if octet != b'\\' {
            out.push(octet);
            continue;
        }
        match octets.next()? {
            special @ (b'(' | b')' | b'*' | b'\\') => out.push(*special),
            high => out.push(hex_value(*high)? << 4 | hex_value(*octets.next()?)?),
        }
    }
    Some(out)
}

const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_the_octets_of_the_standard() {
        let table: [(&str, &[u8]); 12] = [
            ("(cn=a)", b"\xa3\x07\x04\x02cn\x04\x01a"),
            ("objectclass=*", b"\x87\x0bobjectclass"),
            ("(!(a>=\\2a))", b"\xa2\x08\xa5\x06\x04\x01a\x04\x01*"),
            ("(a=x*y*z)", b"\xa4\x0e\x04\x01a\x30\x09\x80\x01x\x81\x01y\x82\x01z"),
            ("(&(a=1)(b=2))", b"\xa0\x10\xa3\x06\x04\x01a\x04\x011\xa3\x06\x04\x01b\x04\x012"),
            ("(a:dn:2.4:=v)", b"\xa9\x0e\x81\x032.4\x82\x01a\x83\x01v\x84\x01\xff"),
            (
                " ( &\n (a=1) (b=2)\n)",
                b"\xa0\x10\xa3\x06\x04\x01a\x04\x011\xa3\x06\x04\x01b\x04\x012",
            ),
            ("(! (a=1) )", b"\xa2\x08\xa3\x06\x04\x01a\x04\x011"),
            ("( a= 1 )", b"\xa3\x08\x04\x01a\x04\x03 1 "),
            ("(a=\\(\\)\\*\\\\)", b"\xa3\x09\x04\x01a\x04\x04()*\\"),
            ("(a=x\\**)", b"\xa4\x09\x04\x01a\x30\x04\x80\x02x*"),
            ("(a=*\\29)", b"\xa4\x08\x04\x01a\x30\x03\x82\x01)"),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text.as_bytes()).as_deref(), Some(expected), "{text}");
        }
        let deep = "(!".repeat(100) + "(a=b)" + &")".repeat(100);
        for wrong in [
            "",
            "(a=b",
            "(a=b))",
            "(=b)",
            "(a b=c)",
            "(a=\\zz)",
            "(a=\\)",
            "(a=b\\",
            "(! )",
            "(:=x)",
            "(a b:=c)",
            "(a:b c:=d)",
            &deep,
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(escape(b"a*(b)\\\0"), b"a\\2a\\28b\\29\\5c\\00");
    }
}
