//! Byte strings: shared, copied when written to, appended in place when unshared.
//!
//! Up to [`INLINE`] octets lie in the value itself: most keys, words, codes and numbers cost no
//! allocation, and their copies no count. Longer ones have one allocation, with their count and length
//! in front; only what is appended to has a second one, so that it may grow.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use triomphe::{Arc, ThinArc};

/// Octets that lie in the value itself: what sixteen octets leave beside two tags.
pub(crate) const INLINE: usize = 14;

/// Octets from which on a string made of a vector keeps it: copying costs more than a second
/// allocation.
const KEPT: usize = 1024;

/// An immutable byte string with cheap clones. Octets are arbitrary; nothing assumes UTF-8.
#[derive(Clone)]
pub struct Str(Repr);

/// The order lets [`Value`](super::Value) tell with one comparison what owns memory: its own tags
/// follow those here.
#[derive(Clone)]
enum Repr {
    /// Count, length and octets in one allocation.
    Whole(ThinArc<(), u8>),
    /// What was appended to, and what came as a long vector.
    Growing(Arc<Vec<u8>>),
    Short(Short),
}

/// Octets without allocation; those behind the length are 0, so that equal texts are equal as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    used: u8,
    octets: [u8; INLINE],
}

impl Short {
    /// Copies `bytes`, if there are few enough.
    #[inline]
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let used = bytes.len();
        if used > INLINE {
            return None;
        }
        // Two loads that overlap are quicker than a copy of unknown length.
        let packed = if let (Some(first), Some(last)) =
            (bytes.first_chunk::<8>(), bytes.last_chunk::<8>())
        {
            u128::from(u64::from_le_bytes(*first))
                | u128::from(u64::from_le_bytes(*last)) << (8 * (used - 8))
        } else if let (Some(first), Some(last)) =
            (bytes.first_chunk::<4>(), bytes.last_chunk::<4>())
        {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            u128::from(u64::from(first) | u64::from(last) << (8 * (used - 4)))
        } else {
            let octet = |at: usize| bytes.get(at).map_or(0, |octet| u128::from(*octet) << (8 * at));
            octet(0) | octet(1) | octet(2)
        };
        Some(Self::unpack(packed, used))
    }

    /// Takes the first `used` octets of a number; the others are 0.
    #[inline]
    fn unpack(packed: u128, used: usize) -> Self {
        let bytes = packed.to_le_bytes();
        let octets = *bytes.first_chunk().unwrap_or(&[0; INLINE]);
        Self { used: used as u8, octets }
    }

    /// Returns octets and length as one number, for hashing.
    #[inline]
    pub(super) fn packed(self) -> u128 {
        let mut bytes = [0; 16];
        if let Some((first, rest)) = bytes.split_first_chunk_mut() {
            *first = self.octets;
            if let Some(last) = rest.last_mut() {
                *last = self.used;
            }
        }
        u128::from_le_bytes(bytes)
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        // The length is never above INLINE; the bound spares the look.
        self.octets.get(..usize::from(self.used).min(INLINE)).unwrap_or_default()
    }
}

impl Default for Str {
    #[inline]
    fn default() -> Self {
        Self(Repr::Short(Short { used: 0, octets: [0; INLINE] }))
    }
}

