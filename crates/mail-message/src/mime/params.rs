//! Values with parameters: `Content-Type` (RFC 2045 §5) and `Content-Disposition` (RFC 2183), with
//! continuations and charsets (RFC 2231).

use crate::header::{HeaderSection, decode_value, unfold};
use crate::transfer_encoding::{hex_upper, hex_value};
use crate::{charset, encoded_word};

/// The parameters behind a value, in order; names are lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    items: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A media type with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentType {
    /// `type/subtype`, lower case.
    pub media_type: String,
    /// What follows it.
    pub parameters: Parameters,
}

impl ContentType {
    /// Reads the value of a `Content-Type` field. `None` when it names no type.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = unfold(value);
        let (media_type, parameters) = split_value(&value);
        let (kind, subtype) = media_type.split_once('/')?;
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_octet);
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        Some(Self { media_type, parameters })
    }

    /// Reads the topmost `Content-Type` field of a section.
    pub fn of(header: &HeaderSection, text: &[u8]) -> Option<Self> {
        Self::parse(header.first(text, b"content-type")?.value)
    }

    /// Returns whether the type is `multipart/…`.
    pub fn is_multipart(&self) -> bool {
        self.media_type.starts_with("multipart/")
    }

    /// Returns whether a body of this type holds a whole message, which may not be encoded
    /// (RFC 2046 §5.2.1; RFC 6532 §3.7 lets messages with fields in UTF-8 be as they are, too).
    pub fn is_message(&self) -> bool {
        matches!(self.media_type.as_str(), "message/rfc822" | "message/global")
    }

    /// Returns whether the type is `text/…`.
    pub fn is_text(&self) -> bool {
        self.media_type.starts_with("text/")
    }

    /// Returns the charset parameter.
    pub fn charset(&self) -> Option<&[u8]> {
        self.parameters.raw(b"charset")
    }
}

/// Reads a `Content-Disposition` value: the type in lower case, and parameters.
pub fn parse_disposition(value: &[u8]) -> (String, Parameters) {
    split_value(&unfold(value))
}

impl Parameters {
    /// Most parameters looked at; nothing real has a tenth of them.
    const MAX: usize = 100;

    /// Returns the octets of parameter `name` (lower case), quotes undone and nothing else.
    pub fn raw(&self, name: &[u8]) -> Option<&[u8]> {
        self.items.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    /// Returns the octets of parameter `name` (lower case): as they stand, or else with pieces joined
    /// and percent signs undone (RFC 2231), in whatever charset.
    pub fn octets(&self, name: &[u8]) -> Option<Vec<u8>> {
        match self.raw(name) {
            Some(value) => Some(value.to_vec()),
            None => self.extended(name).or_else(|| self.continued(name)).map(|(_, octets)| octets),
        }
    }

    /// Returns the text of parameter `name` (lower case) as UTF-8: pieces joined, charsets and
    /// percent signs decoded (RFC 2231), and encoded words too, which many writers use instead.
    pub fn text(&self, name: &[u8]) -> Option<Vec<u8>> {
        if let Some((label, octets)) = self.extended(name) {
            return Some(to_text(label, &octets));
        }
        match self.continued(name) {
            // Encoded words cut into pieces are seen where no charset is given.
            Some((None, octets)) => Some(encoded_word::decode(&to_text(None, &octets))),
            Some((label, octets)) => Some(to_text(label, &octets)),
            None => self.raw(name).map(|value| decode_value(value, None)),
        }
    }

    /// Reads `name*` (RFC 2231 §4): its charset, and its octets.
    fn extended(&self, name: &[u8]) -> Option<(Option<&[u8]>, Vec<u8>)> {
        let (charset, data) = split_extended(self.raw(&[name, b"*"].concat())?);
        Some((charset, percent_decode(data)))
    }

    /// Joins `name*0`, `name*1*`, … (RFC 2231 §3): their charset, and their octets.
    fn continued(&self, name: &[u8]) -> Option<(Option<&[u8]>, Vec<u8>)> {
        let mut octets = Vec::new();
        let mut label: Option<&[u8]> = None;
        for at in 0..self.items.len() {
            let plain = [name, b"*", at.to_string().as_bytes()].concat();
            if let Some(value) = self.raw(&plain) {
                octets.extend_from_slice(value);
            } else if let Some(value) = self.raw(&[&plain[..], b"*"].concat()) {
                let data = if at == 0 {
                    let (charset, data) = split_extended(value);
                    label = charset;
                    data
                } else {
                    value
                };
                octets.extend(percent_decode(data));
            } else if at == 0 {
                return None;
            } else {
                break;
            }
        }
        (!self.items.is_empty()).then_some((label, octets))
    }
}

/// Splits `charset'language'data`.
fn split_extended(value: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut pieces = value.splitn(3, |&byte| byte == b'\'');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(charset), Some(_), Some(data)) => (Some(charset), data),
        _ => (None, value),
    }
}

