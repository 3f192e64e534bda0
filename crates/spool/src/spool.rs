//! The spool as its users see it.

use std::io;
use std::io::{IoSlice, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crc32fast::Hasher;
use mta_types::{MessageId, TransactionId};
use parking_lot::{Condvar, Mutex};

use crate::body::{BodyReader, FileAt, RecordAt};
use crate::commit::{Committer, NewMessage, Op, Source, What, index_rows};
use crate::compact::{StateError, read_state};
use crate::completion::{Completer, Completion};
use crate::config::Config;
use crate::disk;
use crate::draft::{Budget, Draft, DraftRoom};
use crate::error::{CommitError, DraftError, OpenError, ReadError};
use crate::hqf;
use crate::index::{Message, Place};
use crate::keeper::Threads;
use crate::loader;
use crate::message::{Commit, Durability, NewRow, Recovered, StoredMessage, StoredRow};
use crate::platform::Platform;
use crate::segment::format::{ALL_ROWS, CommitHead, FilePart, RowRef, record_len};
use crate::shared::{Chores, CompactionBox, Counters, Dirs, Inbox, Settling, Shared};
use crate::space::SpaceGuard;

/// Messages on disk, and the way in and out. Cheap to clone; all methods take `&self` and none
/// but those that say so wait for the disk.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    threads: Option<Threads>,
}

