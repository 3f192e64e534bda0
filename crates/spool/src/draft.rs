//! A message being received: in memory while small, in a file of its own when it grows.
//!
//! All drafts share one memory budget; when it is used up, further octets go to files. A draft
//! that is dropped leaves nothing behind, and one that a crash leaves is removed at the next start,
//! because no commit record names its file.

use std::io;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;
use parking_lot::Mutex;

use crate::disk::{self, Disk, DiskFile};
use crate::error::DraftError;
use crate::platform::Platform;
use crate::segment::format::BodyName;
use crate::space::SpaceGuard;

/// Octets gathered before they are written to the draft's file.
const FILE_BUFFER: usize = 32 << 10;

/// Most that is reserved because a peer announced a size.
const HINT_BYTES: u64 = 64 << 10;

/// What all drafts of a spool share.
pub(crate) struct DraftRoom {
    pub(crate) platform: Platform,
    pub(crate) bodies: PathBuf,
    pub(crate) space: Arc<SpaceGuard>,
    pub(crate) inline_bytes: u64,
    pub(crate) memory: Arc<Budget>,
}

/// A message being received. Written to from one task, read back by offset.
pub struct Draft {
    room: Arc<DraftRoom>,
    /// All octets, or those not yet written to `file`.
    buffer: BytesMut,
    file: Option<DraftFile>,
    len: u64,
    share: MemoryShare,
    /// A write has failed; what came after it is missing, so the draft can no longer be used.
    is_broken: bool,
}

impl Draft {
    pub(crate) fn new(room: Arc<DraftRoom>, expected: u64) -> Self {
        let share = MemoryShare { budget: Arc::clone(&room.memory), taken: 0 };
        let mut draft =
            Self { room, buffer: BytesMut::new(), file: None, len: 0, share, is_broken: false };
        // A hint from a peer is worth one allocation of the usual size, not more.
        let hint = usize::try_from(expected.min(HINT_BYTES)).unwrap_or(0);
        if expected <= draft.room.inline_bytes && draft.share.grow_to(hint as u64) {
            draft.buffer.reserve(hint);
        }
        draft
    }

