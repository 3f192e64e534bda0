//! Rate algorithms: how many more may go now, and when the next one may.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mta_types::Timestamp;

/// `count` messages per `interval`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    count: u32,
    interval: Duration,
}

impl Rate {
    /// At most `count` messages per `interval`.
    ///
    /// `None` when the count is 0 ("no such limit" in the protocol and the plugin interface) or the
    /// interval is shorter than a millisecond or longer than 100 years.
    #[must_use]
    pub fn new(count: u32, interval: Duration) -> Option<Self> {
        let usable = Duration::from_millis(1)..=Duration::from_secs(100 * 366 * 86_400);
        (count > 0 && usable.contains(&interval)).then_some(Self { count, interval })
    }

    /// Messages per interval.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The interval.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    fn micros(&self) -> f64 {
        self.interval.as_micros() as f64
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    /// Parses `N` (per second) and `N/seconds`, the seconds with a fraction if need be.
    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let (count, seconds) = text.split_once('/').unwrap_or((text, "1"));
        let seconds: f64 = seconds.trim().parse().map_err(|_| InvalidRate)?;
        let interval = Duration::try_from_secs_f64(seconds).map_err(|_| InvalidRate)?;
        let count = count.trim().parse().map_err(|_| InvalidRate)?;
        Self::new(count, interval).ok_or(InvalidRate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.interval.as_secs_f64())
    }
}

/// The text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRate;

impl fmt::Display for InvalidRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a rate of the form `messages` or `messages/seconds`")
    }
}

impl std::error::Error for InvalidRate {}

/// How a rate is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// A bucket of `count` tokens that refills evenly over the interval: a burst of `count` at the
    /// start, then one every `interval / count`.
    #[default]
    TokenBucket,
    /// `count` in each interval, which begins with the first message after the last one ended.
    FixedWindow,
}

/// The state of one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    algorithm: Algorithm,
    /// How many the rate allowed when `tokens` was right.
    count: u32,
    /// Tokens left at `at`; below none in a fixed window whose rate was lowered.
    tokens: f64,
    /// When `tokens` was right (bucket), or when the window began (fixed window).
    at: Timestamp,
}

impl Window {
    /// A window in which nothing has happened.
    #[must_use]
    pub fn new(algorithm: Algorithm, rate: Rate, now: Timestamp) -> Self {
        Self { algorithm, count: rate.count, tokens: f64::from(rate.count), at: now }
    }

    /// When the next message may go: `now` or a later time.
    ///
    /// A clock that went backwards stands still until it has caught up. A rate that changed counts from
    /// here on in a bucket; in a fixed window what went since its beginning counts against the new one.
    pub fn ready_at(&mut self, rate: Rate, now: Timestamp) -> Timestamp {
        self.advance(rate, now);
        if self.tokens >= 1.0 - EPSILON {
            return now;
        }
        let wait = match self.algorithm {
            Algorithm::TokenBucket => (1.0 - self.tokens) * rate.micros() / f64::from(rate.count),
            Algorithm::FixedWindow => {
                let elapsed = now.saturating_since(self.at).as_micros() as f64;
                rate.micros() - elapsed
            }
        };
        // At least one microsecond on, so that a caller that waits always makes progress.
        let wait = Duration::from_micros(wait.ceil().max(1.0) as u64);
        now.max(self.at).saturating_add(wait)
    }

    /// Counts one message.
    pub fn take(&mut self, rate: Rate, now: Timestamp) {
        self.advance(rate, now);
        self.tokens -= 1.0;
    }

    /// Gives back `tokens`, or everything, as the rate refill command does.
    pub fn refill(&mut self, rate: Rate, tokens: Option<f64>) {
        self.follow(rate);
        let full = f64::from(rate.count);
        self.tokens = match tokens {
            Some(tokens) if tokens.is_finite() => (self.tokens + tokens.max(0.0)).min(full),
            _ => full,
        };
    }

    /// Gives back what a message took at `taken` that did not go after all. An interval that has begun
    /// since then did not count it.
    pub fn give_back(&mut self, rate: Rate, taken: Timestamp) {
        self.follow(rate);
        if self.algorithm == Algorithm::TokenBucket || self.at <= taken {
            self.tokens = (self.tokens + 1.0).min(f64::from(rate.count));
        }
    }

