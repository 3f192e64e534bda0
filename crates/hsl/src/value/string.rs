//! Byte strings: shared, copied when written to, appended in place when unshared.
//!
//! Up to [`INLINE`] octets live beside the reference count, so that short strings cost one
//! allocation.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use triomphe::Arc;

use smallvec::SmallVec;

/// Octets that need no second allocation: the length of most header names, codes and words.
pub(crate) const INLINE: usize = 24;

/// An immutable byte string with cheap clones. Octets are arbitrary; nothing assumes UTF-8.
#[derive(Clone, Default)]
pub struct Str(Arc<SmallVec<[u8; INLINE]>>);

impl Str {
    /// Makes a string of a copy of `bytes`.
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::new(SmallVec::from_slice(bytes)))
    }

    /// Makes an empty string with room for `octets` octets.
    pub fn with_capacity(octets: usize) -> Self {
        Self(Arc::new(SmallVec::with_capacity(octets)))
    }

    /// Makes a string of `a` followed by `b`.
    #[inline]
    pub fn concat(a: &[u8], b: &[u8]) -> Self {
        let mut data = SmallVec::with_capacity(a.len() + b.len());
        data.extend_from_slice(a);
        data.extend_from_slice(b);
        Self(Arc::new(data))
    }

    /// Returns the octets.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text if the octets are valid UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Appends octets: in place and in amortised constant time per octet when no other reference
    /// to the string exists, else on a copy.
    #[inline]
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        match Arc::get_mut(&mut self.0) {
            Some(data) => data.extend_from_slice(bytes),
            None => {
                // Room for more of the same: whoever appends once does so again.
                let mut data =
                    SmallVec::with_capacity((self.0.len() + bytes.len()).next_power_of_two());
                data.extend_from_slice(&self.0);
                data.extend_from_slice(bytes);
                self.0 = Arc::new(data);
            }
        }
    }

    /// Returns whether both are the same allocation. True implies equal, not the reverse.
    #[inline]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns an address that identifies the allocation while it lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

/// Octets of a string under way; what is short stays on the stack.
pub(crate) struct StrBuilder {
    short: [u8; SHORT],
    /// Octets in `short`, as long as `long` is empty.
    used: usize,
    long: SmallVec<[u8; INLINE]>,
}

/// Octets of most texts that are put together: names, addresses, keys and lines.
const SHORT: usize = 96;

impl StrBuilder {
    /// Starts a string of about `octets` octets.
    #[inline]
    pub(crate) fn new(octets: usize) -> Self {
        let long = if octets > SHORT { SmallVec::with_capacity(octets) } else { SmallVec::new() };
        Self { short: [0; SHORT], used: 0, long }
    }

    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if let Some(place) = self.short.get_mut(self.used..self.used + bytes.len()) {
            place.copy_from_slice(bytes);
            self.used += bytes.len();
        } else {
            self.push_long(bytes);
        }
    }

    #[inline(never)]
    fn push_long(&mut self, bytes: &[u8]) {
        if self.long.is_empty() {
            self.long.extend_from_slice(self.short.get(..self.used).unwrap_or_default());
        }
        self.long.extend_from_slice(bytes);
        // There is no room for anything more.
        self.used = SHORT;
    }

    #[inline]
    pub(crate) fn finish(self) -> Str {
        if self.long.is_empty() {
            return Str::new(self.short.get(..self.used).unwrap_or_default());
        }
        Str(Arc::new(self.long))
    }
}

impl Deref for Str {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Str {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Str {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Str {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= INLINE {
            Self::new(&bytes)
        } else {
            Self(Arc::new(SmallVec::from_vec(bytes)))
        }
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
        self.ptr_eq(other) || self.as_bytes() == other.as_bytes()
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

    #[test]
    fn appending_leaves_other_references_alone() {
        let mut a = Str::from("one");
        let b = a.clone();
        a.push_bytes(b" two");
        assert_eq!(&*a, b"one two");
        assert_eq!(&*b, b"one");
    }
}
