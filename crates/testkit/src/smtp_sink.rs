//! A server that takes mail, remembers it, and answers as the test wants.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::certs::TestCertificate;

/// One message as the sink took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SunkMessage {
    /// What stood in MAIL FROM behind the colon, parameters included.
    pub from: String,
    /// What stood in each accepted RCPT TO behind the colon.
    pub to: Vec<String>,
    /// The content with dots un-stuffed and CRLF line ends.
    pub content: String,
    /// Name given in EHLO.
    pub helo: String,
    /// Whether the connection was encrypted.
    pub tls: bool,
    /// The server name of the handshake.
    pub server_name: Option<String>,
    /// The client's certificate, DER, where one was shown.
    pub client_certificate: Option<Vec<u8>>,
    /// Number of the connection, from 1.
    pub connection: usize,
    /// Where the connection came from.
    pub peer: SocketAddr,
}

/// How a sink behaves; change what the test is about.
#[derive(Clone, Debug)]
pub struct SinkBehaviour {
    /// Keywords of the EHLO reply.
    pub extensions: Vec<String>,
    /// Replies instead of the usual ones, by the beginning of the command line in upper case
    /// (`RCPT TO:<BAD@`), or `.` for the end of data, or `BANNER`. An empty reply closes the
    /// connection.
    pub replies: HashMap<String, String>,
    /// Beginnings of command lines, in upper case, that get no answer until the behaviour changes.
    pub held: Vec<String>,
    /// Certificate for STARTTLS, which is announced when there is one.
    pub certificate: Option<TestCertificate>,
    /// Clients are asked for a certificate below this one's root; they need not have one.
    pub client_root: Option<TestCertificate>,
}

impl Default for SinkBehaviour {
    fn default() -> Self {
        Self {
            extensions: ["PIPELINING", "8BITMIME", "SIZE 100000000", "ENHANCEDSTATUSCODES"]
                .map(str::to_owned)
                .to_vec(),
            replies: HashMap::new(),
            held: Vec::new(),
            certificate: None,
            client_root: None,
        }
    }
}

impl SinkBehaviour {
    /// Adds a reply of its own for lines that begin so.
    #[must_use]
    pub fn reply(mut self, line: &str, reply: &str) -> Self {
        self.replies.insert(line.to_ascii_uppercase(), reply.to_owned());
        self
    }

    /// Leaves lines that begin so without an answer until the behaviour changes.
    #[must_use]
    pub fn hold(mut self, line: &str) -> Self {
        self.held.push(line.to_ascii_uppercase());
        self
    }
}

/// A running sink; it ends with this value.
#[derive(Debug)]
pub struct SmtpSink {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    messages: Mutex<Vec<SunkMessage>>,
    commands: Mutex<Vec<String>>,
    behaviour: Mutex<SinkBehaviour>,
    arrived: Notify,
    changed: Notify,
    connections: Mutex<usize>,
}

impl SmtpSink {
    /// Starts a sink that takes everything.
    pub async fn start() -> Self {
        Self::start_with(SinkBehaviour::default()).await
    }

    /// Starts a sink that behaves so.
    ///
    /// # Panics
    ///
    /// When no loopback socket can be bound.
    pub async fn start_with(behaviour: SinkBehaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback socket");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared { behaviour: Mutex::new(behaviour), ..Shared::default() });
        let for_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                let number = {
                    let mut count = lock(&for_task.connections);
                    *count += 1;
                    *count
                };
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&for_task);
                connections.spawn(async move {
                    let _ = serve(stream, &shared, number, peer).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, shared, task }
    }

    /// Replaces the behaviour for what comes from now on.
    pub fn behave(&self, behaviour: SinkBehaviour) {
        *lock(&self.shared.behaviour) = behaviour;
        self.shared.changed.notify_waiters();
    }

    /// The messages taken so far.
    #[must_use]
    pub fn messages(&self) -> Vec<SunkMessage> {
        lock(&self.shared.messages).clone()
    }

