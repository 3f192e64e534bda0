//! All plugins of one process and their lives.
//!
//! The order is that of the header: load and version of each, early init of all, (the program applies
//! policies and suspends), init of all, register, (servers start), ready, then reloads, commands,
//! calls, deliveries and decisions in any order, early cleanup, (the program drains), cleanup. The
//! calls here block as long as the plugins do; no lock is held meanwhile.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use config::node::Node;
use hsl::Value;
use hsl::host::{NativeStep, Registry};
use plugin_abi::{HalonCommandExecuteContext, HalonReadyContext};

use crate::calling::{crash, watch};
use crate::configuration::ConfigTree;
use crate::door::door;
use crate::initialisation::InitContext;
use crate::plugin::Plugin;
use crate::register::Registration;
use crate::services::{
    Delivery, DeliveryOutcome, InsertVerdict, MessageInfo, PickupVerdict, Services,
};
use crate::text::CText;
use crate::{call, calling, decision, delivery};

/// The plugins of this process, loaded.
///
/// Services belong to the process, because most functions of the header have no context: a second
/// host in the same process replaces those of the first.
#[derive(Debug)]
pub struct PluginHost {
    plugins: Vec<Arc<Plugin>>,
    has_pickup_callbacks: bool,
    has_insert_callbacks: bool,
}

/// A plugin to load.
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// Its name in the configuration, in commands and in `extras://<id>`.
    pub id: Arc<str>,
    /// The library. A relative path starts at the current directory.
    pub path: PathBuf,
    /// The `config` of the startup configuration; an empty mapping if there is none.
    pub config: Arc<Node>,
    /// The `config` of the running configuration, if there is one.
    pub app_config: Option<Arc<Node>>,
}

/// The program that loads plugins; it decides which autoload folder counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The daemon.
    Smtpd,
    /// The shell.
    Hsh,
}

impl Program {
    /// The name of the program, which is that of its autoload folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtpd => "smtpd",
            Self::Hsh => "hsh",
        }
    }
}

/// Lists the plugins to load: the `listed` ones in their order, then those of the folder
/// `<pluginspath>/autoload/<program>` that are not listed, by name.
///
/// The id of an autoloaded plugin is its file name without `.so`. One that is listed too is loaded
/// once, with the listed configuration. `app_config` gives the running block of an id. A folder
/// that does not exist or cannot be read is empty; the latter is logged.
pub fn specs(
    pluginspath: &Path,
    program: Program,
    listed: &[config::startup::Plugin],
    app_config: impl Fn(&str) -> Option<Arc<Node>>,
) -> Vec<PluginSpec> {
    let folder = pluginspath.join("autoload").join(program.name());
    let mut autoloaded = autoload(&folder);
    let mut specs: Vec<PluginSpec> = Vec::new();
    for plugin in listed {
        let linked = autoloaded.remove(&*plugin.id);
        let path = plugin.path.clone().or(linked);
        if path.is_none() && is_of_scripts_alone(pluginspath, &plugin.id) {
            continue;
        }
        specs.push(PluginSpec {
            id: Arc::clone(&plugin.id),
            path: path.unwrap_or_else(|| pluginspath.join(format!("{}.so", plugin.id))),
            config: Arc::clone(&plugin.config),
            app_config: app_config(&plugin.id),
        });
    }
    specs.extend(autoloaded.into_iter().map(|(id, path)| PluginSpec {
        app_config: app_config(&id),
        id: Arc::from(id),
        path,
        config: Node::empty_mapping(),
    }));
    specs
}

/// Whether a plugin is a folder of scripts without a library: it is listed for its configuration.
fn is_of_scripts_alone(pluginspath: &Path, id: &str) -> bool {
    pluginspath.join("hsl").join(id).join("main.hsl").is_file()
        && !pluginspath.join(format!("{id}.so")).exists()
}

/// The libraries of a folder by id.
fn autoload(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "plugin.autoload_unreadable");
            return BTreeMap::new();
        }
    };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let id = path.file_name()?.to_str()?.strip_suffix(".so")?.to_owned();
            (!id.is_empty()).then_some((id, path))
        })
        .collect()
}

