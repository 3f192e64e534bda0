//! Finding the fields of a header section.
//!
//! Lines end with LF, with or without a CR before it; a bare CR is an octet like others. Any octets
//! are accepted. The section ends behind the first empty line, or before the first line that can be
//! no field: what follows is then the body, as most mail servers and clients have it. Compat: an
//! mbox line (`From …`) before the first field is passed over.

use std::ops::Range;

/// What ends the lines of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnding {
    /// CR LF, as on the wire.
    #[default]
    CrLf,
    /// LF alone, as in texts that scripts compose.
    Lf,
}

impl LineEnding {
    /// Returns the octets of the line ending.
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::CrLf => b"\r\n",
            Self::Lf => b"\n",
        }
    }

    /// Finds the line ending of the first line of `text`; CR LF when there is no line end.
    pub fn of(text: &[u8]) -> Self {
        match memchr::memchr(b'\n', text) {
            Some(at) if at == 0 || text.get(at - 1) != Some(&b'\r') => Self::Lf,
            _ => Self::CrLf,
        }
    }
}

/// Where a field is, as offsets into the octets that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpan {
    /// The first octet of the name.
    pub start: usize,
    /// Behind the name; white space may follow before the colon.
    pub name_end: usize,
    /// Behind the colon.
    pub value_start: usize,
    /// Behind the last octet of the value, before the line end.
    pub value_end: usize,
    /// Behind the line end; the same as `value_end` when the text stops there.
    pub end: usize,
}

/// A field with its original octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written.
    pub name: &'a [u8],
    /// What stands behind the colon, folded as it came, without the last line end.
    pub value: &'a [u8],
    /// The whole field without the last line end.
    pub raw: &'a [u8],
    /// The whole field with it.
    pub line: &'a [u8],
    /// Where it is.
    pub span: FieldSpan,
}

/// The fields at the start of a message or part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderSection {
    fields: Vec<FieldSpan>,
    fields_end: usize,
    body_start: usize,
    line_ending: LineEnding,
    is_malformed: bool,
    has_more: bool,
}

impl HeaderSection {
    /// How many fields are looked at; those behind them belong to the section and stay as they are, but
    /// are not found ([`Self::has_more`]).
    /// A thousand times what mail carries, and a bound on memory for hostile headers.
    pub const MAX_FIELDS: usize = 20_000;

    /// Reads the header section at the start of `text`, which is all there is.
    pub fn parse(text: &[u8]) -> Self {
        Self::scan(text, true).unwrap_or_default()
    }

    /// Reads the header section at the start of `text`, of which more may follow. `None` when the
    /// end of the section is not in `text`: call again with about twice as much.
    pub fn parse_prefix(text: &[u8]) -> Option<Self> {
        Self::scan(text, false)
    }

