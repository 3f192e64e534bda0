//! The same work in three ways: this log, one file per message, and an embedded store.
//!
//! Twenty writers each make messages of 10 kB durable, one after the other, and delete every one
//! as soon as it is durable. Told are messages per second, syncs and processor time per message.
//! Run with `cargo bench -p spool --bench compare -- [messages] [directory] [writers]`; the
//! directory must be on the disk in question. The figures are in `docs/decisions/0002-spool.md`.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mta_types::{MessageId, QueueId, TransactionId};
use redb::backends::FileBackend;
use redb::{ReadableDatabase, ReadableTableMetadata, StorageBackend, TableDefinition};
use spool::disk::real::RealDisk;
use spool::disk::{DirLock, Disk, DiskFile, FreeSpace, Listed};
use spool::{Body, Commit, Config, Durability, NewRow, Platform, Spool};

const BODY: usize = 10_000;
const METADATA: usize = 300;
const ROW: usize = 100;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number =
        |at: usize, default: u64| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let messages = number(0, 20_000);
    let writers = number(2, 20);
    let dir = args.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new().prefix("spool-compare").tempdir_in(dir).expect("directory");
    println!(
        "{messages} messages of {BODY} octets, {writers} writers, in {}",
        dir.path().display()
    );
    println!("{:<28}{:>12}{:>14}{:>16}", "way", "messages/s", "syncs/message", "cpu us/message");
    let ways: [(&str, u64, Way); 4] = [
        ("log", messages, log),
        ("file per message", messages, files),
        // So slow that a part of the work shows it.
        ("redb, one commit each", messages / 20, redb_each),
        ("redb, grouped by hand", messages, redb_grouped),
    ];
    // In turns, so that a busy neighbour hurts all alike; the median is told.
    let mut outcomes = vec![Vec::new(); ways.len()];
    for round in 0..ROUNDS {
        for ((name, messages, way), outcomes) in ways.iter().zip(&mut outcomes) {
            let at = dir.path().join(format!("{}-{round}", name.replace([' ', ','], "-")));
            std::fs::create_dir(&at).expect("directory");
            let outcome = way(&at, *messages, writers);
            std::fs::remove_dir_all(&at).expect("directory");
            let n = *messages as f64;
            outcomes.push((
                n / outcome.took.as_secs_f64(),
                outcome.syncs as f64 / n,
                outcome.cpu.as_secs_f64() * 1e6 / n,
            ));
        }
    }
    let mut base = None;
    for ((name, ..), outcomes) in ways.iter().zip(&mut outcomes) {
        outcomes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (rate, syncs, cpu) = outcomes[ROUNDS / 2];
        let first = *base.get_or_insert((rate, syncs, cpu));
        println!(
            "{name:<28}{rate:>12.0}{syncs:>14.3}{cpu:>16.1}   ratios {:.2} {:.2} {:.2}   from {:.0} to {:.0}",
            rate / first.0,
            syncs / first.1,
            cpu / first.2,
            outcomes[0].0,
            outcomes[ROUNDS - 1].0,
        );
    }
}

type Way = fn(&Path, u64, u64) -> Outcome;

const ROUNDS: usize = 5;

struct Outcome {
    took: Duration,
    cpu: Duration,
    syncs: u64,
}

fn measure(syncs: &AtomicU64, work: impl FnOnce()) -> Outcome {
    let before = syncs.load(Ordering::Relaxed);
    let cpu = cpu_time();
    let start = Instant::now();
    work();
    Outcome {
        took: start.elapsed(),
        cpu: cpu_time() - cpu,
        syncs: syncs.load(Ordering::Relaxed) - before,
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs `each(writer, n)` for every message, spread over the writers.
fn on_writers(messages: u64, writers: u64, each: impl Fn(u64, u64) + Sync) {
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let each = &each;
            scope.spawn(move || (0..messages / writers).for_each(|n| each(writer, n)));
        }
    });
}

