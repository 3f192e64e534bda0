//! What the value of a field says.

use std::borrow::Cow;

use crate::{charset, encoded_word};

/// Undoes folding (RFC 5322 §2.2.3): line ends go, white space around the value too.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr::memchr(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    for line in value.split_inclusive(|&byte| byte == b'\n') {
        let line = match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        };
        out.extend_from_slice(line);
    }
    Cow::Owned(out)
}

/// Returns the text of a value as valid UTF-8: unfolded, encoded words decoded, raw octets above
/// ASCII read as `charset` (that of the part), or guessed.
pub fn decode_value(value: &[u8], charset: Option<&[u8]>) -> Vec<u8> {
    let value = unfold(value);
    let text = charset::to_utf8(&value, charset);
    encoded_word::decode(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unfolded_and_decoded() {
        let table: [(&[u8], &str); 6] = [
            (b" a\r\n b\n\tc ", "a b\tc"),
            (b"", ""),
            (b" =?utf-8?q?=C3=A5?=\r\n =?utf-8?q?b?= c", "åb c"),
            (b" p\xe5", "på"),
            (b" p\xc3\xa5 =?iso-8859-1?q?=e5?=", "på å"),
            (b"\r\n x", "x"),
        ];
        for (value, expected) in table {
            assert_eq!(decode_value(value, None), expected.as_bytes(), "{}", value.escape_ascii());
        }
        assert_eq!(decode_value(b"\xb1", Some(b"iso-8859-2")), "ą".as_bytes());
    }
}
