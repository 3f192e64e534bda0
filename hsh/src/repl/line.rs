//! What a line of the prompt is: whether it goes on in the next one, whether it is an expression whose value
//! is shown, and what it defines for those that follow.

use hsl::ast::{Ident, Import, ImportSymbol, ImportWhat, Script, Stmt, StmtKind};
use hsl::diagnostic::Diagnostic;
use hsl::parser::{Limits, parse};
use hsl::source::{SourceMap, Span};
use hsl::symbol::Interner;

/// A function, class or import, which every later line has in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// What it gives a meaning; a variable with its `$`, a namespace with its `::`.
    pub(super) name: String,
    pub(super) text: String,
}

/// Whether `text` goes on in the next line: a string, a comment or a bracket is open at its end, or a loop or
/// condition has no statement yet.
pub(super) fn is_open(text: &str) -> bool {
    let lacks_more = |text: &str| {
        read(text).is_err_and(|error| error.is_incomplete()) || read(text).is_ok_and(lacks_body)
    };
    // A `;` ends what is no bracket, as the prompt does, and is wrong in round and square ones.
    lacks_more(&format!("{text};")) || (open_brackets(text) > 0 && lacks_more(text))
}

/// Returns the line as a script: one that ends with an expression without `;` shows its value. A line that is
/// wrong stays as it is, so that the error is about what was typed.
pub(super) fn script(line: &str) -> String {
    if read(line).is_ok() {
        return line.to_owned();
    }
    // On lines of its own, so that the places of errors are those of the line, and a comment ends.
    let shown = |expression: &str| format!("echo string(\n{}\n);", expression.trim_end());
    let whole = shown(line);
    if read(&whole).is_ok() {
        return whole;
    }
    let ended = format!("{}\n;", line.trim_end());
    let Ok((script, _)) = read(&ended) else { return line.to_owned() };
    let last = match script.body.last() {
        Some(Stmt { kind: StmtKind::Expr(_), span }) => ended.split_at_checked(span.start as usize),
        _ => None,
    };
    match last {
        Some((before, last)) => {
            format!("{before}{}", shown(last.trim_end().trim_end_matches(';')))
        }
        None => ended,
    }
}

/// Returns what a script defines, in order.
pub(super) fn definitions(script: &str) -> Vec<Definition> {
    let Ok((parsed, interner)) = read(script) else { return Vec::new() };
    let mut out = Vec::new();
    for statement in &parsed.body {
        let name = match &statement.kind {
            StmtKind::Function(function) => function.name.map(|name| interner.name(name.name)),
            StmtKind::Class(class) => Some(interner.name(class.name.name)),
            StmtKind::Import(import) => {
                out.extend(imports(script, import, statement.span, &interner));
                None
            }
            _ => None,
        };
        let text = slice(script, statement.span);
        out.extend(name.map(|name| Definition { name: name.to_owned(), text: text.to_owned() }));
    }
    out
}

/// An import of several names is one for each of them.
fn imports(script: &str, import: &Import, span: Span, interner: &Interner) -> Vec<Definition> {
    let name = |ident: Ident| interner.name(ident.name);
    match &import.what {
        ImportWhat::Namespace(namespace) => {
            let (name, text) = (format!("{}::", name(*namespace)), slice(script, span).to_owned());
            vec![Definition { name, text }]
        }
        ImportWhat::Data(data) => {
            let (name, text) = (format!("${}", name(*data)), slice(script, span).to_owned());
            vec![Definition { name, text }]
        }
        ImportWhat::Symbols(symbols) => {
            let path = slice(script, import.path.span);
            let one = |symbol: &ImportSymbol| {
                let sign = if symbol.is_variable { "$" } else { "" };
                let here = name(symbol.alias.unwrap_or(symbol.name));
                let there = name(symbol.name);
                let text = format!("import {{ {sign}{there} as {sign}{here} }} from {path};");
                Definition { name: format!("{sign}{here}"), text }
            };
            symbols.iter().map(one).collect()
        }
    }
}

/// The names behind every `$` of a line.
pub(super) fn variable_names(line: &str) -> Vec<String> {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.split('$')
        .skip(1)
        .filter(|rest| rest.starts_with(is_start))
        .map(|rest| rest.chars().take_while(|c| is_name(*c)).collect())
        .collect()
}

