//! Suspensions: which rows the pickup passes over until further notice.
//!
//! A suspension matches when all its fields match, and any matching one is enough. One that names a
//! `localip` takes that source address away from the rows it matches; they go with another one when
//! they have it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use mta_types::{Tag, Timestamp};

use crate::index::PatternIndex;
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
    /// What happens when an equal one (same patterns) is there, of which only the time can change.
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
    /// Free values.
    pub properties: Properties,
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

/// All suspensions.
#[derive(Debug)]
pub(crate) struct Suspends {
    fixed: Vec<StaticSuspend>,
    index: PatternIndex<Number>,
    /// Dynamic ones in the order they were added.
    dynamics: BTreeMap<u64, DynamicSuspend>,
    ids: HashMap<Box<str>, u64>,
    expiries: BTreeSet<(Timestamp, u64)>,
    last: u64,
}

/// Which suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    Fixed(usize),
    Dynamic(u64),
}

#[derive(Debug)]
struct DynamicSuspend {
    id: Box<str>,
    matches: PerField<Pattern>,
    tag: Option<Tag>,
    properties: Properties,
    expires: Option<Timestamp>,
}

/// What suspensions leave of a sub-queue's source addresses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Usable {
    /// All of them.
    All,
    /// These, in their order.
    Some(Vec<Symbol>),
    /// The sub-queue is suspended.
    None,
}

impl Default for Suspends {
    fn default() -> Self {
        Self {
            fixed: Vec::new(),
            index: PatternIndex::new(Some(Field::LocalIp)),
            dynamics: BTreeMap::new(),
            ids: HashMap::new(),
            expiries: BTreeSet::new(),
            last: 0,
        }
    }
}

impl Suspends {
    pub(crate) fn configure(&mut self, fixed: Vec<StaticSuspend>) {
        for (at, suspend) in self.fixed.iter().enumerate() {
            self.index.remove(Number::Fixed(at), &suspend.matches);
        }
        for (at, suspend) in fixed.iter().enumerate() {
            self.index.insert(Number::Fixed(at), &suspend.matches);
        }
        self.fixed = fixed;
    }

    /// What is left of the source addresses of rows with these values.
    pub(crate) fn usable(
        &self,
        values: &Values,
        localips: &[Symbol],
        names: &Names,
        lists: &NamedLists,
    ) -> Usable {
        let matches = |field: Field, pattern: &Pattern, value: Option<Symbol>| {
            value.is_some_and(|value| {
                pattern.matches(field, names.text(value), names.address(value), lists)
            })
        };
        let mut left = None::<Vec<Symbol>>;
        let text = |field: Field| values[field.index()].map(|value| names.text(value));
        for number in self.index.candidates(text) {
            let Some(suspend) = self.matches_of(number) else { continue };
            let others = suspend.iter().all(|(field, pattern)| {
                field == Field::LocalIp || matches(field, pattern, values[field.index()])
            });
            if !others {
                continue;
            }
            let Some(pattern) = suspend.get(Field::LocalIp) else { return Usable::None };
            let is_left = |ip: &Symbol| !matches(Field::LocalIp, pattern, Some(*ip));
            match &mut left {
                Some(left) => left.retain(is_left),
                None if localips.iter().all(is_left) => continue,
                None => left = Some(localips.iter().copied().filter(is_left).collect()),
            }
            if left.as_ref().is_some_and(Vec::is_empty) {
                return Usable::None;
            }
        }
        left.map_or(Usable::All, Usable::Some)
    }

    /// Adds a suspension; returns its id, and its patterns when it was not there before.
    pub(crate) fn add(
        &mut self,
        new: NewSuspend,
        now: Timestamp,
        generate: impl FnOnce() -> Box<str>,
    ) -> Result<(Box<str>, Option<PerField<Pattern>>), SuspendError> {
        check_tag(new.tag.as_ref())?;
        let expires = new.ttl.map(|ttl| now.saturating_add(ttl));
        let equal = self.dynamics.iter().find(|(_, suspend)| {
            suspend.matches == new.matches && new.id.as_ref().is_none_or(|id| *id == suspend.id)
        });
        if let Some((number, suspend)) = equal {
            if new.on_equal == OnEqual::Keep {
                return Err(SuspendError::Exists);
            }
            let (number, id) = (*number, suspend.id.clone());
            self.set_expiry(number, expires);
            return Ok((id, None));
        }
        let id = new.id.unwrap_or_else(generate);
        if self.ids.contains_key(&id) {
            return Err(SuspendError::IdTaken);
        }
        self.last += 1;
        self.ids.insert(id.clone(), self.last);
        let matches = new.matches.clone();
        self.index.insert(Number::Dynamic(self.last), &matches);
        self.dynamics.insert(
            self.last,
            DynamicSuspend {
                id: id.clone(),
                matches: new.matches,
                tag: new.tag,
                properties: new.properties,
                expires: None,
            },
        );
        self.set_expiry(self.last, expires);
        Ok((id, Some(matches)))
    }

