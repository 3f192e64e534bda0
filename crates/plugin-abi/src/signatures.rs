//! Prototypes: of what the host exports, and of the entry points that plugins export.
//!
//! [`for_each_function`] is the table. It becomes the function types of this module, the C text that
//! the header is compared with, and in `plugin-host` the proof that each export has its type.

#![allow(non_camel_case_types, reason = "the types carry the names of the header")]

use std::ffi::{c_char, c_double, c_int, c_void};

use crate::types::*;

/// A function of a plugin that scripts call.
pub type HalonHSLFunction =
    unsafe extern "C" fn(*mut HalonHSLContext, *mut HalonHSLArguments, *mut HalonHSLValue);

/// Releases the pointer of an object.
pub type FreeCallback = unsafe extern "C" fn(*mut c_void);

/// Tells the result of an injection.
pub type InjectCallback = unsafe extern "C" fn(*mut HalonInjectResultContext, *mut c_void);

/// Calls a macro with the table of all functions that the host exports.
#[macro_export]
macro_rules! for_each_function {
    ($callback:ident) => {
        $callback! {
            fn HalonMTA_init_getinfo(*mut HalonInitContext, c_int, *const c_void, usize, *mut c_void, *mut usize) -> bool;

            fn HalonMTA_config_object_get(*mut HalonConfig, *const c_char) -> *mut HalonConfig;
            fn HalonMTA_config_object_key_get(*mut HalonConfig, usize) -> *mut HalonConfig;
            fn HalonMTA_config_array_get(*mut HalonConfig, usize) -> *mut HalonConfig;
            fn HalonMTA_config_string_get(*mut HalonConfig, *mut usize) -> *const c_char;
            fn HalonMTA_config_to_json(*mut HalonConfig, *mut *mut c_char, *mut usize) -> bool;

            fn HalonMTA_hsl_register_function(*mut HalonHSLRegisterContext, *const c_char, Option<HalonHSLFunction>) -> bool;
            fn HalonMTA_hsl_register_static_function(*mut HalonHSLRegisterContext, *const c_char, *const c_char, Option<HalonHSLFunction>) -> bool;
            fn HalonMTA_hsl_module_register_function(*mut HalonHSLRegisterContext, *const c_char, Option<HalonHSLFunction>) -> bool;
            fn HalonMTA_hsl_module_register_static_function(*mut HalonHSLRegisterContext, *const c_char, *const c_char, Option<HalonHSLFunction>) -> bool;

            fn HalonMTA_hsl_argument_get(*mut HalonHSLArguments, usize) -> *mut HalonHSLValue;
            fn HalonMTA_hsl_argument_list(*mut HalonHSLArguments, usize) -> *mut HalonHSLValue;
            fn HalonMTA_hsl_argument_length(*mut HalonHSLArguments) -> usize;
            fn HalonMTA_hsl_value_type(*const HalonHSLValue) -> c_int;
            fn HalonMTA_hsl_value_get(*const HalonHSLValue, c_int, *mut c_void, *mut usize) -> bool;
            fn HalonMTA_hsl_value_set(*mut HalonHSLValue, c_int, *const c_void, usize) -> bool;
            fn HalonMTA_hsl_value_array_length(*const HalonHSLValue) -> usize;
            fn HalonMTA_hsl_value_array_get(*const HalonHSLValue, usize, *mut *mut HalonHSLValue) -> *mut HalonHSLValue;
            fn HalonMTA_hsl_value_array_find(*const HalonHSLValue, *const c_char) -> *mut HalonHSLValue;
            fn HalonMTA_hsl_value_array_add(*mut HalonHSLValue, *mut *mut HalonHSLValue, *mut *mut HalonHSLValue) -> bool;
            fn HalonMTA_hsl_value_to_json(*const HalonHSLValue, *mut *mut c_char, *mut usize) -> bool;
            fn HalonMTA_hsl_value_to_json2(*const HalonHSLValue, *mut *mut c_char, *mut usize, c_int) -> bool;
            fn HalonMTA_hsl_value_from_json(*mut HalonHSLValue, *const c_char, *mut *mut c_char, *mut usize) -> bool;
            fn HalonMTA_hsl_value_from_json2(*mut HalonHSLValue, *const c_char, *mut *mut c_char, *mut usize, c_int) -> bool;
            fn HalonMTA_hsl_throw(*mut HalonHSLContext) -> *mut HalonHSLValue;
            fn HalonMTA_hsl_suspend(*mut HalonHSLContext) -> ();
            fn HalonMTA_hsl_suspend_return(*mut HalonHSLContext) -> ();
            fn HalonMTA_hsl_schedule(*mut HalonHSLContext) -> ();

            fn HalonMTA_hsl_object_new() -> *mut HalonHSLObject;
            fn HalonMTA_hsl_object_delete(*mut HalonHSLObject) -> ();
            fn HalonMTA_hsl_object_type_set(*mut HalonHSLObject, *const c_char) -> bool;
            fn HalonMTA_hsl_object_register_function(*mut HalonHSLObject, *const c_char, Option<HalonHSLFunction>) -> bool;
            fn HalonMTA_hsl_object_ptr_set(*mut HalonHSLObject, *mut c_void, Option<FreeCallback>) -> bool;
            fn HalonMTA_hsl_object_ptr_get(*mut HalonHSLContext) -> *mut c_void;

            fn HalonMTA_deliver_getinfo(*mut HalonDeliverContext, c_int, *const c_void, usize, *mut c_void, *mut usize) -> bool;
            fn HalonMTA_deliver_setinfo(*mut HalonDeliverContext, c_int, *const c_void, usize) -> bool;
            fn HalonMTA_deliver_trace(*mut HalonDeliverContext, c_int, *const c_char, usize) -> bool;
            fn HalonMTA_deliver_done(*mut HalonDeliverContext) -> ();
            fn HalonMTA_message_getinfo(*mut HalonQueueMessage, c_int, *const c_void, usize, *mut c_void, *mut usize) -> bool;

            fn HalonMTA_queue_getinfo(*mut HalonQueueContext, c_int, *const c_void, usize, *mut c_void, *mut usize) -> bool;
            fn HalonMTA_queue_setinfo(*mut HalonQueueContext, c_int, *const c_void, usize) -> bool;

            fn HalonMTA_queue_suspend_add(*const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, c_double) -> *mut c_char;
            fn HalonMTA_queue_suspend_add2(*const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, c_double) -> *mut c_char;
            fn HalonMTA_queue_suspend_add5(*const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *mut *const c_char, usize, c_double) -> *mut c_char;
            fn HalonMTA_queue_suspend_delete(*const c_char) -> bool;

            fn HalonMTA_queue_policy_add(c_int, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, usize, usize, c_double, *const c_char, c_double) -> *mut c_char;
            fn HalonMTA_queue_policy_add3(c_int, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, usize, usize, c_double, *const c_char, *mut *const c_char, usize, bool, c_double) -> *mut c_char;
            fn HalonMTA_queue_policy_add4(c_int, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, usize, usize, c_double, *const c_char, *mut *const c_char, usize, bool, c_double) -> *mut c_char;
            fn HalonMTA_queue_policy_add6(*const c_char, c_int, c_int, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, *const c_char, usize, usize, c_double, c_int, c_double, *const c_char, *mut *const c_char, usize, bool, bool, c_double) -> *mut c_char;
            fn HalonMTA_queue_policy_update(*const c_char, usize, usize, c_double, *const c_char, c_double) -> bool;
            fn HalonMTA_queue_policy_update2(*const c_char, usize, usize, c_double, *const c_char, *mut *const c_char, usize, c_double) -> bool;
            fn HalonMTA_queue_policy_update3(*const c_char, usize, usize, c_double, c_double, *const c_char, *mut *const c_char, usize, bool, c_double) -> bool;
            fn HalonMTA_queue_policy_update4(*const c_char, usize, usize, c_double, c_int, c_double, *const c_char, *mut *const c_char, usize, bool, bool, c_double) -> bool;
            fn HalonMTA_queue_policy_delete(*const c_char) -> bool;
            fn HalonMTA_queue_policy_divide(usize) -> ();

            fn HalonMTA_queue_list_add(c_int, *const c_char) -> bool;
            fn HalonMTA_queue_list_item_add(c_int, *const c_char, *const c_char) -> bool;
            fn HalonMTA_queue_list_item_delete(c_int, *const c_char, *const c_char) -> bool;
            fn HalonMTA_queue_list_reload(c_int, *const c_char) -> bool;

            fn HalonMTA_inject_new(*const c_char) -> *mut HalonInjectContext;
            fn HalonMTA_inject_callback_set(*mut HalonInjectContext, Option<InjectCallback>, *mut c_void) -> bool;
            fn HalonMTA_inject_sender_set(*mut HalonInjectContext, *const c_char, *const c_char) -> bool;
            fn HalonMTA_inject_recipient_add(*mut HalonInjectContext, *const c_char, *const c_char, *const c_char) -> bool;
            fn HalonMTA_inject_message_append(*mut HalonInjectContext, *const c_char, usize) -> bool;
            fn HalonMTA_inject_getinfo(*mut HalonInjectContext, c_int, *const c_void, usize, *mut c_void, *mut usize) -> bool;
            fn HalonMTA_inject_commit(*mut HalonInjectContext) -> bool;
            fn HalonMTA_inject_abort(*mut HalonInjectContext) -> ();
            fn HalonMTA_inject_result_getinfo(*mut HalonInjectResultContext, c_int, *const c_void, usize, *mut c_void, *mut usize) -> bool;
        }
    };
}

