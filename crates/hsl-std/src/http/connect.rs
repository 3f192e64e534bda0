//! New connections: names to addresses, sockets, proxies, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tls_policy::{ClientOptions, ClientTls, RootStore, Verification, Versions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::client::HttpError;
use super::request::Settings;
use super::target::{Target, Way};
use crate::services::{DnsQuery, Names, RecordData, RecordType, Resolver, Services};

/// A connected stream of any kind.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes connections.
pub(crate) struct Connector {
    resolver: Arc<dyn Resolver>,
    names: Arc<dyn Names>,
    /// Places for look-ups by the system, each of which holds a thread for its time.
    lookups: Semaphore,
    roots: tokio::sync::Mutex<Option<(Instant, RootStore)>>,
    clients: Mutex<Vec<(String, Instant, ClientTls)>>,
}

impl Connector {
    pub(crate) fn new(services: &Services) -> Self {
        Self {
            resolver: Arc::clone(&services.resolver),
            names: Arc::clone(&services.names),
            lookups: Semaphore::new(SYSTEM_LOOKUPS),
            roots: tokio::sync::Mutex::new(None),
            clients: Mutex::default(),
        }
    }

    /// Connects for a request, within its `connect_timeout`.
    pub(super) async fn connect(
        &self,
        target: &Target,
        settings: &Settings,
    ) -> Result<Box<dyn Io>, HttpError> {
        let connect = async {
            let stream: Box<dyn Io> = match &target.way {
                Way::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(failed)?),
                Way::Direct => Box::new(
                    self.tcp(&target.host, target.port, settings.connect_timeout, settings.source)
                        .await?,
                ),
                Way::Proxy { host, port, authorization } => {
                    let mut stream =
                        self.tcp(host, *port, settings.connect_timeout, settings.source).await?;
                    if target.is_tls {
                        tunnel(&mut stream, target, authorization.as_deref()).await?;
                    }
                    Box::new(stream)
                }
            };
            if !target.is_tls {
                return Ok(stream);
            }
            let tls = self.tls(target, settings).await;
            let name = target.host.parse::<IpAddr>().is_err().then_some(target.host.as_str());
            let (stream, _) = tls.connect_over(stream, name).await.map_err(failed)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        };
        match tokio::time::timeout(settings.connect_timeout, connect).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::Timeout),
        }
    }

    /// Tries the addresses of a host in turn; the last failure is reported.
    pub(crate) async fn tcp(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
        source: Option<IpAddr>,
    ) -> Result<TcpStream, HttpError> {
        let mut addresses = self.addresses(host, timeout).await;
        if let Some(source) = source {
            addresses.retain(|address| address.is_ipv4() == source.is_ipv4());
        }
        let mut last = HttpError::Connect("the host has no address".to_owned());
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        // A silent address must leave time for the others.
        let share = timeout / count;
        for address in addresses {
            let attempt = dial(SocketAddr::new(address, port), source);
            last = match tokio::time::timeout(share, attempt).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed(error),
                Err(_) => HttpError::Timeout,
            };
        }
        Err(last)
    }

    /// The addresses of a host: by the embedder's resolver, and where that knows nothing, by the
    /// system's own rules (`/etc/hosts` and the like). At most [`MAX_ADDRESSES`].
    async fn addresses(&self, host: &str, timeout: Duration) -> Vec<IpAddr> {
        if let Ok(address) = host.parse() {
            return vec![address];
        }
        let ask = async |record| {
            let host = host.to_owned();
            let query =
                DnsQuery { host, record, timeout, servers: Vec::new(), port: 53, authentic: false };
            let found = self.resolver.query(query).await.result.unwrap_or_default();
            found.into_iter().filter_map(|record| match record.data {
                RecordData::Address(address) => Some(address),
                _ => None,
            })
        };
        let (v4, v6) = tokio::join!(ask(RecordType::A), ask(RecordType::Aaaa));
        let mut all: Vec<IpAddr> = v4.chain(v6).collect();
        if all.is_empty()
            && let Ok(_place) = self.lookups.acquire().await
            && let Ok(found) = tokio::net::lookup_host((host, 0)).await
        {
            all.extend(found.map(|address| address.ip()));
        }
        all.truncate(MAX_ADDRESSES);
        all
    }

    /// The TLS set-up for a request. Those without a certificate of ours are kept, and with them
    /// the sessions that servers let resume.
    async fn tls(&self, target: &Target, settings: &Settings) -> ClientTls {
        let key = super::target::tls_key(settings, &target.host);
        let is_kept = settings.tls.identity.is_none();
        if is_kept {
            let mut clients = self.clients.lock();
            clients.retain(|(_, made, _)| made.elapsed() < TLS_LIFETIME);
            if let Some((_, _, tls)) = clients.iter().find(|(known, ..)| *known == key) {
                return tls.clone();
            }
        }
        let verification = if settings.tls.verify_peer {
            let roots =
                if settings.tls.default_ca { self.system_roots().await } else { RootStore::new() };
            let names = settings.tls.verify_host.then(|| target.host.clone());
            Verification::Authority { roots, names: names.into_iter().collect() }
        } else {
            Verification::None
        };
        let identity = settings.tls.identity.as_ref().map(|(_, identity)| identity.clone());
        let tls =
            ClientTls::new(ClientOptions { versions: Versions::default(), verification, identity });
        if is_kept {
            let mut clients = self.clients.lock();
            if clients.len() >= MAX_TLS {
                clients.remove(0);
            }
            clients.push((key, Instant::now(), tls.clone()));
        }
        tls
    }

    /// The system's authorities, read again after a while.
    pub(crate) async fn system_roots(&self) -> RootStore {
        let mut roots = self.roots.lock().await;
        if let Some((read, roots)) = &*roots
            && read.elapsed() < TLS_LIFETIME
        {
            return roots.clone();
        }
        let names = Arc::clone(&self.names);
        let read = tokio::task::spawn_blocking(move || names.default_authorities());
        // The reader does not panic; should it, nobody is trusted.
        let store = read.await.unwrap_or_default();
        *roots = Some((Instant::now(), store.clone()));
        store
    }
}

async fn dial(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks a proxy for a tunnel (RFC 9110 §9.3.6).
async fn tunnel(
    stream: &mut TcpStream,
    target: &Target,
    authorization: Option<&[u8]>,
) -> Result<(), HttpError> {
    let host = match target.host.contains(':') {
        true => format!("[{}]", target.host),
        false => target.host.clone(),
    };
    let port = target.port;
    let mut request =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(value) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(failed)?;
    let mut head = Vec::new();
    // The server says nothing before we do, so the answer of the proxy ends with its head.
    while !head.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.map_err(failed)?;
        if count == 0 || head.len() > MAX_HEAD {
            return Err(HttpError::Connect("the proxy gave no answer".to_owned()));
        }
        head.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    let status = head.get(9..12).unwrap_or_default();
    if !head.starts_with(b"HTTP/1.") || !status.starts_with(b"2") {
        let status = status.escape_ascii();
        return Err(HttpError::Connect(format!("the proxy answered {status}")));
    }
    Ok(())
}

fn failed(error: io::Error) -> HttpError {
    HttpError::Connect(error.to_string())
}

const MAX_ADDRESSES: usize = 8;
const SYSTEM_LOOKUPS: usize = 16;
const MAX_HEAD: usize = 16 << 10;
const MAX_TLS: usize = 64;
/// After this, a changed bundle of authorities is noticed.
const TLS_LIFETIME: Duration = Duration::from_secs(3600);
