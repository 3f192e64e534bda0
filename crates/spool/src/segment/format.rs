//! The layout of segments and records; `docs/formats/spool.md` has the same as tables.
//!
//! Every record begins with its segment's *mark*: 64 random bits, new each time a file becomes a
//! segment. The mark tells records from what a recycled file held before, lets a reader find the
//! next record behind damage, and keeps octets inside a mail body, however they were crafted, from
//! ever being taken for a record: the sender cannot know the mark.

use std::sync::Arc;

use crc32fast::Hasher;
use mta_types::{QueueId, TransactionId};

use crate::disk::DiskFile;
use crate::hqf::Parts;

/// First octets of a segment.
pub(crate) const MAGIC: [u8; 8] = *b"MTASPOOL";
/// Version of the layout.
pub(crate) const VERSION: u16 = 1;
/// Octets of a segment's header; there is a second copy at [`HEADER_COPY_AT`].
pub(crate) const HEADER_LEN: usize = 64;
/// The copies lie in different pages, so that one bad place does not lose the segment.
pub(crate) const HEADER_COPY_AT: u64 = 4096;
/// Where records begin.
pub(crate) const DATA_START: u64 = 8192;
/// Octets of a record's header.
pub(crate) const RECORD_LEN: usize = 40;
/// Records begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;
/// First octets of the trailer of a sealed segment.
pub(crate) const SEAL_MAGIC: [u8; 8] = *b"MTASEAL\x01";
/// Octets of the trailer.
pub(crate) const TRAILER_LEN: u64 = 24;
/// Queue number that stands for all rows of a message.
pub(crate) const ALL_ROWS: QueueId = QueueId(u32::MAX);

/// Flag of a commit: part of the body is in a file.
pub(crate) const FLAG_FILE: u8 = 1;
/// Flag of a seal: the body is an index of the segment's records.
pub(crate) const FLAG_INDEX: u8 = 2;

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Grows by one with every segment ever made in this spool; never 0.
    pub(crate) id: u32,
    pub(crate) mark: u64,
    pub(crate) path: std::path::PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: u32,
    pub(crate) mark: u64,
    /// No record in it has a lower sequence number, except copies made by compaction.
    pub(crate) first_seq: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[16..20].copy_from_slice(&self.id.to_le_bytes());
        out[24..32].copy_from_slice(&self.mark.to_le_bytes());
        out[40..48].copy_from_slice(&self.first_seq.to_le_bytes());
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `Ok(None)` when the octets are no header; `Err` with the version when it is a newer one.
    pub(crate) fn decode(octets: &[u8; HEADER_LEN]) -> Result<Option<Self>, u16> {
        let mut parts = Parts { rest: &octets[60..] };
        if octets[..8] != MAGIC || parts.u32() != Some(crc32fast::hash(&octets[..60])) {
            return Ok(None);
        }
        let version = u16::from_le_bytes([octets[8], octets[9]]);
        if version != VERSION {
            return Err(version);
        }
        let number = |at: usize| Parts { rest: &octets[at..] }.u64().unwrap_or(0);
        Ok(Some(Self { id: number(16) as u32, mark: number(24), first_seq: number(40) }))
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message with its rows.
    Commit,
    /// New state of a row.
    Change,
    /// End of a row, or of all rows.
    End,
    /// Last record of a sealed segment.
    Seal,
    /// A further row of a message.
    Add,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Commit => 1,
            Self::Change => 2,
            Self::End => 3,
            Self::Seal => 4,
            Self::Add => 5,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Commit,
            2 => Self::Change,
            3 => Self::End,
            4 => Self::Seal,
            5 => Self::Add,
            _ => return None,
        })
    }
}

/// A record's header without mark and checksum of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) head_len: u32,
    pub(crate) body_len: u32,
    /// Octets of this segment that were known to be safe when the record was written.
    pub(crate) synced: u64,
    pub(crate) body_crc: u32,
}

impl RecordHeader {
    /// Octets of the whole record with padding.
    pub(crate) fn record_len(&self) -> u64 {
        record_len(u64::from(self.head_len), u64::from(self.body_len))
    }

