//! Messages that survive the plug: an append-only, checksummed, segmented log with group commit.
//!
//! A message enters through a [`Draft`], becomes durable through [`Spool::commit`] and leaves when
//! [`Spool::end`] has closed its last row. **The commit point is the sync that covers the commit
//! record**; completions fire after it and never before. What the metadata of messages and rows
//! mean is the queue's business: the spool stores opaque octets, for which [`fields`] offers a
//! compact tagged encoding.
//!
//! Start with [`Spool`]; the byte formats and the crash-point matrix are in
//! `docs/formats/spool.md`. There is no async runtime in here: threads do the work, and a
//! [`Completion`] can be awaited as well as waited for. Disk, clock and randomness come in through
//! [`Platform`], so that [`disk::sim`] can cut the power at every operation.
#![forbid(unsafe_code)]

mod body;
mod commit;
mod compact;
mod completion;
mod config;
pub mod disk;
mod draft;
mod error;
pub mod fields;
pub mod hqf;
mod index;
mod keeper;
mod loader;
mod message;
mod platform;
mod segment;
mod shared;
#[cfg(test)]
mod simulation;
mod space;
mod spool;
mod view;

pub use body::BodyReader;
pub use completion::Completion;
pub use config::{Config, Corrupt, MinFree};
pub use draft::{Draft, SharedDraft};
pub use error::{CommitError, DraftError, OpenError, ReadError};
pub use message::{
    Body, Commit, Durability, NewRow, Recovered, RecoveredRow, StoredMessage, StoredRow,
};
pub use platform::{Clock, Event, Platform, Random, SystemClock, SystemRandom};
pub use spool::{LoadReport, Spool, Stats};
pub use view::View;
