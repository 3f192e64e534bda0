//! A result that arrives once: wait for it on a thread, or await it in any runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};

use crate::error::CommitError;

/// The outcome of a commit, change or end, when it has one.
///
/// Dropping it does not stop the operation.
///
/// # Cancel safety
///
/// As a future it may be dropped at any time; the operation goes on.
#[derive(Debug)]
#[must_use = "an operation counts only once its completion says so; drop it explicitly if nobody waits"]
pub struct Completion {
    slot: Arc<Slot>,
}

impl Completion {
    /// Blocks the thread until the outcome is there. Not for use on a runtime's worker threads.
    ///
    /// # Errors
    ///
    /// What the operation met; [`CommitError::Closed`] when the spool went away first.
    pub fn wait(self) -> Result<(), CommitError> {
        let mut state = self.slot.state.lock();
        loop {
            if let Some(outcome) = state.outcome.take() {
                return outcome;
            }
            self.slot.arrived.wait(&mut state);
        }
    }

    /// Takes the outcome if it is there already.
    pub fn try_take(&mut self) -> Option<Result<(), CommitError>> {
        self.slot.state.lock().outcome.take()
    }

    pub(crate) fn pair() -> (Completer, Self) {
        let slot = Arc::new(Slot::default());
        (Completer { how: Some(How::Slot(Arc::clone(&slot))) }, Self { slot })
    }

    pub(crate) fn ready(outcome: Result<(), CommitError>) -> Self {
        let (completer, completion) = Self::pair();
        completer.complete(outcome);
        completion
    }
}

impl Future for Completion {
    type Output = Result<(), CommitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.state.lock();
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<(), CommitError>>,
    waker: Option<Waker>,
}

type Callback = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

/// The other end of a [`Completion`] or a callback: says the outcome once, `Closed` when dropped.
pub(crate) struct Completer {
    how: Option<How>,
}

enum How {
    Slot(Arc<Slot>),
    Call(Callback),
}

impl Completer {
    pub(crate) fn call(callback: Callback) -> Self {
        Self { how: Some(How::Call(callback)) }
    }

    /// An end nobody listens at.
    pub(crate) fn ignored() -> Self {
        Self { how: None }
    }

    pub(crate) fn complete(mut self, outcome: Result<(), CommitError>) {
        self.fire(outcome);
    }

    fn fire(&mut self, outcome: Result<(), CommitError>) {
        match self.how.take() {
            Some(How::Slot(slot)) => {
                let waker = {
                    let mut state = slot.state.lock();
                    state.outcome = Some(outcome);
                    state.waker.take()
                };
                slot.arrived.notify_all();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Some(How::Call(callback)) => {
                // One caller's bug, told by the panic hook, must not stop everybody's commits.
                let call = std::panic::AssertUnwindSafe(|| callback(outcome));
                drop(std::panic::catch_unwind(call));
            }
            None => {}
        }
    }
}

impl Drop for Completer {
    fn drop(&mut self) {
        self.fire(Err(CommitError::Closed));
    }
}

impl std::fmt::Debug for Completer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Completer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_completer_tells_the_waiter() {
        let (completer, completion) = Completion::pair();
        drop(completer);
        assert!(matches!(completion.wait(), Err(CommitError::Closed)));
    }

    #[test]
    fn a_future_is_woken_by_the_outcome() {
        struct Flag(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let flag = Arc::new(Flag(false.into()));
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        let (completer, mut completion) = Completion::pair();
        assert!(Pin::new(&mut completion).poll(&mut cx).is_pending());
        completer.complete(Ok(()));
        assert!(flag.0.load(std::sync::atomic::Ordering::SeqCst));
        assert!(matches!(Pin::new(&mut completion).poll(&mut cx), Poll::Ready(Ok(()))));
    }
}
