//! JSON for `--json` and `--json-request`.

use std::io::{self, Write};

use control::json::JsonError;
use serde_json::Value;

use crate::error::Result;

/// Prints a value over several lines.
pub(crate) fn write(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Prints an array as [`write`] would, holding one row at a time.
pub(crate) fn write_rows(
    out: &mut dyn Write,
    rows: impl Iterator<Item = Result<Value, JsonError>>,
) -> Result<()> {
    let mut is_empty = true;
    for row in rows {
        out.write_all(if is_empty { b"[" } else { b"," })?;
        is_empty = false;
        let text = serde_json::to_string_pretty(&row?).map_err(io::Error::from)?;
        for line in text.lines() {
            out.write_all(b"\n  ")?;
            out.write_all(line.as_bytes())?;
        }
    }
    out.write_all(if is_empty { b"[]\n" } else { b"\n]\n" })?;
    Ok(())
}

/// The array of an answer that lists texts, or the whole answer.
pub(crate) fn keys(answer: &Value) -> &Value {
    answer.get("keys").filter(|keys| keys.is_array()).unwrap_or(answer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_print_as_the_array_would() {
        for rows in [json!([]), json!([{"a": 1}]), json!([{"a": [1, {}], "b": {"c": ""}}, {}])] {
            let mut whole = Vec::new();
            write(&mut whole, &rows).unwrap();
            let mut single = Vec::new();
            write_rows(&mut single, rows.as_array().unwrap().iter().cloned().map(Ok)).unwrap();
            assert_eq!(String::from_utf8(single).unwrap(), String::from_utf8(whole).unwrap());
        }
    }

    #[test]
    fn lists_of_texts_print_as_arrays_and_other_answers_print_whole() {
        let list = json!({"keys": ["a"]});
        assert_eq!(keys(&list), &json!(["a"]));
        let other = json!({"affected": "1"});
        assert_eq!(keys(&other), &other);
    }
}
