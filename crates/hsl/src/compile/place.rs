//! Places: what can be assigned, counted and unset.

use super::builder::Builder;
use super::function::{Compiled, error};
use crate::ast::{AssignOp, BinaryOp, Expr, ExprKind, Pattern, StepOp, Suffix, SuffixKind, Target};
use crate::bytecode::{Op, Path, PathAction, PathStep, Register, Variable};
use crate::source::Span;
use crate::value::Value;

/// A place whose keys have been computed.
struct Located {
    root: Variable,
    steps: Vec<PathStep>,
    /// The register of the first key; the others follow.
    base: Register,
}

impl<'a> Builder<'a> {
    /// Compiles `target op= value`; the value of the expression goes to `result` if wanted.
    pub(super) fn assign(
        &mut self,
        target: &'a Target,
        op: Option<AssignOp>,
        value: &'a Expr,
        result: Option<Register>,
        span: Span,
    ) -> Compiled<()> {
        match target {
            Target::Pattern(pattern) => {
                let source = self.temporary(value)?;
                self.pattern(pattern, source)?;
                if let Some(d) = result {
                    self.f().emit(span, Op::Take { d, a: source });
                }
                Ok(())
            }
            Target::Place(place) => {
                let variable = match &place.kind {
                    ExprKind::Variable(name) => Some(self.variable(*name, place.span)?),
                    ExprKind::Scoped { .. } => Some(self.static_variable(place)?),
                    _ => None,
                };
                match variable {
                    Some(variable) => {
                        self.check_writable(variable, place.span)?;
                        self.assign_variable(variable, op, value, result, span)
                    }
                    None => self.assign_path(place, op, value, result, span),
                }
            }
        }
    }

    fn assign_variable(
        &mut self,
        variable: Variable,
        op: Option<AssignOp>,
        value: &'a Expr,
        result: Option<Register>,
        span: Span,
    ) -> Compiled<()> {
        match (op, variable) {
            (None, Variable::Local(register)) => {
                self.expr_into_variable(value, register)?;
                self.set(register);
            }
            (None, variable) => {
                let t = self.temporary(value)?;
                if let Some(d) = result {
                    self.f().emit(span, Op::Move { d, a: t });
                }
                return self.write_variable(variable, t, span);
            }
            (Some(AssignOp::Binary(op)), Variable::Local(a)) => {
                self.check_set(a, span);
                match op {
                    // The instruction with a constant works in place.
                    BinaryOp::Add if matches!(value.kind, ExprKind::Number(_)) => {
                        self.operator(op, a, a, value, span)?;
                    }
                    BinaryOp::Add | BinaryOp::Concat => {
                        let b = self.operand(value)?;
                        let op = match op {
                            BinaryOp::Add => Op::AddAssign { a, b },
                            _ => Op::Append { a, b },
                        };
                        self.f().emit(span, op);
                    }
                    op => self.operator(op, a, a, value, span)?,
                }
            }
            (Some(AssignOp::Binary(op)), root) => {
                let v = self.temporary(value)?;
                let place = Located { root, steps: Vec::new(), base: v };
                self.change(place, PathAction::Update(op), v, result, span)?;
                return Ok(());
            }
            (Some(AssignOp::Coalesce), variable) => {
                let t = self.f().temporary(span)?;
                self.read_quiet(variable, t, span);
                let end = self.f().emit(span, Op::JumpIfSome { a: t, to: 0 });
                let assigned = self.f().assigned;
                self.expr_to(value, t)?;
                let v = self.f().temporary(span)?;
                self.f().emit(span, Op::Move { d: v, a: t });
                self.write_variable(variable, v, span)?;
                self.f().patch(end);
                self.f().assigned = assigned;
                if let Variable::Local(register) = variable {
                    self.set(register);
                }
                if let Some(d) = result {
                    self.f().emit(span, Op::Take { d, a: t });
                }
                return Ok(());
            }
        }
        if let (Some(d), Variable::Local(a)) = (result, variable) {
            self.f().emit(span, Op::Move { d, a });
        }
        Ok(())
    }

