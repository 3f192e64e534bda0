//! Finding the records of a segment again, whatever has happened to it.
//!
//! A sealed segment with an index is read by its index alone. Otherwise every record is read and
//! checked; behind a place that is no record the reader looks for the segment's mark and goes on.

use std::io;

use crc32fast::Hasher;

use super::format::{
    ALIGN, DATA_START, FLAG_INDEX, HEADER_COPY_AT, HEADER_LEN, Kind, RECORD_LEN, RecordHeader,
    SegmentHeader, TRAILER_LEN, decode_trailer,
};
use crate::disk::{self, DiskFile};

/// Octets read at once.
const CHUNK: usize = 1 << 20;

/// Everything found in one segment.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) records: Vec<Found>,
    /// Heads of the records, one after the other.
    heads: Vec<u8>,
    /// Places that are no records although records or their beginning were there.
    pub(crate) bad: Vec<BadRange>,
    /// Where records end.
    pub(crate) end: u64,
    /// Whether the segment was closed in order, so that nothing in it was unfinished.
    pub(crate) is_sealed: bool,
    /// Highest offset known to have been safe.
    pub(crate) synced: u64,
}

impl Scan {
    /// The head of a found record.
    pub(crate) fn head(&self, found: &Found) -> &[u8] {
        // `Found` values come from this scan only, with ranges inside `heads`.
        &self.heads[found.head_at..found.head_at + found.header.head_len as usize]
    }
}

/// A record's place and header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) header: RecordHeader,
    /// `false` when header and head are good and the body is not.
    pub(crate) is_body_good: bool,
    head_at: usize,
}

/// Octets that are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRange {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Reads a segment's header, from its second copy if need be. `Ok(None)` when neither is good.
pub(crate) fn read_header(file: &dyn DiskFile) -> io::Result<Result<Option<SegmentHeader>, u16>> {
    let mut newer = None;
    for at in [0, HEADER_COPY_AT] {
        let mut octets = [0; HEADER_LEN];
        match disk::read_exact_at(file, &mut octets, at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        match SegmentHeader::decode(&octets) {
            Ok(None) => {}
            Ok(Some(header)) => return Ok(Ok(Some(header))),
            Err(version) => newer = Some(version),
        }
    }
    Ok(newer.map_or(Ok(None), Err))
}

/// Reads the records of a segment.
///
/// # Errors
///
/// Only what the disk reports; damage is part of the result.
pub(crate) fn scan(file: &dyn DiskFile, mark: u64) -> io::Result<Scan> {
    let len = file.len()?;
    let mut seal = read_seal(file, mark, len)?;
    let mut scan = Scan::default();
    if let Some(seal) = &mut seal
        && let Some(index) = seal.index.take()
        && let Some(scan) = from_index(index, seal.offset, mark)
    {
        return Ok(scan);
    }
    // An index that does not add up is not believed.
    let end = seal.as_ref().map_or(len, |seal| seal.offset);
    let mut window = Window { file, start: 0, octets: Vec::new(), len: end };
    let mut at = DATA_START;
    let mut bad_from = None;
    scan.end = DATA_START;
    while at + RECORD_LEN as u64 <= end {
        let Some((header, found_body)) = try_record(&mut window, at, mark, &mut scan)? else {
            if bad_from.is_none() {
                // A plain end of the log has no mark; a torn or damaged record mostly has.
                bad_from = Some((at, window.has_mark(at, mark)?));
            }
            match window.find_mark(at + ALIGN, mark)? {
                Some(next) => {
                    at = next;
                    continue;
                }
                None => break,
            }
        };
        if let Some((from, _)) = bad_from.take() {
            scan.bad.push(BadRange { offset: from, len: at - from });
        }
        if !found_body {
            scan.bad.push(BadRange { offset: at, len: header.record_len() });
        }
        scan.synced = scan.synced.max(header.synced);
        at += header.record_len();
        scan.end = at;
    }
    if seal.is_none() {
        // A whole header before an unfinished body: the write did not get further.
        while let Some(last) =
            scan.records.pop_if(|last| !last.is_body_good && last.offset >= scan.synced)
        {
            scan.end = last.offset;
        }
    }
    if seal.is_some() {
        scan.is_sealed = true;
        scan.synced = end;
        if scan.end < end {
            scan.bad.push(BadRange { offset: scan.end, len: end - scan.end });
            scan.end = end;
        }
    } else if let Some((from, true)) = bad_from {
        scan.bad.push(BadRange { offset: from, len: end - from });
    }
    Ok(scan)
}

/// Reads and checks the record at `at`; its head goes into the scan. The flag says whether its
/// body is good as well.
fn try_record(
    window: &mut Window<'_>,
    at: u64,
    mark: u64,
    scan: &mut Scan,
) -> io::Result<Option<(RecordHeader, bool)>> {
    let Some(octets) = window.get(at, RECORD_LEN)? else { return Ok(None) };
    // `get` gives exactly as many octets as asked for.
    let octets: [u8; RECORD_LEN] = octets.try_into().unwrap_or([0; RECORD_LEN]);
    let Some(header) = RecordHeader::decode(&octets, mark) else { return Ok(None) };
    if at + header.record_len() > window.len {
        return Ok(None);
    }
    let head_len = header.head_len as usize;
    let Some(head) = window.get(at + RECORD_LEN as u64, head_len)? else { return Ok(None) };
    if !RecordHeader::matches(&octets, head) {
        return Ok(None);
    }
    let head_at = scan.heads.len();
    scan.heads.extend_from_slice(head);
    let mut crc = Hasher::new();
    let mut body_at = at + (RECORD_LEN + head_len) as u64;
    let mut left = header.body_len as usize;
    while left > 0 {
        let n = left.min(CHUNK);
        let Some(part) = window.get(body_at, n)? else { return Ok(None) };
        crc.update(part);
        body_at += n as u64;
        left -= n;
    }
    let is_body_good = header.body_len == 0 || crc.finalize() == header.body_crc;
    scan.records.push(Found { offset: at, header, is_body_good, head_at });
    Ok(Some((header, is_body_good)))
}

struct Seal {
    offset: u64,
    index: Option<Vec<u8>>,
}

/// The seal record, if the trailer leads to a good one.
fn read_seal(file: &dyn DiskFile, mark: u64, len: u64) -> io::Result<Option<Seal>> {
    if len < DATA_START + TRAILER_LEN {
        return Ok(None);
    }
    let mut trailer = [0; TRAILER_LEN as usize];
    disk::read_exact_at(file, &mut trailer, len - TRAILER_LEN)?;
    let Some(offset) = decode_trailer(&trailer, mark) else { return Ok(None) };
    if offset < DATA_START || offset + RECORD_LEN as u64 > len {
        return Ok(None);
    }
    let mut octets = [0; RECORD_LEN];
    disk::read_exact_at(file, &mut octets, offset)?;
    let Some(header) = RecordHeader::decode(&octets, mark) else { return Ok(None) };
    if header.kind != Kind::Seal
        || header.head_len != 0
        || !RecordHeader::matches(&octets, &[])
        || offset + header.record_len() > len
    {
        return Ok(None);
    }
    let mut index = vec![0; header.body_len as usize];
    disk::read_exact_at(file, &mut index, offset + RECORD_LEN as u64)?;
    let is_good = header.flags & FLAG_INDEX != 0 && crc32fast::hash(&index) == header.body_crc;
    Ok(Some(Seal { offset, index: is_good.then_some(index) }))
}

/// Makes a scan of an index: per record its offset (in units of 8), header and head.
fn from_index(index: Vec<u8>, seal_at: u64, mark: u64) -> Option<Scan> {
    let mut records = Vec::new();
    let mut rest = &index[..];
    while !rest.is_empty() {
        let (number, after) = rest.split_first_chunk::<4>()?;
        let (octets, after) = after.split_first_chunk::<RECORD_LEN>()?;
        let header = RecordHeader::decode(octets, mark)?;
        let head_at = index.len() - after.len();
        let (_, after) = after.split_at_checked(header.head_len as usize)?;
        let offset = u64::from(u32::from_le_bytes(*number)) * ALIGN;
        records.push(Found { offset, header, is_body_good: true, head_at });
        rest = after;
    }
    Some(Scan {
        records,
        heads: index,
        bad: Vec::new(),
        end: seal_at,
        is_sealed: true,
        synced: seal_at,
    })
}

/// A piece of the file in memory that moves forward.
struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    octets: Vec<u8>,
    /// Nothing is read beyond this offset.
    len: u64,
}

