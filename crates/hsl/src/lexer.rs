//! The lexer: bytes to tokens, one at a time, without copying.
//!
//! [`Lexer::next_token`] is all there is. A lexer is a position in a text, so copying one is how the
//! parser looks ahead. What a literal means is worked out by [`crate::parser`]; here it is only known
//! where it ends. `::` is always one token, and the parser splits it where a slice has an empty part.

use memchr::{memchr, memchr2, memmem};

use crate::diagnostic::Diagnostic;
use crate::source::{FileId, SourceFile, Span};
use crate::token::{Token, TokenKind, foreign_word, keyword};

/// A place in a text from which tokens are taken.
#[derive(Clone, Copy, Debug)]
pub struct Lexer<'s> {
    file: FileId,
    text: &'s [u8],
    at: usize,
}

impl<'s> Lexer<'s> {
    /// Makes a lexer at the start of `file`, behind a byte order mark.
    ///
    /// Offsets are 32 bits wide: text behind [`crate::source::MAX_FILE_BYTES`] is not read.
    #[must_use]
    pub fn new(file: &'s SourceFile) -> Self {
        let text = file.text();
        let text = text.get(..crate::source::MAX_FILE_BYTES).unwrap_or(text);
        Self {
            file: file.id(),
            text,
            at: if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 },
        }
    }

    /// Takes the next token; at the end of the text [`TokenKind::EndOfFile`], again and again.
    ///
    /// # Errors
    ///
    /// A diagnostic for a literal or comment that does not end, a malformed number, an operator HSL
    /// does not have, or a byte no token starts with.
    pub fn next_token(&mut self) -> Result<Token, Diagnostic> {
        self.skip_space()?;
        let start = self.at;
        let Some(&first) = self.text.get(start) else {
            return Ok(self.token(TokenKind::EndOfFile, start));
        };
        let class = class(first);
        if class & NAME_START != 0 {
            self.skip_class(NAME_START | DIGIT);
            let word = self.text.get(start..self.at).unwrap_or_default();
            return Ok(self.token(keyword(word).unwrap_or(TokenKind::Name), start));
        }
        if class & DIGIT != 0 {
            return self.number(start);
        }
        match first {
            b'$' => {
                self.at += 1;
                if class_of(self.text.get(self.at)) & NAME_START == 0 {
                    return Err(self.error(start, self.at, "expected a variable name after `$`"));
                }
                self.skip_class(NAME_START | DIGIT);
                Ok(self.token(TokenKind::Variable, start))
            }
            b'"' => self.string(start),
            b'\'' => self.raw_string(start),
            b'#' => self.regex(start),
            _ => self.mark(first, start),
        }
    }

    /// Skips white space and comments.
    fn skip_space(&mut self) -> Result<(), Diagnostic> {
        loop {
            self.skip_class(SPACE);
            if self.text.get(self.at) != Some(&b'/') {
                return Ok(());
            }
            let rest = self.text.get(self.at + 2..).unwrap_or_default();
            match self.text.get(self.at + 1) {
                Some(b'/') => {
                    self.at += 2 + memchr(b'\n', rest).unwrap_or(rest.len());
                }
                Some(b'*') => {
                    let Some(length) = memmem::find(rest, b"*/") else {
                        return Err(self
                            .error(self.at, self.at + 2, "this comment is never closed")
                            .with_hint("a comment that starts with `/*` ends with `*/`")
                            .because_text_ends());
                    };
                    self.at += 2 + length + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn skip_class(&mut self, mask: u8) {
        while class_of(self.text.get(self.at)) & mask != 0 {
            self.at += 1;
        }
    }

    /// Takes a number: decimal with optional fraction, or `0x`, `0o`, `0b`; `_` between digits.
    fn number(&mut self, start: usize) -> Result<Token, Diagnostic> {
        let prefix = (self.text.get(start), self.text.get(start + 1));
        let digits = match prefix {
            (Some(b'0'), Some(b'x')) => HEX_DIGIT,
            (Some(b'0'), Some(b'o')) => OCTAL_DIGIT,
            (Some(b'0'), Some(b'b')) => BINARY_DIGIT,
            _ => DIGIT,
        };
        if digits != DIGIT {
            self.at += 2;
        }
        self.digits(start, digits)?;
        let has_fraction = digits == DIGIT && self.point_and_digit();
        if has_fraction {
            self.at += 1;
            self.digits(start, DIGIT)?;
        }
        if (has_fraction || digits != DIGIT) && self.point_and_digit() {
            return Err(self
                .error(start, self.at + 2, "this number has one point too many")
                .with_hint("to concatenate, put spaces around the operator: `1.2 . 3`"));
        }
        if class_of(self.text.get(self.at)) & (NAME_START | DIGIT) != 0 {
            self.skip_class(NAME_START | DIGIT);
            return Err(self.malformed_number(start));
        }
        Ok(self.token(TokenKind::Number, start))
    }

    /// Returns whether a point and a digit come next.
    fn point_and_digit(&self) -> bool {
        self.text.get(self.at) == Some(&b'.') && class_of(self.text.get(self.at + 1)) & DIGIT != 0
    }

    /// Takes groups of digits with single `_` between them.
    fn digits(&mut self, start: usize, mask: u8) -> Result<(), Diagnostic> {
        loop {
            let group = self.at;
            self.skip_class(mask);
            if self.at == group {
                self.skip_class(NAME_START | DIGIT);
                return Err(self.malformed_number(start));
            }
            if self.text.get(self.at) != Some(&b'_') {
                return Ok(());
            }
            self.at += 1;
        }
    }

    fn malformed_number(&self, start: usize) -> Diagnostic {
        self.error(start, self.at, "this is not a number").with_hint(
            "numbers are written `12`, `1.5`, `1_000`, `0xff`, `0o17` or `0b101`, \
             with digits on both sides of a point",
        )
    }

    /// Takes a double-quoted string.
    fn string(&mut self, start: usize) -> Result<Token, Diagnostic> {
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(length) = memchr2(b'"', b'\\', rest) else {
                let error = self.error(start, start + 1, "this string is never closed");
                return Err(error.because_text_ends());
            };
            self.at += length + 1;
            if rest.get(length) == Some(&b'"') {
                return Ok(self.token(TokenKind::String, start));
            }
            // A backslash: whatever byte follows does not end the string.
            self.at += 1;
        }
    }

    /// Takes `''…''` or `'DELIM'…'DELIM'`.
    fn raw_string(&mut self, start: usize) -> Result<Token, Diagnostic> {
        self.at += 1;
        while matches!(self.text.get(self.at), Some(b'\x21'..=b'\x26' | b'\x28'..=b'\x7e')) {
            self.at += 1;
        }
        if self.text.get(self.at) != Some(&b'\'') {
            return Err(self
                .error(start, self.at, "expected `'` after the delimiter of a raw string")
                .with_hint(SINGLE_QUOTE_HINT));
        }
        self.at += 1;
        let opening = self.text.get(start..self.at).unwrap_or_default();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(length) = memmem::find(rest, opening) else {
            return Err(self
                .error(start, self.at, "this raw string is never closed")
                .with_hint(SINGLE_QUOTE_HINT)
                .because_text_ends());
        };
        self.at += length + opening.len();
        Ok(self.token(TokenKind::RawString, start))
    }

    /// Takes `#/pattern/modifiers`.
    fn regex(&mut self, start: usize) -> Result<Token, Diagnostic> {
        if self.text.get(start + 1) != Some(&b'/') {
            return Err(self
                .error(start, start + 1, "unexpected `#`")
                .with_hint("comments start with `//`; `#/…/` is a regular expression"));
        }
        self.at += 2;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(length) = memchr2(b'/', b'\\', rest) else {
                return Err(self
                    .error(start, start + 2, "this regular expression is never closed")
                    .with_hint("it ends at the next `/` without a backslash before it")
                    .because_text_ends());
            };
            self.at += length + 1;
            if rest.get(length) == Some(&b'/') {
                break;
            }
            self.at += 1;
        }
        let modifiers = self.at;
        self.skip_class(NAME_START | DIGIT);
        let wrong = self
            .text
            .get(modifiers..self.at)
            .unwrap_or_default()
            .iter()
            .position(|letter| !b"imusxUX".contains(letter));
        if let Some(wrong) = wrong {
            let at = modifiers + wrong;
            return Err(self
                .error(at, at + 1, "unknown modifier of a regular expression")
                .with_hint("the modifiers are `i`, `m`, `u`, `s`, `x`, `U` and `X`"));
        }
        Ok(self.token(TokenKind::Regex, start))
    }

    /// Takes an operator or a punctuation mark: the longest that fits.
    fn mark(&mut self, first: u8, start: usize) -> Result<Token, Diagnostic> {
        use TokenKind as K;
        let second = self.text.get(start + 1).copied().unwrap_or(0);
        let third = self.text.get(start + 2).copied().unwrap_or(0);
        let (kind, length) = match (first, second, third) {
            (b'(', ..) => (K::LeftParen, 1),
            (b')', ..) => (K::RightParen, 1),
            (b'[', ..) => (K::LeftBracket, 1),
            (b']', ..) => (K::RightBracket, 1),
            (b'{', ..) => (K::LeftBrace, 1),
            (b'}', ..) => (K::RightBrace, 1),
            (b',', ..) => (K::Comma, 1),
            (b';', ..) => (K::Semicolon, 1),
            (b':', b':', _) => (K::ColonColon, 2),
            (b':', ..) => (K::Colon, 1),
            (b'?', b'?', b'=') => (K::QuestionQuestionEqual, 3),
            (b'?', b'?', _) => (K::QuestionQuestion, 2),
            (b'?', ..) => (K::Question, 1),
            (b'.', b'.', b'.') => (K::Ellipsis, 3),
            (b'.', b'=', _) => (K::DotEqual, 2),
            (b'.', ..) => (K::Dot, 1),
            (b'+', b'+', _) => (K::PlusPlus, 2),
            (b'+', b'=', _) => (K::PlusEqual, 2),
            (b'+', ..) => (K::Plus, 1),
            (b'-', b'-', _) => (K::MinusMinus, 2),
            (b'-', b'=', _) => (K::MinusEqual, 2),
            (b'-', b'>', _) => (K::Arrow, 2),
            (b'-', ..) => (K::Minus, 1),
            (b'*', b'*', b'=') => (K::StarStarEqual, 3),
            (b'*', b'*', _) => (K::StarStar, 2),
            (b'*', b'=', _) => (K::StarEqual, 2),
            (b'*', ..) => (K::Star, 1),
            (b'/', b'=', _) => (K::SlashEqual, 2),
            (b'/', ..) => (K::Slash, 1),
            (b'%', b'=', _) => (K::PercentEqual, 2),
            (b'%', ..) => (K::Percent, 1),
            (b'&', b'&', _) | (b'|', b'|', _) => return Err(self.foreign(start, 2)),
            (b'&', ..) => (K::Ampersand, 1),
            (b'|', ..) => (K::Pipe, 1),
            (b'^', ..) => (K::Caret, 1),
            (b'~', ..) => (K::Tilde, 1),
            (b'<', b'<', _) => (K::LessLess, 2),
            (b'<', b'=', _) => (K::LessEqual, 2),
            (b'<', ..) => (K::Less, 1),
            (b'>', b'>', b'>') => (K::GreaterGreaterGreater, 3),
            (b'>', b'>', _) => (K::GreaterGreater, 2),
            (b'>', b'=', _) => (K::GreaterEqual, 2),
            (b'>', ..) => (K::Greater, 1),
            (b'=', b'=', b'=') => (K::EqualEqualEqual, 3),
            (b'=', b'=', _) => (K::EqualEqual, 2),
            (b'=', b'>', _) => (K::FatArrow, 2),
            (b'=', b'~', _) => (K::EqualTilde, 2),
            (b'=', ..) => (K::Equal, 1),
            (b'!', b'=', b'=') => (K::BangEqualEqual, 3),
            (b'!', b'=', _) => (K::BangEqual, 2),
            (b'!', b'~', _) => (K::BangTilde, 2),
            (b'!', ..) => (K::Bang, 1),
            _ => return Err(self.unknown(first, start)),
        };
        self.at = start + length;
        Ok(self.token(kind, start))
    }

    fn foreign(&self, start: usize, length: usize) -> Diagnostic {
        let text = self.text.get(start..start + length).unwrap_or_default();
        let error = self.error(start, start + length, "HSL does not have this operator");
        match foreign_word(text) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn unknown(&self, first: u8, start: usize) -> Diagnostic {
        let what = match first {
            0x21..=0x7e => format!("unexpected `{}`", first as char),
            _ => format!("unexpected byte 0x{first:02x}"),
        };
        self.error(start, start + 1, what)
    }

    fn token(&self, kind: TokenKind, start: usize) -> Token {
        Token { kind, start: offset(start), end: offset(self.at) }
    }

    fn error(&self, start: usize, end: usize, message: impl Into<String>) -> Diagnostic {
        let end = end.min(self.text.len());
        Diagnostic::error(Span::new(self.file, offset(start), offset(end)), message)
    }
}

/// Narrows an offset. The text is no longer than `MAX_FILE_BYTES`, so nothing is lost.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Returns whether a name can start with this byte.
pub(crate) fn is_name_start(byte: u8) -> bool {
    class(byte) & NAME_START != 0
}

/// Returns whether a name can go on with this byte.
pub(crate) fn is_name_part(byte: u8) -> bool {
    class(byte) & (NAME_START | DIGIT) != 0
}

fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

fn class_of(byte: Option<&u8>) -> u8 {
    byte.map_or(0, |&byte| class(byte))
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const SINGLE_QUOTE_HINT: &str = "HSL has no single-quoted strings: `''` or `'ANY'` opens a raw \
    string that ends at the next such mark; for plain text write `\"…\"`";

// Byte classes, one bit each.
const SPACE: u8 = 1;
const NAME_START: u8 = 2;
const DIGIT: u8 = 4;
const HEX_DIGIT: u8 = 8;
const OCTAL_DIGIT: u8 = 16;
const BINARY_DIGIT: u8 = 32;

/// The classes of each byte.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut class = 0;
        if matches!(byte as u8, b' ' | b'\t' | b'\r' | b'\n') {
            class |= SPACE;
        }
        if matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'_') {
            class |= NAME_START;
        }
        if (byte as u8).is_ascii_digit() {
            class |= DIGIT;
        }
        if (byte as u8).is_ascii_hexdigit() {
            class |= HEX_DIGIT;
        }
        if matches!(byte as u8, b'0'..=b'7') {
            class |= OCTAL_DIGIT;
        }
        if matches!(byte as u8, b'0' | b'1') {
            class |= BINARY_DIGIT;
        }
        classes[byte] = class;
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(text: &str) -> Result<Vec<(TokenKind, String)>, Diagnostic> {
        let file = SourceFile::new(FileId::new(0), "t", None, text.into());
        let mut lexer = Lexer::new(&file);
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next_token()?;
            if token.kind == TokenKind::EndOfFile {
                return Ok(tokens);
            }
            let text = file.slice(token.span(file.id()));
            tokens.push((token.kind, String::from_utf8(text.to_vec()).expect("ASCII")));
        }
    }

    fn kinds(text: &str) -> Vec<TokenKind> {
        let tokens = lex(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        tokens.into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn every_mark_is_one_token_of_its_own_text() {
        let marks = "( ) [ ] { } , ; : :: -> => ... ? ?? ??= . .= + ++ += - -- -= * ** *= **= \
            / /= % %= & | ^ ~ << >> >>> = == === =~ ! != !== !~ < <= > >=";
        for mark in marks.split_whitespace() {
            let tokens = lex(mark).expect(mark);
            assert_eq!(tokens.len(), 1, "{mark}");
            assert_eq!(tokens[0].0.describe(), format!("`{mark}`"));
        }
    }

    #[test]
    fn comments_and_space_separate_tokens_only() {
        use TokenKind::{Name, Slash, Variable};
        assert_eq!(
            kinds("a//x\nb/**/c /* * / ** */ /\r\n\t$d//"),
            [Name, Name, Name, Slash, Variable]
        );
        assert!(lex("a /* b").is_err());
        assert!(lex("/*/").is_err());
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_alone() {
        assert_eq!(kinds("\u{feff}a"), [TokenKind::Name]);
        assert!(lex("a\u{feff}").is_err());
    }

    #[test]
    fn numbers_need_digits_on_both_sides() {
        use TokenKind::{Dot, Number, String};
        for good in
            ["0", "007", "1_000", "1.5", "1_0.2_5", "0xfF_0", "0o17", "0b1_0", "9007199254740991"]
        {
            assert_eq!(kinds(good), [Number], "{good}");
        }
        for bad in [
            "1_", "1__0", "1_.5", "1.5_", "0x", "0xg", "0x_1", "0o8", "0b2", "1.2.3", "5a", "1e5",
            "0X1", "0x1.2", "1._5a",
        ] {
            // `1._5a` is a number, a point and a name; the parser has the last word there.
            if bad != "1._5a" {
                assert!(lex(bad).is_err(), "{bad}");
            }
        }
        assert_eq!(kinds(".5"), [Dot, Number]);
        assert_eq!(kinds("5."), [Number, Dot]);
        assert_eq!(kinds("5 .\"x\""), [Number, Dot, String]);
    }

    #[test]
    fn strings_end_at_the_first_quote_that_is_not_escaped() {
        let tokens = lex(r#""a\"b\\" "c" "#).expect("two strings");
        assert_eq!(tokens[0].1, r#""a\"b\\""#);
        assert_eq!(tokens[1].1, r#""c""#);
        assert!(lex(r#""a\""#).is_err());
        assert!(lex(r#""a\"#).is_err());
    }

    #[test]
    fn raw_strings_end_at_their_opening_sequence() {
        for raw in ["''''", "''it's''", "'A'''\n\\''A'", "'}\"'x'}\"'"] {
            let tokens = lex(raw).expect(raw);
            assert_eq!(tokens, [(TokenKind::RawString, raw.to_owned())]);
        }
        assert!(lex("'a b'").is_err());
        assert!(lex("'a'text'b'").is_err());
        assert!(lex("'").is_err());
    }

    #[test]
    fn regular_expressions_end_at_a_plain_slash() {
        let tokens = lex(r"#/a\/b\\/imusxUX .#//").expect("two expressions");
        assert_eq!(tokens[0].1, r"#/a\/b\\/imusxUX");
        assert_eq!(tokens[2].1, "#//");
        assert!(lex("#/a/g").is_err());
        assert!(lex("#/a").is_err());
        assert!(lex("# a").is_err());
    }

    #[test]
    fn signs_of_other_languages_get_a_hint() {
        for (text, hint) in [("$a && $b", "write `and`"), ("$a || $b", "write `or`")] {
            let error = lex(text).expect_err(text);
            assert!(error.hints().iter().any(|h| h.contains(hint)), "{error:?}");
        }
    }
}
