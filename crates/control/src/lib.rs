//! The control protocol, both ends, without sockets.
//!
//! A client connects, says which version it speaks, then sends commands: a letter, and for some a
//! protobuf message. Each is answered by one message or one error text.
//!
//! * [`pb`]: the messages, generated from `proto/*.proto`.
//! * [`command`]: **the** table: letter, name, request, response, which programs answer.
//! * [`frame`]: octets to requests and answers, and back; for servers and clients.
//! * [`json`]: messages as JSON, with the protobuf names.
//! * [`condition`]: the filter of list, group-by, update and unload, from texts such as `>3600`.
//! * [`stats`]: statistics as dotted names and OpenMetrics.
//! * `client` (feature `client`): connect and call, blocking.
//!
//! This room holds no daemon state and answers nothing itself: the daemon's handlers do. The octets
//! are described in `docs/protocol/control.md`.
#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
pub mod command;
pub mod condition;
pub mod frame;
pub mod json;
pub mod stats;
#[expect(missing_docs, reason = "generated; the fields are described in proto/*.proto")]
pub mod pb {
    //! The messages of the control protocol, package `smtpd`.
    include!(concat!(env!("OUT_DIR"), "/smtpd.rs"));
}

pub use prost::Message;
