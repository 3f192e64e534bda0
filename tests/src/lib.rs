//! A whole daemon in a temporary directory, for the stories in `tests/`.
//!
//! A story says what is special about its configuration and gets a running daemon on free loopback
//! ports, with a control socket and a spool of its own. Several live in one process.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::client::{Client, Endpoint, Timeouts};
use control::command::call;
use control::pb;
use control::pb::queue_list_response::QueueItem;
use mta_daemon::{Daemon, Options, StartError};
use tempfile::TempDir;

/// What is special about a daemon under test.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Where the transport `out` delivers; without it by MX.
    pub next_hop: Option<SocketAddr>,
    /// Name server for the resolver.
    pub name_server: Option<SocketAddr>,
    /// Port of the transport `out`; the next hop's unless given.
    pub port: Option<u16>,
    /// Scripts by hook name; `predelivery` and `postdelivery` too.
    pub hooks: Vec<(&'static str, String)>,
    /// Retry intervals in seconds, the number of retries is their number.
    pub retries: Vec<u64>,
    /// Further transports of the group of `out`, indented by six.
    pub transports: String,
    /// Whether each retry interval tells the sender of the delay.
    pub notify: bool,
    /// Whether bounces are made (through the transport `out`).
    pub dsn: bool,
    /// Lines for the server in the running configuration, indented by four.
    pub server: String,
    /// Lines behind the server's first listener in the startup configuration: further listeners
    /// (indented by six) and keys (by four). `{dir}` is the daemon's directory.
    pub sockets: String,
    /// Lines for the transport's `session`, indented by eight.
    pub session: String,
    /// Further top-level lines of the running configuration.
    pub running: String,
    /// Further lines of the startup configuration's `spool`, indented by two.
    pub spool: String,
    /// Further top-level lines of the startup configuration.
    pub startup: String,
    /// The delivery settings file below its version.
    pub delivery: String,
    /// The policy file below its version.
    pub policy: String,
    /// The suspend file below its version.
    pub suspend: String,
}

impl Setup {
    /// Adds a script.
    #[must_use]
    pub fn hook(mut self, name: &'static str, script: &str) -> Self {
        self.hooks.push((name, script.to_owned()));
        self
    }
}

/// A daemon with its directory; the directory goes with the value.
pub struct TestDaemon {
    daemon: Option<Daemon>,
    dir: TempDir,
    setup: Setup,
}

impl TestDaemon {
    /// Starts a daemon.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(setup: Setup) -> Self {
        match Self::try_start(setup).await {
            Ok(daemon) => daemon,
            Err(error) => panic!("the daemon does not start:\n{error}"),
        }
    }

    /// Starts a daemon that may refuse.
    ///
    /// # Errors
    ///
    /// Why it does not start.
    ///
    /// # Panics
    ///
    /// When the temporary directory cannot be written.
    pub async fn try_start(setup: Setup) -> Result<Self, StartError> {
        // Shown by the test runner when a story fails.
        telemetry::log::start(telemetry::log::Settings {
            syslog: None,
            filter: "debug".into(),
            ..telemetry::log::Settings::default()
        });
        let dir = tempfile::tempdir().expect("a temporary directory");
        write_configuration(dir.path(), &setup);
        let mut this = Self { daemon: None, dir, setup };
        this.daemon = Some(Daemon::start(this.options()).await?);
        Ok(this)
    }

    /// How this daemon is started.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { config: self.dir.path().join("smtpd.yaml") }
    }

    /// The daemon.
    ///
    /// # Panics
    ///
    /// After [`TestDaemon::stop`].
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("a running daemon")
    }

    /// Where it takes mail.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.daemon().addresses()[0].1
    }

    /// Its control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.dir.path().join("smtpd.ctl")
    }

    /// Its directory: configuration, spool, control socket.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes another running configuration; takes effect with a reload.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
        write_configuration(self.dir.path(), &self.setup);
    }

    /// Stops the daemon in good order.
    pub async fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop(Duration::from_secs(5)).await;
        }
    }

    /// Stops it and starts it again over the same spool.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.stop().await;
        let daemon = Daemon::start(self.options()).await;
        self.daemon = Some(daemon.expect("the daemon starts again"));
    }
}

/// Calls a daemon's control socket, off the runtime's threads.
///
/// # Panics
///
/// When the socket does not answer, or the work panics.
pub async fn ask<T: Send + 'static>(
    daemon: &TestDaemon,
    work: impl FnOnce(&mut Client) -> T + Send + 'static,
) -> T {
    let socket = daemon.control_socket();
    let call = move || {
        let client = Client::connect(&Endpoint::Unix(socket), Timeouts::default());
        work(&mut client.expect("the control socket answers"))
    };
    tokio::task::spawn_blocking(call).await.expect("the work does not panic")
}

