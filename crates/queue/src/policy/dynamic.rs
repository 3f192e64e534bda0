//! Dynamic conditions: added at run time with a time to live, lost at restart.

use std::time::Duration;

use mta_types::{Tag, Timestamp};

use crate::pattern::Pattern;
use crate::policy::{FieldSet, Limits, PerField, Properties};
use crate::window::{Algorithm, Rate};

/// A condition to be added at run time.
#[derive(Clone, Debug, Default)]
pub struct NewDynamic {
    /// Its id; generated when there is none.
    pub id: Option<Box<str>>,
    /// The counter it belongs to: one with exactly these fields must be configured.
    pub fields: FieldSet,
    /// Who made it.
    pub kind: DynamicKind,
    /// Which entries it is about; fields without a pattern match any value.
    pub matches: PerField<Pattern>,
    /// The limits it sets; those that are `None` stay as configured.
    pub then: Limits,
    /// How long it lives; `None` until it is deleted.
    pub ttl: Option<Duration>,
    /// What happens when an equal one (same counter, patterns and kind) is there.
    pub on_equal: OnEqual,
}

/// Who made a dynamic condition: `HALONMTA_POLICY_TYPE_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DynamicKind {
    /// A script, an operator, a client.
    #[default]
    Dynamic,
    /// IP warm-up: every field of the counter has a pattern.
    WarmUp,
    /// Back-off after refusals.
    BackOff,
}

/// What happens when an equal condition or suspension is already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnEqual {
    /// It gets the new limits and time to live, and keeps its id.
    #[default]
    Update,
    /// It stays as it is, and the call says so.
    Keep,
}

/// What an update of a dynamic condition changes; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct DynamicUpdate {
    /// Limit on concurrency.
    pub concurrency: Option<Option<std::num::NonZeroU32>>,
    /// Limit on the rate.
    pub rate: Option<Option<Rate>>,
    /// How the rate is measured.
    pub algorithm: Option<Algorithm>,
    /// Least time between two pickups.
    pub connectinterval: Option<Option<Duration>>,
    /// Word for the post-delivery script.
    pub tag: Option<Option<Tag>>,
    /// Whether later counters are not looked at.
    pub stop: Option<bool>,
    /// Whether the limits are for the whole cluster.
    pub cluster: Option<bool>,
    /// Free values.
    pub properties: Option<Properties>,
    /// New time to live from now; the inner `None` is until deleted.
    pub ttl: Option<Option<Duration>>,
}

/// A dynamic condition as it stands.
#[derive(Clone, Debug)]
pub struct Dynamic {
    /// Its id.
    pub id: Box<str>,
    /// The counter it belongs to.
    pub fields: FieldSet,
    /// Who made it.
    pub kind: DynamicKind,
    /// Which entries it is about.
    pub matches: PerField<Pattern>,
    /// The limits it sets.
    pub then: Limits,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// Why a dynamic condition was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DynamicError {
    /// No counter with these fields is configured.
    #[error("no policy with the fields {0:?} is configured")]
    NoCounter(FieldSet),
    /// A pattern is for a field that the counter does not have.
    #[error("the condition names a field that the policy {0:?} does not have")]
    FieldNotCounted(FieldSet),
    /// A warm-up condition leaves a field open.
    #[error("a warm-up condition must give a value for every field of {0:?}")]
    WarmUpIncomplete(FieldSet),
    /// An equal one is there and was to be kept.
    #[error("an equal condition is already there")]
    Exists,
    /// The given id belongs to another condition.
    #[error("the id is taken by another condition")]
    IdTaken,
}
