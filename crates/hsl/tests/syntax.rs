//! Golden tests of the grammar: each file of `syntax/` says in its header what becomes of it.
//!
//! Either the tree, as the printer shows it with explicit grouping, one line per `//|`:
//!
//! ```text
//! //| $a = ((1 + 2) . "x");
//! ```
//!
//! or the error, with line and column, and what its hint contains:
//!
//! ```text
//! // error: 4:9 expected `;` after expression, found `}`
//! // hint: write `else if`
//! ```

use std::path::Path;

use hsl::diagnostic::Style;
use hsl::parser::{Limits, parse};
use hsl::print::{self, Grouping};
use hsl::source::SourceMap;
use hsl::symbol::Interner;

fn check(path: &Path, text: Vec<u8>) -> datatest_stable::Result<()> {
    let header = String::from_utf8_lossy(&text).into_owned();
    let marked = |mark: &str| -> Vec<String> {
        header.lines().filter_map(|line| line.strip_prefix(mark)).map(str::to_owned).collect()
    };
    let tree: Vec<String> = marked("//|")
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned())
        .collect();
    let errors = marked("// error: ");
    let hints = marked("// hint: ");

    let mut sources = SourceMap::new();
    let file = sources.add(&path.to_string_lossy(), None, text);
    let mut interner = Interner::new();
    match (parse(&file, &mut interner, &Limits::default()), errors.first()) {
        (Ok(_), Some(error)) => Err(format!("parsed, expected: {error}").into()),
        (Ok(script), None) => {
            let printed = print::script(&script, &interner, Grouping::Explicit);
            let printed = String::from_utf8_lossy(&printed).into_owned();
            if printed.lines().eq(tree.iter().map(String::as_str)) {
                return Ok(());
            }
            let block: String = printed.lines().map(|line| format!("//| {line}\n")).collect();
            Err(format!("the tree is\n{block}").into())
        }
        (Err(error), None) => Err(error.render(&sources, Style::Plain).into()),
        (Err(error), Some(expected)) => {
            let plain = error.plain(&sources);
            let found = format!("{}:{} {}", plain.line, plain.column, plain.message);
            if found != *expected {
                return Err(format!("the error is\n// error: {found}").into());
            }
            for hint in &hints {
                if !error.hints().iter().any(|given| given.contains(hint)) {
                    return Err(format!("the hints are {:?}", error.hints()).into());
                }
            }
            Ok(())
        }
    }
}

datatest_stable::harness! {
    { test = check, root = "tests/syntax", pattern = r"^.*\.hsl$" },
}
