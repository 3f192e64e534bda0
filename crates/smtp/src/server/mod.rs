//! The receiving side: bytes in, events out; verdicts in, reply bytes out.
//!
//! Start with [`Session`]. [`Event`] lists what the driver is told and what it must answer,
//! [`State`] is the table of which command is legal when, [`Config`] what a server is set to.

mod commands;
mod config;
mod content;
mod dialogue;
mod event;
mod session;
mod state;
mod timer;
mod verdict;

pub use config::{Config, Limits, LineEndings, Protocol, Security};
pub use event::{
    Auth, AuthResponse, BodyRefusal, CloseReason, EndOfData, Event, Hello, HelloVerb, Mail, Rcpt,
    Transfer,
};
pub use session::{Session, Step};
pub use state::{State, next_state};
pub use timer::Timer;
pub use verdict::{AuthAnswer, Decision, ProxyAnswer, ReplyParts, Verdict};
