//! Space back from dead records: a segment with little left in it is emptied into the log's end
//! and freed, while everything else goes on.
//!
//! The order that no crash can hurt: (1) what is live is written anew through the ordinary commit
//! path, states folded into their message; (2) the sync covers it; (3) only then the old file loses
//! its name, and (4) the directory is synced before the file may be used again. A crash before (4)
//! leaves two copies of some records, which the loader tells apart by their sequence numbers. End
//! records move along while the segment they speak of, or any segment with old copies, exists.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use mta_types::{MessageId, TransactionId};

use crate::body::RecordAt;
use crate::commit::{MovedMessage, Op, What};
use crate::completion::Completion;
use crate::config::Corrupt;
use crate::disk;
use crate::error::CommitError;
use crate::index::{Fate, Message, Place};
use crate::platform::Event;
use crate::segment::format::{
    ChangeHead, CommitHead, EndHead, Kind, RECORD_LEN, RecordHeader, RowRef, Segment, record_len,
};
use crate::segment::reader::{self, Found, Scan};
use crate::shared::{LogFile, Shared, parse_log_name};

/// Octets handed to the committer before it is waited for. Also what a crash can leave twice.
const STEP_BYTES: u64 = 4 << 20;

/// Least time between two looks for a segment to empty: a segment fills more slowly than this.
const LOOK_AFTER: Duration = Duration::from_millis(50);

/// How often a segment is read again because rows changed while it was emptied.
const PASSES: usize = 8;

/// The compaction thread.
pub(crate) fn run(shared: &Arc<Shared>) {
    loop {
        {
            let mut due = shared.compaction.lock();
            while !due.is_due && !due.is_closed {
                shared.compaction_due.wait(&mut due);
            }
            if due.is_closed {
                return;
            }
            due.is_due = false;
        }
        while let Some(id) = candidate(shared) {
            match empty(shared, id, &mut || pace(shared)) {
                Ok(()) => {}
                Err(Stop::Closed) => return,
                Err(Stop::Failed) => {
                    let mut due = shared.compaction.lock();
                    if !due.is_closed {
                        shared.compaction_due.wait_for(&mut due, Shared::RETRY_AFTER);
                    }
                    if due.is_closed {
                        return;
                    }
                }
            }
            if shared.compaction.lock().is_closed {
                return;
            }
        }
        // Looking costs a little per segment, and every batch with an end asks for it.
        let pause = shared.platform.clock.monotonic() + LOOK_AFTER;
        let mut due = shared.compaction.lock();
        loop {
            let left = pause.saturating_sub(shared.platform.clock.monotonic());
            if left.is_zero() || due.is_closed {
                break;
            }
            shared.compaction_due.wait_for(&mut due, left);
        }
    }
}

pub(crate) fn candidate(shared: &Shared) -> Option<u32> {
    let smallest = shared.config.segment_bytes / 8;
    shared.index.lock().candidate(shared.config.compact_below_percent, smallest)
}

/// Why emptying a segment ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The spool is closing.
    Closed,
    /// The disk refused; to be tried again.
    Failed,
}

/// Keeps compaction below its rate: waits as long as copying one step may take.
fn pace(shared: &Shared) -> Result<(), Stop> {
    let rate = shared.config.compact_bytes_per_second;
    let mut due = shared.compaction.lock();
    if rate > 0 && !due.is_closed {
        let until = shared.platform.clock.monotonic()
            + Duration::from_secs_f64(STEP_BYTES as f64 / rate as f64);
        loop {
            let left = until.saturating_sub(shared.platform.clock.monotonic());
            if left.is_zero() || due.is_closed {
                break;
            }
            shared.compaction_due.wait_for(&mut due, left);
        }
    }
    if due.is_closed { Err(Stop::Closed) } else { Ok(()) }
}

