//! How the library of a plugin is opened.
//!
//! All names are resolved at once, because a missing one is a clear message now and the end of the
//! process later. Two kinds of plugin are helped then: one that was linked without a library which
//! it expects in the mail server's process gets that library ([`LENT`]), and one that lacks a name
//! which it never calls is opened with its names left to their first use.

use std::ffi::CString;
use std::path::Path;

use libloading::Error;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY, RTLD_LOCAL, RTLD_NOW};

/// Opens the library at `path` for the plugin `id`; libraries that it brings with it stay its own.
///
/// # Errors
///
/// What the dynamic linker says.
pub(crate) fn open(id: &str, path: &Path) -> Result<Library, String> {
    let mut unused: Vec<&str> = LENT.to_vec();
    loop {
        // SAFETY: the constructors of a library that the operator configured run here.
        let missing = match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) } {
            Ok(library) => return Ok(library),
            Err(error) => describe(&error),
        };
        if let Some(at) = unused.iter().position(|name| lend(name, &missing)) {
            let library = unused.swap_remove(at);
            tracing::debug!(plugin = id, library, "plugin.library_lent");
            continue;
        }
        // SAFETY: as above.
        let library = unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_LOCAL) };
        let library = library.map_err(|_| missing.clone())?;
        tracing::warn!(plugin = id, error = missing, "plugin.symbols_missing");
        return Ok(library);
    }
}

/// Makes the names of the library `name` visible to plugins, if it has the one that the linker's
/// message complains of. It stays open.
fn lend(name: &str, message: &str) -> bool {
    let Some((_, symbol)) = message.split_once(UNDEFINED) else { return false };
    // Behind the name stands the version that is asked for, if any.
    let symbol = symbol.split([',', ' ']).next().unwrap_or_default();
    let Ok(symbol) = CString::new(symbol) else { return false };
    // SAFETY: the constructors of a library of the system run here.
    let Ok(library) = (unsafe { Library::open(Some(name), RTLD_LAZY | RTLD_LOCAL) }) else {
        return false;
    };
    // SAFETY: the symbol is looked up and not used.
    if unsafe { library.get::<*const ()>(symbol.as_bytes_with_nul()) }.is_err() {
        return false;
    }
    // SAFETY: it is open already; this makes it global.
    let Ok(global) = (unsafe { Library::open(Some(name), RTLD_LAZY | RTLD_GLOBAL) }) else {
        return false;
    };
    // Never closed, as plugins are not.
    std::mem::forget(global);
    true
}

/// What the dynamic linker says.
fn describe(error: &Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Libraries that known plugins use without being linked with them, since the process they were
/// written for holds them. None of them is opened unless a plugin lacks a function that it has.
const LENT: [&str; 6] = [
    "libcrypto.so.3",
    "libssl.so.3",
    "libcurl.so.4",
    "libbsd.so.0",
    "libjsoncpp.so.25",
    "libjsoncpp.so.26",
];

/// How glibc begins the name in its message.
const UNDEFINED: &str = "undefined symbol: ";
