//! A socket of the system, never blocking.
//!
//! The descriptor is given to the runtime only once it can be connected: a stream socket that is
//! not would be reported as hung up for ever. Every wait ends after the socket's timeout.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hsl::host::Thrown;
use hsl::value::Value;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::services::Timer;

/// Where to connect or bind.
pub(super) struct Peer {
    address: Vec<u8>,
    port: u16,
}

impl Peer {
    /// An address as scripts give it.
    pub(super) fn new(address: &[u8], port: Option<f64>) -> Result<Self, Errno> {
        let port = port.unwrap_or_default();
        if !(0.0..=65_535.0).contains(&port) {
            return Err(Errno::INVAL);
        }
        Ok(Self { address: address.to_vec(), port: port as u16 })
    }

    fn inet(&self) -> Result<SocketAddr, Errno> {
        let text = str::from_utf8(&self.address).map_err(|_| Errno::INVAL)?;
        let ip: IpAddr = text.parse().map_err(|_| Errno::INVAL)?;
        Ok(SocketAddr::new(ip, self.port))
    }

    fn unix(&self) -> Result<SocketAddrUnix, Errno> {
        match self.address.strip_prefix(b"\0") {
            Some(name) => SocketAddrUnix::new_abstract_name(name),
            None => SocketAddrUnix::new(self.address.as_slice()),
        }
    }
}

/// How `recv` waits and takes.
#[derive(Clone, Copy, Default)]
pub(super) struct RecvMode {
    is_peek: bool,
    is_waitall: bool,
    is_dontwait: bool,
}

impl RecvMode {
    /// The flags of an argument: a name, or an array of names.
    pub(super) fn of(value: &Value) -> Result<Self, Thrown> {
        let mut mode = Self::default();
        let mut set = |name: &[u8]| {
            match name {
                b"MSG_PEEK" => mode.is_peek = true,
                b"MSG_WAITALL" => mode.is_waitall = true,
                b"MSG_DONTWAIT" => mode.is_dontwait = true,
                _ => {
                    let message = "recv() knows MSG_PEEK, MSG_WAITALL and MSG_DONTWAIT";
                    return Err(Thrown::new(message));
                }
            }
            Ok(())
        };
        match value {
            Value::String(name) => set(name.as_bytes())?,
            Value::Array(names) => {
                for name in names.values() {
                    set(name.as_bytes().unwrap_or_default())?;
                }
            }
            _ => {}
        }
        Ok(mode)
    }
}

/// How many sockets the scripts of this library have open. Their descriptors are the program's, so
/// they may take a part of what it may open and no more.
pub(super) struct Places {
    open: AtomicUsize,
    most: usize,
}

/// One place, given back when dropped.
pub(super) struct Place(Arc<Places>);

impl Places {
    /// A quarter of the descriptors that the process may open.
    pub(super) fn new() -> Arc<Self> {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = limit.map_or(MOST_SOCKETS, |limit| usize::try_from(limit / 4).unwrap_or(0));
        Arc::new(Self { open: AtomicUsize::new(0), most: most.min(MOST_SOCKETS) })
    }

