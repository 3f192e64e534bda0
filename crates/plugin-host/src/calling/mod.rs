//! Every call into a plugin passes here: the thread notes which function of which plugin it is in,
//! and a call that holds the thread for long is reported.
//!
//! The note is what [`crash`] reads when the process dies; it costs two stores in thread-local
//! memory. The time costs two readings of the clock and, for [`watch`], two short locks of the
//! thread's own slot.

pub(crate) mod crash;
pub(crate) mod ranges;
mod slow;
pub(crate) mod watch;

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::plugin::Plugin;

pub(crate) use slow::SlowCalls;

/// What a thread is in: one call, on the stack of its caller.
struct Frame {
    plugin: *const str,
    function: *const str,
    /// What the thread was in before.
    outer: *const Self,
    /// Time in waits that the plugin asked the host for, which hold nobody up.
    waited: Cell<Duration>,
}

thread_local! {
    /// The innermost call of this thread. It has no destructor and a constant initial value, so that
    /// reading it in a signal handler is one load.
    static CURRENT: Cell<*const Frame> = const { Cell::new(std::ptr::null()) };
}

/// Takes the note back when a call is over.
struct Entered<'a>(&'a Frame);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.0.outer);
    }
}

/// Runs `call`, which is the function `function` of the plugin `id`. It may take its time: what
/// happens at start, shutdown and on command.
pub(crate) fn named<R>(id: &str, function: &str, call: impl FnOnce() -> R) -> R {
    enter(id, function, |_| call())
}

/// Runs `call`, which is `function` of `plugin` and must not hold its thread: a decision of the
/// queue, the start of a delivery, a function of scripts. When it does for [`slow::LONG`], the log
/// says so, and [`watch`] when it does not come back.
pub(crate) fn brief<R>(plugin: &Plugin, function: &str, call: impl FnOnce() -> R) -> R {
    enter(&plugin.id, function, |frame| {
        let begin = Instant::now();
        let result = watch::watched(&plugin.id, function, begin, call);
        let took = begin.elapsed();
        if took >= slow::LONG {
            plugin.slow_calls.note(&plugin.id, function, took.saturating_sub(frame.waited.get()));
        }
        result
    })
}

/// Runs a wait that the plugin asked for with `HalonMTA_hsl_suspend`: it does not count as slow.
pub(crate) fn apart(wait: impl FnOnce()) {
    let begin = Instant::now();
    watch::hidden(wait);
    let current = CURRENT.get();
    if !current.is_null() {
        // SAFETY: a frame outlives its call, and this thread is in it.
        let waited = unsafe { &(*current).waited };
        waited.set(waited.get() + begin.elapsed());
    }
}

fn enter<R>(id: &str, function: &str, call: impl FnOnce(&Frame) -> R) -> R {
    let frame = Frame {
        plugin: std::ptr::from_ref(id),
        function: std::ptr::from_ref(function),
        outer: CURRENT.get(),
        waited: Cell::new(Duration::ZERO),
    };
    CURRENT.set(&raw const frame);
    let entered = Entered(&frame);
    call(entered.0)
}

/// The plugin and the function that this thread is in. Safe in a signal handler.
fn current<'a>() -> Option<(&'a str, &'a str)> {
    let frame = CURRENT.try_with(Cell::get).ok().filter(|frame| !frame.is_null())?;
    // SAFETY: the frame and its texts outlive the call, and this thread is in it; a handler that
    // reads them runs on top of it.
    unsafe { Some((&*(*frame).plugin, &*(*frame).function)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_knows_the_innermost_call_it_is_in() {
        assert_eq!(current(), None);
        named("outer", "Halon_init", || {
            assert_eq!(current(), Some(("outer", "Halon_init")));
            named("inner", "f", || assert_eq!(current(), Some(("inner", "f"))));
            assert_eq!(current(), Some(("outer", "Halon_init")));
            std::thread::spawn(|| assert_eq!(current(), None)).join().unwrap();
        });
        assert_eq!(current(), None);
    }

    #[test]
    fn waits_of_the_host_are_set_apart() {
        enter("p", "f", |frame| {
            let (begin, wait) = (Instant::now(), Duration::from_micros(50));
            apart(|| while begin.elapsed() < wait {});
            assert!(frame.waited.get() > Duration::ZERO);
        });
        // Outside of any call there is nothing to add to.
        apart(|| {});
    }
}
