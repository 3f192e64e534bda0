//! The spool as its users meet it: threads, the real disk, damage, `.hqf` files.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mta_types::{MessageId, QueueId, TransactionId};
use parking_lot::Mutex;
use spool::disk::real::RealDisk;
use spool::disk::sim::{Faults, SimDisk, SimRandom};
use spool::{
    Body, Commit, CommitError, Config, Corrupt, Durability, Event, MinFree, NewRow, OpenError,
    Platform, ReadError, Spool, SystemClock, View, hqf,
};

type Events = Arc<Mutex<Vec<Event>>>;

fn platform(events: &Events) -> Platform {
    let events = Arc::clone(events);
    Platform::system(move |event| {
        // Ordinary work, which may come at any time.
        if !matches!(event, Event::SegmentCompacted { .. }) {
            events.lock().push(event);
        }
    })
}

fn small(path: &Path) -> Config {
    Config { segment_bytes: 256 << 10, inline_bytes: 16 << 10, ..Config::new(path) }
}

/// What the loader gave, by transaction: metadata and rows with their states.
type Loaded = BTreeMap<TransactionId, (Vec<u8>, Vec<(u32, Vec<u8>)>)>;

fn open(config: Config, platform: Platform) -> (Spool, Loaded) {
    let mut loaded = Loaded::new();
    let (spool, report) = Spool::open(config, platform, &mut |message| {
        let rows = message.rows.iter().map(|row| (row.queue.0, row.state.to_vec())).collect();
        loaded.insert(message.transaction, (message.metadata.to_vec(), rows));
    })
    .unwrap();
    assert_eq!(report.messages, loaded.len() as u64);
    (spool, loaded)
}

fn id(n: u8) -> TransactionId {
    TransactionId([n; 16])
}

fn message(n: u8, rows: u32, body: Body) -> Commit {
    Commit {
        transaction: id(n),
        metadata: vec![n; 5].into(),
        rows: (1..=rows)
            .map(|queue| NewRow {
                queue: QueueId(queue),
                row: format!("row {queue}").into_bytes().into(),
                state: b"new".as_slice().into(),
            })
            .collect(),
        body,
    }
}

fn octets(len: usize, seed: u64) -> Bytes {
    let mut random = SimRandom::new(seed);
    (0..len).map(|_| random.next() as u8).collect::<Vec<u8>>().into()
}

fn body(len: usize, seed: u64) -> Body {
    Body::from_pieces(vec![octets(len, seed)])
}

#[test]
fn a_view_reads_a_spool_in_use_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::default();
    let (spool, _) = open(small(dir.path()), platform(&events));
    spool.commit(message(1, 2, body(100, 1))).wait().unwrap();
    spool.commit(message(2, 1, body(40_000, 2))).wait().unwrap();
    let row = MessageId { transaction: id(1), queue: QueueId(1) };
    spool.end(row, Durability::Awaited).wait().unwrap();
    let files = || {
        let mut out = Vec::new();
        for folder in ["log", "bodies"] {
            for entry in std::fs::read_dir(dir.path().join(folder)).unwrap() {
                let entry = entry.unwrap();
                out.push((entry.path(), std::fs::read(entry.path()).unwrap()));
            }
        }
        out.sort();
        out
    };
    let before = files();
    let view = View::open(dir.path()).unwrap();
    assert_eq!(view.read_message(id(1)).unwrap().rows.len(), 1);
    assert_eq!(view.read_message(id(2)).unwrap().rows.len(), 1);
    let mut octets_read = Vec::new();
    view.read_body(id(2)).unwrap().read_to_end(&mut octets_read).unwrap();
    assert_eq!(octets_read, octets(40_000, 2));
    assert!(matches!(view.read_message(id(3)), Err(ReadError::Unknown { .. })));
    drop(view);
    assert_eq!(files(), before);
    spool.commit(message(3, 1, body(10, 3))).wait().unwrap();
    spool.close().unwrap();
    let none = View::open(&dir.path().join("none"));
    assert!(matches!(none, Err(OpenError::Path { .. })));
}

