//! What is wrong with a file, and where: `file:line:column: error: key.path: …`.

use std::fmt;
use std::sync::Arc;

use crate::node::{KeyPath, Position};

/// One finding in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the file can be used in spite of it.
    pub severity: Severity,
    /// The file's name as the caller gave it.
    pub file: Arc<str>,
    /// Where in the file; line zero means the file as a whole.
    pub position: Position,
    /// Which key; empty for faults of the YAML itself.
    pub path: KeyPath,
    /// What was expected and what was found, one line.
    pub message: String,
    /// What to do about it, such as a close key.
    pub hint: Option<String>,
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is used, but probably not as meant.
    Warning,
    /// The file is refused.
    Error,
}

impl Diagnostic {
    /// Prints the finding with the source line below it and a caret under the place.
    ///
    /// `text` is the file's text; long lines are cut around the place. Never shows the line of a
    /// secret (`password`, `privatekey`, `key` …).
    #[must_use]
    pub fn render(&self, text: &str) -> String {
        let mut out = self.to_string();
        let line = usize::try_from(self.position.line)
            .ok()
            .and_then(|line| line.checked_sub(1))
            .and_then(|line| text.lines().nth(line));
        let Some(line) = line.filter(|line| !names_a_secret(line)) else { return out };
        let column = usize::try_from(self.position.column).unwrap_or(1).saturating_sub(1);
        let start = column.saturating_sub(SNIPPET_WIDTH / 2);
        let shown: String = line
            .chars()
            .skip(start)
            .take(SNIPPET_WIDTH)
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let number = self.position.line.to_string();
        let gutter = " ".repeat(number.len());
        let indent = " ".repeat(column - start);
        out.push_str(&format!("\n {number} | {shown}\n {gutter} | {indent}^"));
        out
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.position.line > 0 {
            write!(f, ":{}", self.position)?;
        }
        write!(f, ": {}: ", self.severity)?;
        if !self.path.segments().is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

fn names_a_secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["password", "privatekey", "secret", "apikey", "token", "data:"]
        .iter()
        .any(|word| line.contains(word))
}

/// Characters of a source line that are shown around the place of a fault.
const SNIPPET_WIDTH: usize = 100;
