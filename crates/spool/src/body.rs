//! Reading a stored body.

use std::io;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use mta_types::TransactionId;

use crate::disk::{self, DiskFile};
use crate::error::ReadError;
use crate::index::Place;
use crate::segment::format::{CommitHead, FilePart, Kind, RECORD_LEN, RecordHeader, Segment};

/// The body of a stored message. No lock is held; the octets stay readable even when the message
/// ends meanwhile.
#[derive(Debug)]
pub struct BodyReader {
    transaction: TransactionId,
    record: RecordAt,
    file: Option<FileAt>,
    /// For [`Read`]: where it is.
    at: u64,
    /// For [`Read`]: the checked part from the record.
    inline: Option<Bytes>,
    /// For [`Read`]: checksum of the file so far, and how far.
    file_crc: Hasher,
    file_read: u64,
}

/// A commit record's place, as the index had it.
#[derive(Clone, Debug)]
pub(crate) struct RecordAt {
    pub(crate) segment: Arc<Segment>,
    pub(crate) place: Place,
    pub(crate) head_len: u32,
    pub(crate) body_len: u32,
}

/// An open body file.
#[derive(Debug)]
pub(crate) struct FileAt {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) part: FilePart,
}

impl BodyReader {
    pub(crate) fn new(transaction: TransactionId, record: RecordAt, file: Option<FileAt>) -> Self {
        Self {
            transaction,
            record,
            file,
            at: 0,
            inline: None,
            file_crc: Hasher::new(),
            file_read: 0,
        }
    }

    /// Octets of the message.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::from(self.record.body_len)
            + self.file.as_ref().map_or(0, |file| file.part.len - file.part.skip)
    }

    /// Whether the message has no octets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads up to `buf.len()` octets at `offset`, unchecked; 0 means the end.
    ///
    /// # Errors
    ///
    /// [`ReadError::Disk`].
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let inline = u64::from(self.record.body_len);
        if offset < inline {
            let n = usize::try_from(inline - offset).unwrap_or(usize::MAX).min(buf.len());
            let segment = &self.record.segment;
            let at = self.record.body_at() + offset;
            return disk::read_exact_at(&*segment.file, &mut buf[..n], at)
                .map(|()| n)
                .map_err(|source| ReadError::Disk { path: segment.path.clone(), source });
        }
        let Some(file) = &self.file else { return Ok(0) };
        let at = file.part.skip.saturating_add(offset - inline).min(file.part.len);
        let n = usize::try_from(file.part.len - at).unwrap_or(usize::MAX).min(buf.len());
        disk::read_exact_at(&*file.file, &mut buf[..n], at)
            .map(|()| n)
            .map_err(|source| ReadError::Disk { path: file.path.clone(), source })
    }

    /// Reads the whole body and checks it.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read_all(&self) -> Result<Bytes, ReadError> {
        let (_, inline) = self.record.read(self.transaction)?;
        let Some(file) = &self.file else { return Ok(inline) };
        let len = usize::try_from(self.len()).unwrap_or(usize::MAX);
        let skip = usize::try_from(file.part.skip).unwrap_or(usize::MAX);
        let mut crc = Hasher::new();
        if skip > 0 {
            let mut skipped = vec![0; skip];
            file.read_exact_at(&mut skipped, 0)?;
            crc.update(&skipped);
        }
        let mut out = vec![0; len];
        out[..inline.len()].copy_from_slice(&inline);
        file.read_exact_at(&mut out[inline.len()..], file.part.skip)?;
        crc.update(&out[inline.len()..]);
        if crc.finalize() != file.part.crc {
            return Err(self.file_damaged(file));
        }
        Ok(Bytes::from(out))
    }

    fn file_damaged(&self, file: &FileAt) -> ReadError {
        ReadError::Damaged { transaction: self.transaction, path: file.path.clone(), offset: 0 }
    }

    fn read_next(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        let inline_len = u64::from(self.record.body_len);
        if self.at < inline_len || (self.file.is_none() && self.inline.is_none()) {
            let inline = match &self.inline {
                Some(inline) => inline,
                None => {
                    let (_, body) = self.record.read(self.transaction)?;
                    self.inline.insert(body)
                }
            };
            let from = usize::try_from(self.at).unwrap_or(usize::MAX);
            let rest = inline.get(from..).unwrap_or_default();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            self.at += n as u64;
            return Ok(n);
        }
        let Some(file) = &self.file else { return Ok(0) };
        // The checksum covers the octets that are skipped, too.
        while self.file_read < file.part.skip {
            let mut skipped = [0; 4096];
            let n = (file.part.skip - self.file_read).min(skipped.len() as u64) as usize;
            file.read_exact_at(&mut skipped[..n], self.file_read)?;
            self.file_crc.update(&skipped[..n]);
            self.file_read += n as u64;
        }
        let n = usize::try_from(file.part.len - self.file_read).unwrap_or(usize::MAX);
        let n = n.min(buf.len());
        file.read_exact_at(&mut buf[..n], self.file_read)?;
        self.file_crc.update(&buf[..n]);
        self.file_read += n as u64;
        // Told before the last octets are handed out, so that nobody sends a damaged end.
        if self.file_read == file.part.len && self.file_crc.clone().finalize() != file.part.crc {
            return Err(self.file_damaged(file));
        }
        self.at += n as u64;
        Ok(n)
    }
}

