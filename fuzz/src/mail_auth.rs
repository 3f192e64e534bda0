//! What the fuzz targets of mail authentication do with their input: SPF, DKIM and DMARC as scripts
//! call them, over a DNS that the input describes.
//!
//! Plain functions, so that the corpus also runs as an ordinary test
//! (`crates/hsl-std/tests/fuzz_corpus.rs`). A broken promise panics.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use hsl::Program;
use hsl_std::mime::SharedMessage;
use hsl_std::services::{
    BoxFuture, DnsAnswer, DnsQuery, DnsRecord, RecordData, RecordType, Resolver,
};
use hsl_std::{Arrival, Services};
use parking_lot::Mutex;

use crate::scripts;

/// First line the client's address, then its greeting, the sender, and a zone. An evaluation ends
/// in one of the words of RFC 7208 and asks no more than §4.6.4 lets it.
pub(crate) fn spf(input: &[u8]) {
    static PROGRAM: OnceLock<Arc<Program>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let words = "[\"invalid\", \"none\", \"neutral\", \"pass\", \"fail\", \"softfail\",
             \"temperror\", \"permerror\"]";
        let text = format!(
            "if (!array_includes(spf_query($ip, $helo, $sender)[\"result\"], {words}))
                 throw \"spf: a broken promise\";"
        );
        scripts::compile(&services(), |_| {}, &["ip", "helo", "sender"], &text)
    });
    let mut lines = input.splitn(4, |octet| *octet == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (ip, helo, sender) = (line(), line(), line());
    let asked = ask_of(line(), || {
        let variables = [("ip", ip), ("helo", helo), ("sender", sender)]
            .map(|(name, text)| (name, text.into()));
        scripts::run(program, variables.into(), Vec::new());
    });
    assert!(asked <= MOST_QUESTIONS_OF_SPF, "spf: {asked} questions");
}

