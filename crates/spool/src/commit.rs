//! Group commit: everything that waits goes into one write and one sync, and only then does
//! anybody hear that it is safe. **The sync in [`Committer::write_batch`] is the commit point.**
//!
//! One thread does this. While its sync runs, the next batch gathers in the inbox; there is no
//! artificial delay. The memory index is changed after the sync, so that nothing is ever based on
//! what the disk may still lose.
//!
//! After a failed write or sync nobody knows what of it is on disk (the kernel may have dropped the
//! pages and call the file clean). The segment is closed and not written again; commits in the
//! batch fail and are ended explicitly in the next segment, so that a restart does not bring them
//! back; changes and ends are written again there.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use mta_types::{MessageId, QueueId, TransactionId};

use crate::completion::Completer;
use crate::disk::DiskFile;
use crate::draft::{DraftFile, MemoryShare};
use crate::error::CommitError;
use crate::index::{Index, Message, Place, Row, Rows, SegmentState};
use crate::platform::Event;
use crate::segment::format::{
    ALL_ROWS, BodyName, CHANGE_HEAD_LEN, ChangeHead, END_HEAD_LEN, EndHead, FLAG_FILE, Kind,
    Segment, SegmentHeader, record_len,
};
use crate::segment::writer::{self, Active, Batch, Fill, Record};
use crate::shared::{Counters, Shared};

/// Octets after which a batch is written even if more waits: bounds how long the first waits.
const BATCH_BYTES: u64 = 8 << 20;

/// How often a change or end is written before its failure is told.
const ATTEMPTS: u8 = 5;

/// Something the committer writes.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) what: What,
    pub(crate) completer: Completer,
    /// Whether a sync is made for it at once.
    pub(crate) is_awaited: bool,
    pub(crate) attempts: u8,
}

/// The kinds of operations.
#[derive(Debug)]
pub(crate) enum What {
    Commit(Box<NewMessage>),
    /// Several messages of one batch: all or none.
    CommitAll(Vec<NewMessage>),
    Change {
        id: MessageId,
        state: Box<[u8]>,
    },
    /// A further row of a message, with what it begins with.
    Add {
        id: MessageId,
        row: Box<[u8]>,
    },
    /// The end of a row or, with [`ALL_ROWS`], of a message.
    End {
        id: MessageId,
    },
    /// The end of a commit record that was written but never confirmed.
    Abort {
        head: EndHead,
        /// Its body file, which must not go before the record that names it has ended.
        file: Option<BodyName>,
    },
    MoveCommit(Box<MovedMessage>),
    MoveChange {
        id: MessageId,
        birth: u64,
        from: Place,
        state: Box<[u8]>,
    },
    MoveAdd {
        id: MessageId,
        birth: u64,
        from: Place,
        row: Box<[u8]>,
    },
    MoveEnd {
        head: EndHead,
    },
    /// Nothing: completes when all before it is safe.
    Flush,
}

/// A message on its way into the log.
#[derive(Debug)]
pub(crate) struct NewMessage {
    pub(crate) transaction: TransactionId,
    /// Encoded commit head with birth 0.
    pub(crate) head: Vec<u8>,
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) body_crc: u32,
    pub(crate) rows: Rows,
    pub(crate) file: Option<Arc<DraftFile>>,
    pub(crate) source: Option<Source>,
    /// Octets counted as pending for it.
    pub(crate) counted: u64,
    pub(crate) _share: Option<Arc<MemoryShare>>,
}

/// What a commit with a body file is encoded from once the file is safe.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) metadata: Box<[u8]>,
    pub(crate) rows: Vec<crate::message::NewRow>,
    pub(crate) file_skip: u64,
}

/// A live message that compaction writes anew, its rows' states folded in.
#[derive(Debug)]
pub(crate) struct MovedMessage {
    pub(crate) transaction: TransactionId,
    /// What the index said when it was read.
    pub(crate) from: Message,
    pub(crate) head: Vec<u8>,
    pub(crate) flags: u8,
    pub(crate) body: Bytes,
    pub(crate) body_crc: u32,
}

impl NewMessage {
    /// Octets of its commit record.
    fn record_len(&self) -> u64 {
        let body: usize = self.pieces.iter().map(Bytes::len).sum();
        record_len(self.head.len() as u64, body as u64)
    }
}

