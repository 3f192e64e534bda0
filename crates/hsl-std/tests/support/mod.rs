//! A small world for scripts: a clock that only waits move, a resolver with a fixed zone, a log
//! that echoes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hsl::host::{Clock, HostSet, Limits, Registry};
use hsl::shared_memory::SharedMemory;
use hsl::{Compiler, Setup, Vm};
use hsl_std::import::FileLoader;
use hsl_std::keys::PkiEntry;
use hsl_std::services::{
    BoxFuture, DnsAnswer, DnsQuery, DnsRecord, FileContent, Files, LogLine, LogSink, RecordData,
    RecordType, Resolver, Services, Timer,
};
use hsl_std::{Outcome, drive};
use jiff::tz::TimeZone;
use parking_lot::Mutex;

/// How a script went.
pub(crate) struct Report {
    /// One text per `echo`.
    pub(crate) echoed: Vec<u8>,
    /// The compile error, or the uncaught one.
    pub(crate) error: Option<String>,
}

/// Runs a script to its end.
#[allow(dead_code, reason = "each test program uses some of these")]
pub(crate) fn run(text: &[u8], limits: Limits) -> Report {
    run_with(text, limits, |_| {})
}

/// As [`run`], with other services in places.
#[allow(dead_code, reason = "each test program uses some of these")]
pub(crate) fn run_with(text: &[u8], limits: Limits, change: impl FnOnce(&mut Services)) -> Report {
    let loader = key_files()
        .into_iter()
        .fold(FileLoader::new(), |loader, (name, data)| loader.with_data(&name, data))
        .with_data("people.csv", Arc::from(&b"id,on\n1,y\n2,n\n"[..]))
        .with_data("data.json", Arc::from(&b"{\"a\": [1, 2]} // comment\n"[..]))
        .with_data("data.yaml", Arc::from(&b"a: 1\nb: [x, y]\n"[..]))
        .with_data(
            "mail.eml",
            Arc::from(&b"Subject: hello\r\nContent-Type: text/plain\r\n\r\nx\r\n"[..]),
        )
        .with_data(
            "tagged-mail.yaml",
            Arc::from(&b"mail: !MailMessage |\n  Subject: in yaml\n\n  body\n"[..]),
        )
        .with_data("text.txt", Arc::from(&b"one\ntwo\n"[..]));
    run_script("file:test.hsl", text, &loader, limits, change)
}

/// Runs a script that is a file.
#[allow(dead_code, reason = "each test program uses some of these")]
pub(crate) fn run_file(
    identity: &str,
    text: &[u8],
    loader: &FileLoader,
    change: impl FnOnce(&mut Services),
) -> Report {
    run_script(identity, text, loader, Limits::default(), change)
}

fn run_script(
    identity: &str,
    text: &[u8],
    loader: &FileLoader,
    limits: Limits,
    change: impl FnOnce(&mut Services),
) -> Report {
    let output = Arc::new(Mutex::new(Vec::new()));
    let clock = Arc::new(StillClock::default());
    let mut services = services(&clock, &output);
    change(&mut services);
    let mut registry = Registry::new();
    hsl_std::register(&mut registry, &services);
    let host = registry.freeze();
    let compiler = Compiler::new(&host).with_loader(loader);
    let program = match compiler.compile(identity, "test.hsl", text) {
        Ok(program) => program,
        Err(error) => {
            let error = error.diagnostics.iter().map(|d| d.message().to_owned()).collect();
            return Report { echoed: Vec::new(), error: Some(error) };
        }
    };
    let echo = Arc::clone(&output);
    let setup = Setup {
        limits,
        echo: Box::new(move |text: &[u8]| write_line(&echo, text)),
        clock,
        shared_memory: SharedMemory::with_limit(4 << 20),
        ..Setup::default()
    };
    let mut vm = Vm::new(&program, setup);
    let error = match block_on(drive(&mut vm, 1000, None, || {})) {
        Outcome::Done(_) | Outcome::Exited(_) => None,
        Outcome::Failed(error) => Some(error.diagnostic().message().to_owned()),
    };
    let echoed = std::mem::take(&mut *output.lock());
    Report { echoed, error }
}

