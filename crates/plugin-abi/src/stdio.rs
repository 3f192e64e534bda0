//! `FILE *` over content of the host: a seekable stdio stream of the C library (`fopencookie`).
//!
//! `HalonMTA.h` and the FFI class hand content to C as a stream; both make it here. The stream asks a
//! [`StreamContent`] for octets; it opens nothing by itself.
#![expect(unsafe_code, reason = "the C library calls back; every block says why it is sound")]

use std::ffi::{c_char, c_int, c_void};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a stream reads from.
pub trait StreamContent: Send {
    /// Octets in total.
    fn octets(&self) -> u64;

    /// Fills `buffer` with octets from `offset` on and returns how many; 0 at the end.
    ///
    /// # Errors
    ///
    /// Those of the device; C sees them as `errno`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// An open stream; closed when dropped.
pub struct Stream(*mut libc::FILE);

// SAFETY: stdio locks each stream; closing happens once, when no call uses it any more.
unsafe impl Send for Stream {}
// SAFETY: as above; a shared stream gives its pointer away and nothing else.
unsafe impl Sync for Stream {}

struct Cookie {
    content: Box<dyn StreamContent>,
    position: u64,
}

impl Stream {
    /// Opens a stream at `position` of `content`; `None` when there is no memory.
    pub fn open(content: Box<dyn StreamContent>, position: u64) -> Option<Self> {
        let cookie = Box::into_raw(Box::new(Cookie { content, position }));
        let functions =
            CookieFunctions { read: Some(read), write: None, seek: Some(seek), close: Some(close) };
        // SAFETY: the functions are those of this cookie, which `close` frees.
        let file = unsafe { fopencookie(cookie.cast(), c"r".as_ptr(), functions) };
        if file.is_null() {
            // SAFETY: not handed over, so still ours.
            drop(unsafe { Box::from_raw(cookie) });
            return None;
        }
        if position > 0 {
            // stdio counts from 0 by itself; so it learns where the cookie stands.
            // SAFETY: the stream was just opened; 0 octets from the present place is no move.
            unsafe { libc::fseeko(file, 0, libc::SEEK_CUR) };
        }
        Some(Self(file))
    }

    /// Takes over an open stream.
    ///
    /// # Safety
    ///
    /// `file` is an open stream that nobody else closes.
    pub unsafe fn from_raw(file: *mut libc::FILE) -> Self {
        Self(file)
    }

    /// The stream for C, open as long as `self` lives.
    pub fn as_ptr(&self) -> *mut libc::FILE {
        self.0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: opened by us or taken over, closed once.
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

/// Runs the body of a callback; a panic of ours never unwinds into C and is its failure.
fn fenced<R>(failure: R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(failure)
}

/// # Safety
///
/// Called by stdio with the cookie and a buffer of `len` octets.
unsafe extern "C" fn read(cookie: *mut c_void, buffer: *mut c_char, len: usize) -> isize {
    fenced(-1, || {
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
    fenced(-1, || {
        // SAFETY: as in `read`.
        let cookie = unsafe { &mut *cookie.cast::<Cookie>() };
        // SAFETY: stdio's own variable.
        let offset = unsafe { &mut *offset };
        let base = match whence {
            libc::SEEK_SET => 0,
            libc::SEEK_CUR => cookie.position,
            libc::SEEK_END => cookie.content.octets(),
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
    fenced(-1, || {
        // SAFETY: made by `Stream::open`, freed here once.
        drop(unsafe { Box::from_raw(cookie.cast::<Cookie>()) });
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Octets(Vec<u8>);

    impl StreamContent for Octets {
        fn octets(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            let offset = usize::try_from(offset).unwrap();
            assert!(offset < 1_000_000, "a panic is an error of the stream");
            let rest = self.0.get(offset..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    #[test]
    fn a_stream_measures_by_seeking_and_reads_from_the_start() {
        let content: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        let stream = Stream::open(Box::new(Octets(content.clone())), 0).unwrap();
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
    fn a_stream_starts_at_its_position_and_knows_it() {
        let stream = Stream::open(Box::new(Octets(b"0123456789".to_vec())), 4).unwrap();
        let file = stream.as_ptr();
        // SAFETY: an open stream.
        unsafe {
            assert_eq!(libc::ftell(file), 4);
            assert_eq!(libc::fgetc(file), i32::from(b'4'));
            assert_eq!(libc::ftell(file), 5);
            assert_eq!(libc::fseek(file, -2, libc::SEEK_CUR), 0);
            assert_eq!(libc::fgetc(file), i32::from(b'3'));
        }
    }

    #[test]
    fn a_panic_of_the_content_is_a_read_error() {
        let stream = Stream::open(Box::new(Octets(Vec::new())), 2_000_000).unwrap();
        // SAFETY: an open stream.
        unsafe {
            assert_eq!(libc::fgetc(stream.as_ptr()), libc::EOF);
            assert_ne!(libc::ferror(stream.as_ptr()), 0);
        }
    }
}