impl Spool {
    /// Opens the spool, creating its directories when missing, and gives every message found to
    /// `on_message`, newest segment first. Blocks until all are loaded.
    ///
    /// What is found damaged goes to [`Platform::on_event`]; it does not keep the spool from
    /// opening.
    ///
    /// # Errors
    ///
    /// [`OpenError`], naming the path concerned.
    pub fn open(
        config: Config,
        platform: Platform,
        on_message: &mut dyn FnMut(Recovered<'_>),
    ) -> Result<(Self, LoadReport), OpenError> {
        let (shared, report) = open_shared(config, platform, on_message)?;
        let committer = Committer::new(Arc::clone(&shared));
        let threads = Some(Threads::start(&shared, committer)?);
        shared.wake_compaction();
        Ok((Self { inner: Arc::new(Inner { shared, threads }) }, report))
    }

    /// Opens the spool without threads, for reading: what is committed or changed never happens.
    pub(crate) fn open_idle(config: Config, platform: Platform) -> Result<Self, OpenError> {
        let (shared, _) = open_shared(config, platform, &mut |_| {})?;
        Ok(Self { inner: Arc::new(Inner { shared, threads: None }) })
    }

    /// Opens the spool without threads: tests call the committer and the others step by step.
    #[cfg(test)]
    pub(crate) fn open_stepped(
        config: Config,
        platform: Platform,
        on_message: &mut dyn FnMut(Recovered<'_>),
    ) -> Result<(Self, Committer, Arc<Shared>), OpenError> {
        let (shared, _) = open_shared(config, platform, on_message)?;
        let committer = Committer::new(Arc::clone(&shared));
        let inner = Arc::new(Inner { shared: Arc::clone(&shared), threads: None });
        Ok((Self { inner }, committer, shared))
    }

    /// Starts a message. `expected` is the size the peer announced, 0 when it did not.
    ///
    /// # Errors
    ///
    /// [`DraftError::Full`] when free space is below `spool.minfree`.
    pub fn draft(&self, expected: u64) -> Result<Draft, DraftError> {
        let shared = &self.inner.shared;
        shared.check_space().map_err(|()| DraftError::Full { path: shared.dirs.root.clone() })?;
        Ok(Draft::new(Arc::clone(&shared.room), expected))
    }

    /// Makes a message durable. The completion fires after the sync that covers it.
    pub fn commit(&self, commit: Commit) -> Completion {
        let (completer, completion) = Completion::pair();
        self.start_commit(commit, completer);
        completion
    }

    /// As [`Spool::commit`], calling `then` on the committing thread, which everybody waits for:
    /// `then` must be short and must not block.
    pub fn commit_then(
        &self,
        commit: Commit,
        then: impl FnOnce(Result<(), CommitError>) + Send + 'static,
    ) {
        self.start_commit(commit, Completer::call(Box::new(then)));
    }

    /// Makes several messages durable together: when one of them cannot be stored, none is.
    ///
    /// They are written at once and covered by one sync. Only a power failure within that write can
    /// leave some of them without the others; nobody was told then, and whoever gave them tries
    /// again. Together they have to fit into a segment; large bodies are in files and do not count.
    pub fn commit_all(&self, mut commits: Vec<Commit>) -> Completion {
        if commits.len() < 2 {
            return match commits.pop() {
                Some(commit) => self.commit(commit),
                None => Completion::ready(Ok(())),
            };
        }
        let (completer, completion) = Completion::pair();
        let shared = &self.inner.shared;
        let prepared: Result<Vec<_>, _> =
            commits.into_iter().map(|commit| prepare_commit(shared, commit)).collect();
        match prepared {
            Ok(set) => self.hand_over(What::CommitAll(set), completer),
            Err(error) => completer.complete(Err(error)),
        }
        completion
    }

    fn start_commit(&self, commit: Commit, completer: Completer) {
        match prepare_commit(&self.inner.shared, commit) {
            Ok(new) => self.hand_over(What::Commit(Box::new(new)), completer),
            Err(error) => completer.complete(Err(error)),
        }
    }

    fn hand_over(&self, what: What, completer: Completer) {
        let shared = &self.inner.shared;
        let counted = what.counted();
        let pending = shared.counters.pending_bytes.fetch_add(counted, Ordering::Relaxed) + counted;
        // One alone always gets in.
        if pending > shared.config.pending_bytes && pending > counted {
            shared.counters.pending_bytes.fetch_sub(counted, Ordering::Relaxed);
            completer.complete(Err(CommitError::Busy { pending }));
            return;
        }
        let is_settled = match &what {
            What::CommitAll(set) => set.iter().all(|new| new.source.is_none()),
            What::Commit(new) => new.source.is_none(),
            _ => true,
        };
        let op = Op { what, completer, is_awaited: true, attempts: 0 };
        if is_settled {
            shared.submit(op);
            return;
        }
        let mut settling = shared.settling.lock();
        if settling.is_closed {
            drop(settling);
            op.fail(&CommitError::Closed);
            return;
        }
        settling.ops.push_back(op);
        drop(settling);
        shared.settling_filled.notify_one();
    }

    /// Replaces the state of a row; the last one wins. Changes and ends of one row take effect in
    /// the order of the calls.
    pub fn change(&self, id: MessageId, state: Box<[u8]>, durability: Durability) -> Completion {
        let allowed = self.inner.shared.max_record() / 4;
        if state.len() as u64 > allowed {
            let len = state.len() as u64;
            return Completion::ready(Err(CommitError::TooLarge { len, allowed }));
        }
        self.submit(What::Change { id, state }, durability)
    }

    /// Adds a row to a message that has rows. `row` is what [`NewRow::row`] is for a new message;
    /// changes and ends of the row may follow at once.
    ///
    /// The completion fails with [`CommitError::Unknown`] when the message has ended or has a row
    /// of that number.
    pub fn add(&self, id: MessageId, row: Box<[u8]>, durability: Durability) -> Completion {
        if id.queue == ALL_ROWS {
            return Completion::ready(Err(CommitError::Unknown { id }));
        }
        let allowed = self.inner.shared.max_record() / 4;
        if row.len() as u64 > allowed {
            let len = row.len() as u64;
            return Completion::ready(Err(CommitError::TooLarge { len, allowed }));
        }
        self.submit(What::Add { id, row }, durability)
    }

    /// Ends a row. With the last one the message is gone and its space is given back in time.
    pub fn end(&self, id: MessageId, durability: Durability) -> Completion {
        if id.queue == ALL_ROWS {
            return Completion::ready(Err(CommitError::Unknown { id }));
        }
        self.submit(What::End { id }, durability)
    }

    /// Ends all rows of a message.
    pub fn end_all(&self, transaction: TransactionId, durability: Durability) -> Completion {
        self.submit(What::End { id: MessageId::new(transaction, ALL_ROWS) }, durability)
    }

    /// Completes when everything asked for before is on disk, except commits with a body file,
    /// which complete by themselves.
    pub fn flush(&self) -> Completion {
        self.submit(What::Flush, Durability::Awaited)
    }

    fn submit(&self, what: What, durability: Durability) -> Completion {
        let (completer, completion) = Completion::pair();
        let is_awaited = durability == Durability::Awaited;
        self.inner.shared.submit(Op { what, completer, is_awaited, attempts: 0 });
        completion
    }

    /// Opens the body of a stored message. Reading it waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read_body(&self, transaction: TransactionId) -> Result<BodyReader, ReadError> {
        let (message, record) = self.find(transaction)?;
        self.open_body(transaction, &message, record)
    }

    fn open_body(
        &self,
        transaction: TransactionId,
        message: &Message,
        record: RecordAt,
    ) -> Result<BodyReader, ReadError> {
        if !message.has_file {
            return Ok(BodyReader::new(transaction, record, None));
        }
        let (header, head) = record.read_head(transaction)?;
        // `read_head` has taken it apart already.
        let part = CommitHead::decode(&head, &header).and_then(|commit| commit.file);
        let Some(part) = part else { return Err(ReadError::Unknown { transaction }) };
        let path = self.inner.shared.dirs.bodies.join(part.name.file_name());
        match self.inner.shared.platform.disk.open(&path) {
            Ok(file) => Ok(BodyReader::new(transaction, record, Some(FileAt { file, path, part }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // It ended between looking it up and opening the file, or somebody removed it.
                self.find(transaction)?;
                Err(ReadError::Disk { path, source: error })
            }
            Err(source) => Err(ReadError::Disk { path, source }),
        }
    }

    fn find(&self, transaction: TransactionId) -> Result<(Message, RecordAt), ReadError> {
        let index = self.inner.shared.index.lock();
        let message = index.messages.get(&transaction);
        let found = message.and_then(|message| {
            let state = index.segments.get(&message.place.segment)?;
            let record = RecordAt {
                segment: Arc::clone(&state.segment),
                place: message.place,
                head_len: message.head_len,
                body_len: message.body_len,
            };
            Some((message.clone(), record))
        });
        found.ok_or(ReadError::Unknown { transaction })
    }

    /// Reads everything but the body of a stored message. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read_message(&self, transaction: TransactionId) -> Result<StoredMessage, ReadError> {
        self.read_with_record(transaction).map(|(stored, ..)| stored)
    }

    fn read_with_record(
        &self,
        transaction: TransactionId,
    ) -> Result<(StoredMessage, Message, RecordAt), ReadError> {
        'again: loop {
            let (message, record) = self.find(transaction)?;
            let (header, head) = record.read_head(transaction)?;
            let Some(commit) = CommitHead::decode(&head, &header) else {
                return Err(ReadError::Unknown { transaction });
            };
            let mut rows = Vec::with_capacity(message.rows.as_slice().len());
            for row in message.rows.as_slice() {
                let read = |place: Place| match read_state(&self.inner.shared, place) {
                    Ok(octets) => Ok(octets),
                    // Compaction was faster: the index says something newer now.
                    Err(StateError::Gone) => Err(None),
                    Err(StateError::Disk(source)) => {
                        Err(Some(ReadError::Disk { path: record.segment.path.clone(), source }))
                    }
                    Err(StateError::Damaged(segment)) => Err(Some(ReadError::Damaged {
                        transaction,
                        path: segment.path.clone(),
                        offset: u64::from(place.offset),
                    })),
                };
                let added = {
                    let index = self.inner.shared.index.lock();
                    index.added.get(&(message.birth, row.queue)).copied()
                };
                let both = match read(row.change) {
                    Ok(state) => read(added.unwrap_or(Place::NOWHERE)).map(|row| (state, row)),
                    Err(error) => Err(error),
                };
                let (state, begun) = match both {
                    Ok(both) => both,
                    Err(None) => continue 'again,
                    Err(Some(error)) => return Err(error),
                };
                let was = commit.rows().find(|was| was.queue == row.queue);
                let (begun, first) = match (begun, was) {
                    (Some(added), _) => (added, Bytes::new()),
                    (None, Some(was)) => (head.slice_ref(was.row), head.slice_ref(was.state)),
                    // Folded in, or ended, since the record was looked up.
                    (None, None) if self.is_moved(transaction, &message) => continue 'again,
                    (None, None) => continue,
                };
                rows.push(StoredRow {
                    queue: row.queue,
                    row: begun,
                    state: state.unwrap_or(first),
                });
            }
            let stored = StoredMessage {
                transaction,
                metadata: head.slice_ref(commit.metadata),
                rows,
                body_len: commit.body_len(message.body_len),
            };
            return Ok((stored, message, record));
        }
    }

    /// Whether the message is no longer as it was looked up.
    fn is_moved(&self, transaction: TransactionId, message: &Message) -> bool {
        self.inner.shared.index.lock().messages.get(&transaction) != Some(message)
    }

    /// Writes a stored message, with the rows that have not ended, as `.hqf`. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; errors of `out` are [`ReadError::Disk`] with an empty path.
    pub fn export(&self, transaction: TransactionId, out: &mut dyn Write) -> Result<(), ReadError> {
        let (stored, message, record) = self.read_with_record(transaction)?;
        let mut body = self.open_body(transaction, &message, record)?;
        hqf::write(&stored, &mut body, out).map_err(|source| {
            // The reader packs its own errors into the one `io::Error` there is.
            match source.downcast::<ReadError>() {
                Ok(error) => error,
                Err(source) => ReadError::Disk { path: Default::default(), source },
            }
        })
    }

    /// Writes a stored message to a file that appears whole and durable, or not at all: temporary
    /// name, sync, rename, sync of the directory. An existing file is replaced. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn export_file(&self, transaction: TransactionId, path: &Path) -> Result<(), ReadError> {
        let platform = &self.inner.shared.platform;
        let failed =
            |path: &Path, source: io::Error| ReadError::Disk { path: path.to_owned(), source };
        let dir = path.parent().unwrap_or(Path::new("."));
        platform.disk.create_dir(dir).map_err(|error| failed(dir, error))?;
        let temporary = dir.join(format!(".{:016x}.hqf.tmp", platform.random.next_u64()));
        let file = platform.disk.create(&temporary).map_err(|error| failed(&temporary, error))?;
        let mut out = FileWriter { file: &*file, at: 0, buffer: Vec::with_capacity(128 << 10) };
        let written = self.export(transaction, &mut out).and_then(|()| {
            out.flush()
                .and_then(|()| file.sync())
                .and_then(|()| platform.disk.rename(&temporary, path))
                .and_then(|()| platform.disk.sync_dir(dir))
                .map_err(|error| failed(path, error))
        });
        if written.is_err() {
            // The first error is the one to tell.
            drop(platform.disk.remove(&temporary));
        }
        written
    }