/// Empties a closed segment and frees it. `between` is called when a step has been handed to the
/// committer, before it is waited for.
pub(crate) fn empty(
    shared: &Shared,
    id: u32,
    between: &mut dyn FnMut() -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut moved = 0;
    for _ in 0..PASSES {
        let segment = {
            let index = shared.index.lock();
            let Some(state) = index.segments.get(&id) else { return Ok(()) };
            if index.is_empty_segment(id) { None } else { Some(Arc::clone(&state.segment)) }
        };
        let Some(segment) = segment else { return free(shared, id, moved) };
        let scan = reader::scan(&*segment.file, segment.mark).map_err(|error| {
            shared.background_failed("read", &segment.path, &error);
            Stop::Failed
        })?;
        let mut pass = Pass { shared, segment, waiting: Vec::new(), bytes: 0, are_ends_safe: true };
        let mut is_movable = true;
        for found in &scan.records {
            is_movable &= pass.take(&scan, found)?;
            if pass.bytes >= STEP_BYTES {
                moved += pass.bytes;
                pass.finish_step(between)?;
            }
        }
        moved += pass.bytes;
        pass.finish_step(between)?;
        let are_ends_safe = pass.are_ends_safe;
        let mut index = shared.index.lock();
        if let Some(state) = index.segments.get_mut(&id) {
            if are_ends_safe {
                state.ends.clear();
            }
            if !is_movable {
                // What is live in it stays where it is until it ends.
                state.is_stuck = true;
                return Ok(());
            }
        }
    }
    let mut index = shared.index.lock();
    if index.is_empty_segment(id) {
        drop(index);
        return free(shared, id, moved);
    }
    if let Some(state) = index.segments.get_mut(&id) {
        // Something counts as live that reading does not find: its place is damaged.
        state.is_stuck = true;
        let path = state.segment.path.clone();
        let lost: Vec<(TransactionId, u32)> = index
            .messages
            .iter()
            .filter(|(_, message)| message.place.segment == id)
            .map(|(transaction, message)| (*transaction, message.place.offset))
            .collect();
        drop(index);
        for (transaction, offset) in lost {
            shared.platform.emit(Event::MessageDamaged {
                transaction,
                path: path.clone(),
                offset: u64::from(offset),
            });
        }
    }
    Ok(())
}

/// One reading of a segment.
struct Pass<'a> {
    shared: &'a Shared,
    segment: Arc<Segment>,
    waiting: Vec<(Completion, bool)>,
    bytes: u64,
    /// Whether all end records that are needed are written anew.
    are_ends_safe: bool,
}

