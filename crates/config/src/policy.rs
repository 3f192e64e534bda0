//! `smtpd-policy.yaml`: pickup policies.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use crate::startup::Version;
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
    /// Open connections.
    pub concurrency: Option<u64>,
    /// Messages per interval.
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
