//! Reads `smtpd.yaml` into [`Startup`] and checks what its table cannot say.

use std::collections::HashSet;
use std::sync::Arc;

use super::{
    Cluster, ControlSocket, ControlTls, ControlTlsEnd, Corrupt, Environment, KEYS, Listener,
    MonitorListener, Pki, Place, Plugin, Privdrop, QueueThreads, Scripting, ServerKind,
    ServerSockets, Spool, Startup, UnixSocket, UuidVersion, Version,
};
use crate::node::{KeyPath, Node};
use crate::read::{Cursor, Findings, FromNode, Read};

/// Reads a validated file.
pub(crate) fn read(root: &Arc<Node>, findings: &mut Findings) -> Read<Startup> {
    let top = Cursor::new(root, KEYS, KeyPath::root());
    let queues = top.map("queues").map("threads");
    let scripting = top.map("scripting");
    Ok(Startup {
        version: version(&top, findings)?,
        servers: servers(&top, findings)?,
        queues: QueueThreads {
            event: queues.optional("event")?,
            script: queues.optional("script")?,
        },
        scripting: Scripting {
            rootpath: scripting.optional("rootpath")?,
            ffi: scripting.value("ffi")?,
            shared_memory: scripting.map("sharedmemory").value("size")?,
        },
        pki: pki(&top.map("pki"), findings)?,
        spool: spool(&top.map("spool"))?,
        plugins: plugins(&top, findings)?,
        environment: environment(&top.map("environment"), findings)?,
        monitor: monitor(&top.map("monitor"), findings)?,
        cluster: cluster(&top.map("cluster"))?,
    })
}

/// Reads `version` and warns of generations before ours.
pub(crate) fn version(top: &Cursor<'_>, findings: &mut Findings) -> Read<Version> {
    let version: Version = top.value("version")?;
    if version.major < 5 {
        findings.warning(
            top,
            "version",
            "files older than version 5.0 are read as if of 5.6".to_owned(),
        );
    }
    Ok(version)
}

fn servers(top: &Cursor<'_>, findings: &mut Findings) -> Read<Vec<ServerSockets>> {
    let mut seen = HashSet::new();
    let mut places = HashSet::new();
    let mut servers = Vec::new();
    for server in top.list("servers") {
        let id: Arc<str> = server.value("id")?;
        if !seen.insert(Arc::clone(&id)) {
            findings.error(&server, "id", format!("there is another server `{id}`"));
        }
        let kind: ServerKind = server.value("type")?;
        unimplemented_kind(&server, kind, findings);
        let listeners = listeners(&server, &mut places, findings)?;
        match kind {
            ServerKind::Plugin if !listeners.is_empty() => {
                findings.error(
                    &server,
                    "listeners",
                    "a server of type plugin has no listeners".to_owned(),
                );
            }
            ServerKind::Http | ServerKind::Https if listeners.len() > 1 => {
                let message = "a server of this type has exactly one listener".to_owned();
                findings.error(&server, "listeners", message);
            }
            ServerKind::Smtp | ServerKind::Http | ServerKind::Https if listeners.is_empty() => {
                findings.error(&server, "", "the key `listeners` is missing".to_owned());
            }
            _ => {}
        }
        let threads = server.map("threads");
        servers.push(ServerSockets {
            id: id.as_ref().into(),
            kind,
            listeners,
            proxyprotocol: server.values("proxyprotocol")?,
            event_threads: threads.value("event")?,
            script_threads: threads.optional("script")?,
        });
    }
    Ok(servers)
}

/// Lists the type among what comes later, when nobody serves it.
pub(crate) fn unimplemented_kind(server: &Cursor<'_>, kind: ServerKind, findings: &mut Findings) {
    if matches!(kind, ServerKind::Http | ServerKind::Https) {
        findings.unimplemented.push(server.path().key("type"));
    }
}

