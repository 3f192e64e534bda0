//! A plugin in Rust: reverse(string) -> string, and reverse_later(string, number seconds) -> string,
//! which lets the script sleep without holding a thread of the server.

#![deny(unsafe_op_in_unsafe_fn)]

mod halon;

use std::os::raw::{c_int, c_void};
use std::ptr::{addr_of_mut, null_mut};
use std::thread;
use std::time::Duration;

use halon::*;

#[no_mangle]
pub extern "C" fn Halon_version() -> c_int {
    HALONMTA_PLUGIN_VERSION
}

#[no_mangle]
pub unsafe extern "C" fn Halon_hsl_register(context: *mut HalonHSLRegisterContext) -> bool {
    let functions: [(&[u8], HalonHSLFunction); 2] =
        [(b"reverse\0", reverse), (b"reverse_later\0", reverse_later)];
    functions.iter().all(|(name, function)| unsafe {
        HalonMTA_hsl_module_register_function(context, name.as_ptr().cast(), Some(*function))
    })
}

unsafe extern "C" fn reverse(
    context: *mut HalonHSLContext,
    arguments: *mut HalonHSLArguments,
    result: *mut HalonHSLValue,
) {
    match unsafe { text(arguments, 0) } {
        Some(text) => unsafe { set(result, HALONMTA_HSL_TYPE_STRING, &reversed(&text)) },
        None => unsafe { throw(context, "reverse() expects a string") },
    }
}

/// What a script may be waiting for: used by one thread at a time, first the call's, then ours.
struct Waiting {
    context: *mut HalonHSLContext,
    result: *mut HalonHSLValue,
    text: Vec<u8>,
}

// Until the script is scheduled, context and slot are the plugin's, on any thread.
unsafe impl Send for Waiting {}

impl Waiting {
    fn answer(self) {
        unsafe {
            set(self.result, HALONMTA_HSL_TYPE_STRING, &reversed(&self.text));
            // From here on they are off limits.
            HalonMTA_hsl_schedule(self.context);
        }
    }
}

unsafe extern "C" fn reverse_later(
    context: *mut HalonHSLContext,
    arguments: *mut HalonHSLArguments,
    result: *mut HalonHSLValue,
) {
    let (text, wait) = match unsafe { (text(arguments, 0), number(arguments, 1)) } {
        (Some(text), Some(seconds)) if (0.0..=86_400.0).contains(&seconds) => {
            (text, Duration::from_secs_f64(seconds))
        }
        _ => {
            unsafe { throw(context, "reverse_later() expects a string and up to 86400 seconds") };
            return;
        }
    };
    let waiting = Waiting { context, result, text };
    let started = thread::Builder::new().name("reverse".into()).spawn(move || {
        thread::sleep(wait);
        waiting.answer();
    });
    match started {
        // The thread may be faster than this call: the host keeps an early wake-up.
        Ok(_) => unsafe { HalonMTA_hsl_suspend_return(context) },
        Err(error) => unsafe { throw(context, &error.to_string()) },
    }
}

fn reversed(text: &[u8]) -> Vec<u8> {
    text.iter().rev().copied().collect()
}

/// The text of an argument, copied: what the host gives is borrowed.
unsafe fn text(arguments: *mut HalonHSLArguments, at: usize) -> Option<Vec<u8>> {
    let mut text: *const u8 = std::ptr::null();
    let mut length = 0;
    unsafe {
        let value = HalonMTA_hsl_argument_get(arguments, at);
        let out = addr_of_mut!(text).cast::<c_void>();
        HalonMTA_hsl_value_get(value, HALONMTA_HSL_TYPE_STRING, out, &mut length)
            .then(|| std::slice::from_raw_parts(text, length).to_vec())
    }
}

unsafe fn number(arguments: *mut HalonHSLArguments, at: usize) -> Option<f64> {
    let mut number = 0.0_f64;
    unsafe {
        let value = HalonMTA_hsl_argument_get(arguments, at);
        let out = addr_of_mut!(number).cast::<c_void>();
        HalonMTA_hsl_value_get(value, HALONMTA_HSL_TYPE_NUMBER, out, null_mut()).then_some(number)
    }
}

unsafe fn set(value: *mut HalonHSLValue, kind: c_int, text: &[u8]) {
    // A length of 0 would mean that the text ends with NUL.
    let data = if text.is_empty() { b"\0".as_ptr() } else { text.as_ptr() };
    unsafe { HalonMTA_hsl_value_set(value, kind, data.cast(), text.len()) };
}

unsafe fn throw(context: *mut HalonHSLContext, message: &str) {
    unsafe { set(HalonMTA_hsl_throw(context), HALONMTA_HSL_TYPE_EXCEPTION, message.as_bytes()) };
}
