//! Encoded words (RFC 2047): text of any charset inside header fields.

use crate::charset;
use crate::transfer_encoding::{base64_decode, base64_encode, hex_upper, hex_value};

/// How the text of an encoded word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordEncoding {
    /// `Q`: ASCII stays legible.
    Q,
    /// `B`: base64.
    B,
}

impl WordEncoding {
    /// Returns the encoding that makes `text` shorter.
    pub fn shorter(text: &[u8]) -> Self {
        let q_octets: usize = text.iter().map(|&byte| q_len(byte)).sum();
        if text.len().div_ceil(3) * 4 < q_octets { Self::B } else { Self::Q }
    }
}

/// Writes `text` (UTF-8) so that a header field may carry it.
///
/// Text that is printable ASCII and cannot be taken for an encoded word stays as it is. Words are
/// at most 75 octets (RFC 2047 §2) with a space between, and no character is split. The shorter of
/// the two encodings is taken.
pub fn encode(text: &[u8]) -> Vec<u8> {
    if is_plain(text) {
        return text.to_vec();
    }
    encode_words(text, WordEncoding::shorter(text), MAX_WORD)
}

/// Says whether `text` can stand in a header field as it is and is read as it is.
pub fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic())
        && memchr::memmem::find(text, b"=?").is_none()
}

/// Writes all of `text` (UTF-8) as encoded words, a space between two of them.
///
/// The first word takes at most `room` octets, so that the line with the name of the field is no
/// longer than the others (RFC 2047 §2); but it holds a character at least.
pub fn encode_words(text: &[u8], encoding: WordEncoding, room: usize) -> Vec<u8> {
    let as_base64 = encoding == WordEncoding::B;
    let mut out = Vec::with_capacity(text.len() * 2 + 32);
    let mut rest = text;
    let mut room = room.min(MAX_WORD).saturating_sub(WORD_FRAME);
    while !rest.is_empty() {
        let len = word_len(rest, as_base64, room);
        let (word, tail) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        (rest, room) = (tail, MAX_WORD - WORD_FRAME);
        if !out.is_empty() {
            out.push(b' ');
        }
        if as_base64 {
            out.extend_from_slice(b"=?UTF-8?B?");
            out.extend(base64_encode(word));
        } else {
            out.extend_from_slice(b"=?UTF-8?Q?");
            for &byte in word {
                match q_len(byte) {
                    1 if byte == b' ' => out.push(b'_'),
                    1 => out.push(byte),
                    _ => out.extend_from_slice(&[b'=', hex_upper(byte >> 4), hex_upper(byte)]),
                }
            }
        }
        out.extend_from_slice(b"?=");
    }
    out
}

/// Replaces every encoded word by its text in UTF-8; white space between two of them goes.
///
/// Words with an unknown charset or encoding stay as they are.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    // Octets of neighbouring words of one charset are put together before they are converted:
    // some writers split a character between two words. Not where a charset has states: there each
    // word ends in the first one (RFC 2047 §3), and nothing between two changes of state is an error.
    let mut pending: Option<(&[u8], Vec<u8>)> = None;
    let mut rest = text;
    while !rest.is_empty() {
        let start = memchr::memmem::find(rest, b"=?").unwrap_or(rest.len());
        let (between, candidate) = rest.split_at_checked(start).unwrap_or((rest, &[]));
        let word = parse_word(candidate);
        if !(word.is_some() && pending.is_some() && is_white(between)) {
            flush(&mut pending, &mut out);
            out.extend_from_slice(between);
        }
        match word {
            Some(word) => {
                match &mut pending {
                    Some((charset, octets))
                        if charset::is_same(charset, word.charset) && !has_states(charset) =>
                    {
                        octets.extend_from_slice(&word.octets);
                    }
                    _ => {
                        flush(&mut pending, &mut out);
                        pending = Some((word.charset, word.octets));
                    }
                }
                rest = word.rest;
            }
            None => {
                flush(&mut pending, &mut out);
                let literal = candidate.len().min(2);
                let (literal, tail) = candidate.split_at_checked(literal).unwrap_or_default();
                out.extend_from_slice(literal);
                rest = tail;
            }
        }
    }
    flush(&mut pending, &mut out);
    out
}

struct Word<'a> {
    charset: &'a [u8],
    octets: Vec<u8>,
    rest: &'a [u8],
}

/// Whether a charset has escape sequences (ISO 2022).
fn has_states(charset: &[u8]) -> bool {
    charset.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"iso-2022"))
}