impl Pass<'_> {
    /// Hands a record to the committer if it is still needed. `false` when it is and cannot be
    /// moved: damaged, or too large by now.
    fn take(&mut self, scan: &Scan, found: &Found) -> Result<bool, Stop> {
        let head = scan.head(found);
        let here = Place::new(self.segment.id, found.offset, found.header.record_len());
        match found.header.kind {
            Kind::Commit => {
                let Some(commit) = CommitHead::decode(head, &found.header) else { return Ok(true) };
                let message = {
                    let index = self.shared.index.lock();
                    index.messages.get(&commit.transaction).cloned()
                };
                let Some(message) = message.filter(|m| m.birth == commit.birth && m.place == here)
                else {
                    return Ok(true);
                };
                self.take_commit(found, &commit, message)
            }
            Kind::Change => {
                let Some(change) = ChangeHead::decode(head) else { return Ok(true) };
                let is_live = {
                    let index = self.shared.index.lock();
                    index.messages.get(&change.transaction).is_some_and(|message| {
                        message.birth == change.birth
                            && message.place.segment != self.segment.id
                            && message
                                .rows
                                .as_slice()
                                .iter()
                                .any(|row| row.queue == change.queue && row.change == here)
                    })
                };
                if is_live {
                    let what = What::MoveChange {
                        id: MessageId::new(change.transaction, change.queue),
                        birth: change.birth,
                        from: here,
                        state: change.state.into(),
                    };
                    self.submit(what, u64::from(here.len), false);
                }
                Ok(true)
            }
            Kind::Add => {
                let Some(add) = ChangeHead::decode(head) else { return Ok(true) };
                let is_live = {
                    let index = self.shared.index.lock();
                    index.added.get(&(add.birth, add.queue)) == Some(&here)
                        && index.messages.get(&add.transaction).is_some_and(|message| {
                            message.birth == add.birth && message.place.segment != self.segment.id
                        })
                };
                if is_live {
                    let what = What::MoveAdd {
                        id: MessageId::new(add.transaction, add.queue),
                        birth: add.birth,
                        from: here,
                        row: add.state.into(),
                    };
                    self.submit(what, u64::from(here.len), false);
                }
                Ok(true)
            }
            Kind::End => {
                let Some(end) = EndHead::decode(head) else { return Ok(true) };
                if self.shared.index.lock().is_end_needed(self.segment.id, end.target) {
                    self.submit(What::MoveEnd { head: end }, u64::from(here.len), true);
                }
                Ok(true)
            }
            Kind::Seal => Ok(true),
        }
    }

    fn take_commit(
        &mut self,
        found: &Found,
        commit: &CommitHead<'_>,
        message: Message,
    ) -> Result<bool, Stop> {
        let record = RecordAt {
            segment: Arc::clone(&self.segment),
            place: message.place,
            head_len: message.head_len,
            body_len: message.body_len,
        };
        let body = match record.read(commit.transaction) {
            Ok((_, body)) => body,
            Err(crate::error::ReadError::Disk { path, source }) => {
                self.shared.background_failed("read", &path, &source);
                return Err(Stop::Failed);
            }
            Err(_) => {
                self.damaged(commit.transaction, &self.segment, found.offset);
                return Ok(false);
            }
        };
        // Of each row its state, and what it began with where that is in a record of its own.
        let mut states: Vec<(Option<Bytes>, Option<Bytes>)> = Vec::new();
        for row in message.rows.as_slice() {
            let added = {
                let index = self.shared.index.lock();
                index.added.get(&(message.birth, row.queue)).copied().unwrap_or(Place::NOWHERE)
            };
            let read = |place: Place| match read_state(self.shared, place) {
                Ok(state) => Ok(state),
                Err(StateError::Disk(error)) => {
                    self.shared.background_failed("read", &self.segment.path, &error);
                    Err(Err(Stop::Failed))
                }
                // The row ended or moved meanwhile: the next pass sees how it is then.
                Err(StateError::Gone) => Err(Ok(true)),
                Err(StateError::Damaged(segment)) => {
                    self.damaged(commit.transaction, &segment, u64::from(place.offset));
                    Err(Ok(false))
                }
            };
            let both = read(row.change).and_then(|state| Ok((state, read(added)?)));
            match both {
                Ok(both) => states.push(both),
                Err(outcome) => return outcome,
            }
        }
        let written: Vec<RowRef<'_>> = commit.rows().collect();
        let rows: Vec<RowRef<'_>> = message
            .rows
            .as_slice()
            .iter()
            .zip(&states)
            .filter_map(|(row, (state, added))| {
                let was = match added {
                    Some(added) => RowRef { queue: row.queue, row: added, state: &[] },
                    None => *written.iter().find(|was| was.queue == row.queue)?,
                };
                Some(RowRef { state: state.as_deref().unwrap_or(was.state), ..was })
            })
            .collect();
        if rows.len() != message.rows.as_slice().len() {
            // A row was added or moved since the message was looked up.
            return Ok(true);
        }
        let Some(head) = CommitHead::encode(
            commit.transaction,
            commit.birth,
            commit.metadata,
            commit.file,
            rows.iter().copied(),
        ) else {
            return Ok(true);
        };
        let bytes = (head.len() + body.len()) as u64;
        if record_len(head.len() as u64, body.len() as u64) > self.shared.max_record() {
            // With all its states in one record it outgrows a segment: it stays where it is.
            return Ok(false);
        }
        let moved = MovedMessage {
            transaction: commit.transaction,
            from: message,
            head,
            flags: found.header.flags,
            body,
            body_crc: found.header.body_crc,
        };
        self.submit(What::MoveCommit(Box::new(moved)), bytes, false);
        Ok(true)
    }

    fn submit(&mut self, what: What, bytes: u64, is_end: bool) {
        let (completer, completion) = Completion::pair();
        self.bytes += bytes;
        self.waiting.push((completion, is_end));
        self.shared.submit(Op { what, completer, is_awaited: true, attempts: 0 });
    }

    fn finish_step(&mut self, between: &mut dyn FnMut() -> Result<(), Stop>) -> Result<(), Stop> {
        self.bytes = 0;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let stop = between();
        let mut failed = false;
        for (completion, is_end) in self.waiting.drain(..) {
            match completion.wait() {
                Ok(()) => {}
                // Refused, because it has changed since it was read.
                Err(CommitError::Closed) => self.are_ends_safe &= !is_end,
                Err(_) => {
                    self.are_ends_safe &= !is_end;
                    failed = true;
                }
            }
        }
        stop?;
        if failed { Err(Stop::Failed) } else { Ok(()) }
    }

    fn damaged(&self, transaction: TransactionId, segment: &Segment, offset: u64) {
        let path = segment.path.clone();
        self.shared.platform.emit(Event::MessageDamaged { transaction, path, offset });
    }
}

/// Why a row's state cannot be read.
#[derive(Debug)]
pub(crate) enum StateError {
    /// Its segment is gone: it has moved.
    Gone,
    Damaged(Arc<Segment>),
    Disk(io::Error),
}

