//! Frames: octets to requests and answers, and back. Sans-I/O; start at [`RequestDecoder`].
//!
//! ```text
//! client: major minor            two octets, binary, once per connection
//!         letter [length body]   length: u64 little endian; only for commands with a body
//! server: status length body     status '+' success, 'E' error text, '=' log line
//! ```
//!
//! Decoders take octets in pieces of any size and stop at the end of a frame, so what follows stays
//! with the caller. They keep at most one body, grown as octets arrive: a length alone costs nothing.
//! After an error the stream has no known frame border any more, and the connection must be closed.

use std::{fmt, mem};

use crate::command::{self, Command, Program};

/// Octets that a server accepts as one request body: a message of the usual size limit as a queue
/// file, with room for its metadata.
pub const MAX_REQUEST: u64 = 64 << 20;

/// Octets that a client accepts as one answer: the list of a million messages.
pub const MAX_RESPONSE: u64 = 1 << 30;

/// How the text of an `E` answer to an unknown version begins; the client looks for it.
pub const VERSION_REFUSED: &str = "unsupported protocol version";

/// A version of the protocol: the release that introduced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first octet of a connection.
    pub major: u8,
    /// The second octet of a connection.
    pub minor: u8,
}

impl Version {
    /// What our clients say.
    pub const OURS: Self = Self { major: 5, minor: 6 };

    /// Makes a version.
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }

    /// Says whether our servers serve such a client: the messages are compatible within a major
    /// version, in both directions.
    pub const fn is_served(self) -> bool {
        self.major == Self::OURS.major
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why a stream of frames cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The client speaks a version that we do not serve, or is no client at all.
    #[error("{VERSION_REFUSED} {0} (this program speaks {ours})", ours = Version::OURS)]
    Version(Version),
    /// This program has no such command, so the length of its request is unknown.
    #[error("unknown command {}", Letter(*.0))]
    UnknownCommand(u8),
    /// A body is larger than the reader accepts.
    #[error("a message of {length} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Octets that were announced.
        length: u64,
        /// Octets that are accepted.
        limit: u64,
    },
    /// An answer begins with an octet that is no status: the peer is no control socket.
    #[error("{} is not a status of the control protocol", Letter(*.0))]
    UnknownStatus(u8),
}

/// Shows an octet as a letter where it is one.
struct Letter(u8);

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_ascii_graphic() {
            write!(f, "\"{}\"", char::from(self.0))
        } else {
            write!(f, "0x{:02x}", self.0)
        }
    }
}

/// One request, as a server reads it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The row of the command table.
    pub command: &'static Command,
    /// What the client speaks.
    pub version: Version,
    /// The encoded message; empty for commands without a body.
    pub body: Vec<u8>,
}

/// Reads the requests of one connection.
#[derive(Debug)]
pub struct RequestDecoder {
    program: Program,
    limit: u64,
    version: Option<Version>,
    state: RequestState,
}

#[derive(Debug)]
enum RequestState {
    Major,
    Minor(u8),
    Letter,
    Body(&'static Command, BodyReader),
}

impl RequestDecoder {
    /// Makes a decoder for a connection to `program` that accepts bodies of [`MAX_REQUEST`] octets.
    pub fn new(program: Program) -> Self {
        Self { program, limit: MAX_REQUEST, version: None, state: RequestState::Major }
    }

    /// Sets the largest body, in octets.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Says what the client speaks, once it has said so.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Says whether the connection may end here: no request has begun.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, RequestState::Major | RequestState::Letter)
    }

    /// Takes octets from the front of `input` until a request is complete.
    ///
    /// `None` means that all of `input` was taken and more is needed.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; answer with [`encode_error`] and close the connection.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Request>, FrameError> {
        loop {
            match &mut self.state {
                RequestState::Major => {
                    let Some(major) = take(input) else { return Ok(None) };
                    self.state = RequestState::Minor(major);
                }
                RequestState::Minor(major) => {
                    let Some(minor) = take(input) else { return Ok(None) };
                    let version = Version::new(*major, minor);
                    if !version.is_served() {
                        return Err(FrameError::Version(version));
                    }
                    self.version = Some(version);
                    self.state = RequestState::Letter;
                }
                RequestState::Letter => {
                    let Some(letter) = take(input) else { return Ok(None) };
                    let command = command::find(self.program, letter)
                        .ok_or(FrameError::UnknownCommand(letter))?;
                    // Only reached after Minor, which set the version.
                    let version = self.version.unwrap_or(Version::OURS);
                    if !command.has_body(version) {
                        return Ok(Some(Request { command, version, body: Vec::new() }));
                    }
                    self.state = RequestState::Body(command, BodyReader::new(self.limit));
                }
                RequestState::Body(command, reader) => {
                    let Some(body) = reader.read(input)? else { return Ok(None) };
                    let command = *command;
                    let version = self.version.unwrap_or(Version::OURS);
                    self.state = RequestState::Letter;
                    return Ok(Some(Request { command, version, body }));
                }
            }
        }
    }
}

