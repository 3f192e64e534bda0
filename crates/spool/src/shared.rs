//! What the spool's threads share: settings, the memory index, and the boxes they take work from.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::commit::Op;
use crate::config::Config;
use crate::disk::DirLock;
use crate::draft::DraftRoom;
use crate::error::CommitError;
use crate::index::Index;
use crate::platform::{Event, Platform};
use crate::segment::format::{BodyName, DATA_START, RECORD_LEN, Segment, TRAILER_LEN};
use crate::segment::writer::SealJob;
use crate::space::SpaceGuard;

/// The spool's directories.
#[derive(Clone, Debug)]
pub(crate) struct Dirs {
    pub(crate) root: PathBuf,
    /// Segments and spare files.
    pub(crate) log: PathBuf,
    /// Bodies too large for the log.
    pub(crate) bodies: PathBuf,
    /// Damaged segments put aside.
    pub(crate) corrupt: PathBuf,
}

impl Dirs {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            log: root.join("log"),
            bodies: root.join("bodies"),
            corrupt: root.join("corrupt"),
        }
    }

    pub(crate) fn segment(&self, id: u32) -> PathBuf {
        self.log.join(format!("{id:08x}.seg"))
    }

    pub(crate) fn spare(&self, id: u32) -> PathBuf {
        self.log.join(format!("{id:08x}.spare"))
    }
}

/// Number and kind of a file in the log directory.
pub(crate) fn parse_log_name(name: &str) -> Option<(u32, LogFile)> {
    let (digits, kind) = if let Some(digits) = name.strip_suffix(".seg") {
        (digits, LogFile::Segment)
    } else {
        (name.strip_suffix(".spare")?, LogFile::Spare)
    };
    let id = u32::from_str_radix(digits, 16).ok()?;
    (format!("{id:08x}") == digits && id > 0).then_some((id, kind))
}

/// What a file in the log directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFile {
    Segment,
    Spare,
}

/// The shared state. Locks are taken one at a time; only `activating` is held while others are
/// taken, one after the other.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) platform: Platform,
    pub(crate) dirs: Dirs,
    pub(crate) room: Arc<DraftRoom>,
    pub(crate) space: Arc<SpaceGuard>,
    pub(crate) index: Mutex<Index>,
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) inbox_filled: Condvar,
    /// Commits whose body file must be made safe first.
    pub(crate) settling: Mutex<Settling>,
    pub(crate) settling_filled: Condvar,
    pub(crate) chores: Mutex<Chores>,
    pub(crate) chores_filled: Condvar,
    /// Held while a file becomes a segment and is put in its place, so that segments are used in
    /// the order of their numbers. The loader relies on it: what was written later must lie in a
    /// segment with a higher number, or it would meet a commit before the end that belongs to it.
    pub(crate) activating: Mutex<()>,
    pub(crate) compaction: Mutex<CompactionBox>,
    pub(crate) compaction_due: Condvar,
    pub(crate) counters: Counters,
    /// The disk has no room for a segment after the one in use. What is left of that one is kept
    /// for ends, changes and compaction, which make room again; commits are refused.
    pub(crate) is_reserve_gone: AtomicBool,
    /// Held until the last user of the spool is gone.
    pub(crate) lock: Mutex<Option<Box<dyn DirLock>>>,
}

/// What waits for the committer.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) ops: VecDeque<Op>,
    /// How many of them somebody waits for.
    pub(crate) urgent: usize,
    /// When the oldest of the others came.
    pub(crate) lazy_since: Option<Instant>,
    pub(crate) is_closed: bool,
}

/// What waits for the body-sync threads.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    pub(crate) ops: VecDeque<Op>,
    pub(crate) is_closed: bool,
}

/// What waits for the keeper.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    /// The segment the committer takes next.
    pub(crate) next: Option<Arc<Segment>>,
    pub(crate) is_next_wanted: bool,
    pub(crate) seals: Vec<SealJob>,
    pub(crate) removals: Vec<BodyName>,
    pub(crate) spares: Vec<PathBuf>,
    /// Number of the next file made in the log directory.
    pub(crate) next_id: u32,
    pub(crate) is_closed: bool,
}

/// How compaction is told.
#[derive(Debug, Default)]
pub(crate) struct CompactionBox {
    pub(crate) is_due: bool,
    pub(crate) is_closed: bool,
}

