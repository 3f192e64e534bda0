//! What an operator may set about the spool: the `spool.*` keys and a few limits beside them.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of one spool.
#[derive(Clone, Debug)]
pub struct Config {
    /// The spool directory, `spool.path`. Created when missing.
    pub path: PathBuf,
    /// `spool.fsync`: whether commits wait for the disk. `false` trades every guarantee after a
    /// power failure for speed; a crash of the process alone still loses nothing acknowledged.
    pub fsync: bool,
    /// `spool.corrupt`: what happens to a segment in which damage was found.
    pub corrupt: Corrupt,
    /// `spool.loader.threads`: threads reading segments at start, at least 1.
    pub loader_threads: usize,
    /// `spool.minfree`: drafts and commits are refused below this.
    pub minfree: MinFree,
    /// Size of one log segment in octets, 64 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// Bodies up to this many octets stay in memory while received and go into the log with their
    /// commit; larger ones become a file of their own. At most a quarter of `segment_bytes`.
    pub inline_bytes: u64,
    /// Memory that all drafts together may hold; further octets go to files at once.
    pub draft_memory_bytes: u64,
    /// Octets of records that may wait for the disk before commits are refused as
    /// [`CommitError::Busy`](crate::CommitError::Busy).
    pub pending_bytes: u64,
    /// How long changes and ends nobody waits for may stay in memory before a sync is made for
    /// them alone. Also the window whose ended rows may come back after a power failure.
    pub lazy_delay: Duration,
    /// A sealed segment whose live share is below this many percent is rewritten, 1 to 90.
    pub compact_below_percent: u8,
    /// Octets per second compaction may copy; 0 for no limit.
    pub compact_bytes_per_second: u64,
    /// Emptied segments kept for reuse, so that a sync need not journal a change of size.
    pub spare_segments: usize,
}

impl Config {
    /// Settings for a spool in `path`, everything else at its default.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            fsync: true,
            corrupt: Corrupt::default(),
            loader_threads: std::thread::available_parallelism().map_or(1, usize::from),
            minfree: MinFree::default(),
            segment_bytes: 64 << 20,
            inline_bytes: 1 << 20,
            draft_memory_bytes: 256 << 20,
            pending_bytes: 256 << 20,
            lazy_delay: Duration::from_millis(100),
            compact_below_percent: 50,
            compact_bytes_per_second: 32 << 20,
            spare_segments: 4,
        }
    }
}

/// `spool.corrupt`: what happens to a damaged segment once its good records are safe elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Corrupt {
    /// The segment is removed.
    Unlink,
    /// The segment is kept in the directory `corrupt/` for a human to look at.
    Rename,
    /// The segment stays in use; its good records are served from where they are.
    #[default]
    Ignore,
}

/// `spool.minfree.*`: free space below which mail is refused as transient failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinFree {
    /// Octets an unprivileged writer may still use; 0 switches the check off.
    pub bytes: u64,
    /// Inodes still free; 0 switches the check off.
    pub inodes: u64,
}
