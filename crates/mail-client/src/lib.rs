//! Talking to other mail servers: settings, addresses, TLS, sessions over sockets, and the dialogues of
//! scripts.
//!
//! [`plan`] says how a message is delivered and [`options`] what a script changes about that; [`targets`]
//! asks the DNS where to, [`tls`] decides how it is encrypted, [`smtp`] drives the pure session of crate
//! `smtp` over a socket. What came of it is an [`attempt::Attempt`], which scripts see as [`values`].
//! [`script_client`] is `send` and the lookups, for every program that runs scripts.
#![forbid(unsafe_code)]

pub mod attempt;
pub mod connect;
pub mod connections;
pub mod count;
pub mod options;
pub mod plan;
pub mod script_client;
pub mod smtp;
pub mod targets;
pub mod tls;
pub mod values;
pub mod world;
