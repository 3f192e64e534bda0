//! Calls, and what names stand for.

use std::sync::Arc;

use super::builder::Builder;
use super::constant;
use super::function::{Compiled, error};
use super::near;
use super::scope::{Callee, Namespace, StaticKind};
use super::variables::assigns;
use crate::ast::{Argument, Cache, Expr, ExprKind, Ident, Suffix, SuffixKind};
use crate::bytecode::{MAX_LENT, Op, Register, TextPart, Variable};
use crate::debug;
use crate::diagnostic::Diagnostic;
use crate::host::{NativeFunction, count_message};
use crate::source::Span;
use crate::symbol::Symbol;
use crate::token::foreign_word;
use crate::value::{Function, Value};

/// Arguments that are passed in registers; more of them travel in an array.
const MAX_ARGUMENTS: usize = 60;

impl<'a> Builder<'a> {
    /// Computes a chain of suffixes into `d`.
    pub(super) fn postfix(
        &mut self,
        base: &'a Expr,
        suffixes: &'a [Suffix],
        d: Register,
    ) -> Compiled<()> {
        let mark = self.f().next;
        if let (
            ExprKind::Name(_) | ExprKind::Scoped { is_variable: false, .. } | ExprKind::Builtin(_),
            Some((Suffix { kind: SuffixKind::Call(arguments), span: call_span }, rest)),
        ) = (&base.kind, suffixes.split_first())
        {
            let callee = self.callee(base)?;
            let span = base.span.to(*call_span);
            if rest.is_empty() {
                return self.call(&callee, arguments, d, span);
            }
            let t = self.f().temporary(span)?;
            self.call(&callee, arguments, t, span)?;
            self.f().next = u16::from(t) + 1;
            self.suffixes(t, rest, d, false)?;
            self.f().next = mark;
            return Ok(());
        }
        let start = match suffixes.first() {
            // A key that is computed later may change the variable.
            Some(Suffix { kind: SuffixKind::Index(key), .. }) => self.stable_operand(base, key)?,
            Some(Suffix { kind: SuffixKind::Property(_), .. }) if suffixes.len() == 1 => {
                self.operand(base)?
            }
            // The object is copied to where `$this` will be before the arguments are computed.
            Some(Suffix { kind: SuffixKind::Property(_), .. })
                if matches!(
                    suffixes.get(1),
                    Some(Suffix { kind: SuffixKind::Call(arguments), .. })
                        if in_registers(arguments)
                ) =>
            {
                self.operand(base)?
            }
            _ => self.temporary(base)?,
        };
        self.suffixes(start, suffixes, d, false)?;
        self.f().next = mark;
        Ok(())
    }

