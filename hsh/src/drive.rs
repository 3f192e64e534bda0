//! Runs a prepared script to its end, within a time limit where there is one.
//!
//! Unlike [`hsl_std::drive`] this gives others their turn after waits too: what was there at once, such
//! as the `sleep` of a test, would keep signals and the limit out for ever.

use std::time::Duration;

use hsl::{Step, Vm};
use hsl_std::{DEFAULT_FUEL, Outcome};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};

/// How long a script may take, waits included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// What is limited, as it is called in the error.
    pub(crate) what: &'static str,
    /// For how long.
    pub(crate) time: Duration,
}

/// Runs `vm` until it ends; `pause` is called before every wait. A script that is over its limit fails
/// where it is, and cannot catch that.
///
/// # Cancel safety
///
/// Dropping the future abandons the script where it is; its waits are dropped with it.
pub(crate) async fn drive(vm: &mut Vm, limit: Option<Limit>, mut pause: impl FnMut()) -> Outcome {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit.time));
    loop {
        match vm.run(DEFAULT_FUEL) {
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