impl What {
    /// Octets counted as pending for it.
    pub(crate) fn counted(&self) -> u64 {
        match self {
            Self::Commit(new) => new.counted,
            Self::CommitAll(set) => set.iter().map(|new| new.counted).sum(),
            _ => 0,
        }
    }

    /// The new messages in it.
    fn new_messages(&mut self) -> &mut [NewMessage] {
        match self {
            Self::Commit(new) => std::slice::from_mut(new),
            Self::CommitAll(set) => set,
            _ => &mut [],
        }
    }
}

impl Op {
    pub(crate) const fn is_urgent(&self) -> bool {
        self.is_awaited
    }

    const fn is_move(&self) -> bool {
        matches!(
            self.what,
            What::MoveCommit(_)
                | What::MoveChange { .. }
                | What::MoveAdd { .. }
                | What::MoveEnd { .. }
        )
    }

    pub(crate) fn fail(self, error: &CommitError) {
        self.completer.complete(Err(error.clone()));
    }
}

/// An operation whose record is in the batch.
#[derive(Debug)]
struct Staged {
    op: Op,
    place: Place,
    head_len: u32,
    birth: u64,
    target: u32,
}

/// The committing thread's own state.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    active: Option<Active>,
    batch: Batch,
    head: Vec<u8>,
    /// Tests break the promise on purpose, to see that the crash simulation notices.
    #[cfg(test)]
    pub(crate) acknowledge_before_sync: bool,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            active: None,
            batch: Batch::default(),
            head: Vec::new(),
            #[cfg(test)]
            acknowledge_before_sync: false,
        }
    }

    /// Commits until the spool is closed, then seals the segment.
    pub(crate) fn run(mut self) {
        let _guard = CloseAtExit { shared: Arc::clone(&self.shared) };
        while let Some(ops) = self.shared.next_ops() {
            self.commit(ops);
        }
        self.close();
    }

    /// Seals the segment in use: a log that was closed in order has no unfinished end.
    pub(crate) fn close(&mut self) {
        self.retire();
    }

    /// Commits what waits without waiting for more; `false` when there was nothing.
    #[cfg(test)]
    pub(crate) fn step(&mut self) -> bool {
        let ops = self.shared.inbox.lock().take();
        let is_work = !ops.is_empty();
        self.commit(ops);
        is_work
    }

    fn commit(&mut self, ops: VecDeque<Op>) {
        // What compaction moves is decided when all else has taken effect: a row that ends in the
        // same breath must not be written anew, and its end must name the right segment.
        let (moves, mut ops): (VecDeque<Op>, VecDeque<Op>) = ops.into_iter().partition(Op::is_move);
        self.commit_in_order(&mut ops);
        let mut moves = moves;
        self.commit_in_order(&mut moves);
        if std::mem::take(&mut self.shared.index.lock().is_compaction_due) {
            self.shared.wake_compaction();
        }
    }

    fn commit_in_order(&mut self, ops: &mut VecDeque<Op>) {
        while !ops.is_empty() {
            if let Err(error) = self.ensure_active() {
                let ops = std::mem::take(ops);
                self.fail_or_put_back(ops, &error);
                return;
            }
            let staged = self.stage(ops);
            if self.batch.is_empty() && staged.is_empty() && !ops.is_empty() {
                // The next record does not fit any more.
                self.retire();
                continue;
            }
            match self.write_batch(&staged) {
                Ok(()) => self.apply(staged),
                Err(error) => {
                    let failed = self.distrust(staged);
                    // Nothing overtakes what failed: the last change of a row must stay the last.
                    self.shared.put_back(std::mem::take(ops), &error);
                    self.fail_or_put_back(failed, &error);
                    return;
                }
            }
        }
    }

    /// Gathers records from the front of `ops` until the segment or the batch is full.
    fn stage(&mut self, ops: &mut VecDeque<Op>) -> Vec<Staged> {
        self.batch.clear();
        let mut staged = Vec::with_capacity(ops.len());
        let Some(active) = &mut self.active else { return staged };
        let mut fresh: HashSet<TransactionId> = HashSet::new();
        // Rows added in this batch, of which the index does not know yet.
        let mut added: HashSet<MessageId> = HashSet::new();
        let mut refused = Vec::new();
        let index = self.shared.index.lock();
        // Relaxed: only this thread writes it.
        let mut seq = self.shared.counters.next_seq.load(Ordering::Relaxed);
        // Behind a set that fits, its messages one by one.
        let mut rest_of_set = 0;
        while let Some(mut op) = ops.pop_front() {
            if let What::CommitAll(set) = &mut op.what {
                let len = set.iter().map(NewMessage::record_len).sum();
                let allowed = self.shared.max_record();
                if len > allowed {
                    refused.push((op, CommitError::TooLarge { len, allowed }));
                    continue;
                }
                if active.tail + self.batch.len() + len > active.capacity
                    || (self.batch.len() + len > BATCH_BYTES && !self.batch.is_empty())
                {
                    ops.push_front(op);
                    break;
                }
                if let Err(error) = check_set(&self.shared, set, &index, &fresh) {
                    refused.push((op, error));
                    continue;
                }
                rest_of_set = set.len();
                let set = std::mem::take(set);
                let mut completer = Some(op.completer);
                // Written, synced and noted together; the last one tells.
                for new in set.into_iter().rev() {
                    ops.push_front(Op {
                        what: What::Commit(Box::new(new)),
                        completer: completer.take().unwrap_or_else(Completer::ignored),
                        is_awaited: true,
                        attempts: 0,
                    });
                }
                continue;
            }
            let is_of_set = rest_of_set > 0;
            rest_of_set = rest_of_set.saturating_sub(1);
            let len = match &op.what {
                What::Commit(new) => new.record_len(),
                What::Change { state, .. }
                | What::MoveChange { state, .. }
                | What::Add { row: state, .. }
                | What::MoveAdd { row: state, .. } => {
                    record_len((CHANGE_HEAD_LEN + state.len()) as u64, 0)
                }
                What::End { .. } | What::Abort { .. } | What::MoveEnd { .. } => {
                    record_len(END_HEAD_LEN as u64, 0)
                }
                What::MoveCommit(moved) => {
                    record_len(moved.head.len() as u64, moved.body.len() as u64)
                }
                What::CommitAll(_) | What::Flush => 0,
            };
            let allowed = self.shared.max_record();
            if len > allowed {
                // No segment would ever do; asking for one after the other would fill the disk.
                refused.push((op, CommitError::TooLarge { len, allowed }));
                continue;
            }
            let is_full = active.tail + self.batch.len() + len > active.capacity
                || (self.batch.len() + len > BATCH_BYTES && !self.batch.is_empty());
            if is_full && !is_of_set {
                ops.push_front(op);
                break;
            }
            let mut record =
                Record { seq, kind: Kind::Commit, flags: 0, head: &[], pieces: &[], body_crc: 0 };
            let mut birth = 0;
            let mut target = 0;
            self.head.clear();
            match &op.what {
                What::CommitAll(_) => continue,
                What::Flush => {
                    staged.push(Staged { op, place: Place::NOWHERE, head_len: 0, birth, target });
                    continue;
                }
                What::Commit(_)
                    if !is_of_set && self.shared.is_reserve_gone.load(Ordering::Relaxed) =>
                {
                    let path = self.shared.dirs.root.clone();
                    refused.push((op, CommitError::Full { path }));
                    continue;
                }
                What::Commit(new) => {
                    if index.messages.contains_key(&new.transaction)
                        || !fresh.insert(new.transaction)
                    {
                        let transaction = new.transaction;
                        refused.push((op, CommitError::Exists { transaction }));
                        continue;
                    }
                    birth = seq;
                    record.flags = if new.file.is_some() { FLAG_FILE } else { 0 };
                    record.head = &new.head;
                    record.pieces = &new.pieces;
                    record.body_crc = new.body_crc;
                }
                What::Add { id, row } => {
                    let Some(message) = index.messages.get(&id.transaction).filter(|message| {
                        message.rows.as_slice().iter().all(|row| row.queue != id.queue)
                    }) else {
                        let id = *id;
                        refused.push((op, CommitError::Unknown { id }));
                        continue;
                    };
                    birth = message.birth;
                    added.insert(*id);
                    record.kind = Kind::Add;
                    let (transaction, queue) = (id.transaction, id.queue);
                    ChangeHead { transaction, birth, queue, state: row }.encode(&mut self.head);
                    record.head = &self.head;
                }
                What::Change { id, state } => {
                    let Some(message) = index.messages.get(&id.transaction).filter(|message| {
                        added.contains(id)
                            || message.rows.as_slice().iter().any(|row| row.queue == id.queue)
                    }) else {
                        let id = *id;
                        refused.push((op, CommitError::Unknown { id }));
                        continue;
                    };
                    birth = message.birth;
                    record.kind = Kind::Change;
                    let (transaction, queue) = (id.transaction, id.queue);
                    ChangeHead { transaction, birth, queue, state }.encode(&mut self.head);
                    record.head = &self.head;
                }
                What::End { id } => {
                    let Some(message) = index.messages.get(&id.transaction).filter(|message| {
                        id.queue == ALL_ROWS
                            || added.contains(id)
                            || message.rows.as_slice().iter().any(|row| row.queue == id.queue)
                    }) else {
                        let id = *id;
                        refused.push((op, CommitError::Unknown { id }));
                        continue;
                    };
                    birth = message.birth;
                    target = message.place.segment;
                    record.kind = Kind::End;
                    let (transaction, queue) = (id.transaction, id.queue);
                    EndHead { transaction, birth, queue, target }.encode(&mut self.head);
                    record.head = &self.head;
                }
                What::Abort { head, .. } | What::MoveEnd { head } => {
                    target = head.target;
                    record.kind = Kind::End;
                    head.encode(&mut self.head);
                    record.head = &self.head;
                }
                What::MoveCommit(moved) => {
                    if index.messages.get(&moved.transaction) != Some(&moved.from) {
                        // It has changed or ended since it was read: compaction looks again.
                        refused.push((op, CommitError::Closed));
                        continue;
                    }
                    record.flags = moved.flags;
                    record.head = &moved.head;
                    record.pieces = std::slice::from_ref(&moved.body);
                    record.body_crc = moved.body_crc;
                }
                What::MoveAdd { id, birth: born, from, row } => {
                    if index.added.get(&(*born, id.queue)) != Some(from) {
                        refused.push((op, CommitError::Closed));
                        continue;
                    }
                    birth = *born;
                    record.kind = Kind::Add;
                    let (transaction, queue) = (id.transaction, id.queue);
                    ChangeHead { transaction, birth, queue, state: row }.encode(&mut self.head);
                    record.head = &self.head;
                }
                What::MoveChange { id, birth: born, from, state } => {
                    let is_current = index.messages.get(&id.transaction).is_some_and(|message| {
                        message.birth == *born
                            && message
                                .rows
                                .as_slice()
                                .iter()
                                .any(|row| row.queue == id.queue && row.change == *from)
                    });
                    if !is_current {
                        refused.push((op, CommitError::Closed));
                        continue;
                    }
                    birth = *born;
                    record.kind = Kind::Change;
                    let (transaction, queue) = (id.transaction, id.queue);
                    ChangeHead { transaction, birth, queue, state }.encode(&mut self.head);
                    record.head = &self.head;
                }
            }
            let head_len = record.head.len() as u32;
            let (offset, len) = self.batch.push(active, &record);
            let place = Place::new(active.segment.id, offset, len);
            staged.push(Staged { op, place, head_len, birth, target });
            seq += 1;
        }
        drop(index);
        self.shared.counters.next_seq.store(seq, Ordering::Relaxed);
        for (op, error) in refused {
            self.count_done(&op);
            op.fail(&error);
        }
        staged
    }

    /// Writes the batch and syncs it: the commit point of everything in it.
    fn write_batch(&mut self, staged: &[Staged]) -> Result<(), CommitError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let Some(active) = &mut self.active else { return Err(CommitError::Closed) };
        let shared = &self.shared;
        let failed = |action: &'static str, segment: &Segment, error: &io::Error| {
            shared.platform.emit(Event::WriteFailed {
                path: segment.path.clone(),
                error: format!("{action}: {error}"),
            });
            shared.disk_error(action, &segment.path, error)
        };
        debug_assert!(!staged.is_empty());
        self.batch.write(active).map_err(|error| failed("write", &active.segment, &error))?;
        #[cfg(test)]
        if self.acknowledge_before_sync {
            return Ok(());
        }
        if shared.config.fsync {
            active.segment.file.sync().map_err(|error| failed("sync", &active.segment, &error))?;
        }
        active.synced = active.tail;
        Counters::add(&shared.counters.syncs, 1);
        Ok(())
    }

    /// Notes in memory what is on disk now, and tells everybody.
    fn apply(&self, staged: Vec<Staged>) {
        let mut removals = Vec::new();
        let mut done = Vec::with_capacity(staged.len());
        let (mut commits, mut changes) = (0, 0);
        {
            let mut index = self.shared.index.lock();
            if let Some(active) = &self.active
                && let Some(state) = index.segments.get_mut(&active.segment.id)
            {
                state.used = active.tail;
            }
            for Staged { mut op, place, head_len, birth, target, .. } in staged {
                match &mut op.what {
                    What::Commit(new) => {
                        commits += 1;
                        let body: usize = new.pieces.iter().map(Bytes::len).sum();
                        let rows = std::mem::replace(&mut new.rows, Rows::Many(Vec::new()));
                        let name = new.file.as_ref().map(|file| {
                            file.keep();
                            file.name
                        });
                        let message = Message {
                            birth,
                            place,
                            head_len,
                            body_len: body as u32,
                            has_file: name.is_some(),
                            rows,
                        };
                        index.insert(new.transaction, message, name);
                    }
                    What::Change { id, .. } | What::MoveChange { id, .. } => {
                        changes += 1;
                        index.change(id.transaction, birth, id.queue, place);
                    }
                    What::Add { id, .. } => {
                        changes += 1;
                        index.add_row(id.transaction, birth, id.queue, place);
                    }
                    What::MoveAdd { id, .. } => {
                        // It may have been folded into its commit record in the same breath.
                        if index.added.contains_key(&(birth, id.queue)) {
                            index.note_added(birth, id.queue, place);
                        }
                    }
                    What::End { id } => {
                        changes += 1;
                        removals.extend(index.end(id.transaction, birth, id.queue));
                        index.note_end(place.segment, target);
                    }
                    What::Abort { file, .. } => {
                        removals.extend(file.take().filter(|name| index.release_file(*name)));
                        index.note_end(place.segment, target);
                    }
                    What::MoveEnd { .. } => index.note_end(place.segment, target),
                    What::MoveCommit(moved) => {
                        let (transaction, from) = (moved.transaction, &moved.from);
                        index.move_commit(transaction, from, place, head_len);
                        let len = u64::from(place.len);
                        Counters::add(&self.shared.counters.compacted_bytes, len);
                    }
                    // Taken apart when it was staged.
                    What::CommitAll(_) | What::Flush => {}
                }
                done.push(op);
            }
        }
        Counters::add(&self.shared.counters.commits, commits);
        Counters::add(&self.shared.counters.changes, changes);
        for op in done {
            self.count_done(&op);
            op.completer.complete(Ok(()));
        }
        if !removals.is_empty() {
            self.shared.chores.lock().removals.append(&mut removals);
            self.shared.chores_filled.notify_one();
        }
    }

    /// Closes the segment after a failed write or sync: see the top of this file. Gives back the
    /// operations, with the ends of the commits among them in front.
    fn distrust(&mut self, staged: Vec<Staged>) -> VecDeque<Op> {
        let mut ops = VecDeque::with_capacity(staged.len());
        let Some(mut active) = self.active.take() else { return ops };
        // Records may be there up to here, whatever the disk said.
        active.tail += self.batch.len();
        {
            let mut index = self.shared.index.lock();
            if let Some(state) = index.segments.get_mut(&active.segment.id) {
                state.used = active.tail.min(active.capacity);
                state.is_distrusted = true;
                state.is_closed = true;
            }
            index.is_compaction_due = true;
        }
        let target = active.segment.id;
        for Staged { mut op, birth, .. } in staged {
            if let What::Commit(new) = &mut op.what {
                let head = EndHead { transaction: new.transaction, birth, queue: ALL_ROWS, target };
                let file = new.file.as_ref().map(|file| {
                    file.keep();
                    self.shared.index.lock().use_file(file.name);
                    file.name
                });
                ops.push_front(Op {
                    what: What::Abort { head, file },
                    completer: Completer::ignored(),
                    is_awaited: false,
                    attempts: 0,
                });
            }
            ops.push_back(op);
        }
        ops
    }

    /// Fails what somebody waits for, after some attempts where that makes sense, and keeps the
    /// rest for later, in order. Lazy changes and ends are tried until the spool closes: forgetting
    /// one would bring a delivered message back at the next start.
    fn fail_or_put_back(&self, ops: VecDeque<Op>, error: &CommitError) {
        let mut kept = VecDeque::with_capacity(ops.len());
        for mut op in ops {
            op.attempts = op.attempts.saturating_add(1);
            let is_kept = match &op.what {
                What::Change { .. } | What::Add { .. } | What::End { .. } => {
                    !op.is_awaited || op.attempts < ATTEMPTS
                }
                What::Flush => op.attempts < ATTEMPTS,
                What::Abort { .. } => true,
                What::Commit(_)
                | What::CommitAll(_)
                | What::MoveCommit(_)
                | What::MoveChange { .. }
                | What::MoveAdd { .. }
                | What::MoveEnd { .. } => false,
            };
            if is_kept {
                kept.push_back(op);
            } else {
                self.count_done(&op);
                op.fail(error);
            }
        }
        self.shared.put_back(kept, error);
    }

    fn count_done(&self, op: &Op) {
        self.shared.counters.pending_bytes.fetch_sub(op.what.counted(), Ordering::Relaxed);
    }

    /// Makes sure there is a segment to write to.
    fn ensure_active(&mut self) -> Result<(), CommitError> {
        if self.active.is_some() {
            return Ok(());
        }
        let segment = {
            let activating = self.shared.activating.lock();
            let prepared = self.shared.chores.lock().next.take();
            let segment = match prepared {
                Some(segment) => segment,
                None => Arc::new(activate_next(&self.shared)?),
            };
            drop(activating);
            segment
        };
        {
            let mut index = self.shared.index.lock();
            index.segments.insert(segment.id, SegmentState::new(Arc::clone(&segment)));
        }
        self.active = Some(Active::new(segment, self.shared.capacity()));
        self.shared.want_next();
        Ok(())
    }

    /// Closes the segment in use and leaves its seal to the keeper.
    fn retire(&mut self) {
        let Some(active) = self.active.take() else { return };
        {
            let mut index = self.shared.index.lock();
            if let Some(state) = index.segments.get_mut(&active.segment.id) {
                state.used = active.tail;
                state.is_closed = true;
            }
            index.is_compaction_due = true;
        }
        let seq = self.shared.counters.next_seq.fetch_add(1, Ordering::Relaxed);
        self.shared.chores.lock().seals.push(active.into_seal(seq));
        self.shared.chores_filled.notify_one();
    }
}

