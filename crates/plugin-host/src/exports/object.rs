//! Objects.

use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

use plugin_abi::signatures::{FreeCallback, HalonHSLFunction};
use plugin_abi::{HalonHSLContext, HalonHSLObject};

use super::exports;
use crate::call::Call;
use crate::object::Draft;
use crate::plugin::PluginPointer;
use crate::text;

exports! {
    /// Makes an object. Since 5.8. The caller ends its reference with `HalonMTA_hsl_object_delete`.
    fn HalonMTA_hsl_object_new() -> *mut HalonHSLObject, or null_mut() => {
        Draft::new().into_raw()
    }

    /// Ends the creator's reference. Since 5.8. Scripts keep theirs.
    fn HalonMTA_hsl_object_delete(object: *mut HalonHSLObject) => {
        // SAFETY: an object of the caller, who does not use it again.
        unsafe { Draft::take_back(object) };
    }

    /// Names the type. Since 5.8. Copied. False once a script has the object.
    fn HalonMTA_hsl_object_type_set(
        object: *mut HalonHSLObject,
        name: *const c_char,
    ) -> bool, or false => {
        // SAFETY: an object of the caller, and terminated text.
        let (draft, name) = unsafe { (Draft::from_raw(object), text::string(name)) };
        draft.zip(name).is_some_and(|(draft, name)| draft.set_type(name))
    }

    /// Adds a method. Since 5.8. A NULL function is looked up by name in the plugin.
    fn HalonMTA_hsl_object_register_function(
        object: *mut HalonHSLObject,
        name: *const c_char,
        function: Option<HalonHSLFunction>,
    ) -> bool, or false => {
        // SAFETY: as above.
        let (draft, name) = unsafe { (Draft::from_raw(object), text::string(name)) };
        draft.zip(name).is_some_and(|(draft, name)| draft.add_method(name, function))
    }

    /// Stores a pointer and what frees it, once, with the last reference. Since 5.8.
    fn HalonMTA_hsl_object_ptr_set(
        object: *mut HalonHSLObject,
        pointer: *mut c_void,
        free: Option<FreeCallback>,
    ) -> bool, or false => {
        // SAFETY: an object of the caller.
        let Some(draft) = (unsafe { Draft::from_raw(object) }) else { return false };
        draft.set_pointer(PluginPointer(pointer), free);
        true
    }

    /// Gives the pointer of the object whose method is running. Since 5.8. NULL in a plain function.
    fn HalonMTA_hsl_object_ptr_get(context: *mut HalonHSLContext) -> *mut c_void, or null_mut() => {
        Call::find(context).and_then(|call| call.object_pointer()).map_or(null_mut(), |pointer| pointer.0)
    }
}
