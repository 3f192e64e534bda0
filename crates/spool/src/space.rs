//! The guard over free space: refuses new mail below `spool.minfree`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::MinFree;
use crate::platform::Platform;

/// How long an answer of the file system is believed. Short enough that a burst cannot fill a
/// reserve of some hundred megabytes, long enough that no message pays for it.
const BELIEVED_FOR: Duration = Duration::from_millis(500);

/// Answers whether there is room for mail.
pub(crate) struct SpaceGuard {
    platform: Platform,
    dir: PathBuf,
    minfree: MinFree,
    last: Mutex<Option<(Duration, bool)>>,
}

impl SpaceGuard {
    pub(crate) fn new(platform: Platform, dir: PathBuf, minfree: MinFree) -> Self {
        Self { platform, dir, minfree, last: Mutex::new(None) }
    }

    /// `Err` when free space is below the limit. A file system that does not answer is taken as
    /// one with room: the write itself will tell.
    pub(crate) fn check(&self) -> Result<(), ()> {
        if self.minfree == MinFree::default() {
            return Ok(());
        }
        let now = self.platform.clock.monotonic();
        let mut last = self.last.lock();
        let has_room = match *last {
            Some((at, has_room)) if now.saturating_sub(at) < BELIEVED_FOR => has_room,
            _ => {
                let has_room = self.platform.disk.free_space(&self.dir).map_or(true, |free| {
                    free.bytes >= self.minfree.bytes && free.inodes >= self.minfree.inodes
                });
                *last = Some((now, has_room));
                has_room
            }
        };
        if has_room { Ok(()) } else { Err(()) }
    }
}

/// Whether an error says that disk, quota or inode table is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
