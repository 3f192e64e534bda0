//! The JSON Schemas of `packaging/schemas` against the key tables and the loaders.

use std::fs;
use std::path::{Path, PathBuf};

use config::Diagnostic;
use config::keys::{FILES, Key, Kind};
use serde_json::Value;

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(path)
}

fn schema(name: &str) -> Value {
    let path = packaging(&format!("schemas/{name}.schema.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn faults(name: &str, text: &str) -> Vec<Diagnostic> {
    let file = format!("{name}.yaml");
    match name {
        "smtpd" => config::load_startup(text, &file).err(),
        "smtpd-app" => config::load_running(text, &file).err(),
        "smtpd-policy" => config::load_policy(text, &file).err(),
        "smtpd-suspend" => config::load_suspend(text, &file).err(),
        "smtpd-delivery" => config::load_delivery(text, &file).err(),
        _ => panic!("no such file: {name}"),
    }
    .unwrap_or_default()
}

fn schema_accepts(name: &str, text: &str) -> bool {
    let node = config::yaml::parse(text.as_bytes(), "test").expect("YAML");
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema(name))
        .expect("a valid schema");
    validator.is_valid(&node.to_json())
}

#[test]
fn the_files_are_printed_from_the_tables() {
    for (name, schema) in config::schema::all() {
        let path = packaging(&format!("schemas/{name}.schema.json"));
        let mut printed = serde_json::to_string_pretty(&schema).expect("JSON");
        printed.push('\n');
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&path, &printed).expect("the schema is written");
        }
        let stored = fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == printed, "{path:?} is out of date; run with UPDATE_SCHEMAS=1");
    }
}

#[test]
fn every_schema_is_valid_draft_7() {
    for (name, _) in FILES {
        assert!(jsonschema::draft7::meta::is_valid(&schema(name)), "{name}");
    }
}

/// Walks table and schema together: names, closedness, required keys and defaults.
#[test]
fn tables_and_schemas_name_the_same_keys() {
    for (name, keys) in FILES {
        compare(keys, &schema(name), name);
    }
}

fn compare(keys: &'static [Key], schema: &Value, at: &str) {
    assert_eq!(schema["additionalProperties"], Value::Bool(false), "{at}");
    let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{at}"));
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    assert_eq!(properties.keys().collect::<Vec<_>>(), names, "{at}");
    let required: Vec<_> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let stated: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    assert_eq!(stated, required, "{at}");
    for key in keys {
        let at = format!("{at}.{}", key.name);
        let property = &properties[key.name];
        assert_eq!(property["description"].as_str(), Some(key.doc), "{at}");
        let default = key.default.map(|text| {
            config::yaml::parse(text.as_bytes(), "default").expect("a default").to_json()
        });
        assert_eq!(property.get("default"), default.as_ref(), "{at}");
        let below = match key.kind {
            Kind::Map(_) => property,
            Kind::List { of: Kind::Map(_), .. } => &property["items"],
            _ => continue,
        };
        compare(key.kind.keys(), below, &at);
    }
}

