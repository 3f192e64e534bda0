//! The CSV dialect of scripts, as octets: records of fields in, one record out.
//!
//! RFC 4180 with a free delimiter: fields may be quoted, quotes inside are doubled, a quoted field
//! may span lines, a line ends with LF or CRLF, empty lines are no records. The meaning of columns
//! (header, schema) is in [`super::csv`].

use std::borrow::Cow;

use memchr::memchr;
use memchr::memmem;

use crate::output::{Output, Stop};

/// What is wrong with a text that is no CSV.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CsvSyntaxError {
    /// The delimiter is empty or holds a quote or a line end.
    #[error("csv delimiter must not be empty nor hold a quote or a line end")]
    Delimiter,
    /// A quoted field does not end.
    #[error("csv line {line}: quoted field is not closed")]
    Unclosed {
        /// Where the field starts, from 1.
        line: usize,
    },
    /// Text follows a closing quote.
    #[error("csv line {line}: text after a closing quote")]
    AfterQuote {
        /// Where the quote is, from 1.
        line: usize,
    },
}

/// Reads records one after the other.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
    delimiter: &'a [u8],
    line: usize,
}

impl<'a> Records<'a> {
    /// Reads `text`; a leading UTF-8 byte order mark is skipped.
    ///
    /// # Errors
    ///
    /// [`CsvSyntaxError::Delimiter`].
    pub(crate) fn new(text: &'a [u8], delimiter: &'a [u8]) -> Result<Self, CsvSyntaxError> {
        check_delimiter(delimiter)?;
        let rest = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Ok(Self { rest, delimiter, line: 1 })
    }

    /// The line the next record starts on, from 1.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Takes the next record into `fields`; false at the end of the text.
    ///
    /// # Errors
    ///
    /// [`CsvSyntaxError`]; the reader is of no more use then.
    pub(crate) fn next_into(
        &mut self,
        fields: &mut Vec<Cow<'a, [u8]>>,
    ) -> Result<bool, CsvSyntaxError> {
        fields.clear();
        self.skip_empty_lines();
        if self.rest.is_empty() {
            return Ok(false);
        }
        loop {
            let (field, end) =
                if self.rest.first() == Some(&b'"') { self.quoted()? } else { self.bare() };
            fields.push(field);
            if end == End::Record {
                return Ok(true);
            }
        }
    }

    fn skip_empty_lines(&mut self) {
        while let Some(rest) =
            self.rest.strip_prefix(b"\n").or_else(|| self.rest.strip_prefix(b"\r\n"))
        {
            self.rest = rest;
            self.line += 1;
        }
    }

    fn bare(&mut self) -> (Cow<'a, [u8]>, End) {
        let line_end = memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, after) = self.rest.split_at(line_end);
        let delimiter = match *self.delimiter {
            [byte] => memchr(byte, line),
            _ => memmem::find(line, self.delimiter),
        };
        if let Some(at) = delimiter {
            self.rest = self.rest.get(at + self.delimiter.len()..).unwrap_or_default();
            return (Cow::Borrowed(line.get(..at).unwrap_or_default()), End::Field);
        }
        self.rest = after.strip_prefix(b"\n").unwrap_or(after);
        self.line += 1;
        (Cow::Borrowed(line.strip_suffix(b"\r").unwrap_or(line)), End::Record)
    }

    fn quoted(&mut self) -> Result<(Cow<'a, [u8]>, End), CsvSyntaxError> {
        let line = self.line;
        let mut field = Cow::Borrowed(&[][..]);
        // The opening quote is there: the caller looked.
        let mut rest = self.rest.get(1..).unwrap_or_default();
        loop {
            let at = memchr(b'"', rest).ok_or(CsvSyntaxError::Unclosed { line })?;
            let (piece, after) = rest.split_at(at);
            self.line += piece.iter().filter(|&&byte| byte == b'\n').count();
            let after = after.get(1..).unwrap_or_default();
            if let Some(doubled) = after.strip_prefix(b"\"") {
                let text = field.to_mut();
                text.extend_from_slice(piece);
                text.push(b'"');
                rest = doubled;
                continue;
            }
            if field.is_empty() {
                field = Cow::Borrowed(piece);
            } else {
                field.to_mut().extend_from_slice(piece);
            }
            let end = if let Some(next) = after.strip_prefix(self.delimiter) {
                self.rest = next;
                End::Field
            } else if let Some(next) =
                after.strip_prefix(b"\n").or_else(|| after.strip_prefix(b"\r\n"))
            {
                self.rest = next;
                self.line += 1;
                End::Record
            } else if after.is_empty() {
                self.rest = after;
                End::Record
            } else {
                return Err(CsvSyntaxError::AfterQuote { line: self.line });
            };
            return Ok((field, end));
        }
    }
}

