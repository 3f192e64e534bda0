//! The content of a message that comes in: the draft as scripts read it, and the bodies made of it.
//!
//! The draft is never rewritten. A copy that a script queues keeps which pieces of it, and which new
//! octets, it consists of; copies that agree in this are one [`Variant`](script_host::hooks::eod::Variant) and share one stored body.
//! Variants that differ in their start only, as with other header fields, share the octets behind.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hsl_std::mime::{MessageHandle, SharedMessage};
use hsl_std::services::FileContent;
use mail_message::{Output, Piece};
use parking_lot::Mutex;
use spool::{Body, DraftError, SharedDraft, Spool};

/// Makes a message of a draft; of a large one only the header is read.
///
/// # Errors
///
/// Those of the draft's file.
pub(crate) fn message_of(draft: &SharedDraft) -> io::Result<MessageHandle> {
    let message = match draft.in_memory() {
        Some(octets) => SharedMessage::from_octets(octets.clone()),
        None => SharedMessage::from_content(Arc::new(DraftContent(draft.clone())))?,
    };
    Ok(Arc::new(Mutex::new(message)))
}

/// How many `Received` fields the message has, for loop protection.
pub(crate) fn received_fields(message: &MessageHandle) -> u32 {
    let message = message.lock();
    let message = message.message();
    let count = message.header().named(message.text(), b"Received").count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The decoded subject of a message in memory.
pub(crate) fn subject_of(octets: &Bytes) -> Option<String> {
    SharedMessage::from_octets(octets.clone()).subject()
}

struct DraftContent(SharedDraft);

impl FileContent for DraftContent {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset).map_err(io::Error::other)
    }
}

/// The bodies of several variants of one draft, each behind a trace field of its own.
///
/// Copies octets only where a change lies deep in a large message. May write to the disk.
///
/// # Errors
///
/// [`DraftError`] when the disk fails or is full.
pub(crate) fn bodies(
    spool: &Spool,
    draft: SharedDraft,
    variants: &[(Bytes, &Output)],
) -> Result<Vec<Body>, DraftError> {
    let is_small = draft.len().saturating_mul(variants.len() as u64) <= REPEATED_IN_LOG;
    let draft = if variants.len() < 2 || is_small { draft } else { draft.into_file()? };
    variants.iter().map(|(trace, output)| body(spool, &draft, trace.clone(), output)).collect()
}

fn body(
    spool: &Spool,
    draft: &SharedDraft,
    trace: Bytes,
    output: &Output,
) -> Result<Body, DraftError> {
    let replacement = output.replacement();
    let start_len: u64 = replacement.start.iter().map(Piece::len).sum();
    if start_len <= START_IN_LOG {
        let mut start = vec![trace];
        for piece in &replacement.start {
            start.push(octets_of(draft, piece)?);
        }
        return Ok(Body::replace_start_of(start, replacement.skip, draft));
    }
    let mut changed = spool.draft(output.len())?;
    let mut buffer = Vec::new();
    for piece in output.pieces() {
        match piece {
            Piece::Inserted(octets) => changed.write(octets)?,
            Piece::Original(range) => {
                let mut at = range.start;
                while at < range.end {
                    let wanted = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
                    buffer.resize(wanted, 0);
                    let count = draft.read_at(&mut buffer, at)?;
                    let Some(octets) = buffer.get(..count).filter(|read| !read.is_empty()) else {
                        break;
                    };
                    changed.write(octets)?;
                    at += count as u64;
                }
            }
        }
    }
    Ok(Body::from_draft(trace, changed))
}

fn octets_of(draft: &SharedDraft, piece: &Piece) -> Result<Bytes, DraftError> {
    let range = match piece {
        Piece::Inserted(octets) => return Ok(octets.clone()),
        Piece::Original(range) => range,
    };
    let len = usize::try_from(piece.len()).unwrap_or(usize::MAX);
    if let Some(octets) = draft.in_memory() {
        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(octets.len());
        return Ok(octets.slice(start..start.saturating_add(len).min(octets.len())));
    }
    let mut octets = vec![0; len];
    let count = draft.read_at(&mut octets, range.start)?;
    octets.truncate(count);
    Ok(octets.into())
}

/// Octets of a changed start that go into the log with the record; a longer one is written to a
/// file with all that follows.
const START_IN_LOG: u64 = 256 << 10;

/// Octets that several variants may write to the log by repeating a message; more, and it is put
/// into a file that they share.
const REPEATED_IN_LOG: u64 = 4 << 20;

/// Octets copied at once.
const CHUNK: usize = 128 << 10;
