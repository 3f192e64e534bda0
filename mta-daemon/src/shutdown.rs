//! The end, which is the start backwards.
//!
//! Stop accepting → let connections finish their transaction, then 421 → stop pickup → let attempts
//! end within the grace time → write what the queue decided → close the control socket last, so that
//! one can watch it happen.

use std::time::Duration;

use tokio::time::timeout;

use crate::startup::Daemon;

impl Daemon {
    /// Stops the daemon; returns when everything is written and closed.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: call it once and wait.
    pub async fn stop(self, grace: Duration) {
        let core = &self.core;
        tracing::info!("daemon.stopping");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        core.stop.cancel();
        // Scripts that stand at breakpoints go on.
        if let Some(stage) = core.stage.current() {
            core.stage.end(&stage);
        }
        // Plugins that bring mail in stop now; what is under way still goes through.
        tokio::task::block_in_place(|| core.plugins.early_cleanup());
        core.tasks.close();
        core.deliveries.close();
        let mut cut = timeout(grace, core.tasks.wait()).await.is_err();
        cut |= timeout(grace, core.deliveries.wait()).await.is_err();
        if cut {
            tracing::warn!(
                connections = core.tasks.len(),
                deliveries = core.deliveries.len(),
                "daemon.drain_timed_out"
            );
            core.abort.cancel();
            let _ = timeout(LAST_GRACE, core.deliveries.wait()).await;
        }
        core.pool.clear();
        tokio::task::block_in_place(|| core.plugins.cleanup());
        let spool = core.spool.clone();
        let closed = tokio::task::spawn_blocking(move || spool.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::error!(%error, "spool.commit_failed");
        }
        self.control_end.cancel();
        let _ = self.control.await;
        tracing::info!("daemon.stopped");
    }
}

/// What attempts that were cut get to tell the queue.
const LAST_GRACE: Duration = Duration::from_secs(5);
