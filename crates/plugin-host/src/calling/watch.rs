//! Calls that have not come back: one thread looks at what the others are in.
//!
//! A call that never returns would not be reported by [`super::brief`], and it may be the one that
//! every delivery waits for. Each thread has a slot, locked for a moment when a call begins and
//! ends; so what the watching thread reads under that lock is there.

use std::cell::RefCell;
use std::sync::{Arc, Once, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// From here on a call that has not come back is reported, once.
const HANGING: Duration = Duration::from_secs(5);

/// How often the watching thread looks.
const TICK: Duration = Duration::from_secs(1);

/// The call that a thread is in.
struct Running {
    plugin: *const str,
    function: *const str,
    begin: Instant,
    is_reported: bool,
}

// SAFETY: the texts outlive the entry (see `Slot`), and are only read.
unsafe impl Send for Running {}

/// The outermost call of one thread. The entry is taken out before the call's caller goes on, so the
/// texts live as long as the lock shows them.
#[derive(Default)]
struct Slot(Mutex<Option<Running>>);

/// The slots of all threads that made a call.
static SLOTS: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());

thread_local! {
    static SLOT: RefCell<Option<Arc<Slot>>> = const { RefCell::new(None) };
}

/// A call that hangs.
#[derive(Debug, PartialEq, Eq)]
struct Hanging {
    plugin: String,
    function: String,
    since: Duration,
}

/// Starts the watching thread, the first time. It lives as long as the process.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let watch = std::thread::Builder::new().name("plugin-watch".into()).spawn(|| {
            loop {
                std::thread::park_timeout(TICK);
                for Hanging { plugin, function, since } in look(Instant::now()) {
                    let for_ms = since.as_millis() as u64;
                    tracing::error!(plugin, function, for_ms, "plugin.call_hangs");
                }
            }
        });
        if let Err(error) = watch {
            tracing::warn!(%error, "plugin.watch_failed");
        }
    });
}

/// Runs `call`, which is `function` of `plugin` and began at `begin`, in view of the watching thread.
pub(super) fn watched<R>(
    plugin: &str,
    function: &str,
    begin: Instant,
    call: impl FnOnce() -> R,
) -> R {
    // At the end of a thread there may be no slot any more.
    let Some(slot) = slot() else { return call() };
    let running = Running {
        plugin: std::ptr::from_ref(plugin),
        function: std::ptr::from_ref(function),
        begin,
        is_reported: false,
    };
    let _shown = Shown { outer: slot.0.lock().replace(running), slot: Arc::clone(&slot) };
    call()
}

/// Runs a wait that the plugin asked the host for: the call does not hang meanwhile.
pub(super) fn hidden(wait: impl FnOnce()) {
    let begin = Instant::now();
    let running = slot().and_then(|slot| slot.0.lock().take());
    wait();
    if let (Some(slot), Some(running)) = (slot(), running) {
        let begin = running.begin + begin.elapsed();
        *slot.0.lock() = Some(Running { begin, ..running });
    }
}

/// Puts back what the thread was in before, or nothing, when a call ends.
struct Shown {
    outer: Option<Running>,
    slot: Arc<Slot>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        *self.slot.0.lock() = self.outer.take();
    }
}

/// The slot of this thread, made the first time.
fn slot() -> Option<Arc<Slot>> {
    SLOT.try_with(|known| {
        let mut known = known.borrow_mut();
        let slot = known.get_or_insert_with(|| {
            let slot = Arc::new(Slot::default());
            SLOTS.lock().push(Arc::downgrade(&slot));
            slot
        });
        Arc::clone(slot)
    })
    .ok()
}

/// The calls that hang and were not reported yet; slots of threads that ended are forgotten.
fn look(now: Instant) -> Vec<Hanging> {
    let slots: Vec<_> = {
        let mut slots = SLOTS.lock();
        slots.retain(|slot| slot.strong_count() > 0);
        slots.iter().filter_map(Weak::upgrade).collect()
    };
    let report = |slot: &Arc<Slot>| {
        let mut shown = slot.0.lock();
        let running = shown.as_mut().filter(|running| !running.is_reported)?;
        let since = now.saturating_duration_since(running.begin);
        if since < HANGING {
            return None;
        }
        running.is_reported = true;
        // SAFETY: the call takes its entry away under this lock before it gives the texts up.
        let (plugin, function) = unsafe { (&*running.plugin, &*running.function) };
        Some(Hanging { plugin: plugin.to_owned(), function: function.to_owned(), since })
    };
    slots.iter().filter_map(report).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_call_that_does_not_come_back_is_reported_once() {
        let (entered, has_entered) = mpsc::sync_channel(1);
        let (release, released) = mpsc::sync_channel::<()>(1);
        let begin = Instant::now();
        let thread = std::thread::spawn(move || {
            watched("hanger", "outer", begin, || {
                watched("hanger", "inner", begin, || {
                    entered.send(()).unwrap();
                    released.recv().unwrap();
                });
                entered.send(()).unwrap();
                released.recv().unwrap();
                hidden(|| {
                    entered.send(()).unwrap();
                    released.recv().unwrap();
                });
            });
        });
        // Other tests of this process have slots too.
        let ours = |at: Duration| -> Vec<_> {
            let all = look(begin + at).into_iter();
            all.filter(|hanging| hanging.plugin == "hanger").map(|one| one.function).collect()
        };
        has_entered.recv().unwrap();
        assert!(ours(HANGING / 2).is_empty());
        assert_eq!(ours(HANGING), ["inner"]);
        assert!(ours(HANGING * 2).is_empty(), "once");
        release.send(()).unwrap();
        has_entered.recv().unwrap();
        assert_eq!(ours(HANGING), ["outer"], "the call that goes on");
        release.send(()).unwrap();
        has_entered.recv().unwrap();
        assert!(ours(HANGING * 9).is_empty(), "a wait that was asked for");
        release.send(()).unwrap();
        thread.join().unwrap();
        assert!(ours(HANGING * 9).is_empty());
    }
}
