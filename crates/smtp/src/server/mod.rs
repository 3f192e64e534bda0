//! The receiving side: bytes in, events out; verdicts in, reply bytes out.
//!
//! Start with [`Session`]. [`Event`] lists what the driver is told and what it must answer,
//! [`State`] is the table of which command is legal when, [`Config`] what a server is set to.
//!
//! ```
//! use std::sync::Arc;
//! use smtp::server::{Config, Event, Security, Session, Verdict};
//!
//! let mut session = Session::new(Arc::new(Config::default()), Security::Clear);
//! session.greet(Verdict::accept());
//! let mut input: &[u8] = b"HELO client.example\r\nMAIL FROM:<a@example.com>\r\n";
//! loop {
//!     let step = session.receive(input);
//!     input = &input[step.consumed..];
//!     match step.event {
//!         None => break, // write the output, read more
//!         Some(Event::Mail(mail)) if mail.address.domain() == "example.com" => {
//!             session.answer(Verdict::reject().with_text("Not from you"));
//!         }
//!         Some(_) => session.answer(Verdict::accept()),
//!     }
//! }
//! let replies = "220 localhost\r\n250 localhost\r\n554 5.7.1 Not from you\r\n";
//! assert_eq!(session.output(), replies.as_bytes());
//! session.advance_output(replies.len());
//! ```

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
