//! Values of the language: eight types in sixteen bytes.
//!
//! Strings and arrays are copy-on-write values, objects, functions and resources are shared
//! references. Everything is `Send + Sync`, so a value may live in the shared memory of the process.
//! Operators and conversions are not here but in [`crate::ops`].

mod array;
mod function;
mod layout;
pub(crate) mod number;
mod object;
pub(crate) mod string;

pub use array::{Array, ArrayIter, Key};
pub use function::{Function, FunctionKind};
pub use object::{Class, HostIterator, Object, Resource};
pub use string::Str;

pub(crate) use array::ValueSet;
pub(crate) use function::{Closure, Globals};
pub(crate) use layout::{Layout, MAX_SLOTS};
pub(crate) use object::{
    ClassKind, GeneratorState, IteratorKind, IteratorState, MeasureFn, Member, NativeClass,
    UserClass, WeakObject, iterator_class, method_value,
};

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;

/// A shared variable: what `closure` and `global` bind to.
pub(crate) type Cell = Arc<CellData>;

/// One value of a script.
#[derive(Clone, Default)]
pub enum Value {
    /// The type with one value.
    #[default]
    None,
    /// `true` or `false`.
    Bool(bool),
    /// An IEEE 754 double.
    Number(f64),
    /// A variable without value. Lives in registers only and never reaches the host.
    #[doc(hidden)]
    Unset,
    // Variants from here on own memory; a comparison of the tag tells.
    /// An ordered map, or list.
    Array(Array),
    /// A function of the script or of the host.
    Function(Function),
    /// An instance of a class.
    Object(Object),
    /// An opaque value of the host.
    Resource(Resource),
    /// A variable that is shared with a closure. Lives in registers only, like `Unset`.
    #[doc(hidden)]
    Cell(SharedCell),
    // The tags of a string are those of its representations, which come in front of all others; being
    // the last here keeps the translation of one into the other out of comparisons.
    /// A byte string.
    String(Str),
}

/// Wraps a shared variable, so that its type stays private to the crate.
#[doc(hidden)]
#[derive(Clone)]
pub struct SharedCell(pub(crate) Cell);

/// The contents of a shared variable.
pub(crate) struct CellData(pub(crate) Mutex<Value>);

impl CellData {
    /// Makes a shared variable holding `value`.
    pub(crate) fn new(value: Value) -> Cell {
        Arc::new(Self(Mutex::new(value)))
    }
}

impl Drop for CellData {
    fn drop(&mut self) {
        let value = std::mem::take(self.0.get_mut());
        if value.is_container() {
            release(vec![value]);
        }
    }
}

/// The type of a value, as scripts and error texts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `none`
    None,
    /// `boolean`
    Boolean,
    /// `number`
    Number,
    /// `string`
    String,
    /// `array`
    Array,
    /// `function`
    Function,
    /// `object`
    Object,
    /// `resource`
    Resource,
}

impl Type {
    /// Returns the name that the manual uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Function => "function",
            Self::Object => "object",
            Self::Resource => "resource",
        }
    }
}

impl Value {
    /// Tells whether the value is an object or holds one, however deep.
    pub(crate) fn holds_objects(&self) -> bool {
        match self {
            Self::Object(_) => true,
            Self::Array(array) => array.values().any(Self::holds_objects),
            _ => false,
        }
    }

    /// The value with objects of its own, as far as their classes say how (see
    /// [`ClassBuilder::copy_with`](crate::host::ClassBuilder::copy_with)).
    pub fn own_copy(&self) -> Self {
        match self {
            Self::Object(object) => Self::Object(object.own_copy()),
            Self::Array(array) if self.holds_objects() => {
                let mut copy = array.clone();
                for value in copy.values_mut() {
                    *value = value.own_copy();
                }
                Self::Array(copy)
            }
            other => other.clone(),
        }
    }

    /// Makes a string value of a copy of `bytes`.
    pub fn string(bytes: impl AsRef<[u8]>) -> Self {
        Self::String(Str::new(bytes.as_ref()))
    }