    fn assign_path(
        &mut self,
        place: &'a Expr,
        op: Option<AssignOp>,
        value: &'a Expr,
        result: Option<Register>,
        span: Span,
    ) -> Compiled<()> {
        if op.is_none() && self.assign_element(place, value, result, span)? {
            return Ok(());
        }
        if op == Some(AssignOp::Binary(BinaryOp::Add))
            && result.is_none()
            && self.add_to_property(place, value, span)?
        {
            return Ok(());
        }
        let located = self.locate(place)?;
        match op {
            None => {
                let v = self.temporary(value)?;
                self.change(located, PathAction::Set, v, result, span)
            }
            Some(AssignOp::Binary(op)) => {
                let v = self.temporary(value)?;
                self.change(located, PathAction::Update(op), v, result, span)
            }
            Some(AssignOp::Coalesce) => {
                let t = self.f().temporary(span)?;
                self.read_located(&located, t, place.span)?;
                let end = self.f().emit(span, Op::JumpIfSome { a: t, to: 0 });
                let assigned = self.f().assigned;
                self.expr_to(value, t)?;
                self.change(located, PathAction::Set, t, Some(t), span)?;
                self.f().patch(end);
                self.f().assigned = assigned;
                if let Some(d) = result {
                    self.f().emit(span, Op::Take { d, a: t });
                }
                Ok(())
            }
        }
    }

    /// Compiles `$a[k] = v`, `$a[] = v` and `$a->p = v` on a variable in a register, the common case.
    fn assign_element(
        &mut self,
        place: &'a Expr,
        value: &'a Expr,
        result: Option<Register>,
        span: Span,
    ) -> Compiled<bool> {
        let ExprKind::Postfix { base, suffixes } = &place.kind else { return Ok(false) };
        let ([suffix], ExprKind::Variable(base_name)) = (suffixes.as_slice(), &base.kind) else {
            return Ok(false);
        };
        let Variable::Local(a) = self.variable(*base_name, base.span)? else { return Ok(false) };
        let keep = |builder: &mut Self, value: Register| {
            if let Some(d) = result {
                builder.f().emit(span, Op::Move { d, a: value });
            }
        };
        match &suffix.kind {
            SuffixKind::Index(key) => {
                let b = self.stable_operand(key, value)?;
                let c = self.temporary(value)?;
                keep(self, c);
                self.may_be_unset(a);
                self.f().emit(span, Op::SetIndex { a, b, c });
            }
            SuffixKind::Append => {
                let b = self.temporary(value)?;
                keep(self, b);
                self.may_be_unset(a);
                self.f().emit(span, Op::Push { a, b });
            }
            SuffixKind::Property(name) => {
                let b = self.temporary(value)?;
                keep(self, b);
                self.may_be_unset(a);
                let text = self.text(*name);
                let number = self.member(text, span)?;
                self.add_slot(*base_name, number);
                self.f().emit(span, Op::SetProperty { a, b, name: number });
            }
            _ => return Ok(false),
        }
        self.set(a);
        Ok(true)
    }

    /// Compiles `$a->p += v` on a variable in a register.
    fn add_to_property(&mut self, place: &'a Expr, value: &'a Expr, span: Span) -> Compiled<bool> {
        let ExprKind::Postfix { base, suffixes } = &place.kind else { return Ok(false) };
        let ([Suffix { kind: SuffixKind::Property(name), .. }], ExprKind::Variable(base_name)) =
            (suffixes.as_slice(), &base.kind)
        else {
            return Ok(false);
        };
        let Variable::Local(a) = self.variable(*base_name, base.span)? else { return Ok(false) };
        let b = self.operand(value)?;
        self.may_be_unset(a);
        let text = self.text(*name);
        let number = self.member(text, span)?;
        self.add_slot(*base_name, number);
        self.f().emit(span, Op::AddProperty { a, b, name: number });
        self.set(a);
        Ok(true)
    }

    /// Notes that a variable that is about to get an element may have no value yet.
    fn may_be_unset(&mut self, register: Register) {
        if !self.f().assigned.contains(register) {
            self.f().starts_unset(register);
        }
    }