#[test]
fn messages_and_their_states_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::default();
    let (spool, loaded) = open(small(dir.path()), platform(&events));
    assert!(loaded.is_empty());
    // Small in one piece, small from a draft with a prefix, large from a draft, large pieces.
    spool.commit(message(1, 2, body(1000, 1))).wait().unwrap();
    let mut draft = spool.draft(0).unwrap();
    draft.write(b"From: a\r\n\r\nhello").unwrap();
    assert_eq!(draft.in_memory(), Some(&b"From: a\r\n\r\nhello"[..]));
    let prefix = Bytes::from_static(b"Received: x\r\n");
    spool.commit(message(2, 1, Body::from_draft(prefix.clone(), draft))).wait().unwrap();
    let large = octets(100_000, 3);
    let mut draft = spool.draft(100_000).unwrap();
    for part in large.chunks(777) {
        draft.write(part).unwrap();
    }
    assert_eq!((draft.in_memory(), draft.len()), (None, 100_000));
    assert_eq!(draft.read_start(70_000).unwrap(), &large[..70_000]);
    let mut tail = [0; 50];
    assert_eq!(draft.read_at(&mut tail, 99_970).unwrap(), 30);
    assert_eq!(tail[..30], large[99_970..]);
    let replaced = Body::replace_start(prefix.clone(), 1000, draft);
    assert_eq!(replaced.len(), 99_000 + 13);
    spool.commit(message(3, 1, replaced)).wait().unwrap();
    spool.commit(message(4, 1, body(60_000, 4))).wait().unwrap();
    let change = spool.change(
        MessageId::new(id(1), QueueId(2)),
        b"later".as_slice().into(),
        Durability::Lazy,
    );
    let end = spool.end(MessageId::new(id(1), QueueId(1)), Durability::Awaited);
    change.wait().unwrap();
    end.wait().unwrap();
    spool.close().unwrap();

    for threads in [1, 4] {
        let config = Config { loader_threads: threads, ..small(dir.path()) };
        let (spool, loaded) = open(config, platform(&events));
        assert_eq!(loaded.len(), 4);
        assert_eq!(loaded[&id(1)], (vec![1; 5], vec![(2, b"later".to_vec())]));
        assert_eq!(loaded[&id(2)], (vec![2; 5], vec![(1, b"new".to_vec())]));
        let read = |n: u8| spool.read_body(id(n)).unwrap().read_all().unwrap();
        assert_eq!(read(1), octets(1000, 1));
        assert_eq!(&read(2)[..], b"Received: x\r\nFrom: a\r\n\r\nhello");
        assert_eq!(read(3), [&prefix[..], &large[1000..]].concat());
        assert_eq!(read(4), octets(60_000, 4));
        let mut streamed = Vec::new();
        spool.read_body(id(3)).unwrap().read_to_end(&mut streamed).unwrap();
        assert_eq!(streamed, read(3));
        let mut part = [0; 20];
        assert_eq!(spool.read_body(id(3)).unwrap().read_at(&mut part, 13).unwrap(), 20);
        assert_eq!(part, large[1000..1020]);
        let stored = spool.read_message(id(1)).unwrap();
        assert_eq!((stored.rows.len(), &stored.rows[0].state[..]), (1, &b"later"[..]));
        spool.close().unwrap();
    }
    assert_eq!(*events.lock(), [], "nothing to report");
}

#[test]
fn ended_messages_are_gone_with_their_files_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::default();
    let (spool, _) = open(small(dir.path()), platform(&events));
    for n in 0..200 {
        spool
            .commit(message(n, 1, body(if n % 20 == 0 { 30_000 } else { 10_000 }, 1)))
            .wait()
            .unwrap();
        drop(spool.end_all(id(n), Durability::Lazy));
    }
    spool.flush().wait().unwrap();
    assert_eq!(spool.stats().messages, 0);
    assert!(matches!(spool.read_body(id(3)), Err(ReadError::Unknown { .. })));
    assert!(matches!(
        spool.end_all(id(3), Durability::Awaited).wait(),
        Err(CommitError::Unknown { .. })
    ));
    spool.close().unwrap();
    let (spool, loaded) = open(small(dir.path()), platform(&events));
    assert!(loaded.is_empty());
    spool.close().unwrap();
    let bodies = std::fs::read_dir(dir.path().join("bodies")).unwrap().count();
    assert_eq!(bodies, 0, "body files left");
}

