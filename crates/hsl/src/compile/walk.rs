//! Walks the syntax tree: every pass that looks for something overrides what it looks for.

use crate::ast::{
    Argument, ArrayItem, Block, Class, Expr, ExprKind, Function, Ident, MemberKind, Pattern, Stmt,
    StmtKind, StringPart, SuffixKind, Target,
};
use crate::symbol::Symbol;

/// A pass over the tree. The provided methods go on into the children.
pub(super) trait Walker {
    /// Visits a statement.
    fn stmt(&mut self, stmt: &Stmt) {
        walk_stmt(self, stmt);
    }

    /// Visits an expression.
    fn expr(&mut self, expr: &Expr) {
        walk_expr(self, expr);
    }

    /// Visits a function, with or without name.
    fn function(&mut self, function: &Function) {
        walk_function(self, function);
    }

    /// Visits a class.
    fn class(&mut self, class: &Class) {
        walk_class(self, class);
    }

    /// Meets a variable that is read or written.
    fn variable(&mut self, name: Symbol) {
        let _ = name;
    }

    /// Meets a variable that is written.
    fn written(&mut self, name: Symbol) {
        self.variable(name);
    }

    /// Meets a variable in which a place is written: an element or a property.
    fn changed(&mut self, name: Symbol) {
        self.written(name);
    }
}

pub(super) fn walk_stmts<W: Walker + ?Sized>(walker: &mut W, stmts: &[Stmt]) {
    for stmt in stmts {
        walker.stmt(stmt);
    }
}

fn walk_block<W: Walker + ?Sized>(walker: &mut W, block: &Block) {
    walk_stmts(walker, &block.body);
}

pub(super) fn walk_stmt<W: Walker + ?Sized>(walker: &mut W, stmt: &Stmt) {
    match &stmt.kind {
        StmtKind::Empty
        | StmtKind::Break
        | StmtKind::Continue
        | StmtKind::Return(None)
        | StmtKind::Global(_)
        | StmtKind::Include { .. }
        | StmtKind::Import(_) => {}
        StmtKind::Block(block) => walk_block(walker, block),
        StmtKind::Expr(expr)
        | StmtKind::Echo(expr)
        | StmtKind::Return(Some(expr))
        | StmtKind::Throw(expr)
        | StmtKind::Yield(expr) => walker.expr(expr),
        StmtKind::If { arms, otherwise } => {
            for (condition, body) in arms {
                walker.expr(condition);
                walker.stmt(body);
            }
            if let Some(body) = otherwise {
                walker.stmt(body);
            }
        }
        StmtKind::For(part) => {
            for expr in [&part.init, &part.condition, &part.step].into_iter().flatten() {
                walker.expr(expr);
            }
            walker.stmt(&part.body);
        }
        StmtKind::Foreach(part) => {
            walker.expr(&part.subject);
            if let Some(key) = &part.key {
                walker.written(key.name);
            }
            walker.written(part.value.name);
            walker.stmt(&part.body);
        }
        StmtKind::While { condition, body } => {
            walker.expr(condition);
            walker.stmt(body);
        }
        StmtKind::Forever(body) => walker.stmt(body),
        StmtKind::Switch { subject, cases } => {
            walker.expr(subject);
            for case in cases {
                if let Some(label) = &case.label {
                    walker.expr(label);
                }
                walk_stmts(walker, &case.body);
            }
        }
        StmtKind::Try { body, variable, handler } => {
            walk_block(walker, body);
            walker.written(variable.name);
            walk_block(walker, handler);
        }
        StmtKind::Barrier { name, variable, body } => {
            walker.expr(name);
            if let Some(variable) = variable {
                walker.written(variable.name);
            }
            walk_block(walker, body);
        }
        StmtKind::Function(function) => walker.function(function),
        StmtKind::Class(class) => walker.class(class),
        StmtKind::Debug(items) => walk_items(walker, items),
    }
}

pub(super) fn walk_function<W: Walker + ?Sized>(walker: &mut W, function: &Function) {
    walk_block(walker, &function.body);
}

pub(super) fn walk_class<W: Walker + ?Sized>(walker: &mut W, class: &Class) {
    for member in &class.members {
        match &member.kind {
            MemberKind::Constructor(function) | MemberKind::Method(function) => {
                walker.function(function);
            }
            MemberKind::Property { value, .. } => walker.expr(value),
        }
    }
}

