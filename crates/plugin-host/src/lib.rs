//! The C door: loads native plugins and serves the functions of `HalonMTA.h` to them.
//!
//! Start at [`PluginHost`]. A program loads its plugins with [`PluginHost::load`], walks them through
//! their lives (early init, init, register, ready, reload, early cleanup, cleanup) and gives them
//! what they may use through [`Services`].
//!
//! Plugins find the functions in the *executable*: the package of the program needs two lines in its
//! `build.rs`, because a library cannot pass linker arguments on:
//!
//! ```text
//! println!("cargo:rerun-if-changed=../crates/plugin-host/exports.list");
//! println!(
//!     "cargo:rustc-link-arg-bins=-Wl,--dynamic-list={}/../crates/plugin-host/exports.list",
//!     env!("CARGO_MANIFEST_DIR")
//! );
//! ```
//!
//! and its `main.rs` names this crate, if only as `use plugin_host as _;`. Nothing else of the
//! executable becomes visible to plugins.
#![expect(unsafe_code, reason = "the one crate where C comes in; every block says why it is sound")]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]

mod call;
mod calling;
mod configuration;
mod decision;
mod delivery;
mod door;
mod exports;
mod guard;
mod host;
mod initialisation;
mod inject;
mod library;
mod message;
mod object;
mod outstanding;
mod plugin;
mod register;
pub mod services;
mod table;
#[cfg(test)]
mod testing;
mod text;
mod value;
mod waits;

pub use host::{CommandError, LoadError, PluginHost, PluginSpec, Program, specs};
pub use services::{
    DeliverServices, Delivery, DeliveryOutcome, DeliveryVerdict, FileContent, InjectServices,
    InsertVerdict, MessageField, MessageInfo, PickupVerdict, QueueServices, Services,
    ValueServices,
};
pub use waits::{BLOCKING_THREADS, MAX_BLOCKING_WAITS};
