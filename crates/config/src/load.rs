//! One function per file: text in, types or every fault out.

use std::sync::Arc;

use crate::node::{KeyPath, Node, Position};
use crate::{Diagnostic, Severity};

/// A file that was read without errors.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The content.
    pub config: T,
    /// The file's name as the caller gave it.
    pub file: Arc<str>,
    /// The same content as positioned values, for [`crate::diff`] and for positions.
    pub root: Arc<Node>,
    /// Keys in the file which this release accepts without acting on them, in file order.
    pub unimplemented: Vec<KeyPath>,
    /// What is probably not as meant.
    pub warnings: Vec<Diagnostic>,
}

impl<T> Loaded<T> {
    /// The place of `path` in the file.
    #[must_use]
    pub fn position_of(&self, path: &KeyPath) -> Position {
        self.root.position_of(path)
    }

    /// A diagnostic about `path`, for faults that only the caller can find (a file it names is
    /// missing, a certificate does not parse).
    #[must_use]
    pub fn diagnostic(&self, severity: Severity, path: &KeyPath, message: String) -> Diagnostic {
        Diagnostic {
            severity,
            file: Arc::clone(&self.file),
            position: self.position_of(path),
            path: path.clone(),
            message,
            hint: None,
        }
    }
}