    /// When the window will be as if nothing had happened, so that it can be forgotten.
    pub fn idle_at(&mut self, rate: Rate, now: Timestamp) -> Timestamp {
        self.advance(rate, now);
        let missing = f64::from(rate.count) - self.tokens;
        if missing <= EPSILON {
            return now;
        }
        let wait = match self.algorithm {
            Algorithm::TokenBucket => missing * rate.micros() / f64::from(rate.count),
            Algorithm::FixedWindow => {
                rate.micros() - now.saturating_since(self.at).as_micros() as f64
            }
        };
        now.max(self.at).saturating_add(Duration::from_micros(wait.ceil().max(1.0) as u64))
    }

    /// Takes over a rate that may have changed.
    fn follow(&mut self, rate: Rate) {
        if self.algorithm == Algorithm::FixedWindow {
            self.tokens += f64::from(rate.count) - f64::from(self.count);
        }
        self.count = rate.count;
    }

    fn advance(&mut self, rate: Rate, now: Timestamp) {
        self.follow(rate);
        let full = f64::from(rate.count);
        if now <= self.at {
            self.tokens = self.tokens.min(full);
            return;
        }
        let elapsed = now.saturating_since(self.at).as_micros() as f64;
        match self.algorithm {
            Algorithm::TokenBucket => {
                self.tokens = (self.tokens + elapsed * full / rate.micros()).min(full);
                self.at = now;
            }
            Algorithm::FixedWindow => {
                // An untouched window has not begun.
                if elapsed >= rate.micros() || self.tokens >= full {
                    self.tokens = full;
                    self.at = now;
                }
            }
        }
    }
}

