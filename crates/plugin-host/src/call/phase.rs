//! Where a call of a plugin stands: the one place where suspending and scheduling meet.
//!
//! | stage | `suspend_return` | `block` | `schedule` | `returned` |
//! | --- | --- | --- | --- | --- |
//! | over | – | – | – | – |
//! | running | suspending | blocked, then running | running, woken | done |
//! | running, woken | suspending, woken | running | – | done |
//! | suspending | – | – | suspending, woken | suspended |
//! | suspending, woken | – | – | – | done |
//! | suspended | – | – | scheduled, wakes the task | – |
//! | scheduled | – | – | – | – |
//! | blocked | – | – | wakes the thread: running | – |
//! | abandoned | – | – | given back, over soon | – |
//!
//! `–` changes nothing. The wake-up may come from any thread at any time after the call began, also
//! before the function says that it suspends; it is never lost.
//!
//! One record serves many calls, one after the other, so each operation says which of them it means
//! by its number: one that comes too late finds another number, and changes nothing. The stage and
//! the number are one word. A call that neither suspends nor waits only stores to it; the lock is for
//! those that do. `tests` at the bottom run every order of the race under `loom`.

use std::task::Waker;

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

/// The stage of the call that a record is used for.
pub(crate) struct Phase {
    /// The [`Stage`] in the lowest octet, the number of the call above it.
    word: AtomicU64,
    /// Who waits for `schedule`. A stage becomes `Suspended` without the lock, and leaves it under the
    /// lock: so a waker is never taken for the next call.
    waker: Mutex<Option<Waker>>,
    unblocked: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// Nobody uses the record, or the last call is being cleared away.
    Over,
    Running,
    RunningWoken,
    Suspending,
    SuspendingWoken,
    Suspended,
    Scheduled,
    Blocked,
    Unblocked,
    /// The script is gone; the plugin still has the context.
    Abandoned,
}

impl Stage {
    const ALL: [Self; 10] = [
        Self::Over,
        Self::Running,
        Self::RunningWoken,
        Self::Suspending,
        Self::SuspendingWoken,
        Self::Suspended,
        Self::Scheduled,
        Self::Blocked,
        Self::Unblocked,
        Self::Abandoned,
    ];
}

/// What to do when the C function has returned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// The value is there.
    Done,
    /// The script waits for `schedule`.
    Parked,
}

/// What `schedule` found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scheduled {
    /// The wake-up counts.
    Woken,
    /// The script is gone: the plugin gave the context back with this call.
    GivenBack,
    /// There was nothing to wake: a second `schedule`, or one after the end.
    Ignored,
}

