//! Tag lists of DKIM and its relatives (RFC 6376 §3.2).

use std::collections::BTreeMap;

/// Reads `tag=value; tag=value`, sorted by tag. `None` for anything else, and for a repeated tag.
///
/// White space around tags and values goes, folding inside a value too; in `b`, `bh` and `p`, whose
/// values are base64, all of it (RFC 6376 §3.5, §3.6.1).
pub(crate) fn parse(text: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut tags = BTreeMap::new();
    let mut specs = text.split(|&byte| byte == b';').peekable();
    while let Some(spec) = specs.next() {
        let spec = spec.trim_ascii();
        if spec.is_empty() && specs.peek().is_none() {
            break;
        }
        let equals = memchr::memchr(b'=', spec)?;
        let (name, value) = spec.split_at_checked(equals)?;
        let name = name.trim_ascii();
        if !is_tag_name(name) {
            return None;
        }
        let is_base64 = matches!(name, b"b" | b"bh" | b"p");
        let dropped = |byte: &u8| match byte {
            b'\r' | b'\n' => true,
            b' ' | b'\t' => is_base64,
            _ => false,
        };
        let value = value.get(1..)?.trim_ascii().iter().copied().filter(|b| !dropped(b)).collect();
        if tags.insert(name.to_vec(), value).is_some() {
            return None;
        }
    }
    Some(tags)
}

fn is_tag_name(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> Option<String> {
        let tags = parse(text.as_bytes())?;
        let show = |(name, value): (&Vec<u8>, &Vec<u8>)| {
            format!("{}={}", name.escape_ascii(), value.escape_ascii())
        };
        Some(tags.iter().map(show).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn tags_come_sorted_and_unfolded() {
        let text = "v=1; a=rsa-sha256;\r\n\th=from:\r\n to; b=QUJD\r\n REVG ;";
        assert_eq!(tags(text).as_deref(), Some("a=rsa-sha256|b=QUJDREVG|h=from: to|v=1"));
        assert_eq!(tags("k=; p=").as_deref(), Some("k=|p="));
        assert_eq!(tags("t=a=b").as_deref(), Some("t=a=b"));
        assert_eq!(tags("").as_deref(), Some(""));
    }

    #[test]
    fn refuses_what_is_no_tag_list() {
        for text in ["a", "a=1;;b=2", "a=1; a=2", "1a=2", "=x", "a b=1"] {
            assert_eq!(tags(text), None, "{text}");
        }
    }
}
