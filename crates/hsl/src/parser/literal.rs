//! Literals: numbers, strings, regular expressions, arrays; and array literals read again as
//! destructuring lists.

use memchr::memchr2;

use super::{Parsed, Parser};
use crate::ast::{
    ArrayItem, Expr, ExprKind, Ident, Pattern, PatternEntry, Regex, StringLiteral, StringPart,
    SuffixKind, Target,
};
use crate::diagnostic::Diagnostic;
use crate::lexer::{is_name_part, is_name_start};
use crate::source::Span;
use crate::token::{Token, TokenKind};

impl Parser<'_, '_> {
    /// Takes a number.
    pub(super) fn number(&mut self) -> Parsed<ExprKind> {
        let token = self.advance()?;
        let value = number_value(self.token_text(token));
        if !value.is_finite() {
            let at = token.span(self.file);
            return Err(Diagnostic::error(at, "this number is too large"));
        }
        Ok(ExprKind::Number(value))
    }

    /// Takes a double-quoted string.
    #[inline(never)]
    pub(super) fn double_quoted(&mut self) -> Parsed<ExprKind> {
        let token = self.advance()?;
        let inner = self.bytes(token.start + 1, token.end - 1);
        if memchr2(b'\\', b'$', inner).is_none() {
            return Ok(ExprKind::String(inner.into()));
        }
        let mut parts = self.string_parts(token);
        Ok(match parts.pop() {
            None => ExprKind::String([].into()),
            Some(StringPart::Text(text)) if parts.is_empty() => ExprKind::String(text),
            Some(last) => {
                parts.push(last);
                ExprKind::Interpolated(parts)
            }
        })
    }

    /// Splits a double-quoted string into texts and variables.
    fn string_parts(&mut self, token: Token) -> Vec<StringPart> {
        let inner = self.bytes(token.start + 1, token.end - 1);
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut at = 0;
        while let Some(rest) = inner.get(at..).filter(|rest| !rest.is_empty()) {
            let plain = memchr2(b'\\', b'$', rest).unwrap_or(rest.len());
            text.extend_from_slice(rest.get(..plain).unwrap_or_default());
            at += plain;
            let rest = rest.get(plain..).unwrap_or_default();
            match rest.first() {
                None => break,
                Some(b'\\') => at += unescape(rest, &mut text),
                Some(_) => match interpolated_name(rest) {
                    None => {
                        text.push(b'$');
                        at += 1;
                    }
                    Some((name, length)) => {
                        if !text.is_empty() {
                            let text = std::mem::take(&mut text);
                            parts.push(StringPart::Text(text.into()));
                        }
                        // The string lies in the text, whose offsets fit.
                        let start = token.start + 1 + u32::try_from(at).unwrap_or(0);
                        let end = start + u32::try_from(length).unwrap_or(0);
                        parts.push(StringPart::Variable(Ident {
                            name: self.interner.intern(name),
                            span: Span::new(self.file, start, end),
                        }));
                        at += length;
                    }
                },
            }
        }
        if !text.is_empty() {
            parts.push(StringPart::Text(text.into()));
        }
        parts
    }

    /// Takes a raw string.
    #[inline(never)]
    pub(super) fn raw_string(&mut self) -> Parsed<Box<[u8]>> {
        let token = self.advance()?;
        let whole = self.token_text(token);
        // The lexer saw the opening sequence, so both quotes are there.
        let delimiter = whole.iter().skip(1).position(|&byte| byte == b'\'').unwrap_or(0);
        let opening = delimiter + 2;
        let inner = whole.get(opening..whole.len() - opening);
        Ok(inner.unwrap_or_default().into())
    }

    /// Takes a literal string without interpolation; `what` says what it is for, as in `a path`.
    pub(super) fn plain_string(&mut self, what: &str) -> Parsed<StringLiteral> {
        let span = self.token.span(self.file);
        let value = match self.token.kind {
            TokenKind::RawString => self.raw_string()?,
            TokenKind::String => match self.double_quoted()? {
                ExprKind::String(value) => value,
                _ => {
                    return Err(Diagnostic::error(
                        span,
                        format!("{what} cannot contain variables"),
                    )
                    .with_hint(
                        "it is needed before the script runs; write `\\$` for a dollar sign",
                    ));
                }
            },
            _ => return Err(self.unexpected(&format!("{what} as a literal string"))),
        };
        Ok(StringLiteral { value, span })
    }

