//! Class `LDAP` of the Protocols chapter: look-ups in a directory, asynchronous.
//!
//! [`client`] speaks the protocol with the octets of [`ber`]; [`filter`] and [`dn`] read and write the
//! texts of scripts. An object connects with its first operation, and again after the connection was
//! lost; a bind is lost with it. Where a server has once agreed to TLS, the next connection speaks it
//! too.

mod ber;
mod client;
mod codes;
mod dn;
mod filter;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hsl::host::{CallContext, ClassBuilder, NativeStep, Registry, Thrown};
use hsl::value::{Array, Key, Object, Value};
use parking_lot::Mutex;
use url::Url;

use self::client::{Connection, Entry, Failure, Found, Search, Server, Settings};
use crate::args::{self, Options};
use crate::http::connect::{Connector, Io};
use crate::services::Services;

/// Registers the classes.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    let connector = Arc::new(Connector::new(services));
    registry.class("LDAP", "a connection to a directory", |class| ldap_class(class, &connector));
    registry.class("LDAPResult", "the entries that a search found", |class| {
        class.method(
            "next() -> array, boolean or none",
            "the next entry; false at the end, none where the server gave up before it",
            |ctx, _| {
                let result = ctx.state_of_this::<ResultState>()?;
                let entry = result.entries.lock().pop_front();
                Ok::<_, Thrown>(match (entry, &result.failure) {
                    (Some(entry), _) => entry_value(entry),
                    (None, None) => Value::Bool(false),
                    (None, Some(failure)) => {
                        result.ldap.note(failure);
                        Value::None
                    }
                })
            },
        );
    });
}

/// Reads what a directory says on `stream` after a search, as `LDAP->search` does: how many entries
/// there are. The entries take at most `memory` octets.
///
/// # Errors
///
/// The code of `LDAP->errno()`.
pub async fn count_entries(stream: Box<dyn Io>, memory: usize) -> Result<usize, i32> {
    let settings = Settings::default();
    let search = Search { base: Vec::new(), scope: 0, filter: Vec::new(), attributes: Vec::new() };
    let found = Connection::over(stream).search(&search, &settings, memory).await;
    match found.map(|found| (found.entries.len(), found.failure)) {
        Ok((count, None)) => Ok(count),
        Ok((_, Some(failure))) | Err(failure) => Err(failure.code),
    }
}

/// A filter as `LDAP->search` takes it, in the octets of a search; `None` when it is none.
#[must_use]
pub fn filter_octets(text: &[u8]) -> Option<Vec<u8>> {
    filter::parse(text)
}

/// A value as it may stand in a filter: `LDAP::filter_escape`.
#[must_use]
pub fn filter_value(value: &[u8]) -> Vec<u8> {
    filter::escape(value)
}

struct LdapState {
    connector: Arc<Connector>,
    servers: Vec<Server>,
    version: Mutex<u32>,
    settings: Mutex<Settings>,
    connection: tokio::sync::Mutex<Option<Connection>>,
    /// Whether a server has agreed to STARTTLS: no password must go in clear text after that, also
    /// not because the handshake failed or the connection was lost.
    is_tls_agreed: AtomicBool,
    /// Code and words of the last operation.
    outcome: Mutex<(i32, Vec<u8>)>,
    certificate: Mutex<Option<Vec<u8>>>,
}

struct ResultState {
    entries: Mutex<VecDeque<Entry>>,
    /// Why there are no more entries than these.
    failure: Option<Failure>,
    /// Where `next` says so.
    ldap: Arc<LdapState>,
}

enum Operation {
    StartTls,
    Bind(Vec<u8>, Vec<u8>),
    Unbind,
    Search(Search, usize),
}

impl LdapState {
    /// Runs an operation and notes how it went.
    async fn run(&self, operation: Operation) -> Option<Found> {
        let settings = self.settings.lock().clone();
        let mut slot = self.connection.lock().await;
        let result = self.attempt(&mut slot, operation, &settings).await;
        let found = match result {
            Ok(found) => {
                *self.outcome.lock() = (0, Vec::new());
                Some(found)
            }
            Err(failure) => {
                if failure.code < 0 && failure.code != codes::LOCAL_ERROR {
                    // Nothing more is known of what the server will say.
                    *slot = None;
                }
                self.note(&failure);
                None
            }
        };
        let certificate = slot.as_ref().and_then(Connection::certificate).map(<[u8]>::to_vec);
        *self.certificate.lock() = certificate;
        found
    }

