//! The instruction set: a register machine.
//!
//! A function has up to 256 registers: parameters first, then variables, then temporaries. Registers
//! are named `a b c d`, `k` is an index of the function's constants, `n` one of the program's names, jumps are relative to the next
//! instruction.
//!
//! ```text
//!   0        1        2        3        4        5        6        7       octet
//!  +--------+--------+--------+--------+--------+--------+--------+--------+
//!  | opcode |   d    |   a    |   b    |                                   |  Add  d = a + b
//!  | opcode |   d    |   a    |        |        k        |                 |  AddK d = a + K[k]
//!  | opcode |   a    |   b    | expect |               jump                |  JumpLess
//!  | opcode |   a    |        k        |               jump                |  JumpLessK
//!  | opcode |   d    |  base  |  argc  |    function     |                 |  CallFunction
//!  +--------+--------+--------+--------+--------+--------+--------+--------+
//! ```
//!
//! Who owns what: an operand that is read stays in its register. An operand marked `*` is moved out;
//! the compiler copies a variable to a temporary first. Calls consume their arguments. So a value in
//! a temporary has no second reference, and appending to it copies nothing.
//!
//! | instruction | effect |
//! |---|---|
//! | `Move d a` | d = a |
//! | `Take d *a` | d = a, a = none |
//! | `None d`, `Bool d v`, `Const d k` | d = the constant |
//! | `Release d` | d = none, if it owns memory; nobody reads it again |
//! | `CheckSet a` | throws if variable a is unset |
//! | `MoveQuiet d a` | d = a, none if a is unset; looks into shared variables |
//! | `IsSet d a`, `IsSetGlobal d g` | d = whether the variable has a value |
//! | `UnsetLocal d a`, `UnsetGlobal d g` | d = whether it had one; now it has none |
//! | `CellGet d a`, `CellSet a *b` | reads and writes the shared variable in a |
//! | `GlobalGet d g`, `GlobalQuiet d g`, `GlobalSet g *a` | reads and writes a variable of a module |
//! | `Add`…`Remainder d a b`, `AddK`…`RemainderK d a k` | arithmetic |
//! | `Less`, `LessEqual`, `Equal`, `Same d a b`; `NotEqual`, `NotSame` | comparison |
//! | `Binary op d a b` | every other operator |
//! | `Not Negate Plus BitNot d a` | unary operators |
//! | `Increment a`, `Decrement a` | counts a local variable |
//! | `Jump j`, `Loop j` | jumps; `Loop` goes back and takes fuel |
//! | `CountIfLess a b j`, `CountIfLessK a k j` | if a + 1 < b: counts a, takes fuel and jumps; else nothing, and what follows does it in full |
//! | `JumpIf a expect j` | jumps if the truth of a is `expect` |
//! | `JumpLess`… `a b expect j`; `JumpIfLessK`, `JumpUnlessLessK`… `a k j` | compare and jump |
//! | `JumpIfSome a j` | jumps if a is not none |
//! | `Concat d base n` | d = text of n registers from base on; they become none |
//! | `Text d t` | d = text of the parts of t, some of which are constants and variables; see [`TextPart`] |
//! | `Append a b` | a .= b in place |
//! | `NewArray d n` | d = empty array with room for n |
//! | `Push a *b`, `Put a b *c`, `Spread a b` | fills array a: behind, under key b, with all of b |
//! | `Index d a b`, `IndexK d a k`, `Property d a n` | d = a[b]; quiet forms read nothing as none |
//! | `IndexPath d a b` | d = a[...b] |
//! | `HasIndex d a b` | d = whether a has an element b |
//! | `SetIndex a b *c`, `SetProperty a n *b` | element of a local variable or object |
//! | `AddProperty a n b` | a->n += b |
//! | `Slice d a base` | d = a[base:base+1:base+2] |
//! | `Path p base v` | changes a nested place; see [`Path`] |
//! | `Call… d base n …` | d = call with n arguments from base on |
//! | `CallLent d base n a m` | the same as copying a to base and `CallMethod d base n m` |
//! | `CallReading d n t` | d = call of native n with the parts of text t, which are lent to it; see [`MAX_LENT`] |
//! | `CallSpread d base` | d = call of base with the array base+1 as arguments |
//! | `Cache d base n` | the same through a cache; base holds the options, base+1 the function |
//! | `Return *a` | ends the function |
//! | `Function d f` | d = function value with its captures |
//! | `Instance d c` | d = new object of class c, without properties |
//! | `Yield *a` | hands a out and waits in a generator |
//! | `IterStart base`, `IterNext base v k j` | walks the value in base; jumps at the end |
//! | `Item d a b j` | d = a[b] and jumps, if a is an array that has b |
//! | `Rest d a n` | d = elements of a from position n on, re-indexed |
//! | `Throw *a`, `NoMatch a`, `Echo a` | as they say |
//! | `BarrierEnter d a`, `BarrierValue d a`, `BarrierLeave a` | critical section, guard in d or a |