    /// Numbers for statistics and metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        let counters = &shared.counters;
        let mut stats = Stats {
            draft_bytes: shared.room.memory.used(),
            pending_bytes: counters.pending_bytes.load(Ordering::Relaxed),
            commits: counters.commits.load(Ordering::Relaxed),
            changes: counters.changes.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            compacted_bytes: counters.compacted_bytes.load(Ordering::Relaxed),
            ..Stats::default()
        };
        let index = shared.index.lock();
        stats.messages = index.messages.len() as u64;
        stats.segments = index.segments.len() as u64;
        for state in index.segments.values() {
            stats.live_bytes += state.live;
            stats.used_bytes += state.used;
        }
        stats
    }

    /// Writes what waits, stops the threads and lets go of the directory. Blocks. Later calls on
    /// clones answer [`CommitError::Closed`].
    ///
    /// # Errors
    ///
    /// [`CommitError`] when the last changes could not be written.
    pub fn close(self) -> Result<(), CommitError> {
        let flushed = self.flush();
        self.inner.stop();
        flushed.wait()
    }
}

impl Inner {
    fn stop(&self) {
        if let Some(threads) = &self.threads {
            threads.stop(&self.shared);
        }
        self.shared.lock.lock().take();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("path", &self.inner.shared.dirs.root).finish_non_exhaustive()
    }
}

