//! Handles for C that outlive what they stand for: records that are used again, found by number.
//!
//! A handle is no address. It holds the index of a record in a table and the number of its use, and
//! looks like a pointer into a part of the address space where nothing is mapped; each [`Kind`] has a
//! part of its own. So a plugin that uses a context after its end (a second `schedule`, `done` after
//! `done`) finds another number, and a wrong pointer or the handle of another kind finds nothing.
//! Records are never freed.

use std::collections::VecDeque;
use std::sync::OnceLock;

use parking_lot::Mutex;

/// Records of one type.
pub(crate) struct Table<T: 'static> {
    /// Each twice as long as the one before; the first has [`FIRST`] places.
    chunks: [OnceLock<Box<[OnceLock<&'static T>]>>; CHUNKS],
    count: Mutex<u32>,
}

/// Records that are used again by whoever comes next, the one that rested longest first.
pub(crate) struct Records<T: 'static> {
    table: Table<T>,
    free: Mutex<VecDeque<&'static T>>,
}

/// What a handle is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Delivery,
    Injection,
}

/// What C gets for one use of a record. Never NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) index: u32,
    /// Below [`Kind::numbers`].
    pub(crate) number: u32,
}

impl Kind {
    /// Set in every handle of this kind, above its number. Linux gives addresses from both ends of the
    /// 2^47 that programs have, the Go runtime from 0xc000000000 on: these are far from all of them,
    /// and small enough for languages that keep other things in the upper bits of a pointer.
    const fn mark(self) -> u64 {
        match self {
            Self::Call => 1 << 45,
            Self::Delivery => 1 << 44,
            Self::Injection => 1 << 43,
        }
    }

    /// Uses of a record before a number comes again.
    pub(crate) const fn numbers(self) -> u32 {
        (self.mark() >> INDEX_BITS) as u32
    }
}

impl Handle {
    pub(crate) fn as_ptr<C>(self, kind: Kind) -> *mut C {
        let address = kind.mark() | u64::from(self.number) << INDEX_BITS | u64::from(self.index);
        std::ptr::without_provenance_mut(address as usize)
    }

    /// Reads what C gave; `None` for NULL and for what is no handle of this kind.
    pub(crate) fn from_ptr<C>(handle: *const C, kind: Kind) -> Option<Self> {
        let (address, mark) = (handle.addr() as u64, kind.mark());
        if address & !(mark - 1) != mark {
            return None;
        }
        let index = (address & ((1 << INDEX_BITS) - 1)) as u32;
        let number = ((address - mark) >> INDEX_BITS) as u32;
        Some(Self { index, number })
    }
}

impl<T: Send + Sync> Records<T> {
    pub(crate) const fn new() -> Self {
        Self { table: Table::new(), free: Mutex::new(VecDeque::new()) }
    }

    /// Gives a record that is not in use, made by `make` for its index if there is none; `None` when
    /// there cannot be one more.
    pub(crate) fn take(&self, make: impl FnOnce(u32) -> T) -> Option<&'static T> {
        let rested = self.free.lock().pop_front();
        rested.or_else(|| self.table.add(|index| Box::leak(Box::new(make(index)))))
    }

    /// Takes a record back that is no longer in use. Tells how many rest now.
    pub(crate) fn put(&self, record: &'static T) -> usize {
        let mut free = self.free.lock();
        free.push_back(record);
        free.len()
    }

    pub(crate) fn find(&self, index: u32) -> Option<&'static T> {
        self.table.find(index)
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

/// Bits of an index; with those of the number they fill what is below [`Kind::mark`].
const INDEX_BITS: u32 = 22;

/// Places in the first chunk, a power of two.
const FIRST: usize = 64;

/// So many that every index below 2^22 has a place, but for the last 64.
const CHUNKS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 3] = [Kind::Call, Kind::Delivery, Kind::Injection];

    #[test]
    fn a_handle_is_read_as_it_was_given_and_nothing_else_is_one() {
        for kind in KINDS {
            for index in [0, 1, (1 << INDEX_BITS) - 1] {
                for number in [0, 1, kind.numbers() - 1] {
                    let handle = Handle { index, number };
                    let pointer = handle.as_ptr::<u8>(kind);
                    for other in KINDS {
                        let read = Handle::from_ptr(pointer, other);
                        assert_eq!(read, (other == kind).then_some(handle), "{kind:?} {other:?}");
                    }
                }
            }
            let address = std::ptr::from_ref(&kind);
            assert_eq!(Handle::from_ptr(std::ptr::null::<u8>(), kind), None);
            assert_eq!(Handle::from_ptr(address, kind), None, "an address");
            let all_ones = std::ptr::without_provenance::<u8>(usize::MAX);
            assert_eq!(Handle::from_ptr(all_ones, kind), None);
        }
        assert_eq!(Kind::Call.numbers(), 1 << 23);
    }

    #[test]
    fn records_rest_as_long_as_others_do_before_they_are_used_again() {
        let records = Records::<u32>::new();
        let taken: Vec<_> = (0..3).map(|_| records.take(|index| index).unwrap()).collect();
        assert_eq!(taken, [&0, &1, &2]);
        assert_eq!((records.put(taken[1]), records.put(taken[0])), (1, 2));
        assert!(std::ptr::eq(records.take(|index| index).unwrap(), taken[1]));
        assert!(records.find(2).is_some_and(|found| std::ptr::eq(found, taken[2])));
        assert_eq!(records.find(3), None);
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