#[test]
fn every_sample_pleases_loader_and_schema_alike() {
    let mut seen = 0;
    for folder in ["config", "config/minimal", "config/standard"] {
        for entry in fs::read_dir(packaging(folder)).expect("samples") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            // The web administration reads its own file.
            if path.file_stem().is_some_and(|stem| stem == "web") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            assert_eq!(faults(name, &text), [], "{path:?}");
            assert!(schema_accepts(name, &text), "{path:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 9);
}

#[test]
fn every_sample_folder_starts() {
    for folder in ["config", "config/minimal", "config/standard"] {
        let report = config::check("/etc/halon/smtpd.yaml", |path| {
            let name = Path::new(path).file_name().expect("a name");
            fs::read(packaging(folder).join(name))
        });
        assert!(report.is_usable(), "{folder}: {:?}", report.diagnostics);
        assert_eq!(report.diagnostics, [], "{folder}");
        assert!(report.running.is_some(), "{folder}");
    }
}

/// Each key with a value of the wrong shape: both must object, and the loader must name the key. A key
/// that nobody reads or checks would show here.
#[test]
fn both_object_to_a_wrong_value_at_every_key() {
    for (name, keys) in FILES {
        let mut count = 0;
        for_each_key(keys, &mut Vec::new(), &mut |path, kind| {
            let Some(wrong) = wrong_value(kind) else { return };
            let text = document(path, wrong);
            let faults = faults(name, &text);
            let expected = path_of(path);
            assert!(
                faults.iter().any(|fault| fault.path.to_string() == expected),
                "{name}: nobody objects to\n{text}\nat {expected}: {faults:?}"
            );
            assert!(!schema_accepts(name, &text), "{name}: the schema accepts\n{text}");
            count += 1;
        });
        assert!(count > 5, "{name}");
    }
}

/// Each key with a value of the right kind passes the loader's first stage and the schema.
#[test]
fn both_accept_a_right_value_at_every_key() {
    for (name, keys) in FILES {
        for_each_key(keys, &mut Vec::new(), &mut |path, kind| {
            let Some(right) = right_value(kind) else { return };
            let text = document(path, right);
            let here = path_of(path);
            for fault in faults(name, &text) {
                // References and missing neighbours are another matter.
                let about_value = fault.path.to_string() == here
                    && (fault.message.starts_with("expected") || fault.message == "unknown key");
                assert!(!about_value, "{name}:\n{text}\n{fault}");
            }
            let node = config::yaml::parse(text.as_bytes(), "test").expect("YAML");
            let validator = jsonschema::validator_for(&schema(name)).expect("a schema");
            let json = node.to_json();
            for error in validator.iter_errors(&json) {
                let about = error.to_string();
                assert!(about.contains("required"), "{name}:\n{text}\n{about}");
            }
        });
    }
}

#[derive(Clone, Debug)]
enum Step {
    Key(&'static str),
    List,
    Free,
}

fn for_each_key(
    keys: &'static [Key],
    path: &mut Vec<Step>,
    visit: &mut impl FnMut(&[Step], &'static Kind),
) {
    for key in keys {
        path.push(Step::Key(key.name));
        visit(path, &key.kind);
        below(&key.kind, path, visit);
        path.pop();
    }
}

fn below(
    kind: &'static Kind,
    path: &mut Vec<Step>,
    visit: &mut impl FnMut(&[Step], &'static Kind),
) {
    match kind {
        Kind::Map(keys) => for_each_key(keys, path, visit),
        Kind::List { of, .. } => {
            path.push(Step::List);
            visit(path, of);
            below(of, path, visit);
            path.pop();
        }
        Kind::Dict(of) => {
            path.push(Step::Free);
            visit(path, of);
            below(of, path, visit);
            path.pop();
        }
        Kind::Either(kinds) => {
            for kind in *kinds {
                if matches!(kind, Kind::Map(_)) {
                    below(kind, path, visit);
                }
            }
        }
        _ => {}
    }
}

/// A document (flow style, which is YAML and easy to nest) with `value` at `path`.
fn document(path: &[Step], value: &str) -> String {
    let mut text = value.to_owned();
    for step in path.iter().rev() {
        text = match step {
            Step::Key(name) => format!("{{\"{name}\": {text}}}"),
            Step::Free => format!("{{\"free\": {text}}}"),
            Step::List => format!("[{text}]"),
        };
    }
    text
}

fn path_of(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(name) if text.is_empty() => text.push_str(name),
            Step::Key(name) => text.push_str(&format!(".{name}")),
            Step::Free => text.push_str(".free"),
            Step::List => text.push_str("[0]"),
        }
    }
    text
}

fn wrong_value(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Any => return None,
        Kind::Text | Kind::Id | Kind::Host | Kind::Matcher(_) | Kind::Either(_) => "[[]]",
        Kind::OneOrMany(_) => "{a: 1}",
        Kind::Map(_) | Kind::Dict(_) | Kind::Source => "text",
        Kind::List { .. } => "{a: 1}",
        Kind::Boolean => "\"true\"",
        Kind::Integer { .. } => "-1",
        Kind::Number => "\"1\"",
        Kind::NumberOf(_) => "3",
        Kind::Mode => "0660",
        Kind::Version => "5.6",
        Kind::Word(_) => "nonsense",
        Kind::Tag => "\"123456789012345678901234567890123\"",
        Kind::Address => "192.0.2.256",
        Kind::SocketAddress => "localhost:53",
        Kind::Duration { .. } => "5 minutes",
        Kind::Size { .. } => "5MB",
        Kind::Rate => "5 per minute",
        Kind::TlsProtocols => "TLSv1.9",
    })
}

fn right_value(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Any => "{a: [1]}",
        Kind::Text => "\"\"",
        Kind::Id | Kind::Host | Kind::Tag => "word",
        Kind::Matcher(field) | Kind::OneOrMany(Kind::Matcher(field)) if field.is_address() => {
            "192.0.2.0/24"
        }
        Kind::Matcher(_) | Kind::OneOrMany(_) => "example",
        Kind::Dict(_) => "{}",
        Kind::Source => "{path: /file}",
        Kind::List { min: 0, .. } => "[]",
        Kind::Boolean => "true",
        Kind::Integer { .. } => "100",
        Kind::Number => "0.5",
        Kind::Mode => "\"0660\"",
        Kind::Version => "\"5.6\"",
        Kind::Address => "\"2001:db8::1\"",
        Kind::SocketAddress => "\"[::1]:53\"",
        Kind::Duration { .. } => "1h30m",
        Kind::Size { .. } => "50MiB",
        Kind::Rate => "1000/60",
        Kind::TlsProtocols => "\"!SSLv2,!SSLv3\"",
        _ => return None,
    })
}
