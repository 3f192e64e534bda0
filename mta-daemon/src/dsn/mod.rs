//! Notifications to senders: [`compose`] writes the message (RFC 3464), [`notify`] queues it;
//! [`dsn_options`](script_host::hooks::dsn_options) is what scripts say about it.

pub(crate) mod compose;
pub(crate) mod notify;
