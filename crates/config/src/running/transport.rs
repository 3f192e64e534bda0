//! Reads transport groups: each transport with its group's settings filled in.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;
use mta_types::TransportId;

use super::{
    Credentials, Destination, ProxyProtocol, Retry, SourceAddress, Transport, TransportConnection,
    TransportSession, table,
};
use crate::node::{Entry, Node, Scalar, ScalarType, Value};
use crate::read::{Cursor, Findings, Read};

pub(super) fn transports(
    top: &Cursor<'_>,
    addresses: &IndexMap<Arc<str>, SourceAddress>,
    findings: &mut Findings,
) -> Read<IndexMap<TransportId, Transport>> {
    let mut transports = IndexMap::new();
    let mut groups = HashSet::new();
    let mut bounces = Vec::new();
    for group in top.list("transportgroups") {
        let group_id: Option<Arc<str>> = group.optional("id")?;
        if let Some(id) = group_id.as_ref().filter(|id| !groups.insert(Arc::clone(id))) {
            findings.error(&group, "id", format!("there is another transport group `{id}`"));
        }
        if group.list("transports").is_empty() {
            findings.warning(&group, "", "this transport group has no transports".to_owned());
        }
        for own in group.list("transports") {
            // The group's settings stand below the transport's own; the merged tree keeps the places
            // where each value was written.
            let merged = inherit(&group, &own);
            let cursor = Cursor::new(&merged, table::TRANSPORT, own.path().clone());
            let transport = transport(&cursor, group_id.clone(), addresses, findings)?;
            if let Some(dsn) = &transport.dsn_transport {
                bounces.push((Arc::clone(&merged), own.path().clone(), dsn.clone()));
            }
            let id = transport.id.clone();
            if transports.insert(id.clone(), transport).is_some() {
                findings.error(&own, "id", format!("there is another transport `{id}`"));
            }
        }
    }
    // Bounces may go through a transport that comes later in the file.
    for (merged, path, dsn) in &bounces {
        let cursor = Cursor::new(merged, table::TRANSPORT, path.clone()).map("dsn");
        check_transport(&cursor, "transport", dsn, &transports, findings);
    }
    Ok(transports)
}

pub(super) fn check_transport(
    cursor: &Cursor<'_>,
    name: &str,
    id: &TransportId,
    transports: &IndexMap<TransportId, Transport>,
    findings: &mut Findings,
) {
    if !transports.contains_key(id) {
        let message = format!("there is no transport `{id}`");
        findings.dangling(
            cursor,
            name,
            message,
            id.as_str(),
            transports.keys().map(TransportId::as_str),
        );
    }
}

/// The transport with everything of its group that it does not say itself.
fn inherit(group: &Cursor<'_>, own: &Cursor<'_>) -> Arc<Node> {
    let mut entries: Vec<Entry> = Vec::new();
    for name in ["id", "connection", "session", "retry", "dsn"] {
        let inherited = group.node(name).filter(|_| name != "id");
        let value = match (inherited, own.node(name)) {
            (Some(below), Some(above)) => merge(below, above),
            (Some(value), None) | (None, Some(value)) => Arc::clone(value),
            (None, None) => continue,
        };
        let scalar = Scalar { text: Arc::from(name), kind: ScalarType::String };
        let key =
            Arc::new(Node { position: value.position, tag: None, value: Value::Scalar(scalar) });
        entries.push(Entry { key, value });
    }
    let position = own.position();
    Arc::new(Node { position, tag: None, value: Value::Mapping(entries) })
}

/// Mappings are joined key by key; anything else above replaces what is below.
fn merge(below: &Arc<Node>, above: &Arc<Node>) -> Arc<Node> {
    let (Value::Mapping(lower), Value::Mapping(upper)) = (&below.value, &above.value) else {
        return Arc::clone(above);
    };
    let mut entries = upper.clone();
    for entry in lower {
        match entries.iter_mut().find(|upper| upper.name() == entry.name()) {
            Some(upper) => upper.value = merge(&entry.value, &upper.value),
            None => entries.push(entry.clone()),
        }
    }
    Arc::new(Node { position: above.position, tag: None, value: Value::Mapping(entries) })
}

fn transport(
    cursor: &Cursor<'_>,
    group: Option<Arc<str>>,
    addresses: &IndexMap<Arc<str>, SourceAddress>,
    findings: &mut Findings,
) -> Read<Transport> {
    let retry = cursor.map("retry");
    Ok(Transport {
        id: cursor.value("id")?,
        group,
        connection: connection(&cursor.map("connection"), addresses, findings)?,
        session: session(&cursor.map("session"), findings)?,
        retry: Retry { count: retry.value("count")?, intervals: retry.values("intervals")? },
        dsn_transport: cursor.map("dsn").optional("transport")?,
    })
}

fn connection(
    cursor: &Cursor<'_>,
    addresses: &IndexMap<Arc<str>, SourceAddress>,
    findings: &mut Findings,
) -> Read<TransportConnection> {
    let source = cursor.map("sourceip");
    let server: Option<Arc<str>> = cursor.optional("server")?;
    let connection = TransportConnection {
        server: match server {
            None => Destination::Mx,
            Some(server) => match server.parse() {
                Ok(address) => Destination::Address(address),
                Err(_) => Destination::Host(server),
            },
        },
        port: cursor.value("port")?,
        ipv4: source.value("ipv4")?,
        ipv6: source.value("ipv6")?,
        sourceip: source.values("addresses")?,
        sourceip_random: source.value("random")?,
        proxyprotocol: proxyprotocol(&cursor.map("proxyprotocol"))?,
    };
    if !connection.ipv4 && !connection.ipv6 {
        findings.error(&source, "ipv6", "neither IPv4 nor IPv6 is left".to_owned());
    }
    let mut families = [false; 2];
    for id in &connection.sourceip {
        match addresses.get(id) {
            Some(address) => families[usize::from(address.address.is_ipv6())] = true,
            None => {
                let message = format!("there is no address `{id}` in addresses");
                findings.dangling(
                    &source,
                    "addresses",
                    message,
                    id,
                    addresses.keys().map(AsRef::as_ref),
                );
            }
        }
    }
    let [four, six] = families;
    let usable = connection.ipv4 && four || connection.ipv6 && six;
    if (four || six) && !usable {
        findings.error(&source, "addresses", "none of these addresses may be used".to_owned());
    }
    Ok(connection)
}

pub(super) fn proxyprotocol(cursor: &Cursor<'_>) -> Read<Option<ProxyProtocol>> {
    if !cursor.is_present() {
        return Ok(None);
    }
    Ok(Some(ProxyProtocol { server: cursor.value("server")?, port: cursor.value("port")? }))
}

fn session(cursor: &Cursor<'_>, findings: &mut Findings) -> Read<TransportSession> {
    let tls = cursor.map("tls");
    let credentials = match (cursor.optional("username")?, cursor.optional("password")?) {
        (Some(username), Some(password)) => Some(Credentials { username, password }),
        (None, None) => None,
        (given, _) => {
            let (has, lacks) =
                if given.is_some() { ("username", "password") } else { ("password", "username") };
            findings.error(cursor, has, format!("`{has}` needs `{lacks}`"));
            None
        }
    };
    Ok(TransportSession {
        protocol: cursor.value("protocol")?,
        helo: cursor.optional("helo")?,
        tls_mode: tls.value("mode")?,
        tls_protocols: tls.value("protocols")?,
        credentials,
    })
}
