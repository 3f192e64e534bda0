//! xtext (RFC 3461 §4): how DSN parameters carry any octet through SMTP.

use crate::encoding::base::{hex_upper, hex_value};

/// Writes every octet that is no `xchar` as `+XX`.
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_graphic() && !matches!(byte, b'+' | b'=') {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'+', hex_upper(byte >> 4), hex_upper(byte)]);
        }
    }
    out
}

/// Undoes [`encode`]; a `+` without two hex digits stays as it is.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'+'
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_xchars_stay() {
        assert_eq!(encode(b"a+b=c d\xff"), b"a+2Bb+3Dc+20d+FF");
        assert_eq!(decode(b"a+2bb+zz+"), b"a+b+zz+");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&text)), text);
        }
    }
}