/// Calls a macro with the table of the entry points that a plugin may export.
#[macro_export]
macro_rules! for_each_entry_point {
    ($callback:ident) => {
        $callback! {
            fn Halon_version() -> c_int;
            fn Halon_early_init(*mut HalonInitContext) -> bool;
            fn Halon_init(*mut HalonInitContext) -> bool;
            fn Halon_hsl_register(*mut HalonHSLRegisterContext) -> bool;
            fn Halon_ready(*mut HalonReadyContext) -> ();
            fn Halon_config_reload(*mut HalonConfig) -> ();
            fn Halon_command_execute(*mut HalonCommandExecuteContext, usize, *mut *const c_char, *mut usize, *mut *mut c_char, *mut usize) -> bool;
            fn Halon_plugin_command(*const c_char, usize, *mut *mut c_char, *mut usize) -> bool;
            fn Halon_deliver(*mut HalonDeliverContext) -> ();
            fn Halon_queue_pickup_acquire(*mut HalonQueueMessage) -> bool;
            fn Halon_queue_pickup_acquire2(*mut HalonQueueContext) -> bool;
            fn Halon_queue_insert_callback(*mut HalonQueueContext) -> bool;
            fn Halon_early_cleanup() -> ();
            fn Halon_cleanup() -> ();
        }
    };
}

