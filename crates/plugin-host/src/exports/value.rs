//! Values.

use std::ffi::{c_char, c_double, c_int, c_void};
use std::ptr::null_mut;

use foreign_types::ForeignType;
use hsl::Value;
use openssl::x509::X509;
use plugin_abi::HalonHSLValue;
use plugin_abi::constants::*;

use super::exports;
use crate::call::Call;
use crate::object::Draft;
use crate::text::{self, CText};
use crate::value::{Cell, Setting, certificate_value, decode, encode};

/// Reads what a plugin sets a value to; `None` where the type and the pointer do not fit.
///
/// # Safety
///
/// `data` is what the header says for `kind`.
#[inline]
unsafe fn setting(kind: c_int, data: *const c_void, len: usize) -> Option<Setting> {
    let is_null = data.is_null();
    Some(match kind {
        HALONMTA_HSL_TYPE_NONE => Setting::None,
        HALONMTA_HSL_TYPE_ARRAY => Setting::Array,
        HALONMTA_HSL_TYPE_STRING => {
            // SAFETY: text with this length, or terminated; NULL is empty.
            Setting::Text(CText::new(unsafe { text::sized(data.cast(), len) }))
        }
        HALONMTA_HSL_TYPE_EXCEPTION => {
            // SAFETY: as above.
            Setting::Exception(CText::new(unsafe { text::sized(data.cast(), len) }))
        }
        _ if is_null => return None,
        // A C `bool` is one octet; any but 0 counts as true here, so that none is invalid.
        // SAFETY: a `bool`.
        HALONMTA_HSL_TYPE_BOOLEAN => Setting::Bool(unsafe { data.cast::<u8>().read() } != 0),
        HALONMTA_HSL_TYPE_NUMBER => {
            // SAFETY: a `double`, maybe in a packed structure.
            Setting::Number(unsafe { data.cast::<c_double>().read_unaligned() })
        }
        // SAFETY: an object that C holds.
        HALONMTA_HSL_TYPE_OBJECT => Setting::Object(unsafe { Draft::from_raw(data.cast()) }?),
        // The context of the running method.
        HALONMTA_HSL_TYPE_THIS => Call::find(data.cast())?.this_setting()?,
        HALONMTA_HSL_TYPE_X509 => {
            // SAFETY: a certificate whose reference passes to us.
            let certificate = unsafe { X509::from_ptr(data.cast_mut().cast()) };
            Setting::Host(certificate_value(certificate))
        }
        _ => return None,
    })
}

/// Writes the value that C asks for as `kind`; false if it is of another type.
///
/// # Safety
///
/// `out` is NULL or what the header says for `kind`, `len` is NULL or writable.
unsafe fn get(cell: Cell<'_>, kind: c_int, out: *mut c_void, len: *mut usize) -> bool {
    /// # Safety
    ///
    /// As above, for a `T`.
    unsafe fn put<T>(out: *mut c_void, value: Option<T>) -> bool {
        let Some(value) = value else { return false };
        // SAFETY: the caller keeps the contract.
        unsafe { text::write(out.cast(), value) };
        true
    }
    // SAFETY: each arm writes the type that the header gives for the kind.
    unsafe {
        match kind {
            HALONMTA_HSL_TYPE_BOOLEAN => put(out, cell.boolean().map(u8::from)),
            HALONMTA_HSL_TYPE_NUMBER => put(out, cell.number()),
            HALONMTA_HSL_TYPE_STRING => {
                let Some((octets, count)) = cell.text() else { return false };
                text::write(len, count);
                put(out, Some(octets))
            }
            HALONMTA_HSL_TYPE_FILE => put(out, cell.file()),
            HALONMTA_HSL_TYPE_X509 => put(out, cell.x509()),
            HALONMTA_HSL_TYPE_PRIVATEKEY => put(out, cell.private_key()),
            // Nothing to write: a test of the type.
            HALONMTA_HSL_TYPE_NONE | HALONMTA_HSL_TYPE_ARRAY => cell.kind() == kind,
            _ => false,
        }
    }
}

/// # Safety
///
/// As `HalonMTA_hsl_value_to_json2`.
unsafe fn to_json(
    value: *const HalonHSLValue,
    out: *mut *mut c_char,
    len: *mut usize,
    flags: c_int,
) -> bool {
    // SAFETY: a value of ours.
    let value = unsafe { Cell::from_raw(value) }.map_or(Value::None, Cell::to_value);
    let json = encode(&value, flags & HALONMTA_JSON_ENCODE_NO_ENSURE_ASCII == 0);
    let (is_json, text) = match json {
        Ok(json) => (true, json),
        Err(error) => (false, error.to_string().into_bytes()),
    };
    // SAFETY: NULL or the caller's variables.
    unsafe { text::give(&text, out, len) };
    is_json
}

/// # Safety
///
/// As `HalonMTA_hsl_value_from_json2`.
unsafe fn from_json(
    value: *mut HalonHSLValue,
    json: *const c_char,
    error: *mut *mut c_char,
    error_len: *mut usize,
    flags: c_int,
) -> bool {
    // SAFETY: NULL or the caller's variables.
    unsafe {
        text::write(error, null_mut());
        text::write(error_len, 0);
    }
    // SAFETY: a value of ours, and terminated text.
    let (cell, json) = unsafe { (Cell::from_raw(value), text::terminated(json)) };
    let Some((cell, json)) = cell.zip(json) else { return false };
    match decode(json, flags & HALONMTA_JSON_DECODE_UNICODE_BYTE != 0) {
        Ok(value) => {
            cell.set(Setting::Host(value));
            true
        }
        Err(problem) => {
            // SAFETY: NULL or the caller's variables.
            unsafe { text::give(problem.to_string().as_bytes(), error, error_len) };
            false
        }
    }
}

