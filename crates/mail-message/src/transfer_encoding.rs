//! Transfer encodings of bodies (RFC 2045 §6).
//!
//! Decoders are forgiving: what they cannot read they keep (quoted-printable) or skip (base64), as
//! clients do. Encoders give lines of at most 76 octets.

use std::borrow::Cow;

use crate::header::LineEnding;

/// How the octets of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEncoding {
    /// As they are, within the limits of SMTP: ASCII, lines of at most 998 octets.
    SevenBit,
    /// As they are, with octets above ASCII.
    EightBit,
    /// As they are, whatever they are.
    Binary,
    /// Quoted-printable.
    QuotedPrintable,
    /// Base64.
    Base64,
}

impl TransferEncoding {
    /// Reads the value of a `Content-Transfer-Encoding` field. `None` for names nobody knows.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        // Some writers add a semicolon or a comment.
        let end = value.iter().position(|byte| b" \t\r\n;(".contains(byte)).unwrap_or(value.len());
        let name = value.get(..end)?;
        let known =
            [Self::SevenBit, Self::EightBit, Self::Binary, Self::QuotedPrintable, Self::Base64];
        known.into_iter().find(|encoding| name.eq_ignore_ascii_case(encoding.name().as_bytes()))
    }

    /// Returns the name in header fields.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SevenBit => "7bit",
            Self::EightBit => "8bit",
            Self::Binary => "binary",
            Self::QuotedPrintable => "quoted-printable",
            Self::Base64 => "base64",
        }
    }

    /// Returns whether the octets are written as they are.
    pub const fn is_identity(self) -> bool {
        matches!(self, Self::SevenBit | Self::EightBit | Self::Binary)
    }

    /// Chooses the encoding that changes `data` least: none for short lines of ASCII,
    /// quoted-printable for text that is mostly ASCII, base64 for the rest.
    pub fn choose(data: &[u8], kind: BodyKind) -> Self {
        let mut special = 0usize;
        let mut is_plain = true;
        for line in data.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            is_plain &= line.len() <= MAX_SMTP_LINE;
            let odd = line.iter().filter(|&&byte| !is_text(byte)).count();
            is_plain &= odd == 0;
            special += odd;
        }
        if kind == BodyKind::Binary && has_bare_line_end(data) {
            // Line ends would be changed on the way.
            return Self::Base64;
        }
        if is_plain {
            Self::SevenBit
        } else if special <= data.len() / 6 {
            Self::QuotedPrintable
        } else {
            Self::Base64
        }
    }

    /// Chooses among those that leave `data` as it is, for types that may not be encoded
    /// (RFC 2045 §6.4).
    pub fn choose_identity(data: &[u8]) -> Self {
        match Self::choose(data, BodyKind::Text) {
            Self::SevenBit => Self::SevenBit,
            _ => Self::EightBit,
        }
    }

    /// Writes `data` in this encoding. Line ends of text become `line_ending`.
    pub fn encode(self, data: &[u8], kind: BodyKind, line_ending: LineEnding) -> Vec<u8> {
        let data = match kind {
            BodyKind::Text => with_line_endings(
                data,
                match self {
                    // The canonical form of text, which is what gets encoded (RFC 2049 §4).
                    Self::Base64 => LineEnding::CrLf,
                    _ => line_ending,
                },
            ),
            BodyKind::Binary => Cow::Borrowed(data),
        };
        match self {
            Self::SevenBit | Self::EightBit | Self::Binary => data.into_owned(),
            Self::Base64 => base64_lines(&data, line_ending),
            Self::QuotedPrintable => quoted_printable_encode(&data, kind, line_ending),
        }
    }

    /// Reads `text` written in this encoding.
    pub fn decode(self, text: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::SevenBit | Self::EightBit | Self::Binary => Cow::Borrowed(text),
            Self::Base64 => Cow::Owned(base64_decode(text)),
            Self::QuotedPrintable => Cow::Owned(quoted_printable_decode(text)),
        }
    }
}

/// What a body holds, which decides what its line ends mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// Lines: any line end is as good as another.
    Text,
    /// Octets that must arrive as they are.
    Binary,
}

/// Writes base64 without line ends (RFC 4648 §4).
pub fn base64_encode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len().div_ceil(3) * 4);
    // Masked to the 64 letters of the alphabet.
    let letter = |bits: u32| BASE64[(bits & 63) as usize];
    let mut chunks = data.chunks_exact(3);
    for chunk in &mut chunks {
        if let [a, b, c] = *chunk {
            let word = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
            out.extend([18, 12, 6, 0].map(|shift| letter(word >> shift)));
        }
    }
    match *chunks.remainder() {
        [a] => {
            let word = u32::from(a) << 16;
            out.extend([letter(word >> 18), letter(word >> 12), b'=', b'=']);
        }
        [a, b] => {
            let word = u32::from(a) << 16 | u32::from(b) << 8;
            out.extend([letter(word >> 18), letter(word >> 12), letter(word >> 6), b'=']);
        }
        _ => {}
    }
    out
}

