//! The report for people.

use std::fmt::Write;

use hsl::{Array, Value};
use script_host::hooks::values::text;

use super::report::Report;

impl Report {
    /// As text: the verdict first, then what it brings with it.
    pub(super) fn to_text(&self) -> String {
        let report = &self.0;
        let word = |key: &str| report.get_text(key).map(text).unwrap_or_default();
        let mut out = format!("{}: {} ({})\n", word("hook"), word("verdict"), word("because"));
        if report.get_text("error").is_some() {
            let _ = writeln!(out, "  error: {}", word("error"));
        }
        for (key, value) in array(report, "options").iter() {
            let _ = writeln!(out, "  {}: {}", text(&key.to_value()), shown(value));
        }
        for line in array(report, "reply").values() {
            let _ = writeln!(out, "  > {}", text(line));
        }
        for (key, title) in [
            ("queued", "queued"),
            ("in_line", "delivered in line"),
            ("dropped", "dropped"),
            ("composed", "composed"),
        ] {
            for copy in array(report, key).values() {
                if let Value::Array(copy) = copy {
                    copy_text(&mut out, title, copy);
                }
            }
        }
        let header = array(report, "header");
        if !header.is_empty() {
            let _ = writeln!(out, "message:");
            changes_text(&mut out, &header);
        }
        for call in array(report, "calls").values() {
            let Value::Array(call) = call else { continue };
            let name = call.get_text("function").map(text).unwrap_or_default();
            let arguments: Vec<String> = array(call, "arguments").values().map(shown).collect();
            let _ = writeln!(out, "called: {name}({})", arguments.join(", "));
        }
        for key in ["dsn", "metadata", "context"] {
            if let Some(value) = report.get_text(key).filter(|value| !value.is_none()) {
                let _ = writeln!(out, "{key}: {}", shown(value));
            }
        }
        out
    }
}

fn copy_text(out: &mut String, title: &str, copy: &Array) {
    let word = |key: &str| copy.get_text(key).map(text).unwrap_or_default();
    let _ = writeln!(
        out,
        "{title}: {}:{} from <{}> to <{}> over {}, {} octets",
        word("transaction"),
        word("queue"),
        word("sender"),
        word("recipient"),
        word("transportid"),
        word("size"),
    );
    for (key, value) in array(copy, "options").iter() {
        let _ = writeln!(out, "  {}: {}", text(&key.to_value()), shown(value));
    }
    changes_text(out, &array(copy, "header"));
}

fn changes_text(out: &mut String, changes: &Array) {
    for change in changes.values() {
        let Value::Array(change) = change else { continue };
        for (mark, key) in [("-", "removed"), ("+", "added")] {
            let Some(field) = change.get_text(key) else { continue };
            for line in text(field).lines() {
                let _ = writeln!(out, "  {mark} {line}");
            }
        }
    }
}

fn array(of: &Array, key: &str) -> Array {
    match of.get_text(key) {
        Some(Value::Array(array)) => array.clone(),
        _ => Array::new(),
    }
}

/// A value as it stands in a dump of an array: strings in quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(_) => format!("{:?}", text(value)),
        other => text(other),
    }
}
