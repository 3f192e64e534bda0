//! Statements.

use super::builder::Builder;
use super::function::{Compiled, Kind, Loop, RegisterSet, error};
use super::load::Link;
use crate::ast::{
    AssignOp, BinaryOp, BinaryStep, Block, Case, Expr, ExprKind, For, Foreach, Ident, MemberKind,
    StepOp, Stmt, StmtKind, Target,
};
use crate::bytecode::{Handler, HandlerKind, Op, Register, Variable};
use crate::debug;
use crate::source::Span;
use crate::value::Value;

impl<'a> Builder<'a> {
    /// Compiles statements in order.
    pub(super) fn statements(&mut self, body: &'a [Stmt]) -> Compiled<()> {
        for stmt in body {
            self.statement(stmt)?;
        }
        Ok(())
    }

    fn statement(&mut self, stmt: &'a Stmt) -> Compiled<()> {
        let mark = self.f().next;
        let span = stmt.span;
        if !matches!(
            stmt.kind,
            StmtKind::Empty
                | StmtKind::Function(_)
                | StmtKind::Class(_)
                | StmtKind::Debug(_)
                | StmtKind::Import(_)
                | StmtKind::Include { .. }
                | StmtKind::Block(_)
        ) {
            self.probe(debug::STATEMENT, span)?;
        }
        match &stmt.kind {
            // Definitions were compiled ahead, imports bound ahead.
            StmtKind::Empty | StmtKind::Function(_) | StmtKind::Class(_) => {}
            StmtKind::Debug(items) => self.breakpoint(items, span)?,
            StmtKind::Import(_) => {
                if self.f().kind != Kind::Module {
                    return error(span, "imports stand at the top level of a file");
                }
            }
            StmtKind::Block(block) => self.statements(&block.body)?,
            StmtKind::Expr(expr) => self.discard(expr)?,
            StmtKind::Echo(expr) => {
                let a = self.operand(expr)?;
                self.f().emit(span, Op::Echo { a });
            }
            StmtKind::If { arms, otherwise } => {
                self.if_statement(arms, otherwise.as_deref(), span)?;
            }
            StmtKind::For(part) => self.for_statement(part, span)?,
            StmtKind::Foreach(part) => self.foreach_statement(part, span)?,
            StmtKind::While { condition, body } => {
                self.loop_statement(Some(condition), body, span)?;
            }
            StmtKind::Forever(body) => self.loop_statement(None, body, span)?,
            StmtKind::Switch { subject, cases } => self.switch_statement(subject, cases, span)?,
            StmtKind::Break => {
                let Some(open) = self.f().loops.last() else {
                    return error(span, "break stands in loops and switches only");
                };
                let barriers = open.barriers;
                self.leave_barriers(barriers, span);
                let patch = self.f().emit(span, Op::Jump { to: 0 });
                if let Some(open) = self.f().loops.last_mut() {
                    open.breaks.push(patch);
                }
            }
            StmtKind::Continue => {
                let Some(open) = self.f().loops.iter().rposition(|open| !open.is_switch) else {
                    return error(span, "continue stands in loops only");
                };
                let barriers = self.f().loops.get(open).map_or(0, |open| open.barriers);
                self.leave_barriers(barriers, span);
                let patch = self.f().emit(span, Op::Jump { to: 0 });
                if let Some(open) = self.f().loops.get_mut(open) {
                    open.continues.push(patch);
                }
            }
            StmtKind::Return(value) => self.return_statement(value.as_ref(), span)?,
            StmtKind::Throw(expr) => {
                let a = self.temporary(expr)?;
                self.f().emit(span, Op::Throw { a });
            }
            StmtKind::Yield(expr) => {
                let a = self.temporary(expr)?;
                self.f().emit(span, Op::Yield { a });
            }
            StmtKind::Try { body, variable, handler } => {
                self.try_statement(body, *variable, handler, span)?;
            }
            StmtKind::Barrier { name, variable, body } => {
                self.barrier_statement(name, *variable, body, span)?;
            }
            StmtKind::Global(names) => self.global_statement(names)?,
            StmtKind::Include { path, once } => {
                let files = self.files;
                if let Some(Link::Include(file)) = files.link(path)
                    && let Some(script) = files.script(*file)
                {
                    let is_new = self.included.insert(*file);
                    if is_new || !*once {
                        self.statements(&script.body)?;
                    }
                }
            }
        }
        self.f().next = mark;
        Ok(())
    }

