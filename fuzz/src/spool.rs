//! What the fuzz targets of `crates/spool` do with their input.
//!
//! Plain functions, so that the corpus also runs as an ordinary test
//! (`crates/spool/tests/fuzz_corpus.rs`). A broken promise panics.

use std::collections::BTreeMap;
use std::io::{IoSlice, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use mta_types::{MessageId, QueueId, TransactionId};
use parking_lot::Mutex;
use spool::disk::sim::{SimDisk, SimRandom};
use spool::disk::{Disk, read_exact_at};
use spool::{Body, Commit, Config, Durability, NewRow, Platform, Spool, SystemClock, hqf};

/// The loader opens any log. Messages in it are those that were written, or are missing; none comes
/// out changed.
///
/// The first octet chooses: a segment of the octets that follow, or the segments of a real spool with
/// the octets that follow, in groups of four, as changes: place (little-endian) and two octets.
pub(crate) fn segment(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let written = written();
    let disk = SimDisk::new(1, 64 << 20);
    for (path, octets) in &written.files {
        let mut octets = octets.clone();
        if choice & 1 == 0 {
            octets = rest.to_vec();
        } else {
            for change in rest.chunks_exact(4) {
                let &[low, high, first, second] = change else { continue };
                let place = usize::from(u16::from_le_bytes([low, high])) % octets.len().max(1);
                for (octet, change) in octets.iter_mut().skip(place).zip([first, second]) {
                    *octet ^= change;
                }
            }
            if choice & 2 != 0 {
                octets.truncate(octets.len() / 256 * usize::from(choice >> 2));
            }
        }
        write(&disk, path, &octets);
    }
    let mut loaded = Vec::new();
    let opened = Spool::open(config(), platform(&disk), &mut |message| {
        let states: Vec<_> = message
            .rows
            .iter()
            .map(|row| (row.queue.0, row.row.to_vec(), row.state.to_vec()))
            .collect();
        loaded.push((message.transaction, message.metadata.to_vec(), states));
    });
    let Ok((spool, report)) = opened else { return };
    assert_eq!(report.messages, loaded.len() as u64, "the report counts what was given");
    for (transaction, metadata, rows) in loaded {
        let original = written.messages.get(&transaction).expect("a message that nobody wrote");
        assert_eq!(metadata, original.metadata, "metadata came out changed");
        for (queue, row, state) in rows {
            assert_eq!(row, format!("row {queue}").into_bytes(), "a row came out changed");
            assert!(state == b"new" || state == b"later", "a state that nobody wrote");
        }
        let mut body = Vec::new();
        if let Ok(mut reader) = spool.read_body(transaction)
            && reader.read_to_end(&mut body).is_ok()
        {
            assert_eq!(body, original.body, "a body came out changed");
        }
    }
    drop(spool.close());
}

/// A file that decodes is written again octet for octet. The checksums are made right first: they
/// guard against damage, not against whoever makes a file.
pub(crate) fn hqf(input: &[u8]) {
    drop(hqf::decode(&Bytes::copy_from_slice(input)));
    let mut file = input.to_vec();
    let Some(header) = file.get_mut(..44) else { return };
    header[..8].copy_from_slice(&hqf::MAGIC);
    header[8..10].copy_from_slice(&hqf::VERSION.to_le_bytes());
    let head_len = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
    let Some(head) = file.get(44..).and_then(|rest| rest.get(..head_len)) else { return };
    let mut crc = crc32fast::Hasher::new();
    crc.update(&file[..40]);
    crc.update(head);
    let crc = crc.finalize().to_le_bytes();
    file[40..44].copy_from_slice(&crc);
    let body = file.get(44 + head_len..).unwrap_or_default();
    let body_len = body.len().saturating_sub(4);
    let body_crc = crc32fast::hash(&body[..body_len]).to_le_bytes();
    let end = file.len();
    if body.len() >= 4 {
        file[end - 4..].copy_from_slice(&body_crc);
    }
    let file = Bytes::from(file);
    let Ok((message, body)) = hqf::decode(&file) else { return };
    let mut again = Vec::new();
    hqf::write(&message, &mut &body[..], &mut again).expect("memory takes it");
    let reread = hqf::decode(&Bytes::from(again)).expect("what was written can be read");
    assert_eq!(reread, (message, body), "writing changed the message");
}

/// A spool with a few messages, rows in different states, an ended row and a body in a file.
struct Written {
    files: Vec<(PathBuf, Vec<u8>)>,
    messages: BTreeMap<TransactionId, Original>,
}

struct Original {
    metadata: Vec<u8>,
    body: Vec<u8>,
}

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let disk = SimDisk::new(1, 64 << 20);
        let (spool, _) =
            Spool::open(config(), platform(&disk), &mut |_| {}).expect("an empty spool");
        let mut messages = BTreeMap::new();
        for n in 1..=4_u8 {
            let transaction = TransactionId([n; 16]);
            let body = vec![b'a' + n; 100 << (n * 2)];
            let rows = (1..=u32::from(n)).map(|queue| NewRow {
                queue: QueueId(queue),
                row: format!("row {queue}").into_bytes().into(),
                state: b"new".as_slice().into(),
            });
            let commit = Commit {
                transaction,
                metadata: vec![n; 5].into(),
                rows: rows.collect(),
                body: Body::from_pieces(vec![Bytes::from(body.clone())]),
            };
            spool.commit(commit).wait().expect("a commit");
            messages.insert(transaction, Original { metadata: vec![n; 5], body });
        }
        let row = |n: u8| MessageId { transaction: TransactionId([n; 16]), queue: QueueId(1) };
        spool
            .change(row(2), b"later".as_slice().into(), Durability::Awaited)
            .wait()
            .expect("a change");
        spool.end(row(3), Durability::Awaited).wait().expect("an end");
        spool.end_all(TransactionId([1; 16]), Durability::Awaited).wait().expect("an end");
        spool.close().expect("an orderly end");
        let files = disk.files().into_iter().filter(|(path, _)| path.starts_with(FOLDER));
        let files = files
            .map(|(path, len)| {
                let file = disk.open(&path).expect("a file that is listed");
                let mut octets = vec![0; usize::try_from(len).expect("a small file")];
                read_exact_at(&*file, &mut octets, 0).expect("its octets");
                (path, octets)
            })
            .collect();
        Written { files, messages }
    })
}

fn write(disk: &SimDisk, path: &Path, octets: &[u8]) {
    let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
    while let Some(folder) = folders.pop() {
        drop(disk.create_dir(folder));
    }
    let file = disk.create(path).expect("a new file");
    spool::disk::write_all_at(&*file, &mut [IoSlice::new(octets)], 0).expect("room");
}

fn config() -> Config {
    let config = Config::new(FOLDER);
    Config { segment_bytes: 64 << 10, inline_bytes: 8 << 10, loader_threads: 1, ..config }
}

fn platform(disk: &SimDisk) -> Platform {
    Platform {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(Mutex::new(SimRandom::new(7))),
        on_event: Arc::new(|_| {}),
    }
}

const FOLDER: &str = "/spool";
