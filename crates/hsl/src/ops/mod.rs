//! Conversions and operators of the manual, each written once.
//!
//! The compiler folds constants with the functions the machine runs, so both agree. Errors are
//! builtin errors without a place; whoever calls knows it. Nothing here recurses with the depth of a
//! value.

mod arithmetic;
mod convert;
mod format;
mod index;
mod slice;

pub use arithmetic::{BinaryFn, less};
pub use convert::{
    MAX_DUMP, checked_text, dump, dump_within, loose_equal, strict_equal, to_number, to_text,
    write_text,
};
pub(crate) use format::format;
pub use slice::{Bounds, slice};

pub(crate) use arithmetic::*;
pub(crate) use index::{Writer, check_write, contains, element, is_own_class, is_private, member};
pub(crate) use slice::{remove_slice, replace_slice};
