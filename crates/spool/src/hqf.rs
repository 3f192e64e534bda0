//! One message as a single `.hqf` file: what unload, load, import, `hqfcat` and `hqfeml` handle.
//!
//! The file is self-contained and checksummed; its byte table is in `docs/formats/spool.md`.
//! [`write`] makes one, [`Reader`] takes one apart while streaming the body, [`decode`] does so for
//! a file in memory. Nothing here trusts a length before its checksum has been seen.

use std::io;
use std::io::{Read, Write};

use bytes::Bytes;
use crc32fast::Hasher;
use mta_types::{QueueId, TransactionId};

use crate::message::{StoredMessage, StoredRow};

/// First octets of every file: a name, and line ends that a text-mode transfer would break.
pub const MAGIC: [u8; 8] = *b"\x89HQF\r\n\x1a\n";

/// The format's version.
pub const VERSION: u16 = 1;

/// Octets before metadata and rows.
const HEADER_LEN: usize = 44;

/// Metadata and rows of one message are bounded by a log record; more is not ours.
const MAX_HEAD: u32 = 256 << 20;

/// Why a file is no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HqfError {
    /// It does not begin as an `.hqf` file does.
    #[error("not an hqf file")]
    NotHqf,
    /// It was written by a newer version.
    #[error("hqf format version {0} is not known here")]
    Version(u16),
    /// Checksums or lengths do not match.
    #[error("hqf file is damaged in its {0}")]
    Damaged(&'static str),
    /// It cannot be read.
    #[error("cannot read hqf file")]
    Read(#[source] io::Error),
}

/// Writes one message. `body` must give exactly `message.body_len` octets.
///
/// # Errors
///
/// Those of `out` and `body`; [`io::ErrorKind::InvalidData`] when the body's length differs.
pub fn write(message: &StoredMessage, body: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "message too large for hqf");
    let mut head = Vec::new();
    let field = |head: &mut Vec<u8>, octets: &[u8]| -> io::Result<()> {
        let len = u32::try_from(octets.len()).map_err(|_| too_large())?;
        head.extend_from_slice(&len.to_le_bytes());
        head.extend_from_slice(octets);
        Ok(())
    };
    field(&mut head, &message.metadata)?;
    let rows = u32::try_from(message.rows.len()).map_err(|_| too_large())?;
    head.extend_from_slice(&rows.to_le_bytes());
    for row in &message.rows {
        head.extend_from_slice(&row.queue.0.to_le_bytes());
        field(&mut head, &row.row)?;
        field(&mut head, &row.state)?;
    }
    let head_len = u32::try_from(head.len()).ok().filter(|len| *len <= MAX_HEAD);

    let mut header = [0_u8; HEADER_LEN];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&head_len.ok_or_else(too_large)?.to_le_bytes());
    header[16..24].copy_from_slice(&message.body_len.to_le_bytes());
    header[24..40].copy_from_slice(message.transaction.as_bytes());
    let mut crc = Hasher::new();
    crc.update(&header[..40]);
    crc.update(&head);
    header[40..44].copy_from_slice(&crc.finalize().to_le_bytes());
    out.write_all(&header)?;
    out.write_all(&head)?;

    let mut crc = Hasher::new();
    let mut left = message.body_len;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = body.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        let Some(rest) = left.checked_sub(n as u64) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "body longer than announced"));
        };
        left = rest;
        crc.update(&buffer[..n]);
        out.write_all(&buffer[..n])?;
    }
    if left > 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "body shorter than announced"));
    }
    out.write_all(&crc.finalize().to_le_bytes())
}

/// Takes a file apart: first the message, then, through [`Read`], the body.
///
/// Reading the body to its end checks it; a mismatch is [`io::ErrorKind::InvalidData`].
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    message: StoredMessage,
    left: u64,
    crc: Hasher,
    is_checked: bool,
}

impl<R: Read> Reader<R> {
    /// Reads and checks everything before the body.
    ///
    /// # Errors
    ///
    /// [`HqfError`].
    pub fn open(mut input: R) -> Result<Self, HqfError> {
        let mut header = [0_u8; HEADER_LEN];
        read_whole(&mut input, &mut header, "header")?;
        if header[..8] != MAGIC {
            return Err(HqfError::NotHqf);
        }
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version != VERSION {
            return Err(HqfError::Version(version));
        }
        let mut parts = Parts { rest: &header[12..] };
        // The header has 32 octets behind the version: all of these are there.
        let head_len = parts.u32().unwrap_or(u32::MAX);
        let body_len = parts.u64().unwrap_or(0);
        let transaction = parts.take(16).and_then(|id| id.try_into().ok()).unwrap_or([0; 16]);
        let wanted = parts.u32().unwrap_or(0);
        if head_len > MAX_HEAD {
            return Err(HqfError::Damaged("header"));
        }
        // Grows with what really arrives, whatever the header says.
        let mut head = Vec::new();
        let read = input.by_ref().take(u64::from(head_len)).read_to_end(&mut head);
        if read.map_err(HqfError::Read)? != head_len as usize {
            return Err(HqfError::Damaged("header"));
        }
        let mut crc = Hasher::new();
        crc.update(&header[..40]);
        crc.update(&head);
        if crc.finalize() != wanted {
            return Err(HqfError::Damaged("header"));
        }
        let message = parse_head(TransactionId(transaction), body_len, Bytes::from(head))
            .ok_or(HqfError::Damaged("rows"))?;
        Ok(Self { input, message, left: body_len, crc: Hasher::new(), is_checked: false })
    }

