//! xtext (RFC 3461 §4): how DSN parameters carry any octet through SMTP.

use crate::encoding::base::{escape, unescape};

/// Writes every octet that is no `xchar` as `+XX`.
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    escape(text, b'+', |byte| byte.is_ascii_graphic() && !matches!(byte, b'+' | b'='))
}

/// Undoes [`encode`]; a `+` without two hex digits stays as it is.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    unescape(text, b'+')
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
