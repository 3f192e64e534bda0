//! What is known of a connection and of the transaction on it: what hooks see and queue rows keep.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use mta_types::{Address, ServerId, TransactionId, TransportId};
use smtp::parameters::Parameters;
use smtp::server::HelloVerb;

/// A connection's facts; they fill up as the conversation goes on.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The connection's id: that of its first transaction.
    pub(crate) connection: TransactionId,
    /// The transaction's id.
    pub(crate) id: TransactionId,
    /// Both ends of a connection over the network; `None` for one within this machine, and for a
    /// message that a plugin injects.
    pub(crate) ends: Option<Ends>,
    /// The peer's address as the connect script has it.
    pub(crate) stated: Option<IpAddr>,
    /// Who connected within this machine.
    pub(crate) remoteuid: Option<u32>,
    /// The proxy between the peer and us.
    pub(crate) proxy: Option<Box<Proxy>>,
    pub(crate) serverid: ServerId,
    /// The peer's confirmed host name.
    pub(crate) remoteptr: Option<String>,
    pub(crate) helo: Option<(HelloVerb, String)>,
    pub(crate) tls: Option<Box<tls_policy::Session>>,
    pub(crate) auth: Option<Box<AuthFacts>>,
}

/// Where a connection comes from.
pub(crate) enum Origin {
    /// A peer in the network, perhaps behind a proxy.
    Network(Ends, Option<Box<Proxy>>),
    /// A program of this machine, by its user.
    Local { uid: u32 },
}

/// What a proxy is and said, beside the addresses.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) ip: IpAddr,
    /// Type-length-value fields of a version 2 header, as they came.
    pub(crate) tlv: Vec<u8>,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl Facts {
    /// The peer's address, an IPv4 one as such.
    pub(crate) fn remoteip(&self) -> Option<IpAddr> {
        let address = self.stated.or(self.ends.map(|ends| ends.remote.ip()));
        address.map(|ip| ip.to_canonical())
    }

    /// The peer's address for the log.
    pub(crate) fn peer(&self) -> String {
        match (self.remoteip(), self.remoteuid) {
            (Some(ip), _) => ip.to_string(),
            (None, Some(uid)) => format!("uid {uid}"),
            (None, None) => "plugin".to_owned(),
        }
    }
}

/// What operators see of an open connection.
pub(crate) struct InboundEntry {
    /// The id of its first transaction.
    pub(crate) id: TransactionId,
    /// `None` for a connection within this machine.
    pub(crate) ends: Option<Ends>,
    pub(crate) serverid: ServerId,
    pub(crate) remoteptr: OnceLock<String>,
    pub(crate) since: Instant,
    pub(crate) messages: AtomicU64,
    /// What is said when an operator closes it; set before that.
    pub(crate) farewell: OnceLock<smtp::server::Verdict>,
}

/// A successful login.
#[derive(Debug)]
pub(crate) struct AuthFacts {
    pub(crate) mechanism: String,
    pub(crate) username: Option<Vec<u8>>,
}

/// From MAIL to the end of data.
#[derive(Debug)]
pub(crate) struct TransactionFacts {
    pub(crate) sender: Address,
    pub(crate) params: Parameters,
    pub(crate) recipients: Vec<RecipientFacts>,
}

/// An accepted recipient.
#[derive(Clone, Debug)]
pub(crate) struct RecipientFacts {
    pub(crate) address: Address,
    pub(crate) params: Parameters,
    pub(crate) transportid: Option<TransportId>,
}
