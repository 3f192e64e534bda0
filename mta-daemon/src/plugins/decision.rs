//! Queue plugins: whether a row may enter the active queue, and whether it may be picked up.
//!
//! A row that a plugin gives back goes through its pre-delivery script again, which sees what the
//! plugin returned. The first time that happens at once; where nobody reacts the waits grow, so that
//! a plugin that says no until a certain time does not keep the queue turning.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hsl::Value;
use mta_types::MessageId;
use parking_lot::Mutex;
use plugin_host::MessageInfo;
use queue::message::QueuedMessage;
use queue::pickup::Pick;

use crate::context::Core;
use crate::outbound::outcome::{Attempt, AttemptError, ErrorKind};
use crate::outbound::plan::Plan;
use crate::plugins::message::RowInfo;
use crate::time;

/// Rows that plugins gave back.
#[derive(Default)]
pub(crate) struct GivenBack(Mutex<HashMap<MessageId, Refusals>>);

/// What is known of one of them.
struct Refusals {
    /// How often in a row.
    count: u32,
    /// What the plugin returned the last time, until a script has seen it: a script that queues the row
    /// for later shall not meet it again then.
    returned: Option<Value>,
}

impl GivenBack {
    /// Notes a refusal; tells how long the row waits.
    fn note(&self, id: MessageId, returned: Value) -> Duration {
        let mut rows = self.0.lock();
        let refusals = rows.entry(id).or_insert(Refusals { count: 0, returned: None });
        let wait = match refusals.count {
            0 => Duration::ZERO,
            count => FIRST_WAIT.saturating_mul(1 << (count - 1).min(16)).min(LONGEST_WAIT),
        };
        refusals.count += 1;
        refusals.returned = Some(returned);
        wait
    }

    /// Takes what the plugin returned when it gave the row back, for the script that runs now.
    pub(crate) fn take_returned(&self, id: MessageId) -> Option<Value> {
        self.0.lock().get_mut(&id)?.returned.take()
    }

    /// The row is attempted, or leaves the queue.
    pub(crate) fn forget(&self, id: MessageId) {
        let mut rows = self.0.lock();
        if !rows.is_empty() {
            rows.remove(&id);
        }
    }

    /// Forgets rows that left the queue by other ways.
    pub(crate) fn sweep(&self, is_queued: impl Fn(MessageId) -> bool) {
        self.0.lock().retain(|id, _| is_queued(*id));
    }
}

/// Asks the plugins whether a row that the policies let go may go. When not, it is given back here.
///
/// Call it without the queue's lock: plugins call back into the queue.
pub(crate) fn may_be_picked_up(core: &Core, pick: &Pick, row: &QueuedMessage) -> bool {
    if !core.plugins.has_pickup_callbacks() {
        return true;
    }
    let plan = core.queue.plan(pick.id);
    let target = plan.as_ref().and_then(|plan| plan.targets.first());
    let info: Arc<dyn MessageInfo> = Arc::new(RowInfo::new(row, pick.localip, target));
    let verdict = core.plugins.pickup_acquire(&info);
    let Some(plugin) = verdict.refused_by else { return true };
    tracing::debug!(
        transaction = %row.id.transaction,
        queue = row.id.queue.0,
        plugin = &*plugin,
        "queue.message_given_back"
    );
    core.queue.take_plan(pick.id);
    let delay = core.queue.given_back.note(pick.id, verdict.returned);
    // Nothing of this outlives a restart: then the row is simply due.
    if let Err(error) = core.queue.lock().give_back(pick.id, delay, time::now()) {
        tracing::error!(
            transaction = %row.id.transaction,
            queue = row.id.queue.0,
            %error,
            "delivery.failed_internally"
        );
    }
    core.queue.wake.notify_one();
    false
}

/// Asks the plugins whether a row may enter the active queue, and from which source addresses it
/// may go. `grouping` is the one that it is about to get; the row has none of this route yet.
///
/// # Errors
///
/// The failed attempt that a refusal counts as, with what the plugin returned.
pub(crate) fn may_enter(
    core: &Core,
    plan: &Plan,
    row: &QueuedMessage,
    grouping: Option<&str>,
    localips: Vec<IpAddr>,
) -> Result<Vec<IpAddr>, Box<Attempt>> {
    if !core.plugins.has_insert_callbacks() {
        return Ok(localips);
    }
    let info: Arc<dyn MessageInfo> =
        Arc::new(RowInfo::entering(row, plan.targets.first(), grouping));
    let texts = localips.iter().map(ToString::to_string).collect();
    let verdict = core.plugins.queue_insert(&info, texts);
    if let Some(plugin) = verdict.refused_by {
        let error = AttemptError {
            kind: ErrorKind::Plugin,
            temporary: true,
            message: format!("the plugin {plugin} refused the message for now"),
        };
        let failed = Attempt::failed(error);
        return Err(Attempt { queue_returned: Some(verdict.returned), ..failed }.into());
    }
    // A plugin may take addresses away and change their order, not invent any.
    let mut left: Vec<IpAddr> =
        verdict.localips.iter().filter_map(|text| text.parse().ok()).collect();
    left.retain(|ip| localips.contains(ip));
    if left.is_empty() && !localips.is_empty() {
        let message = "plugins left no source address".to_owned();
        let error = AttemptError { kind: ErrorKind::Plugin, temporary: true, message };
        return Err(Attempt::failed(error).into());
    }
    Ok(left)
}

/// The second wait; the first is none.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use mta_types::{QueueId, TransactionId};

    use super::*;

    #[test]
    fn the_waits_of_a_row_that_is_given_back_grow_to_a_limit() {
        let given_back = GivenBack::default();
        let id = MessageId { transaction: TransactionId([1; 16]), queue: QueueId(1) };
        let waits: Vec<_> = (0..9).map(|_| given_back.note(id, Value::None).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        given_back.sweep(|_| false);
        assert!(given_back.take_returned(id).is_none());
        assert_eq!(given_back.note(id, Value::None), Duration::ZERO);
    }

    #[test]
    fn one_script_sees_what_the_plugin_returned() {
        let given_back = GivenBack::default();
        let id = MessageId { transaction: TransactionId([1; 16]), queue: QueueId(1) };
        given_back.note(id, Value::Number(1.0));
        assert_eq!(given_back.take_returned(id), Some(Value::Number(1.0)));
        assert_eq!(given_back.take_returned(id), None);
        assert_eq!(given_back.note(id, Value::None), FIRST_WAIT, "the refusals still count");
        assert_eq!(given_back.take_returned(id), Some(Value::None));
    }
}