    /// Computes the keys of a place.
    fn locate(&mut self, place: &'a Expr) -> Compiled<Located> {
        let (base, suffixes): (&Expr, &[Suffix]) = match &place.kind {
            ExprKind::Postfix { base, suffixes } => (base, suffixes),
            _ => (place, &[]),
        };
        // What stands before the last call is a value, not a place.
        let calls = suffixes
            .iter()
            .rposition(|suffix| matches!(suffix.kind, SuffixKind::Call(_) | SuffixKind::Slice(_)))
            .filter(|at| at + 1 < suffixes.len())
            .map_or(0, |at| at + 1);
        let (value, path) = suffixes.split_at(calls);
        let root = match &base.kind {
            ExprKind::Variable(name) if value.is_empty() => self.variable(*name, base.span)?,
            ExprKind::Scoped { is_variable: true, .. } if value.is_empty() => {
                self.static_variable(base)?
            }
            _ => {
                let t = self.f().temporary(place.span)?;
                if value.is_empty() {
                    self.expr_to(base, t)?;
                } else {
                    self.postfix(base, value, t)?;
                }
                self.f().next = u16::from(t) + 1;
                Variable::Local(t)
            }
        };
        self.check_writable(root, base.span)?;
        let base = self.f().next as Register; // below the limit of registers
        let mut steps = Vec::new();
        for suffix in path {
            let span = suffix.span;
            match &suffix.kind {
                SuffixKind::Index(key) => {
                    self.temporary(key)?;
                    steps.push(PathStep::Key);
                }
                SuffixKind::Property(name) => {
                    let t = self.f().temporary(span)?;
                    let text = self.text(*name);
                    self.f().load(span, t, Value::from(text))?;
                    steps.push(PathStep::Key);
                }
                SuffixKind::IndexPath(keys) => {
                    self.temporary(keys)?;
                    steps.push(PathStep::Keys);
                }
                SuffixKind::Append => steps.push(PathStep::Append),
                SuffixKind::Slice(slice) => {
                    for part in [&slice.first, &slice.last, &slice.step] {
                        let t = self.f().temporary(span)?;
                        match part {
                            Some(expr) => self.expr_to(expr, t)?,
                            None => self.f().load(span, t, Value::None)?,
                        }
                    }
                    steps.push(PathStep::Slice);
                }
                SuffixKind::Call(_) => return error(span, "the value of a call is no place"),
            }
        }
        Ok(Located { root, steps, base })
    }

    /// Reads a located place; what is missing on the way is none.
    fn read_located(&mut self, located: &Located, d: Register, span: Span) -> Compiled<()> {
        self.read_quiet(located.root, d, span);
        let mut key = located.base;
        for step in &located.steps {
            match step {
                PathStep::Key => {
                    self.f().emit(span, Op::IndexQuiet { d, a: d, b: key });
                    key += 1;
                }
                PathStep::Keys => {
                    self.f().emit(span, Op::IndexPath { d, a: d, b: key });
                    key += 1;
                }
                PathStep::Append | PathStep::Slice => {
                    return error(span, "??= needs an element that can be read");
                }
            }
        }
        Ok(())
    }

    /// Emits the change of a located place.
    fn change(
        &mut self,
        located: Located,
        action: PathAction,
        value: Register,
        result: Option<Register>,
        span: Span,
    ) -> Compiled<()> {
        if let Variable::Local(register) = located.root
            && self.f().is_local(register)
        {
            self.may_be_unset(register);
            if action != PathAction::Unset {
                self.set(register);
            }
        }
        let path = Path {
            root: located.root,
            steps: located.steps.into(),
            action,
            wants_result: result.is_some(),
        };
        let path = self.add_path(span, path)?;
        self.f().emit(span, Op::Path { base: located.base, value, path });
        if let Some(d) = result
            && d != value
        {
            self.f().emit(span, Op::Take { d, a: value });
        }
        Ok(())
    }

