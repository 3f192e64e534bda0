//! The control socket: [`server`] reads frames, [`dispatch`] finds the handler of a command,
//! [`handlers`] answer, over a [`client`] where one frame is not enough.

pub(crate) mod client;
pub(crate) mod dispatch;
pub(crate) mod handlers;
pub(crate) mod server;
