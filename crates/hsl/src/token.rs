//! Tokens: kinds, names for error texts, and the word lists.
//!
//! A token is a kind and a range of the source; nothing is copied. The keyword table is
//! [`keyword`]; words of other languages that people try are answered by [`foreign_word`].

use crate::source::{FileId, Span};

/// A token: what it is and the bytes `start..end` of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Offset of its first byte.
    pub start: u32,
    /// Offset behind its last byte.
    pub end: u32,
}

impl Token {
    /// Returns its place in `file`.
    #[must_use]
    pub const fn span(self, file: FileId) -> Span {
        Span::new(file, self.start, self.end)
    }
}

macro_rules! token_kinds {
    (
        $( classes { $($class:ident $class_text:literal $class_doc:literal)* } )?
        $( keywords { $($word:ident $word_text:literal)* } )?
        $( marks { $($mark:ident $mark_text:literal)* } )?
    ) => {
        /// The kinds of tokens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum TokenKind {
            $($( #[doc = $class_doc] $class, )*)?
            $($( #[doc = concat!("The reserved word `", $word_text, "`.")] $word, )*)?
            $($( #[doc = concat!("`", $mark_text, "`")] $mark, )*)?
        }

        impl TokenKind {
            /// Returns how error texts call this kind: words and marks in backquotes.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self {
                    $($( Self::$class => $class_text, )*)?
                    $($( Self::$word => concat!("`", $word_text, "`"), )*)?
                    $($( Self::$mark => concat!("`", $mark_text, "`"), )*)?
                }
            }

            /// Returns whether this is a reserved word.
            #[must_use]
            pub const fn is_keyword(self) -> bool {
                match self {
                    $($( Self::$word => true, )*)?
                    _ => false,
                }
            }
        }

        /// Returns the kind of a reserved word.
        #[must_use]
        pub fn keyword(word: &[u8]) -> Option<TokenKind> {
            // No reserved word is longer, and none starts with a capital or an underscore.
            if word.len() > LONGEST_KEYWORD || word.len() < 2 {
                return None;
            }
            Some(match word {
                $($( w if w == $word_text.as_bytes() => TokenKind::$word, )*)?
                _ => return None,
            })
        }

        #[cfg(test)]
        const KEYWORDS: &[&str] = &[ $($( $word_text, )*)? ];
    };
}

token_kinds! {
    classes {
        EndOfFile "end of file" "The end of the text."
        Number "number" "A number literal in any base."
        String "string" "A double-quoted string, quotes included."
        RawString "raw string" "A raw string, delimiters included."
        Regex "regular expression" "A regular expression with its modifiers."
        Variable "variable" "A variable, `$` included."
        Name "name" "An identifier that is no reserved word."
    }
    keywords {
        And "and" Array "array" As "as" Barrier "barrier" Break "break" Builtin "builtin"
        Cache "cache" Case "case" Catch "catch" Class "class" Closure "closure"
        Constructor "constructor" Continue "continue" Default "default" Echo "echo" Else "else"
        False "false" For "for" Foreach "foreach" Forever "forever" From "from"
        Function "function" Global "global" If "if" Import "import" Include "include"
        IncludeOnce "include_once" Isset "isset" Match "match" None "none" Not "not"
        Object "object" Or "or" Private "private" Readonly "readonly" Return "return"
        Static "static" Switch "switch" Throw "throw" True "true" Try "try" Unset "unset"
        While "while" With "with" Yield "yield"
    }
    marks {
        LeftParen "(" RightParen ")" LeftBracket "[" RightBracket "]" LeftBrace "{" RightBrace "}"
        Comma "," Semicolon ";" Colon ":" ColonColon "::" Arrow "->" FatArrow "=>"
        Ellipsis "..." Question "?" QuestionQuestion "??" QuestionQuestionEqual "??="
        Dot "." DotEqual ".=" Plus "+" PlusPlus "++" PlusEqual "+=" Minus "-" MinusMinus "--"
        MinusEqual "-=" Star "*" StarStar "**" StarEqual "*=" StarStarEqual "**=" Slash "/"
        SlashEqual "/=" Percent "%" PercentEqual "%=" Ampersand "&" Pipe "|" Caret "^" Tilde "~"
        LessLess "<<" GreaterGreater ">>" GreaterGreaterGreater ">>>" Equal "="
        EqualEqual "==" EqualEqualEqual "===" EqualTilde "=~" Bang "!" BangEqual "!="
        BangEqualEqual "!==" BangTilde "!~" Less "<" LessEqual "<=" Greater ">"
        GreaterEqual ">="
    }
}

/// The length of `include_once`, in bytes.
const LONGEST_KEYWORD: usize = 12;

/// Returns what to write instead of a word or sign that other languages have and HSL has not.
///
/// None of these words is reserved: as names of functions and properties they work. The hint belongs
/// to an error that happened for another reason.
#[must_use]
pub fn foreign_word(word: &[u8]) -> Option<&'static str> {
    Some(match word {
        b"elseif" | b"elsif" | b"elif" => "HSL has no `elseif`, write `else if`",
        b"new" => "HSL has no `new`: call the class, as in `Name(…)`",
        b"this" => "the instance is the variable `$this`",
        b"self" => "HSL has no `self`: write `$this` for the instance, `static::` for the class",
        b"public" => "HSL has no `public`: members are public unless `private`",
        b"protected" => "HSL has no `protected`: there is no inheritance, write `private`",
        b"print" => "HSL has no `print`, write `echo`",
        b"const" | b"final" => "HSL has no constants; a class variable can be `readonly`",
        b"var" | b"let" | b"local" => "variables are not declared: assign to `$name`",
        b"null" | b"NULL" | b"Null" | b"nil" | b"undefined" => "the empty value is `none`",
        b"True" | b"TRUE" | b"False" | b"FALSE" | b"None" | b"NONE" => {
            "`true`, `false` and `none` are written in small letters"
        }
        b"do" => "HSL has no `do … while`: write `forever { … if (…) break; }`",
        b"finally" => "HSL has no `finally`: write the statements behind the `try`",
        b"goto" => "HSL has no `goto`",
        b"xor" => "HSL has no `xor`: compare with `!=`",
        b"in" => "`foreach` is written `foreach ($array as $key => $value)`",
        b"fn" | b"lambda" | b"func" | b"def" => "functions are written `function (…) { … }`",
        b"use" => {
            "captured variables are listed with `closure (…)`; modules are loaded with `import`"
        }
        b"export" => "HSL has no `export`: a module exports all its symbols",
        b"namespace" | b"interface" | b"extends" | b"trait" | b"struct" | b"abstract"
        | b"implements" => "HSL has classes without inheritance, interfaces or namespaces",
        b"clone" | b"destroy" | b"assert" | b"pass" => "HSL has no such statement",
        b"except" | b"rescue" => "exceptions are caught with `catch ($e) { … }`",
        b"raise" => "exceptions are thrown with `throw`",
        b"&&" => "HSL has no `&&`, write `and`",
        b"||" => "HSL has no `||`, write `or`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reserved_word_is_found_and_fits_the_length_limit() {
        for word in KEYWORDS {
            let kind = keyword(word.as_bytes()).expect(word);
            assert_eq!(kind.describe(), format!("`{word}`"));
            assert!(kind.is_keyword());
            assert_eq!(keyword(word.to_uppercase().as_bytes()), None);
        }
        assert_eq!(KEYWORDS.iter().map(|word| word.len()).max(), Some(LONGEST_KEYWORD));
    }

    #[test]
    fn the_documented_words_are_reserved_and_the_foreign_ones_are_not() {
        let reserved = "and array as barrier break builtin cache case class closure constructor \
            continue default echo else false for foreach forever from function global if import \
            include include_once isset not none object or private readonly return switch true \
            unset while with static yield try catch throw match";
        let mut reserved: Vec<&str> = reserved.split_whitespace().collect();
        reserved.sort_unstable();
        let mut ours = KEYWORDS.to_vec();
        ours.sort_unstable();
        assert_eq!(ours, reserved);

        let foreign = "this self public protected struct clone final const goto namespace new \
            interface in extends print trait assert finally lambda pass destroy export use";
        for word in foreign.split_whitespace() {
            assert_eq!(keyword(word.as_bytes()), None, "{word}");
            assert!(foreign_word(word.as_bytes()).is_some(), "{word}");
        }
    }
}
