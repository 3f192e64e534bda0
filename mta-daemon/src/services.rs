//! What the standard library of the language needs of the daemon: its resolver, its log.

use std::sync::{Arc, OnceLock, Weak};

use crate::context::Core;

/// The daemon as scripts' functions reach it; filled once the daemon is there.
pub(crate) type CoreSlot = Arc<OnceLock<Weak<Core>>>;
