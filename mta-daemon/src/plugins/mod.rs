//! Native plugins: loaded at start, asked by scripts and operators, told of reloads and the end.
//!
//! [`delivery`] – attempts that a plugin makes; [`decision`] – queue plugins; [`message`] – a queued
//! message as both see it; [`queue`] – suspends, policies and lists; [`inject`] – messages put in.

pub(crate) mod decision;
pub(crate) mod delivery;
pub(crate) mod inject;
pub(crate) mod message;
pub(crate) mod queue;

use std::path::Path;
use std::sync::Arc;

use crate::plugins::inject::PluginInject;
use crate::plugins::queue::PluginQueue;
use crate::queue_service::QueueService;
use crate::services::CoreSlot;
use config::{Loaded, Running, Startup};
use hsl::Value;
use hsl::host::Registry;
use plugin_host::{FileContent, LoadError, PluginHost, Program, Services, ValueServices, specs};

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
    let found = specs(&startup.environment.pluginspath, Program::Smtpd, &startup.plugins, block);
    let mut services = Services::none().with_values(Arc::new(ScriptValues));
    if let Some((queue, slot)) = daemon {
        services = services
            .with_queue(Arc::new(PluginQueue(queue)))
            .with_inject(Arc::new(PluginInject::new(slot)));
    }
    PluginHost::load(found, Program::Smtpd, services)
}

/// Starts the plugins and registers what they offer to scripts. `apply_rules` puts the policies and
/// suspensions of the configuration in force: after the first initialisation, which may make lists
/// that they refer to, and before the second, which may add to them.
///
/// # Errors
///
/// [`LoadError`] naming the plugin that refused.
pub(crate) fn start(
    host: &PluginHost,
    registry: &mut Registry,
    apply_rules: impl FnOnce(),
) -> Result<(), LoadError> {
    host.early_init()?;
    apply_rules();
    host.init()?;
    host.register(registry)
}

/// Recognises the files of scripts.
struct ScriptValues;

impl ValueServices for ScriptValues {
    fn file(&self, value: &Value) -> Option<Arc<dyn FileContent>> {
        let (content, _) = hsl_std::content_of_file(value)?;
        Some(Arc::new(ScriptFile(content)))
    }
}

/// A file of the standard library, as the C door reads it.
struct ScriptFile(Arc<dyn hsl_std::services::FileContent>);

impl FileContent for ScriptFile {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}
