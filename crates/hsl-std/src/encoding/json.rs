//! JSON (RFC 8259) straight from and to values of the language.
//!
//! Both directions are bounded in depth, so neither recursion here nor anybody's who walks the
//! result can run out of stack. Anything that is not JSON, or that JSON cannot hold, is `None`.

use hsl::value::{Array, Key, Value};
use memchr::memmem;

use crate::output::{Output, Stop};

/// How to write.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Write characters beyond ASCII as `\uXXXX`.
    pub(crate) ensure_ascii: bool,
    /// One item per line, indented by [`INDENT`] spaces.
    pub(crate) pretty_print: bool,
}

/// Writes a value in at most `most` octets.
///
/// # Errors
///
/// [`Stop::Full`], and [`Stop::Unfit`] for functions, objects, resources, numbers that are not finite,
/// strings that are no UTF-8, keys that are no text, and nesting beyond [`MAX_DEPTH`].
pub(crate) fn encode(value: &Value, style: Style, most: usize) -> Result<Vec<u8>, Stop> {
    let mut writer = Writer { out: Output::new(most), style };
    writer.value(value, 0)?;
    Ok(writer.out.into_octets())
}

/// Reads a text. With `allow_comments`, `//` and `/* */` comments count as white space.
pub(crate) fn decode(text: &[u8], allow_comments: bool) -> Option<Value> {
    read(without_mark(text), allow_comments).ok()
}

/// Reads a text as [`decode`] does.
///
/// # Errors
///
/// Where reading stopped.
pub(crate) fn decode_file(text: &[u8], allow_comments: bool) -> Result<Value, Stopped> {
    let text = without_mark(text);
    read(text, allow_comments).map_err(|at| Stopped::at(text, at))
}

fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Reads a text; the error is the octet where that stopped.
fn read(text: &[u8], allow_comments: bool) -> Result<Value, usize> {
    // Checked once, so that every string in it is UTF-8.
    str::from_utf8(text).map_err(|error| error.valid_up_to())?;
    let names = std::iter::repeat_with(|| None).take(NAMES).collect();
    let mut reader =
        Reader { text, at: 0, allow_comments, names, items: Vec::new(), pairs: Vec::new() };
    let value = reader.value(0).filter(|_| reader.skip_space().is_some());
    match value {
        Some(value) if reader.at == text.len() => Ok(value),
        _ => Err(reader.at),
    }
}

/// Where a text stops to be JSON.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file is no JSON from line {line}, column {column} on")]
pub(crate) struct Stopped {
    line: usize,
    /// Counts characters, from 1.
    column: usize,
}

impl Stopped {
    fn at(text: &[u8], at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let is_first = |octet: &&u8| **octet & 0xc0 != 0x80;
        Self {
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            column: before.iter().skip(start).filter(is_first).count() + 1,
        }
    }
}

struct Writer {
    out: Output,
    style: Style,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Stop> {
        match value {
            Value::None => self.out.extend(b"null")?,
            Value::Bool(true) => self.out.extend(b"true")?,
            Value::Bool(false) => self.out.extend(b"false")?,
            Value::Number(number) if number.is_finite() => {
                self.out.text(value)?;
            }
            Value::String(text) => self.string(text)?,
            Value::Array(array) if depth < MAX_DEPTH => self.array(array, depth + 1)?,
            _ => return Err(Stop::Unfit),
        }
        Ok(())
    }

    fn array(&mut self, array: &Array, depth: usize) -> Result<(), Stop> {
        if array.is_empty() {
            self.out.extend(b"[]")?;
            return Ok(());
        }
        let is_list = array.as_list().is_some()
            || array.keys().enumerate().all(|(at, key)| is_position(&key, at));
        self.out.push(if is_list { b'[' } else { b'{' })?;
        for (at, (key, value)) in array.pairs().enumerate() {
            if at > 0 {
                self.out.push(b',')?;
            }
            self.line(depth)?;
            if !is_list {
                match &*key {
                    Key::Int(number) => {
                        self.out.extend(format!("\"{number}\"").as_bytes())?;
                    }
                    Key::Str(text) => self.string(text)?,
                    Key::Other(_) => return Err(Stop::Unfit),
                }
                self.out.extend(if self.style.pretty_print { b": " } else { b":" })?;
            }
            self.value(value, depth)?;
        }
        self.line(depth - 1)?;
        self.out.push(if is_list { b']' } else { b'}' })?;
        Ok(())
    }

