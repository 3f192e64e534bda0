//! Finds, reads and parses every file a script includes or imports.

use std::sync::Arc;

use hashbrown::HashMap;

use super::constant;
use super::walk::{Walker, walk_expr, walk_stmt, walk_stmts};
use crate::ast::{Expr, Import, ImportWhat, Script, Stmt, StmtKind, StringLiteral};
use crate::diagnostic::{Diagnostic, Ways};
use crate::host::HostSet;
use crate::module::{ImportKind, ImportRequest, Loaded, ModuleLoader};
use crate::parser;
use crate::source::{FileId, SourceMap, Span};
use crate::symbol::Interner;
use crate::value::Value;

/// Files that may include one another in a row.
const MAX_DEPTH: usize = 64;

/// All files of a program, parsed, and what their paths lead to.
pub(super) struct Files {
    pub(super) sources: SourceMap,
    pub(super) interner: Interner,
    /// By number of the file.
    pub(super) scripts: Vec<Arc<Script>>,
    /// By place of the path.
    links: HashMap<(FileId, u32), Link>,
    pub(super) ways: Ways,
    /// The files that are modules, each behind those it imports; the script itself is last.
    pub(super) modules: Vec<FileId>,
}

/// What a path leads to.
#[derive(Clone)]
pub(super) enum Link {
    /// A file to be put in place.
    Include(FileId),
    /// A module; the number counts in [`Files::modules`].
    Module(usize),
    /// A module of the host, by its path.
    Host(String),
    /// A value.
    Data(Value),
}

impl Files {
    /// Returns what the path at this place leads to.
    pub(super) fn link(&self, path: &StringLiteral) -> Option<&Link> {
        self.links.get(&(path.span.file, path.span.start))
    }

    /// Returns the parsed text of a file.
    pub(super) fn script(&self, file: FileId) -> Option<&Arc<Script>> {
        self.scripts.get(file.index() as usize)
    }
}

/// Reads files.
pub(super) struct Loading<'a> {
    pub(super) files: Files,
    host: &'a HostSet,
    loader: &'a dyn ModuleLoader,
    limits: &'a parser::Limits,
    by_identity: HashMap<String, FileId>,
    identities: Vec<String>,
    module_numbers: HashMap<FileId, usize>,
    /// Files whose statements are being looked through.
    open: Vec<FileId>,
}

impl<'a> Loading<'a> {
    pub(super) fn new(
        host: &'a HostSet,
        loader: &'a dyn ModuleLoader,
        limits: &'a parser::Limits,
    ) -> Self {
        Self {
            files: Files {
                sources: SourceMap::new(),
                interner: Interner::new(),
                scripts: Vec::new(),
                links: HashMap::new(),
                ways: Ways::default(),
                modules: Vec::new(),
            },
            host,
            loader,
            limits,
            by_identity: HashMap::new(),
            identities: Vec::new(),
            module_numbers: HashMap::new(),
            open: Vec::new(),
        }
    }

    /// Reads the script and all it needs.
    pub(super) fn main(
        &mut self,
        identity: &str,
        name: &str,
        text: &[u8],
    ) -> Result<(), Diagnostic> {
        let file = self.file(identity, name, text.to_vec(), None)?;
        self.look_through(file, Span::new(file, 0, 0), false)?;
        self.files.modules.push(file);
        Ok(())
    }

