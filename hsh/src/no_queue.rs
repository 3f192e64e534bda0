//! The queue of a program that has none.
//!
//! Plugins add suspends and policies when they start, in whatever program they are loaded, and some
//! take the id for granted. Here nothing is ever sent, so every rule is kept to the letter by doing
//! nothing: it gets its id, and is there until it is deleted.

use std::collections::HashSet;
use std::sync::Mutex;

use plugin_host::QueueServices;
use plugin_host::services::{PluginPolicy, PluginSuspend, PolicyUpdate, QueueField, ServiceError};

/// Knows the ids that were given.
#[derive(Debug, Default)]
pub(crate) struct NoQueue(Mutex<Ids>);

#[derive(Debug, Default)]
struct Ids {
    given: u64,
    suspends: HashSet<String>,
    policies: HashSet<String>,
}

impl NoQueue {
    fn with<R>(&self, work: impl FnOnce(&mut Ids) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Ids {
    fn next(&mut self, wanted: Option<String>) -> String {
        self.given += 1;
        wanted.unwrap_or_else(|| format!("hsh-{}", self.given))
    }
}

impl QueueServices for NoQueue {
    fn suspend_add(&self, suspend: PluginSuspend) -> Result<String, ServiceError> {
        self.with(|ids| {
            let id = ids.next(suspend.id);
            ids.suspends.insert(id.clone());
            Ok(id)
        })
    }

    fn suspend_delete(&self, id: &str) -> bool {
        self.with(|ids| ids.suspends.remove(id))
    }

    fn policy_add(&self, policy: PluginPolicy) -> Result<String, ServiceError> {
        self.with(|ids| {
            let id = ids.next(policy.id);
            ids.policies.insert(id.clone());
            Ok(id)
        })
    }

    fn policy_update(&self, id: &str, _: PolicyUpdate) -> bool {
        self.with(|ids| ids.policies.contains(id))
    }

    fn policy_delete(&self, id: &str) -> bool {
        self.with(|ids| ids.policies.remove(id))
    }

    fn policy_divide(&self, _: usize) {}

    fn list_add(&self, _: QueueField, _: &str) -> bool {
        true
    }

    fn list_item_add(&self, _: QueueField, _: &str, _: &str) -> bool {
        true
    }

    fn list_item_delete(&self, _: QueueField, _: &str, _: &str) -> bool {
        true
    }

    fn list_reload(&self, _: Option<QueueField>, _: Option<&str>) -> bool {
        true
    }
}
