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

/// Entries of a table: as many as an octet counts, so that its index needs no look.
const TABLE: usize = 256;

/// Members in a table; the rest is free, so that a search ends.
const MAX_MEMBERS: usize = 128;

/// Slots that lie in the object itself.
const NEAR: usize = 6;

const NO_NAME: u16 = u16::MAX;
const NO_SLOT: u8 = u8::MAX;

/// The members of one class by number.
pub(crate) struct Layout {
    /// The program whose numbers these are; no program has the number 0.
    pub(super) program: u64,
    /// The number of the class, as the functions of the class have it.
    pub(super) scope: u16,
    /// Whether members have modifiers that others than the class must obey.
    pub(super) is_restricted: bool,
    /// `program`, or 0 if there are such members.
    open_to: u64,
    /// A hash table, here and not elsewhere: one look less. What it has no room for is found by name.
    table: [Entry; TABLE],
    /// The names of the slots.
    pub(super) names: Box<[Str]>,
}

/// A member of a class.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    name: u16,
    /// The slot of a property.
    pub(super) slot: u8,
    /// Whether only the class may call the method, or only the instance itself set the property.
    pub(super) is_guarded: bool,
    /// The function of a method; 0 for properties, which no method has.
    pub(super) function: u32,
}

impl Layout {
    /// Makes the layout of a class from the numbers and names of its slots and whether they are
    /// read-only, and the numbers of its methods with their functions and whether they are private.
    pub(crate) fn new(
        program: u64,
        scope: u16,
        is_restricted: bool,
        slots: Vec<(u16, Str, bool)>,
        methods: &[(u16, u32, bool)],
    ) -> Self {
        let free = Entry { name: NO_NAME, slot: NO_SLOT, is_guarded: false, function: 0 };
        let mut table = [free; TABLE];
        let properties = slots.iter().take(MAX_SLOTS).enumerate();
        let properties = properties.map(|(slot, &(name, _, is_guarded))| Entry {
            name,
            slot: slot as u8,
            is_guarded,
            ..free
        });
        let methods = methods.iter().map(|&(name, function, is_guarded)| Entry {
            name,
            function,
            is_guarded,
            ..free
        });
        for entry in properties.chain(methods).take(MAX_MEMBERS) {
            let mut at = entry.name as u8;
            while table[usize::from(at)].name != NO_NAME {
                at = at.wrapping_add(1);
            }
            table[usize::from(at)] = entry;
        }
        let names = slots.into_iter().take(MAX_SLOTS).map(|(_, name, _)| name).collect();
        let open_to = if is_restricted { 0 } else { program };
        Self { program, scope, is_restricted, open_to, table, names }
    }

    /// Returns whether functions of the program may use all members.
    #[inline(always)]
    pub(super) fn is_open_to(&self, program: u64) -> bool {
        self.open_to == program
    }

    /// Finds a member by the number of its name, if it is in the first place for it.
    #[inline(always)]
    pub(super) fn find_first(&self, name: u16) -> Option<&Entry> {
        let entry = &self.table[usize::from(name as u8)];
        (entry.name == name).then_some(entry)
    }

    /// Finds a member by the number of its name.
    #[inline]
    pub(super) fn find(&self, name: u16) -> Option<&Entry> {
        let mut at = name as u8;
        loop {
            let entry = &self.table[usize::from(at)];
            if entry.name == name {
                return Some(entry);
            }
            if entry.name == NO_NAME {
                return None;
            }
            at = at.wrapping_add(1);
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

/// The slots of an object.
pub(super) struct Slots {
    near: [Slot; NEAR],
    far: Box<[Slot]>,
}

impl Slots {
    /// Makes `count` slots, all of them elsewhere.
    pub(super) fn new(count: usize) -> Self {
        Self {
            near: std::array::from_fn(|_| Slot::new()),
            far: (NEAR..count).map(|_| Slot::new()).collect(),
        }
    }

    /// Returns the slot with this number, if it is near.
    #[inline(always)]
    pub(super) fn near(&self, at: u8) -> Option<&Slot> {
        self.near.get(usize::from(at))
    }

    /// Returns the slot with this number.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Slot> {
        self.near.get(at).or_else(|| self.far.get(at.checked_sub(NEAR)?))
    }

    /// Returns the slots in order; there may be more than the class has.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.near.iter().chain(&self.far)
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

    /// Puts a number here, if the value before it is here. Not for NaN with unusual bits.
    #[inline(always)]
    pub(crate) fn replace_number(&self, number: f64) -> bool {
        let bits = number.to_bits();
        if bits >= ELSEWHERE || self.0.load(Ordering::Relaxed) == ELSEWHERE {
            return false;
        }
        self.0.store(bits, Ordering::Relaxed);
        true
    }

    /// Adds to the number that is here. Not for NaN with unusual bits.
    #[inline(always)]
    pub(crate) fn add(&self, by: f64) -> bool {
        let bits = self.0.load(Ordering::Relaxed);
        if bits >= ELSEWHERE {
            return false;
        }
        let sum = (f64::from_bits(bits) + by).to_bits();
        if sum >= ELSEWHERE {
            return false;
        }
        self.0.store(sum, Ordering::Relaxed);
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
        let slots = (0..40).map(|at| (at * 8, Str::from(format!("p{at}")), false)).collect();
        let layout = Layout::new(1, 0, false, slots, &[(3, 7, true), (11, 9, false)]);
        assert_eq!(layout.find(8).map(|entry| entry.slot), Some(1));
        assert_eq!(layout.find(312).map(|entry| entry.slot), Some(39));
        assert_eq!(
            layout.find(11).map(|entry| (entry.function, entry.is_guarded)),
            Some((9, false))
        );
        assert_eq!(layout.find(3).map(|entry| entry.is_guarded), Some(true));
        assert!(layout.find(4).is_none());
        assert_eq!(layout.slot_of(&Str::from("p5")), Some(5));
        // 256 is looked for where 0 is, and found behind it.
        assert_eq!(layout.find(256).map(|entry| entry.slot), Some(32));
        assert!(layout.find_first(256).is_none());
        assert_eq!(layout.find_first(0).map(|entry| entry.slot), Some(0));
    }

    #[test]
    fn a_table_keeps_free_places() {
        let methods: Vec<_> = (0..300).map(|name| (name, 1, false)).collect();
        let layout = Layout::new(1, 0, false, Vec::new(), &methods);
        assert!(layout.find(127).is_some());
        assert!(layout.find(128).is_none() && layout.find(299).is_none());
    }

    #[test]
    fn slots_are_counted_through_near_and_far_ones() {
        let slots = Slots::new(NEAR + 2);
        for at in 0..NEAR + 2 {
            slots.get(at).unwrap().set(&Value::from(at as f64));
        }
        assert!(slots.get(NEAR + 2).is_none());
        let values: Vec<_> = slots.iter().filter_map(Slot::number).collect();
        assert_eq!(values, (0..NEAR + 2).map(|at| at as f64).collect::<Vec<_>>());
    }
}
