//! The spool as its users see it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mta_types::{MessageId, TransactionId};

use crate::body::BodyReader;
use crate::completion::Completion;
use crate::config::Config;
use crate::draft::Draft;
use crate::error::{CommitError, DraftError, OpenError, ReadError};
use crate::message::{Commit, Durability, Recovered, StoredMessage};
use crate::platform::Platform;

/// Messages on disk, and the way in and out. Cheap to clone; all methods take `&self` and none
/// but those that say so wait for the disk.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner;

impl Spool {
    /// Opens the spool, creating its directories when missing, and gives every message found to
    /// `on_message`, newest segment first. Blocks until all are loaded.
    ///
    /// What is found damaged goes to [`Platform::on_event`]; it does not keep the spool from opening.
    ///
    /// # Errors
    ///
    /// [`OpenError`], naming the path concerned.
    pub fn open(
        config: Config,
        platform: Platform,
        on_message: &mut dyn FnMut(Recovered<'_>),
    ) -> Result<(Self, LoadReport), OpenError> {
        todo!()
    }

    /// Starts a message. `expected` is the size the peer announced, 0 when it did not.
    ///
    /// # Errors
    ///
    /// [`DraftError::Full`] when free space is below `spool.minfree`.
    pub fn draft(&self, expected: u64) -> Result<Draft, DraftError> {
        todo!()
    }

    /// Makes a message durable. The completion fires after the sync that covers it.
    pub fn commit(&self, commit: Commit) -> Completion {
        todo!()
    }

    /// As [`Spool::commit`], calling `then` on the committing thread, which everybody waits for:
    /// `then` must be short and must not block.
    pub fn commit_then(
        &self,
        commit: Commit,
        then: impl FnOnce(Result<(), CommitError>) + Send + 'static,
    ) {
        todo!()
    }

    /// Replaces the state of a row; the last one wins. Changes and ends of one row take effect in
    /// the order of the calls.
    pub fn change(&self, id: MessageId, state: Box<[u8]>, durability: Durability) -> Completion {
        todo!()
    }

    /// Ends a row. With the last one the message is gone and its space is given back in time.
    pub fn end(&self, id: MessageId, durability: Durability) -> Completion {
        todo!()
    }

    /// Ends all rows of a message.
    pub fn end_all(&self, transaction: TransactionId, durability: Durability) -> Completion {
        todo!()
    }

    /// Completes when everything asked for before is on disk.
    pub fn flush(&self) -> Completion {
        todo!()
    }

    /// Opens the body of a stored message. Reading it waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read_body(&self, transaction: TransactionId) -> Result<BodyReader, ReadError> {
        todo!()
    }

    /// Reads everything but the body of a stored message. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read_message(&self, transaction: TransactionId) -> Result<StoredMessage, ReadError> {
        todo!()
    }

    /// Writes a stored message, with the rows that have not ended, as `.hqf`. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; errors of `out` are [`ReadError::Disk`] with an empty path.
    pub fn export(&self, transaction: TransactionId, out: &mut dyn Write) -> Result<(), ReadError> {
        todo!()
    }

    /// Writes a stored message to a file that appears whole and durable, or not at all: temporary
    /// name, sync, rename, sync of the directory. An existing file is replaced. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn export_file(&self, transaction: TransactionId, path: &Path) -> Result<(), ReadError> {
        todo!()
    }

    /// Numbers for statistics and metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// Writes what waits, stops the threads and lets go of the directory. Blocks. Later calls on
    /// clones answer [`CommitError::Closed`].
    ///
    /// # Errors
    ///
    /// [`CommitError`] when the last changes could not be written.
    pub fn close(self) -> Result<(), CommitError> {
        todo!()
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