#[test]
fn concurrent_commits_share_syncs_and_all_complete() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(Config::new(dir.path()), platform(&Events::default()));
    let done = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        for writer in 0..8_u8 {
            let (spool, done) = (spool.clone(), Arc::clone(&done));
            scope.spawn(move || {
                for n in 0..25_u8 {
                    let done = Arc::clone(&done);
                    spool.commit_then(message(writer * 25 + n, 1, body(500, 1)), move |outcome| {
                        outcome.unwrap();
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    spool.flush().wait().unwrap();
    assert_eq!(done.load(Ordering::Relaxed), 200);
    let stats = spool.stats();
    assert_eq!((stats.messages, stats.commits, stats.pending_bytes), (200, 200, 0));
    assert!(stats.syncs < 200, "{} syncs", stats.syncs);
    spool.close().unwrap();
}

#[test]
fn bad_commits_are_refused_and_harm_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()), platform(&Events::default()));
    spool.commit(message(1, 1, body(10, 1))).wait().unwrap();
    let again = spool.commit(message(1, 1, body(10, 1))).wait().unwrap_err();
    assert!(matches!(again, CommitError::Exists { .. }) && !again.is_transient());
    assert!(matches!(
        spool.commit(message(2, 0, body(10, 1))).wait(),
        Err(CommitError::Rows { .. })
    ));
    let mut twice = message(2, 2, body(10, 1));
    twice.rows[1].queue = QueueId(1);
    assert!(matches!(spool.commit(twice).wait(), Err(CommitError::Rows { .. })));
    let mut huge = message(2, 1, body(10, 1));
    huge.metadata = vec![0; 300 << 10].into();
    assert!(matches!(spool.commit(huge).wait(), Err(CommitError::TooLarge { .. })));
    assert_eq!(spool.stats().pending_bytes, 0);
    let clone = spool.clone();
    spool.close().unwrap();
    assert!(matches!(clone.commit(message(3, 1, body(1, 1))).wait(), Err(CommitError::Closed)));
}

#[test]
fn a_second_daemon_is_told_that_the_spool_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()), platform(&Events::default()));
    let second = Spool::open(small(dir.path()), platform(&Events::default()), &mut |_| {});
    let error = second.err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(dir.path().to_str().unwrap()));
    spool.close().unwrap();
    open(small(dir.path()), platform(&Events::default())).0.close().unwrap();
}

#[test]
fn an_unusable_path_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, b"in the way").unwrap();
    let error = Spool::open(small(&path), platform(&Events::default()), &mut |_| {}).err().unwrap();
    assert!(matches!(error, OpenError::Path { .. }));
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn too_little_free_space_refuses_mail_as_transient() {
    let dir = tempfile::tempdir().unwrap();
    let minfree = MinFree { bytes: u64::MAX, inodes: 0 };
    let (spool, _) = open(Config { minfree, ..small(dir.path()) }, platform(&Events::default()));
    assert!(spool.draft(0).is_err());
    let error = spool.commit(message(1, 1, body(10, 1))).wait().unwrap_err();
    assert!(matches!(error, CommitError::Full { .. }) && error.is_transient());
    spool.close().unwrap();
}

#[test]
fn drafts_over_the_common_memory_go_to_files_and_give_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { draft_memory_bytes: 20 << 10, ..small(dir.path()) };
    let (spool, _) = open(config, platform(&Events::default()));
    let mut drafts: Vec<_> = (0..4).map(|_| spool.draft(0).unwrap()).collect();
    for draft in &mut drafts {
        draft.write(&[b'x'; 8000]).unwrap();
    }
    assert!(spool.stats().draft_bytes <= 20 << 10);
    let in_memory = drafts.iter().filter(|draft| draft.in_memory().is_some()).count();
    assert_eq!(in_memory, 2);
    drop(drafts);
    assert_eq!(spool.stats().draft_bytes, 0);
    assert_eq!(std::fs::read_dir(dir.path().join("bodies")).unwrap().count(), 0);
    spool.close().unwrap();
}

