//! All files together: what one alone cannot tell, and the whole report of `smtpd --check`.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::load::{Loaded, load_delivery, load_policy, load_running, load_startup, load_suspend};
use crate::node::{KeyPath, Position};
use crate::running::{Pki, Running, Server};
use crate::startup::{ServerKind, ServerSockets, Startup};
use crate::validate::close;
use crate::value::{Field, Matcher};
use crate::{Delivery, Policy, Suspend};

/// Everything that can be said about a set of files.
#[derive(Clone, Debug)]
pub struct Report {
    /// `smtpd.yaml`; `None` when it has errors.
    pub startup: Option<Loaded<Startup>>,
    /// `smtpd-app.yaml`; `None` when it has errors or `smtpd.yaml` has.
    pub running: Option<Loaded<Running>>,
    /// `smtpd-policy.yaml`; `None` when there is none or it has errors.
    pub policy: Option<Loaded<Policy>>,
    /// `smtpd-suspend.yaml`; `None` when there is none or it has errors.
    pub suspend: Option<Loaded<Suspend>>,
    /// `smtpd-delivery.yaml`; `None` when there is none or it has errors.
    pub delivery: Option<Loaded<Delivery>>,
    /// Errors and warnings of all files, file by file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Tells whether the program may start with these files.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error)
    }

    /// Keys which this release accepts without acting on them, with their files.
    pub fn unimplemented(&self) -> impl Iterator<Item = (&str, &KeyPath)> {
        fn of<T>(loaded: Option<&Loaded<T>>) -> impl Iterator<Item = (&str, &KeyPath)> {
            loaded
                .into_iter()
                .flat_map(|loaded| loaded.unimplemented.iter().map(|path| (&*loaded.file, path)))
        }
        of(self.startup.as_ref())
            .chain(of(self.running.as_ref()))
            .chain(of(self.policy.as_ref()))
            .chain(of(self.suspend.as_ref()))
            .chain(of(self.delivery.as_ref()))
    }
}

/// Loads `smtpd.yaml` and the files it names, and checks each alone and all together.
///
/// `read` returns a file's octets; it is called with the paths as the configuration writes them. The
/// policy, suspend and delivery files may be missing ([`io::ErrorKind::NotFound`]) where the startup
/// configuration does not name them, the others must be there.
pub fn check(startup_file: &str, mut read: impl FnMut(&str) -> io::Result<Vec<u8>>) -> Report {
    let mut report = Report {
        startup: None,
        running: None,
        policy: None,
        suspend: None,
        delivery: None,
        diagnostics: Vec::new(),
    };
    let found = &mut report.diagnostics;
    report.startup = one(startup_file, Missing::Error, &mut read, load_startup, found);
    let Some(startup) = &report.startup else { return report };
    let environment = &startup.config.environment;
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    report.running =
        one(&path(&environment.appconf), Missing::Error, &mut read, load_running, found);
    let missing = |key| if is_named(startup, key) { Missing::Error } else { Missing::Fine };
    let policyconf = missing("policyconf");
    report.policy = one(&path(&environment.policyconf), policyconf, &mut read, load_policy, found);
    let suspendconf = missing("suspendconf");
    report.suspend =
        one(&path(&environment.suspendconf), suspendconf, &mut read, load_suspend, found);
    let deliveryconf = missing("deliveryconf");
    report.delivery =
        one(&path(&environment.deliveryconf), deliveryconf, &mut read, load_delivery, found);
    let Some(running) = &report.running else { return report };
    found.extend(servers(startup, running));
    if let Some(policy) = &report.policy {
        found.extend(policy_references(policy, running));
    }
    if let Some(suspend) = &report.suspend {
        found.extend(suspend_references(suspend, running));
    }
    if let Some(delivery) = &report.delivery {
        found.extend(delivery_references(delivery, running));
    }
    report
}

/// What a missing file means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Error,
    Fine,
}

