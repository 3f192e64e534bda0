//! The shared memory of the process: one store of named values with one lock per name.
//!
//! `barrier` and the `memory_*` functions use the same names and the same locks. Waiting is a plain
//! future, so this needs no runtime. A lock is re-entrant for the execution that holds it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::value::{Str, Value};

/// Identifies an execution towards the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(u64);

/// The store. Share one per process behind an [`Arc`].
#[derive(Default)]
pub struct SharedMemory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    values: HashMap<Str, Value>,
    locks: HashMap<Str, Lock>,
    last_owner: u64,
    last_ticket: u64,
}

#[derive(Default)]
struct Lock {
    holder: Option<(OwnerId, usize)>,
    waiters: Vec<(u64, Waker)>,
}

impl SharedMemory {
    /// Makes an empty store.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns an identity that no other execution has.
    pub fn new_owner(&self) -> OwnerId {
        let mut state = self.state.lock();
        state.last_owner += 1;
        OwnerId(state.last_owner)
    }

    /// Returns the value stored under `key`, whoever holds its lock. For the control socket.
    pub fn peek(&self, key: &[u8]) -> Option<Value> {
        self.state.lock().values.get(key).cloned()
    }

    /// Returns all names, sorted. For the control socket.
    pub fn keys(&self) -> Vec<Str> {
        let mut keys: Vec<_> = self.state.lock().values.keys().cloned().collect();
        keys.sort();
        keys
    }

    /// Returns how many values are stored.
    pub fn len(&self) -> usize {
        self.state.lock().values.len()
    }

    /// Returns whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes everything that is stored; locks stay.
    pub fn clear(&self) {
        let values = std::mem::take(&mut self.state.lock().values);
        drop(values); // outside of the lock: values may be large
    }

    /// Runs `change` on the value under `key` in one step, unless another execution holds its lock;
    /// then nothing happens and `None` comes back: wait with [`Self::lock`]. `change` sees `None`
    /// for a missing value and leaves `None` to remove it.
    pub fn try_with<R>(
        &self,
        key: &[u8],
        owner: OwnerId,
        change: impl FnOnce(&mut Option<Value>) -> R,
    ) -> Option<R> {
        let mut state = self.state.lock();
        if let Some(Lock { holder: Some((holder, _)), .. }) = state.locks.get(key)
            && *holder != owner
        {
            return None;
        }
        Some(state.change(key, change))
    }

    /// Takes the lock of `key` if it is free or held by `owner` already.
    pub fn try_lock(self: &Arc<Self>, key: &Str, owner: OwnerId) -> Option<LockGuard> {
        let taken = self.state.lock().take(key, owner);
        taken.then(|| LockGuard { memory: Arc::clone(self), key: key.clone(), owner })
    }

    /// Waits for the lock of `key`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue and nothing else.
    pub fn lock(self: &Arc<Self>, key: &Str, owner: OwnerId) -> LockFuture {
        LockFuture { memory: Arc::clone(self), key: key.clone(), owner, ticket: None }
    }
}

impl State {
    fn change<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Option<Value>) -> R) -> R {
        let mut slot = self.values.remove(key);
        let result = change(&mut slot);
        if let Some(value) = slot {
            self.values.insert(Str::new(key), value);
        }
        result
    }

    fn take(&mut self, key: &Str, owner: OwnerId) -> bool {
        let lock = self.locks.entry(key.clone()).or_default();
        match &mut lock.holder {
            Some((holder, depth)) if *holder == owner => {
                *depth += 1;
                true
            }
            Some(_) => false,
            None => {
                lock.holder = Some((owner, 1));
                true
            }
        }
    }

    /// Returns who should try next, if the lock is free.
    fn next_waiter(&mut self, key: &Str) -> Option<Waker> {
        let lock = self.locks.get(key)?;
        if lock.holder.is_some() {
            return None;
        }
        let waker = lock.waiters.first().map(|(_, waker)| waker.clone());
        if waker.is_none() {
            self.locks.remove(key);
        }
        waker
    }
}

