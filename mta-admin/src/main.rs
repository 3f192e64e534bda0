//! The program `mta-admin`: reads its configuration, opens its sockets, drops privileges, serves.
#![forbid(unsafe_code)]

mod user_add;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use mta_admin::{
    routes, server,
    settings::{self, Settings, SettingsError},
    state::{App, State},
};
use nix::unistd::{Gid, Group, User, initgroups, setgid, setuid};
use sd_notify::NotifyState;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

/// Web administration of the mail daemon, and the HTTP/JSON door to its control socket
#[derive(Debug, Parser)]
#[command(name = "mta-admin", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  mta-admin --check
  mta-admin user add eve")]
struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Check the configuration and end
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration
    #[arg(short, long = "config", value_name = "FILE", default_value = settings::DEFAULT_FILE)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who may log in
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user, or give one a new password, which is asked for or read from standard input
    Add {
        /// The name of the user
        name: String,
        /// Print the entry for users[] of web.yaml in place of writing the users file
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        file: ConfigFile,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::User(UserCommand::Add { name, print, file })) => {
            user_add::run(&name, &file.config, print)
        }
        None if arguments.check => check(&arguments.file.config),
        None => run(&arguments.file.config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mta-admin: {error:#}");
            ExitCode::from(if error.is::<SettingsError>() { EXIT_CONFIGURATION } else { 1 })
        }
    }
}

/// The exit code for a wrong configuration, as with the other programs.
const EXIT_CONFIGURATION: u8 = 3;

fn check(file: &Path) -> anyhow::Result<()> {
    let settings = settings::load(file)?;
    if settings.users.is_empty() {
        println!("{}: no users; add one with \"mta-admin user add NAME\"", file.display());
    } else {
        println!("{}: fine", file.display());
    }
    Ok(())
}

fn run(file: &Path) -> anyhow::Result<()> {
    let settings = settings::load(file)?;
    let log = telemetry::log::Settings { program: "mta-admin".into(), ..Default::default() };
    telemetry::log::start(log);
    // Sockets first: ports below 1024 are for root.
    let listeners = settings
        .listeners
        .iter()
        .map(|listener| {
            let socket = listen(listener.address)
                .with_context(|| format!("cannot listen on {}", listener.address))?;
            Ok((socket, listener.max_size))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    drop_privileges(&settings)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(settings, listeners, file))
}

/// Threads that serve connections: a handful of people.
const WORKERS: usize = 2;

fn listen(address: std::net::SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // After a restart the port is still in use by what is left of old connections.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// Becomes the configured user, when this is root.
fn drop_privileges(settings: &Settings) -> anyhow::Result<()> {
    let Some(privdrop) = &settings.privdrop else { return Ok(()) };
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let user = User::from_name(&privdrop.user)
        .ok()
        .flatten()
        .with_context(|| format!("there is no user \"{}\"", privdrop.user))?;
    let group = match &privdrop.group {
        None => user.gid,
        Some(name) => group_id(name)?,
    };
    let name = std::ffi::CString::new(privdrop.user.as_str()).context("the user's name")?;
    initgroups(&name, group)
        .and_then(|()| setgid(group))
        .and_then(|()| setuid(user.uid))
        .with_context(|| format!("cannot become user \"{}\"", privdrop.user))
}

/// Finds a group by its name.
fn group_id(name: &str) -> anyhow::Result<Gid> {
    let group = Group::from_name(name).ok().flatten();
    group.map(|group| group.gid).with_context(|| format!("there is no group \"{name}\""))
}

async fn serve(
    settings: Settings,
    listeners: Vec<(TcpListener, u64)>,
    file: &Path,
) -> anyhow::Result<()> {
    let state = App::new(&settings);
    let stop = CancellationToken::new();
    let mut signals = Signals::new().context("cannot handle signals")?;
    let mut tasks = JoinSet::new();
    for (listener, max_size) in listeners {
        let address = listener.local_addr().context("cannot listen")?;
        let router = routes::router(Arc::clone(&state), max_size);
        tasks.spawn(server::serve(listener, router, stop.clone()));
        tracing::info!(%address, "admin.listening");
    }
    notify(&[NotifyState::Ready]);
    tracing::info!(users = settings.users.len(), hosts = settings.hosts.len(), "admin.ready");
    let mut watchdog = tokio::time::interval(watchdog_interval());
    watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = watchdog.tick() => notify(&[NotifyState::Watchdog]),
            _ = signals.reload.recv() => reload(&state, file).await,
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            Some(ended) = tasks.join_next() => {
                // A listener ends by itself only when something is badly wrong.
                ended.context("a listener failed")?.context("a listener failed")?;
            }
        }
    }
    notify(&[NotifyState::Stopping]);
    tracing::info!("admin.stopping");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    tracing::info!("admin.stopped");
    Ok(())
}

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Reads the users again; the rest of the configuration needs a restart.
async fn reload(state: &State, file: &Path) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
    let path = file.to_owned();
    match tokio::task::spawn_blocking(move || settings::load(&path)).await {
        Ok(Ok(settings)) => {
            state.replace_users(&settings.users);
            tracing::info!(users = settings.users.len(), "admin.users_reloaded");
        }
        Ok(Err(error)) => tracing::error!(error = chain(&error), "admin.reload_failed"),
        Err(error) => tracing::error!(%error, "admin.reload_failed"),
    }
    notify(&[NotifyState::Ready]);
}

fn chain(error: &SettingsError) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Twice as often as systemd wants to hear from us; seldom when it does not.
fn watchdog_interval() -> Duration {
    let interval = sd_notify::watchdog_enabled().map(|interval| interval / 2);
    interval.filter(|interval| !interval.is_zero()).unwrap_or(Duration::from_secs(3600))
}

fn notify(states: &[NotifyState<'_>]) {
    // Not under systemd, or it does not listen: nobody waits for this.
    let _ = sd_notify::notify(states);
}