/// Whether every message of a set may be written.
fn check_set(
    shared: &Shared,
    set: &[NewMessage],
    index: &Index,
    fresh: &HashSet<TransactionId>,
) -> Result<(), CommitError> {
    if shared.is_reserve_gone.load(Ordering::Relaxed) {
        return Err(CommitError::Full { path: shared.dirs.root.clone() });
    }
    let mut own = HashSet::with_capacity(set.len());
    let twice = set.iter().map(|new| new.transaction).find(|transaction| {
        index.messages.contains_key(transaction)
            || fresh.contains(transaction)
            || !own.insert(*transaction)
    });
    twice.map_or(Ok(()), |transaction| Err(CommitError::Exists { transaction }))
}

/// Refuses further work when the committing thread ends, even by a panic: whoever waits is told,
/// and nobody waits for ever.
struct CloseAtExit {
    shared: Arc<Shared>,
}

impl Drop for CloseAtExit {
    fn drop(&mut self) {
        let ops = {
            let mut inbox = self.shared.inbox.lock();
            inbox.is_closed = true;
            inbox.take()
        };
        // Their completers say `Closed` when dropped.
        drop(ops);
    }
}

/// Makes sure there is a spare file, written through, which takes its time. The keeper does this
/// ahead, so that the committer finds one.
pub(crate) fn stock_spare(shared: &Shared) -> Result<(), CommitError> {
    if shared.chores.lock().spares.is_empty() {
        let (path, _) = create_spare(shared, Fill::Zeros)?;
        shared.chores.lock().spares.push(path);
    }
    Ok(())
}

