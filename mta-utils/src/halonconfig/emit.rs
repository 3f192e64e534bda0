//! Writes positioned values as YAML: long texts as blocks, the rest plainly, in the order of the file.

use config::node::{Entry, Node, Scalar, ScalarType, Value};

/// The YAML of a document.
pub(super) fn document(root: &Node) -> String {
    let mut out = String::new();
    match &root.value {
        Value::Mapping(entries) if !entries.is_empty() => mapping(&mut out, entries, 0),
        Value::Sequence(elements) if !elements.is_empty() => {
            elements.iter().for_each(|element| item(&mut out, element, 0));
        }
        _ => {
            inline(&mut out, root, 0);
            out.push('\n');
        }
    }
    out
}

fn mapping(out: &mut String, entries: &[Entry], depth: usize) {
    for entry in entries {
        out.push_str(&"  ".repeat(depth));
        member(out, entry, depth);
    }
}

/// Writes `key: value` where the line has begun already.
fn member(out: &mut String, entry: &Entry, depth: usize) {
    match &entry.key.value {
        Value::Scalar(key) => scalar(out, key),
        _ => out.push_str("\"\""),
    }
    out.push(':');
    tag(out, &entry.value);
    match &entry.value.value {
        Value::Mapping(entries) if !entries.is_empty() => {
            out.push('\n');
            mapping(out, entries, depth + 1);
        }
        Value::Sequence(elements) if !elements.is_empty() => {
            out.push('\n');
            elements.iter().for_each(|element| item(out, element, depth + 1));
        }
        _ => {
            out.push(' ');
            inline(out, &entry.value, depth + 1);
            out.push('\n');
        }
    }
}

fn item(out: &mut String, element: &Node, depth: usize) {
    out.push_str(&"  ".repeat(depth));
    out.push('-');
    tag(out, element);
    match &element.value {
        Value::Mapping(entries) if !entries.is_empty() && element.tag.is_none() => {
            for (index, entry) in entries.iter().enumerate() {
                out.push_str(&if index == 0 { " ".to_owned() } else { "  ".repeat(depth + 1) });
                member(out, entry, depth + 1);
            }
        }
        Value::Mapping(entries) if !entries.is_empty() => {
            out.push('\n');
            mapping(out, entries, depth + 1);
        }
        Value::Sequence(elements) if !elements.is_empty() => {
            out.push('\n');
            elements.iter().for_each(|element| item(out, element, depth + 1));
        }
        _ => {
            out.push(' ');
            inline(out, element, depth + 1);
            out.push('\n');
        }
    }
}

fn tag(out: &mut String, node: &Node) {
    if let Some(tag) = &node.tag {
        out.push(' ');
        if !tag.starts_with('!') {
            out.push('!');
        }
        out.push_str(tag);
    }
}

/// Writes a value that begins on the current line, without the line end.
fn inline(out: &mut String, node: &Node, depth: usize) {
    match &node.value {
        Value::Mapping(_) => out.push_str("{}"),
        Value::Sequence(_) => out.push_str("[]"),
        Value::Scalar(value) if value.kind == ScalarType::String && is_block(&value.text) => {
            block(out, &value.text, depth);
        }
        Value::Scalar(value) => scalar(out, value),
    }
}

fn scalar(out: &mut String, value: &Scalar) {
    let is_text = value.kind == ScalarType::String;
    if !is_text {
        out.push_str(if value.text.is_empty() { "~" } else { &value.text });
    } else if is_plain(&value.text) {
        out.push_str(&value.text);
    } else {
        // JSON's strings are YAML's as well.
        out.push_str(&serde_json::Value::from(&*value.text).to_string());
    }
}

/// Whether a text may stand without quotes: a subset of what YAML allows.
fn is_plain(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || b"/_".contains(&first))
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-./@+".contains(&byte))
        && config::yaml::resolve(text) == ScalarType::String
        && !matches!(text, "y" | "n" | "yes" | "no" | "on" | "off" | "Yes" | "No" | "On" | "Off")
}

/// Whether a text can be a literal block: several lines of printable characters.
fn is_block(text: &str) -> bool {
    let is_printable = |c: char| {
        matches!(c, '\n' | '\t')
            || (!c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}'))
    };
    text.trim_end_matches('\n').contains('\n') && text.chars().all(is_printable)
}

fn block(out: &mut String, text: &str, depth: usize) {
    out.push('|');
    // Without it, white space of the first line would be taken for indentation.
    if text.starts_with([' ', '\t', '\n']) {
        out.push('2');
    }
    let content = text.trim_end_matches('\n');
    match text.len() - content.len() {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    let ends = (text.len() - content.len()).saturating_sub(1);
    let lines = content.split('\n').chain(std::iter::repeat_n("", ends));
    for line in lines {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&"  ".repeat(depth));
            out.push_str(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        let before = config::yaml::parse(text.as_bytes(), "t").unwrap();
        let written = document(&before);
        let after = config::yaml::parse(written.as_bytes(), "t")
            .unwrap_or_else(|error| panic!("{error:?}\n{written}"));
        assert_eq!(before.to_json(), after.to_json(), "{written}");
        assert_eq!(document(&after), written);
        written
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        assert_eq!(
            round("a: {b: [1, {c: yes, d: [x]}, [], [[2]], {}]}\ne: '0640'\nf: 0640\ng: ~\nh:\n"),
            "a:\n  b:\n    - 1\n    - c: \"yes\"\n      d:\n        - x\n    - []\n    -\n      -\n        \
             - 2\n    - {}\ne: \"0640\"\nf: 0640\ng: ~\nh: ~\n"
        );
        assert_eq!(round("a: !Env ${X:1}\n"), "a: !Env \"${X:1}\"\n");
        round("[]");
        round("text");
    }

    #[test]
    fn texts_of_several_lines_are_blocks() {
        assert_eq!(round("a: \"x\\n  y\\n\\nz\\n\""), "a: |\n  x\n    y\n\n  z\n");
        for text in [
            "a\nb",
            "a\nb\n\n",
            " a\nb\n",
            "\na\nb",
            "a\n\tb\n",
            "a\r\nb",
            "#a\n: b\n",
            "a\n ",
            "\n",
            "\n\n",
        ] {
            let quoted = serde_json::Value::from(text).to_string();
            round(&format!("k: {quoted}\nl: [{quoted}, {{m: {quoted}}}]\nn: 1\n"));
        }
    }
}