/// Reads the state in a change record, or the row in an addition; `None` for nowhere.
pub(crate) fn read_state(shared: &Shared, place: Place) -> Result<Option<Bytes>, StateError> {
    if place == Place::NOWHERE {
        return Ok(None);
    }
    let segment = {
        let index = shared.index.lock();
        index.segments.get(&place.segment).map(|state| Arc::clone(&state.segment))
    };
    let segment = segment.ok_or(StateError::Gone)?;
    let mut octets = vec![0; place.len as usize];
    disk::read_exact_at(&*segment.file, &mut octets, u64::from(place.offset))
        .map_err(StateError::Disk)?;
    let state = (|| {
        let header_octets = octets.first_chunk::<RECORD_LEN>()?;
        let header = RecordHeader::decode(header_octets, segment.mark)?;
        let end = RECORD_LEN + header.head_len as usize;
        let head = octets.get(RECORD_LEN..end)?;
        let is_kind = matches!(header.kind, Kind::Change | Kind::Add);
        let is_good = is_kind && RecordHeader::matches(header_octets, head);
        let change = ChangeHead::decode(head).filter(|_| is_good)?;
        Some(end - change.state.len()..end)
    })();
    match state {
        Some(range) => Ok(Some(Bytes::from(octets).slice(range))),
        None => Err(StateError::Damaged(segment)),
    }
}

/// Gives the file of an empty segment its next use, and forgets the segment when that is safe.
fn free(shared: &Shared, id: u32, moved: u64) -> Result<(), Stop> {
    let disk = &shared.platform.disk;
    // A segment that goes needs no seal; waiting for one would keep its file from being reused.
    shared.chores.lock().seals.retain(|job| job.segment.id != id);
    let (path, fate, is_reusable) = {
        let index = shared.index.lock();
        let Some(state) = index.segments.get(&id) else { return Ok(()) };
        // Nothing in the index leads to this segment any more, so nobody new can come to read from
        // it; who still does holds a reference of his own.
        let is_alone = Arc::strong_count(&state.segment) == 1;
        let is_whole = state.segment.file.len().is_ok_and(|len| len >= shared.config.segment_bytes);
        let is_reusable = is_alone && is_whole && !state.is_distrusted;
        (state.segment.path.clone(), state.fate, is_reusable)
    };
    let failed = |action: &'static str, error: io::Error| {
        shared.background_failed(action, &path, &error);
        Stop::Failed
    };
    let gone_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let sync = |dir: &Path| if shared.config.fsync { disk.sync_dir(dir) } else { Ok(()) };
    let is_renamed = fate == Fate::Discard && shared.config.corrupt == Corrupt::Rename;
    let mut spare = None;
    let mut kept = None;
    if is_renamed {
        let to = shared
            .dirs
            .corrupt
            .join(format!("{id:08x}-{:016x}.seg", shared.platform.random.next_u64()));
        disk.create_dir(&shared.dirs.corrupt).map_err(|error| failed("create", error))?;
        gone_is_fine(disk.rename(&path, &to)).map_err(|error| failed("rename", error))?;
        sync(&shared.dirs.corrupt).map_err(|error| failed("sync", error))?;
        kept = Some(to);
    } else {
        let has_room = shared.chores.lock().spares.len() < shared.config.spare_segments;
        if is_reusable && has_room && fate == Fate::Free {
            let to = shared.dirs.spare(id);
            gone_is_fine(disk.rename(&path, &to)).map_err(|error| failed("rename", error))?;
            spare = Some(to);
        } else {
            gone_is_fine(disk.remove(&path)).map_err(|error| failed("remove", error))?;
        }
    }
    if let Err(error) = sync(&shared.dirs.log) {
        if let Some(spare) = spare {
            // Its old name may come back: the file must not be written under the new one.
            drop(disk.remove(&spare));
        }
        return Err(failed("sync directory of", error));
    }
    shared.index.lock().segments.remove(&id);
    if let Some(spare) = spare {
        debug_assert!(
            spare
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(parse_log_name)
                .is_some_and(|(_, kind)| kind == LogFile::Spare)
        );
        shared.chores.lock().spares.push(spare);
    }
    if shared.is_reserve_gone.load(Ordering::Relaxed) {
        shared.want_next();
    }
    shared.platform.emit(if fate == Fate::Discard {
        Event::SegmentDiscarded { path, kept }
    } else {
        Event::SegmentCompacted { path, moved }
    });
    Ok(())
}
