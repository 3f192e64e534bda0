//! What an SMTP server answers: a code, perhaps an enhanced code, one or more lines.

use std::fmt;

use crate::EnhancedCode;

/// An SMTP reply (RFC 5321 §4.2), one value for what we say and for what we hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits, 200 to 599.
    pub code: u16,
    /// The enhanced code in front of each line, when there is one (RFC 2034).
    pub enhanced: Option<EnhancedCode>,
    /// The text lines, without codes and line ends. Never empty: a reply without text has one
    /// empty line.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply of one line.
    #[must_use]
    pub fn new(code: u16, enhanced: Option<EnhancedCode>, text: impl Into<String>) -> Self {
        Self { code, enhanced, lines: vec![text.into()] }
    }

    /// A reply whose text is split at line feeds into several lines.
    ///
    /// Carriage returns and other control characters (tabs apart) become spaces, so that no text
    /// from a script or a peer can start a reply of its own.
    #[must_use]
    pub fn from_text(code: u16, enhanced: Option<EnhancedCode>, text: &str) -> Self {
        Self { code, enhanced, lines: text.split('\n').map(clean_line).collect() }
    }

    /// A reply of the given lines, each cleaned as in [`Reply::from_text`].
    #[must_use]
    pub fn from_lines<'a>(
        code: u16,
        enhanced: Option<EnhancedCode>,
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut lines: Vec<String> = lines.into_iter().map(clean_line).collect();
        if lines.is_empty() {
            lines.push(String::new());
        }
        Self { code, enhanced, lines }
    }

    /// Tells whether the command succeeded (2yz).
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Tells whether the server waits for more (3yz).
    #[must_use]
    pub const fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// Tells whether the same command may succeed later (4yz).
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// Tells whether the refusal is final (5yz).
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Appends the reply as it goes over the wire, CRLF included.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let code = self.code.clamp(200, 599);
        let last = self.lines.len().saturating_sub(1);
        let digits =
            [b'0' + (code / 100) as u8, b'0' + (code / 10 % 10) as u8, b'0' + (code % 10) as u8];
        if self.lines.is_empty() {
            out.extend_from_slice(&digits);
            out.extend_from_slice(b" \r\n");
        }
        for (index, line) in self.lines.iter().enumerate() {
            out.extend_from_slice(&digits);
            out.push(if index == last { b' ' } else { b'-' });
            if let Some(enhanced) = self.enhanced {
                out.extend_from_slice(enhanced.to_string().as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    /// The reply on one line, for logs: lines joined with spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for line in &self.lines {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

fn clean_line(line: &str) -> String {
    line.strip_suffix('\r')
        .unwrap_or(line)
        .chars()
        .map(|c| if c.is_control() && c != '\t' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_single_and_multi_line_replies() {
        let code = Some(EnhancedCode::new(Class::Success, 0, 0));
        assert_eq!(wire(&Reply::new(250, code, "Ok")), "250 2.0.0 Ok\r\n");
        assert_eq!(wire(&Reply::from_text(250, None, "a\nb")), "250-a\r\n250 b\r\n");
        assert_eq!(wire(&Reply::from_lines(250, None, [])), "250 \r\n");
    }

    #[test]
    fn a_text_cannot_start_a_reply_of_its_own() {
        assert_eq!(wire(&Reply::from_lines(550, None, ["no\r\n250 yes"])), "550 no  250 yes\r\n");
        assert_eq!(
            wire(&Reply::from_text(550, None, "no\r\n250 yes")),
            "550-no\r\n550 250 yes\r\n"
        );
    }

    #[test]
    fn classifies_by_the_first_digit() {
        assert!(Reply::new(421, None, "").is_transient());
        assert!(Reply::new(554, None, "").is_permanent());
        assert!(Reply::new(250, None, "").is_positive());
        assert!(Reply::new(354, None, "").is_intermediate());
    }
}
