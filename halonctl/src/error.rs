//! Errors of commands: a class, which decides the exit code, the causes, and a hint where one helps.

use std::{fmt, io};

use control::{client::ClientError, frame::FrameError, json::JsonError};

/// Whose fault it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Whoever read our output has gone: not an error.
    BrokenPipe,
    /// The request failed.
    Request,
    /// The command line is wrong.
    Usage,
    /// A configuration file is wrong.
    Configuration,
    /// Our bug.
    Internal,
}

impl Class {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Request => 1,
            Self::Usage => 2,
            Self::Configuration => 3,
            // EX_SOFTWARE of sysexits.h.
            Self::Internal => 70,
        }
    }
}

/// What a command fails with.
#[derive(Debug)]
pub(crate) struct Error {
    class: Class,
    cause: anyhow::Error,
    hint: Option<String>,
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(class: Class, cause: impl Into<anyhow::Error>) -> Self {
        Self { class, cause: cause.into(), hint: None }
    }

    pub(crate) fn request(text: impl fmt::Display) -> Self {
        Self::new(Class::Request, anyhow::anyhow!("{text}"))
    }

    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(Class::Usage, anyhow::anyhow!("{text}"))
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// Prints the error with its causes, and the hint, on stderr.
    pub(crate) fn report(&self) {
        if self.class == Class::BrokenPipe {
            return;
        }
        // Texts may come from a server that is none: no control characters reach the terminal.
        let text = format!("{:#}", self.cause);
        // Findings in scripts and configuration files say so themselves.
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        eprintln!("error: {}", crate::output::printable_lines(text));
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        let hint = match &error {
            ClientError::Missing(_) => Some(
                "is the daemon running? Another place is named with --socket, --address or \
                 halonctl.yaml",
            ),
            ClientError::Permission(_) => Some(
                "owner and group of the socket may use it; run halonctl as one of them or as root",
            ),
            ClientError::Refused(_) => Some("the daemon is not running, or is shutting down"),
            ClientError::TimedOut(_) => Some("the daemon may be busy; wait longer with --timeout"),
            ClientError::Garbage(_, FrameError::UnknownStatus(_)) => {
                Some("another program listens there; check --socket, --address and halonctl.yaml")
            }
            ClientError::ServerVersion(..) => {
                Some("use the halonctl that came with the daemon's release")
            }
            _ => None,
        };
        let error = Self::new(Class::Request, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Self {
        Self::new(Class::Request, error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        let class = match error.kind() {
            io::ErrorKind::BrokenPipe => Class::BrokenPipe,
            _ => Class::Request,
        };
        Self::new(class, error)
    }
}