fn parse_word(text: &[u8]) -> Option<Word<'_>> {
    let inner = text.strip_prefix(b"=?")?;
    let (charset, inner) = until(inner, b'?')?;
    let (encoding, inner) = until(inner, b'?')?;
    // The data ends at the first question mark: looking further would make hostile texts quadratic.
    let (data, rest) = until(inner, b'?')?;
    let rest = rest.strip_prefix(b"=")?;
    if data.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return None;
    }
    // RFC 2231 §5: a language may follow the charset.
    let label = charset.split(|&byte| byte == b'*').next()?;
    let octets = match encoding {
        b"B" | b"b" => base64_decode(data),
        b"Q" | b"q" => q_decode(data),
        _ => return None,
    };
    charset::decode(label, b"")?;
    Some(Word { charset: label, octets, rest })
}

fn flush(pending: &mut Option<(&[u8], Vec<u8>)>, out: &mut Vec<u8>) {
    if let Some((charset, octets)) = pending.take()
        && let Some(text) = charset::decode(charset, &octets)
    {
        out.extend_from_slice(text.as_bytes());
    }
}

fn q_decode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'_' => out.push(b' '),
            b'=' => match tail {
                [high, low, after @ ..] => match (hex_value(*high), hex_value(*low)) {
                    (Some(high), Some(low)) => {
                        out.push(high << 4 | low);
                        rest = after;
                    }
                    _ => out.push(b'='),
                },
                _ => out.push(b'='),
            },
            other => out.push(*other),
        }
    }
    out
}

/// Octets of `byte` in the Q encoding; the set is that of a phrase (RFC 2047 §5 (3)).
fn q_len(byte: u8) -> usize {
    if byte.is_ascii_alphanumeric() || b" !*+-/".contains(&byte) { 1 } else { 3 }
}

/// How many octets of `text` the next word takes: whole characters, at most `room` encoded octets.
fn word_len(text: &[u8], as_base64: bool, room: usize) -> usize {
    let mut taken = 0;
    let mut encoded = 0;
    while taken < text.len() {
        let len = character_len(text.get(taken..).unwrap_or_default());
        let cost = if as_base64 {
            len
        } else {
            text.get(taken..taken + len).unwrap_or_default().iter().map(|&b| q_len(b)).sum()
        };
        let limit = if as_base64 { room / 4 * 3 } else { room };
        if encoded + cost > limit && taken > 0 {
            break;
        }
        encoded += cost;
        taken += len;
    }
    taken
}

fn character_len(text: &[u8]) -> usize {
    let continuation = text.iter().skip(1).take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
    if text.first().is_some_and(|byte| *byte >= 0xc0) { 1 + continuation } else { 1 }
}

fn until(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn is_white(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Octets of a word (RFC 2047 §2).
pub(crate) const MAX_WORD: usize = 75;

/// What of it is `=?UTF-8?Q?` and `?=`.
const WORD_FRAME: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_examples_of_rfc_2047_and_what_mail_really_carries() {
        let table: [(&str, &str); 9] = [
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= \r\n =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?iso-8859-1*sv?Q?r=E4ksm=F6rg=E5s?=", "räksmörgås"),
            ("x =?utf-8?b?w6U=?= y", "x å y"),
            ("=?utf-8?Q?=C3?= =?utf-8?Q?=A5?=", "å"),
            ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= =?ISO-2022-JP?B?GyRCOGwbKEI=?=", "日本語"),
            ("=?nowhere?Q?a?= =? =?utf-8?X?a?=", "=?nowhere?Q?a?= =? =?utf-8?X?a?="),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn words_are_short_and_hold_whole_characters() {
        for text in ["å".repeat(100), format!("{}å", "abc ".repeat(60))] {
            let encoded = encode(text.as_bytes());
            for word in encoded.split(|&byte| byte == b' ') {
                assert!(word.len() <= 75);
                assert!(String::from_utf8(decode(word)).is_ok_and(|t| !t.contains('\u{fffd}')));
            }
        }
        assert_eq!(encode(b"plain text"), b"plain text");
        assert_eq!(encode("På".as_bytes()), b"=?UTF-8?B?UMOl?=");
        assert_eq!(encode("a long subject på".as_bytes()), b"=?UTF-8?Q?a_long_subject_p=C3=A5?=");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in "[ -~åäö€]{0,80}") {
            prop_assert_eq!(decode(&encode(text.as_bytes())), text.into_bytes());
        }

        #[test]
        fn any_octets_are_decoded(text: Vec<u8>) {
            decode(&text);
        }
    }
}
