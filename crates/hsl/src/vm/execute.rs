//! The loop: fetches instructions and does the usual ones at once.
//!
//! An arm here knows the operands that nearly every execution has, touches nothing but registers, and
//! goes on. Anything else leaves the `match` and goes through [`Vm::rare`], which knows every case.
//! Keep the arms short: what they need of the machine stays in processor registers only as long as
//! there is little of it.

use std::sync::Arc;

use super::dispatch::{WINDOW, clear, join};
use super::frame::{Back, Frame, NativeFrame};
use super::{Step, Vm};
use crate::bytecode::{FunctionCode, Op, Register};
use crate::host::Thrown;
use crate::value::Value;

impl Vm {
    /// Runs until something happens that the host must know.
    pub(super) fn execute(&mut self) -> Result<Step, Thrown> {
        let Some(frame) = self.frames.last() else { return Ok(Step::Done(Value::None)) };
        let mut unit_number = frame.unit;
        let Some(unit) = self.environment.units.get(unit_number as usize) else {
            return Err(Thrown::new("a program is missing"));
        };
        let mut unit = Arc::clone(unit);
        'frame: loop {
            let Some(frame) = self.frames.last() else { return Ok(Step::Done(Value::None)) };
            if frame.unit != unit_number {
                unit_number = frame.unit;
                if let Some(other) = self.environment.units.get(unit_number as usize) {
                    unit = Arc::clone(other);
                }
            }
            let program = &*unit.program;
            let Some(mut function) = program.functions.get(frame.function as usize) else {
                return Err(Thrown::new("a function is missing"));
            };
            let mut base = frame.base as usize;
            let mut pc = frame.pc as usize;
            if self.stack.len() < base + WINDOW {
                self.stack.resize(base + 2 * WINDOW, Value::None);
            }
            'window: loop {
                let code = function.code.as_slice();
                let constants = function.constants.as_slice();
                let Some(regs) =
                    self.stack.get_mut(base..).and_then(|s| s.first_chunk_mut::<WINDOW>())
                else {
                    return Err(Thrown::new("the stack is missing"));
                };

                macro_rules! r {
                    ($register:expr) => {
                        regs[$register as usize]
                    };
                }
                macro_rules! jump {
                    ($distance:expr) => {
                        pc = pc.wrapping_add_signed($distance as isize);
                        // Looking here keeps the jump a branch, which the processor predicts.
                        if pc >= code.len() {
                            return Err(Thrown::new("the code ended"));
                        }
                    };
                }
                macro_rules! number {
                    ($d:expr, $value:expr) => {{
                        let value = $value;
                        r!($d).put_number(value);
                        continue;
                    }};
                }
                // Numbers are moved field by field: a value that was just written in parts cannot
                // be read as a whole without waiting for the memory.
                macro_rules! copy {
                    ($d:expr, $value:expr) => {
                        match $value {
                            &Value::Number(value) => number!($d, value),
                            value => {
                                r!($d).put_copy(value);
                                continue;
                            }
                        }
                    };
                }
                macro_rules! arithmetic {
                    ($d:expr, $a:expr, $b:expr, |$x:ident, $y:ident| $value:expr) => {
                        if let (&Value::Number($x), &Value::Number($y)) = (&r!($a), &r!($b)) {
                            number!($d, $value);
                        }
                    };
                }
                macro_rules! arithmetic_k {
                    ($d:expr, $a:expr, $k:expr, |$x:ident, $y:ident| $value:expr) => {
                        if let (&Value::Number($x), Some(&Value::Number($y))) =
                            (&r!($a), constants.get($k as usize))
                        {
                            number!($d, $value);
                        }
                    };
                }
                macro_rules! compare {
                    ($d:expr, $a:expr, $b:expr, $op:tt) => {
                        if let (&Value::Number(x), &Value::Number(y)) = (&r!($a), &r!($b)) {
                            r!($d).put_bool(x $op y);
                            continue;
                        }
                    };
                }
                macro_rules! jump_if {
                    ($a:expr, $b:expr, $op:tt, $expect:expr, $to:expr) => {
                        if let (&Value::Number(x), &Value::Number(y)) = (&r!($a), &r!($b)) {
                            if (x $op y) == $expect {
                                jump!($to);
                            }
                            continue;
                        }
                    };
                }
                macro_rules! jump_if_k {
                    ($a:expr, $k:expr, $op:tt, $expect:expr, $to:expr) => {
                        if let (&Value::Number(x), Some(&Value::Number(y))) =
                            (&r!($a), constants.get($k as usize))
                        {
                            if (x $op y) == $expect {
                                jump!($to);
                            }
                            continue;
                        }
                    };
                }
                macro_rules! has_fuel {
                    () => {
                        self.environment.fuel > 0 && self.environment.budget.left() >= 0
                    };
                }

                loop {
                    // Every function ends with `Return`, and jumps lead to instructions. The operands
                    // are read where they are used: copied out, they would take up four registers.
                    let Some(op) = code.get(pc) else {
                        return Err(Thrown::new("the code ended"));
                    };
                    pc += 1;
                    match *op {
                        Op::Move { d, a } => {
                            if let &Value::Number(value) = &r!(a) {
                                number!(d, value);
                            }
                            copy_register(regs, d, a);
                            continue;
                        }
                        Op::Take { d, a } => {
                            if let &Value::Number(value) = &r!(a) {
                                number!(d, value);
                            }
                            let value = std::mem::take(&mut r!(a));
                            r!(d).put(value);
                            continue;
                        }
                        Op::None { d } => {
                            r!(d).put_none();
                            continue;
                        }
                        Op::Release { d } => {
                            if r!(d).needs_drop() {
                                r!(d).put_none();
                            }
                            continue;
                        }
                        Op::Bool { d, value } => {
                            r!(d).put_bool(value);
                            continue;
                        }
                        Op::Const { d, k } => {
                            if let Some(value) = constants.get(k as usize) {
                                copy!(d, value);
                            }
                        }
                        Op::CheckSet { a } if !matches!(r!(a), Value::Unset) => continue,

                        Op::Add { d, a, b } => arithmetic!(d, a, b, |x, y| x + y),
                        Op::Subtract { d, a, b } => arithmetic!(d, a, b, |x, y| x - y),
                        Op::Multiply { d, a, b } => arithmetic!(d, a, b, |x, y| x * y),
                        Op::Divide { d, a, b } => arithmetic!(d, a, b, |x, y| x / y),
                        Op::Remainder { d, a, b } => arithmetic!(d, a, b, |x, y| modulo(x, y)),
                        Op::AddK { d, a, k } => arithmetic_k!(d, a, k, |x, y| x + y),
                        Op::SubtractK { d, a, k } => arithmetic_k!(d, a, k, |x, y| x - y),
                        Op::MultiplyK { d, a, k } => arithmetic_k!(d, a, k, |x, y| x * y),
                        Op::DivideK { d, a, k } => arithmetic_k!(d, a, k, |x, y| x / y),
                        Op::RemainderK { d, a, k } => {
                            arithmetic_k!(d, a, k, |x, y| modulo(x, y));
                        }
                        Op::AddAssign { a, b } => {
                            if let &Value::Number(y) = &r!(b)
                                && let Value::Number(x) = &mut r!(a)
                            {
                                *x += y;
                                continue;
                            }
                        }
                        Op::Less { d, a, b } => compare!(d, a, b, <),
                        Op::LessEqual { d, a, b } => compare!(d, a, b, <=),
                        Op::Equal { d, a, b } => compare!(d, a, b, ==),
                        Op::NotEqual { d, a, b } => compare!(d, a, b, !=),
                        Op::Same { d, a, b } => compare!(d, a, b, ==),
                        Op::NotSame { d, a, b } => compare!(d, a, b, !=),
                        Op::Not { d, a } => {
                            let value = !r!(a).is_truthy();
                            r!(d).put_bool(value);
                            continue;
                        }
                        Op::Increment { a } => {
                            if let Value::Number(value) = &mut r!(a) {
                                *value += 1.0;
                                continue;
                            }
                        }
                        Op::Decrement { a } => {
                            if let Value::Number(value) = &mut r!(a) {
                                *value -= 1.0;
                                continue;
                            }
                        }

                        Op::Jump { to } => {
                            jump!(to);
                            continue;
                        }
                        Op::Loop { to } => {
                            if has_fuel!() {
                                self.environment.fuel -= 1;
                                jump!(to);
                                continue;
                            }
                        }
                        Op::CountIfLess { a, b, to } => {
                            if let &Value::Number(y) = &r!(b)
                                && let Value::Number(x) = &mut r!(a)
                                && *x + 1.0 < y
                                && has_fuel!()
                            {
                                self.environment.fuel -= 1;
                                *x += 1.0;
                                jump!(to);
                            }
                            continue;
                        }
                        Op::CountIfLessK { a, k, to } => {
                            if let Some(&Value::Number(y)) = constants.get(k as usize)
                                && let Value::Number(x) = &mut r!(a)
                                && *x + 1.0 < y
                                && has_fuel!()
                            {
                                self.environment.fuel -= 1;
                                *x += 1.0;
                                jump!(to);
                            }
                            continue;
                        }
                        Op::JumpIf { a, expect, to } => {
                            let is_truthy = match &r!(a) {
                                Value::Bool(value) => *value,
                                value => value.is_truthy(),
                            };
                            if is_truthy == expect {
                                jump!(to);
                            }
                            continue;
                        }
                        Op::JumpIfSome { a, to } => {
                            if !r!(a).is_none() {
                                jump!(to);
                            }
                            continue;
                        }
                        Op::JumpLess { a, b, expect, to } => jump_if!(a, b, <, expect, to),
                        Op::JumpLessEqual { a, b, expect, to } => {
                            jump_if!(a, b, <=, expect, to);
                        }
                        Op::JumpEqual { a, b, expect, to } => jump_if!(a, b, ==, expect, to),
                        Op::JumpSame { a, b, expect, to } => jump_if!(a, b, ==, expect, to),
                        Op::JumpIfLessK { a, k, to } => jump_if_k!(a, k, <, true, to),
                        Op::JumpUnlessLessK { a, k, to } => jump_if_k!(a, k, <, false, to),
                        Op::JumpIfLessEqualK { a, k, to } => jump_if_k!(a, k, <=, true, to),
                        Op::JumpUnlessLessEqualK { a, k, to } => {
                            jump_if_k!(a, k, <=, false, to);
                        }
                        Op::JumpIfGreaterK { a, k, to } => jump_if_k!(a, k, >, true, to),
                        Op::JumpUnlessGreaterK { a, k, to } => jump_if_k!(a, k, >, false, to),
                        Op::JumpIfGreaterEqualK { a, k, to } => jump_if_k!(a, k, >=, true, to),
                        Op::JumpUnlessGreaterEqualK { a, k, to } => {
                            jump_if_k!(a, k, >=, false, to);
                        }
                        Op::JumpIfEqualK { a, k, to } => jump_if_k!(a, k, ==, true, to),
                        Op::JumpUnlessEqualK { a, k, to } => jump_if_k!(a, k, ==, false, to),
                        Op::JumpIfSameK { a, k, to } => jump_if_k!(a, k, ==, true, to),
                        Op::JumpUnlessSameK { a, k, to } => jump_if_k!(a, k, ==, false, to),

                        Op::Text { d, text } => {
                            if let Some(parts) = function.texts.get(text as usize) {
                                match join(regs, constants, parts) {
                                    Ok(text) => {
                                        self.environment.budget.charge(48 + text.len());
                                        r!(d).put(Value::String(text));
                                        continue;
                                    }
                                    Err(thrown) => {
                                        if let Some(frame) = self.frames.last_mut() {
                                            frame.pc = pc as u32;
                                        }
                                        return Err(thrown);
                                    }
                                }
                            }
                        }
                        Op::Append { a, b } => {
                            if let Ok([Value::String(left), Value::String(right)]) =
                                regs.get_disjoint_mut([a as usize, b as usize])
                            {
                                left.push_bytes(right);
                                self.environment.budget.charge(8 + right.len());
                                continue;
                            }
                        }
                        Op::Index { d, a, b } => {
                            if let (Value::Array(array), &Value::Number(at)) = (&r!(a), &r!(b))
                                && let Some(value) = array.list_item(at)
                            {
                                if let &Value::Number(value) = value {
                                    number!(d, value);
                                }
                                let value = value.clone();
                                r!(d).put(value);
                                continue;
                            }
                        }
                        Op::SetIndex { a, b, c } => {
                            if let (&Value::Number(at), &Value::Number(value)) = (&r!(b), &r!(c))
                                && let Value::Array(array) = &mut r!(a)
                                && let Some(place) = array.list_place(at)
                            {
                                place.put_number(value);
                                continue;
                            }
                        }
                        Op::Push { a, b } => {
                            if let &Value::Number(number) = &r!(b)
                                && let Value::Array(array) = &mut r!(a)
                                && let Some(list) = array.growable_list()
                            {
                                self.environment.budget.charge(16);
                                list.push(Value::Number(number));
                                continue;
                            }
                        }
                        Op::Property { d, a, name } => {
                            if let Value::Object(object) = &r!(a)
                                && let Some(slot) = object.slot_at(program, function.scope, name)
                            {
                                if let Some(value) = slot.number() {
                                    number!(d, value);
                                }
                                if let Some(value) = slot.get() {
                                    r!(d).put(value);
                                    continue;
                                }
                            }
                        }
                        Op::SetProperty { a, b, name } => {
                            if let Value::Object(object) = &r!(a)
                                && let Some(slot) = object.slot_at(program, function.scope, name)
                                && slot.replace(&r!(b))
                            {
                                continue;
                            }
                        }
                        Op::AddProperty { a, b, name } => {
                            if let (Value::Object(object), &Value::Number(by)) = (&r!(a), &r!(b))
                                && let Some(slot) = object.slot_at(program, function.scope, name)
                                && slot.add(by)
                            {
                                continue;
                            }
                        }

                        Op::CallFunction { d, base: at, argc, function: number } => {
                            let start = base + at as usize;
                            if let Some(callee) = program.functions.get(number as usize)
                                && callee.plain_arguments == u16::from(argc)
                                && has_fuel!()
                                && self.frames.len() <= self.depth
                                && start + WINDOW <= self.stack.len()
                                && let Some(frame) = self.frames.last_mut()
                            {
                                self.environment.fuel -= 1;
                                frame.pc = pc as u32;
                                self.frames.push(Frame {
                                    unit: unit_number,
                                    function: u32::from(number),
                                    pc: 0,
                                    base: start as u32,
                                    result: (base + d as usize) as u32,
                                    back: Back::Caller,
                                });
                                (function, base, pc) = (callee, start, 0);
                                continue 'window;
                            }
                        }
                        Op::CallMethod { d, base: at, argc, name } => {
                            let start = base + at as usize;
                            if let Value::Object(object) = &r!(at)
                                && let Some(number) = object.method(&unit, function.scope, name)
                                && let Some(callee) = program.functions.get(number as usize)
                                && callee.plain_arguments == u16::from(argc)
                                && has_fuel!()
                                && self.frames.len() <= self.depth
                                && start + WINDOW <= self.stack.len()
                                && let Some(frame) = self.frames.last_mut()
                            {
                                self.environment.fuel -= 1;
                                frame.pc = pc as u32;
                                self.frames.push(Frame {
                                    unit: unit_number,
                                    function: number,
                                    pc: 0,
                                    base: start as u32,
                                    result: (base + d as usize) as u32,
                                    back: Back::Caller,
                                });
                                (function, base, pc) = (callee, start, 0);
                                continue 'window;
                            }
                        }
                        Op::Return { a } => {
                            if let [.., caller, frame] = self.frames.as_slice()
                                && frame.back == Back::Caller
                                && caller.unit == unit_number
                                && let Some(below) = program.functions.get(caller.function as usize)
                            {
                                let place = frame.result as usize;
                                (base, pc) = (caller.base as usize, caller.pc as usize);
                                let used = function.registers as usize;
                                if let &Value::Number(value) = &r!(a) {
                                    if let Some(used) = regs.get_mut(..used) {
                                        clear(used);
                                    }
                                    if let Some(place) = self.stack.get_mut(place) {
                                        place.put_number(value);
                                    }
                                } else if let Value::None = &r!(a) {
                                    if let Some(used) = regs.get_mut(..used) {
                                        clear(used);
                                    }
                                    if let Some(place) = self.stack.get_mut(place) {
                                        place.put_none();
                                    }
                                } else {
                                    let value = std::mem::take(&mut r!(a));
                                    if let Some(used) = regs.get_mut(..used) {
                                        clear(used);
                                    }
                                    if let Some(place) = self.stack.get_mut(place) {
                                        place.put(value);
                                    }
                                }
                                self.frames.pop();
                                function = below;
                                continue 'window;
                            }
                            // A native function that calls in a loop, such as a sort.
                            if let Some(Frame { back: Back::Native, .. }) = self.frames.last()
                                && has_fuel!()
                                && let Some(native) = self.natives.last_mut()
                                && repeat(native, regs, function, a)
                            {
                                self.environment.fuel -= 1;
                                pc = 0;
                                continue;
                            }
                        }
                        Op::IterNext { base: at, value, key: Register::MAX, to: _ } => {
                            if let (Value::Array(array), &Value::Number(position)) =
                                (&r!(at), &r!(at + 1))
                                && let Some(item) = array.list_item(position)
                            {
                                if let &Value::Number(item) = item {
                                    r!(at + 1).put_number(position + 1.0);
                                    number!(value, item);
                                }
                                let item = item.clone();
                                r!(value).put(item);
                                r!(at + 1).put_number(position + 1.0);
                                continue;
                            }
                        }
                        _ => {}
                    }
                    break;
                }
                let Some(&op) = code.get(pc - 1) else {
                    return Err(Thrown::new("the code ended"));
                };

                if let Some(frame) = self.frames.last_mut() {
                    frame.pc = pc as u32;
                }
                match self.rare(op, &unit)? {
                    Some(step) => return Ok(step),
                    None => continue 'frame,
                }
            }
        }
    }
}