fn open_shared(
    config: Config,
    platform: Platform,
    on_message: &mut dyn FnMut(Recovered<'_>),
) -> Result<(Arc<Shared>, LoadReport), OpenError> {
    check_settings(&config)?;
    let began = platform.clock.monotonic();
    let dirs = Dirs::new(&config.path);
    let error = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Path { action, path, source }
    };
    for dir in [&dirs.root, &dirs.log, &dirs.bodies] {
        platform.disk.create_dir(dir).map_err(error("create", dir))?;
    }
    let lock_path = dirs.root.join("spool.lock");
    let lock = platform.disk.lock(&lock_path).map_err(|source| {
        let path = lock_path.clone();
        if source.kind() == io::ErrorKind::WouldBlock {
            return OpenError::Locked { path };
        }
        OpenError::Path { action: "lock", path, source }
    })?;
    // Told now, with the path, and not to the first peer.
    for dir in [&dirs.log, &dirs.bodies] {
        let probe = dir.join(".probe");
        let created = match platform.disk.create(&probe) {
            // A crash came between the two lines below.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map(drop),
        };
        created.map_err(error("write to", dir))?;
        platform.disk.remove(&probe).map_err(error("write to", dir))?;
    }
    if config.fsync {
        platform.disk.sync_dir(&dirs.root).map_err(error("sync", &dirs.root))?;
    }
    let loaded = loader::load(&config, &platform, &dirs, on_message)?;
    let space = SpaceGuard::new(platform.clone(), dirs.root.clone(), config.minfree);
    let space = Arc::new(space);
    let room = Arc::new(DraftRoom {
        platform: platform.clone(),
        bodies: dirs.bodies.clone(),
        space: Arc::clone(&space),
        inline_bytes: config.inline_bytes,
        memory: Arc::new(Budget::new(config.draft_memory_bytes)),
    });
    let counters = Counters::default();
    counters.next_seq.store(loaded.next_seq, Ordering::Relaxed);
    let mut report = loaded.report;
    report.took = platform.clock.monotonic().saturating_sub(began);
    let shared = Shared {
        config,
        platform,
        dirs,
        room,
        space,
        index: Mutex::new(loaded.index),
        inbox: Mutex::new(Inbox::default()),
        inbox_filled: Condvar::new(),
        settling: Mutex::new(Settling::default()),
        settling_filled: Condvar::new(),
        chores: Mutex::new(Chores {
            next_id: loaded.next_id,
            spares: loaded.spares,
            ..Chores::default()
        }),
        chores_filled: Condvar::new(),
        activating: Mutex::new(()),
        compaction: Mutex::new(CompactionBox::default()),
        compaction_due: Condvar::new(),
        counters,
        is_reserve_gone: AtomicBool::new(false),
        lock: Mutex::new(Some(lock)),
    };
    Ok((Arc::new(shared), report))
}

