//! Statements and blocks.

use super::{Parsed, Parser};
use crate::ast::{Block, Case, Expr, For, Foreach, Ident, Stmt, StmtKind};
use crate::diagnostic::Diagnostic;
use crate::token::{Token, TokenKind};

impl Parser<'_, '_> {
    /// Takes statements up to a token of kind `end`, which stays.
    pub(super) fn statements_until(&mut self, end: TokenKind) -> Parsed<Vec<Stmt>> {
        let mut body = Vec::new();
        while !self.at(end) {
            if self.at(TokenKind::EndOfFile) {
                break;
            }
            body.push(self.statement()?);
        }
        Ok(body)
    }

    /// Takes `{ … }`; `place` says in errors where it belongs, as in `after X`.
    pub(super) fn block(&mut self, place: &str) -> Parsed<Block> {
        let open = self.expect(TokenKind::LeftBrace, place)?;
        let body = self.statements_until(TokenKind::RightBrace)?;
        self.close(TokenKind::RightBrace, open)?;
        Ok(Block { body, span: self.span_from(open.start) })
    }

    /// Takes one statement.
    pub(super) fn statement(&mut self) -> Parsed<Stmt> {
        self.enter()?;
        self.statement = self.token;
        let start = self.token.start;
        let kind = self.statement_kind()?;
        self.depth -= 1;
        Ok(Stmt { kind, span: self.span_from(start) })
    }

    /// Chooses by the first word. Each arm is one call, so that the frame of this function, which
    /// lies on the stack once per level of nesting, stays small.
    fn statement_kind(&mut self) -> Parsed<StmtKind> {
        match self.token.kind {
            TokenKind::Semicolon => self.empty_statement(),
            TokenKind::LeftBrace => self.block_statement(),
            TokenKind::If => self.if_statement(),
            TokenKind::Echo => self.operand_statement(StmtKind::Echo),
            TokenKind::Throw => self.operand_statement(StmtKind::Throw),
            TokenKind::Return => self.return_statement(),
            TokenKind::Foreach => self.foreach_statement(),
            TokenKind::For => self.for_statement(),
            TokenKind::While => self.while_statement(),
            TokenKind::Forever => self.forever_statement(),
            TokenKind::Switch => self.switch_statement(),
            TokenKind::Break => self.word_statement(StmtKind::Break),
            TokenKind::Continue => self.word_statement(StmtKind::Continue),
            TokenKind::Yield => self.yield_statement(),
            TokenKind::Try => self.try_statement(),
            TokenKind::Barrier => self.barrier_statement(),
            TokenKind::Global => self.global_statement(),
            TokenKind::Include | TokenKind::IncludeOnce => self.include_statement(),
            TokenKind::Import => self.import_statement(),
            TokenKind::Function => self.function_statement(),
            TokenKind::Class => self.class_statement(),
            TokenKind::Name => self.name_statement(),
            TokenKind::RightBrace | TokenKind::Else | TokenKind::Case | TokenKind::Catch => {
                Err(self.unexpected("a statement"))
            }
            _ => self.expr_statement(),
        }
    }

    fn empty_statement(&mut self) -> Parsed<StmtKind> {
        self.advance()?;
        Ok(StmtKind::Empty)
    }

    #[inline(never)]
    fn block_statement(&mut self) -> Parsed<StmtKind> {
        self.block("").map(StmtKind::Block)
    }

    fn expr_statement(&mut self) -> Parsed<StmtKind> {
        let expr = self.expr()?;
        self.expect_semicolon("after expression")?;
        Ok(StmtKind::Expr(expr))
    }

    fn forever_statement(&mut self) -> Parsed<StmtKind> {
        self.advance()?;
        Ok(StmtKind::Forever(self.body()?))
    }

    /// Takes a named function, or an expression that starts with an anonymous one.
    #[inline(never)]
    fn function_statement(&mut self) -> Parsed<StmtKind> {
        if self.peek()? == TokenKind::LeftParen {
            return self.expr_statement();
        }
        let function = self.named_function()?;
        Ok(StmtKind::Function(Box::new(function)))
    }

    #[inline(never)]
    fn class_statement(&mut self) -> Parsed<StmtKind> {
        let class = self.class()?;
        Ok(StmtKind::Class(Box::new(class)))
    }

