//! Errors for people: what is wrong, where, why, and what to do about it.
//!
//! Every stage (parser, compiler, virtual machine) says what it knows in a [`Diagnostic`]; this is the
//! one place that turns one into text. [`Diagnostic::render`] shows the source line, for terminals and
//! logs; [`Diagnostic::plain`] gives line, column and message alone, for `hsl-lint` and editors.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::source::{SourceMap, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The script cannot run, or stopped.
    #[default]
    Error,
    /// The script runs, but likely not as meant.
    Warning,
}

/// One error or warning.
///
/// The message is one sentence without a full stop; it names the thing, not the place.
///
/// One word wide, so that results which may hold one stay small.
#[derive(Clone, PartialEq)]
pub struct Diagnostic(Box<Parts>);

#[derive(Clone, Debug, PartialEq)]
struct Parts {
    severity: Severity,
    message: String,
    span: Option<Span>,
    label: String,
    notes: Vec<(Span, String)>,
    hints: Vec<String>,
    stack: Vec<StackFrame>,
}

/// One step of the way to the error: a call, or an include or import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFrame {
    /// What was entered here, such as `function f` or `import "lib.hsl"`.
    pub what: String,
    /// Where it was entered; unknown for calls made by the host.
    pub span: Option<Span>,
}

/// A diagnostic with its places looked up, as editors want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainDiagnostic {
    /// Line, from 1; 0 if the place is unknown.
    pub line: u32,
    /// Byte in the line, from 1; 0 if the place is unknown.
    pub column: u32,
    /// The message, on one line.
    pub message: String,
    /// The name of the file; `None` if the place is unknown.
    pub file: Option<String>,
    /// How the place was reached, innermost first.
    pub path: Vec<PlainFrame>,
}

/// One step of [`PlainDiagnostic::path`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainFrame {
    /// The name of the file; `None` if the place is unknown.
    pub file: Option<String>,
    /// Line, from 1; 0 if the place is unknown.
    pub line: u32,
    /// Byte in the line, from 1; 0 if the place is unknown.
    pub column: u32,
}

/// Whether rendered text carries terminal colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Style {
    /// Text alone, for logs and files.
    #[default]
    Plain,
    /// With ANSI escapes, for terminals.
    Coloured,
}