    /// Takes a regular expression.
    #[inline(never)]
    pub(super) fn regex(&mut self) -> Parsed<ExprKind> {
        let token = self.advance()?;
        let whole = self.token_text(token).get(2..).unwrap_or_default();
        // The modifiers are letters, so the last slash is the closing one.
        let closing = whole.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let (inner, modifiers) = whole.split_at(closing);
        let modifiers = modifiers.get(1..).unwrap_or_default();
        let mut pattern = Vec::with_capacity(inner.len());
        let mut rest = inner;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            pattern.extend_from_slice(rest.get(..at).unwrap_or_default());
            let pair = rest.get(at..at + 2).unwrap_or_default();
            pattern
                .extend_from_slice(pair.strip_prefix(b"\\").filter(|c| *c == b"/").unwrap_or(pair));
            rest = rest.get(at + 2..).unwrap_or_default();
        }
        pattern.extend_from_slice(rest);
        Ok(ExprKind::Regex(Box::new(Regex {
            pattern: pattern.into(),
            modifiers: std::str::from_utf8(modifiers).unwrap_or_default().into(),
        })))
    }

    /// Takes the entries of an array literal and the mark that closes it.
    #[inline(never)]
    pub(super) fn array_items(&mut self, open: Token, close: TokenKind) -> Parsed<Vec<ArrayItem>> {
        let mut items = Vec::new();
        while !self.at(close) {
            if self.eat(TokenKind::Ellipsis)? {
                items.push(ArrayItem::Spread(self.expr()?));
            } else {
                let value = self.expr()?;
                if self.eat(TokenKind::FatArrow)? {
                    items.push(ArrayItem::Pair(value, self.expr()?));
                } else {
                    items.push(ArrayItem::Value(value));
                }
            }
            if !self.eat(TokenKind::Comma)? && !self.at(close) {
                let expected = format!("`,` or {}", close.describe());
                return Err(self.unclosed(close, open, &expected));
            }
        }
        self.close(close, open)?;
        Ok(items)
    }

    /// Reads an expression again as the left side of an assignment.
    #[inline(never)]
    pub(super) fn target(&mut self, expr: Expr) -> Parsed<Target> {
        match expr.kind {
            ExprKind::Array(items) => Ok(Target::Pattern(self.pattern(items, expr.span)?)),
            _ => Ok(Target::Place(self.place(expr)?)),
        }
    }

    /// Checks that an expression is a place, and claims its `[]`.
    fn place(&mut self, expr: Expr) -> Parsed<Expr> {
        if let ExprKind::Postfix { suffixes, .. } = &expr.kind {
            for suffix in suffixes {
                if matches!(suffix.kind, SuffixKind::Append) {
                    self.appends.remove(&suffix.span.start);
                }
            }
        }
        if expr.kind.is_place() {
            return Ok(expr);
        }
        let error = self.error_at(&expr, "this cannot be assigned to").with_hint(
            "assign to a variable, an element, a property, a slice or a list such as `[$a, $b]`",
        );
        Err(match expr.kind {
            ExprKind::Unary { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Logical { .. }
            | ExprKind::Coalesce(_) => error.with_hint(
                "an assignment inside an expression needs parentheses: `… and ($a = 1)`",
            ),
            _ => error,
        })
    }

    /// Reads an array literal again as a destructuring list.
    #[inline(never)]
    fn pattern(&mut self, items: Vec<ArrayItem>, span: Span) -> Parsed<Pattern> {
        let mut entries: Vec<PatternEntry> = Vec::with_capacity(items.len());
        let mut rest = None;
        if items.is_empty() {
            return Err(Diagnostic::error(span, "this destructuring list is empty"));
        }
        for item in items {
            if let Some(Ident { span, .. }) = rest {
                return Err(Diagnostic::error(span, "`...` must be the last target"));
            }
            let (key, value) = match item {
                ArrayItem::Value(value) => (None, value),
                ArrayItem::Pair(key, value) => (Some(key), value),
                ArrayItem::Spread(Expr { kind: ExprKind::Variable(name), span }) => {
                    rest = Some(Ident { name, span });
                    continue;
                }
                ArrayItem::Spread(other) => {
                    return Err(self.error_at(&other, "expected a variable after `...`"));
                }
            };
            let is_keyed = key.is_some();
            if entries.first().is_some_and(|first| first.key.is_some() != is_keyed) {
                return Err(self
                    .error_at(&value, "keyed and positional targets cannot be mixed in one list"));
            }
            entries.push(match value.kind {
                // `[$a = 1] = …`: what looked like an assignment is a default. Its target has been
                // checked already.
                ExprKind::Assign { target, op: None, value } => {
                    PatternEntry { key, target: *target, default: Some(*value) }
                }
                _ => PatternEntry { key, target: self.target(value)?, default: None },
            });
        }
        Ok(Pattern { entries, rest, span })
    }
}

