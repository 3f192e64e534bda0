//! JSON for plugins: straight from and to values, with the two flags of the header.

use hsl::Value;
use hsl::value::{Array, Key};

/// Why a text or a value is no JSON.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("a value of type {0} has no JSON form")]
    Type(&'static str),
    #[error("a number that is not finite has no JSON form")]
    NotFinite,
    #[error("a string is not UTF-8")]
    NotUtf8,
    #[error("nested too deeply")]
    TooDeep,
    #[error("syntax error at octet {0}")]
    Syntax(usize),
}

/// Writes a value. Without `ensure_ascii`, characters beyond ASCII stay as they are.
pub(crate) fn encode(value: &Value, ensure_ascii: bool) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::with_capacity(64);
    write(value, ensure_ascii, 0, &mut out)?;
    Ok(out)
}

fn write(value: &Value, ascii: bool, depth: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
    match value {
        Value::None => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) if number.is_finite() => {
            out.extend_from_slice(&hsl::ops::to_text(value));
        }
        Value::Number(_) => return Err(JsonError::NotFinite),
        Value::String(text) => string(text, ascii, out)?,
        Value::Array(_) if depth >= MAX_DEPTH => return Err(JsonError::TooDeep),
        Value::Array(array) => {
            let is_list = array
                .keys()
                .zip(0..)
                .all(|(key, at)| matches!(key, Key::Int(number) if i64::from(number) == at));
            out.push(if is_list { b'[' } else { b'{' });
            for (at, (key, value)) in array.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                if !is_list {
                    string(&hsl::ops::to_text(&key.to_value()), ascii, out)?;
                    out.push(b':');
                }
                write(value, ascii, depth + 1, out)?;
            }
            out.push(if is_list { b']' } else { b'}' });
        }
        other => return Err(JsonError::Type(other.type_of().name())),
    }
    Ok(())
}

fn string(text: &[u8], ascii: bool, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let text = std::str::from_utf8(text).map_err(|_| JsonError::NotUtf8)?;
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{20}'..='\u{7e}' => out.push(character as u8),
            _ if ascii || character < ' ' || character == '\u{7f}' => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
    Ok(())
}

/// Reads a text. With `unicode_byte`, `\u00XX` is the octet XX, for JSON that carries binary data.
pub(crate) fn decode(text: &[u8], unicode_byte: bool) -> Result<Value, JsonError> {
    let mut reader = Reader { text, at: 0, unicode_byte };
    let value = reader.value(0)?;
    reader.space();
    if reader.at == text.len() { Ok(value) } else { Err(reader.error()) }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    unicode_byte: bool,
}

impl Reader<'_> {
    fn error(&self) -> JsonError {
        JsonError::Syntax(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, octet: u8) -> bool {
        let is_there = self.peek() == Some(octet);
        self.at += usize::from(is_there);
        is_there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::from),
            Some(b't') => self.word(b"true", Value::Bool(true)),
            Some(b'f') => self.word(b"false", Value::Bool(false)),
            Some(b'n') => self.word(b"null", Value::None),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.error());
        }
        self.at += word.len();
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|octet| octet.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.error()) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
        number.filter(|number| number.is_finite()).map(Value::Number).ok_or_else(|| self.error())
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut array = Array::new();
        self.space();
        if self.take(b']') {
            return Ok(Value::Array(array));
        }
        loop {
            array.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Value::Array(array));
            }
            if !self.take(b',') {
                return Err(self.error());
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut array = Array::new();
        self.space();
        if self.take(b'}') {
            return Ok(Value::Array(array));
        }
        loop {
            self.space();
            let key = Value::from(self.string()?);
            self.space();
            if !self.take(b':') {
                return Err(self.error());
            }
            let value = self.value(depth + 1)?;
            array.insert(Key::from_value(&key), value);
            self.space();
            if self.take(b'}') {
                return Ok(Value::Array(array));
            }
            if !self.take(b',') {
                return Err(self.error());
            }
        }
    }

    fn string(&mut self) -> Result<Vec<u8>, JsonError> {
        if !self.take(b'"') {
            return Err(self.error());
        }
        let mut out = Vec::new();
        loop {
            let octet = self.peek().ok_or_else(|| self.error())?;
            self.at += 1;
            match octet {
                b'"' => return Ok(out),
                b'\\' => self.escape(&mut out)?,
                0..0x20 => return Err(self.error()),
                _ => out.push(octet),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let octet = self.peek().ok_or_else(|| self.error())?;
        self.at += 1;
        out.push(match octet {
            b'"' | b'\\' | b'/' => octet,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let unit = self.unit()?;
                if self.unicode_byte
                    && let Ok(octet) = u8::try_from(unit)
                {
                    out.push(octet);
                    return Ok(());
                }
                let character = self.character(unit)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.error()),
        });
        Ok(())
    }

    /// The character that begins with `unit`. A half of a pair alone is U+FFFD.
    fn character(&mut self, unit: u16) -> Result<char, JsonError> {
        if !(0xd800..0xdc00).contains(&unit) {
            return Ok(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        if self.take(b'\\') && self.take(b'u') {
            let second = self.unit()?;
            if let Some(Ok(character)) = char::decode_utf16([unit, second]).next() {
                return Ok(character);
            }
        }
        self.at = before;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn unit(&mut self) -> Result<u16, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).ok_or_else(|| self.error())?;
        let mut unit = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or_else(|| self.error())?;
            unit = unit << 4 | u16::try_from(digit).unwrap_or_default();
        }
        self.at += 4;
        Ok(unit)
    }
}

/// Arrays in arrays, both ways.
const MAX_DEPTH: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        String::from_utf8(encode(&decode(text.as_bytes(), false).unwrap(), true).unwrap()).unwrap()
    }

    #[test]
    fn json_comes_back_as_it_was() {
        for text in [
            "null",
            "true",
            "[]",
            "[1,2.5,-3]",
            r#"{"a":{"b":[null,"x"]},"c":"\u00e9\ud83d\ude00"}"#,
            r#""\"\\\n\u0001""#,
        ] {
            assert_eq!(round(text), text);
        }
        assert_eq!(round("{}"), "[]");
        assert_eq!(round(" [ 1 , 2 ] "), "[1,2]");
    }

    #[test]
    fn flags_change_text_beyond_ascii() {
        let value = Value::from("é");
        assert_eq!(encode(&value, true).unwrap(), br#""\u00e9""#);
        assert_eq!(encode(&value, false).unwrap(), "\"é\"".as_bytes());
        assert_eq!(decode(br#""\u00e9""#, true).unwrap(), Value::string([0xe9]));
        assert_eq!(decode("\"é\"".as_bytes(), true).unwrap(), value);
    }

    #[test]
    fn what_is_no_json_says_where() {
        for text in ["", "[1,]", "{\"a\" 1}", "nul", "1 2", "\"\n\"", "01", "\"\\x\"", "\"\\u12"] {
            assert!(matches!(decode(text.as_bytes(), false), Err(JsonError::Syntax(_))), "{text}");
        }
        let deep = "[".repeat(5000);
        assert_eq!(decode(deep.as_bytes(), false).unwrap_err(), JsonError::TooDeep);
        assert_eq!(encode(&Value::string([0xff]), true).unwrap_err(), JsonError::NotUtf8);
        assert_eq!(encode(&Value::Number(f64::NAN), true).unwrap_err(), JsonError::NotFinite);
    }
}