/// Reads base64 (RFC 2045 §6.8). Octets outside the alphabet are skipped; padding ends a piece, but
/// not the data: some writers put pieces with padding one behind the other.
pub fn base64_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut word, mut letters) = (0u32, 0u32);
    for &byte in text {
        let bits = DECODE_BASE64[usize::from(byte)];
        if bits < 64 {
            word = word << 6 | u32::from(bits);
            letters += 1;
            if letters == 4 {
                let [_, a, b, c] = word.to_be_bytes();
                out.extend([a, b, c]);
                (word, letters) = (0, 0);
            }
        } else if byte == b'=' {
            flush_base64(word, letters, &mut out);
            (word, letters) = (0, 0);
        }
    }
    flush_base64(word, letters, &mut out);
    out
}

fn flush_base64(word: u32, letters: u32, out: &mut Vec<u8>) {
    match letters {
        2 => out.extend(((word >> 4) as u8).to_be_bytes()),
        3 => out.extend(((word >> 2) as u16).to_be_bytes()),
        _ => {}
    }
}

fn base64_lines(data: &[u8], line_ending: LineEnding) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 57 * 78 + 80);
    for chunk in data.chunks(MAX_LINE / 4 * 3) {
        out.extend(base64_encode(chunk));
        out.extend_from_slice(line_ending.as_bytes());
    }
    out
}

fn quoted_printable_encode(data: &[u8], kind: BodyKind, line_ending: LineEnding) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 8);
    let mut column = 0;
    let mut rest = data;
    while let [byte, tail @ ..] = rest {
        let line_end = match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => 0,
        };
        // A bare LF of a binary body is no line end: it would come out as CR LF.
        if line_end == 2 || (line_end == 1 && kind == BodyKind::Text) {
            out.extend_from_slice(line_ending.as_bytes());
            column = 0;
            rest = rest.get(line_end..).unwrap_or_default();
            continue;
        }
        rest = tail;
        let is_last = match tail {
            [] | [b'\r', b'\n', ..] => true,
            [b'\n', ..] => kind == BodyKind::Text,
            _ => false,
        };
        let literal = match byte {
            b'=' => false,
            // White space at the end of a line gets lost on the way.
            b' ' | b'\t' => !is_last,
            // A dot or "From " at the start of a line is changed by some.
            b'.' => column > 0,
            b'F' => column > 0 || !tail.starts_with(b"rom "),
            byte => byte.is_ascii_graphic(),
        };
        let width = if literal { 1 } else { 3 };
        if column + width > MAX_LINE - usize::from(!is_last) {
            out.push(b'=');
            out.extend_from_slice(line_ending.as_bytes());
            column = 0;
        }
        if literal {
            out.push(*byte);
        } else {
            out.extend([b'=', hex_upper(byte >> 4), hex_upper(*byte)]);
        }
        column += width;
    }
    out
}

fn quoted_printable_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let end = line.get(content.len()..).unwrap_or_default();
        // RFC 2045 §6.7 (3): white space at the end was added on the way.
        let white = content.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let content = content.get(..content.len() - white).unwrap_or_default();
        let (content, is_soft) = match content.strip_suffix(b"=") {
            Some(content) => (content, true),
            None => (content, false),
        };
        let mut rest = content;
        while let Some(at) = memchr::memchr(b'=', rest) {
            out.extend_from_slice(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + 1..).unwrap_or_default();
            match rest {
                [high, low, tail @ ..]
                    if let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) =>
                {
                    out.push(high << 4 | low);
                    rest = tail;
                }
                _ => out.push(b'='),
            }
        }
        out.extend_from_slice(rest);
        if !is_soft {
            out.extend_from_slice(end);
        }
    }
    out
}

