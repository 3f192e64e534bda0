//! The compiled program: immutable, shared by all executions.

use std::sync::Arc;

use crate::bytecode::FunctionCode;
use crate::diagnostic::Ways;
use crate::host::{HostSet, NativeFunction};
use crate::source::{SourceMap, Span};
use crate::value::{Class, Str, Value};

/// A script with its includes and imports, ready to run.
pub struct Program {
    /// No other program of the process has it.
    pub(crate) number: u64,
    pub(crate) sources: SourceMap,
    pub(crate) ways: Ways,
    pub(crate) host: Arc<HostSet>,
    /// The first one is the entry: it runs the modules, then the script.
    pub(crate) functions: Vec<FunctionCode>,
    /// The one that is the script itself.
    pub(crate) script: u16,
    pub(crate) natives: Vec<NativeCall>,
    pub(crate) classes: Vec<Class>,
    /// The names behind `->`.
    pub(crate) names: Vec<Str>,
    /// The variables that live outside of registers; context variables first.
    pub(crate) globals: Vec<Global>,
}

/// A function of the host, as called by name.
pub(crate) struct NativeCall {
    pub(crate) function: Arc<NativeFunction>,
    pub(crate) class: Option<Class>,
}

/// A variable of a module, a static member, or a context variable.
pub(crate) struct Global {
    pub(crate) name: Arc<str>,
    /// Its first value; unset for all but static members.
    pub(crate) initial: Value,
    /// The first value holds objects, of which each execution gets its own.
    pub(crate) holds_objects: bool,
    pub(crate) is_context: bool,
}

impl Program {
    /// Returns the sources of all files.
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }

    /// Returns whether the program was compiled with a context variable of the name. One that yields is
    /// left out where no file mentions its name.
    pub fn has_variable(&self, name: &str) -> bool {
        self.globals.iter().any(|global| global.is_context && &*global.name == name)
    }

    /// Returns the place of the last thing that the script itself does.
    pub(crate) fn end(&self) -> Option<Span> {
        let spans = &self.functions.get(usize::from(self.script))?.spans;
        // What stands behind the last statement has the place of the whole file.
        let (_, file) = spans.last()?;
        let inside = spans.iter().map(|(_, span)| *span).filter(|span| span.file == file.file);
        inside.max_by_key(|span| span.start)
    }

    /// Returns what the program was compiled against.
    pub fn host(&self) -> &Arc<HostSet> {
        &self.host
    }
}
