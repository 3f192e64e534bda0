//! What the programs that run scripts have in common: where scripts' files are, native plugins, a
//! resolver for the standard library, dropping privileges, breakpoints, the functions that ask a server,
//! and what the hooks' scripts may name.
//!
//! Programs know no other program, and adapters know little of each other: what joins several
//! adapters and is wanted by more than one program is here.
#![forbid(unsafe_code)]

pub mod debugging;
mod files;
pub mod hooks;
pub mod plugin_schema;
pub mod plugins;
pub mod privileges;
mod resolver;
pub mod server;
mod words;

pub use files::{script_files, with_plugin_blocks};
pub use resolver::ask;
pub use words::{HOOKS, HookWords};