#[test]
fn a_draft_that_lost_octets_cannot_be_committed() {
    let disk = SimDisk::new(4, 600 << 10);
    let mut platform = Platform::system(|_| {});
    platform.disk = Arc::new(disk.clone());
    let (spool, _) = open(small(Path::new("/spool")), platform);
    let mut draft = spool.draft(0).unwrap();
    draft.write(&[b'x'; 10_000]).unwrap();
    disk.set_faults(Faults { write: 65_536, name: 65_536, ..Faults::default() });
    assert!(draft.write(&[b'x'; 10_000]).is_err());
    disk.set_faults(Faults::default());
    assert!(draft.write(b"x").is_err(), "a hole in the middle");
    let commit = message(1, 1, Body::from_draft(Bytes::new(), draft));
    assert!(spool.commit(commit).wait().unwrap_err().is_transient());
    spool.close().unwrap();
}

/// Three messages made of one large draft, with starts of their own.
fn set_of_one_draft(spool: &Spool, octets: &Bytes) -> Vec<Commit> {
    let mut draft = spool.draft(0).unwrap();
    draft.write(octets).unwrap();
    let draft = draft.share().unwrap();
    let draft = if octets.len() > 10_000 { draft.into_file().unwrap() } else { draft };
    let body = |n: u8| Body::replace_start_of(vec![Bytes::from(vec![n; 10])], 7, &draft);
    (1..=3).map(|n| message(n, 1, body(n))).collect()
}

#[test]
fn messages_of_one_large_draft_share_its_file_until_the_last_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::default();
    // One would stay in memory and one has a file from the beginning.
    let octets = octets(12_000, 5);
    let check = |spool: &Spool, n: u8| {
        let body = spool.read_body(id(n)).unwrap().read_all().unwrap();
        assert_eq!(body, [&[n; 10][..], &octets[7..]].concat());
    };
    let files = || std::fs::read_dir(dir.path().join("bodies")).unwrap().count();
    let (spool, _) = open(small(dir.path()), platform(&events));
    spool.commit_all(set_of_one_draft(&spool, &octets)).wait().unwrap();
    assert_eq!(files(), 1);
    (1..=3).for_each(|n| check(&spool, n));
    spool.end_all(id(2), Durability::Awaited).wait().unwrap();
    check(&spool, 1);
    spool.close().unwrap();
    let (spool, loaded) = open(small(dir.path()), platform(&events));
    assert_eq!(loaded.len(), 2);
    spool.end_all(id(1), Durability::Awaited).wait().unwrap();
    check(&spool, 3);
    spool.end_all(id(3), Durability::Awaited).wait().unwrap();
    spool.close().unwrap();
    assert_eq!(files(), 0);
    assert_eq!(*events.lock(), []);
}

#[test]
fn of_a_set_with_one_bad_message_nothing_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()), platform(&Events::default()));
    spool.commit(message(3, 1, body(10, 1))).wait().unwrap();
    let large = octets(100_000, 5);
    let exists = spool.commit_all(set_of_one_draft(&spool, &large)).wait();
    assert!(matches!(exists, Err(CommitError::Exists { transaction }) if transaction == id(3)));
    let twice = vec![message(1, 1, body(10, 1)), message(1, 1, body(10, 2))];
    assert!(matches!(spool.commit_all(twice).wait(), Err(CommitError::Exists { .. })));
    let no_rows = vec![message(1, 1, body(10, 1)), message(2, 0, body(10, 2))];
    assert!(matches!(spool.commit_all(no_rows).wait(), Err(CommitError::Rows { .. })));
    let most = (10..40).map(|n| message(n, 1, body(16 << 10, u64::from(n)))).collect();
    assert!(matches!(spool.commit_all(most).wait(), Err(CommitError::TooLarge { .. })));
    assert_eq!(spool.stats().pending_bytes, 0);
    spool.close().unwrap();
    let (_spool, loaded) = open(small(dir.path()), platform(&Events::default()));
    assert_eq!(loaded.keys().copied().collect::<Vec<_>>(), [id(3)]);
    assert_eq!(std::fs::read_dir(dir.path().join("bodies")).unwrap().count(), 0);
}