fn one<T>(
    file: &str,
    missing: Missing,
    read: &mut impl FnMut(&str) -> io::Result<Vec<u8>>,
    load: impl Fn(Vec<u8>, &str) -> Result<Loaded<T>, Vec<Diagnostic>>,
    found: &mut Vec<Diagnostic>,
) -> Option<Loaded<T>> {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Fine => {
            return None;
        }
        Err(error) => {
            found.push(Diagnostic {
                severity: Severity::Error,
                file: Arc::from(file),
                position: Position::default(),
                path: KeyPath::root(),
                message: format!("the file cannot be read: {error}"),
                hint: None,
            });
            return None;
        }
    };
    match load(text, file) {
        Ok(loaded) => {
            found.extend(loaded.warnings.iter().cloned());
            Some(loaded)
        }
        Err(faults) => {
            found.extend(faults);
            None
        }
    }
}

/// Tells whether the startup configuration names this file of `environment` itself; then it must be
/// there, while one at its default place may be missing.
#[must_use]
pub fn is_named(startup: &Loaded<Startup>, key: &str) -> bool {
    startup.root.member("environment").is_some_and(|environment| environment.member(key).is_some())
}

/// Checks the servers, listeners and certificates of both files against each other.
///
/// To be called on every reload too, with the startup configuration the program runs on.
#[must_use]
pub fn servers(startup: &Loaded<Startup>, running: &Loaded<Running>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let top = KeyPath::root().key("servers");
    for (index, sockets) in startup.config.servers.iter().enumerate() {
        if !running.config.servers.contains_key(&sockets.id) {
            let message = format!("there is no server `{}` in {}", sockets.id, running.file);
            let path = top.index(index).key("id");
            let mut error = startup.diagnostic(Severity::Error, &path, message);
            let names = running.config.servers.keys().map(mta_types::ServerId::as_str);
            error.hint =
                close(sockets.id.as_str(), names).map(|name| format!("did you mean `{name}`?"));
            found.push(error);
        }
    }
    for (index, server) in running.config.servers.values().enumerate() {
        let path = top.index(index);
        match startup.config.server(server.id.as_str()) {
            Some(sockets) => server_pair(startup, running, sockets, server, &path, &mut found),
            None => {
                let message = format!("no server `{}` listens in {}", server.id, startup.file);
                found.push(running.diagnostic(Severity::Warning, &path.key("id"), message));
            }
        }
    }
    if let Some(cert) = &running.config.monitor.cert {
        let path = KeyPath::root().key("monitor").key("tls").key("certs").key("cert");
        certificate(startup, running, cert, &path, &mut found);
    }
    found
}

fn server_pair(
    startup: &Loaded<Startup>,
    running: &Loaded<Running>,
    sockets: &ServerSockets,
    server: &Server,
    path: &KeyPath,
    found: &mut Vec<Diagnostic>,
) {
    let mut error = |path: &KeyPath, message: String| {
        found.push(running.diagnostic(Severity::Error, path, message));
    };
    if sockets.kind != server.kind {
        error(&path.key("type"), format!("{} gives this server another type", startup.file));
    }
    let tls = path.key("tls");
    let implicit = tls.key("implicit");
    if !server.tls.implicit.is_empty() && server.tls.cert.is_none() {
        error(&implicit, "implicit TLS needs `tls.certs.cert`".to_owned());
    }
    if sockets.kind == ServerKind::Https && server.tls.cert.is_none() {
        error(path, "a server of type https needs `tls.certs.cert`".to_owned());
    }
    let known: HashSet<&str> =
        sockets.listeners.iter().filter_map(|listener| listener.id.as_deref()).collect();
    for (index, id) in server.tls.implicit.iter().enumerate() {
        if !known.contains(&**id) {
            let message = format!("this server has no listener `{id}` in {}", startup.file);
            error(&implicit.index(index), message);
        }
    }
    let certs = tls.key("certs");
    if let Some(cert) = &server.tls.cert {
        certificate(startup, running, cert, &certs.key("cert"), found);
    }
    for (name, cert) in &server.tls.sni {
        certificate(startup, running, cert, &certs.key("sni").key(name), found);
    }
}

