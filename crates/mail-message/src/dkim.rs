//! What a DKIM signature covers: canonical forms of fields and bodies, and which fields are meant.
//!
//! No keys and no digests here: whoever signs or verifies feeds the canonical octets to them. A lone
//! LF counts as the end of a line, as it becomes one when the message is sent. RFC 6376 §3.4, §3.7,
//! §5.4.2.

use std::collections::HashMap;

/// How octets are made comparable (RFC 6376 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canonicalization {
    /// As they are.
    Simple,
    /// White space and the case of names do not count.
    Relaxed,
}

impl Canonicalization {
    /// Reads the word used in signatures, in any case.
    pub fn parse(word: &[u8]) -> Option<Self> {
        if word.eq_ignore_ascii_case(b"simple") {
            Some(Self::Simple)
        } else {
            word.eq_ignore_ascii_case(b"relaxed").then_some(Self::Relaxed)
        }
    }

    /// Returns the word used in signatures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        }
    }

    /// Appends the canonical form of a field, without its line end. `raw` is the whole field.
    pub fn field(self, raw: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Simple => {
                let mut last = 0;
                for &byte in raw {
                    if byte == b'\n' && last != b'\r' {
                        out.push(b'\r');
                    }
                    out.push(byte);
                    last = byte;
                }
            }
            Self::Relaxed => {
                let colon = memchr::memchr(b':', raw).unwrap_or(raw.len());
                let (name, value) = raw.split_at_checked(colon).unwrap_or((raw, b""));
                out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
                out.push(b':');
                let mut words = value
                    .get(1..)
                    .unwrap_or_default()
                    .split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
                    .filter(|word| !word.is_empty());
                if let Some(first) = words.next() {
                    out.extend_from_slice(first);
                }
                for word in words {
                    out.push(b' ');
                    out.extend_from_slice(word);
                }
            }
        }
    }
}

/// Makes the canonical form of a body, piece by piece.
#[derive(Clone, Debug)]
pub struct BodyCanonicalizer {
    kind: Canonicalization,
    /// Line ends that count only if something follows.
    line_ends: u64,
    has_space: bool,
    has_cr: bool,
    has_content: bool,
}

impl BodyCanonicalizer {
    /// Begins a body.
    pub const fn new(kind: Canonicalization) -> Self {
        Self { kind, line_ends: 0, has_space: false, has_cr: false, has_content: false }
    }

    /// Takes octets and appends what is certain of their canonical form.
    pub fn update(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        for &byte in octets {
            match byte {
                b'\n' => {
                    self.has_cr = false;
                    self.has_space = false;
                    self.line_ends += 1;
                }
                b'\r' => {
                    if self.has_cr {
                        self.content(b'\r', out);
                    }
                    self.has_cr = true;
                }
                _ => {
                    if std::mem::take(&mut self.has_cr) {
                        self.content(b'\r', out);
                    }
                    if matches!(byte, b' ' | b'\t') && self.kind == Canonicalization::Relaxed {
                        self.has_space = true;
                    } else {
                        self.content(byte, out);
                    }
                }
            }
        }
    }

    /// Ends the body.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.has_cr {
            self.content(b'\r', out);
        }
        // Empty lines at the end do not count. Without any octet, simple is one line end (§3.4.3)
        // and relaxed is nothing (§3.4.4).
        if self.has_content || self.kind == Canonicalization::Simple {
            out.extend_from_slice(b"\r\n");
        }
    }

    fn content(&mut self, byte: u8, out: &mut Vec<u8>) {
        while self.line_ends > 0 {
            out.extend_from_slice(b"\r\n");
            self.line_ends -= 1;
        }
        if std::mem::take(&mut self.has_space) {
            out.push(b' ');
        }
        self.has_content = true;
        out.push(byte);
    }
}

/// Returns the fields that `names` mean, in that order: each name the lowest field not taken yet
/// (RFC 6376 §5.4.2). Names without a field left mean nothing. `fields` go from the top.
///
/// Takes time in proportion to the octets of both: a peer chooses how many there are.
pub fn select<'a>(fields: &[&'a [u8]], names: &[&[u8]]) -> Vec<&'a [u8]> {
    let mut left: HashMap<Vec<u8>, Vec<&[u8]>> = HashMap::new();
    for field in fields {
        left.entry(name_of(field)).or_default().push(field);
    }
    let lowest = |name: &&[u8]| left.get_mut(&name.to_ascii_lowercase())?.pop();
    names.iter().filter_map(lowest).collect()
}

/// Returns the name of a field, in lower case.
pub fn name_of(field: &[u8]) -> Vec<u8> {
    let colon = memchr::memchr(b':', field).unwrap_or(field.len());
    field.get(..colon).unwrap_or_default().trim_ascii_end().to_ascii_lowercase()
}

