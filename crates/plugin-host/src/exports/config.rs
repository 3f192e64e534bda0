//! Initialisation and configuration.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

use plugin_abi::{HalonConfig, HalonInitContext};

use super::exports;
use crate::configuration::ConfigNode;
use crate::initialisation::InitContext;
use crate::text;

exports! {
    /// Gives the configuration of a plugin during its init calls. Since 5.6. The out pointer is always
    /// written, as NULL where there is nothing.
    fn HalonMTA_init_getinfo(
        context: *mut HalonInitContext,
        selector: c_int,
        _input: *const c_void,
        _input_len: usize,
        out: *mut c_void,
        _out_len: *mut usize,
    ) -> bool, or false => {
        // SAFETY: the context of the init call that is under way.
        let found = unsafe { InitContext::from_raw(context) }
            .and_then(|context| context.select(selector));
        // SAFETY: both selectors write a `HalonConfig *`.
        unsafe { text::write(out.cast(), found.map_or(null_mut(), |tree| tree.as_ptr())) };
        found.is_some()
    }

    /// Finds a member of a mapping. Since 5.6. NULL in, or another kind of node: NULL.
    fn HalonMTA_config_object_get(
        config: *mut HalonConfig,
        key: *const c_char,
    ) -> *mut HalonConfig, or null_mut() => {
        // SAFETY: a node of ours, and terminated text.
        let (node, key) = unsafe { (ConfigNode::from_raw(config), text::terminated(key)) };
        node.zip(key)
            .and_then(|(node, key)| node.member(key))
            .map_or(null_mut(), ConfigNode::as_ptr)
    }

    /// Gives the key at a position of a mapping. Since 6.5. Past the end: NULL.
    fn HalonMTA_config_object_key_get(
        config: *mut HalonConfig,
        index: usize,
    ) -> *mut HalonConfig, or null_mut() => {
        // SAFETY: a node of ours.
        let node = unsafe { ConfigNode::from_raw(config) };
        node.and_then(|node| node.key(index)).map_or(null_mut(), ConfigNode::as_ptr)
    }

    /// Gives the element at a position of a list. Since 5.6. Past the end: NULL.
    fn HalonMTA_config_array_get(
        config: *mut HalonConfig,
        index: usize,
    ) -> *mut HalonConfig, or null_mut() => {
        // SAFETY: a node of ours.
        let node = unsafe { ConfigNode::from_raw(config) };
        node.and_then(|node| node.element(index)).map_or(null_mut(), ConfigNode::as_ptr)
    }

    /// Gives the text of a scalar as written; empty for mappings and lists. Since 5.6. Borrowed.
    fn HalonMTA_config_string_get(
        config: *mut HalonConfig,
        len: *mut usize,
    ) -> *const c_char, or std::ptr::null() => {
        // SAFETY: a node of ours.
        let Some(node) = (unsafe { ConfigNode::from_raw(config) }) else {
            return std::ptr::null();
        };
        let text = node.text();
        // SAFETY: NULL or the caller's variable.
        unsafe { text::write(len, text.octets().len()) };
        text.as_ptr()
    }

    /// Gives a node as JSON. Since 6.0. The caller frees the text.
    fn HalonMTA_config_to_json(
        config: *mut HalonConfig,
        out: *mut *mut c_char,
        len: *mut usize,
    ) -> bool, or false => {
        // SAFETY: NULL or the caller's variables.
        unsafe {
            text::write(out, null_mut());
            text::write(len, 0);
        }
        // SAFETY: a node of ours.
        let Some(node) = (unsafe { ConfigNode::from_raw(config) }) else { return false };
        // SAFETY: NULL or the caller's variables.
        unsafe { text::give(node.to_json().as_bytes(), out, len) };
        true
    }
}
