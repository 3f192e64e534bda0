//! What instructions do that touch registers and variables only, in full.
//!
//! [`super::quick`] has short ways for the usual operands and comes here for all others; what enters,
//! leaves or stops functions is in [`super::dispatch`]. Each arm is a few lines; what is longer is a
//! named function. The registers of a frame are one array of 256 values, so a register number is
//! never out of range.

use std::sync::Arc;

use super::path::{Surroundings, change, set_element, set_property, writer};
use super::quick::{Registers, modulo};
use super::{iterate, text};
use crate::ast::BinaryOp;
use crate::bytecode::{FunctionCode, Op, PathAction, PathStep, Register, Variable};
use crate::host::{Environment, Thrown};
use crate::ops;
use crate::value::{Array, CellData, Function, Globals, Key, Object, Value};

/// How an instruction ended.
pub(super) enum Done {
    /// The next one follows.
    Next,
    /// The one so many behind the next follows.
    Jump(i32),
    /// It is not one of these.
    Leave,
}

/// Does one instruction of `function` in `unit`.
pub(super) fn ordinary(
    op: Op,
    regs: &mut Registers,
    environment: &mut Environment,
    unit: &Arc<Globals>,
    function: &FunctionCode,
) -> Result<Done, Thrown> {
    let program = &*unit.program;
    let constants = function.constants.as_slice();
    let caller = function.class.as_deref();

    macro_rules! throw {
        ($thrown:expr) => {
            return Err($thrown)
        };
    }
    macro_rules! check {
        ($result:expr) => {
            $result?
        };
    }
    macro_rules! r {
        ($register:expr) => {
            regs[$register as usize]
        };
    }
    macro_rules! k {
        ($number:expr) => {
            // The compiler numbers constants as it adds them.
            match constants.get($number as usize) {
                Some(value) => value,
                None => throw!(Thrown::new("a constant is missing")),
            }
        };
    }
    macro_rules! name {
        ($number:expr) => {
            match program.names.get($number as usize) {
                Some(name) => name,
                None => throw!(Thrown::new("a name is missing")),
            }
        };
    }
    macro_rules! jump {
        ($distance:expr) => {
            return Ok(Done::Jump($distance))
        };
    }
    macro_rules! charge {
        ($value:expr) => {
            environment.budget.charge_value($value)
        };
    }
    macro_rules! arithmetic {
        ($d:expr, $a:expr, $b:expr, |$x:ident, $y:ident| $fast:expr, $slow:expr) => {
            if let (Value::Number($x), Value::Number($y)) = (&r!($a), $b) {
                let value = $fast;
                r!($d) = Value::Number(value);
            } else {
                let value = check!($slow(&r!($a), $b));
                charge!(&value);
                r!($d) = value;
            }
        };
    }
    macro_rules! compare {
        ($a:expr, $b:expr, $op:tt, $slow:expr) => {
            match ($a, $b) {
                (Value::Number(x), Value::Number(y)) => x $op y,
                (a, b) => check!($slow(a, b)),
            }
        };
    }
    macro_rules! less {
        ($a:expr, $b:expr) => {
            compare!($a, $b, <, |a, b| ops::less("<", a, b))
        };
    }
    macro_rules! less_equal {
        ($a:expr, $b:expr) => {
            compare!($a, $b, <=, |a, b| ops::less_equal("<=", a, b))
        };
    }
    macro_rules! greater {
        ($a:expr, $b:expr) => {
            compare!($a, $b, >, |a, b| ops::less(">", b, a))
        };
    }
    macro_rules! greater_equal {
        ($a:expr, $b:expr) => {
            compare!($a, $b, >=, |a, b| ops::less_equal(">=", b, a))
        };
    }
    macro_rules! equal {
        ($a:expr, $b:expr) => {
            match ($a, $b) {
                (Value::Number(x), Value::Number(y)) => x == y,
                (a, b) => ops::loose_equal(a, b),
            }
        };
    }
    macro_rules! same {
        ($a:expr, $b:expr) => {
            match ($a, $b) {
                (Value::Number(x), Value::Number(y)) => x == y,
                (a, b) => ops::strict_equal(a, b),
            }
        };
    }
    macro_rules! jump_if {
        ($condition:expr, $to:expr) => {
            if $condition {
                jump!($to);
            }
        };
    }

    match op {
        // Their quick instructions do every case.
        Op::Move { .. }
        | Op::Take { .. }
        | Op::None { .. }
        | Op::Release { .. }
        | Op::Jump { .. }
        | Op::JumpIf { .. }
        | Op::JumpIfSome { .. }
        | Op::CountIfLess { .. }
        | Op::CountIfLessK { .. }
        | Op::Text { .. }
        | Op::Index { .. }
        | Op::IndexK { .. }
        // Functions that are entered, left or stopped.
        | Op::Loop { .. }
        | Op::CallFunction { .. }
        | Op::CallNative { .. }
        | Op::CallReading { .. }
        | Op::CallMethod { .. }
        | Op::CallLent { .. }
        | Op::CallValue { .. }
        | Op::CallSpread { .. }
        | Op::Cache { .. }
        | Op::Return { .. }
        | Op::Yield { .. }
        | Op::BarrierEnter { .. }
        | Op::BarrierLeave { .. } => return Ok(Done::Leave),

        Op::Bool { d, value } => r!(d).put(Value::Bool(value)),
        Op::Const { d, k } => {
            let value = match k!(k) {
                Value::Number(value) => Value::Number(*value),
                value => value.clone(),
            };
            r!(d).put(value);
        }
        Op::CheckSet { a } => {
            if matches!(r!(a), Value::Unset) {
                throw!(unset(function.variable(a)));
            }
        }
        Op::MoveQuiet { d, a } => {
            let value = match &r!(a) {
                Value::Unset => Value::None,
                Value::Cell(cell) => set_or_none(cell.0.0.lock().clone()),
                value => value.clone(),
            };
            r!(d).put(value);
        }
        Op::IsSet { d, a } => {
            let is_set = match &r!(a) {
                Value::Unset => false,
                Value::Cell(cell) => !matches!(*cell.0.0.lock(), Value::Unset),
                _ => true,
            };
            r!(d).put(Value::Bool(is_set));
        }
        Op::IsSetGlobal { d, global } => {
            let is_set = unit
                .values
                .get(global as usize)
                .is_some_and(|value| !matches!(*value.lock(), Value::Unset));
            r!(d).put(Value::Bool(is_set));
        }
        Op::UnsetLocal { d, a } => {
            let old = match &mut r!(a) {
                Value::Cell(cell) => std::mem::replace(&mut *cell.0.0.lock(), Value::Unset),
                value => std::mem::replace(value, Value::Unset),
            };
            r!(d).put(Value::Bool(!matches!(old, Value::Unset)));
        }
        Op::UnsetGlobal { d, global } => {
            let old = match unit.values.get(global as usize) {
                Some(value) => std::mem::replace(&mut *value.lock(), Value::Unset),
                None => Value::Unset,
            };
            r!(d).put(Value::Bool(!matches!(old, Value::Unset)));
        }
        Op::CellGet { d, a } => {
            let value = match &r!(a) {
                Value::Cell(cell) => cell.0.0.lock().clone(),
                value => value.clone(),
            };
            if matches!(value, Value::Unset) {
                throw!(unset(function.variable(a)));
            }
            r!(d).put(value);
        }
        Op::CellSet { a, b } => {
            let value = std::mem::take(&mut r!(b));
            let old = match &mut r!(a) {
                Value::Cell(cell) => std::mem::replace(&mut *cell.0.0.lock(), value),
                place => std::mem::replace(place, value),
            };
            drop(old); // outside of the lock
        }
        Op::GlobalGet { d, global } => {
            let value = match unit.values.get(global as usize) {
                Some(value) => value.lock().clone(),
                None => Value::Unset,
            };
            if matches!(value, Value::Unset) {
                let name = program.globals.get(global as usize);
                throw!(unset(name.map_or("", |global| &*global.name)));
            }
            r!(d).put(value);
        }
        Op::GlobalQuiet { d, global } => {
            let value = match unit.values.get(global as usize) {
                Some(value) => set_or_none(value.lock().clone()),
                None => Value::None,
            };
            r!(d).put(value);
        }
        Op::GlobalSet { a, global } => {
            let value = std::mem::take(&mut r!(a));
            if let Some(place) = unit.values.get(global as usize) {
                let old = std::mem::replace(&mut *place.lock(), value);
                drop(old); // outside of the lock
            }
        }

        Op::Add { d, a, b } => arithmetic!(d, a, &r!(b), |x, y| x + y, ops::add),
        Op::Subtract { d, a, b } => {
            arithmetic!(d, a, &r!(b), |x, y| x - y, ops::subtract);
        }
        Op::Multiply { d, a, b } => {
            let max = environment.limits.memory;
            arithmetic!(d, a, &r!(b), |x, y| x * y, |a, b| ops::multiply(a, b, max));
        }
        Op::Divide { d, a, b } => arithmetic!(d, a, &r!(b), |x, y| x / y, ops::divide),
        Op::Remainder { d, a, b } => {
            let max = environment.limits.memory;
            arithmetic!(d, a, &r!(b), |x, y| modulo(*x, *y), |a, b| ops::remainder(a, b, max));
        }
        Op::AddK { d, a, k } => {
            if let (Value::Number(x), Value::Number(y)) = (&r!(a), k!(k)) {
                let value = x + y;
                r!(d).put(Value::Number(value));
            } else if d == a {
                // `$a += 1`: an array that nobody else holds grows where it is.
                environment.budget.charge(16 + k!(k).shallow_size());
                check!(ops::add_assign(&mut r!(a), k!(k).clone()));
            } else {
                let value = check!(ops::add(&r!(a), k!(k)));
                charge!(&value);
                r!(d).put(value);
            }
        }
        Op::SubtractK { d, a, k } => {
            arithmetic!(d, a, k!(k), |x, y| x - y, ops::subtract);
        }
        Op::MultiplyK { d, a, k } => {
            let max = environment.limits.memory;
            arithmetic!(d, a, k!(k), |x, y| x * y, |a, b| ops::multiply(a, b, max));
        }
        Op::DivideK { d, a, k } => arithmetic!(d, a, k!(k), |x, y| x / y, ops::divide),
        Op::RemainderK { d, a, k } => {
            let max = environment.limits.memory;
            arithmetic!(d, a, k!(k), |x, y| modulo(*x, *y), |a, b| ops::remainder(a, b, max));
        }
        Op::AddAssign { a, b } => {
            if let (&Value::Number(x), &Value::Number(y)) = (&r!(a), &r!(b)) {
                r!(a).put(Value::Number(x + y));
            } else {
                let right = r!(b).clone();
                environment.budget.charge(16 + right.shallow_size());
                check!(ops::add_assign(&mut r!(a), right));
            }
        }
        Op::Less { d, a, b } => r!(d).put(Value::Bool(less!(&r!(a), &r!(b)))),
        Op::LessEqual { d, a, b } => {
            r!(d).put(Value::Bool(less_equal!(&r!(a), &r!(b))));
        }
        Op::Equal { d, a, b } => r!(d).put(Value::Bool(equal!(&r!(a), &r!(b)))),
        Op::NotEqual { d, a, b } => r!(d).put(Value::Bool(!equal!(&r!(a), &r!(b)))),
        Op::Same { d, a, b } => r!(d).put(Value::Bool(same!(&r!(a), &r!(b)))),
        Op::NotSame { d, a, b } => r!(d).put(Value::Bool(!same!(&r!(a), &r!(b)))),
        Op::Binary { op, d, a, b } => {
            let Some(operator) = ops::binary(op) else {
                throw!(Thrown::new("this operator belongs to the host"));
            };
            let max = environment.limits.memory;
            let value = check!(operator(&r!(a), &r!(b), max));
            charge!(&value);
            r!(d).put(value);
        }
        Op::Not { d, a } => r!(d).put(Value::Bool(!r!(a).is_truthy())),
        Op::Negate { d, a } => r!(d).put(check!(ops::negate(&r!(a)))),
        Op::Plus { d, a } => r!(d).put(check!(ops::plus(&r!(a)))),
        Op::BitNot { d, a } => r!(d).put(check!(ops::bit_not(&r!(a)))),
        Op::Increment { a } => check!(ops::step(&mut r!(a), 1.0)),
        Op::Decrement { a } => check!(ops::step(&mut r!(a), -1.0)),

        Op::JumpLess { a, b, expect, to } => {
            jump_if!(less!(&r!(a), &r!(b)) == expect, to);
        }
        Op::JumpLessEqual { a, b, expect, to } => {
            jump_if!(less_equal!(&r!(a), &r!(b)) == expect, to);
        }
        Op::JumpEqual { a, b, expect, to } => {
            jump_if!(equal!(&r!(a), &r!(b)) == expect, to);
        }
        Op::JumpSame { a, b, expect, to } => {
            jump_if!(same!(&r!(a), &r!(b)) == expect, to);
        }
        Op::JumpIfLessK { a, k, to } => jump_if!(less!(&r!(a), k!(k)), to),
        Op::JumpUnlessLessK { a, k, to } => jump_if!(!less!(&r!(a), k!(k)), to),
        Op::JumpIfLessEqualK { a, k, to } => jump_if!(less_equal!(&r!(a), k!(k)), to),
        Op::JumpUnlessLessEqualK { a, k, to } => {
            jump_if!(!less_equal!(&r!(a), k!(k)), to);
        }
        Op::JumpIfGreaterK { a, k, to } => jump_if!(greater!(&r!(a), k!(k)), to),
        Op::JumpUnlessGreaterK { a, k, to } => jump_if!(!greater!(&r!(a), k!(k)), to),
        Op::JumpIfGreaterEqualK { a, k, to } => {
            jump_if!(greater_equal!(&r!(a), k!(k)), to);
        }
        Op::JumpUnlessGreaterEqualK { a, k, to } => {
            jump_if!(!greater_equal!(&r!(a), k!(k)), to);
        }
        Op::JumpIfEqualK { a, k, to } => jump_if!(equal!(&r!(a), k!(k)), to),
        Op::JumpUnlessEqualK { a, k, to } => jump_if!(!equal!(&r!(a), k!(k)), to),
        Op::JumpIfSameK { a, k, to } => jump_if!(same!(&r!(a), k!(k)), to),
        Op::JumpUnlessSameK { a, k, to } => jump_if!(!same!(&r!(a), k!(k)), to),

        Op::Concat { d, base, count } => {
            let from = usize::from(base);
            let Some(parts) = regs.get_mut(from..from + usize::from(count)) else {
                throw!(Thrown::new("registers are missing"));
            };
            let value = check!(text::concat(parts, environment.limits.memory));
            environment.budget.charge(48 + value.len());
            r!(d).put(Value::String(value));
        }
        Op::Append { a, b } => {
            let Ok([left, right]) = regs.get_disjoint_mut([usize::from(a), usize::from(b)])
            else {
                // `$s .= $s`
                let right = r!(b).clone();
                environment.budget.charge(8 + 2 * right.shallow_size());
                check!(ops::concat_assign(&mut r!(a), &right));
                return Ok(Done::Next);
            };
            check!(ops::concat_assign(left, right));
            environment.budget.charge(8 + right.shallow_size());
        }
        Op::NewArray { d, room } => {
            environment.budget.charge(64 + 16 * usize::from(room));
            r!(d).put(Value::Array(Array::with_capacity(usize::from(room))));
        }
        Op::Push { a, b } => {
            let value = std::mem::take(&mut r!(b));
            environment.budget.charge(16);
            if let Value::Array(array) = &mut r!(a) {
                if !array.push(value) {
                    throw!(Thrown::new("array has no free numeric index"));
                }
            } else if matches!(r!(a), Value::Object(_)) {
                throw!(Thrown::new("an object is no list"));
            } else {
                r!(a).put(Value::list([value]));
            }
        }
        Op::Put { a, b, c } => {
            let value = std::mem::take(&mut r!(c));
            let key = Key::from_value(&r!(b));
            environment.budget.charge(48);
            if let Value::Array(array) = &mut r!(a) {
                array.insert(key, value);
            }
        }
        Op::Spread { a, b } => {
            let Value::Array(items) = r!(b).clone() else {
                throw!(Thrown::new(format!(
                    "... needs an array, {} given",
                    r!(b).type_of().name()
                )));
            };
            environment.budget.charge(items.shallow_size());
            let mut target = std::mem::take(&mut r!(a));
            let result = ops::add_assign(&mut target, Value::Array(items));
            r!(a).put(target);
            check!(result);
        }
        Op::IndexQuiet { d, a, b } => {
            let value = ops::element(&r!(a), &r!(b), caller).unwrap_or_default();
            r!(d).put(value);
        }
        Op::Property { d, a, name } => {
            let key = name!(name);
            let value = match &r!(a) {
                Value::Object(object) => ops::member(object, key, caller)?,
                Value::Array(array) => array.get_name(key).cloned().unwrap_or_default(),
                value => ops::element(value, &Value::String(key.clone()), caller)?,
            };
            r!(d).put(value);
        }
        Op::IndexPath { d, a, b } => {
            let Value::Array(keys) = r!(b).clone() else {
                throw!(Thrown::new("[...path] needs an array of keys"));
            };
            let mut value = r!(a).clone();
            for key in keys.values() {
                value = check!(ops::element(&value, key, caller));
            }
            r!(d).put(value);
        }
        Op::HasIndex { d, a, b } => {
            let found = ops::contains(&r!(a), &r!(b), caller);
            r!(d).put(Value::Bool(found));
        }
        Op::SetIndex { a, b, c } => {
            let value = std::mem::take(&mut r!(c));
            environment.budget.charge(48);
            let writer = writer(function, regs);
            let result = match regs.get_disjoint_mut([usize::from(a), usize::from(b)]) {
                Ok([target, key]) => set_element(target, key, value, writer),
                Err(_) => {
                    let key = r!(b).clone();
                    set_element(&mut r!(a), &key, value, writer)
                }
            };
            check!(result);
        }
        Op::SetProperty { a, b, name } => {
            let value = std::mem::take(&mut r!(b));
            environment.budget.charge(48);
            let key = name!(name);
            let writer = writer(function, regs);
            match &mut r!(a) {
                Value::Object(object) => set_property(object, key, value, writer)?,
                target => set_element(target, &Value::String(key.clone()), value, writer)?,
            }
        }
        Op::AddProperty { a, b, name } => {
            let right = r!(b).clone();
            environment.budget.charge(64 + right.shallow_size());
            let around = Surroundings {
                writer: writer(function, regs),
                max: environment.limits.memory,
                wants_result: false,
            };
            let mut target = std::mem::take(&mut r!(a));
            let result = change(
                &mut target,
                &[PathStep::Key],
                &[Value::String(name!(name).clone())],
                PathAction::Update(BinaryOp::Add),
                right,
                &around,
            );
            r!(a).put(target);
            result?;
        }
        Op::Slice { d, a, base } => {
            let from = usize::from(base);
            let parts = regs.get(from..from + 3).unwrap_or_default();
            let bounds = check!(ops::Bounds::from_values(parts));
            let value = check!(ops::slice(&r!(a), bounds));
            charge!(&value);
            r!(d).put(value);
        }
        Op::Path { base, value, path } => {
            let Some(path) = function.paths.get(usize::from(path)) else {
                throw!(Thrown::new("a path is missing"));
            };
            environment.budget.charge(64 + r!(value).shallow_size());
            let around = Surroundings {
                writer: writer(function, regs),
                max: environment.limits.memory,
                wants_result: path.wants_result,
            };
            let new = std::mem::take(&mut r!(value));
            let run = |target: &mut Value, keys: &[Value]| {
                change(target, &path.steps, keys, path.action, new, &around)
            };
            let result = match path.root {
                Variable::Local(root) => {
                    let mut target = std::mem::take(&mut r!(root));
                    let keys = regs.get(usize::from(base)..).unwrap_or_default();
                    let result = run(&mut target, keys);
                    r!(root).put(target);
                    result
                }
                Variable::Cell(root) => {
                    let keys = regs.get(usize::from(base)..).unwrap_or_default();
                    match &r!(root) {
                        Value::Cell(cell) => run(&mut cell.0.0.lock(), keys),
                        _ => Ok(Value::None),
                    }
                }
                Variable::Global(root) => {
                    let keys = regs.get(usize::from(base)..).unwrap_or_default();
                    match unit.values.get(usize::from(root)) {
                        Some(place) => run(&mut place.lock(), keys),
                        None => Ok(Value::None),
                    }
                }
            };
            let result = check!(result);
            if path.wants_result {
                r!(value).put(result);
            }
        }
        Op::Item { d, a, b, to } => {
            let found = match &r!(a) {
                Value::Array(array) => array.get_value(&r!(b)).cloned(),
                _ => None,
            };
            if let Some(value) = found {
                r!(d).put(value);
                jump!(to);
            }
        }
        Op::Rest { d, a, from } => {
            let items: Array = match &r!(a) {
                Value::Array(array) if from == u16::MAX => array.values().cloned().collect(),
                Value::Array(array) => {
                    array.values().skip(usize::from(from)).cloned().collect()
                }
                other if from == u16::MAX => {
                    let kind = other.type_of().name();
                    throw!(Thrown::new(format!("... needs an array, {kind} given")));
                }
                _ => Array::new(),
            };
            environment.budget.charge(items.shallow_size());
            r!(d).put(Value::Array(items));
        }

        Op::Function { d, function: number } => {
            let Some(target) = program.functions.get(usize::from(number)) else {
                throw!(Thrown::new("a function is missing"));
            };
            let captures = target
                .captures
                .iter()
                .map(|&register| match &r!(register) {
                    Value::Cell(cell) => Arc::clone(&cell.0),
                    value => CellData::new(value.clone()),
                })
                .collect();
            environment.budget.charge(128);
            r!(d) = Value::Function(Function::script(crate::value::Closure {
                unit: Arc::clone(unit),
                function: u32::from(number),
                captures,
                this: None,
            }));
        }
        Op::Instance { d, class } => {
            let Some(class) = program.classes.get(usize::from(class)) else {
                throw!(Thrown::new("a class is missing"));
            };
            let object = Object::instance(class, unit);
            environment.tracker.object(&object);
            environment.budget.charge(160);
            r!(d).put(Value::Object(object));
        }

        Op::IterStart { base: at } => {
            let source = std::mem::take(&mut r!(at));
            r!(at).put(check!(iterate::start(source, caller, &mut environment.budget)));
            r!(at + 1).put(Value::Number(0.0));
        }
        Op::IterNext { base: at, value, key, to } => {
            let Value::Array(array) = &r!(at) else { return Ok(Done::Leave) };
            let position = r!(at + 1).as_number().unwrap_or_default() as usize;
            let Some((next, found, item)) = array.walk(position) else { jump!(to) };
            let item = item.clone();
            let found = (key != Register::MAX).then(|| found.to_value());
            r!(at + 1).put(Value::Number(next as f64));
            if let Some(found) = found {
                r!(key).put(found);
            }
            r!(value).put(item);
        }

        Op::Throw { a } => {
            let value = std::mem::take(&mut r!(a));
            throw!(Thrown::value(value));
        }
        Op::NoMatch { a } => {
            let mut text = b"no match for ".to_vec();
            let _ = ops::dump_within(&r!(a), &mut text, MAX_SHOWN);
            throw!(Thrown::new(String::from_utf8_lossy(&text).into_owned()));
        }
        Op::Echo { a } => match &r!(a) {
            Value::String(text) => environment.echo.echo(text),
            value => environment.echo.echo(&check!(ops::checked_text(value, environment.limits.memory))),
        },
        Op::BarrierValue { d, a } => {
            let value = super::barrier::value(&r!(a));
            r!(d).put(value);
        }
    }
    Ok(Done::Next)
}

/// Octets of a value that an error message shows.
const MAX_SHOWN: usize = 1 << 16;

/// Makes the error for reading a variable that has no value.
#[cold]
pub(super) fn unset(name: &str) -> Thrown {
    Thrown::new(format!("variable ${name} has no value"))
}

fn set_or_none(value: Value) -> Value {
    if matches!(value, Value::Unset) { Value::None } else { value }
}

#[inline]
pub(super) fn clear(values: &mut [Value]) {
    for value in values {
        if value.needs_drop() {
            value.put_none();
        }
    }
}