    /// Makes a list of `items`, keys from 0.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::Array(items.into_iter().collect())
    }

    /// Makes an array of pairs of text keys and values, in order.
    pub fn map<K: Into<Key>>(items: impl IntoIterator<Item = (K, Self)>) -> Self {
        let mut array = Array::new();
        for (key, value) in items {
            array.insert(key.into(), value);
        }
        Self::Array(array)
    }

    /// Returns the type of the value.
    pub const fn type_of(&self) -> Type {
        match self {
            Self::None | Self::Unset | Self::Cell(_) => Type::None,
            Self::Bool(_) => Type::Boolean,
            Self::Number(_) => Type::Number,
            Self::String(_) => Type::String,
            Self::Array(_) => Type::Array,
            Self::Function(_) => Type::Function,
            Self::Object(_) => Type::Object,
            Self::Resource(_) => Type::Resource,
        }
    }

    /// Returns the truthiness of the value: false for none, `false`, 0, `""` and `[]`.
    #[inline]
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::None | Self::Unset => false,
            Self::Bool(value) => *value,
            Self::Number(value) => *value != 0.0,
            Self::String(value) => !value.is_empty(),
            Self::Array(value) => !value.is_empty(),
            _ => true,
        }
    }

    /// Returns whether the value is none.
    #[inline]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns the bytes of a string value.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::String(value) => Some(value.as_bytes()),
            _ => None,
        }
    }

    /// Returns the text of a string value that is valid UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Returns the number of a number value.
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the boolean of a boolean value.
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the array of an array value.
    pub const fn as_array(&self) -> Option<&Array> {
        match self {
            Self::Array(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the function of a function value.
    pub const fn as_function(&self) -> Option<&Function> {
        match self {
            Self::Function(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the object of an object value.
    pub const fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the resource of a resource value.
    pub const fn as_resource(&self) -> Option<&Resource> {
        match self {
            Self::Resource(value) => Some(value),
            _ => None,
        }
    }

    /// Takes the value, leaving none behind. For arguments that a native function wants to own.
    #[inline]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Returns whether dropping the value does anything.
    #[inline(always)]
    pub(crate) const fn needs_drop(&self) -> bool {
        let is_plain = matches!(self, Self::None | Self::Bool(_) | Self::Number(_) | Self::Unset);
        let is_short = matches!(self, Self::String(text) if text.is_short());
        !(is_plain | is_short)
    }

    /// Puts `new` into this place. What was there is dropped out of line, if it needs to be at all:
    /// registers mostly hold numbers and booleans.
    #[inline(always)]
    pub(crate) fn put(&mut self, new: Self) {
        if self.needs_drop() {
            clear_slowly(self);
        }
        self.overwrite(new);
    }

    /// Drops the value, without a call if there is nothing to drop.
    #[inline(always)]
    pub(crate) fn discard(self) {
        if self.needs_drop() {
            drop(self);
        } else {
            std::mem::forget(self);
        }
    }

    /// Writes `new` over a value that need not be dropped, as the caller has found out: the compiler
    /// does not see it, and would look again.
    #[inline(always)]
    fn overwrite(&mut self, new: Self) {
        std::mem::forget(std::mem::replace(self, new));
    }

    /// Puts a number into this place, which is written field by field.
    #[inline(always)]
    pub(crate) fn put_number(&mut self, number: f64) {
        if self.needs_drop() {
            put_number_slowly(self, number);
        } else {
            self.overwrite(Self::Number(number));
        }
    }

    /// Puts a number into this place, if what is there need not be dropped.
    #[inline(always)]
    pub(crate) fn set_number(&mut self, number: f64) -> bool {
        if self.needs_drop() {
            return false;
        }
        self.overwrite(Self::Number(number));
        true
    }

    /// Puts a boolean into this place, if what is there need not be dropped.
    #[inline(always)]
    pub(crate) fn set_bool(&mut self, value: bool) -> bool {
        if self.needs_drop() {
            return false;
        }
        self.overwrite(Self::Bool(value));
        true
    }

    /// Puts none into this place, if what is there need not be dropped.
    #[inline(always)]
    pub(crate) fn set_none(&mut self) -> bool {
        if self.needs_drop() {
            return false;
        }
        self.overwrite(Self::None);
        true
    }

    /// Moves a value here, if what is there need not be dropped.
    #[inline(always)]
    pub(crate) fn take_from(&mut self, place: &mut Self) -> bool {
        if self.needs_drop() {
            return false;
        }
        self.overwrite(std::mem::take(place));
        true
    }

    /// Puts a boolean into this place.
    #[inline(always)]
    pub(crate) fn put_bool(&mut self, value: bool) {
        if self.needs_drop() {
            clear_slowly(self);
        }
        self.overwrite(Self::Bool(value));
    }

    /// Puts none into this place.
    #[inline(always)]
    pub(crate) fn put_none(&mut self) {
        if self.needs_drop() {
            clear_slowly(self);
        } else {
            self.overwrite(Self::None);
        }
    }

    /// Puts a copy of `source` into this place, if it owns no memory. Field by field: a value that was
    /// just written in parts cannot be read as a whole without waiting for the memory.
    #[inline(always)]
    pub(crate) fn put_plain(&mut self, source: &Self) -> bool {
        match source {
            Self::Number(number) => self.put_number(*number),
            Self::Bool(value) => self.put_bool(*value),
            Self::None => self.put_none(),
            _ => return false,
        }
        true
    }

    /// Puts a copy of `source` into this place.
    #[inline(always)]
    pub(crate) fn put_copy(&mut self, source: &Self) {
        if !self.put_plain(source) {
            copy_slowly(self, source);
        }
    }

    /// Returns whether the value can own other values.
    #[inline]
    pub(crate) const fn is_container(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Function(_) | Self::Object(_) | Self::Cell(_))
    }

    /// Returns about how many octets the value itself occupies, without what it refers to.
    pub(crate) fn shallow_size(&self) -> usize {
        match self {
            Self::String(value) => value.len(),
            Self::Array(value) => value.shallow_size(),
            Self::Function(_) | Self::Object(_) => 128,
            Self::Resource(_) => 64,
            _ => 0,
        }
    }
}

#[inline(never)]
fn clear_slowly(place: &mut Value) {
    match std::mem::take(place) {
        Value::Array(array) => array.end(),
        other => drop(other),
    }
}

#[inline(never)]
fn put_number_slowly(place: &mut Value, number: f64) {
    *place = Value::Number(number);
}

#[inline(never)]
fn copy_slowly(place: &mut Value, source: &Value) {
    match source {
        Value::String(text) => place.put(Value::String(text.clone())),
        Value::Array(array) => place.put(Value::Array(array.clone())),
        Value::Object(object) => place.put(Value::Object(object.clone())),
        Value::Function(function) => place.put(Value::Function(function.clone())),
        other => place.put(other.clone()),
    }
}

thread_local! {
    /// What is to be dropped by the [`release`] that is under way on this thread.
    static RELEASED: RefCell<Option<Vec<Value>>> = const { RefCell::new(None) };
}

/// Drops values without recursion: what a uniquely owned container holds joins the work list before
/// the container itself goes, so that nesting of any depth fits in a constant stack. What objects of the
/// host hold joins the list when the object is dropped, by a call from there.
pub fn release(values: Vec<Value>) {
    let mut values = Some(values);
    // While a thread ends there is no list any more; by then nothing deep is left.
    let is_first = RELEASED.try_with(|released| match &mut *released.borrow_mut() {
        Some(list) => {
            list.append(values.get_or_insert_default());
            false
        }
        list @ None => {
            *list = values.take();
            true
        }
    });
    if is_first != Ok(true) {
        return;
    }
    let next = || {
        RELEASED.with(|released| {
            let mut released = released.borrow_mut();
            let value = released.as_mut().and_then(Vec::pop);
            if value.is_none() {
                *released = None;
            }
            value
        })
    };
    let mut inner = Vec::new();
    while let Some(mut value) = next() {
        unlink(&mut value, &mut inner);
        if !inner.is_empty() {
            RELEASED
                .with(|released| released.borrow_mut().get_or_insert_default().append(&mut inner));
        }
        // This may come back here.
        drop(value);
    }
}

/// Moves what a uniquely owned container holds to the list.
fn unlink(value: &mut Value, work: &mut Vec<Value>) {
    match value {
        Value::Array(array) => array.unlink(work),
        Value::Object(object) => object.unlink(work),
        Value::Function(function) => function.unlink(work),
        // As with objects, a weak reference may exist.
        Value::Cell(cell) if Arc::strong_count(&cell.0) == 1 => {
            let inner = std::mem::take(&mut *cell.0.0.lock());
            if inner.is_container() {
                work.push(inner);
            }
        }
        _ => {}
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unset => f.write_str("unset"),
            Self::Cell(_) => f.write_str("cell"),
            Self::String(text) => write!(f, "\"{}\"", text.as_bytes().escape_ascii()),
            _ => {
                let mut out = Vec::new();
                crate::ops::dump(self, &mut out);
                write!(f, "{}", out.escape_ascii())
            }
        }
    }
}

/// Compares by type and value, as `===` does.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        crate::ops::strict_equal(self, other)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Number(f64::from(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Number(f64::from(value))
    }
}

/// Lengths and counts: exact up to 2^53, which no length in memory passes.
impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Number(value as f64)
    }
}

