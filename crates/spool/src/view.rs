//! Looking into a spool that somebody else writes: nothing is locked, made, changed or removed.

use std::fs::File;
use std::io;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use mta_types::TransactionId;

use crate::body::BodyReader;
use crate::config::{Config, Corrupt};
use crate::disk::real::RealDisk;
use crate::disk::{DirLock, Disk, DiskFile, FreeSpace, Listed};
use crate::error::{OpenError, ReadError};
use crate::message::StoredMessage;
use crate::platform::Platform;
use crate::spool::Spool;

/// The messages of a spool as they were at one moment.
///
/// A message that ends later may become unreadable; what is read is always checked.
#[derive(Debug)]
pub struct View {
    spool: Spool,
}

impl View {
    /// Reads the spool in `path`. Takes as long as a start of the server does.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; a folder that is no spool is one that cannot be listed.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let mut attempts = 0;
        loop {
            // Nothing happens to damaged segments here.
            let config = Config { corrupt: Corrupt::Ignore, fsync: false, ..Config::new(path) };
            let mut platform = Platform::system(|_| {});
            platform.disk = Arc::new(ReadingDisk);
            match Spool::open_idle(config, platform) {
                Ok(spool) => return Ok(Self { spool }),
                // Compaction has removed a segment since the folder was listed.
                Err(OpenError::Path { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && attempts < 3 =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads everything but the body of a message.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read_message(&self, transaction: TransactionId) -> Result<StoredMessage, ReadError> {
        self.spool.read_message(transaction)
    }

    /// Opens the body of a message.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read_body(&self, transaction: TransactionId) -> Result<BodyReader, ReadError> {
        self.spool.read_body(transaction)
    }
}

/// A disk on which every change succeeds and none happens.
struct ReadingDisk;

impl Disk for ReadingDisk {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ReadingFile { file: File::open(path)? }))
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        RealDisk::new().list(dir)
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self, dir: &Path) -> io::Result<FreeSpace> {
        RealDisk::new().free_space(dir)
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn DirLock>> {
        Ok(Box::new(NoLock))
    }
}

struct NoLock;

impl DirLock for NoLock {}

#[derive(Debug)]
struct ReadingFile {
    file: File,
}

impl DiskFile for ReadingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
