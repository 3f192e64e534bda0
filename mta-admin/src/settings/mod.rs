//! `web.yaml` and the users file: what is listened on, which daemons are shown, who may log in.
//!
//! Keys are those of the reference product's web administration and of its HTTP door, as far as they
//! make sense with a local control socket; `hosts[].socket` and `usersfile` are ours. An unknown key
//! is an error with its place. [`load`] reads files; [`parse`] and [`parse_users`] take texts.

mod reader;
pub mod users;

use std::{
    fs, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use config::Diagnostic;

use self::reader::{Findings, Item, Map};
pub use self::users::{User, parse_users};

/// Where the configuration is when nobody says so.
pub const DEFAULT_FILE: &str = "/etc/halon/web.yaml";
/// The socket of the mail daemon when nobody says so.
pub const DEFAULT_SOCKET: &str = "/var/run/halon/smtpd.ctl";
/// The users file when nobody says so, beside the configuration.
const DEFAULT_USERS_FILE: &str = "web-users.yaml";
/// Octets of a request to the door, as in the reference product.
const DEFAULT_MAX_SIZE: u64 = 52_428_800;
/// Octets of a request to the door that can be configured: nothing larger fits a control frame.
const MAX_MAX_SIZE: u64 = 1 << 27;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sockets to listen on; at least one.
    pub listeners: Vec<Listener>,
    /// Daemons to show; at least one, with different names.
    pub hosts: Vec<Host>,
    /// Who may log in; may be empty until one is added.
    pub users: Vec<User>,
    /// Where `user add` writes.
    pub users_file: PathBuf,
    /// The HTTP/JSON door; closed when absent.
    pub door: Option<Door>,
    /// Whom to become once the sockets are open.
    pub privdrop: Option<Privdrop>,
}

/// A socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// Octets of a request to the door.
    pub max_size: u64,
}

/// A daemon to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What people call it.
    pub name: String,
    /// Its control socket.
    pub socket: PathBuf,
}

/// The HTTP/JSON door to the control sockets.
#[derive(Clone)]
pub struct Door {
    /// What `X-API-Key` must be.
    pub secret: String,
    /// Whether to log who called what.
    pub accounting: bool,
    /// The control socket of the rate daemon.
    pub rated: PathBuf,
    /// The control socket of the data loss prevention daemon.
    pub dlpd: PathBuf,
    /// The control socket of the mail daemon.
    pub smtpd: PathBuf,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("accounting", &self.accounting).finish_non_exhaustive()
    }
}

/// An unprivileged user and group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privdrop {
    /// The name of the user.
    pub user: String,
    /// The name of the group; the user's own when absent.
    pub group: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file says something wrong; the diagnostics with their snippets, one per line or more.
    #[error("{0}")]
    Wrong(String),
}

impl SettingsError {
    fn wrong(diagnostics: &[Diagnostic], text: &str) -> Self {
        let rendered: Vec<String> = diagnostics.iter().map(|d| d.render(text)).collect();
        Self::Wrong(rendered.join("\n"))
    }
}

/// Reads the configuration and its users file.
///
/// A users file that does not exist holds no users.
///
/// # Errors
///
/// [`SettingsError`].
pub fn load(file: &Path) -> Result<Settings, SettingsError> {
    let text = fs::read_to_string(file).map_err(|e| SettingsError::Read(file.to_owned(), e))?;
    let name = file.display().to_string();
    let mut settings = parse(&text, &name).map_err(|found| SettingsError::wrong(&found, &text))?;
    // Relative to the configuration, as people move both together.
    let directory = file.parent().unwrap_or_else(|| Path::new("."));
    settings.users_file = directory.join(&settings.users_file);
    let added = load_users(&settings.users_file)?;
    for user in added {
        // The users file is what `user add` writes, so it wins.
        settings.users.retain(|known| known.username != user.username);
        settings.users.push(user);
    }
    Ok(settings)
}

/// Reads a users file; there are no users in one that does not exist.
///
/// # Errors
///
/// [`SettingsError`].
pub fn load_users(file: &Path) -> Result<Vec<User>, SettingsError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SettingsError::Read(file.to_owned(), error)),
    };
    let name = file.display().to_string();
    parse_users(&text, &name).map_err(|found| SettingsError::wrong(&found, &text))
}

