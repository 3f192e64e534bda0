//! Changes of nested places: `$a["x"]->y[] = 1`.
//!
//! A path is walked by mutable reference through arrays, so an unshared array is changed where it is.
//! At an object the walk starts over with the object as its root and without any other lock held, so a
//! path may pass through one object twice.

use smallvec::SmallVec;

use super::quick::Registers;
use crate::ast::BinaryOp;
use crate::bytecode::{FunctionCode, PathAction, PathStep, Register};
use crate::host::Thrown;
use crate::ops::{self, Bounds, Writer};
use crate::value::{Array, Key, Object, Str, Value};

/// What a change needs to know of its surroundings.
pub(super) struct Surroundings<'a> {
    /// Whose code makes the change.
    pub(super) writer: Writer<'a>,
    /// The largest value it may make, in octets.
    pub(super) max: usize,
    /// Whether anybody looks at the value of the expression.
    pub(super) wants_result: bool,
}

/// Returns whose code `function` is, run with `regs`.
#[inline]
pub(super) fn writer<'f>(function: &'f FunctionCode, regs: &Registers) -> Writer<'f> {
    let class = function.class.as_deref();
    let this = match class {
        Some(class) if !class.restricted.is_empty() => this_of(function, regs),
        _ => 0,
    };
    Writer { class, this }
}

#[cold]
fn this_of(function: &FunctionCode, regs: &Registers) -> usize {
    let address = |value: &Value| value.as_object().map_or(0, Object::address);
    if function.this == Register::MAX {
        return 0;
    }
    match &regs[usize::from(function.this)] {
        Value::Cell(cell) => address(&cell.0.0.lock()),
        value => address(value),
    }
}

enum Segment {
    Key(Value),
    Append,
    Slice(Bounds),
}

enum Walk {
    Done(Value),
    /// The walk met an object before the segment of this number.
    At(Object, usize),
}

/// Changes the place behind `steps` in `target` and returns the value of the expression.
pub(super) fn change(
    target: &mut Value,
    steps: &[PathStep],
    keys: &[Value],
    action: PathAction,
    value: Value,
    around: &Surroundings<'_>,
) -> Result<Value, Thrown> {
    // One step is the common case, and needs no list of segments.
    if let ([PathStep::Key], [key, ..], PathAction::Update(_) | PathAction::Step { .. }) =
        (steps, keys, action)
    {
        match target {
            Value::Array(array) => {
                let place = array.entry_of(key);
                return apply(place, action, &mut Some(value), around);
            }
            Value::Object(object) => {
                if let Value::String(name) = key {
                    if object.user_class().is_some_and(|class| !class.restricted.is_empty()) {
                        ops::check_write(object, name, around.writer)?;
                    }
                    if let Some(place) = object.properties_for(name).get_name_mut(name) {
                        return apply(place, action, &mut Some(value), around);
                    }
                }
            }
            _ => {}
        }
    }
    let segments = segments(steps, keys)?;
    let mut value = Some(value);
    let mut walk = advance(target, &segments, 0, action, &mut value, around)?;
    loop {
        let (object, at) = match walk {
            Walk::Done(result) => return Ok(result),
            Walk::At(object, at) => (object, at),
        };
        walk = enter(&object, &segments, at, action, &mut value, around)?;
    }
}

fn segments(steps: &[PathStep], keys: &[Value]) -> Result<SmallVec<[Segment; 4]>, Thrown> {
    let mut segments = SmallVec::new();
    let mut rest = keys;
    for step in steps {
        match (step, rest) {
            (PathStep::Append, _) => segments.push(Segment::Append),
            (PathStep::Key, [key, tail @ ..]) => {
                segments.push(Segment::Key(key.clone()));
                rest = tail;
            }
            (PathStep::Keys, [Value::Array(list), tail @ ..]) => {
                segments.extend(list.values().map(|key| Segment::Key(key.clone())));
                rest = tail;
            }
            (PathStep::Keys, _) => return Err(Thrown::new("[...path] needs an array of keys")),
            (PathStep::Slice, [_, _, _, tail @ ..]) => {
                segments.push(Segment::Slice(Bounds::from_values(rest)?));
                rest = tail;
            }
            (PathStep::Key | PathStep::Slice, _) => {}
        }
    }
    Ok(segments)
}

