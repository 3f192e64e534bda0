//! Rates: `N` (per second) or `N/seconds` (`"1000/60"`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{InvalidValue, duration};

/// At most `count` deliveries within `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Messages allowed in one interval.
    pub count: u64,
    /// Length of the interval, over zero.
    pub interval: Duration,
}

impl FromStr for Rate {
    type Err = InvalidValue;

    /// Parses `N`, meaning N per second, or `N/interval`, the interval being a duration.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidValue::new("a rate such as `50` (per second) or `1000/60`");
        let (count, interval) = text.split_once('/').unwrap_or((text, "1"));
        if count.is_empty() || !count.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(invalid());
        }
        let count = count.parse().map_err(|_| invalid())?;
        let interval = duration::parse(interval).map_err(|_| invalid())?;
        if interval.is_zero() {
            return Err(invalid());
        }
        Ok(Self { count, interval })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.interval == Duration::from_secs(1) {
            write!(f, "{}", self.count)
        } else {
            write!(f, "{}/{}", self.count, duration::print(self.interval))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms() {
        assert_eq!("50".parse(), Ok(Rate { count: 50, interval: Duration::from_secs(1) }));
        assert_eq!("1000/60".parse(), Ok(Rate { count: 1000, interval: Duration::from_secs(60) }));
        assert_eq!("10/1h".parse(), Ok(Rate { count: 10, interval: Duration::from_secs(3600) }));
    }

    #[test]
    fn refuses_an_empty_interval() {
        for text in ["", "/", "5/", "/5", "5/0", "-5", "1.5", "5/60/2"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
