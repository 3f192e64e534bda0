//! One loaded library: its entry points, its names, its configuration.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use config::node::Node;
use hsl::value::Class;
use libloading::os::unix::Library;
use parking_lot::Mutex;
use plugin_abi::constants::HALONMTA_PLUGIN_VERSION;
use plugin_abi::signatures::{self, HalonHSLFunction};

use crate::calling::{self, Sites, SlowCalls, ranges};
use crate::configuration::ConfigTree;
use crate::host::LoadError;
use crate::library;
use crate::object::Shape;

/// A loaded plugin. Its library is never closed: Go runtimes, thread-locals and exit handlers of
/// libraries cannot be taken away from a running process.
pub(crate) struct Plugin {
    pub(crate) id: Arc<str>,
    pub(crate) entries: EntryPoints,
    library: ManuallyDrop<Library>,
    /// Whether it was initialised, so that it is to clean up.
    pub(crate) is_initialised: AtomicBool,
    /// The startup block.
    pub(crate) startup: ConfigTree,
    /// The running block, as last handed out.
    running: Mutex<ConfigTree>,
    /// Classes made for its objects, by their shape.
    pub(crate) classes: Mutex<HashMap<Shape, Class>>,
    /// Its functions, for those who watch over calls.
    pub(crate) sites: Sites,
    /// Its functions that held a thread for long.
    pub(crate) slow_calls: SlowCalls,
}

macro_rules! entry_points {
    ($($(#[$doc:meta])* $field:ident: $name:ident,)*) => {
        /// What a plugin exports beside `Halon_version`.
        #[derive(Default)]
        pub(crate) struct EntryPoints {
            $(pub(crate) $field: Option<signatures::$name>,)*
        }

        impl EntryPoints {
            fn look_up(library: &Library) -> Self {
                Self {
                    $(
                        // SAFETY: the header gives the entry point of this name this type.
                        $field: unsafe {
                            library.get::<signatures::$name>(concat!(stringify!($name), "\0"))
                        }
                        .ok()
                        .map(|symbol| *symbol),
                    )*
                }
            }
        }
    };
}

entry_points! {
    early_init: Halon_early_init,
    init: Halon_init,
    hsl_register: Halon_hsl_register,
    ready: Halon_ready,
    config_reload: Halon_config_reload,
    command_execute: Halon_command_execute,
    plugin_command: Halon_plugin_command,
    deliver: Halon_deliver,
    pickup_acquire: Halon_queue_pickup_acquire,
    pickup_acquire2: Halon_queue_pickup_acquire2,
    insert_callback: Halon_queue_insert_callback,
    early_cleanup: Halon_early_cleanup,
    cleanup: Halon_cleanup,
}

impl Plugin {
    /// Opens the library at `path` and checks its version.
    pub(crate) fn open(
        id: Arc<str>,
        path: &Path,
        startup: &Arc<Node>,
        running: &Arc<Node>,
    ) -> Result<Self, LoadError> {
        let refused =
            |reason: String| LoadError::Open { id: Arc::clone(&id), path: path.to_owned(), reason };
        let path = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
        let library = calling::named(&id, "its constructors", || library::open(&id, &path))
            .map_err(refused)?;
        let library = ManuallyDrop::new(library);
        // SAFETY: the header gives the entry point of this name this type.
        let version = unsafe {
            library.get::<signatures::Halon_version>(c"Halon_version".to_bytes_with_nul())
        };
        let Ok(version) = version else {
            return Err(LoadError::NoVersion { id, path });
        };
        ranges::note(&id, *version as usize);
        // SAFETY: it takes nothing and may be called at any time.
        let found = calling::named(&id, "Halon_version", || unsafe { version() });
        if found != HALONMTA_PLUGIN_VERSION {
            let (found, expected) = (i64::from(found), i64::from(HALONMTA_PLUGIN_VERSION));
            return Err(LoadError::Version { id, found, expected });
        }
        Ok(Self {
            entries: EntryPoints::look_up(&library),
            library,
            is_initialised: AtomicBool::new(false),
            startup: ConfigTree::new(startup),
            running: Mutex::new(ConfigTree::new(running)),
            classes: Mutex::default(),
            sites: Sites::new(&id),
            slow_calls: SlowCalls::default(),
            id,
        })
    }

    /// Finds a function of the plugin by the name that scripts use.
    pub(crate) fn function(&self, name: &str) -> Option<HalonHSLFunction> {
        let name = CString::new(name).ok()?;
        // SAFETY: the plugin registered this name as such a function.
        unsafe { self.library.get::<HalonHSLFunction>(name.as_bytes_with_nul()) }
            .ok()
            .map(|symbol| *symbol)
    }

    /// The running block.
    pub(crate) fn running(&self) -> ConfigTree {
        *self.running.lock()
    }

    /// Replaces the running block; an equal one stays as it is.
    pub(crate) fn set_running(&self, node: &Arc<Node>) -> ConfigTree {
        let mut running = self.running.lock();
        if !running.is_of(node) {
            *running = ConfigTree::new(node);
        }
        *running
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A pointer of a plugin that travels between threads unread.
#[derive(Clone, Copy)]
pub(crate) struct PluginPointer(pub(crate) *mut c_void);

// SAFETY: the host never reads through it; the header tells plugins that it comes back on any thread.
unsafe impl Send for PluginPointer {}
// SAFETY: as above.
unsafe impl Sync for PluginPointer {}
