//! What a configuration offers to those who talk to other servers.

use std::collections::HashMap;
use std::sync::Arc;

use config::Running;
use dns::Resolver;
use tls_policy::{ClientTls, Identity, RootStore};

/// A running configuration, and what was made of it.
pub struct World {
    /// The configuration: transports and addresses.
    pub running: Running,
    /// Looks names up.
    pub resolver: Resolver,
    /// Certificates with their keys, by id.
    pub identities: HashMap<Arc<str>, Identity>,
    /// The name to greet with where nothing else is said.
    pub hostname: String,
    /// TLS set-ups, by what shapes them: making one anew for each attempt is dear.
    pub client_tls: ClientTlsCache,
}

/// TLS set-ups of deliveries. Bounded: scripts could make up any number of them.
#[derive(Default)]
pub struct ClientTlsCache {
    made: parking_lot::Mutex<HashMap<String, ClientTls>>,
    /// The authorities that the system trusts, read once.
    system_roots: std::sync::OnceLock<RootStore>,
}

impl ClientTlsCache {
    /// A cache for which these are the authorities that the system trusts.
    pub fn with_system_roots(roots: RootStore) -> Self {
        Self { made: parking_lot::Mutex::default(), system_roots: roots.into() }
    }

    /// The set-up for a key, made when it is wanted first.
    pub fn get(&self, key: String, make: impl FnOnce() -> ClientTls) -> ClientTls {
        if let Some(known) = self.made.lock().get(&key) {
            return known.clone();
        }
        let tls = make();
        let mut made = self.made.lock();
        if made.len() >= MAX_CLIENT_TLS {
            made.clear();
        }
        made.insert(key, tls.clone());
        tls
    }

    /// The authorities that sign peers' certificates.
    pub fn roots(&self, system: bool) -> RootStore {
        if !system {
            return RootStore::new();
        }
        let read = || {
            let mut roots = RootStore::new();
            roots.add_system();
            roots
        };
        self.system_roots.get_or_init(read).clone()
    }
}

/// Set-ups kept; configurations have a handful.
const MAX_CLIENT_TLS: usize = 1000;
