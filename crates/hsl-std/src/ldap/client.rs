//! One connection to a directory: bind, search, STARTTLS (RFC 4511), one operation at a time.

use std::time::Duration;

use tls_policy::{ClientOptions, ClientTls, RootStore, Verification, Versions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ber::{self, BOOLEAN, ENUMERATED, INTEGER, OCTETS, SEQUENCE, element, number};
use super::codes;
use crate::http::connect::{Connector, Io};

/// Why an operation failed: a result code of the server, or one of ours (negative).
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: i32,
    /// The server's own words, or what TLS and the network said.
    pub(super) diagnostic: Vec<u8>,
}

impl Failure {
    fn new(code: i32, reason: &impl std::fmt::Display) -> Self {
        Self { code, diagnostic: reason.to_string().into_bytes() }
    }
}

impl From<i32> for Failure {
    fn from(code: i32) -> Self {
        Self { code, diagnostic: Vec::new() }
    }
}

/// Where a server is.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
}

/// What the script set.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// For connecting; zero for none.
    pub(super) network_timeout: Duration,
    /// For an operation; zero for none.
    pub(super) timeout: Duration,
    /// Seconds that a search may take at the server; zero for none.
    pub(super) timelimit: u32,
    pub(super) verify_peer: bool,
    pub(super) default_ca: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let (network_timeout, timeout) = (Duration::ZERO, Duration::ZERO);
        Self { network_timeout, timeout, timelimit: 0, verify_peer: true, default_ca: false }
    }
}

/// One entry: its name, and attributes with their values.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

/// What a search found. A server that gives up on the way, at its size limit for example, has sent
/// entries before it says so.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// Why there are no more.
    pub(super) failure: Option<Failure>,
}

/// What to look for.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) base: Vec<u8>,
    pub(super) scope: u32,
    /// In the octets of the protocol.
    pub(super) filter: Vec<u8>,
    pub(super) attributes: Vec<Vec<u8>>,
}

/// An open connection. After a failure of ours it is of no more use.
pub(super) struct Connection {
    stream: Option<Box<dyn Io>>,
    buffer: Vec<u8>,
    last_id: u32,
    server: Server,
    certificate: Option<Vec<u8>>,
}

impl Connection {
    /// Connects, with TLS where the server's address says so.
    pub(super) async fn open(
        connector: &Connector,
        server: Server,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let limit =
            if settings.network_timeout.is_zero() { LONG } else { settings.network_timeout };
        let connect = connector.tcp(&server.host, server.port, limit, None);
        let stream = connect.await.map_err(|error| Failure::new(codes::SERVER_DOWN, &error))?;
        let mut connection = Self { server, ..Self::over(Box::new(stream)) };
        if connection.server.is_tls {
            connection.encrypt(connector, settings).await?;
        }
        Ok(connection)
    }

    /// A connection that is there, to nobody in particular.
    pub(super) fn over(stream: Box<dyn Io>) -> Self {
        let server = Server { host: String::new(), port: 0, is_tls: false };
        Self { stream: Some(stream), buffer: Vec::new(), last_id: 0, server, certificate: None }
    }

    /// The certificate that the server showed, DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// Asks for TLS (RFC 4511 §4.14); the handshake must follow.
    pub(super) async fn ask_for_tls(&mut self, settings: &Settings) -> Result<(), Failure> {
        if self.is_encrypted() {
            return Err(codes::LOCAL_ERROR.into());
        }
        let request = element(0x77, &element(0x80, b"1.3.6.1.4.1.1466.20037"));
        let id = self.send(&request, settings).await?;
        let answer = self.answer(id, 0x78, settings, MAX_ANSWER).await?;
        outcome(&answer)
    }

    /// Whether TLS is spoken.
    pub(super) fn is_encrypted(&self) -> bool {
        self.certificate.is_some()
    }

