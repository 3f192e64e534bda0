//! The shared memory of the process: one store of named values with one lock per name.
//!
//! `barrier` and the `memory_*` functions use the same names and the same locks. Waiting is a plain
//! future, so this needs no runtime. A lock is re-entrant for the execution that holds it.
//!
//! All values together are bounded in octets ([`SharedMemory::MAX_OCTETS`]). Plain values are measured when
//! they are stored, before the store is locked. Objects and functions are references, and may grow after
//! that: when an execution ends that had one in hand, what it allocated is taken for growth, and when
//! that could be too much all of them are measured anew.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::host::Thrown;
use crate::memory::MeasureKept;
use crate::value::{Str, Value};

/// Identifies an execution towards the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(u64);

/// The store. Share one per process behind an [`Arc`].
pub struct SharedMemory {
    state: Mutex<State>,
    /// Octets that all values may occupy.
    most: usize,
}

#[derive(Default)]
struct State {
    values: HashMap<Str, Stored>,
    /// About what all values and their names occupy.
    octets: usize,
    /// What values that may grow occupy beyond that, at most.
    growth: usize,
    /// Executions that had values in hand that may grow, with those they removed.
    growers: HashMap<OwnerId, Vec<Value>>,
    locks: HashMap<Str, Lock>,
    last_owner: u64,
    last_ticket: u64,
    last_version: u64,
}

/// A value for the store, measured. Measuring takes as long as the value is large, so it is done before
/// the store is locked.
pub struct Stored {
    value: Value,
    octets: usize,
    /// Whether functions or objects are in it.
    may_grow: bool,
    /// Tells it from what was stored under the same name before.
    version: u64,
}

impl Stored {
    /// Measures a value.
    pub fn new(value: Value) -> Self {
        Self::measured(value).0
    }

    /// The same; returns how many values were looked at, too.
    pub(crate) fn measured(value: Value) -> (Self, usize) {
        let mut measure = MeasureKept::new();
        let octets = ENTRY_OCTETS + measure.add(&value);
        (Self { value, octets, may_grow: measure.may_grow(), version: 0 }, measure.looks())
    }

    pub(crate) fn may_grow(&self) -> bool {
        self.may_grow
    }
}

/// The shared memory has no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    most: usize,
    /// The names of values that were removed because they had grown.
    removed: Vec<Str>,
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "shared memory limit of {} bytes exceeded", self.most)?;
        if let Some(first) = self.removed.first() {
            write!(f, ": the value of \"{}\"", first.as_bytes().escape_ascii())?;
            if let others @ 1.. = self.removed.len() - 1 {
                write!(f, " and {others} more")?;
            }
            f.write_str(" had grown and was removed")?;
        }
        Ok(())
    }
}

impl std::error::Error for Full {}

impl From<Full> for Thrown {
    fn from(full: Full) -> Self {
        Self::new(full.to_string())
    }
}

/// The place of a name, while the store is locked.
pub struct Place<'a> {
    stored: Option<Stored>,
    /// What was there before, or was not taken; dropped when the store is open again.
    replaced: Option<Value>,
    key: &'a [u8],
    owner: OwnerId,
    state: &'a mut State,
    most: usize,
}

impl Place<'_> {
    /// Returns the value.
    pub fn get(&mut self) -> Option<&Value> {
        let stored = self.stored.as_ref()?;
        if stored.may_grow {
            self.state.growers.entry(self.owner).or_default();
        }
        Some(&stored.value)
    }

    /// Stores a value if there is none; false if there is.
    ///
    /// # Errors
    ///
    /// There is no room for it.
    pub fn add(&mut self, new: Stored) -> Result<bool, Full> {
        if self.stored.is_some() {
            self.replaced = Some(new.value);
            return Ok(false);
        }
        self.set(new).map(|()| true)
    }

    /// Stores a value.
    ///
    /// # Errors
    ///
    /// There is no room for it; what was there stays.
    pub fn set(&mut self, mut new: Stored) -> Result<(), Full> {
        let before = self.stored.as_ref().map_or(0, |old| old.octets + self.key.len());
        let after = new.octets + self.key.len();
        // What takes no more room than before may always be stored.
        if after > before && self.state.octets - before + after > self.most {
            self.replaced = Some(new.value);
            return Err(Full { most: self.most, removed: Vec::new() });
        }
        if new.may_grow {
            self.state.growers.entry(self.owner).or_default();
        }
        self.replaced = self.take();
        self.state.octets += after;
        self.state.last_version += 1;
        new.version = self.state.last_version;
        self.stored = Some(new);
        Ok(())
    }

    /// Removes the value.
    pub fn take(&mut self) -> Option<Value> {
        let old = self.stored.take()?;
        self.state.octets -= old.octets + self.key.len();
        if old.may_grow {
            self.state.growers.entry(self.owner).or_default().push(old.value.clone());
            // Others may hold the same objects.
            self.state.growth = self.state.growth.saturating_add(old.octets);
        }
        Some(old.value)
    }
}