    fn if_statement(
        &mut self,
        arms: &'a [(Expr, Stmt)],
        otherwise: Option<&'a Stmt>,
        span: Span,
    ) -> Compiled<()> {
        let mut ends = Vec::new();
        let mut after: Option<RegisterSet> = None;
        let mut join = |set: RegisterSet| {
            after = Some(after.map_or(set, |known| known.and(set)));
        };
        for (at, (condition, body)) in arms.iter().enumerate() {
            let mut patches = Vec::new();
            self.condition(condition, false, &mut patches)?;
            let before = self.f().assigned;
            self.statement(body)?;
            // A branch that leaves has no say in what is assigned behind the statement.
            let leaves = leaves(body);
            if !leaves {
                join(self.f().assigned);
            }
            self.f().assigned = before;
            let is_last = at + 1 == arms.len() && otherwise.is_none();
            if !is_last && !leaves {
                ends.push(self.f().emit(span, Op::Jump { to: 0 }));
            }
            self.f().patch_all(patches);
        }
        match otherwise {
            Some(body) => {
                self.statement(body)?;
                if !leaves(body) {
                    join(self.f().assigned);
                }
            }
            None => join(self.f().assigned),
        }
        self.f().patch_all(ends);
        if let Some(after) = after {
            self.f().assigned = after;
        }
        Ok(())
    }

    fn open_loop(&mut self, is_switch: bool) {
        let barriers = self.f().barriers.len();
        self.f().loops.push(Loop {
            breaks: Vec::new(),
            continues: Vec::new(),
            is_switch,
            barriers,
        });
    }

    /// Ends the innermost loop: `break` leads here.
    fn close_loop(&mut self) {
        if let Some(open) = self.f().loops.pop() {
            self.f().patch_all(open.breaks);
        }
    }

    /// Lets `continue` lead here.
    fn continue_here(&mut self) {
        let patches = match self.f().loops.last_mut() {
            Some(open) => std::mem::take(&mut open.continues),
            None => Vec::new(),
        };
        self.f().patch_all(patches);
    }

    fn loop_statement(
        &mut self,
        condition: Option<&'a Expr>,
        body: &'a Stmt,
        span: Span,
    ) -> Compiled<()> {
        let start = self.f().here();
        self.open_loop(false);
        let mut exits = Vec::new();
        if let Some(condition) = condition {
            self.condition(condition, false, &mut exits)?;
        }
        let before = self.f().assigned;
        self.statement(body)?;
        self.continue_here();
        self.probe(debug::RESUMED, span)?;
        let back = self.f().emit(span, Op::Loop { to: 0 });
        self.f().patch_to(back, start);
        self.f().patch_all(exits);
        self.f().assigned = before;
        self.close_loop();
        Ok(())
    }

