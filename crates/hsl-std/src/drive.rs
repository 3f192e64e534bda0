//! Runs a prepared script to its end on the embedder's runtime.
//!
//! The machine never blocks and never waits: this is the loop that polls its waits, and gives other
//! tasks their turn when a slice of fuel is used up and after waits.

use std::any::Any;
use std::time::{Duration, SystemTime};

use hsl::host::Clock;
use hsl::{ScriptError, Step, Value, Vm};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};

/// How a script ended.
#[derive(Debug)]
pub enum Outcome {
    /// At its end or by a top-level `return`, with the returned value.
    Done(Value),
    /// By a function that ends scripts, with that function's outcome.
    Exited(Box<dyn Any + Send>),
    /// By an error nobody caught, or by a limit.
    Failed(ScriptError),
}

/// How long a script may take, waits included.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// What is limited, as it is called in the error.
    pub what: &'static str,
    /// For how long.
    pub time: Duration,
}

/// Runs `vm` until it ends, `fuel` steps at a time; `pause` is called before every wait. A script that
/// is over its limit fails where it is, and cannot catch that.
///
/// # Cancel safety
///
/// Dropping the future abandons the script where it is; its waits are dropped with it.
pub async fn drive(
    vm: &mut Vm,
    fuel: u64,
    limit: Option<Limit>,
    mut pause: impl FnMut(),
) -> Outcome {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit.time));
    loop {
        match vm.run(fuel) {
            Step::Done(value) => return Outcome::Done(value),
            Step::Exited(outcome) => return Outcome::Exited(outcome),
            Step::Threw(error) => return Outcome::Failed(error),
            Step::OutOfFuel => {
                pause();
                tokio::task::yield_now().await;
            }
            Step::Suspended(wait) => {
                pause();
                let result = match deadline {
                    Some(deadline) => timeout_at(deadline, wait).await.ok(),
                    None => Some(wait.await),
                };
                // Without a result the time is over, as is looked at next.
                if let Some(result) = result {
                    vm.resume(result);
                }
                // What was there at once would keep everybody else out.
                consume_budget().await;
            }
        }
        if let (Some(limit), Some(deadline)) = (limit, deadline)
            && Instant::now() >= deadline
        {
            let message =
                format!("{} did not end within {} s", limit.what, limit.time.as_secs_f64());
            return Outcome::Failed(vm.interrupt(message));
        }
    }
}

/// The clock of the system: `monotonic` counts from boot, as `uptime` says it.
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_time(&self) -> Duration {
        // A clock before 1970 is not set yet.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
        Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), nanos)
    }
}

/// A slice that takes well under a millisecond: what other tasks wait at most.
pub const DEFAULT_FUEL: u64 = 10_000;
