//! Making segments, gathering records for one write, and sealing.

use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::format::{
    ALIGN, DATA_START, FLAG_INDEX, HEADER_COPY_AT, HEADER_LEN, Kind, RECORD_LEN, RecordHeader,
    Segment, SegmentHeader, TRAILER_LEN, encode_trailer, record_len,
};
use crate::disk::{self, DiskFile};
use crate::platform::Platform;

/// Pieces of a body up to this size are copied beside their record's header: cheaper than a slice
/// of their own in the vectored write.
const COPY_BELOW: usize = 512;

/// Share of a segment its index may take, as 1/n. Past it the records are so small that reading
/// them is no slower than reading the index.
const INDEX_SHARE: u64 = 8;

/// How the blocks of a new segment come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Reserved: there at once, but the first sync of each block must also journal that it is
    /// written now.
    Reserve,
    /// Written with zeros: slower to make, faster at every sync afterwards.
    Zeros,
}

/// Makes a file that can become a segment.
pub(crate) fn create_spare(
    platform: &Platform,
    path: &Path,
    len: u64,
    fill: Fill,
    fsync: bool,
) -> io::Result<Arc<dyn DiskFile>> {
    let file = platform.disk.create(path)?;
    let filled = match fill {
        Fill::Reserve => file.allocate(len),
        Fill::Zeros => write_zeros(&*file, len, fsync),
    };
    match filled {
        Ok(()) => Ok(file),
        Err(error) => {
            // What cannot be removed now is found at the next start.
            drop(platform.disk.remove(path));
            Err(error)
        }
    }
}

fn write_zeros(file: &dyn DiskFile, len: u64, fsync: bool) -> io::Result<()> {
    const STEP: usize = 1 << 20;
    file.allocate(len)?;
    let zeros = vec![0; STEP.min(usize::try_from(len).unwrap_or(STEP))];
    let mut at = 0;
    while at < len {
        let n = (len - at).min(zeros.len() as u64) as usize;
        disk::write_all_at(file, &mut [IoSlice::new(&zeros[..n])], at)?;
        at += n as u64;
        // Step by step, or the commits of a busy server would queue behind the whole segment.
        if fsync && at < len {
            file.sync()?;
        }
    }
    Ok(())
}

/// Turns a spare file into a segment: header, sync, name, sync of the directory, in this order, so
/// that a file with a segment's name always has a segment's header.
pub(crate) fn activate(
    platform: &Platform,
    file: Arc<dyn DiskFile>,
    spare: &Path,
    path: PathBuf,
    header: SegmentHeader,
    fsync: bool,
) -> io::Result<Segment> {
    let octets = header.encode();
    let mut page = vec![0; DATA_START as usize];
    page[..HEADER_LEN].copy_from_slice(&octets);
    page[HEADER_COPY_AT as usize..HEADER_COPY_AT as usize + HEADER_LEN].copy_from_slice(&octets);
    disk::write_all_at(&*file, &mut [IoSlice::new(&page)], 0)?;
    if fsync {
        file.sync()?;
    }
    platform.disk.rename(spare, &path)?;
    if fsync && let Some(dir) = path.parent() {
        platform.disk.sync_dir(dir)?;
    }
    Ok(Segment { id: header.id, mark: header.mark, path, file })
}

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    /// Octets the records may reach.
    pub(crate) capacity: u64,
    /// Where the next record goes.
    pub(crate) tail: u64,
    /// Everything before is safe.
    pub(crate) synced: u64,
    index: Option<Vec<u8>>,
}

impl Active {
    pub(crate) fn new(segment: Arc<Segment>, capacity: u64) -> Self {
        Self { segment, capacity, tail: DATA_START, synced: DATA_START, index: Some(Vec::new()) }
    }

    /// What sealing needs; the index stays behind.
    pub(crate) fn into_seal(self, next_seq: u64) -> SealJob {
        SealJob { segment: self.segment, tail: self.tail, index: self.index, seq: next_seq }
    }

    fn note(&mut self, offset: u64, header: &[u8; RECORD_LEN], head: &[u8]) {
        let Some(index) = &mut self.index else { return };
        if (index.len() + head.len() + RECORD_LEN + 4) as u64 > self.capacity / INDEX_SHARE {
            self.index = None;
            return;
        }
        index.extend_from_slice(&((offset / ALIGN) as u32).to_le_bytes());
        index.extend_from_slice(header);
        index.extend_from_slice(head);
    }
}

