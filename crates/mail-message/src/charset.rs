//! Octets of some charset as UTF-8.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use mail_parser::decoders::charsets::map::charset_decoder;

/// Decodes `octets` of the charset that `label` names; octets that mean nothing become U+FFFD.
/// `None` when nobody knows the charset.
///
/// Labels mean what the web's encoding standard says (`iso-8859-1` is windows-1252, as mail has
/// it); a few it lacks, such as `utf-7` and `cp850`, are known as well.
pub fn decode<'a>(label: &[u8], octets: &'a [u8]) -> Option<Cow<'a, str>> {
    if let Some(encoding) = Encoding::for_label(label) {
        return Some(encoding.decode_without_bom_handling(octets).0);
    }
    let label = label.trim_ascii();
    if label.is_empty() || label.len() > MAX_LABEL {
        return None;
    }
    charset_decoder(label).map(|decoder| Cow::Owned(decoder(octets)))
}

/// Returns whether two labels name one charset.
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    match (Encoding::for_label(a), Encoding::for_label(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a.eq_ignore_ascii_case(b),
        _ => false,
    }
}

/// Makes UTF-8 of raw octets of a header: they are UTF-8 already, or in the charset `label` of the
/// part, or else the charset is guessed.
pub fn to_utf8<'a>(octets: &'a [u8], label: Option<&[u8]>) -> Cow<'a, str> {
    if let Ok(text) = str::from_utf8(octets) {
        return Cow::Borrowed(text);
    }
    if let Some(label) = label
        && let Some(encoding) = Encoding::for_label(label)
        && encoding != UTF_8
    {
        return encoding.decode_without_bom_handling(octets).0;
    }
    guess(octets).decode_without_bom_handling(octets).0
}

/// Guesses the charset of octets that are no UTF-8: text with one broken character is UTF-8 still,
/// everything else is taken for the charset of Western Europe.
fn guess(octets: &[u8]) -> &'static Encoding {
    let (mut good, mut bad) = (0usize, 0usize);
    for chunk in octets.utf8_chunks() {
        good += chunk.valid().bytes().filter(|byte| !byte.is_ascii()).count();
        bad += chunk.invalid().len();
    }
    if good > bad { UTF_8 } else { WINDOWS_1252 }
}

/// Longer than any name of a charset.
const MAX_LABEL: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_mean_what_mail_means_by_them() {
        assert_eq!(decode(b"ISO-8859-1", b"\xe5\x80").as_deref(), Some("å€"));
        assert_eq!(decode(b"shift_jis", b"\x83\x65").as_deref(), Some("テ"));
        assert_eq!(decode(b"utf-7", b"+AOU-x").as_deref(), Some("åx"));
        assert_eq!(decode(b"cp850", b"\x86").as_deref(), Some("å"));
        assert_eq!(decode(b"x-klingon", b"a"), None);
        assert!(is_same(b"latin1", b"ISO-8859-1") && !is_same(b"utf-8", b"utf-7"));
    }

    #[test]
    fn raw_octets_are_taken_for_what_they_most_likely_are() {
        assert_eq!(to_utf8("på".as_bytes(), Some(b"iso-8859-2")), "på");
        assert_eq!(to_utf8(b"p\xb1", Some(b"iso-8859-2")), "pą");
        assert_eq!(to_utf8(b"p\xe5", Some(b"utf-8")), "på");
        assert_eq!(to_utf8(b"p\xe5", None), "på");
        assert_eq!(to_utf8(b"\xc3\xa5\xc3\xa4\xc3\xb6 \xc3", None), "åäö \u{fffd}");
    }

    proptest! {
        #[test]
        fn any_octets_become_text(
            octets: Vec<u8>,
            label in "utf-7|850|cp850|iso-2022-cn|iso-2022-kr|hz-gb-2312|utf-16|tis-620|[a-z0-9-]{0,50}"
        ) {
            let _ = decode(label.as_bytes(), &octets);
            let _ = to_utf8(&octets, Some(label.as_bytes()));
        }
    }
}
