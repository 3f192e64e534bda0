//! Chunks of the CHUNKING extension (RFC 3030).

/// The arguments of a BDAT command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Octets that follow the command line.
    pub size: u64,
    /// The message ends with this chunk.
    pub last: bool,
}

impl Chunk {
    /// Reads `size [LAST]`.
    #[must_use]
    pub fn parse(arguments: &[u8]) -> Option<Self> {
        let mut words = arguments.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let digits = words.next()?;
        // RFC 3030 §2: 1 to 20 digits; more than 18 would be no size of this world.
        if digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let size = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        let last = match words.next() {
            None => false,
            Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
            Some(_) => return None,
        };
        words.next().is_none().then_some(Self { size, last })
    }

    /// Appends the command line, CRLF included.
    pub fn write_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"BDAT ");
        out.extend_from_slice(self.size.to_string().as_bytes());
        out.extend_from_slice(if self.last { b" LAST\r\n" } else { b"\r\n" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_and_the_last_mark() {
        assert_eq!(Chunk::parse(b"0 last"), Some(Chunk { size: 0, last: true }));
        assert_eq!(Chunk::parse(b"86"), Some(Chunk { size: 86, last: false }));
        for bad in [&b""[..], b"LAST", b"-1", b"+1", b"1x", b"1 LAST x", b"1 FIRST", &[b'9'; 19]] {
            assert_eq!(Chunk::parse(bad), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn parse_undoes_print(size in 0u64..1_000_000_000_000, last: bool) {
            let chunk = Chunk { size, last };
            let mut line = Vec::new();
            chunk.write_to(&mut line);
            let arguments = line.strip_prefix(b"BDAT ").unwrap().trim_ascii();
            proptest::prop_assert_eq!(Chunk::parse(arguments), Some(chunk));
        }
    }
}