/// Reads the text of `web.yaml`; `file` names it in diagnostics.
///
/// # Errors
///
/// Everything that is wrong, in file order.
pub fn parse(text: &str, file: &str) -> Result<Settings, Vec<Diagnostic>> {
    let root = config::yaml::parse(text.as_bytes(), file)?;
    let mut findings = Findings::new(file);
    let item = Item::root(&root);
    let top = item.map(TOP, &mut findings);
    version(&top, &mut findings);
    let sockets = Sockets::read(&top, &mut findings);
    let settings = Settings {
        listeners: listeners(&top, &mut findings),
        hosts: hosts(&top, &sockets, &mut findings),
        users: top
            .optional("users")
            .map_or_else(Vec::new, |users| users::read_list(&users, &mut findings)),
        users_file: top.text("usersfile", &mut findings).unwrap_or(DEFAULT_USERS_FILE).into(),
        door: door(&top, sockets, &mut findings),
        privdrop: privdrop(&top, &mut findings),
    };
    findings.finish(settings)
}

const TOP: &[&str] = &[
    "version",
    "listeners",
    "hosts",
    "users",
    "usersfile",
    "authentication",
    "accounting",
    "environment",
];

fn version(top: &Map<'_>, findings: &mut Findings) {
    let Some(item) = top.required("version", findings) else { return };
    let Some(text) = item.text(findings) else { return };
    let well_formed = text.split_once('.').is_some_and(|(major, minor)| {
        [major, minor].iter().all(|part| {
            (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit())
        })
    });
    if !well_formed {
        item.error(findings, "expected a version such as \"1.0\"");
    }
}

fn listeners(top: &Map<'_>, findings: &mut Findings) -> Vec<Listener> {
    let Some(item) = top.required("listeners", findings) else { return Vec::new() };
    let list = item.list(findings);
    if list.is_empty() {
        item.error(findings, "there must be a listener");
    }
    list.iter().filter_map(|item| listener(item, findings)).collect()
}

fn listener(item: &Item<'_>, findings: &mut Findings) -> Option<Listener> {
    let map = item.map(&["address", "port", "maxsize"], findings);
    let port = map.required("port", findings)?.number(0, u64::from(u16::MAX), findings)?;
    let address = match map.optional("address") {
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Some(item) => match item.text(findings)?.parse() {
            Ok(address) => address,
            Err(_) => {
                item.error(findings, "expected an IP address");
                return None;
            }
        },
    };
    let max_size = match map.optional("maxsize") {
        None => DEFAULT_MAX_SIZE,
        Some(item) => item.number(1024, MAX_MAX_SIZE, findings)?,
    };
    // In range by the check above.
    let port = u16::try_from(port).ok()?;
    Some(Listener { address: SocketAddr::new(address, port), max_size })
}

fn hosts(top: &Map<'_>, sockets: &Sockets, findings: &mut Findings) -> Vec<Host> {
    let Some(item) = top.optional("hosts") else {
        return vec![Host { name: "localhost".into(), socket: sockets.smtpd.clone() }];
    };
    let list = item.list(findings);
    if list.is_empty() {
        item.error(findings, "there must be a host, or no list at all");
    }
    let mut hosts: Vec<Host> = Vec::with_capacity(list.len());
    for item in &list {
        let map = item.map(&["name", "socket"], findings);
        let socket = map.text("socket", findings);
        let name = map.text("name", findings).unwrap_or("localhost");
        if hosts.iter().any(|host| host.name == name) {
            item.error(findings, format!("there is another host with the name \"{name}\""));
        }
        let socket = socket.map_or_else(|| sockets.smtpd.clone(), PathBuf::from);
        hosts.push(Host { name: name.to_owned(), socket });
    }
    hosts
}

/// The local control sockets by program.
#[derive(Debug)]
struct Sockets {
    smtpd: PathBuf,
    rated: PathBuf,
    dlpd: PathBuf,
}

impl Sockets {
    fn read(top: &Map<'_>, findings: &mut Findings) -> Self {
        let map = top
            .optional("environment")
            .map(|item| item.map(ENVIRONMENT, findings))
            .and_then(|environment| environment.optional("controlsockets"))
            .map(|item| item.map(&["smtpd", "rated", "dlpd"], findings));
        let mut path = |program: &str, default: &str| {
            map.as_ref()
                .and_then(|map| map.optional(program))
                .map(|item| item.map(&["path"], findings))
                .and_then(|map| map.text("path", findings))
                .unwrap_or(default)
                .into()
        };
        Self {
            smtpd: path("smtpd", DEFAULT_SOCKET),
            rated: path("rated", "/var/run/halon/rated.ctl"),
            dlpd: path("dlpd", "/var/run/halon/dlpd.ctl"),
        }
    }
}

