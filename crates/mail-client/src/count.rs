//! Numbers that several tasks count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or a level that goes up and down.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of this moment.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts up until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> Level {
        self.increment();
        Level(Arc::clone(self))
    }

    /// Counts up unless the level has reached `limit`.
    pub fn enter_below(self: &Arc<Self>, limit: u64) -> Option<Level> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now < limit).then_some(now + 1)
            })
            .ok()
            .map(|_| Level(Arc::clone(self)))
    }
}

/// One unit of a level; given back when dropped.
#[derive(Debug)]
pub struct Level(Arc<Counter>);

impl Drop for Level {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_never_entered_above_its_limit() {
        let counter = Arc::new(Counter::default());
        let first = counter.enter_below(1).unwrap();
        assert!(counter.enter_below(1).is_none());
        drop(first);
        assert!(counter.enter_below(1).is_some());
        assert_eq!(counter.read(), 0);
    }
}