/// Holds the lock of one name; dropping it lets the next execution in.
pub struct LockGuard {
    memory: Arc<SharedMemory>,
    key: Str,
    owner: OwnerId,
}

impl LockGuard {
    /// Runs `change` on the value, as [`SharedMemory::try_with`] does.
    pub fn with<R>(&self, change: impl FnOnce(&mut Option<Value>) -> R) -> R {
        self.memory.state.lock().change(&self.key, change)
    }

    /// Returns the name.
    pub fn key(&self) -> &Str {
        &self.key
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.memory.state.lock();
            if let Some(lock) = state.locks.get_mut(&self.key)
                && let Some((owner, depth)) = &mut lock.holder
                && *owner == self.owner
            {
                *depth -= 1;
                if *depth == 0 {
                    lock.holder = None;
                }
            }
            state.next_waiter(&self.key)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Waits for a lock; see [`SharedMemory::lock`].
pub struct LockFuture {
    memory: Arc<SharedMemory>,
    key: Str,
    owner: OwnerId,
    ticket: Option<u64>,
}

impl Future for LockFuture {
    type Output = LockGuard;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<LockGuard> {
        let this = self.get_mut();
        let mut state = this.memory.state.lock();
        if state.take(&this.key, this.owner) {
            if let Some(ticket) = this.ticket.take()
                && let Some(lock) = state.locks.get_mut(&this.key)
            {
                lock.waiters.retain(|(known, _)| *known != ticket);
            }
            drop(state);
            return Poll::Ready(LockGuard {
                memory: Arc::clone(&this.memory),
                key: this.key.clone(),
                owner: this.owner,
            });
        }
        let ticket = match this.ticket {
            Some(ticket) => ticket,
            None => {
                state.last_ticket += 1;
                *this.ticket.insert(state.last_ticket)
            }
        };
        let waker = context.waker().clone();
        if let Some(lock) = state.locks.get_mut(&this.key) {
            match lock.waiters.iter_mut().find(|(known, _)| *known == ticket) {
                Some(waiter) => waiter.1 = waker,
                None => lock.waiters.push((ticket, waker)),
            }
        }
        Poll::Pending
    }
}

impl Drop for LockFuture {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let waker = {
            let mut state = self.memory.state.lock();
            if let Some(lock) = state.locks.get_mut(&self.key) {
                lock.waiters.retain(|(known, _)| *known != ticket);
            }
            // This future may have been the one that was woken: pass it on.
            state.next_waiter(&self.key)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(future: &mut LockFuture) -> Option<LockGuard> {
        match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(guard) => Some(guard),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_lock_admits_one_execution_and_is_reentrant_for_it() {
        let memory = SharedMemory::new();
        let (a, b) = (memory.new_owner(), memory.new_owner());
        let key = Str::from("counter");
        let outer = memory.try_lock(&key, a).unwrap();
        let inner = memory.try_lock(&key, a).unwrap();
        let mut waiting = memory.lock(&key, b);
        assert!(poll(&mut waiting).is_none());
        assert!(memory.try_with(&key, b, |_| ()).is_none());
        drop(inner);
        assert!(poll(&mut waiting).is_none());
        outer.with(|value| *value = Some(Value::from(1)));
        drop(outer);
        let guard = poll(&mut waiting).unwrap();
        assert_eq!(guard.with(|value| value.clone()), Some(Value::from(1)));
    }

    #[test]
    fn giving_up_a_wait_lets_the_next_one_in() {
        let memory = SharedMemory::new();
        let key = Str::from("k");
        let guard = memory.try_lock(&key, memory.new_owner()).unwrap();
        let mut first = memory.lock(&key, memory.new_owner());
        let mut second = memory.lock(&key, memory.new_owner());
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
        drop(guard);
        drop(first);
        assert!(poll(&mut second).is_some());
        drop(second);
        assert!(memory.state.lock().locks.is_empty());
    }
}