    /// Everything but the body.
    #[must_use]
    pub const fn message(&self) -> &StoredMessage {
        &self.message
    }

    fn check(&mut self) -> io::Result<()> {
        if self.is_checked {
            return Ok(());
        }
        let mut wanted = [0; 4];
        self.input.read_exact(&mut wanted)?;
        if std::mem::take(&mut self.crc).finalize() != u32::from_le_bytes(wanted) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, HqfError::Damaged("body")));
        }
        self.is_checked = true;
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.check()?;
            return Ok(0);
        }
        let max = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.input.read(&mut buf[..max])?;
        if n == 0 && max > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, HqfError::Damaged("body")));
        }
        self.crc.update(&buf[..n]);
        self.left -= n as u64;
        Ok(n)
    }
}

/// Takes apart a file that is in memory; the body is checked and returned as a slice of it.
///
/// # Errors
///
/// [`HqfError`].
pub fn decode(file: &Bytes) -> Result<(StoredMessage, Bytes), HqfError> {
    let mut reader = Reader::open(&file[..])?;
    let len = usize::try_from(reader.left).map_err(|_| HqfError::Damaged("body"))?;
    let start = file.len() - reader.input.len();
    let body = reader.input.get(..len).ok_or(HqfError::Damaged("body"))?;
    reader.crc.update(body);
    reader.input = &reader.input[len..];
    reader.check().map_err(|_| HqfError::Damaged("body"))?;
    Ok((reader.message, file.slice(start..start + len)))
}

fn read_whole(input: &mut impl Read, buf: &mut [u8], part: &'static str) -> Result<(), HqfError> {
    input.read_exact(buf).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof if part == "header" => HqfError::NotHqf,
        io::ErrorKind::UnexpectedEof => HqfError::Damaged(part),
        _ => HqfError::Read(error),
    })
}

fn parse_head(transaction: TransactionId, body_len: u64, head: Bytes) -> Option<StoredMessage> {
    let mut parts = Parts { rest: &head };
    let metadata = head.slice_ref(parts.field()?);
    let count = parts.u32()?;
    let mut rows = Vec::new();
    for _ in 0..count {
        let queue = QueueId(parts.u32()?);
        let row = head.slice_ref(parts.field()?);
        let state = head.slice_ref(parts.field()?);
        rows.push(StoredRow { queue, row, state });
    }
    parts.rest.is_empty().then_some(StoredMessage { transaction, metadata, rows, body_len })
}

/// Takes little-endian numbers and octets from the front of a slice.
pub(crate) struct Parts<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A length and that many octets.
    pub(crate) fn field(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(body: &[u8]) -> (StoredMessage, Vec<u8>) {
        let message = StoredMessage {
            transaction: TransactionId([7; 16]),
            metadata: Bytes::from_static(b"meta"),
            rows: vec![StoredRow {
                queue: QueueId(1),
                row: Bytes::from_static(b"row"),
                state: Bytes::new(),
            }],
            body_len: body.len() as u64,
        };
        let mut out = Vec::new();
        write(&message, &mut &body[..], &mut out).unwrap();
        (message, out)
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let (message, file) = sample(b"Subject: x\r\n\r\nhello\r\n");
        let (read, body) = decode(&Bytes::from(file.clone())).unwrap();
        assert_eq!(read, message);
        assert_eq!(&body[..], b"Subject: x\r\n\r\nhello\r\n");
        let mut reader = Reader::open(&file[..]).unwrap();
        let mut streamed = Vec::new();
        reader.read_to_end(&mut streamed).unwrap();
        assert_eq!(streamed, body);
    }

    #[test]
    fn every_changed_octet_is_noticed() {
        let (message, file) = sample(b"body");
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            match decode(&Bytes::from(changed)) {
                Err(_) => {}
                // The two reserved octets are covered by the checksum as well.
                Ok((read, _)) => panic!("octet {at}: read {read:?}, wrote {message:?}"),
            }
        }
        for len in 0..file.len() {
            assert!(decode(&Bytes::copy_from_slice(&file[..len])).is_err(), "cut to {len}");
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut file = MAGIC.to_vec();
            file.extend_from_slice(&VERSION.to_le_bytes());
            file.extend_from_slice(&octets);
            prop_assert!(decode(&Bytes::from(file)).is_err());
        }
    }
}
