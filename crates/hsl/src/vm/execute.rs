//! The loop around the quick instructions: keeps the frames, takes returns to frames and to native
//! functions, and has the rest done in full.

use std::sync::Arc;

use super::frame::{Back, Frame, NOT_LENT, NativeFrame, Target};
use super::ordinary::clear;
use super::quick::{Exit, Machine, NESTED, Registers, WINDOW, start};
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
                fuel: self.environment.fuel,
                environment: &mut self.environment,
                room: 0,
                unwound: Vec::new(),
                unit: &unit,
                unit_number,
                program_number: program.number,
                program,
                function,
                base,
                pc,
                number: 0.0,
                value: Value::None,
                returned: 0,
                left: None,
                step: None,
                thrown: None,
            };
            let exit = loop {
                // As many calls as the recursion limit leaves.
                let depth = (self.depth + 1).saturating_sub(self.frames.len());
                machine.room = depth.min(NESTED as usize) as u32;
                let Some(stack) = self.stack.get_mut(machine.base..) else { break Exit::Ended };
                let exit = start(machine.pc, stack, &mut machine);
                if !matches!(exit, Exit::Number | Exit::Plain | Exit::Value) {
                    break exit;
                }
                let a = machine.returned as Register;
                // To the script function below, in the same program.
                if let [.., caller, frame] = self.frames.as_slice()
                    && frame.back == Back::Caller
                    && caller.unit == unit_number
                    && let Some(below) = program.functions.get(caller.function as usize)
                {
                    let place = frame.result as usize;
                    let lender = caller.base as usize + frame.lent as usize;
                    if frame.lent != NOT_LENT && lender.max(machine.base) < self.stack.len() {
                        self.stack.swap(lender, machine.base);
                    }
                    let end = machine.base + machine.function.registers as usize;
                    let used = self.stack.get_mut(machine.base..end).unwrap_or_default();
                    if exit == Exit::Plain
                        && let Some(returned) = used.get_mut(a as usize)
                    {
                        machine.value = returned.take();
                    }
                    clear(used);
                    (machine.function, machine.base, machine.pc) =
                        (below, caller.base as usize, caller.pc as usize);
                    self.frames.pop();
                    if let Some(place) = self.stack.get_mut(place) {
                        match exit {
                            Exit::Number => place.put_number(machine.number),
                            _ => place.put(std::mem::take(&mut machine.value)),
                        }
                    }
                    continue;
                }
                // All others get it from its register.
                let Some(regs) = stack.first_chunk_mut::<WINDOW>() else { break Exit::Ended };
                if exit == Exit::Value {
                    regs[a as usize].put(std::mem::take(&mut machine.value));
                }
                // To a native function that calls in a loop, such as a sort.
                if let Some(Frame { back: Back::Native, .. }) = self.frames.last()
                    && machine.has_fuel()
                    && let Some(native) = self.natives.last_mut()
                    && repeat(native, regs, machine.function, a)
                {
                    machine.fuel -= 1;
                    machine.pc = 0;
                    continue;
                }
                break Exit::Value;
            };
            let (pc, returned) = (machine.pc as u32, machine.returned as Register);
            let (step, thrown) = (machine.step.take(), machine.thrown.take());
            let unwound = std::mem::take(&mut machine.unwound);
            let machine_base = machine.base as u32;
            self.environment.fuel = machine.fuel;
            if let Some(frame) = self.frames.last_mut() {
                frame.pc = pc;
            }
            // Calls know the places of their registers from those of their caller.
            let mut base = machine_base;
            for frame in unwound.into_iter().rev() {
                let (start, result) = (base + frame.base, base + frame.result);
                base = start;
                self.frames.push(Frame { base: start, result, ..frame });
            }
            if let Some(thrown) = thrown {
                return Err(thrown);
            }
            let Some(frame) = self.frames.last() else { return Ok(Step::Done(Value::None)) };
            let before = (frame.pc as usize).wrapping_sub(1);
            let op = program
                .functions
                .get(frame.function as usize)
                .and_then(|function| function.code.get(before))
                .copied();
            let op = match (exit, op, step) {
                (Exit::Value, ..) => Op::Return { a: returned },
                (Exit::Full, Some(op), _) => op,
                (
                    Exit::Native,
                    Some(Op::CallNative { d, native, .. } | Op::CallReading { d, native, .. }),
                    Some(step),
                ) => {
                    let target = Target::Stack(frame.base as usize + d as usize);
                    let class = program.natives.get(native as usize);
                    let class = class.and_then(|it| it.class.clone());
                    match self.drive(step, target, None, class)? {
                        Some(step) => return Ok(step),
                        None => continue,
                    }
                }
                // Every function ends with `Return`, and jumps lead to instructions.
                _ => return Err(Thrown::new("the code ended")),
            };
            if let Some(step) = self.full(op, &unit)? {
                return Ok(step);
            }
        }
    }
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