#[test]
fn a_failed_sync_refuses_the_whole_set_and_a_restart_does_not_bring_it_back() {
    for len in [1000, 100_000] {
        let disk = SimDisk::new(11, 64 << 20);
        let config = Config { loader_threads: 1, ..small(Path::new("/spool")) };
        let mut platform = platform(&Events::default());
        platform.disk = Arc::new(disk.clone());
        let (spool, _) = open(config.clone(), platform.clone());
        spool.commit(message(9, 1, body(10, 1))).wait().unwrap();
        let set = set_of_one_draft(&spool, &octets(len, 5));
        disk.set_faults(Faults { sync: 65_536, ..Faults::default() });
        assert!(spool.commit_all(set).wait().is_err());
        disk.set_faults(Faults::default());
        spool.commit(message(8, 1, body(10, 1))).wait().unwrap();
        spool.close().unwrap();
        let (spool, loaded) = open(config, platform);
        assert_eq!(loaded.keys().copied().collect::<Vec<_>>(), [id(8), id(9)]);
        spool.close().unwrap();
        assert!(disk.files().iter().all(|(path, _)| path.extension() != Some("body".as_ref())));
    }
}

#[test]
fn a_panicking_callback_does_not_stop_the_committer() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()), platform(&Events::default()));
    spool.commit_then(message(1, 1, body(10, 1)), |_| panic!("on purpose"));
    spool.commit(message(2, 1, body(10, 1))).wait().unwrap();
    spool.close().unwrap();
}