impl Window<'_> {
    /// The octets at `at`, or `None` when the file ends before. Asking for more than [`CHUNK`] at
    /// once grows the window: only heads do that, whose length the file's own length bounds.
    fn get(&mut self, at: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if at + len as u64 > self.len {
            return Ok(None);
        }
        let have = self.start + self.octets.len() as u64;
        if at < self.start || at + len as u64 > have {
            let size = (self.len - at).min(len.max(CHUNK) as u64) as usize;
            // What is in memory already is kept; only the rest is read.
            let keep = if at >= self.start && at < have { (at - self.start) as usize } else { 0 };
            if at >= self.start && at < have {
                self.octets.drain(..keep);
            } else {
                self.octets.clear();
            }
            self.start = at;
            let filled = self.octets.len();
            self.octets.resize(size.max(filled), 0);
            disk::read_exact_at(self.file, &mut self.octets[filled..], at + filled as u64)?;
        }
        let from = (at - self.start) as usize;
        Ok(self.octets.get(from..from + len))
    }

    fn has_mark(&mut self, at: u64, mark: u64) -> io::Result<bool> {
        Ok(self.get(at, 8)?.is_some_and(|octets| octets == mark.to_le_bytes()))
    }

    /// The next place from `at` on where a record may begin.
    fn find_mark(&mut self, mut at: u64, mark: u64) -> io::Result<Option<u64>> {
        let wanted = mark.to_le_bytes();
        while at + RECORD_LEN as u64 <= self.len {
            let have = (self.start + self.octets.len() as u64).saturating_sub(at);
            let n = if at >= self.start && have >= 8 { have } else { CHUNK as u64 };
            let n = (self.len - at).min(n) & !(ALIGN - 1);
            let Some(octets) = self.get(at, n as usize)? else { return Ok(None) };
            if let Some(index) = octets.chunks_exact(8).position(|octets| octets == wanted) {
                return Ok(Some(at + index as u64 * ALIGN));
            }
            at += n.max(ALIGN);
        }
        Ok(None)
    }
}
