//! Functions and classes.

use hashbrown::HashMap;

use super::{Parsed, Parser};
use crate::ast::{Class, Function, Ident, Member, MemberKind, Param};
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::symbol::Symbol;
use crate::token::{Token, TokenKind};

/// The words before a class member, each with its place.
#[derive(Clone, Copy, Default)]
struct Modifiers {
    private: Option<Token>,
    readonly: Option<Token>,
    is_static: Option<Token>,
}

impl Parser<'_, '_> {
    /// Takes `function name(params) { … }`.
    pub(super) fn named_function(&mut self) -> Parsed<Function> {
        let start = self.advance()?.start;
        let name = self.name("after `function`")?;
        self.function(start, Some(name))
    }

    /// Takes what follows the word `function`: `(params) closure (…) { … }`.
    pub(super) fn anonymous_function(&mut self, start: u32) -> Parsed<Function> {
        self.function(start, None)
    }

    /// Takes parameters, captures and body. Only a function without name can capture.
    #[inline(never)]
    fn function(&mut self, start: u32, name: Option<Ident>) -> Parsed<Function> {
        let params = self.params()?;
        let captures = if name.is_some() { Vec::new() } else { self.captures()? };
        let outer_has_yield = std::mem::replace(&mut self.has_yield, false);
        if name.is_some() && self.at(TokenKind::Closure) {
            return Err(self
                .unexpected("`{` before the body of the function")
                .with_hint("only a function without a name captures variables"));
        }
        self.functions += 1;
        self.enter()?;
        let body = self.block("before the body of the function")?;
        self.depth -= 1;
        self.functions -= 1;
        let is_generator = std::mem::replace(&mut self.has_yield, outer_has_yield);
        let span = self.span_from(start);
        Ok(Function { name, params, captures, body, is_generator, span })
    }

    #[inline(never)]
    fn params(&mut self) -> Parsed<Vec<Param>> {
        let open = self.expect(TokenKind::LeftParen, "before the parameters")?;
        let mut params: Vec<Param> = Vec::new();
        let mut names = HashMap::new();
        while !self.at(TokenKind::RightParen) {
            let param = self.param()?;
            if let Some(last) = params.last() {
                if last.is_rest {
                    let at = last.name.span;
                    return Err(Diagnostic::error(at, "`...` must be the last parameter"));
                }
                if last.default.is_some() && param.default.is_none() && !param.is_rest {
                    return Err(Diagnostic::error(
                        param.name.span,
                        "a parameter without default follows one with a default",
                    )
                    .with_note(last.name.span, "this one has a default"));
                }
            }
            self.refuse_twice(&mut names, param.name)?;
            params.push(param);
            if !self.eat(TokenKind::Comma)? {
                break;
            }
            if self.at(TokenKind::RightParen) {
                return Err(self.unexpected("a parameter after `,`"));
            }
        }
        if !self.at(TokenKind::RightParen) {
            let expected = "`,` or `)` in the parameter list";
            return Err(self.unclosed(TokenKind::RightParen, open, expected));
        }
        self.advance()?;
        Ok(params)
    }

    fn param(&mut self) -> Parsed<Param> {
        let is_rest = self.eat(TokenKind::Ellipsis)?;
        if matches!(self.token.kind, TokenKind::Name | TokenKind::Array | TokenKind::Function)
            && self.peek()? == TokenKind::Variable
        {
            return Err(self
                .unexpected("a variable in the parameter list")
                .with_hint("HSL has no type hints: write the variable alone"));
        }
        let name = self.variable("in the parameter list")?;
        let default =
            if !is_rest && self.eat(TokenKind::Equal)? { Some(self.expr()?) } else { None };
        Ok(Param { name, default, is_rest })
    }

    fn captures(&mut self) -> Parsed<Vec<Ident>> {
        let mut captures = Vec::new();
        if !self.eat(TokenKind::Closure)? {
            return Ok(captures);
        }
        let open = self.expect(TokenKind::LeftParen, "after `closure`")?;
        while !self.at(TokenKind::RightParen) {
            captures.push(self.variable("in `closure (…)`")?);
            if !self.eat(TokenKind::Comma)? {
                break;
            }
        }
        self.close(TokenKind::RightParen, open)?;
        Ok(captures)
    }

    /// Takes `class Name { … }`.
    #[inline(never)]
    pub(super) fn class(&mut self) -> Parsed<Class> {
        self.advance()?;
        let name = self.name("after `class`")?;
        let open = self.expect(TokenKind::LeftBrace, "after the name of the class")?;
        let mut members = Vec::new();
        let (mut variables, mut functions) = (HashMap::new(), HashMap::new());
        let mut constructor = None;
        while !self.at(TokenKind::RightBrace) {
            if self.eat(TokenKind::Semicolon)? {
                continue;
            }
            if self.at(TokenKind::EndOfFile) {
                return Err(self.unclosed(TokenKind::RightBrace, open, "a class member"));
            }
            let member = self.member()?;
            match &member.kind {
                MemberKind::Constructor(_) => {
                    if let Some(first) = constructor.replace(member.span) {
                        return Err(Diagnostic::error(
                            member.span,
                            "this class already has a constructor",
                        )
                        .with_note(first, "the first one"));
                    }
                }
                MemberKind::Method(function) => {
                    if let Some(name) = function.name {
                        self.refuse_shared_name(&variables, name)?;
                        functions.insert(name.name, name.span);
                    }
                }
                MemberKind::Property { name, .. } => {
                    self.refuse_shared_name(&functions, *name)?;
                    variables.insert(name.name, name.span);
                }
            }
            members.push(member);
        }
        self.advance()?;
        Ok(Class { name, members })
    }

