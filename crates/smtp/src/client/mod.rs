//! The sending side: envelopes in, command bytes out; replies in, one outcome per recipient out.
//!
//! Start with [`Session`]. [`State`] names where a conversation stands with the words scripts use,
//! [`Outcome`] is what became of a recipient.

mod config;
mod lmtp;
mod outcome;
mod pipeline;
mod replies;
mod session;
mod state;

pub use config::{BodyType, Config, Credentials, Envelope, Protocol, Purpose, Recipient, Tls};
pub use outcome::{Answer, Failure, Outcome};
pub use replies::{ReplyError, ReplyLimits, ReplyReader};
pub use session::{Event, More, Session};
pub use state::{State, next_states};
