//! What enters, leaves and stops functions, and the ends of loops.
//!
//! [`super::quick`] has short ways for most of it and leaves the rest to this; what touches registers
//! only is in [`super::ordinary`]. Each arm is a few lines; what is longer is a named function. The
//! registers of a frame are one array of 256 values, so a register number is never out of range.

use std::sync::Arc;

use super::frame::{Back, Frame, NOT_LENT, Target};
use super::quick::WINDOW;
use super::{Step, Vm, call, iterate};
use crate::bytecode::{Op, Register, Variable};
use crate::host::{NativeStep, Thrown};
use crate::ops;
use crate::value::{Globals, Value};

impl Vm {
    /// Does one instruction in full. The frame has the position behind the
    /// instruction, and whatever happens is noted there.
    #[inline(never)]
    pub(super) fn full(&mut self, op: Op, unit: &Arc<Globals>) -> Result<Option<Step>, Thrown> {
        let Some(frame) = self.frames.last() else { return Ok(Some(Step::Done(Value::None))) };
        let (unit_number, function_number) = (frame.unit, frame.function);
        let base = frame.base as usize;
        let pc = frame.pc;
        let program = &*unit.program;
        let Some(function) = program.functions.get(function_number as usize) else {
            return Err(Thrown::new("a function is missing"));
        };
        let caller = function.class.as_deref();
        let Some(regs) = self.stack.get_mut(base..).and_then(|s| s.first_chunk_mut::<WINDOW>())
        else {
            return Err(Thrown::new("the stack is missing"));
        };

        macro_rules! throw {
            ($thrown:expr) => {
                return Err($thrown)
            };
        }
        macro_rules! r {
            ($register:expr) => {
                regs[$register as usize]
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
                if let Some(frame) = self.frames.last_mut() {
                    frame.pc = pc.wrapping_add_signed($distance);
                }
            };
        }
        // Takes fuel; at the end of the slice the instruction is tried again later.
        macro_rules! tick {
            () => {
                if self.environment.fuel <= 0 || self.environment.budget.left() < 0 {
                    if let Some(frame) = self.frames.last_mut() {
                        frame.pc = pc - 1;
                    }
                    return Ok(self.pause()?.then_some(Step::OutOfFuel));
                }
                self.environment.fuel -= 1;
            };
        }

        match op {
            Op::Loop { to } => {
                tick!();
                jump!(to);
            }
            Op::CallFunction { d, base: at, argc, function: callee } => {
                tick!();
                let start = base + usize::from(at);
                let frame = Frame {
                    unit: unit_number,
                    function: u32::from(callee),
                    pc: 0,
                    base: start as u32,
                    result: (base + usize::from(d)) as u32,
                    back: Back::Caller,
                    lent: NOT_LENT,
                };
                let Some(callee) = program.functions.get(usize::from(callee)) else {
                    throw!(Thrown::new("a function is missing"));
                };
                if self.frames.len() > self.depth {
                    throw!(call::too_deep(&self.environment));
                }
                if callee.is_plain && argc == callee.fixed as u8 {
                    self.frames.push(frame);
                    return Ok(None);
                }
                self.enter(callee, usize::from(argc), frame, unit, None)?;
                return Ok(None);
            }
            // The quick instruction does it all, but for the end of fuel.
            Op::CallNative { .. } | Op::CallReading { .. } => {
                tick!();
                if let Some(frame) = self.frames.last_mut() {
                    frame.pc = pc - 1;
                }
            }
            Op::CallMethod { d, base: at, argc, name }
            | Op::CallLent { d, base: at, argc, name, .. } => {
                tick!();
                let name = name!(name);
                if let Op::CallLent { a, .. } = op {
                    let object = r!(a).clone();
                    r!(at).put(object);
                }
                // The common case first: a method of a class of this very program.
                if let Value::Object(object) = &r!(at)
                    && let Some(class) = object.user_class()
                    && let Some(method) = class.method(name)
                    && (!method.is_private || ops::is_own_class(object, caller))
                    && object.unit().is_some_and(|home| Arc::ptr_eq(home, unit))
                    && let Some(callee) = program.functions.get(method.function as usize)
                {
                    let frame = Frame {
                        unit: unit_number,
                        function: method.function,
                        pc: 0,
                        base: (base + usize::from(at)) as u32,
                        result: (base + usize::from(d)) as u32,
                        back: Back::Caller,
                        lent: NOT_LENT,
                    };
                    if self.frames.len() > self.depth {
                        throw!(call::too_deep(&self.environment));
                    }
                    if callee.is_plain && argc == callee.fixed as u8 {
                        self.frames.push(frame);
                        return Ok(None);
                    }
                    self.enter(callee, usize::from(argc), frame, unit, None)?;
                    return Ok(None);
                }
                self.environment.at = (unit_number, function_number, pc - 1);
                let start = base + usize::from(at);
                let target = Target::Stack(base + usize::from(d));
                match self.call_method(start, usize::from(argc), name, caller, target)? {
                    Some(step) => return Ok(Some(step)),
                    None => return Ok(None),
                }
            }
            Op::CallValue { d, base: at, argc } => {
                tick!();
                self.environment.at = (unit_number, function_number, pc - 1);
                let start = base + usize::from(at);
                let target = Target::Stack(base + usize::from(d));
                match self.call_value(start, usize::from(argc), target)? {
                    Some(step) => return Ok(Some(step)),
                    None => return Ok(None),
                }
            }
            Op::CallSpread { d, base: at } => {
                tick!();
                let callee = std::mem::take(&mut r!(at));
                let list = std::mem::take(&mut r!(at + 1));
                let Value::Array(list) = list else {
                    throw!(Thrown::new("... needs an array"));
                };
                self.environment.at = (unit_number, function_number, pc - 1);
                let arguments = list.values().cloned().collect();
                let target = Target::Stack(base + usize::from(d));
                let start = base + usize::from(at);
                match self.call_with(&callee, arguments, start, target)? {
                    Some(step) => return Ok(Some(step)),
                    None => return Ok(None),
                }
            }
            Op::Cache { d, base: at, .. } => {
                tick!();
                let options = std::mem::take(&mut r!(at));
                let callee = std::mem::take(&mut r!(at + 1));
                let arguments = std::mem::take(&mut r!(at + 2));
                self.environment.at = (unit_number, function_number, pc - 1);
                let target = Target::Stack(base + usize::from(d));
                match self.cached(&options, callee, arguments, target)? {
                    Some(step) => return Ok(Some(step)),
                    None => return Ok(None),
                }
            }
            Op::Return { a } => {
                let lent = self.frames.last().map_or(NOT_LENT, |frame| frame.lent);
                let value = if lent != NOT_LENT && a == 0 {
                    r!(a).clone()
                } else {
                    std::mem::take(&mut r!(a))
                };
                self.give_back();
                let Some(regs) = self.stack.get_mut(base..) else {
                    return Ok(Some(Step::Done(value)));
                };
                for register in regs.iter_mut().take(usize::from(function.registers)) {
                    if register.needs_drop() {
                        *register = Value::None;
                    }
                }
                let Some(frame) = self.frames.pop() else { return Ok(Some(Step::Done(value))) };
                match frame.back {
                    Back::Caller => {
                        if let Some(place) = self.stack.get_mut(frame.result as usize) {
                            *place = value;
                        }
                        return Ok(None);
                    }
                    Back::Entry => return Ok(Some(Step::Done(value))),
                    Back::Generator => {
                        self.end_generator();
                        return Ok(None);
                    }
                    Back::Native => {
                        let step = NativeStep::Return(value);
                        match self.drive(step, Target::Native, None, None)? {
                            Some(step) => return Ok(Some(step)),
                            // A callback need not have a call or loop that would look.
                            None if self.environment.fuel < 0
                                || self.environment.budget.left() < 0 =>
                            {
                                return Ok(self.pause()?.then_some(Step::OutOfFuel));
                            }
                            None => return Ok(None),
                        }
                    }
                }
            }
            Op::Yield { a } => {
                let value = std::mem::take(&mut r!(a));
                if !self.yield_value(value) {
                    return Err(Thrown::new("yield outside of a generator"));
                }
                return Ok(None);
            }
            Op::IterNext { base: at, value, key, to } => match &r!(at) {
                Value::Object(iterator) => {
                    let iterator = iterator.clone();
                    match iterate::next(&iterator) {
                        iterate::Next::Pair(found, item) => {
                            if key != Register::MAX {
                                r!(key).put(found);
                            }
                            r!(value).put(item);
                        }
                        iterate::Next::End => jump!(to),
                        iterate::Next::Resume(state) => {
                            let top = base + usize::from(function.registers);
                            self.resume_generator(*state, top)?;
                            return Ok(None);
                        }
                        iterate::Next::Busy => {
                            throw!(Thrown::new("this generator is running already"));
                        }
                    }
                }
                _ => jump!(to),
            },

            Op::BarrierEnter { d, a } => {
                let name = ops::checked_text(&r!(a), self.environment.limits.memory)?;
                let place = base + usize::from(d);
                if let Some(step) = self.enter_barrier(&name, place) {
                    return Ok(Some(step));
                }
                return Ok(None);
            }
            Op::BarrierLeave { a, slot } => {
                let guard = std::mem::take(&mut r!(a));
                let variable = function.barriers.get(usize::from(slot)).copied().flatten();
                let value = variable.map(|variable| match variable {
                    Variable::Local(register) => r!(register).clone(),
                    Variable::Cell(register) => match &r!(register) {
                        Value::Cell(cell) => cell.0.0.lock().clone(),
                        value => value.clone(),
                    },
                    Variable::Global(global) => match unit.values.get(usize::from(global)) {
                        Some(value) => value.lock().clone(),
                        None => Value::Unset,
                    },
                });
                self.leave_barrier(guard, value)?;
                return Ok(None);
            }
            // Every other one is done by then; see `ordinary`.
            _ => throw!(Thrown::new("an instruction was not done")),
        }
        Ok(None)
    }
}
