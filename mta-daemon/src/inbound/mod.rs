//! The receiving side: sockets, hooks and the spool around the pure session of crate `smtp`.
//!
//! [`listener`] accepts, [`connection`] drives one conversation, [`receive`] takes a message from
//! its first octet to the commit point, [`in_line`] hands one on without queue. [`facts`] is what hooks see;
//! `proxy_header` is what a proxy tells of its clients.

pub(crate) mod connection;
pub(crate) mod content;
pub(crate) mod facts;
pub(crate) mod in_line;
pub(crate) mod listener;
mod proxy_header;
pub(crate) mod receive;
