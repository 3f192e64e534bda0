//! What became of a recipient, or of the whole connection.

use mta_types::{Class, EnhancedCode, Reply};

use super::{ReplyError, State};

/// The result of an attempt: where the conversation stood, and what ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The command whose answer decided; `EOD` for the reply after the content.
    pub state: State,
    /// The peer's reply, or our reason.
    pub answer: Answer,
}

/// A reply of the peer or a reason of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the peer said.
    Reply(Reply),
    /// Why there was no reply to go by.
    Failure(Failure),
}

impl Outcome {
    /// The peer took over the message for this recipient.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.state == State::Eod
            && matches!(&self.answer, Answer::Reply(reply) if reply.is_positive())
    }

    /// The same attempt may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.answer {
            Answer::Reply(reply) => reply.is_transient(),
            Answer::Failure(failure) => failure.is_transient(),
        }
    }

    /// The refusal is final.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match &self.answer {
            Answer::Reply(reply) => reply.is_permanent(),
            Answer::Failure(failure) => !failure.is_transient(),
        }
    }

    /// The enhanced code of the reply or of the failure; for a reply without one, `x.0.0` of its
    /// class.
    #[must_use]
    pub fn enhanced(&self) -> EnhancedCode {
        match &self.answer {
            Answer::Reply(reply) => reply.enhanced.unwrap_or_else(|| {
                let class = match reply.code / 100 {
                    2 | 3 => Class::Success,
                    4 => Class::Transient,
                    _ => Class::Permanent,
                };
                EnhancedCode::new(class, 0, 0)
            }),
            Answer::Failure(failure) => failure.enhanced(),
        }
    }
}

/// Why a session could not get a reply, or would not go on with the one it got.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The peer closed, or the socket failed.
    #[error("connection lost")]
    ConnectionLost,
    /// The driver's timer for the state ran out.
    #[error("timed out")]
    TimedOut,
    /// The peer's reply has no valid form or no end.
    #[error("malformed reply")]
    BadReply(#[from] ReplyError),
    /// The peer spoke although nothing was asked, or answered with a code that fits no command.
    #[error("unexpected reply {code}")]
    UnexpectedReply {
        /// The code of that reply.
        code: u16,
    },
    /// TLS is required and the peer does not offer STARTTLS.
    #[error("TLS is required but not offered")]
    TlsNotOffered,
    /// Clear text came behind the reply to STARTTLS; it could be an injection.
    #[error("clear text after the reply to STARTTLS")]
    TextAfterStartTls,
    /// The TLS handshake failed, as the driver tells.
    #[error("TLS handshake failed")]
    TlsFailed,
    /// A login is configured and the peer offers no mechanism we know.
    #[error("authentication is required but not offered")]
    AuthNotOffered,
    /// The peer's challenge is not valid base64.
    #[error("malformed authentication challenge")]
    BadChallenge,
    /// The message needs SMTPUTF8 and the peer does not offer it (RFC 6531 §3.2).
    #[error("the message needs SMTPUTF8, which is not offered")]
    Smtputf8NotOffered,
    /// The message asks for REQUIRETLS and the peer does not offer it or TLS is off (RFC 8689).
    #[error("the message needs REQUIRETLS, which is not offered")]
    RequireTlsNotOffered,
    /// The message is larger than the peer's announced limit (RFC 1870 §6.1).
    #[error("the message is larger than the peer allows")]
    TooLarge,
    /// The driver gave up before the attempt was over, for instance because the body could not be
    /// read.
    #[error("the attempt was abandoned")]
    Abandoned,
}

impl Failure {
    /// Tells whether the same message may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::ConnectionLost
            | Self::TimedOut
            | Self::BadReply(_)
            | Self::UnexpectedReply { .. }
            | Self::TlsNotOffered
            | Self::TextAfterStartTls
            | Self::TlsFailed
            | Self::AuthNotOffered
            | Self::BadChallenge
            | Self::Abandoned => true,
            Self::Smtputf8NotOffered | Self::RequireTlsNotOffered | Self::TooLarge => false,
        }
    }

    /// The enhanced code that says the same (RFC 3463, RFC 6531, RFC 8689).
    #[must_use]
    pub const fn enhanced(&self) -> EnhancedCode {
        match self {
            Self::ConnectionLost | Self::TimedOut => EnhancedCode::new(Class::Transient, 4, 2),
            Self::BadReply(_) | Self::UnexpectedReply { .. } => {
                EnhancedCode::new(Class::Transient, 5, 0)
            }
            Self::TlsNotOffered | Self::TextAfterStartTls | Self::TlsFailed => {
                EnhancedCode::new(Class::Transient, 7, 5)
            }
            Self::AuthNotOffered | Self::BadChallenge => EnhancedCode::new(Class::Transient, 7, 0),
            Self::Abandoned => EnhancedCode::new(Class::Transient, 3, 0),
            Self::Smtputf8NotOffered => EnhancedCode::new(Class::Permanent, 6, 7),
            Self::RequireTlsNotOffered => EnhancedCode::new(Class::Permanent, 7, 30),
            Self::TooLarge => EnhancedCode::new(Class::Permanent, 3, 4),
        }
    }
}
