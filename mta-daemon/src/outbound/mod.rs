//! The sending side: from a row that the queue lets go to an outcome that the queue is told.
//!
//! [`plan`] says how a row will be delivered, [`dispatch`] runs one attempt, [`smtp`] drives the
//! pure client session over a socket, [`pool`] keeps idle connections, [`outcome`] turns the result
//! into retry, bounce or done.

pub(crate) mod dispatch;
pub(crate) mod matching;
pub(crate) mod outcome;
pub(crate) mod plan;
pub(crate) mod pool;
pub(crate) mod script_client;
pub(crate) mod smtp;
pub(crate) mod tls;