    /// Applies suffixes to the value in `a`; the result goes to `d`. Quiet ones read nothing as none.
    pub(super) fn suffixes(
        &mut self,
        a: Register,
        suffixes: &'a [Suffix],
        d: Register,
        is_quiet: bool,
    ) -> Compiled<()> {
        let mut a = a;
        let mut at = 0;
        if suffixes.is_empty() && a != d {
            self.f().emit(Span::default(), Op::Take { d, a });
        }
        while let Some(suffix) = suffixes.get(at) {
            at += 1;
            let mark = self.f().next;
            let span = suffix.span;
            let next = suffixes.get(at);
            // Between suffixes the value waits in a temporary: `d` may be a variable that keys read.
            let is_method = matches!(
                (&suffix.kind, next.map(|next| &next.kind)),
                (SuffixKind::Property(_), Some(SuffixKind::Call(_)))
            );
            let is_last = at + usize::from(is_method) == suffixes.len();
            let t = if is_last {
                d
            } else if self.f().is_local(a) {
                self.f().temporary(span)?
            } else {
                a
            };
            let mark = if is_last || t == a { mark } else { self.f().next };
            match &suffix.kind {
                SuffixKind::Property(name) if is_method => {
                    let Some(Suffix { kind: SuffixKind::Call(arguments), span: end }) = next else {
                        continue;
                    };
                    at += 1;
                    self.call_method(a, *name, arguments, t, span.to(*end))?;
                }
                SuffixKind::Property(name) => {
                    let text = self.text(*name);
                    if is_quiet {
                        let b = self.f().temporary(span)?;
                        self.f().load(span, b, Value::from(text))?;
                        self.f().emit(span, Op::IndexQuiet { d: t, a, b });
                    } else {
                        let name = self.member(text, span)?;
                        self.f().emit(span, Op::Property { d: t, a, name });
                    }
                }
                SuffixKind::Index(key) => match &key.kind {
                    ExprKind::String(_) | ExprKind::Number(_) if !is_quiet => {
                        let value = match &key.kind {
                            ExprKind::String(text) => Value::string(text),
                            ExprKind::Number(number) => Value::Number(*number),
                            _ => Value::None,
                        };
                        let k = self.f().constant(span, value)?;
                        self.f().emit(span, Op::IndexK { d: t, a, k });
                    }
                    _ => {
                        let b = self.operand(key)?;
                        let op = if is_quiet {
                            Op::IndexQuiet { d: t, a, b }
                        } else {
                            Op::Index { d: t, a, b }
                        };
                        self.f().emit(span, op);
                    }
                },
                SuffixKind::IndexPath(keys) => {
                    let b = self.operand(keys)?;
                    self.f().emit(span, Op::IndexPath { d: t, a, b });
                }
                SuffixKind::Slice(slice) => {
                    let base = self.f().next as Register; // below the limit of registers
                    for part in [&slice.first, &slice.last, &slice.step] {
                        let p = self.f().temporary(span)?;
                        match part {
                            Some(expr) => self.expr_to(expr, p)?,
                            None => self.f().load(span, p, Value::None)?,
                        }
                    }
                    self.f().emit(span, Op::Slice { d: t, a, base });
                }
                SuffixKind::Call(arguments) => {
                    let base = self.f().temporary(span)?;
                    self.copy(base, a, span);
                    self.call_value(base, arguments, t, span)?;
                }
                SuffixKind::Append => return error(span, "[] can only be assigned"),
            }
            self.f().next = mark;
            a = t;
        }
        Ok(())
    }

    /// Copies a variable, moves a temporary.
    fn copy(&mut self, d: Register, a: Register, span: Span) {
        let op = if self.f().is_local(a) { Op::Move { d, a } } else { Op::Take { d, a } };
        self.f().emit(span, op);
    }

    /// Calls by name.
    fn call(
        &mut self,
        callee: &Callee,
        arguments: &'a [Argument],
        d: Register,
        span: Span,
    ) -> Compiled<()> {
        let mark = self.f().next;
        if !in_registers(arguments) {
            let base = self.f().temporary(span)?;
            self.callee_value(callee, base, span)?;
            self.call_spread(base, Some(callee), arguments, d, span)?;
            self.f().next = mark;
            return Ok(());
        }
        self.check_count(callee, arguments.len(), span)?;
        if let Callee::Native(function) = callee
            && self.call_reading(function, arguments, d, span)?
        {
            self.f().next = mark;
            return self.probe(debug::RESUMED, span);
        }
        let base = self.f().next as Register; // below the limit of registers
        for (at, argument) in arguments.iter().enumerate() {
            let Argument::Value(expr) = argument else { continue };
            let literal = match callee {
                Callee::Native(function) => self.literal_argument(function, at, expr)?,
                _ => None,
            };
            match literal {
                Some(value) => {
                    let register = self.f().temporary(expr.span)?;
                    self.f().load(expr.span, register, value)?;
                }
                None => {
                    self.temporary(expr)?;
                }
            }
        }
        if arguments.is_empty() {
            self.f().temporary(span)?;
        }
        let argc = arguments.len() as u8; // at most MAX_ARGUMENTS
        let op = match callee {
            Callee::Script(function) => Op::CallFunction { d, base, argc, function: *function },
            Callee::Class(number) => {
                let function = self.classes.get(*number).map_or(0, |class| class.constructor);
                Op::CallFunction { d, base, argc, function }
            }
            Callee::Native(function) => {
                let native = self.native(function, None, span)?;
                Op::CallNative { d, base, argc, native }
            }
            Callee::NativeClass(class) => {
                let Some(constructor) = class.constructor() else {
                    return error(span, "this class has no constructor");
                };
                let native = self.native(constructor, Some(class), span)?;
                Op::CallNative { d, base, argc, native }
            }
        };
        self.f().emit(span, op);
        self.f().next = mark;
        self.probe(debug::RESUMED, span)
    }

