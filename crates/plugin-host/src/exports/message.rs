//! Queued messages.

use std::ffi::{c_int, c_void};

use plugin_abi::HalonQueueMessage;

use super::exports;
use crate::message::{Message, Selected};
use crate::text;

exports! {
    /// Gives a field of a message. Since 5.8. Text is borrowed, terminated, and never NULL.
    fn HalonMTA_message_getinfo(
        message: *mut HalonQueueMessage,
        selector: c_int,
        _input: *const c_void,
        _input_len: usize,
        out: *mut c_void,
        out_len: *mut usize,
    ) -> bool, or false => {
        // SAFETY: a message of a context that is valid.
        let selected = unsafe { Message::from_raw(message) }
            .and_then(|message| message.select(selector));
        match selected {
            // SAFETY: the header gives this type for selectors of text.
            Some(Selected::Text(octets, len, _)) => unsafe {
                text::write(out.cast(), octets);
                text::write(out_len, len);
            },
            // SAFETY: the header gives this type for the queue id.
            Some(Selected::QueueId(id)) => unsafe { text::write(out.cast(), id) },
            None => return false,
        }
        true
    }
}