    /// Takes `__debug […]`, which only debuggers write, or an expression. Anywhere else `__debug` is a
    /// name like any other.
    ///
    /// # Compatibility
    ///
    /// Debuggers put it in front of a line, without `;`.
    #[inline(never)]
    fn name_statement(&mut self) -> Parsed<StmtKind> {
        if self.token_text(self.token) != b"__debug" || self.peek()? != TokenKind::LeftBracket {
            return self.expr_statement();
        }
        self.advance()?;
        let open = self.advance()?;
        let items = self.array_items(open, TokenKind::RightBracket)?;
        self.eat(TokenKind::Semicolon)?;
        Ok(StmtKind::Debug(items))
    }

    /// Takes the statement of a loop or branch.
    fn body(&mut self) -> Parsed<Box<Stmt>> {
        self.branch().map(Box::new)
    }

    /// The same, where it stands.
    fn branch(&mut self) -> Parsed<Stmt> {
        let statement = self.statement()?;
        if matches!(statement.kind, StmtKind::Debug(_))
            && self.previous.kind != TokenKind::Semicolon
        {
            return self.body_behind(statement);
        }
        Ok(statement)
    }

    /// Takes the statement of a loop or branch in front of whose line a debugger put its own: the branch
    /// is about both.
    #[inline(never)]
    fn body_behind(&mut self, first: Stmt) -> Parsed<Stmt> {
        let start = first.span.start;
        let mut body = vec![first];
        while matches!(body.last(), Some(Stmt { kind: StmtKind::Debug(_), .. }))
            && self.previous.kind != TokenKind::Semicolon
        {
            body.push(self.statement()?);
        }
        let span = self.span_from(start);
        Ok(Stmt { kind: StmtKind::Block(Block { body, span }), span })
    }

    /// Takes a word, an expression and `;`.
    fn operand_statement(&mut self, kind: fn(Expr) -> StmtKind) -> Parsed<StmtKind> {
        self.advance()?;
        let expr = self.expr()?;
        self.expect_semicolon("after expression")?;
        Ok(kind(expr))
    }

    /// Takes a word and `;`.
    fn word_statement(&mut self, kind: StmtKind) -> Parsed<StmtKind> {
        let word = self.advance()?;
        self.expect_semicolon(&format!("after {}", word.kind.describe()))?;
        Ok(kind)
    }

    /// Takes `(condition)` behind a word.
    fn condition(&mut self, word: Token) -> Parsed<Expr> {
        let place = format!("after {}", word.kind.describe());
        let open = self.expect(TokenKind::LeftParen, &place)?;
        let condition = self.expr()?;
        self.close(TokenKind::RightParen, open)?;
        Ok(condition)
    }

    /// Takes an `if` with all its `else if`, however many there are.
    #[inline(never)]
    fn if_statement(&mut self) -> Parsed<StmtKind> {
        let mut arms = Vec::with_capacity(1);
        loop {
            let word = self.advance()?;
            let condition = self.condition(word)?;
            arms.push((condition, self.branch()?));
            if !self.eat(TokenKind::Else)? {
                return Ok(StmtKind::If { arms, otherwise: None });
            }
            if !self.at(TokenKind::If) {
                let otherwise = Some(self.body()?);
                return Ok(StmtKind::If { arms, otherwise });
            }
        }
    }

    fn return_statement(&mut self) -> Parsed<StmtKind> {
        self.advance()?;
        if self.eat(TokenKind::Semicolon)? {
            return Ok(StmtKind::Return(None));
        }
        let value = self.expr()?;
        self.expect_semicolon("after the value of `return`")?;
        Ok(StmtKind::Return(Some(value)))
    }

    #[inline(never)]
    fn for_statement(&mut self) -> Parsed<StmtKind> {
        self.advance()?;
        let open = self.expect(TokenKind::LeftParen, "after `for`")?;
        let init =
            self.for_part(TokenKind::Semicolon, open, "`;` after the first part of `for`")?;
        let condition =
            self.for_part(TokenKind::Semicolon, open, "`;` after the condition of `for`")?;
        let step =
            self.for_part(TokenKind::RightParen, open, "`)` after the last part of `for`")?;
        let body = self.statement()?;
        Ok(StmtKind::For(Box::new(For { init, condition, step, body })))
    }

    /// Takes a part of `for (…)`, which may be empty, and the mark behind it.
    fn for_part(&mut self, end: TokenKind, open: Token, expected: &str) -> Parsed<Option<Expr>> {
        if self.eat(end)? {
            return Ok(None);
        }
        let part = self.expr()?;
        if !self.eat(end)? {
            return Err(self.unclosed(TokenKind::RightParen, open, expected));
        }
        Ok(Some(part))
    }

