//! Suspensions: which rows the pickup passes over until further notice.
//!
//! A suspension matches when all its fields match, and any matching one is enough. One that names a
//! `localip` takes that source address away from the rows it matches; they go with another one when
//! they have it.

use std::time::Duration;

use mta_types::{Tag, Timestamp};

use crate::list::NamedLists;
use crate::pattern::Pattern;
use crate::policy::dynamic::OnEqual;
use crate::policy::{Field, PerField, Properties};
use crate::symbol::{Names, Symbol, Values};

/// One item of `smtpd-suspend.yaml`.
#[derive(Clone, Debug, Default)]
pub struct StaticSuspend {
    /// What must match; nothing suspends everything.
    pub matches: PerField<Pattern>,
    /// Word for lists and scripts, up to 32 characters.
    pub tag: Option<Tag>,
    /// Free values.
    pub properties: Properties,
}

/// A suspension to be added at run time; lost at restart.
#[derive(Clone, Debug, Default)]
pub struct NewSuspend {
    /// Its id; generated when there is none.
    pub id: Option<Box<str>>,
    /// What must match; nothing suspends everything.
    pub matches: PerField<Pattern>,
    /// How long; `None` until it is deleted.
    pub ttl: Option<Duration>,
    /// Word for lists and scripts, up to 32 characters.
    pub tag: Option<Tag>,
    /// Free values.
    pub properties: Properties,
    /// What happens when an equal one (same patterns) is there.
    pub on_equal: OnEqual,
}

/// Why a suspension was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuspendError {
    /// The tag has more than 32 characters.
    #[error("a suspension's tag may have at most 32 characters")]
    TagTooLong,
    /// An equal one is there and was to be kept.
    #[error("an equal suspension is already there")]
    Exists,
    /// The given id belongs to another suspension.
    #[error("the id is taken by another suspension")]
    IdTaken,
}

/// Where a suspension comes from, as lists report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// 0: the configuration.
    Static,
    /// 1: a counter whose concurrency is used up.
    Concurrency,
    /// 2: a counter whose rate or connect interval is used up.
    Rate,
    /// 3: added at run time.
    Dynamic,
}

/// A suspension as lists show it.
#[derive(Clone, Debug)]
pub struct SuspendInfo {
    /// Where it comes from.
    pub source: Source,
    /// Its id; only dynamic ones have one.
    pub id: Option<Box<str>>,
    /// What it matches, in the text form.
    pub values: PerField<Box<str>>,
    /// When it ends; `None` for static ones, those without end, and used-up concurrency.
    pub expires: Option<Timestamp>,
    /// Its word.
    pub tag: Option<Tag>,
}

/// Which suspensions a list shall show.
#[derive(Clone, Debug, Default)]
pub struct SuspendFilter {
    /// Only the one with this id.
    pub id: Option<Box<str>>,
    /// Only those whose pattern for the field is this text.
    pub values: PerField<Vec<Box<str>>>,
    /// Only those with this tag.
    pub tag: Option<Tag>,
    /// Whether the pickup's own (used-up counters) are shown: `None` and `Some(true)` say yes.
    pub pickup: Option<bool>,
}