impl Phase {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(word(0, Stage::Over)),
            waker: Mutex::new(None),
            unblocked: Condvar::new(),
        }
    }

    /// Begins the next call, by who has the record alone, and gives its number; it is below `numbers`.
    pub(crate) fn begin(&self, numbers: u32) -> u32 {
        let (last, _) = parts(self.word.load(Ordering::Relaxed));
        let number = (last + 1) % numbers;
        self.word.store(word(number, Stage::Running), Ordering::Release);
        number
    }

    /// Ends the call `number`, by who has its outcome.
    pub(crate) fn end(&self, number: u32) {
        self.word.store(word(number, Stage::Over), Ordering::Release);
    }

    /// Tells whether the call `number` is not over.
    pub(crate) fn is_live(&self, number: u32) -> bool {
        let (found, stage) = parts(self.word.load(Ordering::Acquire));
        found == number && stage != Stage::Over
    }

    /// The function asks to be suspended when it returns; false if it has no such right now.
    pub(crate) fn suspend_return(&self, number: u32) -> bool {
        let next = |stage| match stage {
            Stage::Running => Some(Stage::Suspending),
            Stage::RunningWoken => Some(Stage::SuspendingWoken),
            _ => None,
        };
        self.change(number, next).is_some()
    }

    /// Blocks the thread until `schedule`; false if it has no such right now.
    pub(crate) fn block(&self, number: u32) -> bool {
        let mut lock = self.lock();
        let next = |stage| match stage {
            Stage::Running => Some(Stage::Blocked),
            Stage::RunningWoken => Some(Stage::Running),
            _ => None,
        };
        match self.change(number, next) {
            None => return false,
            Some(Stage::RunningWoken) => return true,
            Some(_) => {}
        }
        while self.word.load(Ordering::Acquire) == word(number, Stage::Blocked) {
            lock = match self.unblocked.wait(lock) {
                Ok(lock) => lock,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
        drop(lock);
        self.change(number, |stage| (stage == Stage::Unblocked).then_some(Stage::Running));
        true
    }

    /// Wakes the script, from any thread.
    pub(crate) fn schedule(&self, number: u32) -> Scheduled {
        let mut known = self.lock();
        let next = |stage| match stage {
            Stage::Running => Some(Stage::RunningWoken),
            Stage::Suspending => Some(Stage::SuspendingWoken),
            Stage::Suspended | Stage::Abandoned => Some(Stage::Scheduled),
            Stage::Blocked => Some(Stage::Unblocked),
            _ => None,
        };
        match self.change(number, next) {
            None => return Scheduled::Ignored,
            Some(Stage::Abandoned) => return Scheduled::GivenBack,
            Some(Stage::Blocked) => self.unblocked.notify_one(),
            Some(Stage::Suspended) => {
                let waker = known.take();
                // A waker may run code of the runtime: never under the lock.
                drop(known);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Some(_) => {}
        }
        Scheduled::Woken
    }

    /// The C function of the call `number` returned.
    pub(crate) fn returned(&self, number: u32) -> Returned {
        // Nearly all calls do not suspend, and nothing but `suspend_return` makes one that does.
        if parts(self.word.load(Ordering::Acquire)).1 != Stage::Suspending {
            return Returned::Done;
        }
        let next = |stage| (stage == Stage::Suspending).then_some(Stage::Suspended);
        match self.change(number, next) {
            Some(_) => Returned::Parked,
            None => Returned::Done,
        }
    }

    /// Tells whether the parked call `number`, which was not polled yet, was scheduled.
    pub(crate) fn is_scheduled(&self, number: u32) -> bool {
        self.word.load(Ordering::Acquire) == word(number, Stage::Scheduled)
    }

    /// Tells whether the parked call `number` was scheduled; if not, `waker` is woken when it is.
    pub(crate) fn poll(&self, number: u32, waker: &Waker) -> bool {
        let mut known = self.lock();
        if self.word.load(Ordering::Acquire) != word(number, Stage::Suspended) {
            return true;
        }
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        false
    }

    /// The script of the parked call `number` is gone (a time limit, a closed connection). Tells
    /// whether the plugin still has the context, to give it back with `schedule`.
    pub(crate) fn abandon(&self, number: u32) -> bool {
        let mut known = self.lock();
        let next = |stage| (stage == Stage::Suspended).then_some(Stage::Abandoned);
        let is_held = self.change(number, next).is_some();
        let waker = known.take();
        drop(known);
        // The last handle of a task may be dropped here: not under the lock either.
        drop(waker);
        is_held
    }

    /// Moves the call `number` on and gives the stage it was in; `None` if there is no such move.
    fn change(&self, number: u32, next: impl Fn(Stage) -> Option<Stage>) -> Option<Stage> {
        let changed = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| {
            let (found, stage) = parts(old);
            if found == number { Some(word(number, next(stage)?)) } else { None }
        });
        changed.ok().map(|old| parts(old).1)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        match self.waker.lock() {
            Ok(waker) => waker,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

fn word(number: u32, stage: Stage) -> u64 {
    u64::from(number) << 8 | stage as u64
}

fn parts(word: u64) -> (u32, Stage) {
    let stage = Stage::ALL.get((word & 0xff) as usize).copied().unwrap_or(Stage::Over);
    ((word >> 8) as u32, stage)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::table::Kind;

    fn begun() -> (Phase, u32) {
        let phase = Phase::new();
        let call = phase.begin(Kind::Call.numbers());
        (phase, call)
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn a_wake_up_after_the_return_wakes_the_task_once() {
        let (count, waker) = counted();
        let (phase, call) = begun();
        assert!(phase.suspend_return(call));
        assert_eq!(phase.returned(call), Returned::Parked);
        assert!(!phase.poll(call, &waker));
        assert_eq!(phase.schedule(call), Scheduled::Woken);
        assert_eq!(phase.schedule(call), Scheduled::Ignored);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(phase.poll(call, &waker));
    }

    #[test]
    fn a_wake_up_before_suspending_is_kept() {
        let (phase, call) = begun();
        assert_eq!(phase.schedule(call), Scheduled::Woken);
        assert!(phase.suspend_return(call));
        assert_eq!(phase.returned(call), Returned::Done);

        let (phase, call) = begun();
        assert!(phase.suspend_return(call));
        assert_eq!(phase.schedule(call), Scheduled::Woken);
        assert_eq!(phase.returned(call), Returned::Done);

        let (phase, call) = begun();
        assert_eq!(phase.schedule(call), Scheduled::Woken);
        assert!(phase.block(call));
    }

    #[test]
    fn each_blocking_suspend_takes_one_wake_up() {
        let (phase, call) = begun();
        let phase = Arc::new(phase);
        phase.schedule(call);
        assert!(phase.block(call));
        let other = Arc::clone(&phase);
        let thread = std::thread::spawn(move || while other.schedule(call) != Scheduled::Woken {});
        assert!(phase.block(call));
        thread.join().unwrap();
        assert_eq!(phase.returned(call), Returned::Done);
    }

    #[test]
    fn who_comes_too_late_finds_another_number() {
        let (phase, call) = begun();
        assert!(phase.is_live(call));
        assert_eq!(phase.returned(call), Returned::Done);
        phase.end(call);
        assert!(!phase.is_live(call) && !phase.is_live(0));
        assert_eq!(phase.schedule(call), Scheduled::Ignored);
        let next = phase.begin(Kind::Call.numbers());
        assert!(phase.is_live(next) && !phase.is_live(call));
        assert_eq!(phase.schedule(call), Scheduled::Ignored);
        assert!(!phase.suspend_return(call) && !phase.block(call));
        assert!(phase.suspend_return(next));
        assert_eq!(phase.returned(next), Returned::Parked);
        assert!(!phase.abandon(call));
        assert_eq!(phase.schedule(call), Scheduled::Ignored);
        assert_eq!(phase.schedule(next), Scheduled::Woken);
        phase.end(next);
        let numbers: Vec<_> = (0..3).map(|_| phase.begin(4)).collect();
        assert_eq!(numbers, [3, 0, 1], "they begin again");
    }

    #[test]
    fn an_abandoned_call_is_given_back_by_its_schedule() {
        let (phase, call) = begun();
        phase.suspend_return(call);
        phase.returned(call);
        assert!(phase.abandon(call));
        assert_eq!(phase.schedule(call), Scheduled::GivenBack);
        assert_eq!(phase.schedule(call), Scheduled::Ignored);

        let (phase, call) = begun();
        phase.suspend_return(call);
        phase.returned(call);
        phase.schedule(call);
        assert!(!phase.abandon(call));
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::future::block_on;
    use loom::sync::Arc;
    use loom::thread;
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::table::Kind;

    fn begun() -> (Phase, u32) {
        let phase = Phase::new();
        let call = phase.begin(Kind::Call.numbers());
        (phase, call)
    }

    #[test]
    fn no_order_of_suspend_return_and_schedule_loses_the_wake_up() {
        loom::model(|| {
            let (phase, call) = begun();
            let phase = Arc::new(phase);
            let other = Arc::clone(&phase);
            let worker = thread::spawn(move || assert_eq!(other.schedule(call), Scheduled::Woken));
            assert!(phase.suspend_return(call));
            if phase.returned(call) == Returned::Parked {
                block_on(poll_fn(|context| match phase.poll(call, context.waker()) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }));
            }
            worker.join().unwrap();
        });
    }

    #[test]
    fn no_order_of_suspend_and_schedule_loses_the_wake_up() {
        loom::model(|| {
            let (phase, call) = begun();
            let phase = Arc::new(phase);
            let other = Arc::clone(&phase);
            let worker = thread::spawn(move || assert_eq!(other.schedule(call), Scheduled::Woken));
            assert!(phase.block(call));
            assert_eq!(phase.returned(call), Returned::Done);
            worker.join().unwrap();
        });
    }

    #[test]
    fn an_abandoned_call_is_given_back_exactly_once() {
        loom::model(|| {
            let (phase, call) = begun();
            let phase = Arc::new(phase);
            phase.suspend_return(call);
            assert_eq!(phase.returned(call), Returned::Parked);
            let other = Arc::clone(&phase);
            let worker = thread::spawn(move || other.schedule(call) == Scheduled::GivenBack);
            let is_held = phase.abandon(call);
            let is_given_back = worker.join().unwrap();
            assert_eq!(is_held, is_given_back);
        });
    }

    #[test]
    fn a_wake_up_of_the_call_before_never_takes_that_of_the_next() {
        loom::model(|| {
            let (phase, call) = begun();
            let phase = Arc::new(phase);
            phase.suspend_return(call);
            assert_eq!(phase.returned(call), Returned::Parked);
            let other = Arc::clone(&phase);
            let first = thread::spawn(move || other.schedule(call));
            if !phase.is_scheduled(call) {
                block_on(poll_fn(|context| match phase.poll(call, context.waker()) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }));
            }
            phase.end(call);
            let next = phase.begin(Kind::Call.numbers());
            phase.suspend_return(next);
            assert_eq!(phase.returned(next), Returned::Parked);
            let other = Arc::clone(&phase);
            let second = thread::spawn(move || assert_eq!(other.schedule(next), Scheduled::Woken));
            block_on(poll_fn(|context| match phase.poll(next, context.waker()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }));
            assert_eq!(first.join().unwrap(), Scheduled::Woken);
            second.join().unwrap();
        });
    }
}
