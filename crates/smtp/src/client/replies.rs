//! Replies from the peer: lines put together, with bounds against hostile servers.

use memchr::memchr;
use mta_types::{Class, EnhancedCode, Reply};

/// Bounds on one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Octets of one line with its end; RFC 5321 §4.5.3.1.5 has 512, real servers exceed it.
    pub line: usize,
    /// Lines of one reply.
    pub lines: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { line: 2048, lines: 128 }
    }
}

/// What is wrong with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// A line does not start with three digits from 200 to 599 and a space, hyphen or its end.
    #[error("a reply line has no code")]
    NoCode,
    /// The lines of one reply have different codes.
    #[error("the lines of a reply have different codes")]
    MixedCodes,
    /// A line is over the limit.
    #[error("a reply line is too long")]
    LineTooLong,
    /// A reply has more lines than the limit.
    #[error("a reply has too many lines")]
    TooManyLines,
}

/// Puts replies together from octets.
#[derive(Clone, Debug)]
pub struct ReplyReader {
    limits: ReplyLimits,
    /// A line whose end did not come yet; at most `limits.line` octets.
    partial: Vec<u8>,
    /// Lines of the present reply, and its code when there are any.
    lines: Vec<String>,
    code: u16,
}

impl ReplyReader {
    /// A reader between two replies.
    #[must_use]
    pub const fn new(limits: ReplyLimits) -> Self {
        Self { limits, partial: Vec::new(), lines: Vec::new(), code: 0 }
    }

    /// Takes the next complete reply from `input`; returns it with the octets consumed.
    ///
    /// `None` means that all input is used up. A bare LF ends a line like CRLF.
    ///
    /// # Errors
    ///
    /// [`ReplyError`]; what follows cannot be trusted to be a reply, so the connection is over.
    pub fn take(&mut self, input: &[u8]) -> (usize, Option<Result<Reply, ReplyError>>) {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            let end = memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1);
            let piece = rest.get(..end).unwrap_or_default();
            consumed += end;
            if self.partial.len() + end > self.limits.line {
                return (consumed, Some(Err(ReplyError::LineTooLong)));
            }
            if piece.last() != Some(&b'\n') {
                self.partial.extend_from_slice(piece);
                return (consumed, None);
            }
            let last = if self.partial.is_empty() {
                self.add_line(piece)
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(piece);
                self.add_line(&whole)
            };
            match last {
                Err(error) => return (consumed, Some(Err(error))),
                Ok(true) => return (consumed, Some(Ok(self.finish()))),
                Ok(false) => {}
            }
        }
    }

    /// Tells whether the reader is in the middle of a reply.
    #[must_use]
    pub const fn is_midway(&self) -> bool {
        !self.partial.is_empty() || !self.lines.is_empty()
    }

    /// Takes one line with its end; tells whether it is the last of its reply.
    fn add_line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::NoCode)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(ReplyError::NoCode);
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        let (last, text) = match rest.split_first() {
            _ if !(200..600).contains(&code) => return Err(ReplyError::NoCode),
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(ReplyError::NoCode),
        };
        if !self.lines.is_empty() && code != self.code {
            return Err(ReplyError::MixedCodes);
        }
        if self.lines.len() >= self.limits.lines {
            return Err(ReplyError::TooManyLines);
        }
        self.code = code;
        self.lines.push(clean_text(text));
        Ok(last)
    }

    fn finish(&mut self) -> Reply {
        let mut lines = std::mem::take(&mut self.lines);
        let enhanced = lines.first().and_then(|line| enhanced_code(self.code, line));
        if let Some(enhanced) = enhanced {
            let prefix = enhanced.to_string();
            for line in &mut lines {
                // The lines that repeat the code lose it; others keep their text.
                if let Some(text) = line.strip_prefix(&prefix)
                    && (text.is_empty() || text.starts_with(' '))
                {
                    *line = text.trim_start().to_owned();
                }
            }
        }
        Reply { code: self.code, enhanced, lines }
    }
}

