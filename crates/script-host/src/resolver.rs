//! Answers questions of scripts out of a resolver.

use std::net::SocketAddr;

use dns::{RecordKind, RecordValue, Resolver, Security};
use hsl_std::services::{DnsAnswer, DnsQuery, DnsRecord, RecordData, RecordType};

/// Asks `resolver`, or the servers that the question names.
///
/// # Cancel safety
///
/// Dropping the future gives up the question.
pub async fn ask(resolver: &Resolver, query: DnsQuery) -> DnsAnswer {
    let failed = |code: &str| DnsAnswer { result: Err(code.to_owned()), dnssec: false };
    let kind = kind(query.record);
    let servers: Vec<SocketAddr> =
        query.servers.iter().map(|ip| SocketAddr::new(*ip, query.port)).collect();
    let authentic = query.authentic.then(|| resolver.authentic().ok()).flatten();
    let resolver = authentic.as_ref().unwrap_or(resolver);
    let answer = async {
        match servers.is_empty() {
            true => resolver.query(&query.host, kind).await,
            false => resolver.query_servers(&servers, &query.host, kind).await,
        }
    };
    match tokio::time::timeout(query.timeout, answer).await {
        Err(_) => failed("TRY_AGAIN"),
        Ok(Err(error)) => failed(error.code()),
        Ok(Ok(answer)) => DnsAnswer {
            dnssec: answer.security == Security::Secure,
            result: Ok(answer.value.into_iter().filter_map(record).collect()),
        },
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
