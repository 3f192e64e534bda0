//! `resolver query`: the hosts that mail for a domain would be tried at, in their order.

use std::net::IpAddr;

use control::{Message, pb};
use dns::mx::{self, Route};
use dns::{RecordKind, RecordValue, Security};
use pb::resolver_query_response::{Item, Tlsa, tlsa::Rr};

use crate::context::Core;
use crate::control::dispatch::{Answer, ControlError};

/// Looks a domain up as a delivery would; the same seed and retry give the same order.
pub(crate) async fn query(core: &Core, request: pb::ResolverQueryRequest) -> Answer {
    let resolver = core.generation.load().resolver.authentic()?;
    let transaction: mta_types::TransactionId = match request.seed.as_str() {
        "" => mta_types::TransactionId::NIL,
        seed => seed.parse().map_err(|_| ControlError(format!("{seed} is no transaction id")))?,
    };
    let retry = u32::try_from(request.retry).unwrap_or(u32::MAX);
    let route = resolver.route(&request.domain, mx::seed(transaction.as_bytes(), retry)).await?;
    let hosts = match route.value {
        Route::Hosts(hosts) => hosts,
        Route::NullMx => {
            return Err(ControlError(format!("{} does not accept mail (null MX)", request.domain)));
        }
    };
    let mut items = Vec::new();
    let mut failure = None;
    for host in hosts.into_iter().take(MAX_HOSTS).map(|exchanger| exchanger.host) {
        let found = match resolver.addresses(&host, true, true).await {
            Ok(found) => found,
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        let dnssec = route.security == Security::Secure && found.security == Security::Secure;
        // Without validated answers for the host nobody would look at its TLSA records (RFC 7672
        // §2.2).
        let tlsa = if dnssec { tlsa(&resolver, &host).await } else { None };
        let v6 = found.value.v6.into_iter().map(IpAddr::V6);
        let v4 = found.value.v4.into_iter().map(IpAddr::V4);
        items.extend(v6.chain(v4).map(|address| Item {
            address: address.to_string(),
            hostname: host.clone(),
            dnssec,
            tlsa: tlsa.clone(),
        }));
    }
    match failure {
        Some(error) if items.is_empty() => Err(error.into()),
        _ => Ok(pb::ResolverQueryResponse { items }.encode_to_vec()),
    }
}

async fn tlsa(resolver: &dns::Resolver, host: &str) -> Option<Tlsa> {
    let answer = resolver.query(&format!("_25._tcp.{host}"), RecordKind::Tlsa).await.ok()?;
    let rr = answer.value.into_iter().filter_map(|record| match record.value {
        RecordValue::Tlsa { usage, selector, matching, data } => Some(Rr {
            usage: usage.into(),
            selector: selector.into(),
            mtype: matching.into(),
            data: data.iter().map(|octet| format!("{octet:02x}")).collect(),
        }),
        _ => None,
    });
    Some(Tlsa { dnssec: answer.security == Security::Secure, rr: rr.collect() })
}

/// Mail exchangers looked up, as in a delivery.
const MAX_HOSTS: usize = 10;