    pub(crate) fn encode(&self, mark: u64, head: &[u8]) -> [u8; RECORD_LEN] {
        let mut out = [0; RECORD_LEN];
        out[..8].copy_from_slice(&mark.to_le_bytes());
        out[8..16].copy_from_slice(&self.seq.to_le_bytes());
        out[16] = self.kind.number();
        out[17] = self.flags;
        out[20..24].copy_from_slice(&self.head_len.to_le_bytes());
        out[24..28].copy_from_slice(&self.body_len.to_le_bytes());
        // Segments are at most 1 GiB and offsets multiples of 8.
        out[28..32].copy_from_slice(&((self.synced / ALIGN) as u32).to_le_bytes());
        out[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = head_crc(&out[..36], head);
        out[36..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Takes the header apart; its checksum is checked by [`RecordHeader::matches`] when the head
    /// is there. `None` when the mark or kind is wrong.
    pub(crate) fn decode(octets: &[u8; RECORD_LEN], mark: u64) -> Option<Self> {
        let mut parts = Parts { rest: octets };
        if parts.u64()? != mark {
            return None;
        }
        let seq = parts.u64()?;
        let kind = Kind::from_number(octets[16])?;
        parts.u32()?;
        Some(Self {
            seq,
            kind,
            flags: octets[17],
            head_len: parts.u32()?,
            body_len: parts.u32()?,
            synced: u64::from(parts.u32()?) * ALIGN,
            body_crc: parts.u32()?,
        })
    }

    /// Whether header and head are as they were written.
    pub(crate) fn matches(octets: &[u8; RECORD_LEN], head: &[u8]) -> bool {
        octets[36..] == head_crc(&octets[..36], head).to_le_bytes()
    }
}

fn head_crc(header: &[u8], head: &[u8]) -> u32 {
    let mut crc = Hasher::new();
    crc.update(header);
    crc.update(head);
    crc.finalize()
}

/// Octets of a record with these parts, padding included.
pub(crate) const fn record_len(head_len: u64, body_len: u64) -> u64 {
    (RECORD_LEN as u64 + head_len + body_len).next_multiple_of(ALIGN)
}

/// Name of a body file: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BodyName(pub(crate) [u64; 2]);

impl BodyName {
    pub(crate) fn file_name(self) -> String {
        format!("{:016x}{:016x}.body", self.0[0], self.0[1])
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".body").filter(|digits| digits.len() == 32)?;
        let (high, low) = digits.split_at_checked(16)?;
        let name = Self([u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?]);
        // Upper case or a sign would be somebody else's file.
        (name.file_name().starts_with(digits)).then_some(name)
    }
}

/// The part of a body that is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilePart {
    pub(crate) name: BodyName,
    /// Octets of the file.
    pub(crate) len: u64,
    /// Octets at its beginning that are not part of the message.
    pub(crate) skip: u64,
    /// Checksum of the whole file.
    pub(crate) crc: u32,
}

/// The head of a commit record, borrowed.
#[derive(Clone, Debug)]
pub(crate) struct CommitHead<'a> {
    pub(crate) transaction: TransactionId,
    /// Sequence number of the message's first commit record; 0 stands for the record's own.
    pub(crate) birth: u64,
    pub(crate) metadata: &'a [u8],
    pub(crate) file: Option<FilePart>,
    /// Encoded rows, read with [`CommitHead::rows`].
    encoded_rows: &'a [u8],
    pub(crate) row_count: u32,
}

/// A row inside a commit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowRef<'a> {
    pub(crate) queue: QueueId,
    pub(crate) row: &'a [u8],
    pub(crate) state: &'a [u8],
}

