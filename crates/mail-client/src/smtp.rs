//! Drives the pure client session over a socket: connect, handshake, transactions, timeouts.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hsl_std::services::FileContent;
use mta_types::MessageId;
use parking_lot::Mutex;
use smtp::client::{
    self, Answer, BodyType, Envelope, Event, Failure, More, Outcome, Purpose, Recipient, Session,
    State,
};
use smtp::proxy_header::{Addresses, ProxyHeader};
use spool::BodyReader;
use tls_policy::{Report, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::attempt::{ConnectionFacts, TlsFacts};
use crate::connections::{Registered, Registry};
use crate::count::Level;
use crate::plan::{Settings, Target};
use crate::tls::TlsSetup;

/// A connection to another server, between transactions or in one.
pub struct OpenConnection {
    stream: Option<Stream>,
    session: Session,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    tls: Option<Arc<TlsFacts>>,
    /// The text of the peer's greeting; empty before it came.
    greeting: Arc<str>,
    /// The name we greet with.
    helo: Arc<str>,
    report: Option<Report>,
    _level: Level,
    entry: Registered<OutboundEntry>,
}

/// What operators see of an open connection.
pub struct OutboundEntry {
    /// Its id.
    pub id: String,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// The proxy between us and the peer.
    pub proxy: Option<IpAddr>,
    /// The peer's name.
    pub host: Arc<str>,
    /// When it was opened.
    pub since: Instant,
    /// Where it stands.
    pub now: Mutex<Progress>,
}

/// Where an open connection stands.
#[derive(Clone, Copy)]
pub struct Progress {
    /// Whose message is under way; nobody's while it is idle.
    pub row: Option<MessageId>,
    /// The SMTP state, or `IDLE`.
    pub state: &'static str,
    /// Since when it stands there.
    pub since: Instant,
    /// Messages begun on it.
    pub transactions: u32,
}

/// A message's octets for one attempt.
#[derive(Clone)]
pub enum Content {
    /// In memory, in pieces.
    Memory(Vec<Bytes>),
    /// In the spool.
    Stored(Arc<BodyReader>),
    /// A message of a script.
    Script(Arc<dyn FileContent>),
}

impl Content {
    /// Octets of the message.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Self::Stored(reader) => reader.len(),
            Self::Script(content) => content.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads octets that are not in memory; 0 means the end.
    ///
    /// # Errors
    ///
    /// Those of the disk, as [`io::ErrorKind::InvalidData`].
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Memory(_) => Ok(0),
            Self::Stored(reader) => reader
                .read_at(buffer, offset)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            Self::Script(content) => content
                .read_at(offset, buffer)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// How a connection attempt or a transaction went wrong before the peer could answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The system could not connect, or not in time.
    #[error("{0}")]
    Socket(#[from] io::Error),
    /// The session did not get as far as taking a message.
    #[error("session ended")]
    Session {
        /// How it ended.
        outcome: Outcome,
        /// What was wrong with TLS.
        report: Option<Report>,
        /// The connection's id.
        id: String,
    },
}

impl OpenConnection {
    /// Connects and says hello, so that a transaction can begin.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; another target may be tried.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn open(
        target: &Target,
        source: Option<IpAddr>,
        config: Arc<client::Config>,
        settings: &Settings,
        tls: &TlsSetup,
        places: (&Registry<OutboundEntry>, Level),
    ) -> Result<Self, ConnectError> {
        let connect = connect(target.address, source, settings);
        let Connected { stream, local, proxy } = timeout(settings.connect_timeout, connect)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connection timed out"))??;
        // Commands are written whole; waiting for more would only add delay.
        let _ = stream.set_nodelay(true);
        let (registry, level) = places;
        let now = Instant::now();
        let entry = registry.enter(OutboundEntry {
            id: uuid::Uuid::new_v4().to_string(),
            local,
            remote: target.address,
            proxy,
            host: Arc::clone(&target.host),
            since: now,
            now: Mutex::new(Progress { row: None, state: "BANNER", since: now, transactions: 0 }),
        });
        let mut open = Self {
            local,
            remote: target.address,
            stream: Some(Stream::clear(stream)),
            helo: config.helo.as_str().into(),
            session: Session::new(config),
            tls: None,
            greeting: Arc::default(),
            report: None,
            _level: level,
            entry,
        };
        match open.next(settings, Some(tls)).await {
            Event::Ready => {
                if let Some(banner) = open.session.banner() {
                    open.greeting = banner.lines.join("\n").into();
                }
                Ok(open)
            }
            event => {
                let outcome = match event {
                    Event::Closed(Some(outcome)) => outcome,
                    _ => failure(State::Banner, Failure::ConnectionLost),
                };
                let not_offered = matches!(outcome.answer, Answer::Failure(Failure::TlsNotOffered));
                let report = open.report.or(not_offered.then_some(Report::StartTlsNotSupported));
                Err(ConnectError::Session { outcome, report, id: open.entry.facts.id.clone() })
            }
        }
    }

    /// Sends one message to one recipient.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the peer may have taken the message.
    pub async fn deliver(
        &mut self,
        row: MessageId,
        envelope: Envelope,
        content: &Content,
        settings: &Settings,
        tls: &TlsSetup,
    ) -> Outcome {
        self.entry.facts.now.lock().row = Some(row);
        let outcomes = self.transact(envelope, content, settings, tls).await;
        outcomes.into_iter().next().unwrap_or_else(|| failure(State::Rcpt, Failure::ConnectionLost))
    }

    /// Sends one message; an outcome for each recipient, or one for all when the session ended.
    ///
    /// # Cancel safety
    ///
    /// As [`OpenConnection::deliver`].
    pub async fn transact(
        &mut self,
        envelope: Envelope,
        content: &Content,
        settings: &Settings,
        tls: &TlsSetup,
    ) -> Vec<Outcome> {
        self.session.begin(envelope);
        loop {
            match self.next(settings, Some(tls)).await {
                Event::NeedBody => {
                    if let Err(error) = self.send(content).await {
                        tracing::debug!(remoteip = %self.remote.ip(), %error, "delivery.content_failed");
                        match error.kind() {
                            // Our own disk: the peer must not take half a message for a whole.
                            io::ErrorKind::InvalidData | io::ErrorKind::NotFound => {
                                self.session.abandon();
                            }
                            _ => self.session.connection_lost(),
                        }
                    }
                }
                Event::Finished(outcomes) => {
                    self.note_idle();
                    return outcomes;
                }
                Event::Closed(outcome) => {
                    let lost = || failure(State::Mail, Failure::ConnectionLost);
                    return vec![outcome.unwrap_or_else(lost)];
                }
                _ => {}
            }
        }
    }

    /// Brings a finished transaction's connection into the state where the next may begin.
    pub fn is_reusable(&self) -> bool {
        self.session.is_idle() && self.stream.is_some()
    }

    /// What the post-delivery script may see of this connection.
    pub fn facts(&self, target: &Target, settings: &Settings, tls: &TlsSetup) -> ConnectionFacts {
        let is_wanted = tls.level != client::Tls::Disabled;
        let clear = (is_wanted && self.tls.is_none()).then_some(Report::StartTlsNotSupported);
        ConnectionFacts {
            id: Some(self.entry.facts.id.clone()),
            tls: self.tls.clone(),
            report: self.report.or(clear),
            greeting: Some(Arc::clone(&self.greeting)),
            helo: Some(Arc::clone(&self.helo)),
            transactions: self.transactions(),
            offers_dsn: self.session.offer().has(smtp::extensions::Extensions::DSN),
            ..ConnectionFacts::to(target, Some(self.local.ip()), settings)
        }
    }

    /// Messages begun on this connection.
    pub fn transactions(&self) -> u32 {
        self.session.transactions()
    }

    /// Tells whether an idle connection was closed, or spoken to, by the peer.
    pub fn is_closed(&self) -> bool {
        let Some(stream) = &self.stream else { return true };
        if self.entry.close.is_cancelled() {
            return true;
        }
        let mut octet = [0];
        // An idle peer says nothing; whatever can be read is a goodbye.
        !matches!(stream.socket().try_read(&mut octet), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Says QUIT and closes, without waiting long for the peer.
    pub async fn quit(mut self, settings: &Settings) {
        if !self.is_reusable() {
            return;
        }
        self.session.quit();
        let _ = timeout(QUIT_PATIENCE, self.next(settings, None)).await;
    }

    /// The session's next event; handshakes are run here.
    async fn next(&mut self, settings: &Settings, tls: Option<&TlsSetup>) -> Event {
        loop {
            if let Some(event) = self.session.next_event() {
                match event {
                    Event::StartTls => {
                        self.handshake(settings, tls).await;
                        continue;
                    }
                    event => return event,
                }
            }
            let state = self.session.state().unwrap_or(State::Noop);
            self.note(state.as_str());
            let close = self.entry.close.clone();
            let exchanged = tokio::select! {
                biased;
                () = close.cancelled() => {
                    self.session.connection_lost();
                    continue;
                }
                exchanged = timeout(settings.timeout(state), self.exchange()) => exchanged,
            };
            match exchanged {
                Ok(Ok(())) => {}
                Ok(Err(_)) => self.session.connection_lost(),
                Err(_) => self.session.timed_out(),
            }
        }
    }

    /// Notes where the session stands, for operators.
    fn note(&self, state: &'static str) {
        let mut now = self.entry.facts.now.lock();
        if now.state != state {
            now.state = state;
            now.since = Instant::now();
        }
        now.transactions = self.session.transactions();
    }

    fn note_idle(&self) {
        self.note("IDLE");
        self.entry.facts.now.lock().row = None;
    }

    /// Writes what is due, then reads once.
    async fn exchange(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut wrote = false;
        while !self.session.output().is_empty() {
            let written = stream.write(self.session.output()).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.session.advance_output(written);
            wrote = true;
        }
        if wrote && stream.is_encrypted() {
            stream.flush().await?;
        }
        if self.session.state().is_none() {
            return Ok(());
        }
        let mut buffer = [0; REPLY_BUFFER];
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.session.receive(buffer.get(..read).unwrap_or_default());
        Ok(())
    }

    async fn handshake(&mut self, settings: &Settings, tls: Option<&TlsSetup>) {
        if self.flush().await.is_err() {
            self.session.tls_failed();
            return;
        }
        let (Some(setup), Some(Ok(clear))) = (tls, self.stream.take().map(Stream::into_clear))
        else {
            self.session.tls_failed();
            return;
        };
        let Some(client) = &setup.client else {
            self.session.tls_failed();
            return;
        };
        let connect = Box::pin(client.connect(clear, setup.sni.as_deref()));
        match timeout(settings.timeout(State::StartTls), connect).await {
            Ok(Ok((stream, session))) => {
                self.stream = Some(stream);
                self.tls = Some(Arc::new(TlsFacts { session, peercert: OnceLock::new() }));
                self.session.tls_established();
            }
            Ok(Err(error)) => {
                tracing::debug!(remoteip = %self.remote.ip(), %error, "delivery.tls_failed");
                self.report = Some(Report::of(&error));
                self.session.tls_failed();
            }
            Err(_) => {
                self.report = Some(Report::ValidationFailure);
                self.session.tls_failed();
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        while !self.session.output().is_empty() {
            let written = stream.write(self.session.output()).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.session.advance_output(written);
        }
        stream.flush().await
    }

    async fn send(&mut self, content: &Content) -> io::Result<()> {
        match content {
            Content::Memory(pieces) => {
                let last = pieces.len().saturating_sub(1);
                if pieces.is_empty() {
                    self.send_piece(b"", More::Last).await?;
                }
                for (index, piece) in pieces.iter().enumerate() {
                    let more = if index == last { More::Last } else { More::Follows };
                    self.send_piece(piece, more).await?;
                }
                Ok(())
            }
            Content::Stored(_) | Content::Script(_) => {
                let (mut offset, len) = (0, content.len());
                loop {
                    let chunk = read_chunk(content.clone(), offset).await?;
                    offset += chunk.len() as u64;
                    let more = if offset >= len { More::Last } else { More::Follows };
                    if chunk.is_empty() && more == More::Follows {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    self.send_piece(&chunk, more).await?;
                    if more == More::Last {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn send_piece(&mut self, piece: &[u8], more: More) -> io::Result<()> {
        let mut slices = Vec::new();
        self.session.body(piece, more, &mut slices);
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let output = self.session.output().len();
        let write = async {
            let mut all: Vec<IoSlice<'_>> = Vec::with_capacity(slices.len() + 1);
            all.push(IoSlice::new(self.session.output()));
            all.extend(slices.iter().map(|slice| IoSlice::new(slice)));
            let mut rest = all.as_mut_slice();
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                let written = stream.write_vectored(rest).await?;
                if written == 0 {
                    return Err(io::Error::from(io::ErrorKind::WriteZero));
                }
                IoSlice::advance_slices(&mut rest, written);
            }
            if stream.is_encrypted() { stream.flush().await } else { Ok(()) }
        };
        timeout(State::data_block_timeout(), write).await??;
        self.session.advance_output(output);
        Ok(())
    }
}

/// One envelope for one recipient.
pub fn envelope(
    sender: mta_types::Address,
    sender_params: smtp::parameters::Parameters,
    recipient: mta_types::Address,
    recipient_params: smtp::parameters::Parameters,
    size: u64,
    eightbit: bool,
    smtputf8: bool,
) -> Envelope {
    Envelope {
        sender,
        params: sender_params,
        recipients: vec![Recipient { address: recipient, params: recipient_params }],
        size: Some(size),
        body: if eightbit { BodyType::EightBit } else { BodyType::SevenBit },
        smtputf8,
        purpose: Purpose::Deliver,
    }
}

fn failure(state: State, failure: Failure) -> Outcome {
    Outcome { state, answer: Answer::Failure(failure) }
}

/// A connection as the peer will see it.
struct Connected {
    stream: TcpStream,
    local: SocketAddr,
    proxy: Option<IpAddr>,
}

/// Connects to a peer, straight or through the proxy that has the source address.
async fn connect(
    remote: SocketAddr,
    source: Option<IpAddr>,
    settings: &Settings,
) -> io::Result<Connected> {
    let source = source.filter(|source| source.is_ipv4() == remote.is_ipv4());
    let Some(proxy) = settings.proxy(source) else {
        let stream = connect_straight(remote, source, settings.nonlocal_source).await?;
        let local = stream.local_addr()?;
        return Ok(Connected { stream, local, proxy: None });
    };
    let mut stream = TcpStream::connect((&*proxy.server, proxy.port)).await.map_err(|error| {
        let (server, port) = (&proxy.server, proxy.port);
        io::Error::new(error.kind(), format!("proxy {server} port {port}: {error}"))
    })?;
    let (here, proxy) = (stream.local_addr()?, stream.peer_addr()?.ip());
    // Without a choice of ours the proxy takes an address of its own.
    let unspecified = || match remote.is_ipv4() {
        true => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        false => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let local = SocketAddr::new(source.unwrap_or_else(unspecified), here.port());
    let addresses = Addresses::Proxied { source: local, destination: remote };
    stream.write_all(&ProxyHeader { addresses, tlv: Vec::new() }.to_v2()).await?;
    Ok(Connected { stream, local, proxy: Some(proxy) })
}

async fn connect_straight(
    remote: SocketAddr,
    source: Option<IpAddr>,
    is_nonlocal: bool,
) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        if is_nonlocal {
            allow_nonlocal(&socket, source)?;
        }
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(remote).await
}

/// Lets a socket have an address that is not of this machine.
///
/// To connect from one, and not only to bind it, IPv4 wants `IP_TRANSPARENT`, for which CAP_NET_RAW or
/// CAP_NET_ADMIN is needed. Without the capability the address may at least be one that is not up yet.
fn allow_nonlocal(socket: &TcpSocket, source: IpAddr) -> io::Result<()> {
    let raw = socket2::SockRef::from(socket);
    let transparent = match source {
        IpAddr::V4(_) => raw.set_ip_transparent_v4(true),
        IpAddr::V6(_) => raw.set_ip_transparent_v6(true),
    };
    match transparent {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => match source {
            IpAddr::V4(_) => raw.set_freebind_v4(true),
            IpAddr::V6(_) => raw.set_freebind_v6(true),
        },
        done => done,
    }
}

/// Reads a part of a stored body on the pool for blocking work.
async fn read_chunk(content: Content, offset: u64) -> io::Result<Bytes> {
    tokio::task::spawn_blocking(move || {
        let room = usize::try_from(content.len() - offset).unwrap_or(usize::MAX).min(CHUNK);
        let mut buffer = BytesMut::zeroed(room);
        let mut filled = 0;
        while filled < room {
            let rest = buffer.get_mut(filled..).unwrap_or_default();
            let read = content.read_at(rest, offset + filled as u64)?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        buffer.truncate(filled);
        Ok(buffer.freeze())
    })
    .await
    .map_err(io::Error::other)?
}

/// Octets read from the peer at once: several replies.
const REPLY_BUFFER: usize = 2048;

/// Octets of a stored body read at once.
const CHUNK: usize = 256 << 10;

/// How long a goodbye may take.
const QUIT_PATIENCE: Duration = Duration::from_secs(2);
