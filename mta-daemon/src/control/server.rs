//! Accepts control clients and carries their frames.
//!
//! Access control is the socket's owner, group and mode. Garbage gets an error and the end of the
//! connection, nothing more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use config::startup::ControlSocket;
use control::command::Program;
use control::frame::{self, RequestDecoder, Status};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

use crate::context::Core;
use crate::control::client::{ControlClient, FRAME_PATIENCE, Stream, Wire};
use crate::control::dispatch;
use crate::unix_socket::{self, SocketFile};

/// A bound control socket.
pub(crate) enum Bound {
    Unix(std::os::unix::net::UnixListener, SocketFile),
    Tcp(std::net::TcpListener),
}

/// Binds the control socket.
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
        ControlSocket::Unix(socket) => {
            let (listener, file) = unix_socket::bind(socket)?;
            Ok(Bound::Unix(listener, file))
        }
    }
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

async fn take(
    core: &Arc<Core>,
    clients: &mut tokio::task::JoinSet<()>,
    accepted: io::Result<impl Stream + 'static>,
) {
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
async fn talk(core: &Arc<Core>, mut stream: impl Stream) -> io::Result<()> {
    let mut decoder = RequestDecoder::new(Program::Smtpd);
    let mut wire = Wire::new(&mut stream);
    let mut client = ControlClient::default();
    loop {
        let patience = if decoder.is_idle() { IDLE_PATIENCE } else { FRAME_PATIENCE };
        if timeout(patience, wire.fill()).await?? == 0 {
            return Ok(());
        }
        while !wire.received().is_empty() {
            let mut input = wire.received().as_slice();
            let decoded = decoder.decode(&mut input);
            let rest = input.len();
            let used = wire.received().len() - rest;
            wire.received().drain(..used);
            let mut answer = Vec::new();
            match decoded {
                Ok(Some(request)) => {
                    let work = dispatch::answer(core, &mut client, &mut wire, &request);
                    match Box::pin(work).await {
                        Ok(body) => frame::encode_response(Status::Success, &body, &mut answer),
                        Err(error) => frame::encode_error(&error.0, &mut answer),
                    }
                    wire.send(&answer).await?;
                }
                Ok(None) => {}
                Err(error) => {
                    frame::encode_error(&error.to_string(), &mut answer);
                    let _ = wire.send(&answer).await;
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