    fn scan(text: &[u8], is_all: bool) -> Option<Self> {
        let mut section = Self { line_ending: LineEnding::of(text), ..Self::default() };
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let Some(line) = Line::next(rest) else {
                // The text ends between two lines: without an empty line, more fields may follow.
                section.fields_end = at;
                section.body_start = at;
                return is_all.then_some(section);
            };
            if !line.has_end && !is_all {
                return None;
            }
            if line.content == 0 && line.has_end {
                section.fields_end = at;
                section.body_start = at + line.len;
                return Some(section);
            }
            let octets = rest.get(..line.content).unwrap_or_default();
            if matches!(octets.first(), Some(b' ' | b'\t')) && !section.fields.is_empty() {
                if let Some(field) = section.fields.last_mut()
                    && field.end == at
                {
                    field.value_end = at + line.content;
                    field.end = at + line.len;
                }
            } else if let Some((name, colon)) = field_name(octets) {
                if section.fields.len() < Self::MAX_FIELDS {
                    section.fields.push(FieldSpan {
                        start: at,
                        name_end: at + name,
                        value_start: at + colon + 1,
                        value_end: at + line.content,
                        end: at + line.len,
                    });
                } else {
                    section.is_malformed = true;
                    section.has_more = true;
                }
            } else {
                section.is_malformed = true;
                let is_mbox =
                    at == 0 && (octets.starts_with(b"From ") || octets.starts_with(b">From "));
                if !is_mbox {
                    section.fields_end = at;
                    section.body_start = at;
                    return Some(section);
                }
            }
            at += line.len;
        }
    }

    /// Returns where the fields are, from the top.
    pub fn spans(&self) -> &[FieldSpan] {
        &self.fields
    }

    /// Returns the octets of all fields; before the first may be an mbox line.
    pub fn fields_range(&self) -> Range<usize> {
        self.fields.first().map_or(self.fields_end, |field| field.start)..self.fields_end
    }

    /// Returns where the empty line starts, or would have to be.
    pub fn fields_end(&self) -> usize {
        self.fields_end
    }

    /// Returns where the body starts.
    pub fn body_start(&self) -> usize {
        self.body_start
    }

    /// Returns whether an empty line separates fields and body.
    pub fn has_separator(&self) -> bool {
        self.body_start > self.fields_end
    }

    /// Returns what ends the first line, and with it what new lines should end with.
    pub fn line_ending(&self) -> LineEnding {
        self.line_ending
    }

    /// Returns whether there is a line that is no field, or too many fields.
    pub fn is_malformed(&self) -> bool {
        self.is_malformed
    }

    /// Returns whether there are more fields than are looked at.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Returns the fields, from the top. `text` is what was read.
    pub fn fields<'a>(&'a self, text: &'a [u8]) -> impl DoubleEndedIterator<Item = Field<'a>> {
        self.fields.iter().map(|span| span.of(text))
    }

    /// Returns the indexes and fields called `name` in any case, from the top.
    pub fn named<'a>(
        &'a self,
        text: &'a [u8],
        name: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = (usize, Field<'a>)> {
        let all = self.fields.iter().map(|span| span.of(text)).enumerate();
        all.filter(move |(_, field)| field.name.eq_ignore_ascii_case(name))
    }

    /// Returns the topmost field called `name` in any case.
    pub fn first<'a>(&self, text: &'a [u8], name: &[u8]) -> Option<Field<'a>> {
        let mut fields = self.fields.iter().map(|span| span.of(text));
        fields.find(|field| field.name.eq_ignore_ascii_case(name))
    }
}

impl FieldSpan {
    /// Cuts the field out of the octets that were read.
    pub fn of(self, text: &[u8]) -> Field<'_> {
        let cut = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        Field {
            name: cut(self.start, self.name_end),
            value: cut(self.value_start, self.value_end),
            raw: cut(self.start, self.value_end),
            line: cut(self.start, self.end),
            span: self,
        }
    }
}

struct Line {
    /// Octets without the line end.
    content: usize,
    /// Octets with it.
    len: usize,
    has_end: bool,
}

impl Line {
    fn next(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        Some(match memchr::memchr(b'\n', text) {
            Some(at) => {
                let has_cr = at > 0 && text.get(at - 1) == Some(&b'\r');
                Self { content: at - usize::from(has_cr), len: at + 1, has_end: true }
            }
            None => Self { content: text.len(), len: text.len(), has_end: false },
        })
    }
}