/// Appends one field to a record being written, quoted where the dialect needs it.
///
/// Compat: a field holding a space is quoted too (`a,"b c"`).
///
/// # Errors
///
/// [`Stop::Full`].
pub(crate) fn write_field(out: &mut Output, field: &[u8], delimiter: &[u8]) -> Result<(), Stop> {
    let needs_quotes = field.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'"' | b'\r' | b'\n'))
        || memmem::find(field, delimiter).is_some();
    if !needs_quotes {
        return out.extend(field);
    }
    let quotes = memchr::memchr_iter(b'"', field).count();
    let out = out.room(field.len() + quotes + 2)?;
    out.push(b'"');
    for &byte in field {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
    Ok(())
}

/// Refuses delimiters that cannot be told from quotes or line ends.
///
/// # Errors
///
/// [`CsvSyntaxError::Delimiter`].
pub(crate) fn check_delimiter(delimiter: &[u8]) -> Result<(), CsvSyntaxError> {
    let bad = |byte: &u8| matches!(byte, b'"' | b'\r' | b'\n');
    if delimiter.is_empty() || delimiter.iter().any(bad) {
        return Err(CsvSyntaxError::Delimiter);
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum End {
    Field,
    Record,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, delimiter: &str) -> Result<Vec<Vec<String>>, CsvSyntaxError> {
        let mut records = Records::new(text.as_bytes(), delimiter.as_bytes())?;
        let (mut all, mut fields) = (Vec::new(), Vec::new());
        while records.next_into(&mut fields)? {
            all.push(fields.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect());
        }
        Ok(all)
    }

    #[test]
    fn reads_quotes_line_ends_and_empty_fields() {
        assert_eq!(read("a,b\r\n\r\n1,\n", ",").unwrap(), [vec!["a", "b"], vec!["1", ""]]);
        assert_eq!(
            read("\"a\"\"b\";\"x\r\ny\"\nz", ";").unwrap(),
            [vec!["a\"b", "x\r\ny"], vec!["z"]]
        );
        assert_eq!(read("a||b|c||", "||").unwrap(), [vec!["a", "b|c", ""]]);
        assert_eq!(read("\u{feff}a", ",").unwrap(), [vec!["a"]]);
        assert_eq!(read("a,\"\"", ",").unwrap(), [vec!["a", ""]]);
    }

    #[test]
    fn names_the_line_of_a_mistake() {
        assert_eq!(read("a\n\"b\nc", ","), Err(CsvSyntaxError::Unclosed { line: 2 }));
        assert_eq!(read("a\n\"b\"c", ","), Err(CsvSyntaxError::AfterQuote { line: 2 }));
        assert_eq!(read("a", ""), Err(CsvSyntaxError::Delimiter));
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(fields in prop::collection::vec("[a,\" \r\n;]{0,6}", 1..5)) {
            // A record of one empty field prints as an empty line, which is no record.
            prop_assume!(fields.len() > 1 || !fields[0].is_empty());
            let mut out = Output::new(1 << 10);
            for (at, field) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',').unwrap();
                }
                write_field(&mut out, field.as_bytes(), b",").unwrap();
            }
            let out = out.into_octets();
            prop_assert_eq!(read(std::str::from_utf8(&out).unwrap(), ","), Ok(vec![fields]));
        }
    }
}
