//! The Halon Scripting Language: front end, compiler, virtual machine.
//!
//! No files, no clock, no threads, no async runtime: what the language needs of the outside comes
//! through [`module::ModuleLoader`], [`host::Clock`] and [`host::Registry`].
//!
//! From text to values: [`Compiler::compile`] makes a [`Program`] against a frozen
//! [`host::HostSet`]; [`Vm::new`] prepares one execution; [`Vm::run`] goes on until the script is
//! done, waits, or has used up its fuel.
#![forbid(unsafe_code)]

pub mod ast;
mod bytecode;
pub mod cache;
mod circles;
mod compile;
pub mod debug;
pub mod diagnostic;
pub mod exception;
pub mod host;
pub mod lexer;
mod memory;
pub mod module;
pub mod ops;
pub mod parser;
pub mod print;
mod program;
pub mod shared_memory;
pub mod source;
pub mod symbol;
pub mod token;
pub mod value;
mod vm;

pub use compile::{CompileError, Compiler};
pub use program::Program;
pub use value::{Array, Class, Function, Key, Object, Resource, Str, Type, Value};
pub use vm::{ScriptError, Setup, Step, Vm};
