//! FFI: functions and memory of C in the hands of scripts.
//!
//! [`types`] names the types, [`value`] holds values and who frees them, [`function`] opens libraries
//! and calls, [`callback`] lets C call back. Everything else of this crate that C offers and no safe
//! library wraps as scripts need it stands here too: [`iconv`] under the class Iconv, [`pcre2`] under patterns.
//!
//! The class is refused unless the configuration allows it (`scripting.ffi`): a script that uses it
//! wrongly may crash the process, which is accepted. Where it costs little, a mistake is an error all
//! the same: NULL pointers, memory that was allocated here and is too small.
#![allow(unsafe_code)] // the one place of this crate where C comes in; every block says why

mod callback;
mod function;
pub(crate) mod iconv;
pub(crate) mod pcre2;
mod types;
mod value;

use std::io;
use std::sync::Arc;

use hsl::host::{ClassBuilder, Registry, Thrown};
use hsl::value::Value;
use plugin_abi::stdio::{Stream, StreamContent};

use self::function::CFunction;
use self::types::CType;
use self::value::{ForeignValue, Free, Owner};
use crate::args;
use crate::services::{FileContent, Services};

/// Registers the class.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    if !services.ffi {
        registry.class("FFI", "functions of C; not allowed by the configuration", refuse);
        return;
    }
    callback::register(registry);
    registry.class("FFI", "functions of C", |class| {
        function::register(class);
        values(class);
        pointers(class);
        memory(class);
    });
}

/// A value for a pointer of ours, such as `X509 *`; `keeper` is dropped with the last value that
/// shares it. For `toFFIValue()` of other classes.
pub fn pointer_value(address: usize, keeper: Box<dyn Send + Sync>) -> Value {
    ForeignValue::owning(address, Owner::new(address, None, Free::Keeper(keeper))).to_value()
}

/// A value for a number of C of type `sint32`, such as a file descriptor.
pub fn descriptor_value(descriptor: i32) -> Value {
    let kind = CType::Sint32;
    ForeignValue::new(kind, kind.pack(f64::from(descriptor))).to_value()
}

/// A `FILE *` over `content` that starts at `position`, for `File->toFFIValue()`. The stream is open
/// as long as a value, or a clone of the keeper, is alive.
///
/// # Errors
///
/// When there is no memory for it.
pub(crate) fn stream_value(content: Arc<dyn FileContent>, position: u64) -> Result<Value, Thrown> {
    struct Content(Arc<dyn FileContent>);
    impl StreamContent for Content {
        fn octets(&self) -> u64 {
            self.0.len()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read_at(offset, buffer)
        }
    }
    let stream = Stream::open(Box::new(Content(content)), position);
    let stream = stream.ok_or_else(|| Thrown::new("there is no memory for a stream"))?;
    Ok(pointer_value(stream.as_ptr() as usize, Box::new(stream)))
}

/// Whether `toFFIValue()` may be called.
///
/// # Errors
///
/// When the configuration does not allow FFI.
pub(crate) fn check_allowed(is_allowed: bool) -> Result<(), Thrown> {
    if is_allowed { Ok(()) } else { Err(Thrown::new(NOT_ALLOWED)) }
}

/// Whether `toFFIValue()` of an object may be called, where the class knows no configuration.
///
/// # Errors
///
/// As [`check_allowed`].
pub(crate) fn check_allowed_by(ctx: &hsl::host::CallContext<'_>) -> Result<(), Thrown> {
    check_allowed(ctx.host().function(callback::CALL).is_some())
}

fn refuse(class: &mut ClassBuilder) {
    let refuse = |_: &mut hsl::host::CallContext<'_>, _: &mut [Value]| {
        Err::<Value, _>(Thrown::new(NOT_ALLOWED))
    };
    class.constructor("FFI(string path) -> FFI", "not allowed", refuse);
    for signature in [
        "type(string name) -> FFIType",
        "cnumber(FFIType type, number number) -> FFIValue",
        "cstring(string value) -> FFIValue",
        "callback(array arguments, FFIType returntype, function callback) -> FFIValue",
        "nullptr() -> FFIValue",
        "allocate(number size) -> FFIValue",
        "memcpy(FFIValue pointer, string data) -> FFIValue",
        "byref(FFIValue value) -> FFIValue",
        "deref(FFIValue value [, FFIType type]) -> FFIValue or none",
        "offset(FFIValue pointer, number offset) -> FFIValue",
        "string(FFIValue pointer [, number size]) -> string",
        "number(FFIValue value) -> number",
        "number64(FFIValue value) -> array",
        "attach(FFIValue pointer [, function destructor]) -> FFIValue",
        "detach(FFIValue pointer) -> FFIValue",
    ] {
        class.static_function(signature, "not allowed", refuse);
    }
}

