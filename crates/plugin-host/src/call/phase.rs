//! Where a call of a plugin stands: the one place where suspending and scheduling meet.
//!
//! | stage | `suspend_return` | `block` | `schedule` | `returned` |
//! | --- | --- | --- | --- | --- |
//! | running | suspending | blocked, then running | running, woken | done |
//! | running, woken | suspending, woken | running | – | done |
//! | suspending | – | – | suspending, woken | suspended |
//! | suspending, woken | – | – | – | done |
//! | suspended | – | – | scheduled, wakes the task | – |
//! | scheduled | – | – | – | – |
//! | blocked | – | – | wakes the thread: running | – |
//! | abandoned | – | – | done, gives the call back | – |
//!
//! `–` changes nothing. The wake-up may come from any thread at any time after the call began, also
//! before the function says that it suspends; it is never lost. `tests` at the bottom run every
//! order of the race under `loom`.

use std::task::Waker;

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};

/// The stage of one call.
pub(crate) struct Phase {
    stage: Mutex<Stage>,
    unblocked: Condvar,
}

enum Stage {
    Running,
    RunningWoken,
    Suspending,
    SuspendingWoken,
    Suspended(Option<Waker>),
    Scheduled,
    Blocked,
    Unblocked,
    /// The script is gone; the plugin still has the context.
    Abandoned,
    Done,
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
        Self { stage: Mutex::new(Stage::Running), unblocked: Condvar::new() }
    }

    /// The function asks to be suspended when it returns; false if it has no such right now.
    pub(crate) fn suspend_return(&self) -> bool {
        let mut stage = self.lock();
        match *stage {
            Stage::Running => *stage = Stage::Suspending,
            Stage::RunningWoken => *stage = Stage::SuspendingWoken,
            _ => return false,
        }
        true
    }

    /// Blocks the thread until `schedule`; false if it has no such right now.
    pub(crate) fn block(&self) -> bool {
        let mut stage = self.lock();
        match *stage {
            Stage::RunningWoken => {
                *stage = Stage::Running;
                return true;
            }
            Stage::Running => *stage = Stage::Blocked,
            _ => return false,
        }
        while !matches!(*stage, Stage::Unblocked) {
            stage = match self.unblocked.wait(stage) {
                Ok(stage) => stage,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
        *stage = Stage::Running;
        true
    }

    /// Wakes the script, from any thread.
    pub(crate) fn schedule(&self) -> Scheduled {
        let mut stage = self.lock();
        let waker = match &mut *stage {
            Stage::Running => {
                *stage = Stage::RunningWoken;
                None
            }
            Stage::Suspending => {
                *stage = Stage::SuspendingWoken;
                None
            }
            Stage::Suspended(waker) => {
                let waker = waker.take();
                *stage = Stage::Scheduled;
                waker
            }
            Stage::Blocked => {
                *stage = Stage::Unblocked;
                self.unblocked.notify_one();
                None
            }
            Stage::Abandoned => {
                *stage = Stage::Done;
                return Scheduled::GivenBack;
            }
            _ => return Scheduled::Ignored,
        };
        // A waker may run code of the runtime: never under the lock.
        drop(stage);
        if let Some(waker) = waker {
            waker.wake();
        }
        Scheduled::Woken
    }

    /// The C function returned.
    pub(crate) fn returned(&self) -> Returned {
        let mut stage = self.lock();
        if matches!(*stage, Stage::Suspending) {
            *stage = Stage::Suspended(None);
            return Returned::Parked;
        }
        *stage = Stage::Done;
        Returned::Done
    }

    /// Tells whether a parked call was scheduled; if not, `waker` is woken when it is.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let mut stage = self.lock();
        match &mut *stage {
            Stage::Suspended(known) => {
                if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    *known = Some(waker.clone());
                }
                false
            }
            _ => {
                *stage = Stage::Done;
                true
            }
        }
    }

    /// The script is gone (a time limit, a closed connection). Tells whether the plugin still has
    /// the context, to give it back with `schedule`.
    pub(crate) fn abandon(&self) -> bool {
        let mut stage = self.lock();
        let is_held = matches!(*stage, Stage::Suspended(_));
        *stage = if is_held { Stage::Abandoned } else { Stage::Done };
        is_held
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        match self.stage.lock() {
            Ok(stage) => stage,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

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
        let phase = Phase::new();
        assert!(phase.suspend_return());
        assert_eq!(phase.returned(), Returned::Parked);
        assert!(!phase.poll(&waker));
        assert_eq!(phase.schedule(), Scheduled::Woken);
        assert_eq!(phase.schedule(), Scheduled::Ignored);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(phase.poll(&waker));
    }

    #[test]
    fn a_wake_up_before_suspending_is_kept() {
        let phase = Phase::new();
        assert_eq!(phase.schedule(), Scheduled::Woken);
        assert!(phase.suspend_return());
        assert_eq!(phase.returned(), Returned::Done);

        let phase = Phase::new();
        assert!(phase.suspend_return());
        assert_eq!(phase.schedule(), Scheduled::Woken);
        assert_eq!(phase.returned(), Returned::Done);

        let phase = Phase::new();
        assert_eq!(phase.schedule(), Scheduled::Woken);
        assert!(phase.block());
    }

    #[test]
    fn each_blocking_suspend_takes_one_wake_up() {
        let phase = Arc::new(Phase::new());
        phase.schedule();
        assert!(phase.block());
        let other = Arc::clone(&phase);
        let thread = std::thread::spawn(move || while other.schedule() != Scheduled::Woken {});
        assert!(phase.block());
        thread.join().unwrap();
        assert_eq!(phase.returned(), Returned::Done);
    }

    #[test]
    fn an_abandoned_call_is_given_back_by_its_schedule() {
        let phase = Phase::new();
        phase.suspend_return();
        phase.returned();
        assert!(phase.abandon());
        assert_eq!(phase.schedule(), Scheduled::GivenBack);
        assert_eq!(phase.schedule(), Scheduled::Ignored);

        let phase = Phase::new();
        phase.suspend_return();
        phase.returned();
        phase.schedule();
        assert!(!phase.abandon());
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

    #[test]
    fn no_order_of_suspend_return_and_schedule_loses_the_wake_up() {
        loom::model(|| {
            let phase = Arc::new(Phase::new());
            let other = Arc::clone(&phase);
            let worker = thread::spawn(move || assert_eq!(other.schedule(), Scheduled::Woken));
            assert!(phase.suspend_return());
            if phase.returned() == Returned::Parked {
                block_on(poll_fn(|context| match phase.poll(context.waker()) {
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
            let phase = Arc::new(Phase::new());
            let other = Arc::clone(&phase);
            let worker = thread::spawn(move || assert_eq!(other.schedule(), Scheduled::Woken));
            assert!(phase.block());
            assert_eq!(phase.returned(), Returned::Done);
            worker.join().unwrap();
        });
    }

    #[test]
    fn an_abandoned_call_is_given_back_exactly_once() {
        loom::model(|| {
            let phase = Arc::new(Phase::new());
            phase.suspend_return();
            assert_eq!(phase.returned(), Returned::Parked);
            let other = Arc::clone(&phase);
            let worker = thread::spawn(move || other.schedule() == Scheduled::GivenBack);
            let is_held = phase.abandon();
            let is_given_back = worker.join().unwrap();
            assert_eq!(is_held, is_given_back);
        });
    }
}
