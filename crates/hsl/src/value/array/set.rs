//! Values by `===`: their hashes, and sets of them.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::HashTable;

use super::key::SEED;
use super::{Array, Key};
use crate::ops::strict_equal;
use crate::value::Value;

/// A set of values by `===`, for searching many in many.
pub(crate) struct ValueSet<'a>(HashTable<&'a Value>);

impl<'a> ValueSet<'a> {
    /// Makes the set of the values of `array`.
    pub(crate) fn new(array: &'a Array) -> Self {
        let mut table: HashTable<&'a Value> = HashTable::with_capacity(array.len());
        for value in array.values() {
            table
                .entry(
                    strict_hash(value),
                    |known| strict_equal(known, value),
                    |known| strict_hash(known),
                )
                .or_insert(value);
        }
        Self(table)
    }

    /// Returns whether an equal value is in the set.
    pub(crate) fn contains(&self, value: &Value) -> bool {
        self.0.find(strict_hash(value), |known| strict_equal(known, value)).is_some()
    }
}

pub(super) fn strict_hash(value: &Value) -> u64 {
    let mut hasher = SEED.build_hasher();
    hash_value(value, &mut hasher, 0);
    hasher.finish()
}

/// Hashes by what `===` compares. Deep levels are left out: equal values still hash alike.
fn hash_value(value: &Value, hasher: &mut impl Hasher, depth: u32) {
    value.type_of().hash(hasher);
    match value {
        Value::Bool(value) => value.hash(hasher),
        Value::Number(value) => (value + 0.0).to_bits().hash(hasher), // -0 equals 0
        Value::String(value) => value.hash(hasher),
        Value::Array(array) => {
            array.len().hash(hasher);
            if depth < 4 {
                // Equality does not look at the order, so neither does the sum.
                let sum = array.iter().fold(0_u64, |sum, (key, value)| {
                    let mut inner = SEED.build_hasher();
                    if !matches!(key, Key::Other(_)) {
                        key.hash().hash(&mut inner);
                    }
                    hash_value(value, &mut inner, depth + 1);
                    sum.wrapping_add(inner.finish())
                });
                sum.hash(hasher);
            }
        }
        Value::Function(function) => function.address().hash(hasher),
        Value::Object(object) => object.address().hash(hasher),
        Value::Resource(resource) => resource.address().hash(hasher),
        Value::None | Value::Unset | Value::Cell(_) => {}
    }
}
