//! What the library needs of its embedder: time to wait, names to look up, a log, files.
//!
//! The daemon hands in its own resolver and log; `hsh` and tests take [`Services::default`] and
//! replace what they care about. Everything that waits is a future the embedder polls.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hsl::host::Thrown;
use hsl::value::{Array, Value};
use jiff::tz::TimeZone;

use crate::keys::{Keys, NoKeys};

/// A wait that gives a `T`.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The embedder's side of the library. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// Waits for `sleep`.
    pub timer: Arc<dyn Timer>,
    /// Answers `dns_query` and what builds on it.
    pub resolver: Arc<dyn Resolver>,
    /// Takes the lines of `syslog`.
    pub log: Arc<dyn LogSink>,
    /// Finds addresses that scripts name by their id, and the authorities to trust.
    pub names: Arc<dyn Names>,
    /// Opens files by name for `File` and `File::read`.
    pub files: Arc<dyn Files>,
    /// Takes the messages of `queue`.
    pub mail_queue: Arc<dyn MailQueue>,
    /// Speaks SMTP for `send`, `smtp_lookup_rcpt` and `smtp_lookup_auth`.
    pub mail_client: Arc<dyn MailClient>,
    /// Finds the keys and certificates that scripts name `pki:X`.
    pub keys: Arc<dyn Keys>,
    /// The counters of `rate`.
    pub rates: Arc<dyn Rates>,
    /// The list behind `domain_publicsuffix`; `None` for the system's.
    pub public_suffix_list: Option<PathBuf>,
    /// Whether scripts may use the class FFI, with which they can do anything the process can.
    pub ffi: bool,
    /// What `gethostname` says.
    pub hostname: String,
    /// What `uuid` makes.
    pub uuid_version: UuidVersion,
    /// The zone of local time.
    pub time_zone: TimeZone,
}

impl Default for Services {
    /// The timer of tokio, the host's name and time zone; no resolver, no log, no files, no keys.
    fn default() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            timer: Arc::new(TokioTimer),
            resolver: Arc::new(NoResolver),
            log: Arc::new(NoLog),
            names: Arc::new(NoNames),
            files: Arc::new(NoFiles),
            mail_queue: Arc::new(NoMailQueue),
            mail_client: Arc::new(NoMailClient),
            keys: Arc::new(NoKeys),
            rates: Arc::new(crate::rate::LocalRates::default()),
            public_suffix_list: None,
            ffi: false,
            hostname: name,
            uuid_version: UuidVersion::default(),
            time_zone: TimeZone::system(),
        }
    }
}

/// Waits.
pub trait Timer: Send + Sync {
    /// Comes back after `duration`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait and nothing else.
    fn sleep(&self, duration: Duration) -> BoxFuture<()>;
}

/// The timer of the tokio runtime that polls the script.
pub struct TokioTimer;

impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Looks up names.
pub trait Resolver: Send + Sync {
    /// Answers one question. Retries and caching are the resolver's own business.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the question.
    fn query(&self, query: DnsQuery) -> BoxFuture<DnsAnswer>;
}

/// A question to the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuery {
    /// The name as the script gave it; for [`RecordType::Ptr`] a reverse name already.
    pub host: String,
    /// What to ask for.
    pub record: RecordType,
    /// For the whole question.
    pub timeout: Duration,
    /// Whom to ask; empty for the system's resolvers.
    pub servers: Vec<IpAddr>,
    /// Port of `servers`.
    pub port: u16,
    /// Whether it matters which answers were validated.
    pub authentic: bool,
}

/// The types that scripts ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchangers.
    Mx,
    /// Texts.
    Txt,
    /// The canonical name.
    Cname,
    /// Name servers.
    Ns,
    /// Names of addresses.
    Ptr,
    /// The start of authority.
    Soa,
}

/// The answer to a [`DnsQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsAnswer {
    /// The records asked for, aliases followed; or why there are none, as an rcode's or resolver's
    /// name: `NXDOMAIN`, `SERVFAIL`, `TRY_AGAIN`, `NO_DATA`.
    pub result: Result<Vec<DnsRecord>, String>,
    /// Whether the answer, also a negative one, is authentic by DNSSEC.
    pub dnssec: bool,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRecord {
    /// Seconds.
    pub ttl: u32,
    /// What it says.
    pub data: RecordData,
}

/// The data of a record. Names have no final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME, NS or PTR.
    Name(String),
    /// MX.
    Mx {
        /// Lower first.
        preference: u16,
        /// The mail exchanger; empty for "no mail" (RFC 7505).
        exchange: String,
    },
    /// TXT, its strings put together.
    Txt(Vec<u8>),
    /// SOA.
    Soa {
        /// Primary server.
        mname: String,
        /// Mailbox of the person in charge.
        rname: String,
        /// Version of the zone.
        serial: u32,
        /// Seconds.
        refresh: u32,
        /// Seconds.
        retry: u32,
        /// Seconds.
        expire: u32,
        /// Seconds that negative answers live.
        minimum: u32,
    },
}

