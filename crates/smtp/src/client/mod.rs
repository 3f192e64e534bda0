//! The sending side: envelopes in, command bytes out; replies in, one outcome per recipient out.
//!
//! Start with [`Session`]. [`State`] names where a conversation stands with the words scripts use,
//! [`Outcome`] is what became of a recipient.

mod outcome;
mod replies;
mod session;
mod state;

pub use outcome::{Answer, Failure, Outcome};
pub use replies::{ReplyError, ReplyLimits};
pub use session::{
    BodyType, Config, Credentials, Envelope, Event, More, Protocol, Recipient, Session, Tls,
};
pub use state::State;
