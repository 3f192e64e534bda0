//! Quick instructions: the usual work of every instruction, threaded.
//!
//! When a function is complete, each of its instructions is translated into the address of a handler
//! and one word of operands. A handler knows the operands that nearly every execution has, touches
//! nothing but registers, and calls the handler of the next instruction as the last thing it does.
//! Where the compiler makes such calls jumps (see `build.rs`), that is the whole dispatch: what a
//! handler needs is in processor registers all the time. Elsewhere, and without optimisation, each
//! handler comes back to the loop in [`start`], which calls the next.
//!
//! A call of a script function is a call here as well ([`calls`]), up to [`NESTED`] in each other, so
//! a function that runs to its end needs no [`Frame`]. When something happens that the loop of
//! [`super::execute`] must see to, each call under way leaves its frame in [`Machine::unwound`] on the
//! way out, and the loop goes on with frames.
//!
//! Anything unusual is done by [`super::ordinary`], or by [`super::dispatch`] after [`Exit::Full`]:
//! they know every case. So a handler decides before it changes anything.
//!
//! Keep handlers free of values that need dropping and of anything whose address is taken: either
//! keeps the last call from being a jump. What needs them is a function that is not inlined.

use std::sync::Arc;

use super::frame::Frame;
use super::ordinary::{Done, ordinary};
use crate::bytecode::{FunctionCode, Register};
use crate::host::{Environment, NativeStep, Thrown};
use crate::program::Program;
use crate::value::{Globals, Value};

/// Registers of a frame. Register numbers are octets, so none is out of range.
pub(super) const WINDOW: usize = 256;

/// The registers of the running frame.
pub(super) type Registers = [Value; WINDOW];

/// Calls of script functions in each other that need no frame. Each takes a hundred octets of the
/// thread's stack, or some more without optimisation.
pub(super) const NESTED: u32 = 50;

/// What handlers share, beyond registers and code.
pub(super) struct Machine<'m> {
    pub(super) environment: &'m mut Environment,
    /// The fuel of the environment, which has it back when the loop leaves.
    pub(super) fuel: i64,
    /// Calls that may be made from here: those of [`NESTED`] and of the recursion limit.
    pub(super) room: u32,
    /// The calls under way when handlers came back, innermost first. Their registers are counted from
    /// those of their caller.
    pub(super) unwound: Vec<Frame>,
    pub(super) unit: &'m Arc<Globals>,
    pub(super) unit_number: u32,
    pub(super) program: &'m Program,
    /// Its number, which each access to a property compares.
    pub(super) program_number: u64,
    /// The function that runs.
    pub(super) function: &'m FunctionCode,
    /// The place of the registers of the outermost function on the stack.
    pub(super) base: usize,
    /// The next instruction of the innermost function while it is left, then of those around it.
    pub(super) pc: usize,
    /// What [`Exit::Number`] and [`Exit::Value`] return, and from which register of the function.
    pub(super) number: f64,
    pub(super) value: Value,
    pub(super) returned: usize,
    /// The call that a handler is leaving.
    pub(super) left: Option<(Exit, &'m FunctionCode)>,
    /// What a native function did that comes back with [`Exit::Native`].
    pub(super) step: Option<NativeStep>,
    /// What an instruction threw that comes back with [`Exit::Threw`].
    pub(super) thrown: Option<Thrown>,
}

impl Machine<'_> {
    #[inline(always)]
    pub(super) fn has_fuel(&self) -> bool {
        // Whether neither is below 0, with one look at both signs.
        (self.fuel - 1) | self.environment.budget.left() >= 0
    }
}

/// Why handlers came back to the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Go on at the machine's `pc`.
    #[cfg_attr(tail_calls, expect(dead_code, reason = "handlers go on by themselves"))]
    Next,
    /// The function has returned the machine's `number`; its registers are as they were.
    Number,
    /// The function has returned none or a boolean, which is in the register `returned`; its registers are
    /// as they were.
    Plain,
    /// The function has returned the machine's `value`.
    Value,
    /// The native function called before `pc` has not ended.
    Native,
    /// The instruction before `pc` is to be done in full.
    Full,
    /// The instruction before `pc` threw.
    Threw,
    /// There is no instruction.
    Ended,
}

/// Does one instruction, and those behind it: word of operands, the code behind the instruction, the
/// stack from the first register on, machine. Six words, as many as calls pass in registers.
type Handler = for<'m> fn(Word, &'m [Instruction], &mut [Value], &mut Machine<'m>) -> Exit;

/// One translated instruction.
#[derive(Clone, Copy)]
pub(crate) struct Instruction {
    run: Handler,
    word: Word,
}

/// Runs the running function from the instruction at `pc` on, until handlers come back.
#[inline(always)]
pub(super) fn start<'m>(pc: usize, stack: &mut [Value], machine: &mut Machine<'m>) -> Exit {
    let function = machine.function;
    #[cfg(tail_calls)]
    return next(function.quick.get(pc..).unwrap_or_default(), stack, machine);
    #[cfg(not(tail_calls))]
    {
        machine.pc = pc;
        loop {
            let code = function.quick.get(machine.pc..).unwrap_or_default();
            let exit = match code.split_first() {
                Some((instruction, code)) => {
                    (instruction.run)(instruction.word, code, stack, machine)
                }
                None => Exit::Ended,
            };
            if exit != Exit::Next {
                return exit;
            }
        }
    }
}