/// Numbers for [`Stats`](crate::Stats). Relaxed: they order nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) pending_bytes: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
    /// Next sequence number; written by the committer alone.
    pub(crate) next_seq: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

impl Shared {
    /// The longest record that fits an empty segment beside its seal.
    pub(crate) fn max_record(&self) -> u64 {
        self.capacity() - DATA_START
    }

    /// Where records of a segment must end, so that at least an empty seal fits behind.
    pub(crate) fn capacity(&self) -> u64 {
        self.config.segment_bytes - RECORD_LEN as u64 - TRAILER_LEN
    }

    /// `Err` when new mail must be refused for want of space.
    pub(crate) fn check_space(&self) -> Result<(), ()> {
        if self.is_reserve_gone.load(Ordering::Relaxed) {
            return Err(());
        }
        self.space.check()
    }

    /// Asks the keeper for a segment in reserve.
    pub(crate) fn want_next(&self) {
        self.chores.lock().is_next_wanted = true;
        self.chores_filled.notify_one();
    }

    /// Hands an operation to the committer.
    pub(crate) fn submit(&self, op: Op) {
        let is_urgent = op.is_urgent();
        let is_wake_needed;
        {
            let mut inbox = self.inbox.lock();
            if inbox.is_closed {
                drop(inbox);
                op.fail(&CommitError::Closed);
                return;
            }
            // The committer sets its alarm by the first lazy operation; the others go along.
            is_wake_needed = is_urgent || inbox.lazy_since.is_none();
            if is_urgent {
                inbox.urgent += 1;
            } else if inbox.lazy_since.is_none() {
                inbox.lazy_since = Some(Instant::now());
            }
            inbox.ops.push_back(op);
        }
        if is_wake_needed {
            self.inbox_filled.notify_one();
        }
    }

    /// Puts operations that could not be written in front of all others, to be tried again after a
    /// while: a disk that refuses now refuses in a microsecond too.
    pub(crate) fn put_back(&self, ops: VecDeque<Op>, error: &CommitError) {
        if ops.is_empty() {
            return;
        }
        let mut inbox = self.inbox.lock();
        if inbox.is_closed {
            drop(inbox);
            for op in ops {
                op.fail(error);
            }
            return;
        }
        for op in ops.into_iter().rev() {
            inbox.ops.push_front(op);
        }
        inbox.lazy_since.get_or_insert_with(Instant::now);
    }

    /// Waits until there is something to commit and takes all of it. `None` when closed and empty.
    pub(crate) fn next_ops(&self) -> Option<VecDeque<Op>> {
        let mut inbox = self.inbox.lock();
        loop {
            if inbox.urgent > 0 || (inbox.is_closed && !inbox.ops.is_empty()) {
                break;
            }
            if inbox.is_closed {
                return None;
            }
            let Some(since) = inbox.lazy_since else {
                self.inbox_filled.wait(&mut inbox);
                continue;
            };
            let due = since + self.config.lazy_delay;
            let timed_out = self.inbox_filled.wait_until(&mut inbox, due).timed_out();
            if timed_out && !inbox.ops.is_empty() {
                break;
            }
        }
        Some(inbox.take())
    }

    pub(crate) fn wake_compaction(&self) {
        self.compaction.lock().is_due = true;
        self.compaction_due.notify_all();
    }

    pub(crate) fn background_failed(
        &self,
        action: &'static str,
        path: &Path,
        error: &std::io::Error,
    ) {
        self.platform.emit(Event::BackgroundFailed {
            action,
            path: path.to_owned(),
            error: error.to_string(),
        });
    }

    /// The reason given to those who waited for a write that failed.
    pub(crate) fn disk_error(
        &self,
        action: &'static str,
        path: &Path,
        error: &std::io::Error,
    ) -> CommitError {
        if crate::space::is_full(error) {
            return CommitError::Full { path: self.dirs.root.clone() };
        }
        CommitError::Disk { action, path: path.to_owned(), kind: error.kind() }
    }

    /// Time between attempts of background work that failed.
    pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);
}

impl Chores {
    /// A number for a new file in the log directory.
    pub(crate) const fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

impl Inbox {
    pub(crate) fn take(&mut self) -> VecDeque<Op> {
        self.urgent = 0;
        self.lazy_since = None;
        std::mem::take(&mut self.ops)
    }
}
