//! The start: reads all segments with several threads, newest first, and hands out what lives.
//!
//! Newest first, because ends and changes always lie behind the commit they speak of: when a commit
//! record comes up, everything about it is known, and the message goes out at once. No more than a
//! few segments are in memory at a time, plus what ends and changes say.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mta_types::QueueId;
use parking_lot::{Condvar, Mutex};

use crate::config::{Config, Corrupt};
use crate::disk::DiskFile;
use crate::error::OpenError;
use crate::index::{Fate, Index, Message, Place, Row, Rows, SegmentState};
use crate::message::{Recovered, RecoveredRow};
use crate::platform::{Event, Platform};
use crate::segment::format::{
    ALL_ROWS, BodyName, ChangeHead, CommitHead, DATA_START, EndHead, Kind, RowRef, Segment,
};
use crate::segment::reader::{self, Found, Scan};
use crate::shared::{Dirs, LogFile, parse_log_name};
use crate::spool::LoadReport;

/// What the loader leaves for the running spool.
pub(crate) struct Loaded {
    pub(crate) index: Index,
    pub(crate) next_seq: u64,
    pub(crate) next_id: u32,
    pub(crate) spares: Vec<PathBuf>,
    pub(crate) report: LoadReport,
}

/// Loads everything under `dirs`.
pub(crate) fn load(
    config: &Config,
    platform: &Platform,
    dirs: &Dirs,
    on_message: &mut dyn FnMut(Recovered<'_>),
) -> Result<Loaded, OpenError> {
    let path_error = |action: &'static str, path: &PathBuf| {
        let path = path.clone();
        move |source| OpenError::Path { action, path, source }
    };
    let mut segments = Vec::new();
    let mut spares = Vec::new();
    let mut next_id = 1;
    for file in platform.disk.list(&dirs.log).map_err(path_error("list", &dirs.log))? {
        // Files of other names are somebody else's.
        let Some((id, kind)) = parse_log_name(&file.name) else { continue };
        next_id = next_id.max(id + 1);
        match kind {
            LogFile::Segment => segments.push(id),
            LogFile::Spare => spares.push(dirs.log.join(&file.name)),
        }
    }
    for spare in spares.split_off(spares.len().min(config.spare_segments)) {
        // One that cannot be removed is offered again at the next start.
        drop(platform.disk.remove(&spare));
    }
    let mut bodies = HashMap::new();
    for file in platform.disk.list(&dirs.bodies).map_err(path_error("list", &dirs.bodies))? {
        if let Some(name) = BodyName::parse(&file.name) {
            bodies.insert(name, file.len);
        }
    }
    segments.sort_unstable_by(|a, b| b.cmp(a));

    let mut merge = Merge {
        config,
        platform,
        dirs,
        on_message,
        bodies,
        wanted: HashSet::new(),
        ended: HashMap::new(),
        changed: HashMap::new(),
        added: HashMap::new(),
        known: segments.iter().copied().collect(),
        loaded: Loaded {
            index: Index::default(),
            next_seq: 1,
            next_id,
            spares,
            report: LoadReport::default(),
        },
    };
    let mut failed = None;
    scan_all(config, platform, dirs, &segments, &mut |id, scanned| {
        if failed.is_some() {
            return;
        }
        match scanned {
            Ok(scanned) => merge.segment(id, scanned),
            Err(error) => failed = Some(error),
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    merge.remove_unwanted_bodies();
    Ok(merge.loaded)
}

/// A segment as one thread has read it.
enum Scanned {
    Good {
        segment: Segment,
        first_seq: u64,
        scan: Scan,
    },
    /// Neither header can be read: without the mark nothing in it can be told from noise.
    Headless {
        len: u64,
    },
    /// Made ready but never used.
    Empty,
}

type ScanResult = Result<Scanned, OpenError>;

/// Reads the segments with several threads and gives them to `take` in order.
fn scan_all(
    config: &Config,
    platform: &Platform,
    dirs: &Dirs,
    ids: &[u32],
    take: &mut dyn FnMut(u32, ScanResult),
) {
    let threads = config.loader_threads.min(ids.len());
    if threads <= 1 {
        for id in ids {
            take(*id, scan_one(config, platform, dirs, *id));
        }
        return;
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<(HashMap<usize, ScanResult>, usize)> = Mutex::default();
    let changed = Condvar::new();
    // Segments read ahead of the merge, one being read per thread included: bounds the memory.
    let ahead = threads * 2;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(id) = ids.get(at) else { break };
                    {
                        let mut state = done.lock();
                        while at >= state.1 + ahead {
                            changed.wait(&mut state);
                        }
                    }
                    let result = scan_one(config, platform, dirs, *id);
                    done.lock().0.insert(at, result);
                    changed.notify_all();
                }
            });
        }
        for (at, id) in ids.iter().enumerate() {
            let result = {
                let mut state = done.lock();
                loop {
                    if let Some(result) = state.0.remove(&at) {
                        state.1 = at + 1;
                        break result;
                    }
                    changed.wait(&mut state);
                }
            };
            changed.notify_all();
            take(*id, result);
        }
    });
}

