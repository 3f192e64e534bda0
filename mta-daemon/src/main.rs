//! The program `smtpd`: arguments, signals, exit code. What it does is in the library.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mta_daemon::{Daemon, Options, check};
use telemetry::log;
use tokio::signal::unix::{SignalKind, signal};

/// Mail transfer agent: receives, queues and delivers mail.
#[derive(Debug, Parser)]
#[command(name = "smtpd", version, after_help = EXAMPLE)]
struct Arguments {
    /// Startup configuration.
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        default_value = "/etc/halon/smtpd.yaml"
    )]
    config: PathBuf,
    /// Stay in the foreground and write the log to standard error too.
    #[arg(short = 'f', long = "foreground")]
    foreground: bool,
    /// Check all configuration files and scripts, then exit.
    #[arg(long)]
    check: bool,
}

const EXAMPLE: &str = "Example: smtpd -f -c /etc/halon/smtpd.yaml";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log = log::start(log::Settings {
        stderr: arguments.foreground && !arguments.check,
        syslog: (!arguments.check).then(|| "/dev/log".into()),
        ..log::Settings::default()
    });
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("smtpd-worker")
        .max_blocking_threads(plugin_host::BLOCKING_THREADS)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("smtpd: cannot start the runtime: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let code = runtime.block_on(run(arguments, &log));
    // Not for ever: a plugin that never wakes a call inside of C keeps its thread.
    runtime.shutdown_timeout(LAST_WAIT);
    code
}

async fn run(arguments: Arguments, log: &log::Handle) -> ExitCode {
    let options = Options { config: arguments.config };
    if arguments.check {
        return match check(&options).await {
            Ok(()) => {
                println!("{}: the configuration is good", options.config.display());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(EXIT_CONFIGURATION)
            }
        };
    }
    // Before the start, so that no signal is missed and plugins find our handlers in place.
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        eprintln!("smtpd: cannot listen for signals");
        return ExitCode::from(EXIT_FAILED);
    };
    let daemon = match Daemon::start(options).await {
        Ok(daemon) => daemon,
        Err(error) => {
            eprintln!("smtpd: {error}");
            let code = if error.is_configuration() { EXIT_CONFIGURATION } else { EXIT_FAILED };
            return ExitCode::from(code);
        }
    };
    log.set_syslog_mask(daemon.syslog_mask());
    for (server, address) in daemon.addresses() {
        tracing::info!(server, %address, "daemon.ready");
    }
    let mut watchdog = watchdog();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // The failure is in the log; the old configuration stays in force.
                let _ = daemon.reload().await;
            }
            _ = watchdog.tick() => {
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    }
    daemon.stop(GRACE).await;
    ExitCode::SUCCESS
}

/// Ticks twice per interval that systemd asks for; once an hour without one, to no effect.
fn watchdog() -> tokio::time::Interval {
    let every =
        sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |interval| interval / 2);
    tokio::time::interval(every.max(Duration::from_millis(100)))
}

/// How long connections and deliveries may take to finish; half of what systemd waits.
const GRACE: Duration = Duration::from_secs(20);

/// How long threads that are inside of plugins may take when everything else has ended.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The request failed.
const EXIT_FAILED: u8 = 1;

/// The configuration is wrong.
const EXIT_CONFIGURATION: u8 = 3;
