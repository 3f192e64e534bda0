//! Calls that have not come back: one thread looks at what the others are in.
//!
//! A call that never returns would not be reported by [`super::brief`], and it may be the one that
//! every delivery waits for. Each thread has a slot and says there what it is in, by plain stores that
//! only it makes. The watching thread reads them at any moment; a number that is odd while the rest
//! changes tells it whether what it read belongs together (a sequence lock).

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::clock::Moment;
use super::site::Site;

/// From here on a call that has not come back is reported, once.
const HANGING: Duration = Duration::from_secs(5);

/// How often the watching thread looks.
const TICK: Duration = Duration::from_secs(1);

/// What one thread is in. Slots are never freed; that of a thread that ended goes to the next one.
#[derive(Default)]
pub(super) struct Slot {
    /// Changes with every call shown; odd while `site` and `begin` do not belong together.
    number: AtomicU64,
    /// The innermost call; NULL outside of calls.
    site: AtomicPtr<Site>,
    /// When it began, less the time of waits that the plugin asked for.
    begin: AtomicU64,
    /// Site and beginning of the call that was reported last. Only the watching thread uses them.
    reported: Mutex<(usize, u64)>,
    is_taken: AtomicBool,
}

/// A call, as a slot shows it.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    site: *mut Site,
    begin: Moment,
}

/// The slots of all threads that ever made a call.
static SLOTS: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());

/// A call that hangs.
#[derive(Debug, PartialEq, Eq)]
struct Hanging {
    plugin: &'static str,
    function: &'static str,
    since: Duration,
}

/// Starts the watching thread, the first time. It lives as long as the process.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let watch = std::thread::Builder::new().name("plugin-watch".into()).spawn(|| {
            loop {
                std::thread::park_timeout(TICK);
                for Hanging { plugin, function, since } in look(Moment::now()) {
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

impl Slot {
    /// Takes a slot for the calling thread, which gives it back with [`Self::give_back`].
    pub(super) fn take() -> &'static Self {
        let mut slots = SLOTS.lock();
        let free = slots.iter().find(|slot| !slot.is_taken.load(Ordering::Acquire)).copied();
        let slot = free.unwrap_or_else(|| {
            let slot: &'static Self = Box::leak(Box::default());
            slots.push(slot);
            slot
        });
        slot.is_taken.store(true, Ordering::Relaxed);
        slot
    }

    pub(super) fn give_back(&self) {
        self.site.store(std::ptr::null_mut(), Ordering::Relaxed);
        self.is_taken.store(false, Ordering::Release);
    }

    /// Shows a call that begins, and gives what was shown before. Only the slot's thread calls it.
    pub(super) fn show(&self, site: &'static Site, begin: Moment) -> Shown {
        let outer = self.shown();
        self.put(Shown { site: std::ptr::from_ref(site).cast_mut(), begin });
        outer
    }

    /// Shows what was shown before, when a call or a wait ends.
    pub(super) fn put_back(&self, shown: Shown) {
        if shown.site.is_null() {
            // Without a site the rest means nothing.
            self.site.store(std::ptr::null_mut(), Ordering::Release);
        } else {
            self.put(shown);
        }
    }

    /// Runs a wait that the plugin asked the host for: the call does not hang meanwhile.
    pub(super) fn hidden(&self, wait: impl FnOnce()) {
        let shown = self.shown();
        self.put_back(Shown { site: std::ptr::null_mut(), ..shown });
        let begin = Instant::now();
        wait();
        self.put_back(Shown { begin: shown.begin + begin.elapsed(), ..shown });
    }

    fn shown(&self) -> Shown {
        Shown {
            site: self.site.load(Ordering::Relaxed),
            begin: Moment::from_raw(self.begin.load(Ordering::Relaxed)),
        }
    }

    fn put(&self, shown: Shown) {
        let number = self.number.load(Ordering::Relaxed);
        self.number.store(number + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.site.store(shown.site, Ordering::Relaxed);
        self.begin.store(shown.begin.to_raw(), Ordering::Relaxed);
        self.number.store(number + 2, Ordering::Release);
    }

    /// What the thread is in; `None` outside of calls, and while that changes.
    fn read(&self) -> Option<(&'static Site, Moment)> {
        let number = self.number.load(Ordering::Acquire);
        let site = self.site.load(Ordering::Relaxed);
        let begin = Moment::from_raw(self.begin.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let is_whole = number.is_multiple_of(2) && self.number.load(Ordering::Relaxed) == number;
        // SAFETY: NULL, or a site, which is never freed.
        let site = unsafe { site.as_ref() }?;
        is_whole.then_some((site, begin))
    }
}

/// The calls that hang and were not reported yet.
fn look(now: Moment) -> Vec<Hanging> {
    let slots = SLOTS.lock().clone();
    let report = |slot: &&'static Slot| {
        let (site, begin) = slot.read()?;
        let since = now.since(begin);
        if since < HANGING {
            return None;
        }
        let call = (std::ptr::from_ref(site).addr(), begin.to_raw());
        if std::mem::replace(&mut *slot.reported.lock(), call) == call {
            return None;
        }
        Some(Hanging { plugin: &site.plugin, function: &site.function, since })
    };
    slots.iter().filter_map(report).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::super::site::Sites;
    use super::*;

    #[test]
    fn a_call_that_does_not_come_back_is_reported_once() {
        let (entered, has_entered) = mpsc::sync_channel(1);
        let (release, released) = mpsc::sync_channel::<()>(1);
        let begin = Moment::now();
        let thread = std::thread::spawn(move || {
            let sites = Sites::new(&Arc::from("hanger"));
            let pause = || {
                entered.send(()).unwrap();
                released.recv().unwrap();
            };
            let slot = Slot::take();
            let nothing = slot.show(sites.of("outer"), begin);
            let outer = slot.show(sites.of("inner"), begin);
            pause();
            slot.put_back(outer);
            pause();
            slot.hidden(pause);
            slot.put_back(nothing);
            slot.give_back();
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

    #[test]
    fn what_is_read_while_calls_go_on_belongs_together() {
        let sites = Sites::new(&Arc::from("pairs"));
        let (even, odd) = (sites.of("even"), sites.of("odd"));
        let slot: &'static Slot = Box::leak(Box::default());
        let moment = |at: u64| Moment::from_raw(at);
        let writer = std::thread::spawn(move || {
            for at in 1..200_000 {
                let before = slot.show(if at % 2 == 0 { even } else { odd }, moment(at));
                slot.put_back(before);
            }
        });
        while !writer.is_finished() {
            if let Some((site, begin)) = slot.read() {
                let expected = if begin.to_raw() % 2 == 0 { "even" } else { "odd" };
                assert_eq!(&*site.function, expected);
            }
        }
        writer.join().unwrap();
    }
}
