//! Replies from the peer: lines put together, with bounds against hostile servers.

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
