//! Which variables a function has, and which of them others reach.

use hashbrown::HashSet;

use super::load::{Files, Link};
use super::walk::{Walker, walk_expr, walk_function, walk_stmt, walk_stmts};
use crate::ast::{Expr, ExprKind, Function, Ident, ImportWhat, Stmt, StmtKind, StringLiteral};
use crate::symbol::Symbol;

/// The variables of one function body, nested functions aside.
#[derive(Default)]
pub(super) struct Variables {
    /// In order of first appearance, imported and `global` ones aside.
    pub(super) order: Vec<Symbol>,
    seen: HashSet<Symbol>,
    /// Named by `global` here.
    pub(super) globals: HashSet<Symbol>,
    /// Named by `global` in nested functions.
    pub(super) inner_globals: HashSet<Symbol>,
    /// Captured by nested functions.
    pub(super) captured: HashSet<Symbol>,
    /// Given to `unset`, or bound by `barrier`: they may lose their value.
    pub(super) unset: HashSet<Symbol>,
    /// Written as a whole, other than by `unset`.
    pub(super) written: HashSet<Symbol>,
    /// Imported.
    imported: HashSet<Symbol>,
    /// Written, as a whole or in part.
    assigned: HashSet<Symbol>,
    /// The first variable that `global` names behind a place where it was used.
    pub(super) late_global: Option<Ident>,
    /// The first variable that is imported behind a place where it was written.
    pub(super) clash: Option<Ident>,
}

impl Variables {
    /// Looks through a body, included files too.
    pub(super) fn collect(files: &Files, body: &[Stmt]) -> Self {
        let mut pass = Pass { files, variables: Self::default() };
        walk_stmts(&mut pass, body);
        let mut variables = pass.variables;
        let (globals, imported) = (&variables.globals, &variables.imported);
        variables.order.retain(|name| !globals.contains(name) && !imported.contains(name));
        variables
    }

    /// Returns whether a variable of a module is written or imported there, by functions of the module
    /// too.
    pub(super) fn is_own(&self, files: &Files, body: &[Stmt], name: Symbol) -> bool {
        let mut inner = InnerWrites { files, name, found: false };
        self.is_changed(name) || self.imported.contains(&name) || {
            walk_stmts(&mut inner, body);
            inner.found
        }
    }

    fn is_changed(&self, name: Symbol) -> bool {
        self.assigned.contains(&name) || self.unset.contains(&name)
    }
}

/// Walks the file that an include names.
fn walk_included<W: Walker>(walker: &mut W, files: &Files, path: &StringLiteral) {
    if let Some(Link::Include(file)) = files.link(path)
        && let Some(script) = files.script(*file)
    {
        walk_stmts(walker, &script.body);
    }
}

/// Looks for functions of any depth that write a variable from around them.
struct InnerWrites<'a> {
    files: &'a Files,
    name: Symbol,
    found: bool,
}

impl Walker for InnerWrites<'_> {
    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Include { path, .. } => walk_included(self, self.files, path),
            _ => walk_stmt(self, stmt),
        }
    }

    fn function(&mut self, function: &Function) {
        let variables = Variables::collect(self.files, &function.body.body);
        let is_outer = variables.globals.contains(&self.name)
            || function.captures.iter().any(|ident| ident.name == self.name);
        self.found |= is_outer && variables.is_changed(self.name);
        walk_function(self, function);
    }
}

struct Pass<'a> {
    files: &'a Files,
    variables: Variables,
}

impl Pass<'_> {
    fn imported(&mut self, ident: Ident) {
        if self.variables.assigned.contains(&ident.name) && self.variables.clash.is_none() {
            self.variables.clash = Some(ident);
        }
        self.variables.imported.insert(ident.name);
        self.variables.seen.insert(ident.name);
    }
}

impl Walker for Pass<'_> {
    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Global(names) => {
                for ident in names {
                    let is_new = self.variables.globals.insert(ident.name);
                    let is_local = is_new && self.variables.seen.contains(&ident.name);
                    if is_local && self.variables.late_global.is_none() {
                        self.variables.late_global = Some(*ident);
                    }
                }
            }
            StmtKind::Include { path, .. } => walk_included(self, self.files, path),
            StmtKind::Import(import) => match &import.what {
                ImportWhat::Data(ident) => self.imported(*ident),
                ImportWhat::Symbols(symbols) => {
                    for symbol in symbols.iter().filter(|symbol| symbol.is_variable) {
                        self.imported(symbol.alias.unwrap_or(symbol.name));
                    }
                }
                ImportWhat::Namespace(_) => {}
            },
            StmtKind::Barrier { variable: Some(ident), .. } => {
                // The first execution finds no value under the name of the barrier.
                self.variables.unset.insert(ident.name);
                walk_stmt(self, stmt);
            }
            _ => walk_stmt(self, stmt),
        }
    }

    fn expr(&mut self, expr: &Expr) {
        if let ExprKind::Unset(place) = &expr.kind
            && let ExprKind::Variable(name) = &place.kind
        {
            self.variables.unset.insert(*name);
        }
        walk_expr(self, expr);
    }

    fn function(&mut self, function: &Function) {
        for ident in &function.captures {
            self.variables.captured.insert(ident.name);
            self.variable(ident.name);
        }
        let mut inner = InnerGlobals { files: self.files, names: HashSet::new() };
        walk_function(&mut inner, function);
        self.variables.inner_globals.extend(inner.names);
    }

    fn written(&mut self, name: Symbol) {
        self.variables.written.insert(name);
        self.changed(name);
    }

    fn changed(&mut self, name: Symbol) {
        self.variables.assigned.insert(name);
        self.variable(name);
    }

    fn variable(&mut self, name: Symbol) {
        if self.variables.seen.insert(name) {
            self.variables.order.push(name);
        }
    }
}

/// Collects what functions of any depth name by `global`.
struct InnerGlobals<'a> {
    files: &'a Files,
    names: HashSet<Symbol>,
}

impl Walker for InnerGlobals<'_> {
    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Global(names) => self.names.extend(names.iter().map(|ident| ident.name)),
            StmtKind::Include { path, .. } => walk_included(self, self.files, path),
            _ => walk_stmt(self, stmt),
        }
    }
}

/// Returns whether an expression writes variables of its own function.
pub(super) fn assigns(expr: &Expr) -> bool {
    struct Search(bool);
    impl Walker for Search {
        fn expr(&mut self, expr: &Expr) {
            if self.0 {
                return;
            }
            match &expr.kind {
                ExprKind::Assign { .. } | ExprKind::Step { .. } | ExprKind::Unset(_) => {
                    self.0 = true;
                }
                _ => walk_expr(self, expr),
            }
        }

        fn function(&mut self, _: &Function) {}
    }
    let mut search = Search(false);
    search.expr(expr);
    search.0
}