/// Records gathered for one write.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Headers, heads, small pieces and padding.
    small: Vec<u8>,
    parts: Vec<Part>,
    len: u64,
}

#[derive(Debug)]
enum Part {
    /// Octets of `small` up to here, from where the part before ended.
    Small(usize),
    Piece(Bytes),
}

/// A record to be gathered. `synced` is filled in.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) head: &'a [u8],
    pub(crate) pieces: &'a [Bytes],
    pub(crate) body_crc: u32,
}

impl Batch {
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn clear(&mut self) {
        self.small.clear();
        self.parts.clear();
        self.len = 0;
    }

    /// Adds a record behind those gathered; says its offset and length. The caller has made sure
    /// that it fits.
    pub(crate) fn push(&mut self, active: &mut Active, record: &Record<'_>) -> (u64, u64) {
        let body_len: usize = record.pieces.iter().map(Bytes::len).sum();
        let header = RecordHeader {
            seq: record.seq,
            kind: record.kind,
            flags: record.flags,
            // A record fits a segment, which is at most 1 GiB.
            head_len: record.head.len() as u32,
            body_len: body_len as u32,
            synced: active.synced,
            body_crc: record.body_crc,
        };
        let octets = header.encode(active.segment.mark, record.head);
        let offset = active.tail + self.len;
        active.note(offset, &octets, record.head);
        self.small.extend_from_slice(&octets);
        self.small.extend_from_slice(record.head);
        for piece in record.pieces {
            if piece.len() <= COPY_BELOW {
                self.small.extend_from_slice(piece);
            } else {
                self.parts.push(Part::Small(self.small.len()));
                self.parts.push(Part::Piece(piece.clone()));
            }
        }
        let len = header.record_len();
        let padding = len as usize - RECORD_LEN - record.head.len() - body_len;
        self.small.extend_from_slice(&[0; ALIGN as usize][..padding]);
        self.len += len;
        (offset, len)
    }

    /// Writes what was gathered at the segment's tail and moves the tail.
    pub(crate) fn write(&self, active: &mut Active) -> io::Result<()> {
        let mut slices = Vec::with_capacity(self.parts.len() + 1);
        let mut from = 0;
        for part in &self.parts {
            match part {
                Part::Small(to) => {
                    slices.push(IoSlice::new(&self.small[from..*to]));
                    from = *to;
                }
                Part::Piece(piece) => slices.push(IoSlice::new(piece)),
            }
        }
        slices.push(IoSlice::new(&self.small[from..]));
        disk::write_all_at(&*active.segment.file, &mut slices, active.tail)?;
        active.tail += self.len;
        Ok(())
    }
}

/// A segment whose last record has been written.
#[derive(Debug)]
pub(crate) struct SealJob {
    pub(crate) segment: Arc<Segment>,
    pub(crate) tail: u64,
    index: Option<Vec<u8>>,
    seq: u64,
}

impl SealJob {
    /// Writes the seal with the index, then the trailer that leads to it. All records before are
    /// safe already; a seal that does not survive only makes the next start slower.
    pub(crate) fn seal(self, fsync: bool) -> io::Result<()> {
        let file = &*self.segment.file;
        let (flags, index) = match &self.index {
            Some(index) => (FLAG_INDEX, &index[..]),
            None => (0, &[][..]),
        };
        let header = RecordHeader {
            seq: self.seq,
            kind: Kind::Seal,
            flags,
            head_len: 0,
            body_len: index.len() as u32,
            synced: self.tail,
            body_crc: crc32fast::hash(index),
        };
        let octets = header.encode(self.segment.mark, &[]);
        let end = self.tail + record_len(0, index.len() as u64) + TRAILER_LEN;
        let end = end.max(file.len()?);
        disk::write_all_at(file, &mut [IoSlice::new(&octets), IoSlice::new(index)], self.tail)?;
        let trailer = encode_trailer(self.segment.mark, self.tail);
        disk::write_all_at(file, &mut [IoSlice::new(&trailer)], end - TRAILER_LEN)?;
        if fsync {
            file.sync()?;
        }
        Ok(())
    }
}