fn id(writer: u64, n: u64) -> [u8; 16] {
    let mut id = [0; 16];
    // Spread like a random UUID.
    id[..8]
        .copy_from_slice(&(n ^ (writer << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    id[8..].copy_from_slice(&(n | (writer << 40)).to_be_bytes());
    id
}

fn log(dir: &Path, messages: u64, writers: u64) -> Outcome {
    let syncs = Arc::new(AtomicU64::new(0));
    let mut platform = Platform::system(|event| eprintln!("{event:?}"));
    platform.disk = Arc::new(Counting { disk: RealDisk::new(), syncs: Arc::clone(&syncs) });
    platform.on_event = Arc::new(|_| {});
    let (spool, _) = Spool::open(Config::new(dir), platform, &mut |_| {}).expect("spool");
    let body = Bytes::from(vec![b'x'; BODY]);
    let outcome = measure(&syncs, || {
        on_writers(messages, writers, |writer, n| {
            let transaction = TransactionId(id(writer, n));
            let commit = Commit {
                transaction,
                metadata: vec![1; METADATA].into(),
                rows: vec![NewRow {
                    queue: QueueId(1),
                    row: vec![2; ROW].into(),
                    state: Box::default(),
                }],
                body: Body::from_pieces(vec![body.clone()]),
            };
            spool.commit(commit).wait().expect("commit");
            // Nobody waits for it, as in the daemon.
            drop(spool.end(MessageId::new(transaction, QueueId(1)), Durability::Lazy));
        });
        spool.flush().wait().expect("flush");
    });
    assert_eq!(spool.stats().messages, 0, "all deleted");
    outcome
}

fn files(dir: &Path, messages: u64, writers: u64) -> Outcome {
    let syncs = AtomicU64::new(0);
    // 256 directories, as mail spools have.
    for n in 0..256 {
        std::fs::create_dir(dir.join(format!("{n:02x}"))).expect("directory");
    }
    let head = vec![1; METADATA + ROW];
    let body = vec![b'x'; BODY];
    measure(&syncs, || {
        on_writers(messages, writers, |writer, n| {
            let name = TransactionId(id(writer, n)).to_string();
            let sub = dir.join(&name[..2]);
            let temporary = sub.join(format!("{name}.tmp"));
            let path = sub.join(format!("{name}.hqf"));
            let mut file = File::create_new(&temporary).expect("create");
            let mut slices = [IoSlice::new(&head), IoSlice::new(&body)];
            let mut rest = &mut slices[..];
            while !rest.is_empty() {
                let written = file.write_vectored(rest).expect("write");
                IoSlice::advance_slices(&mut rest, written);
            }
            file.sync_data().expect("sync");
            std::fs::rename(&temporary, &path).expect("rename");
            File::open(&sub).expect("directory").sync_all().expect("sync");
            syncs.fetch_add(2, Ordering::Relaxed);
            std::fs::remove_file(&path).expect("remove");
        });
    })
}

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("messages");

fn redb_open(dir: &Path, syncs: &Arc<AtomicU64>) -> redb::Database {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(dir.join("store.redb"))
        .expect("store");
    let backend =
        CountingBackend { inner: FileBackend::new(file).expect("store"), syncs: Arc::clone(syncs) };
    let db = redb::Builder::new().create_with_backend(backend).expect("store");
    let tx = db.begin_write().expect("transaction");
    tx.open_table(TABLE).expect("table");
    tx.commit().expect("commit");
    db
}

fn value() -> Vec<u8> {
    vec![b'x'; BODY + METADATA + ROW]
}

/// Every writer commits by himself; deletes go along with the writer's next commit.
fn redb_each(dir: &Path, messages: u64, writers: u64) -> Outcome {
    let syncs = Arc::new(AtomicU64::new(0));
    let db = redb_open(dir, &syncs);
    let value = value();
    let outcome = measure(&syncs, || {
        on_writers(messages, writers, |writer, n| {
            let tx = db.begin_write().expect("transaction");
            {
                let mut table = tx.open_table(TABLE).expect("table");
                if n > 0 {
                    table.remove(&id(writer, n - 1)[..]).expect("remove");
                }
                table.insert(&id(writer, n)[..], &value[..]).expect("insert");
            }
            tx.commit().expect("commit");
        });
    });
    let tx = db.begin_read().expect("transaction");
    let left = tx.open_table(TABLE).expect("table").len().expect("length");
    assert_eq!(left, writers.min(messages), "one left per writer");
    outcome
}

/// One thread commits what all writers wait for in one transaction, as our committer does.
fn redb_grouped(dir: &Path, messages: u64, writers: u64) -> Outcome {
    type Request = ([u8; 16], SyncSender<()>);
    let syncs = Arc::new(AtomicU64::new(0));
    let db = redb_open(dir, &syncs);
    let value = value();
    // Full means that writers wait to hand in, which they would anyway.
    let (tx, rx): (SyncSender<Request>, Receiver<Request>) = sync_channel(1024);
    let deletes: Mutex<Vec<[u8; 16]>> = Mutex::default();
    measure(&syncs, || {
        std::thread::scope(|scope| {
            let (db, deletes, value) = (&db, &deletes, &value);
            scope.spawn(move || {
                while let Ok(first) = rx.recv() {
                    let mut batch = vec![first];
                    batch.extend(rx.try_iter());
                    let gone = std::mem::take(&mut *deletes.lock().expect("lock"));
                    let write = db.begin_write().expect("transaction");
                    {
                        let mut table = write.open_table(TABLE).expect("table");
                        for id in gone {
                            table.remove(&id[..]).expect("remove");
                        }
                        for (id, _) in &batch {
                            table.insert(&id[..], &value[..]).expect("insert");
                        }
                    }
                    write.commit().expect("commit");
                    for (_, done) in batch {
                        done.send(()).expect("writer");
                    }
                }
            });
            on_writers(messages, writers, |writer, n| {
                let (done, wait) = sync_channel(1);
                tx.send((id(writer, n), done)).expect("committer");
                wait.recv().expect("committer");
                deletes.lock().expect("lock").push(id(writer, n));
            });
            drop(tx);
        });
    })
}

/// The real disk, counting syncs of files and directories.
struct Counting {
    disk: RealDisk,
    syncs: Arc<AtomicU64>,
}

impl Counting {
    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(CountingFile { file, syncs: Arc::clone(&self.syncs) })
    }
}

impl Disk for Counting {
    fn create(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.disk.create(path)?))
    }
    fn open(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.disk.open(path)?))
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.disk.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.disk.rename(from, to)
    }
    fn list(&self, dir: &Path) -> std::io::Result<Vec<Listed>> {
        self.disk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.disk.sync_dir(dir)
    }
    fn free_space(&self, dir: &Path) -> std::io::Result<FreeSpace> {
        self.disk.free_space(dir)
    }
    fn lock(&self, path: &Path) -> std::io::Result<Box<dyn DirLock>> {
        self.disk.lock(path)
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn DiskFile>,
    syncs: Arc<AtomicU64>,
}

impl DiskFile for CountingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> std::io::Result<usize> {
        self.file.write_at(bufs, offset)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }
    fn allocate(&self, len: u64) -> std::io::Result<()> {
        self.file.allocate(len)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
}

#[derive(Debug)]
struct CountingBackend {
    inner: FileBackend,
    syncs: Arc<AtomicU64>,
}

impl StorageBackend for CountingBackend {
    fn len(&self) -> std::io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.inner.write(offset, data)
    }
    fn close(&self) -> std::io::Result<()> {
        self.inner.close()
    }
}