#[test]
fn unload_and_load_carry_a_message_over() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(small(dir.path()), platform(&Events::default()));
    spool.commit(message(1, 3, body(40_000, 9))).wait().unwrap();
    spool.end(MessageId::new(id(1), QueueId(2)), Durability::Awaited).wait().unwrap();
    let path = dir.path().join("01").join(format!("{}.hqf", id(1)));
    spool.export_file(id(1), &path).unwrap();
    spool.end_all(id(1), Durability::Awaited).wait().unwrap();

    let mut reader = hqf::Reader::open(std::fs::File::open(&path).unwrap()).unwrap();
    let stored = reader.message().clone();
    let mut draft = spool.draft(stored.body_len).unwrap();
    let mut buffer = [0; 1000];
    loop {
        let n = reader.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        draft.write(&buffer[..n]).unwrap();
    }
    let rows = stored.rows.iter().map(|row| NewRow {
        queue: row.queue,
        row: row.row[..].into(),
        state: row.state[..].into(),
    });
    let commit = Commit {
        transaction: stored.transaction,
        metadata: stored.metadata[..].into(),
        rows: rows.collect(),
        body: Body::from_draft(Bytes::new(), draft),
    };
    spool.commit(commit).wait().unwrap();
    assert_eq!(spool.read_message(id(1)).unwrap(), stored);
    assert_eq!(stored.rows.iter().map(|row| row.queue.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(spool.read_body(id(1)).unwrap().read_all().unwrap(), octets(40_000, 9));
    // The id's first life has ended in the log; the second must survive that.
    spool.close().unwrap();
    let (spool, loaded) = open(small(dir.path()), platform(&Events::default()));
    assert_eq!(loaded.len(), 1);
    spool.close().unwrap();
}

/// A spool of 20 messages in one segment that was never sealed, as a power failure leaves it.
fn unsealed(events: &Events) -> (SimDisk, Config, impl Fn(&SimDisk) -> Platform + use<>) {
    let disk = SimDisk::new(1, 64 << 20);
    let config = Config { loader_threads: 1, ..small(Path::new("/spool")) };
    let events = Arc::clone(events);
    let seed = AtomicU64::new(5);
    let platform = move |disk: &SimDisk| {
        let events = Arc::clone(&events);
        // Every start has random numbers of its own.
        let random = SimRandom::new(seed.fetch_add(1, Ordering::Relaxed));
        Platform {
            disk: Arc::new(disk.clone()),
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(Mutex::new(random)),
            on_event: Arc::new(move |event| events.lock().push(event)),
        }
    };
    let (spool, _) = open(config.clone(), platform(&disk));
    for n in 1..=20 {
        spool.commit(message(n, 1, body(3000, u64::from(n)))).wait().unwrap();
    }
    let after = disk.restart();
    drop(spool);
    (after, config, platform)
}

fn first_segment(disk: &SimDisk) -> std::path::PathBuf {
    disk.files()
        .into_iter()
        .map(|(path, _)| path)
        .find(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .unwrap()
}

#[test]
fn damage_is_reported_with_its_place_and_the_records_around_it_are_kept() {
    for corrupt in [Corrupt::Ignore, Corrupt::Rename, Corrupt::Unlink] {
        let events = Events::default();
        let (disk, config, platform) = unsealed(&events);
        let config = Config { corrupt, ..config };
        let segment = first_segment(&disk);
        // Somewhere in the head of a record in the middle, and in the body of another.
        disk.damage(&segment, 8192 + 5 * 3168, 60).unwrap();
        disk.damage(&segment, 8192 + 10 * 3168 + 2000, 4).unwrap();
        let (spool, loaded) = open(config.clone(), platform(&disk));
        assert_eq!(loaded.len(), 18, "{corrupt:?}: {:?}", events.lock());
        let damaged = events
            .lock()
            .iter()
            .filter(|event| matches!(event, Event::SegmentDamaged { path, .. } if *path == segment))
            .count();
        assert_eq!(damaged, 2, "{:?}", events.lock());
        assert!(events.lock().iter().any(|event| matches!(event, Event::MessageDamaged { .. })));
        for transaction in loaded.keys() {
            let read = spool.read_body(*transaction).unwrap().read_all().unwrap();
            assert_eq!(read, octets(3000, u64::from(transaction.as_bytes()[0])));
        }
        if corrupt != Corrupt::Ignore {
            wait_for(&events, |event| matches!(event, Event::SegmentDiscarded { .. }));
            let names: Vec<_> = disk.files().into_iter().map(|(path, _)| path).collect();
            assert!(!names.contains(&segment));
            let is_kept = names.iter().any(|path| path.starts_with("/spool/corrupt"));
            assert_eq!(is_kept, corrupt == Corrupt::Rename);
        }
        spool.close().unwrap();
        let (spool, again) = open(config, platform(&disk));
        assert_eq!(again, loaded, "{corrupt:?}");
        spool.close().unwrap();
    }
}

/// Waits for an event that comes from a thread; gives up after a time nothing takes.
fn wait_for(events: &Events, wanted: impl Fn(&Event) -> bool) {
    let start = std::time::Instant::now();
    while !events.lock().iter().any(&wanted) {
        assert!(start.elapsed().as_secs() < 20, "{:?}", events.lock());
        std::thread::yield_now();
    }
}

#[test]
fn one_bad_header_page_costs_nothing_and_two_are_reported() {
    let events = Events::default();
    let (disk, config, platform) = unsealed(&events);
    let segment = first_segment(&disk);
    disk.damage(&segment, 0, 64).unwrap();
    let (spool, loaded) = open(config.clone(), platform(&disk));
    assert_eq!(loaded.len(), 20);
    spool.close().unwrap();
    disk.damage(&segment, 4096, 64).unwrap();
    let (spool, loaded) = open(config, platform(&disk));
    assert_eq!(loaded.len(), 0);
    assert!(events.lock().iter().any(|event| matches!(
        event,
        Event::SegmentDamaged { path, offset: 0, .. } if *path == segment
    )));
    spool.close().unwrap();
}

#[test]
fn a_body_cannot_forge_records() {
    let events = Events::default();
    let (disk, config, platform) = unsealed(&events);
    let segment = first_segment(&disk);
    // Twenty true records of another spool as the body of a message.
    let records = {
        use spool::disk::Disk;
        let file = disk.open(&segment).unwrap();
        let mut octets = vec![0; 15_000];
        assert_eq!(file.read_at(&mut octets, 8192).unwrap(), octets.len());
        Bytes::from(octets)
    };
    let disk = SimDisk::new(2, 64 << 20);
    let (spool, _) = open(config.clone(), platform(&disk));
    spool.commit(message(99, 1, Body::from_pieces(vec![records]))).wait().unwrap();
    spool.commit(message(100, 1, body(10, 1))).wait().unwrap();
    let after = disk.restart();
    drop(spool);
    // With its head damaged the reader must search through the body for the next record.
    after.damage(&first_segment(&after), 8192 + 20, 8).unwrap();
    let (_, loaded) = open(config, platform(&after));
    assert_eq!(loaded.keys().copied().collect::<Vec<_>>(), [id(100)]);
}

#[test]
fn a_damaged_body_is_never_handed_out() {
    let events = Events::default();
    let (disk, config, platform) = unsealed(&events);
    let (spool, _) = open(config, platform(&disk));
    let segment = first_segment(&disk);
    disk.damage(&segment, 8192 + 1000, 1).unwrap();
    let error = spool.read_body(id(1)).unwrap().read_all().unwrap_err();
    assert!(matches!(&error, ReadError::Damaged { path, offset: 8192, .. } if *path == segment));
    let mut out = Vec::new();
    assert!(spool.read_body(id(1)).unwrap().read_to_end(&mut out).is_err());
    assert!(spool.export(id(1), &mut out).is_err());
    spool.close().unwrap();
}

#[test]
fn a_commit_whose_body_file_is_gone_is_reported_and_others_live() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::default();
    let (spool, _) = open(small(dir.path()), platform(&events));
    spool.commit(message(1, 1, body(30_000, 1))).wait().unwrap();
    spool.commit(message(2, 1, body(100, 1))).wait().unwrap();
    spool.close().unwrap();
    for file in std::fs::read_dir(dir.path().join("bodies")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let (spool, loaded) = open(small(dir.path()), platform(&events));
    assert_eq!(loaded.keys().copied().collect::<Vec<_>>(), [id(2)]);
    assert!(matches!(
        &events.lock()[..],
        [Event::BodyMissing { transaction, .. }, ..] if *transaction == id(1)
    ));
    spool.close().unwrap();
}

#[test]
fn body_files_nobody_names_are_removed_at_start_and_strangers_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::default();
    open(small(dir.path()), platform(&events)).0.close().unwrap();
    let orphan = dir.path().join("bodies").join(format!("{:032x}.body", 7));
    let stranger = dir.path().join("bodies").join("README");
    std::fs::write(&orphan, b"x").unwrap();
    std::fs::write(&stranger, b"x").unwrap();
    open(small(dir.path()), platform(&events)).0.close().unwrap();
    assert!(!orphan.exists() && stranger.exists());
    assert_eq!(*events.lock(), [Event::BodyRemoved { path: orphan }]);
}

#[test]
fn a_failed_sync_fails_the_commit_and_a_restart_does_not_bring_it_back() {
    let events = Events::default();
    let disk = SimDisk::new(3, 64 << 20);
    let config = Config { loader_threads: 1, ..small(Path::new("/spool")) };
    let platform = {
        let events = Arc::clone(&events);
        let mut platform = Platform::system(move |event| events.lock().push(event));
        platform.disk = Arc::new(disk.clone());
        platform
    };
    let (spool, _) = open(config.clone(), platform.clone());
    spool.commit(message(1, 1, body(100, 1))).wait().unwrap();
    disk.set_faults(Faults { sync: 65_536, ..Faults::default() });
    let error = spool.commit(message(2, 1, body(100, 1))).wait().unwrap_err();
    assert!(matches!(error, CommitError::Disk { .. }) && error.is_transient());
    disk.set_faults(Faults::default());
    spool.commit(message(3, 1, body(100, 1))).wait().unwrap();
    spool.close().unwrap();
    assert!(events.lock().iter().any(|event| matches!(event, Event::WriteFailed { .. })));
    let (spool, loaded) = open(config, platform);
    assert_eq!(loaded.keys().copied().collect::<Vec<_>>(), [id(1), id(3)]);
    spool.close().unwrap();
}

#[test]
fn the_real_disk_keeps_its_contract() {
    use spool::disk::Disk;
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new();
    let path = dir.path().join("a");
    let file = disk.create(&path).unwrap();
    assert!(disk.create(&path).is_err(), "create must not replace");
    file.allocate(10_000).unwrap();
    assert_eq!(file.len().unwrap(), 10_000);
    let free = disk.free_space(dir.path()).unwrap();
    assert!(free.bytes > 0 && free.inodes > 0);
    let lock = disk.lock(&dir.path().join("lock")).unwrap();
    let second = disk.lock(&dir.path().join("lock")).err().unwrap();
    assert_eq!(second.kind(), std::io::ErrorKind::WouldBlock);
    drop(lock);
    disk.lock(&dir.path().join("lock")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "mail is private");
    }
}