/// Reads the listeners of one server; `places` holds those of all servers so far.
fn listeners(
    server: &Cursor<'_>,
    places: &mut HashSet<Place>,
    findings: &mut Findings,
) -> Read<Vec<Listener>> {
    let mut ids = HashSet::new();
    let mut listeners = Vec::new();
    for cursor in server.list("listeners") {
        let listener = Listener {
            id: cursor.optional("id")?,
            place: place(&cursor, findings)?,
            backlog: cursor.optional("backlog")?,
        };
        if let Some(id) = listener.id.as_ref().filter(|id| !ids.insert(Arc::clone(id))) {
            findings.error(&cursor, "id", format!("there is another listener `{id}`"));
        }
        if !places.insert(listener.place.clone()) {
            let (key, what) = match listener.place {
                Place::Network { .. } => ("port", "on that address and port"),
                Place::Unix(_) => ("path", "there"),
            };
            findings.error(&cursor, key, format!("a server already listens {what}"));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Reads where a listener is: a port, or a Unix socket.
fn place(listener: &Cursor<'_>, findings: &mut Findings) -> Read<Place> {
    if !listener.has("path") {
        for name in ["owner", "group", "chmod"].into_iter().filter(|name| listener.has(name)) {
            findings.error(listener, name, format!("`{name}` needs `path`"));
        }
        let port = listener.optional("port")?;
        if port.is_none() {
            findings.error(listener, "", "the key `port` is missing".to_owned());
        }
        let address = listener.optional("address")?;
        return Ok(Place::Network { address, port: port.unwrap_or_default() });
    }
    for name in ["port", "address"].into_iter().filter(|name| listener.has(name)) {
        findings.error(listener, name, format!("`{name}` cannot stand beside `path`"));
    }
    Ok(Place::Unix(UnixSocket {
        path: listener.value("path")?,
        owner: listener.optional("owner")?,
        group: listener.optional("group")?,
        chmod: listener.value("chmod")?,
    }))
}

/// Reads `pki.private[]` of either file.
pub(crate) fn pki(pki: &Cursor<'_>, findings: &mut Findings) -> Read<Vec<Pki>> {
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    for cursor in pki.list("private") {
        let entry = Pki {
            id: cursor.value("id")?,
            certificate: cursor.optional("certificate")?,
            privatekey: cursor.optional("privatekey")?,
        };
        if !seen.insert(Arc::clone(&entry.id)) {
            findings.error(&cursor, "id", format!("there is another entry `{}`", entry.id));
        }
        if entry.certificate.is_none() && entry.privatekey.is_none() {
            findings.error(&cursor, "", "expected `certificate`, `privatekey` or both".to_owned());
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn spool(spool: &Cursor<'_>) -> Read<Spool> {
    let minfree = spool.map("minfree");
    Ok(Spool {
        path: spool.value("path")?,
        loader_threads: spool.map("loader").value("threads")?,
        corrupt: spool.value("corrupt")?,
        fsync: spool.value("fsync")?,
        minfree_inodes: minfree.optional("inodes")?,
        minfree_bytes: minfree.optional("bytes")?,
        segment_size: spool.map("segment").value("size")?,
    })
}

fn plugins(top: &Cursor<'_>, findings: &mut Findings) -> Read<Vec<Plugin>> {
    let mut seen = HashSet::new();
    let mut plugins = Vec::new();
    for cursor in top.list("plugins") {
        let id: Arc<str> = cursor.value("id")?;
        if !seen.insert(Arc::clone(&id)) {
            findings.error(&cursor, "id", format!("there is another plugin `{id}`"));
        }
        plugins.push(Plugin {
            id,
            path: cursor.optional("path")?,
            config: plugin_config(&cursor)?,
        });
    }
    Ok(plugins)
}

/// The `config` of a plugin; an empty mapping when it is absent or empty.
pub(crate) fn plugin_config(plugin: &Cursor<'_>) -> Read<Arc<Node>> {
    let config: Option<Arc<Node>> = plugin.optional("config")?;
    Ok(config.filter(|node| !node.is_null()).unwrap_or_else(Node::empty_mapping))
}

fn environment(environment: &Cursor<'_>, findings: &mut Findings) -> Read<Environment> {
    let sockets = environment.map("sockets");
    let privdrop = environment.map("privdrop");
    Ok(Environment {
        appconf: environment.value("appconf")?,
        policyconf: environment.value("policyconf")?,
        suspendconf: environment.value("suspendconf")?,
        deliveryconf: environment.value("deliveryconf")?,
        pluginspath: environment.value("pluginspath")?,
        controlsocket: controlsocket(&environment.map("controlsocket"), findings)?,
        privdrop: match privdrop.is_present() {
            true => Some(Privdrop {
                user: privdrop.optional("user")?,
                group: privdrop.optional("group")?,
            }),
            false => None,
        },
        umask: environment.optional("umask")?,
        rlimit_nofile: environment.map("rlimit").optional("nofile")?,
        uuid_version: environment.map("uuid").value("version")?,
        syslog_mask: environment.map("syslog").value("mask")?,
        publicsuffix: environment.optional("publicsuffix")?,
        rated_socket: sockets.map("rated").value("path")?,
        dlpd_socket: sockets.map("dlpd").value("path")?,
        httprd_socket: sockets.map("httprd").value("path")?,
        licensekey: environment.optional("licensekey")?,
    })
}

fn controlsocket(socket: &Cursor<'_>, findings: &mut Findings) -> Read<ControlSocket> {
    let Some(port) = socket.optional("port")? else {
        for name in ["address", "tls"] {
            if socket.has(name) {
                findings.error(socket, name, format!("`{name}` needs `port`"));
            }
        }
        return Ok(ControlSocket::Unix(UnixSocket {
            path: socket.value("path")?,
            owner: socket.optional("owner")?,
            group: socket.optional("group")?,
            chmod: socket.value("chmod")?,
        }));
    };
    for name in ["path", "owner", "group", "chmod"] {
        if socket.has(name) {
            findings.error(socket, name, format!("`{name}` cannot stand beside `port`"));
        }
    }
    let tls = socket.map("tls");
    Ok(ControlSocket::Tcp {
        address: socket.optional("address")?,
        port,
        tls: match tls.is_present() {
            true => Some(ControlTls {
                server: control_tls_end(&tls.map("server"))?,
                client: control_tls_end(&tls.map("client"))?,
            }),
            false => None,
        },
    })
}

fn control_tls_end(end: &Cursor<'_>) -> Read<Option<ControlTlsEnd>> {
    if !end.is_present() {
        return Ok(None);
    }
    Ok(Some(ControlTlsEnd {
        certificate: end.optional("certificate")?,
        privatekey: end.optional("privatekey")?,
        verify: end.value("verify")?,
        verifyname: end.optional("verifyname")?,
    }))
}

fn monitor(monitor: &Cursor<'_>, findings: &mut Findings) -> Read<Option<MonitorListener>> {
    let listener = monitor.map("listener");
    if listener.is_present() {
        for name in ["port", "address"] {
            if monitor.has(name) {
                findings.error(monitor, name, format!("`{name}` cannot stand beside `listener`"));
            }
        }
        let kind: Arc<str> = listener.value("type")?;
        return Ok(Some(MonitorListener {
            address: listener.optional("address")?,
            port: listener.value("port")?,
            https: &*kind == "https",
        }));
    }
    let Some(port) = monitor.optional("port")? else { return Ok(None) };
    Ok(Some(MonitorListener { address: monitor.optional("address")?, port, https: false }))
}

fn cluster(cluster: &Cursor<'_>) -> Read<Option<Cluster>> {
    if !cluster.is_present() {
        return Ok(None);
    }
    Ok(Some(Cluster {
        address: cluster.optional("address")?,
        port: cluster.value("port")?,
        startup_hosts: cluster.map("startup").optional("hosts")?,
    }))
}

impl FromNode for ServerKind {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        match node.text()? {
            "smtp" => Some(Self::Smtp),
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            "plugin" => Some(Self::Plugin),
            _ => None,
        }
    }
}

impl FromNode for Corrupt {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        match node.text()? {
            "ignore" => Some(Self::Ignore),
            "rename" => Some(Self::Rename),
            "unlink" => Some(Self::Unlink),
            _ => None,
        }
    }
}

impl FromNode for UuidVersion {
    fn from_node(node: &Arc<Node>) -> Option<Self> {
        match u64::from_node(node)? {
            1 => Some(Self::Time),
            4 => Some(Self::Random),
            _ => None,
        }
    }
}
