//! Contexts that plugins still have although nobody waits for them: calls whose scripts are gone, and
//! deliveries that the daemon gave up. Each ends when its plugin gives it back.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::door::door;

/// How many there are.
#[derive(Default)]
pub(crate) struct Outstanding {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// One that is to be cleared away.
struct GivenBack;

impl Outstanding {
    /// Counts one more: before its plugin can learn that it may be given back.
    pub(crate) fn add(&self) {
        *self.count.lock() += 1;
    }

    /// Counts one less.
    pub(crate) fn remove(&self) {
        *self.count.lock() -= 1;
        self.fewer.notify_all();
    }

    /// Waits until there are none, at most until `deadline`. Returns how many are left.
    pub(crate) fn wait(&self, deadline: Instant) -> usize {
        let mut count = self.count.lock();
        while *count > 0 && !self.fewer.wait_until(&mut count, deadline).timed_out() {}
        *count
    }
}

impl Drop for GivenBack {
    fn drop(&mut self) {
        door().outstanding.remove();
    }
}

/// Clears away what its plugin gave back, on a thread of the runtime that it was left on: objects go
/// with it, and the plugin may hold a lock that the callback which frees them takes. Where that
/// runtime has ended, what `clear` would free stays.
pub(crate) fn clear_elsewhere(
    runtime: Option<tokio::runtime::Handle>,
    clear: impl FnOnce() + Send + 'static,
) {
    let given_back = GivenBack;
    let clear = move || {
        clear();
        drop(given_back);
    };
    match runtime {
        Some(runtime) => {
            runtime.spawn_blocking(clear);
        }
        None => clear(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_wait_ends_with_the_last_one_or_in_time() {
        let outstanding = Outstanding::default();
        let now = Instant::now();
        assert_eq!(outstanding.wait(now), 0);
        outstanding.add();
        outstanding.add();
        assert_eq!(outstanding.wait(now + Duration::from_millis(1)), 2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                outstanding.remove();
                outstanding.remove();
            });
            assert_eq!(outstanding.wait(now + Duration::from_secs(60)), 0);
        });
    }
}
