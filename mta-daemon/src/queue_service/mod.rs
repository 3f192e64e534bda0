//! Drives the pure queue and the spool: rows in, rows out, every change persisted.
//!
//! The queue sits behind one short lock that is never held across an await or a disk access.
//! [`pickup`] is the one task that waits for due rows; [`prepare`] finds out where a row goes;
//! [`persist`] writes what the queue decides into the spool, in the order of the decisions;
//! [`rule_files`] and [`rules`] bring it policies, suspensions, lists and delivery settings;
//! [`bodies`] keeps fresh messages in memory until their first attempt.

pub(crate) mod bodies;
pub(crate) mod persist;
pub(crate) mod pickup;
pub(crate) mod prepare;
pub(crate) mod rule_files;
pub(crate) mod rules;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use config::Running;
use mta_types::MessageId;
use parking_lot::{Mutex, MutexGuard};
use queue::{Queue, Settings};
use script_host::hooks::slots::Slots;
use tokio::sync::Notify;

use crate::outbound::plan::Plan;
use crate::plugins::decision::GivenBack;
use crate::time;

/// The queue with what belongs to it.
pub(crate) struct QueueService {
    machine: Mutex<Queue>,
    /// Wakes the pickup task.
    pub(crate) wake: Notify,
    /// How rows that are active or being sent will be delivered.
    plans: Mutex<HashMap<MessageId, Arc<Plan>>>,
    pub(crate) bodies: bodies::Bodies,
    /// Rows that queue plugins gave back.
    pub(crate) given_back: GivenBack,
    /// What `CurrentConnections` counts.
    pub(crate) slots: Arc<Slots>,
    /// Lists, groupings and delivery settings.
    rules: rules::Rules,
}

impl QueueService {
    pub(crate) fn new(queue: Queue) -> Self {
        Self {
            machine: Mutex::new(queue),
            wake: Notify::new(),
            plans: Mutex::new(HashMap::new()),
            bodies: bodies::Bodies::new(BODY_CACHE_BYTES),
            given_back: GivenBack::default(),
            slots: Arc::default(),
            rules: rules::Rules::default(),
        }
    }

    /// The queue itself. Keep the guard for a few steps only: everybody waits for it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.machine.lock()
    }

    /// Takes the limits of a running configuration.
    pub(crate) fn configure(&self, running: &Running) {
        let concurrency = Some(running.queues.concurrency_total);
        self.change(|settings| Settings { concurrency, ..settings });
    }

    /// Divides the limits of cluster-wide policies by a number of hosts.
    pub(crate) fn set_hosts(&self, hosts: NonZeroU32) {
        self.change(|settings| Settings { hosts, ..settings });
    }

    fn change(&self, change: impl FnOnce(Settings) -> Settings) {
        let mut queue = self.lock();
        let settings = change(queue.settings());
        queue.configure(settings, time::now());
        drop(queue);
        self.wake.notify_one();
    }

    /// Remembers how a row will be delivered; call before it is activated.
    pub(crate) fn set_plan(&self, id: MessageId, plan: Arc<Plan>) {
        self.plans.lock().insert(id, plan);
    }

    /// The plan of a row that is active or being sent.
    pub(crate) fn plan(&self, id: MessageId) -> Option<Arc<Plan>> {
        self.plans.lock().get(&id).cloned()
    }

    /// Takes the plan of a row that was picked up, or left the active queue.
    pub(crate) fn take_plan(&self, id: MessageId) -> Option<Arc<Plan>> {
        self.plans.lock().remove(&id)
    }
}

/// Octets of fresh messages kept in memory: enough for a burst, small beside the queue itself.
const BODY_CACHE_BYTES: usize = 128 << 20;
