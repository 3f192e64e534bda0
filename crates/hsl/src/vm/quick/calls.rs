//! Handlers for calls of script functions, and for their returns.

use super::super::frame::{Back, Frame, NOT_LENT};
use super::super::ordinary::clear;
use super::values::clear_first;
use super::{Exit, Instruction, Machine, WINDOW, Word, leave, next, start};
use crate::bytecode::{FunctionCode, Register};
use crate::value::Value;

/// Calls a function of the program that takes as many arguments as are given, without preparation.
pub(super) fn call_script<'m>(
    word: Word,
    code: &'m [Instruction],
    stack: &mut [Value],
    machine: &mut Machine<'m>,
) -> Exit {
    if may_call(word, stack, machine)
        && let Some(callee) = machine.program.functions.get(word.wide())
    {
        return call::<false>(callee, word, code, stack, machine);
    }
    leave(Exit::Full, code, machine)
}

handlers! {
    call_method(word, code, stack, regs, machine) {
        if let Some(callee) = method(&regs[word.second()], word, machine)
            && may_call(word, stack, machine)
        {
            return call::<false>(callee, word, code, stack, machine);
        }
        leave(Exit::Full, code, machine)
    }
    /// The object moves to `$this` and comes back at the end: no counts.
    call_lent(word, code, stack, regs, machine) {
        if let Some(callee) = method(&regs[word.fourth()], word, machine)
            && callee.keeps_this
            && may_call(word, stack, machine)
            && move_object(word.fourth(), word.second(), stack)
        {
            return call::<true>(callee, word, code, stack, machine);
        }
        leave(Exit::Full, code, machine)
    }
    /// Most functions return a number, a boolean or nothing.
    give_back(word, code, stack, regs, machine) {
        if let &Value::Number(number) = &regs[word.first()] {
            machine.number = number;
            machine.returned = word.first();
            return Exit::Number;
        }
        give_back_plain(word, code, stack, machine)
    }
    // Apart, so that the look for a number is one comparison.
    #[inline(never)]
    give_back_plain(word, code, stack, regs, machine) {
        if matches!(regs[word.first()], Value::None | Value::Bool(_)) {
            machine.returned = word.first();
            return Exit::Plain;
        }
        give_back_any(word, code, stack, machine)
    }
    /// None for the register that the next instruction returns, and that.
    give_none(word, code, stack, regs, machine) {
        if regs[word.first()].set_none() {
            machine.returned = word.first();
            return Exit::Plain;
        }
        clear_first(word, code, stack, machine)
    }
    #[inline(never)]
    give_back_any(word, _code, _stack, regs, machine) {
        machine.returned = word.first();
        let place = &mut regs[word.first()];
        // What may be lent stays.
        machine.value = if word.first() == 0 { place.clone() } else { std::mem::take(place) };
        Exit::Value
    }
}

/// The function of the method that the wide operand names, if it takes as many arguments as are given,
/// without preparation.
#[inline(always)]
fn method<'m>(value: &Value, word: Word, machine: &Machine<'m>) -> Option<&'m FunctionCode> {
    let Value::Object(object) = value else { return None };
    let number = object.method(machine.unit, machine.function.scope, word.wide() as u16)?;
    let callee = machine.program.functions.get(number as usize)?;
    (usize::from(callee.plain_arguments) == word.third()).then_some(callee)
}

/// Moves an object from one register to another, if that is free.
#[inline(always)]
fn move_object(from: usize, to: usize, stack: &mut [Value]) -> bool {
    stack.first_chunk_mut::<WINDOW>().is_some_and(|regs| {
        regs.get_disjoint_mut([to, from]).is_ok_and(|[to, from]| to.take_from(from))
    })
}

/// Whether there are fuel, calls and stack for one more.
#[inline(always)]
fn may_call(word: Word, stack: &[Value], machine: &Machine<'_>) -> bool {
    machine.room > 0 && machine.has_fuel() && stack.len() >= word.second() + WINDOW
}

/// Calls `callee`, whose registers start at the second operand, and goes on behind the call; the value
/// goes to the first operand. If `LENT`, register 0 of the callee belongs to the fourth operand.
#[inline(always)]
fn call<'m, const LENT: bool>(
    callee: &'m FunctionCode,
    word: Word,
    code: &'m [Instruction],
    stack: &mut [Value],
    machine: &mut Machine<'m>,
) -> Exit {
    let caller = machine.function;
    let Some(above) = stack.get_mut(word.second()..) else { return Exit::Ended };
    machine.fuel -= 1;
    machine.room -= 1;
    machine.function = callee;
    let exit = start(0, above, machine);
    machine.function = caller;
    machine.room += 1;
    if matches!(exit, Exit::Number | Exit::Plain) {
        if LENT {
            move_object(word.second(), word.fourth(), stack);
        }
        let end = word.second() + usize::from(callee.registers);
        if let Some(used) = stack.get(word.second()..end)
            && !used.iter().any(Value::needs_drop)
        {
            if exit == Exit::Number {
                if let Some(place) = stack.get_mut(word.first())
                    && place.set_number(machine.number)
                {
                    return next(code, stack, machine);
                }
            } else {
                let truth = match used.get(machine.returned) {
                    Some(&Value::Bool(truth)) => Some(truth),
                    _ => None,
                };
                if let Some(place) = stack.get_mut(word.first())
                    && match truth {
                        Some(truth) => place.set_bool(truth),
                        None => place.set_none(),
                    }
                {
                    return next(code, stack, machine);
                }
            }
        }
    }
    machine.left = Some((exit, callee));
    come_back::<LENT>(word, code, stack, machine)
}

/// Goes on after a call in every case.
#[inline(never)]
fn come_back<'m, const LENT: bool>(
    word: Word,
    code: &'m [Instruction],
    stack: &mut [Value],
    machine: &mut Machine<'m>,
) -> Exit {
    match finish::<LENT>(word, code, stack, machine) {
        None => next(code, stack, machine),
        Some(exit) => exit,
    }
}

/// Takes the value of a call, or leaves its frame and says why the machine is to be left.
#[inline(never)]
fn finish<const LENT: bool>(
    word: Word,
    code: &[Instruction],
    stack: &mut [Value],
    machine: &mut Machine<'_>,
) -> Option<Exit> {
    let Some((exit, callee)) = machine.left.take() else { return Some(Exit::Ended) };
    let value = match exit {
        Exit::Number => Value::Number(machine.number),
        Exit::Plain => {
            stack.get_mut(word.second() + machine.returned).map(Value::take).unwrap_or_default()
        }
        Exit::Value => {
            if LENT {
                move_object(word.second(), word.fourth(), stack);
            }
            std::mem::take(&mut machine.value)
        }
        exit => {
            machine.unwound.push(Frame {
                unit: machine.unit_number,
                function: callee.number,
                pc: machine.pc as u32,
                base: word.second() as u32,
                result: word.first() as u32,
                back: Back::Caller,
                lent: if LENT { word.fourth() as Register } else { NOT_LENT },
            });
            machine.pc = machine.function.quick.len().wrapping_sub(code.len());
            return Some(exit);
        }
    };
    let end = word.second() + usize::from(callee.registers);
    clear(stack.get_mut(word.second()..end).unwrap_or_default());
    stack.get_mut(word.first()).map(|place| place.put(value)).map_or(Some(Exit::Ended), |()| None)
}
