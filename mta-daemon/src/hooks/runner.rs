//! Runs one script for one hook: fuel slices, waits, limits, and what to log when it fails.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use config::Size;
use config::running::ScriptLimits;
use hsl::host::Clock;
use hsl::shared_memory::SharedMemory;
use hsl::{ScriptError, Setup, Step, Value, Vm};
use mta_types::TransactionId;
use script_host::debugging::{self, Stop};
use script_host::hooks::{self, machine_limits};
use tokio::time::timeout_at;

use crate::stage::session::Session;
use crate::stats::ScriptStats;

/// What all scripts of a daemon share.
pub(crate) struct ScriptWorld {
    pub(crate) memory: Arc<SharedMemory>,
    pub(crate) cache: Arc<hsl::cache::CacheStore>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl ScriptWorld {
    /// Makes a world whose shared memory takes `memory`.
    pub(crate) fn new(memory: Size) -> Self {
        Self {
            memory: SharedMemory::with_limit(usize::try_from(memory.0).unwrap_or(usize::MAX)),
            cache: hsl::cache::CacheStore::new(),
            clock: Arc::new(SystemTimes { start: Instant::now() }),
        }
    }
}

/// A compiled script.
#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) script: hooks::Hook,
    /// What one run of it may take.
    pub(crate) limits: ScriptLimits,
    /// Where it stops, if it is part of a live stage.
    pub(crate) session: Option<Arc<Session>>,
}

impl std::ops::Deref for Hook {
    type Target = hooks::Hook;

    fn deref(&self) -> &hooks::Hook {
        &self.script
    }
}

/// One execution.
pub(crate) struct Run<'a> {
    pub(crate) hook: &'a Hook,
    pub(crate) stats: &'a ScriptStats,
    pub(crate) transaction: TransactionId,
    pub(crate) variables: Vec<(&'static str, Value)>,
    pub(crate) states: Vec<Box<dyn Any + Send>>,
}

/// How an execution ended.
pub(crate) enum Ending {
    /// A function such as `Accept` ended it.
    Exit(Box<dyn Any + Send>),
    /// The script ran to its end.
    End,
    /// The script failed; the failure was logged.
    Failed,
}

/// Runs a script to its end. The machine comes back too, for what the script left behind.
///
/// # Cancel safety
///
/// Dropping the future ends the script where it stands; nothing it decided takes effect.
pub(crate) async fn run(world: &ScriptWorld, run: Run<'_>) -> (Ending, Vm) {
    match run.hook.session.clone() {
        None => execute(world, run, None).await,
        Some(session) => {
            let work = execute(world, run, Some(Arc::clone(&session)));
            Box::pin(session.scope(work)).await
        }
    }
}

async fn execute(
    world: &ScriptWorld,
    mut run: Run<'_>,
    session: Option<Arc<Session>>,
) -> (Ending, Vm) {
    let id = run.transaction;
    let lines = session.clone();
    run.hook.add_old_variables(&mut run.variables);
    let mut setup = Setup {
        limits: machine_limits(&run.hook.limits),
        echo: Box::new(move |octets: &[u8]| {
            let text = String::from_utf8_lossy(octets);
            tracing::debug!(target: telemetry::log::ECHO, transaction = %id, %text, "script.echoed");
            if let Some(session) = &lines {
                session.line(id, octets);
            }
        }),
        clock: Arc::clone(&world.clock),
        shared_memory: Arc::clone(&world.memory),
        cache: Arc::clone(&world.cache),
        states: run.states,
        variables: run.variables,
        message: Some(id.to_string().into_bytes().into()),
    };
    if session.is_some() {
        debugging::watch(&mut setup);
    }
    let _running = run.stats.running.enter();
    let mut vm = Vm::new(&run.hook.program, setup);
    let mut deadline = tokio::time::Instant::now() + run.hook.limits.time;
    let ending = loop {
        match vm.run(FUEL_SLICE) {
            Step::Done(_) => break Ending::End,
            Step::Exited(outcome) => break Ending::Exit(outcome),
            Step::Threw(error) => {
                let ending = failed(id, run.hook, &error);
                if let Some(session) = &session {
                    stand(world, session, Stop::exception(&error), id).await;
                }
                break ending;
            }
            Step::OutOfFuel => {
                if tokio::time::Instant::now() >= deadline {
                    break overdue(id, run.hook, &mut vm);
                }
                // The others on this thread get their turn.
                tokio::task::yield_now().await;
            }
            Step::Suspended(wait) => {
                let _suspended = run.stats.suspended.enter();
                if let Some(session) = &session
                    && let Some(stop) = debugging::take_stop(&mut vm)
                {
                    // What the debugger takes is not the script's.
                    deadline += stand(world, session, stop, id).await;
                }
                match timeout_at(deadline, wait).await {
                    // What was there at once goes on at once, and that may go on for ever.
                    Ok(result) if tokio::time::Instant::now() < deadline => vm.resume(result),
                    _ => break overdue(id, run.hook, &mut vm),
                }
                tokio::task::coop::consume_budget().await;
            }
        }
    };
    match ending {
        Ending::Failed => run.stats.errors.increment(),
        Ending::Exit(_) | Ending::End => run.stats.finished.increment(),
    }
    (ending, vm)
}

/// Stands at a breakpoint until the script may go on; returns for how long.
async fn stand(world: &ScriptWorld, session: &Session, stop: Stop, id: TransactionId) -> Duration {
    let since = Instant::now();
    session.stop(stop.response(id.to_string(), world.clock.unix_time())).await;
    since.elapsed()
}

fn overdue(id: TransactionId, hook: &Hook, vm: &mut Vm) -> Ending {
    let seconds = hook.limits.time.as_secs_f64();
    failed(id, hook, &vm.interrupt(format!("the script did not end within {seconds} s")))
}

fn failed(id: TransactionId, hook: &Hook, error: &ScriptError) -> Ending {
    let code = error.code().map(tracing::field::display);
    let stack = error.way().map(tracing::field::display);
    tracing::error!(transaction = %id, hook = %hook.name, %error, code, stack, "script.failed");
    Ending::Failed
}

/// The system's clocks, for scripts.
struct SystemTimes {
    start: Instant,
}

impl Clock for SystemTimes {
    fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Steps until others get a turn: about a millisecond.
const FUEL_SLICE: u64 = 50_000;
