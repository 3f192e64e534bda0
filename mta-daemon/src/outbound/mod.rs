//! The sending side: from a row that the queue lets go to an outcome that the queue is told.
//!
//! Crate `mail-client` has what talks to other servers: [`plan`] says how a row will be delivered,
//! [`smtp`] drives the pure client session over a socket. Here [`dispatch`] runs one attempt, [`pool`]
//! keeps idle connections, [`outcome`] turns the result into retry, bounce or done, and
//! [`script_client`] is the ground of scripts' dialogues.

pub(crate) mod dispatch;
pub(crate) mod matching;
pub(crate) mod outcome;
pub(crate) mod pool;
pub(crate) mod script_client;

pub(crate) use mail_client::{plan, smtp, tls};
