//! Delivery attempts.

use std::ffi::{c_char, c_int, c_void};

use plugin_abi::HalonDeliverContext;
use plugin_abi::constants::*;

use super::exports;
use crate::door::door;
use crate::text;

exports! {
    /// Gives the message as a file, its fields, the arguments or the return slot. Since 5.7. All
    /// borrowed until `HalonMTA_deliver_done`. The out pointer is always written.
    fn HalonMTA_deliver_getinfo(
        context: *mut HalonDeliverContext,
        selector: c_int,
        _input: *const c_void,
        _input_len: usize,
        out: *mut c_void,
        _out_len: *mut usize,
    ) -> bool, or false => {
        // SAFETY: an attempt of ours.
        let found = unsafe { door().attempts.find(context) };
        let pointer: Option<*mut c_void> = found.as_ref().and_then(|(_, attempt)| match selector {
            HALONMTA_INFO_FILE => attempt.stream().map(<*mut _>::cast),
            HALONMTA_INFO_MESSAGE => Some(attempt.message.as_ptr().cast()),
            HALONMTA_INFO_ARGUMENTS => attempt.arguments().map(|cell| cell.as_ptr().cast()),
            HALONMTA_INFO_RETURN => attempt.return_slot().map(|cell| cell.as_ptr().cast()),
            _ => None,
        });
        // SAFETY: every selector writes a pointer.
        unsafe { text::write(out.cast(), pointer.unwrap_or(std::ptr::null_mut())) };
        pointer.is_some()
    }

    /// Sets the result. Since 5.7. A code is read as a `short`; text is copied.
    fn HalonMTA_deliver_setinfo(
        context: *mut HalonDeliverContext,
        selector: c_int,
        data: *const c_void,
        len: usize,
    ) -> bool, or false => {
        // SAFETY: an attempt of ours.
        let Some((_, attempt)) = (unsafe { door().attempts.find(context) }) else { return false };
        match selector {
            HALONMTA_RESULT_CODE if !data.is_null() => {
                // Compat: plugins pass short, int and long. The low two octets are in all of them.
                // SAFETY: at least a `short`.
                attempt.set_code(unsafe { data.cast::<i16>().read_unaligned() });
            }
            // SAFETY: text with this length, or terminated.
            HALONMTA_RESULT_REASON => attempt.set_reason(unsafe { text::sized(data.cast(), len) }),
            // SAFETY: as above.
            HALONMTA_ERROR_REASON => attempt.set_error(unsafe { text::sized(data.cast(), len) }),
            _ => return false,
        }
        true
    }

    /// Adds a line to the trace of the message. Since 6.9. Copied.
    fn HalonMTA_deliver_trace(
        context: *mut HalonDeliverContext,
        _reserved: c_int,
        line: *const c_char,
        len: usize,
    ) -> bool, or false => {
        // SAFETY: an attempt of ours.
        let Some((_, attempt)) = (unsafe { door().attempts.find(context) }) else { return false };
        // SAFETY: text with this length, or terminated.
        attempt.trace(unsafe { text::sized(line, len) });
        true
    }

    /// Ends the attempt, once, from any thread. Since 5.7. The context is gone.
    fn HalonMTA_deliver_done(context: *mut HalonDeliverContext) => {
        // SAFETY: an attempt of ours.
        if let Some((handle, attempt)) = unsafe { door().attempts.find(context) } {
            attempt.done(handle);
        }
    }
}
