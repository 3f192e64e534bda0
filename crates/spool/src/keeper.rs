//! The threads beside the committer: one keeps segments ready, seals full ones and removes bodies;
//! some make body files safe; one compacts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::commit::{self, Committer};
use crate::compact;
use crate::error::{CommitError, OpenError};
use crate::shared::Shared;

/// Threads that sync body files: large messages are rare, but one must not wait for another.
const SETTLERS: usize = 2;

/// Commits one settler takes at once, so that they share a sync of the directory.
const SETTLE_BATCH: usize = 16;

/// The running threads, in the order in which they are told to stop.
#[derive(Default)]
pub(crate) struct Threads {
    compactor: Mutex<Option<JoinHandle<()>>>,
    settlers: Mutex<Vec<JoinHandle<()>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Threads {
    /// Starts all threads.
    pub(crate) fn start(shared: &Arc<Shared>, committer: Committer) -> Result<Self, OpenError> {
        let threads = Self::default();
        let started = threads.start_all(shared, committer);
        if let Err(error) = started {
            threads.stop(shared);
            return Err(error);
        }
        Ok(threads)
    }

    fn start_all(&self, shared: &Arc<Shared>, committer: Committer) -> Result<(), OpenError> {
        *self.committer.lock() = Some(spawn("spool-commit", move || committer.run())?);
        let room = Arc::clone(shared);
        *self.keeper.lock() = Some(spawn("spool-keeper", move || keep(&room))?);
        for _ in 0..SETTLERS {
            let room = Arc::clone(shared);
            self.settlers.lock().push(spawn("spool-settle", move || settle(&room))?);
        }
        let room = Arc::clone(shared);
        *self.compactor.lock() = Some(spawn("spool-compact", move || compact::run(&room))?);
        Ok(())
    }

    /// Lets every thread finish what it has and waits for it.
    pub(crate) fn stop(&self, shared: &Shared) {
        shared.compaction.lock().is_closed = true;
        shared.compaction_due.notify_all();
        join(self.compactor.lock().take());
        shared.settling.lock().is_closed = true;
        shared.settling_filled.notify_all();
        for settler in std::mem::take(&mut *self.settlers.lock()) {
            join(Some(settler));
        }
        shared.inbox.lock().is_closed = true;
        shared.inbox_filled.notify_all();
        join(self.committer.lock().take());
        shared.chores.lock().is_closed = true;
        shared.chores_filled.notify_all();
        join(self.keeper.lock().take());
    }
}

fn spawn(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| OpenError::Thread { name, source })
}

fn join(thread: Option<JoinHandle<()>>) {
    let Some(thread) = thread else { return };
    // A completion callback may hold the last handle of the spool: a thread cannot join itself.
    if thread.thread().id() != std::thread::current().id() {
        // A panic in a thread has been printed by the panic hook; there is nobody else to tell.
        drop(thread.join());
    }
}

fn keep(shared: &Shared) {
    loop {
        {
            let mut chores = shared.chores.lock();
            loop {
                let has_work = chores.is_next_wanted;
                if has_work || !chores.seals.is_empty() || !chores.removals.is_empty() {
                    break;
                }
                if chores.is_closed {
                    return;
                }
                if shared.is_reserve_gone.load(Ordering::Relaxed) {
                    // Somebody else may have made room on the disk.
                    let waited = shared.chores_filled.wait_for(&mut chores, Shared::RETRY_AFTER);
                    chores.is_next_wanted |= waited.timed_out();
                } else {
                    shared.chores_filled.wait(&mut chores);
                }
            }
        }
        do_chores(shared);
    }
}

/// Does what is to do now: the next segment first, since the committer may soon stand still for it.
pub(crate) fn do_chores(shared: &Shared) {
    let is_wanted = {
        let mut chores = shared.chores.lock();
        std::mem::take(&mut chores.is_next_wanted) && chores.next.is_none() && !chores.is_closed
    };
    if is_wanted {
        match put_next(shared) {
            Ok(()) => shared.is_reserve_gone.store(false, Ordering::Relaxed),
            Err(error) => {
                // Any other failure the committer meets itself, if it lasts, and tells those who wait.
                let is_full = matches!(error, CommitError::Full { .. });
                let is_new = !is_full || !shared.is_reserve_gone.swap(true, Ordering::Relaxed);
                if is_new {
                    let error = std::io::Error::other(error);
                    shared.background_failed("create segment in", &shared.dirs.log, &error);
                }
            }
        }
    }
    // One at a time, so that compaction can call off those it has no more need for.
    loop {
        let Some(job) = shared.chores.lock().seals.pop() else { break };
        let path = job.segment.path.clone();
        if let Err(error) = job.seal(shared.config.fsync) {
            shared.background_failed("seal", &path, &error);
        }
    }
    let removals = std::mem::take(&mut shared.chores.lock().removals);
    commit::remove_bodies(shared, removals);
}

/// Puts the next segment in its place, unless there is one.
fn put_next(shared: &Shared) -> Result<(), CommitError> {
    commit::stock_spare(shared)?;
    let activating = shared.activating.lock();
    if shared.chores.lock().next.is_none() {
        let segment = commit::activate_next(shared)?;
        shared.chores.lock().next = Some(Arc::new(segment));
    }
    drop(activating);
    Ok(())
}

fn settle(shared: &Shared) {
    loop {
        let ops = {
            let mut settling = shared.settling.lock();
            loop {
                if !settling.ops.is_empty() {
                    break;
                }
                if settling.is_closed {
                    return;
                }
                shared.settling_filled.wait(&mut settling);
            }
            let n = settling.ops.len().min(SETTLE_BATCH);
            settling.ops.drain(..n).collect()
        };
        commit::settle(shared, ops);
    }
}
