//! What `functions.json` lists is there and can be called by scripts.

mod support;

use std::sync::Arc;

use hsl::Value;
use hsl::host::Limits;
use parking_lot::Mutex;

fn listed() -> Vec<(String, usize)> {
    let output = Arc::new(Mutex::new(Vec::new()));
    let host = support::host(&Arc::default(), &output);
    let json = hsl_std::docs::functions_json(&host);
    let decoded = hsl_std::import::decode("json", json.as_bytes(), None, None).unwrap();
    let functions = decoded.as_array().unwrap();
    functions
        .values()
        .map(|function| {
            let function = function.as_array().unwrap();
            let name = function.get_text("name").and_then(Value::as_text).unwrap();
            let parameters = function.get_text("parameters").and_then(Value::as_array).unwrap();
            (name.to_owned(), parameters.len())
        })
        .collect()
}

#[test]
fn every_function_listed_is_a_function_for_scripts() {
    let functions = listed();
    assert!(functions.len() > 100, "{}", functions.len());
    let script: String =
        functions.iter().map(|(name, _)| format!("echo is_function({name});\n")).collect();
    let report = support::run(script.as_bytes(), Limits::default());
    assert_eq!(report.error, None);
    assert_eq!(report.echoed, b"true\n".repeat(functions.len()));
}

#[test]
fn every_function_listed_refuses_one_argument_too_many() {
    for (name, parameters) in listed() {
        if name == "pack" {
            continue; // takes any number
        }
        let arguments = vec!["none"; parameters + 1].join(", ");
        // Through a variable: a count that is seen at compile time is an error then.
        let script = format!("$f = {name};\n$f({arguments});");
        let error = support::run(script.as_bytes(), Limits::default()).error.unwrap_or_default();
        assert!(error.starts_with(&format!("{name}() expects")), "{name}: {error}");
    }
}

#[test]
fn constructors_and_static_functions_refuse_one_argument_too_many() {
    let output = Arc::new(Mutex::new(Vec::new()));
    let host = support::host(&Arc::default(), &output);
    let mut count = 0;
    for class in host.classes() {
        let of = String::from_utf8_lossy(class.name()).into_owned();
        let statics = class.static_functions().into_iter();
        let constructor = class.constructor().map(|function| (of.clone(), function));
        let named = statics.map(|function| (format!("{of}::{}", function.name()), function));
        for (name, function) in named.chain(constructor) {
            let arguments = vec!["none"; function.signature().parameters.len() + 1].join(", ");
            let script = format!("$f = {name};\n$f({arguments});");
            let error = support::run(script.as_bytes(), Limits::default()).error;
            let error = error.unwrap_or_default();
            assert!(error.contains("() expects ") && error.contains(" given"), "{name}: {error}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn every_function_has_a_description_and_a_return_type() {
    let output = Arc::new(Mutex::new(Vec::new()));
    let host = support::host(&Arc::default(), &output);
    let of_classes = host.classes().flat_map(|class| {
        class.methods().into_iter().chain(class.static_functions()).chain(class.constructor())
    });
    for function in host.functions().chain(of_classes) {
        assert!(!function.doc().is_empty(), "{}", function.name());
        assert!(!function.signature().returns.is_empty(), "{}", function.name());
    }
}

#[test]
fn signatures_print_as_the_manual_writes_them() {
    let output = Arc::new(Mutex::new(Vec::new()));
    let host = support::host(&Arc::default(), &output);
    let table = [
        ("array_sort", "array_sort(function callback, array array [, array options])"),
        ("str_split", "str_split(string string, string delimiter [, number limit = 0])"),
        ("random_number", "random_number([number first [, number last]])"),
        ("pack", "pack(string format, any ...args)"),
        ("time", "time()"),
    ];
    for (name, expected) in table {
        let function = host.function(name).unwrap();
        assert_eq!(hsl_std::docs::signature_text(function.signature()), expected);
    }
}
