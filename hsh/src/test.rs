//! Runs scripts as tests: their own errors and what their first lines expect.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use hsl::diagnostic::Style;
use hsl::host::{Clock, Registry};
use hsl::{Setup, Vm};
use hsl_std::services::{BoxFuture, LogLine, LogSink, MailQueue, Services, Timer};
use hsl_std::{DEFAULT_FUEL, Limit, Outcome, SystemClock, drive};
use parking_lot::Mutex;
use script_host::hooks::machine_limits;
use script_host::server::{self, Server, metric_functions};

use crate::run::Script;
use crate::settings::Settings;
use crate::test_server::TestServer;
use crate::zone::Zone;

/// Runs the test in a file, or every test below a folder, as many at once as there are processors.
///
/// Prints a line for each in the order of their names, and the counts at the end. It is a failure
/// when there is no test.
pub(crate) fn run_tests(path: &Path, settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut scripts = Vec::new();
    let folder = if path.is_file() {
        scripts.push(path.to_path_buf());
        Path::new("")
    } else {
        collect(path, &mut scripts).with_context(|| format!("cannot read {}", path.display()))?;
        path
    };
    if scripts.is_empty() {
        bail!("there are no tests in {}", folder.display());
    }
    scripts.sort();
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<(), String>>>> =
        scripts.iter().map(|_| Mutex::new(None)).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(scripts.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while !settings.ending.has_come() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(path), Some(slot)) = (scripts.get(index), results.get(index)) else {
                        return;
                    };
                    *slot.lock() = Some(run_test(path, settings));
                }
            });
        }
    });
    let mut failed = 0;
    for (path, result) in scripts.iter().zip(results) {
        let name = path.strip_prefix(folder).unwrap_or(path).display();
        match result.into_inner() {
            Some(Ok(())) => println!("ok   - {name}"),
            other => {
                failed += 1;
                println!("FAIL - {name}");
                let reason = other.and_then(Result::err).unwrap_or_default();
                for line in reason.lines() {
                    println!("       | {line}");
                }
            }
        }
    }
    println!("{} passed, {failed} failed", scripts.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Finds the scripts of a folder and the folders in it.
fn collect(folder: &Path, scripts: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b"_")
            || entry.file_name().as_encoded_bytes().starts_with(b".")
        {
            continue;
        }
        // Links to folders are not followed: they may lead in a circle.
        if entry.file_type()?.is_dir() {
            collect(&path, scripts)?;
        } else if path.extension().is_some_and(|extension| extension == "hsl") {
            scripts.push(path);
        }
    }
    Ok(())
}

/// What the first lines of a script say.
#[derive(Default)]
struct Expectation {
    /// Lines of output; none given, none compared.
    output: Option<String>,
    /// Part of the error that ends the script.
    error: Option<String>,
    zone: Zone,
}

impl Expectation {
    fn read(text: &str, path: &Path) -> Result<Self, String> {
        let mut out = Self::default();
        for (index, line) in text.lines().enumerate() {
            let is_interpreter = index == 0 && line.starts_with("#!");
            if let Some(line) = line.strip_prefix("//>") {
                let output = out.output.get_or_insert_default();
                output.push_str(line.strip_prefix(' ').unwrap_or(line));
                output.push('\n');
            } else if let Some(error) = line.strip_prefix("//!") {
                out.error = Some(error.trim().to_owned());
            } else if let Some(record) = line.strip_prefix("//@") {
                out.zone.add(record)?;
            } else if !line.starts_with("//") && !is_interpreter {
                break;
            }
        }
        let side = path.with_extension("zone");
        match std::fs::read_to_string(&side) {
            Ok(text) => {
                let lines = text.lines().map(str::trim);
                for line in lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
                    out.zone.add(line).map_err(|error| format!("{}: {error}", side.display()))?;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", side.display())),
        }
        Ok(out)
    }

    /// Compares a run with what was expected.
    fn check(&self, output: &str, error: Option<&str>) -> Result<(), String> {
        match (&self.error, error) {
            (None, Some(error)) => return Err(format!("{error}{}", printed(output))),
            (Some(wanted), None) => return Err(format!("no error, should be: {wanted}")),
            (Some(wanted), Some(error)) if !error.contains(wanted.as_str()) => {
                return Err(format!("the error should be: {wanted}\nit is:\n{error}"));
            }
            _ => {}
        }
        let Some(wanted) = &self.output else { return Ok(()) };
        if wanted == output {
            return Ok(());
        }
        let mut report = String::from("the output differs (- expected, + printed):\n");
        let (mut wanted, mut given) = (wanted.lines(), output.lines());
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Err(report),
                (a, b) if a == b => report.push_str(&format!("  {}\n", a.unwrap_or_default())),
                (a, b) => {
                    report.extend(a.map(|line| format!("- {line}\n")));
                    report.extend(b.map(|line| format!("+ {line}\n")));
                }
            }
        }
    }
}