    /// Compiles `++` and `--`.
    pub(super) fn step(
        &mut self,
        target: &'a Expr,
        op: StepOp,
        is_prefix: bool,
        result: Option<Register>,
        span: Span,
    ) -> Compiled<()> {
        let variable = match &target.kind {
            ExprKind::Variable(name) => Some(self.variable(*name, target.span)?),
            ExprKind::Scoped { .. } => Some(self.static_variable(target)?),
            _ => None,
        };
        let by = if op == StepOp::Increment { 1 } else { -1 };
        if let Some(Variable::Local(a)) = variable {
            self.check_set(a, target.span);
            let count = if by > 0 { Op::Increment { a } } else { Op::Decrement { a } };
            match (result, is_prefix) {
                (None, _) => {
                    self.f().emit(span, count);
                }
                (Some(d), true) => {
                    self.f().emit(span, count);
                    self.f().emit(span, Op::Move { d, a });
                }
                (Some(d), false) => {
                    self.f().emit(span, Op::Move { d, a });
                    self.f().emit(span, count);
                }
            }
            return Ok(());
        }
        let located = match variable {
            Some(root) => {
                self.check_writable(root, target.span)?;
                Located { root, steps: Vec::new(), base: 0 }
            }
            None => self.locate(target)?,
        };
        let v = self.f().temporary(span)?;
        self.change(located, PathAction::Step { by, is_prefix }, v, result, span)
    }

    /// Compiles `unset(place)`; `d` gets whether there was something.
    pub(super) fn unset(&mut self, place: &'a Expr, d: Register) -> Compiled<()> {
        let span = place.span;
        let variable = match &place.kind {
            ExprKind::Variable(name) => Some(self.variable(*name, span)?),
            ExprKind::Scoped { is_variable: true, .. } => Some(self.static_variable(place)?),
            _ => None,
        };
        match variable {
            Some(variable) => {
                self.check_writable(variable, span)?;
                match variable {
                    Variable::Local(a) | Variable::Cell(a) => {
                        self.f().assigned.remove(a);
                        self.f().starts_unset(a);
                        self.f().emit(span, Op::UnsetLocal { d, a });
                    }
                    Variable::Global(global) => {
                        self.f().emit(span, Op::UnsetGlobal { d, global });
                    }
                }
                Ok(())
            }
            None => {
                let located = self.locate(place)?;
                if located.steps.last().is_none_or(|step| *step == PathStep::Append) {
                    return error(span, "unset takes a variable, index, slice or property");
                }
                let v = self.f().temporary(span)?;
                self.change(located, PathAction::Unset, v, Some(d), span)
            }
        }
    }

    // Destructuring

    /// Takes `source` apart, which stays as it is.
    pub(super) fn pattern(&mut self, pattern: &'a Pattern, source: Register) -> Compiled<()> {
        for (position, entry) in pattern.entries.iter().enumerate() {
            let mark = self.f().next;
            let span = pattern.span;
            let key = self.f().temporary(span)?;
            match &entry.key {
                Some(expr) => self.expr_to(expr, key)?,
                None => self.f().load(span, key, Value::from(position))?,
            }
            let item = self.f().temporary(span)?;
            let found = self.f().emit(span, Op::Item { d: item, a: source, b: key, to: 0 });
            let assigned = self.f().assigned;
            match &entry.default {
                Some(expr) => self.expr_to(expr, item)?,
                None => self.f().load(span, item, Value::None)?,
            }
            self.f().assigned = assigned;
            self.f().patch(found);
            self.write_target(&entry.target, item)?;
            self.f().next = mark;
        }
        if let Some(rest) = &pattern.rest {
            let mark = self.f().next;
            let item = self.f().temporary(rest.span)?;
            let from = u16::try_from(pattern.entries.len()).unwrap_or(u16::MAX);
            self.f().emit(rest.span, Op::Rest { d: item, a: source, from });
            let variable = self.variable(rest.name, rest.span)?;
            self.write_variable(variable, item, rest.span)?;
            self.f().next = mark;
        }
        Ok(())
    }

    /// Moves a temporary to a target.
    fn write_target(&mut self, target: &'a Target, value: Register) -> Compiled<()> {
        match target {
            Target::Pattern(pattern) => self.pattern(pattern, value),
            Target::Place(place) => {
                let variable = match &place.kind {
                    ExprKind::Variable(name) => Some(self.variable(*name, place.span)?),
                    ExprKind::Scoped { .. } => Some(self.static_variable(place)?),
                    _ => None,
                };
                match variable {
                    Some(variable) => self.write_variable(variable, value, place.span),
                    None => {
                        let located = self.locate(place)?;
                        self.change(located, PathAction::Set, value, None, place.span)
                    }
                }
            }
        }
    }
}