/// The first octet of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The command was carried out; the body is the response message.
    Success,
    /// The command failed; the body is a text.
    Error,
    /// A log line of a debugging session; the answer is yet to come.
    Log,
}

impl Status {
    /// The octet on the wire.
    pub const fn octet(self) -> u8 {
        match self {
            Self::Success => b'+',
            Self::Error => b'E',
            Self::Log => b'=',
        }
    }

    fn from_octet(octet: u8) -> Option<Self> {
        [Self::Success, Self::Error, Self::Log].into_iter().find(|s| s.octet() == octet)
    }
}

/// One answer, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What kind of answer.
    pub status: Status,
    /// An encoded message, or a text for [`Status::Error`].
    pub body: Vec<u8>,
}

/// Reads the answers of one connection.
#[derive(Debug)]
pub struct ResponseDecoder {
    limit: u64,
    state: Option<(Status, BodyReader)>,
}

impl Default for ResponseDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseDecoder {
    /// Makes a decoder that accepts bodies of [`MAX_RESPONSE`] octets.
    pub fn new() -> Self {
        Self { limit: MAX_RESPONSE, state: None }
    }

    /// Sets the largest body, in octets.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Says whether the stream may end here: no answer has begun.
    pub fn is_idle(&self) -> bool {
        self.state.is_none()
    }

    /// Takes octets from the front of `input` until an answer is complete.
    ///
    /// `None` means that all of `input` was taken and more is needed.
    ///
    /// # Errors
    ///
    /// [`FrameError::UnknownStatus`] and [`FrameError::TooLarge`]; close the connection.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Response>, FrameError> {
        if self.state.is_none() {
            let Some(octet) = take(input) else { return Ok(None) };
            let status = Status::from_octet(octet).ok_or(FrameError::UnknownStatus(octet))?;
            self.state = Some((status, BodyReader::new(self.limit)));
        }
        let Some((status, reader)) = &mut self.state else { return Ok(None) };
        let Some(body) = reader.read(input)? else { return Ok(None) };
        let status = *status;
        self.state = None;
        Ok(Some(Response { status, body }))
    }
}

/// Reads a length and that many octets.
#[derive(Debug)]
struct BodyReader {
    limit: u64,
    /// The octets of the length that are here.
    head: [u8; 8],
    head_len: usize,
    body: Vec<u8>,
}

impl BodyReader {
    fn new(limit: u64) -> Self {
        Self { limit, head: [0; 8], head_len: 0, body: Vec::new() }
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        while self.head_len < self.head.len() {
            let Some(octet) = take(input) else { return Ok(None) };
            // In range by the condition of the loop.
            self.head[self.head_len] = octet;
            self.head_len += 1;
        }
        let length = u64::from_le_bytes(self.head);
        let too_large = FrameError::TooLarge { length, limit: self.limit };
        if length > self.limit {
            return Err(too_large);
        }
        let length = usize::try_from(length).map_err(|_| too_large)?;
        let (now, later) = input.split_at((length - self.body.len()).min(input.len()));
        if self.body.is_empty() && now.len() == length {
            self.body = now.to_vec();
        } else {
            self.body.extend_from_slice(now);
        }
        *input = later;
        Ok((self.body.len() == length).then(|| mem::take(&mut self.body)))
    }
}

fn take(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

/// Appends the two octets that open a connection.
pub fn encode_version(version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(&[version.major, version.minor]);
}

/// Appends one request; `body` is left out for commands without one in `version`.
pub fn encode_request(command: &Command, version: Version, body: &[u8], out: &mut Vec<u8>) {
    out.push(command.letter);
    if command.has_body(version) {
        encode_body(body, out);
    }
}

/// Appends one answer.
pub fn encode_response(status: Status, body: &[u8], out: &mut Vec<u8>) {
    out.reserve(1 + 8 + body.len());
    out.push(status.octet());
    encode_body(body, out);
}

/// Appends a `+` answer with an encoded message, without a copy of its own.
pub fn encode_success(message: &impl prost::Message, out: &mut Vec<u8>) {
    let len = message.encoded_len();
    out.reserve(1 + 8 + len);
    out.push(Status::Success.octet());
    out.extend_from_slice(&(len as u64).to_le_bytes());
    message.encode_raw(out);
}

/// Appends an `E` answer. The text is ASCII by the protocol; other characters become `?`.
pub fn encode_error(text: &str, out: &mut Vec<u8>) {
    let ascii: Vec<u8> =
        text.chars().map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?')).collect();
    encode_response(Status::Error, &ascii, out);
}

fn encode_body(body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(body);
}
