//! How scripts reach other files: the compiler asks, the embedder reads.

use crate::host::HostSet;
use crate::value::Value;

/// Finds what `include` and `import` name. The language itself reads no files.
pub trait ModuleLoader {
    /// Resolves and reads one path.
    ///
    /// # Errors
    ///
    /// A text that says why, without the path; it is shown at the path's place in the script.
    fn load(&self, request: &ImportRequest<'_>) -> Result<Loaded, String>;
}

/// What is asked for.
#[derive(Clone, Copy)]
pub struct ImportRequest<'a> {
    /// The path as written.
    pub path: &'a [u8],
    /// The identity of the file that asks, as an earlier [`Loaded::Script`] or the caller of the
    /// compiler gave it; base of `./` paths.
    pub importer: &'a str,
    /// What for.
    pub kind: ImportKind,
    /// The value behind `with`.
    pub options: Option<&'a Value>,
    /// What the importing script is compiled against, for data that becomes objects.
    pub host: Option<&'a HostSet>,
}

/// What an import is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// `include` and `include_once`: script text.
    Include,
    /// `import { … } from` and `import * as … from`: script text.
    Module,
    /// `import $data from`: a value, decoded by the loader of its extension.
    Data,
}

/// What was found.
pub enum Loaded {
    /// The text of a script.
    Script {
        /// Identifies the file: equal for equal files, however the path was written.
        identity: String,
        /// The name shown in errors.
        name: String,
        /// The text.
        text: Vec<u8>,
    },
    /// A decoded value; one copy for all executions.
    Data(Value),
}

/// A loader that finds nothing.
pub struct NoModules;

impl ModuleLoader for NoModules {
    fn load(&self, _: &ImportRequest<'_>) -> Result<Loaded, String> {
        Err("no files are configured".to_owned())
    }
}