/// The enhanced code at the start of a line, if it goes with the reply's code (RFC 2034 §4).
fn enhanced_code(code: u16, line: &str) -> Option<EnhancedCode> {
    let word = line.split(' ').next()?;
    let enhanced: EnhancedCode = word.parse().ok()?;
    let class = u8::try_from(code / 100).ok().and_then(Class::from_digit)?;
    (enhanced.class == class && enhanced.to_string() == word).then_some(enhanced)
}

/// Text as it is kept: control characters become spaces; what is not UTF-8 is read as Latin-1.
fn clean_text(text: &[u8]) -> String {
    let clean = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
    match std::str::from_utf8(text) {
        Ok(text) => text.chars().map(clean).collect(),
        Err(_) => text.iter().map(|octet| clean(char::from(*octet))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<Result<Reply, ReplyError>> {
        let mut reader = ReplyReader::new(ReplyLimits { line: 64, lines: 4 });
        let mut found = Vec::new();
        let mut rest = input;
        while !rest.is_empty() {
            let (consumed, reply) = reader.take(rest);
            let failed = matches!(reply, Some(Err(_)));
            found.extend(reply);
            if failed {
                break;
            }
            rest = &rest[consumed..];
        }
        found
    }

    #[test]
    fn replies_are_read_with_and_without_enhanced_codes() {
        let replies = read(b"250 OK\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n354\r\n220 a\n");
        let replies: Vec<Reply> = replies.into_iter().map(Result::unwrap).collect();
        assert_eq!(replies[0], Reply::new(250, None, "OK"));
        assert_eq!(replies[1].enhanced, "5.1.1".parse().ok());
        assert_eq!(replies[1].lines, ["no", "such user"]);
        assert_eq!(replies[2], Reply::new(354, None, ""));
        assert_eq!(replies[3], Reply::new(220, None, "a"));
    }

    #[test]
    fn an_enhanced_code_of_another_class_is_text() {
        let replies = read(b"450 5.1.1 odd\r\n");
        assert_eq!(replies, [Ok(Reply::new(450, None, "5.1.1 odd"))]);
    }

    #[test]
    fn hostile_replies_are_refused() {
        for (input, error) in [
            (&b"hello\r\n"[..], ReplyError::NoCode),
            (b"25 \r\n", ReplyError::NoCode),
            (b"199 x\r\n", ReplyError::NoCode),
            (b"600 x\r\n", ReplyError::NoCode),
            (b"250x\r\n", ReplyError::NoCode),
            (b"\r\n", ReplyError::NoCode),
            (b"250-a\r\n251 b\r\n", ReplyError::MixedCodes),
            (b"250-a\r\n250-a\r\n250-a\r\n250-a\r\n250 a\r\n", ReplyError::TooManyLines),
            (&[b'2'; 100], ReplyError::LineTooLong),
        ] {
            assert_eq!(read(input), [Err(error)]);
        }
    }

    #[test]
    fn text_has_no_control_characters() {
        assert_eq!(read(b"550 a\x00b\rc\r\n"), [Ok(Reply::new(550, None, "a b c"))]);
        assert_eq!(read(b"550 \xfcber\r\n"), [Ok(Reply::new(550, None, "über"))]);
    }

    proptest::proptest! {
        #[test]
        fn the_split_does_not_matter(input in "(250|550)[ -]?[a-z0-9. ]{0,9}\r\n(250 x\r\n)?", at in 0usize..20) {
            let whole = read(input.as_bytes());
            let at = at.min(input.len());
            let mut reader = ReplyReader::new(ReplyLimits { line: 64, lines: 4 });
            let mut found = Vec::new();
            for mut rest in [&input.as_bytes()[..at], &input.as_bytes()[at..]] {
                while !rest.is_empty() && !matches!(found.last(), Some(Err(_))) {
                    let (consumed, reply) = reader.take(rest);
                    found.extend(reply);
                    rest = &rest[consumed..];
                }
            }
            proptest::prop_assert_eq!(found, whole);
        }
    }
}
