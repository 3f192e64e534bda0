//! `send()` and the lookups in scripts of the shell: the client of the mail server, without the server.

use std::sync::{Arc, OnceLock};

use config::Running;
use hsl::host::Thrown;
use hsl_std::services::MailClient;
use mail_client::connections::Registry;
use mail_client::count::{Counter, Level};
use mail_client::script_client::{Ground, ScriptClient};
use mail_client::smtp::OutboundEntry;
use mail_client::world::{ClientTlsCache, World};

use crate::settings::ConfiguredKeys;

/// Speaks SMTP as a running configuration has it; without one, transports have no names. What it needs
/// is made when a script first calls.
pub(crate) fn new(
    running: Option<Running>,
    resolver: dns::Config,
    keys: Arc<ConfiguredKeys>,
) -> Arc<dyn MailClient> {
    let made: OnceLock<Result<Arc<dyn Ground>, String>> = OnceLock::new();
    Arc::new(ScriptClient(move || {
        let make = || {
            let world = world(running.clone(), resolver.clone(), &keys)?;
            let (connections, count) = (Registry::default(), Arc::default());
            let ground: Arc<dyn Ground> = Arc::new(ShellGround { world, connections, count });
            Ok(ground)
        };
        made.get_or_init(make).clone().map_err(Thrown::new)
    }))
}

fn world(
    running: Option<Running>,
    resolver: dns::Config,
    keys: &ConfiguredKeys,
) -> Result<World, String> {
    let running = running.map_or_else(without_configuration, Ok)?;
    Ok(World {
        running,
        resolver: dns::Resolver::new(resolver).map_err(|error| error.to_string())?,
        identities: keys.identities(),
        hostname: hsl_std::Services::default().hostname,
        client_tls: ClientTlsCache::default(),
    })
}

/// A running configuration in which nothing is set.
pub(crate) fn without_configuration() -> Result<Running, String> {
    let empty = config::load_running(NO_CONFIGURATION, "defaults");
    empty
        .map(|loaded| loaded.config)
        .map_err(|_| "there is no running configuration (-A)".to_owned())
}

/// The shell, where scripts talk to servers.
struct ShellGround {
    world: World,
    connections: Registry<OutboundEntry>,
    count: Arc<Counter>,
}

impl Ground for ShellGround {
    fn world(&self) -> &World {
        &self.world
    }

    fn connections(&self) -> &Registry<OutboundEntry> {
        &self.connections
    }

    fn level(&self) -> Level {
        self.count.enter()
    }

    fn seed(&self) -> u64 {
        dns::mx::seed(uuid::Uuid::new_v4().as_bytes(), 0)
    }
}

/// What holds where no file is named.
const NO_CONFIGURATION: &str = "version: \"5.6\"\n";
