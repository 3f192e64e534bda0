//! Pickup policies: limits on how fast and how many at a time rows leave the active queue.
//!
//! Each [`Counter`] of the configuration counts per unique combination of its fields' values, an
//! *entry* (the manual's "virtual queue"). Conditions choose the limits of an entry: the first that
//! matches, or the counter's default. A row goes when every counter's entry lets it.
//!
//! - [`fields`] – the fields, sets of them, values by field
//! - `entry` – one entry: concurrency, rate and connect interval, and who waits for it
//! - `evaluate` – from values to entry keys and limits: roll-ups, conditions, `stop`, dynamic ones
//! - [`dynamic`] – conditions that come and go at run time

pub mod dynamic;
pub(crate) mod entry;
pub(crate) mod evaluate;
pub mod fields;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mta_types::Tag;

use crate::pattern::Pattern;
use crate::window::{Algorithm, Rate};

pub use self::fields::{Field, FieldKind, FieldSet, PerField, UnknownField};

/// `smtpd-policy.yaml`: the counters in their order.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Each counter limits on its own; the order matters only for `stop`.
    pub counters: Vec<Counter>,
}

/// One item of `policies[]`.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// Which values make an entry; none for one global entry.
    pub fields: FieldSet,
    /// Values that count as one, as `#name`; the first that matches wins.
    pub rollups: Vec<RollUp>,
    /// Tried in order, the first match wins.
    pub conditions: Vec<Condition>,
    /// When no condition matches.
    pub default: Limits,
}

/// `remotemx: {gsuite: ['*.google.com', '@gsuite']}`: all matching values count as `#gsuite`.
#[derive(Clone, Debug)]
pub struct RollUp {
    /// The field, one of the counter's.
    pub field: Field,
    /// The name, without `#`.
    pub name: Box<str>,
    /// Any of these.
    pub patterns: Vec<Pattern>,
}

/// One item of `conditions[]`.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Every field named here must match one of its patterns. A field that is not the counter's
    /// never matches.
    pub matches: PerField<Vec<Pattern>>,
    /// Limits of the entries that match.
    pub then: Limits,
}

/// What a condition, or a counter's default, says about an entry. `None` is no such limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Rows being sent at a time.
    pub concurrency: Option<NonZeroU32>,
    /// Rows picked per time.
    pub rate: Option<Rate>,
    /// How the rate is measured.
    pub algorithm: Algorithm,
    /// Least time between two pickups.
    pub connectinterval: Option<Duration>,
    /// Word shown to the post-delivery script.
    pub tag: Option<Tag>,
    /// Whether later counters are not looked at.
    pub stop: bool,
    /// Whether concurrency and rate are for the whole cluster, and so divided by its hosts.
    pub cluster: bool,
    /// Free values for scripts and plugins.
    pub properties: Properties,
}

/// Free values of a condition, in their order; shared, because rows being sent refer to them.
pub type Properties = Arc<[(Box<str>, Property)]>;

/// One free value.
#[derive(Clone, Debug, PartialEq)]
pub enum Property {
    /// A string.
    Text(Box<str>),
    /// A number.
    Number(f64),
    /// A boolean.
    Boolean(bool),
}

/// What one counter says about a row: for `$arguments["policy"]` and the policy match call.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedPolicy {
    /// The counter's fields.
    pub fields: FieldSet,
    /// The entry: the values after roll-up, by field.
    pub grouping: PerField<Arc<str>>,
    /// Dynamic conditions that matched: id and tag.
    pub dynamic: Vec<(Box<str>, Option<Tag>)>,
    /// Tags of the conditions that applied.
    pub tags: Vec<Tag>,
    /// The limits that came out.
    pub limits: Limits,
}