fn walk_items<W: Walker + ?Sized>(walker: &mut W, items: &[ArrayItem]) {
    for item in items {
        match item {
            ArrayItem::Value(value) | ArrayItem::Spread(value) => walker.expr(value),
            ArrayItem::Pair(key, value) => {
                walker.expr(key);
                walker.expr(value);
            }
        }
    }
}

fn walk_arguments<W: Walker + ?Sized>(walker: &mut W, arguments: &[Argument]) {
    for Argument::Value(value) | Argument::Spread(value) in arguments {
        walker.expr(value);
    }
}

pub(super) fn walk_expr<W: Walker + ?Sized>(walker: &mut W, expr: &Expr) {
    match &expr.kind {
        ExprKind::None
        | ExprKind::Bool(_)
        | ExprKind::Number(_)
        | ExprKind::String(_)
        | ExprKind::Regex(_)
        | ExprKind::Name(_)
        | ExprKind::Scoped { .. }
        | ExprKind::Builtin(_) => {}
        ExprKind::Interpolated(parts) => {
            for part in parts {
                if let StringPart::Variable(Ident { name, .. }) = part {
                    walker.variable(*name);
                }
            }
        }
        ExprKind::Array(items) => walk_items(walker, items),
        ExprKind::Variable(name) => walker.variable(*name),
        ExprKind::Postfix { base, suffixes } => {
            walker.expr(base);
            for suffix in suffixes {
                match &suffix.kind {
                    SuffixKind::Call(arguments) => walk_arguments(walker, arguments),
                    SuffixKind::Index(expr) | SuffixKind::IndexPath(expr) => walker.expr(expr),
                    SuffixKind::Slice(slice) => {
                        for part in [&slice.first, &slice.last, &slice.step].into_iter().flatten() {
                            walker.expr(part);
                        }
                    }
                    SuffixKind::Append | SuffixKind::Property(_) => {}
                }
            }
        }
        ExprKind::Cache(cache) => {
            walk_items(walker, &cache.options);
            walker.expr(&cache.callee);
            walk_arguments(walker, &cache.arguments);
        }
        ExprKind::Unary { operand, .. } => walker.expr(operand),
        ExprKind::Step { target, .. } | ExprKind::Unset(target) => walk_place(walker, target),
        ExprKind::Isset(target) => walker.expr(target),
        ExprKind::Binary { first, steps } => {
            walker.expr(first);
            for step in steps {
                walker.expr(&step.operand);
            }
        }
        ExprKind::Logical { operands, .. } | ExprKind::Coalesce(operands) => {
            for operand in operands {
                walker.expr(operand);
            }
        }
        ExprKind::Conditional { condition, then, otherwise } => {
            walker.expr(condition);
            if let Some(then) = then {
                walker.expr(then);
            }
            walker.expr(otherwise);
        }
        ExprKind::Assign { target, value, .. } => {
            walk_target(walker, target);
            walker.expr(value);
        }
        ExprKind::Function(function) => walker.function(function),
        ExprKind::Match(part) => {
            walker.expr(&part.subject);
            for arm in &part.arms {
                for label in &arm.labels {
                    walker.expr(label);
                }
                walker.expr(&arm.value);
            }
        }
    }
}

/// Walks a place that is written: the variable at its root counts as written.
fn walk_place<W: Walker + ?Sized>(walker: &mut W, place: &Expr) {
    match &place.kind {
        ExprKind::Variable(name) => walker.written(*name),
        ExprKind::Postfix { base, .. } => {
            if let ExprKind::Variable(name) = &base.kind {
                walker.changed(*name);
            }
            walk_expr(walker, place);
        }
        _ => walker.expr(place),
    }
}

fn walk_target<W: Walker + ?Sized>(walker: &mut W, target: &Target) {
    match target {
        Target::Place(place) => walk_place(walker, place),
        Target::Pattern(pattern) => walk_pattern(walker, pattern),
    }
}

fn walk_pattern<W: Walker + ?Sized>(walker: &mut W, pattern: &Pattern) {
    for entry in &pattern.entries {
        if let Some(key) = &entry.key {
            walker.expr(key);
        }
        walk_target(walker, &entry.target);
        if let Some(default) = &entry.default {
            walker.expr(default);
        }
    }
    if let Some(rest) = &pattern.rest {
        walker.written(rest.name);
    }
}
