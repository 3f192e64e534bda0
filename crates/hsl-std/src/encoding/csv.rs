//! CSV with columns: headers and schemas (`csv_decode`, `import … with`), and `csv_encode`.

use std::borrow::Cow;

use hsl::host::Thrown;
use hsl::value::{Array, Key, Value};

use super::csv_records::{CsvSyntaxError, Records, check_delimiter, write_field};
use crate::args::Options;
use crate::output::{Output, Stop};

/// Why a text does not become an array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CsvError {
    /// The text is no CSV.
    #[error(transparent)]
    Syntax(#[from] CsvSyntaxError),
    /// A row has not as many fields as the header.
    #[error("csv line {line}: {given} fields, but the header has {wanted}")]
    Fields {
        /// Where the row starts.
        line: usize,
        /// Fields of the row.
        given: usize,
        /// Fields of the header.
        wanted: usize,
    },
    /// A field is not of the type that its schema says.
    #[error("csv line {line}: column {column} is no {kind}: \"{text}\"")]
    Type {
        /// Where the row starts.
        line: usize,
        /// Name or number of the column.
        column: String,
        /// The type in the schema.
        kind: &'static str,
        /// The field.
        text: String,
    },
}

/// How to read: the options of `csv_decode` and of imports.
pub(crate) struct Format {
    delimiter: Vec<u8>,
    header: bool,
    schema: Vec<(Key, Column)>,
}

/// The schema of a column.
#[derive(Clone)]
struct Column {
    kind: Kind,
    /// Texts that become none.
    nulls: Vec<Vec<u8>>,
}

#[derive(Clone)]
enum Kind {
    String,
    Number,
    Boolean { yes: Vec<Vec<u8>>, no: Vec<Vec<u8>> },
}

impl Default for Format {
    fn default() -> Self {
        Self { delimiter: b",".to_vec(), header: true, schema: Vec::new() }
    }
}

impl Format {
    /// Reads the options `delimiter`, `header` and `schema`.
    ///
    /// # Errors
    ///
    /// For values of a wrong type, and types and keys that no schema has.
    pub(crate) fn new(options: Options<'_>) -> Result<Self, Thrown> {
        let mut format = Self::default();
        if let Some(delimiter) = options.bytes("delimiter")? {
            check_delimiter(delimiter).map_err(|error| Thrown::new(error.to_string()))?;
            format.delimiter = delimiter.to_vec();
        }
        format.header = options.boolean("header", true)?;
        if let Some(schema) = options.array("schema")? {
            for (name, column) in schema {
                format.schema.push((name.clone(), Column::new(&name, column)?));
            }
        }
        Ok(format)
    }

    /// The octet that ends a delimiter.
    pub(crate) fn last_of_delimiter(&self) -> u8 {
        self.delimiter.last().copied().unwrap_or(b',')
    }

    /// Reads `text` into a list of rows.
    ///
    /// # Errors
    ///
    /// [`CsvError`].
    pub(crate) fn decode(&self, text: &[u8]) -> Result<Value, CsvError> {
        let mut records = Records::new(text, &self.delimiter)?;
        let mut fields: Vec<Cow<'_, [u8]>> = Vec::new();
        let mut rows = Vec::new();
        let mut columns: Vec<(Key, Option<&Column>)> = Vec::new();
        if self.header {
            if !records.next_into(&mut fields)? {
                return Ok(Value::list([]));
            }
            columns = fields.iter().map(|name| self.column(Key::from(&**name))).collect();
        }
        loop {
            let line = records.line();
            if !records.next_into(&mut fields)? {
                return Ok(Value::list(rows));
            }
            if self.header && fields.len() != columns.len() {
                let (given, wanted) = (fields.len(), columns.len());
                return Err(CsvError::Fields { line, given, wanted });
            }
            while columns.len() < fields.len() {
                // Lines are shorter than 2^31 fields: each takes an octet of the text.
                columns.push(self.column(Key::Int(columns.len() as i32)));
            }
            let mut row = Array::new();
            for ((name, column), field) in columns.iter().zip(&fields) {
                let value = match column {
                    Some(column) => column.convert(field).ok_or_else(|| CsvError::Type {
                        line,
                        column: column_name(name),
                        kind: column.kind.name(),
                        text: field.escape_ascii().to_string(),
                    })?,
                    None => Value::from(&**field),
                };
                row.insert(name.clone(), value);
            }
            rows.push(row.into());
        }
    }

