//! Native plugins: loaded at start, asked by scripts and operators, told of reloads and the end.
//!
//! [`delivery`] – attempts that a plugin makes; [`decision`] – queue plugins; [`message`] – a queued
//! message as both see it; [`queue`] – suspends, policies and lists; [`inject`] – messages put in.

pub(crate) mod decision;
pub(crate) mod delivery;
pub(crate) mod inject;
pub(crate) mod message;
pub(crate) mod queue;

use std::sync::Arc;

use config::{Loaded, Running, Startup};
use plugin_host::{LoadError, PluginHost, Program};
use script_host::plugin_schema::{self, Block};
pub(crate) use script_host::plugins::start;

use crate::plugins::inject::PluginInject;
use crate::plugins::queue::PluginQueue;
use crate::queue_service::QueueService;
use crate::services::CoreSlot;

/// Opens the libraries and checks their versions.
///
/// # Errors
///
/// [`LoadError`] naming the plugin.
pub(crate) fn load(
    startup: &Startup,
    running: Option<&Loaded<Running>>,
    daemon: Option<(Arc<QueueService>, CoreSlot)>,
) -> Result<PluginHost, LoadError> {
    let block = |id: &str| running.and_then(|running| running.config.plugins.get(id).cloned());
    let mut services = script_host::plugins::services();
    if let Some((queue, slot)) = daemon {
        services = services
            .with_queue(Arc::new(PluginQueue(queue)))
            .with_inject(Arc::new(PluginInject::new(slot)));
    }
    let folder = &startup.environment.pluginspath;
    script_host::plugins::load(folder, Program::Smtpd, &startup.plugins, block, services)
}

/// What the schemas of plugins say against their blocks of a running configuration.
pub(crate) fn findings(startup: &Startup, running: &Loaded<Running>) -> Vec<String> {
    let folder = &startup.environment.pluginspath;
    let of = |(id, node): (&Arc<str>, &Arc<config::Node>)| {
        let findings = plugin_schema::findings(folder, id, Block::Running, node);
        let id = Arc::clone(id);
        findings.into_iter().map(move |finding| format!("{}: plugin {id}: {finding}", running.file))
    };
    running.config.plugins.iter().flat_map(of).collect()
}
