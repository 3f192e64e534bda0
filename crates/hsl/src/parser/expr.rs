//! Expressions: operators by precedence, and what follows an operand.
//!
//! Binary and prefix operators are not parsed by recursion: operands and operators wait on two stacks
//! until the next operator shows which of them belong together. So a chain of any length costs no
//! stack of ours, and the levels of the table below cost nothing at all.
//!
//! | level | operators | grouping |
//! |---|---|---|
//! | 14 | prefix `! - + ~ ++ --` | right |
//! | 13 | `**` | right |
//! | 12 | `* / %` | left |
//! | 11 | `+ -` | left |
//! | 10 | `.` | left |
//! | 9 | `<< >> >>>` | left |
//! | 8, 7, 6 | `&`, `^`, `\|` | left |
//! | 5 | `== != === !== < > <= >= =~ !~` | left |
//! | 4 | `not` | right |
//! | 3, 2 | `and`, `or` | left |
//! | 1 | `??` | right |
//!
//! Calls, subscripts and properties bind tighter than all of these; `? :` and assignments looser.
//! `not` stands only where the level allows it: `1 + not $x` needs parentheses.

use super::{Parsed, Parser};
use crate::ast::{
    Argument, AssignOp, BinaryOp, BinaryStep, Expr, ExprKind, LogicalOp, Slice, StepOp, Suffix,
    SuffixKind, Target, UnaryOp,
};
use crate::source::Span;
use crate::symbol::Symbol;
use crate::token::{Token, TokenKind};

/// An operand that waits for its operator.
pub(super) struct Operand {
    expr: Expr,
    /// The level of the chain the expression is, so that the next step can join it; 0 if it is none
    /// or stands in parentheses.
    chain: u8,
}

/// An operator that waits for its right operand to be complete.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    op: Operator,
    level: u8,
    start: u32,
    end: u32,
}

#[derive(Clone, Copy)]
enum Operator {
    Binary(BinaryOp),
    Logical(LogicalOp),
    Coalesce,
    Unary(UnaryOp),
    Step(StepOp),
}

const PREFIX: u8 = 14;
const POWER: u8 = 13;
const NOT: u8 = 4;

/// Returns the binary operator a token is, with its level.
fn binary_operator(kind: TokenKind) -> Option<(Operator, u8)> {
    use BinaryOp as B;
    use Operator::{Binary, Coalesce, Logical};
    use TokenKind as K;
    Some(match kind {
        K::StarStar => (Binary(B::Power), POWER),
        K::Star => (Binary(B::Multiply), 12),
        K::Slash => (Binary(B::Divide), 12),
        K::Percent => (Binary(B::Remainder), 12),
        K::Plus => (Binary(B::Add), 11),
        K::Minus => (Binary(B::Subtract), 11),
        K::Dot => (Binary(B::Concat), 10),
        K::LessLess => (Binary(B::ShiftLeft), 9),
        K::GreaterGreater => (Binary(B::ShiftRight), 9),
        K::GreaterGreaterGreater => (Binary(B::ShiftRightUnsigned), 9),
        K::Ampersand => (Binary(B::BitAnd), 8),
        K::Caret => (Binary(B::BitXor), 7),
        K::Pipe => (Binary(B::BitOr), 6),
        K::EqualEqual => (Binary(B::Equal), 5),
        K::BangEqual => (Binary(B::NotEqual), 5),
        K::EqualEqualEqual => (Binary(B::Identical), 5),
        K::BangEqualEqual => (Binary(B::NotIdentical), 5),
        K::Less => (Binary(B::Less), 5),
        K::Greater => (Binary(B::Greater), 5),
        K::LessEqual => (Binary(B::LessEqual), 5),
        K::GreaterEqual => (Binary(B::GreaterEqual), 5),
        K::EqualTilde => (Binary(B::RegexMatch), 5),
        K::BangTilde => (Binary(B::RegexNoMatch), 5),
        K::And => (Logical(LogicalOp::And), 3),
        K::Or => (Logical(LogicalOp::Or), 2),
        K::QuestionQuestion => (Coalesce, 1),
        _ => return None,
    })
}

/// Returns the prefix operator a token is, with its level. `!~` is `!` and `~` here.
fn prefix_operator(kind: TokenKind) -> Option<(Operator, u8)> {
    use TokenKind as K;
    Some(match kind {
        K::Bang | K::BangTilde => (Operator::Unary(UnaryOp::Not), PREFIX),
        K::Minus => (Operator::Unary(UnaryOp::Minus), PREFIX),
        K::Plus => (Operator::Unary(UnaryOp::Plus), PREFIX),
        K::Tilde => (Operator::Unary(UnaryOp::BitNot), PREFIX),
        K::PlusPlus => (Operator::Step(StepOp::Increment), PREFIX),
        K::MinusMinus => (Operator::Step(StepOp::Decrement), PREFIX),
        K::Not => (Operator::Unary(UnaryOp::Not), NOT),
        _ => return None,
    })
}

