//! The loop around the quick instructions: enters and leaves functions, and has the rest done in full.

use std::sync::Arc;

use super::dispatch::clear;
use super::frame::{Back, Frame, NOT_LENT, NativeFrame, Target};
use super::quick::{Exit, Machine, Registers, WINDOW};
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
        loop {
            let Some(frame) = self.frames.last() else { return Ok(Step::Done(Value::None)) };
            if frame.unit != unit_number {
                unit_number = frame.unit;
                if let Some(other) = self.environment.units.get(unit_number as usize) {
                    unit = Arc::clone(other);
                }
            }
            let program = &*unit.program;
            let Some(function) = program.functions.get(frame.function as usize) else {
                return Err(Thrown::new("a function is missing"));
            };
            let (base, pc) = (frame.base as usize, frame.pc as usize);
            if self.stack.len() < base + WINDOW {
                self.stack.resize(base + 2 * WINDOW, Value::None);
            }
            let mut machine = Machine {
                depth: self.depth,
                stack: self.stack.len(),
                fuel: self.environment.fuel,
                environment: &mut self.environment,
                frames: std::mem::take(&mut self.frames),
                unit: &unit,
                unit_number,
                program,
                function,
                base,
                pc,
                number: 0.0,
                left: (0, NOT_LENT, 0),
                returned: 0,
                step: None,
                thrown: None,
            };
            let exit = loop {
                let Some(regs) = self
                    .stack
                    .get_mut(machine.base..)
                    .and_then(|above| above.first_chunk_mut::<WINDOW>())
                else {
                    break Exit::Ended;
                };
                let code = &*machine.function.quick;
                let exit = match code.get(machine.pc) {
                    Some(instruction) => {
                        let pc = machine.pc + 1;
                        instruction.run(code, pc, regs, &mut machine)
                    }
                    None => Exit::Ended,
                };
                match exit {
                    Exit::Next | Exit::Window => {}
                    Exit::Number => {
                        let (place, lent, start) = machine.left;
                        if lent != NOT_LENT {
                            let lender = machine.base + lent as usize;
                            if lender.max(start as usize) < self.stack.len() {
                                self.stack.swap(lender, start as usize);
                            }
                        }
                        if let Some(place) = self.stack.get_mut(place as usize) {
                            place.put_number(machine.number);
                        }
                    }
                    Exit::Return => {
                        let a = machine.returned;
                        let used = machine.function.registers as usize;
                        // To the script function below, in the same program.
                        if let [.., caller, frame] = machine.frames.as_slice()
                            && frame.back == Back::Caller
                            && caller.unit == unit_number
                            && let Some(below) = program.functions.get(caller.function as usize)
                        {
                            let place = frame.result as usize;
                            let (lent, start) = (frame.lent, machine.base);
                            let lender = caller.base as usize + lent as usize;
                            if lent != NOT_LENT && (a == 0 || lender >= start) {
                                break Exit::Full;
                            }
                            (machine.function, machine.base, machine.pc) =
                                (below, caller.base as usize, caller.pc as usize);
                            machine.frames.pop();
                            if lent != NOT_LENT {
                                self.stack.swap(lender, start);
                            }
                            let used = self.stack.get_mut(start..start + used).unwrap_or_default();
                            // Field by field; see `Value::put_plain`.
                            let plain = match used.get(a as usize) {
                                Some(&Value::Number(value)) => Plain::Number(value),
                                Some(&Value::Bool(value)) => Plain::Bool(value),
                                Some(Value::None) => Plain::None,
                                _ => {
                                    let value = used.get_mut(a as usize).map(Value::take);
                                    clear(used);
                                    if let Some(place) = self.stack.get_mut(place) {
                                        place.put(value.unwrap_or_default());
                                    }
                                    continue;
                                }
                            };
                            clear(used);
                            if let Some(place) = self.stack.get_mut(place) {
                                match plain {
                                    Plain::Number(value) => place.put_number(value),
                                    Plain::Bool(value) => place.put_bool(value),
                                    Plain::None => place.put_none(),
                                }
                            }
                            continue;
                        }
                        // To a native function that calls in a loop, such as a sort.
                        if let Some(Frame { back: Back::Native, .. }) = machine.frames.last()
                            && machine.has_fuel()
                            && let Some(native) = self.natives.last_mut()
                            && repeat(native, regs, machine.function, a)
                        {
                            machine.fuel -= 1;
                            machine.pc = 0;
                            continue;
                        }
                        break Exit::Full;
                    }
                    exit => break exit,
                }
            };
            let (pc, base) = (machine.pc, machine.base);
            let (step, thrown) = (machine.step.take(), machine.thrown.take());
            self.frames = std::mem::take(&mut machine.frames);
            machine.environment.fuel = machine.fuel;
            let op = machine.function.code.get(pc.wrapping_sub(1)).copied();
            if let Some(frame) = self.frames.last_mut() {
                frame.pc = pc as u32;
            }
            if let Some(thrown) = thrown {
                return Err(thrown);
            }
            if let (Some(step), Some(Op::CallNative { d, native, .. })) = (step, op) {
                let class = program.natives.get(native as usize).and_then(|it| it.class.clone());
                let target = Target::Stack(base + d as usize);
                match self.drive(step, target, None, class)? {
                    Some(step) => return Ok(step),
                    None => continue,
                }
            }
            // Every function ends with `Return`, and jumps lead to instructions.
            let (Exit::Full, Some(op)) = (exit, op) else {
                return Err(Thrown::new("the code ended"));
            };
            if let Some(step) = self.full(op, &unit)? {
                return Ok(step);
            }
        }
    }
}

/// A value that owns no memory, on its way past the registers that are cleared.
enum Plain {
    None,
    Bool(bool),
    Number(f64),
}

/// Gives the value in `a` to a native function and starts over with the arguments it makes. False if
/// it has no more of them, or the call is not that simple.
#[inline]
fn repeat(
    native: &mut NativeFrame,
    regs: &mut Registers,
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
