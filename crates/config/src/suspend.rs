//! `smtpd-suspend.yaml`: messages that stay in the queue.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::policy::Property;
use crate::startup::Version;
use crate::value::{Field, Matcher};

/// The static suspensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspend {
    /// Version of the configuration format.
    pub version: Version,
    /// Any matching entry holds a message back.
    pub suspends: Vec<Suspension>,
}

/// One suspension; without fields it suspends everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspension {
    /// Patterns by field, all of which must fit (any pattern of a field is enough).
    pub when: Vec<(Field, Vec<Matcher>)>,
    /// Word shown in lists; at most 32 characters.
    pub tag: Option<Arc<str>>,
    /// Free values for scripts and plugins.
    pub properties: IndexMap<Arc<str>, Property>,
}