/// Returns the assignment a token is; `Some(None)` is plain `=`.
fn assignment_operator(kind: TokenKind) -> Option<Option<AssignOp>> {
    use TokenKind as K;
    let op = match kind {
        K::Equal => return Some(None),
        K::QuestionQuestionEqual => return Some(Some(AssignOp::Coalesce)),
        K::PlusEqual => BinaryOp::Add,
        K::MinusEqual => BinaryOp::Subtract,
        K::StarEqual => BinaryOp::Multiply,
        K::SlashEqual => BinaryOp::Divide,
        K::PercentEqual => BinaryOp::Remainder,
        K::StarStarEqual => BinaryOp::Power,
        K::DotEqual => BinaryOp::Concat,
        _ => return None,
    };
    Some(Some(AssignOp::Binary(op)))
}

impl Parser<'_, '_> {
    /// Takes an expression of any kind.
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.enter()?;
        let start = self.token.start;
        let mut expr = self.operation()?;
        if let Some(op) = assignment_operator(self.token.kind) {
            expr = self.assignment(start, expr, op)?;
        } else if self.at(TokenKind::Question) {
            expr = self.conditional(start, expr)?;
        }
        self.depth -= 1;
        Ok(expr)
    }

    #[inline(never)]
    fn assignment(&mut self, start: u32, left: Expr, op: Option<AssignOp>) -> Parsed<Expr> {
        let sign = self.advance()?;
        let target = if op.is_none() {
            self.target(left)?
        } else if left.kind.is_place() {
            Target::Place(left)
        } else {
            return Err(self
                .error_at(&left, "this cannot be assigned to")
                .with_label(format!("left side of {}", sign.kind.describe())));
        };
        let value = self.expr()?;
        Ok(Expr {
            kind: ExprKind::Assign { target: Box::new(target), op, value: Box::new(value) },
            span: self.span_from(start),
        })
    }

    #[inline(never)]
    fn conditional(&mut self, start: u32, condition: Expr) -> Parsed<Expr> {
        self.advance()?;
        let then = if self.at(TokenKind::Colon) { None } else { Some(Box::new(self.expr()?)) };
        self.expect(TokenKind::Colon, "of the conditional `… ? … : …`")?;
        let otherwise = Box::new(self.expr()?);
        Ok(Expr {
            kind: ExprKind::Conditional { condition: Box::new(condition), then, otherwise },
            span: self.span_from(start),
        })
    }

    // Operators

    /// Takes operands and the operators between them.
    fn operation(&mut self) -> Parsed<Expr> {
        if prefix_operator(self.token.kind).is_none() {
            let first = self.postfix()?;
            if binary_operator(self.token.kind).is_none() {
                return Ok(first);
            }
            let base = self.operators.len();
            self.operands.push(Operand { expr: first, chain: 0 });
            self.operation_rest(base)
        } else {
            let base = self.operators.len();
            self.prefixed_operand(base)?;
            self.operation_rest(base)
        }
    }

    /// Goes on behind the first operand. `base` is the height of the operator stack before it.
    #[inline(never)]
    fn operation_rest(&mut self, base: usize) -> Parsed<Expr> {
        while let Some((op, level)) = binary_operator(self.token.kind) {
            // Whatever binds tighter is complete; so are equals, except for `**`.
            self.reduce(base, if level == POWER { level + 1 } else { level })?;
            let token = self.advance()?;
            self.push_operator(op, level, token)?;
            self.prefixed_operand(base)?;
        }
        self.reduce(base, 0)?;
        match self.operands.pop() {
            Some(operand) => Ok(operand.expr),
            // Each turn above leaves one operand; there is no way to come here.
            None => Err(self.unexpected("an expression")),
        }
    }

    /// Takes prefix operators and the operand behind them, and leaves them on the stacks.
    fn prefixed_operand(&mut self, base: usize) -> Parsed<()> {
        while let Some((op, level)) = prefix_operator(self.token.kind) {
            let pending = self.operators.get(base..).unwrap_or_default().last();
            if level == NOT && pending.is_some_and(|pending| pending.level > NOT) {
                return Err(self.unexpected("an operand").with_hint(
                    "`not` binds looser than the operator before it: add parentheses, or write `!`",
                ));
            }
            let token = self.advance()?;
            self.push_operator(op, level, token)?;
            if token.kind == TokenKind::BangTilde {
                self.push_operator(Operator::Unary(UnaryOp::BitNot), PREFIX, token)?;
            }
        }
        let start = self.token.start;
        let mut expr = self.postfix()?;
        if let Some(op) = assignment_operator(self.token.kind)
            && self.can_assign_operand(base, &expr)
        {
            expr = self.assignment(start, expr, op)?;
        }
        self.operands.push(Operand { expr, chain: 0 });
        Ok(())
    }

    /// Returns whether an assignment to `target` can be the operand of what waits above `base`.
    ///
    /// `if (!$line = $socket->recv(1024))` and `$ok and $x = f()` are common. Behind other operators
    /// it is more likely a slip of the pen.
    fn can_assign_operand(&self, base: usize, target: &Expr) -> bool {
        let is_target = target.kind.is_place() || matches!(target.kind, ExprKind::Array(_));
        let pending = self.operators.get(base..).unwrap_or_default().last();
        is_target
            && matches!(
                pending.map(|pending| pending.op),
                Some(Operator::Unary(UnaryOp::Not) | Operator::Logical(_) | Operator::Coalesce)
            )
    }

    fn push_operator(&mut self, op: Operator, level: u8, token: Token) -> Parsed<()> {
        self.operators.push(Pending { op, level, start: token.start, end: token.end });
        self.check_depth()
    }

    /// Combines what waits above `base`, as far as it binds as tight as `level` or tighter.
    fn reduce(&mut self, base: usize, level: u8) -> Parsed<()> {
        while self.operators.len() > base {
            let Some(pending) = self.operators.pop_if(|pending| pending.level >= level) else {
                break;
            };
            // Each operator was pushed between its operands, so they are there.
            let Some(right) = self.operands.pop() else {
                break;
            };
            let combined = match pending.op {
                Operator::Unary(op) => self.unary(pending, op, right.expr),
                Operator::Step(op) => self.prefix_step(pending, op, right.expr)?,
                Operator::Binary(_) | Operator::Logical(_) | Operator::Coalesce => {
                    let Some(left) = self.operands.pop() else {
                        break;
                    };
                    combine(pending, left, right.expr)
                }
            };
            self.operands.push(combined);
        }
        Ok(())
    }

    fn unary(&self, pending: Pending, op: UnaryOp, operand: Expr) -> Operand {
        Operand {
            chain: 0,
            expr: Expr {
                span: Span::new(self.file, pending.start, operand.span.end),
                kind: ExprKind::Unary { op, operand: Box::new(operand) },
            },
        }
    }

    fn prefix_step(&self, pending: Pending, op: StepOp, target: Expr) -> Parsed<Operand> {
        let span = Span::new(self.file, pending.start, target.span.end);
        Ok(Operand { chain: 0, expr: self.step(span, op, target, true)? })
    }

    fn step(&self, span: Span, op: StepOp, target: Expr, is_prefix: bool) -> Parsed<Expr> {
        if !target.kind.is_place() {
            let sign = match op {
                StepOp::Increment => "++",
                StepOp::Decrement => "--",
            };
            return Err(self
                .error_at(&target, "this cannot be counted up or down")
                .with_hint(format!("`{sign}` needs a variable, an element or a property")));
        }
        let kind = ExprKind::Step { target: Box::new(target), op, is_prefix };
        Ok(Expr { kind, span })
    }

    // What follows an operand

    /// Takes an operand with its calls, subscripts and properties, and `++` or `--` behind it.
    fn postfix(&mut self) -> Parsed<Expr> {
        let base = self.primary()?;
        match self.token.kind {
            TokenKind::LeftParen | TokenKind::LeftBracket | TokenKind::Arrow => {
                let expr = self.suffixes(base)?;
                self.postfix_step(expr)
            }
            TokenKind::PlusPlus | TokenKind::MinusMinus => self.postfix_step(base),
            _ => Ok(base),
        }
    }

    #[inline(never)]
    fn suffixes(&mut self, base: Expr) -> Parsed<Expr> {
        let mut suffixes = Vec::with_capacity(1);
        loop {
            let start = self.token.start;
            let kind = match self.token.kind {
                TokenKind::LeftParen => SuffixKind::Call(self.arguments()?),
                TokenKind::LeftBracket => self.subscript()?,
                TokenKind::Arrow => {
                    self.advance()?;
                    SuffixKind::Property(self.property()?)
                }
                _ => break,
            };
            let span = self.span_from(start);
            suffixes.push(Suffix { kind, span });
        }
        let span = Span::new(self.file, base.span.start, self.previous.end);
        let kind = ExprKind::Postfix { base: Box::new(base), suffixes };
        Ok(Expr { kind, span })
    }

    fn property(&mut self) -> Parsed<Symbol> {
        if self.at(TokenKind::Variable) {
            return Err(self
                .unexpected("a name after `->`")
                .with_hint("a property whose name is computed is written `$object[$name]`"));
        }
        Ok(self.member_name("after `->`")?.name)
    }

    #[inline(never)]
    fn postfix_step(&mut self, target: Expr) -> Parsed<Expr> {
        let op = match self.token.kind {
            TokenKind::PlusPlus => StepOp::Increment,
            TokenKind::MinusMinus => StepOp::Decrement,
            _ => return Ok(target),
        };
        let token = self.advance()?;
        let span = Span::new(self.file, target.span.start, token.end);
        self.step(span, op, target, false)
    }

    /// Takes `(arguments)`.
    #[inline(never)]
    pub(super) fn arguments(&mut self) -> Parsed<Vec<Argument>> {
        let open = self.advance()?;
        let mut arguments = Vec::new();
        while !self.at(TokenKind::RightParen) {
            arguments.push(if self.eat(TokenKind::Ellipsis)? {
                Argument::Spread(self.expr()?)
            } else {
                Argument::Value(self.expr()?)
            });
            if !self.eat(TokenKind::Comma)? && !self.at(TokenKind::RightParen) {
                return Err(self.unclosed(
                    TokenKind::RightParen,
                    open,
                    "`,` or `)` in the argument list",
                ));
            }
        }
        self.close(TokenKind::RightParen, open)?;
        Ok(arguments)
    }

    /// Takes `[]`, `[index]`, `[...path]` or `[first:last:step]`.
    #[inline(never)]
    fn subscript(&mut self) -> Parsed<SuffixKind> {
        let open = self.advance()?;
        let kind = if self.at(TokenKind::RightBracket) {
            self.appends.insert(open.start);
            SuffixKind::Append
        } else if self.eat(TokenKind::Ellipsis)? {
            SuffixKind::IndexPath(self.expr()?)
        } else {
            let first = self.slice_part()?;
            match first {
                Some(index) if !self.at_slice_colon() => SuffixKind::Index(index),
                first => SuffixKind::Slice(Box::new(self.slice(first)?)),
            }
        };
        self.close(TokenKind::RightBracket, open)?;
        Ok(kind)
    }

    fn at_slice_colon(&self) -> bool {
        matches!(self.token.kind, TokenKind::Colon | TokenKind::ColonColon)
    }

    /// Takes a part of a slice, unless it is empty.
    fn slice_part(&mut self) -> Parsed<Option<Expr>> {
        if self.at_slice_colon() || self.at(TokenKind::RightBracket) {
            return Ok(None);
        }
        self.expr().map(Some)
    }

    /// Goes on at the colon behind the first part. `::` is both colons at once.
    #[inline(never)]
    fn slice(&mut self, first: Option<Expr>) -> Parsed<Slice> {
        if self.advance()?.kind == TokenKind::ColonColon {
            return Ok(Slice { first, last: None, step: self.slice_part()? });
        }
        let last = self.slice_part()?;
        let step = if self.eat(TokenKind::Colon)? { self.slice_part()? } else { None };
        Ok(Slice { first, last, step })
    }
}

