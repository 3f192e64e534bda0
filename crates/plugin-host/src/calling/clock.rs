//! The clock of calls: the one that the kernel brings up to date with its own timer tick.
//!
//! Reading it is a load from memory that the kernel shares, on every machine; the exact clock reads
//! a counter of the processor, or makes a system call where that cannot be trusted. It is up to ten
//! milliseconds behind, which does not matter where calls of a hundred milliseconds are looked for.

use std::ops::Add;
use std::time::Duration;

/// A time since some fixed point, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn now() -> Self {
        Self::of(libc::CLOCK_MONOTONIC_COARSE)
    }

    /// The same time by the exact clock.
    pub(super) fn exact() -> Self {
        Self::of(libc::CLOCK_MONOTONIC)
    }

    fn of(clock: libc::clockid_t) -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the structure is ours. It stays zero should there be no such clock.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        Self((time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64))
    }

    /// The time from `earlier` to this moment; zero if it is later.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(super) fn to_raw(self) -> u64 {
        self.0
    }

    pub(super) fn from_raw(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// How far the coarse clock may be behind: a hundred ticks a second are the fewest.
pub(super) const BEHIND: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_exact_clock_is_never_behind_the_coarse_one() {
        let coarse = Moment::now();
        let exact = Moment::exact();
        assert!(exact.to_raw() >= coarse.to_raw());
    }

    #[test]
    fn the_clock_goes_on_about_as_fast_as_the_exact_one() {
        let (exact, coarse) = (Instant::now(), Moment::now());
        while Moment::now() == coarse {
            assert!(exact.elapsed() < Duration::from_secs(5), "it stands still");
        }
        let behind = exact.elapsed().abs_diff(Moment::now().since(coarse));
        assert!(behind < Duration::from_secs(1), "{behind:?}");
    }
}
