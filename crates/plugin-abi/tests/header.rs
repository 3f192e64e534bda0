//! The header, as C and C++ compilers read it, says the same as the tables of this crate.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use plugin_abi::constants;
use plugin_abi::signatures::{entry_points, functions};
use plugin_abi::types::OPAQUE_TYPES;

fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include")
}

fn header() -> String {
    std::fs::read_to_string(include().join("HalonMTA.h")).unwrap()
}

/// Compiles `source` against the header and panics with the compiler's words.
fn compile(compiler: &str, standard: &str, suffix: &str, source: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(format!("check.{suffix}"));
    std::fs::write(&file, source).unwrap();
    let output = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"])
        .arg(include())
        .arg(&file)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A second declaration of everything: a compiler refuses one that differs from the header's.
fn declarations() -> String {
    let mut text = String::from("#include <HalonMTA.h>\n");
    for function in functions() {
        writeln!(text, "{};", function.declaration()).unwrap();
    }
    text
}

#[test]
fn c_accepts_the_header_and_our_prototypes() {
    let mut source = declarations();
    for (name, value) in constants::ALL {
        writeln!(source, "typedef char is_{name}[({name}) == {value} ? 1 : -1];").unwrap();
    }
    for (number, name) in OPAQUE_TYPES.iter().enumerate() {
        writeln!(source, "extern {name} *handle_{number};").unwrap();
    }
    compile("gcc", "-std=c99", "c", &source);
}

#[test]
fn cpp_accepts_the_header_and_our_prototypes() {
    let mut source = declarations().replace("#include <HalonMTA.h>\n", "");
    source = format!("#include <HalonMTA.h>\nextern \"C\" {{\n{source}}}\n");
    for (name, value) in constants::ALL {
        writeln!(source, "static_assert({name} == {value}, \"{name}\");").unwrap();
    }
    source.push_str("#include <initializer_list>\nint bits(int n) { switch (n) {\n");
    for (name, _) in constants::ALL.iter().filter(|(name, _)| name.starts_with("HALONMTA_HSL")) {
        writeln!(source, "case {name}: return 1 << {name};").unwrap();
    }
    source.push_str("} int f = 0; for (int n : {HALONMTA_QUEUE_LOCALIP, HALONMTA_QUEUE_JOBID}) f |= n; return f; }\n");
    compile("g++", "-std=c++17", "cpp", &source);
}

#[test]
fn entry_points_can_be_defined_as_the_table_has_them() {
    for (compiler, standard, suffix) in [("gcc", "-std=c99", "c"), ("g++", "-std=c++17", "cpp")] {
        let mut source = String::from("#include <HalonMTA.h>\n");
        for entry in entry_points() {
            writeln!(source, "HALON_EXPORT\n{};", entry.declaration()).unwrap();
        }
        compile(compiler, standard, suffix, &source);
    }
}

#[test]
fn the_header_declares_nothing_that_the_table_lacks() {
    let text = header();
    let declared: BTreeSet<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("HalonMTA_"))
        .filter(|word| *word != "HalonMTA_")
        .collect();
    let functions = functions();
    let known: BTreeSet<&str> = functions.iter().map(|function| function.name).collect();
    assert_eq!(declared, known);

    let defined: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#define HALONMTA_"))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, _)| name)
        .collect();
    let known: BTreeSet<&str> =
        constants::ALL.iter().filter_map(|(name, _)| name.strip_prefix("HALONMTA_")).collect();
    assert_eq!(defined, known);
}

#[test]
fn numbers_are_frozen() {
    // A change here breaks every plugin that was compiled before. Only add to the end.
    let numbers: Vec<i32> = constants::ALL.iter().map(|(_, value)| *value).collect();
    assert_eq!(
        numbers,
        [
            56001, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 1, 2, 1, 2, 3, 4, 5, 16, 17, 18, 1, 2,
            3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2, 4, 8, 16, 32, 64, 128, 0, 1, 2, 0, 1, 2
        ]
    );
}

#[test]
fn message_selectors_fit_into_the_bits_of_an_int() {
    for (name, value) in constants::ALL {
        if name.starts_with("HALONMTA_MESSAGE_") {
            assert!((1..31).contains(value), "{name}");
        }
    }
}