/// Gives every line of `text` the same end.
fn with_line_endings(text: &[u8], line_ending: LineEnding) -> Cow<'_, [u8]> {
    let mut out: Vec<u8> = Vec::new();
    let mut copied = 0;
    for at in memchr::memchr_iter(b'\n', text) {
        let has_cr = at > 0 && text.get(at - 1) == Some(&b'\r');
        if has_cr == (line_ending == LineEnding::CrLf) {
            continue;
        }
        out.extend_from_slice(text.get(copied..at - usize::from(has_cr)).unwrap_or_default());
        out.extend_from_slice(line_ending.as_bytes());
        copied = at + 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

fn has_bare_line_end(data: &[u8]) -> bool {
    let ends = memchr::memchr_iter(b'\n', data);
    let with_cr = ends.clone().filter(|&at| at > 0 && data.get(at - 1) == Some(&b'\r')).count();
    ends.count() > with_cr || memchr::memchr_iter(b'\r', data).count() > with_cr
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (b' '..=b'~').contains(&byte)
}

/// Returns the value of a hex digit, either case.
pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Returns the upper-case hex digit of the low four bits.
pub(crate) fn hex_upper(bits: u8) -> u8 {
    // Masked to the 16 digits.
    b"0123456789ABCDEF"[usize::from(bits & 15)]
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const DECODE_BASE64: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut at = 0;
    while at < 64 {
        table[BASE64[at] as usize] = at as u8;
        at += 1;
    }
    table
};

/// RFC 2045 §6.7 (5) and §6.8.
const MAX_LINE: usize = 76;
/// RFC 5322 §2.1.1.
const MAX_SMTP_LINE: usize = 998;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QP: TransferEncoding = TransferEncoding::QuotedPrintable;

    #[test]
    fn names_are_read_as_they_are_written_in_mail() {
        for text in [" Quoted-Printable\r\n", "quoted-printable;", "quoted-printable (x)"] {
            assert_eq!(TransferEncoding::parse(text.as_bytes()), Some(QP));
        }
        assert_eq!(TransferEncoding::parse(b"x-uuencode"), None);
        assert_eq!(TransferEncoding::parse(b""), None);
    }

    #[test]
    fn quoted_printable_is_read_leniently() {
        let table = [
            ("a=3D=c3=A5 \t\r\nb=\r\nc= \r\nd", "a=\u{e5}\r\nbcd"),
            ("=", ""),
            ("=X1=3", "=X1=3"),
            ("a=0D=0A\n", "a\r\n\n"),
        ];
        for (text, expected) in table {
            assert_eq!(&*QP.decode(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn base64_is_read_leniently() {
        let table: [(&str, &[u8]); 5] = [
            ("QUJD", b"ABC"),
            ("Q U-J\r\nD", b"ABC"),
            ("QQ==QUI=", b"AAB"),
            ("QUJDRA", b"ABCD"),
            ("Q", b""),
        ];
        for (text, expected) in table {
            assert_eq!(base64_decode(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_encoding_that_changes_least_is_chosen() {
        use TransferEncoding::{Base64, QuotedPrintable, SevenBit};
        let long = "x".repeat(999);
        let table: [(&[u8], BodyKind, TransferEncoding); 7] = [
            (b"plain\r\ntext\n", BodyKind::Text, SevenBit),
            (b"", BodyKind::Binary, SevenBit),
            (long.as_bytes(), BodyKind::Text, QuotedPrintable),
            (
                "mostly plain text with å, ä and ö in a few places".as_bytes(),
                BodyKind::Text,
                QuotedPrintable,
            ),
            ("åäö".as_bytes(), BodyKind::Text, Base64),
            (b"a\nb", BodyKind::Binary, Base64),
            (b"\0\x01\x02", BodyKind::Binary, Base64),
        ];
        for (data, kind, expected) in table {
            assert_eq!(TransferEncoding::choose(data, kind), expected, "{}", data.escape_ascii());
        }
    }

    #[test]
    fn quoted_printable_guards_what_gets_changed_on_the_way() {
        let encoded = QP.encode(b".a \nFrom x\n=", BodyKind::Text, LineEnding::CrLf);
        assert_eq!(encoded, b"=2Ea=20\r\n=46rom x\r\n=3D");
        let encoded = QP.encode(&b"x".repeat(77), BodyKind::Text, LineEnding::Lf);
        assert_eq!(encoded, [&b"x".repeat(75)[..], b"=\nxx"].concat());
    }

    proptest! {
        #[test]
        fn binary_data_survives_every_encoding(data: Vec<u8>, short in "[ \\r\\na=.\\x80]{0,90}") {
            for data in [&data[..], short.as_bytes()] {
                for encoding in [QP, TransferEncoding::Base64] {
                    let text = encoding.encode(data, BodyKind::Binary, LineEnding::CrLf);
                    prop_assert_eq!(&*encoding.decode(&text), data);
                    let lines = text.split(|&byte| byte == b'\n');
                    prop_assert!(lines.into_iter().all(|line| line.len() <= MAX_LINE + 1));
                }
                let chosen = TransferEncoding::choose(data, BodyKind::Binary);
                let text = chosen.encode(data, BodyKind::Binary, LineEnding::CrLf);
                prop_assert_eq!(&*chosen.decode(&text), data);
            }
        }

        #[test]
        fn text_survives_with_its_line_ends_made_equal(text in "[ \\r\\n\ta=.å]{0,90}") {
            let expected = text.replace("\r\n", "\n").replace('\n', "\r\n");
            for encoding in [QP, TransferEncoding::Base64, TransferEncoding::EightBit] {
                let encoded = encoding.encode(text.as_bytes(), BodyKind::Text, LineEnding::CrLf);
                prop_assert_eq!(&*encoding.decode(&encoded), expected.as_bytes());
            }
        }

        #[test]
        fn any_octets_are_decoded(text: Vec<u8>) {
            let _ = (QP.decode(&text), base64_decode(&text));
        }
    }
}