use crate::ast::BinaryOp;
use crate::program::NativeCall;
use crate::source::Span;

/// A register, relative to the frame.
pub(crate) type Register = u8;

/// One instruction. Eight octets, pinned by a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    Move {
        d: Register,
        a: Register,
    },
    Take {
        d: Register,
        a: Register,
    },
    None {
        d: Register,
    },
    Release {
        d: Register,
    },
    Bool {
        d: Register,
        value: bool,
    },
    Const {
        d: Register,
        k: u16,
    },
    CheckSet {
        a: Register,
    },
    MoveQuiet {
        d: Register,
        a: Register,
    },
    IsSet {
        d: Register,
        a: Register,
    },
    IsSetGlobal {
        d: Register,
        global: u16,
    },
    UnsetLocal {
        d: Register,
        a: Register,
    },
    UnsetGlobal {
        d: Register,
        global: u16,
    },
    CellGet {
        d: Register,
        a: Register,
    },
    CellSet {
        a: Register,
        b: Register,
    },
    GlobalGet {
        d: Register,
        global: u16,
    },
    GlobalQuiet {
        d: Register,
        global: u16,
    },
    GlobalSet {
        a: Register,
        global: u16,
    },

    Add {
        d: Register,
        a: Register,
        b: Register,
    },
    Subtract {
        d: Register,
        a: Register,
        b: Register,
    },
    Multiply {
        d: Register,
        a: Register,
        b: Register,
    },
    Divide {
        d: Register,
        a: Register,
        b: Register,
    },
    Remainder {
        d: Register,
        a: Register,
        b: Register,
    },
    AddK {
        d: Register,
        a: Register,
        k: u16,
    },
    SubtractK {
        d: Register,
        a: Register,
        k: u16,
    },
    MultiplyK {
        d: Register,
        a: Register,
        k: u16,
    },
    DivideK {
        d: Register,
        a: Register,
        k: u16,
    },
    RemainderK {
        d: Register,
        a: Register,
        k: u16,
    },
    AddAssign {
        a: Register,
        b: Register,
    },
    Less {
        d: Register,
        a: Register,
        b: Register,
    },
    LessEqual {
        d: Register,
        a: Register,
        b: Register,
    },
    Equal {
        d: Register,
        a: Register,
        b: Register,
    },
    NotEqual {
        d: Register,
        a: Register,
        b: Register,
    },
    Same {
        d: Register,
        a: Register,
        b: Register,
    },
    NotSame {
        d: Register,
        a: Register,
        b: Register,
    },
    Binary {
        op: BinaryOp,
        d: Register,
        a: Register,
        b: Register,
    },
    Not {
        d: Register,
        a: Register,
    },
    Negate {
        d: Register,
        a: Register,
    },
    Plus {
        d: Register,
        a: Register,
    },
    BitNot {
        d: Register,
        a: Register,
    },
    Increment {
        a: Register,
    },
    Decrement {
        a: Register,
    },

    Jump {
        to: i32,
    },
    Loop {
        to: i32,
    },
    CountIfLess {
        a: Register,
        b: Register,
        to: i32,
    },
    CountIfLessK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpIf {
        a: Register,
        expect: bool,
        to: i32,
    },
    JumpIfSome {
        a: Register,
        to: i32,
    },
    JumpLess {
        a: Register,
        b: Register,
        expect: bool,
        to: i32,
    },
    JumpLessEqual {
        a: Register,
        b: Register,
        expect: bool,
        to: i32,
    },
    JumpEqual {
        a: Register,
        b: Register,
        expect: bool,
        to: i32,
    },
    JumpSame {
        a: Register,
        b: Register,
        expect: bool,
        to: i32,
    },
    JumpIfLessK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpUnlessLessK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpIfLessEqualK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpUnlessLessEqualK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpIfGreaterK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpUnlessGreaterK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpIfGreaterEqualK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpUnlessGreaterEqualK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpIfEqualK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpUnlessEqualK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpIfSameK {
        a: Register,
        k: u16,
        to: i32,
    },
    JumpUnlessSameK {
        a: Register,
        k: u16,
        to: i32,
    },

    Concat {
        d: Register,
        base: Register,
        count: u8,
    },
    Text {
        d: Register,
        text: u16,
    },
    Append {
        a: Register,
        b: Register,
    },
    NewArray {
        d: Register,
        room: u16,
    },
    Push {
        a: Register,
        b: Register,
    },
    Put {
        a: Register,
        b: Register,
        c: Register,
    },
    Spread {
        a: Register,
        b: Register,
    },
    Index {
        d: Register,
        a: Register,
        b: Register,
    },
    IndexK {
        d: Register,
        a: Register,
        k: u16,
    },
    IndexQuiet {
        d: Register,
        a: Register,
        b: Register,
    },
    Property {
        d: Register,
        a: Register,
        name: u16,
    },
    IndexPath {
        d: Register,
        a: Register,
        b: Register,
    },
    HasIndex {
        d: Register,
        a: Register,
        b: Register,
    },
    SetIndex {
        a: Register,
        b: Register,
        c: Register,
    },
    SetProperty {
        a: Register,
        b: Register,
        name: u16,
    },
    AddProperty {
        a: Register,
        b: Register,
        name: u16,
    },
    Slice {
        d: Register,
        a: Register,
        base: Register,
    },
    Path {
        base: Register,
        value: Register,
        path: u16,
    },
    Item {
        d: Register,
        a: Register,
        b: Register,
        to: i32,
    },
    Rest {
        d: Register,
        a: Register,
        from: u16,
    },

    CallFunction {
        d: Register,
        base: Register,
        argc: u8,
        function: u16,
    },
    CallNative {
        d: Register,
        base: Register,
        argc: u8,
        native: u16,
    },
    /// The arguments are the parts of a text, which are lent.
    CallReading {
        d: Register,
        native: u16,
        text: u16,
    },
    CallMethod {
        d: Register,
        base: Register,
        argc: u8,
        name: u16,
    },
    /// `a` is a variable, which nothing changes until the call.
    CallLent {
        d: Register,
        base: Register,
        argc: u8,
        a: Register,
        name: u16,
    },
    CallValue {
        d: Register,
        base: Register,
        argc: u8,
    },
    CallSpread {
        d: Register,
        base: Register,
    },
    Cache {
        d: Register,
        base: Register,
        argc: u8,
    },
    Return {
        a: Register,
    },
    Function {
        d: Register,
        function: u16,
    },
    Instance {
        d: Register,
        class: u16,
    },

    Yield {
        a: Register,
    },
    IterStart {
        base: Register,
    },
    /// `key` is 255 where nobody wants it.
    IterNext {
        base: Register,
        value: Register,
        key: Register,
        to: i32,
    },

    Throw {
        a: Register,
    },
    NoMatch {
        a: Register,
    },
    Echo {
        a: Register,
    },
    BarrierEnter {
        d: Register,
        a: Register,
    },
    BarrierValue {
        d: Register,
        a: Register,
    },
    /// `slot` tells where the value of the section is; see `FunctionCode::barriers`.
    BarrierLeave {
        a: Register,
        slot: u16,
    },
}