    /// Keeps a failure for `errno` and `getoption`.
    fn note(&self, failure: &Failure) {
        *self.outcome.lock() = (failure.code, failure.diagnostic.clone());
    }

    async fn attempt(
        &self,
        slot: &mut Option<Connection>,
        operation: Operation,
        settings: &Settings,
    ) -> Result<Found, Failure> {
        if matches!(operation, Operation::Unbind) {
            if let Some(mut connection) = slot.take() {
                connection.unbind(settings).await;
            }
            return Ok(Found::default());
        }
        let is_new = slot.is_none();
        if is_new {
            *slot = Some(self.connect(settings).await?);
        }
        let connection = slot.as_mut().ok_or(codes::SERVER_DOWN)?;
        match operation {
            Operation::Unbind => {}
            // The new connection has it from the agreement of the one before.
            Operation::StartTls if is_new && self.speaks_agreed_tls(connection) => {}
            Operation::StartTls => self.start_tls(connection, settings).await?,
            Operation::Bind(name, password) => {
                let version = *self.version.lock();
                connection.bind(version, &name, &password, settings).await?;
            }
            Operation::Search(search, memory) => {
                return connection.search(&search, settings, memory).await;
            }
        }
        Ok(Found::default())
    }

    /// Tries the servers in turn.
    async fn connect(&self, settings: &Settings) -> Result<Connection, Failure> {
        let mut last = codes::SERVER_DOWN.into();
        for server in &self.servers {
            match self.connect_to(server, settings).await {
                Ok(connection) => return Ok(connection),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn connect_to(
        &self,
        server: &Server,
        settings: &Settings,
    ) -> Result<Connection, Failure> {
        let mut connection = Connection::open(&self.connector, server.clone(), settings).await?;
        if self.is_tls_agreed.load(Ordering::Relaxed) && !connection.is_encrypted() {
            self.start_tls(&mut connection, settings).await?;
        }
        Ok(connection)
    }

    async fn start_tls(
        &self,
        connection: &mut Connection,
        settings: &Settings,
    ) -> Result<(), Failure> {
        connection.ask_for_tls(settings).await?;
        self.is_tls_agreed.store(true, Ordering::Relaxed);
        connection.encrypt(&self.connector, settings).await
    }

    fn speaks_agreed_tls(&self, connection: &Connection) -> bool {
        self.is_tls_agreed.load(Ordering::Relaxed) && connection.is_encrypted()
    }
}

fn ldap_class(class: &mut ClassBuilder, connector: &Arc<Connector>) {
    let connector = Arc::clone(connector);
    class
        .constructor(
            "LDAP(string uri) -> LDAP",
            "ldap:// and ldaps:// addresses, separated by spaces; tried in turn",
            move |ctx, args| {
                ctx.new_object(LdapState {
                    connector: Arc::clone(&connector),
                    servers: servers(args::bytes(args, 0))?,
                    version: Mutex::new(3),
                    settings: Mutex::default(),
                    connection: tokio::sync::Mutex::new(None),
                    is_tls_agreed: AtomicBool::new(false),
                    outcome: Mutex::default(),
                    certificate: Mutex::default(),
                })
            },
        )
        .method(
            "setoption(string name, any value) -> LDAP or none",
            "protocol_version, network_timeout, timeout, timelimit, tls_verify_peer, tls_default_ca",
            |ctx, args| {
                let state = ctx.state_of_this::<LdapState>()?;
                let is_known = set_option(&state, args::bytes(args, 0), args.get(1));
                Ok::<_, Thrown>(is_known.and_then(|()| ctx.this().cloned()).map(Value::Object))
            },
        )
        .method("getoption(string name) -> any", "diagnostic_message and what was set", |ctx, args| {
            let state = ctx.state_of_this::<LdapState>()?;
            Ok::<_, Thrown>(get_option(&state, args::bytes(args, 0)))
        })
        .method("starttls() -> LDAP or none", "goes on with TLS", |ctx, _| {
            operate(ctx, Operation::StartTls)
        })
        .method("unbind() -> LDAP or none", "ends the connection", |ctx, _| {
            operate(ctx, Operation::Unbind)
        })
        .method(
            "bind([string dn [, string cred]]) -> LDAP or none",
            "authenticates; anonymous without arguments",
            |ctx, args| {
                let (name, password) = (args::bytes(args, 0), args::bytes(args, 1));
                operate(ctx, Operation::Bind(name.to_vec(), password.to_vec()))
            },
        )
        .method(
            "search(string basedn [, array options]) -> LDAPResult or none",
            "looks for entries; options scope, filter, attributes",
            search,
        )
        .method("errno() -> number", "the code of the last operation, 0 for success", |ctx, _| {
            let state = ctx.state_of_this::<LdapState>()?;
            Ok::<_, Thrown>(f64::from(state.outcome.lock().0))
        })
        .method("getpeerx509() -> X509 or none", "the server's certificate", |ctx, _| {
            let state = ctx.state_of_this::<LdapState>()?;
            let der = state.certificate.lock().clone();
            let certificate = der.and_then(|der| crate::keys::Certificate::from_der(&der).ok());
            Ok::<_, Thrown>(certificate.map(crate::x509::object))
        });
    texts(class);
}

fn texts(class: &mut ClassBuilder) {
    class
        .static_function("err2string(number errno) -> string", "the text of a code", |_, args| {
            codes::text(i32::try_from(args::integer(args, 0)).unwrap_or(i32::MAX))
        })
        .static_function(
            "filter_escape(string value) -> string",
            "the value as it may stand in a filter",
            |_, args| filter::escape(args::bytes(args, 0)),
        )
        .static_function(
            "str2dn(string dn) -> array or none",
            "the parts of a name, each a list of type and value",
            |_, args| {
                let parts = dn::parse(args::bytes(args, 0))?;
                let part = |(kind, value)| Value::list([Value::from(kind), Value::from(value)]);
                let part = |(kind, value): (Vec<u8>, Vec<u8>)| part((kind, value));
                Some(Value::list(parts.into_iter().map(part)))
            },
        )
        .static_function(
            "dn2str(array dn) -> string or none",
            "the name of parts, each a list of type and value",
            |_, args| {
                let list = args::take_array(args, 0);
                let mut parts = Vec::new();
                for part in list.values() {
                    let part = part.as_array()?;
                    let text = |at| part.get_int(at).and_then(Value::as_bytes);
                    parts.push((text(0)?, text(1)?));
                }
                Some(Value::from(dn::write(parts.into_iter())))
            },
        );
}

fn this(ctx: &CallContext<'_>) -> Result<(Arc<LdapState>, Object), Thrown> {
    let state = ctx.state_of_this::<LdapState>()?;
    let this = ctx.this().cloned().ok_or_else(|| Thrown::new("LDAP needs an object"))?;
    Ok((state, this))
}

fn operate(ctx: &CallContext<'_>, operation: Operation) -> Result<NativeStep, Thrown> {
    let (state, this) = this(ctx)?;
    Ok(NativeStep::suspend(async move {
        let done = state.run(operation).await;
        Ok(done.map_or(Value::None, |_| Value::Object(this)))
    }))
}

fn search(ctx: &mut CallContext<'_>, args: &mut [Value]) -> Result<NativeStep, Thrown> {
    let (state, _) = this(ctx)?;
    let options = Options::new(args, 1);
    let scope = match options.bytes("scope")?.unwrap_or(b"sub") {
        b"base" => 0,
        b"one" => 1,
        b"sub" => 2,
        _ => return Err(Thrown::new("option \"scope\" must be sub, one or base")),
    };
    let text = options.bytes("filter")?.unwrap_or(b"(objectclass=*)");
    let Some(filter) = filter::parse(text) else {
        *state.outcome.lock() = (codes::FILTER_ERROR, Vec::new());
        return Ok(Value::None.into());
    };
    let attributes = options.array("attributes")?.into_iter().flat_map(Array::values);
    let attributes = attributes.filter_map(Value::as_bytes).map(<[u8]>::to_vec).collect();
    let search = Search { base: args::bytes(args, 0).to_vec(), scope, filter, attributes };
    let memory = ctx.limits().memory;
    let slot = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&slot);
    let ldap = Arc::clone(&state);
    Ok(NativeStep::SuspendThen {
        future: Box::pin(async move {
            let found = state.run(Operation::Search(search, memory)).await;
            *filled.lock() = found;
            Ok(Value::None)
        }),
        then: Box::new(move |ctx: &mut CallContext<'_>, _: Value| {
            let found: Option<Found> = slot.lock().take();
            NativeStep::from(match found {
                None => Ok(Value::None),
                Some(Found { entries, failure }) => {
                    let entries = Mutex::new(entries.into());
                    ctx.instance_of("LDAPResult", ResultState { entries, failure, ldap })
                }
            })
        }),
    })
}

/// An entry as an array: `dn`, and the values of each attribute as a list.
fn entry_value(entry: Entry) -> Value {
    let attributes = entry.attributes.into_iter().map(|(kind, values)| {
        (Key::from(kind.as_slice()), Value::list(values.into_iter().map(Value::from)))
    });
    let name = (Key::from("dn"), Value::from(entry.name));
    Value::map(std::iter::once(name).chain(attributes))
}

fn servers(uris: &[u8]) -> Result<Vec<Server>, Thrown> {
    let wrong = || Thrown::new("LDAP() needs ldap:// or ldaps:// addresses");
    let text = str::from_utf8(uris).map_err(|_| wrong())?;
    let mut servers = Vec::new();
    for uri in text.split_ascii_whitespace() {
        let url = Url::parse(uri).map_err(|_| wrong())?;
        let is_tls = match url.scheme() {
            "ldap" => false,
            "ldaps" => true,
            _ => return Err(wrong()),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost");
        servers.push(Server {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(if is_tls { 636 } else { 389 }),
            is_tls,
        });
    }
    if servers.is_empty() { Err(wrong()) } else { Ok(servers) }
}

/// Sets an option; `None` for one that does not exist or a value that it cannot have.
fn set_option(state: &LdapState, name: &[u8], value: Option<&Value>) -> Option<()> {
    let mut settings = state.settings.lock();
    let number = || value.and_then(Value::as_number);
    let seconds = || Duration::try_from_secs_f64(number()?).ok().filter(|time| *time < LONGEST);
    match (name, value?) {
        (b"protocol_version", _) => {
            *state.version.lock() = number().filter(|v| matches!(*v, 2.0 | 3.0))? as u32;
        }
        // References are not followed.
        (b"referrals", Value::Bool(false)) => {}
        (b"network_timeout", _) => settings.network_timeout = seconds()?,
        (b"timeout", _) => settings.timeout = seconds()?,
        (b"timelimit", _) => settings.timelimit = seconds()?.as_secs() as u32,
        (b"tls_verify_peer", Value::Bool(value)) => settings.verify_peer = *value,
        (b"tls_default_ca", Value::Bool(value)) => settings.default_ca = *value,
        _ => return None,
    }
    Some(())
}

fn get_option(state: &LdapState, name: &[u8]) -> Value {
    let settings = state.settings.lock();
    match name {
        b"diagnostic_message" => Value::from(state.outcome.lock().1.as_slice()),
        b"protocol_version" => Value::from(*state.version.lock()),
        b"referrals" => Value::Bool(false),
        b"network_timeout" => Value::Number(settings.network_timeout.as_secs_f64()),
        b"timeout" => Value::Number(settings.timeout.as_secs_f64()),
        b"timelimit" => Value::from(settings.timelimit),
        b"tls_verify_peer" => Value::Bool(settings.verify_peer),
        b"tls_default_ca" => Value::Bool(settings.default_ca),
        _ => Value::None,
    }
}

const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
