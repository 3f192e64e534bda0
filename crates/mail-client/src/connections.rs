//! Connections that are open, so that operators can see and close them.
//!
//! Each side has one [`Registry`]; an entry is there for as long as its [`Registered`] lives. A
//! connection looks at its entry's token where it waits for its peer.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// All open connections of one side.
pub struct Registry<T> {
    open: Arc<Mutex<HashMap<u64, Arc<Entry<T>>>>>,
    last: AtomicU64,
}

/// One open connection.
pub struct Entry<T> {
    /// What is known of it.
    pub facts: T,
    /// Cancelled when an operator closes the connection.
    pub close: CancellationToken,
}

/// Keeps an entry in its registry.
pub struct Registered<T> {
    open: Arc<Mutex<HashMap<u64, Arc<Entry<T>>>>>,
    number: u64,
    entry: Arc<Entry<T>>,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self { open: Arc::default(), last: AtomicU64::new(0) }
    }
}

impl<T> Registry<T> {
    /// Enters a connection.
    pub fn enter(&self, facts: T) -> Registered<T> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Arc::new(Entry { facts, close: CancellationToken::new() });
        self.open.lock().insert(number, Arc::clone(&entry));
        Registered { open: Arc::clone(&self.open), number, entry }
    }

    /// The open connections, oldest first.
    pub fn list(&self) -> Vec<Arc<Entry<T>>> {
        let mut all: Vec<_> =
            self.open.lock().iter().map(|(number, entry)| (*number, Arc::clone(entry))).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, entry)| entry).collect()
    }
}

impl<T> Deref for Registered<T> {
    type Target = Entry<T>;

    fn deref(&self) -> &Entry<T> {
        &self.entry
    }
}

impl<T> Drop for Registered<T> {
    fn drop(&mut self) {
        self.open.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_listed_while_it_lives() {
        let registry = Registry::default();
        let (one, two) = (registry.enter("one"), registry.enter("two"));
        let names = |registry: &Registry<&'static str>| {
            registry.list().iter().map(|entry| entry.facts).collect::<Vec<_>>()
        };
        assert_eq!(names(&registry), ["one", "two"]);
        drop(one);
        assert_eq!(names(&registry), ["two"]);
        registry.list()[0].close.cancel();
        assert!(two.close.is_cancelled());
    }
}
