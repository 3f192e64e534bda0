//! Connections: accepts them, serves HTTP/1 on them, and drains them at the end.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Connections of one listener at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// How long the head of a request may take, and so how long a connection may rest.
const HEAD_DEADLINE: Duration = Duration::from_secs(20);
/// Octets of the head of a request.
const MAX_HEAD: usize = 64 << 10;
/// How long requests may go on after the program was asked to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// The pause after a failed accept: often too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
}

/// Serves a listener until `stop`, then lets requests under way come to their end.
///
/// # Errors
///
/// When the runtime cannot take the listener.
pub async fn serve(
    listener: StdListener,
    router: Router,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &limit) => accepted,
            () = stop.cancelled() => break,
        };
        // Finished tasks leave the set here, so that it does not grow.
        while connections.try_join_next().is_some() {}
        let (stream, address, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "admin.accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = Peer { address, is_tls: false };
        let service = TowerToHyperService::new(router.clone().layer(Extension(peer)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(remoteip = %address.ip(), %error, "admin.connection_failed");
            }
            drop(permit);
        });
    }
    drop(listener);
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "admin.drain_timed_out");
    }
    connections.shutdown().await;
    Ok(())
}

/// Accepts a connection when one more may be open.
async fn accept(
    listener: &TcpListener,
    limit: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(limit).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    // Only a matter of speed.
    let _ = stream.set_nodelay(true);
    Ok((stream, address, permit))
}