/// A place inside of a variable, and what happens to it.
///
/// The keys of the steps are in consecutive registers from the `base` of the instruction on; `value`
/// is the new value or right operand, and gets the result where one is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) root: Variable,
    pub(crate) steps: Box<[PathStep]>,
    pub(crate) action: PathAction,
    /// Whether `value` shall hold the value of the expression afterwards.
    pub(crate) wants_result: bool,
}

/// Arguments that may be lent to one call of a native function, missing ones included.
pub(crate) const MAX_LENT: usize = 8;

/// One part of a text that is put together, or one argument that is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextPart {
    /// A register that becomes none.
    Temporary(Register),
    /// A register that stays as it is.
    Variable(Register),
    Constant(u16),
}

/// Where a variable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// In a register.
    Local(Register),
    /// In a shared variable that the register refers to.
    Cell(Register),
    /// In the variables of the program's modules.
    Global(u16),
}

/// One step into a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathStep {
    /// `[key]` and `->key`; takes one register.
    Key,
    /// `[...keys]`; takes one register.
    Keys,
    /// `[]`; takes none.
    Append,
    /// `[first:last:step]`, last only; takes three.
    Slice,
}

/// What happens at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PathAction {
    /// `=`
    Set,
    /// `op=`
    Update(BinaryOp),
    /// `++` and `--`
    Step { by: i8, is_prefix: bool },
    /// `unset`; the result is whether it was there.
    Unset,
}