fn printed(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("\nprinted:\n{output}") }
}

/// Runs one test; the error says what is wrong.
fn run_test(path: &Path, settings: &Settings) -> Result<(), String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let expectation = Expectation::read(&String::from_utf8_lossy(&text), path)?;
    let output = Arc::new(Mutex::new(Vec::new()));
    let clock = Arc::new(TestClock::default());
    let server = TestServer::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let services = Services {
        mail_queue: Arc::clone(&server) as Arc<dyn MailQueue>,
        timer: Arc::new(TestTimer(Arc::clone(&clock))),
        resolver: Arc::new(expectation.zone.clone()),
        log: Arc::new(OutputLog(Arc::clone(&output))),
        ..settings.services.clone()
    };
    let mut registry = Registry::new();
    hsl_std::register(&mut registry, &services);
    let server: Arc<dyn Server> = server;
    server::register(&mut registry, &server);
    metric_functions::register(&mut registry, &settings.metrics());
    settings.plugins.register(&mut registry).map_err(|error| error.to_string())?;
    let host = registry.freeze();
    let program = match Script::from_file(path, text).compile(&host, &settings.loader) {
        Ok(program) => program,
        Err(error) => {
            let render = |d: &hsl::diagnostic::Diagnostic| d.render(&error.sources, Style::Plain);
            let rendered: Vec<String> = error.diagnostics.iter().map(render).collect();
            return expectation.check("", Some(&rendered.join("\n")));
        }
    };
    let echo = Arc::clone(&output);
    let setup = Setup {
        limits: machine_limits(&settings.limits(None)),
        echo: Box::new(move |text: &[u8]| write_line(&echo, text)),
        clock,
        ..Setup::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a runtime: {error}"))?;
    let mut vm = Vm::new(&program, setup);
    let limit = Limit { what: "the test", time: settings.limit.unwrap_or(PATIENCE) };
    let script = drive(&mut vm, DEFAULT_FUEL, Some(limit), || {});
    let error = match runtime.block_on(settings.ending.run(script)) {
        None => Some("a signal came before its end".to_owned()),
        Some(Outcome::Failed(error)) => {
            Some(error.diagnostic().render(error.sources(), Style::Plain).trim_end().to_owned())
        }
        Some(Outcome::Done(_) | Outcome::Exited(_)) => None,
    };
    let output = std::mem::take(&mut *output.lock());
    expectation.check(&String::from_utf8_lossy(&output), error.as_deref())
}

/// The system's clock, and `sleep` moves it on.
#[derive(Default)]
struct TestClock {
    slept: AtomicU64,
}

impl TestClock {
    fn slept(&self) -> Duration {
        Duration::from_nanos(self.slept.load(Ordering::Relaxed))
    }
}

impl Clock for TestClock {
    fn unix_time(&self) -> Duration {
        SystemClock.unix_time().saturating_add(self.slept())
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic().saturating_add(self.slept())
    }
}

struct TestTimer(Arc<TestClock>);

impl Timer for TestTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let add = |slept: u64| Some(slept.saturating_add(nanos));
        let _ = self.0.slept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        Box::pin(std::future::ready(()))
    }
}

/// `syslog` lines are output like others.
struct OutputLog(Arc<Mutex<Vec<u8>>>);

impl LogSink for OutputLog {
    fn syslog(&self, line: &LogLine<'_>) {
        let text = format!("syslog <{}> {}", line.severity, String::from_utf8_lossy(line.text));
        write_line(&self.0, text.as_bytes());
    }
}

fn write_line(output: &Mutex<Vec<u8>>, text: &[u8]) {
    let mut output = output.lock();
    output.extend_from_slice(text);
    output.push(b'\n');
}

/// Far longer than a test takes; `--limit` sets another time.
const PATIENCE: Duration = Duration::from_secs(60);