impl PluginHost {
    /// Opens the libraries, checks their versions, and makes `services` those of the process.
    ///
    /// Call it after any fork and after privileges are dropped: constructors of plugins start
    /// threads and open files. Libraries stay loaded until the process ends, also on an error.
    ///
    /// # Errors
    ///
    /// [`LoadError`] for the first plugin that cannot be loaded.
    pub fn load(
        specs: Vec<PluginSpec>,
        program: Program,
        services: Services,
    ) -> Result<Self, LoadError> {
        door().install(services);
        if !specs.is_empty() {
            crash::watch(program.name());
            watch::start();
        }
        let mut plugins: Vec<Arc<Plugin>> = Vec::with_capacity(specs.len());
        for spec in specs {
            if plugins.iter().any(|known| known.id == spec.id) {
                return Err(LoadError::Twice { id: spec.id });
            }
            let app_config = spec.app_config.unwrap_or_else(Node::empty_mapping);
            let plugin = Plugin::open(spec.id, &spec.path, &spec.config, &app_config)?;
            tracing::info!(
                plugin = &*plugin.id,
                path = %spec.path.display(),
                program = program.name(),
                "plugin.loaded"
            );
            plugins.push(Arc::new(plugin));
        }
        let any = |test: fn(&Plugin) -> bool| plugins.iter().any(|plugin| test(plugin));
        Ok(Self {
            has_pickup_callbacks: any(|plugin| {
                plugin.entries.pickup_acquire.is_some() || plugin.entries.pickup_acquire2.is_some()
            }),
            has_insert_callbacks: any(|plugin| plugin.entries.insert_callback.is_some()),
            plugins,
        })
    }

    /// Calls `Halon_early_init` of all plugins, before the files of policies and suspends are applied.
    ///
    /// # Errors
    ///
    /// [`LoadError::Refused`] for the first plugin that returns false.
    pub fn early_init(&self) -> Result<(), LoadError> {
        for plugin in &self.plugins {
            initialise(plugin, "Halon_early_init", plugin.entries.early_init)?;
        }
        Ok(())
    }

