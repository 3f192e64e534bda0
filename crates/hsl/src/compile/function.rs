//! The function being compiled: its registers, constants, jumps and places.

use std::sync::Arc;

use hashbrown::HashMap;

use super::scope::Callee;
use crate::bytecode::{FunctionCode, NO_CLASS, Op, Register, Variable};
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::symbol::Symbol;
use crate::value::{Str, UserClass, Value};

/// What compiling gives.
pub(super) type Compiled<T> = Result<T, Box<Diagnostic>>;

/// Makes an error at a place.
pub(super) fn error<T>(span: Span, message: impl Into<String>) -> Compiled<T> {
    Err(Box::new(Diagnostic::error(span, message)))
}

/// Registers that variables may take; the rest is for temporaries.
pub(super) const MAX_VARIABLES: usize = 180;

/// Registers in all. The rest of the window is for missing arguments of native functions, which are
/// filled in behind the given ones.
const MAX_REGISTERS: u16 = 224;

/// A jump whose target is not known yet: the number of its instruction.
pub(super) type Patch = usize;

/// A set of registers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RegisterSet([u64; 4]);

impl RegisterSet {
    pub(super) fn insert(&mut self, register: Register) {
        self.0[usize::from(register >> 6)] |= 1 << (register & 63); // the shift leaves 0..4
    }

    pub(super) fn remove(&mut self, register: Register) {
        self.0[usize::from(register >> 6)] &= !(1 << (register & 63));
    }

    pub(super) fn contains(&self, register: Register) -> bool {
        self.0[usize::from(register >> 6)] & (1 << (register & 63)) != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }
}

/// A loop or switch being compiled.
pub(super) struct Loop {
    pub(super) breaks: Vec<Patch>,
    pub(super) continues: Vec<Patch>,
    pub(super) is_switch: bool,
    /// How many barriers were open outside of it.
    pub(super) barriers: usize,
}

/// What kind of function it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Module,
    Plain,
    Constructor,
}

/// A function under construction.
pub(super) struct FunctionState {
    pub(super) code: FunctionCode,
    pub(super) kind: Kind,
    pub(super) variables: HashMap<Symbol, Variable>,
    /// Functions and classes defined inside of it.
    pub(super) names: HashMap<Symbol, Callee>,
    /// Variables in registers that surely have a value here.
    pub(super) assigned: RegisterSet,
    /// Variables that are unset somewhere and so are always checked.
    pub(super) unsettable: RegisterSet,
    /// The register of `$this` in a constructor, which returns it.
    pub(super) this: Option<Register>,
    /// Registers below are variables.
    pub(super) locals: u16,
    /// Registers below are filled on entry: parameters and captured variables.
    pub(super) given: u16,
    /// The next free temporary.
    pub(super) next: u16,
    pub(super) loops: Vec<Loop>,
    /// Guards of the barriers around this place.
    pub(super) barriers: Vec<(Register, u16)>,
    /// The number of the class around it, for `static::`.
    pub(super) class: Option<usize>,
    constants: HashMap<ConstantKey, u16>,
}

#[derive(PartialEq, Eq, Hash)]
enum ConstantKey {
    Number(u64),
    String(Str),
}

impl FunctionState {
    pub(super) fn new(name: Arc<str>, kind: Kind, class: Option<(usize, Arc<UserClass>)>) -> Self {
        let (class, user_class) = match class {
            Some((number, class)) => (Some(number), Some(class)),
            None => (None, None),
        };
        Self {
            code: FunctionCode {
                number: 0,
                name,
                code: Vec::new(),
                quick: Box::default(),
                constants: Vec::new(),
                registers: 0,
                min: 0,
                fixed: 0,
                has_rest: false,
                receiver: 0,
                is_generator: false,
                this: Register::MAX,
                keeps_this: false,
                is_plain: false,
                plain_arguments: u16::MAX,
                scope: class.map_or(NO_CLASS, |number| number as u16), // fewer classes than functions
                defaults: Vec::new(),
                captures: Vec::new(),
                first_capture: 0,
                unset: Vec::new(),
                cells: Vec::new(),
                class: user_class,
                paths: Vec::new(),
                texts: Vec::new(),
                handlers: Vec::new(),
                barriers: Vec::new(),
                names: Vec::new(),
                spans: Vec::new(),
            },
            kind,
            variables: HashMap::new(),
            names: HashMap::new(),
            assigned: RegisterSet::default(),
            unsettable: RegisterSet::default(),
            this: None,
            locals: 0,
            given: 0,
            next: 0,
            loops: Vec::new(),
            barriers: Vec::new(),
            class,
            constants: HashMap::new(),
        }
    }