/// Returns the value of a number whose form the lexer has checked; infinite if it is too large.
fn number_value(text: &[u8]) -> f64 {
    let (radix, digits) = match text {
        [b'0', b'x', digits @ ..] => (16, digits),
        [b'0', b'o', digits @ ..] => (8, digits),
        [b'0', b'b', digits @ ..] => (2, digits),
        _ => return decimal_value(text),
    };
    let mut value: u128 = 0;
    for &digit in digits.iter().filter(|&&digit| digit != b'_') {
        let digit = char::from(digit).to_digit(radix).unwrap_or(0);
        let Some(shifted) = value.checked_mul(u128::from(radix)) else {
            return f64::INFINITY;
        };
        value = shifted | u128::from(digit);
    }
    // The conversion rounds once, to the nearest.
    value as f64
}

fn decimal_value(text: &[u8]) -> f64 {
    if text.len() <= SHORT_NUMBER && text.iter().all(u8::is_ascii_digit) {
        let value = text.iter().fold(0_u64, |value, &digit| value * 10 + u64::from(digit - b'0'));
        return value as f64;
    }
    let plain: Vec<u8> = text.iter().copied().filter(|&byte| byte != b'_').collect();
    // Digits with at most one point always parse.
    std::str::from_utf8(&plain).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::INFINITY)
}

/// So many digits fit the 53 bits of a double exactly.
const SHORT_NUMBER: usize = 15;

/// Appends what the escape at the start of `rest` means; returns how many bytes it takes.
fn unescape(rest: &[u8], text: &mut Vec<u8>) -> usize {
    let byte = match rest.get(1) {
        Some(&byte @ (b'\\' | b'"' | b'$')) => byte,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'x') => {
            let digit = |at: usize| rest.get(at).and_then(|&byte| char::from(byte).to_digit(16));
            if let (Some(high), Some(low)) = (digit(2), digit(3)) {
                // Two hex digits make no more than 255.
                text.push(u8::try_from(high * 16 + low).unwrap_or(0));
                return 4;
            }
            text.extend_from_slice(b"\\x");
            return 2;
        }
        // Compat: the manual does not say what other escapes mean; both characters stay.
        Some(&other) => {
            text.extend_from_slice(&[b'\\', other]);
            return 2;
        }
        None => {
            text.push(b'\\');
            return 1;
        }
    };
    text.push(byte);
    2
}

/// Returns the name and the length of `$name` or `${name}` at the start of `rest`.
fn interpolated_name(rest: &[u8]) -> Option<(&str, usize)> {
    let (start, is_braced) = match rest.get(1)? {
        b'{' => (2, true),
        _ => (1, false),
    };
    let name = rest.get(start..)?;
    if !is_name_start(*name.first()?) {
        return None;
    }
    let length = name.iter().position(|&byte| !is_name_part(byte)).unwrap_or(name.len());
    let end = start + length;
    if is_braced && rest.get(end) != Some(&b'}') {
        return None;
    }
    let name = std::str::from_utf8(name.get(..length)?).ok()?;
    Some((name, end + usize::from(is_braced)))
}