fn to_text(label: Option<&[u8]>, octets: &[u8]) -> Vec<u8> {
    let text = label.and_then(|label| charset::decode(label, octets));
    text.unwrap_or_else(|| charset::to_utf8(octets, None)).into_owned().into_bytes()
}

fn percent_decode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%'
            && let [high, low, tail @ ..] = tail
            && let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low))
        {
            out.push(high << 4 | low);
            rest = tail;
        } else {
            out.push(*first);
        }
    }
    out
}

/// Reads `value; name=text; …`, whatever is wrong with it.
fn split_value(value: &[u8]) -> (String, Parameters) {
    let mut scanner = Scanner { rest: value };
    let head = scanner.until(b";", false).to_ascii_lowercase();
    let mut parameters = Parameters::default();
    while scanner.skip(b';') && parameters.items.len() < Parameters::MAX {
        let name = scanner.until(b"=;", false).to_ascii_lowercase();
        if !scanner.skip(b'=') {
            continue;
        }
        let text = scanner.until(b";", true);
        if !name.is_empty() {
            parameters.items.push((name, text));
        }
    }
    let head = String::from_utf8(head).unwrap_or_default();
    (head, parameters)
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn skip(&mut self, byte: u8) -> bool {
        match self.rest.strip_prefix(&[byte]) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes octets up to one of `ends`: comments out, quotes undone, white space around cut off.
    fn until(&mut self, ends: &[u8], is_value: bool) -> Vec<u8> {
        let mut out = Vec::new();
        // Behind this many octets trailing white space is cut: what was quoted stays.
        let mut keep = 0;
        while let [byte, tail @ ..] = self.rest {
            match byte {
                byte if ends.contains(byte) => break,
                b'(' if !is_value || out.is_empty() => self.comment(),
                b'"' if out.len() == keep || out.is_empty() => {
                    self.rest = tail;
                    self.quoted(&mut out);
                    keep = out.len();
                }
                b' ' | b'\t' | b'\r' | b'\n' if out.is_empty() => self.rest = tail,
                byte => {
                    out.push(*byte);
                    self.rest = tail;
                }
            }
        }
        while out.len() > keep && out.last().is_some_and(u8::is_ascii_whitespace) {
            out.pop();
        }
        out
    }

    fn quoted(&mut self, out: &mut Vec<u8>) {
        while let [byte, tail @ ..] = self.rest {
            self.rest = tail;
            match byte {
                b'"' => return,
                // Compat: a backslash before anything else belongs to a path on Windows.
                b'\\' if matches!(tail.first(), Some(b'"' | b'\\')) => {
                    out.extend(tail.first());
                    self.rest = tail.get(1..).unwrap_or_default();
                }
                byte => out.push(*byte),
            }
        }
    }

    fn comment(&mut self) {
        let mut depth = 0usize;
        while let [byte, tail @ ..] = self.rest {
            self.rest = tail;
            match byte {
                b'(' => depth += 1,
                b')' if depth <= 1 => return,
                b')' => depth -= 1,
                b'\\' => self.rest = tail.get(1..).unwrap_or_default(),
                _ => {}
            }
        }
    }
}

/// Writes `; name=value`: as a token, quoted, or with charset and percent signs (RFC 2231 §4).
pub(crate) fn write_parameter(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"; ");
    out.extend_from_slice(name.as_bytes());
    if !value.is_empty() && value.iter().copied().all(is_token_octet) {
        out.push(b'=');
        out.extend_from_slice(value);
    } else if value.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        out.push(b'=');
        out.extend(crate::address_list::quoted_string(value));
    } else {
        out.extend_from_slice(b"*=UTF-8''");
        for &byte in value {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(byte);
            } else {
                out.extend([b'%', hex_upper(byte >> 4), hex_upper(byte)]);
            }
        }
    }
}

