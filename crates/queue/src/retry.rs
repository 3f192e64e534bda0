//! When a failed message is tried again: the schedule of a transport.
//!
//! The *n*-th failure waits for interval *n*; after the list ends its last value repeats. A message
//! has `count` retries; the failure after the last of them expires it, and it bounces.

use std::time::Duration;

/// A transport's retry schedule: `retry.count` and `retry.intervals[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How many retries a message gets after its first attempt. 0 never retries.
    pub count: u32,
    /// Waiting times, first failure first. Empty is taken as [`Schedule::DEFAULT_INTERVAL`].
    pub intervals: Vec<Interval>,
}

/// One waiting time of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// How long to wait.
    pub delay: Duration,
    /// Whether a *delayed* DSN goes out when this interval is scheduled.
    pub notify: bool,
}

/// What the schedule says after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Wait and try again.
    Wait(Interval),
    /// The attempts are used up; the message bounces, with `expired` for the script.
    Expired,
}

impl Schedule {
    /// Wait between attempts when a transport names no interval: 30 minutes, the least that
    /// RFC 5321 §4.5.4.1 recommends.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1800);

    /// What follows when an attempt fails that was preceded by `retrycount` counted failures.
    ///
    /// An interval says `notify` only when it is reached, not each time the last one repeats: the
    /// sender is told once.
    pub fn after_failure(&self, retrycount: u32) -> Step {
        if retrycount >= self.count {
            return Step::Expired;
        }
        Step::Wait(self.interval(retrycount))
    }

    /// The waiting time after `retrycount` earlier failures, whether or not attempts are left:
    /// what a script's `Queue()` without `delay` waits.
    #[must_use]
    pub fn interval(&self, retrycount: u32) -> Interval {
        let nth = usize::try_from(retrycount).unwrap_or(usize::MAX);
        match (self.intervals.get(nth), self.intervals.last()) {
            (Some(interval), _) => *interval,
            (None, Some(last)) => Interval { delay: last.delay, notify: false },
            (None, None) => Interval { delay: Self::DEFAULT_INTERVAL, notify: false },
        }
    }
}

impl Schedule {
    /// The time from a failure that was preceded by `retrycount` counted ones to the last retry.
    #[must_use]
    pub fn remaining(&self, retrycount: u32) -> Duration {
        let listed = u32::try_from(self.intervals.len()).unwrap_or(u32::MAX).min(self.count);
        let mut total = Duration::ZERO;
        for nth in retrycount..listed {
            total = total.saturating_add(self.interval(nth).delay);
        }
        let repeated = self.count.saturating_sub(retrycount.max(listed));
        total.saturating_add(self.interval(u32::MAX).delay.saturating_mul(repeated))
    }
}

impl Default for Schedule {
    /// The schedule that everybody ships: 30 retries over 3.4 days.
    fn default() -> Self {
        let interval = |seconds, notify| Interval { delay: Duration::from_secs(seconds), notify };
        Self {
            count: 30,
            intervals: vec![
                interval(60, false),
                interval(900, false),
                interval(3600, true),
                interval(7200, false),
                interval(10_800, false),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_schedule_waits_as_documented() {
        let schedule = Schedule::default();
        for (retrycount, seconds, notify) in [
            (0, 60, false),
            (1, 900, false),
            (2, 3600, true),
            (3, 7200, false),
            (4, 10_800, false),
            (5, 10_800, false),
            (29, 10_800, false),
        ] {
            assert_eq!(
                schedule.after_failure(retrycount),
                Step::Wait(Interval { delay: Duration::from_secs(seconds), notify }),
                "{retrycount}"
            );
        }
        assert_eq!(schedule.after_failure(30), Step::Expired);
        assert_eq!(schedule.after_failure(u32::MAX), Step::Expired);
    }

    #[test]
    fn the_shipped_schedule_spans_three_days_and_a_half() {
        let schedule = Schedule::default();
        let mut total = Duration::ZERO;
        let mut retrycount = 0;
        while let Step::Wait(interval) = schedule.after_failure(retrycount) {
            total += interval.delay;
            retrycount += 1;
        }
        assert_eq!(total.as_secs(), 60 + 900 + 3600 + 7200 + 26 * 10_800);
        assert_eq!(schedule.remaining(0), total);
        assert_eq!(schedule.remaining(2).as_secs(), 3600 + 7200 + 26 * 10_800);
        assert_eq!(schedule.remaining(28).as_secs(), 2 * 10_800);
        assert_eq!(schedule.remaining(30), Duration::ZERO);
    }

    #[test]
    fn a_last_interval_that_notifies_does_so_once() {
        let schedule = Schedule {
            count: 9,
            intervals: vec![Interval { delay: Duration::from_secs(5), notify: true }],
        };
        let notifies = |retrycount| match schedule.after_failure(retrycount) {
            Step::Wait(interval) => interval.notify,
            Step::Expired => false,
        };
        assert!(notifies(0));
        assert!(!notifies(1));
    }

    #[test]
    fn without_retries_the_first_failure_expires() {
        let schedule = Schedule { count: 0, ..Schedule::default() };
        assert_eq!(schedule.after_failure(0), Step::Expired);
        // A script may still ask for a delay of its own.
        assert_eq!(schedule.interval(0).delay, Duration::from_secs(60));
        let empty = Schedule { count: 1, intervals: Vec::new() };
        assert_eq!(empty.interval(7).delay, Schedule::DEFAULT_INTERVAL);
    }
}
