//! Earlier statistics, to make rates from: two samples of each host, some seconds apart.
//!
//! The clock is an argument. All viewers share the samples, so their number does not matter.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use control::pb::ProcessStatsResponse;

/// A sample serves as the earlier one once it is this old.
const MIN_AGE: Duration = Duration::from_secs(4);
/// An older sample says nothing about now.
const MAX_AGE: Duration = Duration::from_secs(120);

/// Samples by host.
#[derive(Debug, Default)]
pub struct StatsHistory {
    by_host: Mutex<HashMap<String, Samples>>,
}

/// Counters that rates are made from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counters {
    delivered: u64,
    delayed: u64,
    failed: u64,
    received: u64,
}

impl Counters {
    fn of(stats: &ProcessStatsResponse) -> Self {
        let delivery = stats.queue.as_ref().and_then(|queue| queue.delivery).unwrap_or_default();
        let received = stats
            .servers
            .iter()
            .filter_map(|server| server.scripts.as_ref()?.eod.as_ref())
            .map(|eod| eod.finished)
            .fold(0, u64::saturating_add);
        let (delivered, delayed, failed) = (delivery.delivered, delivery.delayed, delivery.failed);
        Self { delivered, delayed, failed, received }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    taken: Instant,
    pid: u64,
    counters: Counters,
}

#[derive(Clone, Copy, Debug)]
struct Samples {
    earlier: Option<Sample>,
    latest: Sample,
}

/// Events per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Delivered messages.
    pub delivered: f64,
    /// Failed attempts that will be repeated.
    pub delayed: f64,
    /// Messages that failed for good.
    pub failed: f64,
    /// Messages received, in runs of the end-of-data hook.
    pub received: f64,
}

impl StatsHistory {
    /// Notes statistics of a host; returns rates when there is an earlier sample of the same process.
    pub fn note(&self, host: &str, stats: &ProcessStatsResponse, now: Instant) -> Option<Rates> {
        let pid = stats.process.as_ref().map_or(0, |process| process.pid);
        let sample = Sample { taken: now, pid, counters: Counters::of(stats) };
        let mut by_host = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        let samples =
            by_host.entry(host.to_owned()).or_insert(Samples { earlier: None, latest: sample });
        if now.saturating_duration_since(samples.latest.taken) >= MIN_AGE {
            samples.earlier = Some(samples.latest);
            samples.latest = sample;
        }
        // A daemon that was restarted counts from zero.
        let earlier = samples.earlier.filter(|earlier| {
            earlier.pid == pid && now.saturating_duration_since(earlier.taken) <= MAX_AGE
        })?;
        let seconds = now.saturating_duration_since(earlier.taken).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "rates are shown with few digits")]
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
        let (new, old) = (sample.counters, earlier.counters);
        Some(Rates {
            delivered: rate(new.delivered, old.delivered),
            delayed: rate(new.delayed, old.delayed),
            failed: rate(new.failed, old.failed),
            received: rate(new.received, old.received),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::pb::process_stats_response::{Process, Queue, queue::Delivery};

    fn stats(pid: u64, delivered: u64) -> ProcessStatsResponse {
        let delivery = Delivery { delivered, ..Delivery::default() };
        ProcessStatsResponse {
            process: Some(Process { pid, ..Process::default() }),
            queue: Some(Queue { delivery: Some(delivery), ..Queue::default() }),
            ..ProcessStatsResponse::default()
        }
    }

    #[test]
    fn a_rate_is_the_growth_since_the_sample_before() {
        let (history, start) = (StatsHistory::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(history.note("a", &stats(1, 100), at(0)), None);
        assert_eq!(history.note("b", &stats(1, 0), at(1)), None);
        assert_eq!(history.note("a", &stats(1, 150), at(5)).unwrap().delivered, 10.0);
        assert_eq!(history.note("a", &stats(1, 160), at(8)).unwrap().delivered, 7.5);
        assert_eq!(history.note("a", &stats(1, 250), at(10)).unwrap().delivered, 20.0);
    }

    #[test]
    fn a_restarted_daemon_and_old_samples_have_no_rate() {
        let (history, start) = (StatsHistory::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        history.note("a", &stats(1, 100), at(0));
        assert_eq!(history.note("a", &stats(2, 5), at(5)), None);
        assert_eq!(history.note("a", &stats(2, 5), at(1000)), None);
    }
}