impl Diagnostic {
    /// Makes an error at `span`.
    #[must_use]
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        let mut diagnostic = Self::without_place(Severity::Error, message);
        diagnostic.0.span = Some(span);
        diagnostic
    }

    /// Makes a warning at `span`.
    #[must_use]
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        let mut diagnostic = Self::without_place(Severity::Warning, message);
        diagnostic.0.span = Some(span);
        diagnostic
    }

    /// Makes a diagnostic whose place is unknown.
    #[must_use]
    pub fn without_place(severity: Severity, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            severity,
            message: message.into(),
            span: None,
            label: String::new(),
            notes: Vec::new(),
            hints: Vec::new(),
            stack: Vec::new(),
        }))
    }

    /// Writes `label` under the marked text.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.0.label = label.into();
        self
    }

    /// Marks a second place, such as the brace that was never closed.
    #[must_use]
    pub fn with_note(mut self, span: Span, note: impl Into<String>) -> Self {
        self.0.notes.push((span, note.into()));
        self
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Adds the next outer step of the way to the error.
    #[must_use]
    pub fn with_frame(mut self, what: impl Into<String>, span: Option<Span>) -> Self {
        self.0.stack.push(StackFrame { what: what.into(), span });
        self
    }

    /// Returns how bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.0.severity
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the place, if it is known.
    #[must_use]
    pub const fn span(&self) -> Option<Span> {
        self.0.span
    }

    /// Returns the hints.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// Returns the way to the error, innermost first.
    #[must_use]
    pub fn stack(&self) -> &[StackFrame] {
        &self.0.stack
    }

    /// Renders the diagnostic with the lines of source it is about.
    #[must_use]
    pub fn render(&self, sources: &SourceMap, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        let level = match self.0.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.0.message.as_str());
        let excerpts = self.excerpts(sources);
        let mut group = if excerpts.is_empty() {
            Group::with_title(title)
        } else {
            title.elements(excerpts.iter().map(Excerpt::snippet))
        };
        for hint in &self.0.hints {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        let trace: Vec<String> = self
            .0
            .stack
            .iter()
            .map(|frame| match sources.place(frame.span) {
                Some(place) => format!("in {}, called at {place}", frame.what),
                None => format!("in {}", frame.what),
            })
            .collect();
        for line in &trace {
            group = group.element(Level::NOTE.message(line.as_str()));
        }
        renderer.render(&[group])
    }

    /// Returns the diagnostic with its places looked up in `sources`.
    #[must_use]
    pub fn plain(&self, sources: &SourceMap) -> PlainDiagnostic {
        let place = PlainFrame::at(self.0.span, sources);
        PlainDiagnostic {
            line: place.line,
            column: place.column,
            message: self.0.message.clone(),
            file: place.file,
            path: self.0.stack.iter().map(|frame| PlainFrame::at(frame.span, sources)).collect(),
        }
    }

    /// Cuts the marked lines out of their files, the main place first.
    fn excerpts<'a>(&'a self, sources: &'a SourceMap) -> Vec<Excerpt<'a>> {
        let mut excerpts: Vec<Excerpt<'a>> = Vec::new();
        let main = self.0.span.map(|span| (span, self.0.label.as_str(), true));
        let notes = self.0.notes.iter().map(|(span, note)| (*span, note.as_str(), false));
        for (span, label, is_main) in main.into_iter().chain(notes) {
            let near = excerpts.iter_mut().find(|known| known.holds(span));
            if let Some(known) = near {
                known.mark(span, label, is_main);
            } else if let Some(mut excerpt) = Excerpt::around(span, sources) {
                excerpt.mark(span, label, is_main);
                excerpts.push(excerpt);
            }
        }
        excerpts
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Diagnostic {}

impl PlainFrame {
    fn at(span: Option<Span>, sources: &SourceMap) -> Self {
        let file = span.and_then(|span| Some((span, sources.file(span.file)?)));
        match file {
            Some((span, file)) => {
                let location = file.location(span.start);
                Self {
                    file: Some(file.name().to_owned()),
                    line: location.line,
                    column: location.column,
                }
            }
            None => Self { file: None, line: 0, column: 0 },
        }
    }
}

impl SourceMap {
    /// Returns `file:line:column` of a place.
    fn place(&self, span: Option<Span>) -> Option<String> {
        let span = span?;
        let file = self.file(span.file)?;
        let location = file.location(span.start);
        Some(format!("{}:{}:{}", file.name(), location.line, location.column))
    }
}

/// A line of source as text, with the marks that fall on it.
struct Excerpt<'a> {
    file: &'a crate::source::SourceFile,
    line: u32,
    /// Offset of the line in the file, plus what was cut from its front.
    start: u32,
    /// Bytes of the line that are shown.
    length: u32,
    text: String,
    /// Offset in `text` of each byte of the line; one more than there are bytes.
    offsets: Vec<usize>,
    marks: Vec<(std::ops::Range<usize>, &'a str, bool)>,
}

impl<'a> Excerpt<'a> {
    fn around(span: Span, sources: &'a SourceMap) -> Option<Self> {
        let file = sources.file(span.file)?;
        let location = file.location(span.start);
        let mut line = file.line(location.line)?;
        let mut start = span.start - (location.column - 1);
        // A file without line ends must not fill the log: show what is near the mark.
        let before = location.column as usize - 1;
        if line.len() > MAX_EXCERPT_BYTES {
            let cut = before.saturating_sub(MAX_EXCERPT_BYTES / 2).min(line.len());
            line = line.get(cut..).unwrap_or_default();
            line = line.get(..MAX_EXCERPT_BYTES).unwrap_or(line);
            start += u32::try_from(cut).ok()?;
        }
        let mut excerpt = Self {
            file,
            line: location.line,
            start,
            length: u32::try_from(line.len()).ok()?,
            text: String::with_capacity(line.len()),
            offsets: Vec::with_capacity(line.len() + 1),
            marks: Vec::new(),
        };
        for chunk in line.utf8_chunks() {
            for character in chunk.valid().chars() {
                for _ in 0..character.len_utf8() {
                    excerpt.offsets.push(excerpt.text.len());
                }
                excerpt.text.push(character);
            }
            for _ in chunk.invalid() {
                excerpt.offsets.push(excerpt.text.len());
                excerpt.text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        excerpt.offsets.push(excerpt.text.len());
        Some(excerpt)
    }

    /// Returns whether `span` starts within the shown text.
    fn holds(&self, span: Span) -> bool {
        self.file.id() == span.file && (self.start..=self.start + self.length).contains(&span.start)
    }

    /// Marks the part of `span` that lies on this line.
    fn mark(&mut self, span: Span, label: &'a str, is_main: bool) {
        let offset = |at: u32| {
            let at = at.saturating_sub(self.start).min(self.length) as usize;
            self.offsets.get(at).copied().unwrap_or(self.text.len())
        };
        self.marks.push((offset(span.start)..offset(span.end), label, is_main));
    }

    fn snippet(&self) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
        let annotations = self.marks.iter().map(|(range, label, is_main)| {
            let kind = if *is_main { AnnotationKind::Primary } else { AnnotationKind::Context };
            let annotation = kind.span(range.clone());
            if label.is_empty() { annotation } else { annotation.label(*label) }
        });
        Snippet::source(self.text.as_str())
            .line_start(self.line as usize)
            .path(self.file.name())
            .annotations(annotations)
    }
}

/// The most bytes of a line that are shown.
const MAX_EXCERPT_BYTES: usize = 240;
