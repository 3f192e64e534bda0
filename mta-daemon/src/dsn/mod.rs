//! Notifications to senders: [`compose`] writes the message (RFC 3464), [`notify`] queues it,
//! [`options`] is what scripts say about it.

pub(crate) mod compose;
pub(crate) mod notify;
pub(crate) mod options;
