//! The blocking client: connect, call. The one place of this crate that names socket types.
//!
//! ```no_run
//! use control::{client::{Client, Endpoint, Timeouts}, command::call, pb};
//!
//! let endpoint = Endpoint::Unix("/var/run/halon/smtpd.ctl".into());
//! let mut client = Client::connect(&endpoint, Timeouts::default())?;
//! let stats = client.call(call::PROCESS_STATS, &())?;
//! # Ok::<(), control::client::ClientError>(())
//! ```

use std::{
    fmt,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use prost::Message;

use crate::{
    command::{Call, Command},
    frame::{self, FrameError, Response, ResponseDecoder, Status, Version},
};

/// Where a control socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A TCP socket: host name or address, and port.
    Tcp(String, u16),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// How long a client waits.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a TCP connection, per address. A Unix socket connects at once or not at all.
    pub connect: Duration,
    /// For the next octets of an answer, and for the server to take octets; `None` for ever.
    pub io: Option<Duration>,
}

impl Default for Timeouts {
    /// Ten seconds to connect, five minutes for the next octets: a reload compiles all scripts.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), io: Some(Duration::from_secs(300)) }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no such socket.
    #[error("there is no control socket at {0}")]
    Missing(Endpoint),
    /// The socket is not for this user.
    #[error("no permission to use the control socket {0}")]
    Permission(Endpoint),
    /// The socket is there, but nobody listens.
    #[error("nothing answers at the control socket {0}")]
    Refused(Endpoint),
    /// The host name has no address.
    #[error("cannot look up {0}")]
    Lookup(Endpoint, #[source] io::Error),
    /// The connection failed, or broke.
    #[error("the connection to {0} failed")]
    Io(Endpoint, #[source] io::Error),
    /// No answer in time.
    #[error("{0} did not answer in time")]
    TimedOut(Endpoint),
    /// The server closed the connection without an answer.
    #[error("{0} closed the connection without an answer")]
    Closed(Endpoint),
    /// What came back is no answer of the protocol.
    #[error("{0} is not a control socket, or speaks another protocol")]
    Garbage(Endpoint, #[source] FrameError),
    /// The answer is a frame, but not the message it should hold.
    #[error("{endpoint} answered \"{command}\" with an unreadable message")]
    Message {
        /// The socket.
        endpoint: Endpoint,
        /// The name of the command.
        command: &'static str,
        /// What is wrong with the octets.
        #[source]
        source: prost::DecodeError,
    },
    /// The server does not serve clients of our version; its text.
    #[error("{0} does not serve version {ours} clients: {1}", ours = Version::OURS)]
    ServerVersion(Endpoint, String),
    /// The server refused the request; its text.
    #[error("{0}")]
    Failed(String),
}

/// A connection to a control socket.
pub struct Client {
    endpoint: Endpoint,
    stream: Box<dyn Stream>,
    greeted: bool,
    decoder: ResponseDecoder,
    /// Octets that came after the last answer.
    pending: Vec<u8>,
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects. Nothing is sent before the first call.
    ///
    /// # Errors
    ///
    /// The first five and [`ClientError::TimedOut`].
    pub fn connect(endpoint: &Endpoint, timeouts: Timeouts) -> Result<Self, ClientError> {
        let failed = |error| connect_error(endpoint, error);
        let stream: Box<dyn Stream> = match endpoint {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(failed)?;
                stream.set_read_timeout(timeouts.io).map_err(failed)?;
                stream.set_write_timeout(timeouts.io).map_err(failed)?;
                Box::new(stream)
            }
            Endpoint::Tcp(host, port) => {
                let stream = connect_tcp(endpoint, host, *port, timeouts.connect)?;
                stream.set_read_timeout(timeouts.io).map_err(failed)?;
                stream.set_write_timeout(timeouts.io).map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                Box::new(stream)
            }
        };
        Ok(Self {
            endpoint: endpoint.clone(),
            stream,
            greeted: false,
            decoder: ResponseDecoder::new(),
            pending: Vec::new(),
        })
    }

    /// The socket this client is connected to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Carries out one command. Log lines of a debugging session are passed over.
    ///
    /// # Errors
    ///
    /// [`ClientError::Failed`] when the server says so: the connection may be used on. After any
    /// other error it may not.
    pub fn call<Q, R>(&mut self, call: Call<Q, R>, request: &Q) -> Result<R, ClientError>
    where
        Q: Message,
        R: Message + Default,
    {
        let body = self.call_raw(call.command(), &request.encode_to_vec())?;
        R::decode(body.as_slice()).map_err(|source| ClientError::Message {
            endpoint: self.endpoint.clone(),
            command: call.name,
            source,
        })
    }

    /// Carries out one command, with messages as octets.
    ///
    /// # Errors
    ///
    /// As [`Client::call`], without [`ClientError::Message`].
    pub fn call_raw(&mut self, command: &Command, body: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.send(command, body)?;
        loop {
            let response = self.receive()?;
            match response.status {
                Status::Success => return Ok(response.body),
                Status::Log => {}
                Status::Error => return Err(self.failed(&response.body)),
            }
        }
    }

    /// Sends one command without waiting, for debugging sessions; [`Client::receive`] what comes.
    ///
    /// # Errors
    ///
    /// [`ClientError::Io`] and [`ClientError::TimedOut`].
    pub fn send(&mut self, command: &Command, body: &[u8]) -> Result<(), ClientError> {
        let mut out = Vec::with_capacity(2 + 1 + 8 + body.len());
        if !self.greeted {
            frame::encode_version(Version::OURS, &mut out);
            self.greeted = true;
        }
        frame::encode_request(command, Version::OURS, body, &mut out);
        match self.stream.write_all(&out) {
            // The server may have refused and closed before it read everything; its answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| self.io_error(error)),
        }
    }

    /// Waits for the next answer or log line.
    ///
    /// # Errors
    ///
    /// All but the connecting ones and [`ClientError::Failed`].
    pub fn receive(&mut self) -> Result<Response, ClientError> {
        // Large answers are read in few calls; the octets go on to the body at once.
        let mut chunk = vec![0; READ_SIZE];
        let pending = std::mem::take(&mut self.pending);
        let mut input = pending.as_slice();
        loop {
            let garbage = |error| ClientError::Garbage(self.endpoint.clone(), error);
            if let Some(response) = self.decoder.decode(&mut input).map_err(garbage)? {
                self.pending = input.to_vec();
                return Ok(response);
            }
            let count = match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ClientError::Closed(self.endpoint.clone())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(self.io_error(error)),
            };
            input = chunk.get(..count).unwrap_or_default();
        }
    }

    fn failed(&self, text: &[u8]) -> ClientError {
        let text = String::from_utf8_lossy(text).trim().to_owned();
        if text.starts_with(frame::VERSION_REFUSED) {
            return ClientError::ServerVersion(self.endpoint.clone(), text);
        }
        ClientError::Failed(if text.is_empty() { "the request failed".to_owned() } else { text })
    }

    fn io_error(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::TimedOut(self.endpoint.clone())
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                ClientError::Closed(self.endpoint.clone())
            }
            _ => ClientError::Io(self.endpoint.clone(), error),
        }
    }
}

const READ_SIZE: usize = 64 << 10;

fn connect_tcp(
    endpoint: &Endpoint,
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<TcpStream, ClientError> {
    let lookup = |error| ClientError::Lookup(endpoint.clone(), error);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in (host, port).to_socket_addrs().map_err(lookup)? {
        match TcpStream::connect_timeout(&addr, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    if last.kind() == io::ErrorKind::NotFound {
        return Err(lookup(last));
    }
    Err(connect_error(endpoint, last))
}

fn connect_error(endpoint: &Endpoint, error: io::Error) -> ClientError {
    let endpoint = endpoint.clone();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ClientError::Missing(endpoint),
        io::ErrorKind::PermissionDenied => ClientError::Permission(endpoint),
        io::ErrorKind::ConnectionRefused => ClientError::Refused(endpoint),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ClientError::TimedOut(endpoint),
        _ => ClientError::Io(endpoint, error),
    }
}