    /// Calls `Halon_init` of all plugins.
    ///
    /// # Errors
    ///
    /// [`LoadError::Refused`] for the first plugin that returns false.
    pub fn init(&self) -> Result<(), LoadError> {
        for plugin in &self.plugins {
            initialise(plugin, "Halon_init", plugin.entries.init)?;
            plugin.is_initialised.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Calls `Halon_hsl_register` of all plugins and puts their names into `registry`: global ones,
    /// and modules `extras://<id>`. May be repeated for another registry.
    ///
    /// # Errors
    ///
    /// [`LoadError::Refused`] for the first plugin that returns false.
    pub fn register(&self, registry: &mut Registry) -> Result<(), LoadError> {
        for plugin in &self.plugins {
            let Some(register) = plugin.entries.hsl_register else { continue };
            let registration = Registration::new(plugin);
            let entry = "Halon_hsl_register";
            // SAFETY: the context lives through the call; the entry point has this type.
            let register = || unsafe { register(registration.as_ptr()) };
            if !calling::named(&plugin.id, entry, register) {
                return Err(LoadError::Refused { id: Arc::clone(&plugin.id), entry });
            }
            registration.publish(registry);
        }
        Ok(())
    }

    /// Calls `Halon_ready` of all plugins: servers and queue are up, they may inject.
    pub fn ready(&self) {
        for plugin in &self.plugins {
            if let Some(ready) = plugin.entries.ready {
                let context = 0u64;
                let context: *const HalonReadyContext = std::ptr::from_ref(&context).cast();
                calling::named(&plugin.id, "Halon_ready", || {
                    // SAFETY: the context lives through the call and nothing reads it.
                    unsafe { ready(context.cast_mut()) };
                });
            }
        }
    }

    /// Calls `Halon_config_reload` of all plugins with their new running block, after a reload of the
    /// running configuration succeeded. A missing block is an empty mapping.
    pub fn reload(&self, app_config: impl Fn(&str) -> Option<Arc<Node>>) {
        for plugin in &self.plugins {
            let node = app_config(&plugin.id).unwrap_or_else(Node::empty_mapping);
            let tree: ConfigTree = plugin.set_running(&node);
            if let Some(reload) = plugin.entries.config_reload {
                calling::named(&plugin.id, "Halon_config_reload", || {
                    // SAFETY: the tree lives as long as the process; the entry point has this type.
                    unsafe { reload(tree.as_ptr()) };
                });
            }
        }
    }

    /// Runs a command of the plugin `id` and returns its text, as octets without a terminator.
    ///
    /// A plugin without the newer entry point gets the words as one text, joined by spaces. The
    /// plugin may block: call it where that is allowed.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; [`CommandError::Failed`] carries the plugin's text.
    pub fn command(&self, id: &str, arguments: &[Vec<u8>]) -> Result<Vec<u8>, CommandError> {
        let plugin = self.find(id).ok_or_else(|| CommandError::UnknownPlugin(id.to_owned()))?;
        let mut out = std::ptr::null_mut();
        let mut len = 0;
        let is_done = if let Some(execute) = plugin.entries.command_execute {
            let texts: Vec<CText> = arguments.iter().map(|word| CText::new(word)).collect();
            // As for `main`, NULL stands behind the last one.
            let mut pointers: Vec<*const c_char> =
                texts.iter().map(CText::as_ptr).chain([std::ptr::null()]).collect();
            let mut lengths: Vec<usize> = arguments.iter().map(Vec::len).chain([0]).collect();
            let context = 0u64;
            let context: *const HalonCommandExecuteContext = std::ptr::from_ref(&context).cast();
            // SAFETY: everything lives through the call; the entry point has this type.
            calling::named(&plugin.id, "Halon_command_execute", || unsafe {
                execute(
                    context.cast_mut(),
                    arguments.len(),
                    pointers.as_mut_ptr(),
                    lengths.as_mut_ptr(),
                    &raw mut out,
                    &raw mut len,
                )
            })
        } else if let Some(execute) = plugin.entries.plugin_command {
            let line = CText::new(&arguments.join(&b' '));
            // SAFETY: as above.
            calling::named(&plugin.id, "Halon_plugin_command", || unsafe {
                execute(line.as_ptr(), line.octets().len(), &raw mut out, &raw mut len)
            })
        } else {
            return Err(CommandError::NoCommands(Arc::clone(&plugin.id)));
        };
        // SAFETY: the plugin set them by the header's rules, and the block is ours now.
        let text = unsafe { take_output(out, len) };
        if is_done { Ok(text) } else { Err(CommandError::Failed(text)) }
    }

    /// Calls `Halon_early_cleanup` of the plugins that [`Self::init`] initialised: they stop taking new
    /// work. Results of injections must keep arriving meanwhile.
    pub fn early_cleanup(&self) {
        for plugin in self.plugins.iter().rev() {
            if let Some(cleanup) = plugin.entries.early_cleanup
                && plugin.is_initialised.load(Ordering::Relaxed)
            {
                // SAFETY: the entry point has this type.
                calling::named(&plugin.id, "Halon_early_cleanup", || unsafe { cleanup() });
            }
        }
    }

    /// Waits, after [`Self::early_cleanup`], until plugins have given back what nobody waits for any
    /// more: calls whose scripts are gone, deliveries that were given up. At most `grace`, for a plugin
    /// may have lost a context. Returns how many it still has; their memory stays.
    pub fn settle(&self, grace: Duration) -> usize {
        let left = door().outstanding.wait(Instant::now() + grace);
        if left > 0 {
            tracing::warn!(calls = left, "plugin.calls_left_behind");
        }
        left
    }

    /// Calls `Halon_cleanup` of the plugins that [`Self::init`] initialised, the last thing they hear:
    /// others have no threads to join, and may throw. The libraries stay loaded.
    pub fn cleanup(&self) {
        for plugin in self.plugins.iter().rev() {
            if let Some(cleanup) = plugin.entries.cleanup
                && plugin.is_initialised.load(Ordering::Relaxed)
            {
                // SAFETY: the entry point has this type.
                calling::named(&plugin.id, "Halon_cleanup", || unsafe { cleanup() });
            }
            // Their methods hold the plugin, which holds them.
            plugin.classes.lock().clear();
        }
    }

    /// Tells whether there is a plugin `id` that delivers.
    #[must_use]
    pub fn can_deliver(&self, id: &str) -> bool {
        self.find(id).is_some_and(|plugin| plugin.entries.deliver.is_some())
    }

    /// Hands a delivery attempt to the plugin `id`; `None` if [`Self::can_deliver`] says no.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the outcome; what the plugin does goes on until it is done.
    pub fn deliver(
        &self,
        id: &str,
        delivery: Delivery,
    ) -> Option<impl Future<Output = DeliveryOutcome> + Send + use<>> {
        let plugin = self.find(id)?;
        Some(delivery::start(plugin, plugin.entries.deliver?, delivery))
    }

    /// Tells whether any plugin wants to be asked by [`Self::pickup_acquire`].
    #[must_use]
    pub fn has_pickup_callbacks(&self) -> bool {
        self.has_pickup_callbacks
    }

    /// Asks all plugins whether a message may be delivered now; the first refusal wins.
    ///
    /// The caller holds no lock that [`crate::QueueServices`] takes.
    #[must_use]
    pub fn pickup_acquire(&self, message: &Arc<dyn MessageInfo>) -> PickupVerdict {
        decision::pickup(&self.plugins, message)
    }

    /// Tells whether any plugin wants to be asked by [`Self::queue_insert`].
    #[must_use]
    pub fn has_insert_callbacks(&self) -> bool {
        self.has_insert_callbacks
    }

    /// Asks all plugins whether a message may enter the active queue, and with which of its candidate
    /// source addresses; the first refusal wins.
    ///
    /// The caller holds no lock that [`crate::QueueServices`] takes.
    #[must_use]
    pub fn queue_insert(
        &self,
        message: &Arc<dyn MessageInfo>,
        localips: Vec<String>,
    ) -> InsertVerdict {
        decision::insert(&self.plugins, message, localips)
    }

    /// Calls the function `name` that the plugin `id` exports, as if it were registered; `None` if
    /// there is no such export. Scripts call registered functions through [`Self::register`].
    #[must_use]
    pub fn call(&self, id: &str, name: &str, mut arguments: Vec<Value>) -> Option<NativeStep> {
        let plugin = self.find(id)?;
        let function = plugin.function(name)?;
        Some(call::invoke(plugin, plugin.sites.of(name), function, &mut arguments, None))
    }

    /// The ids of all plugins, in load order.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.plugins.iter().map(|plugin| &plugin.id)
    }

    /// Returns how many calls wait inside C at this moment (`HalonMTA_hsl_suspend`), each holding a
    /// thread of the runtime; at most about [`crate::MAX_BLOCKING_WAITS`].
    #[must_use]
    pub fn blocking_waits(&self) -> usize {
        door().waits.blocked()
    }

    /// Returns how many scripts wait at this moment until one of these waits has ended, to call a
    /// function that waits inside C.
    #[must_use]
    pub fn queued_waits(&self) -> usize {
        door().waits.queued()
    }

    fn find(&self, id: &str) -> Option<&Arc<Plugin>> {
        self.plugins.iter().find(|plugin| &*plugin.id == id)
    }
}

/// Takes the text of a command and frees it.
///
/// # Safety
///
/// `out` is NULL or from `malloc`, with `len` octets, or NUL-terminated if `len` is 0.
unsafe fn take_output(out: *mut c_char, len: usize) -> Vec<u8> {
    if out.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller keeps the contract.
    let text = unsafe { crate::text::sized(out, len) }.to_vec();
    // SAFETY: the caller keeps the contract, and the text was copied.
    unsafe { libc::free(out.cast()) };
    text
}

/// A plugin keeps the program from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Two plugins have the same id.
    #[error("plugin {id} is listed twice")]
    Twice {
        /// The id.
        id: Arc<str>,
    },
    /// A block of the configuration does not fit the schema that came with the plugin.
    #[error("plugin {id}: {}", findings.join("; "))]
    Configuration {
        /// The plugin.
        id: Arc<str>,
        /// What is wrong where.
        findings: Vec<String>,
    },
    /// The library cannot be opened.
    #[error("plugin {id}: cannot load {}: {reason}", path.display())]
    Open {
        /// The plugin.
        id: Arc<str>,
        /// Its library.
        path: PathBuf,
        /// What the dynamic linker says.
        reason: String,
    },
    /// The library has no `Halon_version`.
    #[error("plugin {id}: {} exports no Halon_version, so it is no plugin", path.display())]
    NoVersion {
        /// The plugin.
        id: Arc<str>,
        /// Its library.
        path: PathBuf,
    },
    /// The library was compiled against another header.
    #[error(
        "plugin {id} was compiled for plugin version {found}, this program has version {expected}: \
         compile it against the HalonMTA.h installed here"
    )]
    Version {
        /// The plugin.
        id: Arc<str>,
        /// What the plugin says.
        found: i64,
        /// What we say.
        expected: i64,
    },
    /// An entry point returned false.
    #[error("plugin {id}: {entry} failed")]
    Refused {
        /// The plugin.
        id: Arc<str>,
        /// The entry point.
        entry: &'static str,
    },
}

