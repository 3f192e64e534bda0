//! Array chapter: functions over ordered arrays.
//!
//! Functions with a callback are continuations: the callback runs on the script's own machine and
//! may suspend there. [`Each`] walks an array for all of them but `array_sort`, which has a merge
//! sort of its own in [`sort`].

mod sort;

use std::collections::HashSet;

use hsl::host::{Arguments, CallContext, Continuation, NativeStep, Registry, Thrown};
use hsl::value::{Array, Key, Str, Value};
use smallvec::smallvec;

use crate::args::{self, Options};
use crate::output::{self, Output, Stop};
use crate::random;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry) {
    registry
        .pure_function(
            "array_combine(array keys, array values [, any default_value]) -> array",
            "pairs keys with values",
            combine,
        )
        .function(
            "array_every(function callback, array array) -> boolean",
            "true if the callback is true for all values",
            |_, args| each(args, Every),
        )
        .function(
            "array_filter(function callback, array array) -> array",
            "the values whose callback is true, with their keys",
            |_, args| each(args, Filter { kept: Array::new() }),
        )
        .function(
            "array_find(function callback, array array) -> any",
            "the first value whose callback is true, or none",
            |_, args| each(args, Find),
        )
        .function(
            "array_includes(any needle, array array) -> boolean",
            "true if a value is the needle, or the needle function is true for one",
            includes,
        )
        .pure_function(
            "array_join(array array [, string separator]) -> string",
            "the values as text, with the separator between them",
            |ctx, args| {
                let separator = args::text(args, 1);
                join(ctx, args::array(args, 0), &separator)
            },
        )
        .pure_function("array_keys(array array) -> array", "the keys", |_, args| {
            let array = args::array(args, 0);
            Value::list(array.keys().map(|key| key.to_value()))
        })
        .function(
            "array_map(function callback, array array) -> array",
            "the callback's value for each value, with the same keys",
            |_, args| each(args, Map { out: Array::new() }),
        )
        .function(
            "array_random(array array) -> array or none",
            "a random key and value, or none for an empty array",
            |_, args| pick(args::array(args, 0)),
        )
        .pure_function(
            "array_range(number start, number stop, number step = 1) -> array",
            "numbers from start up to, not including, stop",
            |ctx, args| {
                range(ctx, args::number(args, 0), args::number(args, 1), args::number(args, 2))
            },
        )
        .function(
            "array_reduce(function callback, array array [, any initial]) -> any",
            "one value out of all: the callback gets what came so far and the next value",
            reduce,
        )
        .pure_function(
            "array_reverse(array array) -> array",
            "the values from last to first; numeric keys are numbered anew",
            |_, args| {
                let entries: Vec<_> = entries(args::array(args, 0));
                renumber(entries.into_iter().rev())
            },
        )
        .function(
            "array_shuffle(array array) -> array",
            "the values in random order; numeric keys are numbered anew",
            |_, args| shuffle(args::array(args, 0)),
        )
        .function(
            "array_sort(function callback, array array [, array options]) -> array",
            "sorts by a callback that says whether its first value comes before its second",
            |_, args| {
                let by_key = Options::new(args, 2).boolean("keys", false)?;
                let callback = args::take(args, 0);
                Ok::<_, Thrown>(sort::start(callback, args::array(args, 1), by_key))
            },
        )
        .pure_function(
            "array_unique(array array) -> array",
            "the first of each value, with its key",
            |_, args| unique(args::array(args, 0)),
        );
}

/// The values of `array` as text, with `separator` between them.
pub(crate) fn join(
    ctx: &mut CallContext<'_>,
    array: &Array,
    separator: &[u8],
) -> Result<Value, Thrown> {
    let mut octets = separator.len().saturating_mul(array.len());
    for value in array.values() {
        octets = octets.saturating_add(value.as_bytes().map_or(8, <[u8]>::len));
    }
    let joined = joined(array, separator, octets, ctx.limits().memory);
    Ok(output::finish(ctx, joined)?.into())
}

