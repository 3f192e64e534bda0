//! Calls that hold a thread of the host for too long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// From here on a call is reported. A pickup callback that takes this long lets ten messages go in a
/// second.
pub(super) const LONG: Duration = Duration::from_millis(100);

/// The same function is reported once in this time.
const PERIOD: Duration = Duration::from_secs(60);

/// The slow calls of one plugin, by function.
#[derive(Default)]
pub(crate) struct SlowCalls(Mutex<HashMap<Box<str>, Tally>>);

/// What happened since the function was last reported.
struct Tally {
    reported: Instant,
    calls: u64,
    longest: Duration,
}

/// What one line of the log says.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    /// Slow calls since the line before, this one included.
    calls: u64,
    longest: Duration,
}

impl SlowCalls {
    /// Counts a call that took `took`; logs it, or leaves it to the next line about the function.
    pub(super) fn note(&self, plugin: &str, function: &str, took: Duration) {
        if took < LONG {
            return;
        }
        if let Some(Report { calls, longest }) = self.count(function, took, Instant::now()) {
            tracing::warn!(
                plugin,
                function,
                took_ms = took.as_millis() as u64,
                calls,
                longest_ms = longest.as_millis() as u64,
                "plugin.call_slow"
            );
        }
    }

    fn count(&self, function: &str, took: Duration, now: Instant) -> Option<Report> {
        let mut tallies = self.0.lock();
        let Some(tally) = tallies.get_mut(function) else {
            let tally = Tally { reported: now, calls: 0, longest: Duration::ZERO };
            tallies.insert(function.into(), tally);
            return Some(Report { calls: 1, longest: took });
        };
        tally.calls += 1;
        tally.longest = tally.longest.max(took);
        if now.saturating_duration_since(tally.reported) < PERIOD {
            return None;
        }
        let report = Report { calls: tally.calls, longest: tally.longest };
        *tally = Tally { reported: now, calls: 0, longest: Duration::ZERO };
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_reported_once_in_a_period_with_what_happened_meanwhile() {
        let calls = SlowCalls::default();
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let report = |calls, seconds| Some(Report { calls, longest: second * seconds });
        assert_eq!(calls.count("f", second, begin), report(1, 1));
        assert_eq!(calls.count("f", second * 5, begin + second), None);
        assert_eq!(calls.count("g", second, begin + second), report(1, 1), "each for itself");
        assert_eq!(calls.count("f", second, begin + second * 59), None);
        assert_eq!(calls.count("f", second * 2, begin + second * 60), report(3, 5));
        assert_eq!(calls.count("f", second, begin + second * 61), None);
        assert_eq!(calls.count("f", second, begin + second * 120), report(2, 1));
    }
}