    fn file(
        &mut self,
        identity: &str,
        name: &str,
        text: Vec<u8>,
        importer: Option<(&'static str, Span)>,
    ) -> Result<FileId, Diagnostic> {
        if let Some(file) = self.by_identity.get(identity) {
            return Ok(*file);
        }
        let source = self.files.sources.add(name, None, text);
        self.files.ways.add(importer);
        let script = parser::parse(&source, &mut self.files.interner, self.limits)?;
        self.files.scripts.push(Arc::new(script));
        self.identities.push(identity.to_owned());
        self.by_identity.insert(identity.to_owned(), source.id());
        Ok(source.id())
    }

    /// Follows the paths in a file that was not looked through before.
    ///
    /// `is_conditional` says that the file is included where imports cannot stand.
    fn look_through(
        &mut self,
        file: FileId,
        at: Span,
        is_conditional: bool,
    ) -> Result<(), Diagnostic> {
        if self.open.contains(&file) {
            return Err(Diagnostic::error(at, "files include or import one another in a circle"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Diagnostic::error(at, "files include or import one another too deeply"));
        }
        let Some(script) = self.files.script(file).map(Arc::clone) else { return Ok(()) };
        self.open.push(file);
        let mut finder = Finder { found: Vec::new(), depth: u32::from(is_conditional) };
        walk_stmts(&mut finder, &script.body);
        for found in finder.found {
            match found {
                Found::Include(path, is_conditional) => {
                    let target = self.script_at(&path, ImportKind::Include)?;
                    self.look_through(target, path.span, is_conditional)?;
                    self.set(&path, Link::Include(target));
                }
                Found::Import(import) => self.import(&import)?,
                Found::Conditional(span) => {
                    return Err(Diagnostic::error(
                        span,
                        "imports stand at the top level of a file, outside of blocks and functions",
                    ));
                }
            }
        }
        self.open.pop();
        Ok(())
    }

    fn import(&mut self, import: &Import) -> Result<(), Diagnostic> {
        let path = &import.path;
        if let ImportWhat::Data(_) = import.what {
            let value = self.data(path, import.options.as_ref())?;
            self.set(path, Link::Data(value));
            return Ok(());
        }
        if let Ok(text) = std::str::from_utf8(&path.value)
            && self.host.module(text).is_some()
        {
            self.set(path, Link::Host(text.to_owned()));
            return Ok(());
        }
        let file = self.script_at(path, ImportKind::Module)?;
        let number = match self.module_numbers.get(&file) {
            Some(number) => *number,
            None => {
                self.look_through(file, path.span, false)?;
                let number = self.files.modules.len();
                self.files.modules.push(file);
                self.module_numbers.insert(file, number);
                number
            }
        };
        self.set(path, Link::Module(number));
        Ok(())
    }

    fn data(&self, path: &StringLiteral, options: Option<&Expr>) -> Result<Value, Diagnostic> {
        let options = match options {
            Some(expr) => Some(constant::evaluate(expr).ok_or_else(|| {
                Diagnostic::error(expr.span, "the options of an import are constant")
            })?),
            None => None,
        };
        match self.request(path, ImportKind::Data, options.as_ref())? {
            Loaded::Data(value) => Ok(value),
            Loaded::Script { .. } => {
                Err(Diagnostic::error(path.span, "this is a script, not data"))
            }
        }
    }

    fn script_at(&mut self, path: &StringLiteral, kind: ImportKind) -> Result<FileId, Diagnostic> {
        match self.request(path, kind, None)? {
            Loaded::Script { identity, name, text } => {
                let how = match kind {
                    ImportKind::Include => "included",
                    ImportKind::Module | ImportKind::Data => "imported",
                };
                self.file(&identity, &name, text, Some((how, path.span)))
            }
            Loaded::Data(_) => Err(Diagnostic::error(path.span, "this is data, not a script")),
        }
    }

    fn request(
        &self,
        path: &StringLiteral,
        kind: ImportKind,
        options: Option<&Value>,
    ) -> Result<Loaded, Diagnostic> {
        let importer = self.identities.get(path.span.file.index() as usize).map_or("", |name| name);
        let request =
            ImportRequest { path: &path.value, importer, kind, options, host: Some(self.host) };
        self.loader.load(&request).map_err(|reason| {
            let shown = path.value.escape_ascii();
            Diagnostic::error(path.span, format!("cannot load \"{shown}\": {reason}"))
        })
    }

    fn set(&mut self, path: &StringLiteral, link: Link) {
        self.files.links.insert((path.span.file, path.span.start), link);
    }
}

enum Found {
    /// With whether it stands in a block or function.
    Include(StringLiteral, bool),
    Import(Import),
    /// An import in a block or function.
    Conditional(Span),
}

/// Collects includes and imports, wherever they stand.
struct Finder {
    found: Vec<Found>,
    /// Statements and functions around the place.
    depth: u32,
}

impl Walker for Finder {
    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Include { path, .. } => {
                self.found.push(Found::Include(path.clone(), self.depth > 0));
            }
            StmtKind::Import(_) if self.depth > 0 => {
                self.found.push(Found::Conditional(stmt.span));
            }
            StmtKind::Import(import) => self.found.push(Found::Import(Import::clone(import))),
            _ => {
                self.depth += 1;
                walk_stmt(self, stmt);
                self.depth -= 1;
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        walk_expr(self, expr);
    }
}
