//! What all requests share: the configuration, the daemons, sessions and the brake on logins.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    auth::{password::PasswordHash, session::Sessions, throttle::Throttle},
    daemon::{DEADLINE, Daemon},
    pages::stats_history::StatsHistory,
    settings::{Settings, User},
};

/// Shared by all requests; cheap to clone.
pub type State = Arc<App>;

/// The running program.
#[derive(Debug)]
pub struct App {
    /// The daemons to show, in the order of the configuration; at least one.
    pub hosts: Vec<NamedDaemon>,
    /// The HTTP/JSON door, unless it is closed.
    pub door: Option<Door>,
    /// Who is logged in.
    pub sessions: Sessions,
    /// The brake on logins.
    pub throttle: Throttle,
    /// Earlier statistics, for rates.
    pub stats: StatsHistory,
    /// Passwords looked at in parallel: each takes 19 MiB.
    pub password_checks: Semaphore,
    users: RwLock<HashMap<String, PasswordHash>>,
    /// Held while users are replaced, so that two reloads do not mix.
    reload: Mutex<()>,
}

/// A daemon with the name that people see.
#[derive(Debug)]
pub struct NamedDaemon {
    /// The name, different from the others'.
    pub name: String,
    /// Its control socket.
    pub daemon: Daemon,
}

/// The HTTP/JSON door and the sockets behind it.
#[derive(Debug)]
pub struct Door {
    /// The configuration.
    pub settings: crate::settings::Door,
    /// The mail daemon.
    pub smtpd: Daemon,
    /// The rate daemon.
    pub rated: Daemon,
    /// The data loss prevention daemon.
    pub dlpd: Daemon,
}

impl App {
    /// Makes the state of a program with this configuration.
    #[must_use]
    pub fn new(settings: &Settings) -> State {
        Self::with_deadline(settings, DEADLINE)
    }

    /// Makes the state of a program whose daemons answer within `deadline`.
    #[must_use]
    pub fn with_deadline(settings: &Settings, deadline: Duration) -> State {
        let daemon =
            |socket: &std::path::Path| Daemon::new(socket.to_owned()).with_deadline(deadline);
        let hosts = settings
            .hosts
            .iter()
            .map(|host| NamedDaemon { name: host.name.clone(), daemon: daemon(&host.socket) })
            .collect();
        let door = settings.door.as_ref().map(|door| Door {
            smtpd: daemon(&door.smtpd),
            rated: daemon(&door.rated),
            dlpd: daemon(&door.dlpd),
            settings: door.clone(),
        });
        Arc::new(Self {
            hosts,
            door,
            sessions: Sessions::default(),
            throttle: Throttle::default(),
            stats: StatsHistory::default(),
            password_checks: Semaphore::new(2),
            users: RwLock::new(table(&settings.users)),
            reload: Mutex::new(()),
        })
    }

    /// The hash of a user's password.
    pub fn password_of(&self, username: &str) -> Option<PasswordHash> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).get(username).cloned()
    }

    /// Says whether nobody can log in.
    pub fn has_no_users(&self) -> bool {
        self.users.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Replaces the users; sessions of those who are gone or have a new password end.
    pub fn replace_users(&self, users: &[User]) {
        let _one_at_a_time = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        let new = table(users);
        self.sessions.retain_users(|name| new.get(name) == self.password_of(name).as_ref());
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

fn table(users: &[User]) -> HashMap<String, PasswordHash> {
    users.iter().map(|user| (user.username.clone(), user.password.clone())).collect()
}