    /// Gives a variable its register.
    pub(super) fn add_local(&mut self, name: &str) -> Register {
        let register = self.locals as u8; // at most MAX_VARIABLES of them
        self.locals += 1;
        self.next = self.locals;
        self.code.names.push(name.into());
        register
    }

    /// Adds an instruction that belongs to the source at `span`.
    pub(super) fn emit(&mut self, span: Span, op: Op) -> Patch {
        let pc = self.code.code.len();
        if self.code.spans.last().is_none_or(|(_, last)| *last != span) {
            self.code.spans.push((pc as u32, span));
        }
        self.code.code.push(op);
        pc
    }

    /// Returns the number of the next instruction.
    pub(super) fn here(&self) -> usize {
        self.code.code.len()
    }

    /// Lets a jump lead to the next instruction.
    pub(super) fn patch(&mut self, patch: Patch) {
        let target = self.here();
        self.patch_to(patch, target);
    }

    pub(super) fn patch_all(&mut self, patches: Vec<Patch>) {
        for patch in patches {
            self.patch(patch);
        }
    }

    pub(super) fn patch_to(&mut self, patch: Patch, target: usize) {
        let distance = target as i64 - patch as i64 - 1;
        // Code of two thousand million instructions does not fit into the largest source file.
        let distance = i32::try_from(distance).unwrap_or(i32::MAX);
        if let Some(
            Op::Jump { to }
            | Op::Loop { to }
            | Op::CountIfLess { to, .. }
            | Op::CountIfLessK { to, .. }
            | Op::JumpIf { to, .. }
            | Op::JumpIfSome { to, .. }
            | Op::JumpLess { to, .. }
            | Op::JumpLessEqual { to, .. }
            | Op::JumpEqual { to, .. }
            | Op::JumpSame { to, .. }
            | Op::JumpIfLessK { to, .. }
            | Op::JumpUnlessLessK { to, .. }
            | Op::JumpIfLessEqualK { to, .. }
            | Op::JumpUnlessLessEqualK { to, .. }
            | Op::JumpIfGreaterK { to, .. }
            | Op::JumpUnlessGreaterK { to, .. }
            | Op::JumpIfGreaterEqualK { to, .. }
            | Op::JumpUnlessGreaterEqualK { to, .. }
            | Op::JumpIfEqualK { to, .. }
            | Op::JumpUnlessEqualK { to, .. }
            | Op::JumpIfSameK { to, .. }
            | Op::JumpUnlessSameK { to, .. }
            | Op::Item { to, .. }
            | Op::IterNext { to, .. },
        ) = self.code.code.get_mut(patch)
        {
            *to = distance;
        }
    }

    /// Takes a temporary register.
    pub(super) fn temporary(&mut self, span: Span) -> Compiled<Register> {
        if self.next >= MAX_REGISTERS {
            return error(span, "this is too complex for one expression");
        }
        let register = self.next as u8;
        self.next += 1;
        self.code.registers = self.code.registers.max(self.next);
        Ok(register)
    }

    /// Returns whether the register is a variable.
    pub(super) fn is_local(&self, register: Register) -> bool {
        u16::from(register) < self.locals
    }

    /// Returns the number of a constant.
    pub(super) fn constant(&mut self, span: Span, value: Value) -> Compiled<u16> {
        let key = match &value {
            Value::Number(number) => Some(ConstantKey::Number(number.to_bits())),
            Value::String(text) => Some(ConstantKey::String(text.clone())),
            _ => None,
        };
        if let Some(number) = key.as_ref().and_then(|key| self.constants.get(key)) {
            return Ok(*number);
        }
        let Ok(number) = u16::try_from(self.code.constants.len()) else {
            return error(span, "this function has too many constants");
        };
        self.code.constants.push(value);
        if let Some(key) = key {
            self.constants.insert(key, number);
        }
        Ok(number)
    }

    /// Loads a constant into a register.
    pub(super) fn load(&mut self, span: Span, d: Register, value: Value) -> Compiled<()> {
        let op = match value {
            Value::None => Op::None { d },
            Value::Bool(value) => Op::Bool { d, value },
            value => Op::Const { d, k: self.constant(span, value)? },
        };
        self.emit(span, op);
        Ok(())
    }

    /// Notes that a variable may be looked at before it has a value.
    pub(super) fn starts_unset(&mut self, register: Register) {
        let is_given = u16::from(register) < self.given;
        if !is_given && !self.code.unset.contains(&register) {
            self.code.unset.push(register);
        }
    }
}
