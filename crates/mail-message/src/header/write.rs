//! Writing new fields: folded at 78 octets (RFC 5322 §2.1.1), text above ASCII as encoded words.

use super::LineEnding;
use crate::encoded_word::{self, WordEncoding};
use crate::{address_list, charset};

/// How encoded words of a field are written; the words of the manual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderEncoding {
    /// Legible ASCII.
    #[default]
    QuotedPrintable,
    /// Base64.
    Base64,
}

impl HeaderEncoding {
    fn word(self) -> WordEncoding {
        match self {
            Self::QuotedPrintable => WordEncoding::Q,
            Self::Base64 => WordEncoding::B,
        }
    }
}

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether the value is text to be folded and encoded. Else it is written as it is; only line
    /// ends that would end the field get white space behind them.
    pub encode: bool,
    /// How text is encoded.
    pub encoding: HeaderEncoding,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { encode: true, encoding: HeaderEncoding::default() }
    }
}

/// A field cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// RFC 5322 §2.2: a name is printable ASCII without colon, and not empty.
    #[error("the name of a header field must be printable ASCII without colon and space")]
    BadName,
}

/// Checks that `name` can be the name of a field.
///
/// # Errors
///
/// [`HeaderError::BadName`].
pub fn check_name(name: &[u8]) -> Result<(), HeaderError> {
    let is_good = |byte: &u8| byte.is_ascii_graphic() && *byte != b':';
    // Longer names leave no room for a value on a line that SMTP carries.
    if !name.is_empty() && name.len() <= MAX_NAME && name.iter().all(is_good) {
        Ok(())
    } else {
        Err(HeaderError::BadName)
    }
}

/// Writes a field with its line end.
///
/// # Errors
///
/// [`HeaderError::BadName`].
pub fn write_field(
    name: &[u8],
    value: &[u8],
    options: WriteOptions,
    line_ending: LineEnding,
) -> Result<Vec<u8>, HeaderError> {
    check_name(name)?;
    let mut out = Vec::with_capacity(name.len() + value.len() + 8);
    out.extend_from_slice(name);
    out.push(b':');
    if options.encode {
        let value = encode_value(name, value, options.encoding.word());
        fold(&value, line_ending, &mut out);
    } else {
        write_raw(value, line_ending, &mut out);
    }
    out.extend_from_slice(line_ending.as_bytes());
    Ok(out)
}

fn write_raw(value: &[u8], line_ending: LineEnding, out: &mut Vec<u8>) {
    let value = match value.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')) {
        Some(last) => value.get(..=last).unwrap_or(value),
        None => b"",
    };
    for (at, line) in value.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if at > 0 {
            out.extend_from_slice(line_ending.as_bytes());
        }
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            out.push(b' ');
        }
        out.extend_from_slice(line);
    }
}

/// The value on one line, as ASCII.
fn encode_value(name: &[u8], value: &[u8], encoding: WordEncoding) -> Vec<u8> {
    let text = charset::to_utf8(value, None);
    let text = one_line(text.as_bytes());
    if text.is_ascii() && !text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        if !has_long_word(&text) {
            return text;
        }
    } else if is_address_field(name)
        && let Some(list) = address_list::parse_list(&text)
        && list.iter().all(|mailbox| mailbox.address.is_ascii())
        && !list.is_empty()
    {
        let list = list.iter().map(|mailbox| {
            let name = encoded_word::decode(&mailbox.name);
            address_list::write_mailbox(&name, &mailbox.address, encoding)
        });
        return list.collect::<Vec<_>>().join(&b", "[..]);
    }
    // A colon and a space follow the name.
    encode_words_of(&text, encoding, MAX_ENCODED_LINE.saturating_sub(name.len() + 2))
}