    /// Runs the handshake of TLS.
    pub(super) async fn encrypt(
        &mut self,
        connector: &Connector,
        settings: &Settings,
    ) -> Result<(), Failure> {
        let verification = if settings.verify_peer {
            let roots =
                if settings.default_ca { connector.system_roots().await } else { RootStore::new() };
            Verification::Authority { roots, names: vec![self.server.host.clone()] }
        } else {
            Verification::None
        };
        let tls = ClientTls::new(ClientOptions {
            versions: Versions::default(),
            verification,
            identity: None,
        });
        let stream = self.stream.take().ok_or(codes::SERVER_DOWN)?;
        // What came before the handshake is nobody's word.
        if !self.buffer.is_empty() {
            return Err(codes::DECODING_ERROR.into());
        }
        let host = self.server.host.clone();
        let name = host.parse::<std::net::IpAddr>().is_err().then_some(host.as_str());
        let handshake = tls.connect_over(stream, name);
        let limit =
            if settings.network_timeout.is_zero() { LONG } else { settings.network_timeout };
        let done = tokio::time::timeout(limit, handshake).await;
        let (stream, session) = done
            .map_err(|_| codes::TIMEOUT)?
            .map_err(|error| Failure::new(codes::CONNECT_ERROR, &error))?;
        self.certificate = Some(session.peer_certificates.into_iter().next().unwrap_or_default());
        self.stream = Some(Box::new(stream));
        Ok(())
    }

    /// Authenticates (RFC 4511 §4.2, simple).
    pub(super) async fn bind(
        &mut self,
        version: u32,
        name: &[u8],
        password: &[u8],
        settings: &Settings,
    ) -> Result<(), Failure> {
        let content =
            [element(INTEGER, &number(version)), element(OCTETS, name), element(0x80, password)]
                .concat();
        let id = self.send(&element(0x60, &content), settings).await?;
        let answer = self.answer(id, 0x61, settings, MAX_ANSWER).await?;
        outcome(&answer)
    }

    /// Searches (RFC 4511 §4.5); the entries take at most `memory` octets.
    ///
    /// # Errors
    ///
    /// When there is no entry and the server does not say that it looked at all of them.
    pub(super) async fn search(
        &mut self,
        search: &Search,
        settings: &Settings,
        memory: usize,
    ) -> Result<Found, Failure> {
        let attributes: Vec<u8> =
            search.attributes.iter().flat_map(|name| element(OCTETS, name)).collect();
        let content = [
            element(OCTETS, &search.base),
            element(ENUMERATED, &number(search.scope)),
            element(ENUMERATED, &number(0)),
            element(INTEGER, &number(0)),
            element(INTEGER, &number(settings.timelimit)),
            element(BOOLEAN, &[0]),
            search.filter.clone(),
            element(SEQUENCE, &attributes),
        ]
        .concat();
        let id = self.send(&element(0x63, &content), settings).await?;
        let mut entries = Vec::new();
        let mut room = memory;
        loop {
            let (tag, content) = self.message(id, settings, memory).await?;
            match tag {
                0x64 => match entry(&content, &mut room) {
                    Ok(entry) => entries.push(entry),
                    Err(code) => {
                        self.stream = None;
                        return Err(code.into());
                    }
                },
                // References to other servers are not followed.
                0x73 => {}
                0x65 => {
                    let failure = outcome(&content).err();
                    return match failure {
                        Some(failure) if entries.is_empty() => Err(failure),
                        failure => Ok(Found { entries, failure }),
                    };
                }
                _ => return Err(codes::DECODING_ERROR.into()),
            }
        }
    }

    /// Says good-bye.
    pub(super) async fn unbind(&mut self, settings: &Settings) {
        // The server says nothing to it, and may be gone.
        let _ = self.send(&element(0x42, &[]), settings).await;
        self.stream = None;
    }

