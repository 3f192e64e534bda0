//! `include`, `include_once` and `import`.

use super::{Parsed, Parser};
use crate::ast::{Import, ImportSymbol, ImportWhat, StmtKind};
use crate::token::{Token, TokenKind};

impl Parser<'_, '_> {
    /// Takes `include "path";` or `include_once "path";`.
    #[inline(never)]
    pub(super) fn include_statement(&mut self) -> Parsed<StmtKind> {
        let once = self.advance()?.kind == TokenKind::IncludeOnce;
        let path = self.plain_string("the path of a file")?;
        self.expect_semicolon("after the path")?;
        Ok(StmtKind::Include { path, once })
    }

    /// Takes `import … from "path" with […];`.
    #[inline(never)]
    pub(super) fn import_statement(&mut self) -> Parsed<StmtKind> {
        self.advance()?;
        let what = match self.token.kind {
            TokenKind::LeftBrace => {
                let open = self.advance()?;
                ImportWhat::Symbols(self.import_symbols(open)?)
            }
            TokenKind::Star => {
                self.advance()?;
                self.expect(TokenKind::As, "after `import *`")?;
                ImportWhat::Namespace(self.name("for the namespace")?)
            }
            TokenKind::Variable => ImportWhat::Data(self.variable("after `import`")?),
            _ => {
                return Err(self
                    .unexpected("`{`, `*` or a variable after `import`")
                    .with_hint("write `import { name } from \"path\";`"));
            }
        };
        self.expect(TokenKind::From, "after what is imported")?;
        let path = self.plain_string("the path of a module")?;
        let options = if self.eat(TokenKind::With)? { Some(self.expr()?) } else { None };
        self.expect_semicolon("after `import`")?;
        Ok(StmtKind::Import(Box::new(Import { what, path, options })))
    }

    fn import_symbols(&mut self, open: Token) -> Parsed<Vec<ImportSymbol>> {
        let mut symbols = Vec::new();
        loop {
            symbols.push(self.import_symbol(open)?);
            let is_more = self.eat(TokenKind::Comma)?;
            if self.at(TokenKind::RightBrace) {
                break;
            }
            if !is_more {
                return Err(self.unclosed(TokenKind::RightBrace, open, "`,` or `}` in `import`"));
            }
        }
        self.close(TokenKind::RightBrace, open)?;
        Ok(symbols)
    }

    /// Takes `name`, `$name`, `name as other` or `$name as $other`.
    fn import_symbol(&mut self, open: Token) -> Parsed<ImportSymbol> {
        if self.at(TokenKind::EndOfFile) {
            return Err(self.unclosed(TokenKind::RightBrace, open, "a name"));
        }
        let is_variable = self.at(TokenKind::Variable);
        let name = if is_variable { self.variable("to import")? } else { self.name("to import")? };
        let alias = if !self.eat(TokenKind::As)? {
            None
        } else if is_variable {
            Some(self.variable("after `as`, because a variable is imported")?)
        } else {
            Some(self.name("after `as`, because a function or class is imported")?)
        };
        Ok(ImportSymbol { name, alias, is_variable })
    }
}
