//! Walks a closed YAML mapping: reads the known keys, reports the others with their place.

use std::sync::Arc;

use config::{
    Diagnostic, KeyPath, Node, Severity,
    node::{Position, ScalarType, Value},
};

/// Collects what is wrong with one file.
#[derive(Debug)]
pub(super) struct Findings {
    file: Arc<str>,
    diagnostics: Vec<Diagnostic>,
}

impl Findings {
    pub(super) fn new(file: &str) -> Self {
        Self { file: Arc::from(file), diagnostics: Vec::new() }
    }

    fn error(&mut self, position: Position, path: KeyPath, message: String, hint: Option<String>) {
        let file = Arc::clone(&self.file);
        let severity = Severity::Error;
        self.diagnostics.push(Diagnostic { severity, file, position, path, message, hint });
    }

    /// Ends the reading of a file: everything found, in file order, or the value.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, Vec<Diagnostic>> {
        if self.diagnostics.is_empty() {
            return Ok(value);
        }
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        Err(self.diagnostics)
    }
}

/// A value of the file with the way to it.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    node: &'a Node,
    path: KeyPath,
}

impl<'a> Item<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self { node, path: KeyPath::root() }
    }

    pub(super) fn error(&self, findings: &mut Findings, message: impl Into<String>) {
        findings.error(self.node.position, self.path.clone(), message.into(), None);
    }

    /// Reads this as a mapping that has no other keys than `known`.
    pub(super) fn map(&self, known: &[&str], findings: &mut Findings) -> Map<'a> {
        if !matches!(self.node.value, Value::Mapping(_)) {
            self.expected("a mapping", findings);
        }
        for entry in self.node.entries() {
            if !known.contains(&entry.name()) {
                let path = self.path.key(entry.name());
                let hint = Some(format!("the keys here are {}", known.join(", ")));
                findings.error(entry.key.position, path, "unknown key".into(), hint);
            }
        }
        Map { item: self.clone() }
    }

    pub(super) fn list(&self, findings: &mut Findings) -> Vec<Self> {
        if !matches!(self.node.value, Value::Sequence(_)) {
            self.expected("a list", findings);
        }
        let element = |(index, node): (usize, &'a Arc<Node>)| Self {
            node: node.as_ref(),
            path: self.path.index(index),
        };
        self.node.elements().iter().enumerate().map(element).collect()
    }

    /// Reads a text that is not empty.
    pub(super) fn text(&self, findings: &mut Findings) -> Option<&'a str> {
        match self.node.scalar() {
            Some(scalar) if scalar.kind == ScalarType::String && !scalar.text.is_empty() => {
                Some(&scalar.text)
            }
            Some(scalar) if scalar.kind == ScalarType::String => {
                self.error(findings, "must not be empty");
                None
            }
            _ => {
                self.expected("text", findings);
                None
            }
        }
    }

    /// Reads a whole number between both ends.
    pub(super) fn number(&self, min: u64, max: u64, findings: &mut Findings) -> Option<u64> {
        let number = self.node.scalar().and_then(|scalar| match scalar.kind {
            ScalarType::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        });
        let fits = number.filter(|number| (min..=max).contains(number));
        if fits.is_none() {
            self.expected(&format!("a whole number from {min} to {max}"), findings);
        }
        fits
    }

    pub(super) fn boolean(&self, findings: &mut Findings) -> Option<bool> {
        match self.node.scalar().map(|scalar| scalar.kind) {
            Some(ScalarType::Bool(flag)) => Some(flag),
            _ => {
                self.expected("true or false", findings);
                None
            }
        }
    }

    fn expected(&self, what: &str, findings: &mut Findings) {
        let message = format!("expected {what}, found {}", self.node.kind_name());
        self.error(findings, message);
    }
}

/// A mapping whose keys are known.
#[derive(Clone, Debug)]
pub(super) struct Map<'a> {
    item: Item<'a>,
}

impl<'a> Map<'a> {
    /// The value of a key; keys without a value count as absent.
    pub(super) fn optional(&self, key: &str) -> Option<Item<'a>> {
        let node = self.item.node.member(key).filter(|node| !node.is_null())?;
        Some(Item { node: node.as_ref(), path: self.item.path.key(key) })
    }

    pub(super) fn required(&self, key: &str, findings: &mut Findings) -> Option<Item<'a>> {
        let value = self.optional(key);
        if value.is_none() {
            self.item.error(findings, format!("`{key}` is missing"));
        }
        value
    }

    pub(super) fn text(&self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        self.optional(key)?.text(findings)
    }

    pub(super) fn boolean(&self, key: &str, findings: &mut Findings) -> Option<bool> {
        self.optional(key)?.boolean(findings)
    }
}
