//! Values as data, for what leaves the script.

use hsl::{Array, Value};

/// A value as data: what JSON has no form for (functions, objects, resources) as text.
pub(crate) fn as_data(value: Value) -> Value {
    match value {
        Value::Array(array) => {
            let mut out = Array::new();
            for (key, value) in array.iter() {
                out.insert(key, as_data(value.clone()));
            }
            Value::Array(out)
        }
        Value::None | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
        other => Value::from(script_host::hooks::values::text(&other)),
    }
}
