//! The one piece of global state: what C functions without a context argument need.
//!
//! The functions of the header get no handle of the host, so there is one door per process. It holds
//! the services, the handles that C has, and the count of threads that wait in C; everything else
//! hangs off [`crate::PluginHost`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::call::Call;
use crate::delivery::Attempt;
use crate::inject;
use crate::outstanding::Outstanding;
use crate::services::Services;
use crate::table::{Records, Table};

/// The state behind the exports.
pub(crate) struct Door {
    services: RwLock<Services>,
    pub(crate) calls: Table<Call>,
    pub(crate) attempts: Records<Attempt>,
    pub(crate) injections: Records<inject::Slot>,
    pub(crate) outstanding: Outstanding,
    blocked: AtomicUsize,
}

/// Returns the door of the process.
pub(crate) fn door() -> &'static Door {
    static DOOR: OnceLock<Door> = OnceLock::new();
    DOOR.get_or_init(|| Door {
        services: RwLock::new(Services::none()),
        calls: Table::new(),
        attempts: Records::new(),
        injections: Records::new(),
        outstanding: Outstanding::default(),
        blocked: AtomicUsize::new(0),
    })
}

impl Door {
    /// Installs services for all plugins of the process, replacing earlier ones.
    pub(crate) fn install(&self, services: Services) {
        *self.services.write() = services;
    }

    /// A snapshot of the services: no lock is held while they are used.
    pub(crate) fn services(&self) -> Services {
        self.services.read().clone()
    }

    /// Calls that wait inside C at this moment.
    pub(crate) fn blocked(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Runs `wait`, which blocks the thread, with the runtime told about it and the wait counted.
    pub(crate) fn block(&self, wait: impl FnOnce()) {
        let count = self.blocked.fetch_add(1, Ordering::Relaxed) + 1;
        if count == MANY_BLOCKED {
            tracing::warn!(count, "plugin.many_blocking_suspends");
        }
        let is_worker = tokio::runtime::Handle::try_current().is_ok_and(|handle| {
            handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread
        });
        if is_worker {
            tokio::task::block_in_place(wait);
        } else {
            wait();
        }
        self.blocked.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Half of the stand-in threads that tokio has by default (512): time to say so.
const MANY_BLOCKED: usize = 256;