/// A resolver that knows nothing; every question fails as if no server could be reached.
pub struct NoResolver;

impl Resolver for NoResolver {
    fn query(&self, _: DnsQuery) -> BoxFuture<DnsAnswer> {
        let result = Err("TRY_AGAIN".to_owned());
        Box::pin(std::future::ready(DnsAnswer { result, dnssec: false }))
    }
}

/// Queues messages that scripts compose.
pub trait MailQueue: Send + Sync {
    /// Looks at what the script gave; the future is done when the message is stored.
    ///
    /// # Errors
    ///
    /// An argument that is none, or that there is no queue here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the message queued or not.
    fn queue(&self, mail: MailToQueue) -> Result<BoxFuture<Result<QueuedMail, Thrown>>, Thrown>;
}

/// A message with its envelope as the script gave it.
pub struct MailToQueue {
    /// The message.
    pub content: Arc<dyn FileContent>,
    /// The sender: a string, or an array with `localpart` and `domain`.
    pub sender: Value,
    /// The recipient, likewise.
    pub recipient: Value,
    /// ID of the transport.
    pub transportid: String,
    /// Options of `queue`.
    pub options: Array,
}

/// The identity of a queued message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMail {
    /// ID of the transaction.
    pub transaction: String,
    /// Number of the copy within it.
    pub queue: u32,
}

/// No queue: `queue` throws.
pub struct NoMailQueue;

impl MailQueue for NoMailQueue {
    fn queue(&self, _: MailToQueue) -> Result<BoxFuture<Result<QueuedMail, Thrown>>, Thrown> {
        Err(Thrown::new("queue() needs a mail server, and none is configured here"))
    }
}

/// What an SMTP dialogue of a script gives: its result in the form of the manual.
pub type Dialogue = BoxFuture<Result<Value, Thrown>>;

/// Speaks SMTP on behalf of scripts. Servers are arrays of settings or IDs of transports.
///
/// # Cancel safety
///
/// Dropping a future closes its connection; the peer may have taken the message.
pub trait MailClient: Send + Sync {
    /// Delivers a message to one server, to all recipients or none.
    ///
    /// # Errors
    ///
    /// An argument that is none, or that there is no client here.
    fn send(&self, mail: MailToSend) -> Result<Dialogue, Thrown>;

    /// Asks a server about a recipient. `extended` asks for an array instead of a number.
    ///
    /// # Errors
    ///
    /// As [`MailClient::send`].
    fn lookup_rcpt(
        &self,
        server: Value,
        sender: Value,
        recipient: Value,
        extended: bool,
    ) -> Result<Dialogue, Thrown>;

    /// Tries a login.
    ///
    /// # Errors
    ///
    /// As [`MailClient::send`].
    fn lookup_auth(
        &self,
        server: Value,
        username: String,
        password: String,
    ) -> Result<Dialogue, Thrown>;
}

/// A message to be delivered at once.
pub struct MailToSend {
    /// The message.
    pub content: Arc<dyn FileContent>,
    /// The sender: a string, or an array with `localpart`, `domain` and `params`.
    pub sender: Value,
    /// The recipients, each likewise.
    pub recipients: Array,
    /// The server.
    pub server: Value,
}

/// No client: its functions throw.
pub struct NoMailClient;

impl NoMailClient {
    fn refuse() -> Result<Dialogue, Thrown> {
        Err(Thrown::new("SMTP needs a mail server, and none is configured here"))
    }
}

impl MailClient for NoMailClient {
    fn send(&self, _: MailToSend) -> Result<Dialogue, Thrown> {
        Self::refuse()
    }

    fn lookup_rcpt(&self, _: Value, _: Value, _: Value, _: bool) -> Result<Dialogue, Thrown> {
        Self::refuse()
    }

    fn lookup_auth(&self, _: Value, _: String, _: String) -> Result<Dialogue, Thrown> {
        Self::refuse()
    }
}

/// Takes the lines of `syslog`. Must not block.
pub trait LogSink: Send + Sync {
    /// Writes a line.
    fn syslog(&self, line: &LogLine<'_>);
}

/// A line of `syslog`.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// Missing when the script gave none.
    pub facility: Option<u8>,
    /// 0 (emerg) to 7 (debug).
    pub severity: u8,
    /// The id of the transaction that the script runs for, if there is one.
    pub transaction: Option<&'a [u8]>,
    /// What the script wrote.
    pub text: &'a [u8],
}

/// A log that forgets.
pub struct NoLog;