    fn line(&mut self, depth: usize) -> Result<(), Stop> {
        if self.style.pretty_print {
            let spaces = depth * INDENT;
            let out = self.out.room(1 + spaces)?;
            out.push(b'\n');
            out.resize(out.len() + spaces, b' ');
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> Result<(), Stop> {
        let (plain, rest) = text.split_at_checked(plain_blocks(text)).unwrap_or((&[], text));
        let out = self.out.room(text.len() + 2)?;
        out.push(b'"');
        if rest.len() < BLOCK && rest.iter().copied().all(is_plain) {
            out.extend_from_slice(text);
            out.push(b'"');
            return Ok(());
        }
        out.extend_from_slice(plain);
        let mut rest = str::from_utf8(rest).map_err(|_| Stop::Unfit)?;
        while let Some(plain) = rest.bytes().position(|byte| self.needs_escape(byte)) {
            // The octets before it are whole characters.
            let (before, from) = rest.split_at_checked(plain).ok_or(Stop::Unfit)?;
            self.out.extend(before.as_bytes())?;
            let mut characters = from.chars();
            let Some(character) = characters.next() else { break };
            self.escape(character)?;
            rest = characters.as_str();
        }
        self.out.extend(rest.as_bytes())?;
        self.out.push(b'"')
    }

    fn needs_escape(&self, byte: u8) -> bool {
        byte < 0x20
            || matches!(byte, b'"' | b'\\' | 0x7f)
            || (byte >= 0x80 && self.style.ensure_ascii)
    }

    fn escape(&mut self, character: char) -> Result<(), Stop> {
        let out = self.out.room(LONGEST_ESCAPE)?;
        let short = match character {
            '"' | '\\' => character as u8,
            '\u{8}' => b'b',
            '\u{c}' => b'f',
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            '\u{7f}' => {
                out.push(0x7f);
                return Ok(());
            }
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
                return Ok(());
            }
        };
        out.extend_from_slice(&[b'\\', short]);
        Ok(())
    }
}

/// Octets that are looked at together.
const BLOCK: usize = 8;

/// Counts the octets at the start of a text that stand for themselves in a string in every style, block by
/// block: see [`is_plain`].
#[inline]
fn plain_blocks(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((block, behind)) = rest.split_first_chunk()
        && is_plain_block(u64::from_le_bytes(*block))
    {
        rest = behind;
    }
    text.len() - rest.len()
}

/// Says whether an octet is a character of ASCII that nobody escapes.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f) && byte != b'"' && byte != b'\\'
}

/// Says whether all of eight octets are plain.
const fn is_plain_block(block: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // The high bit of an octet below `bound`. A borrow can only spoil octets above one that is found.
    const fn below(block: u64, bound: u64) -> u64 {
        block.wrapping_sub(ONES * bound) & !block
    }
    const fn equal(block: u64, byte: u8) -> u64 {
        below(block ^ (ONES * byte as u64), 1)
    }
    let special =
        block | below(block, 0x20) | equal(block, b'"') | equal(block, b'\\') | equal(block, 0x7f);
    special & HIGH == 0
}

