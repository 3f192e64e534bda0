//! Injecting messages.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

use plugin_abi::constants::*;
use plugin_abi::signatures::InjectCallback;
use plugin_abi::{HalonInjectContext, HalonInjectResultContext};

use super::exports;
use crate::inject::{self, InjectResult, Injection};
use crate::plugin::PluginPointer;
use crate::services::{InjectAddress, InjectRecipient};
use crate::text;

/// # Safety
///
/// Both are NULL or terminated text.
unsafe fn address(localpart: *const c_char, domain: *const c_char) -> InjectAddress {
    // SAFETY: the caller keeps the contract.
    let (localpart, domain) = unsafe { (text::string(localpart), text::string(domain)) };
    InjectAddress { localpart: localpart.unwrap_or_default(), domain }
}

exports! {
    /// Starts a message at a server of type plugin. Since 6.0. NULL if there is none of that id.
    fn HalonMTA_inject_new(serverid: *const c_char) -> *mut HalonInjectContext, or null_mut() => {
        // SAFETY: terminated text or NULL.
        let Some(serverid) = (unsafe { text::string(serverid) }) else { return null_mut() };
        inject::begin(&serverid)
    }

    /// Sets who is told the result, once, after a commit. Since 6.0.
    fn HalonMTA_inject_callback_set(
        context: *mut HalonInjectContext,
        callback: Option<InjectCallback>,
        user: *mut c_void,
    ) -> bool, or false => {
        let Some(injection) = Injection::find(context) else { return false };
        injection.set_callback(callback, PluginPointer(user))
    }

    /// Sets the sender. Since 6.0. Copied; the domain may be NULL.
    fn HalonMTA_inject_sender_set(
        context: *mut HalonInjectContext,
        localpart: *const c_char,
        domain: *const c_char,
    ) -> bool, or false => {
        let Some(injection) = Injection::find(context) else { return false };
        // SAFETY: terminated text or NULL.
        injection.set_sender(unsafe { address(localpart, domain) })
    }

    /// Adds a recipient. Since 6.0. Copied; the domain and the transport may be NULL.
    fn HalonMTA_inject_recipient_add(
        context: *mut HalonInjectContext,
        localpart: *const c_char,
        domain: *const c_char,
        transportid: *const c_char,
    ) -> bool, or false => {
        let Some(injection) = Injection::find(context) else { return false };
        // SAFETY: terminated text or NULL.
        let (address, transportid) =
            unsafe { (address(localpart, domain), text::string(transportid)) };
        injection.add_recipient(InjectRecipient { address, transportid })
    }

    /// Appends octets of the message. Since 6.0. Copied.
    fn HalonMTA_inject_message_append(
        context: *mut HalonInjectContext,
        data: *const c_char,
        len: usize,
    ) -> bool, or false => {
        let Some(injection) = Injection::find(context) else { return false };
        if len == 0 {
            return true;
        }
        // SAFETY: octets with this length; NULL is none.
        injection.append(unsafe { text::sized(data, len) })
    }

    /// Gives the metadata slot. Since 6.0. Valid until commit or abort. Always written.
    fn HalonMTA_inject_getinfo(
        context: *mut HalonInjectContext,
        selector: c_int,
        _input: *const c_void,
        _input_len: usize,
        out: *mut c_void,
        _out_len: *mut usize,
    ) -> bool, or false => {
        let found = Injection::find(context);
        let slot = match &found {
            Some(injection) if selector == HALONMTA_MESSAGE_METADATA => {
                injection.metadata().map(|cell| cell.as_ptr())
            }
            _ => None,
        };
        // SAFETY: the selector writes a `HalonHSLValue *`.
        unsafe { text::write(out.cast(), slot.unwrap_or(null_mut())) };
        slot.is_some()
    }

    /// Hands the message in. Since 6.0. On true the context is gone and the callback will run once.
    fn HalonMTA_inject_commit(context: *mut HalonInjectContext) -> bool, or false => {
        let Some(injection) = Injection::find(context) else { return false };
        let is_taken = injection.commit();
        if is_taken {
            inject::end(context);
        }
        is_taken
    }

    /// Forgets a message that was not committed. Since 6.0. Nobody is called back.
    fn HalonMTA_inject_abort(context: *mut HalonInjectContext) => {
        inject::end(context);
    }

    /// Gives the result: the code as a `short`, or the text. Since 6.0. Borrowed during the callback.
    fn HalonMTA_inject_result_getinfo(
        context: *mut HalonInjectResultContext,
        selector: c_int,
        _input: *const c_void,
        _input_len: usize,
        out: *mut c_void,
        out_len: *mut usize,
    ) -> bool, or false => {
        // SAFETY: the result of the callback that is under way.
        let Some(result) = (unsafe { InjectResult::from_raw(context) }) else { return false };
        match selector {
            // Compat: exactly a `short`; plugins pass the address of one.
            // SAFETY: the caller's `short`.
            HALONMTA_RESULT_CODE => unsafe { text::write(out.cast(), result.code) },
            // SAFETY: the caller's pointer and length.
            HALONMTA_RESULT_REASON => unsafe {
                text::write(out.cast(), result.reason.as_ptr());
                text::write(out_len, result.reason.octets().len());
            },
            _ => return false,
        }
        true
    }
}
