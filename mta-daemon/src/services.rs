//! What the standard library of the language needs of the daemon: its resolver, its log, its names.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock, Weak};

use config::Startup;
use dns::{RecordKind, RecordValue, Security};
use hsl_std::Services;
use hsl_std::keys::{Keys, PkiEntry};
use hsl_std::services::{
    BoxFuture, DnsAnswer, DnsQuery, DnsRecord, LogSink, Names, RecordData, RecordType, Resolver,
};

use crate::context::Core;
use crate::outbound::script_client::DaemonClient;
use crate::script_mail::DaemonQueue;

/// The daemon as scripts' functions reach it; filled once the daemon is there.
pub(crate) type CoreSlot = Arc<OnceLock<Weak<Core>>>;

/// The services of the standard library, for a startup configuration.
pub(crate) fn standard_library(slot: &CoreSlot, startup: &Startup) -> Services {
    Services {
        ffi: startup.scripting.ffi,
        public_suffix_list: startup.environment.publicsuffix.clone(),
        ..without_configuration(slot)
    }
}

/// The services of the standard library where there is no configuration: to say what it offers.
pub(crate) fn without_configuration(slot: &CoreSlot) -> Services {
    Services {
        names: Arc::new(DaemonNames(Arc::clone(slot))),
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
            let failed = |code: &str| DnsAnswer { result: Err(code.to_owned()), dnssec: false };
            let Some(core) = core else { return failed("TRY_AGAIN") };
            let resolver = core.generation.load().resolver.clone();
            let kind = kind(query.record);
            let servers: Vec<SocketAddr> =
                query.servers.iter().map(|ip| SocketAddr::new(*ip, query.port)).collect();
            let ask = async {
                if servers.is_empty() {
                    resolver.query(&query.host, kind).await
                } else {
                    resolver.query_servers(&servers, &query.host, kind).await
                }
            };
            match tokio::time::timeout(query.timeout, ask).await {
                Err(_) => failed("TRY_AGAIN"),
                Ok(Err(error)) => failed(error.code()),
                Ok(Ok(answer)) => DnsAnswer {
                    dnssec: answer.security == Security::Secure,
                    result: Ok(answer.value.into_iter().filter_map(record).collect()),
                },
            }
        })
    }
}

const fn kind(record: RecordType) -> RecordKind {
    match record {
        RecordType::A => RecordKind::A,
        RecordType::Aaaa => RecordKind::Aaaa,
        RecordType::Mx => RecordKind::Mx,
        RecordType::Txt => RecordKind::Txt,
        RecordType::Cname => RecordKind::Cname,
        RecordType::Ns => RecordKind::Ns,
        RecordType::Ptr => RecordKind::Ptr,
        RecordType::Soa => RecordKind::Soa,
    }
}

fn record(record: dns::Record) -> Option<DnsRecord> {
    let data = match record.value {
        RecordValue::A(ip) => RecordData::Address(ip.into()),
        RecordValue::Aaaa(ip) => RecordData::Address(ip.into()),
        RecordValue::Name(name) => RecordData::Name(name),
        RecordValue::Mx { preference, exchange } => RecordData::Mx { preference, exchange },
        RecordValue::Txt(text) => RecordData::Txt(text),
        RecordValue::Soa { primary, mailbox, serial, refresh, retry, expire, minimum } => {
            let seconds = |n: i32| u32::try_from(n).unwrap_or(0);
            RecordData::Soa {
                mname: primary,
                rname: mailbox,
                serial,
                refresh: seconds(refresh),
                retry: seconds(retry),
                expire: seconds(expire),
                minimum,
            }
        }
        RecordValue::Tlsa { .. } => return None,
    };
    Some(DnsRecord { ttl: record.ttl, data })
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

/// What the running configuration gives a name.
struct DaemonNames(CoreSlot);

impl Names for DaemonNames {
    fn source_address(&self, id: &str) -> Option<IpAddr> {
        let core = self.0.get().and_then(Weak::upgrade)?;
        Some(core.generation.load().running.addresses.get(id)?.address)
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
