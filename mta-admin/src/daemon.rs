//! Calls over a control socket, with deadlines; a connection for each call.
//!
//! The frames are [`control::frame`]'s. Connections to a local socket cost microseconds, and a call
//! that is given up (its page was closed) must not leave a half-read answer to the next one, so
//! there is no pool. A semaphore bounds the connections, since a daemon serves a bounded number.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use control::{
    Message,
    command::{Call, Command},
    frame::{self, FrameError, ResponseDecoder, Status, VERSION_REFUSED, Version},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// Octets of an answer that a page or a door client can have.
const MAX_RESPONSE: u64 = 128 << 20;
/// Connections at a time to one socket.
const MAX_CONNECTIONS: usize = 16;
/// How long an answer may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A control socket.
#[derive(Clone, Debug)]
pub struct Daemon {
    socket: PathBuf,
    deadline: Duration,
    connections: Arc<Semaphore>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// There is no such socket.
    #[error("there is no control socket at {}", .0.display())]
    Missing(PathBuf),
    /// The socket is not for this user.
    #[error("no permission to use the control socket {}", .0.display())]
    Permission(PathBuf),
    /// The socket is there, but nobody listens.
    #[error("nothing answers at the control socket {}", .0.display())]
    Refused(PathBuf),
    /// The connection failed, or broke.
    #[error("the connection to {} failed", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// No answer in time.
    #[error("{} did not answer in time", .0.display())]
    TimedOut(PathBuf),
    /// The daemon closed the connection without an answer.
    #[error("{} closed the connection without an answer", .0.display())]
    Closed(PathBuf),
    /// What came back is no answer of the protocol.
    #[error("{} is not a control socket, or speaks another protocol", .0.display())]
    Garbage(PathBuf, #[source] FrameError),
    /// The answer does not fit.
    #[error("the answer of {} is larger than {limit} bytes", .0.display(), limit = MAX_RESPONSE)]
    TooLarge(PathBuf),
    /// The answer is a frame, but not the message it should hold.
    #[error("{} answered \"{command}\" with an unreadable message", .socket.display())]
    Message {
        /// The socket.
        socket: PathBuf,
        /// The name of the command.
        command: &'static str,
    },
    /// The daemon does not serve clients of our version; its text.
    #[error("the daemon does not serve clients of this version: {0}")]
    Version(String),
    /// The daemon refused the request; its text.
    #[error("{0}")]
    Failed(String),
}

impl DaemonError {
    /// What somebody may do about it; one sentence or two.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => {
                "Is the mail daemon running (systemctl status halon)? If its control socket is \
                 elsewhere, set hosts[].socket in web.yaml."
            }
            Self::Permission(_) => {
                "The web administration must run as the owner of the socket or in its group: see \
                 environment.privdrop in web.yaml and the control socket's group in smtpd.yaml."
            }
            Self::Refused(_) | Self::Closed(_) | Self::Io(..) => {
                "The mail daemon is stopped or restarting. Try again in a moment, or look at \
                 systemctl status halon."
            }
            Self::TimedOut(_) => {
                "The mail daemon is busy. Try again, with narrower conditions if this was a search."
            }
            Self::TooLarge(_) => "Ask for fewer rows at a time.",
            Self::Garbage(..) | Self::Message { .. } | Self::Version(_) => {
                "The web administration and the mail daemon should be of the same release."
            }
            Self::Failed(_) => "The mail daemon refused the request; its log may say more.",
        }
    }
}

impl Daemon {
    /// Names the socket; nothing is opened before a call.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, deadline: DEADLINE, connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }

    /// Sets how long an answer may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Carries out a command.
    ///
    /// # Errors
    ///
    /// [`DaemonError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the call closes its connection; whether the daemon carried it out stays unknown.
    pub async fn call<Q, R>(&self, call: Call<Q, R>, request: &Q) -> Result<R, DaemonError>
    where
        Q: Message,
        R: Message + Default,
    {
        let body = request.encode_to_vec();
        let answer = self.call_encoded(call.command(), Version::OURS, &body).await?;
        R::decode(answer.as_slice()).map_err(|_| DaemonError::Message {
            socket: self.socket.clone(),
            command: call.command().name,
        })
    }

    /// Carries out a command whose request is encoded, and returns the encoded response.
    ///
    /// # Errors
    ///
    /// [`DaemonError`], apart from [`DaemonError::Message`].
    ///
    /// # Cancel safety
    ///
    /// As with [`Self::call`].
    pub async fn call_encoded(
        &self,
        command: &Command,
        version: Version,
        body: &[u8],
    ) -> Result<Vec<u8>, DaemonError> {
        let deadline = Instant::now() + self.deadline;
        match timeout_at(deadline, self.exchange(command, version, body)).await {
            Ok(result) => result,
            Err(_) => Err(DaemonError::TimedOut(self.socket.clone())),
        }
    }

    async fn exchange(
        &self,
        command: &Command,
        version: Version,
        body: &[u8],
    ) -> Result<Vec<u8>, DaemonError> {
        let broken = |error| DaemonError::Io(self.socket.clone(), error);
        // The semaphore is never closed; if it were, a call without it does no harm.
        let _permit = self.connections.acquire().await.ok();
        let mut stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.refusal(error))?;
        let mut request = Vec::with_capacity(body.len() + 16);
        frame::encode_version(version, &mut request);
        frame::encode_request(command, version, body, &mut request);
        // A daemon that refuses says why before it closes, so what it said is read in any case.
        let sent = stream.write_all(&request).await;
        drop(request);
        match self.read_answer(&mut stream).await {
            Err(DaemonError::Closed(_) | DaemonError::Io(..)) if sent.is_err() => {
                sent.map_err(broken)?;
                Err(DaemonError::Closed(self.socket.clone()))
            }
            result => result,
        }
    }

    async fn read_answer(&self, stream: &mut UnixStream) -> Result<Vec<u8>, DaemonError> {
        let mut decoder = ResponseDecoder::new().with_limit(MAX_RESPONSE);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = stream
                .read(&mut buffer)
                .await
                .map_err(|error| DaemonError::Io(self.socket.clone(), error))?;
            if count == 0 {
                return Err(DaemonError::Closed(self.socket.clone()));
            }
            let mut input = buffer.get(..count).unwrap_or_default();
            loop {
                let response = decoder.decode(&mut input).map_err(|error| match error {
                    FrameError::TooLarge { .. } => DaemonError::TooLarge(self.socket.clone()),
                    error => DaemonError::Garbage(self.socket.clone(), error),
                })?;
                let Some(response) = response else { break };
                match response.status {
                    Status::Success => return Ok(response.body),
                    Status::Error => return Err(refused(&response.body)),
                    // Lines of a debugging session have no reader here.
                    Status::Log => {}
                }
            }
        }
    }

    fn refusal(&self, error: io::Error) -> DaemonError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound => DaemonError::Missing(socket),
            io::ErrorKind::PermissionDenied => DaemonError::Permission(socket),
            io::ErrorKind::ConnectionRefused => DaemonError::Refused(socket),
            _ => DaemonError::Io(socket, error),
        }
    }
}

fn refused(body: &[u8]) -> DaemonError {
    // Texts are ASCII by the protocol; another daemon may see that differently.
    let text: String = body.iter().map(|octet| char::from(*octet)).take(MAX_TEXT).collect();
    if text.starts_with(VERSION_REFUSED) {
        DaemonError::Version(text)
    } else {
        DaemonError::Failed(text)
    }
}

/// Characters of an error text that a page shows.
const MAX_TEXT: usize = 2000;