/// The library with the services of this world.
#[allow(dead_code, reason = "each test program uses some of these")]
pub(crate) fn host(clock: &Arc<StillClock>, output: &Arc<Mutex<Vec<u8>>>) -> Arc<HostSet> {
    let mut registry = Registry::new();
    hsl_std::register(&mut registry, &services(clock, output));
    registry.freeze()
}

fn services(clock: &Arc<StillClock>, output: &Arc<Mutex<Vec<u8>>>) -> Services {
    Services {
        timer: Arc::new(StillTimer(Arc::clone(clock))),
        resolver: Arc::new(Zone),
        log: Arc::new(EchoLog(Arc::clone(output))),
        files: Arc::new(OneFile),
        keys: Arc::new(keys()),
        public_suffix_list: Some(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/public_suffix_list.dat").into(),
        ),
        hostname: "mx.example.org".to_owned(),
        time_zone: TimeZone::get("Europe/Stockholm").unwrap_or(TimeZone::UTC),
        ..Services::default()
    }
}

/// Sockets and threads for blocking work are there; time is the still clock's.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// The files of `tests/keys`.
fn key_files() -> Vec<(String, Arc<[u8]>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let files = std::fs::read_dir(folder).expect("tests/keys").map(|entry| {
        let entry = entry.expect("a file");
        let data = std::fs::read(entry.path()).expect("a readable file");
        (entry.file_name().to_string_lossy().into_owned(), Arc::from(data))
    });
    files.collect()
}

/// `pki:rsa` with its chain, `pki:ec`, `pki:ed25519`, and `pki:bare`, a key without certificate.
fn keys() -> HashMap<Arc<str>, Arc<PkiEntry>> {
    let files: HashMap<_, _> = key_files().into_iter().collect();
    let entry = |certificate: Option<&str>, key: &str| {
        let certificate = certificate.map(|name| &*files[name]);
        Arc::new(PkiEntry::from_pem(certificate, Some(&files[key])).expect("a usable entry"))
    };
    HashMap::from([
        (Arc::from("rsa"), entry(Some("rsa-chain.crt"), "rsa.key")),
        (Arc::from("ec"), entry(Some("ec.crt"), "ec.key")),
        (Arc::from("ed25519"), entry(Some("ed25519.crt"), "ed25519.key")),
        (Arc::from("bare"), entry(None, "rsa-pkcs1.key")),
    ])
}

fn write_line(output: &Mutex<Vec<u8>>, text: &[u8]) {
    let mut output = output.lock();
    output.extend_from_slice(text);
    output.push(b'\n');
}

/// Starts at 2021-03-21 13:05:09 UTC; `sleep` moves it.
#[derive(Default)]
pub(crate) struct StillClock {
    milliseconds: AtomicU64,
}

impl Clock for StillClock {
    fn unix_time(&self) -> Duration {
        Duration::from_secs(1_616_331_909) + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.milliseconds.load(Ordering::Relaxed))
    }
}

struct StillTimer(Arc<StillClock>);

impl Timer for StillTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let clock = Arc::clone(&self.0);
        Box::pin(async move {
            let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            clock.milliseconds.fetch_add(milliseconds, Ordering::Relaxed);
        })
    }
}

struct EchoLog(Arc<Mutex<Vec<u8>>>);

impl LogSink for EchoLog {
    fn syslog(&self, line: &LogLine<'_>) {
        let text = String::from_utf8_lossy(line.text);
        let text = format!("syslog {:?} {} {text}", line.facility, line.severity);
        write_line(&self.0, text.as_bytes());
    }
}

struct OneFile;

impl Files for OneFile {
    fn open(&self, name: &[u8]) -> Option<Arc<dyn FileContent>> {
        let content: &[u8] = match name {
            b"file://lines.txt" => b"one\r\ntwo\n\nlast",
            b"file://hosts" => b"10.0.0.1  a.example\tmain\n10.0.0.2 b.example\n",
            b"file://people.csv" => b"id,name\n1,\"Doe, Jane\"\n2,Roe\n",
            _ => return None,
        };
        Some(Arc::new(content.to_vec()))
    }
}

