//! The part of HalonMTA.h that this plugin uses, written by hand: names, types and numbers are those
//! of the header, which never change.
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_void};

pub const HALONMTA_PLUGIN_VERSION: c_int = 56001;
pub const HALONMTA_HSL_TYPE_NUMBER: c_int = 2;
pub const HALONMTA_HSL_TYPE_STRING: c_int = 3;
pub const HALONMTA_HSL_TYPE_EXCEPTION: c_int = 5;

macro_rules! handles {
    ($($name:ident),*) => {
        $(
            /// Never looked into.
            #[repr(C)]
            pub struct $name {
                _private: [u8; 0],
            }
        )*
    };
}

handles!(HalonHSLRegisterContext, HalonHSLContext, HalonHSLArguments, HalonHSLValue);

pub type HalonHSLFunction =
    unsafe extern "C" fn(*mut HalonHSLContext, *mut HalonHSLArguments, *mut HalonHSLValue);

extern "C" {
    pub fn HalonMTA_hsl_module_register_function(
        context: *mut HalonHSLRegisterContext,
        name: *const c_char,
        function: Option<HalonHSLFunction>,
    ) -> bool;
    pub fn HalonMTA_hsl_argument_get(
        arguments: *mut HalonHSLArguments,
        index: usize,
    ) -> *mut HalonHSLValue;
    pub fn HalonMTA_hsl_value_get(
        value: *const HalonHSLValue,
        kind: c_int,
        out: *mut c_void,
        length: *mut usize,
    ) -> bool;
    pub fn HalonMTA_hsl_value_set(
        value: *mut HalonHSLValue,
        kind: c_int,
        data: *const c_void,
        length: usize,
    ) -> bool;
    pub fn HalonMTA_hsl_throw(context: *mut HalonHSLContext) -> *mut HalonHSLValue;
    pub fn HalonMTA_hsl_suspend_return(context: *mut HalonHSLContext);
    pub fn HalonMTA_hsl_schedule(context: *mut HalonHSLContext);
}
