//! `smtpd-suspend.yaml`: messages that stay in the queue.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::condition;
use crate::keys::{Key, Kind, VERSION, key};
use crate::node::{KeyPath, Node};
use crate::policy::Property;
use crate::read::{Cursor, Findings, Read};
use crate::startup::{self, Version};
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

/// Every key of the file.
pub(crate) const KEYS: &[Key] = &[
    VERSION,
    key(
        "suspends",
        Kind::List { of: &Kind::Map(SUSPENSION), min: 0 },
        "Any matching entry holds a message back.",
    ),
];

/// The fields of [`condition::MATCH`] beside a tag and properties.
const SUSPENSION: &[Key] = &{
    let mut keys = [key("tag", Kind::Tag, "Word shown in lists."); condition::MATCH.len() + 2];
    let mut at = 0;
    while at < condition::MATCH.len() {
        keys[at] = condition::MATCH[at];
        at += 1;
    }
    keys[at + 1] = key("properties", condition::PROPERTIES, "Free values for scripts and plugins.");
    keys
};

/// Reads a validated file.
pub(crate) fn read(root: &Arc<Node>, findings: &mut Findings) -> Read<Suspend> {
    let top = Cursor::new(root, KEYS, KeyPath::root());
    let version = startup::version(&top, findings)?;
    let mut suspends = Vec::new();
    for cursor in top.list("suspends") {
        let when = condition::when(&cursor)?;
        condition::without_rollups(&cursor, &when, findings);
        suspends.push(Suspension {
            when,
            tag: cursor.optional("tag")?,
            properties: condition::properties(&cursor)?,
        });
    }
    Ok(Suspend { version, suspends })
}