    /// Appends octets.
    ///
    /// It may write to the disk when the draft is large, which takes as long as the page cache
    /// needs; no sync is made.
    ///
    /// # Errors
    ///
    /// [`DraftError`]; the draft can then only be dropped: every later write fails as well.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), DraftError> {
        if self.is_broken {
            return Err(self.broken());
        }
        let result = self.take(octets);
        self.is_broken = result.is_err();
        result
    }

    fn take(&mut self, octets: &[u8]) -> Result<(), DraftError> {
        if self.file.is_none() {
            let wanted = self.buffer.len() + octets.len();
            if wanted as u64 <= self.room.inline_bytes && self.make_room(wanted) {
                self.buffer.extend_from_slice(octets);
                self.len += octets.len() as u64;
                return Ok(());
            }
            self.create_file()?;
        }
        self.len += octets.len() as u64;
        if self.buffer.len() + octets.len() > FILE_BUFFER {
            self.flush_with(octets)?;
        } else {
            self.buffer.extend_from_slice(octets);
        }
        Ok(())
    }

    /// Octets received so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All octets, while they are in memory; `None` once the draft has a file.
    #[must_use]
    pub fn in_memory(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(&self.buffer[..])
    }

    /// Reads up to `buf.len()` octets at `offset`; 0 means the end.
    ///
    /// # Errors
    ///
    /// [`DraftError::Disk`] when the draft's file cannot be read.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, DraftError> {
        let buffered_from = self.len - self.buffer.len() as u64;
        if offset >= buffered_from {
            let skip = usize::try_from(offset - buffered_from).unwrap_or(usize::MAX);
            let rest = self.buffer.get(skip..).unwrap_or_default();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            return Ok(n);
        }
        let Some(file) = &self.file else { return Ok(0) };
        let n = usize::try_from(buffered_from - offset).unwrap_or(usize::MAX).min(buf.len());
        disk::read_exact_at(&*file.file, &mut buf[..n], offset).map_err(|source| {
            DraftError::Disk { action: "read", path: file.path.clone(), source }
        })?;
        Ok(n)
    }

    /// Takes the first `len` octets (or all, when there are fewer) as one piece. For a draft in
    /// memory this is a copy as well; see [`Draft::in_memory`].
    ///
    /// # Errors
    ///
    /// [`DraftError::Disk`] when the draft's file cannot be read.
    pub fn read_start(&self, len: u64) -> Result<Vec<u8>, DraftError> {
        let mut out = vec![0; usize::try_from(len.min(self.len)).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while filled < out.len() {
            let n = self.read_at(&mut out[filled..], filled as u64)?;
            if n == 0 {
                break;
            }
            filled += n;
        }
        out.truncate(filled);
        Ok(out)
    }

    /// Writes what is buffered to the file of a large draft, so that the commit need not.
    ///
    /// # Errors
    ///
    /// As [`Draft::write`].
    pub fn finish(&mut self) -> Result<(), DraftError> {
        if self.is_broken {
            return Err(self.broken());
        }
        if self.file.is_some() && !self.buffer.is_empty() {
            let result = self.flush_with(&[]);
            self.is_broken = result.is_err();
            return result;
        }
        Ok(())
    }

    /// Ends the reception: the message can be read and be shared by several bodies.
    ///
    /// # Errors
    ///
    /// As [`Draft::write`].
    pub fn share(mut self) -> Result<SharedDraft, DraftError> {
        self.finish()?;
        Ok(self.into_shared())
    }

    /// As [`Draft::share`]; what is buffered for a file is written when that is made safe.
    pub(crate) fn into_shared(mut self) -> SharedDraft {
        let file = self.file.take().map(|mut file| {
            file.len = self.len;
            let state = file.state.get_mut();
            state.tail = std::mem::take(&mut self.buffer).freeze();
            state.is_broken = self.is_broken;
            Arc::new(file)
        });
        let (memory, share) = (self.buffer.freeze(), Arc::new(self.share));
        SharedDraft { memory, file, share, room: self.room }
    }

    /// Whether a write has failed, so that octets are missing.
    pub(crate) const fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Grows the buffer within the shared budget; `false` when the budget is used up.
    fn make_room(&mut self, wanted: usize) -> bool {
        if wanted <= self.buffer.capacity() {
            return true;
        }
        let limit = usize::try_from(self.room.inline_bytes).unwrap_or(usize::MAX);
        let size = wanted.next_power_of_two().max(4096).min(limit.max(wanted));
        if !self.share.grow_to(size as u64) {
            return false;
        }
        self.buffer.reserve(size - self.buffer.len());
        true
    }

    fn create_file(&mut self) -> Result<(), DraftError> {
        self.room.space.check().map_err(|()| self.full())?;
        let random = &self.room.platform.random;
        let name = BodyName([random.next_u64(), random.next_u64()]);
        let path = self.room.bodies.join(name.file_name());
        let file = match self.room.platform.disk.create(&path) {
            Ok(file) => file,
            Err(source) => return Err(self.failed("create", path, source)),
        };
        self.file = Some(DraftFile::new(name, path, file, &self.room));
        self.flush_with(&[])?;
        // The first buffer may have been as large as the threshold.
        self.buffer = BytesMut::new();
        self.share.shrink_to(0);
        Ok(())
    }

    /// Writes the buffer and then `octets` to the file.
    fn flush_with(&mut self, octets: &[u8]) -> Result<(), DraftError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        match file.state.get_mut().append(&*file.file, &[&self.buffer, octets]) {
            Ok(()) => {
                self.buffer.clear();
                Ok(())
            }
            Err(source) => {
                let path = file.path.clone();
                Err(self.failed("write", path, source))
            }
        }
    }

    fn failed(&self, action: &'static str, path: PathBuf, source: io::Error) -> DraftError {
        if crate::space::is_full(&source) {
            return self.full();
        }
        DraftError::Disk { action, path, source }
    }

    fn full(&self) -> DraftError {
        DraftError::Full { path: self.room.bodies.clone() }
    }

    fn broken(&self) -> DraftError {
        DraftError::Disk {
            action: "write",
            path: self.file.as_ref().map_or_else(|| self.room.bodies.clone(), |f| f.path.clone()),
            source: io::Error::other("an earlier write failed"),
        }
    }
}

/// A message that was received whole, to be read and to become the body of one or more messages.
///
/// Clones share the octets. What nobody commits leaves nothing behind once the last clone is gone.
#[derive(Clone)]
pub struct SharedDraft {
    /// Its octets, while they are in memory.
    pub(crate) memory: Bytes,
    pub(crate) file: Option<Arc<DraftFile>>,
    pub(crate) share: Arc<MemoryShare>,
    pub(crate) room: Arc<DraftRoom>,
}

impl SharedDraft {
    /// The same in a file, so that many bodies made of it hold its octets once.
    ///
    /// # Errors
    ///
    /// [`DraftError`] when the file cannot be written.
    pub fn into_file(self) -> Result<Self, DraftError> {
        if self.file.is_some() {
            return Ok(self);
        }
        let full = || DraftError::Full { path: self.room.bodies.clone() };
        self.room.space.check().map_err(|()| full())?;
        let pieces = std::slice::from_ref(&self.memory);
        match DraftFile::from_pieces(&self.room, pieces) {
            Ok(file) => Ok(Self { memory: Bytes::new(), file: Some(Arc::new(file)), ..self }),
            Err((_, source)) if crate::space::is_full(&source) => Err(full()),
            Err((path, source)) => Err(DraftError::Disk { action: "write", path, source }),
        }
    }

    /// Octets of the message.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.file.as_ref().map_or(self.memory.len() as u64, |file| file.len)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All octets, while they are in memory; `None` for a message with a file.
    #[must_use]
    pub fn in_memory(&self) -> Option<&Bytes> {
        self.file.is_none().then_some(&self.memory)
    }