    /// Calls a function that only looks at its arguments. False if it is none, or has too many.
    fn call_reading(
        &mut self,
        function: &Arc<NativeFunction>,
        arguments: &'a [Argument],
        d: Register,
        span: Span,
    ) -> Compiled<bool> {
        if !function.only_reads() || function.fixed().max(arguments.len()) > MAX_LENT {
            return Ok(false);
        }
        let mut parts = Vec::with_capacity(arguments.len());
        for (at, argument) in arguments.iter().enumerate() {
            let Argument::Value(expr) = argument else { return Ok(false) };
            if let Some(value) = self.literal_argument(function, at, expr)? {
                parts.push(TextPart::Constant(self.f().constant(expr.span, value)?));
                continue;
            }
            let is_stable = !arguments
                .iter()
                .skip(at + 1)
                .any(|later| matches!(later, Argument::Value(expr) if assigns(expr)));
            parts.push(self.part(expr, is_stable)?);
        }
        self.emit_reading(function, parts, d, span)?;
        Ok(true)
    }

    /// Makes the argument of a constant text now, where the host says how.
    pub(super) fn literal_argument(
        &self,
        function: &Arc<NativeFunction>,
        at: usize,
        expr: &Expr,
    ) -> Compiled<Option<Value>> {
        let maker = function.literal_maker(at).and_then(|name| self.host.function(name));
        let Some(maker) = maker.filter(|maker| maker.is_pure()) else { return Ok(None) };
        let Some(text @ Value::String(_)) = constant::evaluate(expr) else { return Ok(None) };
        match crate::vm::call_pure(self.host, maker, vec![text]) {
            Ok(_) if maker.name() == function.name() => Ok(None),
            Ok(value) => Ok(Some(value)),
            Err(thrown) => error(expr.span, thrown.message()),
        }
    }

    /// Emits the call of a function to which `parts` are lent.
    pub(super) fn emit_reading(
        &mut self,
        function: &Arc<NativeFunction>,
        parts: Vec<TextPart>,
        d: Register,
        span: Span,
    ) -> Compiled<()> {
        let native = self.native(function, None, span)?;
        let text = self.add_text(parts, span)?;
        self.f().emit(span, Op::CallReading { d, native, text });
        Ok(())
    }

    fn check_count(&self, callee: &Callee, given: usize, span: Span) -> Compiled<()> {
        let script = |number: u16| {
            let info = self.infos.get(usize::from(number))?;
            let fits = given >= info.min && given <= info.max;
            (!fits).then(|| count_message(&info.name, given, info.min, info.max))
        };
        let problem = match callee {
            Callee::Script(number) => script(*number),
            Callee::Class(number) => {
                self.classes.get(*number).and_then(|class| script(class.constructor))
            }
            Callee::Native(function) => function.check_count(given).err().map(|e| e.message()),
            Callee::NativeClass(class) => class
                .constructor()
                .and_then(|function| function.check_count(given).err())
                .map(|e| e.message()),
        };
        match problem {
            Some(message) => error(span, message),
            None => Ok(()),
        }
    }

    /// Calls the function in `base`, the last temporary taken.
    fn call_value(
        &mut self,
        base: Register,
        arguments: &'a [Argument],
        d: Register,
        span: Span,
    ) -> Compiled<()> {
        if !in_registers(arguments) {
            return self.call_spread(base, None, arguments, d, span);
        }
        for argument in arguments {
            if let Argument::Value(expr) = argument {
                self.temporary(expr)?;
            }
        }
        let argc = arguments.len() as u8; // at most MAX_ARGUMENTS
        self.f().emit(span, Op::CallValue { d, base, argc });
        self.probe(debug::RESUMED, span)
    }

