//! Handles for C that outlive what they stand for: records that are used again, found by number.
//!
//! A handle is no address. It holds the index of a record in a table and the number of its use, and
//! looks like a pointer into a part of the address space where nothing is mapped. So a plugin that
//! uses a context after its end (a second `schedule`) finds another number, and a wrong pointer finds
//! nothing. Records are never freed.

use std::sync::OnceLock;

use parking_lot::Mutex;

/// Records of one type.
pub(crate) struct Table<T: 'static> {
    /// Each twice as long as the one before; the first has [`FIRST`] places.
    chunks: [OnceLock<Box<[OnceLock<&'static T>]>>; CHUNKS],
    count: Mutex<u32>,
}

/// What C gets for one use of a record. Never NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) index: u32,
    /// Below [`NUMBERS`].
    pub(crate) number: u32,
}

impl Handle {
    pub(crate) fn as_ptr<C>(self) -> *mut C {
        let address = MARK | u64::from(self.number) << INDEX_BITS | u64::from(self.index);
        std::ptr::without_provenance_mut(address as usize)
    }

    /// Reads what C gave; `None` for NULL and for what is no handle.
    pub(crate) fn from_ptr<C>(handle: *const C) -> Option<Self> {
        let address = handle.addr() as u64;
        if address & !(MARK - 1) != MARK {
            return None;
        }
        let index = (address & ((1 << INDEX_BITS) - 1)) as u32;
        let number = ((address - MARK) >> INDEX_BITS) as u32;
        Some(Self { index, number })
    }
}

impl<T: Send + Sync> Table<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], count: Mutex::new(0) }
    }

    /// Adds the record that `make` makes for its index; `None` if the table is full.
    pub(crate) fn add(&self, make: impl FnOnce(u32) -> &'static T) -> Option<&'static T> {
        let mut count = self.count.lock();
        let index = *count;
        let (chunk, at) = place(index);
        let places = self
            .chunks
            .get(chunk)?
            .get_or_init(|| (0..FIRST << chunk).map(|_| OnceLock::new()).collect());
        let record = *places.get(at)?.get_or_init(|| make(index));
        *count = index + 1;
        Some(record)
    }

    pub(crate) fn find(&self, index: u32) -> Option<&'static T> {
        let (chunk, at) = place(index);
        self.chunks.get(chunk)?.get()?.get(at)?.get().copied()
    }
}

/// The chunk of an index, and the place in it.
fn place(index: u32) -> (usize, usize) {
    let index = index as usize + FIRST;
    let chunk = (index / FIRST).ilog2();
    (chunk as usize, index - (FIRST << chunk))
}

/// Uses of a record before a number comes again.
pub(crate) const NUMBERS: u32 = 1 << 23;

/// Bits of an index; with those of the number they fill what is below [`MARK`].
const INDEX_BITS: u32 = 22;

/// Set in every handle. Linux gives addresses from both ends of the 2^47 that programs have, the Go
/// runtime from 0xc000000000 on: this is far from all of them, and small enough for languages that
/// keep other things in the upper bits of a pointer.
const MARK: u64 = 1 << 45;

/// Places in the first chunk, a power of two.
const FIRST: usize = 64;

/// So many that every index below 2^22 has a place, but for the last 64.
const CHUNKS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_read_as_it_was_given_and_nothing_else_is_one() {
        for index in [0, 1, (1 << INDEX_BITS) - 1] {
            for number in [0, 1, NUMBERS - 1] {
                let handle = Handle { index, number };
                assert_eq!(Handle::from_ptr(handle.as_ptr::<u8>()), Some(handle));
            }
        }
        assert_eq!(Handle::from_ptr(std::ptr::null::<u8>()), None);
        assert_eq!(Handle::from_ptr(std::ptr::from_ref(&MARK)), None, "an address");
        assert_eq!(Handle::from_ptr(std::ptr::without_provenance::<u8>(usize::MAX)), None);
    }

    #[test]
    fn each_record_is_found_by_its_index() {
        let table = Table::<u32>::new();
        assert_eq!(table.find(0), None);
        for index in 0..1000 {
            assert_eq!(table.add(|index| Box::leak(Box::new(index))), Some(&index));
        }
        assert!((0..1000).all(|index| table.find(index) == Some(&index)));
        assert_eq!(table.find(1000), None);
        assert_eq!(table.find(u32::MAX), None);
        assert_eq!((place(0), place(63), place(64)), ((0, 0), (0, 63), (1, 0)));
        assert_eq!(place((1 << INDEX_BITS) - 65), (CHUNKS - 1, (FIRST << (CHUNKS - 1)) - 1));
    }
}