/// A command of a plugin could not be run, or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such plugin.
    #[error("there is no plugin {0}")]
    UnknownPlugin(String),
    /// The plugin takes no commands.
    #[error("plugin {0} takes no commands")]
    NoCommands(Arc<str>),
    /// The plugin says no; its text, which may be empty.
    #[error("the command failed: {}", String::from_utf8_lossy(.0))]
    Failed(Vec<u8>),
}

/// Calls an entry point for the start of a plugin, if it has it.
fn initialise(
    plugin: &Plugin,
    entry: &'static str,
    init: Option<plugin_abi::signatures::Halon_init>,
) -> Result<(), LoadError> {
    let Some(init) = init else { return Ok(()) };
    let context = InitContext::new(plugin);
    // SAFETY: the context lives through the call; the entry point has this type.
    if calling::named(&plugin.id, entry, || unsafe { init(context.as_ptr()) }) {
        return Ok(());
    }
    Err(LoadError::Refused { id: Arc::clone(&plugin.id), entry })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: &str, path: Option<&str>) -> config::startup::Plugin {
        config::startup::Plugin {
            id: Arc::from(id),
            path: path.map(PathBuf::from),
            config: crate::testing::yaml("listed: true\n"),
        }
    }

    #[test]
    fn a_plugin_listed_and_autoloaded_is_loaded_once_with_the_listed_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("autoload/smtpd");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["warmup.so", "geoip.so", "README", ".so"] {
            std::fs::write(folder.join(name), b"").unwrap();
        }
        // Scripts alone, and scripts beside a library.
        for scripts in ["greet", "x"] {
            std::fs::create_dir_all(dir.path().join("hsl").join(scripts)).unwrap();
            std::fs::write(dir.path().join("hsl").join(scripts).join("main.hsl"), b"").unwrap();
        }
        std::fs::write(dir.path().join("x.so"), b"").unwrap();
        let given = [
            listed("far", Some("/else/far.so")),
            listed("warmup", None),
            listed("greet", None),
            listed("x", None),
        ];
        let specs = specs(dir.path(), Program::Smtpd, &given, |_| None);
        let found: Vec<_> = specs.iter().map(|spec| (&*spec.id, spec.path.clone())).collect();
        assert_eq!(
            found,
            [
                ("far", PathBuf::from("/else/far.so")),
                ("warmup", folder.join("warmup.so")),
                ("x", dir.path().join("x.so")),
                ("geoip", folder.join("geoip.so")),
            ]
        );
        assert!(specs[1].config.member("listed").is_some());
        assert!(super::specs(dir.path(), Program::Hsh, &[], |_| None).is_empty());
    }

    #[test]
    fn a_library_that_cannot_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken.so");
        std::fs::write(&path, b"no library").unwrap();
        let spec = PluginSpec {
            id: Arc::from("broken"),
            path,
            config: Node::empty_mapping(),
            app_config: None,
        };
        let error = PluginHost::load(vec![spec], Program::Hsh, Services::none()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("plugin broken") && text.contains("broken.so"), "{text}");
    }
}