    /// Takes a member: constructor, function or variable, with the words before it.
    #[inline(never)]
    fn member(&mut self) -> Parsed<Member> {
        let start = self.token.start;
        self.statement = self.token;
        let modifiers = self.modifiers()?;
        let kind = match self.token.kind {
            TokenKind::Constructor => {
                self.refuse_modifiers(modifiers, "a constructor", |modifiers| {
                    modifiers.private.or(modifiers.readonly).or(modifiers.is_static)
                })?;
                let start = self.advance()?.start;
                MemberKind::Constructor(self.constructor(start)?)
            }
            TokenKind::Function => {
                self.refuse_modifiers(modifiers, "a function", |modifiers| modifiers.readonly)?;
                let start = self.advance()?.start;
                let name = self.member_name("after `function`")?;
                MemberKind::Method(self.function(start, Some(name))?)
            }
            TokenKind::Variable => self.property_member(modifiers)?,
            _ => {
                return Err(
                    self.unexpected("a class member: `constructor`, `function` or a variable")
                );
            }
        };
        Ok(Member {
            kind,
            is_private: modifiers.private.is_some(),
            is_static: modifiers.is_static.is_some(),
            span: self.span_from(start),
        })
    }

    fn constructor(&mut self, start: u32) -> Parsed<Function> {
        let function = self.function(start, None)?;
        if let Some(first) = function.captures.first() {
            return Err(Diagnostic::error(first.span, "a constructor cannot capture variables"));
        }
        Ok(function)
    }

    #[inline(never)]
    fn property_member(&mut self, modifiers: Modifiers) -> Parsed<MemberKind> {
        let name = self.variable("")?;
        if self.at(TokenKind::Semicolon) {
            return Err(self
                .unexpected("`=` after the class variable")
                .with_hint("every class variable has a first value, such as `none`"));
        }
        self.expect(TokenKind::Equal, "after the class variable")?;
        let value = self.expr()?;
        self.expect_semicolon("after the value of the class variable")?;
        Ok(MemberKind::Property { name, value, is_readonly: modifiers.readonly.is_some() })
    }

    /// Takes `private`, `readonly` and `static` in any order, each at most once.
    fn modifiers(&mut self) -> Parsed<Modifiers> {
        let mut modifiers = Modifiers::default();
        loop {
            let slot = match self.token.kind {
                TokenKind::Private => &mut modifiers.private,
                TokenKind::Readonly => &mut modifiers.readonly,
                TokenKind::Static => &mut modifiers.is_static,
                _ => return Ok(modifiers),
            };
            if slot.replace(self.token).is_some() {
                let word = self.token.kind.describe();
                let at = self.token.span(self.file);
                return Err(Diagnostic::error(at, format!("{word} is given twice")));
            }
            self.advance()?;
        }
    }

    /// Refuses the word that `wrong` picks, if any.
    fn refuse_modifiers(
        &self,
        modifiers: Modifiers,
        what: &str,
        wrong: impl Fn(Modifiers) -> Option<Token>,
    ) -> Parsed<()> {
        match wrong(modifiers) {
            None => Ok(()),
            Some(token) => {
                let word = token.kind.describe();
                let at = token.span(self.file);
                Err(Diagnostic::error(at, format!("{what} cannot be {word}")))
            }
        }
    }

    /// Refuses a member whose name a member of the other kind has: variables and functions of a class
    /// are reached in the same way.
    fn refuse_shared_name(&self, others: &HashMap<Symbol, Span>, ident: Ident) -> Parsed<()> {
        match others.get(&ident.name) {
            None => Ok(()),
            Some(&other) => {
                let name = self.interner.name(ident.name);
                let message = format!("a variable and a function of this class are named `{name}`");
                Err(Diagnostic::error(ident.span, message).with_note(other, "the other one"))
            }
        }
    }

    /// Refuses a parameter name that is in `names`, else puts it there.
    fn refuse_twice(&self, names: &mut HashMap<Symbol, Span>, ident: Ident) -> Parsed<()> {
        match names.insert(ident.name, ident.span) {
            None => Ok(()),
            Some(first) => {
                let name = self.interner.name(ident.name);
                Err(Diagnostic::error(ident.span, format!("a second parameter named `${name}`"))
                    .with_note(first, "the first one"))
            }
        }
    }
}