/// Gives the value in `a` to a native function and starts over with the arguments it makes. False if
/// it has no more of them, or the call is not that simple.
#[inline]
fn repeat(
    native: &mut NativeFrame,
    regs: &mut [Value; WINDOW],
    function: &FunctionCode,
    a: Register,
) -> bool {
    let Some(argc) = native.repeats else { return false };
    let mut value = Value::None;
    let given = &mut regs[a as usize];
    if !value.put_plain(given) {
        value = std::mem::take(given);
    }
    if let Some(used) = regs.get_mut(..function.registers as usize) {
        clear(used);
    }
    let arguments = regs.get_mut(..argc as usize).unwrap_or_default();
    if native.then.again(&mut value, arguments) {
        for &register in &function.unset {
            regs[register as usize] = Value::Unset;
        }
        return true;
    }
    // The general way goes on with the value, so it goes back.
    clear(arguments);
    regs[a as usize] = value;
    native.repeats = None;
    false
}

/// Returns the remainder; whole numbers, the common case, take the integer unit.
#[inline]
pub(super) fn modulo(a: f64, b: f64) -> f64 {
    let (x, y) = (a as u32, b as u32);
    if f64::from(x) == a && f64::from(y) == b && y != 0 {
        return f64::from(x % y);
    }
    large_modulo(a, b)
}

#[inline(never)]
fn large_modulo(a: f64, b: f64) -> f64 {
    let (x, y) = (a as i64, b as i64);
    if x as f64 != a || y as f64 != b || x < 0 || y <= 0 {
        return a % b;
    }
    (x % y) as f64
}

#[inline(never)]
fn copy_register(regs: &mut [Value; WINDOW], d: Register, a: Register) {
    if let Ok([place, source]) = regs.get_disjoint_mut([d as usize, a as usize]) {
        place.put_copy(source);
    }
}