/// Whole numbers: exact up to 2^53.
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Number(value as f64)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(Str::new(value.as_bytes()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(Str::from(value.into_bytes()))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::String(Str::new(value))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::String(Str::from(value))
    }
}

impl From<Str> for Value {
    fn from(value: Str) -> Self {
        Self::String(value)
    }
}

impl From<Array> for Value {
    fn from(value: Array) -> Self {
        Self::Array(value)
    }
}

impl From<Function> for Value {
    fn from(value: Function) -> Self {
        Self::Function(value)
    }
}

impl From<Object> for Value {
    fn from(value: Object) -> Self {
        Self::Object(value)
    }
}

impl From<Resource> for Value {
    fn from(value: Resource) -> Self {
        Self::Resource(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_takes_sixteen_bytes_and_may_cross_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Value>();
        assert_eq!(size_of::<Value>(), 16);
        assert_eq!(size_of::<Key>(), 16);
    }

    #[test]
    fn values_nested_a_million_deep_are_dropped_without_recursion() {
        let mut value = Value::None;
        for _ in 0..1_000_000 {
            value = Value::list([value]);
        }
        drop(value);
    }

    #[test]
    fn only_empty_values_are_false() {
        for (value, expected) in [
            (Value::None, false),
            (Value::Bool(false), false),
            (Value::Number(0.0), false),
            (Value::from(""), false),
            (Value::list([]), false),
            (Value::from("0"), true),
            (Value::Number(-1.0), true),
            (Value::list([Value::None]), true),
        ] {
            assert_eq!(value.is_truthy(), expected, "{value:?}");
        }
    }
}
