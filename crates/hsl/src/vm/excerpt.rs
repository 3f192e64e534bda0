//! Code as a log may show it.

/// The first line of `code`, at most [`LONGEST`] characters of it, with `…` for what strings say; names in
/// square brackets are kept, for they say what is looked up.
pub(super) fn without_texts(code: &[u8]) -> String {
    let line = code.split(|octet| matches!(octet, b'\n' | b'\r')).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut out = String::new();
    let mut rest = line.trim_end();
    while let Some(next) = rest.chars().next() {
        let Some((text, behind)) = string(rest) else {
            out.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
            continue;
        };
        let quotes = if rest.starts_with('"') { "\"" } else { "''" };
        let is_index = out.ends_with('[') && behind.starts_with(']');
        let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        out.push_str(quotes);
        out.push_str(if text.is_empty() || (is_index && is_name) { text } else { "…" });
        out.push_str(quotes);
        rest = behind;
    }
    let is_cut = line.len() < code.trim_ascii_end().len();
    match out.char_indices().nth(LONGEST) {
        Some((at, _)) => out.get(..at).unwrap_or_default().to_owned() + "…",
        None if is_cut => out + " …",
        None => out,
    }
}

/// The content of the string that `code` begins with, and what follows it. One that goes on in the next
/// line ends with this one.
fn string(code: &str) -> Option<(&str, &str)> {
    let split = |content: &'_ str, end: Option<usize>, quotes: usize| {
        let end = end.unwrap_or(content.len());
        (end, (end + quotes).min(content.len()))
    };
    if let Some(content) = code.strip_prefix("''") {
        let (end, next) = split(content, content.find("''"), 2);
        return Some((content.get(..end)?, content.get(next..)?));
    }
    let content = code.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = content.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    let (end, next) = split(content, end, 1);
    Some((content.get(..end)?, content.get(next..)?))
}

/// Characters that are shown.
const LONGEST: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_hidden_and_names_in_brackets_are_not() {
        for (code, shown) in [
            (r#"$d["x"]["y"]()"#, r#"$d["x"]["y"]()"#),
            (r#"login("ann", "s\"ecret")"#, r#"login("…", "…")"#),
            ("f(''raw'', \"\", $n + 1)", "f(''…'', \"\", $n + 1)"),
            (r#"$d["two words"]"#, r#"$d["…"]"#),
            ("http(\"a\nb\")", "http(\"…\" …"),
            ("f(\n  1)", "f( …"),
            ("\"open", "\"…\""),
            ("", ""),
        ] {
            assert_eq!(without_texts(code.as_bytes()), shown, "{code}");
        }
        let long = format!("f({})", "å".repeat(200));
        assert_eq!(without_texts(long.as_bytes()).chars().count(), LONGEST + 1);
    }
}