    /// Calls the function in `base`, the last temporary taken, with arguments that travel in an array.
    fn call_spread(
        &mut self,
        base: Register,
        callee: Option<&Callee>,
        arguments: &'a [Argument],
        d: Register,
        span: Span,
    ) -> Compiled<()> {
        let list = self.f().temporary(span)?;
        self.argument_list(callee, arguments, list, span)?;
        self.f().emit(span, Op::CallSpread { d, base });
        self.probe(debug::RESUMED, span)
    }

    /// Makes an array of arguments. Those for `callee` that could be made now are checked, and stay texts.
    fn argument_list(
        &mut self,
        callee: Option<&Callee>,
        arguments: &'a [Argument],
        list: Register,
        span: Span,
    ) -> Compiled<()> {
        let room = u16::try_from(arguments.len()).unwrap_or(u16::MAX);
        self.f().emit(span, Op::NewArray { d: list, room });
        // Behind a spread the places of arguments are not known.
        let mut known = match callee {
            Some(Callee::Native(function)) => Some(function),
            _ => None,
        };
        for (at, argument) in arguments.iter().enumerate() {
            let mark = self.f().next;
            match argument {
                Argument::Value(expr) => {
                    if let Some(function) = known {
                        self.literal_argument(function, at, expr)?;
                    }
                    let b = self.temporary(expr)?;
                    self.f().emit(expr.span, Op::Push { a: list, b });
                }
                Argument::Spread(expr) => {
                    known = None;
                    // Keys do not name parameters: only the values count.
                    let b = self.temporary(expr)?;
                    self.f().emit(expr.span, Op::Rest { d: b, a: b, from: u16::MAX });
                    self.f().emit(expr.span, Op::Spread { a: list, b });
                }
            }
            self.f().next = mark;
        }
        Ok(())
    }

    fn call_method(
        &mut self,
        object: Register,
        name: Symbol,
        arguments: &'a [Argument],
        d: Register,
        span: Span,
    ) -> Compiled<()> {
        let text = self.text(name);
        let name = self.member(text, span)?;
        let base = self.f().temporary(span)?;
        if !in_registers(arguments) {
            self.f().emit(span, Op::Property { d: base, a: object, name });
            return self.call_value(base, arguments, d, span);
        }
        // A variable that no argument changes can lend its object to `$this`.
        let is_lent = self.f().is_local(object)
            && object != Register::MAX
            && !arguments
                .iter()
                .any(|argument| matches!(argument, Argument::Value(expr) if assigns(expr)));
        if !is_lent {
            self.copy(base, object, span);
        }
        for argument in arguments {
            if let Argument::Value(expr) = argument {
                self.temporary(expr)?;
            }
        }
        let argc = arguments.len() as u8; // at most MAX_ARGUMENTS
        let op = if is_lent {
            Op::CallLent { d, base, argc, a: object, name }
        } else {
            Op::CallMethod { d, base, argc, name }
        };
        self.f().emit(span, op);
        self.probe(debug::RESUMED, span)
    }

    /// Compiles `cache [options] callee(arguments)`.
    pub(super) fn cache(&mut self, cache: &'a Cache, d: Register, span: Span) -> Compiled<()> {
        let base = self.f().temporary(span)?;
        self.array(&cache.options, base, span)?;
        let callee = self.callee(&cache.callee)?;
        if in_registers(&cache.arguments) {
            self.check_count(&callee, cache.arguments.len(), span)?;
        }
        let function = self.f().temporary(span)?;
        self.callee_value(&callee, function, cache.callee.span)?;
        let list = self.f().temporary(span)?;
        self.argument_list(Some(&callee), &cache.arguments, list, span)?;
        self.f().emit(span, Op::Cache { d, base, argc: 3 });
        Ok(())
    }

    // Names

    /// Loads the function that a name stands for.
    pub(super) fn function_value(&mut self, expr: &'a Expr, d: Register) -> Compiled<()> {
        let callee = self.callee(expr)?;
        self.callee_value(&callee, d, expr.span)
    }

