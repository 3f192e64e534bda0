//! Errors for people: what is wrong, where, why, and what to do about it.
//!
//! Every stage (parser, compiler, virtual machine) says what it knows in a [`Diagnostic`]; this is the
//! one place that turns one into text. [`Diagnostic::render`] shows the source line, for terminals and
//! logs; [`Diagnostic::plain`] gives line, column and message alone, for `hsl-lint` and editors.

use std::borrow::Cow;
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
    is_incomplete: bool,
}

/// One step of the way to the error: a call, or an include or import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFrame {
    /// What was entered here, such as `function f` or `import "lib.hsl"`.
    pub what: String,
    /// Where it was entered; unknown for calls made by the host.
    pub span: Option<Span>,
    /// Whether it is a file that was reached, and `what` the word for it.
    is_file: bool,
}

/// Where each file of a program was first asked for, with the word for it, by the number of the file. The
/// script itself was not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ways(Vec<Option<(&'static str, Span)>>);

impl Ways {
    /// Adds the next file.
    pub(crate) fn add(&mut self, importer: Option<(&'static str, Span)>) {
        self.0.push(importer);
    }
}

/// A diagnostic with its places looked up, as editors want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainDiagnostic {
    /// Line, from 1; 0 if the place is unknown.
    pub line: u32,
    /// Character in the line, from 1; 0 if the place is unknown.
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
    /// Character in the line, from 1; 0 if the place is unknown.
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
            is_incomplete: false,
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
        self.0.stack.push(StackFrame { what: what.into(), span, is_file: false });
        self
    }

    /// Adds how the file was reached that the place lies in, or the outermost call.
    #[must_use]
    pub(crate) fn with_way(mut self, ways: &Ways) -> Self {
        let outermost = self.0.stack.iter().rev().find_map(|frame| frame.span).or(self.0.span);
        let mut file = outermost.map(|span| span.file);
        // Each file was asked for by one that was known before, so this ends.
        while let Some(at) = file
            && let Some(Some((how, span))) = ways.0.get(at.index() as usize)
        {
            let what = (*how).to_owned();
            self.0.stack.push(StackFrame { what, span: Some(*span), is_file: true });
            file = Some(span.file);
        }
        self
    }

    /// Says that the text ended too early, and nothing else is known to be wrong.
    #[must_use]
    pub fn because_text_ends(mut self) -> Self {
        self.0.is_incomplete = true;
        self
    }

    /// Returns whether more text at the end could mend this: a prompt then asks for another line.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        self.0.is_incomplete
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
        let trace = self.way(sources);
        for line in &trace {
            group = group.element(Level::NOTE.message(line.as_str()));
        }
        let mut text = renderer.render(&[group]);
        for excerpt in &excerpts {
            excerpt.show_column(&mut text);
        }
        text
    }

    /// Returns the way to the error, innermost step first, as people read it. A step that is taken again and
    /// again, as by a function that calls itself, is told once.
    #[must_use]
    pub fn way(&self, sources: &SourceMap) -> Vec<String> {
        let step = |frame: &StackFrame| match sources.place(frame.span) {
            Some(place) if frame.is_file => format!("{} from {place}", frame.what),
            Some(place) => format!("in {}, entered at {place}", frame.what),
            None => format!("in {}", frame.what),
        };
        let mut way: Vec<String> = Vec::new();
        for same in self.0.stack.chunk_by(|one, next| one == next) {
            let line = same.first().map(step).unwrap_or_default();
            way.push(match same.len() {
                1 => line,
                steps => format!("{line} ({steps} steps alike)"),
            });
        }
        way
    }

    /// Returns the diagnostic with its places looked up in `sources`.
    #[must_use]
    pub fn plain(&self, sources: &SourceMap) -> PlainDiagnostic {
        let place = PlainFrame::at(self.0.span, sources);
        PlainDiagnostic {
            line: place.line,
            column: place.column,
            message: self.0.message.replace(['\r', '\n'], " "),
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
    /// Offset of what is shown of the line.
    start: u32,
    /// The column of the mark, if it cannot be counted because the front of the line was cut off.
    column: Option<u32>,
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
        let end = u32::try_from(file.text().len()).ok()?;
        let (_, mut start) = file.line_at(span.start.min(end));
        // A file without line ends must not fill the log: show what is near the mark.
        let before = (span.start.min(end) - start) as usize;
        let is_cut = line.len() > MAX_EXCERPT_BYTES && before > MAX_EXCERPT_BYTES / 2;
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
            column: is_cut.then_some(location.column),
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

    /// Puts the column into the head of this excerpt in `text`, where it was counted in what is shown.
    fn show_column(&self, text: &mut String) {
        let Some(column) = self.column else { return };
        let head = format!("{CUT}{}:{}:", self.file.name(), self.line);
        let Some(at) = text.find(&head) else { return };
        let counted = at + head.len();
        let rest = text.get(counted..).unwrap_or_default();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        text.replace_range(counted..counted + digits, &column.to_string());
        text.replace_range(at..at + CUT.len_utf8(), "");
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
            .path(match self.column {
                Some(_) => Cow::from(format!("{CUT}{}", self.file.name())),
                None => Cow::from(self.file.name()),
            })
            .annotations(annotations)
    }
}

/// Stands before the name of a file in the head of an excerpt whose column is not the one counted.
const CUT: char = '\u{f8ff}';

/// The most bytes of a line that are shown.
const MAX_EXCERPT_BYTES: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{FileId, SourceFile};

    fn span(file: &SourceFile, text: &str) -> Span {
        let at = memchr::memmem::find(file.text(), text.as_bytes()).expect(text);
        let offset = |at: usize| u32::try_from(at).expect("small");
        Span::new(file.id(), offset(at), offset(at + text.len()))
    }

    #[test]
    fn a_rendered_error_shows_place_reason_and_way_out() {
        let mut sources = SourceMap::new();
        let main = sources.add("main", None, b"f(\n\t$a + $b;\n".to_vec());
        let other = sources.add("lib.hsl", None, b"import x;".to_vec());
        let error = Diagnostic::error(span(&main, "$b"), "unknown variable `$b`")
            .with_label("never assigned")
            .with_note(span(&main, "("), "opened here")
            .with_hint("assign it first")
            .with_frame("import \"lib.hsl\"", Some(span(&other, "x")))
            .with_frame("a call by the host", None);
        let expected = "\
error: unknown variable `$b`
 --> main:2:7
  |
2 |     $a + $b;
  |          ^^ never assigned
  |
 ::: main:1:2
  |
1 | f(
  |  - opened here
  |
  = help: assign it first
  = note: in import \"lib.hsl\", entered at lib.hsl:1:8
  = note: in a call by the host";
        assert_eq!(error.render(&sources, Style::Plain), expected);
        assert!(error.render(&sources, Style::Coloured).contains('\x1b'));
        assert!(!expected.contains('\x1b'));
    }

    #[test]
    fn the_plain_form_has_lines_and_columns_from_one() {
        let mut sources = SourceMap::new();
        let main = sources.add("main", None, b"1;\n\xc3\xa9$b".to_vec());
        let error = Diagnostic::error(span(&main, "$b"), "two\nlines")
            .with_frame("f", Some(span(&main, "1")))
            .with_frame("host", None);
        let frame = |file: Option<&str>, line, column| PlainFrame {
            file: file.map(str::to_owned),
            line,
            column,
        };
        assert_eq!(
            error.plain(&sources),
            PlainDiagnostic {
                line: 2,
                column: 2,
                message: "two lines".to_owned(),
                file: Some("main".to_owned()),
                path: vec![frame(Some("main"), 1, 1), frame(None, 0, 0)],
            }
        );
    }

    #[test]
    fn a_file_that_is_one_long_line_does_not_fill_the_log() {
        let mut sources = SourceMap::new();
        let text = format!("{}$here{}", "x ".repeat(50_000), " y".repeat(50_000));
        let file = sources.add("main", None, text.into_bytes());
        let text = Diagnostic::error(span(&file, "$here"), "wrong").render(&sources, Style::Plain);
        assert!(text.len() < 2_000, "{} bytes", text.len());
        assert!(text.contains("$here"));
        assert!(text.contains("--> main:1:100001\n"), "{text}");
    }

    #[test]
    fn no_place_is_too_odd_to_be_rendered() {
        let mut sources = SourceMap::new();
        let empty = sources.add("empty", None, Vec::new()).id();
        let bytes = sources.add("bytes", None, b"\xff\xfe\xc3\n\0\x1b[m\r\n\xe2\x82".to_vec());
        let mut places = vec![Span::new(empty, 0, 0), Span::new(empty, 5, 9)];
        places.push(Span::new(FileId::new(77), 0, 1));
        places.push(Span::new(bytes.id(), u32::MAX, u32::MAX));
        for start in 0..15 {
            for end in start..16 {
                places.push(Span::new(bytes.id(), start, end));
            }
        }
        for place in places {
            let error = Diagnostic::error(place, "wrong").with_note(place, "same place");
            assert!(error.render(&sources, Style::Plain).starts_with("error: wrong"));
            assert!(!error.render(&sources, Style::Plain).contains('\x1b'));
            let _ = error.plain(&sources);
        }
    }

    #[test]
    fn a_result_with_a_diagnostic_stays_small() {
        assert_eq!(size_of::<Diagnostic>(), size_of::<usize>());
    }
}