    /// The command lines seen so far.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        lock(&self.shared.commands).clone()
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        *lock(&self.shared.connections)
    }

    /// Waits until at least `count` messages were taken, and returns all of them.
    ///
    /// # Panics
    ///
    /// When they do not come within thirty seconds.
    pub async fn wait_for(&self, count: usize) -> Vec<SunkMessage> {
        let wait = async {
            loop {
                let arrived = self.shared.arrived.notified();
                if lock(&self.shared.messages).len() >= count {
                    return self.messages();
                }
                arrived.await;
            }
        };
        match timeout(PATIENCE, wait).await {
            Ok(messages) => messages,
            Err(_) => panic!(
                "only {} of {count} messages came; commands: {:#?}",
                self.messages().len(),
                self.commands()
            ),
        }
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn serve(
    stream: tokio::net::TcpStream,
    shared: &Shared,
    connection: usize,
    peer: SocketAddr,
) -> std::io::Result<()> {
    let mut stream: BufReader<Box<dyn Stream>> = BufReader::new(Box::new(stream));
    let mut handshake: Option<Handshake> = None;
    let mut message = empty(connection, peer);
    if !answer(&mut stream, shared, "BANNER", "220 sink ESMTP").await? {
        return Ok(());
    }
    loop {
        let Some(line) = read_line(&mut stream).await? else { return Ok(()) };
        lock(&shared.commands).push(line.clone());
        let upper = line.to_ascii_uppercase();
        loop {
            let changed = shared.changed.notified();
            if !lock(&shared.behaviour).held.iter().any(|begin| upper.starts_with(begin.as_str())) {
                break;
            }
            changed.await;
        }
        let argument = line.split_once(':').map(|(_, rest)| rest.trim().to_owned());
        let verb = upper.split(' ').next().unwrap_or_default().to_owned();
        match verb.as_str() {
            "EHLO" | "LHLO" => {
                message.helo = line[4..].trim().to_owned();
                let (mut lines, starttls) = {
                    let behaviour = lock(&shared.behaviour);
                    (
                        behaviour.extensions.clone(),
                        behaviour.certificate.is_some() && handshake.is_none(),
                    )
                };
                if starttls {
                    lines.push("STARTTLS".to_owned());
                }
                let mut reply = String::from("250-sink");
                for (index, keyword) in lines.iter().enumerate() {
                    let last = index + 1 == lines.len();
                    reply.push_str(if last { "\r\n250 " } else { "\r\n250-" });
                    reply.push_str(keyword);
                }
                if lines.is_empty() {
                    reply = "250 sink".to_owned();
                }
                if !answer(&mut stream, shared, &upper, &reply).await? {
                    return Ok(());
                }
            }
            "HELO" => {
                message.helo = line[4..].trim().to_owned();
                if !answer(&mut stream, shared, &upper, "250 sink").await? {
                    return Ok(());
                }
            }
            "STARTTLS" => {
                let acceptor = acceptor(&lock(&shared.behaviour));
                if !answer(&mut stream, shared, &upper, "220 Go ahead").await? {
                    return Ok(());
                }
                let Some(acceptor) = acceptor else { continue };
                let secret = acceptor.accept(stream.into_inner()).await?;
                handshake = Some(Handshake::of(secret.get_ref().1));
                stream = BufReader::new(Box::new(secret));
            }
            "MAIL" => {
                let helo = std::mem::take(&mut message.helo);
                let Handshake { server_name, client_certificate } =
                    handshake.clone().unwrap_or_default();
                message = SunkMessage {
                    helo,
                    tls: handshake.is_some(),
                    server_name,
                    client_certificate,
                    ..empty(connection, peer)
                };
                message.from = argument.unwrap_or_default();
                if !answer(&mut stream, shared, &upper, "250 2.1.0 Ok").await? {
                    return Ok(());
                }
            }
            "RCPT" => {
                let reply = chosen(shared, &upper, "250 2.1.5 Ok");
                if reply.starts_with('2') {
                    message.to.push(argument.unwrap_or_default());
                }
                if !send(&mut stream, &reply).await? {
                    return Ok(());
                }
            }
            "DATA" => {
                let default =
                    if message.to.is_empty() { "554 no valid recipients" } else { "354 Go" };
                let reply = chosen(shared, &upper, default);
                if !send(&mut stream, &reply).await? {
                    return Ok(());
                }
                if reply.starts_with('3') {
                    message.content = read_content(&mut stream).await?;
                    finish(&mut stream, shared, &mut message).await?;
                }
            }
            "BDAT" => {
                let mut words = upper.split(' ').skip(1);
                let len: usize = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                let mut chunk = vec![0; len];
                tokio::io::AsyncReadExt::read_exact(&mut stream, &mut chunk).await?;
                message.content.push_str(&String::from_utf8_lossy(&chunk));
                if words.next() == Some("LAST") {
                    finish(&mut stream, shared, &mut message).await?;
                } else {
                    send(&mut stream, "250 2.0.0 Ok").await?;
                }
            }
            "QUIT" => {
                answer(&mut stream, shared, &upper, "221 2.0.0 Bye").await?;
                return Ok(());
            }
            "RSET" | "NOOP" => {
                if !answer(&mut stream, shared, &upper, "250 2.0.0 Ok").await? {
                    return Ok(());
                }
            }
            _ => {
                if !answer(&mut stream, shared, &upper, "500 5.5.1 What?").await? {
                    return Ok(());
                }
            }
        }
    }
}

/// Remembers the message, then answers, so that a test that saw the answer sees the message.
async fn finish(
    stream: &mut BufReader<Box<dyn Stream>>,
    shared: &Shared,
    message: &mut SunkMessage,
) -> std::io::Result<()> {
    let reply = chosen(shared, ".", "250 2.0.0 Ok: sunk");
    if reply.starts_with('2') {
        lock(&shared.messages).push(message.clone());
        shared.arrived.notify_waiters();
    }
    message.to.clear();
    message.content.clear();
    send(stream, &reply).await.map(drop)
}

fn empty(connection: usize, peer: SocketAddr) -> SunkMessage {
    SunkMessage {
        from: String::new(),
        to: Vec::new(),
        content: String::new(),
        helo: String::new(),
        tls: false,
        server_name: None,
        client_certificate: None,
        connection,
        peer,
    }
}

async fn read_line(stream: &mut BufReader<Box<dyn Stream>>) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

async fn read_content(stream: &mut BufReader<Box<dyn Stream>>) -> std::io::Result<String> {
    let mut content = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(String::from_utf8_lossy(&content).into_owned());
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

fn chosen(shared: &Shared, line: &str, default: &str) -> String {
    let behaviour = lock(&shared.behaviour);
    behaviour
        .replies
        .iter()
        .filter(|(begin, _)| line.starts_with(begin.as_str()))
        .max_by_key(|(begin, _)| begin.len())
        .map_or_else(|| default.to_owned(), |(_, reply)| reply.clone())
}

async fn answer(
    stream: &mut BufReader<Box<dyn Stream>>,
    shared: &Shared,
    line: &str,
    default: &str,
) -> std::io::Result<bool> {
    let reply = chosen(shared, line, default);
    send(stream, &reply).await
}

/// Sends a reply; false means that the test wanted the connection closed instead.
async fn send(stream: &mut BufReader<Box<dyn Stream>>, reply: &str) -> std::io::Result<bool> {
    if reply.is_empty() {
        return Ok(false);
    }
    stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    stream.flush().await?;
    Ok(true)
}

/// What the client said in the handshake.
#[derive(Clone, Default)]
struct Handshake {
    server_name: Option<String>,
    client_certificate: Option<Vec<u8>>,
}

impl Handshake {
    fn of(connection: &ServerConnection) -> Self {
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        Self {
            server_name: connection.server_name().map(str::to_owned),
            client_certificate: shown.map(|certificate| certificate.to_vec()),
        }
    }
}

fn acceptor(behaviour: &SinkBehaviour) -> Option<TlsAcceptor> {
    let certificate = behaviour.certificate.as_ref()?;
    let chain = vec![CertificateDer::from_pem_slice(certificate.cert_pem.as_bytes()).ok()?];
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).ok()?;
    let builder = ServerConfig::builder();
    let builder = match &behaviour.client_root {
        None => builder.with_no_client_auth(),
        Some(wanted) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(wanted.root_der.clone())).ok()?;
            let clients = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
            builder.with_client_cert_verifier(clients.build().ok()?)
        }
    };
    let config = builder.with_single_cert(chain, key).ok()?;
    Some(TlsAcceptor::from(Arc::new(config)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PATIENCE: Duration = Duration::from_secs(30);