impl Str {
    /// Makes a string of a copy of `bytes`.
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        match Short::new(bytes) {
            Some(short) => Self(Repr::Short(short)),
            None => Self::whole(bytes),
        }
    }

    #[inline(never)]
    fn whole(bytes: &[u8]) -> Self {
        Self(Repr::Whole(ThinArc::from_header_and_slice((), bytes)))
    }

    /// Makes a string that keeps the vector, so that it may grow.
    #[inline]
    pub(crate) fn growing(bytes: Vec<u8>) -> Self {
        Self(Repr::Growing(Arc::new(bytes)))
    }

    /// Makes a string of `a` followed by `b`.
    #[inline]
    pub fn concat(a: &[u8], b: &[u8]) -> Self {
        let mut text = ShortText::default();
        if text.push(a) && text.push(b) {
            return text.finish();
        }
        let mut long = Vec::with_capacity(a.len() + b.len());
        long.extend_from_slice(a);
        long.extend_from_slice(b);
        Self::growing(long)
    }

    /// Returns the octets.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Short(short) => short.as_bytes(),
            Repr::Whole(whole) => &whole.slice,
            Repr::Growing(growing) => growing,
        }
    }

    /// Returns how many octets it has.
    #[inline(always)]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Short(short) => usize::from(short.used),
            Repr::Whole(whole) => whole.slice.len(),
            Repr::Growing(growing) => growing.len(),
        }
    }

    /// Returns whether it has no octets.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the part from one octet up to another. One that does not lie in the string, or is none, is empty;
    /// one that is all of it is the string itself.
    #[inline(always)]
    pub fn part(&self, span: Option<(usize, usize)>) -> Self {
        match span {
            Some((0, end)) if end == self.len() => self.clone(),
            Some((start, end)) => Self::new(self.as_bytes().get(start..end).unwrap_or_default()),
            None => Self::default(),
        }
    }

    /// Returns the text if the octets are valid UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }

    /// Appends octets: in place and in amortised constant time per octet when no other reference
    /// to the string exists, else on a copy.
    #[inline]
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        if let Repr::Growing(growing) = &mut self.0
            && let Some(octets) = Arc::get_mut(growing)
        {
            octets.extend_from_slice(bytes);
            return;
        }
        self.push_to_copy(bytes);
    }

    #[inline(never)]
    fn push_to_copy(&mut self, bytes: &[u8]) {
        let octets = self.as_bytes();
        let wanted = octets.len() + bytes.len();
        if wanted <= INLINE {
            *self = Self::concat(octets, bytes);
            return;
        }
        // Room for more of the same: whoever appends once does so again.
        let mut grown = Vec::with_capacity(wanted.next_power_of_two());
        grown.extend_from_slice(octets);
        grown.extend_from_slice(bytes);
        self.0 = Repr::Growing(Arc::new(grown));
    }

    /// Returns whether both are the same allocation, or short and equal. True implies equal, not the
    /// reverse.
    #[inline]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Short(a), Repr::Short(b)) => a == b,
            (Repr::Whole(a), Repr::Whole(b)) => ThinArc::as_ptr(a) == ThinArc::as_ptr(b),
            (Repr::Growing(a), Repr::Growing(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Returns an address that identifies the allocation while it lives; none where there is no
    /// allocation.
    pub(crate) fn address(&self) -> Option<usize> {
        match &self.0 {
            Repr::Short(_) => None,
            Repr::Whole(whole) => Some(ThinArc::as_ptr(whole) as usize),
            Repr::Growing(growing) => Some(Arc::as_ptr(growing) as usize),
        }
    }

    /// Returns whether the octets lie in the value itself, so that there is nothing to drop.
    #[inline(always)]
    pub(super) const fn is_short(&self) -> bool {
        matches!(self.0, Repr::Short(_))
    }

    /// Returns the octets if they lie in the value itself.
    #[inline]
    pub(super) const fn as_short(&self) -> Option<Short> {
        match &self.0 {
            Repr::Short(short) => Some(*short),
            _ => None,
        }
    }
}

/// A text of at most [`SHORT`] octets under way, on the stack.
pub(crate) struct ShortText {
    /// Room for a whole block is left behind the text, so that short parts are written as one. What is behind
    /// `used` means nothing.
    octets: [u8; SHORT + BLOCK],
    used: usize,
}

/// Octets of most texts that are put together: names, addresses, keys and lines.
const SHORT: usize = 96;
/// Octets that are written at once.
const BLOCK: usize = 16;

impl Default for ShortText {
    #[inline(always)]
    fn default() -> Self {
        Self { octets: [0; SHORT + BLOCK], used: 0 }
    }
}

impl ShortText {
    /// Appends a string; false if there is no room.
    #[inline(always)]
    pub(crate) fn push_str(&mut self, part: &Str) -> bool {
        match part.as_short() {
            Some(short) => self.push_short(short),
            None => self.push(part),
        }
    }

    /// Appends octets; false if there is no room.
    #[inline(always)]
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        match Short::new(bytes) {
            Some(short) => self.push_short(short),
            None => self.push_long(bytes),
        }
    }

    #[inline(always)]
    fn push_short(&mut self, short: Short) -> bool {
        let place = self.octets.get_mut(self.used..).and_then(|free| free.first_chunk_mut());
        let Some(place) = place else { return false };
        *place = short.packed().to_le_bytes();
        self.used += usize::from(short.used);
        self.used <= SHORT
    }

    #[inline(always)]
    fn push_long(&mut self, bytes: &[u8]) -> bool {
        let Some(place) = self.octets.get_mut(self.used..self.used + bytes.len()) else {
            return false;
        };
        // Two blocks that overlap are quicker than a copy of unknown length.
        match (bytes.first_chunk::<BLOCK>(), bytes.last_chunk::<BLOCK>()) {
            (Some(first), Some(last)) if bytes.len() <= 2 * BLOCK => {
                if let Some(place) = place.first_chunk_mut() {
                    *place = *first;
                }
                if let Some(place) = place.last_chunk_mut() {
                    *place = *last;
                }
            }
            _ => place.copy_from_slice(bytes),
        }
        self.used += bytes.len();
        self.used <= SHORT
    }

    /// Returns how many octets it has so far.
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.used
    }

    /// Returns the text.
    #[inline(always)]
    pub(crate) fn finish(self) -> Str {
        Str::new(self.octets.get(..self.used).unwrap_or_default())
    }
}

