//! Tools for tests of the whole daemon: they play the outside world.
//!
//! [`dns_zone`] answers DNS questions from a script, [`smtp_sink`] takes mail and remembers it,
//! [`smtp_client`] speaks SMTP line by line, [`certs`] makes certificates. All of them bind to
//! port 0 on loopback, and none shares code with the engines they test.
#![forbid(unsafe_code)]

pub mod certs;
pub mod dns_zone;
pub mod smtp_client;
pub mod smtp_sink;
