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
    )
    .later(),
];

/// The fields of [`condition::MATCH`] beside a tag and properties.
const SUSPENSION: &[Key] = &[
    key("transportid", Kind::OneOrMany(&Kind::Matcher(Field::TransportId)), "Id of the transport."),
    key("localip", Kind::OneOrMany(&Kind::Matcher(Field::LocalIp)), "Local address."),
    key("remoteip", Kind::OneOrMany(&Kind::Matcher(Field::RemoteIp)), "Address of the next hop."),
    key("remotemx", Kind::OneOrMany(&Kind::Matcher(Field::RemoteMx)), "Name of the next hop."),
    key(
        "recipientdomain",
        Kind::OneOrMany(&Kind::Matcher(Field::RecipientDomain)),
        "Domain of the recipient.",
    ),
    key(
        "jobid",
        Kind::OneOrMany(&Kind::Matcher(Field::JobId)),
        "Correlation id given by the script.",
    ),
    key(
        "grouping",
        Kind::OneOrMany(&Kind::Matcher(Field::Grouping)),
        "Grouping of the destination.",
    ),
    key(
        "tenantid",
        Kind::OneOrMany(&Kind::Matcher(Field::TenantId)),
        "Tenant given by the script.",
    ),
    key("tag", Kind::Tag, "Word shown in lists."),
    key("properties", condition::PROPERTIES, "Free values for scripts and plugins."),
];

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
