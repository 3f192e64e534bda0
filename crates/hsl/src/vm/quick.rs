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

use super::call;
use super::dispatch::{clear, join};
use super::frame::{Back, Frame, NOT_LENT};
use crate::bytecode::{FunctionCode, Op, Register};
use crate::host::{CallContext, Environment, NativeStep, Thrown};
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
        fn $name<'m>(
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

/// Arithmetic of two registers, of a register and a constant, of a register and a small number.
macro_rules! arithmetic {
    ($($name:ident $constant:ident $number:ident |$x:ident, $y:ident| $value:expr;)*) => {handlers! {$(
        $name(word, code, pc, regs, machine) {
            if let (&Value::Number($x), &Value::Number($y)) =
                (&regs[word.second()], &regs[word.third()])
                && regs[word.first()].set_number($value)
            {
                return next(code, pc, regs, machine);
            }
            leave(Exit::Full, pc, machine)
        }
        $constant(word, code, pc, regs, machine) {
            if let (&Value::Number($x), Some(&Value::Number($y))) =
                (&regs[word.second()], machine.function.constants.get(word.wide()))
                && regs[word.first()].set_number($value)
            {
                return next(code, pc, regs, machine);
            }
            leave(Exit::Full, pc, machine)
        }
        $number(word, code, pc, regs, machine) {
            let $y = word.long();
            if let &Value::Number($x) = &regs[word.second()]
                && regs[word.first()].set_number($value)
            {
                return next(code, pc, regs, machine);
            }
            leave(Exit::Full, pc, machine)
        }
    )*}};
}

arithmetic! {
    add add_constant add_number |x, y| x + y;
    subtract subtract_constant subtract_number |x, y| x - y;
    multiply multiply_constant multiply_number |x, y| x * y;
    divide divide_constant divide_number |x, y| x / y;
}

