//! `abi-host [--copies N] [--limit MILLISECONDS] [--plugin ID=LIBRARY[,STARTUP.yaml[,RUNNING.yaml]]]... SCRIPT.hsl`
//!
//! Loads plugins, walks them through their lives and runs a script on a runtime with two workers. A
//! copy of the script that is not over at the limit is dropped where it stands.
//! Beside what plugins register, scripts find functions that play the daemon: commands, reloads,
//! deliveries, queue decisions, injections, and a log of what plugins did to the queue.

mod daemon;
mod functions;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::node::Node;
use hsl::host::{HostSet, Registry};
use hsl::{Compiler, Program, Setup, Step, Vm};
use plugin_host::{PluginHost, PluginSpec, Program as Kind, Services};
use tokio::time::timeout;

use crate::daemon::Daemon;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut copies = 1;
    let mut limit = Duration::from_secs(600);
    let mut specs = Vec::new();
    let mut script = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--copies" => copies = value()?.parse().map_err(|_| "--copies needs a number")?,
            "--limit" => {
                let limit_ms = value()?.parse().map_err(|_| "--limit needs a number")?;
                limit = Duration::from_millis(limit_ms);
            }
            "--plugin" => specs.push(spec(&value()?)?),
            _ => script = Some(argument),
        }
    }
    let script = script.ok_or("which script?")?;
    let text = std::fs::read(&script).map_err(|error| format!("{script}: {error}"))?;

    let daemon = Arc::new(Daemon::default());
    let services = Services::none()
        .with_queue(daemon.clone())
        .with_inject(daemon.clone())
        .with_values(daemon.clone());
    let host = PluginHost::load(specs, Kind::Hsh, services).map_err(|error| error.to_string())?;
    let host = Arc::new(host);
    host.early_init().map_err(|error| error.to_string())?;
    host.init().map_err(|error| error.to_string())?;
    let mut registry = Registry::new();
    functions::register(&mut registry, &host, &daemon);
    host.register(&mut registry).map_err(|error| error.to_string())?;
    let set: Arc<HostSet> = registry.freeze();
    let program =
        Compiler::new(&set).compile(&script, &script, &text).map_err(|error| error.to_string())?;
    host.ready();

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .max_blocking_threads(plugin_host::BLOCKING_THREADS)
        .build()
        .map_err(|error| error.to_string())?;
    let result = runtime.block_on(run_copies(&program, copies, limit));
    host.early_cleanup();
    if let left @ 1.. = host.settle(GRACE) {
        println!("left behind {left}");
    }
    // What is dropped elsewhere is dropped before the end.
    drop(runtime);
    host.cleanup();
    result
}

/// Runs the script `copies` times at once. With more than one, says how long all took, how many
/// threads the process had meanwhile, and how many before.
async fn run_copies(program: &Arc<Program>, copies: usize, limit: Duration) -> Result<(), String> {
    let before = functions::threads();
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..copies {
        let program = Arc::clone(program);
        tasks.spawn(async move { timeout(limit, drive(&program)).await.unwrap_or(Ok(())) });
    }
    let threads = if copies > 1 {
        // All copies have started by the time the first has slept.
        tokio::time::sleep(Duration::from_millis(300)).await;
        functions::threads()
    } else {
        0
    };
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(ended.map_err(|error| error.to_string()).and_then(|ended| ended));
    }
    if copies > 1 {
        println!("milliseconds {}", started.elapsed().as_millis());
        println!("threads {threads}");
        println!("before {before}");
    }
    result
}

async fn drive(program: &Arc<Program>) -> Result<(), String> {
    let echo = |text: &[u8]| println!("{}", String::from_utf8_lossy(text));
    let mut vm = Vm::new(program, Setup { echo: Box::new(echo), ..Setup::default() });
    loop {
        match vm.run(10_000) {
            Step::Done(_) | Step::Exited(_) => return Ok(()),
            Step::Threw(error) => return Err(error.to_string()),
            Step::OutOfFuel => tokio::task::yield_now().await,
            Step::Suspended(wait) => {
                let result = wait.await;
                vm.resume(result);
            }
        }
    }
}

/// What plugins get to give back what scripts have left.
const GRACE: Duration = Duration::from_millis(200);

fn spec(text: &str) -> Result<PluginSpec, String> {
    let (id, rest) = text.split_once('=').ok_or("--plugin needs ID=LIBRARY")?;
    let mut parts = rest.split(',');
    let path = parts.next().unwrap_or_default().into();
    let mut block = || parts.next().map(|file| read(Path::new(file))).transpose();
    let config = block()?.unwrap_or_else(Node::empty_mapping);
    Ok(PluginSpec { id: Arc::from(id), path, config, app_config: block()? })
}

fn read(path: &Path) -> Result<Arc<Node>, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    yaml(&text)
}

/// Reads a YAML text.
pub(crate) fn yaml(text: &[u8]) -> Result<Arc<Node>, String> {
    config::yaml::parse(text, "block").map_err(|_| "the YAML cannot be read".to_owned())
}
