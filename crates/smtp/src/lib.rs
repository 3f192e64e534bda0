//! SMTP without sockets: both sides of the conversation as machines that eat bytes and speak bytes.
//!
//! Promise: deterministic, no networking, no clock, no threads. The daemon owns the socket, the
//! timers and the hooks; the machines here own the grammar, the order of commands and the replies.
//! RFC 5321 with 1870 (SIZE), 2034 (enhanced codes), 2920 (PIPELINING), 3030 (CHUNKING), 3207
//! (STARTTLS), 3461 (DSN), 4954 (AUTH), 6152 (8BITMIME), 6531 (SMTPUTF8), 8689 (REQUIRETLS) and
//! 2033 (LMTP).
//!
//! Start with [`server::Session`] (bytes in, [`server::Event`] out, [`server::Verdict`] in, reply
//! bytes out) or [`client::Session`]. Below them, in the order of a conversation: [`proxy_header`],
//! [`mod@line`], [`command`] with [`path`] and [`parameters`], [`extensions`], [`sasl`], [`data`] and
//! [`bdat`], [`trace_header`]. Default reply texts are in [`replies`].
#![forbid(unsafe_code)]

pub mod bdat;
pub mod client;
pub mod command;
pub mod data;
pub mod extensions;
pub mod line;
pub mod parameters;
pub mod path;
pub mod proxy_header;
pub mod replies;
pub mod sasl;
pub mod server;
pub mod trace_header;
