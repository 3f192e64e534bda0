//! Command lines out of a stream of octets: limits, and the policy on CR and LF (RFC 5321 §2.3.8).
//!
//! A line that lies in one input is not copied. What a line may say is the business of
//! [`crate::command`].

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Cuts input into lines; keeps the beginning of a line whose end did not come yet.
#[derive(Clone, Debug, Default)]
pub struct LineReader {
    /// The line so far; at most `limit` octets.
    partial: Vec<u8>,
    /// The line went over its limit and is being swallowed.
    overlong: bool,
}

/// What is wrong with a line. The line is consumed with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// More octets than the limit, CRLF included.
    #[error("line too long")]
    TooLong,
    /// It ends in LF without CR and the policy refuses that.
    #[error("line ends in a bare LF")]
    BareLf,
    /// A CR or NUL within it.
    #[error("line has a bare CR or a NUL")]
    Control,
}

/// A line without its end, or what is wrong with it.
pub type LineResult<'i> = Result<Cow<'i, [u8]>, LineError>;

/// Whether a line may end in LF alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareLf {
    /// No.
    Refuse,
    /// Yes.
    Accept,
}

impl LineReader {
    /// Takes the next complete line from `input`, without its line end.
    ///
    /// Returns the octets consumed, and `None` when more are needed; what was seen so far is kept.
    /// `limit` counts octets and includes CRLF: 512 by RFC 5321 §4.5.3.1.4, more while extensions
    /// that lengthen MAIL or RCPT are on offer ([`crate::extensions::Offer::line_room`]).
    ///
    /// # Errors
    ///
    /// [`LineError`]. The rest of an overlong line is swallowed first, so that the caller can
    /// answer 500 and go on.
    pub fn take<'i>(
        &mut self,
        input: &'i [u8],
        limit: usize,
        bare_lf: BareLf,
    ) -> (usize, Option<LineResult<'i>>) {
        let Some(lf) = memchr(b'\n', input) else {
            if self.overlong || self.partial.len() + input.len() > limit {
                self.overlong = true;
                self.partial = Vec::new();
            } else {
                self.partial.extend_from_slice(input);
            }
            return (input.len(), None);
        };
        let consumed = lf + 1;
        let piece = input.get(..consumed).unwrap_or_default();
        let overlong = std::mem::take(&mut self.overlong);
        if overlong || self.partial.len() + piece.len() > limit {
            self.partial = Vec::new();
            return (consumed, Some(Err(LineError::TooLong)));
        }
        let line = if self.partial.is_empty() {
            Cow::Borrowed(piece)
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(piece);
            Cow::Owned(whole)
        };
        (consumed, Some(without_end(line, bare_lf)))
    }

    /// Forgets what was seen of an unfinished line.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn without_end(line: Cow<'_, [u8]>, bare_lf: BareLf) -> LineResult<'_> {
    let len = match (line.strip_suffix(b"\r\n"), line.strip_suffix(b"\n"), bare_lf) {
        (Some(text), _, _) | (None, Some(text), BareLf::Accept) => text.len(),
        _ => return Err(LineError::BareLf),
    };
    let line = match line {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..len).unwrap_or_default()),
        Cow::Owned(mut text) => {
            text.truncate(len);
            Cow::Owned(text)
        }
    };
    if memchr2(b'\r', 0, &line).is_some() { Err(LineError::Control) } else { Ok(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(inputs: &[&[u8]], limit: usize, bare_lf: BareLf) -> Vec<Result<Vec<u8>, LineError>> {
        let mut reader = LineReader::default();
        let mut found = Vec::new();
        for input in inputs {
            let mut rest = *input;
            while !rest.is_empty() {
                let (consumed, line) = reader.take(rest, limit, bare_lf);
                found.extend(line.map(|line| line.map(Cow::into_owned)));
                rest = &rest[consumed..];
            }
        }
        found
    }

    #[test]
    fn lines_are_the_same_however_they_are_split() {
        let input = b"NOOP\r\nRSET\r\n\r\n";
        let whole = lines(&[input], 512, BareLf::Refuse);
        assert_eq!(whole, [Ok(b"NOOP".to_vec()), Ok(b"RSET".to_vec()), Ok(Vec::new())]);
        for at in 0..input.len() {
            assert_eq!(lines(&[&input[..at], &input[at..]], 512, BareLf::Refuse), whole);
        }
    }

    #[test]
    fn an_overlong_line_is_swallowed_and_the_next_one_read() {
        let expected = [Err(LineError::TooLong), Ok(b"QUIT".to_vec())];
        assert_eq!(lines(&[b"0123456789\r\nQUIT\r\n"], 8, BareLf::Refuse), expected);
        assert_eq!(lines(&[b"01234", b"56789", b"0\r\nQUIT\r\n"], 8, BareLf::Refuse), expected);
        // The limit counts CRLF.
        assert_eq!(lines(&[b"123456\r\n"], 8, BareLf::Refuse), [Ok(b"123456".to_vec())]);
        assert_eq!(lines(&[b"1234567\r\n"], 8, BareLf::Refuse), [Err(LineError::TooLong)]);
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut reader = LineReader::default();
        for _ in 0..1000 {
            assert_eq!(reader.take(&[b'x'; 1000], 512, BareLf::Refuse), (1000, None));
        }
        assert_eq!(reader.partial.capacity(), 0);
    }

    #[test]
    fn bare_line_ends_follow_the_policy() {
        assert_eq!(lines(&[b"NOOP\n"], 512, BareLf::Refuse), [Err(LineError::BareLf)]);
        assert_eq!(lines(&[b"NOOP\n"], 512, BareLf::Accept), [Ok(b"NOOP".to_vec())]);
        for bare_lf in [BareLf::Refuse, BareLf::Accept] {
            assert_eq!(lines(&[b"NO\rOP\r\n"], 512, bare_lf), [Err(LineError::Control)]);
            assert_eq!(lines(&[b"NOOP\r\r\n"], 512, bare_lf), [Err(LineError::Control)]);
            assert_eq!(lines(&[b"NO\0OP\r\n"], 512, bare_lf), [Err(LineError::Control)]);
        }
    }
}
