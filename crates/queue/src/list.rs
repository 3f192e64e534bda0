//! Named lists: the `@list` that policies and suspensions refer to, one name space per field.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::pattern::{Pattern, PatternError};
use crate::policy::{Field, FieldKind};

/// All named lists. Replaced as a whole when something changed; a clone shares what it holds until
/// one of the two is changed.
#[derive(Clone, Debug, Default)]
pub struct NamedLists(Arc<HashMap<Field, HashMap<Box<str>, List>>>);

/// The values of one list. Plain values and `*.domain` cost one look-up however long the list is;
/// networks and regular expressions are tried one by one.
#[derive(Clone, Debug, Default)]
struct List {
    /// Plain values; in lower case for domain fields.
    exact: HashSet<Box<str>>,
    /// What stands behind `*.`, in lower case.
    below: HashSet<Box<str>>,
    addresses: HashSet<IpAddr>,
    others: Vec<Pattern>,
}

impl NamedLists {
    /// Makes `name` (without `@`) an empty list for `field`, unless it is there.
    pub fn add_list(&mut self, field: Field, name: &str) {
        self.field(field).entry(name.into()).or_default();
    }

    /// Adds a value or pattern to the list `name`, which is made when it is not there.
    ///
    /// # Errors
    ///
    /// [`PatternError`] as for [`Pattern::parse`], and for a list within a list.
    pub fn add(&mut self, field: Field, name: &str, value: &str) -> Result<(), PatternError> {
        if value.starts_with('@') {
            return Err(PatternError {
                field,
                text: value.to_owned(),
                why: "a list cannot hold a list".to_owned(),
            });
        }
        let pattern = Pattern::parse(field, value)?;
        let list = self.field(field).entry(name.into()).or_default();
        match Place::of(field, value) {
            Place::Exact(value) => drop(list.exact.insert(value)),
            Place::Below(domain) => drop(list.below.insert(domain)),
            Place::Address(address) => drop(list.addresses.insert(address)),
            Place::Other => {
                if !list.others.contains(&pattern) {
                    list.others.push(pattern);
                }
            }
        }
        Ok(())
    }

    /// Takes a value out of the list `name`; tells whether it was there.
    pub fn remove(&mut self, field: Field, name: &str, value: &str) -> bool {
        let Some(list) = Arc::make_mut(&mut self.0).get_mut(&field).and_then(|l| l.get_mut(name))
        else {
            return false;
        };
        match Place::of(field, value) {
            Place::Exact(value) => list.exact.remove(&value),
            Place::Below(domain) => list.below.remove(&domain),
            Place::Address(address) => list.addresses.remove(&address),
            Place::Other => {
                let before = list.others.len();
                list.others.retain(|pattern| pattern.as_str() != value);
                list.others.len() < before
            }
        }
    }

    /// Tells whether there is such a list; a reference to one that is not there matches nothing.
    #[must_use]
    pub fn has_list(&self, field: Field, name: &str) -> bool {
        self.0.get(&field).is_some_and(|lists| lists.contains_key(name))
    }

    fn field(&mut self, field: Field) -> &mut HashMap<Box<str>, List> {
        Arc::make_mut(&mut self.0).entry(field).or_default()
    }

    pub(crate) fn contains(
        &self,
        field: Field,
        name: &str,
        value: &str,
        address: Option<IpAddr>,
    ) -> bool {
        let Some(list) = self.0.get(&field).and_then(|lists| lists.get(name)) else {
            return false;
        };
        if address.is_some_and(|address| list.addresses.contains(&address)) {
            return true;
        }
        if field.kind() == FieldKind::Domain {
            let lower = value.to_ascii_lowercase();
            if list.exact.contains(lower.as_str()) {
                return true;
            }
            let mut rest = lower.as_str();
            while let Some((label, domain)) = rest.split_once('.') {
                if (!label.is_empty() || rest.len() < lower.len()) && list.below.contains(domain) {
                    return true;
                }
                rest = domain;
            }
        } else if list.exact.contains(value) {
            return true;
        }
        list.others.iter().any(|pattern| pattern.matches(field, value, address, self))
    }
}

/// Where a list keeps a value.
enum Place {
    Exact(Box<str>),
    Below(Box<str>),
    Address(IpAddr),
    Other,
}

impl Place {
    fn of(field: Field, value: &str) -> Self {
        if value.starts_with('/') {
            return Self::Other;
        }
        match field.kind() {
            FieldKind::Text => Self::Exact(value.into()),
            FieldKind::Domain => match value.strip_prefix("*.") {
                Some(domain) => Self::Below(domain.to_ascii_lowercase().into()),
                None => Self::Exact(value.to_ascii_lowercase().into()),
            },
            FieldKind::Address => value.parse().map_or(Self::Other, Self::Address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(lists: &NamedLists, field: Field, value: &str) -> bool {
        lists.contains(field, "l", value, value.parse().ok())
    }

    #[test]
    fn a_list_holds_values_wildcards_networks_and_expressions() {
        let mut lists = NamedLists::default();
        for value in ["Example.org", "*.google.com", "/^mx[0-9]\\./"] {
            lists.add(Field::RemoteMx, "l", value).unwrap();
        }
        for value in ["192.0.2.1", "198.51.100.0/24"] {
            lists.add(Field::LocalIp, "l", value).unwrap();
        }
        for value in ["example.ORG", "a.b.google.com", "mx1.example.net"] {
            assert!(has(&lists, Field::RemoteMx, value), "{value}");
        }
        for value in ["google.com", "x.example.org", "mxx.example.net", ".google.com"] {
            assert!(!has(&lists, Field::RemoteMx, value), "{value}");
        }
        assert!(has(&lists, Field::LocalIp, "192.0.2.1"));
        assert!(has(&lists, Field::LocalIp, "198.51.100.77"));
        assert!(!has(&lists, Field::LocalIp, "192.0.2.2"));
        assert!(!has(&lists, Field::RemoteIp, "192.0.2.1"), "lists belong to their field");
    }

    #[test]
    fn what_was_added_can_be_removed() {
        let mut lists = NamedLists::default();
        for value in ["a.example", "*.b.example", "/c/"] {
            lists.add(Field::RecipientDomain, "l", value).unwrap();
            assert!(lists.remove(Field::RecipientDomain, "l", value), "{value}");
            assert!(!lists.remove(Field::RecipientDomain, "l", value), "{value}");
        }
        assert!(lists.has_list(Field::RecipientDomain, "l"));
        assert!(lists.add(Field::RecipientDomain, "l", "@l").is_err());
    }
}