/// Joins values into at most `most` octets; about `octets` are expected.
fn joined(array: &Array, separator: &[u8], octets: usize, most: usize) -> Result<Vec<u8>, Stop> {
    let mut out = Output::new(most);
    out.room(octets)?;
    for (at, value) in array.values().enumerate() {
        if at > 0 {
            out.extend(separator)?;
        }
        out.text(value)?;
    }
    Ok(out.into_octets())
}

/// Numbers from `start` up to, not including, `stop`.
pub(crate) fn range(
    ctx: &mut CallContext<'_>,
    start: f64,
    stop: f64,
    step: f64,
) -> Result<Value, Thrown> {
    let count = ((stop - start) / step).ceil();
    if step == 0.0 || !count.is_finite() {
        return Err(Thrown::new("array_range() needs finite numbers and a step that is not 0"));
    }
    let count = count.max(0.0) as usize;
    ctx.charge_memory(count.saturating_mul(size_of::<Value>()))?;
    Ok(Value::list((0..count).map(|at| Value::Number(start + at as f64 * step))))
}

/// Says whether a value of `array` is `needle`, by type and value.
pub(crate) fn contains(array: &Array, needle: &Value) -> bool {
    array.values().any(|value| value == needle)
}

/// `array_includes`: by value, or by a function.
pub(crate) fn includes(_: &mut CallContext<'_>, args: &mut [Value]) -> NativeStep {
    if matches!(args.first(), Some(Value::Function(_))) {
        return each(args, Any);
    }
    let needle = args::take(args, 0);
    contains(args::array(args, 1), &needle).into()
}

fn combine(_: &mut CallContext<'_>, args: &[&Value]) -> Value {
    let default = args.get(2).copied().unwrap_or(&Value::None);
    let mut values = args::array(args, 1).values();
    let mut out = Array::new();
    for key in args::array(args, 0).values() {
        out.insert(Key::from_value(key), values.next().unwrap_or(default).clone());
    }
    out.into()
}

fn pick(array: &Array) -> Value {
    if array.is_empty() {
        return Value::None;
    }
    let at = random::below(array.len());
    match array.iter().nth(at) {
        Some((key, value)) => Value::list([key.to_value(), value.clone()]),
        None => Value::None,
    }
}

fn shuffle(array: &Array) -> Value {
    let mut entries = entries(array);
    // Fisher and Yates: every order is equally likely.
    for at in (1..entries.len()).rev() {
        entries.swap(at, random::below(at + 1));
    }
    renumber(entries)
}

fn unique(array: &Array) -> Value {
    let mut seen_text: HashSet<Str> = HashSet::new();
    let mut seen_number: HashSet<u64> = HashSet::new();
    let mut seen_flags = [false; 2];
    // Values of other types as keys, which arrays keep by type and value.
    let mut seen_other = Array::new();
    let mut out = Array::new();
    for (key, value) in array {
        let is_new = match value {
            Value::String(text) => seen_text.insert(text.clone()),
            // Minus zero is zero.
            Value::Number(number) => seen_number.insert((number + 0.0).to_bits()),
            Value::Bool(flag) => !std::mem::replace(&mut seen_flags[usize::from(*flag)], true),
            other => seen_other.insert(Key::Other(Box::new(other.clone())), Value::None).is_none(),
        };
        if is_new {
            out.insert(key, value.clone());
        }
    }
    out.into()
}

fn entries(array: &Array) -> Vec<(Key, Value)> {
    array.iter().map(|(key, value)| (key, value.clone())).collect()
}

fn renumber(entries: impl IntoIterator<Item = (Key, Value)>) -> Value {
    let mut out = Array::new();
    for (key, value) in entries {
        match key {
            Key::Int(_) => {
                out.push(value);
            }
            key => {
                out.insert(key, value);
            }
        }
    }
    out.into()
}