fn is_token_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_and_parameters_are_read_as_mail_has_them() {
        type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
        let table: [Row<'_>; 9] = [
            ("Text/Plain; Charset=UTF-8", "text/plain", &[("charset", "UTF-8")]),
            (
                "text/plain;charset=\"a;b\\\"c\" ; x = y",
                "text/plain",
                &[("charset", "a;b\"c"), ("x", "y")],
            ),
            ("text/plain (a; (b) c) ; x=(d) y", "text/plain", &[("x", "y")]),
            ("text/html;\r\n\tname=a b.txt", "text/html", &[("name", "a b.txt")]),
            ("a/b; x", "a/b", &[]),
            ("a/b;; x=1;", "a/b", &[("x", "1")]),
            ("a/b; name=\"C:\\temp\\x\"", "a/b", &[("name", "C:\\temp\\x")]),
            ("a/b; x=\"unclosed", "a/b", &[("x", "unclosed")]),
            ("a/b; x=\" kept \"", "a/b", &[("x", " kept ")]),
        ];
        for (text, media_type, parameters) in table {
            let read = ContentType::parse(text.as_bytes()).unwrap();
            assert_eq!(read.media_type, media_type, "{text}");
            let expected: Vec<_> = parameters
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect();
            assert_eq!(read.parameters.items, expected, "{text}");
        }
        for text in ["", "text", "text/", "/plain", "te xt/plain", "a/b/c", "t\u{e5}/x"] {
            assert_eq!(ContentType::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn file_names_are_read_in_every_dress() {
        let table = [
            ("x; filename=plain.txt", "plain.txt"),
            ("x; filename*=UTF-8'sv'r%C3%A4k.txt", "räk.txt"),
            ("x; filename*=iso-8859-1''r%E4k.txt; filename=other", "räk.txt"),
            ("x; filename*0=\"a b\"; filename*1=c.txt", "a bc.txt"),
            ("x; filename*0*=utf-8''%C3; filename*1*=%A5.t; filename*2=xt", "å.txt"),
            ("x; filename=\"=?utf-8?B?w6UudHh0?=\"", "å.txt"),
            ("x; filename=\"r\u{e4}k.txt\"", "räk.txt"),
            ("x; filename*=broken%zz", "broken%zz"),
        ];
        for (text, expected) in table {
            let (_, parameters) = parse_disposition(text.as_bytes());
            let name = parameters.text(b"filename").unwrap();
            assert_eq!(name, expected.as_bytes(), "{text}");
        }
        assert_eq!(parse_disposition(b"Inline").0, "inline");
        assert_eq!(parse_disposition(b"inline").1.text(b"filename"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in "[ -~åé\\\\\"']{0,60}") {
            let mut out = b"a/b".to_vec();
            write_parameter("name", value.as_bytes(), &mut out);
            let read = ContentType::parse(&out).unwrap();
            // Encoded words inside quotes are read, so they cannot be told from text.
            if !value.contains("=?") {
                let read = String::from_utf8(read.parameters.text(b"name").unwrap()).unwrap();
                prop_assert_eq!(read.trim(), value.trim());
            }
        }

        #[test]
        fn any_octets_are_read(value: Vec<u8>, text in "[a/;=\"()\\\\*0'% ]{0,60}") {
            for value in [&value[..], text.as_bytes()] {
                let (_, parameters) = parse_disposition(value);
                let _ = (ContentType::parse(value), parameters.text(b"a"));
            }
        }
    }
}
