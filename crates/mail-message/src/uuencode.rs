//! Bodies written by `uuencode` (IEEE Std 1003.1, "uuencode"), which mail carried before MIME and some
//! still does, under transfer encodings that no RFC names.
//!
//! They are read only; nothing is written so.

use crate::transfer_encoding::base64_decode;

/// Returns whether the value of a `Content-Transfer-Encoding` field names this encoding.
pub fn is_named(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| b" \t\r\n;(".contains(byte)).unwrap_or(value.len());
    let name = value.get(..end).unwrap_or_default();
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Reads the first file in `text`: what stands between `begin` and `end`, both lines of their own. What
/// stands around it does not count, nor do lines between that are none of the encoding's, and a missing
/// end is the text's. `None` when nothing begins.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut rest = text;
    let is_base64 = loop {
        let (line, after) = next_line(rest)?;
        rest = after;
        if let Some(is_base64) = begins(line) {
            break is_base64;
        }
    };
    if is_base64 {
        return Some(decode_base64(rest));
    }
    let mut out = Vec::with_capacity(rest.len() / 4 * 3);
    while let Some((line, after)) = next_line(rest) {
        rest = after;
        match line.first().and_then(|&letter| bits(letter)) {
            // The line of no octets, whose only letter may have been a space that got lost.
            Some(0) => break,
            None if line.is_empty() => break,
            Some(count) => decode_line(line.get(1..).unwrap_or_default(), count, &mut out),
            None if line == b"end" => break,
            None => {}
        }
    }
    Some(out)
}

/// Appends the `count` octets of a line, unless it holds something else.
fn decode_line(letters: &[u8], count: u8, out: &mut Vec<u8>) {
    let count = usize::from(count);
    // What comes behind is a check sum of some writers, or was added on the way.
    let letters = letters.get(..count.div_ceil(3) * 4).unwrap_or(letters);
    if letters.iter().any(|&letter| bits(letter).is_none()) {
        return;
    }
    let end = out.len() + count;
    for group in letters.chunks(4) {
        // Spaces at the end of a line get lost on the way.
        let letter = |at: usize| group.get(at).and_then(|&letter| bits(letter)).unwrap_or(0);
        let word = (0..4).fold(0, |word: u32, at| word << 6 | u32::from(letter(at)));
        let [_, octets @ ..] = word.to_be_bytes();
        out.extend(octets);
    }
    out.resize(end, 0);
}

fn decode_base64(text: &[u8]) -> Vec<u8> {
    let mut rest = text;
    let mut len = text.len();
    while let Some((line, after)) = next_line(rest) {
        if line == b"====" {
            len = text.len() - rest.len();
            break;
        }
        rest = after;
    }
    base64_decode(text.get(..len).unwrap_or_default())
}

/// Returns whether a line begins a file, and if it does, whether base64 follows.
fn begins(line: &[u8]) -> Option<bool> {
    let (mode, is_base64) = match line.strip_prefix(b"begin ") {
        Some(mode) => (mode, false),
        None => (line.strip_prefix(b"begin-base64 ")?, true),
    };
    let digits = mode.iter().take_while(|digit| (b'0'..=b'7').contains(*digit)).count();
    let is_mode = (3..=4).contains(&digits) && matches!(mode.get(digits), None | Some(b' '));
    is_mode.then_some(is_base64)
}

/// Takes a line without its end.
fn next_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
    let line = text.get(..end)?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Some((line, text.get(end + 1..).unwrap_or_default()))
}

/// Returns the six bits of a letter. Both the space and the grave accent stand for none.
fn bits(letter: u8) -> Option<u8> {
    (b' '..=b'`').contains(&letter).then(|| (letter - b' ') & 63)
}

/// Names in use: RFC 2045 §6.3 leaves those with `x-` to private agreement.
const NAMES: [&str; 4] = ["x-uuencode", "uuencode", "x-uue", "uue"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(data: &[u8], zero: u8) -> Vec<u8> {
        let letter = |bits: u32| if bits & 63 == 0 { zero } else { b' ' + (bits & 63) as u8 };
        let mut out = b"begin 644 x\n".to_vec();
        for line in data.chunks(45) {
            out.push(letter(line.len() as u32));
            for group in line.chunks(3) {
                let octet = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
                let word = octet(0) << 16 | octet(1) << 8 | octet(2);
                out.extend([18, 12, 6, 0].map(|shift| letter(word >> shift)));
            }
            out.push(b'\n');
        }
        out.extend([zero, b'\n']);
        out.extend_from_slice(b"end\n");
        out
    }

    #[test]
    fn names_are_those_of_old_mail() {
        for name in ["x-uuencode", " X-UUEncode\r\n", "uuencode;", "x-uue (x)", "UUE"] {
            assert!(is_named(name.as_bytes()), "{name}");
        }
        for name in ["", "x-uuencoded", "base64", "7bit"] {
            assert!(!is_named(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_uuencode_writes_is_read() {
        // By GNU sharutils 4.15.2 (with and without -m), and by Python 3.11, whose zero is a space.
        let table: [(&str, &[u8]); 5] = [
            ("begin 644 x\n#0V%T\n`\nend\n", b"Cat"),
            ("begin 644 x\r\n%9\\/VX=X`\r\n`\r\nend\r\n", b"g\xc3\xf6\xe1\xde"),
            ("begin-base64 600 a b\nQ2F0\n====\nQ2F0\n", b"Cat"),
            ("begin 666 <data>\n$        \n \nend\n", b"\0\0\0\0"),
            ("begin 644 empty\n`\nend\n", b""),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn broken_texts_give_what_can_be_read() {
        let table: [(&str, Option<&[u8]>); 11] = [
            ("", None),
            ("begin with this text\n#0V%T\n", None),
            ("#0V%T\n`\nend\n", None),
            ("text\n\nbegin 644 x\n#0V%T\n`\nend\nmore\n", Some(b"Cat")),
            ("begin 644 x\n#0V%T", Some(b"Cat")),
            ("begin 644 x\n#0V%T\nend\n", Some(b"Cat")),
            ("begin 644 x\n#0V%T\n\nfooter\n", Some(b"Cat")),
            ("begin 644 x\n#0V%TX\n#0V%~\n~\n#0V%T\n`\nend\n", Some(b"CatCat")),
            // Spaces lost at the end of the line.
            ("begin 644 x\n$\n`\nend\n", Some(b"\0\0\0\0")),
            ("begin 644 x\n#0V\n`\nend\n", Some(b"C`\0")),
            ("begin 644 x", Some(b"")),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn octets_survive(data: Vec<u8>, with_space: bool) {
            let text = encode(&data, if with_space { b' ' } else { b'`' });
            prop_assert_eq!(decode(&text), Some(data.clone()));
            let text: Vec<u8> = text.split(|byte| *byte == b'\n')
                .flat_map(|line| [line.trim_ascii_end(), b"\r\n"].concat()).collect();
            prop_assert_eq!(decode(&text), Some(data));
        }

        #[test]
        fn any_octets_are_decoded(text: Vec<u8>, lines in "[ -a\\r\\n]{0,90}") {
            let _ = decode(&[b"begin 644 x\n", &text[..]].concat());
            let decoded = decode(&[b"begin 644 x\n", lines.as_bytes()].concat()).unwrap();
            prop_assert!(decoded.len() <= lines.len() * 63);
        }
    }
}
