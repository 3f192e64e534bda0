//! The one piece of global state: what C functions without a context argument need.
//!
//! The functions of the header get no handle of the host, so there is one door per process. It holds
//! the services, the handles that C has, and the places of threads that wait in C; everything else
//! hangs off [`crate::PluginHost`].

use std::sync::OnceLock;

use parking_lot::RwLock;

use crate::call::Call;
use crate::delivery::Attempt;
use crate::inject;
use crate::outstanding::Outstanding;
use crate::services::Services;
use crate::table::{Records, Table};
use crate::waits::Waits;

/// The state behind the exports.
pub(crate) struct Door {
    services: RwLock<Services>,
    pub(crate) calls: Table<Call>,
    pub(crate) attempts: Records<Attempt>,
    pub(crate) injections: Records<inject::Slot>,
    pub(crate) outstanding: Outstanding,
    pub(crate) waits: Waits,
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
        waits: Waits::new(),
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
}
