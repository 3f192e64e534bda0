//! From source text to a program.

mod builder;
mod call;
mod constant;
mod debug;
mod expr;
mod function;
mod load;
mod near;
mod place;
mod scope;
mod stmt;
mod variables;
mod walk;

use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::host::HostSet;
use crate::module::{ModuleLoader, NoModules};
use crate::parser;
use crate::program::Program;
use crate::source::SourceMap;
use builder::Builder;
use load::Loading;

/// Compiles scripts against what the host offers.
pub struct Compiler<'a> {
    host: Arc<HostSet>,
    loader: &'a dyn ModuleLoader,
    variables: Vec<ContextVariable>,
}

struct ContextVariable {
    name: String,
    access: Access,
}

/// What scripts may do with a context variable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    /// Read, in modules that do not write a variable of the name.
    Yielding,
}

impl<'a> Compiler<'a> {
    /// Makes a compiler without files and context variables.
    pub fn new(host: &Arc<HostSet>) -> Self {
        Self { host: Arc::clone(host), loader: &NoModules, variables: Vec::new() }
    }

    /// Sets what finds included and imported files.
    #[must_use]
    pub fn with_loader(mut self, loader: &'a dyn ModuleLoader) -> Self {
        self.loader = loader;
        self
    }

    /// Declares a context variable that scripts can only read, such as `transaction`.
    #[must_use]
    pub fn with_read_only(self, name: &str) -> Self {
        self.with(name, Access::Read)
    }

    /// Declares a context variable that scripts can only read and whose name is theirs all the same: in
    /// a module that writes a variable of the name, the name is the module's own.
    #[must_use]
    pub fn with_yielding(self, name: &str) -> Self {
        self.with(name, Access::Yielding)
    }

    /// Declares a context variable that scripts can write, such as `context`.
    #[must_use]
    pub fn with_writable(self, name: &str) -> Self {
        self.with(name, Access::Write)
    }

    fn with(mut self, name: &str, access: Access) -> Self {
        self.variables.push(ContextVariable { name: name.to_owned(), access });
        self
    }

    /// Compiles a script and everything it includes and imports.
    ///
    /// `identity` tells files apart (see [`crate::module::Loaded::Script`]), `name` is shown in
    /// errors.
    ///
    /// # Errors
    ///
    /// [`CompileError`] with the first error of each stage.
    pub fn compile(
        &self,
        identity: &str,
        name: &str,
        text: &[u8],
    ) -> Result<Arc<Program>, CompileError> {
        let limits = parser::Limits::default();
        let mut loading = Loading::new(&self.host, self.loader, &limits);
        let loaded = loading.main(identity, name, text);
        let files = loading.files;
        let result = match loaded {
            Ok(()) => Builder::new(&files, &self.host, &self.variables).build(),
            Err(diagnostic) => Err(Box::new(diagnostic)),
        };
        match result {
            Ok(program) => Ok(Arc::new(program)),
            Err(diagnostic) => {
                let diagnostic = diagnostic.with_way(&files.ways);
                Err(CompileError { diagnostics: vec![diagnostic], sources: files.sources })
            }
        }
    }
}

/// A script could not be compiled.
#[derive(Debug)]
pub struct CompileError {
    /// What is wrong; at least one.
    pub diagnostics: Vec<Diagnostic>,
    /// The sources that the places lie in.
    pub sources: SourceMap,
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, diagnostic) in self.diagnostics.iter().enumerate() {
            let plain = diagnostic.plain(&self.sources);
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", plain.message)?;
            if let Some(file) = &plain.file {
                write!(f, " in {file} on line {}, column {}", plain.line, plain.column)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}
