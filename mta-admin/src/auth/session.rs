//! Sessions: kept here, named by a random token in a cookie; they end with time, logout and restart.
//!
//! The clock is an argument. The table is bounded per user and as a whole; the session that rested
//! longest gives way.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::random_token;

/// A session ends after so long without a request.
pub const IDLE: Duration = Duration::from_secs(60 * 60);
/// A session ends after so long in any case.
pub const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions of one user at a time.
pub const MAX_PER_USER: usize = 20;

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The name of the user.
    pub username: String,
    /// What forms of this session must carry.
    pub csrf: String,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    by_token: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    session: Session,
    started: Instant,
    used: Instant,
    notice: Option<String>,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= IDLE
            || now.saturating_duration_since(self.started) >= LIFETIME
    }
}

impl Sessions {
    /// Starts a session and returns the token that names it.
    pub fn start(&self, username: &str, now: Instant) -> String {
        let token = random_token();
        let session = Session { username: username.to_owned(), csrf: random_token() };
        let entry = Entry { session, started: now, used: now, notice: None };
        let mut by_token = self.lock();
        by_token.retain(|_, entry| !entry.is_over(now));
        let of_user = by_token.iter().filter(|(_, entry)| entry.session.username == username);
        if of_user.clone().count() >= MAX_PER_USER {
            let oldest =
                of_user.min_by_key(|(_, entry)| entry.used).map(|(token, _)| token.clone());
            oldest.and_then(|token| by_token.remove(&token));
        }
        by_token.insert(token.clone(), entry);
        token
    }

    /// Finds the session of a token and lets it rest from now on.
    pub fn find(&self, token: &str, now: Instant) -> Option<Session> {
        let mut by_token = self.lock();
        let entry = by_token.get_mut(token)?;
        if entry.is_over(now) {
            by_token.remove(token);
            return None;
        }
        entry.used = now;
        Some(entry.session.clone())
    }

    /// Ends a session.
    pub fn end(&self, token: &str) {
        self.lock().remove(token);
    }

    /// Ends the sessions of users who are not in `usernames` any more.
    pub fn retain_users(&self, is_known: impl Fn(&str) -> bool) {
        self.lock().retain(|_, entry| is_known(&entry.session.username));
    }

    /// Keeps a sentence for the next page of a session.
    pub fn put_notice(&self, token: &str, notice: String) {
        if let Some(entry) = self.lock().get_mut(token) {
            entry.notice = Some(notice);
        }
    }

    /// Takes the sentence for this page.
    pub fn take_notice(&self, token: &str) -> Option<String> {
        self.lock().get_mut(token)?.notice.take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        // A panic elsewhere leaves whole entries behind.
        self.by_token.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_rests_too_long() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let token = sessions.start("eve", start);
        let almost = start + IDLE - Duration::from_secs(1);
        assert_eq!(sessions.find(&token, almost).unwrap().username, "eve");
        assert!(sessions.find(&token, almost + IDLE).is_none());
        assert!(sessions.find(&token, almost).is_none(), "it is gone for good");
    }

    #[test]
    fn a_busy_session_ends_at_its_lifetime() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let token = sessions.start("eve", start);
        let mut now = start;
        while now < start + LIFETIME {
            assert!(sessions.find(&token, now).is_some());
            now += IDLE / 2;
        }
        assert!(sessions.find(&token, now).is_none());
    }

    #[test]
    fn sessions_of_one_user_are_bounded_and_others_are_left_alone() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let bob = sessions.start("bob", start);
        let first = sessions.start("eve", start);
        for number in 1..=MAX_PER_USER {
            sessions.start("eve", start + Duration::from_secs(number as u64));
        }
        let now = start + Duration::from_secs(60);
        assert!(sessions.find(&first, now).is_none());
        assert!(sessions.find(&bob, now).is_some());
        assert_eq!(sessions.lock().len(), MAX_PER_USER + 1);
    }

    #[test]
    fn a_notice_is_shown_once() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let token = sessions.start("eve", now);
        sessions.put_notice(&token, "done".into());
        assert_eq!(sessions.take_notice(&token).as_deref(), Some("done"));
        assert_eq!(sessions.take_notice(&token), None);
    }

    #[test]
    fn sessions_end_with_their_user() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let token = sessions.start("eve", now);
        sessions.retain_users(|name| name == "bob");
        assert!(sessions.find(&token, now).is_none());
    }
}
