//! Notifications to senders: [`compose`] writes the message (RFC 3464), [`notify`] queues it.

pub(crate) mod compose;
pub(crate) mod notify;
