//! What decides which rows may go, as operators, scripts and plugins change it while mail flows.
//!
//! Policies and suspensions live in the queue. What is asked outside of its lock (lists, groupings,
//! delivery settings) stands in one [`Snapshot`], replaced whole. Lists come from the running
//! configuration and from run time; the latter's items take effect together, at a reload of their
//! list, and outlive reloads of the configuration.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mta_types::Tag;
use parking_lot::Mutex;
use queue::grouping::{Groupings, RegroupRun};
use queue::list::NamedLists;
use queue::pattern::PatternError;
use queue::policy::dynamic::{DynamicError, DynamicUpdate, NewDynamic};
use queue::suspend::{NewSuspend, SuspendError};
use queue::window::Algorithm;
use queue::{Field, FieldSet, Pattern};

use crate::queue_service::QueueService;
use crate::queue_service::rule_files::DeliveryRules;
use crate::time;

/// What is asked outside of the queue's lock.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) lists: NamedLists,
    pub(crate) groupings: Groupings,
    pub(crate) delivery: Arc<DeliveryRules>,
}

/// The snapshot in force, and what the next one is made from.
#[derive(Default)]
pub(crate) struct Rules {
    snapshot: ArcSwap<Snapshot>,
    lists: Mutex<Lists>,
}

/// Lists by origin.
#[derive(Default)]
struct Lists {
    /// Those of the running configuration.
    configured: NamedLists,
    /// Names made at run time.
    names: BTreeSet<(Field, Box<str>)>,
    /// Values added at run time: list and value.
    wanted: BTreeSet<(Field, Box<str>, Box<str>)>,
    /// Those of `wanted` that a reload has put in force.
    in_force: BTreeSet<(Field, Box<str>, Box<str>)>,
}

impl Lists {
    /// All lists as they are in force.
    fn build(&self) -> NamedLists {
        let mut lists = self.configured.clone();
        for (field, name) in &self.names {
            lists.add_list(*field, name);
        }
        for (field, name, value) in &self.in_force {
            // It was a pattern when it was added.
            let _ = lists.add(*field, name, value);
        }
        lists
    }
}

impl QueueService {
    /// Lists, groupings and delivery settings in force.
    pub(crate) fn rules(&self) -> Arc<Snapshot> {
        self.rules.snapshot.load_full()
    }

    /// Takes the delivery settings.
    pub(crate) fn configure_delivery(&self, delivery: DeliveryRules) {
        let delivery = Arc::new(delivery);
        let _order = self.rules.lists.lock();
        let now = self.rules();
        self.rules
            .snapshot
            .store(Arc::new(Snapshot { delivery: Arc::clone(&delivery), ..(*now).clone() }));
    }

    /// Takes lists and groupings of a running configuration. Rows of ACTIVE get their new grouping
    /// in steps.
    pub(crate) fn configure_running(&self, configured: NamedLists, groupings: Groupings) {
        let changed = {
            let mut lists = self.rules.lists.lock();
            lists.configured = configured;
            let before = self.rules();
            let all = lists.build();
            self.rules.snapshot.store(Arc::new(Snapshot {
                lists: all.clone(),
                groupings: groupings.clone(),
                delivery: Arc::clone(&before.delivery),
            }));
            self.lock().configure_lists(all, time::now());
            // Groupings may refer to lists, so either change may move rows.
            before.groupings != Groupings::default() || groupings != Groupings::default()
        };
        if changed {
            self.regroup(groupings);
        }
        self.wake.notify_one();
    }

    fn regroup(&self, groupings: Groupings) {
        let mut run = RegroupRun::new(groupings);
        while !run.step(&mut self.lock(), REGROUP_STEP, time::now()) {
            std::thread::yield_now();
        }
    }

    /// Adds a suspension, or updates an equal one; returns its id.
    ///
    /// # Errors
    ///
    /// See [`SuspendError`].
    pub(crate) fn add_suspend(&self, new: NewSuspend) -> Result<Box<str>, SuspendError> {
        let added = self.lock().add_suspend(new, time::now());
        // An equal one may have got an earlier end.
        self.wake.notify_one();
        added
    }

    /// Changes time to live and tag of a dynamic suspension; tells whether it is there.
    ///
    /// # Errors
    ///
    /// A tag that is too long.
    pub(crate) fn update_suspend(
        &self,
        id: &str,
        ttl: Option<Option<Duration>>,
        tag: Option<Option<Tag>>,
    ) -> Result<bool, SuspendError> {
        let found = self.lock().update_suspend(id, ttl, tag, time::now());
        self.wake.notify_one();
        found
    }

    /// Deletes a dynamic suspension; tells whether it was there.
    pub(crate) fn delete_suspend(&self, id: &str) -> bool {
        let found = self.lock().delete_suspend(id, time::now());
        self.wake.notify_one();
        found
    }

