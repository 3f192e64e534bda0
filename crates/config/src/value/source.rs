//! Content given in place (`data`) or in a file (`path`).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where content comes from. Files are read by the caller: this room does no I/O.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// The content itself.
    Data(Arc<[u8]>),
    /// A file, as written (relative paths are the caller's to resolve).
    Path(PathBuf),
}

impl fmt::Debug for Source {
    /// Never shows the content, which may be a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => write!(f, "Data({} octets)", data.len()),
            Self::Path(path) => write!(f, "Path({})", path.display()),
        }
    }
}

/// Decodes base64 (RFC 4648 §4) as YAML carries it: white space is skipped, padding is required only
/// if any is there, and stray bits in the last group are refused.
///
/// Returns `None` for anything else.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held, mut padding, mut digits) = (0_u32, 0_u32, 0_usize, 0_usize);
    for octet in text.bytes().filter(|octet| !octet.is_ascii_whitespace()) {
        let six = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        digits += 1;
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    let whole = digits % 4 != 1 && (padding == 0 || (digits + padding) % 4 == 0 && padding < 3);
    (whole && bits & ((1 << held) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_vectors_of_rfc_4648() {
        for (text, data) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9v\n YmFy\n", "foobar"),
            ("Zm8", "fo"),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Some(data.as_bytes()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_base64() {
        for text in ["Z", "Zg=", "Zg===", "Zh==", "Z=g=", "Zm9v====", "Zm-_"] {
            assert_eq!(decode_base64(text), None, "{text}");
        }
    }

    #[test]
    fn does_not_show_data_in_debug_output() {
        let source = Source::Data(Arc::from(&b"secret"[..]));
        assert_eq!(format!("{source:?}"), "Data(6 octets)");
    }
}
