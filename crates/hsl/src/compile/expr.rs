//! Expressions.

use std::sync::Arc;

use super::builder::Builder;
use super::constant;
use super::function::{Compiled, Patch, error};
use super::variables::assigns;
use crate::ast::{
    ArrayItem, BinaryOp, BinaryStep, Expr, ExprKind, LogicalOp, Match, StringPart, SuffixKind,
    UnaryOp,
};
use crate::bytecode::{Op, Register, TextPart, Variable};
use crate::host::{NativeFunction, REGEX_MATCH};
use crate::source::Span;
use crate::symbol::Symbol;
use crate::value::{Str, Value};

/// Texts that are put together by one instruction.
const MAX_CONCAT: usize = 48;

impl<'a> Builder<'a> {
    /// Computes an expression into a register of its choice; variables stay where they are.
    pub(super) fn operand(&mut self, expr: &'a Expr) -> Compiled<Register> {
        if let ExprKind::Variable(name) = &expr.kind
            && let Variable::Local(register) = self.variable(*name, expr.span)?
        {
            self.check_set(register, expr.span);
            return Ok(register);
        }
        let d = self.f().temporary(expr.span)?;
        self.expr_to(expr, d)?;
        Ok(d)
    }

    /// Computes an expression whose value stays the same while `next` is computed.
    pub(super) fn stable_operand(&mut self, expr: &'a Expr, next: &'a Expr) -> Compiled<Register> {
        let register = self.operand(expr)?;
        if self.f().is_local(register) && assigns(next) {
            let d = self.f().temporary(expr.span)?;
            self.f().emit(expr.span, Op::Move { d, a: register });
            return Ok(d);
        }
        Ok(register)
    }

    /// Computes an expression into a new temporary.
    pub(super) fn temporary(&mut self, expr: &'a Expr) -> Compiled<Register> {
        let d = self.f().temporary(expr.span)?;
        self.expr_to(expr, d)?;
        Ok(d)
    }

    /// Computes an expression for its effects.
    pub(super) fn discard(&mut self, expr: &'a Expr) -> Compiled<()> {
        let mark = self.f().next;
        match &expr.kind {
            ExprKind::Assign { target, op, value } => {
                self.assign(target, *op, value, None, expr.span)?;
            }
            ExprKind::Step { target, op, is_prefix } => {
                self.step(target, *op, *is_prefix, None, expr.span)?;
            }
            _ => {
                let d = self.f().temporary(expr.span)?;
                self.expr_to(expr, d)?;
                // Nothing shall keep what nobody uses.
                if !matches!(expr.kind, ExprKind::Unset(_)) {
                    self.f().emit(expr.span, Op::Release { d });
                }
            }
        }
        self.f().next = mark;
        Ok(())
    }