fn create_spare(shared: &Shared, fill: Fill) -> Result<(PathBuf, Arc<dyn DiskFile>), CommitError> {
    let path = shared.dirs.spare(shared.chores.lock().take_id());
    let len = shared.config.segment_bytes;
    writer::create_spare(&shared.platform, &path, len, fill, shared.config.fsync)
        .map(|file| (path.clone(), file))
        .map_err(|error| shared.disk_error("create", &path, &error))
}

/// Makes the next segment, from a spare file if there is one. The caller holds `activating`.
pub(crate) fn activate_next(shared: &Shared) -> Result<Segment, CommitError> {
    let (id, spare) = {
        let mut chores = shared.chores.lock();
        (chores.take_id(), chores.spares.pop())
    };
    let disk = &shared.platform.disk;
    let recycled = spare.and_then(|path| {
        // A spare file that does not open or has not the wanted size is no loss.
        let file = disk.open(&path).ok()?;
        if file.len().ok()? >= shared.config.segment_bytes {
            return Some((path, file));
        }
        drop(disk.remove(&path));
        None
    });
    let (spare, file) = match recycled {
        Some(found) => found,
        None => create_spare(shared, Fill::Reserve)?,
    };
    let header = SegmentHeader {
        id,
        mark: shared.platform.random.next_u64(),
        first_seq: shared.counters.next_seq.load(Ordering::Relaxed),
    };
    let path = shared.dirs.segment(id);
    writer::activate(&shared.platform, file, &spare, path, header, shared.config.fsync)
        .map_err(|error| shared.disk_error("create", &spare, &error))
}