    fn callee_value(&mut self, callee: &Callee, d: Register, span: Span) -> Compiled<()> {
        let function = match callee {
            Callee::Script(function) => *function,
            Callee::Class(number) => self.classes.get(*number).map_or(0, |class| class.constructor),
            Callee::Native(function) => {
                let class = self.static_class(function);
                let value = match class {
                    Some(class) => Function::of_class(function.clone(), class),
                    None => Function::native(function.clone()),
                };
                return self.f().load(span, d, Value::Function(value));
            }
            Callee::NativeClass(class) => {
                let Some(constructor) = class.constructor() else {
                    return error(span, "this class has no constructor");
                };
                let value = Function::of_class(constructor.clone(), class.clone());
                return self.f().load(span, d, Value::Function(value));
            }
        };
        self.f().emit(span, Op::Function { d, function });
        Ok(())
    }

    /// Finds what a name, `Name::member` or `builtin name` stands for.
    fn callee(&mut self, expr: &'a Expr) -> Compiled<Callee> {
        match &expr.kind {
            ExprKind::Name(name) => match self.find_name(*name) {
                Some(callee) => Ok(callee),
                None => Err(self.no_function(*name, expr.span)),
            },
            ExprKind::Builtin(name) => match self.host_name(*name) {
                Some(callee) => Ok(callee),
                None => {
                    error(expr.span, format!("there is no builtin function {}", self.text(*name)))
                }
            },
            ExprKind::Scoped { outer, scope, member, .. } => {
                self.scoped(outer, scope.as_ref(), *member, expr.span)
            }
            _ => error(expr.span, "this is no name of a function"),
        }
    }

    fn find_name(&mut self, name: Symbol) -> Option<Callee> {
        let local = self.enclosing().find_map(|function| function.names.get(&name).cloned());
        local.or_else(|| self.scope().names.get(&name).cloned()).or_else(|| self.host_name(name))
    }