impl<'a> CommitHead<'a> {
    /// Encodes a head; `None` when a part is longer than 4 GiB.
    pub(crate) fn encode<'r>(
        transaction: TransactionId,
        birth: u64,
        metadata: &[u8],
        file: Option<FilePart>,
        rows: impl ExactSizeIterator<Item = RowRef<'r>> + Clone,
    ) -> Option<Vec<u8>> {
        let rows_len: usize = rows.clone().map(|row| 12 + row.row.len() + row.state.len()).sum();
        let mut out = Vec::with_capacity(32 + 40 + metadata.len() + rows_len);
        out.extend_from_slice(transaction.as_bytes());
        out.extend_from_slice(&birth.to_le_bytes());
        out.extend_from_slice(&u32::try_from(metadata.len()).ok()?.to_le_bytes());
        out.extend_from_slice(&u32::try_from(rows.len()).ok()?.to_le_bytes());
        if let Some(file) = file {
            out.extend_from_slice(&file.name.0[0].to_le_bytes());
            out.extend_from_slice(&file.name.0[1].to_le_bytes());
            out.extend_from_slice(&file.len.to_le_bytes());
            out.extend_from_slice(&file.skip.to_le_bytes());
            out.extend_from_slice(&file.crc.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        out.extend_from_slice(metadata);
        for row in rows {
            out.extend_from_slice(&row.queue.0.to_le_bytes());
            out.extend_from_slice(&u32::try_from(row.row.len()).ok()?.to_le_bytes());
            out.extend_from_slice(&u32::try_from(row.state.len()).ok()?.to_le_bytes());
            out.extend_from_slice(row.row);
            out.extend_from_slice(row.state);
        }
        Some(out)
    }

    /// Takes a head apart whose checksum was right.
    pub(crate) fn decode(head: &'a [u8], header: &RecordHeader) -> Option<Self> {
        let mut parts = Parts { rest: head };
        let transaction = TransactionId(parts.take(16)?.try_into().ok()?);
        let birth = parts.u64()?;
        let metadata_len = usize::try_from(parts.u32()?).ok()?;
        let row_count = parts.u32()?;
        let file = if header.flags & FLAG_FILE == 0 {
            None
        } else {
            let name = BodyName([parts.u64()?, parts.u64()?]);
            let file = FilePart { name, len: parts.u64()?, skip: parts.u64()?, crc: parts.u32()? };
            parts.u32()?;
            (file.skip <= file.len).then_some(())?;
            Some(file)
        };
        let metadata = parts.take(metadata_len)?;
        Some(Self {
            transaction,
            birth: if birth == 0 { header.seq } else { birth },
            metadata,
            file,
            encoded_rows: parts.rest,
            row_count,
        })
    }

    /// The rows, as many as are readable.
    pub(crate) fn rows(&self) -> impl Iterator<Item = RowRef<'a>> + use<'a> {
        let mut parts = Parts { rest: self.encoded_rows };
        let mut left = self.row_count;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let queue = QueueId(parts.u32()?);
            let row_len = usize::try_from(parts.u32()?).ok()?;
            let state_len = usize::try_from(parts.u32()?).ok()?;
            Some(RowRef { queue, row: parts.take(row_len)?, state: parts.take(state_len)? })
        })
    }

    /// Octets of the message, given what is in the record.
    pub(crate) fn body_len(&self, in_record: u32) -> u64 {
        u64::from(in_record) + self.file.map_or(0, |file| file.len - file.skip)
    }
}

/// Octets before the state in the head of a change, or before the row in that of an addition.
pub(crate) const CHANGE_HEAD_LEN: usize = 28;

/// The head of a change record, and of an addition, where `state` is what the row begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangeHead<'a> {
    pub(crate) transaction: TransactionId,
    pub(crate) birth: u64,
    pub(crate) queue: QueueId,
    pub(crate) state: &'a [u8],
}

impl<'a> ChangeHead<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.transaction.as_bytes());
        out.extend_from_slice(&self.birth.to_le_bytes());
        out.extend_from_slice(&self.queue.0.to_le_bytes());
        out.extend_from_slice(self.state);
    }

    pub(crate) fn decode(head: &'a [u8]) -> Option<Self> {
        let mut parts = Parts { rest: head };
        Some(Self {
            transaction: TransactionId(parts.take(16)?.try_into().ok()?),
            birth: parts.u64()?,
            queue: QueueId(parts.u32()?),
            state: parts.rest,
        })
    }
}

/// Octets of the head of an end.
pub(crate) const END_HEAD_LEN: usize = 32;

/// The head of an end record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndHead {
    pub(crate) transaction: TransactionId,
    pub(crate) birth: u64,
    /// The row, or [`ALL_ROWS`].
    pub(crate) queue: QueueId,
    /// The segment that held the commit record when the row ended. Once that segment is gone, so
    /// is the row, and the end record need not be kept.
    pub(crate) target: u32,
}

