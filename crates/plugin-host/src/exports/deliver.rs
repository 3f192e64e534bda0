//! Delivery attempts.

use std::ffi::{c_char, c_int, c_void};

use plugin_abi::HalonDeliverContext;
use plugin_abi::constants::*;

use super::exports;
use crate::delivery::Attempt;
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
        let pointer: Option<*mut c_void> =
            Attempt::find(context).and_then(|attempt| match selector {
                HALONMTA_INFO_FILE => attempt.stream().map(<*mut _>::cast),
                HALONMTA_INFO_MESSAGE => attempt.message().map(<*mut _>::cast),
                HALONMTA_INFO_ARGUMENTS => attempt.arguments().map(<*mut _>::cast),
                HALONMTA_INFO_RETURN => attempt.return_slot().map(<*mut _>::cast),
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
        let Some(attempt) = Attempt::find(context) else { return false };
        match selector {
            HALONMTA_RESULT_CODE if !data.is_null() => {
                // Compat: plugins pass short, int and long. The low two octets are in all of them.
                // SAFETY: at least a `short`.
                attempt.set_code(unsafe { data.cast::<i16>().read_unaligned() })
            }
            // SAFETY: text with this length, or terminated.
            HALONMTA_RESULT_REASON => attempt.set_reason(unsafe { text::sized(data.cast(), len) }),
            // SAFETY: as above.
            HALONMTA_ERROR_REASON => attempt.set_error(unsafe { text::sized(data.cast(), len) }),
            _ => false,
        }
    }

    /// Adds a line to the trace of the message. Since 6.9. Copied.
    fn HalonMTA_deliver_trace(
        context: *mut HalonDeliverContext,
        _reserved: c_int,
        line: *const c_char,
        len: usize,
    ) -> bool, or false => {
        let Some(attempt) = Attempt::find(context) else { return false };
        // SAFETY: text with this length, or terminated.
        attempt.trace(unsafe { text::sized(line, len) })
    }

    /// Ends the attempt, once, from any thread. Since 5.7. The context is gone.
    fn HalonMTA_deliver_done(context: *mut HalonDeliverContext) => {
        if let Some(attempt) = Attempt::find(context) {
            attempt.done();
        }
    }
}
