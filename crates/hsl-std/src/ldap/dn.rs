//! Distinguished names: their text (RFC 4514) as a list of type and value, and back.
//!
//! The parts of a name with several (`a=1+b=2`) come one after the other; written again, each is a
//! name of its own.

use crate::encoding::base::hex_value;

/// Reads a name; `None` when it is none. The empty text is the root, without parts.
pub(super) fn parse(text: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    if rest.trim_ascii().is_empty() {
        return Some(parts);
    }
    loop {
        let equals = memchr::memchr(b'=', rest)?;
        let kind = rest.get(..equals)?.trim_ascii();
        if kind.is_empty()
            || !kind.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-.".contains(octet))
        {
            return None;
        }
        rest = rest.get(equals + 1..)?;
        while let Some(after) = rest.strip_prefix(b" ") {
            rest = after;
        }
        let (value, after) = value(rest)?;
        parts.push((kind.to_vec(), value));
        match after.split_first() {
            None => return Some(parts),
            Some((b',' | b'+' | b';', more)) => rest = more,
            Some(_) => return None,
        }
    }
}

/// Takes a value up to a separator that is not escaped.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    // Spaces at the end count only where they are escaped.
    let mut kept = 0;
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        match octet {
            b',' | b'+' | b';' => break,
            b'\\' => {
                let (&next, more) = after.split_first()?;
                rest = match (hex_value(next), more.split_first()) {
                    (Some(high), Some((low, more))) if hex_value(*low).is_some() => {
                        out.push(high << 4 | hex_value(*low)?);
                        more
                    }
                    _ => {
                        out.push(next);
                        more
                    }
                };
                kept = out.len();
            }
            b'"' | b'<' | b'>' | 0 => return None,
            _ => {
                out.push(octet);
                if octet != b' ' {
                    kept = out.len();
                }
                rest = after;
            }
        }
    }
    out.truncate(kept);
    Some((out, rest))
}

/// Writes a name.
pub(super) fn write<'a>(parts: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, value) in parts {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(kind);
        out.push(b'=');
        for (at, &octet) in value.iter().enumerate() {
            let is_edge = at == 0 || at + 1 == value.len();
            match octet {
                0 => out.extend_from_slice(b"\\00"),
                b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => out.extend([b'\\', octet]),
                b' ' if is_edge => out.extend([b'\\', octet]),
                b'#' if at == 0 => out.extend([b'\\', octet]),
                _ => out.push(octet),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_split_at_separators_that_are_not_escaped() {
        let parts = parse(b"CN=Steve\\, Kille + ou=x ,O=Isode\\20,c=\\c3\\a5").unwrap();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"CN", b"Steve, Kille"), (b"ou", b"x"), (b"O", b"Isode "), (b"c", "å".as_bytes())];
        for ((kind, value), (wanted_kind, wanted)) in parts.iter().zip(expected) {
            assert_eq!((kind.as_slice(), value.as_slice()), (wanted_kind, wanted));
        }
        assert_eq!(parse(b""), Some(Vec::new()));
        for wrong in ["cn", "=x", "cn=a,", "a b=c", "cn=\\", "cn=\"x\""] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(values in prop::collection::vec(prop::collection::vec(0u8.., 0..9), 1..4)) {
            let text = write(values.iter().map(|value| (&b"cn"[..], value.as_slice())));
            let read: Vec<_> = parse(&text).unwrap().into_iter().map(|(_, value)| value).collect();
            prop_assert_eq!(read, values);
        }
    }
}