    /// Makes the error for a name that is none of a function or class, with what may have been meant.
    #[cold]
    fn no_function(&mut self, name: Symbol, span: Span) -> Box<Diagnostic> {
        let text = self.text(name).to_owned();
        let mut known: Vec<Symbol> =
            self.enclosing().flat_map(|function| function.names.keys().copied()).collect();
        known.extend(self.scope().names.keys().copied());
        let own = known.iter().map(|name| self.text(*name));
        let functions = self.host.functions().map(|function| function.name());
        let near = near::nearest(&text, own.chain(functions.filter(|name| !name.starts_with('_'))));
        let hint = foreign_word(text.as_bytes())
            .map(str::to_owned)
            .or_else(|| near.map(|near| format!("there is a function `{near}`")));
        let error = Diagnostic::error(span, format!("there is no function {text}"));
        Box::new(match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        })
    }

    fn host_name(&self, name: Symbol) -> Option<Callee> {
        let text = self.text(name);
        let function = self.host.function(text).cloned().map(Callee::Native);
        function.or_else(|| self.host.class(text).cloned().map(Callee::NativeClass))
    }

    fn scoped(
        &mut self,
        outer: &[Ident],
        scope: Option<&Ident>,
        member: Ident,
        span: Span,
    ) -> Compiled<Callee> {
        let text = self.text(member.name);
        let Some(scope) = scope else {
            let Some(number) = self.f().class else {
                return error(span, "static:: stands in functions of a class only");
            };
            return self.static_function(number, member, span);
        };
        let within = self.namespace(outer, span)?;
        if let Some(namespace) = self.namespace_in(within.as_ref(), scope.name) {
            return match self.name_in(&namespace, member.name) {
                Some(callee) => Ok(callee),
                None => error(span, format!("the module has no function {text}")),
            };
        }
        match self.class_name(within.as_ref(), scope.name) {
            Some(Callee::Class(number)) => self.static_function(number, member, span),
            Some(Callee::NativeClass(class)) => match class.static_function(text.as_bytes()) {
                Some(function) => {
                    // Registered now, so that a call and a value know the class.
                    self.native(&function.clone(), Some(&class), span)?;
                    self.static_classes
                        .insert(std::sync::Arc::as_ptr(function) as usize, class.clone());
                    Ok(Callee::Native(function.clone()))
                }
                None => error(span, format!("the class has no static function {text}")),
            },
            _ => {
                let scope_text = self.text(scope.name);
                error(span, format!("there is no class or namespace {scope_text}"))
            }
        }
    }

    /// Finds the module that `a::b` stands for; `None` without names.
    fn namespace(&mut self, names: &[Ident], span: Span) -> Compiled<Option<Namespace>> {
        let mut within = None;
        for name in names {
            let found = self.namespace_in(within.as_ref(), name.name);
            let Some(found) = found else {
                let text = self.text(name.name);
                return error(span, format!("there is no namespace {text}"));
            };
            within = Some(found);
        }
        Ok(within)
    }

    /// Finds the namespace that a script, or the module of another namespace, imported under a name.
    fn namespace_in(&mut self, within: Option<&Namespace>, name: Symbol) -> Option<Namespace> {
        match within {
            None => self.scope().namespaces.get(&name).cloned(),
            Some(Namespace::Module(number)) => {
                self.modules.get(*number).and_then(|module| module.namespaces.get(&name)).cloned()
            }
            Some(Namespace::Host(_)) => None,
        }
    }

    /// Finds a function or class of a module.
    fn name_in(&self, namespace: &Namespace, name: Symbol) -> Option<Callee> {
        match namespace {
            Namespace::Module(number) => {
                self.modules.get(*number).and_then(|module| module.names.get(&name)).cloned()
            }
            Namespace::Host(path) => {
                let module = self.host.module(path)?;
                module.get(self.text(name)).map(Callee::from)
            }
        }
    }

    /// Finds the class in front of `::`.
    fn class_name(&mut self, within: Option<&Namespace>, name: Symbol) -> Option<Callee> {
        match within {
            None => self.find_name(name),
            Some(namespace) => self.name_in(namespace, name),
        }
    }

    fn static_function(&mut self, class: usize, member: Ident, span: Span) -> Compiled<Callee> {
        let is_inside = self.f().class == Some(class);
        let found = self.classes.get(class).and_then(|class| class.statics.get(&member.name));
        match found {
            Some(found) if found.is_private && !is_inside => {
                error(span, format!("{} is private", self.text(member.name)))
            }
            Some(found) => match found.kind {
                StaticKind::Function(number) => Ok(Callee::Script(number)),
                StaticKind::Variable(_) => error(span, "this is a variable, not a function"),
            },
            None => {
                let text = self.text(member.name);
                error(span, format!("the class has no static function {text}"))
            }
        }
    }

    /// Finds `Name::$member`, `static::$member` and `ns::$member`.
    pub(super) fn static_variable(&mut self, expr: &'a Expr) -> Compiled<Variable> {
        let ExprKind::Scoped { outer, scope, member, is_variable: true } = &expr.kind else {
            return error(expr.span, "this cannot be assigned");
        };
        let text = self.text(member.name);
        let class = match scope {
            None => self.f().class,
            Some(scope) => {
                let within = self.namespace(outer, expr.span)?;
                if let Some(Namespace::Module(number)) =
                    self.namespace_in(within.as_ref(), scope.name)
                {
                    let found = self
                        .modules
                        .get(number)
                        .and_then(|module| module.variables.get(&member.name));
                    return match found {
                        Some(global) => Ok(Variable::Global(*global)),
                        None => error(expr.span, format!("the module has no variable ${text}")),
                    };
                }
                match self.class_name(within.as_ref(), scope.name) {
                    Some(Callee::Class(number)) => Some(number),
                    _ => None,
                }
            }
        };
        let Some(class) = class else {
            return error(expr.span, "there is no such class or namespace");
        };
        let is_inside = self.f().class == Some(class);
        match self.classes.get(class).and_then(|class| class.statics.get(&member.name)) {
            Some(found) if found.is_private && !is_inside => {
                error(expr.span, format!("${text} is private"))
            }
            Some(found) => match found.kind {
                StaticKind::Variable(global) => Ok(Variable::Global(global)),
                StaticKind::Function(_) => error(expr.span, "this is a function, not a variable"),
            },
            None => error(expr.span, format!("the class has no static variable ${text}")),
        }
    }
}

/// Returns whether the number of arguments is known and small.
fn in_registers(arguments: &[Argument]) -> bool {
    arguments.len() <= MAX_ARGUMENTS
        && arguments.iter().all(|argument| matches!(argument, Argument::Value(_)))
}
