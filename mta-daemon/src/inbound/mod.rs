//! The receiving side: sockets, hooks and the spool around the pure session of crate `smtp`.
//!
//! [`listener`] accepts, [`connection`] drives one conversation, [`receive`] takes a message from
//! its first octet to the commit point. [`facts`] is what hooks see.

pub(crate) mod connection;
pub(crate) mod content;
pub(crate) mod facts;
pub(crate) mod listener;
pub(crate) mod receive;
