//! The compiled program: immutable, shared by all executions.

use std::sync::Arc;

use crate::source::{SourceMap, Span};

/// A script with its includes and imports, ready to run.
pub struct Program {
    pub(crate) sources: SourceMap,
    pub(crate) functions: Vec<FunctionCode>,
    /// The names of the variables that live outside of registers.
    pub(crate) globals: Vec<Arc<str>>,
}

/// The code of one function.
pub(crate) struct FunctionCode {
    pub(crate) name: Arc<str>,
    spans: Vec<(u32, Span)>,
}

impl Program {
    /// Returns the sources of all files.
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }
}

impl FunctionCode {
    /// Returns the place of the instruction `pc`.
    pub(crate) fn span(&self, pc: u32) -> Option<Span> {
        let after = self.spans.partition_point(|(start, _)| *start <= pc);
        self.spans.get(after.checked_sub(1)?).map(|(_, span)| *span)
    }
}
