//! Where the members of a script class are found by number, without comparing names.
//!
//! A program numbers the names behind its `->`. For each class the compiler lists which of them are
//! methods, and which are properties that the class itself sets on `$this`: those get a slot in every
//! instance, a word that holds the value while that is a number, a boolean or none. Words are read
//! and written without a lock. Any other value, and any other property, is in the array of the object;
//! the word says so.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Str, Value};

/// Properties of a class that get a slot.
pub(crate) const MAX_SLOTS: usize = 64;

const NO_NAME: u16 = u16::MAX;
const NO_SLOT: u8 = u8::MAX;

/// The members of one class by number.
pub(crate) struct Layout {
    /// The program whose numbers these are.
    pub(super) program: u64,
    /// The number of the class, as the functions of the class have it.
    pub(super) scope: u16,
    /// Whether members have modifiers that others than the class must obey.
    pub(super) is_restricted: bool,
    /// A hash table with at least as many free entries as taken ones.
    table: Box<[Entry]>,
    /// The names of the slots.
    pub(super) names: Box<[Str]>,
}

/// A member of a class.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    name: u16,
    /// The slot of a property.
    pub(super) slot: u8,
    /// Whether only the class may call the method.
    pub(super) is_private: bool,
    /// The function of a method; 0 for properties, which no method has.
    pub(super) function: u32,
}

impl Layout {
    /// Makes the layout of a class from the numbers and names of its slots, and the numbers of its
    /// methods with their functions and whether they are private.
    pub(crate) fn new(
        program: u64,
        scope: u16,
        is_restricted: bool,
        slots: Vec<(u16, Str)>,
        methods: &[(u16, u32, bool)],
    ) -> Self {
        let free = Entry { name: NO_NAME, slot: NO_SLOT, is_private: false, function: 0 };
        let size = (2 * (slots.len() + methods.len())).max(2).next_power_of_two();
        let mut table = vec![free; size].into_boxed_slice();
        let mut insert = |entry: Entry| {
            let mut at = usize::from(entry.name) & (size - 1);
            while let Some(place) = table.get_mut(at) {
                if place.name == NO_NAME {
                    *place = entry;
                    break;
                }
                at = (at + 1) & (size - 1);
            }
        };
        for (slot, (name, _)) in slots.iter().take(MAX_SLOTS).enumerate() {
            insert(Entry { name: *name, slot: slot as u8, ..free });
        }
        for &(name, function, is_private) in methods {
            insert(Entry { name, function, is_private, ..free });
        }
        let names = slots.into_iter().take(MAX_SLOTS).map(|(_, name)| name).collect();
        Self { program, scope, is_restricted, table, names }
    }

    /// Finds a member by the number of its name.
    #[inline(always)]
    pub(super) fn find(&self, name: u16) -> Option<&Entry> {
        let mask = self.table.len() - 1;
        let mut at = usize::from(name) & mask;
        loop {
            let entry = self.table.get(at)?;
            if entry.name == name {
                return Some(entry);
            }
            if entry.name == NO_NAME {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    /// Finds a slot by name.
    #[inline]
    pub(super) fn slot_of(&self, name: &Str) -> Option<usize> {
        self.names
            .iter()
            .position(|known| known.ptr_eq(name))
            .or_else(|| self.names.iter().position(|known| known == name))
    }
}

/// A word that holds a value, or says that it is elsewhere.
pub(crate) struct Slot(AtomicU64);

// Doubles that are no numbers and that no computation leaves here: `encode` has one for all of them.
const ELSEWHERE: u64 = 0xfff8_0000_0000_0001;
const NONE: u64 = 0xfff8_0000_0000_0002;
const FALSE: u64 = 0xfff8_0000_0000_0003;
const TRUE: u64 = 0xfff8_0000_0000_0004;

impl Slot {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(ELSEWHERE))
    }

    /// Returns the value, if it is here and a number.
    #[inline(always)]
    pub(crate) fn number(&self) -> Option<f64> {
        let bits = self.0.load(Ordering::Relaxed);
        (bits < ELSEWHERE).then(|| f64::from_bits(bits))
    }

    /// Returns the value, if it is here.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<Value> {
        let bits = self.0.load(Ordering::Relaxed);
        if bits < ELSEWHERE {
            return Some(Value::Number(f64::from_bits(bits)));
        }
        match bits {
            NONE => Some(Value::None),
            FALSE => Some(Value::Bool(false)),
            TRUE => Some(Value::Bool(true)),
            _ => None,
        }
    }

