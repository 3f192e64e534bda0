//! The class `TLSSocket`: TLS over a connected `Socket`.
//!
//! Nothing is verified unless the options say so. Names in `tls_protocols` and `tls_ciphers` of what
//! is not implemented are an exception when the object is made, never a silent downgrade.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use config::value::TlsProtocols;
use hsl::host::{CallContext, NativeStep, Registry, Thrown};
use hsl::value::{Str, Value};
use openssl::x509::X509;
use rustix::io::Errno;
use tls_policy::{
    Ciphers, ClientOptions, ClientTls, Identity, RootStore, Session, Verification, Versions,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex, OnceCell};

use super::plain::SocketState;
use super::{charged, length};
use crate::args::{self, Options};
use crate::keys::{self, Keys};
use crate::services::Services;
use crate::x509;

/// Registers the class.
pub(super) fn register(registry: &mut Registry, services: &Services) {
    let store = Arc::clone(&services.keys);
    registry.class("TLSSocket", "TLS over a connected socket", |class| {
        class
            .constructor(
                "TLSSocket(Socket socket [, array options]) -> TLSSocket",
                "TLS as a client; options tls_protocols, tls_ciphers, tls_verify_name, tls_verify_ca, \
                 tls_default_ca, tls_sni, tls_client_cert",
                move |ctx, args| {
                    let settings = Settings::read(Options::new(args, 1), &*store)?;
                    let object = args::take(args, 0);
                    let socket = object.as_object().and_then(|object| object.state::<SocketState>());
                    let socket =
                        socket.ok_or_else(|| Thrown::new("TLSSocket() needs a Socket object"))?;
                    ctx.new_object(TlsState {
                        object,
                        socket,
                        settings,
                        errno: AtomicI32::new(0),
                        stage: Mutex::new(Stage::New),
                    })
                },
            )
            .method("handshake() -> TLSSocket or none", "agrees on keys with the peer", |ctx, _| {
                let this = super::this(ctx);
                wait(ctx, |tls| async move {
                    tls.open(&mut *tls.stage.lock().await).await?;
                    Ok(this)
                })
            })
            .method(
                "recv(number length) -> string or none",
                "at most length octets; empty at the end",
                |ctx, args| {
                    let length = length(ctx, args)?;
                    wait(ctx, move |tls| async move { tls.recv(length).await.map(Value::from) })
                },
            )
            .method("send(string data) -> number or none", "how many octets were taken", |ctx, args| {
                let data = args::text(args, 0);
                wait(ctx, move |tls| async move { tls.send(data).await.map(Value::from) })
            })
            .method(
                "shutdown() -> number or none",
                "says that no more follows: 1 when the peer has said it too, else 0; call again then",
                |ctx, _| wait(ctx, |tls| async move { tls.shutdown().await.map(Value::Number) }),
            )
            .method("errno() -> number", "the C errno of the last failure, or 0", |ctx, _| {
                let tls = ctx.state_of_this::<TlsState>()?;
                Ok::<_, Thrown>(f64::from(tls.errno.load(Ordering::Relaxed)))
            })
            .method("getpeerx509() -> X509 or none", "the peer's certificate", |ctx, _| {
                wait(ctx, |tls| async move {
                    Ok(match &*tls.stage.lock().await {
                        Stage::Open { session, .. } => {
                            peer_certificate(session).map_or(Value::None, x509::object)
                        }
                        Stage::New | Stage::Failed => Value::None,
                    })
                })
            })
            .method("toSocket() -> Socket", "the socket below", |ctx, _| {
                Ok::<_, Thrown>(ctx.state_of_this::<TlsState>()?.object.clone())
            });
    });
}

/// What the options say.
struct Settings {
    versions: Versions,
    ciphers: Option<Ciphers>,
    names: Vec<String>,
    is_ca_checked: bool,
    has_default_ca: bool,
    sni: Option<String>,
    identity: Option<Identity>,
}

