//! A message with changes on record.
//!
//! [`Message`] answers from the original, always; changes are kept beside it ([`state`]) and turned
//! into patches when the message is written ([`render`]). A snapshot is a reference to a state, so
//! it costs nothing until something changes.

mod header_state;
mod message;
mod parts;
mod render;
mod state;

pub use message::{EditError, HeadNeeded, Message, SnapshotId};