fn check_settings(config: &Config) -> Result<(), OpenError> {
    let check = |key, value, is_good: bool, allowed| {
        if is_good { Ok(()) } else { Err(OpenError::Setting { key, value, allowed }) }
    };
    let segment = config.segment_bytes;
    let is_good = (64 << 10..=1 << 30).contains(&segment) && segment.is_multiple_of(4096);
    check("segment_bytes", segment, is_good, "64 KiB to 1 GiB in pages of 4 KiB")?;
    let inline = config.inline_bytes;
    check("inline_bytes", inline, inline <= segment / 4, "at most a quarter of segment_bytes")?;
    let threads = config.loader_threads as u64;
    check("loader_threads", threads, (1..=1024).contains(&threads), "1 to 1024")?;
    let percent = u64::from(config.compact_below_percent);
    check("compact_below_percent", percent, (1..=90).contains(&percent), "1 to 90")
}

/// Checks a commit and encodes what can be encoded on the caller's thread.
fn prepare_commit(shared: &Shared, commit: Commit) -> Result<NewMessage, CommitError> {
    let Commit { transaction, metadata, rows, body } = commit;
    shared.check_space().map_err(|()| CommitError::Full { path: shared.dirs.root.clone() })?;
    if body.is_broken {
        let (action, path) = ("write draft in", shared.dirs.bodies.clone());
        return Err(CommitError::Disk { action, path, kind: io::ErrorKind::Other });
    }
    let index_rows = index_rows(&rows).ok_or(CommitError::Rows { transaction })?;
    let pieces_len = body.pieces_len();
    let rows_len: usize = rows.iter().map(|row| 12 + row.row.len() + row.state.len()).sum();
    // 32 octets of numbers and 40 of a body file are the head's constant part.
    let head_len = (72 + metadata.len() + rows_len) as u64;
    let is_inline = body.file.is_none() && pieces_len <= shared.config.inline_bytes;
    let in_log = if is_inline || body.file.is_some() { pieces_len } else { 0 };
    let (len, allowed) = (record_len(head_len, in_log), shared.max_record());
    if len > allowed {
        return Err(CommitError::TooLarge { len, allowed });
    }
    let counted = len + if is_inline { 0 } else { pieces_len };
    let mut crc = Hasher::new();
    if in_log > 0 {
        for piece in &body.pieces {
            crc.update(piece);
        }
    }
    let (head, source) = if is_inline {
        // Lengths were checked against a segment's, so this is never `None`.
        let head = encode_head(transaction, &metadata, None, &rows)
            .ok_or(CommitError::TooLarge { len, allowed })?;
        (head, None)
    } else {
        (Vec::new(), Some(Source { metadata, rows, file_skip: body.file_skip }))
    };
    Ok(NewMessage {
        transaction,
        head,
        pieces: body.pieces,
        body_crc: crc.finalize(),
        rows: index_rows,
        file: body.file,
        source,
        counted,
        _share: body.share,
    })
}