/// A range of instructions that something watches while the function unwinds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handler {
    /// The first instruction of the range.
    pub(crate) start: u32,
    /// The instruction behind the range.
    pub(crate) end: u32,
    pub(crate) kind: HandlerKind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum HandlerKind {
    /// `catch`: the exception goes into the register, and on it goes at `target`.
    Catch { target: u32, a: Register },
    /// `barrier`: its value is stored and its lock given back, and the unwinding goes on.
    Barrier { a: Register, slot: u16 },
}

/// The `scope` of functions that belong to no class.
pub(crate) const NO_CLASS: u16 = u16::MAX;

/// The code of one function.
pub(crate) struct FunctionCode {
    /// Its place in the program.
    pub(crate) number: u32,
    /// Empty for anonymous functions.
    pub(crate) name: std::sync::Arc<str>,
    pub(crate) code: Vec<Op>,
    /// The code as it is run; made by [`link`].
    pub(crate) quick: Box<[crate::vm::quick::Instruction]>,
    pub(crate) constants: Vec<crate::value::Value>,
    /// Registers in use.
    pub(crate) registers: u16,
    /// Parameters without default; `$this` is not counted.
    pub(crate) min: u16,
    /// Parameters, a rest parameter aside.
    pub(crate) fixed: u16,
    pub(crate) has_rest: bool,
    /// 1 if register 0 is `$this`, behind which the parameters start.
    pub(crate) receiver: u8,
    pub(crate) is_generator: bool,
    /// The register of `$this`, or of the cell that holds it; [`Register::MAX`] if there is none.
    pub(crate) this: Register,
    /// Whether `$this` is the same all the time.
    pub(crate) keeps_this: bool,
    /// Whether a call with exactly `fixed` arguments needs no preparation of the frame.
    pub(crate) is_plain: bool,
    /// `fixed` if calls are plain, else a number that no call gives.
    pub(crate) plain_arguments: u16,
    /// The number of the class in the program, for its own functions; else [`NO_CLASS`].
    pub(crate) scope: u16,
    /// Values of the parameters with defaults, the first of them being parameter `min`.
    pub(crate) defaults: Vec<crate::value::Value>,
    /// Where the frame that makes the function value finds the captured variables.
    pub(crate) captures: Vec<Register>,
    /// The register of the first captured variable.
    pub(crate) first_capture: u8,
    /// Variables that start unset.
    pub(crate) unset: Vec<Register>,
    /// Variables that live in shared cells, made on entry.
    pub(crate) cells: Vec<Register>,
    /// The class whose private members the code may use.
    pub(crate) class: Option<std::sync::Arc<crate::value::UserClass>>,
    pub(crate) paths: Vec<Path>,
    pub(crate) texts: Vec<Box<[TextPart]>>,
    /// Inner ranges before outer ones.
    pub(crate) handlers: Vec<Handler>,
    /// Where barriers find their values.
    pub(crate) barriers: Vec<Option<Variable>>,
    /// Names of the variables, by register.
    pub(crate) names: Vec<std::sync::Arc<str>>,
    /// Places in the source, by first instruction.
    pub(crate) spans: Vec<(u32, Span)>,
}

impl FunctionCode {
    /// Returns the place of the instruction `pc`.
    pub(crate) fn span(&self, pc: u32) -> Option<Span> {
        let after = self.spans.partition_point(|(start, _)| *start <= pc);
        self.spans.get(after.checked_sub(1)?).map(|(_, span)| *span)
    }

    /// Returns the name of the variable in a register.
    pub(crate) fn variable(&self, register: Register) -> &str {
        self.names.get(usize::from(register)).map_or("", |name| name)
    }

    /// Finds out whether calls are plain; called once, when the code is complete.
    pub(crate) fn seal(&mut self, number: u16) {
        self.number = u32::from(number);
        self.is_plain = !self.is_generator
            && !self.has_rest
            && self.cells.is_empty()
            && self.unset.is_empty()
            && self.captures.is_empty();
        self.plain_arguments = if self.is_plain { self.fixed } else { u16::MAX };
    }

    /// Returns the most arguments.
    pub(crate) fn max(&self) -> usize {
        if self.has_rest { usize::MAX } else { usize::from(self.fixed) }
    }
}

/// Translates the code of all functions of a program, which calls `natives`. Calls are looked at now rather
/// than each time.
pub(crate) fn link(functions: &mut [FunctionCode], natives: &[NativeCall]) {
    let plain: Vec<u16> = functions.iter().map(|function| function.plain_arguments).collect();
    for function in functions {
        function.quick = crate::vm::quick::translate(function, &plain, natives);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_takes_eight_octets() {
        assert_eq!(size_of::<Op>(), 8);
    }
}
