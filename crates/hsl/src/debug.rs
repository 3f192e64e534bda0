//! Debugging and profiling: functions that the compiler calls on its own where the host offers them.
//!
//! A host that registers none of them gets programs without any trace of them. The place of a call is
//! [`CallContext::location`](crate::host::CallContext::location), the functions under way are
//! [`Vm::call_stack`](crate::Vm::call_stack).

/// Called for `__debug [items]` as `__debug(array items, array variables)`: the items of the
/// statement, and the variables of the function by name, unset ones as none.
///
/// # Source
///
/// The statement that debuggers of Halon put in front of a line: `__debug ["session", "number"]`.
pub const BREAKPOINT: &str = "__debug";

/// Called before each statement, without arguments.
pub const STATEMENT: &str = "__statement";

/// Called without arguments where a statement goes on after a call and where a loop comes round: what
/// ran last may have been another line.
pub const RESUMED: &str = "__resumed";
