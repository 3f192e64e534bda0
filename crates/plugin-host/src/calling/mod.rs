//! Every call into a plugin passes here: the thread notes which function of which plugin it is in,
//! and a call that holds the thread for long is reported.
//!
//! The note is what [`crash`] reads when the process dies; it costs two stores in thread-local
//! memory. The time costs two readings of the kernel's coarse clock and, for [`watch`], a few stores
//! in the thread's own slot.

mod clock;
pub(crate) mod crash;
pub(crate) mod ranges;
mod site;
mod slow;
pub(crate) mod stack;
pub(crate) mod watch;

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::plugin::Plugin;

use clock::Moment;
use watch::Slot;

pub(crate) use site::{Site, Sites};
pub(crate) use slow::SlowCalls;

/// What a thread is in: one call, on the stack of its caller.
struct Frame {
    plugin: *const str,
    function: *const str,
    /// What the thread was in before.
    outer: *const Self,
    /// Time in waits that the plugin asked the host for, which hold nobody up.
    waited: Cell<Duration>,
    /// The function, if it is one that scripts call and that has no place to wait inside C yet.
    without_place: Cell<Option<&'static Site>>,
}

/// What a thread knows of its calls.
struct Thread {
    /// The innermost call.
    current: Cell<*const Frame>,
    /// Where [`watch`] looks, once there was a call to look at.
    slot: Cell<Option<&'static Slot>>,
}

thread_local! {
    /// It has no destructor and a constant initial value, so that reading it in a signal handler is
    /// one load.
    static THREAD: Thread =
        const { Thread { current: Cell::new(std::ptr::null()), slot: Cell::new(None) } };

    /// Gives the slot back when the thread ends.
    static OWNER: SlotOwner = SlotOwner(Slot::take());
}

struct SlotOwner(&'static Slot);

impl Drop for SlotOwner {
    fn drop(&mut self) {
        let _ = THREAD.try_with(|thread| thread.slot.set(None));
        self.0.give_back();
    }
}

/// Takes the note back when a call is over.
struct Entered<'a>(&'a Frame);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        THREAD.with(|thread| thread.current.set(self.0.outer));
    }
}

/// Runs `call`, which is the function `function` of the plugin `id`. It may take its time: what
/// happens at start, shutdown and on command.
pub(crate) fn named<R>(id: &str, function: &str, call: impl FnOnce() -> R) -> R {
    enter(id, function, |_| call())
}

/// Runs `call`, which is the function `site` of `plugin` and must not hold its thread: a decision of
/// the queue, the start of a delivery, a function of scripts. When it does for [`slow::LONG`], the
/// log says so, and [`watch`] when it does not come back.
#[inline]
pub(crate) fn brief<R>(plugin: &Plugin, site: &'static Site, call: impl FnOnce() -> R) -> R {
    enter(&site.plugin, &site.function, |frame| {
        let begin = Moment::now();
        let result = match slot() {
            Some(slot) => {
                let outer = slot.show(site, begin);
                let result = call();
                slot.put_back(outer);
                result
            }
            None => call(),
        };
        if Moment::now().since(begin) + clock::BEHIND >= slow::LONG {
            // The beginning may be some milliseconds early: no call is said to be shorter than it was.
            let took = Moment::exact().since(begin).saturating_sub(frame.waited.get());
            plugin.slow_calls.note(&site.plugin, &site.function, took);
        }
        result
    })
}

/// Runs `call` as [`brief`] does, for a script. `has_place` tells whether it may wait inside C.
#[inline]
pub(crate) fn of_script<R>(
    plugin: &Plugin,
    site: &'static Site,
    has_place: bool,
    call: impl FnOnce() -> R,
) -> R {
    brief(plugin, site, || {
        if !has_place {
            current_frame(|frame| frame.without_place.set(Some(site)));
        }
        call()
    })
}

/// The function of the innermost call of this thread, if it needs a place to wait inside C and has
/// none.
pub(crate) fn takes_place() -> Option<&'static Site> {
    current_frame(|frame| frame.without_place.get())?
}

fn current_frame<R>(then: impl FnOnce(&Frame) -> R) -> Option<R> {
    let current = THREAD.with(|thread| thread.current.get());
    // SAFETY: a frame outlives its call, and this thread is in it.
    (!current.is_null()).then(|| then(unsafe { &*current }))
}

/// Runs a wait that the plugin asked for with `HalonMTA_hsl_suspend`: it does not count as slow.
pub(crate) fn apart(wait: impl FnOnce()) {
    let begin = Instant::now();
    match slot() {
        Some(slot) => slot.hidden(wait),
        None => wait(),
    }
    current_frame(|frame| frame.waited.set(frame.waited.get() + begin.elapsed()));
}

#[inline]
fn enter<R>(id: &str, function: &str, call: impl FnOnce(&Frame) -> R) -> R {
    let frame = THREAD.with(|thread| Frame {
        plugin: std::ptr::from_ref(id),
        function: std::ptr::from_ref(function),
        outer: thread.current.get(),
        waited: Cell::new(Duration::ZERO),
        without_place: Cell::new(None),
    });
    THREAD.with(|thread| thread.current.set(&raw const frame));
    let entered = Entered(&frame);
    call(entered.0)
}

/// The slot of this thread, taken the first time; `None` while the thread ends.
#[inline]
fn slot() -> Option<&'static Slot> {
    THREAD.with(|thread| thread.slot.get()).or_else(first_slot)
}

#[cold]
fn first_slot() -> Option<&'static Slot> {
    let slot = OWNER.try_with(|owner| owner.0).ok()?;
    THREAD.with(|thread| thread.slot.set(Some(slot)));
    Some(slot)
}

/// The plugin and the function that this thread is in. Safe in a signal handler.
fn current<'a>() -> Option<(&'a str, &'a str)> {
    let frame = THREAD.try_with(|thread| thread.current.get()).ok()?;
    if frame.is_null() {
        return None;
    }
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