/// Joins two operands: a chain of the same level grows, anything else starts a new one.
fn combine(pending: Pending, left: Operand, right: Expr) -> Operand {
    let Pending { op, level, .. } = pending;
    let joins = left.chain == level;
    let mut left = left.expr;
    let file = left.span.file;
    let span = left.span.to(right.span);
    let op_span = Span::new(file, pending.start, pending.end);
    let right = match (&mut left.kind, op) {
        (ExprKind::Binary { steps, .. }, Operator::Binary(op)) if joins => {
            steps.push(BinaryStep { op, op_span, operand: right });
            None
        }
        (ExprKind::Logical { operands, .. }, _) | (ExprKind::Coalesce(operands), _) if joins => {
            operands.push(right);
            None
        }
        _ => Some(right),
    };
    let Some(right) = right else {
        left.span = span;
        return Operand { expr: left, chain: level };
    };
    let kind = match op {
        Operator::Binary(op) => ExprKind::Binary {
            first: Box::new(left),
            steps: vec![BinaryStep { op, op_span, operand: right }],
        },
        Operator::Logical(op) => ExprKind::Logical { op, operands: vec![left, right] },
        // Prefix operators do not come here.
        Operator::Coalesce | Operator::Unary(_) | Operator::Step(_) => {
            ExprKind::Coalesce(vec![left, right])
        }
    };
    // `**` groups to the right, so nothing ever joins it.
    let chain = if level == POWER { 0 } else { level };
    Operand { expr: Expr { kind, span }, chain }
}
