//! Text on its way between C and Rust: octets with a length, always followed by NUL.

use std::ffi::{CStr, c_char};

/// Octets with a NUL behind them, at an address that moves of the `CText` leave alone.
pub(crate) struct CText(Box<[u8]>);

impl CText {
    pub(crate) fn new(octets: &[u8]) -> Self {
        let mut text = Vec::with_capacity(octets.len() + 1);
        text.extend_from_slice(octets);
        text.push(0);
        Self(text.into_boxed_slice())
    }

    /// The octets without the NUL behind them.
    pub(crate) fn octets(&self) -> &[u8] {
        self.0.split_last().map_or(&[], |(_, octets)| octets)
    }

    pub(crate) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}

/// Borrows text that C gave without a length; `None` for NULL.
///
/// # Safety
///
/// `text` is NULL or NUL-terminated and stays as it is during `'a`.
pub(crate) unsafe fn terminated<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not NULL; the caller vouches for the rest.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Borrows text that C gave with a length, where 0 means NUL-terminated. NULL is empty text.
///
/// # Safety
///
/// `text` is NULL, or has `len` readable octets, or is NUL-terminated if `len` is 0, and stays as it
/// is during `'a`.
pub(crate) unsafe fn sized<'a>(text: *const c_char, len: usize) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    if len == 0 {
        // SAFETY: the caller vouches for the terminator.
        return unsafe { CStr::from_ptr(text) }.to_bytes();
    }
    // SAFETY: the caller vouches for `len` octets.
    unsafe { std::slice::from_raw_parts(text.cast(), len) }
}

/// Copies C text into a string; octets that are no UTF-8 are replaced. `None` for NULL.
///
/// # Safety
///
/// As [`terminated`].
pub(crate) unsafe fn string(text: *const c_char) -> Option<String> {
    // SAFETY: the caller keeps the contract.
    unsafe { terminated(text) }.map(|text| String::from_utf8_lossy(text).into_owned())
}

/// Copies octets to the C heap with a NUL behind them, for a receiver that calls `free`. NULL when
/// there is no memory.
pub(crate) fn to_malloc(octets: &[u8]) -> *mut c_char {
    // SAFETY: `malloc` has no preconditions.
    let copy = unsafe { libc::malloc(octets.len() + 1) }.cast::<u8>();
    if !copy.is_null() {
        // SAFETY: the block has one octet more than `octets`, and nobody else knows it yet.
        unsafe {
            std::ptr::copy_nonoverlapping(octets.as_ptr(), copy, octets.len());
            copy.add(octets.len()).write(0);
        }
    }
    copy.cast()
}

/// Hands text to C: the pointer into `out`, the length into `len`; both may be NULL.
///
/// # Safety
///
/// `out` and `len` are NULL or writable.
pub(crate) unsafe fn give(octets: &[u8], out: *mut *mut c_char, len: *mut usize) {
    if !out.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { out.write_unaligned(to_malloc(octets)) };
    }
    // SAFETY: the caller vouches for it.
    unsafe { write(len, octets.len()) };
}

/// Writes `value` where C wants it, unless that is NULL.
///
/// # Safety
///
/// `out` is NULL or writable; its alignment does not matter.
pub(crate) unsafe fn write<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { out.write_unaligned(value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_zero_means_terminated_and_null_is_empty() {
        let text = c"abc".as_ptr();
        // SAFETY: a literal.
        unsafe {
            assert_eq!(sized(text, 0), b"abc");
            assert_eq!(sized(text, 2), b"ab");
            assert_eq!(sized(text, 4), b"abc\0");
            assert_eq!(sized(std::ptr::null(), 0), b"");
            assert_eq!(sized(std::ptr::null(), 7), b"");
            assert_eq!(terminated(std::ptr::null()), None);
        }
    }

    #[test]
    fn text_given_to_c_has_a_terminator_and_lives_on_the_c_heap() {
        let mut out = std::ptr::null_mut();
        let mut len = 0;
        // SAFETY: both are local; the text is freed once.
        unsafe {
            give(b"a\0b", &raw mut out, &raw mut len);
            assert_eq!((len, std::slice::from_raw_parts(out.cast::<u8>(), 4)), (3, &b"a\0b\0"[..]));
            libc::free(out.cast());
        }
    }
}