/// Walks through arrays up to the last segment or the next object.
fn advance(
    target: &mut Value,
    segments: &[Segment],
    at: usize,
    action: PathAction,
    value: &mut Option<Value>,
    around: &Surroundings<'_>,
) -> Result<Walk, Thrown> {
    let mut place = target;
    let mut at = at;
    loop {
        let rest = segments.get(at..).unwrap_or_default();
        let Some((segment, later)) = rest.split_first() else {
            return apply(place, action, value, around).map(Walk::Done);
        };
        if let Value::Object(object) = place {
            return Ok(Walk::At(object.clone(), at));
        }
        if let (Segment::Slice(bounds), true) = (segment, later.is_empty()) {
            return slice(place, *bounds, action, value).map(Walk::Done);
        }
        if action == PathAction::Unset && !matches!(place, Value::Array(_)) {
            return Ok(Walk::Done(Value::Bool(false)));
        }
        let array = array_of(place);
        match segment {
            Segment::Key(key) if later.is_empty() && action == PathAction::Unset => {
                let removed = array.remove(&Key::from_value(key));
                return Ok(Walk::Done(Value::Bool(removed.is_some())));
            }
            Segment::Key(key) => {
                if action == PathAction::Unset && array.get_value(key).is_none() {
                    return Ok(Walk::Done(Value::Bool(false)));
                }
                place = array.entry_of(key);
            }
            Segment::Append => {
                if later.is_empty() && action != PathAction::Set {
                    return Err(Thrown::new("[] can only be assigned"));
                }
                place = match array.push_place() {
                    Some(place) => place,
                    None => return Err(Thrown::new("array has no free numeric index")),
                };
            }
            Segment::Slice(_) => {
                return Err(Thrown::new("a slice can only stand last in an assignment"));
            }
        }
        at += 1;
    }
}

/// Goes on inside of an object.
fn enter(
    object: &Object,
    segments: &[Segment],
    at: usize,
    action: PathAction,
    value: &mut Option<Value>,
    around: &Surroundings<'_>,
) -> Result<Walk, Thrown> {
    let rest = segments.get(at..).unwrap_or_default();
    let Some((Segment::Key(key), later)) = rest.split_first() else {
        return Err(Thrown::new("an object is no list"));
    };
    let name = key.as_bytes().unwrap_or_default();
    if later.is_empty() {
        ops::check_write(object, name, around.writer)?;
        refuse_method(object, key)?;
        let mut properties = lock(object, key);
        if action == PathAction::Unset {
            let removed = properties.remove(&Key::from_value(key));
            drop(properties);
            return Ok(Walk::Done(Value::Bool(removed.is_some())));
        }
        return advance(
            properties.entry(Key::from_value(key)),
            segments,
            at + 1,
            action,
            value,
            around,
        );
    }
    // Reading the way is enough where an object comes next.
    let inner = lock(object, key).get_value(key).cloned();
    if let Some(Value::Object(inner)) = inner {
        if let Value::String(name) = key {
            ops::member(object, name, around.writer.class)?;
        }
        return Ok(Walk::At(inner, at + 1));
    }
    ops::check_write(object, name, around.writer)?;
    drop(inner); // a second reference would make the change copy the array
    let mut properties = lock(object, key);
    advance(properties.entry(Key::from_value(key)), segments, at + 1, action, value, around)
}

/// Locks the properties of an object for a look at `key`.
fn lock<'a>(object: &'a Object, key: &Value) -> parking_lot::MutexGuard<'a, Array> {
    match key {
        Value::String(name) => object.properties_for(name),
        _ => object.properties(),
    }
}

