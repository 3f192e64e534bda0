//! A name server on loopback that answers from a table.
//!
//! Names that are not in the table do not exist; names marked failing get SERVFAIL; names marked
//! silent get no answer at all.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, MX, PTR, TLSA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What the name server says, by name.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    records: HashMap<Name, Vec<RData>>,
    failing: Vec<Name>,
    silent: Vec<Name>,
    validated: bool,
}

impl Zone {
    /// An empty zone: no name exists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an address.
    #[must_use]
    pub fn address(self, name: &str, ip: &str) -> Self {
        let data = match ip.parse().expect("an address") {
            IpAddr::V4(ip) => RData::A(A(ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        };
        self.record(name, data)
    }

    /// Adds a mail exchanger; `host` may be `.`.
    #[must_use]
    pub fn mx(self, name: &str, preference: u16, host: &str) -> Self {
        self.record(name, RData::MX(MX::new(preference, absolute(host))))
    }

    /// Adds a text record.
    #[must_use]
    pub fn txt(self, name: &str, strings: &[&str]) -> Self {
        let strings = strings.iter().map(|s| (*s).to_owned()).collect();
        self.record(name, RData::TXT(TXT::new(strings)))
    }

    /// Adds a name for a reverse name.
    #[must_use]
    pub fn ptr(self, name: &str, host: &str) -> Self {
        self.record(name, RData::PTR(PTR(absolute(host))))
    }

    /// Adds a certificate association (RFC 6698).
    #[must_use]
    pub fn tlsa(self, name: &str, usage: u8, selector: u8, matching: u8, data: &[u8]) -> Self {
        let data = TLSA::new(usage.into(), selector.into(), matching.into(), data.to_vec());
        self.record(name, RData::TLSA(data))
    }

    /// Makes a name answer SERVFAIL.
    #[must_use]
    pub fn failing(mut self, name: &str) -> Self {
        self.failing.push(absolute(name));
        self
    }

    /// Makes a name get no answer.
    #[must_use]
    pub fn silent(mut self, name: &str) -> Self {
        self.silent.push(absolute(name));
        self
    }

    /// Sets the AD bit on all answers, as a validating resolver does for those who ask for it
    /// (RFC 6840 §5.8).
    #[must_use]
    pub fn validated(mut self) -> Self {
        self.validated = true;
        self
    }

    fn record(mut self, name: &str, data: RData) -> Self {
        self.records.entry(absolute(name)).or_default().push(data);
        self
    }

    /// Starts answering; the server ends with the value returned.
    ///
    /// # Panics
    ///
    /// When no loopback socket can be bound.
    pub async fn serve(self) -> ZoneServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a loopback socket");
        let address = socket.local_addr().expect("a bound socket");
        let questions = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&questions);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok((len, peer)) = socket.recv_from(&mut buffer).await {
                let Ok(request) = Message::from_bytes(&buffer[..len]) else { continue };
                let Some(response) = self.answer(&request, &log) else { continue };
                if let Ok(bytes) = response.to_vec() {
                    let _ = socket.send_to(&bytes, peer).await;
                }
            }
        });
        ZoneServer { address, questions, task }
    }

    fn answer(&self, request: &Message, log: &Mutex<Vec<String>>) -> Option<Message> {
        let query = request.queries.first()?;
        log.lock().unwrap_or_else(PoisonError::into_inner).push(format!(
            "{} {}",
            query.query_type(),
            query.name()
        ));
        let name = query.name().to_lowercase();
        if self.silent.contains(&name) {
            return None;
        }
        let mut response = Message::new(request.metadata.id, MessageType::Response, OpCode::Query);
        response.metadata.recursion_desired = request.metadata.recursion_desired;
        response.metadata.recursion_available = true;
        let wants_to_know = request.metadata.authentic_data
            || request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        response.metadata.authentic_data = self.validated && wants_to_know;
        response.add_query(query.clone());
        if self.failing.contains(&name) {
            response.metadata.response_code = ResponseCode::ServFail;
            return Some(response);
        }
        let Some(records) = self.records.get(&name) else {
            response.metadata.response_code = ResponseCode::NXDomain;
            return Some(response);
        };
        let wanted: RecordType = query.query_type();
        for data in records.iter().filter(|data| data.record_type() == wanted) {
            response.add_answer(Record::from_rdata(query.name().clone(), 60, data.clone()));
        }
        Some(response)
    }
}

/// A running name server.
#[derive(Debug)]
pub struct ZoneServer {
    /// Where it listens (UDP).
    pub address: SocketAddr,
    questions: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ZoneServer {
    /// The questions so far, each as `TYPE name.`.
    #[must_use]
    pub fn questions(&self) -> Vec<String> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ZoneServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn absolute(name: &str) -> Name {
    let mut parsed = Name::from_utf8(name).expect("a domain name").to_lowercase();
    parsed.set_fqdn(true);
    parsed
}
