//! What the programs say of themselves: the text log and the catalogue of its events.
//!
//! Code elsewhere emits `tracing` events whose message is a constant dotted name out of [`event`],
//! with the data in fields. [`log`] turns them into lines for syslog and standard error; it is the
//! one place where the wording of a line is made. Lines of a transaction begin with its id in
//! brackets, as the reference product's do.
#![forbid(unsafe_code)]

pub mod event;
pub mod log;