/// Knows `example.org`; everything else does not exist.
struct Zone;

impl Resolver for Zone {
    fn query(&self, query: DnsQuery) -> BoxFuture<DnsAnswer> {
        let record = |data| DnsRecord { ttl: 300, data };
        let address = |text: &str| text.parse().map(|ip| record(RecordData::Address(ip)));
        let mx = |preference, exchange: &str| {
            record(RecordData::Mx { preference, exchange: exchange.to_owned() })
        };
        let result = match (query.host.as_str(), query.record) {
            ("example.org", RecordType::A) => Ok(address("192.0.2.1").into_iter().collect()),
            ("example.org", RecordType::Aaaa) => Ok(address("2001:db8::1").into_iter().collect()),
            ("example.org", RecordType::Mx) => {
                Ok(vec![mx(20, "b.example.org"), mx(10, "a.example.org")])
            }
            ("example.org", RecordType::Txt) => {
                Ok(vec![record(RecordData::Txt(b"v=spf1 -all".to_vec()))])
            }
            ("1.2.0.192.in-addr.arpa", RecordType::Ptr) => {
                Ok(vec![record(RecordData::Name("example.org".to_owned()))])
            }
            (host, RecordType::Txt) if spf_record(host).is_some() => {
                let texts = spf_record(host).into_iter().flatten();
                Ok(texts.map(|text| record(RecordData::Txt(text.into()))).collect())
            }
            ("192.0.2.9.l.spf.test", RecordType::A) => {
                Ok(address("127.0.0.2").into_iter().collect())
            }
            ("broken.spf.test", _) => Err("SERVFAIL".to_owned()),
            ("example.org", RecordType::Soa) => Ok(vec![record(RecordData::Soa {
                mname: "ns.example.org".to_owned(),
                rname: "hostmaster.example.org".to_owned(),
                serial: 2021032100,
                refresh: 7200,
                retry: 3600,
                expire: 1209600,
                minimum: 300,
            })]),
            ("1.2.0.192.list.test", RecordType::A) => {
                Ok([address("127.0.0.2"), address("127.0.0.4")].into_iter().flatten().collect())
            }
            ("example.org", _) => Err("NO_DATA".to_owned()),
            ("slow.example.org", _) => Err(format!(
                "TRY_AGAIN after {} of {}:{}",
                query.timeout.as_secs_f64(),
                query.servers.first().map(ToString::to_string).unwrap_or_default(),
                query.port
            )),
            _ => Err("NXDOMAIN".to_owned()),
        };
        Box::pin(std::future::ready(DnsAnswer { result, dnssec: query.host == "example.org" }))
    }
}

/// The texts of a name in `spf.test`.
fn spf_record(host: &str) -> Option<Vec<String>> {
    let name = host.strip_suffix(".spf.test")?;
    let text = match name {
        "all" => {
            "v=spf1 ip4:192.0.2.0/28 ip6:2001:db8::/32 ?ip4:198.51.100.1 ~ip4:198.51.100.2 -all"
        }
        "a" => "v=spf1 a:example.org mx:example.org -all",
        "ptr" => "v=spf1 ptr:example.org -all",
        "include" => "v=spf1 include:a.spf.test ~all",
        "nothing" => "v=spf1 include:none.spf.test -all",
        "redirect" => "v=spf1 redirect=all.spf.test",
        "exists" => "v=spf1 exists:%{i}.%{l}.spf.test -all",
        "void" => "v=spf1 a:v1.test a:v2.test a:v3.test +all",
        "loop" => "v=spf1 include:loop.spf.test -all",
        "temp" => "v=spf1 a:broken.spf.test -all",
        "wrong" => "v=spf1 ip4:192.0.2.1 al",
        "neutral" => "v=spf1",
        "twice" => return Some(vec!["v=spf1 +all".to_owned(), "v=spf1 -all".to_owned()]),
        "other" => "google-site-verification=x",
        _ => return None,
    };
    Some(vec![text.to_owned()])
}