/// Encodes the words that need it, runs of them together; the others stay legible. The first line has
/// `room`.
fn encode_words_of(text: &[u8], encoding: WordEncoding, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut run: Option<std::ops::Range<usize>> = None;
    let mut at = 0;
    for word in text.split(|&byte| byte == b' ') {
        let end = at + word.len();
        let is_odd = word.len() > MAX_WORD
            || word.iter().any(|byte| !byte.is_ascii() || (byte.is_ascii_control()));
        if is_odd {
            let start = run.map_or(at, |run| run.start);
            run = Some(start..end);
        } else if !word.is_empty()
            && let Some(run) = run.take()
        {
            let gap = at - 1 - run.end;
            flush_run(text, Some(run), encoding, room, &mut out);
            out.resize(out.len() + gap, b' ');
        }
        if run.is_none() {
            push_word(&mut out, word, at > 0);
        }
        at = end + 1;
    }
    flush_run(text, run, encoding, room, &mut out);
    out
}

fn flush_run(
    text: &[u8],
    run: Option<std::ops::Range<usize>>,
    encoding: WordEncoding,
    room: usize,
    out: &mut Vec<u8>,
) {
    if let Some(run) = run {
        let is_behind = run.start > 0;
        // A word behind another one moves to a line of its own.
        let room = if is_behind { encoded_word::MAX_WORD } else { room };
        let words = encoded_word::encode_words(text.get(run).unwrap_or_default(), encoding, room);
        push_word(out, &words, is_behind);
    }
}

fn push_word(out: &mut Vec<u8>, word: &[u8], is_behind: bool) {
    if is_behind {
        out.push(b' ');
    }
    out.extend_from_slice(word);
}

/// Line ends and the white space behind them become one space: a value is one line of text.
fn one_line(text: &[u8]) -> Vec<u8> {
    let text = text.trim_ascii();
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default().trim_ascii_end());
        out.push(b' ');
        rest = rest.get(at..).unwrap_or_default().trim_ascii_start();
    }
    out.extend_from_slice(rest);
    out
}

/// Writes ` value`, with a line end before a word that would pass the limit.
fn fold(value: &[u8], line_ending: LineEnding, out: &mut Vec<u8>) {
    let mut column = out.len();
    let mut rest = value;
    out.push(b' ');
    column += 1;
    let mut is_first = true;
    while !rest.is_empty() {
        let white = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let word = rest.get(white..).unwrap_or_default();
        let word = word.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(word.len());
        let (piece, tail) = rest.split_at_checked(white + word).unwrap_or((rest, &[]));
        if !is_first && white > 0 && column + piece.len() > FOLD_AT {
            out.extend_from_slice(line_ending.as_bytes());
            column = 0;
        }
        is_first = false;
        out.extend_from_slice(piece);
        column += piece.len();
        rest = tail;
    }
    // White space at the end could make a line of nothing else.
    while matches!(out.last(), Some(b' ' | b'\t')) && !value.is_empty() {
        out.pop();
    }
}

fn has_long_word(text: &[u8]) -> bool {
    text.split(|byte| matches!(byte, b' ' | b'\t')).any(|word| word.len() > MAX_WORD)
}

fn is_address_field(name: &[u8]) -> bool {
    let name = match name.get(..7) {
        Some(start) if start.eq_ignore_ascii_case(b"resent-") => name.get(7..).unwrap_or_default(),
        _ => name,
    };
    let fields: [&[u8]; 7] =
        [b"from", b"to", b"cc", b"bcc", b"sender", b"reply-to", b"disposition-notification-to"];
    fields.iter().any(|field| name.eq_ignore_ascii_case(field))
}