/// Operands: registers and small numbers in octets 0 to 3, a jump, index or number in octets 4 to 7.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    fn new(octets: [u8; 4], wide: u32) -> Self {
        Self(u64::from(u32::from_le_bytes(octets)) | u64::from(wide) << 32)
    }

    /// Operands `d`, `a`, `b` and a wide one.
    fn registers(d: Register, a: Register, b: Register, wide: u32) -> Self {
        Self::new([d, a, b, 0], wide)
    }

    /// One register, a small number, and a jump.
    fn small(a: Register, small: u16, to: i32) -> Self {
        let [low, high] = small.to_le_bytes();
        Self::new([a, 0, low, high], to.cast_unsigned())
    }

    #[inline(always)]
    fn first(self) -> usize {
        usize::from(self.0 as u8)
    }
    #[inline(always)]
    fn second(self) -> usize {
        usize::from((self.0 >> 8) as u8)
    }
    #[inline(always)]
    fn third(self) -> usize {
        usize::from((self.0 >> 16) as u8)
    }
    #[inline(always)]
    fn fourth(self) -> usize {
        usize::from((self.0 >> 24) as u8)
    }
    /// Octets 2 and 3.
    #[inline(always)]
    fn index(self) -> usize {
        usize::from((self.0 >> 16) as u16)
    }
    /// Octets 2 and 3 as a signed number.
    #[inline(always)]
    fn short(self) -> f64 {
        f64::from((self.0 >> 16) as i16)
    }
    #[inline(always)]
    fn wide(self) -> usize {
        (self.0 >> 32) as usize
    }
    /// Octets 4 to 7 as a signed number.
    #[inline(always)]
    fn long(self) -> f64 {
        f64::from((self.0 >> 32) as i32)
    }
}

/// Goes on with the first instruction of `code`.
#[inline(always)]
#[cfg(tail_calls)]
fn next<'m>(code: &'m [Instruction], stack: &mut [Value], machine: &mut Machine<'m>) -> Exit {
    match code.split_first() {
        Some((instruction, code)) => (instruction.run)(instruction.word, code, stack, machine),
        None => Exit::Ended,
    }
}

#[inline(always)]
#[cfg(not(tail_calls))]
fn next<'m>(code: &'m [Instruction], _: &mut [Value], machine: &mut Machine<'m>) -> Exit {
    leave(Exit::Next, code, machine)
}

/// Jumps over as many instructions as the wide operand says.
#[inline(always)]
fn jump<'m>(
    word: Word,
    code: &'m [Instruction],
    stack: &mut [Value],
    machine: &mut Machine<'m>,
) -> Exit {
    match code.get(word.wide()..) {
        Some(code) => next(code, stack, machine),
        None => jump_back(word, code, stack, machine),
    }
}

/// The distance is negative.
#[cold]
#[inline(never)]
fn jump_back<'m>(
    word: Word,
    code: &'m [Instruction],
    stack: &mut [Value],
    machine: &mut Machine<'m>,
) -> Exit {
    let quick = &*machine.function.quick;
    let place = quick.len().wrapping_sub(code.len());
    let place = place.wrapping_add_signed(word.wide() as u32 as i32 as isize);
    match quick.get(place..) {
        Some(code) => next(code, stack, machine),
        None => Exit::Ended,
    }
}

/// Goes on at the place of the wide operand: another round of a loop.
#[inline(always)]
fn again<'m>(word: Word, stack: &mut [Value], machine: &mut Machine<'m>) -> Exit {
    match machine.function.quick.get(word.wide()..) {
        Some(code) => next(code, stack, machine),
        None => Exit::Ended,
    }
}

/// Leaves with the place of the next instruction, which `code` starts with.
#[inline(always)]
fn leave(exit: Exit, code: &[Instruction], machine: &mut Machine<'_>) -> Exit {
    machine.pc = machine.function.quick.len().wrapping_sub(code.len());
    exit
}

/// Does the instruction in front of `code` in full, and goes on.
#[inline(never)]
fn in_full<'m>(code: &'m [Instruction], stack: &mut [Value], machine: &mut Machine<'m>) -> Exit {
    match work(code.len(), stack, machine) {
        Some(Done::Next) => next(code, stack, machine),
        Some(Done::Jump(distance)) => {
            jump(Word::new([0; 4], distance.cast_unsigned()), code, stack, machine)
        }
        Some(Done::Leave) => leave(Exit::Full, code, machine),
        None => leave(Exit::Threw, code, machine),
    }
}

/// Does the instruction that `behind` others follow; if it throws there is none.
#[inline(never)]
fn work(behind: usize, stack: &mut [Value], machine: &mut Machine<'_>) -> Option<Done> {
    let function = machine.function;
    let op = *function.code.get(function.code.len().checked_sub(behind + 1)?)?;
    let regs = stack.first_chunk_mut()?;
    match ordinary(op, regs, machine.environment, machine.unit, function) {
        Ok(done) => Some(done),
        Err(thrown) => {
            machine.thrown = Some(thrown);
            None
        }
    }
}

/// Defines handlers. Each looks once whether there is room for all registers; the stack always has it.
macro_rules! handlers {
    ($(
        $(#[$doc:meta])*
        $name:ident($word:ident, $code:ident, $stack:ident, $regs:ident, $machine:ident) $body:block
    )*) => {$(
        $(#[$doc])*
        pub(super) fn $name<'m>(
            $word: Word,
            $code: &'m [Instruction],
            $stack: &mut [Value],
            $machine: &mut Machine<'m>,
        ) -> Exit {
            let Some($regs) = $stack.first_chunk_mut::<WINDOW>() else { return Exit::Ended };
            $body
        }
    )*};
}

mod calls;
mod numbers;
mod translate;
mod values;

pub(crate) use numbers::modulo;
pub(crate) use translate::translate;