fn read(text: &str) -> Result<(Script, Interner), Diagnostic> {
    let file = SourceMap::new().add("line", None, text.as_bytes().to_vec());
    let mut interner = Interner::new();
    let script = parse(&file, &mut interner, &Limits::default())?;
    Ok((script, interner))
}

fn slice(text: &str, span: Span) -> &str {
    text.get(span.start as usize..span.end as usize).unwrap_or_default()
}

/// Whether the last statement is a loop or condition over nothing but the `;` that the prompt put there.
fn lacks_body((script, _): (Script, Interner)) -> bool {
    let mut last = script.body.last().and_then(body_of);
    while let Some(body) = last {
        if matches!(body.kind, StmtKind::Empty) {
            return true;
        }
        last = body_of(body);
    }
    false
}

/// The statement at the end of a loop or condition.
fn body_of(statement: &Stmt) -> Option<&Stmt> {
    match &statement.kind {
        StmtKind::For(each) => Some(&each.body),
        StmtKind::Foreach(each) => Some(&each.body),
        StmtKind::While { body, .. } | StmtKind::Forever(body) => Some(body),
        StmtKind::If { arms, otherwise } => {
            otherwise.as_deref().or_else(|| arms.last().map(|(_, body)| body))
        }
        _ => None,
    }
}

/// Brackets that are open at the end of `text`, those in double-quoted strings aside.
fn open_brackets(text: &str) -> i32 {
    let mut open = 0;
    let mut in_string = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => drop(chars.next()),
            '"' => in_string = !in_string,
            '{' | '(' | '[' if !in_string => open += 1,
            '}' | ')' | ']' if !in_string => open -= 1,
            _ => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_are_found() {
        assert_eq!(variable_names("$a = $b_1 . \"x $c\"; $1"), ["a", "b_1", "c"]);
    }

    #[test]
    fn a_line_goes_on_while_brackets_and_strings_are_open() {
        for text in
            ["if (1) {\n", "$s = \"a\n", "f(\n", "[1,\n", "''a\n", "/* a\n", "\"{\" . \"b\n"]
        {
            assert!(is_open(text), "{text}");
        }
        for text in ["1 + 1\n", "echo \"{\\\"{\";\n", "[1, 2]\n", "1 // \"(\n", "f(1;\n", "}\n"] {
            assert!(!is_open(text), "{text}");
        }
    }

    #[test]
    fn a_line_goes_on_while_a_loop_has_nothing_to_do() {
        for text in [
            "foreach ($a as $b)\n",
            "while (f())\n",
            "if (1)\n",
            "if (1) f(); else\n",
            "for (;;)\n",
        ] {
            assert!(is_open(text), "{text}");
        }
        for text in ["while (f());\n", "if (1) f()\n", "if (1) { }\n", ";\n", "forever f();\n"] {
            assert!(!is_open(text), "{text}");
        }
    }

    #[test]
    fn the_value_of_the_last_expression_without_semicolon_is_shown() {
        let same =
            ["1;", "function f() { }", "if (1) f();", "1 +", "$a b", "import { f } from \"x\";"];
        for line in same {
            assert_eq!(script(line), line);
        }
        for (line, expected) in [
            ("1 + 1\n", "echo string(\n1 + 1\n);"),
            ("1 // one\n", "echo string(\n1 // one\n);"),
            ("$a = 1; $a + 1\n", "$a = 1; echo string(\n$a + 1\n);"),
            ("return 5", "return 5\n;"),
            ("import { f } from \"x\"\n", "import { f } from \"x\"\n;"),
            ("function () { }()", "echo string(\nfunction () { }()\n);"),
        ] {
            assert_eq!(script(line), expected);
        }
    }

    #[test]
    fn definitions_are_kept_without_what_stands_beside_them() {
        let script = "function f() { } f(); class A { } import { g, h as i, $v } from \"x\"; \
                      import * as n from \"x\"; import $d from \"x\"; $a = function () { };";
        let found = definitions(script);
        let names: Vec<&str> = found.iter().map(|definition| definition.name.as_str()).collect();
        assert_eq!(names, ["f", "A", "g", "i", "$v", "n::", "$d"]);
        let texts: Vec<&str> = found.iter().map(|definition| definition.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "function f() { }",
                "class A { }",
                "import { g as g } from \"x\";",
                "import { h as i } from \"x\";",
                "import { $v as $v } from \"x\";",
                "import * as n from \"x\";",
                "import $d from \"x\";"
            ]
        );
    }
}
