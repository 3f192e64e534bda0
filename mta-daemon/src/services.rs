//! What the standard library of the language needs of the daemon: its resolver, its log, its names.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};

use config::Startup;
use hsl_std::keys::{Keys, PkiEntry};
use hsl_std::services::{
    BoxFuture, DnsAnswer, DnsQuery, LogLine, LogSink, Names, Rates, Resolver, RootFiles,
};
use hsl_std::{LocalRates, Services};

use crate::context::Core;
use crate::outbound::script_client;
use crate::script_mail::DaemonQueue;

/// The daemon as scripts' functions reach it; filled once the daemon is there.
pub(crate) type CoreSlot = Arc<OnceLock<Weak<Core>>>;

/// The services of the standard library, for a startup configuration.
pub(crate) fn standard_library(
    slot: &CoreSlot,
    startup: &Startup,
    rates: &Arc<LocalRates>,
) -> Services {
    let mut services = Services {
        rates: Arc::clone(rates) as Arc<dyn Rates>,
        ffi: startup.scripting.ffi,
        public_suffix_list: startup.environment.publicsuffix.clone(),
        ..without_configuration(slot)
    };
    // Without a root no file of the system has a name in scripts.
    if let Some(root) = &startup.scripting.rootpath {
        services.files = Arc::new(RootFiles::new(root));
    }
    services
}

/// The services of the standard library where there is no configuration: to say what it offers.
pub(crate) fn without_configuration(slot: &CoreSlot) -> Services {
    Services {
        ffi: true,
        names: Arc::new(DaemonNames(Arc::clone(slot))),
        resolver: Arc::new(DaemonResolver(Arc::clone(slot))),
        log: Arc::new(DaemonLog),
        mail_queue: Arc::new(DaemonQueue(Arc::clone(slot))),
        mail_client: script_client::client(slot),
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
            let resolver = core.generation_of_script().resolver.clone();
            script_host::ask(&resolver, query).await
        })
    }
}

/// Keys and certificates of the configuration in force.
struct DaemonKeys(CoreSlot);

impl Keys for DaemonKeys {
    fn find(&self, id: &str) -> Option<Arc<PkiEntry>> {
        let core = self.0.get().and_then(Weak::upgrade)?;
        let generation = core.generation_of_script();
        generation.keys.get(id).cloned()
    }
}

/// What the running configuration gives a name.
struct DaemonNames(CoreSlot);

impl Names for DaemonNames {
    fn source_address(&self, id: &str) -> Option<IpAddr> {
        let core = self.0.get().and_then(Weak::upgrade)?;
        Some(core.generation_of_script().running.addresses.get(id)?.address)
    }
}

/// `syslog()` of scripts, into the text log.
struct DaemonLog;

impl LogSink for DaemonLog {
    fn syslog(&self, line: &LogLine<'_>) {
        let text = String::from_utf8_lossy(line.text);
        let facility = line.facility.map(u64::from);
        let priority = u64::from(line.severity);
        let transaction = line.transaction.map(String::from_utf8_lossy);
        let transaction = transaction.as_ref().map(tracing::field::display);
        tracing::info!(transaction, priority, facility, %text, "script.logged");
    }
}
