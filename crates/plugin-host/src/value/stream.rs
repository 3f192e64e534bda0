//! `FILE *` over content of the host: a seekable stdio stream of the C library (`fopencookie`).

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::guard::guard;
use crate::services::FileContent;

/// An open stream; closed when dropped.
pub(crate) struct Stream(*mut libc::FILE);

// SAFETY: stdio locks each stream; closing happens once, when no call uses it any more.
unsafe impl Send for Stream {}

struct Cookie {
    content: Arc<dyn FileContent>,
    position: u64,
}

impl Stream {
    /// Opens a stream at the start of `content`; `None` when there is no memory.
    ///
    /// Content that is a file is opened by its path, so that `fileno` works.
    pub(crate) fn open(content: Arc<dyn FileContent>) -> Option<Self> {
        if let Some(path) = content.path()
            && let Ok(path) = CString::new(path.as_os_str().as_bytes())
        {
            // SAFETY: both are terminated strings.
            let file = unsafe { libc::fopen(path.as_ptr(), c"re".as_ptr()) };
            if !file.is_null() {
                return Some(Self(file));
            }
        }
        let cookie = Box::into_raw(Box::new(Cookie { content, position: 0 }));
        let functions =
            CookieFunctions { read: Some(read), write: None, seek: Some(seek), close: Some(close) };
        // SAFETY: the functions are those of this cookie, which `close` frees.
        let file = unsafe { fopencookie(cookie.cast(), c"r".as_ptr(), functions) };
        if file.is_null() {
            // SAFETY: not handed over, so still ours.
            drop(unsafe { Box::from_raw(cookie) });
            return None;
        }
        Some(Self(file))
    }

    pub(crate) fn as_ptr(&self) -> *mut libc::FILE {
        self.0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once.
        unsafe { libc::fclose(self.0) };
    }
}

/// `cookie_io_functions_t` of glibc.
#[repr(C)]
struct CookieFunctions {
    read: Option<unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> isize>,
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize>,
    seek: Option<unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int>,
    close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
}

unsafe extern "C" {
    fn fopencookie(
        cookie: *mut c_void,
        mode: *const c_char,
        functions: CookieFunctions,
    ) -> *mut libc::FILE;
}

/// # Safety
///
/// Called by stdio with the cookie and a buffer of `len` octets.
unsafe extern "C" fn read(cookie: *mut c_void, buffer: *mut c_char, len: usize) -> isize {
    guard("stream read", -1, || {
        // SAFETY: stdio holds the lock of the stream, so the cookie is ours alone.
        let cookie = unsafe { &mut *cookie.cast::<Cookie>() };
        // SAFETY: stdio's buffer of that length; octets have no invalid values.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
        match cookie.content.read_at(cookie.position, buffer) {
            Ok(count) => {
                cookie.position += count as u64;
                isize::try_from(count).unwrap_or(-1)
            }
            Err(error) => {
                // SAFETY: the address of this thread's own errno.
                unsafe { *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::EIO) };
                -1
            }
        }
    })
}

/// # Safety
///
/// Called by stdio with the cookie and the offset to move by, which is replaced by the new one.
unsafe extern "C" fn seek(cookie: *mut c_void, offset: *mut i64, whence: c_int) -> c_int {
    guard("stream seek", -1, || {
        // SAFETY: as in `read`.
        let cookie = unsafe { &mut *cookie.cast::<Cookie>() };
        // SAFETY: stdio's own variable.
        let offset = unsafe { &mut *offset };
        let base = match whence {
            libc::SEEK_SET => 0,
            libc::SEEK_CUR => cookie.position,
            libc::SEEK_END => cookie.content.len(),
            _ => return -1,
        };
        let Some(position) = base.checked_add_signed(*offset) else { return -1 };
        let Ok(told) = i64::try_from(position) else { return -1 };
        cookie.position = position;
        *offset = told;
        0
    })
}

/// # Safety
///
/// Called by stdio once, with the cookie.
unsafe extern "C" fn close(cookie: *mut c_void) -> c_int {
    guard("stream close", -1, || {
        // SAFETY: made by `Stream::open`, freed here once.
        drop(unsafe { Box::from_raw(cookie.cast::<Cookie>()) });
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_measures_by_seeking_and_reads_from_the_start() {
        let content: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        let stream = Stream::open(Arc::new(content.clone())).unwrap();
        let file = stream.as_ptr();
        let mut read = vec![0u8; 30_000];
        // SAFETY: an open stream and a buffer of that length.
        unsafe {
            assert_eq!(libc::fseek(file, 0, libc::SEEK_END), 0);
            assert_eq!(libc::ftell(file), 20_000);
            assert_eq!(libc::fseek(file, 0, libc::SEEK_SET), 0);
            let count = libc::fread(read.as_mut_ptr().cast(), 1, read.len(), file);
            assert_eq!(&read[..count], content);
            assert_ne!(libc::fseek(file, -1, libc::SEEK_SET), 0);
        }
    }

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
        let stream = Stream::open(Arc::new(OnDisk(path))).unwrap();
        // SAFETY: an open stream.
        assert!(unsafe { libc::fileno(stream.as_ptr()) } >= 0);
    }
}
