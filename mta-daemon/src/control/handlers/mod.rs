//! What control commands do, one file per subject.

pub(crate) mod condition;
pub(crate) mod config;
pub(crate) mod connections;
pub(crate) mod policy;
pub(crate) mod process;
pub(crate) mod queue;
pub(crate) mod rate;
pub(crate) mod resolver;
pub(crate) mod script;
pub(crate) mod stage;
pub(crate) mod summary;
pub(crate) mod suspend;
pub(crate) mod transfer;
