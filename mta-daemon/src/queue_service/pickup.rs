//! The one task that waits: takes rows whose time has come and lets go what the policies allow.

use std::sync::Arc;
use std::time::Duration;

use mta_types::{MessageId, Timestamp};
use queue::message::QueuedMessage;
use queue::pickup::{Pick, Pickup};

use crate::context::Core;
use crate::outbound::dispatch;
use crate::outbound::outcome::guarded;
use crate::plugins::decision;
use crate::queue_service::prepare;
use crate::time;

/// Runs until the daemon stops.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        // Created before the look, so that what comes in meanwhile is not missed.
        let woken = core.queue.wake.notified();
        let round = look(&core, time::now());
        let idle = round.due.is_empty() && round.picked.is_empty();
        for id in round.due {
            prepare::begin(&core, id);
        }
        for (pick, row) in round.picked {
            if !decision::may_be_picked_up(&core, &pick, &row) {
                continue;
            }
            let work = dispatch::run(Arc::clone(&core), pick, row.clone());
            core.deliveries.spawn(guarded(Arc::clone(&core), row, work));
        }
        let more = !idle;
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            () = std::future::ready(()), if more => {
                // Others get a turn before the next round.
                tokio::task::yield_now().await;
            }
            () = woken => {}
            () = pause(round.wait) => {}
        }
    }
}

struct Round {
    due: Vec<MessageId>,
    picked: Vec<(Pick, QueuedMessage)>,
    wait: Option<Timestamp>,
}

/// One look at the queue, under its lock.
fn look(core: &Core, now: Timestamp) -> Round {
    let mut queue = core.queue.lock();
    let due = queue.due(now, BATCH);
    let mut picked = Vec::new();
    let mut wait = None;
    while picked.len() < BATCH {
        match queue.next(now) {
            Pickup::Pick(pick) => {
                if let Some(row) = queue.view(pick.id) {
                    picked.push((pick, row.to_message()));
                }
            }
            Pickup::WaitUntil(until) => {
                wait = Some(until);
                break;
            }
            Pickup::Idle => {
                wait = queue.next_due();
                break;
            }
        }
    }
    Round { due, picked, wait }
}

/// Sleeps until a time of the wall clock, or for ever; looks again at least once a minute, since
/// the wall clock may be set.
async fn pause(until: Option<Timestamp>) {
    let longest = Duration::from_secs(60);
    let wait = until.map_or(longest, |until| until.saturating_since(time::now()).min(longest));
    tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
}

/// Rows handled in one look, so that the lock is held briefly.
const BATCH: usize = 128;
