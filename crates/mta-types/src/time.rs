//! Wall-clock time as it is stored and shown; durations on the monotonic clock stay `Instant`s.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point of wall-clock time in microseconds since 1970-01-01T00:00:00Z, never before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The beginning of the epoch, also the value of "no time known".
    pub const EPOCH: Self = Self(0);

    /// Takes microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Takes whole seconds since the epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Takes seconds with a fraction, as scripts and the control protocol give them.
    ///
    /// Negative values and NaN become the epoch; values past the range its end.
    #[must_use]
    pub fn from_seconds_f64(seconds: f64) -> Self {
        // A float-to-integer cast saturates and turns NaN into 0.
        Self((seconds * 1e6) as u64)
    }

    /// Takes the system's time; before the epoch it is the epoch.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Seconds since the epoch with their fraction.
    #[must_use]
    pub fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The same point for the standard library.
    #[must_use]
    pub fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }

    /// The point `by` later; stays at the end of the range.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Time that has passed since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strange_numbers_become_usable_times() {
        assert_eq!(Timestamp::from_seconds_f64(f64::NAN), Timestamp::EPOCH);
        assert_eq!(Timestamp::from_seconds_f64(-5.0), Timestamp::EPOCH);
        assert_eq!(Timestamp::from_seconds_f64(1.5).as_micros(), 1_500_000);
        assert_eq!(Timestamp::from_seconds_f64(f64::INFINITY), Timestamp::from_micros(u64::MAX));
    }

    #[test]
    fn differences_do_not_wrap() {
        let early = Timestamp::from_secs(10);
        assert_eq!(early.saturating_since(Timestamp::from_secs(20)), Duration::ZERO);
        assert_eq!(Timestamp::from_secs(20).saturating_since(early), Duration::from_secs(10));
        assert_eq!(early.saturating_add(Duration::from_secs(5)).as_secs(), 15);
    }
}