    /// Says that the value is elsewhere.
    pub(super) fn clear(&self) {
        self.0.store(ELSEWHERE, Ordering::Relaxed);
    }

    /// Puts the value here if it fits, else says that it is elsewhere. Returns whether it is here.
    #[inline]
    pub(super) fn set(&self, value: &Value) -> bool {
        let bits = encode(value);
        self.0.store(bits.unwrap_or(ELSEWHERE), Ordering::Relaxed);
        bits.is_some()
    }

    /// Puts the value here if it fits and the one before it is here.
    #[inline(always)]
    pub(crate) fn replace(&self, value: &Value) -> bool {
        if let Some(bits) = encode(value)
            && self.0.load(Ordering::Relaxed) != ELSEWHERE
        {
            self.0.store(bits, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Puts a number here, if the value before it is here.
    #[inline(always)]
    pub(crate) fn replace_number(&self, number: f64) -> bool {
        if self.0.load(Ordering::Relaxed) == ELSEWHERE {
            return false;
        }
        self.0.store(number_bits(number), Ordering::Relaxed);
        true
    }

    /// Adds to the number that is here.
    #[inline(always)]
    pub(crate) fn add(&self, by: f64) -> bool {
        let bits = self.0.load(Ordering::Relaxed);
        if bits >= ELSEWHERE {
            return false;
        }
        let sum = f64::from_bits(bits) + by;
        self.0.store(number_bits(sum), Ordering::Relaxed);
        true
    }
}

#[inline(always)]
fn number_bits(number: f64) -> u64 {
    if number.is_nan() { f64::NAN.to_bits() & (u64::MAX >> 1) } else { number.to_bits() }
}

#[inline(always)]
fn encode(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => Some(number_bits(*number)),
        Value::None => Some(NONE),
        Value::Bool(false) => Some(FALSE),
        Value::Bool(true) => Some(TRUE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_gives_back_what_fits_into_it() {
        let slot = Slot::new();
        assert!(slot.get().is_none());
        for number in [0.0, -0.0, 1.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN] {
            assert!(slot.set(&Value::Number(number)));
            let back = slot.get().and_then(|value| value.as_number()).unwrap();
            assert!(back.to_bits() == number.to_bits() || back.is_nan() && number.is_nan());
        }
        for value in [Value::None, Value::Bool(true), Value::Bool(false)] {
            assert!(slot.replace(&value));
            assert_eq!(slot.get(), Some(value));
        }
        assert!(!slot.set(&Value::from("text")) && slot.get().is_none());
        assert!(!slot.replace(&Value::from(1)) && !slot.add(1.0));
    }

    #[test]
    fn members_are_found_by_the_number_of_their_name() {
        let slots = (0..40).map(|at| (at * 8, Str::from(format!("p{at}")))).collect();
        let layout = Layout::new(1, 0, false, slots, &[(3, 7, true), (11, 9, false)]);
        assert_eq!(layout.find(8).map(|entry| entry.slot), Some(1));
        assert_eq!(layout.find(312).map(|entry| entry.slot), Some(39));
        assert_eq!(
            layout.find(11).map(|entry| (entry.function, entry.is_private)),
            Some((9, false))
        );
        assert_eq!(layout.find(3).map(|entry| entry.is_private), Some(true));
        assert!(layout.find(4).is_none());
        assert_eq!(layout.slot_of(&Str::from("p5")), Some(5));
    }
}
