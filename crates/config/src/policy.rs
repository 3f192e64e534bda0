//! `smtpd-policy.yaml`: pickup policies.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use crate::condition;
use crate::keys::{DURATION, Key, Kind, LARGE, VERSION, key};
use crate::node::{Entry, KeyPath, Node};
use crate::read::{Cursor, Findings, FromNode, Read, matchers};
use crate::startup::{self, Version};
use crate::value::{Field, Matcher, Rate};

/// The pickup policies, in order of evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Version of the configuration format.
    pub version: Version,
    /// How rates are counted.
    pub rate_algorithm: RateAlgorithm,
    /// Counters.
    pub policies: Vec<PolicyCounter>,
}

/// How rates are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateAlgorithm {
    /// So many in each interval, counted anew when it begins.
    FixedWindow,
    /// Tokens that flow in steadily.
    TokenBucket,
}

/// One counter; its entries are the combinations of its fields' values.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyCounter {
    /// Fields; none is one global counter. Each at most once.
    pub fields: Vec<PolicyField>,
    /// Limits for chosen values, first match wins.
    pub conditions: Vec<PolicyCondition>,
    /// Limits when no condition matches.
    pub default: Option<PolicyLimits>,
}

/// A field of a counter.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyField {
    /// Which.
    pub field: Field,
    /// Values that count as one entry `#name`, in order.
    pub rollups: IndexMap<Arc<str>, Vec<Matcher>>,
}

/// Limits for chosen values.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyCondition {
    /// Patterns by field, all of which must fit (any pattern of a field is enough).
    pub when: Vec<(Field, Vec<Matcher>)>,
    /// The limits.
    pub then: PolicyLimits,
}

/// What a condition or default sets; what it leaves out is not limited by it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyLimits {
    /// Open connections, over zero.
    pub concurrency: Option<u64>,
    /// Messages per interval, over zero.
    pub rate: Option<Rate>,
    /// Least time between connects.
    pub connectinterval: Option<Duration>,
    /// Word shown to the post-delivery hook; at most 32 characters.
    pub tag: Option<Arc<str>>,
    /// Whether later policies are not evaluated.
    pub stop: bool,
    /// Whether the limit is shared by the cluster.
    pub cluster: bool,
    /// Free values for scripts and plugins.
    pub properties: IndexMap<Arc<str>, Property>,
}

/// A free value for scripts and plugins.
#[derive(Clone, Debug, PartialEq)]
pub enum Property {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text.
    Text(Arc<str>),
}

/// Every key of the file.
pub(crate) const KEYS: &[Key] = &[
    VERSION,
    key("rate", Kind::Map(RATE), "How rates are counted."),
    key(
        "policies",
        Kind::List { of: &Kind::Map(POLICY), min: 0 },
        "Counters, in order of evaluation.",
    ),
];

const RATE: &[Key] = &[key(
    "algorithm",
    Kind::Word(&["fixedwindow", "tokenbucket"]),
    "So many in each interval, or tokens that flow in steadily.",
)
.or("fixedwindow")];

const POLICY: &[Key] = &[
    key(
        "fields",
        Kind::List { of: &Kind::Either(&[Kind::Word(FIELDS), Kind::Map(ROLLUPS)]), min: 0 },
        "Fields whose values make an entry of the counter; without them there is one entry.",
    ),
    key(
        "conditions",
        Kind::List { of: &Kind::Map(CONDITION), min: 0 },
        "Limits for chosen values, first match wins.",
    ),
    key("default", Kind::Map(LIMITS), "Limits when no condition matches."),
];

const FIELDS: &[&str] = &[
    "transportid",
    "localip",
    "remoteip",
    "remotemx",
    "recipientdomain",
    "jobid",
    "grouping",
    "tenantid",
];

const ROLLUPS: &[Key] = &[
    key(
        "transportid",
        Kind::Dict(&Kind::OneOrMany(&Kind::Matcher(Field::TransportId))),
        "Values that count as one entry.",
    ),
    key(
        "localip",
        Kind::Dict(&Kind::OneOrMany(&Kind::Matcher(Field::LocalIp))),
        "Values that count as one entry.",
    ),
    key(
        "remoteip",
        Kind::Dict(&Kind::OneOrMany(&Kind::Matcher(Field::RemoteIp))),
        "Values that count as one entry.",
    ),
    key(
        "remotemx",
        Kind::Dict(&Kind::OneOrMany(&Kind::Matcher(Field::RemoteMx))),
        "Values that count as one entry.",
    ),
    key(
        "recipientdomain",
        Kind::Dict(&Kind::OneOrMany(&Kind::Matcher(Field::RecipientDomain))),
        "Values that count as one entry.",
    ),
    key(
        "jobid",
        Kind::Dict(&Kind::OneOrMany(&Kind::Matcher(Field::JobId))),
        "Values that count as one entry.",
    ),
    key(
        "grouping",
        Kind::Dict(&Kind::OneOrMany(&Kind::Matcher(Field::Grouping))),
        "Values that count as one entry.",
    ),
    key(
        "tenantid",
        Kind::Dict(&Kind::OneOrMany(&Kind::Matcher(Field::TenantId))),
        "Values that count as one entry.",
    ),
];