/// What a script stored under a key of the shared memory, as JSON; waits until it is there.
///
/// # Panics
///
/// When it does not come within thirty seconds.
pub async fn remembered(daemon: &TestDaemon, key: &str) -> String {
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let request = pb::HslMemoryRequest { key: key.to_owned() };
        let value = ask(daemon, move |client| client.call(call::MEMORY_FETCH, &request)).await;
        let value = value.expect("the control socket answers").value;
        if !value.is_empty() {
            return value;
        }
        assert!(tokio::time::Instant::now() < patience, "no script stored {key}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The rows of the queue; waits until `wanted` is true of them.
///
/// # Panics
///
/// When it does not become true within thirty seconds.
pub async fn rows_where(
    daemon: &TestDaemon,
    wanted: impl Fn(&[QueueItem]) -> bool,
) -> Vec<QueueItem> {
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let list =
            |client: &mut Client| client.call(call::QUEUE_LIST, &pb::QueueListRequest::default());
        let rows = ask(daemon, list).await.expect("the control socket answers").items;
        if wanted(&rows) {
            return rows;
        }
        assert!(tokio::time::Instant::now() < patience, "the queue holds {rows:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn write_configuration(dir: &Path, setup: &Setup) {
    let at = |name: &str| dir.join(name).display().to_string();
    let startup = format!(
        "version: \"5.6\"\n\
         servers:\n  - id: default\n    listeners:\n      - port: 0\n        address: 127.0.0.1\n{}\
         spool:\n  path: {}\n{}\
         environment:\n  appconf: {}\n  pluginspath: {}\n  deliveryconf: {}\n  policyconf: {}\n  \
         suspendconf: {}\n  controlsocket:\n    path: {}\n{}",
        setup.sockets.replace("{dir}", &dir.display().to_string()),
        at("queue"),
        setup.spool,
        at("smtpd-app.yaml"),
        // Those that the machine has installed are not for tests.
        at("plugins"),
        at("smtpd-delivery.yaml"),
        at("smtpd-policy.yaml"),
        at("smtpd-suspend.yaml"),
        at("smtpd.ctl"),
        setup.startup
    );
    let write = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).expect("the temporary directory is writable");
    };
    write("smtpd.yaml", &startup);
    write("smtpd-app.yaml", &running(setup));
    for (name, text) in [
        ("smtpd-delivery.yaml", &setup.delivery),
        ("smtpd-policy.yaml", &setup.policy),
        ("smtpd-suspend.yaml", &setup.suspend),
    ] {
        let version = if text.starts_with("version:") { "" } else { "version: \"5.6\"\n" };
        write(name, &format!("{version}{text}"));
    }
}

/// The text of a running configuration.
#[must_use]
pub fn running(setup: &Setup) -> String {
    let mut out = String::from("version: \"5.6\"\nservers:\n  - id: default\n    transport: out\n");
    let phases: Vec<_> =
        setup.hooks.iter().filter(|(name, _)| !name.ends_with("delivery")).collect();
    if !phases.is_empty() {
        out.push_str("    phases:\n");
    }
    // Writing to a string does not fail.
    let has = |wanted: &str| phases.iter().any(|(name, _)| *name == wanted);
    for (name, _) in phases.iter().filter(|(name, _)| !name.starts_with("eod")) {
        let _ = write!(out, "      {name}:\n        hook: script\n");
    }
    if has("eod") || has("eodrcpt") {
        out.push_str("      eod:\n");
    }
    if has("eod") {
        out.push_str("        hook: script\n");
    }
    if has("eodrcpt") {
        out.push_str("        rcpt:\n          hook: script\n");
    }
    out.push_str(&setup.server);
    out.push_str("transportgroups:\n  - id: group\n    transports:\n      - id: out\n");
    let port = setup.port.or(setup.next_hop.map(|hop| hop.port()));
    if setup.next_hop.is_some() || port.is_some() {
        out.push_str("        connection:\n");
        if let Some(hop) = setup.next_hop {
            let _ = writeln!(out, "          server: {}", hop.ip());
        }
        if let Some(port) = port {
            let _ = writeln!(out, "          port: {port}");
        }
    }
    if !setup.session.is_empty() {
        out.push_str("        session:\n");
        out.push_str(&setup.session);
    }
    if !setup.retries.is_empty() {
        let _ = write!(
            out,
            "        retry:\n          count: {}\n          intervals:\n",
            setup.retries.len()
        );
        for seconds in &setup.retries {
            let _ = writeln!(out, "            - interval: {seconds}");
            if setup.notify {
                out.push_str("              notify: true\n");
            }
        }
    }
    if setup.dsn {
        out.push_str("        dsn:\n          transport: out\n");
    }
    out.push_str(&setup.transports);
    if let Some(server) = setup.name_server {
        let _ = write!(out, "resolver:\n  servers:\n    - \"{server}\"\n");
    }
    if !setup.hooks.is_empty() {
        out.push_str("scripting:\n  hooks:\n");
    }
    for (name, script) in &setup.hooks {
        let text = script.replace('\n', "\n            ");
        if name.ends_with("delivery") {
            let _ = write!(out, "    {name}: |\n            {text}\n");
        } else {
            let _ = write!(
                out,
                "    {name}:\n      - id: script\n        data: |\n            {text}\n"
            );
        }
    }
    out.push_str(&setup.running);
    out
}