impl Deref for Str {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Str {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Borrow<[u8]> for Str {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<Vec<u8>> for Str {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() < KEPT { Self::new(&bytes) } else { Self(Repr::Growing(Arc::new(bytes))) }
    }
}

impl From<&[u8]> for Str {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

impl PartialEq for Str {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Short(a), Repr::Short(b)) => a == b,
            _ => self.ptr_eq(other) || self.as_bytes() == other.as_bytes(),
        }
    }
}

impl Eq for Str {}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl std::fmt::Debug for Str {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    /// One string in each of the ways in which it can be made.
    fn ways(bytes: &[u8]) -> Vec<Str> {
        let (front, back) = bytes.split_at(bytes.len() / 2);
        let mut appended = Str::new(front);
        appended.push_bytes(back);
        let mut kept = Vec::with_capacity(2 * bytes.len());
        kept.extend_from_slice(bytes);
        vec![Str::new(bytes), Str::concat(front, back), appended, Str::from(kept)]
    }

    proptest! {
        #[test]
        fn strings_are_their_octets_however_they_were_made(
            a in prop::collection::vec(any::<u8>(), 0..40),
            b in prop::collection::vec(0_u8..2, 0..20),
            long in 0_usize..3000,
        ) {
            for bytes in [a.clone(), b.clone(), a.repeat(1 + long / (a.len() + 1))] {
                for one in ways(&bytes) {
                    prop_assert_eq!(one.as_bytes(), &*bytes);
                    for other in ways(&bytes) {
                        prop_assert!(one == other);
                    }
                    for other in ways(&b) {
                        prop_assert_eq!(one == other, bytes == b);
                        prop_assert_eq!(one.cmp(&other), bytes.cmp(&b));
                    }
                }
            }
        }
    }

    #[test]
    fn appending_leaves_other_references_alone() {
        let mut a = Str::from("one");
        let b = a.clone();
        a.push_bytes(b" two");
        assert_eq!(&*a, b"one two");
        assert_eq!(&*b, b"one");
    }
}