impl LogSink for NoLog {
    fn syslog(&self, _: &LogLine<'_>) {}
}

/// Counts for `rate`.
pub trait Rates: Send + Sync {
    /// Answers one question, at once where it can.
    fn ask(&self, question: RateQuestion) -> RateStep;
}

/// A counter of [`Rates`] as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RateCounter {
    /// The name of the limit.
    pub namespace: Vec<u8>,
    /// What is limited.
    pub entry: Vec<u8>,
    /// How often it happened within its interval.
    pub count: u64,
    /// How long ago the first of these was, up to 1/64 of the interval more.
    pub oldest: Duration,
    /// How long ago the last of these was, likewise.
    pub newest: Duration,
}

/// A call of `rate`.
#[derive(Clone, Debug)]
pub struct RateQuestion {
    /// The name of the limit.
    pub namespace: Vec<u8>,
    /// What is limited.
    pub entry: Vec<u8>,
    /// How many may happen in the interval; 0 asks only how many did.
    pub limit: u64,
    /// How far back to look.
    pub interval: Duration,
    /// The time, as the clock of the execution counts it.
    pub now: Duration,
    /// Whether the nodes of a cluster count together.
    pub is_shared: bool,
}

/// What came of a call of `rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateAnswer {
    /// It is within the limit, and counted.
    Counted,
    /// The limit is reached; not counted.
    OverLimit,
    /// How many there were.
    Number(u64),
    /// It cannot be said.
    Failed,
}

/// An answer of [`Rates`], or the wait for it.
pub enum RateStep {
    /// The answer is there.
    Ready(RateAnswer),
    /// Somebody else is asked.
    Wait(BoxFuture<RateAnswer>),
}

/// Finds what the configuration gives a name.
pub trait Names: Send + Sync {
    /// The address that a `sourceipid` stands for.
    fn source_address(&self, id: &str) -> Option<IpAddr>;

    /// The authorities behind `tls_default_ca`. Reads files; not called on a runtime thread.
    fn default_authorities(&self) -> tls_policy::RootStore {
        let mut store = tls_policy::RootStore::new();
        store.add_system();
        store
    }
}

/// A configuration without names.
pub struct NoNames;

impl Names for NoNames {
    fn source_address(&self, _: &str) -> Option<IpAddr> {
        None
    }
}

/// The content behind a `File` object: of the spool, of a disk file, or in memory.
pub trait FileContent: Send + Sync {
    /// Octets in total.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from `offset` into `buffer`, less than asked for only at the end. Called on a runtime
    /// thread: it reads memory or the page cache, it does not wait.
    ///
    /// # Errors
    ///
    /// Those of the device.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The path on disk, for scripts that hand it to other programs.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Octets that it occupies in memory.
    fn memory(&self) -> usize {
        0
    }
}

impl FileContent for Vec<u8> {
    fn memory(&self) -> usize {
        self.capacity()
    }

    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(read_octets(self, offset, buffer))
    }
}

impl FileContent for Bytes {
    fn memory(&self) -> usize {
        self.as_ref().len()
    }

    fn len(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(read_octets(self, offset, buffer))
    }
}

fn read_octets(octets: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = octets.get(start..).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

impl FileContent for std::fs::File {
    fn len(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match std::os::unix::fs::FileExt::read_at(self, rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Opens files by the names that scripts use.
pub trait Files: Send + Sync {
    /// The file, or `None` when there is none of that name.
    fn open(&self, name: &[u8]) -> Option<Arc<dyn FileContent>>;
}

/// No files.
pub struct NoFiles;

impl Files for NoFiles {
    fn open(&self, _: &[u8]) -> Option<Arc<dyn FileContent>> {
        None
    }
}

/// `file://` names below a directory.
pub struct RootFiles {
    root: PathBuf,
}

impl RootFiles {
    /// Files below `root`, the `scripting.rootpath` of the configuration.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path that `name` (`file://…`) stands for. `None` for other names and for ones that lead
    /// out of the root.
    pub fn path(&self, name: &[u8]) -> Option<PathBuf> {
        let relative = Path::new(str::from_utf8(name.strip_prefix(b"file://")?).ok()?);
        let relative = relative.strip_prefix("/").unwrap_or(relative);
        let is_inside =
            relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        (is_inside && relative.components().next().is_some()).then(|| self.root.join(relative))
    }
}

impl Files for RootFiles {
    fn open(&self, name: &[u8]) -> Option<Arc<dyn FileContent>> {
        let path = self.path(name)?;
        let file = std::fs::File::open(&path).ok()?;
        // Directories open too, and read as errors.
        file.metadata().ok()?.is_file().then_some(())?;
        Some(Arc::new(DiskFile { file, path }))
    }
}

struct DiskFile {
    file: std::fs::File,
    path: PathBuf,
}

impl FileContent for DiskFile {
    fn len(&self) -> u64 {
        FileContent::len(&self.file)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileContent::read_at(&self.file, offset, buffer)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

/// What `uuid` makes, by configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UuidVersion {
    /// Version 4.
    #[default]
    Random,
    /// Version 1, with a random node.
    Time,
}