    pub(crate) fn update(
        &mut self,
        id: &str,
        ttl: Option<Option<Duration>>,
        tag: Option<Option<Tag>>,
        now: Timestamp,
    ) -> Result<bool, SuspendError> {
        check_tag(tag.as_ref().and_then(Option::as_ref))?;
        let Some(number) = self.ids.get(id).copied() else { return Ok(false) };
        if let Some(ttl) = ttl {
            self.set_expiry(number, ttl.map(|ttl| now.saturating_add(ttl)));
        }
        if let (Some(tag), Some(suspend)) = (tag, self.dynamics.get_mut(&number)) {
            suspend.tag = tag;
        }
        Ok(true)
    }

    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let Some(number) = self.ids.get(id).copied() else { return false };
        self.remove_number(number);
        true
    }

    /// Ends the suspensions whose time is over; tells whether there were any.
    pub(crate) fn expire(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        while let Some((_, number)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            self.remove_number(number);
            any = true;
        }
        any
    }

    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    pub(crate) fn dynamics_len(&self) -> usize {
        self.dynamics.len()
    }

    /// The configured and the dynamic ones.
    pub(crate) fn infos(&self) -> impl Iterator<Item = SuspendInfo> {
        let texts = |matches: &PerField<Pattern>| {
            matches.iter().map(|(field, pattern)| (field, pattern.as_str().into())).collect()
        };
        let fixed = self.fixed.iter().map(move |suspend| SuspendInfo {
            source: Source::Static,
            id: None,
            values: texts(&suspend.matches),
            expires: None,
            tag: suspend.tag.clone(),
            properties: Properties::clone(&suspend.properties),
        });
        let dynamics = self.dynamics.values().map(move |suspend| SuspendInfo {
            source: Source::Dynamic,
            id: Some(suspend.id.clone()),
            values: texts(&suspend.matches),
            expires: suspend.expires,
            tag: suspend.tag.clone(),
            properties: Properties::clone(&suspend.properties),
        });
        fixed.chain(dynamics)
    }

    fn matches_of(&self, number: Number) -> Option<&PerField<Pattern>> {
        match number {
            Number::Fixed(at) => self.fixed.get(at).map(|suspend| &suspend.matches),
            Number::Dynamic(number) => self.dynamics.get(&number).map(|suspend| &suspend.matches),
        }
    }

    fn remove_number(&mut self, number: u64) {
        self.set_expiry(number, None);
        if let Some(suspend) = self.dynamics.remove(&number) {
            self.ids.remove(&suspend.id);
            self.index.remove(Number::Dynamic(number), &suspend.matches);
        }
    }

    fn set_expiry(&mut self, number: u64, expires: Option<Timestamp>) {
        let Some(suspend) = self.dynamics.get_mut(&number) else { return };
        if let Some(before) = suspend.expires {
            self.expiries.remove(&(before, number));
        }
        suspend.expires = expires;
        if let Some(expires) = expires {
            self.expiries.insert((expires, number));
        }
    }
}

impl SuspendFilter {
    /// Tells whether the list shall show this one.
    #[must_use]
    pub fn passes(&self, info: &SuspendInfo) -> bool {
        let internal = matches!(info.source, Source::Concurrency | Source::Rate);
        self.id.as_ref().is_none_or(|id| info.id.as_ref() == Some(id))
            && self.tag.as_ref().is_none_or(|tag| info.tag.as_ref() == Some(tag))
            && !(internal && self.pickup == Some(false))
            && self.values.iter().all(|(field, wanted)| {
                wanted.is_empty() || info.values.get(field).is_some_and(|v| wanted.contains(v))
            })
    }
}

/// Tells whether a pattern set is about rows with these values, whatever their source address.
pub(crate) fn concerns(
    matches: &PerField<Pattern>,
    values: &Values,
    names: &Names,
    lists: &NamedLists,
) -> bool {
    matches.iter().all(|(field, pattern)| {
        field == Field::LocalIp
            || values[field.index()].is_some_and(|value| {
                pattern.matches(field, names.text(value), names.address(value), lists)
            })
    })
}

fn check_tag(tag: Option<&Tag>) -> Result<(), SuspendError> {
    match tag {
        Some(tag) if tag.as_str().chars().count() > MAX_TAG => Err(SuspendError::TagTooLong),
        _ => Ok(()),
    }
}

/// Characters that a suspension's tag may have (manual, *config_suspend*).
const MAX_TAG: usize = 32;
