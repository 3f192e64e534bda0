//! Reading a stored body.

use std::io;
use std::io::Read;

use bytes::Bytes;

use crate::error::ReadError;

/// The body of a stored message. No lock is held; the octets stay readable even when the message
/// ends meanwhile.
#[derive(Debug)]
pub struct BodyReader {}

impl BodyReader {
    /// Octets of the message.
    #[must_use]
    pub fn len(&self) -> u64 {
        todo!()
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
        todo!()
    }

    /// Reads the whole body and checks it.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read_all(&self) -> Result<Bytes, ReadError> {
        todo!()
    }
}

/// Reads from the beginning; the end is reached only when the checksum matches, else the read
/// that would have reached it fails with [`io::ErrorKind::InvalidData`].
impl Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}
