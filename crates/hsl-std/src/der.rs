//! The few pieces of ASN.1 that libcrypto's safe interface does not give: a reader over DER, and a
//! writer (ITU-T X.690).
//!
//! The reader walks one level at a time and never recurses on its own, so a hostile text costs no
//! more than its length. Indefinite lengths are no DER and end the walk.

/// BOOLEAN.
pub(crate) const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// OCTET STRING.
pub(crate) const OCTETS: u8 = 0x04;
/// NULL.
pub(crate) const NULL: u8 = 0x05;
/// OBJECT IDENTIFIER.
pub(crate) const OID: u8 = 0x06;
/// UTCTime.
pub(crate) const UTC_TIME: u8 = 0x17;
/// GeneralizedTime.
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
/// SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;
/// SET.
pub(crate) const SET: u8 = 0x31;
/// Context-specific `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// Context-specific `[0]`, primitive.
pub(crate) const IMPLICIT_0: u8 = 0x80;
/// Context-specific `[3]`, constructed.
pub(crate) const CONTEXT_3: u8 = 0xa3;

/// One element: tag, content, and both together as they stand.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    /// The identifier octet; tags beyond 30 do not occur in what is read here.
    pub(crate) tag: u8,
    /// What is inside.
    pub(crate) content: &'a [u8],
    /// The element with its header.
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements inside.
    pub(crate) fn items(self) -> Reader<'a> {
        Reader { rest: self.content }
    }
}

/// Walks elements that follow each other. Ends at the first that is no DER.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Walks `octets`.
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// The next element, if it has this tag; otherwise nothing is consumed.
    pub(crate) fn field(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.next().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let whole = self.rest;
        let (&[tag, first], mut rest) = whole.split_first_chunk()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x84 => {
                let (octets, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = after;
                octets.iter().fold(0, |length, &octet| length << 8 | usize::from(octet))
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.rest = after;
        let whole = whole.get(..whole.len() - after.len())?;
        Some(Element { tag, content, whole })
    }
}

/// An element around parts that follow each other.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let octets = length.to_be_bytes();
        let skip = octets.iter().take_while(|octet| **octet == 0).count();
        out.push(0x80 | (octets.len() - skip) as u8);
        out.extend(octets.iter().skip(skip));
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// The dotted text of an object identifier's content.
pub(crate) fn oid_text(content: &[u8]) -> String {
    let mut numbers: Vec<u128> = Vec::new();
    let mut number = 0_u128;
    for octet in content {
        number = number << 7 | u128::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            if numbers.is_empty() {
                // The first two numbers share one (X.690 8.19.4).
                let first = (number / 40).min(2);
                numbers.extend([first, number - first * 40]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let written = element(OCTETS, &[&content]);
            let mut reader = Reader::new(&written);
            let read = reader.next().unwrap();
            assert_eq!((read.tag, read.content, read.whole), (OCTETS, &content[..], &written[..]));
            assert!(reader.next().is_none());
        }
    }

    #[test]
    fn what_is_cut_off_or_no_der_ends_the_walk() {
        for octets in [
            &b""[..],
            b"\x30",
            b"\x30\x02\x01",
            b"\x30\x80\x00\x00",
            b"\x30\x85\x01\x01\x01\x01\x01",
            b"\x30\x82\x01",
        ] {
            assert!(Reader::new(octets).next().is_none(), "{octets:?}");
        }
        let mut reader = Reader::new(b"\x02\x01\x05");
        assert!(reader.field(OCTETS).is_none());
        assert_eq!(reader.field(INTEGER).unwrap().content, [5]);
    }

    #[test]
    fn identifiers_print_dotted() {
        assert_eq!(
            oid_text(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2]),
            "1.2.840.113549.1.7.2"
        );
        assert_eq!(oid_text(&[0x55, 0x1d, 0x11]), "2.5.29.17");
        assert_eq!(oid_text(&[0x88, 0x37]), "2.999");
        assert_eq!(oid_text(&[]), "");
        let long = [0xff; 40];
        assert_eq!(oid_text(&long), "");
    }
}