/// A zone, a line `%`, a message whose signatures are verified. Both ways to find a key come to the
/// same result, which is one of three words.
pub(crate) fn dkim(input: &[u8]) {
    static PROGRAM: OnceLock<Arc<Program>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let text = "
            $dns = function ($host) {
                $answer = dns_query($host, [\"type\" => \"txt\"]);
                if (isset($answer[\"result\"])) return [\"result\" => $answer[\"result\"]];
                if ($answer[\"error\"] == \"NXDOMAIN\" or $answer[\"error\"] == \"NO_DATA\")
                    return [\"result\" => []];
                return [\"error\" => \"temperror\"];
            };
            $mail = MailMessage::String($message);
            foreach ([\"DKIM-Signature\", \"ARC-Message-Signature\"] as $name) {
                foreach ($mail->getHeaders($name, [\"field\" => true]) as $field) {
                    header_dkim_decode($field, [\"field\" => true]);
                    $result = $mail->verifyDKIM($field);
                    if (!array_includes($result[\"result\"], [\"pass\", \"permerror\", \"temperror\"]))
                        throw \"dkim: a broken promise: an unknown word\";
                    if (isset($result[\"error\"]) == ($result[\"result\"] == \"pass\"))
                        throw \"dkim: a broken promise: an error tells of a failure\";
                    if ($mail->verifyDKIM($field, [\"dns_function\" => $dns]) != $result)
                        throw \"dkim: a broken promise: two results\";
                }
            }";
        scripts::compile(&services(), |_| {}, &["message"], text)
    });
    let (zone, message) = halves(input);
    ask_of(zone, || scripts::run(program, vec![("message", message.into())], Vec::new()));
}

/// A zone, a line `%`, a message that came from 192.0.2.1. Each author's domain gets one of the
/// documented words, and the number of questions has a bound.
pub(crate) fn dmarc(input: &[u8]) {
    static PROGRAM: OnceLock<Arc<Program>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let services = services();
        let text = "
            $result = ScanDMARC();
            $words = [\"temperror\", \"policy_absent\", \"pass\", \"none\", \"reject\", \"quarantine\"];
            if ($result !== \"permerror\") {
                if (length($result) == 0) throw \"dmarc: a broken promise: nobody is the author\";
                foreach ($result as $domain => $word)
                    if (!array_includes($word, $words)) throw \"dmarc: a broken promise\";
            }";
        scripts::compile(&services, |registry| hsl_std::register_dmarc(registry, &services), &[], text)
    });
    let (zone, message) = halves(input);
    let message = SharedMessage::from_octets(message.to_vec().into());
    let arrival = Arrival {
        message: Arc::new(Mutex::new(message)),
        ip: Some(IpAddr::from([192, 0, 2, 1])),
        helo: "mail.example.org".to_owned(),
        domain: "example.org".to_owned(),
    };
    let asked = ask_of(zone, || scripts::run(program, Vec::new(), vec![Box::new(arrival)]));
    assert!(asked <= MOST_QUESTIONS_OF_SPF + 10 + 2 * 10, "dmarc: {asked} questions");
}

fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    let mark = b"\n%\n";
    match input.windows(mark.len()).position(|octets| octets == mark) {
        Some(at) => (&input[..at], &input[at + mark.len()..]),
        None => (&[], input),
    }
}

/// Ten terms, each an exchanger's question with ten addresses or a reverse look-up with ten, and the
/// record itself; one macro `p` more.
const MOST_QUESTIONS_OF_SPF: usize = 1 + 10 * 11 + 11;

fn services() -> Services {
    Services {
        resolver: Arc::new(TheZone),
        public_suffix_list: Some("no such file".into()),
        ..Services::default()
    }
}

/// One zone at a time: targets run one input after the other, tests one target after the other.
struct TheZone;

static ZONE: Mutex<Vec<(String, RecordType, Option<RecordData>)>> = Mutex::new(Vec::new());
static ASKED: AtomicUsize = AtomicUsize::new(0);
static TURN: Mutex<()> = Mutex::new(());

/// Runs with a zone, and tells how many questions were asked.
///
/// Lines are a name (`*` for all), a type and the data; `!` as data is a server that fails.
fn ask_of(zone: &[u8], run: impl FnOnce()) -> usize {
    let _turn = TURN.lock();
    *ZONE.lock() = zone.split(|octet| *octet == b'\n').filter_map(record).collect();
    ASKED.store(0, Ordering::Relaxed);
    run();
    ASKED.load(Ordering::Relaxed)
}

fn record(line: &[u8]) -> Option<(String, RecordType, Option<RecordData>)> {
    let mut words = line.splitn(3, |octet| *octet == b' ');
    let name = String::from_utf8_lossy(words.next()?).to_ascii_lowercase();
    let (kind, data) = (words.next()?, words.next()?);
    let text = || String::from_utf8_lossy(data).into_owned();
    let (kind, value) = match kind {
        b"A" => (RecordType::A, RecordData::Address(text().parse().ok().unwrap_or([0; 4].into()))),
        b"AAAA" => {
            (RecordType::Aaaa, RecordData::Address(text().parse().ok().unwrap_or([0; 16].into())))
        }
        b"MX" => (RecordType::Mx, RecordData::Mx { preference: 10, exchange: text() }),
        b"PTR" => (RecordType::Ptr, RecordData::Name(text())),
        b"TXT" => (RecordType::Txt, RecordData::Txt(data.to_vec())),
        _ => return None,
    };
    Some((name, kind, (data != b"!").then_some(value)))
}

impl Resolver for TheZone {
    fn query(&self, query: DnsQuery) -> BoxFuture<DnsAnswer> {
        ASKED.fetch_add(1, Ordering::Relaxed);
        let name = query.host.to_ascii_lowercase();
        let zone = ZONE.lock();
        let found = zone
            .iter()
            .filter(|(known, kind, _)| *kind == query.record && (*known == name || known == "*"))
            .map(|(_, _, data)| data.clone())
            .collect::<Option<Vec<_>>>();
        let result = match found {
            None => Err("SERVFAIL".to_owned()),
            Some(found) if found.is_empty() => Err("NXDOMAIN".to_owned()),
            Some(found) => Ok(found.into_iter().map(|data| DnsRecord { ttl: 1, data }).collect()),
        };
        Box::pin(std::future::ready(DnsAnswer { result, dnssec: false }))
    }
}