/// Refuses to hide a method behind a property.
fn refuse_method(object: &Object, key: &Value) -> Result<(), Thrown> {
    if let (Value::String(name), Some(class)) = (key, object.user_class())
        && class.method(name).is_some()
    {
        return Err(Thrown::new(format!("{} is a function of the class", name.escape_ascii())));
    }
    Ok(())
}

/// Makes an array of a place that is none, and returns it.
fn array_of(place: &mut Value) -> &mut Array {
    if !matches!(place, Value::Array(_)) {
        *place = Value::Array(Array::new());
    }
    match place {
        Value::Array(array) => array,
        _ => unreachable!("the place was made an array above"),
    }
}

/// Changes the place itself.
fn apply(
    place: &mut Value,
    action: PathAction,
    value: &mut Option<Value>,
    around: &Surroundings<'_>,
) -> Result<Value, Thrown> {
    let new = value.take().unwrap_or_default();
    match action {
        PathAction::Set => {
            // A second reference would make the next change copy.
            let result = if around.wants_result { new.clone() } else { Value::None };
            *place = new;
            Ok(result)
        }
        PathAction::Update(op) => {
            update(place, op, &new, around)?;
            Ok(if around.wants_result { place.clone() } else { Value::None })
        }
        PathAction::Step { by, is_prefix } => {
            let before = place.clone();
            if matches!(place, Value::Unset) {
                return Err(Thrown::new("the variable has no value"));
            }
            ops::step(place, f64::from(by))?;
            Ok(if is_prefix { place.clone() } else { before })
        }
        PathAction::Unset => {
            let had = !matches!(place, Value::Unset);
            *place = Value::Unset;
            Ok(Value::Bool(had))
        }
    }
}

fn update(
    place: &mut Value,
    op: BinaryOp,
    value: &Value,
    around: &Surroundings<'_>,
) -> Result<(), Thrown> {
    if matches!(place, Value::Unset) {
        return Err(Thrown::new("the variable has no value"));
    }
    match op {
        BinaryOp::Concat => ops::concat_assign(place, value),
        BinaryOp::Add => ops::add_assign(place, value.clone()),
        op => {
            if let Some(function) = ops::binary(op) {
                *place = function(place, value, around.max)?;
            }
            Ok(())
        }
    }
}

fn slice(
    place: &mut Value,
    bounds: Bounds,
    action: PathAction,
    value: &mut Option<Value>,
) -> Result<Value, Thrown> {
    match action {
        PathAction::Set => {
            let new = value.take().unwrap_or_default();
            ops::replace_slice(place, bounds, &new)?;
            Ok(new)
        }
        PathAction::Unset => ops::remove_slice(place, bounds).map(Value::Bool),
        _ => Err(Thrown::new("a slice can only be assigned or unset")),
    }
}

/// Sets an element of a variable: `$a[k] = v` and `$a->k = v`.
#[inline]
pub(super) fn set_element(
    target: &mut Value,
    key: &Value,
    value: Value,
    writer: Writer<'_>,
) -> Result<(), Thrown> {
    match target {
        Value::Array(array) => *array.entry_of(key) = value,
        Value::Object(object) => {
            if let Value::String(name) = key {
                return set_property(object, name, value, writer);
            }
            let old = object.properties().insert(Key::from_value(key), value);
            drop(old);
        }
        _ => {
            let mut array = Array::new();
            array.insert(Key::from_value(key), value);
            *target = Value::Array(array);
        }
    }
    Ok(())
}

/// Sets a property.
#[inline]
pub(super) fn set_property(
    object: &Object,
    name: &Str,
    value: Value,
    writer: Writer<'_>,
) -> Result<(), Thrown> {
    if let Some(class) = object.user_class() {
        if !class.restricted.is_empty() {
            ops::check_write(object, name, writer)?;
        }
        if class.method(name).is_some() {
            return Err(Thrown::new(format!("{} is a function of the class", name.escape_ascii())));
        }
    }
    let old = object.set(name, value);
    drop(old); // outside of the lock: it may own objects
    Ok(())
}
