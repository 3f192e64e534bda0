//! A message as octets with a view: header fields, MIME parts, changes.
//!
//! The original is never rewritten. [`Message`] reads what is asked for, records changes and says
//! as [`Output`] which pieces of the original and which new octets make up the changed message;
//! octets nobody touched stay exactly as they came (signatures depend on it). For everything that
//! concerns the topmost header only the header section has to be in memory.
//!
//! Start at [`Message`] for messages that exist and at [`Builder`] for new ones. No files, no
//! sockets, no clock, no randomness: times and boundaries are arguments.
//! RFC 5322, RFC 2045 to 2047, RFC 2231.
#![forbid(unsafe_code)]

pub mod address_list;
mod builder;
pub mod charset;
pub mod date;
pub mod dkim;
pub mod edit;
pub mod encoded_word;
pub mod header;
pub mod mime;
pub mod transfer_encoding;
pub mod uuencode;
mod writer;

pub use builder::Builder;
pub use edit::{EditError, HeadNeeded, Message, SnapshotId};
pub use header::{HeaderSection, LineEnding};
pub use mime::{PartId, Tree};
pub use writer::{Output, Patch, Piece, Replacement};