/// A server's certificate needs both halves; either file may hold either half.
fn certificate(
    startup: &Loaded<Startup>,
    running: &Loaded<Running>,
    id: &str,
    path: &KeyPath,
    found: &mut Vec<Diagnostic>,
) {
    let (below, own) = pki_entry(&startup.config, &running.config, id);
    let has = |half: fn(&Pki) -> bool| below.is_some_and(half) || own.is_some_and(half);
    let message = if below.is_none() && own.is_none() {
        format!("there is no entry `{id}` in pki.private of either file")
    } else if !has(|entry| entry.certificate.is_some()) {
        format!("the entry `{id}` in pki.private has no certificate")
    } else if !has(|entry| entry.privatekey.is_some()) {
        format!("the entry `{id}` in pki.private has no private key")
    } else {
        return;
    };
    let mut error = running.diagnostic(Severity::Error, path, message);
    let names = running.config.pki.keys().map(AsRef::as_ref);
    error.hint =
        close(id, names).filter(|name| *name != id).map(|name| format!("did you mean `{name}`?"));
    found.push(error);
}

/// The entries called `id` in the startup and in the running configuration.
///
/// Since 5.3 the key may stay in the startup file while the certificate, under the same id, is in the
/// running one; the running file's half wins where both have it.
#[must_use]
pub fn pki_entry<'a>(
    startup: &'a Startup,
    running: &'a Running,
    id: &str,
) -> (Option<&'a Pki>, Option<&'a Pki>) {
    (startup.pki.iter().find(|entry| &*entry.id == id), running.pki.get(id))
}

/// Names references of a policy file that lead nowhere.
///
/// They are warnings, because plugins make lists of their own at run time.
#[must_use]
pub fn policy_references(policy: &Loaded<Policy>, running: &Loaded<Running>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let top = KeyPath::root().key("policies");
    for (index, counter) in policy.config.policies.iter().enumerate() {
        let path = top.index(index);
        for (place, field) in counter.fields.iter().enumerate() {
            let at = path.key("fields").index(place).key(field.field.as_str());
            for (name, patterns) in &field.rollups {
                references(policy, running, field.field, patterns, &at.key(name), &mut found);
            }
        }
        for (place, condition) in counter.conditions.iter().enumerate() {
            let at = path.key("conditions").index(place).key("if");
            for (field, patterns) in &condition.when {
                references(policy, running, *field, patterns, &at.key(field.as_str()), &mut found);
            }
        }
    }
    found
}

/// Names references of a suspend file that lead nowhere, as [`policy_references`] does.
#[must_use]
pub fn suspend_references(suspend: &Loaded<Suspend>, running: &Loaded<Running>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let top = KeyPath::root().key("suspends");
    for (index, suspension) in suspend.config.suspends.iter().enumerate() {
        for (field, patterns) in &suspension.when {
            let path = top.index(index).key(field.as_str());
            references(suspend, running, *field, patterns, &path, &mut found);
        }
    }
    found
}

/// Names references of a delivery file that lead nowhere, as [`policy_references`] does.
#[must_use]
pub fn delivery_references(
    delivery: &Loaded<Delivery>,
    running: &Loaded<Running>,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let top = KeyPath::root().key("delivery").key("conditions");
    for (index, condition) in delivery.config.conditions.iter().enumerate() {
        for (field, patterns) in &condition.when {
            let path = top.index(index).key("if").key(field.as_str());
            references(delivery, running, *field, patterns, &path, &mut found);
        }
    }
    found
}

fn references<T>(
    from: &Loaded<T>,
    running: &Loaded<Running>,
    field: Field,
    patterns: &[Matcher],
    path: &KeyPath,
    found: &mut Vec<Diagnostic>,
) {
    for pattern in patterns {
        let message = match pattern {
            Matcher::List(name)
                if !running
                    .config
                    .lists
                    .get(&field)
                    .is_some_and(|lists| lists.contains_key(name)) =>
            {
                format!("there is no list lists.{field}.{name} in {}", running.file)
            }
            Matcher::Grouping(id)
                if !running.config.queues.groupings.iter().any(|rule| rule.id == *id) =>
            {
                format!("there is no grouping `{id}` in {}", running.file)
            }
            Matcher::Exact(id)
                if field == Field::TransportId
                    && !running.config.transports.contains_key(&**id) =>
            {
                format!("there is no transport `{id}` in {}", running.file)
            }
            _ => continue,
        };
        found.push(from.diagnostic(Severity::Warning, path, message));
    }
}
