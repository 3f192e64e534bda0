//! Class `Iconv` (5.3): conversions between charsets by the names that the C library knows.

use hsl::host::{CallContext, ClassBuilder, Registry, Thrown};
use hsl::value::Value;
use parking_lot::Mutex;

use crate::args;
use crate::ffi::iconv::{Converter, IconvError};

/// Registers the class.
pub(super) fn register(registry: &mut Registry) {
    registry.class("Iconv", "a conversion between charsets", iconv_class);
}

struct IconvState {
    /// `None` once closed, or when a charset is unknown.
    converter: Mutex<Option<Converter>>,
    /// The number of the last error, 0 for none.
    error: Mutex<i32>,
}

fn iconv_class(class: &mut ClassBuilder) {
    class
        .measure_with(|state: &IconvState, measure| {
            measure.octets(state.converter.lock().as_ref().map_or(0, |_| CONVERTER_OCTETS));
        })
        .constructor(
            "Iconv(string fromcharset, string tocharset) -> Iconv",
            "a conversion; suffixes //TRANSLIT and //IGNORE of the second charset count",
            |ctx, args| {
                let opened = Converter::open(args::bytes(args, 0), args::bytes(args, 1));
                let (converter, error) = match opened {
                    Ok(converter) => (Some(converter), 0),
                    Err(IconvError::Number(number)) => (None, number),
                    Err(IconvError::TooLong) => (None, 0),
                };
                let state = IconvState { converter: converter.into(), error: error.into() };
                ctx.new_object(state)
            },
        )
        .method(
            "convert(string text) -> string or none",
            "the text in the other charset, none on error",
            convert,
        )
        .method("errno() -> number", "the number of the last error, 0 for none", |ctx, _| {
            let state = ctx.state_of_this::<IconvState>()?;
            Ok::<_, Thrown>(f64::from(*state.error.lock()))
        })
        .method("close() -> none", "gives the conversion up", |ctx, _| {
            let state = ctx.state_of_this::<IconvState>()?;
            *state.converter.lock() = None;
            Ok::<_, Thrown>(())
        });
}

/// What a conversion occupies in the C library: a buffer of 32,640 octets between its two steps.
const CONVERTER_OCTETS: usize = 33 << 10;

fn convert(ctx: &mut CallContext<'_>, args: &mut [Value]) -> Result<Value, Thrown> {
    let state = ctx.state_of_this::<IconvState>()?;
    let text = args::bytes(args, 0);
    ctx.charge_memory(text.len())?;
    let most = ctx.limits().memory;
    let mut converter = state.converter.lock();
    // An unknown charset keeps the error of the constructor.
    let Some(converter) = &mut *converter else { return Ok(Value::None) };
    match converter.convert(text, most) {
        Ok(converted) => {
            *state.error.lock() = 0;
            ctx.charge_memory(converted.len())?;
            Ok(converted.into())
        }
        Err(IconvError::Number(number)) => {
            *state.error.lock() = number;
            Ok(Value::None)
        }
        Err(IconvError::TooLong) => {
            ctx.charge_memory(most.saturating_add(1))?;
            Ok(Value::None)
        }
    }
}
