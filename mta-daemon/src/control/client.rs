//! A control connection, as commands see it that answer in several frames or outlive one request.

use std::io;
use std::time::Duration;

use control::Message;
use control::frame::{self, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::control::handlers::stage::Attachment;

/// What a connection holds between its requests.
#[derive(Default)]
pub(crate) struct ControlClient {
    /// The stage that it debugs.
    pub(crate) attachment: Option<Attachment>,
}

/// A socket of either kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The socket, with what came on it and was not decoded yet.
pub(crate) struct Wire<'a> {
    stream: &'a mut dyn Stream,
    received: Vec<u8>,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(stream: &'a mut dyn Stream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// What came.
    pub(crate) fn received(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// Waits for more; 0 at the end of the connection.
    ///
    /// # Cancel safety
    ///
    /// Nothing that came is lost.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        self.received.reserve(READ_SIZE);
        self.stream.read_buf(&mut self.received).await
    }

    /// Waits until the client sends something or goes, in the middle of an answer.
    ///
    /// # Cancel safety
    ///
    /// As [`Self::fill`].
    pub(crate) async fn interrupted(&mut self) {
        if self.received.is_empty() {
            // The end of the connection, and an error, are seen again by who reads next.
            let _ = self.fill().await;
        }
    }

    /// Sends a frame in front of the answer.
    ///
    /// # Errors
    ///
    /// The client went away, or does not read.
    pub(crate) async fn log(&mut self, message: &impl Message) -> io::Result<()> {
        let mut out = Vec::new();
        frame::encode_response(Status::Log, &message.encode_to_vec(), &mut out);
        self.send(&out).await
    }

    /// Sends octets.
    ///
    /// # Errors
    ///
    /// As [`Self::log`].
    pub(crate) async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        timeout(FRAME_PATIENCE, self.stream.write_all(octets)).await?
    }
}

/// Octets read at once.
const READ_SIZE: usize = 16 << 10;

/// How long a client may take in the middle of a request or an answer.
pub(crate) const FRAME_PATIENCE: Duration = Duration::from_secs(30);
