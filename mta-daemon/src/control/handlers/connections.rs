//! Open connections: list and close, on both sides.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use control::{Message, pb};
use queue::IpNet;
use smtp::server::Verdict;

use crate::connections::Entry;
use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};
use crate::inbound::facts::InboundEntry;
use crate::outbound::smtp::OutboundEntry;

/// Which connections are meant; what is empty means any.
struct Filter {
    connectionid: String,
    localip: Option<IpNet>,
    remoteip: Option<IpNet>,
    proxyip: Option<IpNet>,
    /// Server id, or host.
    name: String,
    id: Option<pb::QueueItemId>,
}

impl Filter {
    fn new(
        connectionid: String,
        localip: &str,
        remoteip: &str,
        name: String,
    ) -> Result<Self, ControlError> {
        Ok(Self {
            connectionid,
            localip: network(localip)?,
            remoteip: network(remoteip)?,
            proxyip: None,
            name,
            id: None,
        })
    }

    fn is_any_address(&self) -> bool {
        self.localip.is_none() && self.remoteip.is_none()
    }

    fn addresses(&self, local: IpAddr, remote: IpAddr) -> bool {
        self.localip.is_none_or(|net| net.contains(local.to_canonical()))
            && self.remoteip.is_none_or(|net| net.contains(remote.to_canonical()))
    }

    fn inbound(&self, facts: &InboundEntry) -> bool {
        (self.connectionid.is_empty() || self.connectionid == facts.id.to_string())
            && (self.name.is_empty() || self.name == facts.serverid.as_str())
            && facts.ends.map_or_else(
                || self.is_any_address(),
                |ends| self.addresses(ends.local.ip(), ends.remote.ip()),
            )
    }

    fn outbound(&self, facts: &OutboundEntry) -> bool {
        let row = facts.now.lock().row;
        (self.connectionid.is_empty() || self.connectionid == facts.id)
            && (self.name.is_empty() || self.name.eq_ignore_ascii_case(&facts.host))
            && self.addresses(facts.local.ip(), facts.remote.ip())
            && self.proxyip.is_none_or(|net| facts.proxy.is_some_and(|ip| net.contains(ip)))
            && self.id.as_ref().is_none_or(|wanted| {
                row.is_some_and(|row| {
                    wanted.transaction == row.transaction.to_string()
                        && (wanted.queue == 0 || wanted.queue == u64::from(row.queue.0))
                })
            })
    }
}

/// An address or network; nothing is any.
fn network(text: &str) -> Result<Option<IpNet>, ControlError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| ControlError(format!("{text} is no address or network"));
    text.parse().map(Some).map_err(wrong)
}

/// Lists connections from peers.
pub(crate) fn list_server(core: &Core, request: pb::ServerConnectionsListRequest) -> Answer {
    let wanted = request.condition.unwrap_or_default();
    let filter =
        Filter::new(wanted.connectionid, &wanted.localip, &wanted.remoteip, wanted.serverid)?;
    let connections = page(core.inbound.list(), request.paging, |facts| filter.inbound(facts))
        .map(|entry| {
            let facts = &entry.facts;
            let (local, remote) = facts.ends.map(|ends| (ends.local, ends.remote)).unzip();
            let ip = |end: Option<SocketAddr>| end.map(|end| end.ip().to_string());
            let port = |end: Option<SocketAddr>| end.map_or(0, |end| end.port().into());
            pb::server_connections_list_response::Connection {
                connectionid: facts.id.to_string(),
                remoteip: ip(remote).unwrap_or_default(),
                remoteptr: facts.remoteptr.get().cloned().unwrap_or_default(),
                serverid: facts.serverid.to_string(),
                duration: facts.since.elapsed().as_secs_f64(),
                transactions: facts.messages.load(Ordering::Relaxed),
                remoteport: port(remote),
                localip: ip(local).unwrap_or_default(),
                localport: port(local),
            }
        })
        .collect();
    Ok(pb::ServerConnectionsListResponse { connections }.encode_to_vec())
}

