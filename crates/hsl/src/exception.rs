//! The class `Exception`: what `catch` gets for a builtin error, and what scripts throw.

use std::sync::LazyLock;

use crate::host::ClassBuilder;
use crate::source::Span;
use crate::value::{Class, Object, Str, Value};

/// The state of an `Exception` object.
#[derive(Clone, Debug)]
pub struct Exception {
    /// What went wrong.
    pub message: Str,
    /// Where; only builtin exceptions know.
    pub place: Option<Place>,
    /// Where and on which way; only builtin exceptions have it. One that is thrown again comes from there.
    pub(crate) origin: Option<Box<Origin>>,
}

/// Where an exception was thrown first, and the calls under way.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The number of the program that the places lie in.
    pub(crate) program: u64,
    pub(crate) place: Option<Span>,
    pub(crate) trace: Vec<(Str, Option<Span>)>,
}

impl Origin {
    /// Returns about how many octets it occupies.
    fn octets(&self) -> usize {
        let calls = self.trace.iter().map(|(name, _)| name.len());
        size_of::<Self>() + size_of_val(&*self.trace) + calls.sum::<usize>()
    }
}

/// A place in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name of the file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The character within the line, from 1.
    pub column: u32,
}

impl Exception {
    /// Makes an exception object.
    pub fn object(message: impl Into<Str>, place: Option<Place>) -> Object {
        Object::new(class(), Self { message: message.into(), place, origin: None })
    }

    /// Returns the message with file, line and column, where they are known.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.message.to_vec();
        if let Some(place) = &self.place {
            let place =
                format!(" in {} on line {}, column {}", place.file, place.line, place.column);
            text.extend_from_slice(place.as_bytes());
        }
        text
    }
}

/// Returns the class `Exception`.
pub fn class() -> &'static Class {
    static CLASS: LazyLock<Class> = LazyLock::new(|| {
        let mut builder = ClassBuilder::new("Exception", "an error, to throw and to catch");
        builder
            .measure_with(|exception: &Exception, measure| {
                measure.value(&Value::String(exception.message.clone()));
                measure.octets(exception.place.as_ref().map_or(0, |place| place.file.len()));
                measure.octets(exception.origin.as_deref().map_or(0, Origin::octets));
            })
            .constructor(
                "Exception(string message) -> Exception",
                "makes an exception",
                |ctx, args| {
                    let message = match args.first_mut().map(Value::take) {
                        Some(Value::String(message)) => message,
                        _ => Str::default(),
                    };
                    ctx.new_object(Exception { message, place: None, origin: None })
                },
            )
            .method("toString() -> string", "the message with its place", |ctx, _| {
                Ok(Value::from(ctx.state_of_this::<Exception>()?.text()))
            })
            .method("message() -> string", "the message", |ctx, _| {
                Ok(Value::String(ctx.state_of_this::<Exception>()?.message.clone()))
            })
            .method("file() -> string or none", "the file it happened in", |ctx, _| {
                let exception = ctx.state_of_this::<Exception>()?;
                Ok(Value::from(exception.place.as_ref().map(|place| place.file.clone())))
            })
            .method("line() -> number or none", "the line it happened in", |ctx, _| {
                let exception = ctx.state_of_this::<Exception>()?;
                Ok(Value::from(exception.place.as_ref().map(|place| place.line)))
            })
            .method("column() -> number or none", "the column it happened in", |ctx, _| {
                let exception = ctx.state_of_this::<Exception>()?;
                Ok(Value::from(exception.place.as_ref().map(|place| place.column)))
            });
        builder.build()
    });
    &CLASS
}

/// Returns the text of a thrown value, for error messages.
pub(crate) fn describe(value: &Value) -> String {
    let text = match value {
        Value::Object(object) => {
            object.state::<Exception>().map(|exception| exception.message.to_vec())
        }
        _ => None,
    };
    let text = text.unwrap_or_else(|| {
        let mut out = Vec::new();
        match value {
            Value::String(text) => out.extend_from_slice(text),
            // As much of it as a message is read.
            _ => drop(crate::ops::dump_within(value, &mut out, 1 << 16)),
        }
        out
    });
    String::from_utf8_lossy(&text).into_owned()
}