    #[inline(never)]
    fn foreach_statement(&mut self) -> Parsed<StmtKind> {
        self.advance()?;
        let open = self.expect(TokenKind::LeftParen, "after `foreach`")?;
        let subject = self.expr()?;
        self.expect(TokenKind::As, "after what `foreach` walks")?;
        let mut value = self.foreach_variable("after `as`")?;
        let mut key = None;
        if self.eat(TokenKind::FatArrow)? {
            key = Some(value);
            value = self.foreach_variable("after `=>`")?;
        }
        self.close(TokenKind::RightParen, open)?;
        let body = self.statement()?;
        Ok(StmtKind::Foreach(Box::new(Foreach { subject, key, value, body })))
    }

    fn foreach_variable(&mut self, place: &str) -> Parsed<Ident> {
        let is_pattern = self.at(TokenKind::LeftBracket);
        self.variable(place)
            .map_err(|error| if is_pattern { error.with_hint(FOREACH_PATTERN_HINT) } else { error })
    }

    fn while_statement(&mut self) -> Parsed<StmtKind> {
        let word = self.advance()?;
        let condition = self.condition(word)?;
        let body = self.body()?;
        Ok(StmtKind::While { condition, body })
    }

    #[inline(never)]
    fn switch_statement(&mut self) -> Parsed<StmtKind> {
        let word = self.advance()?;
        let subject = self.condition(word)?;
        let open = self.expect(TokenKind::LeftBrace, "after the subject of `switch`")?;
        let mut cases: Vec<Case> = Vec::new();
        let mut has_default = false;
        while matches!(self.token.kind, TokenKind::Case | TokenKind::Default) {
            let start = self.token;
            let case = self.case()?;
            if case.label.is_none() && std::mem::replace(&mut has_default, true) {
                return Err(Diagnostic::error(
                    start.span(self.file),
                    "this `switch` already has a `default`",
                ));
            }
            cases.push(case);
        }
        if !self.at(TokenKind::RightBrace) {
            let expected = "`case`, `default` or `}` in `switch`";
            return Err(self.unclosed(TokenKind::RightBrace, open, expected));
        }
        self.advance()?;
        Ok(StmtKind::Switch { subject, cases })
    }

    #[inline(never)]
    fn case(&mut self) -> Parsed<Case> {
        let word = self.advance()?;
        let label = if word.kind == TokenKind::Default { None } else { Some(self.expr()?) };
        self.expect(TokenKind::Colon, &format!("after {}", word.kind.describe()))?;
        let span = self.span_from(word.start);
        let mut body = Vec::new();
        while !matches!(
            self.token.kind,
            TokenKind::Case | TokenKind::Default | TokenKind::RightBrace | TokenKind::EndOfFile
        ) {
            body.push(self.statement()?);
        }
        Ok(Case { label, body, span })
    }

    fn yield_statement(&mut self) -> Parsed<StmtKind> {
        if self.functions == 0 {
            let at = self.token.span(self.file);
            return Err(Diagnostic::error(at, "`yield` outside a function")
                .with_hint("a function that contains `yield` is a generator"));
        }
        self.has_yield = true;
        self.operand_statement(StmtKind::Yield)
    }

    #[inline(never)]
    fn try_statement(&mut self) -> Parsed<StmtKind> {
        self.advance()?;
        let body = self.block("after `try`")?;
        self.expect(TokenKind::Catch, "after the block of `try`")?;
        let open = self.expect(TokenKind::LeftParen, "after `catch`")?;
        let variable = self.variable("for what is caught")?;
        self.close(TokenKind::RightParen, open)?;
        let handler = self.block("after `catch (…)`")?;
        Ok(StmtKind::Try { body, variable, handler })
    }

    #[inline(never)]
    fn barrier_statement(&mut self) -> Parsed<StmtKind> {
        self.advance()?;
        let name = self.expr()?;
        let variable =
            if self.eat(TokenKind::FatArrow)? { Some(self.variable("after `=>`")?) } else { None };
        let body = self.block("after the name of the `barrier`")?;
        Ok(StmtKind::Barrier { name, variable, body })
    }

    #[inline(never)]
    fn global_statement(&mut self) -> Parsed<StmtKind> {
        self.advance()?;
        let mut variables: Vec<Ident> = Vec::with_capacity(1);
        loop {
            variables.push(self.variable("in `global`")?);
            if !self.eat(TokenKind::Comma)? {
                break;
            }
        }
        self.expect_semicolon("after `global`")?;
        Ok(StmtKind::Global(variables))
    }
}

const FOREACH_PATTERN_HINT: &str =
    "an item is taken apart in the loop: `foreach ($list as $item) { [$a, $b] = $item; … }`";
