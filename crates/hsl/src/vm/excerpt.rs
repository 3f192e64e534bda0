//! Code as a log may show it.

use crate::lexer::Lexer;
use crate::source::{SourceFile, Span};
use crate::token::TokenKind;

/// The line in which `span` begins, at most [`LONGEST`] characters of it from where the error is or
/// before. Comments are left out, and so is what strings say: they may hold passwords, and logs are read by
/// many. Names in square brackets are kept, for they say what is looked up.
pub(super) fn line(file: &SourceFile, span: Span) -> String {
    let pieces = pieces(file, span);
    let length =
        |pieces: &[Piece]| pieces.iter().map(|piece| piece.text.chars().count()).sum::<usize>();
    let at = pieces.iter().position(|piece| piece.start >= span.start).unwrap_or(pieces.len());
    let mut from = 0;
    // Much in front of the error gives way to what is behind.
    while from < at && length(pieces.get(from..at).unwrap_or_default()) > BEFORE {
        from += 1;
    }
    let mut out = String::from(if from > 0 { "…" } else { "" });
    out.extend(pieces.iter().skip(from).map(|piece| piece.text.as_str()));
    match out.char_indices().nth(LONGEST) {
        Some((end, _)) => out.get(..end).unwrap_or_default().to_owned() + "…",
        None => out,
    }
}

/// A token as it is shown, with a space in front where it has one.
struct Piece {
    start: u32,
    kind: TokenKind,
    text: String,
}

fn pieces(file: &SourceFile, span: Span) -> Vec<Piece> {
    let text = file.text();
    let before = text.get(..span.start as usize).unwrap_or(text);
    let begin = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let rest = text.get(begin..).unwrap_or_default();
    let end = begin + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let mut pieces: Vec<Piece> = Vec::new();
    let mut last = None;
    // From the start of the file, for a line may lie in a string.
    let mut lexer = Lexer::new(file);
    while let Ok(token) = lexer.next_token()
        && token.kind != TokenKind::EndOfFile
        && (token.start as usize) < end
    {
        if token.end as usize <= begin {
            continue;
        }
        let octets = text.get(token.start as usize..token.end as usize).unwrap_or_default();
        let shown = match token.kind {
            TokenKind::String if octets.len() > 2 => "\"…\"".into(),
            TokenKind::RawString if octets.len() > 4 => "''…''".into(),
            _ => String::from_utf8_lossy(octets),
        };
        let has_space = last.is_some_and(|last| last < token.start);
        let space = if has_space { " " } else { "" };
        last = Some(token.end);
        // The name of an element is known to be one when its bracket closes.
        if token.kind == TokenKind::RightBracket
            && let [.., open, name] = pieces.as_mut_slice()
            && open.kind == TokenKind::LeftBracket
            && name.kind == TokenKind::String
        {
            let end = token.start as usize;
            let octets = text.get(name.start as usize..end).unwrap_or_default().trim_ascii();
            if octets.iter().all(|octet| octet.is_ascii_alphanumeric() || b"\"_-".contains(octet)) {
                name.text = String::from_utf8_lossy(octets).into_owned();
            }
        }
        let text = format!("{space}{shown}");
        pieces.push(Piece { start: token.start, kind: token.kind, text });
    }
    pieces
}

/// Characters that are shown, and of them in front of the error.
const LONGEST: usize = 120;
const BEFORE: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceMap;

    /// The line of `code` in which `at` stands.
    fn shown(code: &str, at: &str) -> String {
        let file = SourceMap::new().add("main", None, code.as_bytes().to_vec());
        let start = u32::try_from(code.find(at).unwrap()).unwrap();
        line(&file, Span::new(file.id(), start, start + 1))
    }

    #[test]
    fn strings_are_hidden_and_names_in_brackets_are_not() {
        for (code, at, wanted) in [
            (r#"  return $d["x"]["two words"]();"#, "()", r#"return $d["x"]["…"]();"#),
            (r#"login("ann", "s\"ecret");"#, "login", r#"login("…", "…");"#),
            ("f(''raw'', \"\", $n  + 1); // hunter2", "f", "f(''…'', \"\", $n + 1);"),
            // A line that begins in a string is known to.
            ("$a = \"x\nsecret\" . f(\"y\");\n", "f(", "\"…\" . f(\"…\");"),
            ("$a = [\"key\" => 1, \"other\"];", "key", "$a = [\"…\" => 1, \"…\"];"),
            ("echo 1;\necho f(\n  \"a\");", "f", "echo f("),
        ] {
            assert_eq!(shown(code, at), wanted, "{code}");
        }
    }

    #[test]
    fn what_is_around_the_error_is_shown_of_a_long_line() {
        let code = format!("{}fault(1);{}", "$abc = 1; ".repeat(50), "$x = 2;".repeat(50));
        let line = shown(&code, "fault");
        assert!(line.starts_with('…') && line.ends_with('…'), "{line}");
        assert!(line.contains("; fault(1);$x"), "{line}");
        assert!(line.chars().count() <= LONGEST + 1, "{line}");
    }
}
