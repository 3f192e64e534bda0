//! The script entry points, one file per hook: its variables, its functions, its verdicts.
//!
//! The mechanism is the same for all: [`HookSets`] holds what scripts of each hook may call,
//! [`runner`] runs a script, and the hook's `call` turns the ending into what the conversation or the queue does next. A script
//! that fails takes the hook's error action; the table of these is in chapter *Contexts* of the
//! language reference.

pub(crate) mod auth;
pub(crate) mod connect;
pub(crate) mod disconnect;
pub(crate) mod eod;
pub(crate) mod eodrcpt;
pub(crate) mod helo;
pub(crate) mod mailfrom;
pub(crate) mod postdelivery;
pub(crate) mod predelivery;
pub(crate) mod proxy;
pub(crate) mod rcptto;
pub(crate) mod runner;
pub(crate) mod server_functions;
pub(crate) mod shared;

pub(crate) use script_host::hooks::{HookKind, HookSets, verdict};
