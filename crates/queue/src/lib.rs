//! The queue as a pure machine: rows, their states, and what may be delivered when.
//!
//! No I/O, no clock (time is an argument, wall clock), no threads. The daemon keeps one [`Queue`]
//! behind a short lock, tells it what happened and persists the [`QueueChange`]s it hands out.
//!
//! The way of a row: [`Queue::insert`] → DEFER until its time → [`Queue::due`] takes it to hook and
//! DNS (UNKNOWN) → [`Queue::activate`] files it in ACTIVE under its policy fields →
//! [`Queue::next`] lets it go (SENDING) → [`Queue::finish`] ends it or puts it off.
//!
//! - [`state`] – where a row stands, and the table of moves
//! - [`message`], [`metadata`] – what is known of a row; `table` – the rows and their index
//! - [`machine`] – [`Queue`] itself; [`pickup`] – the decision what goes next
//! - `active` – sub-queues; `defer` – by due time
//! - [`policy`], [`window`], [`suspend`], [`list`], [`pattern`] – what stops a row; `rules` – how
//!   [`Queue`] takes their changes; `index` – which of thousands can match
//! - [`grouping`] – sets of remote hosts that policies treat alike
//! - [`retry`] – when a failed message is tried again; [`change`] – what must be persisted
//! - [`condition`], [`listing`], [`update`], [`summary`] – what operators do to many rows
//! - [`quota`], [`stats`] – numbers; `symbol`, `ring` – shared names, lists with constant-time exit
//!
//! Start with [`machine`].
#![forbid(unsafe_code)]

mod active;
pub mod change;
pub mod condition;
mod defer;
pub mod grouping;
mod index;
pub mod list;
pub mod listing;
pub mod machine;
pub mod message;
pub mod metadata;
pub mod network;
pub mod pattern;
pub mod pickup;
pub mod policy;
pub mod quota;
pub mod retry;
mod ring;
mod rules;
pub mod state;
pub mod stats;
pub mod summary;
pub mod suspend;
mod symbol;
mod table;
pub mod update;
pub mod view;
pub mod window;

pub use self::change::{End, QueueChange, Rewrite};
pub use self::condition::Condition;
pub use self::grouping::Groupings;
pub use self::list::NamedLists;
pub use self::machine::{Outcome, Queue, QueueError, Requeue, RetryCount, Route, Settings};
pub use self::message::{
    DsnNotify, DsnReturn, NewMessage, Placement, Priority, QueuedMessage, Transaction,
    TransactionParts,
};
pub use self::metadata::Metadata;
pub use self::network::IpNet;
pub use self::pattern::Pattern;
pub use self::pickup::{Pick, Pickup};
pub use self::policy::{Field, FieldSet, PerField, Policies};
pub use self::state::State;
pub use self::stats::Stats;
pub use self::view::MessageView;
