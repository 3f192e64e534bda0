//! What policy, suspend and delivery files share: patterns by field, tags, free properties.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::keys::{Key, Kind, key};
use crate::node::ScalarType;
use crate::policy::Property;
use crate::read::{Cursor, Findings, Read, matchers, number};
use crate::value::{Field, Matcher};

/// Patterns by field.
pub(crate) const MATCH: &[Key] = &[
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
];

/// Free values for scripts and plugins.
pub(crate) const PROPERTIES: Kind =
    Kind::Dict(&Kind::Either(&[Kind::Boolean, Kind::Number, Kind::Text]));

/// Reads the patterns in the mapping at `cursor`, in the order of the fields.
pub(crate) fn when(cursor: &Cursor<'_>) -> Read<Vec<(Field, Vec<Matcher>)>> {
    let mut when = Vec::new();
    for (word, field) in Field::WORDS {
        if let Some(node) = cursor.node(word) {
            when.push((*field, matchers(*field, node).ok_or_else(|| cursor.mismatch(word))?));
        }
    }
    Ok(when)
}

/// Reports references to roll-ups where there are none to refer to.
pub(crate) fn without_rollups(
    cursor: &Cursor<'_>,
    when: &[(Field, Vec<Matcher>)],
    findings: &mut Findings,
) {
    for (field, patterns) in when {
        for pattern in patterns {
            if matches!(pattern, Matcher::Rollup(_)) {
                let message = format!("`{pattern}` has a meaning only in pickup policies");
                findings.error(cursor, field.as_str(), message);
            }
        }
    }
}

/// Reads `properties`.
pub(crate) fn properties(cursor: &Cursor<'_>) -> Read<IndexMap<Arc<str>, Property>> {
    let mut properties = IndexMap::new();
    for entry in cursor.entries("properties") {
        let scalar = entry.value.scalar().ok_or_else(|| cursor.mismatch("properties"))?;
        let property = match scalar.kind {
            ScalarType::Bool(flag) => Property::Bool(flag),
            ScalarType::String => Property::Text(Arc::clone(&scalar.text)),
            ScalarType::Float(_) | ScalarType::Integer(_) | ScalarType::Null => {
                Property::Number(number(scalar).ok_or_else(|| cursor.mismatch("properties"))?)
            }
        };
        properties.insert(Arc::from(entry.name()), property);
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use crate::keys::{self, Key, Row, rows};
    use crate::value::{Field, TlsMode};

    use super::*;

    fn names(keys: &[Key]) -> Vec<&str> {
        keys.iter().map(|key| key.name).collect()
    }

    fn below<'a>(rows: &'a [Row], prefix: &str) -> Vec<&'a str> {
        rows.iter()
            .filter_map(|row| row.path.strip_prefix(prefix))
            .filter(|rest| !rest.contains(['.', '[']))
            .collect()
    }

    #[test]
    fn tables_list_every_field_state_and_mode() {
        let mut fields: Vec<_> = Field::WORDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(names(MATCH), fields);
        let policy = rows(keys::POLICY);
        assert_eq!(below(&policy, "policies[].fields[]."), fields);
        assert_eq!(below(&policy, "policies[].conditions[].if."), fields);
        assert_eq!(below(&rows(keys::RUNNING), "lists."), fields);
        fields.extend(["tag", "properties"]);
        assert_eq!(below(&rows(keys::SUSPEND), "suspends[]."), fields);

        let states: Vec<_> =
            crate::delivery::SmtpState::WORDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(below(&rows(keys::DELIVERY), "delivery.default.timeout.smtp."), states);

        let modes: Vec<_> = TlsMode::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
        let running = rows(keys::RUNNING);
        let mode = running.iter().find(|row| row.path == "transportgroups[].session.tls.mode");
        let takes = mode.map(|row| row.takes.as_str()).unwrap_or_default();
        assert!(modes.iter().all(|mode| takes.contains(mode)), "{takes}");
    }

    #[test]
    fn rows_name_keys_in_full_and_inherit_what_comes_later() {
        let rows = rows(keys::STARTUP);
        let row = |path: &str| rows.iter().find(|row| row.path == path).expect("a row");
        assert_eq!(row("servers[].listeners[].port").support, keys::Support::Done);
        assert_eq!(row("environment.sockets.rated.path").support, keys::Support::Later);
        assert_eq!(row("servers[].threads.event").support, keys::Support::Ignored);
        assert_eq!(row("servers[].threads.event").default, Some("4"));
    }
}