fn scan_one(config: &Config, platform: &Platform, dirs: &Dirs, id: u32) -> ScanResult {
    let path = dirs.segment(id);
    let error = |action: &'static str| {
        let path = path.clone();
        move |source| OpenError::Path { action, path, source }
    };
    let file = platform.disk.open(&path).map_err(error("open"))?;
    let header = match reader::read_header(&*file).map_err(error("read"))? {
        // A file under another's name would be read as records of the wrong segment.
        Ok(header) => header.filter(|header| header.id == id),
        Err(version) => {
            let known = crate::segment::format::VERSION;
            return Err(OpenError::Version { path, version, known });
        }
    };
    let Some(header) = header else {
        let len = file.len().map_err(error("read"))?;
        return Ok(Scanned::Headless { len });
    };
    let mut scan = reader::scan(&*file, header.mark).map_err(error("read"))?;
    if scan.records.is_empty() && scan.bad.is_empty() {
        return Ok(Scanned::Empty);
    }
    if !scan.is_sealed {
        cut_tail(config, platform, &path, &*file, &mut scan).map_err(error("cut"))?;
    }
    let segment = Segment { id, mark: header.mark, path, file };
    Ok(Scanned::Good { segment, first_seq: header.first_seq, scan })
}

/// Cuts an unfinished end off a segment that was in use when the power went, so that the next
/// start need not look at it again.
fn cut_tail(
    config: &Config,
    platform: &Platform,
    path: &std::path::Path,
    file: &dyn DiskFile,
    scan: &mut Scan,
) -> io::Result<()> {
    let end = scan.end;
    // Only what lies behind the last good record can be cut, and was never confirmed.
    while let Some(torn) = scan.bad.pop_if(|bad| bad.offset >= end) {
        let (offset, len) = (torn.offset, torn.len);
        platform.emit(Event::TornTailCut { path: path.to_owned(), offset, len });
    }
    if file.len()? > end {
        file.set_len(end)?;
        if config.fsync {
            file.sync()?;
        }
    }
    Ok(())
}

/// Newest state of a row: sequence number, place, octets.
struct Changed {
    seq: u64,
    place: Place,
    state: Box<[u8]>,
}

/// A row that was added to a message: the newest record of it.
struct Added {
    queue: QueueId,
    seq: u64,
    place: Place,
    row: Box<[u8]>,
}

/// Puts the segments together.
struct Merge<'a> {
    config: &'a Config,
    platform: &'a Platform,
    dirs: &'a Dirs,
    on_message: &'a mut dyn FnMut(Recovered<'_>),
    /// Body files there are, with their lengths.
    bodies: HashMap<BodyName, u64>,
    /// Body files of live messages.
    wanted: HashSet<BodyName>,
    /// Ended rows by birth and number, with the segment the end record speaks of.
    ended: HashMap<(u64, QueueId), u32>,
    changed: HashMap<(u64, QueueId), Changed>,
    /// Added rows by the birth of their message. Those older than its commit record are folded into
    /// it or have ended.
    added: HashMap<u64, Vec<Added>>,
    /// All segments there are.
    known: HashSet<u32>,
    loaded: Loaded,
}