    /// Computes an expression into `d`, which the expression may read until the last instruction.
    pub(super) fn expr_into_variable(&mut self, expr: &'a Expr, d: Register) -> Compiled<()> {
        let is_last_write = match &expr.kind {
            ExprKind::None
            | ExprKind::Bool(_)
            | ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::Variable(_)
            | ExprKind::Name(_)
            | ExprKind::Scoped { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Unary { .. }
            | ExprKind::Postfix { .. }
            | ExprKind::Interpolated(_)
            | ExprKind::Function(_) => true,
            _ => constant::evaluate(expr).is_some(),
        };
        if is_last_write {
            return self.expr_to(expr, d);
        }
        let mark = self.f().next;
        let t = self.temporary(expr)?;
        self.f().emit(expr.span, Op::Take { d, a: t });
        self.f().next = mark;
        Ok(())
    }

    /// Computes an expression into `d`, a register that the expression does not read.
    pub(super) fn expr_to(&mut self, expr: &'a Expr, d: Register) -> Compiled<()> {
        let span = expr.span;
        let mark = self.f().next;
        if !matches!(expr.kind, ExprKind::Variable(_) | ExprKind::Postfix { .. })
            && let Some(result) = constant::try_evaluate(expr)
        {
            return match result {
                Ok(value) => self.f().load(span, d, value),
                Err(thrown) => error(span, thrown.message()),
            };
        }
        match &expr.kind {
            // Constants were loaded above.
            ExprKind::None | ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Interpolated(parts) => self.interpolated(parts, d, span)?,
            ExprKind::Regex(regex) => self.regex(regex, d, span)?,
            ExprKind::Array(items) => self.array(items, d, span)?,
            ExprKind::Variable(name) => self.read(*name, d, span)?,
            ExprKind::Name(_) | ExprKind::Builtin(_) => self.function_value(expr, d)?,
            ExprKind::Scoped { is_variable, .. } => {
                if *is_variable {
                    let variable = self.static_variable(expr)?;
                    self.read_variable(variable, d, span);
                } else {
                    self.function_value(expr, d)?;
                }
            }
            ExprKind::Postfix { base, suffixes } => self.postfix(base, suffixes, d)?,
            ExprKind::Cache(cache) => self.cache(cache, d, span)?,
            ExprKind::Unary { op, operand } => {
                let a = self.operand(operand)?;
                let op = match op {
                    UnaryOp::Not => Op::Not { d, a },
                    UnaryOp::Minus => Op::Negate { d, a },
                    UnaryOp::Plus => Op::Plus { d, a },
                    UnaryOp::BitNot => Op::BitNot { d, a },
                };
                self.f().emit(span, op);
            }
            ExprKind::Step { target, op, is_prefix } => {
                self.step(target, *op, *is_prefix, Some(d), span)?;
            }
            ExprKind::Binary { first, steps } => self.binary(first, steps, d)?,
            ExprKind::Logical { .. } => {
                let mut patches = Vec::new();
                self.condition(expr, false, &mut patches)?;
                self.f().emit(span, Op::Bool { d, value: true });
                let end = self.f().emit(span, Op::Jump { to: 0 });
                self.f().patch_all(patches);
                self.f().emit(span, Op::Bool { d, value: false });
                self.f().patch(end);
            }
            ExprKind::Coalesce(operands) => {
                let mut patches = Vec::new();
                let mut assigned = None;
                for (at, operand) in operands.iter().enumerate() {
                    if at + 1 < operands.len() {
                        self.quiet(operand, d)?;
                        patches.push(self.f().emit(operand.span, Op::JumpIfSome { a: d, to: 0 }));
                        assigned.get_or_insert(self.f().assigned);
                    } else {
                        self.expr_to(operand, d)?;
                    }
                    self.f().next = mark;
                }
                self.f().patch_all(patches);
                if let Some(assigned) = assigned {
                    self.f().assigned = assigned;
                }
            }
            ExprKind::Conditional { condition, then: Some(then), otherwise } => {
                let mut patches = Vec::new();
                self.condition(condition, false, &mut patches)?;
                self.f().next = mark;
                let before = self.f().assigned;
                self.expr_to(then, d)?;
                self.f().next = mark;
                let end = self.f().emit(span, Op::Jump { to: 0 });
                self.f().patch_all(patches);
                let after_then = std::mem::replace(&mut self.f().assigned, before);
                self.expr_to(otherwise, d)?;
                self.f().patch(end);
                self.f().assigned = self.f().assigned.and(after_then);
            }
            ExprKind::Conditional { condition, then: None, otherwise } => {
                self.expr_to(condition, d)?;
                self.f().next = mark;
                let end = self.f().emit(span, Op::JumpIf { a: d, expect: true, to: 0 });
                let before = self.f().assigned;
                self.expr_to(otherwise, d)?;
                self.f().patch(end);
                self.f().assigned = before;
            }
            ExprKind::Assign { target, op, value } => {
                self.assign(target, *op, value, Some(d), span)?;
            }
            ExprKind::Function(function) => {
                let number = self.reserve_function(function, "")?;
                self.function(function, number, super::function::Kind::Plain, None, false)?;
                self.f().emit(span, Op::Function { d, function: number });
            }
            ExprKind::Match(part) => self.match_expression(part, d, span)?,
            ExprKind::Isset(place) => self.isset(place, d)?,
            ExprKind::Unset(place) => self.unset(place, d)?,
        }
        self.f().next = mark;
        Ok(())
    }

    // Variables

    /// Finds a variable.
    pub(super) fn variable(&mut self, name: Symbol, span: Span) -> Compiled<Variable> {
        if let Some(variable) = self.f().variables.get(&name) {
            return Ok(*variable);
        }
        // The value of a property may name variables that its constructor does not have.
        let text = self.text(name);
        error(span, format!("there is no variable ${text} here"))
    }

    /// Makes sure that a variable in a register has a value.
    pub(super) fn check_set(&mut self, register: Register, span: Span) {
        let f = self.f();
        if f.is_local(register) && !f.assigned.contains(register) {
            f.emit(span, Op::CheckSet { a: register });
            f.starts_unset(register);
            self.set(register);
        }
    }

    /// Notes that a variable in a register has a value from here on.
    pub(super) fn set(&mut self, register: Register) {
        let f = self.f();
        if !f.unsettable.contains(register) {
            f.assigned.insert(register);
        }
    }

    fn read(&mut self, name: Symbol, d: Register, span: Span) -> Compiled<()> {
        let variable = self.variable(name, span)?;
        self.read_variable(variable, d, span);
        Ok(())
    }

    pub(super) fn read_variable(&mut self, variable: Variable, d: Register, span: Span) {
        match variable {
            Variable::Local(a) => {
                self.check_set(a, span);
                self.f().emit(span, Op::Move { d, a });
            }
            Variable::Cell(a) => {
                self.f().emit(span, Op::CellGet { d, a });
            }
            Variable::Global(global) => {
                self.f().emit(span, Op::GlobalGet { d, global });
            }
        }
    }

    /// Reads a variable; an unset one is none.
    pub(super) fn read_quiet(&mut self, variable: Variable, d: Register, span: Span) {
        match variable {
            Variable::Local(a) | Variable::Cell(a) => {
                if matches!(variable, Variable::Local(_)) && !self.f().assigned.contains(a) {
                    self.f().starts_unset(a);
                }
                self.f().emit(span, Op::MoveQuiet { d, a });
            }
            Variable::Global(global) => {
                self.f().emit(span, Op::GlobalQuiet { d, global });
            }
        }
    }

    /// Moves a temporary into a variable.
    pub(super) fn write_variable(
        &mut self,
        variable: Variable,
        value: Register,
        span: Span,
    ) -> Compiled<()> {
        self.check_writable(variable, span)?;
        match variable {
            Variable::Local(d) => {
                self.f().emit(span, Op::Take { d, a: value });
                self.set(d);
            }
            Variable::Cell(a) => {
                self.f().emit(span, Op::CellSet { a, b: value });
            }
            Variable::Global(global) => {
                self.f().emit(span, Op::GlobalSet { a: value, global });
            }
        }
        Ok(())
    }

    pub(super) fn check_writable(&self, variable: Variable, span: Span) -> Compiled<()> {
        if self.is_read_only(variable) {
            return error(span, "this variable is read-only");
        }
        Ok(())
    }

    // Operators

    fn binary(&mut self, first: &'a Expr, steps: &'a [BinaryStep], d: Register) -> Compiled<()> {
        let mark = self.f().next;
        let mut at = 0;
        // Texts in a row are put together at once.
        let texts = steps.iter().take_while(|step| step.op == BinaryOp::Concat).count();
        let mut left = if texts >= 1 && texts == steps.len() && self.text_of(first, steps, d)? {
            return Ok(());
        } else if texts >= 2 {
            let count = texts.min(MAX_CONCAT - 1);
            let operands = std::iter::once(first).chain(steps.iter().map(|step| &step.operand));
            let target = if count == steps.len() { d } else { self.f().temporary(first.span)? };
            let base = self.f().next as Register;
            for operand in operands.take(count + 1) {
                self.temporary(operand)?;
            }
            let span = steps.first().map_or(first.span, |step| first.span.to(step.operand.span));
            self.f().emit(span, Op::Concat { d: target, base, count: count as u8 + 1 });
            at = count;
            target
        } else {
            match steps.first() {
                Some(step) => self.stable_operand(first, &step.operand)?,
                None => self.operand(first)?,
            }
        };
        while let Some(step) = steps.get(at) {
            at += 1;
            let is_last = at == steps.len();
            let target = if is_last {
                d
            } else if self.f().is_local(left) {
                self.f().temporary(step.op_span)?
            } else {
                left
            };
            self.operator(step.op, target, left, &step.operand, first.span.to(step.operand.span))?;
            left = target;
            if !is_last {
                // The result is the only temporary that is still needed.
                self.f().next = u16::from(target).max(mark) + 1;
                if self.f().next < mark {
                    self.f().next = mark;
                }
            }
        }
        Ok(())
    }

    /// Computes `d = a op right`.
    pub(super) fn operator(
        &mut self,
        op: BinaryOp,
        d: Register,
        a: Register,
        right: &'a Expr,
        span: Span,
    ) -> Compiled<()> {
        if matches!(op, BinaryOp::RegexMatch | BinaryOp::RegexNoMatch) {
            return self.regex_operator(op, d, a, right, span);
        }
        if let ExprKind::Number(number) = &right.kind {
            let with_constant: Option<fn(Register, Register, u16) -> Op> = match op {
                BinaryOp::Add => Some(|d, a, k| Op::AddK { d, a, k }),
                BinaryOp::Subtract => Some(|d, a, k| Op::SubtractK { d, a, k }),
                BinaryOp::Multiply => Some(|d, a, k| Op::MultiplyK { d, a, k }),
                BinaryOp::Divide => Some(|d, a, k| Op::DivideK { d, a, k }),
                BinaryOp::Remainder => Some(|d, a, k| Op::RemainderK { d, a, k }),
                _ => None,
            };
            if let Some(make) = with_constant {
                let k = self.f().constant(right.span, Value::Number(*number))?;
                self.f().emit(span, make(d, a, k));
                return Ok(());
            }
        }
        let b = self.operand(right)?;
        self.f().emit(span, plain_operator(op, d, a, b));
        Ok(())
    }

    /// Puts texts together by one instruction that reads constants and variables where they are.
    /// Returns whether it could: not if a part changes what another one reads, or there are too many.
    fn text_of(&mut self, first: &'a Expr, steps: &'a [BinaryStep], d: Register) -> Compiled<bool> {
        let operands = || std::iter::once(first).chain(steps.iter().map(|step| &step.operand));
        if steps.len() >= MAX_CONCAT || operands().any(assigns) {
            return Ok(false);
        }
        let mut parts = Vec::with_capacity(steps.len() + 1);
        for operand in operands() {
            parts.push(self.part(operand, true)?);
        }
        let span = steps.last().map_or(first.span, |step| first.span.to(step.operand.span));
        self.emit_text(parts, d, span)?;
        Ok(true)
    }

    fn emit_text(&mut self, parts: Vec<TextPart>, d: Register, span: Span) -> Compiled<()> {
        let text = self.add_text(parts, span)?;
        self.f().emit(span, Op::Text { d, text });
        Ok(())
    }

    /// Computes a part of a text, or an argument that is lent. A variable that is not stable, as what
    /// follows may change it, is copied.
    pub(super) fn part(&mut self, expr: &'a Expr, is_stable: bool) -> Compiled<TextPart> {
        let constant = match &expr.kind {
            ExprKind::String(text) => Some(Value::string(text)),
            ExprKind::Number(number) => Some(Value::Number(*number)),
            ExprKind::Regex(regex) => self.regex_value(regex, expr.span)?,
            _ => None,
        };
        if let Some(value) = constant {
            return Ok(TextPart::Constant(self.f().constant(expr.span, value)?));
        }
        let register = if is_stable { self.operand(expr)? } else { self.temporary(expr)? };
        Ok(if self.f().is_local(register) {
            TextPart::Variable(register)
        } else {
            TextPart::Temporary(register)
        })
    }

    pub(super) fn add_text(&mut self, parts: Vec<TextPart>, span: Span) -> Compiled<u16> {
        let texts = &mut self.f().code.texts;
        let Ok(text) = u16::try_from(texts.len()) else {
            return error(span, "this function is too long");
        };
        texts.push(parts.into());
        Ok(text)
    }

    fn regex_operator(
        &mut self,
        op: BinaryOp,
        d: Register,
        a: Register,
        right: &'a Expr,
        span: Span,
    ) -> Compiled<()> {
        let Some(function) = self.host.function(REGEX_MATCH).cloned() else {
            return error(span, "regular expressions are not available here");
        };
        if function.only_reads() {
            // Whoever asked for the left side still has it.
            let pattern = match self.literal_argument(&function, 1, right)? {
                Some(value) => TextPart::Constant(self.f().constant(right.span, value)?),
                None => self.part(right, true)?,
            };
            let parts = vec![TextPart::Variable(a), pattern];
            self.emit_reading(&function, parts, d, span)?;
        } else {
            let native = self.native(&function, None, span)?;
            let base = self.f().temporary(span)?;
            self.f().emit(span, Op::Move { d: base, a });
            self.temporary(right)?;
            self.f().emit(span, Op::CallNative { d, base, argc: 2, native });
        }
        if op == BinaryOp::RegexNoMatch {
            self.f().emit(span, Op::Not { d, a: d });
        }
        Ok(())
    }

    fn regex(&mut self, regex: &'a crate::ast::Regex, d: Register, span: Span) -> Compiled<()> {
        if let Some(value) = self.regex_value(regex, span)? {
            return self.f().load(span, d, value);
        }
        let (function, text) = self.regex_source(regex, span)?;
        let native = self.native(&function, None, span)?;
        let base = self.f().temporary(span)?;
        self.f().load(span, base, Value::from(text))?;
        self.f().emit(span, Op::CallNative { d, base, argc: 1, native });
        Ok(())
    }

    /// The pattern of a literal, if the host can make it now.
    fn regex_value(&self, regex: &crate::ast::Regex, span: Span) -> Compiled<Option<Value>> {
        let (function, text) = self.regex_source(regex, span)?;
        if !function.is_pure() {
            return Ok(None);
        }
        match crate::vm::call_pure(self.host, &function, vec![Value::from(text)]) {
            Ok(value) => Ok(Some(value)),
            Err(thrown) => error(span, thrown.message()),
        }
    }

    /// Computes a constant expression, patterns included; `None` if it is none.
    pub(super) fn constant_expression(&self, expr: &Expr) -> Compiled<Option<Value>> {
        let mut wrong = None;
        let value = constant::evaluate_with(expr, &mut |regex, span| {
            self.regex_value(regex, span).unwrap_or_else(|error| {
                wrong.get_or_insert(error);
                None
            })
        });
        wrong.map_or(Ok(value), Err)
    }

    /// The function that compiles patterns, and the pattern of a literal as it wants it.
    fn regex_source(
        &self,
        regex: &crate::ast::Regex,
        span: Span,
    ) -> Compiled<(Arc<NativeFunction>, Vec<u8>)> {
        let Some(function) = self.host.function("pcre_compile").cloned() else {
            return error(span, "regular expressions are not available here");
        };
        let mut text = vec![b'/'];
        for &byte in &regex.pattern {
            if byte == b'/' {
                text.push(b'\\');
            }
            text.push(byte);
        }
        text.push(b'/');
        text.extend_from_slice(regex.modifiers.as_bytes());
        Ok((function, text))
    }

    /// Puts the parts together, a round of them at a time; each round starts with the text so far.
    fn interpolated(&mut self, parts: &'a [StringPart], d: Register, span: Span) -> Compiled<()> {
        if parts.len() < MAX_CONCAT {
            let mut texts = Vec::with_capacity(parts.len());
            for part in parts {
                texts.push(match part {
                    StringPart::Text(text) => {
                        TextPart::Constant(self.f().constant(span, Value::string(text))?)
                    }
                    StringPart::Variable(ident) => match self.variable(ident.name, ident.span)? {
                        Variable::Local(register) => {
                            self.check_set(register, ident.span);
                            TextPart::Variable(register)
                        }
                        variable => {
                            let t = self.f().temporary(span)?;
                            self.read_variable(variable, t, ident.span);
                            TextPart::Temporary(t)
                        }
                    },
                });
            }
            return self.emit_text(texts, d, span);
        }
        let start = self.f().next as Register; // below the limit of registers
        let mut rounds = parts.chunks(MAX_CONCAT - 1).peekable();
        while let Some(round) = rounds.next() {
            for part in round {
                let t = self.f().temporary(span)?;
                match part {
                    StringPart::Text(text) => self.f().load(span, t, Value::string(text))?,
                    StringPart::Variable(ident) => self.read(ident.name, t, ident.span)?,
                }
            }
            let count = self.f().next as Register - start;
            let target = if rounds.peek().is_none() { d } else { start };
            self.f().emit(span, Op::Concat { d: target, base: start, count });
            self.f().next = u16::from(start) + 1;
        }
        Ok(())
    }

    pub(super) fn array(
        &mut self,
        items: &'a [ArrayItem],
        d: Register,
        span: Span,
    ) -> Compiled<()> {
        let room = u16::try_from(items.len()).unwrap_or(u16::MAX);
        self.f().emit(span, Op::NewArray { d, room });
        for item in items {
            let mark = self.f().next;
            match item {
                ArrayItem::Value(value) => {
                    let b = self.temporary(value)?;
                    self.f().emit(value.span, Op::Push { a: d, b });
                }
                ArrayItem::Pair(key, value) => {
                    let b = self.stable_operand(key, value)?;
                    let c = self.temporary(value)?;
                    self.f().emit(value.span, Op::Put { a: d, b, c });
                }
                ArrayItem::Spread(value) => {
                    let b = self.operand(value)?;
                    self.f().emit(value.span, Op::Spread { a: d, b });
                }
            }
            self.f().next = mark;
        }
        Ok(())
    }

    fn match_expression(&mut self, part: &'a Match, d: Register, span: Span) -> Compiled<()> {
        let subject = self.temporary(&part.subject)?;
        let mark = self.f().next;
        let mut entries: Vec<(Vec<Patch>, &'a Expr)> = Vec::new();
        let mut default = None;
        for arm in &part.arms {
            if arm.labels.is_empty() {
                default = Some(&arm.value);
                continue;
            }
            let mut patches = Vec::new();
            for label in &arm.labels {
                let b = self.operand(label)?;
                let jump = Op::JumpSame { a: subject, b, expect: true, to: 0 };
                patches.push(self.f().emit(label.span, jump));
                self.f().next = mark;
            }
            entries.push((patches, &arm.value));
        }
        let before = self.f().assigned;
        let mut after = before;
        let mut ends = Vec::new();
        match default {
            Some(value) => {
                self.expr_to(value, d)?;
                after = self.f().assigned;
                ends.push(self.f().emit(span, Op::Jump { to: 0 }));
            }
            None => {
                self.f().emit(span, Op::NoMatch { a: subject });
            }
        }
        for (patches, value) in entries {
            self.f().patch_all(patches);
            self.f().assigned = before;
            self.f().next = mark;
            self.expr_to(value, d)?;
            after = after.and(self.f().assigned);
            ends.push(self.f().emit(span, Op::Jump { to: 0 }));
        }
        self.f().patch_all(ends);
        self.f().assigned = after;
        Ok(())
    }

    // Conditions

    /// Jumps (by the patches added) if the truth of `expr` is `expect`, else goes on.
    pub(super) fn condition(
        &mut self,
        expr: &'a Expr,
        expect: bool,
        patches: &mut Vec<Patch>,
    ) -> Compiled<()> {
        let mark = self.f().next;
        match &expr.kind {
            ExprKind::Unary { op: UnaryOp::Not, operand } => {
                self.condition(operand, !expect, patches)?;
            }
            ExprKind::Logical { op, operands } => {
                // `and` is decided by the first false operand, `or` by the first true one.
                let deciding = *op == LogicalOp::Or;
                let mut skips = Vec::new();
                let mut assigned = None;
                for (at, operand) in operands.iter().enumerate() {
                    let is_last = at + 1 == operands.len();
                    if is_last || expect == deciding {
                        self.condition(operand, expect, patches)?;
                    } else {
                        self.condition(operand, deciding, &mut skips)?;
                    }
                    assigned.get_or_insert(self.f().assigned);
                }
                self.f().patch_all(skips);
                if let Some(assigned) = assigned {
                    self.f().assigned = assigned;
                }
            }
            ExprKind::Binary { first, steps }
                if steps.len() == 1
                    && steps.iter().all(|step| is_comparison(step.op))
                    && constant::evaluate(expr).is_none() =>
            {
                // The guard leaves exactly one step.
                let Some(step) = steps.first() else { return Ok(()) };
                let a = self.stable_operand(first, &step.operand)?;
                self.comparison(step.op, a, &step.operand, expect, expr.span, patches)?;
            }
            _ => match constant::evaluate(expr) {
                Some(value) => {
                    if value.is_truthy() == expect {
                        patches.push(self.f().emit(expr.span, Op::Jump { to: 0 }));
                    }
                }
                None => {
                    let a = self.operand(expr)?;
                    patches.push(self.f().emit(expr.span, Op::JumpIf { a, expect, to: 0 }));
                }
            },
        }
        self.f().next = mark;
        Ok(())
    }

    fn comparison(
        &mut self,
        op: BinaryOp,
        a: Register,
        right: &'a Expr,
        expect: bool,
        span: Span,
        patches: &mut Vec<Patch>,
    ) -> Compiled<()> {
        let negated = matches!(op, BinaryOp::NotEqual | BinaryOp::NotIdentical);
        let expect = expect != negated;
        let constant = match &right.kind {
            ExprKind::Number(number) => Some(Value::Number(*number)),
            ExprKind::String(text) => Some(Value::String(Str::new(text))),
            _ => None,
        };
        let to = 0;
        if let Some(value) = constant {
            let k = self.f().constant(right.span, value)?;
            let jump = match (op, expect) {
                (BinaryOp::Less, true) => Op::JumpIfLessK { a, k, to },
                (BinaryOp::Less, false) => Op::JumpUnlessLessK { a, k, to },
                (BinaryOp::LessEqual, true) => Op::JumpIfLessEqualK { a, k, to },
                (BinaryOp::LessEqual, false) => Op::JumpUnlessLessEqualK { a, k, to },
                (BinaryOp::Greater, true) => Op::JumpIfGreaterK { a, k, to },
                (BinaryOp::Greater, false) => Op::JumpUnlessGreaterK { a, k, to },
                (BinaryOp::GreaterEqual, true) => Op::JumpIfGreaterEqualK { a, k, to },
                (BinaryOp::GreaterEqual, false) => Op::JumpUnlessGreaterEqualK { a, k, to },
                (BinaryOp::Equal | BinaryOp::NotEqual, true) => Op::JumpIfEqualK { a, k, to },
                (BinaryOp::Equal | BinaryOp::NotEqual, false) => Op::JumpUnlessEqualK { a, k, to },
                (_, true) => Op::JumpIfSameK { a, k, to },
                (_, false) => Op::JumpUnlessSameK { a, k, to },
            };
            patches.push(self.f().emit(span, jump));
            return Ok(());
        }
        let b = self.operand(right)?;
        let jump = match op {
            BinaryOp::Less => Op::JumpLess { a, b, expect, to },
            BinaryOp::LessEqual => Op::JumpLessEqual { a, b, expect, to },
            BinaryOp::Greater => Op::JumpLess { a: b, b: a, expect, to },
            BinaryOp::GreaterEqual => Op::JumpLessEqual { a: b, b: a, expect, to },
            BinaryOp::Equal | BinaryOp::NotEqual => Op::JumpEqual { a, b, expect, to },
            _ => Op::JumpSame { a, b, expect, to },
        };
        patches.push(self.f().emit(span, jump));
        Ok(())
    }

    // Looking without error

    /// Computes an expression into `d`; what is unset or missing on the way is none.
    pub(super) fn quiet(&mut self, expr: &'a Expr, d: Register) -> Compiled<()> {
        match &expr.kind {
            ExprKind::Variable(name) => {
                let variable = self.variable(*name, expr.span)?;
                self.read_quiet(variable, d, expr.span);
            }
            ExprKind::Postfix { base, suffixes }
                if !matches!(suffixes.first().map(|s| &s.kind), Some(SuffixKind::Call(_)))
                    || !matches!(
                        base.kind,
                        ExprKind::Name(_) | ExprKind::Scoped { .. } | ExprKind::Builtin(_)
                    ) =>
            {
                self.quiet(base, d)?;
                self.suffixes(d, suffixes, d, true)?;
            }
            _ => self.expr_to(expr, d)?,
        }
        Ok(())
    }

    fn isset(&mut self, place: &'a Expr, d: Register) -> Compiled<()> {
        let span = place.span;
        match &place.kind {
            ExprKind::Variable(name) => {
                let variable = self.variable(*name, span)?;
                self.isset_variable(variable, d, span);
            }
            ExprKind::Scoped { is_variable: true, .. } => {
                let variable = self.static_variable(place)?;
                self.isset_variable(variable, d, span);
            }
            ExprKind::Postfix { base, suffixes } => {
                let Some((last, inner)) = suffixes.split_last() else { return Ok(()) };
                self.quiet(base, d)?;
                self.suffixes(d, inner, d, true)?;
                match &last.kind {
                    SuffixKind::Index(key) => {
                        let b = self.operand(key)?;
                        self.f().emit(span, Op::HasIndex { d, a: d, b });
                    }
                    SuffixKind::Property(name) => {
                        let b = self.f().temporary(span)?;
                        let text = self.text(*name);
                        self.f().load(span, b, Value::from(text))?;
                        self.f().emit(span, Op::HasIndex { d, a: d, b });
                    }
                    _ => {
                        self.suffixes(d, std::slice::from_ref(last), d, true)?;
                        let b = self.f().temporary(span)?;
                        self.f().emit(span, Op::None { d: b });
                        self.f().emit(span, Op::NotSame { d, a: d, b });
                    }
                }
            }
            _ => return error(span, "isset takes a variable, index or property"),
        }
        Ok(())
    }

    fn isset_variable(&mut self, variable: Variable, d: Register, span: Span) {
        match variable {
            Variable::Local(a) | Variable::Cell(a) => {
                self.f().starts_unset(a);
                self.f().emit(span, Op::IsSet { d, a });
            }
            Variable::Global(global) => {
                self.f().emit(span, Op::IsSetGlobal { d, global });
            }
        }
    }
}

fn is_comparison(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Identical
            | BinaryOp::NotIdentical
            | BinaryOp::Less
            | BinaryOp::Greater
            | BinaryOp::LessEqual
            | BinaryOp::GreaterEqual
    )
}

/// Returns the instruction of an operator on two registers.
pub(super) fn plain_operator(op: BinaryOp, d: Register, a: Register, b: Register) -> Op {
    match op {
        BinaryOp::Add => Op::Add { d, a, b },
        BinaryOp::Subtract => Op::Subtract { d, a, b },
        BinaryOp::Multiply => Op::Multiply { d, a, b },
        BinaryOp::Divide => Op::Divide { d, a, b },
        BinaryOp::Remainder => Op::Remainder { d, a, b },
        BinaryOp::Less => Op::Less { d, a, b },
        BinaryOp::LessEqual => Op::LessEqual { d, a, b },
        BinaryOp::Greater => Op::Less { d, a: b, b: a },
        BinaryOp::GreaterEqual => Op::LessEqual { d, a: b, b: a },
        BinaryOp::Equal => Op::Equal { d, a, b },
        BinaryOp::NotEqual => Op::NotEqual { d, a, b },
        BinaryOp::Identical => Op::Same { d, a, b },
        BinaryOp::NotIdentical => Op::NotSame { d, a, b },
        op => Op::Binary { op, d, a, b },
    }
}