/// Encodes the head of a new message's commit record.
pub(crate) fn encode_head(
    transaction: TransactionId,
    metadata: &[u8],
    file: Option<FilePart>,
    rows: &[NewRow],
) -> Option<Vec<u8>> {
    let rows = rows.iter().map(|row| RowRef { queue: row.queue, row: &row.row, state: &row.state });
    CommitHead::encode(transaction, 0, metadata, file, rows)
}

/// Writes a file from its beginning, gathering small writes.
struct FileWriter<'a> {
    file: &'a dyn disk::DiskFile,
    at: u64,
    buffer: Vec<u8>,
}

impl Write for FileWriter<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + octets.len() > self.buffer.capacity() {
            self.flush()?;
        }
        self.buffer.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        disk::write_all_at(self.file, &mut [IoSlice::new(&self.buffer)], self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// What was found at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Messages given to the callback.
    pub messages: u64,
    /// Their rows.
    pub rows: u64,
    /// Segments read.
    pub segments: u64,
    /// Octets of records in them.
    pub bytes: u64,
    /// Damaged places reported.
    pub damaged: u64,
    /// Time it took.
    pub took: Duration,
}

/// Counters since opening, and present sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages stored now.
    pub messages: u64,
    /// Segments with records now.
    pub segments: u64,
    /// Octets of records that are still needed.
    pub live_bytes: u64,
    /// Octets of all records.
    pub used_bytes: u64,
    /// Memory drafts hold now.
    pub draft_bytes: u64,
    /// Octets waiting for the disk now.
    pub pending_bytes: u64,
    /// Commits made durable.
    pub commits: u64,
    /// Changes and ends made durable.
    pub changes: u64,
    /// Syncs of segments; `commits / syncs` is the size of a group.
    pub syncs: u64,
    /// Octets compaction has moved.
    pub compacted_bytes: u64,
}
