//! `COMPATIBILITY.md` says what the code says: it is printed from the code's own tables.
//!
//! Run with `UPDATE_COMPATIBILITY=1` to write it anew, and the documents that editors read.

use std::collections::BTreeSet;
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
        let list = |names: &[&str]| {
            names.iter().map(|name| format!("`${name}`")).collect::<Vec<_>>().join(", ")
        };
        let _ = write!(out, "\n### {}\n\nVariables: {}.\n\n", hook.name, list(&hook.variables));
        if !hook.old_variables.is_empty() {
            let names = list(&hook.old_variables);
            let _ = write!(out, "In scripts that do not write them also: {names}.\n\n");
        }
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
    out.push_str(
        "\n## Functions that are missing or differ\n\nWhat the manual documents, of every script and of single hooks. The hooks of the integrated package\n(api, firewall) are missing as a whole.\n\n| function | here |\n| --- | --- |\n",
    );
    for documented in documented().iter().filter(|documented| !documented.note.is_empty()) {
        let _ = writeln!(out, "| `{}` | {} |", documented.name, documented.note);
    }
}

/// A line of `data/library.txt`.
struct Documented {
    /// The function, `Class`, `Class::function` or `Class->method`; behind `hook: ` where it is the
    /// hook's alone.
    name: &'static str,
    /// What is missing or differs; empty for what is implemented.
    note: &'static str,
}

fn documented() -> Vec<Documented> {
    let lines = include_str!("../data/library.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, note) = line.split_once(" | ").unwrap_or((line, ""));
            Documented { name, note }
        })
        .collect()
}

/// What is registered, by the names of `data/library.txt`.
fn registered() -> BTreeSet<String> {
    let name = |signature: &str| signature.split('(').next().unwrap_or_default().to_owned();
    let mut names: BTreeSet<String> = mta_daemon::compatibility::library_functions()
        .iter()
        .chain(&mta_daemon::compatibility::library_classes())
        .map(|signature| name(signature))
        .filter(|name| !name.starts_with("__"))
        .collect();
    for hook in mta_daemon::compatibility::hooks() {
        let functions = hook.functions.iter();
        names.extend(functions.map(|function| format!("{}: {}", hook.name, name(function))));
    }
    names
}

#[test]
fn what_the_manual_documents_is_registered_or_named_as_missing() {
    let registered = registered();
    let documented = documented();
    for line in &documented {
        let is_missing = line.note == "missing" || line.note.starts_with("missing: ");
        assert!(is_missing || line.note.is_empty() || line.note.starts_with("differs: "));
        assert_ne!(registered.contains(line.name), is_missing, "{}", line.name);
    }
    let names: BTreeSet<&str> = documented.iter().map(|line| line.name).collect();
    assert_eq!(names.len(), documented.len(), "a line stands twice");
    let unknown: Vec<_> = registered.iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "tests/data/library.txt does not know {unknown:?}");
}

/// Functions and classes of the documents for editors are those of the page, members included.
#[test]
fn documents_and_page_name_the_same_functions_and_members() {
    let [functions, classes] = mta_daemon::compatibility::library_documents()
        .map(|(_, text)| serde_json::from_str::<serde_json::Value>(&text).expect("JSON"));
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
    let mut named: BTreeSet<String> = list(&functions).iter().map(name).collect();
    for class in list(&classes) {
        let of = name(&class);
        named.extend(class["constructor"].is_object().then(|| of.clone()));
        let statics = list(&class["static_functions"]);
        named.extend(statics.iter().map(|function| format!("{of}::{}", name(function))));
        let methods = list(&class["methods"]);
        named.extend(methods.iter().map(|method| format!("{of}->{}", name(method))));
        for member in statics.iter().chain(&methods).chain([&class["constructor"]]) {
            let is_whole = member["description"].as_str().is_some_and(|text| !text.is_empty())
                && member["returns"].as_str().is_some_and(|text| !text.is_empty());
            assert!(is_whole || member.is_null(), "{of}: {member}");
        }
    }
    let of_every_script = registered().into_iter().filter(|name| !name.contains(": "));
    assert_eq!(named, of_every_script.collect());
    let page = page();
    for name in named {
        assert!(page.contains(&format!("- `{name}(")), "{name}");
    }
}

fn header(out: &mut String) {
    out.push_str("\n## Functions of `HalonMTA.h`\n\nAll are declared, exported and implemented. In `hsh` nothing is sent: rules for the queue get\ntheir ids there and have no effect, and injection answers with failure. Beside each stand the plugins of\nthe tests that call it.\n\n| function | called in |\n| --- | --- |\n");
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