    /// Reads up to `buf.len()` octets at `offset`, less only at the end.
    ///
    /// # Errors
    ///
    /// [`DraftError::Disk`] when the file cannot be read.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, DraftError> {
        let rest = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let n = rest.min(buf.len());
        let Some(buf) = buf.get_mut(..n).filter(|buf| !buf.is_empty()) else { return Ok(0) };
        match &self.file {
            Some(file) => disk::read_exact_at(&*file.file, buf, offset).map_err(|source| {
                DraftError::Disk { action: "read", path: file.path.clone(), source }
            })?,
            None => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                if let Some(octets) = self.memory.get(from..).and_then(|rest| rest.get(..n)) {
                    buf.copy_from_slice(octets);
                }
            }
        }
        Ok(n)
    }
}

impl std::fmt::Debug for SharedDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedDraft")
            .field("len", &self.len())
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("len", &self.len)
            .field("file", &self.file.as_ref().map(|file| &file.path))
            .finish_non_exhaustive()
    }
}

/// The file of a large body; removed when the last who has it drops it before a commit record
/// names it.
pub(crate) struct DraftFile {
    pub(crate) name: BodyName,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Octets of the body, those still in the tail included.
    pub(crate) len: u64,
    disk: Arc<dyn Disk>,
    /// Held while the file is made safe, so that whoever shares it waits for that.
    state: Mutex<FileState>,
}

struct FileState {
    written: u64,
    tail: Bytes,
    crc: Hasher,
    /// The checksum, once the octets are safe.
    settled: Option<u32>,
    is_kept: bool,
    is_broken: bool,
}

impl DraftFile {
    fn new(name: BodyName, path: PathBuf, file: Arc<dyn DiskFile>, room: &DraftRoom) -> Self {
        let state = FileState {
            written: 0,
            tail: Bytes::new(),
            crc: Hasher::new(),
            settled: None,
            is_kept: false,
            is_broken: false,
        };
        let disk = Arc::clone(&room.platform.disk);
        Self { name, path, file, len: 0, disk, state: Mutex::new(state) }
    }

    /// Writes pieces at once into a new file.
    pub(crate) fn from_pieces(
        room: &DraftRoom,
        pieces: &[Bytes],
    ) -> Result<Self, (PathBuf, io::Error)> {
        let random = &room.platform.random;
        let name = BodyName([random.next_u64(), random.next_u64()]);
        let path = room.bodies.join(name.file_name());
        let file = room.platform.disk.create(&path).map_err(|error| (path.clone(), error))?;
        let mut out = Self::new(name, path, file, room);
        for piece in pieces {
            let state = out.state.get_mut();
            if let Err(error) = state.append(&*out.file, &[piece]) {
                return Err((out.path.clone(), error));
            }
        }
        out.len = out.state.get_mut().written;
        Ok(out)
    }

    /// Writes what is left and makes the octets safe; says their checksum. The name is made safe
    /// by the caller, who syncs the directory. Of those who share the file the first does the work.
    pub(crate) fn settle(&self, fsync: bool) -> io::Result<u32> {
        let mut state = self.state.lock();
        if let Some(crc) = state.settled {
            return Ok(crc);
        }
        if state.is_broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        let tail = std::mem::take(&mut state.tail);
        let done = state
            .append(&*self.file, &[&tail])
            .and_then(|()| if fsync { self.file.sync() } else { Ok(()) });
        if let Err(error) = done {
            // What a second try would find is not known: see "After a failed write or sync".
            state.is_broken = true;
            return Err(error);
        }
        let crc = state.crc.clone().finalize();
        state.settled = Some(crc);
        Ok(crc)
    }

    /// A commit record names the file now: it stays.
    pub(crate) fn keep(&self) {
        self.state.lock().is_kept = true;
    }
}

impl FileState {
    fn append(&mut self, file: &dyn DiskFile, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        disk::write_all_at(file, &mut slices, self.written)?;
        for part in parts {
            self.crc.update(part);
            self.written += part.len() as u64;
        }
        Ok(())
    }
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        if !self.state.get_mut().is_kept {
            // A file that cannot be removed now is removed at the next start.
            drop(self.disk.remove(&self.path));
        }
    }
}

impl std::fmt::Debug for DraftFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DraftFile").field("path", &self.path).field("len", &self.len).finish()
    }
}

/// Memory all drafts may use together.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, octets: u64) -> bool {
        // Relaxed: a counter that orders nothing else.
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(octets).filter(|sum| *sum <= self.limit)
            })
            .is_ok()
    }
}

/// One draft's part of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    budget: Arc<Budget>,
    taken: u64,
}

impl MemoryShare {
    fn grow_to(&mut self, octets: u64) -> bool {
        if octets > self.taken {
            if !self.budget.take(octets - self.taken) {
                return false;
            }
            self.taken = octets;
        }
        true
    }

    fn shrink_to(&mut self, octets: u64) {
        if octets < self.taken {
            self.budget.used.fetch_sub(self.taken - octets, Ordering::Relaxed);
            self.taken = octets;
        }
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
