//! smtpd: the mail transfer agent.
//!
//! A [`Daemon`] is one value: two of them can live in one process. [`Daemon::start`] brings it up in
//! the order of [`startup`], [`Daemon::stop`] takes it down in the opposite one ([`shutdown`]). The
//! walks of a mail, a control request and a plugin call are in `ARCHITECTURE.md`.
//!
//! Rooms: `inbound` receives, `hooks` runs scripts, `queue_service` drives queue and spool,
//! `outbound` delivers, `dsn` tells senders, `control` answers operators, `reload` swaps the
//! configuration, `stage` runs a second one beside it. The protocols and the queue itself are pure crates below.
#![forbid(unsafe_code)]

pub mod compatibility;
mod context;
mod control;
mod dsn;
mod fence;
mod generation;
mod hooks;
mod ids;
mod inbound;
mod outbound;
mod plugins;
mod queue_service;
mod reload;
mod script_mail;
mod services;
mod shutdown;
mod stage;
mod startup;
mod stats;
mod time;
mod unix_socket;

pub(crate) use mail_client::connections;

pub use generation::GenerationError;
pub use startup::{Daemon, Options, StartError, check};