/// RFC 5322 §2.1.1: lines should have at most 78 octets.
const FOLD_AT: usize = 78;
/// What still fits on a line of 998 octets behind any name.
const MAX_WORD: usize = 900;
/// Octets of a line with an encoded word (RFC 2047 §2).
const MAX_ENCODED_LINE: usize = 76;
/// See [`MAX_WORD`].
const MAX_NAME: usize = 90;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{HeaderSection, decode_value};
    use super::*;

    fn write(name: &str, value: &str, encode: bool) -> String {
        let options = WriteOptions { encode, ..WriteOptions::default() };
        let field = write_field(name.as_bytes(), value.as_bytes(), options, LineEnding::CrLf);
        String::from_utf8(field.unwrap()).unwrap()
    }

    #[test]
    fn text_is_encoded_where_it_must_be() {
        let table = [
            ("Subject", "plain", "Subject: plain\r\n"),
            ("Subject", "", "Subject: \r\n"),
            ("Subject", "hej på er alla", "Subject: hej =?UTF-8?Q?p=C3=A5?= er alla\r\n"),
            ("Subject", "å ä", "Subject: =?UTF-8?Q?=C3=A5_=C3=A4?=\r\n"),
            ("Subject", "a\r\nBcc: x", "Subject: a Bcc: x\r\n"),
            ("Subject", "=?utf-8?q?x?=", "Subject: =?utf-8?q?x?=\r\n"),
            ("From", "\"Å, B\" <a@b.c>", "From: =?UTF-8?Q?=C3=85=2C_B?= <a@b.c>\r\n"),
            ("to", "X <a@b.c>, Å <d@e.f>", "to: X <a@b.c>, =?UTF-8?Q?=C3=85?= <d@e.f>\r\n"),
        ];
        for (name, value, expected) in table {
            assert_eq!(write(name, value, true), expected);
        }
        let options = WriteOptions { encode: true, encoding: HeaderEncoding::Base64 };
        let field = write_field(b"S", "å".as_bytes(), options, LineEnding::Lf).unwrap();
        assert_eq!(field, b"S: =?UTF-8?B?w6U=?=\n");
    }

    #[test]
    fn raw_values_stay_as_they_are_but_cannot_end_the_field() {
        assert_eq!(write("X", " a\r\n\tb\r\n", false), "X: a\r\n\tb\r\n");
        assert_eq!(write("X", "a\nBcc: x\n\nbody", false), "X: a\r\n Bcc: x\r\n \r\n body\r\n");
        assert_eq!(write("X", "på", false), "X: på\r\n");
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["", "a b", "a:", "a\r\nb", "å"] {
            let result = write_field(name.as_bytes(), b"", WriteOptions::default(), LineEnding::Lf);
            assert_eq!(result, Err(HeaderError::BadName));
        }
    }

    #[test]
    fn long_values_are_folded_between_words() {
        let field = write("References", &"<a@b.example.org> ".repeat(20), true);
        assert!(field.lines().all(|line| line.len() <= 78));
        assert!(field.lines().count() > 4);
        for name in
            ["Subject", "X-A-Name-That-Takes-Most-Of-The-First-Line-So-That-Little-Is-Left-Of-It"]
        {
            for encoding in [HeaderEncoding::QuotedPrintable, HeaderEncoding::Base64] {
                let options = WriteOptions { encode: true, encoding };
                let value = "grüße ".repeat(30);
                let field =
                    write_field(name.as_bytes(), value.as_bytes(), options, LineEnding::CrLf);
                let field = String::from_utf8(field.unwrap()).unwrap();
                let limit = MAX_ENCODED_LINE.max(name.len() + ": =?UTF-8?Q?g=C3=BC?=".len());
                assert!(field.lines().all(|line| line.len() <= limit), "{field}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            value in "[ -~]{0,200}|[a-zåäö€=? ]{0,100}|[a-z]{0,2000}|\\PC{0,50}",
            base64: bool,
        ) {
            let encoding =
                if base64 { HeaderEncoding::Base64 } else { HeaderEncoding::QuotedPrintable };
            let options = WriteOptions { encode: true, encoding };
            let field = write_field(b"X", value.as_bytes(), options, LineEnding::CrLf).unwrap();
            prop_assert!(field.is_ascii());
            prop_assert!(field.split(|&byte| byte == b'\n').all(|line| line.len() <= 998));
            let section = HeaderSection::parse(&field);
            prop_assert_eq!(section.spans().len(), 1);
            prop_assert_eq!(section.body_start(), field.len());
            let read = section.fields(&field).next().unwrap();
            if !value.contains("=?") {
                let read = String::from_utf8(decode_value(read.value, None)).unwrap();
                prop_assert_eq!(read.trim(), value.trim());
            }
        }

        #[test]
        fn any_value_is_one_field(value: Vec<u8>, encode: bool) {
            let options = WriteOptions { encode, ..WriteOptions::default() };
            let mut field = write_field(b"X", &value, options, LineEnding::CrLf).unwrap();
            field.extend_from_slice(b"Y: z\r\n\r\n");
            prop_assert_eq!(HeaderSection::parse(&field).spans().len(), 2);
        }
    }
}
