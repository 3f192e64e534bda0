//! From parsed files to a program: modules, hoisting, functions and classes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use hashbrown::{HashMap, HashSet};

use super::function::{Compiled, FunctionState, Kind, MAX_VARIABLES, error};
use super::load::{Files, Link};
use super::scope::{
    Callee, ClassInfo, FunctionInfo, ModuleScope, Namespace, StaticKind, StaticMember,
};
use super::variables::Variables;
use super::{Access, ContextVariable};
use crate::ast::{self, ImportWhat, MemberKind, Stmt, StmtKind};
use crate::bytecode::{FunctionCode, Op, Variable};
use crate::diagnostic::Diagnostic;
use crate::host::{HostSet, NativeFunction};
use crate::program::{Global, NativeCall, Program};
use crate::source::{FileId, Span};
use crate::symbol::Symbol;
use crate::value::{Class, ClassKind, Layout, MAX_SLOTS, Member, Str, UserClass, Value};

/// Compiles all files of a program.
pub(super) struct Builder<'a> {
    pub(super) files: &'a Files,
    pub(super) host: &'a Arc<HostSet>,
    context: HashMap<Symbol, (u16, Access)>,
    functions: Vec<Option<FunctionCode>>,
    pub(super) infos: Vec<FunctionInfo>,
    natives: Vec<NativeCall>,
    native_numbers: HashMap<usize, u16>,
    pub(super) classes: Vec<ClassInfo>,
    globals: Vec<Global>,
    read_only: Vec<bool>,
    pub(super) modules: Vec<ModuleScope>,
    /// Variables that importers of a module name; `None` stands for all.
    exports: Vec<Option<HashSet<Symbol>>>,
    /// Files that the module being compiled has included.
    pub(super) included: HashSet<FileId>,
    /// The functions being compiled, the innermost last.
    stack: Vec<FunctionState>,
    /// Every text constant and member name once, so that equal names are one allocation.
    texts: HashSet<Str>,
    /// The names behind `->`, and their numbers.
    names: Vec<Str>,
    name_numbers: HashMap<Str, u16>,
    /// The classes of static functions of the host, by address of the function.
    pub(super) static_classes: HashMap<usize, Class>,
    /// The class whose constructor comes next.
    pub(super) instance_of: Option<&'a ast::Class>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        files: &'a Files,
        host: &'a Arc<HostSet>,
        variables: &[ContextVariable],
    ) -> Self {
        let mut builder = Self {
            files,
            host,
            context: HashMap::new(),
            functions: Vec::new(),
            infos: Vec::new(),
            natives: Vec::new(),
            native_numbers: HashMap::new(),
            classes: Vec::new(),
            globals: Vec::new(),
            read_only: Vec::new(),
            modules: Vec::new(),
            exports: vec![Some(HashSet::new()); files.modules.len()],
            included: HashSet::new(),
            stack: Vec::new(),
            texts: HashSet::new(),
            names: Vec::new(),
            name_numbers: HashMap::new(),
            static_classes: HashMap::new(),
            instance_of: None,
        };
        for variable in variables {
            let symbol = files.interner.find(&variable.name);
            if symbol.is_none() && variable.access == Access::Yielding {
                continue;
            }
            let number = builder.globals.len() as u16; // a handful
            builder.globals.push(Global {
                name: variable.name.as_str().into(),
                initial: Value::Unset,
                holds_objects: false,
                is_context: true,
            });
            builder.read_only.push(variable.access != Access::Write);
            // A name that no file mentions needs no symbol.
            if let Some(symbol) = symbol {
                builder.context.insert(symbol, (number, variable.access));
            }
        }
        builder
    }

    /// Compiles everything.
    pub(super) fn build(mut self) -> Compiled<Program> {
        let start = Span::default();
        let entry = self.reserve("", 0, 0, start)?;
        self.find_exports();
        let mut mains = Vec::new();
        for number in 0..self.files.modules.len() {
            mains.push(self.module(number)?);
        }
        // The entry runs the modules in order; the script itself comes last and gives the value.
        self.stack.push(FunctionState::new("".into(), Kind::Module, None));
        let base = self.f().temporary(start)?;
        let script = mains.last().copied().unwrap_or(entry);
        for function in mains {
            self.f().emit(start, Op::CallFunction { d: base, base, argc: 0, function });
        }
        self.f().emit(start, Op::Return { a: base });
        self.finish(entry);
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        for class in 0..self.classes.len() {
            self.lay_out(class, number);
        }
        let mut functions: Vec<FunctionCode> = self.functions.into_iter().flatten().collect();
        crate::bytecode::link(&mut functions, &self.natives);
        Ok(Program {
            number,
            names: self.names,
            sources: self.files.sources.clone(),
            ways: self.files.ways.clone(),
            host: Arc::clone(self.host),
            functions,
            script,
            natives: self.natives,
            classes: self.classes.into_iter().map(|class| class.class).collect(),
            globals: self.globals,
        })
    }

    /// Returns the function being compiled.
    pub(super) fn f(&mut self) -> &mut FunctionState {
        match self.stack.last_mut() {
            Some(function) => function,
            None => unreachable!("statements are compiled inside of functions only"),
        }
    }

    /// Returns the functions around this place, the innermost first.
    pub(super) fn enclosing(&self) -> impl Iterator<Item = &FunctionState> {
        self.stack.iter().rev()
    }

    /// Returns the module being compiled.
    pub(super) fn scope(&mut self) -> &mut ModuleScope {
        match self.modules.last_mut() {
            Some(scope) => scope,
            None => unreachable!("functions are compiled inside of modules only"),
        }
    }

    pub(super) fn text(&self, symbol: Symbol) -> &'a str {
        self.files.interner.name(symbol)
    }

    /// Returns the one allocation of a name.
    fn name(&mut self, text: &str) -> Str {
        self.texts.get_or_insert_with(text.as_bytes(), |text| Str::from(text)).clone()
    }

    /// Returns the number of a name behind `->`.
    pub(super) fn member(&mut self, text: &str, span: Span) -> Compiled<u16> {
        let name = self.name(text);
        if let Some(number) = self.name_numbers.get(&name) {
            return Ok(*number);
        }
        // The last number stands for no name.
        let Some(number) = u16::try_from(self.names.len()).ok().filter(|at| *at < u16::MAX) else {
            return error(span, "the program names too many members");
        };
        self.names.push(name.clone());
        self.name_numbers.insert(name, number);
        Ok(number)
    }

    /// Notes that a function of the class sets this property on `$this`.
    pub(super) fn add_slot(&mut self, variable: Symbol, name: u16) {
        if self.text(variable) == "this"
            && let Some(number) = self.f().class
        {
            self.add_slot_of(number, name);
        }
    }

    /// Notes that every instance of a class has this property.
    pub(super) fn add_slot_of(&mut self, class: usize, name: u16) {
        if let Some(class) = self.classes.get_mut(class)
            && class.slots.len() < MAX_SLOTS
            && !class.slots.contains(&name)
        {
            class.slots.push(name);
        }
    }

    /// Writes down where the members of a class are.
    fn lay_out(&self, number: usize, program: u64) {
        let Some(class) = self.classes.get(number) else { return };
        let slots = class
            .slots
            .iter()
            .filter_map(|&at| {
                let name = self.names.get(usize::from(at))?.clone();
                let is_readonly =
                    class.user.restriction(&name).is_some_and(|member| member.is_readonly);
                Some((at, name, is_readonly))
            })
            .collect();
        // A method that nobody calls needs no place.
        let methods: Vec<(u16, u32, bool)> = class
            .user
            .methods
            .iter()
            .filter_map(|method| {
                let name = *self.name_numbers.get(&method.name)?;
                Some((name, method.function, method.is_private))
            })
            .collect();
        let is_restricted = !class.user.restricted.is_empty();
        let layout = Layout::new(program, number as u16, is_restricted, slots, &methods);
        // A class is laid out once.
        let _ = class.user.layout.set(Arc::new(layout));
    }

    /// Makes room for a function that is compiled later.
    fn reserve(&mut self, name: &str, min: usize, max: usize, span: Span) -> Compiled<u16> {
        let Ok(number) = u16::try_from(self.functions.len()) else {
            return error(span, "the program has too many functions");
        };
        self.functions.push(None);
        self.infos.push(FunctionInfo { name: name.into(), min, max });
        Ok(number)
    }

    fn finish(&mut self, number: u16) {
        if let Some(function) = self.stack.pop()
            && let Some(slot) = self.functions.get_mut(usize::from(number))
        {
            let mut code = function.code;
            for constant in &mut code.constants {
                if let Value::String(text) = constant {
                    let known = self.texts.get_or_insert_with(&**text, |_| text.clone());
                    *text = known.clone();
                }
            }
            code.registers = code.registers.max(function.locals).max(1);
            code.code.shrink_to_fit();
            code.seal(number);
            *slot = Some(code);
        }
    }

    pub(super) fn native(
        &mut self,
        function: &Arc<NativeFunction>,
        class: Option<&Class>,
        span: Span,
    ) -> Compiled<u16> {
        let address = Arc::as_ptr(function) as usize;
        if let Some(number) = self.native_numbers.get(&address) {
            return Ok(*number);
        }
        let Ok(number) = u16::try_from(self.natives.len()) else {
            return error(span, "the program calls too many functions of the host");
        };
        self.natives.push(NativeCall { function: Arc::clone(function), class: class.cloned() });
        self.native_numbers.insert(address, number);
        Ok(number)
    }

    /// Returns the class of a static function of the host that was named before.
    pub(super) fn static_class(&self, function: &Arc<NativeFunction>) -> Option<Class> {
        self.static_classes.get(&(Arc::as_ptr(function) as usize)).cloned()
    }

    pub(super) fn add_path(&mut self, span: Span, path: crate::bytecode::Path) -> Compiled<u16> {
        let paths = &mut self.f().code.paths;
        let Ok(number) = u16::try_from(paths.len()) else {
            return error(span, "this function is too long");
        };
        paths.push(path);
        Ok(number)
    }

    fn global(&mut self, name: &str, initial: Value, span: Span) -> Compiled<u16> {
        let Ok(number) = u16::try_from(self.globals.len()) else {
            return error(span, "the program has too many global variables");
        };
        let holds_objects = initial.holds_objects();
        self.globals.push(Global { name: name.into(), initial, holds_objects, is_context: false });
        self.read_only.push(false);
        Ok(number)
    }

    pub(super) fn is_read_only(&self, variable: Variable) -> bool {
        match variable {
            Variable::Global(number) => {
                self.read_only.get(usize::from(number)).copied().unwrap_or(false)
            }
            _ => false,
        }
    }

    // Modules

    /// Finds out which variables of each module others import.
    fn find_exports(&mut self) {
        for script in &self.files.scripts {
            for stmt in &script.body {
                let StmtKind::Import(import) = &stmt.kind else { continue };
                let Some(Link::Module(number)) = self.files.link(&import.path) else { continue };
                let Some(exports) = self.exports.get_mut(*number) else { continue };
                match &import.what {
                    ImportWhat::Namespace(_) => *exports = None,
                    ImportWhat::Symbols(symbols) => {
                        if let Some(names) = exports {
                            let variables = symbols.iter().filter(|symbol| symbol.is_variable);
                            names.extend(variables.map(|symbol| symbol.name.name));
                        }
                    }
                    ImportWhat::Data(_) => {}
                }
            }
        }
    }

    /// Compiles a module and returns its function.
    fn module(&mut self, number: usize) -> Compiled<u16> {
        let files = self.files;
        // The loader lists files that it parsed.
        let Some(file) = files.modules.get(number).copied() else {
            return error(Span::default(), "a module is missing");
        };
        let Some(script) = files.script(file) else {
            return error(Span::new(file, 0, 0), "a module is missing");
        };
        let start = Span::new(file, 0, 0);
        let function = self.reserve("", 0, 0, start)?;
        self.included = HashSet::from([file]);
        let variables = Variables::collect(files, &script.body);
        if let Some(ident) = variables.clash {
            return self.exists_already(ident);
        }
        let mut scope = ModuleScope::default();
        let exports = self.exports.get(number).cloned().flatten();
        let exports_all = self.exports.get(number).is_some_and(Option::is_none);
        for (name, (number, access)) in &self.context {
            if *access != Access::Yielding || !variables.is_own(files, &script.body, *name) {
                scope.variables.insert(*name, *number);
            }
        }
        self.modules.push(scope);
        let mut state = FunctionState::new("".into(), Kind::Module, None);
        for name in &variables.order {
            if self.scope().variables.contains_key(name) {
                continue;
            }
            let is_shared = exports_all
                || exports.as_ref().is_some_and(|names| names.contains(name))
                || variables.inner_globals.contains(name)
                || variables.captured.contains(name)
                || usize::from(state.locals) >= MAX_VARIABLES;
            if is_shared {
                let global = self.global(files.interner.name(*name), Value::Unset, start)?;
                self.scope().variables.insert(*name, global);
            } else {
                let register = state.add_local(files.interner.name(*name));
                state.variables.insert(*name, Variable::Local(register));
                if variables.unset.contains(name) {
                    state.unsettable.insert(register);
                }
            }
        }
        self.stack.push(state);
        self.imports(&script.body)?;
        // A function may create a global that the module itself never mentions.
        let mut created: Vec<Symbol> =
            variables.inner_globals.iter().chain(&variables.globals).copied().collect();
        created.sort();
        for name in created {
            if !self.scope().variables.contains_key(&name) {
                let global = self.global(files.interner.name(name), Value::Unset, start)?;
                self.scope().variables.insert(name, global);
            }
        }
        let names: Vec<(Symbol, u16)> =
            self.scope().variables.iter().map(|(name, number)| (*name, *number)).collect();
        for (name, number) in names {
            self.f().variables.entry(name).or_insert(Variable::Global(number));
        }
        self.hoist_and_compile(&script.body)?;
        self.statements(&script.body)?;
        self.end_of_function(start)?;
        self.finish(function);
        Ok(function)
    }

    /// Binds what a module imports. Imports run before the importer, so they come first.
    fn imports(&mut self, body: &'a [Stmt]) -> Compiled<()> {
        for stmt in body {
            match &stmt.kind {
                StmtKind::Import(import) => self.import(import, stmt.span)?,
                StmtKind::Include { path, .. } => {
                    let files = self.files;
                    if let Some(Link::Include(file)) = files.link(path)
                        && let Some(script) = files.script(*file)
                    {
                        self.imports(&script.body)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn import(&mut self, import: &'a ast::Import, span: Span) -> Compiled<()> {
        let files = self.files;
        let Some(link) = files.link(&import.path) else {
            return error(span, "imports stand at the top level of a file");
        };
        match (&import.what, link) {
            (ImportWhat::Data(ident), Link::Data(value)) => {
                let global = self.global(files.interner.name(ident.name), value.clone(), span)?;
                self.bind_variable(*ident, global)
            }
            (ImportWhat::Namespace(ident), Link::Module(number)) => {
                self.bind_namespace(*ident, Namespace::Module(*number))
            }
            (ImportWhat::Namespace(ident), Link::Host(path)) => {
                self.bind_namespace(*ident, Namespace::Host(path.clone()))
            }
            (ImportWhat::Symbols(symbols), link) => {
                for symbol in symbols {
                    let alias = symbol.alias.unwrap_or(symbol.name);
                    let name = symbol.name;
                    if symbol.is_variable {
                        let found = match link {
                            Link::Module(number) => self
                                .modules
                                .get(*number)
                                .and_then(|module| module.variables.get(&name.name).copied()),
                            _ => None,
                        };
                        let Some(global) = found else {
                            let text = self.text(name.name);
                            return error(name.span, format!("the module has no variable ${text}"));
                        };
                        self.bind_variable(alias, global)?;
                    } else {
                        let found = match link {
                            Link::Module(number) => self
                                .modules
                                .get(*number)
                                .and_then(|module| module.names.get(&name.name).cloned()),
                            Link::Host(path) => self
                                .host
                                .module(path)
                                .and_then(|module| module.get(self.text(name.name)))
                                .map(Callee::from),
                            _ => None,
                        };
                        let Some(callee) = found else {
                            let text = self.text(name.name);
                            return error(name.span, format!("the module has no function {text}"));
                        };
                        if self.scope().names.insert(alias.name, callee).is_some() {
                            let text = self.text(alias.name);
                            return error(alias.span, format!("{text} is defined already"));
                        }
                    }
                }
                Ok(())
            }
            _ => error(span, "this kind of import does not fit what the path names"),
        }
    }

    fn bind_namespace(&mut self, ident: ast::Ident, namespace: Namespace) -> Compiled<()> {
        if self.scope().namespaces.insert(ident.name, namespace).is_some() {
            let text = self.text(ident.name);
            return error(ident.span, format!("namespace {text} exists already"));
        }
        Ok(())
    }

    fn bind_variable(&mut self, ident: ast::Ident, global: u16) -> Compiled<()> {
        let known = self.f().variables.contains_key(&ident.name);
        if known || self.scope().variables.insert(ident.name, global).is_some() {
            return self.exists_already(ident);
        }
        Ok(())
    }

    fn exists_already<T>(&self, ident: ast::Ident) -> Compiled<T> {
        error(ident.span, format!("variable ${} exists already", self.text(ident.name)))
    }

    // Functions

    /// Registers the named functions and classes of a body, then compiles them.
    fn hoist_and_compile(&mut self, body: &'a [Stmt]) -> Compiled<()> {
        let mut found = Vec::new();
        self.find_definitions(body, &mut found, 0);
        let mut functions = Vec::new();
        let mut classes = Vec::new();
        for stmt in found {
            match &stmt.kind {
                StmtKind::Function(function) => {
                    let Some(name) = function.name else { continue };
                    let number = self.reserve_function(function, self.text(name.name))?;
                    self.define(name, Callee::Script(number))?;
                    functions.push((&**function, number));
                }
                StmtKind::Class(class) => {
                    let number = self.declare_class(class)?;
                    self.define(class.name, Callee::Class(number))?;
                    classes.push((&**class, number));
                }
                _ => {}
            }
        }
        for (function, number) in functions {
            self.function(function, number, Kind::Plain, None, false)?;
        }
        for (class, number) in classes {
            self.class(class, number)?;
        }
        Ok(())
    }

    /// Finds definitions in all blocks of a body, included files too.
    fn find_definitions(&self, body: &'a [Stmt], found: &mut Vec<&'a Stmt>, depth: usize) {
        for stmt in body {
            self.find_in_statement(stmt, found, depth);
        }
    }

    fn find_in_statement(&self, stmt: &'a Stmt, found: &mut Vec<&'a Stmt>, depth: usize) {
        match &stmt.kind {
            StmtKind::Function(_) | StmtKind::Class(_) => found.push(stmt),
            StmtKind::Block(block) => self.find_definitions(&block.body, found, depth),
            StmtKind::If { arms, otherwise } => {
                for (_, body) in arms {
                    self.find_in_statement(body, found, depth);
                }
                if let Some(body) = otherwise {
                    self.find_in_statement(body, found, depth);
                }
            }
            StmtKind::For(part) => self.find_in_statement(&part.body, found, depth),
            StmtKind::Foreach(part) => self.find_in_statement(&part.body, found, depth),
            StmtKind::While { body, .. } | StmtKind::Forever(body) => {
                self.find_in_statement(body, found, depth);
            }
            StmtKind::Switch { cases, .. } => {
                for case in cases {
                    self.find_definitions(&case.body, found, depth);
                }
            }
            StmtKind::Try { body, handler, .. } => {
                self.find_definitions(&body.body, found, depth);
                self.find_definitions(&handler.body, found, depth);
            }
            StmtKind::Barrier { body, .. } => self.find_definitions(&body.body, found, depth),
            StmtKind::Include { path, .. } => {
                let files = self.files;
                if let Some(Link::Include(file)) = files.link(path)
                    && let Some(script) = files.script(*file)
                {
                    // The same definitions, included a second time, are the same.
                    let is_new = !found.iter().any(|known| known.span.file == *file);
                    if is_new {
                        self.find_definitions(&script.body, found, depth + 1);
                    }
                }
            }
            _ => {}
        }
    }

    fn define(&mut self, name: ast::Ident, callee: Callee) -> Compiled<()> {
        let is_module = self.stack.len() == 1;
        let names = if is_module { &mut self.scope().names } else { &mut self.f().names };
        if names.insert(name.name, callee).is_some() {
            let text = self.text(name.name);
            return error(name.span, format!("{text} is defined already"));
        }
        Ok(())
    }

    pub(super) fn reserve_function(
        &mut self,
        function: &ast::Function,
        name: &str,
    ) -> Compiled<u16> {
        let has_rest = function.params.last().is_some_and(|param| param.is_rest);
        let min = function
            .params
            .iter()
            .filter(|param| param.default.is_none() && !param.is_rest)
            .count();
        let max = if has_rest { usize::MAX } else { function.params.len() };
        self.reserve(name, min, max, function.span)
    }

    /// Compiles a function into its place.
    pub(super) fn function(
        &mut self,
        function: &'a ast::Function,
        number: u16,
        kind: Kind,
        class: Option<usize>,
        has_this: bool,
    ) -> Compiled<()> {
        let name =
            self.infos.get(usize::from(number)).map_or("".into(), |info| Arc::clone(&info.name));
        // Functions inside of methods belong to the class as well.
        let class = class.or_else(|| self.stack.last().and_then(|outer| outer.class));
        let class =
            class.and_then(|number| Some((number, Arc::clone(&self.classes.get(number)?.user))));
        let files = self.files;
        let variables = Variables::collect(files, &function.body.body);
        if let Some(ident) = variables.late_global {
            let text = self.text(ident.name);
            let message = format!("a local variable ${text} exists already");
            let hint = "`global` stands before the first use of the variable";
            return Err(Box::new(Diagnostic::error(ident.span, message).with_hint(hint)));
        }
        let mut state = FunctionState::new(name, kind, class);
        state.code.is_generator = function.is_generator;
        let this = files.interner.find("this");
        if has_this {
            let register = state.add_local("this");
            state.assigned.insert(register);
            state.code.receiver = 1;
            state.code.this = register;
            state.code.keeps_this = this.is_none_or(|this| {
                !variables.written.contains(&this) && !variables.unset.contains(&this)
            });
            if let Some(this) = this {
                state.variables.insert(this, Variable::Local(register));
            }
        }
        let mut cells = Vec::new();
        for param in &function.params {
            let ident = param.name;
            let register = state.add_local(self.text(ident.name));
            if variables.globals.contains(&ident.name) {
                return error(ident.span, "a parameter cannot be global");
            }
            let variable = if variables.captured.contains(&ident.name) {
                cells.push(register);
                Variable::Cell(register)
            } else {
                state.assigned.insert(register);
                Variable::Local(register)
            };
            if variables.unset.contains(&ident.name) {
                state.unsettable.insert(register);
            }
            if state.variables.insert(ident.name, variable).is_some() {
                return error(ident.span, "this parameter exists already");
            }
            if param.is_rest {
                state.code.has_rest = true;
                continue;
            }
            state.code.fixed += 1;
            match &param.default {
                None => state.code.min += 1,
                Some(expr) => match self.constant_expression(expr)? {
                    Some(value) => state.code.defaults.push(value),
                    None => return error(expr.span, "a default value is a constant expression"),
                },
            }
            if usize::from(state.locals) >= MAX_VARIABLES {
                return error(ident.span, "this function has too many parameters");
            }
        }
        state.code.first_capture = state.locals as u8;
        for ident in &function.captures {
            if variables.globals.contains(&ident.name) {
                return error(ident.span, "a captured variable cannot be global");
            }
            let Some(outer) = self.f().variables.get(&ident.name).copied() else {
                let text = self.text(ident.name);
                return error(ident.span, format!("there is no variable ${text} here"));
            };
            let inner = match outer {
                Variable::Global(number) => Variable::Global(number),
                Variable::Cell(source) => {
                    state.code.captures.push(source);
                    Variable::Cell(state.add_local(self.text(ident.name)))
                }
                // `$this` is no variable that changes: its value is captured.
                Variable::Local(source) => {
                    state.code.captures.push(source);
                    Variable::Cell(state.add_local(self.text(ident.name)))
                }
            };
            if let (Variable::Cell(register), true) = (inner, this == Some(ident.name)) {
                state.code.this = register;
            }
            if state.variables.insert(ident.name, inner).is_some() {
                return error(ident.span, "a parameter has this name already");
            }
        }
        state.given = state.locals;
        if kind == Kind::Constructor {
            let register = state.add_local("this");
            state.this = Some(register);
            state.code.this = register;
            state.assigned.insert(register);
            if let Some(this) = this {
                state.variables.insert(this, Variable::Local(register));
            }
        }
        for name in variables.order.iter().copied() {
            if state.variables.contains_key(&name) {
                continue;
            }
            if usize::from(state.locals) >= MAX_VARIABLES {
                return error(function.span, "this function has too many variables");
            }
            let register = state.add_local(self.text(name));
            if variables.captured.contains(&name) {
                cells.push(register);
                state.variables.insert(name, Variable::Cell(register));
                state.starts_unset(register);
            } else {
                state.variables.insert(name, Variable::Local(register));
            }
            if variables.unset.contains(&name) {
                state.unsettable.insert(register);
            }
        }
        state.code.cells = cells;
        state.code.registers = state.locals;
        self.stack.push(state);
        if kind == Kind::Constructor
            && let Some(number) = self.f().class
        {
            self.instance(number, function.span)?;
        }
        self.hoist_and_compile(&function.body.body)?;
        self.statements(&function.body.body)?;
        let end =
            Span::new(function.span.file, function.span.end.saturating_sub(1), function.span.end);
        self.end_of_function(end)?;
        self.finish(number);
        Ok(())
    }

    /// Ends a body that was not left by `return`.
    fn end_of_function(&mut self, span: Span) -> Compiled<()> {
        self.return_statement(None, span)
    }

    // Classes

    /// Registers a class with its members; their code follows.
    fn declare_class(&mut self, class: &'a ast::Class) -> Compiled<usize> {
        let class_name = self.text(class.name.name);
        let mut methods = Vec::new();
        let mut restricted = Vec::new();
        let mut statics = HashMap::new();
        let mut seen = HashSet::new();
        let mut constructor = None;
        for member in &class.members {
            match &member.kind {
                MemberKind::Constructor(function) => {
                    constructor = Some(self.reserve_function(function, class_name)?);
                }
                MemberKind::Method(function) => {
                    let Some(name) = function.name else { continue };
                    if !seen.insert(name.name) {
                        return error(name.span, "the class has a member of this name already");
                    }
                    let text = self.text(name.name);
                    let number =
                        self.reserve_function(function, &format!("{class_name}::{text}"))?;
                    if member.is_static {
                        let kind = StaticKind::Function(number);
                        statics.insert(
                            name.name,
                            StaticMember { kind, is_private: member.is_private },
                        );
                    } else {
                        methods.push(Member {
                            name: self.name(text),
                            function: u32::from(number),
                            is_private: member.is_private,
                            is_readonly: false,
                        });
                    }
                }
                MemberKind::Property { name, value, is_readonly } => {
                    if !seen.insert(name.name) {
                        return error(name.span, "the class has a member of this name already");
                    }
                    let text = self.text(name.name);
                    if member.is_static {
                        let Some(initial) = self.constant_expression(value)? else {
                            return error(value.span, "a static variable starts with a constant");
                        };
                        let global =
                            self.global(&format!("{class_name}::${text}"), initial, name.span)?;
                        let kind = StaticKind::Variable(global);
                        statics.insert(
                            name.name,
                            StaticMember { kind, is_private: member.is_private },
                        );
                    } else if member.is_private || *is_readonly {
                        restricted.push(Member {
                            name: self.name(text),
                            function: 0,
                            is_private: member.is_private,
                            is_readonly: *is_readonly,
                        });
                    }
                }
            }
        }
        let constructor = match constructor {
            Some(number) => number,
            None => self.reserve(class_name, 0, 0, class.name.span)?,
        };
        let user = Arc::new(UserClass {
            name: Str::from(class_name),
            methods,
            restricted,
            layout: OnceLock::new(),
        });
        let number = self.classes.len();
        self.classes.push(ClassInfo {
            class: Class::new(ClassKind::Script(Arc::clone(&user))),
            user,
            constructor,
            statics,
            slots: Vec::new(),
        });
        Ok(number)
    }

    /// Compiles the members of a class.
    fn class(&mut self, class: &'a ast::Class, number: usize) -> Compiled<()> {
        let mut has_constructor = false;
        for member in &class.members {
            match &member.kind {
                MemberKind::Constructor(function) => {
                    has_constructor = true;
                    let target = self.classes.get(number).map_or(0, |class| class.constructor);
                    self.instance_of = Some(class);
                    self.function(function, target, Kind::Constructor, Some(number), false)?;
                }
                MemberKind::Method(function) => {
                    let Some(name) = function.name else { continue };
                    let Some(info) = self.classes.get(number) else { continue };
                    let target = if member.is_static {
                        info.statics.get(&name.name).and_then(|member| match member.kind {
                            StaticKind::Function(number) => Some(number),
                            StaticKind::Variable(_) => None,
                        })
                    } else {
                        let text = Str::from(self.text(name.name));
                        info.user.method(&text).map(|member| member.function as u16)
                    };
                    let Some(target) = target else { continue };
                    self.function(function, target, Kind::Plain, Some(number), !member.is_static)?;
                }
                MemberKind::Property { .. } => {}
            }
        }
        if !has_constructor {
            let info = self.classes.get(number);
            let (target, user) = match info {
                Some(info) => (info.constructor, Arc::clone(&info.user)),
                None => return Ok(()),
            };
            let name = self.text(class.name.name);
            let mut state =
                FunctionState::new(name.into(), Kind::Constructor, Some((number, user)));
            let register = state.add_local("this");
            state.this = Some(register);
            state.code.this = register;
            state.assigned.insert(register);
            if let Some(this) = self.files.interner.find("this") {
                state.variables.insert(this, Variable::Local(register));
            }
            // Property values may use variables, as any expression may.
            self.stack.push(state);
            self.instance_of = Some(class);
            self.instance(number, class.name.span)?;
            self.end_of_function(class.name.span)?;
            self.finish(target);
        }
        Ok(())
    }
}