/// Closes connections from peers, each when it next waits for its peer.
pub(crate) fn close_server(core: &Core, request: pb::ServerConnectionsCloseRequest) -> Answer {
    let filter =
        Filter::new(request.connectionid, &request.localip, &request.remoteip, request.serverid)?;
    let farewell = match request.reply {
        None => None,
        Some(reply) => {
            let code = u16::try_from(reply.code).unwrap_or(0);
            if !(400..600).contains(&code) {
                return Err(ControlError(format!("{} is no code of a refusal", reply.code)));
            }
            let verdict = if code < 500 { Verdict::defer() } else { Verdict::reject() };
            Some(verdict.with_code(code).with_text(&reply.reason))
        }
    };
    let mut affected = 0;
    for entry in core.inbound.list().iter().filter(|entry| filter.inbound(&entry.facts)) {
        if let Some(farewell) = &farewell {
            // Whoever closes first chooses the words.
            let _ = entry.facts.farewell.set(farewell.clone());
        }
        entry.close.cancel();
        affected += 1;
    }
    Ok(pb::ServerConnectionsCloseResponse { affected }.encode_to_vec())
}

/// Lists connections to peers, idle ones too.
pub(crate) fn list_queue(core: &Core, request: pb::QueueConnectionsListRequest) -> Answer {
    let wanted = request.condition.unwrap_or_default();
    let mut filter =
        Filter::new(wanted.connectionid, &wanted.localip, &wanted.remoteip, wanted.remotemx)?;
    filter.id = wanted.id;
    filter.proxyip = network(&wanted.proxyip)?;
    let connections = page(core.outbound.list(), request.paging, |facts| filter.outbound(facts))
        .map(|entry| {
            let facts = &entry.facts;
            let now = *facts.now.lock();
            pb::queue_connections_list_response::Connection {
                connectionid: facts.id.clone(),
                localip: facts.local.ip().to_string(),
                localport: facts.local.port().into(),
                remoteip: facts.remote.ip().to_string(),
                remoteport: facts.remote.port().into(),
                proxyip: facts.proxy.map(|ip| ip.to_string()).unwrap_or_default(),
                duration: facts.since.elapsed().as_secs_f64(),
                transactions: now.transactions.into(),
                state: now.state.to_owned(),
                stateduration: now.since.elapsed().as_secs_f64(),
                id: now.row.map(|row| pb::QueueItemId {
                    transaction: row.transaction.to_string(),
                    queue: row.queue.0.into(),
                }),
                remotemx: facts.host.to_string(),
            }
        })
        .collect();
    Ok(pb::QueueConnectionsListResponse { connections }.encode_to_vec())
}

/// Closes connections to peers; a message under way is tried again.
pub(crate) fn close_queue(core: &Core, request: pb::QueueConnectionsCloseRequest) -> Answer {
    let mut filter =
        Filter::new(request.connectionid, &request.localip, &request.remoteip, request.remotemx)?;
    filter.id = request.id;
    filter.proxyip = network(&request.proxyip)?;
    let mut affected = 0;
    for entry in core.outbound.list().iter().filter(|entry| filter.outbound(&entry.facts)) {
        entry.close.cancel();
        affected += 1;
    }
    core.pool.drop_closed();
    Ok(pb::QueueConnectionsCloseResponse { affected }.encode_to_vec())
}

fn page<T>(
    all: Vec<Arc<Entry<T>>>,
    paging: Option<pb::Paging>,
    wanted: impl Fn(&T) -> bool,
) -> impl Iterator<Item = Arc<Entry<T>>> {
    let paging = paging.unwrap_or_default();
    let offset = usize::try_from(paging.offset).unwrap_or(usize::MAX);
    let limit = match paging.limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    all.into_iter().filter(move |entry| wanted(&entry.facts)).skip(offset).take(limit)
}