    /// How a rate is measured that is added at run time: as the counter with these fields does.
    pub(crate) fn rate_algorithm(&self, fields: FieldSet) -> Algorithm {
        let queue = self.lock();
        let counter = queue.policies().iter().find(|counter| counter.fields == fields);
        counter.map_or_else(Algorithm::default, |counter| counter.default.algorithm)
    }

    /// Adds a dynamic condition, or updates an equal one; returns its id.
    ///
    /// # Errors
    ///
    /// See [`DynamicError`].
    pub(crate) fn add_policy(&self, new: NewDynamic) -> Result<Box<str>, DynamicError> {
        let added = self.lock().add_policy(new, time::now());
        self.wake.notify_one();
        added
    }

    /// Changes a dynamic condition; tells whether it is there.
    pub(crate) fn update_policy(&self, id: &str, update: DynamicUpdate) -> bool {
        let found = self.lock().update_policy(id, update, time::now());
        self.wake.notify_one();
        found
    }

    /// Deletes a dynamic condition; tells whether it was there.
    pub(crate) fn delete_policy(&self, id: &str) -> bool {
        let found = self.lock().delete_policy(id, time::now());
        self.wake.notify_one();
        found
    }
}

impl QueueService {
    /// Makes a list at run time, empty unless the configuration has one of that name.
    pub(crate) fn add_list(&self, field: Field, name: &str) {
        self.rules.lists.lock().names.insert((field, name.into()));
    }

    /// Adds a value to a list, in force after the next [`QueueService::reload_lists`].
    ///
    /// # Errors
    ///
    /// A value that is no pattern for the field.
    pub(crate) fn add_list_item(
        &self,
        field: Field,
        name: &str,
        value: &str,
    ) -> Result<(), PatternError> {
        Pattern::parse(field, value)?;
        // A list within a list is refused where lists are built; say so now.
        NamedLists::default().add(field, name, value)?;
        self.rules.lists.lock().wanted.insert((field, name.into(), value.into()));
        Ok(())
    }

    /// Takes a value away that was added at run time, in force after the next
    /// [`QueueService::reload_lists`]; tells whether it was there.
    pub(crate) fn delete_list_item(&self, field: Field, name: &str, value: &str) -> bool {
        self.rules.lists.lock().wanted.remove(&(field, name.into(), value.into()))
    }

    /// Puts what was added and deleted in force: of one list, of a field's, or of all.
    pub(crate) fn reload_lists(&self, field: Option<Field>, name: Option<&str>) {
        let mut lists = self.rules.lists.lock();
        let meant = |(at, list, _): &(Field, Box<str>, Box<str>)| {
            field.is_none_or(|field| field == *at) && name.is_none_or(|name| *name == **list)
        };
        let Lists { wanted, in_force, .. } = &mut *lists;
        in_force.retain(|item| !meant(item));
        in_force.extend(wanted.iter().filter(|item| meant(item)).cloned());
        let all = lists.build();
        let before = self.rules();
        self.rules.snapshot.store(Arc::new(Snapshot { lists: all.clone(), ..(*before).clone() }));
        self.lock().configure_lists(all, time::now());
        drop(lists);
        self.wake.notify_one();
    }
}

/// Rows looked at between two breaths.
const REGROUP_STEP: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn service() -> QueueService {
        QueueService::new(queue::Queue::new(queue::Settings {
            concurrency: None,
            hosts: NonZeroU32::MIN,
            seed: 1,
        }))
    }

    fn has(service: &QueueService, value: &str) -> bool {
        let pattern = Pattern::parse(Field::RemoteMx, "@l").unwrap();
        pattern.is_match(Field::RemoteMx, value, &service.rules().lists)
    }

    #[test]
    fn list_items_of_run_time_take_effect_at_a_reload_and_outlive_the_configuration() {
        let service = service();
        service.add_list(Field::RemoteMx, "l");
        service.add_list_item(Field::RemoteMx, "l", "*.a.example").unwrap();
        assert!(!has(&service, "mx.a.example"));
        service.reload_lists(Some(Field::RemoteIp), None);
        assert!(!has(&service, "mx.a.example"), "another field's");
        service.reload_lists(Some(Field::RemoteMx), Some("l"));
        assert!(has(&service, "mx.a.example"));
        let mut configured = NamedLists::default();
        configured.add(Field::RemoteMx, "l", "b.example").unwrap();
        service.configure_running(configured, Groupings::default());
        assert!(has(&service, "mx.a.example") && has(&service, "b.example"));
        assert!(service.delete_list_item(Field::RemoteMx, "l", "*.a.example"));
        assert!(has(&service, "mx.a.example"), "until the reload");
        service.reload_lists(None, None);
        assert!(!has(&service, "mx.a.example") && has(&service, "b.example"));
        assert!(service.add_list_item(Field::LocalIp, "l", "no address").is_err());
        assert!(service.add_list_item(Field::RemoteMx, "l", "@other").is_err());
    }
}
