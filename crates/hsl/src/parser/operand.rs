//! Operands: what operators combine and suffixes follow. Literals are in [`super::literal`], functions
//! in [`super::class`].

use super::{Parsed, Parser};
use crate::ast::{Cache, Expr, ExprKind, Ident, Match, MatchArm};
use crate::diagnostic::Diagnostic;
use crate::token::{Token, TokenKind};

impl Parser<'_, '_> {
    /// Takes a literal, a name, a variable or something in brackets.
    pub(super) fn primary(&mut self) -> Parsed<Expr> {
        let start = self.token.start;
        let kind = match self.token.kind {
            TokenKind::Variable => self.variable_operand(),
            TokenKind::Name => self.name_or_scoped(),
            TokenKind::String => self.double_quoted(),
            TokenKind::Number => self.number(),
            TokenKind::RawString => self.raw_string().map(ExprKind::String),
            TokenKind::Regex => self.regex(),
            TokenKind::True => self.constant(ExprKind::Bool(true)),
            TokenKind::False => self.constant(ExprKind::Bool(false)),
            TokenKind::None => self.constant(ExprKind::None),
            TokenKind::LeftParen => self.parenthesized(),
            TokenKind::LeftBracket => self.array(),
            _ => self.word_operand(),
        }?;
        Ok(Expr { kind, span: self.span_from(start) })
    }

    /// Takes an operand that starts with a reserved word. Each arm is one call; see
    /// `statement_kind`.
    #[inline(never)]
    fn word_operand(&mut self) -> Parsed<ExprKind> {
        match self.token.kind {
            TokenKind::Array => self.long_array(),
            TokenKind::Function => self.function_operand(),
            TokenKind::Isset => self.tested_place().map(ExprKind::Isset),
            TokenKind::Unset => self.tested_place().map(ExprKind::Unset),
            TokenKind::Builtin => self.builtin(),
            TokenKind::Static => self.static_member(),
            TokenKind::Cache => self.cache(),
            TokenKind::Match => self.match_expr(),
            _ => Err(self.no_operand()),
        }
    }

    /// Takes `array(…)`.
    fn long_array(&mut self) -> Parsed<ExprKind> {
        self.advance()?;
        let open = self.expect(TokenKind::LeftParen, "after `array`")?;
        self.array_items(open, TokenKind::RightParen).map(ExprKind::Array)
    }

    /// Takes `[…]`.
    fn array(&mut self) -> Parsed<ExprKind> {
        let open = self.advance()?;
        self.array_items(open, TokenKind::RightBracket).map(ExprKind::Array)
    }

    /// Takes `(…)`.
    fn parenthesized(&mut self) -> Parsed<ExprKind> {
        let open = self.advance()?;
        let inner = self.expr()?;
        self.close(TokenKind::RightParen, open)?;
        Ok(inner.kind)
    }

    fn function_operand(&mut self) -> Parsed<ExprKind> {
        let start = self.advance()?.start;
        let function = self.anonymous_function(start)?;
        Ok(ExprKind::Function(Box::new(function)))
    }

    fn builtin(&mut self) -> Parsed<ExprKind> {
        self.advance()?;
        Ok(ExprKind::Builtin(self.name("after `builtin`")?.name))
    }

    fn static_member(&mut self) -> Parsed<ExprKind> {
        self.advance()?;
        self.expect(TokenKind::ColonColon, "after `static`")?;
        self.scoped(None)
    }

    fn variable_operand(&mut self) -> Parsed<ExprKind> {
        let token = self.advance()?;
        Ok(ExprKind::Variable(self.variable_ident(token).name))
    }

    fn constant(&mut self, value: ExprKind) -> Parsed<ExprKind> {
        self.advance()?;
        Ok(value)
    }

    #[cold]
    fn no_operand(&self) -> Diagnostic {
        let error = self.unexpected("an expression");
        let before = self.previous;
        let touches = |first: Token, second: Token| first.end == second.start;
        match (before.kind, self.token.kind) {
            (TokenKind::Dot, _)
                if before.start > 0
                    && self
                        .bytes(before.start - 1, before.start)
                        .first()
                        .is_some_and(u8::is_ascii_digit) =>
            {
                error.with_hint("a number needs digits behind its point, as in `5.0`")
            }
            (_, TokenKind::Dot)
                if self
                    .bytes(self.token.end, self.token.end + 1)
                    .first()
                    .is_some_and(u8::is_ascii_digit) =>
            {
                error.with_hint("a number needs digits before its point, as in `0.5`")
            }
            (
                TokenKind::Ampersand
                | TokenKind::Pipe
                | TokenKind::Caret
                | TokenKind::LessLess
                | TokenKind::GreaterGreater,
                TokenKind::Equal,
            ) if touches(before, self.token) => error.with_hint(
                "HSL has no such assignment: write the operation out, as in `$a = $a & $b`",
            ),
            (_, TokenKind::Object) => {
                error.with_hint("objects of this form no longer exist: write a `class`")
            }
            (_, kind) if kind.is_keyword() => {
                error.with_hint(format!("{} is a reserved word", kind.describe()))
            }
            _ => error,
        }
    }

