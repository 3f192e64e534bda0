//! Quick instructions: the usual work of every instruction, threaded.
//!
//! When a function is complete, each of its instructions is translated into the address of a handler
//! and one word of operands. A handler knows the operands that nearly every execution has, touches
//! nothing but registers, and calls the handler of the next instruction as the last thing it does.
//! Where the compiler makes such calls jumps (see `build.rs`), that is the whole dispatch: what a
//! handler needs is in processor registers all the time. Elsewhere, and without optimisation, each
//! handler comes back to the loop of [`super::execute`], which calls the next.
//!
//! Anything unusual ends with [`Exit::Full`]: the instruction is then done by [`super::dispatch`],
//! which knows every case. So a handler decides before it changes anything.
//!
//! Keep handlers free of values that need dropping and of anything whose address is taken: either
//! keeps the last call from being a jump. What needs them is a function that is not inlined.

use std::sync::Arc;

use super::frame::Frame;
use crate::bytecode::{FunctionCode, Register};
use crate::host::{Environment, NativeStep, Thrown};
use crate::program::Program;
use crate::value::{Globals, Value};

/// Registers of a frame. Register numbers are octets, so none is out of range.
pub(super) const WINDOW: usize = 256;

/// The registers of the running frame.
pub(super) type Registers = [Value; WINDOW];

/// What handlers share, beyond registers and code.
pub(super) struct Machine<'m> {
    pub(super) environment: &'m mut Environment,
    /// The fuel of the environment, which has it back when the loop leaves.
    pub(super) fuel: i64,
    /// The calls under way, which the machine of the execution has back then.
    pub(super) frames: Vec<Frame>,
    /// Frames that may be under way.
    pub(super) depth: usize,
    /// The length of the stack.
    pub(super) stack: usize,
    pub(super) unit: &'m Arc<Globals>,
    pub(super) unit_number: u32,
    pub(super) program: &'m Program,
    /// The function that runs, and the place of its registers on the stack.
    pub(super) function: &'m FunctionCode,
    pub(super) base: usize,
    /// The next instruction. Only true when a handler comes back.
    pub(super) pc: usize,
    /// What [`Exit::Number`] gives back, and from which call: where the value goes on the stack, the
    /// register of the caller whose object was lent, and where the registers of the call start.
    pub(super) number: f64,
    pub(super) left: (u32, Register, u32),
    /// The register that [`Exit::Return`] gives back.
    pub(super) returned: Register,
    /// What a native function did that comes back with [`Exit::Native`].
    pub(super) step: Option<NativeStep>,
    /// What an instruction threw that comes back with [`Exit::Threw`].
    pub(super) thrown: Option<Thrown>,
}

impl Machine<'_> {
    #[inline(always)]
    pub(super) fn has_fuel(&self) -> bool {
        self.fuel > 0 && self.environment.budget.left() >= 0
    }
}

/// Why handlers came back to the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Go on at the machine's `pc`.
    #[cfg_attr(tail_calls, expect(dead_code, reason = "handlers go on by themselves"))]
    Next,
    /// Another function runs, or another frame.
    Window,
    /// The function has returned a number, and the caller runs.
    Number,
    /// The function returns the value in the machine's `returned`.
    Return,
    /// The native function called before `pc` has not ended.
    Native,
    /// The instruction before `pc` is to be done in full.
    Full,
    /// The instruction before `pc` threw.
    Threw,
    /// There is no instruction.
    Ended,
}

/// Does one instruction, and those behind it: word of operands, code, place of the next instruction,
/// registers, machine. Six words, as many as calls pass in registers.
type Handler = for<'m> fn(Word, &'m [Instruction], usize, &mut Registers, &mut Machine<'m>) -> Exit;

/// One translated instruction.
#[derive(Clone, Copy)]
pub(crate) struct Instruction {
    run: Handler,
    word: Word,
}

impl Instruction {
    /// Does the instruction; `pc` is the place of the next.
    #[inline(always)]
    pub(super) fn run<'m>(
        self,
        code: &'m [Self],
        pc: usize,
        regs: &mut Registers,
        machine: &mut Machine<'m>,
    ) -> Exit {
        (self.run)(self.word, code, pc, regs, machine)
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
    /// Where the jump leads from `pc`.
    #[inline(always)]
    fn jump(self, pc: usize) -> usize {
        pc.wrapping_add_signed((self.0.cast_signed() >> 32) as isize)
    }
}

/// Goes on with the instruction at `pc`.
#[inline(always)]
#[cfg(tail_calls)]
fn next<'m>(
    code: &'m [Instruction],
    pc: usize,
    regs: &mut Registers,
    machine: &mut Machine<'m>,
) -> Exit {
    match code.get(pc) {
        Some(instruction) => (instruction.run)(instruction.word, code, pc + 1, regs, machine),
        None => Exit::Ended,
    }
}

#[inline(always)]
#[cfg(not(tail_calls))]
fn next<'m>(_: &'m [Instruction], pc: usize, _: &mut Registers, machine: &mut Machine<'m>) -> Exit {
    machine.pc = pc;
    Exit::Next
}

/// Leaves with the place of the next instruction.
#[inline(always)]
fn leave(exit: Exit, pc: usize, machine: &mut Machine<'_>) -> Exit {
    machine.pc = pc;
    exit
}

/// Defines handlers.
macro_rules! handlers {
    ($(
        $(#[$doc:meta])*
        $name:ident($word:ident, $code:ident, $pc:ident, $regs:ident, $machine:ident) $body:block
    )*) => {$(
        $(#[$doc])*
        pub(super) fn $name<'m>(
            $word: Word,
            $code: &'m [Instruction],
            $pc: usize,
            $regs: &mut Registers,
            $machine: &mut Machine<'m>,
        ) -> Exit {
            $body
        }
    )*};
}

mod numbers;
mod translate;
mod values;

pub(crate) use numbers::modulo;
pub(crate) use translate::translate;