#[derive(Default)]
struct Lock {
    holder: Option<(OwnerId, usize)>,
    waiters: Vec<(u64, Waker)>,
}

impl Default for SharedMemory {
    fn default() -> Self {
        Self { state: Mutex::default(), most: Self::MAX_OCTETS }
    }
}

impl SharedMemory {
    /// About how many octets all values of a process may occupy, unless it is told otherwise.
    pub const MAX_OCTETS: usize = 256 << 20;

    /// Makes an empty store.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Makes an empty store for values of `most` octets, about.
    pub fn with_limit(most: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), most })
    }

    /// Returns an identity that no other execution has.
    pub fn new_owner(&self) -> OwnerId {
        let mut state = self.state.lock();
        state.last_owner += 1;
        OwnerId(state.last_owner)
    }

    /// Returns the value stored under `key`, whoever holds its lock. For the control socket.
    pub fn peek(&self, key: &[u8]) -> Option<Value> {
        self.state.lock().values.get(key).map(|stored| stored.value.clone())
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

    /// Returns about how many octets the values occupy.
    pub fn octets(&self) -> usize {
        self.state.lock().octets
    }

    /// Returns about how many octets the values may occupy.
    pub fn max_octets(&self) -> usize {
        self.most
    }

    /// Runs `change` on the place of `key` in one step, unless another execution holds its lock; then
    /// nothing happens and `None` comes back: wait with [`Self::lock`].
    pub fn try_with<R>(
        &self,
        key: &[u8],
        owner: OwnerId,
        change: impl FnOnce(&mut Place<'_>) -> R,
    ) -> Option<R> {
        let mut state = self.state.lock();
        if let Some(Lock { holder: Some((holder, _)), .. }) = state.locks.get(key)
            && *holder != owner
        {
            return None;
        }
        let (result, replaced) = state.change(key, owner, self.most, change);
        drop(state);
        drop(replaced); // outside of the lock: values may be large
        Some(result)
    }

    /// Takes note that whoever used the store without being an execution has no more values of it.
    pub fn let_go(&self, owner: OwnerId) {
        crate::circles::release(self.leave(owner, 0).removed, &[]);
    }

    /// Takes note that an execution is over. `allocated` are the octets it has taken for values. Objects and
    /// functions that it had in hand may have grown: if all values together are more than there is room
    /// for, the largest of those that may grow are removed.
    pub(crate) fn leave(&self, owner: OwnerId, allocated: usize) -> Left {
        let mut state = self.state.lock();
        let Some(mut removed) = state.growers.remove(&owner) else { return Left::default() };
        state.growth = state.growth.saturating_add(allocated);
        // Close to the limit, measurements must not follow one another.
        let allowed = self.most.saturating_sub(state.octets).max(self.most / 16);
        if state.growth <= allowed {
            return Left { removed, full: None };
        }
        state.growth = 0;
        let growing = state.values.iter().filter(|(_, stored)| stored.may_grow);
        let mut growing: Vec<_> = growing
            .map(|(key, stored)| Growing {
                key: key.clone(),
                value: stored.value.clone(),
                version: stored.version,
                octets: 0,
            })
            .collect();
        let plain = state.values.iter().filter(|(_, stored)| !stored.may_grow);
        let plain = plain.map(|(key, stored)| stored.octets + key.len()).sum();
        drop(state);
        let rest = self.most.saturating_sub(plain);
        let total = measure_all(&mut growing);
        let kept = if total > rest { kept_within(&mut growing, rest) } else { growing.len() };
        let mut names = Vec::new();
        let mut state = self.state.lock();
        for (at, growing) in growing.iter().enumerate() {
            let State { values, octets, .. } = &mut *state;
            // What was replaced meanwhile was measured meanwhile.
            let stored = values.get_mut(&growing.key);
            let Some(stored) = stored.filter(|stored| stored.version == growing.version) else {
                continue;
            };
            *octets = octets.saturating_sub(stored.octets);
            if at < kept {
                stored.octets = growing.octets;
                *octets += stored.octets;
            } else {
                *octets = octets.saturating_sub(growing.key.len());
                values.remove(&growing.key);
                removed.push(growing.value.clone());
                names.push(growing.key.clone());
            }
        }
        drop(state);
        drop(growing); // outside of the lock
        let full = (!names.is_empty()).then_some(Full { most: self.most, removed: names });
        Left { removed, full }
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

/// What an execution leaves behind in the store.
#[derive(Default)]
pub(crate) struct Left {
    /// Values with functions or objects that it removed, or that were removed at its end. They may refer to
    /// themselves.
    pub(crate) removed: Vec<Value>,
    /// Values had grown too large.
    pub(crate) full: Option<Full>,
}

/// A value that may grow, while all of them are measured.
struct Growing {
    key: Str,
    value: Value,
    version: u64,
    octets: usize,
}

/// Measures values, what several hold with the first of them; returns the sum.
fn measure_all(values: &mut [Growing]) -> usize {
    let mut measure = MeasureKept::new();
    for growing in &mut *values {
        growing.octets = ENTRY_OCTETS + measure.add(&growing.value);
    }
    values.iter().map(|growing| growing.octets + growing.key.len()).sum()
}

/// Puts small values before large ones and returns how many of them have room. What holds something that
/// is too large goes with it: it would live on otherwise.
fn kept_within(values: &mut [Growing], most: usize) -> usize {
    values.sort_by_key(|growing| growing.octets);
    let mut measure = MeasureKept::new();
    let mut total = 0_usize;
    for (at, growing) in values.iter_mut().enumerate() {
        growing.octets = ENTRY_OCTETS + measure.add(&growing.value);
        total = total.saturating_add(growing.octets + growing.key.len());
        if total > most {
            return at;
        }
    }
    values.len()
}

impl State {
    /// Runs `change` on a place; returns what it replaced, too.
    fn change<R>(
        &mut self,
        key: &[u8],
        owner: OwnerId,
        most: usize,
        change: impl FnOnce(&mut Place<'_>) -> R,
    ) -> (R, Option<Value>) {
        let stored = self.values.remove(key);
        let mut place = Place { stored, replaced: None, key, owner, state: self, most };
        let result = change(&mut place);
        let Place { stored, replaced, .. } = place;
        if let Some(stored) = stored {
            self.values.insert(Str::new(key), stored);
        }
        (result, replaced)
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
    /// Runs `change` on the place of the name, as [`SharedMemory::try_with`] does.
    pub fn with<R>(&self, change: impl FnOnce(&mut Place<'_>) -> R) -> R {
        let mut state = self.memory.state.lock();
        let (result, replaced) = state.change(&self.key, self.owner, self.memory.most, change);
        drop(state);
        drop(replaced); // outside of the lock
        result
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

/// About what an entry occupies apart from its name and value.
const ENTRY_OCTETS: usize = 160;

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
        outer.with(|place| place.set(Stored::new(Value::from(1)))).unwrap();
        drop(outer);
        let guard = poll(&mut waiting).unwrap();
        assert_eq!(guard.with(|place| place.get().cloned()), Some(Value::from(1)));
    }

    #[test]
    fn values_are_bounded_and_give_back_what_they_took() {
        let memory = SharedMemory::with_limit(10_000);
        let owner = memory.new_owner();
        let text = |octets: usize| Stored::new(Value::from("x".repeat(octets)));
        let set = |key: &str, octets: usize| {
            memory.try_with(key.as_bytes(), owner, |place| place.set(text(octets))).unwrap()
        };
        assert_eq!(set("a", 5_000), Ok(()));
        let one = memory.octets();
        assert!((5_000..5_500).contains(&one), "{one}");
        assert!(set("b", 5_000).unwrap_err().to_string().contains("10000 bytes exceeded"));
        assert!(set("a", 20_000).is_err());
        assert_eq!((memory.octets(), memory.len()), (one, 1));
        assert_eq!(memory.peek(b"a").unwrap().as_bytes().map(<[u8]>::len), Some(5_000));
        assert_eq!(set("a", 9_000), Ok(()));
        let added = memory.try_with(b"a", owner, |place| place.add(text(20_000))).unwrap();
        assert_eq!(added, Ok(false));
        assert!(memory.try_with(b"a", owner, |place| place.take()).unwrap().is_some());
        assert_eq!((memory.octets(), memory.len()), (0, 0));
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
