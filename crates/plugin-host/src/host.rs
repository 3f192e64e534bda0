//! All plugins of one process.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::node::Node;
use hsl::host::Registry;

use crate::services::*;

/// The program that loads plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The daemon.
    Smtpd,
    /// The shell.
    Hsh,
}

/// A plugin to load.
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// Its id: the name in the configuration, and in `extras://<id>`.
    pub id: Arc<str>,
    /// The library.
    pub path: PathBuf,
    /// The `config` of the startup configuration.
    pub config: Arc<Node>,
    /// The `config` of the running configuration, if it has one.
    pub app_config: Option<Arc<Node>>,
}

/// Lists the plugins to load: `listed` ones in order, then those of the autoload folder that are not
/// among them, by name. `app_config` gives the running block of an id.
pub fn specs(
    pluginspath: &Path,
    program: Program,
    listed: &[config::startup::Plugin],
    app_config: impl Fn(&str) -> Option<Arc<Node>>,
) -> Vec<PluginSpec> {
    todo!()
}

/// The plugins of this process, loaded.
pub struct PluginHost {
    _p: (),
}

impl PluginHost {
    /// Opens the libraries and checks their versions.
    ///
    /// # Errors
    ///
    /// The first plugin that cannot be loaded.
    pub fn load(specs: Vec<PluginSpec>, program: Program, services: Services) -> Result<Self, LoadError> {
        todo!()
    }
    /// Calls `Halon_early_init` of all plugins, before policies and suspends are applied.
    pub fn early_init(&self) -> Result<(), LoadError> { todo!() }
    /// Calls `Halon_init` of all plugins.
    pub fn init(&self) -> Result<(), LoadError> { todo!() }
    /// Calls `Halon_hsl_register` of all plugins: global functions and classes, modules `extras://<id>`.
    pub fn register(&self, registry: &mut Registry) -> Result<(), LoadError> { todo!() }
    /// Calls `Halon_ready` of all plugins: from now on they may inject.
    pub fn ready(&self) { todo!() }
    /// Calls `Halon_config_reload` of all plugins with their new running block.
    pub fn reload(&self, app_config: impl Fn(&str) -> Option<Arc<Node>>) { todo!() }
    /// Runs a command of a plugin. It may block: call it where blocking is allowed.
    pub fn command(&self, id: &str, arguments: &[Vec<u8>]) -> Result<Vec<u8>, CommandError> { todo!() }
    /// Calls `Halon_early_cleanup` of all plugins.
    pub fn early_cleanup(&self) { todo!() }
    /// Calls `Halon_cleanup` of all plugins. The libraries stay loaded.
    pub fn cleanup(&self) { todo!() }
    /// Whether the plugin `id` can deliver.
    pub fn can_deliver(&self, id: &str) -> bool { todo!() }
    /// Starts a delivery attempt; `None` if there is no such plugin or it cannot deliver.
    pub fn deliver(&self, id: &str, delivery: Delivery) -> Option<impl Future<Output = DeliveryOutcome> + Send + use<>> {
        todo!();
        #[allow(unreachable_code)]
        Some(std::future::pending())
    }
    /// Whether any plugin wants [`Self::pickup_acquire`].
    pub fn has_pickup_callbacks(&self) -> bool { todo!() }
    /// Asks all plugins whether a message may be delivered now; the first refusal wins.
    pub fn pickup_acquire(&self, message: &Arc<dyn MessageInfo>) -> PickupVerdict { todo!() }
    /// Whether any plugin wants [`Self::queue_insert`].
    pub fn has_insert_callbacks(&self) -> bool { todo!() }
    /// Asks all plugins whether a message may enter the active queue.
    pub fn queue_insert(&self, message: &Arc<dyn MessageInfo>, localips: Vec<String>) -> InsertVerdict { todo!() }
    /// The ids of all plugins, in load order.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<str>> { std::iter::empty() }
    /// Calls that wait inside C at this moment (`HalonMTA_hsl_suspend`), each holding a thread.
    pub fn blocking_waits(&self) -> usize { todo!() }
}

/// A plugin keeps the program from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The library cannot be opened.
    #[error("plugin {id}: {path}: {reason}")]
    Open { id: Arc<str>, path: PathBuf, reason: String },
    /// The library has no `Halon_version`.
    #[error("plugin {id}: {path} is no plugin: it exports no Halon_version")]
    NoVersion { id: Arc<str>, path: PathBuf },
    /// The library was compiled against another header.
    #[error("plugin {id}: compiled for plugin version {found}, this program has version {expected}")]
    Version { id: Arc<str>, found: i64, expected: i64 },
    /// An entry point returned false.
    #[error("plugin {id}: {entry} failed")]
    Refused { id: Arc<str>, entry: &'static str },
}

/// A command of a plugin could not be run, or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such plugin.
    #[error("no plugin {0}")]
    UnknownPlugin(String),
    /// The plugin takes no commands.
    #[error("plugin {0} takes no commands")]
    NoCommands(Arc<str>),
    /// The plugin says no; its text, if it gave one.
    #[error("{}", String::from_utf8_lossy(.0))]
    Failed(Vec<u8>),
}