    /// Puts a short way in front of a step: for `$i += 1` or `$i++` under the condition `$i < …`.
    fn count_if_less(
        &mut self,
        step: &Expr,
        condition: &Expr,
        start: usize,
        span: Span,
    ) -> Compiled<()> {
        let counted = match &step.kind {
            ExprKind::Step { target, op: StepOp::Increment, .. } => &target.kind,
            ExprKind::Assign { target, op: Some(AssignOp::Binary(BinaryOp::Add)), value }
                if matches!(value.kind, ExprKind::Number(1.0)) =>
            {
                let Target::Place(target) = &**target else { return Ok(()) };
                &target.kind
            }
            _ => return Ok(()),
        };
        let ExprKind::Binary { first, steps } = &condition.kind else { return Ok(()) };
        let ([BinaryStep { op: BinaryOp::Less, operand, .. }], ExprKind::Variable(name)) =
            (steps.as_slice(), &first.kind)
        else {
            return Ok(());
        };
        if !matches!(counted, ExprKind::Variable(counted) if counted == name) {
            return Ok(());
        }
        let Variable::Local(a) = self.variable(*name, first.span)? else { return Ok(()) };
        let op = match &operand.kind {
            ExprKind::Number(number) => {
                let k = self.f().constant(operand.span, Value::Number(*number))?;
                Op::CountIfLessK { a, k, to: 0 }
            }
            ExprKind::Variable(name) => match self.variable(*name, operand.span)? {
                Variable::Local(b) => Op::CountIfLess { a, b, to: 0 },
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        let back = self.f().emit(span, op);
        self.f().patch_to(back, start);
        Ok(())
    }

    fn for_statement(&mut self, part: &'a For, span: Span) -> Compiled<()> {
        if let Some(init) = &part.init {
            self.discard(init)?;
        }
        let start = self.f().here();
        self.open_loop(false);
        let mut exits = Vec::new();
        if let Some(condition) = &part.condition {
            self.condition(condition, false, &mut exits)?;
        }
        let body_start = self.f().here();
        let before = self.f().assigned;
        self.statement(&part.body)?;
        // A `continue` may have skipped what the body assigns.
        self.f().assigned = before;
        self.continue_here();
        self.probe(debug::RESUMED, span)?;
        if let Some(step) = &part.step {
            if let Some(condition) = &part.condition {
                self.count_if_less(step, condition, body_start, span)?;
            }
            self.discard(step)?;
        }
        let back = self.f().emit(span, Op::Loop { to: 0 });
        self.f().patch_to(back, start);
        self.f().patch_all(exits);
        self.f().assigned = before;
        self.close_loop();
        Ok(())
    }

    fn foreach_statement(&mut self, part: &'a Foreach, span: Span) -> Compiled<()> {
        let base = self.f().temporary(span)?;
        self.expr_to(&part.subject, base)?;
        self.f().temporary(span)?; // the position
        self.f().emit(part.subject.span, Op::IterStart { base });
        let start = self.f().here();
        self.open_loop(false);
        let before = self.f().assigned;
        let value = self.variable(part.value.name, part.value.span)?;
        let key = match part.key {
            Some(key) => Some((self.variable(key.name, key.span)?, key.span)),
            None => None,
        };
        let value_register = self.register_for(value, span)?;
        let key_register = match key {
            Some((key, span)) => self.register_for(key, span)?,
            None => Register::MAX,
        };
        let next = Op::IterNext { base, value: value_register, key: key_register, to: 0 };
        let exit = self.f().emit(part.subject.span, next);
        if let Some((key, span)) = key {
            self.settle(key, key_register, span)?;
        }
        self.settle(value, value_register, part.value.span)?;
        self.statement(&part.body)?;
        self.continue_here();
        self.probe(debug::RESUMED, span)?;
        let back = self.f().emit(span, Op::Loop { to: 0 });
        self.f().patch_to(back, start);
        self.f().patch(exit);
        self.f().assigned = before;
        self.close_loop();
        // The walked array shall not look shared any longer.
        self.f().emit(span, Op::None { d: base });
        Ok(())
    }

    /// Returns the register of a variable, or a temporary for one that has none.
    fn register_for(&mut self, variable: Variable, span: Span) -> Compiled<Register> {
        self.check_writable(variable, span)?;
        match variable {
            Variable::Local(register) => Ok(register),
            _ => self.f().temporary(span),
        }
    }

    /// Moves what `register_for` took to its variable.
    fn settle(&mut self, variable: Variable, register: Register, span: Span) -> Compiled<()> {
        match variable {
            Variable::Local(register) => {
                self.set(register);
                Ok(())
            }
            _ => self.write_variable(variable, register, span),
        }
    }

    fn switch_statement(
        &mut self,
        subject: &'a Expr,
        cases: &'a [Case],
        span: Span,
    ) -> Compiled<()> {
        let a = self.temporary(subject)?;
        let mark = self.f().next;
        self.open_loop(true);
        let mut entries = Vec::new();
        for case in cases {
            let entry = match &case.label {
                Some(label) => {
                    let b = self.operand(label)?;
                    self.f().next = mark;
                    Some(self.f().emit(label.span, Op::JumpEqual { a, b, expect: true, to: 0 }))
                }
                None => None,
            };
            entries.push(entry);
        }
        let otherwise = self.f().emit(span, Op::Jump { to: 0 });
        let before = self.f().assigned;
        let mut has_default = false;
        for (case, entry) in cases.iter().zip(entries) {
            match entry {
                Some(patch) => self.f().patch(patch),
                None => {
                    has_default = true;
                    self.f().patch(otherwise);
                }
            }
            // Each case may be entered from the top.
            self.f().assigned = before;
            self.statements(&case.body)?;
        }
        if !has_default {
            self.f().patch(otherwise);
        }
        self.f().assigned = before;
        self.close_loop();
        Ok(())
    }

    /// Compiles `return`; a constructor returns its object.
    pub(super) fn return_statement(&mut self, value: Option<&'a Expr>, span: Span) -> Compiled<()> {
        let is_constructor = self.f().kind == Kind::Constructor;
        let mut result = None;
        if let Some(expr) = value {
            if is_constructor {
                self.discard(expr)?;
            } else {
                // A variable is moved out: its function ends here. A barrier may still want it.
                let has_barriers = !self.f().barriers.is_empty();
                let a = if has_barriers { self.temporary(expr)? } else { self.operand(expr)? };
                result = Some(a);
            }
        }
        self.leave_barriers(0, span);
        let a = match (result, self.f().this) {
            (Some(a), _) => a,
            (None, Some(this)) => this,
            (None, None) => {
                let t = self.f().temporary(span)?;
                self.f().emit(span, Op::None { d: t });
                t
            }
        };
        self.f().emit(span, Op::Return { a });
        Ok(())
    }

    fn try_statement(
        &mut self,
        body: &'a Block,
        variable: Ident,
        handler: &'a Block,
        span: Span,
    ) -> Compiled<()> {
        let thrown = self.f().temporary(span)?;
        let before = self.f().assigned;
        let start = self.f().here() as u32;
        self.statements(&body.body)?;
        let after_body = self.f().assigned;
        let end = self.f().here() as u32;
        let skip = self.f().emit(span, Op::Jump { to: 0 });
        let target = self.f().here() as u32;
        let kind = HandlerKind::Catch { target, a: thrown };
        self.f().code.handlers.push(Handler { start, end, kind });
        self.f().assigned = before;
        let target = self.variable(variable.name, variable.span)?;
        self.write_variable(target, thrown, variable.span)?;
        self.statements(&handler.body)?;
        self.f().patch(skip);
        self.f().assigned = self.f().assigned.and(after_body);
        Ok(())
    }

    fn barrier_statement(
        &mut self,
        name: &'a Expr,
        variable: Option<Ident>,
        body: &'a Block,
        span: Span,
    ) -> Compiled<()> {
        let guard = self.f().temporary(span)?;
        let a = self.operand(name)?;
        self.f().emit(name.span, Op::BarrierEnter { d: guard, a });
        let variable = match variable {
            Some(ident) => {
                let variable = self.variable(ident.name, ident.span)?;
                self.check_writable(variable, ident.span)?;
                match variable {
                    Variable::Local(d) => {
                        self.f().emit(ident.span, Op::BarrierValue { d, a: guard });
                        // The first time there is no value.
                        self.f().assigned.remove(d);
                        self.f().starts_unset(d);
                    }
                    variable => {
                        let t = self.f().temporary(ident.span)?;
                        self.f().emit(ident.span, Op::BarrierValue { d: t, a: guard });
                        self.write_variable(variable, t, ident.span)?;
                    }
                }
                Some(variable)
            }
            None => None,
        };
        let Ok(slot) = u16::try_from(self.f().code.barriers.len()) else {
            return error(span, "this function has too many barriers");
        };
        self.f().code.barriers.push(variable);
        let start = self.f().here() as u32;
        self.f().barriers.push((guard, slot));
        self.statements(&body.body)?;
        self.f().barriers.pop();
        let end = self.f().here() as u32;
        let kind = HandlerKind::Barrier { a: guard, slot };
        self.f().code.handlers.push(Handler { start, end, kind });
        self.f().emit(span, Op::BarrierLeave { a: guard, slot });
        Ok(())
    }

    /// Leaves the barriers inside of the outermost `keep`.
    fn leave_barriers(&mut self, keep: usize, span: Span) {
        let open: Vec<(Register, u16)> =
            self.f().barriers.iter().skip(keep).rev().copied().collect();
        for (a, slot) in open {
            self.f().emit(span, Op::BarrierLeave { a, slot });
        }
    }

    fn global_statement(&mut self, names: &'a [Ident]) -> Compiled<()> {
        for ident in names {
            let Some(number) = self.scope().variables.get(&ident.name).copied() else {
                let text = self.text(ident.name);
                return error(ident.span, format!("there is no global variable ${text}"));
            };
            if self.f().kind == Kind::Module {
                continue;
            }
            self.f().variables.insert(ident.name, Variable::Global(number));
        }
        Ok(())
    }

    /// Makes the object of a constructor and gives it its properties.
    pub(super) fn instance(&mut self, number: usize, span: Span) -> Compiled<()> {
        let Some(this) = self.f().this else { return Ok(()) };
        let class = number as u16; // fewer classes than functions
        self.f().emit(span, Op::Instance { d: this, class });
        let Some(class) = self.instance_of.take() else { return Ok(()) };
        for member in &class.members {
            let MemberKind::Property { name, value, .. } = &member.kind else { continue };
            if member.is_static {
                continue;
            }
            let mark = self.f().next;
            let b = self.temporary(value)?;
            let text = self.text(name.name);
            let name_number = self.member(text, name.span)?;
            self.add_slot_of(number, name_number);
            self.f().emit(name.span, Op::SetProperty { a: this, b, name: name_number });
            self.f().next = mark;
        }
        Ok(())
    }
}

/// Returns whether control never reaches the end of a statement.
fn leaves(stmt: &Stmt) -> bool {
    match &stmt.kind {
        StmtKind::Return(_) | StmtKind::Throw(_) | StmtKind::Break | StmtKind::Continue => true,
        StmtKind::Block(block) => block.body.last().is_some_and(leaves),
        _ => false,
    }
}
