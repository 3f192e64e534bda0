//! Writes what the queue decided into the spool, in the order of the decisions.
//!
//! Changes and ends are not waited for by default: losing the last ones in a power failure means
//! that a row is tried once more, never that it is lost. Whoever answers somebody (the control
//! socket) waits.

use queue::Queue;
use queue::change::QueueChange;
use spool::{CommitError, Completion, Durability};

use crate::context::Core;

/// Hands changes to the spool. The queue's lock is held by the caller, so that two decisions about
/// a row cannot overtake each other; the spool only takes them into memory here.
pub(crate) fn write(
    core: &Core,
    queue: &Queue,
    changes: &[QueueChange],
    durability: Durability,
) -> Vec<Completion> {
    let mut completions = Vec::with_capacity(changes.len());
    for change in changes {
        let id = change.id();
        completions.push(match change {
            QueueChange::Ended { .. } => core.spool.end(id, durability),
            QueueChange::Copied { .. } => match queue.view(id) {
                Some(row) => {
                    core.spool.add(id, queue_records::encode_state(&row.to_message()), durability)
                }
                None => continue,
            },
            QueueChange::Placed { .. } | QueueChange::Rewritten { .. } => match queue.view(id) {
                Some(row) => core.spool.change(
                    id,
                    queue_records::encode_state(&row.to_message()),
                    durability,
                ),
                // A later change in the same list ended it.
                None => continue,
            },
        });
    }
    completions
}

/// Waits until all changes are on disk.
pub(crate) async fn settled(completions: Vec<Completion>) -> Result<(), CommitError> {
    for completion in completions {
        completion.await?;
    }
    Ok(())
}
