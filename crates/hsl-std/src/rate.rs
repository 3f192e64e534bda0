//! `rate` (Misc chapter): how often something happened within the last seconds.
//!
//! The counters stand behind [`crate::services::Rates`]; [`LocalRates`] keeps them in this process.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use hsl::host::{NativeStep, Registry, Thrown};
use hsl::value::Value;
use parking_lot::Mutex;

use crate::args::{self, Options};
use crate::services::{RateAnswer, RateCounter, RateQuestion, RateStep, Rates, Services};

/// Registers the function.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    let rates = Arc::clone(&services.rates);
    registry.function(
        "rate(string namespace, string entry, number count, number interval [, array options]) \
         -> boolean or number or none",
        "counts one and is true, or is false over count in the interval; with count 0 the number",
        move |ctx, args| {
            let seconds = Duration::try_from_secs_f64(args::number(args, 3)).ok();
            let interval = seconds.filter(|interval| (SHORTEST..=LONGEST).contains(interval));
            let interval = interval.ok_or_else(|| {
                Thrown::new("rate() needs an interval between a millisecond and a year")
            })?;
            let limit = args::integer(args, 2);
            let limit = u64::try_from(limit)
                .map_err(|_| Thrown::new("rate() needs a count that is not negative"))?;
            let question = RateQuestion {
                namespace: args::bytes(args, 0).to_vec(),
                entry: args::bytes(args, 1).to_vec(),
                limit,
                interval,
                now: ctx.clock().monotonic(),
                is_shared: Options::new(args, 4).boolean("sync", true)?,
            };
            Ok::<_, Thrown>(match rates.ask(question) {
                RateStep::Ready(answer) => value(answer).into(),
                RateStep::Wait(answer) => {
                    NativeStep::suspend(async move { Ok(value(answer.await)) })
                }
            })
        },
    );
}

fn value(answer: RateAnswer) -> Value {
    match answer {
        RateAnswer::Counted => Value::Bool(true),
        RateAnswer::OverLimit => Value::Bool(false),
        RateAnswer::Number(number) => Value::Number(number as f64),
        RateAnswer::Failed => Value::None,
    }
}

/// Counters in this process, gone at its end.
///
/// Each is a sliding window in steps of 1/64 of its interval: something counts for the interval and
/// up to one step longer, never shorter. At most a million counters are kept; counters beyond that
/// are not made until others have run out.
pub struct LocalRates {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

struct Shard {
    counters: HashMap<Box<[u8]>, Window>,
    /// Counters at which those that ran out are thrown away.
    sweep_at: usize,
}

/// What happened lately, oldest first.
struct Window {
    interval: Duration,
    steps: std::collections::VecDeque<(u64, u32)>,
}

impl Default for LocalRates {
    fn default() -> Self {
        let shard = || Mutex::new(Shard { counters: HashMap::new(), sweep_at: FIRST_SWEEP });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new() }
    }
}

impl LocalRates {
    /// The counters that count something at `now`, in no order.
    pub fn list(&self, now: Duration) -> Vec<RateCounter> {
        let mut out = Vec::new();
        for shard in &self.shards {
            for (key, window) in &shard.lock().counters {
                let count = window.count(now, window.interval);
                let (Some((namespace, entry)), true) = (split_key(key), count > 0) else {
                    continue;
                };
                let since = nanoseconds(now.saturating_sub(window.interval));
                let inside = |start: &&(u64, u32)| start.0.saturating_add(window.step()) > since;
                let age = |start: &(u64, u32)| {
                    Duration::from_nanos(nanoseconds(now).saturating_sub(start.0))
                };
                out.push(RateCounter {
                    namespace: namespace.to_vec(),
                    entry: entry.to_vec(),
                    count,
                    oldest: window.steps.iter().find(inside).map(age).unwrap_or_default(),
                    newest: window.steps.back().map(age).unwrap_or_default(),
                });
            }
        }
        out
    }

