//! Data types chapter: what a value is, conversions, and the containers `Map` and `Set`.
//!
//! `array`, `isset` and `unset` belong to the language itself.

mod containers;

pub(crate) use containers::{map_object, set_object};

use hsl::host::Registry;
use hsl::value::{Type, Value};

use crate::old_names::Renamed;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry) {
    registry
        .renamed(
            &["count", "strlen"],
            "length(any value) -> number or none",
            "how many items an array or octets a string has",
            |_, args| match args.first() {
                Some(Value::Array(array)) => Value::from(array.len()),
                Some(Value::String(text)) => Value::from(text.len()),
                _ => Value::None,
            },
        )
        .counts("length")
        .counts("count")
        .counts("strlen")
        .pure_function("boolean(any value) -> boolean", "whether the value is true", |_, args| {
            args.first().is_some_and(|value| value.is_truthy())
        })
        .pure_function("number(any value) -> number", "the value as a number", |_, args| {
            args.first().map_or(0.0, |value| hsl::ops::to_number(value))
        })
        .pure_function("string(any value) -> string", "the value as text", |ctx, args| {
            let value = args.first().copied().unwrap_or(&Value::None);
            hsl::ops::checked_text(value, ctx.limits().memory)
        });
    for (kind, signature) in [
        (Type::Array, "is_array(any value) -> boolean"),
        (Type::Boolean, "is_boolean(any value) -> boolean"),
        (Type::Function, "is_function(any value) -> boolean"),
        (Type::Number, "is_number(any value) -> boolean"),
        (Type::Object, "is_object(any value) -> boolean"),
        (Type::String, "is_string(any value) -> boolean"),
    ] {
        let doc = format!("true if the value is of type {}", kind.name());
        registry.pure_function(signature, &doc, move |_, args| {
            args.first().is_some_and(|value| value.type_of() == kind)
        });
    }
    containers::register(registry);
}