/// Tokens are sums of fractions; this much below a whole one is rounding.
const EPSILON: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000_000 + micros)
    }

    #[test]
    fn rates_are_parsed_and_printed() {
        for (text, count, millis) in
            [("50", 50, 1000), ("1000/60", 1000, 60_000), ("1/0.5", 1, 500), (" 3 / 2 ", 3, 2000)]
        {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.count(), rate.interval().as_millis()), (count, millis), "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
        for text in ["", "0", "-1", "1/0", "1/-1", "1/x", "x", "1/nan", "1/1e300"] {
            assert_eq!(text.parse::<Rate>(), Err(InvalidRate), "{text}");
        }
    }

    #[test]
    fn a_bucket_lets_a_burst_go_and_then_one_at_a_time() {
        let rate: Rate = "10/1".parse().unwrap();
        let mut window = Window::new(Algorithm::TokenBucket, rate, at(0));
        for _ in 0..10 {
            assert_eq!(window.ready_at(rate, at(0)), at(0));
            window.take(rate, at(0));
        }
        assert_eq!(window.ready_at(rate, at(0)), at(100_000));
        assert_eq!(window.ready_at(rate, at(100_000)), at(100_000));
        window.take(rate, at(100_000));
        assert_eq!(window.ready_at(rate, at(100_000)), at(200_000));
        assert_eq!(window.idle_at(rate, at(100_000)), at(1_100_000));
    }

    #[test]
    fn a_fixed_window_begins_with_its_first_message() {
        let rate: Rate = "2/1".parse().unwrap();
        let mut window = Window::new(Algorithm::FixedWindow, rate, at(0));
        window.take(rate, at(700_000));
        window.take(rate, at(800_000));
        assert_eq!(window.ready_at(rate, at(900_000)), at(1_700_000));
        assert_eq!(window.ready_at(rate, at(1_700_000)), at(1_700_000));
    }

    #[test]
    fn a_fixed_window_counts_what_went_when_its_rate_changes() {
        let (low, high): (Rate, Rate) = ("2/10".parse().unwrap(), "4/10".parse().unwrap());
        let mut window = Window::new(Algorithm::FixedWindow, low, at(0));
        window.take(low, at(0));
        window.take(low, at(1));
        assert_eq!(window.ready_at(low, at(2)), at(10_000_000));
        for taken in 3..5 {
            assert_eq!(window.ready_at(high, at(taken)), at(taken), "raised");
            window.take(high, at(taken));
        }
        assert_eq!(window.ready_at(high, at(5)), at(10_000_000));
        let mut window = Window::new(Algorithm::FixedWindow, high, at(0));
        window.take(high, at(0));
        window.take(high, at(1));
        assert_eq!(window.ready_at(low, at(2)), at(10_000_000), "lowered to what went");
        window.refill(high, None);
        assert_eq!(window.idle_at(high, at(3)), at(3), "filled, not more");
        let mut untouched = Window::new(Algorithm::FixedWindow, low, at(0));
        untouched.take(high, at(5_000_000));
        assert_eq!(untouched.idle_at(high, at(5_000_000)), at(15_000_000), "begins with its first");
    }

    #[test]
    fn a_refill_never_overfills() {
        let rate: Rate = "2/10".parse().unwrap();
        let mut window = Window::new(Algorithm::TokenBucket, rate, at(0));
        window.take(rate, at(0));
        window.take(rate, at(0));
        window.refill(rate, Some(1.0));
        assert_eq!(window.ready_at(rate, at(0)), at(0));
        window.refill(rate, Some(1e9));
        window.take(rate, at(0));
        window.take(rate, at(0));
        assert!(window.ready_at(rate, at(0)) > at(0));
        window.refill(rate, None);
        assert_eq!(window.idle_at(rate, at(0)), at(0));
    }

    #[test]
    fn what_did_not_go_is_given_back_within_its_interval() {
        let rate: Rate = "2/1".parse().unwrap();
        for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow] {
            let mut window = Window::new(algorithm, rate, at(0));
            window.take(rate, at(0));
            window.take(rate, at(1000));
            assert!(window.ready_at(rate, at(2000)) > at(2000));
            window.give_back(rate, at(1000));
            assert_eq!(window.ready_at(rate, at(2000)), at(2000));
            // Never more than the rate allows.
            window.give_back(rate, at(0));
            window.give_back(rate, at(0));
            window.take(rate, at(2000));
            window.take(rate, at(2000));
            assert!(window.ready_at(rate, at(2000)) > at(2000));
        }
        let mut window = Window::new(Algorithm::FixedWindow, rate, at(0));
        window.take(rate, at(0));
        window.take(rate, at(1_000_000));
        window.take(rate, at(1_000_000));
        window.give_back(rate, at(0));
        assert!(window.ready_at(rate, at(1_000_000)) > at(1_000_000), "that was another interval");
    }

    proptest::proptest! {
        #[test]
        fn waiting_until_ready_always_helps(
            count in 1_u32..50,
            millis in 1_u64..100_000,
            fixed: bool,
            steps in proptest::collection::vec(0_u64..50_000, 1..200),
        ) {
            let rate = Rate::new(count, Duration::from_millis(millis)).unwrap();
            let algorithm = if fixed { Algorithm::FixedWindow } else { Algorithm::TokenBucket };
            let mut now = at(0);
            let mut window = Window::new(algorithm, rate, now);
            for step in steps {
                now = now.saturating_add(Duration::from_micros(step));
                let ready = window.ready_at(rate, now);
                proptest::prop_assert!(ready >= now);
                now = ready;
                proptest::prop_assert_eq!(window.ready_at(rate, now), now);
                window.take(rate, now);
            }
        }

        #[test]
        fn no_span_sees_more_than_a_burst_and_its_refill(
            count in 1_u32..20,
            millis in 1_u64..10_000,
            steps in proptest::collection::vec(0_u64..20_000, 1..300),
        ) {
            let rate = Rate::new(count, Duration::from_millis(millis)).unwrap();
            let mut now = at(0);
            let mut window = Window::new(Algorithm::TokenBucket, rate, now);
            let mut taken = 0_u64;
            for step in steps {
                now = now.saturating_add(Duration::from_micros(step));
                if window.ready_at(rate, now) == now {
                    window.take(rate, now);
                    taken += 1;
                }
            }
            let elapsed = now.saturating_since(at(0)).as_micros() as f64;
            let most = f64::from(count) * (1.0 + elapsed / (millis as f64 * 1000.0)) + 0.01;
            proptest::prop_assert!(taken as f64 <= most);
        }
    }
}