    /// Forgets the counters that count something at `now` and that `wanted` says yes to, by namespace
    /// and entry; how many they were.
    pub fn clear(&self, now: Duration, mut wanted: impl FnMut(&[u8], &[u8]) -> bool) -> usize {
        let mut cleared = 0;
        for shard in &self.shards {
            shard.lock().counters.retain(|key, window| {
                let is_wanted = split_key(key).is_some_and(|(namespace, entry)| {
                    window.count(now, window.interval) > 0 && wanted(namespace, entry)
                });
                cleared += usize::from(is_wanted);
                !is_wanted
            });
        }
        cleared
    }
}

/// Namespace and entry of a key.
fn split_key(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = key.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)
}

impl Rates for LocalRates {
    fn ask(&self, question: RateQuestion) -> RateStep {
        RateStep::Ready(self.answer(&question))
    }
}

impl LocalRates {
    fn answer(&self, question: &RateQuestion) -> RateAnswer {
        // The length keeps "a" + "bc" and "ab" + "c" apart.
        let length = question.namespace.len() as u64;
        let key = [&length.to_be_bytes()[..], &question.namespace, &question.entry].concat();
        let index = usize::try_from(self.hasher.hash_one(&key)).unwrap_or_default() % SHARDS;
        let Some(shard) = self.shards.get(index) else { return RateAnswer::Failed };
        let shard = &mut *shard.lock();
        let RateQuestion { limit, interval, now, .. } = *question;
        if limit == 0 {
            let window = shard.counters.get(key.as_slice());
            let count = window.map_or(0, |window| window.count(now, interval));
            return RateAnswer::Number(count);
        }
        if !shard.counters.contains_key(key.as_slice()) && shard.counters.len() >= shard.sweep_at {
            shard.counters.retain(|_, window| window.count(now, window.interval) > 0);
            shard.sweep_at = (shard.counters.len() * 2).clamp(FIRST_SWEEP, MAX_PER_SHARD);
            if shard.counters.len() >= MAX_PER_SHARD {
                return RateAnswer::Failed;
            }
        }
        let window = shard
            .counters
            .entry(key.into_boxed_slice())
            .or_insert_with(|| Window { interval, steps: std::collections::VecDeque::new() });
        window.widen(interval);
        window.forget(now);
        if window.count(now, interval) >= limit {
            return RateAnswer::OverLimit;
        }
        window.add(now);
        RateAnswer::Counted
    }
}

impl Window {
    /// Octets of time in one step, in nanoseconds.
    fn step(&self) -> u64 {
        (nanoseconds(self.interval) / STEPS).max(1)
    }

    /// How many there were in the last `interval`.
    fn count(&self, now: Duration, interval: Duration) -> u64 {
        let since = nanoseconds(now.saturating_sub(interval));
        // A step counts until its end is outside.
        let is_inside = |start: u64| start.saturating_add(self.step()) > since;
        let inside = self.steps.iter().filter(|(start, _)| now <= interval || is_inside(*start));
        inside.map(|(_, count)| u64::from(*count)).sum()
    }

    fn add(&mut self, now: Duration) {
        let now = nanoseconds(now);
        let start = now - now % self.step();
        match self.steps.back_mut() {
            Some((last, count)) if *last >= start => *count = count.saturating_add(1),
            _ => self.steps.push_back((start, 1)),
        }
    }

    fn forget(&mut self, now: Duration) {
        let since = nanoseconds(now.saturating_sub(self.interval));
        let step = self.step();
        while self
            .steps
            .front()
            .is_some_and(|(start, _)| now > self.interval && start.saturating_add(step) <= since)
        {
            self.steps.pop_front();
        }
    }

