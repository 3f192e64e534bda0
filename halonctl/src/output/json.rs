//! JSON for `--json` and `--json-request`.

use std::io::{self, Write};

use serde_json::Value;

/// Prints a value over several lines.
pub(crate) fn write(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// The rows of a list answer, or the whole answer.
pub(crate) fn rows(answer: &Value) -> &Value {
    ROWS.iter().find_map(|name| answer.get(name).filter(|rows| rows.is_array())).unwrap_or(answer)
}

/// The names of the rows in list answers.
const ROWS: &[&str] = &["items", "item", "connections", "keys"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_print_their_rows_and_other_answers_print_whole() {
        let list = serde_json::json!({"items": [1], "paging": {"total": "1"}});
        assert_eq!(rows(&list), &serde_json::json!([1]));
        let other = serde_json::json!({"affected": "1"});
        assert_eq!(rows(&other), &other);
    }
}
