//! The door to the file system: everything the spool asks of a disk, and nothing else.
//!
//! Two implementations: [`real`] on system calls, [`sim`] in memory with power failures, torn
//! writes, lost directory entries and failing syncs. The promises are those of POSIX and no more:
//! octets are safe after [`DiskFile::sync`], names after [`Disk::sync_dir`].

use std::io;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

pub mod real;
pub mod sim;

/// A file system.
pub trait Disk: Send + Sync {
    /// Creates a file that must not exist, for reading and writing.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes a file's name. Whoever has it open goes on reading it.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name; a file of that name is replaced.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Names and lengths of the plain files in a directory, in no order. Names that are not UTF-8
    /// are left out: none of ours are.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>>;

    /// Creates a directory and its parents; an existing one is fine.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory safe: what was created, renamed and removed before.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// What is left for an unprivileged writer.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn free_space(&self, dir: &Path) -> io::Result<FreeSpace>;

    /// Takes the lock file for this process; held until the result is dropped.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when another one has it; else as the system says.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;
}

/// An open file. All methods may be called from several threads.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Reads up to `buf.len()` octets at `offset`; 0 means end of file.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some or all of `bufs` at `offset` and says how many octets.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes the octets, and the length needed to read them, safe (`fdatasync`).
    ///
    /// # Errors
    ///
    /// As the system says. Afterwards nobody knows which of the octets written before are safe.
    fn sync(&self) -> io::Result<()>;

    /// Reserves blocks for `len` octets and makes the file that long.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Length in octets.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no octets.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Proof that the spool directory is ours; dropping it lets go.
pub trait DirLock: Send + Sync {}

/// A plain file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name without directory.
    pub name: String,
    /// Its length in octets.
    pub len: u64,
}

/// What a file system has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Octets.
    pub bytes: u64,
    /// Inodes; `u64::MAX` where the file system does not count them.
    pub inodes: u64,
}

/// Fills `buf` from `offset`.
///
/// # Errors
///
/// [`io::ErrorKind::UnexpectedEof`] when the file ends before; else as the system says.
pub fn read_exact_at(file: &dyn DiskFile, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.read_at(buf, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                let n = n.min(buf.len());
                buf = &mut buf[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bufs` at `offset`. The slices are advanced in place.
///
/// # Errors
///
/// [`io::ErrorKind::WriteZero`] when the file takes nothing; else as the system says.
pub fn write_all_at(
    file: &dyn DiskFile,
    mut bufs: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match file.write_at(bufs, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                IoSlice::advance_slices(&mut bufs, n);
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
