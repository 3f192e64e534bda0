//! What the spool takes from the world: disk, clock, randomness, and an ear for its events.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mta_types::TransactionId;

use crate::disk::{Disk, real::RealDisk};

/// The monotonic clock that paces space checks and compaction.
pub trait Clock: Send + Sync {
    /// Time since some fixed point; never goes back.
    fn monotonic(&self) -> Duration;
}

/// Random numbers an outsider cannot guess.
pub trait Random: Send + Sync {
    /// Sixty-four random bits.
    fn next_u64(&self) -> u64;
}

/// Everything outside the spool that it needs.
#[derive(Clone)]
pub struct Platform {
    /// Where octets go.
    pub disk: Arc<dyn Disk>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Segment marks and file names.
    pub random: Arc<dyn Random>,
    /// Called for everything an operator should know, from any thread; it must not block long nor
    /// call back into the spool.
    pub on_event: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Platform {
    /// The real disk, the system's clock and randomness; events go to `on_event`.
    pub fn system(on_event: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self {
            disk: Arc::new(RealDisk::new()),
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(SystemRandom),
            on_event: Arc::new(on_event),
        }
    }

    pub(crate) fn emit(&self, event: Event) {
        (self.on_event)(event);
    }
}

/// Something an operator should know. The daemon turns each into one log line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Octets in a segment are not readable and good records follow, or the segment's head is
    /// gone: acknowledged mail may be lost. Level `error`.
    SegmentDamaged {
        /// The segment.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// Octets that could not be read as records.
        len: u64,
    },
    /// An unfinished write at the end of a segment was cut. This is what a power failure leaves;
    /// nothing in it had been acknowledged. Level `info`.
    TornTailCut {
        /// The segment.
        path: PathBuf,
        /// Where the good part ends.
        offset: u64,
        /// Octets dropped.
        len: u64,
    },
    /// A commit record names a body file that is not there or too short. Level `error`.
    BodyMissing {
        /// The message, which is not loaded.
        transaction: TransactionId,
        /// The file.
        path: PathBuf,
        /// The segment with the commit record.
        segment: PathBuf,
        /// The record's place in it.
        offset: u64,
    },
    /// A body file without commit record was removed: the rest of a message whose transfer was
    /// cut off, or of one that has ended. Level `info`.
    BodyRemoved {
        /// The file.
        path: PathBuf,
    },
    /// A stored message does not match its checksum. Level `error`.
    MessageDamaged {
        /// The message.
        transaction: TransactionId,
        /// The segment or body file.
        path: PathBuf,
        /// Where its record or body begins.
        offset: u64,
    },
    /// Two different messages with one id were found; the older one was dropped. Level `error`.
    DuplicateTransaction {
        /// The id.
        transaction: TransactionId,
        /// The segment with the older record.
        path: PathBuf,
        /// The record's place in it.
        offset: u64,
    },
    /// A damaged segment was put aside or removed after its good records were saved. Level `warn`.
    SegmentDiscarded {
        /// The segment.
        path: PathBuf,
        /// Where it was moved; `None` when removed.
        kept: Option<PathBuf>,
    },
    /// The disk refused a write or sync; the segment is closed and everybody who waited was told.
    /// Level `error`.
    WriteFailed {
        /// The segment.
        path: PathBuf,
        /// What failed, with the system's words.
        error: String,
    },
    /// Work in the background failed and will be tried again. Level `warn`.
    BackgroundFailed {
        /// What was tried.
        action: &'static str,
        /// The object.
        path: PathBuf,
        /// The system's words.
        error: String,
    },
    /// A segment was rewritten and freed. Level `debug`.
    SegmentCompacted {
        /// The segment.
        path: PathBuf,
        /// Octets of live records moved.
        moved: u64,
    },
}

/// The system's monotonic clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The kernel's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn next_u64(&self) -> u64 {
        let mut out = [0_u8; 8];
        let flags = rustix::rand::GetRandomFlags::empty();
        let mut filled = 0;
        while filled < out.len() {
            match rustix::rand::getrandom(&mut out[filled..], flags) {
                Ok(n) => filled += n,
                Err(rustix::io::Errno::INTR) => {}
                // A kernel without getrandom(2): std seeds its hash keys from what there is.
                Err(_) => {
                    use std::hash::{BuildHasher, Hasher};
                    return std::hash::RandomState::new().build_hasher().finish();
                }
            }
        }
        u64::from_le_bytes(out)
    }
}