impl Merge<'_> {
    fn segment(&mut self, id: u32, scanned: Scanned) {
        match scanned {
            Scanned::Good { segment, first_seq, scan } => self.good(segment, first_seq, &scan),
            Scanned::Headless { len } => self.headless(id, len),
            Scanned::Empty => {
                // No record was ever confirmed in it. A file that cannot go now goes next time.
                drop(self.platform.disk.remove(&self.dirs.segment(id)));
            }
        }
    }

    fn headless(&mut self, id: u32, len: u64) {
        let path = self.dirs.segment(id);
        self.loaded.report.damaged += 1;
        self.platform.emit(Event::SegmentDamaged { path: path.clone(), offset: 0, len });
        let disk = &self.platform.disk;
        let outcome = match self.config.corrupt {
            Corrupt::Ignore => return,
            Corrupt::Unlink => disk.remove(&path).map(|()| None),
            Corrupt::Rename => {
                let random = self.platform.random.next_u64();
                let to = self.dirs.corrupt.join(format!("{id:08x}-{random:016x}.seg"));
                disk.create_dir(&self.dirs.corrupt)
                    .and_then(|()| disk.rename(&path, &to))
                    .map(|()| Some(to))
            }
        };
        match outcome {
            Ok(kept) => self.platform.emit(Event::SegmentDiscarded { path, kept }),
            Err(error) => self.platform.emit(Event::BackgroundFailed {
                action: "discard",
                path,
                error: error.to_string(),
            }),
        }
    }

    fn good(&mut self, segment: Segment, first_seq: u64, scan: &Scan) {
        let segment = Arc::new(segment);
        let id = segment.id;
        let report = &mut self.loaded.report;
        report.segments += 1;
        report.bytes += scan.end - DATA_START;
        let mut state = SegmentState::new(Arc::clone(&segment));
        state.used = scan.end;
        state.is_closed = true;
        let mut is_damaged = false;
        for bad in &scan.bad {
            let path = segment.path.clone();
            // Behind what was known to be safe, an unfinished write explains it: the power went
            // while it was under way, and nothing of it was confirmed.
            self.platform.emit(if bad.offset < scan.synced {
                is_damaged = true;
                report.damaged += 1;
                Event::SegmentDamaged { path, offset: bad.offset, len: bad.len }
            } else {
                Event::TornTailCut { path, offset: bad.offset, len: bad.len }
            });
        }
        if is_damaged && self.config.corrupt != Corrupt::Ignore {
            state.fate = Fate::Discard;
        }
        self.loaded.index.segments.insert(id, state);
        self.loaded.next_seq = self.loaded.next_seq.max(first_seq);

        for found in &scan.records {
            self.loaded.next_seq = self.loaded.next_seq.max(found.header.seq + 1);
            match found.header.kind {
                Kind::End => self.end(id, scan.head(found)),
                Kind::Change => self.change(id, scan.head(found), found),
                Kind::Add => self.add(id, scan.head(found), found),
                Kind::Commit | Kind::Seal => {}
            }
        }
        for found in scan.records.iter().rev() {
            if found.header.kind == Kind::Commit {
                self.commit(&segment, scan, found);
            }
        }
        self.loaded.index.is_compaction_due = true;
    }

    fn end(&mut self, within: u32, head: &[u8]) {
        let Some(end) = EndHead::decode(head) else { return };
        self.loaded.index.note_end(within, end.target);
        // The lowest target: the first end record of the row tells best whether copies exist.
        let target = self.ended.entry((end.birth, end.queue)).or_insert(end.target);
        *target = (*target).min(end.target);
    }

    fn change(&mut self, within: u32, head: &[u8], found: &Found) {
        let Some(change) = ChangeHead::decode(head) else { return };
        let seq = found.header.seq;
        let place = Place::new(within, found.offset, found.header.record_len());
        let key = (change.birth, change.queue);
        if self.changed.get(&key).is_none_or(|known| known.seq < seq) {
            self.changed.insert(key, Changed { seq, place, state: change.state.into() });
        }
    }

    fn add(&mut self, within: u32, head: &[u8], found: &Found) {
        let Some(add) = ChangeHead::decode(head) else { return };
        let new = Added {
            queue: add.queue,
            seq: found.header.seq,
            place: Place::new(within, found.offset, found.header.record_len()),
            row: add.state.into(),
        };
        let rows = self.added.entry(add.birth).or_default();
        match rows.iter_mut().find(|known| known.queue == new.queue) {
            Some(known) if known.seq < new.seq => *known = new,
            Some(_) => {}
            None => rows.push(new),
        }
    }

    fn commit(&mut self, segment: &Arc<Segment>, scan: &Scan, found: &Found) {
        let Some(commit) = CommitHead::decode(scan.head(found), &found.header) else { return };
        let damaged = |platform: &Platform| {
            platform.emit(Event::MessageDamaged {
                transaction: commit.transaction,
                path: segment.path.clone(),
                offset: found.offset,
            });
        };
        if let Some(newer) = self.loaded.index.messages.get(&commit.transaction)
            && newer.birth == commit.birth
        {
            // An older copy that compaction had no time to free.
            self.supersede(segment.id);
            return;
        }
        let mut rows = Vec::new();
        let mut index_rows = Vec::new();
        let all = self.ended.get(&(commit.birth, ALL_ROWS)).copied();
        let mut is_copy = all.is_some_and(|target| target != segment.id);
        // Rows in the record, then those that were added to it since.
        let written: Vec<RowRef<'_>> = commit.rows().collect();
        let later: &[Added] = self.added.get(&commit.birth).map_or(&[], Vec::as_slice);
        let later: Vec<&Added> = later
            .iter()
            .filter(|added| added.seq > found.header.seq)
            .filter(|added| written.iter().all(|row| row.queue != added.queue))
            .collect();
        let added =
            later.iter().map(|added| RowRef { queue: added.queue, row: &added.row, state: &[] });
        let mut places = Vec::new();
        for row in written.iter().copied().chain(added) {
            let ended = all.or_else(|| self.ended.get(&(commit.birth, row.queue)).copied());
            if let Some(target) = ended {
                // It ended when the message was elsewhere, so this is a copy.
                is_copy |= target != segment.id;
                continue;
            }
            let change = self
                .changed
                .get(&(commit.birth, row.queue))
                .filter(|change| change.seq > found.header.seq);
            let state = change.map_or(row.state, |change| &change.state);
            rows.push(RecoveredRow { queue: row.queue, row: row.row, state });
            let change = change.map_or(Place::NOWHERE, |change| change.place);
            index_rows.push(Row { queue: row.queue, change });
            let added = later.iter().find(|added| added.queue == row.queue);
            places.extend(added.map(|added| (added.queue, added.place)));
        }
        if is_copy {
            self.loaded.index.segments.entry(segment.id).and_modify(|s| s.is_superseded = true);
        }
        if rows.is_empty() {
            return;
        }
        if !found.is_body_good {
            // Either its write was cut off before it was confirmed, which has been told, or it is
            // damage.
            if found.offset < scan.synced {
                damaged(self.platform);
            }
            return;
        }
        if self.loaded.index.messages.contains_key(&commit.transaction) {
            self.platform.emit(Event::DuplicateTransaction {
                transaction: commit.transaction,
                path: segment.path.clone(),
                offset: found.offset,
            });
            return;
        }
        if let Some(file) = commit.file {
            if self.bodies.get(&file.name).is_none_or(|len| *len < file.len) {
                self.loaded.report.damaged += 1;
                self.platform.emit(Event::BodyMissing {
                    transaction: commit.transaction,
                    path: self.dirs.bodies.join(file.name.file_name()),
                    segment: segment.path.clone(),
                    offset: found.offset,
                });
                return;
            }
            self.wanted.insert(file.name);
        }
        let header = &found.header;
        let message = Message {
            birth: commit.birth,
            place: Place::new(segment.id, found.offset, header.record_len()),
            head_len: header.head_len,
            body_len: header.body_len,
            has_file: commit.file.is_some(),
            rows: Rows::from_vec(index_rows),
        };
        self.loaded.report.messages += 1;
        self.loaded.report.rows += rows.len() as u64;
        (self.on_message)(Recovered {
            transaction: commit.transaction,
            metadata: commit.metadata,
            rows: &rows,
            body_len: commit.body_len(header.body_len),
        });
        let file = commit.file.map(|file| file.name);
        self.loaded.index.insert(commit.transaction, message, file);
        for (queue, place) in places {
            self.loaded.index.note_added(commit.birth, queue, place);
        }
        debug_assert!(self.known.contains(&segment.id));
    }

    fn supersede(&mut self, id: u32) {
        if let Some(state) = self.loaded.index.segments.get_mut(&id) {
            state.is_superseded = true;
        }
    }

    fn remove_unwanted_bodies(&self) {
        for name in self.bodies.keys().filter(|name| !self.wanted.contains(name)) {
            let path = self.dirs.bodies.join(name.file_name());
            match self.platform.disk.remove(&path) {
                Ok(()) => self.platform.emit(Event::BodyRemoved { path }),
                Err(error) => self.platform.emit(Event::BackgroundFailed {
                    action: "remove",
                    path,
                    error: error.to_string(),
                }),
            }
        }
    }
}