exports! {
    /// Gives the type of a value. Since 5.6. NULL is of type none.
    fn HalonMTA_hsl_value_type(value: *const HalonHSLValue) -> c_int, or HALONMTA_HSL_TYPE_NONE => {
        // SAFETY: a value of ours.
        unsafe { Cell::from_raw(value) }.map_or(HALONMTA_HSL_TYPE_NONE, Cell::kind)
    }

    /// Gives a value of exactly the type asked for. Since 5.6. Borrowed until the call is over.
    fn HalonMTA_hsl_value_get(
        value: *const HalonHSLValue,
        kind: c_int,
        out: *mut c_void,
        out_len: *mut usize,
    ) -> bool, or false => {
        // SAFETY: a value of ours; the caller's contract is that of `get`.
        unsafe { Cell::from_raw(value).is_some_and(|cell| get(cell, kind, out, out_len)) }
    }

    /// Sets a value. Since 5.6. Data is copied, objects are shared, certificates handed over.
    fn HalonMTA_hsl_value_set(
        value: *mut HalonHSLValue,
        kind: c_int,
        data: *const c_void,
        len: usize,
    ) -> bool, or false => {
        // SAFETY: a value of ours.
        let Some(cell) = (unsafe { Cell::from_raw(value) }) else { return false };
        // SAFETY: the caller's contract is that of `setting`.
        let Some(setting) = (unsafe { setting(kind, data, len) }) else { return false };
        cell.set(setting);
        true
    }

    /// Counts the pairs of an array. Since 5.8. 0 for anything else.
    fn HalonMTA_hsl_value_array_length(value: *const HalonHSLValue) -> usize, or 0 => {
        // SAFETY: a value of ours.
        unsafe { Cell::from_raw(value) }.map_or(0, Cell::length)
    }

    /// Gives the pair at a position. Since 5.6. NULL past the end, and for anything but an array.
    fn HalonMTA_hsl_value_array_get(
        value: *const HalonHSLValue,
        index: usize,
        key: *mut *mut HalonHSLValue,
    ) -> *mut HalonHSLValue, or null_mut() => {
        // SAFETY: a value of ours.
        let pair = unsafe { Cell::from_raw(value) }.and_then(|cell| cell.pair(index));
        let (name, value) = pair.map_or((null_mut(), null_mut()), |(key, value)| {
            (key.as_ptr(), value.as_ptr())
        });
        // SAFETY: NULL or the caller's variable.
        unsafe { text::write(key, name) };
        value
    }

    /// Finds the value of a key. Since 5.6. NULL if there is none, and for anything but an array.
    fn HalonMTA_hsl_value_array_find(
        value: *const HalonHSLValue,
        key: *const c_char,
    ) -> *mut HalonHSLValue, or null_mut() => {
        // SAFETY: a value of ours, and terminated text.
        let (cell, key) = unsafe { (Cell::from_raw(value), text::terminated(key)) };
        cell.zip(key).and_then(|(cell, key)| cell.find(key)).map_or(null_mut(), Cell::as_ptr)
    }

    /// Adds a pair of nones. Since 5.6. A none becomes an array; for anything else both outs are NULL.
    fn HalonMTA_hsl_value_array_add(
        value: *mut HalonHSLValue,
        key: *mut *mut HalonHSLValue,
        item: *mut *mut HalonHSLValue,
    ) -> bool, or false => {
        // SAFETY: a value of ours.
        let pair = unsafe { Cell::from_raw(value) }.and_then(Cell::add_pair);
        let pointers = pair.map_or((null_mut(), null_mut()), |(key, item)| {
            (key.as_ptr(), item.as_ptr())
        });
        // SAFETY: NULL or the caller's variables.
        unsafe {
            text::write(key, pointers.0);
            text::write(item, pointers.1);
        }
        pair.is_some()
    }

    /// Writes a value as JSON in ASCII. Since 5.8. The caller frees the text, also an error's.
    fn HalonMTA_hsl_value_to_json(
        value: *const HalonHSLValue,
        out: *mut *mut c_char,
        out_len: *mut usize,
    ) -> bool, or false => {
        // SAFETY: the caller's contract is that of `to_json`.
        unsafe { to_json(value, out, out_len, 0) }
    }

    /// Writes a value as JSON with flags. Since 6.10.
    fn HalonMTA_hsl_value_to_json2(
        value: *const HalonHSLValue,
        out: *mut *mut c_char,
        out_len: *mut usize,
        flags: c_int,
    ) -> bool, or false => {
        // SAFETY: as above.
        unsafe { to_json(value, out, out_len, flags) }
    }

    /// Sets a value from JSON. Since 5.8. The caller frees an error's text.
    fn HalonMTA_hsl_value_from_json(
        value: *mut HalonHSLValue,
        json: *const c_char,
        error: *mut *mut c_char,
        error_len: *mut usize,
    ) -> bool, or false => {
        // SAFETY: the caller's contract is that of `from_json`.
        unsafe { from_json(value, json, error, error_len, 0) }
    }

    /// Sets a value from JSON with flags. Since 6.10.
    fn HalonMTA_hsl_value_from_json2(
        value: *mut HalonHSLValue,
        json: *const c_char,
        error: *mut *mut c_char,
        error_len: *mut usize,
        flags: c_int,
    ) -> bool, or false => {
        // SAFETY: as above.
        unsafe { from_json(value, json, error, error_len, flags) }
    }
}
