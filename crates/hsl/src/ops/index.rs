//! Subscripts: `x[i]` and `x->name`, which are the same thing.

use crate::host::Thrown;
use crate::value::{Object, Str, UserClass, Value, method_value, number};

/// Returns the element of `base` under `key`; a missing one is none. Objects check that `caller`,
/// the class whose code asks, may see the member.
///
/// # Errors
///
/// A builtin error where `base` has no elements, or the member is private.
#[inline]
pub(crate) fn element(
    base: &Value,
    key: &Value,
    caller: Option<&UserClass>,
) -> Result<Value, Thrown> {
    match base {
        Value::Array(array) => Ok(array.get_value(key).cloned().unwrap_or_default()),
        Value::None => Ok(Value::None),
        Value::String(text) => Ok(octet(text, key)),
        Value::Object(object) => match key {
            Value::String(name) => member(object, name, caller),
            _ => Ok(object.properties().get_value(key).cloned().unwrap_or_default()),
        },
        _ => Err(no_elements(base)),
    }
}

#[cold]
fn no_elements(base: &Value) -> Thrown {
    Thrown::new(format!("cannot use {} as array", base.type_of().name()))
}

fn octet(text: &Str, key: &Value) -> Value {
    let at = match key {
        Value::Number(at) => number::to_i32(*at),
        Value::String(_) | Value::Bool(_) => match crate::value::Key::from_value(key) {
            crate::value::Key::Int(at) => at,
            _ => return Value::None,
        },
        _ => return Value::None,
    };
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let at = if at < 0 { i64::from(at) + length } else { i64::from(at) };
    match usize::try_from(at).ok().and_then(|at| text.get(at)) {
        Some(byte) => Value::String(Str::new(&[*byte])),
        None => Value::None,
    }
}

/// Returns a property, or a method as function value.
#[inline]
pub(crate) fn member(
    object: &Object,
    name: &Str,
    caller: Option<&UserClass>,
) -> Result<Value, Thrown> {
    if let Some(class) = object.user_class()
        && !class.restricted.is_empty()
        && !caller.is_some_and(|caller| std::ptr::eq(caller, &**class))
        && class.restriction(name).is_some_and(|member| member.is_private)
    {
        return Err(is_private(name));
    }
    let found = object.get(name);
    match found {
        Some(value) => Ok(value),
        None => {
            if let Some(member) = object.user_class().and_then(|class| class.method(name))
                && member.is_private
                && !is_own_class(object, caller)
            {
                return Err(is_private(name));
            }
            Ok(method_value(object, name).map_or(Value::None, Value::Function))
        }
    }
}

#[cold]
pub(crate) fn is_private(name: &[u8]) -> Thrown {
    Thrown::new(format!("{} is private", name.escape_ascii()))
}

/// Returns whether `caller` is the class of `object`.
pub(crate) fn is_own_class(object: &Object, caller: Option<&UserClass>) -> bool {
    match (object.user_class(), caller) {
        (Some(class), Some(caller)) => std::ptr::eq(caller, &**class),
        _ => false,
    }
}

/// Whose code writes.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    /// The class, if there is one.
    pub(crate) class: Option<&'a UserClass>,
    /// [`Object::address`] of its `$this`; 0 if there is none, or if nothing in the class asks for it.
    pub(crate) this: usize,
}

/// Checks that `writer` may write or remove the member.
pub(crate) fn check_write(object: &Object, name: &[u8], writer: Writer<'_>) -> Result<(), Thrown> {
    let Some(class) = object.user_class() else { return Ok(()) };
    if class.restricted.is_empty() || object.address() == writer.this {
        return Ok(());
    }
    match class.restriction(name) {
        Some(member) if member.is_private && !is_own_class(object, writer.class) => {
            Err(is_private(name))
        }
        Some(member) if member.is_readonly => {
            Err(Thrown::new(format!("{} is read-only", name.escape_ascii())))
        }
        _ => Ok(()),
    }
}

/// Returns whether `base` has an element under `key`, for `isset`.
pub(crate) fn contains(base: &Value, key: &Value, caller: Option<&UserClass>) -> bool {
    match base {
        Value::Array(array) => array.get_value(key).is_some(),
        Value::String(text) => !octet(text, key).is_none(),
        Value::Object(object) => match key {
            Value::String(name) => {
                if object.has(name) {
                    class_allows(object, name, caller)
                } else {
                    member(object, name, caller).is_ok_and(|value| !value.is_none())
                }
            }
            _ => object.properties().get_value(key).is_some(),
        },
        _ => false,
    }
}

fn class_allows(object: &Object, name: &[u8], caller: Option<&UserClass>) -> bool {
    is_own_class(object, caller)
        || !object
            .user_class()
            .and_then(|class| class.restriction(name))
            .is_some_and(|member| member.is_private)
}
