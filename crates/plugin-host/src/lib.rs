//! The C door: loads native plugins and serves the functions of `HalonMTA.h` to them.
//!
//! Start at [`PluginHost`]. A program loads its plugins with [`PluginHost::load`], walks them through
//! their lives (early init, init, register, ready, reload, early cleanup, cleanup) and gives them
//! what they may use through [`Services`].
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]

mod host;
mod inject;
pub mod services;

pub use host::{CommandError, LoadError, PluginHost, PluginSpec, Program, specs};
pub use services::{
    DeliverServices, Delivery, DeliveryOutcome, DeliveryVerdict, FileContent, InjectServices,
    InsertVerdict, MessageField, MessageInfo, PickupVerdict, QueueServices, Services,
    ValueServices,
};