/// Returns the end of the name and the place of the colon, if the line starts a field.
fn field_name(line: &[u8]) -> Option<(usize, usize)> {
    let name = line.iter().position(|byte| !byte.is_ascii_graphic() || *byte == b':')?;
    if name == 0 {
        return None;
    }
    let rest = line.get(name..)?;
    // RFC 5322 §4.5: white space before the colon is obsolete, and still seen.
    let white = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
    (rest.get(white) == Some(&b':')).then_some((name, name + white))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Vec<(String, String)>, String, bool) {
        let section = HeaderSection::parse(text.as_bytes());
        let show = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let fields = section.fields(text.as_bytes());
        let fields = fields.map(|field| (show(field.name), show(field.value))).collect();
        (fields, text[section.body_start()..].to_owned(), section.is_malformed())
    }

    #[test]
    fn fields_keep_their_folding_and_the_body_starts_behind_the_empty_line() {
        let (fields, body, is_malformed) =
            read("Subject: a\r\n b\r\n\tc\r\nX-Empty:\r\nTo : x\r\n\r\nbody\r\n\r\n");
        assert_eq!(
            fields,
            [
                ("Subject".to_owned(), " a\r\n b\r\n\tc".to_owned()),
                ("X-Empty".to_owned(), String::new()),
                ("To".to_owned(), " x".to_owned())
            ]
        );
        assert_eq!(body, "body\r\n\r\n");
        assert!(!is_malformed);
    }

    #[test]
    fn a_line_that_is_no_field_starts_the_body() {
        for text in ["no colon here", ": no name", "na me: x", "n\u{e5}me: x", " folded"] {
            let (fields, body, is_malformed) = read(&format!("{text}\nSubject: x\n\ny"));
            assert_eq!(fields, [], "{text}");
            assert_eq!(body, format!("{text}\nSubject: x\n\ny"));
            assert!(is_malformed);
        }
    }

    #[test]
    fn an_mbox_line_is_passed_over_before_the_first_field_only() {
        let (fields, body, _) = read("From a@b.c Mon Jan  1\nSubject: x\nFrom y\n\nz");
        assert_eq!(fields, [("Subject".to_owned(), " x".to_owned())]);
        assert_eq!(body, "From y\n\nz");
    }

    #[test]
    fn a_prefix_is_enough_once_it_holds_the_empty_line() {
        let text = b"A: 1\r\nB: 2\r\n\r\nbody";
        for len in 0..14 {
            assert_eq!(HeaderSection::parse_prefix(&text[..len]), None, "{len}");
        }
        let whole = HeaderSection::parse(text);
        for len in 14..text.len() {
            assert_eq!(HeaderSection::parse_prefix(&text[..len]).as_ref(), Some(&whole));
        }
    }

    #[test]
    fn lookup_ignores_case_and_counts_from_the_top() {
        let text = b"X: 1\r\ny: 2\r\nx: 3\r\n\r\n";
        let section = HeaderSection::parse(text);
        let found: Vec<_> = section.named(text, b"X").map(|(at, f)| (at, f.value)).collect();
        assert_eq!(found, [(0, &b" 1"[..]), (2, &b" 3"[..])]);
        assert_eq!(section.first(text, b"Y").map(|field| field.raw), Some(&b"y: 2"[..]));
    }

    #[test]
    fn countless_fields_cost_bounded_memory() {
        let text = b"a:\n".repeat(HeaderSection::MAX_FIELDS + 5);
        let section = HeaderSection::parse(&text);
        assert_eq!(section.spans().len(), HeaderSection::MAX_FIELDS);
        assert_eq!(section.body_start(), text.len());
        assert!(section.is_malformed() && section.has_more());
        assert!(!HeaderSection::parse(b"no field").has_more());
    }

    proptest! {
        #[test]
        fn fields_lie_in_order_and_before_the_body(text in "[a:\\r\\n \\x00]{0,40}") {
            let text = text.as_bytes();
            let section = HeaderSection::parse(text);
            let mut at = 0;
            for span in section.spans() {
                prop_assert!(at <= span.start && span.start < span.name_end);
                prop_assert!(span.name_end < span.value_start);
                prop_assert!(span.value_start <= span.value_end && span.value_end <= span.end);
                at = span.end;
            }
            prop_assert!(at <= section.fields_end());
            prop_assert!(section.fields_end() <= section.body_start());
            prop_assert!(section.body_start() <= text.len());
        }
    }
}
