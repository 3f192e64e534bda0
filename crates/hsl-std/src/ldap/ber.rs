//! The little of BER that LDAP needs (RFC 4511 §5.1): definite lengths, tags of one octet.

/// Appends an element.
pub(super) fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let octets = length.to_be_bytes();
        let skip = octets.iter().take_while(|octet| **octet == 0).count();
        let used = octets.get(skip..).unwrap_or_default();
        out.push(0x80 | used.len() as u8);
        out.extend_from_slice(used);
    }
    out.extend_from_slice(content);
}

/// An element of its own.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    put(&mut out, tag, content);
    out
}

/// The content of a number that is not negative.
pub(super) fn number(value: u32) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let skip = octets.iter().take(3).take_while(|octet| **octet == 0).count();
    let mut used = octets.get(skip..).unwrap_or_default().to_vec();
    if used.first().is_some_and(|first| *first >= 0x80) {
        used.insert(0, 0);
    }
    used
}

/// Reads a number of at most four octets.
pub(super) fn read_number(content: &[u8]) -> Option<i32> {
    if content.is_empty() || content.len() > 4 {
        return None;
    }
    let negative = content.first().is_some_and(|first| *first >= 0x80);
    let start = if negative { -1i32 } else { 0 };
    Some(content.iter().fold(start, |sum, octet| sum << 8 | i32::from(*octet)))
}

/// Where the first element of `octets` has its content: start and end. `Ok(None)` when the head is
/// not complete; an error when it is none.
pub(super) fn extent(octets: &[u8]) -> Result<Option<(usize, usize)>, ()> {
    let (Some(tag), Some(first)) = (octets.first(), octets.get(1)) else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(());
    }
    if *first < 0x80 {
        return Ok(Some((2, 2 + usize::from(*first))));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(());
    }
    let Some(length) = octets.get(2..2 + count) else { return Ok(None) };
    let length = length.iter().fold(0usize, |sum, octet| sum << 8 | usize::from(*octet));
    Ok(Some((2 + count, 2 + count + length)))
}

/// Takes the first element off `rest`: its tag and content.
pub(super) fn take<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (start, end) = extent(rest).ok()??;
    let (tag, content) = (*rest.first()?, rest.get(start..end)?);
    *rest = rest.get(end..)?;
    Some((tag, content))
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_element_is_taken_as_it_was_put(tag in 0u8..0x1f, content: Vec<u8>, long in 0usize..70_000) {
            let content = [content, vec![7; long]].concat();
            let octets = [element(tag, &content), vec![1, 2]].concat();
            let mut rest = octets.as_slice();
            prop_assert_eq!(take(&mut rest), Some((tag, content.as_slice())));
            prop_assert_eq!(rest, &[1, 2][..]);
        }

        #[test]
        fn any_octets_are_an_element_or_none(octets: Vec<u8>) {
            take(&mut octets.as_slice());
        }

        #[test]
        fn numbers_come_back(value in 0u32..0x7fff_ffff) {
            prop_assert_eq!(read_number(&number(value)), i32::try_from(value).ok());
        }
    }
}
