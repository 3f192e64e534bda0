//! The parts of a URL as RFC 3986 (appendix B) splits it, for `url_parse`.

use hsl::value::{Key, Value};

/// Splits `url`; only parts that are present are in the array, and none is decoded. `None` when the
/// text is no URL reference: control characters, or a port that is no number up to 65535.
pub(super) fn parse(url: &[u8]) -> Option<Value> {
    if url.iter().any(u8::is_ascii_control) {
        return None;
    }
    let mut parts: Vec<(&str, Value)> = Vec::new();
    let (rest, fragment) = cut(url, b'#');
    let (mut rest, query) = cut(rest, b'?');
    if let Some(colon) = memchr::memchr(b':', rest)
        && let Some(scheme) = rest.get(..colon)
        && is_scheme(scheme)
    {
        // Schemes do not depend on case (RFC 3986 §3.1).
        parts.push(("schema", Value::from(scheme.to_ascii_lowercase())));
        rest = rest.get(colon + 1..)?;
    }
    if let Some(after) = rest.strip_prefix(b"//") {
        let end = memchr::memchr(b'/', after).unwrap_or(after.len());
        let (authority, path) = after.split_at_checked(end)?;
        rest = path;
        let host = match memchr::memrchr(b'@', authority) {
            None => authority,
            Some(at) => {
                let (user, password) = cut(authority.get(..at)?, b':');
                parts.push(("username", Value::from(user)));
                parts.extend(password.map(|password| ("password", Value::from(password))));
                authority.get(at + 1..)?
            }
        };
        let (name, port) = split_port(host)?;
        if !name.is_empty() {
            parts.push(("hostname", Value::from(name)));
        }
        if let Some(port) = port.filter(|port| !port.is_empty()) {
            let port: u16 = str::from_utf8(port).ok()?.parse().ok()?;
            parts.push(("port", Value::Number(f64::from(port))));
        }
    }
    if !rest.is_empty() {
        parts.push(("path", Value::from(rest)));
    }
    parts.extend(query.map(|query| ("query", Value::from(query))));
    parts.extend(fragment.map(|fragment| ("fragment", Value::from(fragment))));
    Some(Value::map(parts.into_iter().map(|(name, value)| (Key::from(name), value))))
}

/// Host and port; an IPv6 address stands in brackets, which are not part of it.
fn split_port(host: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if let Some(inner) = host.strip_prefix(b"[") {
        let end = memchr::memchr(b']', inner)?;
        let (address, after) = inner.split_at_checked(end)?;
        let after = after.strip_prefix(b"]")?;
        return match after {
            [] => Some((address, None)),
            [b':', port @ ..] => Some((address, Some(port))),
            _ => None,
        };
    }
    Some(cut(host, b':'))
}

fn cut(text: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(mark, text) {
        None => (text, None),
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
    }
}

fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(url: &str) -> Option<String> {
        let value = parse(url.as_bytes())?;
        Some(String::from_utf8_lossy(&hsl::ops::to_text(&value)).into_owned())
    }

    #[test]
    fn only_parts_that_are_present_are_given() {
        let table = [
            (
                "HTTPS://u:p@example.org:8443/a/b?x=1&y#top",
                "[\"schema\"=>\"https\",\"username\"=>\"u\",\"password\"=>\"p\",\
                 \"hostname\"=>\"example.org\",\"port\"=>8443,\"path\"=>\"/a/b\",\
                 \"query\"=>\"x=1&y\",\"fragment\"=>\"top\"]",
            ),
            ("mailto:a@b.example", "[\"schema\"=>\"mailto\",\"path\"=>\"a@b.example\"]"),
            ("http://[::1]:80", "[\"schema\"=>\"http\",\"hostname\"=>\"::1\",\"port\"=>80]"),
            ("//host/", "[\"hostname\"=>\"host\",\"path\"=>\"/\"]"),
            ("/a?", "[\"path\"=>\"/a\",\"query\"=>\"\"]"),
            (
                "http://a@b@c/",
                "[\"schema\"=>\"http\",\"username\"=>\"a@b\",\"hostname\"=>\"c\",\"path\"=>\"/\"]",
            ),
            ("", "[]"),
        ];
        for (url, expected) in table {
            assert_eq!(dump(url).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_gives_none() {
        for url in ["http://a:65536/", "http://a:b/", "http://[::1", "http://[::1]x", "a\nb"] {
            assert_eq!(dump(url), None, "{url}");
        }
    }
}
