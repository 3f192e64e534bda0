//! The control socket: [`server`] reads frames, [`dispatch`] finds the handler of a command,
//! [`handlers`] answer.

pub(crate) mod dispatch;
pub(crate) mod handlers;
pub(crate) mod server;
