//! Handles for C that outlive what they stand for.
//!
//! A handle is the address of a slot plus a number that changes with every use. Slots are never
//! given back to the allocator, and the one free for the longest time is used first. So a plugin
//! that uses a context after its end (a second `schedule`, `done` after `done`) gets nothing,
//! instead of memory that belongs to somebody else.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::Mutex;

/// Slots for values of one type.
pub(crate) struct Pool<T: 'static> {
    free: Mutex<VecDeque<&'static Slot<T>>>,
}

/// One slot. Its alignment leaves room in the address for [`USES`] numbers.
#[repr(C, align(64))]
struct Slot<T> {
    tag: u64,
    content: Mutex<Content<T>>,
}

struct Content<T> {
    /// How often the slot was taken, modulo [`USES`].
    uses: usize,
    value: Option<Arc<T>>,
}

/// What C gets. Never NULL.
pub(crate) struct Handle<T> {
    address: usize,
    _type: PhantomData<fn(T)>,
}

impl<T> Handle<T> {
    pub(crate) fn as_ptr<C>(self) -> *mut C {
        std::ptr::with_exposed_provenance_mut(self.address)
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T: Send + Sync + 'static> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self { free: Mutex::new(VecDeque::new()) }
    }

    /// Makes a handle for `value`, which lives until [`Self::release`].
    pub(crate) fn insert(&self, value: Arc<T>) -> Handle<T> {
        let slot = {
            let mut free = self.free.lock();
            if free.len() > REST { free.pop_front() } else { None }
        };
        let slot = slot.unwrap_or_else(|| {
            let content = Mutex::new(Content { uses: 0, value: None });
            Box::leak(Box::new(Slot { tag: TAG, content }))
        });
        let mut content = slot.content.lock();
        content.uses = (content.uses + 1) % USES;
        content.value = Some(value);
        let address = std::ptr::from_ref(slot).expose_provenance() + content.uses;
        Handle { address, _type: PhantomData }
    }

    /// Finds what a handle from C stands for; `None` for NULL and handles past their end.
    ///
    /// # Safety
    ///
    /// `handle` is NULL or came from a pool of `T`.
    pub(crate) unsafe fn find<C>(&self, handle: *const C) -> Option<(Handle<T>, Arc<T>)> {
        let address = handle.addr();
        // SAFETY: the caller keeps the contract.
        let slot = unsafe { Self::slot(address) }?;
        let content = slot.content.lock();
        if content.uses != address % USES {
            return None;
        }
        let value = Arc::clone(content.value.as_ref()?);
        Some((Handle { address, _type: PhantomData }, value))
    }

    /// Ends a handle. What it stood for is returned the first time.
    pub(crate) fn release(&self, handle: Handle<T>) -> Option<Arc<T>> {
        // SAFETY: only a pool of `T` makes a `Handle<T>`.
        let slot = unsafe { Self::slot(handle.address) }?;
        let value = {
            let mut content = slot.content.lock();
            if content.uses != handle.address % USES {
                return None;
            }
            content.value.take()?
        };
        self.free.lock().push_back(slot);
        Some(value)
    }

    /// # Safety
    ///
    /// `address` is 0 or that of a handle.
    unsafe fn slot(address: usize) -> Option<&'static Slot<T>> {
        let address = address & !(USES - 1);
        if address == 0 {
            return None;
        }
        // SAFETY: the address of a slot, which is never freed.
        let slot = unsafe { &*std::ptr::with_exposed_provenance::<Slot<T>>(address) };
        (slot.tag == TAG).then_some(slot)
    }
}

/// Marks a slot.
const TAG: u64 = 0x4d54_4173_6c6f_7421;

/// Numbers that fit below the alignment of a slot.
const USES: usize = 64;

/// Free slots that rest before the oldest of them is used again.
const REST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_past_its_end_finds_nothing_even_when_its_slot_is_used_again() {
        let pool = Pool::<u32>::new();
        let first = pool.insert(Arc::new(0));
        // SAFETY: handles of this pool, and NULL.
        unsafe {
            assert_eq!(pool.find(first.as_ptr::<u8>()).map(|(_, v)| *v), Some(0));
            assert!(pool.find(std::ptr::null::<u8>()).is_none());
        }
        assert!(pool.release(first).is_some());
        assert!(pool.release(first).is_none());
        let others: Vec<_> = (1..=200).map(|n| pool.insert(Arc::new(n))).collect();
        for other in &others {
            pool.release(*other);
        }
        let again: Vec<_> = (1..=200).map(|n| pool.insert(Arc::new(n))).collect();
        // SAFETY: handles of this pool.
        unsafe {
            assert!(pool.find(first.as_ptr::<u8>()).is_none());
            assert!(others.iter().all(|handle| pool.find(handle.as_ptr::<u8>()).is_none()));
            assert!(again.iter().all(|handle| pool.find(handle.as_ptr::<u8>()).is_some()));
        }
    }
}