/// Reads from the beginning. The octets from the log are checked before the first one is given,
/// those of a body file before the last one is: a read that would give a damaged end fails with
/// [`io::ErrorKind::InvalidData`].
impl Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.read_next(buf).map_err(|error| match error {
            ReadError::Disk { source, .. } => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })
    }
}

impl RecordAt {
    fn body_at(&self) -> u64 {
        u64::from(self.place.offset) + RECORD_LEN as u64 + u64::from(self.head_len)
    }

    fn damaged(&self, transaction: TransactionId) -> ReadError {
        ReadError::Damaged {
            transaction,
            path: self.segment.path.clone(),
            offset: u64::from(self.place.offset),
        }
    }

    fn read_octets(&self, len: usize) -> Result<Vec<u8>, ReadError> {
        let mut octets = vec![0; len];
        disk::read_exact_at(&*self.segment.file, &mut octets, u64::from(self.place.offset))
            .map_err(|source| ReadError::Disk { path: self.segment.path.clone(), source })?;
        Ok(octets)
    }

    fn check(&self, transaction: TransactionId, octets: &[u8]) -> Result<RecordHeader, ReadError> {
        let head_end = RECORD_LEN + self.head_len as usize;
        let header = octets
            .first_chunk::<RECORD_LEN>()
            .zip(octets.get(RECORD_LEN..head_end))
            .filter(|(header, head)| RecordHeader::matches(header, head))
            .and_then(|(header, _)| RecordHeader::decode(header, self.segment.mark))
            .filter(|header| header.kind == Kind::Commit)
            .filter(|header| (header.head_len, header.body_len) == (self.head_len, self.body_len));
        header.ok_or_else(|| self.damaged(transaction))
    }

    /// Reads and checks the whole record; gives header and body.
    pub(crate) fn read(
        &self,
        transaction: TransactionId,
    ) -> Result<(RecordHeader, Bytes), ReadError> {
        let head_end = RECORD_LEN + self.head_len as usize;
        let octets = self.read_octets(head_end + self.body_len as usize)?;
        let header = self.check(transaction, &octets)?;
        if self.body_len > 0 && crc32fast::hash(&octets[head_end..]) != header.body_crc {
            return Err(self.damaged(transaction));
        }
        Ok((header, Bytes::from(octets).slice(head_end..)))
    }

    /// Reads and checks header and head.
    pub(crate) fn read_head(
        &self,
        transaction: TransactionId,
    ) -> Result<(RecordHeader, Bytes), ReadError> {
        let head_end = RECORD_LEN + self.head_len as usize;
        let octets = self.read_octets(head_end)?;
        let header = self.check(transaction, &octets)?;
        let head = Bytes::from(octets).slice(RECORD_LEN..);
        // What is right by its checksum was written by us; the rest is belt and braces.
        match CommitHead::decode(&head, &header) {
            Some(commit) if commit.transaction == transaction => Ok((header, head)),
            _ => Err(self.damaged(transaction)),
        }
    }
}

impl FileAt {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        disk::read_exact_at(&*self.file, buf, offset)
            .map_err(|source| ReadError::Disk { path: self.path.clone(), source })
    }
}
