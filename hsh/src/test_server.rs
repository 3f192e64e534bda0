//! The server that a test sees: a queue in memory, from which nothing is ever delivered.
//!
//! Rules and quotas are those of a real queue, by the clock of the test. Each policy that a script names
//! counts as configured; no virtual server has connections.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use hsl::host::{Clock, Thrown};
use hsl_std::services::{BoxFuture, MailQueue, MailToQueue, QueuedMail};
use mta_types::Timestamp;
use parking_lot::Mutex;
use queue::policy::Counter;
use queue::policy::dynamic::{DynamicError, NewDynamic};
use queue::quota::Usage;
use queue::suspend::NewSuspend;
use queue::{Policies, Queue, Settings};
use script_host::hooks::eod::CopyFacts;
use script_host::server::{Reply, Server};

use crate::mail_queue;

/// The server of one test.
pub(crate) struct TestServer {
    queue: Mutex<Queue>,
    clock: Arc<dyn Clock>,
}

impl TestServer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let settings = Settings { concurrency: None, hosts: NonZeroU32::MIN, seed: 1 };
        Arc::new(Self { queue: Mutex::new(Queue::new(settings)), clock })
    }

    /// Works on the queue as it is now.
    fn with<T>(&self, work: impl FnOnce(&mut Queue, Timestamp) -> T) -> T {
        let now = Timestamp::from_seconds_f64(self.clock.unix_time().as_secs_f64());
        let mut queue = self.queue.lock();
        // Rules whose time is over end here; nothing is active, so nothing is picked up.
        let _ = queue.next(now);
        work(&mut queue, now)
    }
}

impl Server for TestServer {
    fn add_suspend(&self, new: NewSuspend) -> Reply<Option<Box<str>>> {
        Reply::now(self.with(|queue, now| queue.add_suspend(new, now).ok()))
    }

    fn add_policy(&self, new: NewDynamic) -> Reply<Option<Box<str>>> {
        Reply::now(self.with(|queue, now| match queue.add_policy(new.clone(), now) {
            Err(DynamicError::NoCounter(fields)) => {
                let mut counters = queue.policies().to_vec();
                counters.push(Counter { fields, ..Counter::default() });
                queue.configure_policies(Policies { counters }, now);
                queue.add_policy(new, now).ok()
            }
            added => added.ok(),
        }))
    }

    fn delete_policy(&self, id: &str) -> Reply<Option<bool>> {
        Reply::now(Some(self.with(|queue, now| queue.delete_policy(id, now))))
    }

    fn quota(&self, name: &str) -> Reply<Option<Usage>> {
        Reply::now(Some(self.with(|queue, _| queue.quota(name))))
    }

    fn connections(&self, _: &str, _: Option<IpAddr>) -> Reply<Option<u64>> {
        Reply::now(None)
    }
}

impl MailQueue for TestServer {
    fn queue(&self, mail: MailToQueue) -> Result<BoxFuture<Result<QueuedMail, Thrown>>, Thrown> {
        let copy = CopyFacts::of(&mail)?;
        let failed = |error: &dyn std::fmt::Display| {
            Thrown::new(format!("the message could not be queued: {error}"))
        };
        let octets = mail_queue::octets_of(&*mail.content).map_err(|error| failed(&error))?;
        let queued = self.with(|queue, now| {
            let (transaction, row) = mail_queue::row_of(copy, &octets, now);
            queue.insert(row, now).map(|()| transaction.id())
        });
        let id = queued.map_err(|error| failed(&error))?;
        let queued = QueuedMail { transaction: id.to_string(), queue: 1 };
        Ok(Box::pin(std::future::ready(Ok(queued))))
    }
}