    /// Keeps what happened for longer, in longer steps.
    fn widen(&mut self, interval: Duration) {
        if interval <= self.interval {
            return;
        }
        self.interval = interval;
        let step = self.step();
        let old = std::mem::take(&mut self.steps);
        for (start, count) in old {
            let start = start - start % step;
            match self.steps.back_mut() {
                Some((last, sum)) if *last == start => *sum = sum.saturating_add(count),
                _ => self.steps.push_back((start, count)),
            }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const STEPS: u64 = 64;
const SHARDS: usize = 64;
const FIRST_SWEEP: usize = 256;
const MAX_PER_SHARD: usize = 1_000_000 / SHARDS;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(rates: &LocalRates, entry: &str, limit: u64, interval: u64, at: f64) -> RateAnswer {
        rates.answer(&RateQuestion {
            namespace: b"n".to_vec(),
            entry: entry.as_bytes().to_vec(),
            limit,
            interval: Duration::from_secs(interval),
            now: Duration::from_secs_f64(1000.0 + at),
            is_shared: true,
        })
    }

    #[test]
    fn the_limit_holds_in_every_interval_and_refusals_do_not_count() {
        let rates = LocalRates::default();
        for at in [0.0, 10.0, 20.0] {
            assert_eq!(ask(&rates, "a", 3, 60, at), RateAnswer::Counted);
        }
        assert_eq!(ask(&rates, "a", 3, 60, 59.0), RateAnswer::OverLimit);
        assert_eq!(ask(&rates, "b", 3, 60, 59.0), RateAnswer::Counted);
        // One step (about a second) after the first has left.
        assert_eq!(ask(&rates, "a", 3, 60, 61.0), RateAnswer::Counted);
        assert_eq!(ask(&rates, "a", 3, 60, 62.0), RateAnswer::OverLimit);
        assert_eq!(ask(&rates, "a", 0, 60, 62.0), RateAnswer::Number(3));
        assert_eq!(ask(&rates, "a", 0, 10, 62.0), RateAnswer::Number(1));
        assert_eq!(ask(&rates, "a", 0, 60, 500.0), RateAnswer::Number(0));
    }

    #[test]
    fn counters_are_listed_with_their_age_and_cleared_by_name() {
        let rates = LocalRates::default();
        for at in [0.0, 10.0] {
            ask(&rates, "a", 3, 64, at);
        }
        ask(&rates, "b", 3, 10, 0.0);
        let now = Duration::from_secs(1032);
        let listed = rates.list(now);
        let [a] = listed.as_slice() else { panic!("b has run out: {listed:?}") };
        assert_eq!(
            (a.namespace.as_slice(), a.entry.as_slice(), a.count),
            (&b"n"[..], &b"a"[..], 2)
        );
        assert_eq!((a.oldest.as_secs(), a.newest.as_secs()), (32, 22));
        assert_eq!(rates.clear(now, |_, entry| entry == b"x"), 0);
        assert_eq!(rates.clear(now, |namespace, entry| namespace == b"n" && entry == b"a"), 1);
        assert_eq!(rates.list(now), []);
        assert_eq!(ask(&rates, "a", 0, 64, 32.0), RateAnswer::Number(0));
    }

    #[test]
    fn a_longer_interval_keeps_what_was_counted() {
        let rates = LocalRates::default();
        for at in 0..10 {
            ask(&rates, "a", 100, 10, f64::from(at));
        }
        assert_eq!(ask(&rates, "a", 100, 3600, 9.0), RateAnswer::Counted);
        assert_eq!(ask(&rates, "a", 0, 3600, 1000.0), RateAnswer::Number(11));
    }

    #[test]
    fn counters_that_ran_out_are_forgotten_and_there_is_a_most() {
        let rates = LocalRates::default();
        let many = FIRST_SWEEP * SHARDS * 3;
        for number in 0..many {
            // Each at its own second: nearly all have run out.
            ask(&rates, &number.to_string(), 1, 1, number as f64);
        }
        let kept: usize = rates.shards.iter().map(|shard| shard.lock().counters.len()).sum();
        assert!(kept <= FIRST_SWEEP * SHARDS, "{kept}");
        let window = Window { interval: Duration::from_secs(64), steps: Default::default() };
        let mut window = window;
        for at in 0..10_000 {
            window.forget(Duration::from_secs(at));
            window.add(Duration::from_secs(at));
        }
        assert!(window.steps.len() as u64 <= STEPS + 1);
    }
}
