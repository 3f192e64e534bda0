//! `HalonMTA.h` in Rust: handles, constants and signatures; and the streams in which C gets content.
//!
//! The header in `include/` is what plugins are compiled against; this crate says the same to the
//! host. `tests/header.rs` compiles the header as C and C++ and compares every constant and every
//! prototype with the tables here, in both directions. Numbers and prototypes are frozen: new needs
//! get new names, appended.
//!
//! Start at [`for_each_function`]: the one table of everything the host exports.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod constants;
pub mod signatures;
pub mod stdio;
pub mod types;

pub use types::*;