impl EndHead {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.transaction.as_bytes());
        out.extend_from_slice(&self.birth.to_le_bytes());
        out.extend_from_slice(&self.queue.0.to_le_bytes());
        out.extend_from_slice(&self.target.to_le_bytes());
    }

    pub(crate) fn decode(head: &[u8]) -> Option<Self> {
        let mut parts = Parts { rest: head };
        Some(Self {
            transaction: TransactionId(parts.take(16)?.try_into().ok()?),
            birth: parts.u64()?,
            queue: QueueId(parts.u32()?),
            target: parts.u32()?,
        })
    }
}

/// The trailer at the end of a sealed segment's file.
pub(crate) fn encode_trailer(mark: u64, seal_at: u64) -> [u8; TRAILER_LEN as usize] {
    let mut out = [0; TRAILER_LEN as usize];
    out[..8].copy_from_slice(&SEAL_MAGIC);
    out[8..16].copy_from_slice(&mark.to_le_bytes());
    out[16..20].copy_from_slice(&((seal_at / ALIGN) as u32).to_le_bytes());
    let crc = crc32fast::hash(&out[..20]);
    out[20..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Where the seal record of a segment with this mark is.
pub(crate) fn decode_trailer(octets: &[u8; TRAILER_LEN as usize], mark: u64) -> Option<u64> {
    let mut parts = Parts { rest: octets };
    if parts.take(8)? != SEAL_MAGIC || parts.u64()? != mark {
        return None;
    }
    let at = u64::from(parts.u32()?) * ALIGN;
    (parts.u32()? == crc32fast::hash(&octets[..20])).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_and_damage_is_noticed() {
        let header = SegmentHeader { id: 7, mark: 99, first_seq: 1000 };
        let octets = header.encode();
        assert_eq!(SegmentHeader::decode(&octets), Ok(Some(header)));
        for at in 0..HEADER_LEN {
            let mut changed = octets;
            changed[at] ^= 0x10;
            assert_eq!(SegmentHeader::decode(&changed), Ok(None), "octet {at}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_not_misread() {
        let mut octets = SegmentHeader { id: 7, mark: 99, first_seq: 1000 }.encode();
        octets[8] = 2;
        let crc = crc32fast::hash(&octets[..60]);
        octets[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&octets), Err(2));
    }

    #[test]
    fn commit_heads_survive() {
        let rows = [
            RowRef { queue: QueueId(1), row: b"one", state: b"" },
            RowRef { queue: QueueId(2), row: b"", state: b"state" },
        ];
        let file = FilePart { name: BodyName([1, u64::MAX]), len: 100, skip: 10, crc: 5 };
        let id = TransactionId([3; 16]);
        let head = CommitHead::encode(id, 0, b"meta", Some(file), rows.iter().copied()).unwrap();
        let header = RecordHeader {
            seq: 42,
            kind: Kind::Commit,
            flags: FLAG_FILE,
            head_len: head.len() as u32,
            body_len: 7,
            synced: 64,
            body_crc: 1,
        };
        let read = CommitHead::decode(&head, &header).unwrap();
        assert_eq!((read.transaction, read.birth, read.metadata), (id, 42, &b"meta"[..]));
        assert_eq!(read.file, Some(file));
        assert_eq!(read.rows().collect::<Vec<_>>(), rows);
        assert_eq!(read.body_len(7), 97);
        let octets = header.encode(9, &head);
        assert_eq!(RecordHeader::decode(&octets, 9), Some(header));
        assert_eq!(RecordHeader::decode(&octets, 8), None);
        assert!(RecordHeader::matches(&octets, &head));
        assert!(!RecordHeader::matches(&octets, &head[1..]));
    }

    #[test]
    fn body_names_are_only_ours() {
        let name = BodyName([1, 0xabc]);
        assert_eq!(BodyName::parse(&name.file_name()), Some(name));
        for other in ["x.body", "ABCDEF00000000000000000000000000.body", "readme"] {
            assert_eq!(BodyName::parse(other), None, "{other}");
        }
    }
}
