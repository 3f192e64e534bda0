//! `FILE *` over content of the host, or on its file where it has one.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use plugin_abi::stdio::{Stream, StreamContent};

use crate::services::FileContent;

/// Opens a stream at the start of `content`; `None` when there is no memory.
///
/// Content that is a file is opened by its path, so that `fileno` works.
pub(crate) fn open(content: Arc<dyn FileContent>) -> Option<Stream> {
    if let Some(path) = content.path()
        && let Ok(path) = CString::new(path.as_os_str().as_bytes())
    {
        // SAFETY: both are terminated strings.
        let file = unsafe { libc::fopen(path.as_ptr(), c"re".as_ptr()) };
        if !file.is_null() {
            // SAFETY: just opened, and known to nobody else.
            return Some(unsafe { Stream::from_raw(file) });
        }
    }
    Stream::open(Box::new(Content(content)), 0)
}

struct Content(Arc<dyn FileContent>);

impl StreamContent for Content {
    fn octets(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_is_a_file_has_a_descriptor() {
        struct OnDisk(std::path::PathBuf);
        impl FileContent for OnDisk {
            fn len(&self) -> u64 {
                3
            }
            fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
                Ok(0)
            }
            fn path(&self) -> Option<&std::path::Path> {
                Some(&self.0)
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.eml");
        std::fs::write(&path, b"abc").unwrap();
        let stream = open(Arc::new(OnDisk(path))).unwrap();
        // SAFETY: an open stream.
        assert!(unsafe { libc::fileno(stream.as_ptr()) } >= 0);
    }

    #[test]
    fn other_content_is_read_through_the_host() {
        let stream = open(Arc::new(b"xyz".to_vec())).unwrap();
        // SAFETY: an open stream.
        assert_eq!(unsafe { libc::fgetc(stream.as_ptr()) }, i32::from(b'x'));
    }
}
