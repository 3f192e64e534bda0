//! AUTH mechanics (RFC 4954): base64, and the mechanisms that the client side can speak.
//!
//! On the server side the engine leads LOGIN and PLAIN; what it needs is here, too. Judging a
//! password is never done in this crate.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

/// One login dialogue of the client side.
pub trait Mechanism: std::fmt::Debug + Send + Sync {
    /// The name in the AUTH command, upper case.
    fn name(&self) -> &'static str;

    /// The initial response, for mechanisms where the client speaks first.
    fn initial(&mut self) -> Option<Vec<u8>>;

    /// The response to a challenge (both without base64); `None` ends the dialogue, because the
    /// server asks for more than the mechanism has.
    fn respond(&mut self, challenge: &[u8]) -> Option<Vec<u8>>;
}

/// PLAIN (RFC 4616).
pub struct Plain {
    message: Option<Vec<u8>>,
}

impl Plain {
    /// A dialogue for this login.
    #[must_use]
    pub fn new(username: &str, password: &str) -> Self {
        Self { message: Some(format!("\0{username}\0{password}").into_bytes()) }
    }
}

impl Mechanism for Plain {
    fn name(&self) -> &'static str {
        "PLAIN"
    }

    fn initial(&mut self) -> Option<Vec<u8>> {
        self.message.take()
    }

    fn respond(&mut self, _challenge: &[u8]) -> Option<Vec<u8>> {
        self.message.take()
    }
}

/// LOGIN (no standard; user name, then password).
pub struct Login {
    /// In reverse order of use.
    answers: Vec<Vec<u8>>,
}

impl Login {
    /// A dialogue for this login.
    #[must_use]
    pub fn new(username: &str, password: &str) -> Self {
        Self { answers: vec![password.as_bytes().to_vec(), username.as_bytes().to_vec()] }
    }
}

impl Mechanism for Login {
    fn name(&self) -> &'static str {
        "LOGIN"
    }

    fn initial(&mut self) -> Option<Vec<u8>> {
        // Some servers do not take the user name here.
        None
    }

    fn respond(&mut self, _challenge: &[u8]) -> Option<Vec<u8>> {
        self.answers.pop()
    }
}

/// CRAM-MD5 (RFC 2195).
pub struct CramMd5 {
    login: Option<(String, String)>,
}

impl CramMd5 {
    /// A dialogue for this login.
    #[must_use]
    pub fn new(username: &str, password: &str) -> Self {
        Self { login: Some((username.to_owned(), password.to_owned())) }
    }
}

impl Mechanism for CramMd5 {
    fn name(&self) -> &'static str {
        "CRAM-MD5"
    }

    fn initial(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn respond(&mut self, challenge: &[u8]) -> Option<Vec<u8>> {
        let (username, password) = self.login.take()?;
        let mut mac = Hmac::<Md5>::new_from_slice(password.as_bytes()).ok()?;
        mac.update(challenge);
        let mut response = username.into_bytes();
        response.push(b' ');
        for octet in mac.finalize().into_bytes() {
            response.extend([HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        }
        Some(response)
    }
}

macro_rules! secret_debug {
    ($($mechanism:ident)+) => {
        $(impl std::fmt::Debug for $mechanism {
            /// Secrets stay out of logs.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($mechanism))
            }
        })+
    };
}
secret_debug!(Plain Login CramMd5);

/// The parts of a PLAIN message: authorization identity, user name, password (RFC 4616 §2).
#[must_use]
pub fn split_plain(message: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut parts = message.split(|octet| *octet == 0);
    let parts = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    match parts {
        (authorization, username, password, None) if !username.is_empty() => {
            Some((authorization, username, password))
        }
        _ => None,
    }
}

/// Encodes as base64 with padding (RFC 4648 §4).
#[must_use]
pub fn encode_base64(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let octet = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = octet(0) << 16 | octet(1) << 8 | octet(2);
        for place in 0..4 {
            // A chunk of n octets has n + 1 digits.
            let digit = BASE64[(group >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Decodes base64 with padding; `None` for anything else (RFC 4954 §4 wants strictness).
#[must_use]
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let body = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut data = Vec::with_capacity(text.len() / 4 * 3);
    for group in body.chunks(4) {
        let mut bits = 0u32;
        for digit in group {
            bits = bits << 6 | u32::from(base64_value(*digit)?);
        }
        let [_, high, mid, low] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        match group.len() {
            4 => data.extend([high, mid, low]),
            3 => data.extend([high, mid]),
            2 => data.push(high),
            _ => return None,
        }
    }
    Some(data)
}

const fn base64_value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_test_vectors_of_rfc_4648() {
        for (data, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode_base64(data.as_bytes()), text);
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), Some(data.as_bytes()));
        }
        for bad in ["Z", "Zg", "Zg=", "=", "====", "Z===", "Zm9v\n", "Zm 9", "Zg==Zg=="] {
            assert_eq!(decode_base64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn cram_md5_follows_the_example_of_rfc_2195() {
        let mut dialogue = CramMd5::new("tim", "tanstaaftanstaaf");
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        let response = dialogue.respond(challenge).unwrap();
        assert_eq!(response, b"tim b913a602c7eda7a495b4e6e7334d3890");
        assert_eq!(dialogue.respond(challenge), None);
    }

    #[test]
    fn plain_has_exactly_three_parts() {
        let parts = (&b"az"[..], &b"user"[..], &b"pass"[..]);
        assert_eq!(split_plain(b"az\0user\0pass"), Some(parts));
        assert_eq!(split_plain(b"\0u\0"), Some((&b""[..], &b"u"[..], &b""[..])));
        for bad in [&b""[..], b"user", b"\0user", b"\0\0pass", b"a\0b\0c\0d"] {
            assert_eq!(split_plain(bad), None);
        }
        assert_eq!(Plain::new("u", "p").initial().as_deref(), Some(&b"\0u\0p"[..]));
    }

    proptest::proptest! {
        #[test]
        fn base64_decode_undoes_encode(data: Vec<u8>) {
            proptest::prop_assert_eq!(decode_base64(encode_base64(&data).as_bytes()), Some(data));
        }

        #[test]
        fn base64_decode_never_panics(data: Vec<u8>) {
            let _ = decode_base64(&data);
        }
    }
}
