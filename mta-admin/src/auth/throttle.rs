//! The brake on guessing passwords: attempts per address and per user within a window.
//!
//! An attempt is counted before the password is looked at, so that many at once do not slip through,
//! and taken back when it succeeds. IPv6 addresses count by their /64 network, which one person has.
//! The clock is an argument; the table is bounded.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::{Duration, Instant},
};

/// Failures are forgotten after so long.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Failed attempts of one address within the window.
pub const MAX_PER_ADDRESS: u32 = 10;
/// Failed attempts for one user within the window, from anywhere. Higher, as strangers can use it up.
pub const MAX_PER_USER: u32 = 30;
/// Addresses and users that are remembered.
const MAX_KEYS: usize = 20_000;

/// What attempts are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    User(String),
}

impl Key {
    const fn limit(&self) -> u32 {
        match self {
            Self::Address(_) => MAX_PER_ADDRESS,
            Self::User(_) => MAX_PER_USER,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    attempts: u32,
    since: Instant,
}

/// Counts attempts.
#[derive(Debug, Default)]
pub struct Throttle {
    counts: Mutex<HashMap<Key, Count>>,
}

/// An attempt that may go on; [`Throttle::succeed`] takes it back.
#[derive(Debug)]
#[must_use]
pub struct Attempt([Key; 2]);

impl Throttle {
    /// Counts an attempt.
    ///
    /// # Errors
    ///
    /// How long to wait, when there were too many.
    pub fn attempt(
        &self,
        address: IpAddr,
        username: &str,
        now: Instant,
    ) -> Result<Attempt, Duration> {
        // Nobody has such a name; a long one must not fill the table.
        let username: String = username.chars().take(64).collect();
        let keys = [Key::Address(network(address)), Key::User(username)];
        let mut counts = self.lock();
        let wait = keys.iter().filter_map(|key| {
            let count = counts.get(key)?;
            let age = now.saturating_duration_since(count.since);
            (count.attempts >= key.limit() && age < WINDOW).then(|| WINDOW - age)
        });
        if let Some(wait) = wait.max() {
            return Err(wait);
        }
        if counts.len() + keys.len() > MAX_KEYS {
            counts.retain(|_, count| now.saturating_duration_since(count.since) < WINDOW);
        }
        if counts.len() + keys.len() > MAX_KEYS {
            // An attack from that many networks: start over rather than lock everybody out.
            counts.clear();
        }
        for key in &keys {
            let count = counts.entry(key.clone()).or_insert(Count { attempts: 0, since: now });
            if now.saturating_duration_since(count.since) >= WINDOW {
                *count = Count { attempts: 0, since: now };
            }
            count.attempts += 1;
        }
        Ok(Attempt(keys))
    }

    /// Forgets the failures of someone who knew the password.
    pub fn succeed(&self, attempt: Attempt) {
        let mut counts = self.lock();
        let [address, user] = attempt.0;
        // Somebody with one account must not get to guess at another without end.
        if let Some(count) = counts.get_mut(&address) {
            count.attempts = count.attempts.saturating_sub(1);
        }
        counts.remove(&user);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Count>> {
        // A panic elsewhere leaves whole counts behind.
        self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn fail(throttle: &Throttle, address: IpAddr, user: &str, times: u32, now: Instant) {
        for _ in 0..times {
            let _ = throttle.attempt(address, user, now).unwrap();
        }
    }

    #[test]
    fn an_address_is_stopped_whatever_names_it_tries() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..MAX_PER_ADDRESS {
            fail(&throttle, HOME, &format!("user{number}"), 1, now);
        }
        let minute = Duration::from_secs(60);
        assert_eq!(throttle.attempt(HOME, "other", now + minute).unwrap_err(), WINDOW - minute);
        assert!(throttle.attempt("192.0.2.2".parse().unwrap(), "other", now).is_ok());
        assert!(throttle.attempt(HOME, "other", now + WINDOW).is_ok());
    }

    #[test]
    fn a_user_is_protected_from_many_addresses() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..MAX_PER_USER {
            let address = IpAddr::V4((0x0a00_0000 + number).into());
            fail(&throttle, address, "eve", 1, now);
        }
        assert!(throttle.attempt(HOME, "eve", now).is_err());
        assert!(throttle.attempt(HOME, "bob", now).is_ok());
    }

    #[test]
    fn success_does_not_count_but_keeps_failures_of_the_address() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..MAX_PER_ADDRESS * 3 {
            let attempt = throttle.attempt(HOME, "eve", now).unwrap();
            throttle.succeed(attempt);
        }
        fail(&throttle, HOME, "bob", MAX_PER_ADDRESS - 1, now);
        let attempt = throttle.attempt(HOME, "eve", now).unwrap();
        throttle.succeed(attempt);
        fail(&throttle, HOME, "bob", 1, now);
        assert!(throttle.attempt(HOME, "bob", now).is_err());
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..MAX_PER_ADDRESS {
            let address = format!("2001:db8::{number:x}").parse().unwrap();
            fail(&throttle, address, "a", 1, now);
        }
        assert!(throttle.attempt("2001:db8::ffff".parse().unwrap(), "b", now).is_err());
        assert!(throttle.attempt("2001:db8:0:1::1".parse().unwrap(), "b", now).is_ok());
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), HOME);
    }

    #[test]
    fn the_table_stays_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..30_000_u32 {
            let _ = throttle.attempt(IpAddr::V4(number.into()), &number.to_string(), now);
        }
        assert!(throttle.lock().len() <= MAX_KEYS);
    }
}
