//! Accepts control clients and carries their frames.
//!
//! Access control is the socket's owner, group and mode. Garbage gets an error and the end of the
//! connection, nothing more.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::startup::ControlSocket;
use control::command::Program;
use control::frame::{self, RequestDecoder, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

use crate::context::Core;
use crate::control::dispatch;

/// A bound control socket.
pub(crate) enum Bound {
    Unix(std::os::unix::net::UnixListener, SocketFile),
    Tcp(std::net::TcpListener),
}

/// The socket's file; left behind it would only be refused connections, so it goes with this value.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds the control socket with its owner, group and mode. A socket that a dead process left
/// behind is replaced; one that somebody listens on is not.
///
/// # Errors
///
/// Names the path and what is wrong.
pub(crate) fn bind(settings: &ControlSocket) -> io::Result<Bound> {
    match settings {
        ControlSocket::Tcp { address, port, .. } => {
            let address = address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
            let listener = std::net::TcpListener::bind((address, *port))?;
            listener.set_nonblocking(true)?;
            Ok(Bound::Tcp(listener))
        }
        ControlSocket::Unix { path, owner, group, chmod } => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!("{} is in use by another process", path.display()),
                ));
            }
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(named(path, error));
                }
                _ => {}
            }
            let listener =
                std::os::unix::net::UnixListener::bind(path).map_err(|error| named(path, error))?;
            let file = SocketFile(path.clone());
            listener.set_nonblocking(true)?;
            let mode = std::fs::Permissions::from_mode(chmod.bits());
            std::fs::set_permissions(path, mode).map_err(|error| named(path, error))?;
            let uid = owner.as_deref().map(find_user).transpose()?;
            let gid = group.as_deref().map(find_group).transpose()?;
            if uid.is_some() || gid.is_some() {
                nix::unistd::chown(path.as_path(), uid, gid)
                    .map_err(|error| named(path, error.into()))?;
            }
            Ok(Bound::Unix(listener, file))
        }
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn find_user(name: &str) -> io::Result<nix::unistd::Uid> {
    nix::unistd::User::from_name(name)?
        .map(|user| user.uid)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name}")))
}

fn find_group(name: &str) -> io::Result<nix::unistd::Gid> {
    nix::unistd::Group::from_name(name)?
        .map(|group| group.gid)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no group {name}")))
}

/// Serves until told to end, which is the last thing in a shutdown.
pub(crate) async fn serve(core: Arc<Core>, bound: Bound, end: tokio_util::sync::CancellationToken) {
    let mut clients = tokio::task::JoinSet::new();
    let result = match bound {
        Bound::Unix(listener, file) => {
            let result = match UnixListener::from_std(listener) {
                Ok(listener) => loop {
                    let accepted = tokio::select! {
                        biased;
                        () = end.cancelled() => break Ok(()),
                        accepted = listener.accept() => accepted,
                    };
                    take(&core, &mut clients, accepted.map(|(stream, _)| stream)).await;
                },
                Err(error) => Err(error),
            };
            drop(file);
            result
        }
        Bound::Tcp(listener) => match TcpListener::from_std(listener) {
            Ok(listener) => loop {
                let accepted = tokio::select! {
                    biased;
                    () = end.cancelled() => break Ok(()),
                    accepted = listener.accept() => accepted,
                };
                take(&core, &mut clients, accepted.map(|(stream, _)| stream)).await;
            },
            Err(error) => Err(error),
        },
    };
    if let Err(error) = result {
        tracing::error!(%error, "control.listener_failed");
    }
}

async fn take<S>(core: &Arc<Core>, clients: &mut tokio::task::JoinSet<()>, accepted: io::Result<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    while clients.try_join_next().is_some() {}
    match accepted {
        Ok(_) if clients.len() >= MAX_CLIENTS => {
            tracing::warn!(error = "too many control clients", "control.connection_failed");
        }
        Ok(stream) => {
            let core = Arc::clone(core);
            clients.spawn(async move {
                if let Err(error) = talk(&core, stream).await {
                    tracing::debug!(%error, "control.connection_failed");
                }
            });
        }
        Err(error) => {
            tracing::error!(%error, "control.listener_failed");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// One client: any number of requests, each answered before the next is read.
async fn talk<S>(core: &Arc<Core>, mut stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut decoder = RequestDecoder::new(Program::Smtpd);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let patience = if decoder.is_idle() { IDLE_PATIENCE } else { FRAME_PATIENCE };
        let read = timeout(patience, stream.read(&mut buffer)).await??;
        if read == 0 {
            return Ok(());
        }
        let mut input = buffer.get(..read).unwrap_or_default();
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(request)) => {
                    let mut answer = Vec::new();
                    match Box::pin(dispatch::answer(core, &request)).await {
                        Ok(body) => frame::encode_response(Status::Success, &body, &mut answer),
                        Err(error) => frame::encode_error(&error.0, &mut answer),
                    }
                    timeout(FRAME_PATIENCE, stream.write_all(&answer)).await??;
                }
                Ok(None) => break,
                Err(error) => {
                    let mut answer = Vec::new();
                    frame::encode_error(&error.to_string(), &mut answer);
                    let _ = timeout(FRAME_PATIENCE, stream.write_all(&answer)).await;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string()));
                }
            }
        }
    }
}

/// Control clients at a time; people and a few collectors.
const MAX_CLIENTS: usize = 256;

/// How long a client may be silent between requests: dashboards keep connections.
const IDLE_PATIENCE: Duration = Duration::from_secs(3600);

/// How long a client may take in the middle of a request or an answer.
const FRAME_PATIENCE: Duration = Duration::from_secs(30);
