//! Which of many pattern sets can be about some values, without asking each of them.
//!
//! Suspensions and dynamic conditions come in thousands (back-off and warm-up add one for each
//! destination), and almost all of them name a plain value. Each set is filed under one such value;
//! the few that have none are asked every time.

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use crate::pattern::Pattern;
use crate::policy::{Field, PerField};

/// Pattern sets by number.
#[derive(Debug)]
pub(crate) struct PatternIndex<N> {
    plain: HashMap<(Field, Box<str>), BTreeSet<N>>,
    others: BTreeSet<N>,
    /// A field of which rows have several values, so that nothing is filed under one of them.
    several: Option<Field>,
}

impl<N: Copy + Ord> PatternIndex<N> {
    pub(crate) fn new(several: Option<Field>) -> Self {
        Self { plain: HashMap::new(), others: BTreeSet::new(), several }
    }

    /// Files a set under that of its plain values under which the fewest are filed.
    pub(crate) fn insert(&mut self, number: N, matches: &PerField<Pattern>) {
        let filed = |key: &(Field, Box<str>)| self.plain.get(key).map_or(0, BTreeSet::len);
        match self.keys(matches).min_by_key(filed) {
            Some(key) => self.plain.entry(key).or_default().insert(number),
            None => self.others.insert(number),
        };
    }

    pub(crate) fn remove(&mut self, number: N, matches: &PerField<Pattern>) {
        self.others.remove(&number);
        let keys: SmallVec<[_; Field::COUNT]> = self.keys(matches).collect();
        for key in keys {
            if let Some(numbers) = self.plain.get_mut(&key)
                && numbers.remove(&number)
                && numbers.is_empty()
            {
                self.plain.remove(&key);
            }
        }
    }

    /// The sets that can match values of which `value` gives the text, in the order of their
    /// numbers.
    pub(crate) fn candidates<'a>(
        &self,
        value: impl Fn(Field) -> Option<&'a str>,
    ) -> SmallVec<[N; 8]> {
        let mut found: SmallVec<[N; 8]> = self.others.iter().copied().collect();
        if !self.plain.is_empty() {
            for field in Field::ALL {
                let Some(value) = value(field) else { continue };
                if let Some(numbers) = self.plain.get(&(field, value.into())) {
                    found.extend(numbers.iter().copied());
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// The values that a set can be filed under, in the form in which rows have them.
    fn keys(&self, matches: &PerField<Pattern>) -> impl Iterator<Item = (Field, Box<str>)> {
        let plain = matches.iter().filter(|(field, _)| Some(*field) != self.several);
        plain.filter_map(|(field, pattern)| Some((field, pattern.plain_value()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(of: &[(Field, &str)]) -> PerField<Pattern> {
        let pattern =
            |(field, text): &(Field, &str)| (*field, Pattern::parse(*field, text).unwrap());
        of.iter().map(pattern).collect()
    }

    #[test]
    fn asks_only_those_that_can_match() {
        let sets = [
            set(&[(Field::LocalIp, "192.0.2.1"), (Field::RemoteMx, "MX.example")]),
            set(&[(Field::LocalIp, "192.0.2.1")]),
            set(&[(Field::TransportId, "mx"), (Field::RemoteIp, "2001:DB8::1")]),
            set(&[(Field::TransportId, "mx"), (Field::JobId, "job")]),
            set(&[(Field::RecipientDomain, "*.example")]),
        ];
        let mut index = PatternIndex::new(Some(Field::LocalIp));
        for (number, set) in sets.iter().enumerate() {
            index.insert(number, set);
        }
        let ask = |index: &PatternIndex<usize>, wanted: Field, text: &'static str| {
            index.candidates(|field| (field == wanted).then_some(text)).to_vec()
        };
        assert_eq!(ask(&index, Field::RemoteMx, "mx.example"), [0, 1, 4]);
        assert_eq!(ask(&index, Field::LocalIp, "192.0.2.1"), [1, 4]);
        assert_eq!(ask(&index, Field::TransportId, "mx"), [1, 2, 4], "the other is at its job");
        assert_eq!(ask(&index, Field::JobId, "job"), [1, 3, 4]);
        for (number, set) in sets.iter().enumerate() {
            index.remove(number, set);
        }
        assert!(index.plain.is_empty() && index.others.is_empty());
    }
}
