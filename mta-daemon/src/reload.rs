//! A new running configuration while mail flows.
//!
//! The next generation is built whole beside the old one and swapped in only when everything in it
//! is good. Connections and attempts under way keep the generation they began with.

use std::path::Path;
use std::sync::Arc;

use config::Loaded;

use crate::context::Core;
use crate::generation::{EarlyKeys, Generation, GenerationError, Inputs};
use crate::hooks::HookSets;
use crate::stats::Stats;

/// Reloads; on an error the old configuration stays in force.
///
/// # Errors
///
/// Everything that is wrong with the new files, with file, line and column.
pub(crate) async fn run(core: &Arc<Core>) -> Result<(), GenerationError> {
    let _one_at_a_time = core.reloading.lock().await;
    let _ = sd_notify::notify(&[
        sd_notify::NotifyState::Reloading,
        sd_notify::NotifyState::monotonic_usec_now()
            .unwrap_or(sd_notify::NotifyState::Status("reloading")),
    ]);
    let inner = Arc::clone(core);
    // Compiling and reading files is work for the pool, not for a runtime thread.
    let built = tokio::task::spawn_blocking(move || {
        load(&inner.startup, &inner.early_keys, &inner.hook_sets, &inner.stats)
    })
    .await
    .unwrap_or_else(|error| Err(GenerationError { findings: vec![error.to_string()] }));
    let result = match built {
        Ok(generation) => {
            let old = core.generation.swap(Arc::new(generation));
            let new = core.generation.load();
            let changes = config::diff(&old.loaded, &new.loaded);
            for change in &changes {
                tracing::info!(%change, "config.reloaded");
            }
            if changes.is_empty() {
                tracing::info!("config.reloaded");
            }
            let settings = crate::startup::queue_settings(&new);
            core.queue.lock().configure(settings, crate::time::now());
            core.queue.wake.notify_one();
            let running = &new.running.plugins;
            tokio::task::block_in_place(|| core.plugins.reload(|id| running.get(id).cloned()));
            Ok(())
        }
        Err(error) => {
            tracing::error!(error = %error, "config.reload_failed");
            Err(error)
        }
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    result
}

/// Reads the reloadable files and builds a generation from them. Must be called within the runtime.
///
/// # Errors
///
/// Everything that is wrong with them.
pub(crate) fn load(
    startup: &Loaded<config::Startup>,
    early_keys: &EarlyKeys,
    hook_sets: &HookSets,
    stats: &Stats,
) -> Result<Generation, GenerationError> {
    let file = startup.config.environment.appconf.as_path();
    let running = read_running(&startup.config)?;
    let delivery = read_optional(startup.config.environment.deliveryconf.as_path())?;
    let mut findings = config::check::servers(startup, &running);
    findings.retain(|finding| finding.severity == config::Severity::Error);
    if !findings.is_empty() {
        let findings = findings.iter().map(ToString::to_string).collect();
        return Err(GenerationError { findings });
    }
    Generation::build(Inputs {
        startup: &startup.config,
        running,
        delivery: delivery.map(|loaded| loaded.config),
        early_keys,
        hook_sets,
        stats,
        file,
    })
}

/// Reads the running configuration.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(crate) fn read_running(
    startup: &config::Startup,
) -> Result<Loaded<config::Running>, GenerationError> {
    read(&startup.environment.appconf, |text, name| config::load_running(text, name))
}

/// Reads one configuration file.
pub(crate) fn read<T>(
    file: &Path,
    load: impl FnOnce(&str, &str) -> Result<Loaded<T>, Vec<config::Diagnostic>>,
) -> Result<Loaded<T>, GenerationError> {
    let text = std::fs::read_to_string(file).map_err(|error| GenerationError {
        findings: vec![format!("{}: {error}", file.display())],
    })?;
    let loaded = load(&text, &file.display().to_string())
        .map_err(|findings| GenerationError::of(&findings, &text))?;
    Ok(loaded)
}

/// Names the keys that are accepted without effect; said once, at start.
pub(crate) fn name_ignored_keys<T>(loaded: &Loaded<T>) {
    for path in &loaded.unimplemented {
        tracing::info!(file = %loaded.file, key = %path, "config.key_ignored");
    }
}

/// A file that need not be there.
fn read_optional(file: &Path) -> Result<Option<Loaded<config::Delivery>>, GenerationError> {
    if file.exists() {
        return read(file, |text, name| config::load_delivery(text, name)).map(Some);
    }
    Ok(None)
}
