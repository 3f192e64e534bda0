//! Requests whose answer nobody waits for.
//!
//! A queue sends one request after the other, in the order they were added; `background_hash`
//! chooses the queue. A request that fails (no answer, or one that is not 2xx) is put off by
//! `background_retry_delay` and goes to the end of its queue. Queues live in memory: a restart
//! loses what they hold.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::client::Client;
use super::request::{Job, Request};
use super::target::Target;
use crate::services::{LogLine, LogSink};

/// The queues; each starts with its first request.
pub(super) struct Background {
    client: Client,
    log: Arc<dyn LogSink>,
    queues: Mutex<Vec<Option<mpsc::Sender<Entry>>>>,
    /// A place for each request that is not done. A channel holds as many, so it is never full.
    places: Arc<Semaphore>,
}

struct Entry {
    request: Request,
    tries_left: u64,
    delay: std::time::Duration,
    _place: OwnedSemaphorePermit,
}

impl Background {
    pub(super) fn new(client: Client, log: Arc<dyn LogSink>) -> Self {
        let queues = (0..QUEUES).map(|_| None).collect();
        let places = Arc::new(Semaphore::new(MAX_WAITING));
        Self { client, log, queues: Mutex::new(queues), places }
    }

    /// Adds a request; false when too many wait already, or there is no runtime to send it.
    pub(super) fn add(&self, request: Request, job: Job) -> bool {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return false };
        let entry =
            Entry { request, tries_left: job.retry_count, delay: job.retry_delay, _place: place };
        let mut queues = self.queues.lock();
        // The remainder is below the number of queues.
        let index = usize::try_from(job.hash % QUEUES).unwrap_or_default();
        let Some(slot) = queues.get_mut(index) else { return false };
        let entry = match slot {
            Some(queue) => match queue.try_send(entry) {
                Ok(()) => return true,
                // Its runtime has ended; a new one takes over.
                Err(mpsc::error::TrySendError::Closed(entry)) => entry,
                Err(mpsc::error::TrySendError::Full(_)) => return false,
            },
            None => entry,
        };
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let again = sender.downgrade();
        runtime.spawn(work(self.client.clone(), Arc::clone(&self.log), receiver, again));
        let is_added = sender.try_send(entry).is_ok();
        *slot = Some(sender);
        is_added
    }
}

async fn work(
    client: Client,
    log: Arc<dyn LogSink>,
    mut queue: mpsc::Receiver<Entry>,
    again: mpsc::WeakSender<Entry>,
) {
    while let Some(mut entry) = queue.recv().await {
        let origin = Target::origin(&entry.request.url);
        let failure = match client.run(entry.request.again(), MAX_ANSWER).await {
            Ok(answer) if (200..300).contains(&answer.status) => continue,
            Ok(answer) => format!("status {}", answer.status),
            Err(error) => error.to_string(),
        };
        if entry.tries_left == 0 {
            let text = format!("http background request to {origin} failed: {failure}");
            let text = text.as_bytes();
            log.syslog(&LogLine { facility: None, severity: WARNING, transaction: None, text });
            continue;
        }
        entry.tries_left -= 1;
        let again = again.clone();
        tokio::spawn(async move {
            tokio::time::sleep(entry.delay).await;
            if let Some(queue) = again.upgrade() {
                // Fails only when the queue has ended, and all its requests with it.
                let _ = queue.try_send(entry);
            }
        });
    }
}

const QUEUES: u64 = 16;
const MAX_WAITING: usize = 10_000;
/// Answers of background requests are dropped; more than this is not read.
const MAX_ANSWER: usize = 1 << 20;
const WARNING: u8 = 4;
