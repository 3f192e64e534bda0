//! Calls that wait inside C (`HalonMTA_hsl_suspend`): each holds a thread, so there are at most so
//! many at once.
//!
//! Nobody can tell before a call whether its function will wait, and once it is inside of C nothing but
//! a thread can wait for it. So functions are learnt: from the first wait on, each call of that
//! function takes a [`Place`] before it goes into C, and where all are taken its script is parked
//! until one is free, first come first served, holding no thread; a script that ends leaves the line.
//! Calls that began before their function was known take a place that is free, or none: at
//! most one for each worker and function, and the runtime has threads for those beside the places.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// All waits of the process.
pub(crate) struct Waits {
    places: Semaphore,
    blocked: AtomicUsize,
    queued: AtomicUsize,
    /// Whether it was said that all places are taken; until half of them are free again.
    is_full: AtomicBool,
}

/// The right to wait inside C.
pub(crate) type Place = SemaphorePermit<'static>;

/// Counts a script that waits for a place.
struct Queued<'a>(&'a AtomicUsize);

impl Waits {
    pub(crate) const fn new() -> Self {
        Self {
            places: Semaphore::const_new(MAX_BLOCKING_WAITS),
            blocked: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    /// Takes a place, if one is free.
    pub(crate) fn try_enter(&'static self) -> Option<Place> {
        let place = self.places.try_acquire().ok();
        let free = self.places.available_permits();
        if free * 2 > MAX_BLOCKING_WAITS && self.is_full.load(Ordering::Relaxed) {
            self.is_full.store(false, Ordering::Relaxed);
        }
        place
    }

    /// Waits for a place; `None` never comes, for the places are not closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves the queue.
    pub(crate) async fn enter(&'static self) -> Option<Place> {
        if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(count = MAX_BLOCKING_WAITS, "plugin.blocking_suspends_full");
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
        let _queued = Queued(&self.queued);
        self.places.acquire().await.ok()
    }

    /// Runs `wait`, which blocks the thread, with the runtime told about it and the wait counted.
    pub(crate) fn block(&self, wait: impl FnOnce()) {
        let count = self.blocked.fetch_add(1, Ordering::Relaxed) + 1;
        if count == MANY {
            tracing::warn!(count, "plugin.many_blocking_suspends");
        }
        let is_worker = tokio::runtime::Handle::try_current().is_ok_and(|handle| {
            handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread
        });
        if is_worker {
            tokio::task::block_in_place(wait);
        } else {
            wait();
        }
        self.blocked.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls that wait inside C at this moment.
    pub(crate) fn blocked(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Scripts that wait for a place at this moment.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Calls that may wait inside C (`HalonMTA_hsl_suspend`) at once; what is beyond waits outside.
pub const MAX_BLOCKING_WAITS: usize = 512;

/// Threads that the runtime of a program with plugins needs beside its workers: for all these waits,
/// and as many as it has by default for everything else that blocks.
pub const BLOCKING_THREADS: usize = MAX_BLOCKING_WAITS + 512;

/// Half of the places: time to say so.
const MANY: usize = MAX_BLOCKING_WAITS / 2;

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn who_finds_no_place_waits_in_the_order_of_arrival_and_may_leave() {
        let waits: &'static Waits = Box::leak(Box::new(Waits::new()));
        let mut places: Vec<_> = (0..MAX_BLOCKING_WAITS).map(|_| waits.try_enter()).collect();
        assert!(places.iter().all(Option::is_some) && waits.try_enter().is_none());
        let mut context = Context::from_waker(Waker::noop());
        let mut first = pin!(waits.enter());
        let mut second = Box::pin(waits.enter());
        let mut third = pin!(waits.enter());
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert_eq!(waits.queued(), 3);
        places.pop();
        assert!(waits.try_enter().is_none(), "it is the first one's");
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert!(first.as_mut().poll(&mut context).is_ready());
        drop(second);
        assert_eq!(waits.queued(), 1);
        places.pop();
        assert!(third.as_mut().poll(&mut context).is_ready());
        assert_eq!(waits.queued(), 0);
    }
}
