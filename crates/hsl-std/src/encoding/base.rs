//! Base64, base64url and base32 (RFC 4648 §4, §5, §6) and percent encoding (RFC 3986 §2.1).
//!
//! Encoders write padding where the standard alphabet asks for it (base64, base32) and none for
//! base64url. Decoders are forgiving, as mail needs them to be (RFC 2045 §6.8): octets outside the
//! alphabet are skipped, padding is optional and ends the data, left-over bits are dropped.

/// Encodes as base64 with padding (RFC 4648 §4).
pub(crate) fn base64_encode(data: &[u8]) -> Vec<u8> {
    encode64(data, BASE64, true)
}

/// Encodes as base64url without padding (RFC 4648 §5).
pub(crate) fn base64url_encode(data: &[u8]) -> Vec<u8> {
    encode64(data, BASE64URL, false)
}

/// Decodes base64; the standard alphabet only.
pub(crate) fn base64_decode(text: &[u8]) -> Vec<u8> {
    decode(text, &DECODE_BASE64, 6)
}

/// Decodes base64url; the URL alphabet only.
pub(crate) fn base64url_decode(text: &[u8]) -> Vec<u8> {
    decode(text, &DECODE_BASE64URL, 6)
}

/// Encodes as base32 with padding (RFC 4648 §6).
pub(crate) fn base32_encode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len().div_ceil(5) * 8);
    for chunk in data.chunks(5) {
        let mut word = 0u64;
        for at in 0..5 {
            word = word << 8 | u64::from(chunk.get(at).copied().unwrap_or(0));
        }
        let used = (chunk.len() * 8).div_ceil(5);
        for at in 0..8 {
            let index = (word >> (35 - 5 * at)) & 31;
            // `index` is masked to the 32 letters of the alphabet.
            out.push(if at < used { BASE32[index as usize] } else { b'=' });
        }
    }
    out
}

/// Decodes base32, either case.
pub(crate) fn base32_decode(text: &[u8]) -> Vec<u8> {
    decode(text, &DECODE_BASE32, 5)
}

/// Percent-encodes every octet that is not `unreserved` (RFC 3986 §2.3).
pub(crate) fn url_encode(data: &[u8]) -> Vec<u8> {
    escape(data, b'%', |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// Undoes percent encoding; a `%` without two hex digits stays as it is, and so does `+`.
pub(crate) fn url_decode(text: &[u8]) -> Vec<u8> {
    unescape(text, b'%')
}

/// Writes `mark` and two hex digits for every octet that is not `plain`.
pub(crate) fn escape(data: &[u8], mark: u8, plain: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 4);
    for &byte in data {
        if plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[mark, hex_upper(byte >> 4), hex_upper(byte)]);
        }
    }
    out
}

/// Undoes [`escape`]; a `mark` without two hex digits stays as it is.
pub(crate) fn unescape(text: &[u8], mark: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == mark
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

/// The hex digits of `data`, lower case.
pub(crate) fn hex_encode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() * 2);
    for byte in data {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
    out
}

/// The value of one hex digit, either case.
pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The upper-case hex digit of the low four bits.
fn hex_upper(bits: u8) -> u8 {
    HEX[usize::from(bits & 15)].to_ascii_uppercase()
}

fn encode64(data: &[u8], alphabet: &[u8; 64], padding: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len().div_ceil(3) * 4);
    let letter = |bits: u32| alphabet[(bits & 63) as usize];
    let mut chunks = data.chunks_exact(3);
    for chunk in &mut chunks {
        if let [a, b, c] = *chunk {
            let word = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
            out.extend_from_slice(&[
                letter(word >> 18),
                letter(word >> 12),
                letter(word >> 6),
                letter(word),
            ]);
        }
    }
    match *chunks.remainder() {
        [a] => {
            let word = u32::from(a) << 16;
            out.extend_from_slice(&[letter(word >> 18), letter(word >> 12)]);
            out.extend_from_slice(if padding { b"==" } else { b"" });
        }
        [a, b] => {
            let word = u32::from(a) << 16 | u32::from(b) << 8;
            out.extend_from_slice(&[letter(word >> 18), letter(word >> 12), letter(word >> 6)]);
            out.extend_from_slice(if padding { b"=" } else { b"" });
        }
        _ => {}
    }
    out
}

fn decode(text: &[u8], table: &[u8; 256], bits_per_letter: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * bits_per_letter as usize / 8 + 1);
    let (mut word, mut bits) = (0u32, 0u32);
    for &byte in text {
        let value = table[usize::from(byte)];
        if value == SKIP {
            if byte == b'=' {
                break;
            }
            continue;
        }
        word = word << bits_per_letter | u32::from(value);
        bits += bits_per_letter;
        if bits >= 8 {
            bits -= 8;
            // The low eight bits of the shifted word; the mask below keeps what is left.
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    out
}

const fn decode_table<const N: usize>(alphabet: &[u8; N], either_case: bool) -> [u8; 256] {
    let mut table = [SKIP; 256];
    let mut at = 0;
    while at < N {
        table[alphabet[at] as usize] = at as u8;
        if either_case {
            table[alphabet[at].to_ascii_lowercase() as usize] = at as u8;
        }
        at += 1;
    }
    table
}

const SKIP: u8 = 0xff;
const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
static DECODE_BASE64: [u8; 256] = decode_table(BASE64, false);
static DECODE_BASE64URL: [u8; 256] = decode_table(BASE64URL, false);
static DECODE_BASE32: [u8; 256] = decode_table(BASE32, true);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encodes_the_vectors_of_rfc_4648() {
        let table: [(&[u8], &str, &str); 7] = [
            (b"", "", ""),
            (b"f", "Zg==", "MY======"),
            (b"fo", "Zm8=", "MZXQ===="),
            (b"foo", "Zm9v", "MZXW6==="),
            (b"foob", "Zm9vYg==", "MZXW6YQ="),
            (b"fooba", "Zm9vYmE=", "MZXW6YTB"),
            (b"foobar", "Zm9vYmFy", "MZXW6YTBOI======"),
        ];
        for (plain, base64, base32) in table {
            assert_eq!(base64_encode(plain), base64.as_bytes());
            assert_eq!(base32_encode(plain), base32.as_bytes());
        }
    }

    #[test]
    fn skips_line_ends_and_needs_no_padding() {
        assert_eq!(base64_decode(b"Zm9v\r\nYg"), b"foob");
        assert_eq!(base64_decode(b"Zg==Zg=="), b"f");
        assert_eq!(base32_decode(b"mzxw 6yq"), b"foob");
        assert_eq!(base64url_encode(&[0xfb, 0xff]), b"-_8");
    }

    #[test]
    fn percent_encoding_leaves_only_unreserved_octets() {
        assert_eq!(url_encode(b"a b/~\xff"), b"a%20b%2F~%FF");
        assert_eq!(url_decode(b"a+b%2f%zz%4"), b"a+b/%zz%4");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(data: Vec<u8>) {
            prop_assert_eq!(base64_decode(&base64_encode(&data)), &data[..]);
            prop_assert_eq!(base64url_decode(&base64url_encode(&data)), &data[..]);
            prop_assert_eq!(base32_decode(&base32_encode(&data)), &data[..]);
            prop_assert_eq!(url_decode(&url_encode(&data)), data);
        }
    }
}