    #[inline(never)]
    fn name_or_scoped(&mut self) -> Parsed<ExprKind> {
        let token = self.advance()?;
        let name = self.ident(token);
        if self.at_scope()? {
            self.advance()?;
            return self.scoped(Some(name));
        }
        Ok(ExprKind::Name(name.name))
    }

    /// Whether what follows a name is `::` and a member. In `$a[length::2]` the colons belong to the slice.
    fn at_scope(&self) -> Parsed<bool> {
        if !self.at(TokenKind::ColonColon) {
            return Ok(false);
        }
        let next = self.peek()?;
        Ok(matches!(next, TokenKind::Name | TokenKind::Variable) || next.is_keyword())
    }

    /// Takes the member behind `::`; in `namespace::Class::member` each name is one of the name before.
    fn scoped(&mut self, mut scope: Option<Ident>) -> Parsed<ExprKind> {
        let mut outer = Vec::new();
        loop {
            let is_variable = self.at(TokenKind::Variable);
            let member = if is_variable {
                self.variable("after `::`")?
            } else {
                self.member_name("after `::`")?
            };
            if is_variable || scope.is_none() || !self.at_scope()? {
                let outer = outer.into_boxed_slice();
                return Ok(ExprKind::Scoped { outer, scope, member, is_variable });
            }
            self.advance()?;
            outer.extend(scope.replace(member));
        }
    }

    /// Takes `isset` or `unset` and the place in parentheses behind it.
    #[inline(never)]
    fn tested_place(&mut self) -> Parsed<Box<Expr>> {
        let word = self.advance()?.kind.describe();
        let open = self.expect(TokenKind::LeftParen, &format!("after {word}"))?;
        let place = self.expr()?;
        if !place.kind.is_place() {
            return Err(self
                .error_at(&place, "expected a variable, an element or a property")
                .with_label(format!("cannot be given to {word}")));
        }
        self.close(TokenKind::RightParen, open)?;
        Ok(Box::new(place))
    }

    /// Takes `cache [options] callee(arguments)`.
    #[inline(never)]
    fn cache(&mut self) -> Parsed<ExprKind> {
        self.advance()?;
        let open = self.expect(TokenKind::LeftBracket, "with the options after `cache`")?;
        let options = self.array_items(open, TokenKind::RightBracket)?;
        let callee = self.primary()?;
        let is_function = match &callee.kind {
            ExprKind::Name(_) | ExprKind::Builtin(_) => true,
            ExprKind::Scoped { is_variable, .. } => !is_variable,
            _ => false,
        };
        if !is_function || !self.at(TokenKind::LeftParen) {
            return Err(self
                .error_at(&callee, "expected the call of a named function after `cache […]`")
                .with_hint(
                    "write `cache [\"ttl\" => 60] name(…)`; the name may be `Class::name`",
                ));
        }
        let arguments = self.arguments()?;
        Ok(ExprKind::Cache(Box::new(Cache { options, callee, arguments })))
    }

    /// Takes `match (subject) { … }`.
    #[inline(never)]
    fn match_expr(&mut self) -> Parsed<ExprKind> {
        self.advance()?;
        let open = self.expect(TokenKind::LeftParen, "after `match`")?;
        let subject = self.expr()?;
        self.close(TokenKind::RightParen, open)?;
        let open = self.expect(TokenKind::LeftBrace, "after the subject of `match`")?;
        let mut arms: Vec<MatchArm> = Vec::new();
        let mut has_default = false;
        loop {
            let start = self.token.start;
            let labels = self.match_labels(open)?;
            if labels.is_empty() && std::mem::replace(&mut has_default, true) {
                return Err(Diagnostic::error(
                    self.span_from(start),
                    "this `match` already has a `default`",
                ));
            }
            self.expect(TokenKind::FatArrow, "after the values of a `match` arm")?;
            let value = self.expr()?;
            arms.push(MatchArm { labels, value });
            let is_more = self.eat(TokenKind::Comma)?;
            if self.at(TokenKind::RightBrace) {
                break;
            }
            if !is_more {
                return Err(self.unclosed(
                    TokenKind::RightBrace,
                    open,
                    "`,` or `}` after a `match` arm",
                ));
            }
        }
        self.close(TokenKind::RightBrace, open)?;
        Ok(ExprKind::Match(Box::new(Match { subject, arms })))
    }

    /// Takes the values of an arm; none for `default`.
    fn match_labels(&mut self, open: Token) -> Parsed<Vec<Expr>> {
        if self.at(TokenKind::EndOfFile) {
            return Err(self.unclosed(TokenKind::RightBrace, open, "a `match` arm"));
        }
        let mut labels = Vec::new();
        if self.eat(TokenKind::Default)? {
            return Ok(labels);
        }
        labels.push(self.expr()?);
        while self.eat(TokenKind::Comma)? {
            labels.push(self.expr()?);
        }
        Ok(labels)
    }
}