/// Makes the body files of commits safe, then their names with one sync of the directory, and
/// hands the commits on.
pub(crate) fn settle(shared: &Shared, ops: VecDeque<Op>) {
    let refuse = |op: Op, error: &CommitError| {
        shared.counters.pending_bytes.fetch_sub(op.what.counted(), Ordering::Relaxed);
        op.fail(error);
    };
    let mut settled = Vec::with_capacity(ops.len());
    for mut op in ops {
        let mut messages = op.what.new_messages().iter_mut();
        match messages.try_for_each(|new| settle_one(shared, new)) {
            Ok(()) => settled.push(op),
            Err(error) => refuse(op, &error),
        }
    }
    if shared.config.fsync
        && !settled.is_empty()
        && let Err(error) = shared.platform.disk.sync_dir(&shared.dirs.bodies)
    {
        let error = shared.disk_error("sync", &shared.dirs.bodies, &error);
        for op in settled {
            refuse(op, &error);
        }
        return;
    }
    for op in settled {
        shared.submit(op);
    }
}

fn settle_one(shared: &Shared, new: &mut NewMessage) -> Result<(), CommitError> {
    let Some(source) = new.source.take() else { return Ok(()) };
    let mut skip = source.file_skip;
    if new.file.is_none() {
        // Pieces too large for the log.
        let file = DraftFile::from_pieces(&shared.room, &new.pieces)
            .map_err(|(path, error)| shared.disk_error("write", &path, &error))?;
        new.file = Some(Arc::new(file));
        new.pieces.clear();
        new.body_crc = 0;
        skip = 0;
    }
    let Some(file) = &new.file else { return Ok(()) };
    let crc = file
        .settle(shared.config.fsync)
        .map_err(|error| shared.disk_error("sync", &file.path, &error))?;
    let part = crate::segment::format::FilePart { name: file.name, len: file.len, skip, crc };
    new.head =
        crate::spool::encode_head(new.transaction, &source.metadata, Some(part), &source.rows)
            .ok_or(CommitError::TooLarge { len: u64::MAX, allowed: shared.max_record() })?;
    Ok(())
}

/// The rows of a new message for the index; `None` when there are none, one twice, or one with a
/// reserved number.
pub(crate) fn index_rows(rows: &[crate::message::NewRow]) -> Option<Rows> {
    let mut numbers: Vec<QueueId> = rows.iter().map(|row| row.queue).collect();
    numbers.sort_unstable();
    let is_good = !numbers.is_empty()
        && numbers.windows(2).all(|pair| pair[0] != pair[1])
        && !numbers.contains(&ALL_ROWS);
    is_good.then(|| {
        let rows =
            rows.iter().map(|row| Row { queue: row.queue, change: Place::NOWHERE }).collect();
        Rows::from_vec(rows)
    })
}

/// Removes body files nobody needs any more.
pub(crate) fn remove_bodies(shared: &Shared, names: Vec<BodyName>) {
    for name in names {
        let path = shared.dirs.bodies.join(name.file_name());
        match shared.platform.disk.remove(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The next start removes it.
            Err(error) => shared.background_failed("remove", &path, &error),
        }
    }
}
