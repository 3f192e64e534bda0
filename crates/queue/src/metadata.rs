//! What scripts note on a message: string keys and values, packed into one allocation.

use std::fmt;

/// String keys with string values, each key once, in the order they were given.
///
/// A million rows hold one of these, so it is one block of octets: for each pair the two lengths
/// as variable-length numbers and the two texts.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(Box<[u8]>);

impl Metadata {
    /// Tells whether nothing is noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs in order.
    #[must_use]
    pub fn iter(&self) -> Pairs<'_> {
        Pairs(&self.0)
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().value(key)
    }

    pub(crate) fn from_packed(packed: &[u8]) -> Self {
        Self(packed.into())
    }

    pub(crate) fn packed(&self) -> &[u8] {
        &self.0
    }

    /// This metadata with `changes` laid over it: keys that exist get the new value in place.
    #[must_use]
    pub fn merged<'a>(&'a self, changes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.iter().chain(changes).collect()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Metadata {
    /// Collects pairs; a key that comes twice keeps its first place and its last value.
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut unique = indexed::Pairs::default();
        for (key, value) in pairs {
            unique.set(key, value);
        }
        let mut packed = Vec::with_capacity(unique.packed_len());
        for (key, value) in unique.iter() {
            put_length(&mut packed, key.len());
            put_length(&mut packed, value.len());
            packed.extend_from_slice(key.as_bytes());
            packed.extend_from_slice(value.as_bytes());
        }
        Self(packed.into_boxed_slice())
    }
}

impl<'a> IntoIterator for &'a Metadata {
    type Item = (&'a str, &'a str);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Iterator over the pairs of a [`Metadata`].
#[derive(Clone, Debug)]
pub struct Pairs<'a>(&'a [u8]);

impl<'a> Pairs<'a> {
    pub(crate) const fn from_packed(packed: &'a [u8]) -> Self {
        Self(packed)
    }

    /// The value of `key` among the pairs that are left.
    #[must_use]
    pub fn value(mut self, key: &str) -> Option<&'a str> {
        self.find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let key = take_length(&mut self.0)?;
        let value = take_length(&mut self.0)?;
        let (key, rest) = self.0.split_at_checked(key)?;
        let (value, rest) = rest.split_at_checked(value)?;
        self.0 = rest;
        // Only whole strings are ever packed.
        Some((std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?))
    }
}

pub(crate) fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

pub(crate) fn take_length(from: &mut &[u8]) -> Option<usize> {
    let mut length = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (octet, rest) = from.split_first()?;
        *from = rest;
        length |= usize::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

/// Pairs while they are collected: in order, and found by key.
mod indexed {
    use std::collections::HashMap;

    #[derive(Default)]
    pub(super) struct Pairs<'a> {
        pairs: Vec<(&'a str, &'a str)>,
        /// Filled only when the list is long enough to make a search worth it: scripts set a few
        /// keys as a rule, but nothing stops them from setting thousands.
        places: HashMap<&'a str, usize>,
    }

    impl<'a> Pairs<'a> {
        pub(super) fn set(&mut self, key: &'a str, value: &'a str) {
            let place = if self.places.is_empty() {
                self.pairs.iter().position(|(name, _)| *name == key)
            } else {
                self.places.get(key).copied()
            };
            match place.and_then(|place| self.pairs.get_mut(place)) {
                Some(pair) => pair.1 = value,
                None => {
                    self.pairs.push((key, value));
                    if !self.places.is_empty() {
                        self.places.insert(key, self.pairs.len() - 1);
                    } else if self.pairs.len() == SHORT {
                        let numbered = self.pairs.iter().enumerate();
                        self.places = numbered.map(|(at, (name, _))| (*name, at)).collect();
                    }
                }
            }
        }

        pub(super) fn iter(&self) -> impl Iterator<Item = &(&'a str, &'a str)> {
            self.pairs.iter()
        }

        pub(super) fn packed_len(&self) -> usize {
            self.pairs.iter().map(|(key, value)| key.len() + value.len() + 2).sum()
        }
    }

    const SHORT: usize = 16;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_place_and_its_last_value() {
        let metadata: Metadata = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
        assert_eq!(metadata.get("b"), Some("2"));
        assert_eq!(metadata.get("c"), None);
        let merged = metadata.merged([("c", "4"), ("b", "")]);
        assert_eq!(merged.iter().collect::<Vec<_>>(), [("a", "3"), ("b", ""), ("c", "4")]);
    }

    proptest::proptest! {
        #[test]
        fn unpacking_gives_back_what_was_packed(
            pairs in proptest::collection::vec(("[a-z]{0,2}", "\\PC{0,200}"), 0..40),
        ) {
            let metadata: Metadata =
                pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let mut expected = Vec::<(String, String)>::new();
            for (key, value) in &pairs {
                match expected.iter_mut().find(|(name, _)| name == key) {
                    Some(pair) => pair.1.clone_from(value),
                    None => expected.push((key.clone(), value.clone())),
                }
            }
            let found: Vec<_> =
                metadata.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
