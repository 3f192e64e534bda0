//! Reading arguments and option arrays.
//!
//! Counts and types are checked against the signature before a function is called, so the readers
//! here give a neutral value where a type cannot be wrong. Options are checked by [`Options`].

use std::borrow::Borrow;
use std::sync::LazyLock;

use hsl::host::{CallContext, Thrown};
use hsl::value::{Array, Str, Type, Value};

/// An argument, owned or lent.
fn at_place<V: Borrow<Value>>(args: &[V], at: usize) -> Option<&Value> {
    args.get(at).map(Borrow::borrow)
}

/// The octets of a string argument; empty when it is missing.
pub(crate) fn bytes<V: Borrow<Value>>(args: &[V], at: usize) -> &[u8] {
    at_place(args, at).and_then(Value::as_bytes).unwrap_or_default()
}

/// The octets of a string argument that may be missing.
pub(crate) fn bytes_opt<V: Borrow<Value>>(args: &[V], at: usize) -> Option<&[u8]> {
    at_place(args, at).and_then(Value::as_bytes)
}

/// A string argument, shared; empty when it is missing.
pub(crate) fn text<V: Borrow<Value>>(args: &[V], at: usize) -> Str {
    match at_place(args, at) {
        Some(Value::String(text)) => text.clone(),
        _ => Str::default(),
    }
}

/// An array argument; empty when it is missing.
pub(crate) fn array<V: Borrow<Value>>(args: &[V], at: usize) -> &Array {
    static EMPTY: LazyLock<Array> = LazyLock::new(Array::new);
    at_place(args, at).and_then(Value::as_array).unwrap_or_else(|| &EMPTY)
}

/// A number argument; 0 when it is missing.
pub(crate) fn number<V: Borrow<Value>>(args: &[V], at: usize) -> f64 {
    number_opt(args, at).unwrap_or_default()
}

/// A number argument that may be missing.
pub(crate) fn number_opt<V: Borrow<Value>>(args: &[V], at: usize) -> Option<f64> {
    at_place(args, at).and_then(Value::as_number)
}

/// A number argument as a whole number, cut off at the ends of the range; NaN is 0.
pub(crate) fn integer<V: Borrow<Value>>(args: &[V], at: usize) -> i64 {
    number(args, at) as i64
}

/// Takes an array argument out of the list; empty when it is missing.
pub(crate) fn take_array(args: &mut [Value], at: usize) -> Array {
    match take(args, at) {
        Value::Array(array) => array,
        _ => Array::new(),
    }
}

/// Takes an argument out of the list; none when it is missing.
pub(crate) fn take(args: &mut [Value], at: usize) -> Value {
    args.get_mut(at).map(Value::take).unwrap_or_default()
}

/// Accounts for `added` octets of a value that grows to `total`.
///
/// # Errors
///
/// The limit error when the value alone is more than the execution may use.
pub(crate) fn charge_growth(
    ctx: &mut CallContext<'_>,
    added: usize,
    total: usize,
) -> Result<(), Thrown> {
    let is_over = total > ctx.limits().memory;
    ctx.charge_memory(if is_over { total } else { added })
}

/// Accounts for the values that a text may become: `marks` are the octets that end an item.
///
/// # Errors
///
/// The limit error when the values would be more than the execution may use.
pub(crate) fn charge_decoding(
    ctx: &mut CallContext<'_>,
    text: &[u8],
    marks: [u8; 3],
) -> Result<(), Thrown> {
    let [a, b, c] = marks;
    // Most texts are too short to matter, whatever they hold.
    let items = if text.len() < ctx.limits().memory / ITEM_OCTETS {
        text.len() / 16
    } else {
        memchr::memchr3_iter(a, b, c, text).count()
    };
    ctx.charge_memory(text.len().saturating_add(items.saturating_mul(ITEM_OCTETS)))
}

/// About what a value with a short text of its own occupies.
pub(crate) const ITEM_OCTETS: usize = 80;

/// An option array; keys nobody asks for are ignored, as scripts for newer releases need it.
#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    array: Option<&'a Array>,
}

impl<'a> Options<'a> {
    /// The options in argument `at`.
    pub(crate) fn new<V: Borrow<Value>>(args: &'a [V], at: usize) -> Self {
        Self { array: at_place(args, at).and_then(Value::as_array) }
    }

    /// The options in an array.
    pub(crate) fn of(array: Option<&'a Array>) -> Self {
        Self { array }
    }

    /// The value of an option; an option that is none counts as not given.
    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.array?.get_text(name).filter(|value| !value.is_none())
    }

    /// A boolean option.
    ///
    /// # Errors
    ///
    /// When the value is no boolean.
    pub(crate) fn boolean(self, name: &str, default: bool) -> Result<bool, Thrown> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(wrong_type(name, Type::Boolean, other)),
        }
    }

    /// A string option.
    ///
    /// # Errors
    ///
    /// When the value is no string.
    pub(crate) fn bytes(self, name: &str) -> Result<Option<&'a [u8]>, Thrown> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value.as_bytes())),
            Some(other) => Err(wrong_type(name, Type::String, other)),
        }
    }

    /// A number option.
    ///
    /// # Errors
    ///
    /// When the value is no number.
    pub(crate) fn number(self, name: &str) -> Result<Option<f64>, Thrown> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(name, Type::Number, other)),
        }
    }

    /// An array option.
    ///
    /// # Errors
    ///
    /// When the value is no array.
    pub(crate) fn array(self, name: &str) -> Result<Option<&'a Array>, Thrown> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(value)) => Ok(Some(value)),
            Some(other) => Err(wrong_type(name, Type::Array, other)),
        }
    }
}

fn wrong_type(name: &str, wanted: Type, given: &Value) -> Thrown {
    let (wanted, given) = (wanted.name(), given.type_of().name());
    let article = if wanted.starts_with('a') { "an" } else { "a" };
    Thrown::new(format!("option \"{name}\" must be {article} {wanted}, {given} given"))
}