impl Settings {
    fn read(options: Options<'_>, store: &dyn Keys) -> Result<Self, Thrown> {
        let text = |name: &str| {
            options
                .bytes(name)
                .map(|text| text.map(|text| String::from_utf8_lossy(text).into_owned()))
        };
        let protocols: TlsProtocols = text("tls_protocols")?
            .as_deref()
            .unwrap_or("!SSLv2,!SSLv3")
            .parse()
            .map_err(|error| Thrown::new(format!("option \"tls_protocols\": {error}")))?;
        let ciphers = match text("tls_ciphers")? {
            Some(list) if !list.is_empty() => Some(
                Ciphers::parse(&list)
                    .map_err(|error| Thrown::new(format!("option \"tls_ciphers\": {error}")))?,
            ),
            _ => None,
        };
        let mut names = Vec::new();
        for name in options.array("tls_verify_name")?.iter().flat_map(|array| array.values()) {
            let name = name.as_text().map(str::to_owned);
            names.push(name.ok_or_else(|| {
                Thrown::new("option \"tls_verify_name\" must be an array of names")
            })?);
        }
        let identity = match options.bytes("tls_client_cert")? {
            None => None,
            Some(name) => {
                let entry = keys::find(store, name);
                let pem = entry.as_deref().and_then(keys::PkiEntry::pem);
                let identity = pem.and_then(|(chain, key)| Identity::from_pem(chain, key).ok());
                Some(identity.ok_or_else(|| {
                    let name = name.escape_ascii();
                    let message = format!("{name} names no certificate with a private key");
                    Thrown::new(format!("option \"tls_client_cert\": {message}"))
                })?)
            }
        };
        Ok(Self {
            versions: Versions { tls12: protocols.tls12, tls13: protocols.tls13 },
            ciphers,
            names,
            is_ca_checked: options.boolean("tls_verify_ca", false)?,
            has_default_ca: options.boolean("tls_default_ca", false)?,
            sni: text("tls_sni")?.filter(|name| !name.is_empty()),
            identity,
        })
    }

    async fn client(&self) -> ClientTls {
        let verification = if self.is_ca_checked {
            let roots = if self.has_default_ca { system_roots().await } else { RootStore::new() };
            Verification::Authority { roots, names: self.names.clone() }
        } else {
            Verification::None
        };
        let options = ClientOptions {
            versions: self.versions,
            verification,
            identity: self.identity.clone(),
        };
        match &self.ciphers {
            Some(ciphers) => ClientTls::with_ciphers(options, ciphers),
            None => ClientTls::new(options),
        }
    }

    /// Whether the peer is one of the names, where no authority has looked at that.
    fn accepts(&self, session: &Session) -> bool {
        if self.is_ca_checked || self.names.is_empty() {
            return true;
        }
        let certificate = peer_certificate(session);
        certificate.is_some_and(|certificate| {
            self.names.iter().any(|name| x509::is_for_name(&certificate, name))
        })
    }
}

/// The authorities that the system trusts, read once and not on a thread of the runtime.
async fn system_roots() -> RootStore {
    static ROOTS: OnceCell<RootStore> = OnceCell::const_new();
    let read = || async {
        let read = tokio::task::spawn_blocking(|| {
            let mut roots = RootStore::new();
            roots.add_system();
            roots
        });
        read.await.unwrap_or_default()
    };
    ROOTS.get_or_init(read).await.clone()
}