const ENVIRONMENT: &[&str] = &["privdrop", "controlsockets"];

fn door(top: &Map<'_>, sockets: Sockets, findings: &mut Findings) -> Option<Door> {
    let accounting = top.boolean("accounting", findings).unwrap_or(false);
    let item = top.optional("authentication")?;
    let item = item.map(&["secret"], findings).optional("secret")?;
    let secret = item.text(findings)?;
    if secret.len() < MIN_SECRET {
        item.error(findings, format!("a secret has at least {MIN_SECRET} characters"));
        return None;
    }
    let Sockets { smtpd, rated, dlpd } = sockets;
    Some(Door { secret: secret.to_owned(), accounting, rated, dlpd, smtpd })
}

/// Characters of an API key: short ones can be tried out over the network.
const MIN_SECRET: usize = 16;

fn privdrop(top: &Map<'_>, findings: &mut Findings) -> Option<Privdrop> {
    // Unknown keys of `environment` are reported by the sockets.
    let environment = top.optional("environment")?.map(ENVIRONMENT, &mut Findings::new(""));
    let map = environment.optional("privdrop")?.map(&["user", "group"], findings);
    let user = map.required("user", findings)?.text(findings)?.to_owned();
    let group = map.text("group", findings).map(str::to_owned);
    Some(Privdrop { user, group })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "version: \"1.0\"\nlisteners:\n  - port: 8080\n    address: 127.0.0.1\n";

    fn errors(text: &str) -> Vec<String> {
        parse(text, "web.yaml").unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_listener_is_enough() {
        let settings = parse(SMALL, "web.yaml").unwrap();
        assert_eq!(settings.listeners[0].address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(settings.hosts[0].socket, Path::new(DEFAULT_SOCKET));
        assert!(settings.users.is_empty() && settings.door.is_none());
    }

    #[test]
    fn the_shipped_sample_listens_on_loopback_without_users() {
        let text = include_str!("../../../packaging/config/web.yaml");
        let settings = parse(text, "web.yaml").unwrap();
        assert!(settings.listeners.iter().all(|listener| listener.address.ip().is_loopback()));
        assert!(settings.users.is_empty() && settings.door.is_none());
    }

    #[test]
    fn unknown_keys_are_errors_with_their_line() {
        let found = errors(&format!("{SMALL}    ports: 1\nhost: []\n"));
        assert!(found[0].starts_with("web.yaml:5:5: error: listeners[0].ports: unknown key"));
        assert!(found[1].starts_with("web.yaml:6:1: error: host: unknown key"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn unknown_keys_of_the_environment_are_told_once() {
        let found = errors(&format!("{SMALL}environment:\n  privdrops: {{}}\n"));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn values_are_checked() {
        for (addition, message) in [
            ("hosts: []", "there must be a host"),
            ("hosts: [{name: a}, {name: a}]", "another host with the name \"a\""),
            ("authentication: {secret: short}", "at least 16 characters"),
            ("users: [{username: a, password: plain}]", "expected a password hash"),
            ("environment: {privdrop: {group: a}}", "`user` is missing"),
            ("accounting: \"yes\"", "expected true or false"),
        ] {
            let found = errors(&format!("{SMALL}{addition}\n"));
            assert!(found[0].contains(message), "{addition}: {found:?}");
        }
        assert!(errors("listeners: []\n").len() == 2);
    }

    #[test]
    fn secrets_stay_out_of_debug_output_and_diagnostics() {
        let secret = "0123456789abcdef";
        let text = format!("{SMALL}authentication: {{secret: {secret}}}\n");
        let settings = parse(&text, "web.yaml").unwrap();
        assert!(!format!("{settings:?}").contains(secret));
    }

    #[test]
    fn users_of_the_users_file_win() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("web.yaml");
        let entry = |cost| {
            let hash = format!("$2y${cost}$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
            format!("users:\n  - username: eve\n    password: \"{hash}\"\n")
        };
        fs::write(&file, format!("{SMALL}{}", entry("04"))).unwrap();
        fs::write(directory.path().join("web-users.yaml"), entry("05")).unwrap();
        let settings = load(&file).unwrap();
        assert_eq!(settings.users.len(), 1);
        assert!(settings.users[0].password.as_str().starts_with("$2y$05$"));
        assert_eq!(settings.users_file, directory.path().join("web-users.yaml"));
    }
}