macro_rules! function_types {
    ($(fn $name:ident($($parameter:ty),* $(,)?) -> $result:ty;)*) => {
        $(
            #[doc = concat!("The type of `", stringify!($name), "`; see the header.")]
            pub type $name = unsafe extern "C" fn($($parameter),*) -> $result;
        )*
    };
}

for_each_function!(function_types);
for_each_entry_point!(function_types);

/// A function as C declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// Its name.
    pub name: &'static str,
    /// The type it returns.
    pub result: String,
    /// The types of its parameters.
    pub parameters: Vec<String>,
}

impl Prototype {
    /// Writes the declaration, without `extern` and without a semicolon.
    #[must_use]
    pub fn declaration(&self) -> String {
        let parameters = match self.parameters.as_slice() {
            [] => "void".to_owned(),
            parameters => parameters.join(", "),
        };
        format!("{} {}({parameters})", self.result, self.name)
    }
}

macro_rules! prototypes {
    ($(fn $name:ident($($parameter:ty),* $(,)?) -> $result:ty;)*) => {
        vec![$(Prototype {
            name: stringify!($name),
            result: <$result as CType>::c_text(),
            parameters: vec![$(<$parameter as CType>::c_text()),*],
        }),*]
    };
}

/// Returns the prototypes of everything the host exports.
#[must_use]
pub fn functions() -> Vec<Prototype> {
    for_each_function!(prototypes)
}

/// Returns the prototypes of the entry points that plugins may export.
#[must_use]
pub fn entry_points() -> Vec<Prototype> {
    for_each_entry_point!(prototypes)
}

/// A type that C knows.
trait CType {
    /// Writes the type as C does, without the name of a parameter.
    fn c_text() -> String;
}

macro_rules! c_types {
    ($($type:ty => $text:literal;)*) => {
        $(impl CType for $type {
            fn c_text() -> String {
                $text.to_owned()
            }
        })*
    };
}

c_types! {
    () => "void";
    bool => "bool";
    c_char => "char";
    c_int => "int";
    c_double => "double";
    c_void => "void";
    usize => "size_t";
    Option<HalonHSLFunction> => "void (*)(HalonHSLContext *, HalonHSLArguments *, HalonHSLValue *)";
    Option<FreeCallback> => "void (*)(void *)";
    Option<InjectCallback> => "void (*)(HalonInjectResultContext *, void *)";
    HalonInitContext => "HalonInitContext";
    HalonReadyContext => "HalonReadyContext";
    HalonConfig => "HalonConfig";
    HalonCommandExecuteContext => "HalonCommandExecuteContext";
    HalonHSLRegisterContext => "HalonHSLRegisterContext";
    HalonHSLContext => "HalonHSLContext";
    HalonHSLArguments => "HalonHSLArguments";
    HalonHSLValue => "HalonHSLValue";
    HalonHSLObject => "HalonHSLObject";
    HalonDeliverContext => "HalonDeliverContext";
    HalonQueueContext => "HalonQueueContext";
    HalonQueueMessage => "HalonQueueMessage";
    HalonInjectContext => "HalonInjectContext";
    HalonInjectResultContext => "HalonInjectResultContext";
}

impl<T: CType> CType for *const T {
    fn c_text() -> String {
        format!("{} const *", T::c_text())
    }
}

impl<T: CType> CType for *mut T {
    fn c_text() -> String {
        format!("{} *", T::c_text())
    }
}