/// Returns a signature field with the value of its tag `b` taken out (RFC 6376 §3.7).
pub fn without_signature(raw: &[u8]) -> Vec<u8> {
    let mut at = memchr::memchr(b':', raw).map_or(raw.len(), |colon| colon + 1);
    let mut out = raw.get(..at).unwrap_or_default().to_vec();
    while at < raw.len() {
        let rest = raw.get(at..).unwrap_or_default();
        let len = memchr::memchr(b';', rest).unwrap_or(rest.len());
        let tag = rest.get(..len).unwrap_or_default();
        let equals = memchr::memchr(b'=', tag).unwrap_or(tag.len());
        if tag.get(..equals).is_some_and(|name| name.trim_ascii() == b"b") {
            out.extend_from_slice(tag.get(..=equals).unwrap_or(tag));
        } else {
            out.extend_from_slice(tag);
        }
        if len < rest.len() {
            out.push(b';');
        }
        at += len + 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Canonicalization::{Relaxed, Simple};
    use super::*;

    fn field(kind: Canonicalization, raw: &str) -> String {
        let mut out = Vec::new();
        kind.field(raw.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn body(kind: Canonicalization, pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut canonicalizer = BodyCanonicalizer::new(kind);
        pieces.iter().for_each(|piece| canonicalizer.update(piece, &mut out));
        canonicalizer.finish(&mut out);
        out
    }

    #[test]
    fn the_example_of_rfc_6376_3_4_5() {
        assert_eq!(field(Relaxed, "A: X"), "a:X");
        assert_eq!(field(Relaxed, "B : Y\t\r\n\tZ  "), "b:Y Z");
        assert_eq!(field(Simple, "B : Y\t\r\n\tZ  "), "B : Y\t\r\n\tZ  ");
        let text: &[u8] = b" C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(body(Relaxed, &[text]), b" C\r\nD E\r\n");
        assert_eq!(body(Simple, &[text]), b" C \r\nD \t E\r\n");
    }

    #[test]
    fn bodies_end_with_one_line_end() {
        let table: [(&[u8], &[u8], &[u8]); 8] = [
            (b"", b"\r\n", b""),
            (b"\r\n\r\n", b"\r\n", b""),
            (b" \t\r\n", b" \t\r\n", b""),
            (b"x", b"x\r\n", b"x\r\n"),
            (b"x \n\n\ny", b"x \r\n\r\n\r\ny\r\n", b"x\r\n\r\n\r\ny\r\n"),
            (b"x\r", b"x\r\r\n", b"x\r\r\n"),
            (b"x\ry\r\r\n", b"x\ry\r\r\n", b"x\ry\r\r\n"),
            (b"\tx  y ", b"\tx  y \r\n", b" x y\r\n"),
        ];
        for (text, simple, relaxed) in table {
            assert_eq!(body(Simple, &[text]), simple, "{}", text.escape_ascii());
            assert_eq!(body(Relaxed, &[text]), relaxed, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn names_take_the_lowest_field_first() {
        let fields: [&[u8]; 4] = [b"X: 1", b"y : 2", b"x: 3", b"From: z"];
        let names: [&[u8]; 5] = [b"x", b"X", b"x", b"Y", b"none"];
        assert_eq!(select(&fields, &names), [b"x: 3", b"X: 1", &b"y : 2"[..]]);
    }

    #[test]
    fn many_fields_and_names_take_no_square_of_the_time() {
        // As squares these were 40,000,000,000 steps, and the test did not end.
        let fields = vec![&b"X: 1"[..]; 200_000];
        let names = vec![&b"y"[..]; 200_000];
        assert!(select(&fields, &names).is_empty());
        let names = vec![&b"x"[..]; 200_001];
        assert_eq!(select(&fields, &names).len(), 200_000);
    }

    #[test]
    fn only_the_value_of_b_goes() {
        let table = [
            ("DKIM-Signature: bh=x; b=abc\r\n def; c=b", "DKIM-Signature: bh=x; b=; c=b"),
            ("DKIM-Signature: b =abc", "DKIM-Signature: b ="),
            ("DKIM-Signature: b=;", "DKIM-Signature: b=;"),
            ("X", "X"),
        ];
        for (raw, expected) in table {
            assert_eq!(without_signature(raw.as_bytes()), expected.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter_and_the_form_is_final(
            text in "[a \\t\\r\\n]{0,30}", at in 0..30_usize,
        ) {
            let text = text.as_bytes();
            let (one, two) = text.split_at(at.min(text.len()));
            for kind in [Simple, Relaxed] {
                let whole = body(kind, &[text]);
                prop_assert_eq!(&body(kind, &[one, two]), &whole);
                prop_assert_eq!(&body(kind, &[&whole]), &whole);
            }
        }
    }
}
