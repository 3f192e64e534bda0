//! Runs a prepared script to its end on the embedder's runtime.
//!
//! The machine never blocks and never waits: this is the loop that polls its waits and gives other
//! tasks their turn when a slice of fuel is used up.

use std::any::Any;
use std::time::{Duration, SystemTime};

use hsl::host::Clock;
use hsl::{ScriptError, Step, Value, Vm};
use rustix::time::{ClockId, clock_gettime};

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

/// Runs `vm` until it ends, `fuel` steps at a time; `pause` is called before every wait.
///
/// # Cancel safety
///
/// Dropping the future abandons the script where it is; its waits are dropped with it.
pub async fn drive(vm: &mut Vm, fuel: u64, mut pause: impl FnMut()) -> Outcome {
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
                let result = wait.await;
                vm.resume(result);
            }
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
