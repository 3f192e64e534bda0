//! The program is killed under load, again and again: what got a 250 is never lost.
//!
//! `KILL_ROUNDS` says how often (default 3). A longer run by hand, with a build that is worth the name of load:
//! `KILL_ROUNDS=20 cargo nextest run --cargo-profile quick -p mta-daemon --no-capture kill`

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Program, configured};
use testkit::smtp_sink::SmtpSink;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What the senders know of the whole run.
#[derive(Default)]
struct Ledger {
    /// Ids that were answered with 250.
    acknowledged: Mutex<HashSet<String>>,
    /// Ids whose sender heard nothing: they may or may not be there.
    unknown: Mutex<HashSet<String>>,
    grown: Notify,
}

impl Ledger {
    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until `count` messages were answered with 250.
    async fn reaches(&self, count: usize) {
        loop {
            let grown = self.grown.notified();
            if self.acknowledged() >= count {
                return;
            }
            grown.await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_with_250_survives_every_kill_under_load() {
    let rounds: usize =
        std::env::var("KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let sink = SmtpSink::start().await;
    let running = format!(
        "transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          \
         server: 127.0.0.1\n          port: {}\n",
        sink.address.port()
    );
    let dir = configured("", &running);
    let ledger = Arc::new(Ledger::default());
    for round in 0..rounds {
        let program = Program::start(dir.path());
        let before = ledger.acknowledged();
        let mut senders = JoinSet::new();
        for session in 0..SESSIONS {
            let ledger = Arc::clone(&ledger);
            senders.spawn(send(program.address, round, session, ledger));
        }
        // Each round ends at another point of the load.
        let enough = before + 60 + (round * 97) % 400;
        timeout(PATIENCE, ledger.reaches(enough)).await.expect("the server takes mail");
        drop(program);
        senders.join_all().await;
    }

    let _last = Program::start(dir.path());
    let acknowledged = ledger.acknowledged.lock().unwrap().clone();
    let seen = timeout(PATIENCE, arrival(&sink, &acknowledged)).await.unwrap_or_else(|_| {
        let seen = arrived(&sink);
        let lost: Vec<_> = acknowledged.iter().filter(|id| !seen.contains_key(*id)).collect();
        panic!("{} of {} acknowledged messages are lost: {lost:?}", lost.len(), acknowledged.len());
    });
    let unknown = ledger.unknown.lock().unwrap();
    for id in seen.keys() {
        assert!(acknowledged.contains(id) || unknown.contains(id), "nobody sent {id}");
    }
    for message in sink.messages() {
        assert!(message.content.ends_with(TAIL), "a message arrived in part");
    }
    // An attempt that a kill interrupts is made again; more than that would be a fault.
    let twice = seen.values().filter(|count| **count > 1).count();
    println!(
        "{rounds} kills: {} acknowledged, {} unanswered, {twice} delivered twice",
        acknowledged.len(),
        unknown.len()
    );
    assert!(seen.values().all(|count| *count <= 1 + rounds), "the same message again and again");
}

/// Waits until every id of `wanted` has arrived; returns how often each did.
async fn arrival(sink: &SmtpSink, wanted: &HashSet<String>) -> HashMap<String, usize> {
    let mut count = wanted.len();
    loop {
        sink.wait_for(count).await;
        let seen = arrived(sink);
        let missing = wanted.iter().filter(|id| !seen.contains_key(*id)).count();
        if missing == 0 {
            return seen;
        }
        count = seen.values().sum::<usize>() + 1;
    }
}

/// How often each message id arrived.
fn arrived(sink: &SmtpSink) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    for message in sink.messages() {
        let id = message
            .content
            .lines()
            .find_map(|line| line.strip_prefix("Message-ID: <"))
            .and_then(|rest| rest.strip_suffix(">"));
        *seen.entry(id.expect("a message id").to_owned()).or_default() += 1;
    }
    seen
}

/// Sends message after message until the server is gone.
async fn send(address: SocketAddr, round: usize, session: usize, ledger: Arc<Ledger>) {
    let Ok(stream) = TcpStream::connect(address).await else { return };
    let mut stream = BufReader::new(stream);
    let hello = async {
        reply(&mut stream).await?;
        command(&mut stream, "EHLO client.example").await
    };
    if hello.await.is_err() {
        return;
    }
    for number in 0_u32.. {
        let id = format!("{round}.{session}.{number}@client.example");
        match deliver(&mut stream, &id).await {
            Ok(true) => {
                ledger.acknowledged.lock().unwrap().insert(id);
                ledger.grown.notify_waiters();
            }
            Ok(false) => {}
            Err(_) => {
                ledger.unknown.lock().unwrap().insert(id);
                return;
            }
        }
    }
}

/// Sends one message; true when it was answered with 250.
async fn deliver(stream: &mut BufReader<TcpStream>, id: &str) -> io::Result<bool> {
    for line in ["MAIL FROM:<sender@client.example>", "RCPT TO:<to@example.org>", "DATA"] {
        command(stream, line).await?;
    }
    let filler = "0123456789 and so on until the line is long enough to be one\r\n".repeat(160);
    let message = format!("Message-ID: <{id}>\r\nSubject: load\r\n\r\n{filler}{TAIL}.\r\n");
    stream.get_mut().write_all(message.as_bytes()).await?;
    Ok(reply(stream).await?.starts_with("250"))
}

async fn command(stream: &mut BufReader<TcpStream>, line: &str) -> io::Result<String> {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
    reply(stream).await
}

/// The last line of a reply.
async fn reply(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line);
        }
    }
}

/// Sessions at once.
const SESSIONS: usize = 20;

/// How a whole message ends.
const TAIL: &str = "the end\r\n";

const PATIENCE: Duration = Duration::from_secs(60);