fn peer_certificate(session: &Session) -> Option<X509> {
    X509::from_der(session.peer_certificates.first()?).ok()
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

enum Stage {
    New,
    Open {
        stream: Box<dyn Io>,
        session: Session,
        /// Whether the peer has said that no more follows.
        is_ended: bool,
    },
    /// A handshake that failed cannot be tried again: its octets are gone.
    Failed,
}

struct TlsState {
    /// The `Socket` object.
    object: Value,
    socket: Arc<SocketState>,
    settings: Settings,
    errno: AtomicI32,
    stage: Mutex<Stage>,
}

impl TlsState {
    /// Runs the handshake if there was none yet.
    async fn open<'a>(&self, stage: &'a mut Stage) -> Result<&'a mut Stage, Errno> {
        match stage {
            Stage::Open { .. } => Ok(stage),
            Stage::Failed => Err(Errno::PROTO),
            Stage::New => {
                // Whatever ends this, also a script that is dropped, leaves a broken stream.
                *stage = Stage::Failed;
                let stream = self.socket.stream()?;
                let connected = self.socket.limited(async {
                    let client = self.settings.client().await;
                    let connect = client.connect_over(stream, self.settings.sni.as_deref());
                    connect.await.map_err(|error| errno_of(&error))
                });
                let (stream, session) = connected.await?;
                if !self.settings.accepts(&session) {
                    return Err(Errno::PROTO);
                }
                *stage = Stage::Open { stream: Box::new(stream), session, is_ended: false };
                Ok(stage)
            }
        }
    }

    async fn recv(&self, length: usize) -> Result<Vec<u8>, Errno> {
        let mut stage = self.stage.lock().await;
        let Stage::Open { stream, is_ended, .. } = self.open(&mut stage).await? else {
            return Err(Errno::PROTO);
        };
        let mut buffer = vec![0; length.min(RECORD_OCTETS)];
        let read = async { stream.read(&mut buffer).await.map_err(|error| errno_of(&error)) };
        let count = self.socket.limited(read).await?;
        *is_ended |= count == 0;
        buffer.truncate(count);
        buffer.shrink_to_fit();
        Ok(buffer)
    }

    async fn send(&self, data: Str) -> Result<usize, Errno> {
        let mut stage = self.stage.lock().await;
        let Stage::Open { stream, .. } = self.open(&mut stage).await? else {
            return Err(Errno::PROTO);
        };
        let mut sent = 0;
        let write = async {
            while let Some(rest) = data.get(sent..).filter(|rest| !rest.is_empty()) {
                sent += stream.write(rest).await.map_err(|error| errno_of(&error))?;
            }
            stream.flush().await.map_err(|error| errno_of(&error))
        };
        match self.socket.limited(write).await {
            Err(error) if sent == 0 => Err(error),
            _ => Ok(sent),
        }
    }

    async fn shutdown(&self) -> Result<f64, Errno> {
        let mut stage = self.stage.lock().await;
        let Stage::Open { stream, is_ended, .. } = &mut *stage else {
            return Err(Errno::NOTCONN);
        };
        let end = async { stream.shutdown().await.map_err(|error| errno_of(&error)) };
        self.socket.limited(end).await?;
        if !*is_ended {
            // What is there already may hold the peer's last word; the next call waits no longer.
            let mut rest = vec![0; RECORD_OCTETS];
            let read = std::pin::pin!(stream.read(&mut rest));
            if let Ok(Ok(0)) = tokio::time::timeout(LINGER, read).await {
                *is_ended = true;
            }
        }
        Ok(if *is_ended { 1.0 } else { 0.0 })
    }
}

/// What TLS itself complains about is `EPROTO`.
fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::PROTO)
}

/// Parks the script until `work` is done. An error is kept for `errno`, and the value is none.
fn wait<F, W>(ctx: &CallContext<'_>, work: F) -> Result<NativeStep, Thrown>
where
    F: FnOnce(Arc<TlsState>) -> W,
    W: Future<Output = Result<Value, Errno>> + Send + 'static,
{
    let state = ctx.state_of_this::<TlsState>()?;
    let work = work(Arc::clone(&state));
    Ok(NativeStep::SuspendThen {
        future: Box::pin(async move {
            Ok(work.await.unwrap_or_else(|error| {
                state.errno.store(error.raw_os_error(), Ordering::Relaxed);
                Value::None
            }))
        }),
        then: Box::new(|ctx: &mut CallContext<'_>, value: Value| charged(ctx, value)),
    })
}

/// A record of TLS holds no more (RFC 8446 §5.1), and one read gives no more than a record.
const RECORD_OCTETS: usize = 16 << 10;
/// For the peer's answer to a shutdown.
const LINGER: std::time::Duration = std::time::Duration::from_millis(100);
