//! A new running configuration while mail flows, and new files of the queue.
//!
//! The next generation is built whole beside the old one and swapped in only when everything in it
//! is good. Connections and attempts under way keep the generation they began with.

use std::path::Path;
use std::sync::Arc;

use config::Loaded;
use script_host::debugging;

use crate::context::Core;
use crate::generation::{EarlyKeys, Generation, GenerationError, Inputs};
use crate::hooks::HookSets;
use crate::plugins;
use crate::queue_service::rule_files;
use crate::stage::session::Session;
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
            // What scripts made of a file that is another one now.
            core.scripts.cache.clear_named(|cache| {
                let file = cache.namespace.as_bytes().strip_prefix(b"file:");
                file.is_some_and(|id| !new.has_same_file(&old, id))
            });
            core.queue.configure(&new.running);
            core.metrics.define(&new.running.monitor.metrics);
            let (lists, groupings) = (new.lists.clone(), new.groupings.clone());
            tokio::task::block_in_place(|| core.queue.configure_running(lists, groupings));
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

/// Takes the policy file anew; on an error the old policies stay in force.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub(crate) async fn policies(core: &Arc<Core>) -> Result<(), GenerationError> {
    let (policies, _) = read_rules(core, rule_files::read_policies).await?;
    core.queue.lock().configure_policies(policies, crate::time::now());
    core.queue.wake.notify_one();
    tracing::info!(file = %core.startup.config.environment.policyconf.display(), "config.reloaded");
    Ok(())
}

/// Takes the suspend file anew; on an error the old suspensions stay in force.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub(crate) async fn suspends(core: &Arc<Core>) -> Result<(), GenerationError> {
    let (suspends, _) = read_rules(core, rule_files::read_suspends).await?;
    core.queue.lock().configure_suspends(suspends, crate::time::now());
    core.queue.wake.notify_one();
    tracing::info!(file = %core.startup.config.environment.suspendconf.display(), "config.reloaded");
    Ok(())
}

/// Takes the delivery settings anew, for attempts from now on; on an error the old ones stay in
/// force.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub(crate) async fn delivery(core: &Arc<Core>) -> Result<(), GenerationError> {
    let (delivery, _) = read_rules(core, rule_files::read_delivery).await?;
    core.queue.configure_delivery(delivery);
    tracing::info!(file = %core.startup.config.environment.deliveryconf.display(), "config.reloaded");
    Ok(())
}

/// Reads one of the queue's files, off the runtime's threads; one reload at a time.
async fn read_rules<T: Send + 'static>(
    core: &Arc<Core>,
    read: impl FnOnce(&Loaded<config::Startup>) -> Result<T, GenerationError> + Send + 'static,
) -> Result<T, GenerationError> {
    let _one_at_a_time = core.reloading.lock().await;
    let inner = Arc::clone(core);
    let read = tokio::task::spawn_blocking(move || read(&inner.startup)).await;
    let read =
        read.unwrap_or_else(|error| Err(GenerationError { findings: vec![error.to_string()] }));
    if let Err(error) = &read {
        tracing::error!(%error, "config.reload_failed");
    }
    read
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
    let running = read_running(&startup.config)?;
    build(startup, early_keys, hook_sets, stats, running, None)
}

/// Builds the configuration of a live stage out of its text; relative paths are those of the running
/// configuration. Must be called within the runtime.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(crate) fn build_stage(
    core: &Core,
    id: &Arc<str>,
    text: &str,
    session: &Arc<Session>,
) -> Result<Generation, GenerationError> {
    let running = config::load_running(text, &format!("stage {id}"))
        .map_err(|findings| GenerationError::of(&findings, text))?;
    let hook_sets = core.hook_sets.and(&debugging::breakpoints());
    let Core { startup, early_keys, stats, .. } = core;
    build(startup, early_keys, &hook_sets, stats, running, Some((id, session)))
}

fn build(
    startup: &Loaded<config::Startup>,
    early_keys: &EarlyKeys,
    hook_sets: &HookSets,
    stats: &Stats,
    running: Loaded<config::Running>,
    stage: Option<(&Arc<str>, &Arc<Session>)>,
) -> Result<Generation, GenerationError> {
    let mut findings = config::check::servers(startup, &running);
    findings.retain(|finding| finding.severity == config::Severity::Error);
    let mut findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
    findings.extend(plugins::findings(&startup.config, &running));
    if !findings.is_empty() {
        return Err(GenerationError { findings });
    }
    let file = startup.config.environment.appconf.as_path();
    let startup = &startup.config;
    Generation::build(Inputs { startup, running, early_keys, hook_sets, stats, file, stage })
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
