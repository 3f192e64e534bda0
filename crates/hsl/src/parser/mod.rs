//! The parser: text to syntax tree, by recursive descent.
//!
//! Start at [`parse`]. `stmt` has the statements, `expr` the operators, `operand` what they combine,
//! `literal` the literals and destructuring lists, `class` functions and classes, `import` the paths
//! and imports. The first error ends the parse; nothing is guessed and nothing repaired.
//!
//! Hostile text cannot exhaust the stack: every construct that nests counts towards
//! [`Limits::nesting`], pending operators included, and chains at one level are loops. Functions that
//! lie on the stack once per level are kept small: what they rarely need is a call that is not
//! inlined.
//!
//! Source: HSL manual, introduction, literals, operators and structures.

use hashbrown::HashSet;

use crate::ast::{Expr, Ident, Script};
use crate::diagnostic::Diagnostic;
use crate::lexer::Lexer;
use crate::source::{FileId, MAX_FILE_BYTES, SourceFile, Span};
use crate::symbol::Interner;
use crate::token::{Token, TokenKind, foreign_word};

mod class;
mod expr;
mod import;
mod literal;
mod operand;
mod stmt;

/// What the parser refuses to go beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many constructs may be inside one another: blocks, parentheses, array literals, operands.
    pub nesting: u32,
}

impl Default for Limits {
    /// 256 levels: ten times what real scripts use, and little enough for a thread's stack.
    fn default() -> Self {
        Self { nesting: 256 }
    }
}

/// Parses a file. Names are interned into `interner`, which all files of a program share.
///
/// # Errors
///
/// The first error of the text, with its place.
pub fn parse(
    file: &SourceFile,
    interner: &mut Interner,
    limits: &Limits,
) -> Result<Script, Diagnostic> {
    if file.text().len() > MAX_FILE_BYTES {
        return Err(Diagnostic::error(
            Span::new(file.id(), 0, 0),
            format!("this file is larger than {} MiB", MAX_FILE_BYTES >> 20),
        ));
    }
    let mut parser = Parser::new(file, interner, limits);
    parser.advance()?;
    let body = parser.statements_until(TokenKind::EndOfFile)?;
    parser.refuse_stray_appends()?;
    Ok(Script { file: file.id(), body })
}

/// What every parsing function returns.
type Parsed<T> = Result<T, Diagnostic>;

/// The state of a parse: one token ahead of what has been understood.
struct Parser<'s, 'i> {
    lexer: Lexer<'s>,
    text: &'s [u8],
    file: FileId,
    interner: &'i mut Interner,
    /// The next token, not yet taken.
    token: Token,
    /// The token taken last.
    previous: Token,
    /// The first token of the innermost statement, for hints.
    statement: Token,
    /// Levels entered and not yet left.
    depth: u32,
    nesting: u32,
    /// Operands and operators of all expressions that are being read; each expression uses the part
    /// above what it found. See [`expr`].
    operands: Vec<expr::Operand>,
    operators: Vec<expr::Pending>,
    /// Where `[]` was read and no assignment has claimed it yet: offsets of the brackets.
    appends: HashSet<u32>,
    /// How many functions enclose this place.
    functions: u32,
    /// Whether the innermost function has a `yield`.
    has_yield: bool,
}

impl<'s, 'i> Parser<'s, 'i> {
    fn new(file: &'s SourceFile, interner: &'i mut Interner, limits: &Limits) -> Self {
        let nothing = Token { kind: TokenKind::EndOfFile, start: 0, end: 0 };
        Self {
            lexer: Lexer::new(file),
            text: file.text(),
            file: file.id(),
            interner,
            token: nothing,
            previous: nothing,
            statement: nothing,
            depth: 0,
            nesting: limits.nesting,
            operands: Vec::new(),
            operators: Vec::new(),
            appends: HashSet::new(),
            functions: 0,
            has_yield: false,
        }
    }

    // Tokens

    /// Takes the next token and returns it.
    fn advance(&mut self) -> Parsed<Token> {
        self.previous = self.token;
        self.token = self.lexer.next_token()?;
        Ok(self.previous)
    }

    fn at(&self, kind: TokenKind) -> bool {
        self.token.kind == kind
    }

    /// Returns the kind of the token behind the next one.
    fn peek(&self) -> Parsed<TokenKind> {
        Ok(self.lexer.clone().next_token()?.kind)
    }

