//! How long a start takes with many messages: writes them once without syncs, then opens the spool.
//!
//! Run with `cargo bench -p spool --bench load -- [messages] [body octets] [directory] [threads]`.
//! The callback builds a map of all rows with their octets, a stand-in for the queue.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use mta_types::{MessageId, QueueId, TransactionId};
use spool::{Body, Commit, Config, Durability, NewRow, Platform, Spool};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number =
        |at: usize, default: u64| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let messages = number(0, 100_000);
    let body = number(1, 2000) as usize;
    let dir = args.get(2).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new().prefix("spool-load").tempdir_in(dir).expect("directory");
    let threads = number(3, 2) as usize;
    let config = || Config { fsync: false, loader_threads: threads, ..Config::new(dir.path()) };
    let platform = || Platform::system(|event| println!("{event:?}"));
    let began = Instant::now();
    let (spool, _) = Spool::open(config(), platform(), &mut |_| {}).expect("spool");
    let body = Bytes::from(vec![b'x'; body]);
    for n in 0..messages {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        let transaction = TransactionId(id);
        let commit = spool.commit(Commit {
            transaction,
            metadata: vec![1; 300].into(),
            rows: vec![NewRow {
                queue: QueueId(1),
                row: vec![2; 100].into(),
                state: Box::default(),
            }],
            body: Body::from_pieces(vec![body.clone()]),
        });
        // Every tenth has been deferred once.
        if n % 1000 == 0 {
            commit.wait().expect("commit");
        } else {
            drop(commit);
        }
        if n % 10 == 0 && n > 1000 {
            let mut id = [0; 16];
            let deferred = n - 1000;
            id[..8].copy_from_slice(&deferred.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            let id = MessageId::new(TransactionId(id), QueueId(1));
            drop(spool.change(id, vec![3; 60].into(), Durability::Lazy));
        }
    }
    spool.close().expect("close");
    println!("written in {:?}", began.elapsed());

    let mut rows: HashMap<MessageId, Box<[u8]>> = HashMap::new();
    let began = Instant::now();
    let (spool, report) = Spool::open(config(), platform(), &mut |message| {
        for row in message.rows {
            let octets = [message.metadata, row.row, row.state].concat();
            rows.insert(MessageId::new(message.transaction, row.queue), octets.into());
        }
    })
    .expect("spool");
    println!("loaded in {:?}: {report:?}", began.elapsed());
    assert_eq!(rows.len() as u64, messages);
    let resident = std::fs::read_to_string("/proc/self/statm").expect("statm");
    println!("statm {resident}");
    spool.close().expect("close");
}
