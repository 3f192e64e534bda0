//! The Halon Scripting Language.
#![forbid(unsafe_code)]

pub mod ast;
pub mod diagnostic;
pub mod source;
pub mod symbol;
