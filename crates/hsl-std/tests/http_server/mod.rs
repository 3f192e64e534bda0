//! A small HTTP/1.1 server for tests: clear, with TLS, on a Unix socket, and as a proxy.
//!
//! Written by hand, so that it shares no code with the client it tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tls_policy::{Identity, ServerOptions, ServerTls, Versions};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::Runtime;

/// What the server speaks.
pub(crate) enum Scheme {
    Clear,
    Tls,
    Unix(PathBuf),
}

/// A running server; ends when dropped.
pub(crate) struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
    is_tls: bool,
    root_pem: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    tunnels: AtomicUsize,
    notes: Mutex<String>,
    failures: AtomicUsize,
}

struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> String {
        let found = self.headers.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(",")
    }
}

impl Server {
    pub(crate) fn start(scheme: Scheme) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let state = Arc::new(State::default());
        let certificate = testkit::certs::certificate(&["localhost"]);
        let is_tls = matches!(scheme, Scheme::Tls);
        let tls = is_tls.then(|| {
            let (chain, key) = (certificate.cert_pem.as_bytes(), certificate.key_pem.as_bytes());
            let identity = Identity::from_pem(chain, key).unwrap();
            ServerTls::asking_certificate(ServerOptions {
                identity,
                names: Vec::new(),
                versions: Versions::default(),
            })
        });
        let shared = Arc::clone(&state);
        let address = if let Scheme::Unix(path) = scheme {
            let listener = runtime.block_on(async { UnixListener::bind(path).unwrap() });
            runtime.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&shared), Client::default()));
                }
            });
            SocketAddr::from(([127, 0, 0, 1], 0))
        } else {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = listener.local_addr().unwrap();
            runtime.spawn(async move {
                while let Ok((stream, peer)) = listener.accept().await {
                    let (tls, shared) = (tls.clone(), Arc::clone(&shared));
                    let mut client = Client { peer: Some(peer), ..Client::default() };
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, shared, client).await,
                            Some(tls) => {
                                if let Ok((stream, session)) = tls.accept(stream.into()).await {
                                    client.certificates = session.peer_certificates;
                                    serve(stream, shared, client).await;
                                }
                            }
                        }
                    });
                }
            });
            address
        };
        Self { runtime: Some(runtime), address, is_tls, root_pem: certificate.root_pem, state }
    }

    pub(crate) fn authority(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.authority())
    }

    pub(crate) fn root_pem(&self) -> &str {
        &self.root_pem
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn tunnels(&self) -> usize {
        self.state.tunnels.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Default)]
struct Client {
    peer: Option<SocketAddr>,
    /// What it showed, DER, its own first.
    certificates: Vec<Vec<u8>>,
}

async fn serve<S>(stream: S, state: Arc<State>, client: Client)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    state.connections.fetch_add(1, Ordering::Relaxed);
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        if request.method == "CONNECT" {
            state.tunnels.fetch_add(1, Ordering::Relaxed);
            let Ok(mut far) = TcpStream::connect(&request.path).await else { return };
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
            return;
        }
        let Some(answer) = answer(&request, &state, &client).await else { return };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        let _ = stream.flush().await;
        if request.path == "/stall" {
            std::future::pending::<()>().await;
        }
        if request.path == "/hangup" {
            return;
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut first = lines.first()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request { method, path, headers, body: Vec::new() };
    if request.header("transfer-encoding") == "chunked" {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).await.ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.ok()?;
            request.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Ok(length) = request.header("content-length").parse() {
        request.body = vec![0; length];
        stream.read_exact(&mut request.body).await.ok()?;
    }
    Some(request)
}

async fn answer(request: &Request, state: &State, client: &Client) -> Option<Vec<u8>> {
    let path = request.path.strip_prefix("http://nowhere.test").unwrap_or(&request.path);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let body = String::from_utf8_lossy(&request.body).into_owned();
    Some(match parts.as_slice() {
        ["status", "204"] => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        ["status", code] => plain(code, "X-Test: yes\r\n", format!("status {code}").as_bytes()),
        ["echo"] => {
            let kind = request.header("content-type");
            let kind = if kind.is_empty() { "-" } else { &kind };
            let text = format!("{} {} {kind} {body}", request.method, request.path);
            plain("200", "", text.as_bytes())
        }
        ["length"] => plain("200", "", request.body.len().to_string().as_bytes()),
        ["header", name] => plain("200", "", request.header(name).as_bytes()),
        ["certificate", number] => {
            match client.certificates.get(number.parse::<usize>().unwrap()) {
                Some(certificate) => plain("200", "", certificate),
                None => plain("404", "", b"none was shown"),
            }
        }
        ["peer"] => plain("200", "", client.peer.unwrap().ip().to_string().as_bytes()),
        ["redirect", code, rest @ ..] => {
            plain(code, &format!("Location: /{}\r\n", rest.join("/")), b"")
        }
        ["to"] => plain("302", &format!("Location: {query}\r\n"), b""),
        ["loop"] => plain("302", "Location: /loop\r\n", b""),
        ["hangup"] => plain("200", "", b"bye"),
        ["bytes", count] => plain("200", "", &vec![b'x'; count.parse().unwrap()]),
        ["chunked", count] => {
            let count: usize = count.parse().unwrap();
            let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for piece in vec![b'x'; count].chunks(400) {
                out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
            out
        }
        ["silent"] => std::future::pending().await,
        ["stall"] => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!".to_vec(),
        ["note", name] => {
            state.notes.lock().push_str(&format!("{name}:{body} "));
            plain("200", "", b"")
        }
        ["fail-once", name] => {
            if state.failures.fetch_add(1, Ordering::Relaxed) == 0 {
                return Some(plain("503", "", b""));
            }
            state.notes.lock().push_str(&format!("{name}:{body} "));
            plain("200", "", b"")
        }
        ["notes"] => plain("200", "", state.notes.lock().as_bytes()),
        _ => plain("404", "", b"unknown"),
    })
}

fn plain(code: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {code} X\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}
