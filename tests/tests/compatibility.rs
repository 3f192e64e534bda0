//! `COMPATIBILITY.md` says what the code says: it is printed from the code's own tables.
//!
//! Run with `UPDATE_COMPATIBILITY=1` to write it anew, and the documents that editors read.

use std::fmt::Write as _;
use std::path::Path;

use config::keys::{self, Support};

#[test]
fn the_page_is_printed_from_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../COMPATIBILITY.md");
    let printed = page();
    if std::env::var_os("UPDATE_COMPATIBILITY").is_some() {
        std::fs::write(&path, &printed).expect("the page can be written");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == printed, "{path:?} is out of date; run with UPDATE_COMPATIBILITY=1");
}

#[test]
fn the_documents_for_editors_are_printed_from_the_registrations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/editor");
    for (name, printed) in mta_daemon::compatibility::library_documents() {
        let path = folder.join(name);
        let printed = printed + "\n";
        if std::env::var_os("UPDATE_COMPATIBILITY").is_some() {
            std::fs::write(&path, &printed).expect("the document can be written");
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == printed, "{path:?} is out of date; run with UPDATE_COMPATIBILITY=1");
        let items: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        for item in items.as_array().expect("a list") {
            for key in ["name", "description"] {
                assert!(item[key].as_str().is_some_and(|text| !text.is_empty()), "{item}");
            }
        }
    }
}

#[test]
fn the_words_of_hooks_are_printed_from_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/script-host/hooks.txt");
    let printed = mta_daemon::compatibility::hook_words();
    if std::env::var_os("UPDATE_COMPATIBILITY").is_some() {
        std::fs::write(&path, &printed).expect("the words can be written");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == printed, "{path:?} is out of date; run with UPDATE_COMPATIBILITY=1");
}

fn page() -> String {
    let mut out = String::from(INTRODUCTION);
    commands(&mut out);
    hooks(&mut out);
    library(&mut out);
    header(&mut out);
    configuration(&mut out);
    out
}

// Writing to a string does not fail, so the results below are dropped.

fn commands(out: &mut String) {
    out.push_str("\n## Control commands\n\n| letter | command | request | response | smtpd |\n| --- | --- | --- | --- | --- |\n");
    for command in control::command::TABLE {
        let answered = mta_daemon::compatibility::control_commands().contains(&command.letter);
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            command.letter_char(),
            command.name,
            command.request.unwrap_or("–"),
            command.response.unwrap_or("–"),
            if answered { "implemented" } else { "missing" },
        );
    }
}

fn hooks(out: &mut String) {
    out.push_str("\n## Hooks\n");
    for hook in mta_daemon::compatibility::hooks() {
        let variables: Vec<String> =
            hook.variables.iter().map(|name| format!("`${name}`")).collect();
        let _ = write!(out, "\n### {}\n\nVariables: {}.\n\n", hook.name, variables.join(", "));
        for function in &hook.functions {
            let _ = writeln!(out, "- `{function}`");
        }
        for (class, methods) in &hook.classes {
            for method in methods {
                let _ = writeln!(out, "- `{class}->{method}`");
            }
        }
    }
}

fn library(out: &mut String) {
    out.push_str("\n## Functions of every script\n\nWhat is not listed is missing.\n\n");
    for function in mta_daemon::compatibility::library_functions() {
        if !function.starts_with("__") {
            let _ = writeln!(out, "- `{function}`");
        }
    }
    out.push_str("\n## Classes of every script\n\nWhat is not listed is missing.\n\n");
    for member in mta_daemon::compatibility::library_classes() {
        let _ = writeln!(out, "- `{member}`");
    }
}

fn header(out: &mut String) {
    out.push_str("\n## Functions of `HalonMTA.h`\n\nAll are declared, exported and implemented. In `hsh` there is no queue: calls about the queue\nand about injection answer with failure there. Beside each stand the plugins of the tests that\ncall it.\n\n| function | called in |\n| --- | --- |\n");
    let plugins = test_plugins();
    for function in plugin_abi::signatures::functions() {
        let _ = writeln!(
            out,
            "| `{}` | {} |",
            function.name,
            callers(&plugins, function.name).join(", ")
        );
    }
}

/// Sources of plugins that tests compile and run, with their names: C files, and C inside of a test.
fn test_plugins() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("tests/abi/plugins");
    let files = std::fs::read_dir(folder).expect("the folder of plugins");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.push(root.join("mta-daemon/tests/process/plugins.rs"));
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a source");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, text)
    };
    paths.into_iter().map(read).collect()
}

/// The plugins of the tests that call `function`.
fn callers(plugins: &[(String, String)], function: &str) -> Vec<String> {
    let call = format!("{function}(");
    let calling = plugins.iter().filter(|(_, source)| source.contains(&call));
    calling.map(|(name, _)| format!("`{name}`")).collect()
}

#[test]
fn every_function_of_the_header_is_called_by_a_plugin_of_the_tests() {
    let plugins = test_plugins();
    let functions = plugin_abi::signatures::functions();
    let idle: Vec<_> = functions
        .iter()
        .map(|function| function.name)
        .filter(|name| callers(&plugins, name).is_empty())
        .collect();
    assert!(idle.is_empty(), "no test calls {idle:?}");
}

fn configuration(out: &mut String) {
    out.push_str("\n## Configuration keys\n\nA key that is *accepted* has no effect in this release; smtpd names it once at start.\n");
    for (file, table) in [
        ("smtpd.yaml", keys::STARTUP),
        ("smtpd-app.yaml", keys::RUNNING),
        ("smtpd-policy.yaml", keys::POLICY),
        ("smtpd-suspend.yaml", keys::SUSPEND),
        ("smtpd-delivery.yaml", keys::DELIVERY),
    ] {
        let _ = write!(out, "\n### {file}\n\n| key | default | state |\n| --- | --- | --- |\n");
        for row in keys::rows(table) {
            let state = match row.support {
                Support::Done => "implemented",
                Support::Ignored => "accepted, never has an effect",
                Support::Later => "accepted",
            };
            let default = row.default.map_or_else(|| "–".to_owned(), |value| format!("`{value}`"));
            let _ = writeln!(out, "| `{}` | {default} | {state} |", row.path);
        }
    }
}

const INTRODUCTION: &str = "# What is covered

Measured against the interfaces of Halon MTA 5.6 and later. This page is printed from the tables of
the code and checked by a test; nothing on it is written by hand.
";