fn is_position(key: &Key, at: usize) -> bool {
    matches!(key, Key::Int(number) if usize::try_from(*number) == Ok(at))
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    allow_comments: bool,
    /// Keys seen before, by some of their octets: records repeat them.
    names: Box<[Option<Key>]>,
    /// Items of the lists under way, the innermost ones last; a complete list knows its length.
    items: Vec<Value>,
    /// The same for objects.
    pairs: Vec<(Key, Value)>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_space()?;
        match self.peek()? {
            b'{' if depth < MAX_DEPTH => self.object(depth + 1),
            b'[' if depth < MAX_DEPTH => self.list(depth + 1),
            b'"' => self.string().map(Value::from),
            b't' => self.word(b"true", Value::Bool(true)),
            b'f' => self.word(b"false", Value::Bool(false)),
            b'n' => self.word(b"null", Value::None),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let first = self.pairs.len();
        self.at += 1;
        self.skip_space()?;
        if self.take(b'}') {
            return Some(Array::new().into());
        }
        loop {
            self.skip_space()?;
            if self.peek() != Some(b'"') {
                return None;
            }
            let key = match self.string()? {
                Text::Plain(text) => self.name(text),
                Text::Escaped(text) => Key::from(text.as_slice()),
            };
            self.skip_space()?;
            if !self.take(b':') {
                return None;
            }
            let value = self.value(depth)?;
            self.pairs.push((key, value));
            self.skip_space()?;
            if self.take(b'}') {
                return Some(self.array_of(first).into());
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// Makes an array of the pairs from `first` on; of equal keys the last value counts.
    fn array_of(&mut self, first: usize) -> Array {
        let pairs = self.pairs.get(first..).unwrap_or_default();
        let is_distinct = pairs.len() <= MAX_COMPARED
            && pairs
                .iter()
                .enumerate()
                .all(|(at, (key, _))| pairs.iter().skip(at + 1).all(|(other, _)| key != other));
        let pairs = self.pairs.drain(first.min(self.pairs.len())..);
        if is_distinct { Array::from_distinct(pairs) } else { pairs.collect() }
    }

    /// Makes a key, or finds the one made for the same text before.
    fn name(&mut self, text: &[u8]) -> Key {
        let place = match text {
            [first, .., last] if text.len() <= MAX_NAME => {
                let at = usize::from(*first) * 31 + usize::from(*last) * 7 + text.len();
                self.names.get_mut(at % NAMES)
            }
            _ => None,
        };
        match place {
            Some(Some(key)) if key.as_bytes() == Some(text) => key.clone(),
            Some(place) => place.insert(Key::from(text)).clone(),
            None => Key::from(text),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let first = self.items.len();
        self.at += 1;
        self.skip_space()?;
        if self.take(b']') {
            return Some(Value::list([]));
        }
        loop {
            let item = self.value(depth)?;
            self.items.push(item);
            self.skip_space()?;
            if self.take(b']') {
                return Some(Value::list(self.items.drain(first.min(self.items.len())..)));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// Reads a string, whose opening quote is next.
    fn string(&mut self) -> Option<Text<'a>> {
        self.at += 1;
        let start = self.at;
        let rest = self.text.get(start..)?;
        let blocks = plain_blocks(rest);
        let tail = rest.get(blocks..)?;
        let end = tail.iter().position(|&byte| byte < 0x20 || matches!(byte, b'"' | b'\\'))?;
        let plain = rest.get(..blocks + end)?;
        self.at += plain.len();
        if self.take(b'"') {
            return Some(Text::Plain(plain));
        }
        let mut text = plain.to_vec();
        loop {
            match self.next()? {
                b'"' => return Some(Text::Escaped(text)),
                b'\\' => self.escape(&mut text)?,
                byte if byte >= 0x20 => text.push(byte),
                _ => return None,
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let byte = match self.next()? {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'u' => {
                let character = self.unicode_escape()?;
                let mut buffer = [0; 4];
                text.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        text.push(byte);
        Some(())
    }

    /// The character of `\uXXXX`, or of a surrogate pair of two; half a pair is no JSON text.
    fn unicode_escape(&mut self) -> Option<char> {
        let unit = self.hex_unit()?;
        let code = if (0xd800..0xdc00).contains(&unit) {
            if !(self.take(b'\\') && self.take(b'u')) {
                return None;
            }
            let low = self.hex_unit()?;
            if !(0xdc00..0xe000).contains(&low) {
                return None;
            }
            0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
        } else {
            unit
        };
        char::from_u32(code)
    }

    fn hex_unit(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit << 4 | u32::from(super::base::hex_value(self.next()?)?);
        }
        Some(unit)
    }

    fn number(&mut self) -> Option<Value> {
        let start = self.at;
        let is_negative = self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        let digits = self.text.get(start + usize::from(is_negative)..self.at)?;
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) && digits.len() <= 15 {
            // Exact in 53 bits.
            let whole = digits.iter().fold(0_u64, |sum, byte| sum * 10 + u64::from(byte - b'0'));
            let number = whole as f64;
            return Some(Value::Number(if is_negative { -number } else { number }));
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let text = str::from_utf8(self.text.get(start..self.at)?).ok()?;
        let number: f64 = text.parse().ok()?;
        number.is_finite().then_some(Value::Number(number))
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &[u8], value: Value) -> Option<Value> {
        let rest = self.text.get(self.at..)?;
        rest.starts_with(word).then(|| self.at += word.len())?;
        Some(value)
    }

    #[inline(always)]
    fn skip_space(&mut self) -> Option<()> {
        match self.peek() {
            Some(0..=b' ' | b'/') => self.skip_spaces(),
            _ => Some(()),
        }
    }

    #[inline(never)]
    fn skip_spaces(&mut self) -> Option<()> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'/') if self.allow_comments => {
                    let rest = self.text.get(self.at..)?;
                    let (end, mark) = if rest.starts_with(b"//") {
                        (memchr::memchr(b'\n', rest).unwrap_or(rest.len()), 0)
                    } else if rest.starts_with(b"/*") {
                        (memmem::find(rest.get(2..)?, b"*/")? + 2, 2)
                    } else {
                        return None;
                    };
                    self.at += end + mark;
                }
                _ => return Some(()),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }
}

/// The text of a string: a part of the input, unless an escape was undone.
enum Text<'a> {
    Plain(&'a [u8]),
    Escaped(Vec<u8>),
}

impl From<Text<'_>> for Value {
    fn from(text: Text<'_>) -> Self {
        match text {
            Text::Plain(text) => Self::from(text),
            Text::Escaped(text) => Self::from(text),
        }
    }
}

/// Arrays inside arrays, in either direction.
pub(crate) const MAX_DEPTH: usize = 512;
/// Keys that a text may share, and the longest of them in octets.
const NAMES: usize = 64;
const MAX_NAME: usize = 64;
/// Keys of an object that are compared with one another to find out that all differ.
const MAX_COMPARED: usize = 8;
/// Octets of a character beyond the basic plane, escaped.
const LONGEST_ESCAPE: usize = 12;
/// Spaces per level of `pretty_print`.
const INDENT: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMPACT: Style = Style { ensure_ascii: true, pretty_print: false };
    const MOST: usize = 1 << 20;

    fn again(text: &str) -> Option<String> {
        let value = decode(text.as_bytes(), false)?;
        let style = Style { ensure_ascii: false, pretty_print: false };
        Some(String::from_utf8(encode(&value, style, MOST).ok()?).unwrap())
    }

    #[test]
    fn octets_are_plain_together_as_they_are_alone() {
        for byte in 0..=u8::MAX {
            for at in 0..BLOCK {
                for others in [b' ', b'!', b'~', b'[', b'#'] {
                    let mut block = [others; BLOCK];
                    block[at] = byte;
                    let expected = block.iter().copied().all(is_plain);
                    assert_eq!(is_plain_block(u64::from_le_bytes(block)), expected, "{block:?}");
                }
            }
        }
        assert_eq!(plain_blocks(b"0123456789abcdef\\"), 16);
        assert_eq!(plain_blocks(b"0123456\"89abcdef"), 0);
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        for (text, place) in [
            ("", "line 1, column 1 "),
            ("{\"k\":", "line 1, column 6 "),
            ("\u{feff}[1,\n  \"å\" 2]", "line 2, column 7 "),
            ("// comment\n{\n\"a\": 1,\n}", "line 4, column 1 "),
            ("[1]\n[2]", "line 2, column 1 "),
        ] {
            let error = decode_file(text.as_bytes(), true).unwrap_err().to_string();
            assert!(error.contains(place), "{text}: {error}");
        }
        let error = decode_file(b"[\n\"a\xff\"]", true).unwrap_err().to_string();
        assert!(error.contains("line 2, column 3 "), "{error}");
    }

    #[test]
    fn reads_json_and_nothing_else() {
        for text in ["[]", "null", "-0.5", "\"a\"", "{\"a\":[1,true,false,null]}", "1e+21"] {
            assert_eq!(again(text).as_deref(), Some(text), "{text}");
        }
        let bad = [
            "",
            "[",
            "[1,]",
            "{a:1}",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "+1",
            "'a'",
            "\"a",
            "nul",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\n\"",
            "1 2",
            "[1 2]",
            "1e999",
            "//\n1",
            "\"\\u12g4\"",
            "tru",
            "{\"a\" 1}",
            "NaN",
        ];
        for text in bad {
            assert!(decode(text.as_bytes(), false).is_none(), "{text}");
        }
        assert!(decode(b"\"\xff\"", false).is_none());
    }

    #[test]
    fn escapes_are_undone_and_made() {
        let text = "\"\\u00e5\\ud83d\\ude00\\n\\/\\u0001\"";
        assert_eq!(decode(text.as_bytes(), false), Some(Value::from("å😀\n/\u{1}")));
        let encoded = encode(&Value::from("å😀\n/\"\\\u{1}\u{7f}"), COMPACT, MOST).unwrap();
        assert_eq!(encoded, b"\"\\u00e5\\ud83d\\ude00\\n/\\\"\\\\\\u0001\x7f\"");
    }

    #[test]
    fn comments_are_space_where_they_are_allowed() {
        let text = b"// one\n[1, /* two */ 2] // three";
        assert_eq!(decode(text, true), Some(Value::list([1.into(), 2.into()])));
        assert!(decode(b"[1] /* open", true).is_none());
        assert!(decode(b"/ 1", true).is_none());
    }

    #[test]
    fn depth_is_bounded_both_ways() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(decode(nested(MAX_DEPTH).as_bytes(), false).is_some());
        assert!(decode(nested(MAX_DEPTH + 1).as_bytes(), false).is_none());
        assert!(decode("[".repeat(1_000_000).as_bytes(), false).is_none());
        let mut value = Value::from(1);
        for _ in 0..=MAX_DEPTH {
            value = Value::list([value]);
        }
        assert_eq!(encode(&value, COMPACT, MOST), Err(Stop::Unfit));
    }

    #[test]
    fn pretty_print_indents_by_four() {
        let value = Value::map([("a", Value::list([1.into()])), ("b", Value::list([]))]);
        let style = Style { ensure_ascii: true, pretty_print: true };
        let expected = "{\n    \"a\": [\n        1\n    ],\n    \"b\": []\n}";
        assert_eq!(encode(&value, style, MOST).unwrap(), expected.as_bytes());
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text: String, number: f64, flag: bool) {
            prop_assume!(number.is_finite());
            let value = Value::map([
                ("text", Value::from(text.as_str())),
                ("list", Value::list([number.into(), flag.into(), Value::None])),
            ]);
            for ensure_ascii in [true, false] {
                for pretty_print in [true, false] {
                    let style = Style { ensure_ascii, pretty_print };
                    let encoded = encode(&value, style, MOST).unwrap();
                    prop_assert_eq!(decode(&encoded, false), Some(value.clone()));
                }
            }
        }

        #[test]
        fn any_octets_are_read_or_refused(text: Vec<u8>) {
            decode(&text, true);
        }
    }
}