    fn column(&self, name: Key) -> (Key, Option<&Column>) {
        let column = self.schema.iter().find(|(key, _)| *key == name).map(|(_, column)| column);
        (name, column)
    }
}

impl Column {
    fn new(name: &Key, schema: &Value) -> Result<Self, Thrown> {
        let Some(schema) = schema.as_array() else {
            let name = column_name(name);
            return Err(Thrown::new(format!("the schema of column \"{name}\" must be an array")));
        };
        let options = Options::of(Some(schema));
        let kind = match options.bytes("type")?.unwrap_or(b"string") {
            b"string" => Kind::String,
            b"number" => Kind::Number,
            b"boolean" => Kind::Boolean {
                yes: texts(options, "true")?.unwrap_or_else(|| vec![b"true".to_vec()]),
                no: texts(options, "false")?.unwrap_or_else(|| vec![b"false".to_vec()]),
            },
            other => {
                let other = other.escape_ascii();
                return Err(Thrown::new(format!("\"{other}\" is no type of a csv column")));
            }
        };
        let nulls = match options.get("nullable") {
            None | Some(Value::Bool(false)) => Vec::new(),
            Some(Value::Bool(true)) => vec![Vec::new()],
            Some(_) => texts(options, "nullable")?.unwrap_or_default(),
        };
        Ok(Self { kind, nulls })
    }

    fn convert(&self, field: &[u8]) -> Option<Value> {
        if self.nulls.iter().any(|null| null == field) {
            return Some(Value::None);
        }
        match &self.kind {
            Kind::String => Some(Value::from(field)),
            Kind::Number => number(field).map(Value::Number),
            Kind::Boolean { yes, .. } if yes.iter().any(|text| text == field) => {
                Some(Value::Bool(true))
            }
            Kind::Boolean { no, .. } if no.iter().any(|text| text == field) => {
                Some(Value::Bool(false))
            }
            Kind::Boolean { .. } => None,
        }
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean { .. } => "boolean",
        }
    }
}

/// Writes one record in at most `most` octets. The caller has checked the delimiter.
///
/// # Errors
///
/// [`Stop::Full`].
pub(crate) fn encode(values: &Array, delimiter: &[u8], most: usize) -> Result<Vec<u8>, Stop> {
    let mut out = Output::new(most);
    for (at, value) in values.values().enumerate() {
        if at > 0 {
            out.extend(delimiter)?;
        }
        match value {
            Value::None => {}
            Value::String(text) => write_field(&mut out, text, delimiter)?,
            other => {
                let mut text = Output::new(most);
                text.text(other)?;
                write_field(&mut out, &text.into_octets(), delimiter)?;
            }
        }
    }
    Ok(out.into_octets())
}

/// A decimal number, with sign, fraction and exponent; white space around it is ignored.
fn number(field: &[u8]) -> Option<f64> {
    let text = str::from_utf8(field.trim_ascii()).ok()?;
    let is_number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    (text.chars().all(is_number)).then(|| text.parse().ok()).flatten()
}

fn texts(options: Options<'_>, name: &str) -> Result<Option<Vec<Vec<u8>>>, Thrown> {
    let Some(array) = options.array(name)? else { return Ok(None) };
    let texts = array.values().map(|value| value.as_bytes().map(<[u8]>::to_vec));
    match texts.collect() {
        Some(texts) => Ok(Some(texts)),
        None => Err(Thrown::new(format!("option \"{name}\" must be an array of strings"))),
    }
}

fn column_name(name: &Key) -> String {
    match name.as_bytes() {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => String::from_utf8_lossy(&hsl::ops::to_text(&name.to_value())).into_owned(),
    }
}