const CONDITION: &[Key] = &[
    key("if", Kind::Map(condition::MATCH), "Patterns by field, all of which must fit.").required(),
    key("then", Kind::Map(LIMITS), "The limits.").required(),
];

const LIMITS: &[Key] = &[
    key("concurrency", LARGE, "Open connections; 0 is unlimited."),
    key("rate", Kind::Rate, "Messages, N per second or N/seconds; 0 is unlimited."),
    key("connectinterval", DURATION, "Least time between connects."),
    key("tag", Kind::Tag, "Word shown to the post-delivery hook."),
    key("stop", Kind::Boolean, "Whether later policies are not evaluated.").or("false"),
    key("cluster", Kind::Boolean, "Whether the limit is shared by the cluster.").or("false"),
    key("properties", condition::PROPERTIES, "Free values for scripts and plugins."),
];

/// Reads a validated file.
pub(crate) fn read(root: &Arc<Node>, findings: &mut Findings) -> Read<Policy> {
    let top = Cursor::new(root, KEYS, KeyPath::root());
    let version = startup::version(&top, findings)?;
    let mut policies = Vec::new();
    for cursor in top.list("policies") {
        policies.push(counter(&cursor, findings)?);
    }
    let rate_algorithm = top.map("rate").value("algorithm")?;
    Ok(Policy { version, rate_algorithm, policies })
}

fn counter(cursor: &Cursor<'_>, findings: &mut Findings) -> Read<PolicyCounter> {
    let fields = fields(cursor, findings)?;
    let mut conditions = Vec::new();
    for condition in cursor.list("conditions") {
        let matching = condition.map("if");
        let when = condition::when(&matching)?;
        check_condition(&matching, &when, &fields, findings);
        conditions.push(PolicyCondition { when, then: limits(&condition.map("then"))? });
    }
    let default = cursor.map("default");
    let default = if default.is_present() { Some(limits(&default)?) } else { None };
    Ok(PolicyCounter { fields, conditions, default })
}

fn fields(cursor: &Cursor<'_>, findings: &mut Findings) -> Read<Vec<PolicyField>> {
    let mut fields: Vec<PolicyField> = Vec::new();
    let at = cursor.map("fields");
    let nodes = cursor.node("fields").map_or(&[][..], |node| node.elements());
    for (index, node) in nodes.iter().enumerate() {
        let one = Cursor::new(node, ROLLUPS, at.path().index(index));
        let words: Vec<&str> = match node.text() {
            Some(word) => vec![word],
            None => node.entries().iter().map(Entry::name).collect(),
        };
        let (&[word], Some(field)) =
            (words.as_slice(), words.first().and_then(|word| Field::from_word(word)))
        else {
            findings.error(&one, "", "expected exactly one field with its roll-ups".to_owned());
            continue;
        };
        if fields.iter().any(|known| known.field == field) {
            findings.error(&one, "", format!("the field `{word}` is already there"));
        }
        let mut rollups = IndexMap::new();
        let named = one.map(word);
        for entry in one.entries(word) {
            let patterns =
                matchers(field, &entry.value).ok_or_else(|| named.mismatch(entry.name()))?;
            if let Some(pattern) = patterns.iter().find(|it| matches!(it, Matcher::Rollup(_))) {
                let message = format!("a roll-up cannot refer to another (`{pattern}`)");
                findings.error(&named, entry.name(), message);
            }
            rollups.insert(Arc::from(entry.name()), patterns);
        }
        fields.push(PolicyField { field, rollups });
    }
    Ok(fields)
}

/// A condition may name only the counter's fields, and only roll-ups that exist there.
fn check_condition(
    cursor: &Cursor<'_>,
    when: &[(Field, Vec<Matcher>)],
    fields: &[PolicyField],
    findings: &mut Findings,
) {
    for (field, patterns) in when {
        let Some(known) = fields.iter().find(|known| known.field == *field) else {
            let message = format!("`{field}` is not among the fields of this policy");
            findings.error(cursor, field.as_str(), message);
            continue;
        };
        for pattern in patterns {
            if let Matcher::Rollup(name) = pattern
                && !known.rollups.contains_key(name)
            {
                let message = format!("`{field}` has no roll-up `{name}` in this policy");
                let names = known.rollups.keys().map(AsRef::as_ref);
                findings.dangling(cursor, field.as_str(), message, name, names);
            }
        }
    }
}

fn limits(cursor: &Cursor<'_>) -> Read<PolicyLimits> {
    let concurrency: Option<u64> = cursor.optional("concurrency")?;
    let rate: Option<Rate> = cursor.optional("rate")?;
    Ok(PolicyLimits {
        concurrency: concurrency.filter(|limit| *limit > 0),
        rate: rate.filter(|rate| rate.count > 0),
        connectinterval: cursor.optional("connectinterval")?,
        tag: cursor.optional("tag")?,
        stop: cursor.value("stop")?,
        cluster: cursor.value("cluster")?,
        properties: condition::properties(cursor)?,
    })
}

impl FromNode for RateAlgorithm {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        match node.text()? {
            "fixedwindow" => Some(Self::FixedWindow),
            "tokenbucket" => Some(Self::TokenBucket),
            _ => None,
        }
    }
}
