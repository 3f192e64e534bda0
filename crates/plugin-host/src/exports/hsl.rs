//! Registration, arguments, exceptions, suspending.

use std::ffi::c_char;
use std::ptr::null_mut;

use plugin_abi::signatures::HalonHSLFunction;
use plugin_abi::{HalonHSLArguments, HalonHSLContext, HalonHSLRegisterContext, HalonHSLValue};

use super::exports;
use crate::call::{self, ArgumentList, Call, Ticket};
use crate::register::{Registration, Visibility};
use crate::text;
use crate::value::Cell;

/// # Safety
///
/// As the four exports below.
unsafe fn register(
    context: *mut HalonHSLRegisterContext,
    visibility: Visibility,
    class: Option<*const c_char>,
    name: *const c_char,
    function: Option<HalonHSLFunction>,
) -> bool {
    // SAFETY: the context of the register call that is under way.
    let Some(registration) = (unsafe { Registration::from_raw(context) }) else { return false };
    // SAFETY: terminated text or NULL.
    let name = unsafe { text::terminated(name) };
    let class = match class {
        None => None,
        // SAFETY: terminated text or NULL.
        Some(class) => match unsafe { text::terminated(class) } {
            Some(class) => Some(class),
            None => return false,
        },
    };
    registration.add(visibility, class, name, function)
}

exports! {
    /// Registers a global function. Since 5.6. Names are copied; a NULL function is looked up by name.
    fn HalonMTA_hsl_register_function(
        context: *mut HalonHSLRegisterContext,
        name: *const c_char,
        function: Option<HalonHSLFunction>,
    ) -> bool, or false => {
        // SAFETY: the caller's contract is that of `register`.
        unsafe { register(context, Visibility::Global, None, name, function) }
    }

    /// Registers a static function of a global class. Since 5.8.
    fn HalonMTA_hsl_register_static_function(
        context: *mut HalonHSLRegisterContext,
        class: *const c_char,
        name: *const c_char,
        function: Option<HalonHSLFunction>,
    ) -> bool, or false => {
        // SAFETY: as above.
        unsafe { register(context, Visibility::Global, Some(class), name, function) }
    }

    /// Registers a function that scripts import from `extras://<id>`. Since 5.10.
    fn HalonMTA_hsl_module_register_function(
        context: *mut HalonHSLRegisterContext,
        name: *const c_char,
        function: Option<HalonHSLFunction>,
    ) -> bool, or false => {
        // SAFETY: as above.
        unsafe { register(context, Visibility::Module, None, name, function) }
    }

    /// Registers a static function of a class that scripts import. Since 5.10.
    fn HalonMTA_hsl_module_register_static_function(
        context: *mut HalonHSLRegisterContext,
        class: *const c_char,
        name: *const c_char,
        function: Option<HalonHSLFunction>,
    ) -> bool, or false => {
        // SAFETY: as above.
        unsafe { register(context, Visibility::Module, Some(class), name, function) }
    }

    /// Gives an argument. Since 5.6. Past the last one: NULL. Valid until the call is over.
    fn HalonMTA_hsl_argument_get(
        arguments: *mut HalonHSLArguments,
        index: usize,
    ) -> *mut HalonHSLValue, or null_mut() => {
        // SAFETY: the arguments of a call that is under way.
        let list = unsafe { ArgumentList::from_raw(arguments) };
        list.map_or(null_mut(), |list| list.pointer(index))
    }

    /// The same under the name that the announcement of plugins printed. Since 5.6.
    fn HalonMTA_hsl_argument_list(
        arguments: *mut HalonHSLArguments,
        index: usize,
    ) -> *mut HalonHSLValue, or null_mut() => {
        // SAFETY: as above.
        let list = unsafe { ArgumentList::from_raw(arguments) };
        list.map_or(null_mut(), |list| list.pointer(index))
    }

    /// Counts the arguments. Since 5.8.
    fn HalonMTA_hsl_argument_length(arguments: *mut HalonHSLArguments) -> usize, or 0 => {
        // SAFETY: as above.
        unsafe { ArgumentList::from_raw(arguments) }.map_or(0, ArgumentList::len)
    }

    /// Gives the slot of the exception, raised after the function has returned. Since 5.8.
    fn HalonMTA_hsl_throw(context: *mut HalonHSLContext) -> *mut HalonHSLValue, or null_mut() => {
        Call::find(context).and_then(Ticket::throw_slot).map_or(null_mut(), Cell::as_ptr)
    }

    /// Blocks this call inside C until it is scheduled. Since 5.10.
    fn HalonMTA_hsl_suspend(context: *mut HalonHSLContext) => {
        if let Some(call) = Call::find(context) {
            call.suspend();
        }
    }

    /// Suspends the script when the function returns; no thread is held. Since 5.6.
    fn HalonMTA_hsl_suspend_return(context: *mut HalonHSLContext) => {
        if let Some(call) = Call::find(context) {
            call.suspend_return();
        }
    }

    /// Wakes the script, from any thread; an early wake-up is kept. Since 5.6.
    fn HalonMTA_hsl_schedule(context: *mut HalonHSLContext) => {
        call::schedule(context);
    }
}
