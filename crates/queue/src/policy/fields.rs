//! The fields that policies, suspensions and delivery settings look at, and sets of them.
//!
//! A new field starts here: the compiler's exhaustiveness check leads through the rest.

use std::fmt;
use std::str::FromStr;

/// One field that policies may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Field {
    /// Way out; known when queued.
    TransportId,
    /// Source address; known after pre-delivery, one of several candidates.
    LocalIp,
    /// Destination address; known after DNS.
    RemoteIp,
    /// Destination host; known after DNS.
    RemoteMx,
    /// Domain of the recipient; known when queued.
    RecipientDomain,
    /// Correlation given by a script; known when queued.
    JobId,
    /// Set of remote hosts, written with a leading `&`; known after DNS.
    Grouping,
    /// Tenant given by a script; known when queued.
    TenantId,
}

impl Field {
    /// Every field, in the order of the protocol's numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::TransportId,
        Self::LocalIp,
        Self::RemoteIp,
        Self::RemoteMx,
        Self::RecipientDomain,
        Self::JobId,
        Self::Grouping,
        Self::TenantId,
    ];

    /// How many fields there are.
    pub const COUNT: usize = 8;

    /// The configuration's word for the field.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TransportId => "transportid",
            Self::LocalIp => "localip",
            Self::RemoteIp => "remoteip",
            Self::RemoteMx => "remotemx",
            Self::RecipientDomain => "recipientdomain",
            Self::JobId => "jobid",
            Self::Grouping => "grouping",
            Self::TenantId => "tenantid",
        }
    }

    /// What kind of values the field has, and so which patterns it understands.
    #[must_use]
    pub const fn kind(self) -> FieldKind {
        match self {
            Self::LocalIp | Self::RemoteIp => FieldKind::Address,
            Self::RemoteMx | Self::RecipientDomain => FieldKind::Domain,
            Self::TransportId | Self::JobId | Self::Grouping | Self::TenantId => FieldKind::Text,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        Self::ALL
            .into_iter()
            .find(|field| field.name() == text)
            .ok_or_else(|| UnknownField(text.to_owned()))
    }
}

/// What a field's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Any text, compared octet by octet.
    Text,
    /// A domain, compared without regard to ASCII case; `*.` in front is a wildcard.
    Domain,
    /// An IP address; patterns may be networks.
    Address,
}

/// A set of fields.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldSet(u8);

impl FieldSet {
    /// No field at all.
    pub const EMPTY: Self = Self(0);

    /// Tells whether `field` is in the set.
    #[must_use]
    pub const fn contains(self, field: Field) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// The set with `field` added.
    #[must_use]
    pub const fn with(self, field: Field) -> Self {
        Self(self.0 | 1 << field as u8)
    }

    /// Tells whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields of the set, in the order of [`Field::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(move |field| self.contains(*field))
    }
}

impl FromIterator<Field> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        fields.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Field::name)).finish()
    }
}

/// One value, or none, for each field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PerField<T>([Option<T>; Field::COUNT]);

impl<T> PerField<T> {
    /// The value of `field`.
    #[must_use]
    pub const fn get(&self, field: Field) -> Option<&T> {
        self.0[field.index()].as_ref()
    }

    /// Sets the value of `field`.
    pub fn set(&mut self, field: Field, value: Option<T>) {
        self.0[field.index()] = value;
    }

    /// As [`PerField::set`], for building in one expression.
    #[must_use]
    pub fn with(mut self, field: Field, value: T) -> Self {
        self.set(field, Some(value));
        self
    }

    /// The fields that have a value, with it.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &T)> {
        Field::ALL.into_iter().zip(&self.0).filter_map(|(f, value)| Some((f, value.as_ref()?)))
    }

    /// Which fields have a value.
    #[must_use]
    pub fn fields(&self) -> FieldSet {
        self.iter().map(|(field, _)| field).collect()
    }
}

impl<T> Default for PerField<T> {
    fn default() -> Self {
        Self([const { None }; Field::COUNT])
    }
}

impl<T> FromIterator<(Field, T)> for PerField<T> {
    fn from_iter<I: IntoIterator<Item = (Field, T)>>(values: I) -> Self {
        let mut all = Self::default();
        for (field, value) in values {
            all.set(field, Some(value));
        }
        all
    }
}

/// The text names no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField(
    /// The text that was given.
    pub String,
);

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no policy field", self.0)
    }
}

impl std::error::Error for UnknownField {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_fields() {
        for (index, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field.name().parse(), Ok(field));
            assert_eq!(field.index(), index);
        }
        assert_eq!("subject".parse::<Field>(), Err(UnknownField("subject".to_owned())));
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set: FieldSet = [Field::LocalIp, Field::JobId].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Field::LocalIp, Field::JobId]);
        assert!(!set.contains(Field::TenantId));
        assert!(FieldSet::EMPTY.is_empty() && !set.is_empty());
    }
}
