//! Conversions between charsets by the C library's `iconv`.

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::OnceLock;

/// A conversion from one charset to another.
pub(crate) struct Converter {
    handle: *mut c_void,
    /// `//IGNORE` was asked for: the library reports what it left out as an error at the end.
    ignores: bool,
}

// SAFETY: the library keeps no state of the thread in a conversion; it is used by one at a time.
unsafe impl Send for Converter {}

unsafe extern "C" {
    fn iconv_open(to: *const c_char, from: *const c_char) -> *mut c_void;
    fn iconv(
        handle: *mut c_void,
        input: *mut *mut c_char,
        input_left: *mut usize,
        output: *mut *mut c_char,
        output_left: *mut usize,
    ) -> usize;
    fn iconv_close(handle: *mut c_void) -> c_int;
}

/// Why a conversion does not go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IconvError {
    /// The number of the error (`errno`): `EILSEQ` for octets that are none of the charset or have
    /// no like in the other, `EINVAL` for an incomplete character at the end, or an unknown charset.
    Number(i32),
    /// The text is longer than allowed.
    TooLong,
}

impl Converter {
    /// Opens a conversion; names and suffixes are those of the C library.
    pub(crate) fn open(from: &[u8], to: &[u8]) -> Result<Self, IconvError> {
        let unknown = IconvError::Number(libc::EINVAL);
        let (Ok(from), Ok(target)) = (CString::new(from), CString::new(to)) else {
            return Err(unknown);
        };
        let ignores = to.to_ascii_uppercase().windows(8).any(|part| part == b"//IGNORE")
            || to.to_ascii_uppercase().windows(7).any(|part| part == b",IGNORE");
        // SAFETY: both are terminated strings.
        let handle = in_utf8_locale(|| unsafe { iconv_open(target.as_ptr(), from.as_ptr()) });
        // The library says (iconv_t)-1 for none.
        if handle as isize == -1 {
            return Err(IconvError::Number(errno()));
        }
        Ok(Self { handle, ignores })
    }

    /// Converts a whole text, of which `most` octets may come out.
    pub(crate) fn convert(&mut self, text: &[u8], most: usize) -> Result<Vec<u8>, IconvError> {
        in_utf8_locale(|| self.run(text, most))
    }

    fn run(&mut self, text: &[u8], most: usize) -> Result<Vec<u8>, IconvError> {
        let null = std::ptr::null_mut();
        // SAFETY: an open handle; null pointers put it into its first state.
        unsafe { iconv(self.handle, null, std::ptr::null_mut(), null, std::ptr::null_mut()) };
        let mut out = Vec::new();
        let mut rest = text;
        let mut is_flushing = false;
        loop {
            let mut buffer = [0u8; BUFFER_OCTETS];
            let mut input = rest.as_ptr().cast_mut().cast::<c_char>();
            let mut input_left = rest.len();
            let mut output = buffer.as_mut_ptr().cast::<c_char>();
            let mut output_left = buffer.len();
            // SAFETY: an open handle, and pointers with the lengths of what they point to. The
            // library does not write to the input.
            let result = unsafe {
                if is_flushing {
                    let none = std::ptr::null_mut();
                    iconv(self.handle, none, std::ptr::null_mut(), &mut output, &mut output_left)
                } else {
                    iconv(self.handle, &mut input, &mut input_left, &mut output, &mut output_left)
                }
            };
            let error = errno();
            let made = buffer.get(..BUFFER_OCTETS - output_left).unwrap_or_default();
            if out.len() + made.len() > most {
                return Err(IconvError::TooLong);
            }
            out.extend_from_slice(made);
            let taken = rest.len() - input_left;
            rest = rest.get(taken..).unwrap_or_default();
            if result != usize::MAX || error == libc::EILSEQ && self.ignores && rest.is_empty() {
                if is_flushing {
                    return Ok(out);
                }
                is_flushing = true;
                continue;
            }
            let has_moved = taken > 0 || !made.is_empty();
            let goes_on = error == libc::E2BIG || error == libc::EILSEQ && self.ignores;
            if !(goes_on && has_moved) {
                return Err(IconvError::Number(error));
            }
        }
    }
}

impl Drop for Converter {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once.
        unsafe { iconv_close(self.handle) };
    }
}

/// Runs `body` where `//TRANSLIT` knows accents: in a process that never chose a locale it would
/// make question marks of them.
fn in_utf8_locale<R>(body: impl FnOnce() -> R) -> R {
    // SAFETY: a terminated name; a null pointer for "no base".
    let locale = *LOCALE.get_or_init(|| unsafe {
        libc::newlocale(libc::LC_CTYPE_MASK, c"C.UTF-8".as_ptr(), std::ptr::null_mut()) as usize
    });
    if locale == 0 {
        return body();
    }
    // SAFETY: a locale that lives as long as the process; it holds for this thread only, and is put
    // back below. `body` does not unwind.
    let before = unsafe { libc::uselocale(locale as libc::locale_t) };
    let result = body();
    // SAFETY: the locale that this thread had.
    unsafe { libc::uselocale(before) };
    result
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}

static LOCALE: OnceLock<usize> = OnceLock::new();
const BUFFER_OCTETS: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(from: &str, to: &str, text: &[u8]) -> Result<Vec<u8>, IconvError> {
        Converter::open(from.as_bytes(), to.as_bytes())?.convert(text, 1 << 20)
    }

    #[test]
    fn names_and_suffixes_are_those_of_the_c_library() {
        assert_eq!(convert("ISO-8859-1", "UTF-8", b"\xe5").unwrap(), "å".as_bytes());
        assert_eq!(convert("UTF-8", "UTF-16BE", b"a").unwrap(), b"\0a");
        assert_eq!(convert("UTF-8", "ASCII//TRANSLIT", "é€".as_bytes()).unwrap(), b"eEUR");
        assert_eq!(convert("UTF-8", "ASCII//IGNORE", "aåb€c".as_bytes()).unwrap(), b"abc");
        assert_eq!(convert("UTF-8", "UTF-8//IGNORE", b"a\xffb").unwrap(), b"ab");
    }

    #[test]
    fn what_cannot_be_converted_has_the_number_of_its_error() {
        let number = IconvError::Number;
        assert_eq!(convert("UTF-8", "ASCII", "å".as_bytes()), Err(number(libc::EILSEQ)));
        assert_eq!(convert("UTF-8", "UTF-16LE", b"\xc3"), Err(number(libc::EINVAL)));
        assert_eq!(convert("no-such", "UTF-8", b"").err(), Some(number(libc::EINVAL)));
    }

    #[test]
    fn long_texts_and_closing_sequences_are_whole() {
        let text = "日本".repeat(20_000);
        let encoded = convert("UTF-8", "ISO-2022-JP", text.as_bytes()).unwrap();
        assert!(encoded.ends_with(b"\x1b(B"));
        assert_eq!(convert("ISO-2022-JP", "UTF-8", &encoded).unwrap(), text.as_bytes());
        let mut narrow = Converter::open(b"UTF-8", b"UTF-32LE").unwrap();
        assert_eq!(narrow.convert(&[b'x'; 100], 399), Err(IconvError::TooLong));
        assert_eq!(narrow.convert(&[b'x'; 100], 400).unwrap().len(), 400);
    }
}