    /// Takes a place.
    ///
    /// # Errors
    ///
    /// When all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Result<Place, Thrown> {
        let taken = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < self.most).then_some(open + 1)
        });
        match taken {
            Ok(_) => Ok(Place(Arc::clone(self))),
            Err(_) => Err(Thrown::new(format!("scripts have {} sockets open already", self.most))),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open socket and the place it takes. Both are given back together, when the last who holds it
/// lets go: that may be a TLS stream over a socket that was closed.
pub(super) struct Descriptor {
    fd: OwnedFd,
    _place: Place,
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A socket that the runtime watches.
type Watched = Arc<AsyncFd<Arc<Descriptor>>>;

/// The state of a `Socket` object.
pub(super) struct SocketState {
    family: AddressFamily,
    is_datagram: bool,
    timer: Arc<dyn Timer>,
    inner: Mutex<Inner>,
    errno: AtomicI32,
}

struct Inner {
    /// `None` once closed.
    fd: Option<Arc<Descriptor>>,
    /// The descriptor as the runtime watches it.
    watched: Option<Watched>,
    timeout: Option<Duration>,
}

impl SocketState {
    /// Opens a socket.
    pub(super) fn open(
        family: AddressFamily,
        kind: SocketType,
        timer: Arc<dyn Timer>,
        place: Place,
    ) -> Result<Self, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, kind, flags, None)?;
        Ok(Self::new(family, kind, fd, timer, place))
    }

    /// Takes a socket that is there already.
    pub(super) fn adopt(fd: OwnedFd, timer: Arc<dyn Timer>, place: Place) -> Result<Self, Errno> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let family = rustix::net::getsockname(&fd)?.address_family();
        let kind = sockopt::socket_type(&fd)?;
        Ok(Self::new(family, kind, fd, timer, place))
    }

    fn new(
        family: AddressFamily,
        kind: SocketType,
        fd: OwnedFd,
        timer: Arc<dyn Timer>,
        place: Place,
    ) -> Self {
        Self {
            family,
            is_datagram: kind == SocketType::DGRAM,
            timer,
            inner: Mutex::new(Inner {
                fd: Some(Arc::new(Descriptor { fd, _place: place })),
                watched: None,
                timeout: None,
            }),
            errno: AtomicI32::new(0),
        }
    }

    fn fd(&self) -> Result<Arc<Descriptor>, Errno> {
        self.inner.lock().fd.clone().ok_or(Errno::BADF)
    }

    /// The number of the descriptor; `None` once closed.
    pub(super) fn descriptor(&self) -> Option<i32> {
        self.inner.lock().fd.as_ref().map(|descriptor| descriptor.fd.as_raw_fd())
    }

    /// The descriptor, watched by the runtime. Not for a stream socket before it connects.
    fn watched(&self) -> Result<Watched, Errno> {
        let mut inner = self.inner.lock();
        if let Some(watched) = &inner.watched {
            return Ok(Arc::clone(watched));
        }
        let fd = inner.fd.clone().ok_or(Errno::BADF)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for descriptors that may be closed \
                                       early; this one is owned by what is watched"
        )]
        let watched = AsyncFd::with_interest(fd, Interest::READABLE | Interest::WRITABLE);
        let watched = Arc::new(watched.map_err(|error| errno_of(&error))?);
        inner.watched = Some(Arc::clone(&watched));
        Ok(watched)
    }

    /// The last failure's number.
    pub(super) fn errno(&self) -> f64 {
        self.errno.load(Ordering::Relaxed).into()
    }

    pub(super) fn set_errno(&self, error: Errno) {
        self.errno.store(error.raw_os_error(), Ordering::Relaxed);
    }

    pub(super) fn set_timeout(&self, seconds: f64) -> Result<(), Thrown> {
        let timeout = Duration::try_from_secs_f64(seconds)
            .map_err(|_| Thrown::new("settimeout() needs a number of seconds"))?;
        self.inner.lock().timeout = (!timeout.is_zero()).then_some(timeout);
        Ok(())
    }

    /// Waits for `work`, at most as long as the timeout says.
    pub(super) async fn limited<T>(
        &self,
        work: impl Future<Output = Result<T, Errno>>,
    ) -> Result<T, Errno> {
        let timeout = self.inner.lock().timeout;
        let Some(timeout) = timeout else { return work.await };
        tokio::select! {
            biased;
            result = work => result,
            () = self.timer.sleep(timeout) => Err(Errno::TIMEDOUT),
        }
    }

    pub(super) fn bind(&self, address: &Peer, is_nonlocal: bool) -> Result<(), Errno> {
        let fd = self.fd()?;
        if self.family == AddressFamily::UNIX {
            return rustix::net::bind(&fd, &address.unix()?);
        }
        if is_nonlocal {
            sockopt::set_ip_freebind(&fd, true)?;
        }
        let address = address.inet()?;
        self.check_family(&address)?;
        rustix::net::bind(&fd, &address)
    }

    fn check_family(&self, address: &SocketAddr) -> Result<(), Errno> {
        if address.is_ipv6() == (self.family == AddressFamily::INET6) {
            Ok(())
        } else {
            Err(Errno::AFNOSUPPORT)
        }
    }

    /// Connects.
    pub(super) async fn connect(&self, peer: &Peer) -> Result<(), Errno> {
        self.limited(async {
            let fd = self.fd()?;
            if !self.is_datagram {
                // Watched since an earlier attempt: reported as hung up for ever.
                self.inner.lock().watched = None;
            }
            loop {
                let result = if self.family == AddressFamily::UNIX {
                    rustix::net::connect(&fd, &peer.unix()?)
                } else {
                    let address = peer.inet()?;
                    self.check_family(&address)?;
                    rustix::net::connect(&fd, &address)
                };
                match result {
                    Err(Errno::INTR) => {}
                    // A Unix socket whose peer has a full queue: nothing tells when it is not.
                    Err(Errno::AGAIN) => self.timer.sleep(RETRY).await,
                    Err(Errno::INPROGRESS) => return self.connected(&fd).await,
                    other => return other,
                }
            }
        })
        .await
    }

    async fn connected(&self, fd: &Descriptor) -> Result<(), Errno> {
        let watched = self.watched()?;
        loop {
            let mut ready = watched.writable().await.map_err(|error| errno_of(&error))?;
            sockopt::socket_error(fd)??;
            match rustix::net::getpeername(fd) {
                Err(Errno::NOTCONN) => ready.clear_ready(),
                other => return other.map(drop),
            }
        }
    }

    /// Receives at most `length` octets; empty at the end of a stream.
    pub(super) async fn recv(&self, length: usize, mode: RecvMode) -> Result<Vec<u8>, Errno> {
        // A datagram comes whole or not at all; the rest of it is lost as with any recv.
        let is_waitall = mode.is_waitall && !self.is_datagram;
        let flags = if mode.is_peek { RecvFlags::PEEK } else { RecvFlags::empty() };
        if mode.is_dontwait {
            return take(&*self.fd()?, length.min(MAX_AT_ONCE), flags);
        }
        self.limited(async {
            let fd = &*self.fd()?;
            let mut all = Vec::new();
            loop {
                let want = (length - all.len()).min(MAX_AT_ONCE);
                let piece = match take(fd, want, flags) {
                    Err(Errno::AGAIN) => {
                        readable(&*self.watched()?).await?;
                        continue;
                    }
                    Err(error) if all.is_empty() => return Err(error),
                    // What came before the failure is not lost; the next call meets it again.
                    Err(_) => return Ok(all),
                    Ok(piece) => piece,
                };
                if !is_waitall {
                    return Ok(piece);
                }
                if mode.is_peek {
                    if piece.len() >= want || is_ended(fd, piece.len()) {
                        return Ok(piece);
                    }
                    // Wait for more than what is there: a new edge, not the present state.
                    self.timer.sleep(RETRY).await;
                    continue;
                }
                if piece.is_empty() {
                    return Ok(all);
                }
                all.extend_from_slice(&piece);
                if all.len() >= length {
                    return Ok(all);
                }
            }
        })
        .await
    }

    /// Sends all of `data`; the count is less only when a part was sent before a failure.
    pub(super) async fn send_all(&self, data: &[u8]) -> Result<usize, Errno> {
        let mut sent = 0;
        let result = self
            .limited(async {
                let fd = self.fd()?;
                loop {
                    let rest = data.get(sent..).unwrap_or_default();
                    match rustix::net::send(&*fd, rest, SendFlags::NOSIGNAL) {
                        Ok(count) => {
                            sent += count;
                            if sent >= data.len() || self.is_datagram {
                                return Ok(());
                            }
                        }
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => writable(&*self.watched()?).await?,
                        Err(error) => return Err(error),
                    }
                }
            })
            .await;
        match result {
            Err(error) if sent == 0 => Err(error),
            _ => Ok(sent),
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        rustix::net::shutdown(&*self.fd()?, how)
    }

    /// Closes the socket. Whoever still waits for it, or speaks TLS over it, sees its end.
    pub(super) fn close(&self) -> Result<(), Errno> {
        let (fd, watched) = {
            let mut inner = self.inner.lock();
            (inner.fd.take(), inner.watched.take())
        };
        let fd = fd.ok_or(Errno::BADF)?;
        if watched.is_some_and(|watched| Arc::strong_count(&watched) > 1) {
            // It may be over already; then there is nothing to end.
            let _ = rustix::net::shutdown(&*fd, Shutdown::Both);
        }
        Ok(())
    }

    /// The stream for a TLS library.
    pub(super) fn stream(&self) -> Result<SocketStream, Errno> {
        rustix::net::getpeername(&*self.fd()?)?;
        self.watched().map(SocketStream)
    }
}

