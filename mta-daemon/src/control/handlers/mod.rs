//! What control commands do, one file per subject.

pub(crate) mod condition;
pub(crate) mod config;
pub(crate) mod process;
pub(crate) mod queue;
