//! Calls under way: of script functions, and of native functions that wait for one.

use crate::bytecode::Register;
use crate::host::Continuation;
use crate::value::{Class, Object};

/// A script function under way. Its registers start at `base` of the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Number of the program in the environment's list.
    pub(super) unit: u32,
    /// Number of the function in the program.
    pub(super) function: u32,
    /// The next instruction.
    pub(super) pc: u32,
    pub(super) base: u32,
    /// Where on the stack the value goes.
    pub(super) result: u32,
    pub(super) back: Back,
    /// The register of the caller whose object is `$this` here meanwhile, or [`NOT_LENT`].
    pub(super) lent: Register,
}

/// No register has lent its object.
pub(super) const NOT_LENT: Register = Register::MAX;

/// Who gets the value of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// The host: this is the entry of the program.
    Entry,
    /// The script function below.
    Caller,
    /// The native function on top of the list of native calls.
    Native,
    /// The `foreach` below: this is a generator.
    Generator,
}

/// A native function that waits for a call or a future.
pub(super) struct NativeFrame {
    pub(super) then: Box<dyn Continuation>,
    /// Who gets the value of the native function.
    pub(super) target: Target,
    pub(super) this: Option<Object>,
    pub(super) class: Option<Class>,
    /// Arguments of the script function it calls, if the call may be repeated in the same frame.
    pub(super) repeats: Option<u8>,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To this place of the stack.
    Stack(usize),
    /// To the native function on top of the list of native calls.
    Native,
}