/// Types, and values that are made of the script's own.
fn values(class: &mut ClassBuilder) {
    class
        .static_function("type(string name) -> FFIType", "a type of C", |_, args| {
            CType::parse(args::bytes(args, 0)).map(CType::to_value)
        })
        .static_function(
            "cnumber(FFIType type, number number) -> FFIValue",
            "a number of C",
            |_, args| {
                let kind = CType::of(args.first())?;
                if !kind.is_number() {
                    let name = kind.name();
                    return Err(Thrown::new(format!("FFI::cnumber() makes no {name}")));
                }
                Ok(ForeignValue::new(kind, kind.pack(args::number(args, 1))).to_value())
            },
        )
        .static_function(
            "cstring(string value) -> FFIValue",
            "a terminated copy of the string, owned",
            |ctx, args| {
                let text = args::bytes(args, 0);
                ctx.charge_memory(text.len())?;
                owned(value::c_string(text))
            },
        )
        .static_function(
            "callback(array arguments, FFIType returntype, function callback) -> FFIValue",
            "a function pointer that calls the function, owned",
            |ctx, args| {
                let arguments = function::types(args.first().unwrap_or(&Value::None))?;
                let returns = CType::of(args.get(1))?;
                let function = args::take(args, 2);
                Ok::<_, Thrown>(callback::make(ctx, arguments, returns, function)?.to_value())
            },
        )
        .static_function("nullptr() -> FFIValue", "NULL", |_, _| {
            ForeignValue::pointer(0).to_value()
        })
        .static_function("number(FFIValue value) -> number", "a number of the script", |_, args| {
            let value = ForeignValue::of(args.first())?;
            Ok::<_, Thrown>(value.kind().number(value.octets()))
        })
        .static_function(
            "number64(FFIValue value) -> array",
            "the high and the low 32 bits of a whole number",
            |_, args| {
                let value = ForeignValue::of(args.first())?;
                let word = value.kind().integer(value.octets());
                let halves = [(word >> 32) as u32, word as u32];
                Ok::<_, Thrown>(Value::list(halves.map(Value::from)))
            },
        );
}

/// What only makes pointers of pointers.
fn pointers(class: &mut ClassBuilder) {
    class
        .static_function(
            "byref(FFIValue value) -> FFIValue",
            "the address of a value",
            |_, args| {
                let value = ForeignValue::of(args.first())?;
                Ok::<_, Thrown>(ForeignValue::reference_to(&value).to_value())
            },
        )
        .static_function(
            "deref(FFIValue value [, FFIType type]) -> FFIValue or none",
            "what a pointer points to, a pointer unless a type is given; none for NULL",
            |_, args| {
                let value = ForeignValue::of(args.first())?;
                let kind = match args.get(1) {
                    None | Some(Value::None) => CType::Pointer,
                    given => CType::of(given)?,
                };
                if kind.width() == 0 {
                    return Err(Thrown::new("FFI::deref() needs a type with a size"));
                }
                if value.address()? == 0 {
                    return Ok(Value::None);
                }
                let read = value::copy_from(value.range(kind.width())?, kind.width());
                let mut octets = [0; 8];
                for (to, from) in octets.iter_mut().zip(read) {
                    *to = from;
                }
                Ok(ForeignValue::new(kind, octets).to_value())
            },
        )
        .static_function(
            "offset(FFIValue pointer, number offset) -> FFIValue",
            "a pointer some octets further",
            |_, args| {
                let pointer = ForeignValue::of(args.first())?;
                Ok::<_, Thrown>(pointer.offset(args::integer(args, 1))?.to_value())
            },
        )
        .static_function(
            "attach(FFIValue pointer [, function destructor]) -> FFIValue",
            "takes ownership; freed by the destructor, or by free",
            |_, args| {
                let destructor = match args.get(1) {
                    None | Some(Value::None) => None,
                    Some(function) => Some(CFunction::of(function).ok_or_else(|| {
                        Thrown::new("FFI::attach() needs a function of a library as destructor")
                    })?),
                };
                ForeignValue::of(args.first())?.attach(destructor)?;
                Ok::<_, Thrown>(args::take(args, 0))
            },
        )
        .static_function(
            "detach(FFIValue pointer) -> FFIValue",
            "gives ownership up",
            |_, args| {
                ForeignValue::of(args.first())?.detach();
                Ok::<_, Thrown>(args::take(args, 0))
            },
        );
}

/// What allocates, reads and writes memory.
fn memory(class: &mut ClassBuilder) {
    class
        .static_function(
            "allocate(number size) -> FFIValue",
            "zeroed memory, owned",
            |ctx, args| {
                let size = usize::try_from(args::integer(args, 0))
                    .map_err(|_| Thrown::new("FFI::allocate() needs a size"))?;
                ctx.charge_memory(size)?;
                owned(value::allocate(size))
            },
        )
        .static_function(
            "memcpy(FFIValue pointer, string data) -> FFIValue",
            "copies the string to where the pointer points",
            |_, args| {
                let data = args::bytes(args, 1);
                let pointer = ForeignValue::of(args.first())?;
                value::copy_to(pointer.range(data.len())?, data);
                Ok::<_, Thrown>(args::take(args, 0))
            },
        )
        .static_function(
            "string(FFIValue pointer [, number size]) -> string",
            "that many octets from where the pointer points, or all until NUL",
            |ctx, args| {
                let pointer = ForeignValue::of(args.first())?;
                let size = match args::number_opt(args, 1) {
                    Some(size) => size.max(0.0) as usize,
                    None => {
                        let most = pointer.room().unwrap_or(usize::MAX);
                        let most = most.min(ctx.limits().memory.saturating_add(1));
                        value::string_length(pointer.range(0)?, most)
                    }
                };
                ctx.charge_memory(size)?;
                Ok::<_, Thrown>(Value::from(value::copy_from(pointer.range(size)?, size)))
            },
        );
}

fn owned(value: Option<Arc<ForeignValue>>) -> Result<Value, Thrown> {
    let value = value.ok_or_else(|| Thrown::new("FFI is out of memory"))?;
    Ok(value.to_value())
}

const NOT_ALLOWED: &str = "FFI is not allowed: the configuration has no scripting.ffi";