    /// Takes the next token if it is of this kind.
    fn eat(&mut self, kind: TokenKind) -> Parsed<bool> {
        let is_there = self.at(kind);
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    /// Takes a token of this kind; `place` says in errors where it belongs, as in `after X`.
    fn expect(&mut self, kind: TokenKind, place: &str) -> Parsed<Token> {
        if self.at(kind) {
            self.advance()
        } else {
            Err(self.unexpected(&format!("{} {place}", kind.describe())))
        }
    }

    /// Takes the `;` that ends a statement. The error is placed where it is missing.
    fn expect_semicolon(&mut self, place: &str) -> Parsed<()> {
        if self.at(TokenKind::Semicolon) {
            self.advance()?;
            return Ok(());
        }
        let found = self.describe_token();
        let message = format!("expected `;` {place}, found {found}");
        let gap = self.previous.span(self.file).after();
        Err(self.completed(Diagnostic::error(gap, message)))
    }

    /// Takes the closing partner of `open`, which was read before.
    fn close(&mut self, kind: TokenKind, open: Token) -> Parsed<Token> {
        if self.at(kind) {
            return self.advance();
        }
        Err(self.unclosed(kind, open, kind.describe()))
    }

    /// Makes the error for a closing mark that is not there, where `expected` could have stood.
    #[cold]
    fn unclosed(&self, kind: TokenKind, open: Token, expected: &str) -> Diagnostic {
        let at = open.span(self.file);
        if self.at(TokenKind::EndOfFile) {
            return Diagnostic::error(at, format!("this {} is never closed", open.kind.describe()))
                .with_label(format!("no {} for this", kind.describe()))
                .with_note(self.token.span(self.file), "the file ends here")
                .because_text_ends();
        }
        self.unexpected(expected).with_note(at, "opened here")
    }

    /// Takes a variable and returns its name without `$`.
    fn variable(&mut self, place: &str) -> Parsed<Ident> {
        if !self.at(TokenKind::Variable) {
            return Err(self.unexpected(&format!("a variable {place}")));
        }
        let token = self.advance()?;
        Ok(self.variable_ident(token))
    }

    /// Takes a name that is no reserved word.
    fn name(&mut self, place: &str) -> Parsed<Ident> {
        if !self.at(TokenKind::Name) {
            let error = self.unexpected(&format!("a name {place}"));
            return Err(if self.token.kind.is_keyword() {
                error.with_hint(format!("{} is a reserved word", self.token.kind.describe()))
            } else {
                error
            });
        }
        let token = self.advance()?;
        Ok(self.ident(token))
    }

    /// Takes a name behind `->`, behind `::` or in a class, where reserved words are names too.
    fn member_name(&mut self, place: &str) -> Parsed<Ident> {
        if !self.at(TokenKind::Name) && !self.token.kind.is_keyword() {
            return Err(self.unexpected(&format!("a name {place}")));
        }
        let token = self.advance()?;
        Ok(self.ident(token))
    }

    fn variable_ident(&mut self, token: Token) -> Ident {
        self.ident_at(token.start + 1, token)
    }

    fn ident(&mut self, token: Token) -> Ident {
        self.ident_at(token.start, token)
    }

    /// Interns the name from `start` to the end of `token`.
    fn ident_at(&mut self, start: u32, token: Token) -> Ident {
        let name = self.bytes(start, token.end);
        // Names are ASCII by the lexer's rules, so none is lost here.
        let name = std::str::from_utf8(name).unwrap_or_default();
        Ident { name: self.interner.intern(name), span: token.span(self.file) }
    }

    fn token_text(&self, token: Token) -> &'s [u8] {
        self.bytes(token.start, token.end)
    }

    fn bytes(&self, start: u32, end: u32) -> &'s [u8] {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    // Places and depth

    /// Returns the span from `start` to the end of the token taken last.
    fn span_from(&self, start: u32) -> Span {
        Span::new(self.file, start, self.previous.end)
    }

    /// Counts one level of nesting; the caller leaves it by subtracting one from `depth`. After an
    /// error nobody does: the parse is over.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        self.check_depth()
    }

    /// Pending operators nest as well: each of them will be a node with the next operand inside.
    fn check_depth(&self) -> Parsed<()> {
        let pending = u32::try_from(self.operators.len()).unwrap_or(u32::MAX);
        if self.depth.saturating_add(pending) <= self.nesting {
            return Ok(());
        }
        let at = self.token.span(self.file);
        Err(Diagnostic::error(at, format!("nested deeper than {} levels", self.nesting))
            .with_hint("move the inner part into a function or a variable"))
    }

    /// Refuses `[]` where no assignment fills it. Checked at the end, because whether an array
    /// literal is a destructuring list shows only behind it.
    fn refuse_stray_appends(&self) -> Parsed<()> {
        match self.appends.iter().min() {
            None => Ok(()),
            Some(&start) => Err(Diagnostic::error(
                Span::new(self.file, start, start + 1),
                "`[]` can only be assigned to",
            )
            .with_hint("to read, give an index; `[-1:][0]` is the last element")),
        }
    }

    // Errors

    /// Makes the error for a token that cannot stand here.
    #[cold]
    fn unexpected(&self, expected: &str) -> Diagnostic {
        let found = self.describe_token();
        let error = Diagnostic::error(
            self.token.span(self.file),
            format!("expected {expected}, found {found}"),
        );
        self.completed(error)
    }

    fn describe_token(&self) -> String {
        let text = std::str::from_utf8(self.token_text(self.token)).unwrap_or_default();
        match self.token.kind {
            TokenKind::Name | TokenKind::Variable | TokenKind::Number
                if text.len() <= LONGEST_QUOTED =>
            {
                format!("`{text}`")
            }
            kind => kind.describe().to_owned(),
        }
    }

    /// Adds what is known about the surroundings of an error: whether the text ends here, and a hint
    /// if a word of another language is near.
    fn completed(&self, mut error: Diagnostic) -> Diagnostic {
        if self.at(TokenKind::EndOfFile) {
            error = error.because_text_ends();
        }
        let near = [self.token, self.previous, self.statement];
        let hint = near.iter().find_map(|&token| foreign_word(self.token_text(token)));
        let arrow = self.at(TokenKind::FatArrow).then_some(ARROW_HINT);
        match hint.or(arrow) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    #[cold]
    fn error_at(&self, expr: &Expr, message: &str) -> Diagnostic {
        Diagnostic::error(expr.span, message)
    }
}

/// For those who write functions as arrows, or arguments with names.
const ARROW_HINT: &str = "`=>` stands in arrays, `match`, `foreach` and `barrier`; a function is written \
                          `function ($x) { return …; }`";

/// Longer words are not repeated in errors.
const LONGEST_QUOTED: usize = 40;

#[cfg(test)]
mod tests;