    async fn send(&mut self, operation: &[u8], settings: &Settings) -> Result<u32, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let message = [element(INTEGER, &number(id)), operation.to_vec()].concat();
        let message = element(SEQUENCE, &message);
        let stream = self.stream.as_mut().ok_or(codes::SERVER_DOWN)?;
        let write = async {
            stream.write_all(&message).await?;
            stream.flush().await
        };
        match limited(settings.timeout, write).await? {
            Ok(()) => Ok(id),
            Err(_) => {
                self.stream = None;
                Err(codes::SERVER_DOWN.into())
            }
        }
    }

    /// The content of the one answer to an operation.
    async fn answer(
        &mut self,
        id: u32,
        wanted: u8,
        settings: &Settings,
        most: usize,
    ) -> Result<Vec<u8>, Failure> {
        let (tag, content) = self.message(id, settings, most).await?;
        if tag == wanted { Ok(content) } else { Err(codes::DECODING_ERROR.into()) }
    }

    /// The next message for an operation: tag and content.
    async fn message(
        &mut self,
        id: u32,
        settings: &Settings,
        most: usize,
    ) -> Result<(u8, Vec<u8>), Failure> {
        loop {
            let message = match limited(settings.timeout, self.read(most)).await {
                Ok(Ok(message)) => message,
                Ok(Err(failure)) | Err(failure) => {
                    self.stream = None;
                    return Err(failure);
                }
            };
            let mut rest = message.as_slice();
            let parsed = ber::take(&mut rest)
                .filter(|(tag, _)| *tag == INTEGER)
                .and_then(|(_, id)| ber::read_number(id))
                .zip(ber::take(&mut rest));
            let Some((given, (tag, content))) = parsed else {
                self.stream = None;
                return Err(codes::DECODING_ERROR.into());
            };
            if u32::try_from(given) == Ok(id) {
                return Ok((tag, content.to_vec()));
            }
            // A notice of disconnection has number 0 (RFC 4511 §4.4.1); others are left-overs.
            if given == 0 {
                self.stream = None;
                return Err(codes::SERVER_DOWN.into());
            }
        }
    }

    async fn read(&mut self, most: usize) -> Result<Vec<u8>, Failure> {
        loop {
            let extent = ber::extent(&self.buffer).map_err(|()| codes::DECODING_ERROR)?;
            if let Some((start, end)) = extent {
                if end > most.saturating_add(64) {
                    return Err(codes::NO_MEMORY.into());
                }
                if let Some(content) = self.buffer.get(start..end) {
                    let is_message = self.buffer.first() == Some(&SEQUENCE);
                    let content = content.to_vec();
                    self.buffer.drain(..end);
                    return if is_message {
                        Ok(content)
                    } else {
                        Err(codes::DECODING_ERROR.into())
                    };
                }
            }
            let stream = self.stream.as_mut().ok_or(codes::SERVER_DOWN)?;
            self.buffer.reserve(PIECE);
            match stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(codes::SERVER_DOWN.into()),
                Ok(_) => {}
            }
        }
    }
}

async fn limited<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Failure> {
    if limit.is_zero() {
        return Ok(future.await);
    }
    tokio::time::timeout(limit, future).await.map_err(|_| codes::TIMEOUT.into())
}

/// Reads an `LDAPResult` (RFC 4511 §4.1.9).
fn outcome(content: &[u8]) -> Result<(), Failure> {
    let mut rest = content;
    let code = ber::take(&mut rest)
        .filter(|(tag, _)| *tag == ENUMERATED)
        .and_then(|(_, code)| ber::read_number(code))
        .ok_or(codes::DECODING_ERROR)?;
    let _matched = ber::take(&mut rest);
    let diagnostic = ber::take(&mut rest).map(|(_, text)| text.to_vec()).unwrap_or_default();
    if code == 0 { Ok(()) } else { Err(Failure { code, diagnostic }) }
}

/// Reads an entry; what it takes goes off `room`, which an entry of many empty values has little of.
fn entry(content: &[u8], room: &mut usize) -> Result<Entry, i32> {
    let mut keep = |octets: &[u8]| -> Result<Vec<u8>, i32> {
        *room = room.checked_sub(octets.len() + VALUE_OCTETS).ok_or(codes::NO_MEMORY)?;
        Ok(octets.to_vec())
    };
    let mut rest = content;
    let name = keep(item(&mut rest)?)?;
    let mut list = item(&mut rest)?;
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut pair = item(&mut list)?;
        let kind = keep(item(&mut pair)?)?;
        let mut set = item(&mut pair)?;
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(keep(item(&mut set)?)?);
        }
        attributes.push((kind, values));
    }
    Ok(Entry { name, attributes })
}

/// Takes the content of the first element off `rest`.
fn item<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], i32> {
    ber::take(rest).map(|(_, content)| content).ok_or(codes::DECODING_ERROR)
}

/// What a value takes beside its octets: here, and as a value of the script.
const VALUE_OCTETS: usize = 128;

/// Answers without entries are short.
const MAX_ANSWER: usize = 1 << 20;
/// What "no limit" means for connecting.
const LONG: Duration = Duration::from_secs(120);

/// Room for what is read at once.
const PIECE: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_empty_values_are_counted() {
        let set = element(0x31, &element(OCTETS, b"").repeat(100_000));
        let attribute = element(SEQUENCE, &[element(OCTETS, b"a"), set].concat());
        let content = [element(OCTETS, b"cn=x"), element(SEQUENCE, &attribute)].concat();
        let mut room = 1 << 20;
        assert_eq!(entry(&content, &mut room).unwrap_err(), codes::NO_MEMORY);
        let mut room = 100 << 20;
        assert_eq!(entry(&content, &mut room).unwrap().attributes[0].1.len(), 100_000);
        assert!(room < (100 << 20) - 100_000 * VALUE_OCTETS);
    }
}
