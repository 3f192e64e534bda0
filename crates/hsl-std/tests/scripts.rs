//! Runs every script under `tests/scripts/<chapter>/` and compares what it echoes.
//!
//! The head of a script says what to expect: each line `//= text` is one line of output, and
//! `//! text` is part of the error that ends the script.

mod support;

use std::path::Path;

use hsl::host::Limits;

fn script(path: &Path) -> datatest_stable::Result<()> {
    let text = std::fs::read(path)?;
    let source = String::from_utf8_lossy(&text);
    let mut expected = String::new();
    let mut expected_error = None;
    for line in source.lines().take_while(|line| line.starts_with("//")) {
        if let Some(line) = line.strip_prefix("//=") {
            expected.push_str(line.strip_prefix(' ').unwrap_or(line));
            expected.push('\n');
        } else if let Some(error) = line.strip_prefix("//! ") {
            expected_error = Some(error.to_owned());
        }
    }
    let limits = Limits { memory: 32 << 20, ..Limits::default() };
    let report = support::run(&text, limits);
    let echoed = String::from_utf8_lossy(&report.echoed);
    if echoed != expected {
        return Err(format!("echoed:\n{echoed}\nexpected:\n{expected}\n{:?}", report.error).into());
    }
    match (&report.error, &expected_error) {
        (None, None) => Ok(()),
        (Some(error), Some(expected)) if error.contains(expected) => Ok(()),
        (error, expected) => Err(format!("error: {error:?}\nexpected: {expected:?}").into()),
    }
}

datatest_stable::harness! {
    { test = script, root = "tests/scripts", pattern = r"\.hsl$" },
}