fn reduce(ctx: &mut CallContext<'_>, args: &mut [Value]) -> NativeStep {
    let has_initial = ctx.given() > 2;
    let (callback, carry) = (args::take(args, 0), args::take(args, 2));
    let array = args::take_array(args, 1);
    let mut rest = entries(&array).into_iter();
    let carry = if has_initial {
        carry
    } else {
        match rest.next() {
            Some((_, first)) => first,
            None => {
                let message = "array_reduce() of an empty array needs an initial value";
                return NativeStep::Throw(Thrown::new(message));
            }
        }
    };
    Box::new(Reduce { callback, rest }).step(carry)
}

struct Reduce {
    callback: Value,
    rest: std::vec::IntoIter<(Key, Value)>,
}

impl Reduce {
    fn step(mut self: Box<Self>, carry: Value) -> NativeStep {
        match self.rest.next() {
            Some((_, value)) => NativeStep::Call {
                function: self.callback.clone(),
                arguments: smallvec![carry, value],
                then: self,
            },
            None => NativeStep::Return(carry),
        }
    }
}

impl Continuation for Reduce {
    fn resume(self: Box<Self>, _: &mut CallContext<'_>, value: Value) -> NativeStep {
        self.step(value)
    }
}

/// What a walk over an array does with the callback's value for each element.
trait Visit: Send + 'static {
    /// Takes one element and its callback's value; a value ends the walk.
    fn visit(&mut self, key: Key, value: Value, result: Value) -> Option<Value>;

    /// The value of a walk that came to the end.
    fn finish(self: Box<Self>) -> Value;
}

/// Walks the array in the second argument with the callback in the first one.
fn each(args: &mut [Value], visit: impl Visit) -> NativeStep {
    let callback = args::take(args, 0);
    let array = args::take_array(args, 1);
    let rest = entries(&array).into_iter();
    Box::new(Each { callback, rest, current: None, visit: Box::new(visit) }).step()
}

struct Each<V> {
    callback: Value,
    rest: std::vec::IntoIter<(Key, Value)>,
    current: Option<(Key, Value)>,
    visit: Box<V>,
}

impl<V: Visit> Each<V> {
    fn step(mut self: Box<Self>) -> NativeStep {
        let Some((key, value)) = self.rest.next() else {
            return NativeStep::Return(self.visit.finish());
        };
        let arguments: Arguments = smallvec![value.clone()];
        self.current = Some((key, value));
        NativeStep::Call { function: self.callback.clone(), arguments, then: self }
    }
}

impl<V: Visit> Continuation for Each<V> {
    fn resume(mut self: Box<Self>, _: &mut CallContext<'_>, result: Value) -> NativeStep {
        if let Some((key, value)) = self.current.take()
            && let Some(end) = self.visit.visit(key, value, result)
        {
            return NativeStep::Return(end);
        }
        self.step()
    }
}

struct Map {
    out: Array,
}

impl Visit for Map {
    fn visit(&mut self, key: Key, _: Value, result: Value) -> Option<Value> {
        self.out.insert(key, result);
        None
    }

    fn finish(self: Box<Self>) -> Value {
        self.out.into()
    }
}

struct Filter {
    kept: Array,
}

impl Visit for Filter {
    fn visit(&mut self, key: Key, value: Value, result: Value) -> Option<Value> {
        if result.is_truthy() {
            self.kept.insert(key, value);
        }
        None
    }

    fn finish(self: Box<Self>) -> Value {
        self.kept.into()
    }
}

struct Every;

impl Visit for Every {
    fn visit(&mut self, _: Key, _: Value, result: Value) -> Option<Value> {
        (!result.is_truthy()).then_some(Value::Bool(false))
    }

    fn finish(self: Box<Self>) -> Value {
        Value::Bool(true)
    }
}

struct Any;

impl Visit for Any {
    fn visit(&mut self, _: Key, _: Value, result: Value) -> Option<Value> {
        result.is_truthy().then_some(Value::Bool(true))
    }

    fn finish(self: Box<Self>) -> Value {
        Value::Bool(false)
    }
}

struct Find;

impl Visit for Find {
    fn visit(&mut self, _: Key, value: Value, result: Value) -> Option<Value> {
        result.is_truthy().then_some(value)
    }

    fn finish(self: Box<Self>) -> Value {
        Value::None
    }
}