/// Takes what is there now.
fn take(fd: &Descriptor, length: usize, flags: RecvFlags) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; length];
    loop {
        match rustix::net::recv(fd, buffer.as_mut_slice(), flags) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok((_, count)) => {
                buffer.truncate(count);
                buffer.shrink_to_fit();
                return Ok(buffer);
            }
        }
    }
}

/// Whether the peer has said that no more comes after the `seen` octets that wait.
fn is_ended(fd: &Descriptor, seen: usize) -> bool {
    let mut poll = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::RDHUP)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let has_event = rustix::event::poll(&mut poll, Some(&now)).is_ok_and(|count| count > 0);
    seen == 0 || has_event
}

async fn readable(watched: &AsyncFd<Arc<Descriptor>>) -> Result<(), Errno> {
    let ready = watched.readable().await;
    ready
        .map(|mut ready| clear_unless(&mut ready, Interest::READABLE))
        .map_err(|error| errno_of(&error))
}

async fn writable(watched: &AsyncFd<Arc<Descriptor>>) -> Result<(), Errno> {
    let ready = watched.writable().await;
    ready
        .map(|mut ready| clear_unless(&mut ready, Interest::WRITABLE))
        .map_err(|error| errno_of(&error))
}

/// Forgets readiness that the descriptor does not have any more.
fn clear_unless(
    ready: &mut tokio::io::unix::AsyncFdReadyGuard<'_, Arc<Descriptor>>,
    interest: Interest,
) {
    let flags = if interest.is_readable() {
        rustix::event::PollFlags::IN
    } else {
        rustix::event::PollFlags::OUT
    };
    let is_ready = {
        let mut poll = [rustix::event::PollFd::new(&**ready.get_inner(), flags)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut poll, Some(&now)).is_ok_and(|count| count > 0)
    };
    if !is_ready {
        ready.clear_ready();
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// A connected socket as a stream.
pub(super) struct SocketStream(Watched);

impl AsyncRead for SocketStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = std::task::ready!(self.0.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            let result = ready.try_io(|fd| {
                let (_, count) =
                    rustix::net::recv(fd.get_ref(), &mut *unfilled, RecvFlags::empty())?;
                Ok(count)
            });
            match result {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_not_ready) => {}
            }
        }
    }
}

impl AsyncWrite for SocketStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = std::task::ready!(self.0.poll_write_ready(context))?;
            let send = |fd: &AsyncFd<Arc<Descriptor>>| {
                Ok(rustix::net::send(fd.get_ref(), data, SendFlags::NOSIGNAL)?)
            };
            match ready.try_io(send) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_not_ready) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The end of the encryption is not the end of the connection.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// One call takes no more at once; a script that wants more gets it with `MSG_WAITALL`.
const MAX_AT_ONCE: usize = 1 << 20;
/// However many descriptors the process may open.
const MOST_SOCKETS: usize = 10_000;
/// Between looks at what the system does not announce.
const RETRY: Duration = Duration::from_millis(5);
