//! The Halon Scripting Language.
#![forbid(unsafe_code)]

pub mod ast;
pub mod diagnostic;
pub mod lexer;
pub mod parser;
pub mod print;
pub mod source;
pub mod symbol;
pub mod token;