handlers! {
    remainder(word, code, pc, regs, machine) {
        if let (&Value::Number(x), &Value::Number(y)) =
            (&regs[word.second()], &regs[word.third()])
            && regs[word.first()].set_number(modulo(x, y))
        {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    /// By a whole number above 0.
    remainder_number(word, code, pc, regs, machine) {
        if let &Value::Number(x) = &regs[word.second()] {
            let whole = x as i32;
            if f64::from(whole) == x && whole >= 0 {
                let rest = whole.cast_unsigned() % (word.wide() as u32).max(1);
                if regs[word.first()].set_number(f64::from(rest.cast_signed())) {
                    return next(code, pc, regs, machine);
                }
            }
        }
        leave(Exit::Full, pc, machine)
    }
}

/// Comparisons of two registers that give a boolean.
macro_rules! comparisons {
    ($($name:ident $op:tt)*) => {handlers! {$(
        $name(word, code, pc, regs, machine) {
            if let (&Value::Number(x), &Value::Number(y)) =
                (&regs[word.second()], &regs[word.third()])
                && regs[word.first()].set_bool(x $op y)
            {
                return next(code, pc, regs, machine);
            }
            leave(Exit::Full, pc, machine)
        }
    )*}};
}

comparisons! { less < less_equal <= equal == not_equal != }

/// Jumps that compare: two registers, a register and a constant, a register and a small number.
macro_rules! jumps {
    ($($name:ident $constant:ident $number:ident |$x:ident, $y:ident| $holds:expr;)*) => {handlers! {$(
        $name(word, code, pc, regs, machine) {
            if let (&Value::Number($x), &Value::Number($y)) =
                (&regs[word.first()], &regs[word.second()])
            {
                if $holds {
                    return next(code, word.jump(pc), regs, machine);
                }
                return next(code, pc, regs, machine);
            }
            leave(Exit::Full, pc, machine)
        }
        $constant(word, code, pc, regs, machine) {
            if let (&Value::Number($x), Some(&Value::Number($y))) =
                (&regs[word.first()], machine.function.constants.get(word.index()))
            {
                if $holds {
                    return next(code, word.jump(pc), regs, machine);
                }
                return next(code, pc, regs, machine);
            }
            leave(Exit::Full, pc, machine)
        }
        $number(word, code, pc, regs, machine) {
            let $y = word.short();
            if let &Value::Number($x) = &regs[word.first()] {
                if $holds {
                    return next(code, word.jump(pc), regs, machine);
                }
                return next(code, pc, regs, machine);
            }
            leave(Exit::Full, pc, machine)
        }
    )*}};
}

/// A comparison with a number that is none fails, so this is not the opposite operator.
#[inline(always)]
const fn fails(holds: bool) -> bool {
    !holds
}

jumps! {
    if_less if_less_constant if_less_number |x, y| x < y;
    unless_less unless_less_constant unless_less_number |x, y| fails(x < y);
    if_less_equal if_less_equal_constant if_less_equal_number |x, y| x <= y;
    unless_less_equal unless_less_equal_constant unless_less_equal_number |x, y| fails(x <= y);
    if_equal if_equal_constant if_equal_number |x, y| x == y;
    unless_equal unless_equal_constant unless_equal_number |x, y| x != y;
}

/// The same with the constant on the left: `>` and `>=`, which no two registers have.
macro_rules! constant_jumps {
    ($($constant:ident $number:ident |$x:ident, $y:ident| $holds:expr;)*) => {handlers! {$(
        $constant(word, code, pc, regs, machine) {
            if let (&Value::Number($x), Some(&Value::Number($y))) =
                (&regs[word.first()], machine.function.constants.get(word.index()))
            {
                if $holds {
                    return next(code, word.jump(pc), regs, machine);
                }
                return next(code, pc, regs, machine);
            }
            leave(Exit::Full, pc, machine)
        }
        $number(word, code, pc, regs, machine) {
            let $y = word.short();
            if let &Value::Number($x) = &regs[word.first()] {
                if $holds {
                    return next(code, word.jump(pc), regs, machine);
                }
                return next(code, pc, regs, machine);
            }
            leave(Exit::Full, pc, machine)
        }
    )*}};
}

constant_jumps! {
    if_greater_constant if_greater_number |x, y| x > y;
    unless_greater_constant unless_greater_number |x, y| fails(x > y);
    if_greater_equal_constant if_greater_equal_number |x, y| x >= y;
    unless_greater_equal_constant unless_greater_equal_number |x, y| fails(x >= y);
}

/// Counts a register up and goes round again, if it stays below a number.
macro_rules! counts {
    ($($name:ident($word:ident, $regs:ident, $machine:ident) $limit:expr;)*) => {handlers! {$(
        $name($word, code, pc, $regs, $machine) {
            let limit: Option<f64> = $limit;
            if let Some(limit) = limit
                && let Value::Number(count) = &mut $regs[$word.first()]
                && *count + 1.0 < limit
                && $machine.has_fuel()
            {
                *count += 1.0;
                $machine.fuel -= 1;
                return next(code, $word.jump(pc), $regs, $machine);
            }
            next(code, pc, $regs, $machine)
        }
    )*}};
}

counts! {
    count_if_less(word, regs, machine) regs[word.second()].as_number();
    count_if_less_constant(word, regs, machine) {
        machine.function.constants.get(word.index()).and_then(Value::as_number)
    };
    count_if_less_number(word, regs, machine) Some(word.short());
}

handlers! {
    copy(word, code, pc, regs, machine) {
        if let &Value::Number(value) = &regs[word.second()]
            && regs[word.first()].set_number(value)
        {
            return next(code, pc, regs, machine);
        }
        copy_any(word, code, pc, regs, machine)
    }
    take(word, code, pc, regs, machine) {
        if let &Value::Number(value) = &regs[word.second()]
            && regs[word.first()].set_number(value)
        {
            return next(code, pc, regs, machine);
        }
        take_any(word, code, pc, regs, machine)
    }
    none(word, code, pc, regs, machine) {
        if regs[word.first()].set_none() {
            return next(code, pc, regs, machine);
        }
        clear_first(word, code, pc, regs, machine)
    }
    release(word, code, pc, regs, machine) {
        if !regs[word.first()].needs_drop() {
            return next(code, pc, regs, machine);
        }
        clear_first(word, code, pc, regs, machine)
    }
    boolean(word, code, pc, regs, machine) {
        if regs[word.first()].set_bool(word.wide() != 0) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    constant(word, code, pc, regs, machine) {
        if let Some(value) = machine.function.constants.get(word.wide()) {
            regs[word.first()].put_copy(value);
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    number(word, code, pc, regs, machine) {
        if regs[word.first()].set_number(word.long()) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    check_set(word, code, pc, regs, machine) {
        if !matches!(regs[word.first()], Value::Unset) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    add_assign(word, code, pc, regs, machine) {
        if let &Value::Number(by) = &regs[word.second()]
            && let Value::Number(value) = &mut regs[word.first()]
        {
            *value += by;
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    increment(word, code, pc, regs, machine) {
        if let Value::Number(value) = &mut regs[word.first()] {
            *value += 1.0;
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    decrement(word, code, pc, regs, machine) {
        if let Value::Number(value) = &mut regs[word.first()] {
            *value -= 1.0;
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    not(word, code, pc, regs, machine) {
        let value = !regs[word.second()].is_truthy();
        if regs[word.first()].set_bool(value) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }

    jump(word, code, pc, regs, machine) {
        next(code, word.jump(pc), regs, machine)
    }
    round(word, code, pc, regs, machine) {
        if machine.has_fuel() {
            machine.fuel -= 1;
            return next(code, word.jump(pc), regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    if_true(word, code, pc, regs, machine) {
        if regs[word.first()].is_truthy() {
            return next(code, word.jump(pc), regs, machine);
        }
        next(code, pc, regs, machine)
    }
    if_false(word, code, pc, regs, machine) {
        if !regs[word.first()].is_truthy() {
            return next(code, word.jump(pc), regs, machine);
        }
        next(code, pc, regs, machine)
    }
    if_some(word, code, pc, regs, machine) {
        if !regs[word.first()].is_none() {
            return next(code, word.jump(pc), regs, machine);
        }
        next(code, pc, regs, machine)
    }

    text(word, code, pc, regs, machine) {
        if join_text(word, regs, machine) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Threw, pc, machine)
    }
    append(word, code, pc, regs, machine) {
        if append_text(word, regs, machine) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    index(word, code, pc, regs, machine) {
        if let (Value::Array(array), &Value::Number(at)) =
            (&regs[word.second()], &regs[word.third()])
            && let Some(&Value::Number(value)) = array.list_item(at)
            && regs[word.first()].set_number(value)
        {
            return next(code, pc, regs, machine);
        }
        index_any(word, code, pc, regs, machine)
    }
    set_index(word, code, pc, regs, machine) {
        if let (&Value::Number(at), &Value::Number(value)) =
            (&regs[word.second()], &regs[word.third()])
            && let Value::Array(array) = &mut regs[word.first()]
            && let Some(place) = array.list_place(at)
        {
            place.put_number(value);
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    push(word, code, pc, regs, machine) {
        if let &Value::Number(number) = &regs[word.second()]
            && let Value::Array(array) = &mut regs[word.first()]
            && let Some(list) = array.growable_list()
        {
            machine.environment.budget.charge(16);
            list.push(Value::Number(number));
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    property(word, code, pc, regs, machine) {
        if let Value::Object(object) = &regs[word.second()]
            && let Some(slot) = object.open_slot(machine.program, word.index() as u16)
            && let Some(value) = slot.number()
            && regs[word.first()].set_number(value)
        {
            return next(code, pc, regs, machine);
        }
        property_any(word, code, pc, regs, machine)
    }
    set_property(word, code, pc, regs, machine) {
        if let Value::Object(object) = &regs[word.first()]
            && let &Value::Number(value) = &regs[word.second()]
            && let Some(slot) = object.open_slot(machine.program, word.index() as u16)
            && slot.replace_number(value)
        {
            return next(code, pc, regs, machine);
        }
        set_property_any(word, code, pc, regs, machine)
    }
    add_property(word, code, pc, regs, machine) {
        if let (Value::Object(object), &Value::Number(by)) =
            (&regs[word.first()], &regs[word.second()])
            && let Some(slot) = object.open_slot(machine.program, word.index() as u16)
            && slot.add(by)
        {
            return next(code, pc, regs, machine);
        }
        add_property_any(word, code, pc, regs, machine)
    }
    next_item(word, code, pc, regs, machine) {
        if let (Value::Array(array), &Value::Number(position)) =
            (&regs[word.first()], &regs[(word.first() + 1) % WINDOW])
            && let Some(&Value::Number(item)) = array.list_item(position)
            && regs[word.second()].set_number(item)
        {
            // The compiler has counted in this register since the start of the loop.
            if let Value::Number(position) = &mut regs[(word.first() + 1) % WINDOW] {
                *position += 1.0;
            }
            return next(code, pc, regs, machine);
        }
        next_any(word, code, pc, regs, machine)
    }

    call_script(word, _code, pc, _regs, machine) {
        let number = word.wide();
        if let Some(callee) = machine.program.functions.get(number)
            && usize::from(callee.plain_arguments) == word.third()
            && enter(word, number, callee, pc, NOT_LENT, machine)
        {
            return Exit::Window;
        }
        leave(Exit::Full, pc, machine)
    }
    call_method(word, _code, pc, regs, machine) {
        if let Value::Object(object) = &regs[word.second()]
            && let Some(number) =
                object.method(machine.unit, machine.function.scope, word.wide() as u16)
            && let Some(callee) = machine.program.functions.get(number as usize)
            && usize::from(callee.plain_arguments) == word.third()
            && enter(word, number as usize, callee, pc, NOT_LENT, machine)
        {
            return Exit::Window;
        }
        leave(Exit::Full, pc, machine)
    }
    /// The object moves to `$this` and comes back at the end: no counts.
    call_lent(word, _code, pc, regs, machine) {
        let lent = word.fourth();
        if let Value::Object(object) = &regs[lent]
            && let Some(number) =
                object.method(machine.unit, machine.function.scope, word.wide() as u16)
            && let Some(callee) = machine.program.functions.get(number as usize)
            && usize::from(callee.plain_arguments) == word.third()
            && callee.keeps_this
            && !regs[word.second()].needs_drop()
            && enter(word, number as usize, callee, pc, lent as Register, machine)
        {
            regs.swap(lent, word.second());
            return Exit::Window;
        }
        leave(Exit::Full, pc, machine)
    }
    /// Most functions return a number and leave nothing that needs dropping, a lent `$this` aside.
    give_back(word, _code, pc, regs, machine) {
        if let [.., caller, frame] = machine.frames.as_slice()
            && frame.back == Back::Caller
            && caller.unit == machine.unit_number
            && let Some(below) = machine.program.functions.get(caller.function as usize)
            && let &Value::Number(number) = &regs[word.first()]
        {
            let first = usize::from(frame.lent != NOT_LENT);
            let count = usize::from(machine.function.registers);
            let used = regs.get(first..count).unwrap_or_default();
            if !used.iter().any(Value::needs_drop) {
                machine.number = number;
                machine.left = (frame.result, frame.lent, frame.base);
                (machine.function, machine.base, machine.pc) =
                    (below, caller.base as usize, caller.pc as usize);
                machine.frames.pop();
                return Exit::Number;
            }
        }
        machine.returned = word.first() as Register;
        leave(Exit::Return, pc, machine)
    }
    call_native(word, code, pc, regs, machine) {
        if machine.has_fuel() {
            return match invoke(word, pc, regs, machine) {
                Invoked::Returned => next(code, pc, regs, machine),
                Invoked::Threw => leave(Exit::Threw, pc, machine),
                Invoked::Waits => leave(Exit::Native, pc, machine),
            };
        }
        leave(Exit::Full, pc, machine)
    }
    full(_word, _code, pc, _regs, machine) {
        leave(Exit::Full, pc, machine)
    }
}

/// Makes `callee` run, whose registers start at the second operand and whose value goes to the first;
/// false if there is no room or fuel.
#[inline(always)]
fn enter<'m>(
    word: Word,
    number: usize,
    callee: &'m FunctionCode,
    pc: usize,
    lent: Register,
    machine: &mut Machine<'m>,
) -> bool {
    let start = machine.base + word.second();
    let depth = machine.frames.len();
    if machine.has_fuel()
        && depth <= machine.depth
        && start + WINDOW <= machine.stack
        // The general way grows the list.
        && depth < machine.frames.capacity()
    {
        machine.frames.push(Frame {
            unit: machine.unit_number,
            function: number as u32,
            pc: 0,
            base: start as u32,
            result: (machine.base + word.first()) as u32,
            back: Back::Caller,
            lent,
        });
        if let [.., caller, _] = machine.frames.as_mut_slice() {
            caller.pc = pc as u32;
        }
        machine.fuel -= 1;
        (machine.function, machine.base, machine.pc) = (callee, start, 0);
        return true;
    }
    false
}

/// What a native function did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Invoked {
    Returned,
    Threw,
    Waits,
}

/// Calls the native function of the wide operand with as many arguments as the third operand says,
/// from the register of the second operand on; the value goes to the first.
#[inline(never)]
fn invoke(word: Word, pc: usize, regs: &mut Registers, machine: &mut Machine<'_>) -> Invoked {
    let outcome = call_host(word, pc, regs, machine);
    machine.fuel = machine.environment.fuel;
    match outcome {
        Ok(NativeStep::Return(value)) => {
            match &value {
                Value::String(text) => machine.environment.budget.charge(48 + text.len()),
                Value::Array(array) => machine.environment.budget.charge(array.shallow_size()),
                _ => {}
            }
            regs[word.first()].put(value);
            Invoked::Returned
        }
        Ok(NativeStep::Throw(thrown)) | Err(thrown) => {
            machine.thrown = Some(thrown);
            Invoked::Threw
        }
        Ok(step) => {
            machine.step = Some(step);
            Invoked::Waits
        }
    }
}

#[inline(always)]
fn call_host(
    word: Word,
    pc: usize,
    regs: &mut Registers,
    machine: &mut Machine<'_>,
) -> Result<NativeStep, Thrown> {
    let environment = &mut *machine.environment;
    environment.fuel = machine.fuel - 1;
    let function = machine.frames.last().map_or(0, |frame| frame.function);
    environment.at = (machine.unit_number, function, pc as u32 - 1);
    let Some(target) = machine.program.natives.get(word.wide()) else {
        return Err(Thrown::new("a function of the host is missing"));
    };
    let (first, given) = (word.second(), word.third());
    let count = given.max(target.function.fixed());
    let Some(arguments) = regs.get_mut(first..first + count) else {
        return Err(Thrown::new("this is too complex for one expression"));
    };
    call::complete(&target.function, arguments, given)?;
    let mut context = CallContext {
        environment,
        function: Some(&target.function),
        this: None,
        class: target.class.as_ref(),
        given,
    };
    let step = target.function.invoke(&mut context, arguments);
    clear(arguments);
    Ok(step)
}

#[inline(never)]
fn join_text(word: Word, regs: &mut Registers, machine: &mut Machine<'_>) -> bool {
    let function = machine.function;
    let parts = function.texts.get(word.wide()).map(|parts| &**parts).unwrap_or_default();
    match join(regs, &function.constants, parts) {
        Ok(text) => {
            machine.environment.budget.charge(48 + text.len());
            regs[word.first()].put(Value::String(text));
            true
        }
        Err(thrown) => {
            machine.thrown = Some(thrown);
            false
        }
    }
}

#[inline(never)]
fn append_text(word: Word, regs: &mut Registers, machine: &mut Machine<'_>) -> bool {
    let Ok([Value::String(left), Value::String(right)]) =
        regs.get_disjoint_mut([word.first(), word.second()])
    else {
        return false;
    };
    left.push_bytes(right);
    machine.environment.budget.charge(8 + right.len());
    true
}

// What the handlers above leave to a second one, so that they need no room on the stack themselves.
handlers! {
    #[inline(never)]
    copy_any(word, code, pc, regs, machine) {
        if let Ok([place, source]) = regs.get_disjoint_mut([word.first(), word.second()]) {
            place.put_copy(source);
        }
        next(code, pc, regs, machine)
    }
    #[inline(never)]
    take_any(word, code, pc, regs, machine) {
        let value = std::mem::take(&mut regs[word.second()]);
        regs[word.first()].put(value);
        next(code, pc, regs, machine)
    }
    #[inline(never)]
    clear_first(word, code, pc, regs, machine) {
        regs[word.first()].put_none();
        next(code, pc, regs, machine)
    }
    #[inline(never)]
    index_any(word, code, pc, regs, machine) {
        if read_item(word, regs) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    #[inline(never)]
    property_any(word, code, pc, regs, machine) {
        if read_property(word, regs, machine) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    #[inline(never)]
    set_property_any(word, code, pc, regs, machine) {
        if let Value::Object(object) = &regs[word.first()]
            && let Some(slot) =
                object.slot_at(machine.program, machine.function.scope, word.index() as u16)
            && slot.replace(&regs[word.second()])
        {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    #[inline(never)]
    add_property_any(word, code, pc, regs, machine) {
        if let (Value::Object(object), &Value::Number(by)) =
            (&regs[word.first()], &regs[word.second()])
            && let Some(slot) =
                object.slot_at(machine.program, machine.function.scope, word.index() as u16)
            && slot.add(by)
        {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
    #[inline(never)]
    next_any(word, code, pc, regs, machine) {
        if read_next(word, regs) {
            return next(code, pc, regs, machine);
        }
        leave(Exit::Full, pc, machine)
    }
}

#[inline(never)]
fn read_item(word: Word, regs: &mut Registers) -> bool {
    let (Value::Array(array), &Value::Number(at)) = (&regs[word.second()], &regs[word.third()])
    else {
        return false;
    };
    let Some(value) = array.list_item(at).cloned() else { return false };
    regs[word.first()].put(value);
    true
}

#[inline(never)]
fn read_next(word: Word, regs: &mut Registers) -> bool {
    let place = (word.first() + 1) % WINDOW;
    let (Value::Array(array), &Value::Number(position)) = (&regs[word.first()], &regs[place])
    else {
        return false;
    };
    let Some(item) = array.list_item(position).cloned() else { return false };
    regs[word.second()].put(item);
    regs[place].put_number(position + 1.0);
    true
}

#[inline(never)]
fn read_property(word: Word, regs: &mut Registers, machine: &Machine<'_>) -> bool {
    let Value::Object(object) = &regs[word.second()] else { return false };
    let value = object
        .slot_at(machine.program, machine.function.scope, word.index() as u16)
        .and_then(|slot| slot.get());
    let Some(value) = value else { return false };
    regs[word.first()].put(value);
    true
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

/// Translates the code of a function.
pub(crate) fn translate(code: &[Op], constants: &[Value]) -> Box<[Instruction]> {
    code.iter().map(|op| instruction(op, constants)).collect()
}

/// The handler and operands of one instruction.
fn instruction(op: &Op, constants: &[Value]) -> Instruction {
    let arithmetic = |d, a, k: u16, constant: Handler, number: Handler| match whole(constants, k) {
        Some(value) => (number, Word::registers(d, a, 0, value.cast_unsigned())),
        None => (constant, Word::registers(d, a, 0, u32::from(k))),
    };
    let jump = |a, k: u16, to, constant: Handler, number: Handler| match whole(constants, k)
        .and_then(|value| i16::try_from(value).ok())
    {
        Some(value) => (number, Word::small(a, value.cast_unsigned(), to)),
        None => (constant, Word::small(a, k, to)),
    };
    let pair = |a, b, to: i32| Word::new([a, b, 0, 0], to.cast_unsigned());
    let named = |a, b, name: u16| {
        let [low, high] = name.to_le_bytes();
        Word::new([a, b, low, high], 0)
    };
    let three = |a, b, c| Word::registers(a, b, c, 0);
    let (run, word): (Handler, Word) = match *op {
        Op::Move { d, a } => (copy, three(d, a, 0)),
        Op::Take { d, a } => (take, three(d, a, 0)),
        Op::None { d } => (none, three(d, 0, 0)),
        Op::Release { d } => (release, three(d, 0, 0)),
        Op::Bool { d, value } => (boolean, Word::registers(d, 0, 0, u32::from(value))),
        Op::Const { d, k } => match whole(constants, k) {
            Some(value) => (number, Word::registers(d, 0, 0, value.cast_unsigned())),
            None => (constant, Word::registers(d, 0, 0, u32::from(k))),
        },
        Op::CheckSet { a } => (check_set, three(a, 0, 0)),
        Op::Add { d, a, b } => (add, three(d, a, b)),
        Op::Subtract { d, a, b } => (subtract, three(d, a, b)),
        Op::Multiply { d, a, b } => (multiply, three(d, a, b)),
        Op::Divide { d, a, b } => (divide, three(d, a, b)),
        Op::Remainder { d, a, b } => (remainder, three(d, a, b)),
        Op::AddK { d, a, k } => arithmetic(d, a, k, add_constant, add_number),
        Op::SubtractK { d, a, k } => arithmetic(d, a, k, subtract_constant, subtract_number),
        Op::MultiplyK { d, a, k } => arithmetic(d, a, k, multiply_constant, multiply_number),
        Op::DivideK { d, a, k } => arithmetic(d, a, k, divide_constant, divide_number),
        Op::RemainderK { d, a, k } => match whole(constants, k) {
            Some(value) if value > 0 => {
                (remainder_number, Word::registers(d, a, 0, value.cast_unsigned()))
            }
            _ => (full, three(0, 0, 0)),
        },
        Op::AddAssign { a, b } => (add_assign, three(a, b, 0)),
        Op::Less { d, a, b } => (less, three(d, a, b)),
        Op::LessEqual { d, a, b } => (less_equal, three(d, a, b)),
        Op::Equal { d, a, b } | Op::Same { d, a, b } => (equal, three(d, a, b)),
        Op::NotEqual { d, a, b } | Op::NotSame { d, a, b } => (not_equal, three(d, a, b)),
        Op::Not { d, a } => (not, three(d, a, 0)),
        Op::Increment { a } => (increment, three(a, 0, 0)),
        Op::Decrement { a } => (decrement, three(a, 0, 0)),
        Op::Jump { to } => (self::jump, pair(0, 0, to)),
        Op::Loop { to } => (round, pair(0, 0, to)),
        Op::CountIfLess { a, b, to } => (count_if_less, pair(a, b, to)),
        Op::CountIfLessK { a, k, to } => {
            jump(a, k, to, count_if_less_constant, count_if_less_number)
        }
        Op::JumpIf { a, expect: true, to } => (if_true, pair(a, 0, to)),
        Op::JumpIf { a, expect: false, to } => (if_false, pair(a, 0, to)),
        Op::JumpIfSome { a, to } => (if_some, pair(a, 0, to)),
        Op::JumpLess { a, b, expect: true, to } => (if_less, pair(a, b, to)),
        Op::JumpLess { a, b, expect: false, to } => (unless_less, pair(a, b, to)),
        Op::JumpLessEqual { a, b, expect: true, to } => (if_less_equal, pair(a, b, to)),
        Op::JumpLessEqual { a, b, expect: false, to } => (unless_less_equal, pair(a, b, to)),
        Op::JumpEqual { a, b, expect: true, to } | Op::JumpSame { a, b, expect: true, to } => {
            (if_equal, pair(a, b, to))
        }
        Op::JumpEqual { a, b, expect: false, to } | Op::JumpSame { a, b, expect: false, to } => {
            (unless_equal, pair(a, b, to))
        }
        Op::JumpIfLessK { a, k, to } => jump(a, k, to, if_less_constant, if_less_number),
        Op::JumpUnlessLessK { a, k, to } => {
            jump(a, k, to, unless_less_constant, unless_less_number)
        }
        Op::JumpIfLessEqualK { a, k, to } => {
            jump(a, k, to, if_less_equal_constant, if_less_equal_number)
        }
        Op::JumpUnlessLessEqualK { a, k, to } => {
            jump(a, k, to, unless_less_equal_constant, unless_less_equal_number)
        }
        Op::JumpIfGreaterK { a, k, to } => jump(a, k, to, if_greater_constant, if_greater_number),
        Op::JumpUnlessGreaterK { a, k, to } => {
            jump(a, k, to, unless_greater_constant, unless_greater_number)
        }
        Op::JumpIfGreaterEqualK { a, k, to } => {
            jump(a, k, to, if_greater_equal_constant, if_greater_equal_number)
        }
        Op::JumpUnlessGreaterEqualK { a, k, to } => {
            jump(a, k, to, unless_greater_equal_constant, unless_greater_equal_number)
        }
        Op::JumpIfEqualK { a, k, to } | Op::JumpIfSameK { a, k, to } => {
            jump(a, k, to, if_equal_constant, if_equal_number)
        }
        Op::JumpUnlessEqualK { a, k, to } | Op::JumpUnlessSameK { a, k, to } => {
            jump(a, k, to, unless_equal_constant, unless_equal_number)
        }
        Op::Text { d, text: number } => (text, Word::registers(d, 0, 0, u32::from(number))),
        Op::Append { a, b } => (append, three(a, b, 0)),
        Op::Index { d, a, b } => (index, three(d, a, b)),
        Op::SetIndex { a, b, c } => (set_index, three(a, b, c)),
        Op::Push { a, b } => (push, three(a, b, 0)),
        Op::Property { d, a, name } => (property, named(d, a, name)),
        Op::SetProperty { a, b, name } => (set_property, named(a, b, name)),
        Op::AddProperty { a, b, name } => (add_property, named(a, b, name)),
        Op::IterNext { base, value, key: Register::MAX, to: _ } => {
            (next_item, three(base, value, 0))
        }
        Op::CallFunction { d, base, argc, function } => {
            (call_script, Word::registers(d, base, argc, u32::from(function)))
        }
        Op::CallNative { d, base, argc, native } => {
            (call_native, Word::registers(d, base, argc, u32::from(native)))
        }
        Op::CallMethod { d, base, argc, name } => {
            (call_method, Word::registers(d, base, argc, u32::from(name)))
        }
        Op::CallLent { d, base, argc, a, name } => {
            (call_lent, Word::new([d, base, argc, a], u32::from(name)))
        }
        Op::Return { a } => (give_back, three(a, 0, 0)),
        _ => (full, three(0, 0, 0)),
    };
    Instruction { run, word }
}

/// The constant, if it is a whole number of 32 bits and not negative zero.
fn whole(constants: &[Value], k: u16) -> Option<i32> {
    let value = constants.get(usize::from(k))?.as_number()?;
    let whole = value as i32;
    (f64::from(whole).to_bits() == value.to_bits()).then_some(whole)
}
