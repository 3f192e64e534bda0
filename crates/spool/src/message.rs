//! What goes into the spool and comes out of it: messages with rows, as opaque octets.

use std::sync::Arc;

use bytes::Bytes;
use mta_types::{QueueId, TransactionId};

use crate::draft::{Draft, DraftFile, MemoryShare, SharedDraft};

/// One message to be made durable.
#[derive(Debug)]
pub struct Commit {
    /// Its identity; must not be in the spool yet.
    pub transaction: TransactionId,
    /// Envelope and whatever else is kept per message, in the caller's encoding.
    pub metadata: Box<[u8]>,
    /// One row per queued recipient, at least one, every number once.
    pub rows: Vec<NewRow>,
    /// The message itself.
    pub body: Body,
}

/// One queued recipient of a new message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// Its number within the transaction. `u32::MAX` is not allowed.
    pub queue: QueueId,
    /// What stays as it is while the row lives, in the caller's encoding.
    pub row: Box<[u8]>,
    /// What [`Spool::change`](crate::Spool::change) replaces; may be empty.
    pub state: Box<[u8]>,
}

/// The octets of a message: pieces from memory, then what a draft holds in its file.
#[derive(Debug, Default)]
pub struct Body {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) file: Option<Arc<DraftFile>>,
    /// Octets at the file's beginning that are not part of the message.
    pub(crate) file_skip: u64,
    pub(crate) share: Option<Arc<MemoryShare>>,
    /// The draft has lost octets; the commit is refused.
    pub(crate) is_broken: bool,
}

impl Body {
    /// The draft as it was received, with `prefix` (added header fields) before it. Nothing is
    /// copied.
    #[must_use]
    pub fn from_draft(prefix: Bytes, draft: Draft) -> Self {
        Self::replace_start(prefix, 0, draft)
    }

    /// The draft with its first `skip` octets replaced by `start`: how an edited header goes in
    /// front of an unchanged body. Nothing is copied. A `skip` past the end leaves `start` alone.
    #[must_use]
    pub fn replace_start(start: Bytes, skip: u64, draft: Draft) -> Self {
        let is_broken = draft.is_broken();
        Self { is_broken, ..Self::replace_start_of(vec![start], skip, &draft.into_shared()) }
    }

    /// A shared draft with its first `skip` octets replaced by `start`. Nothing is copied: bodies
    /// made of one large draft share its file, which goes when the last of their messages has ended.
    ///
    /// Bodies that share a file have to be committed together, with
    /// [`Spool::commit_all`](crate::Spool::commit_all).
    #[must_use]
    pub fn replace_start_of(start: Vec<Bytes>, skip: u64, draft: &SharedDraft) -> Self {
        let mut body = Self { pieces: start, ..Self::default() };
        body.pieces.retain(|piece| !piece.is_empty());
        if let Some(file) = &draft.file {
            // A body that has nothing of the file does not need it.
            if skip < file.len {
                body.file_skip = skip;
                body.file = Some(Arc::clone(file));
            }
        } else {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(draft.memory.len());
            let rest = draft.memory.slice(skip..);
            if !rest.is_empty() {
                body.pieces.push(rest);
            }
            body.share = Some(Arc::clone(&draft.share));
        }
        body
    }

    /// These octets, in this order. Pieces beyond `inline_bytes` in sum are written to a file
    /// before the commit.
    #[must_use]
    pub fn from_pieces(pieces: Vec<Bytes>) -> Self {
        Self { pieces, ..Self::default() }
    }

    /// The pieces of a message that is all in memory; sharing them copies nothing.
    #[must_use]
    pub fn memory_pieces(&self) -> Option<Vec<Bytes>> {
        self.file.is_none().then(|| self.pieces.clone())
    }

    /// Octets of the message.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pieces_len() + self.file.as_ref().map_or(0, |file| file.len - self.file_skip)
    }

    /// Whether the message has no octets at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn pieces_len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// Whether a sync is made for a change or end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It goes out with the next sync, or after `lazy_delay` at the latest. After a power failure
    /// in between, the row is as it was before: a delivered row may be delivered again.
    Lazy,
    /// A sync is made for it at once.
    Awaited,
}

/// A message found at start, lent to the loader's callback.
#[derive(Debug)]
pub struct Recovered<'a> {
    /// Its identity.
    pub transaction: TransactionId,
    /// As given to [`Commit::metadata`].
    pub metadata: &'a [u8],
    /// The rows that have not ended, at least one.
    pub rows: &'a [RecoveredRow<'a>],
    /// Octets of the message.
    pub body_len: u64,
}

/// A row found at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredRow<'a> {
    /// Its number within the transaction.
    pub queue: QueueId,
    /// As given to [`NewRow::row`].
    pub row: &'a [u8],
    /// The state written last.
    pub state: &'a [u8],
}

/// A stored message without its body, read back from disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its identity.
    pub transaction: TransactionId,
    /// As given to [`Commit::metadata`].
    pub metadata: Bytes,
    /// The rows that have not ended.
    pub rows: Vec<StoredRow>,
    /// Octets of the message.
    pub body_len: u64,
}

/// A row read back from disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Its number within the transaction.
    pub queue: QueueId,
    /// As given to [`NewRow::row`].
    pub row: Bytes,
    /// The state written last.
    pub state: Bytes,
}
