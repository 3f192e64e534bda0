//! What the standard library of the language needs of the daemon: its resolver, its log, its names.

use std::sync::{Arc, OnceLock, Weak};

use hsl_std::Services;
use hsl_std::keys::{Keys, PkiEntry};
use hsl_std::services::{BoxFuture, DnsAnswer, DnsQuery, LogSink, Resolver};

use crate::context::Core;
use crate::outbound::script_client::DaemonClient;
use crate::script_mail::DaemonQueue;

/// The daemon as scripts' functions reach it; filled once the daemon is there.
pub(crate) type CoreSlot = Arc<OnceLock<Weak<Core>>>;

/// The services of the standard library.
pub(crate) fn standard_library(slot: &CoreSlot) -> Services {
    Services {
        resolver: Arc::new(DaemonResolver(Arc::clone(slot))),
        log: Arc::new(DaemonLog),
        mail_queue: Arc::new(DaemonQueue(Arc::clone(slot))),
        mail_client: Arc::new(DaemonClient(Arc::clone(slot))),
        keys: Arc::new(DaemonKeys(Arc::clone(slot))),
        hostname: crate::generation::system_hostname(),
        ..Services::default()
    }
}

/// Asks the resolver of the running configuration.
struct DaemonResolver(CoreSlot);

impl Resolver for DaemonResolver {
    fn query(&self, query: DnsQuery) -> BoxFuture<DnsAnswer> {
        let core = self.0.get().and_then(Weak::upgrade);
        Box::pin(async move {
            let Some(core) = core else {
                return DnsAnswer { result: Err("TRY_AGAIN".to_owned()), dnssec: false };
            };
            let resolver = core.generation.load().resolver.clone();
            script_host::ask(&resolver, query).await
        })
    }
}

/// Keys and certificates of the configuration in force.
struct DaemonKeys(CoreSlot);

impl Keys for DaemonKeys {
    fn find(&self, id: &str) -> Option<Arc<PkiEntry>> {
        let core = self.0.get().and_then(Weak::upgrade)?;
        let generation = core.generation.load();
        generation.keys.get(id).cloned()
    }
}

/// `syslog()` of scripts, into the text log.
struct DaemonLog;

impl LogSink for DaemonLog {
    fn syslog(&self, facility: Option<u8>, severity: u8, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        let facility = facility.map(u64::from);
        tracing::info!(priority = u64::from(severity), facility, %text, "script.logged");
    }
}
