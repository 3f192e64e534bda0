//! From recorded changes to patches of the original.
//!
//! Parts are walked in the order of the text, and what belongs to one place is written in that
//! order: the patches of a place come out as they were pushed.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::header_state::{FieldChange, HeaderState, NewField};
use super::message::{Message, View};
use super::state::{Fate, PartState, State};
use crate::header::HeaderSection;
use crate::mime::{Multipart, Part, PartId, Tree, write_parameter};
use crate::writer::Patch;

/// Makes the patches for all changes of a message.
pub(super) fn patches(message: &Message, state: &State, date: &str) -> Vec<Patch> {
    let mut renderer = Renderer { message, state, date, patches: Vec::new() };
    match message.known_tree() {
        Some(tree) => renderer.part(tree, PartId::TOP, None),
        // Changes below the top need the tree, so here are none.
        None => {
            if let Some(part) = state.parts.get(&PartId::TOP) {
                renderer.content(PartId::TOP, part, message.len());
            }
        }
    }
    renderer.patches.extend(state.raw.iter().cloned());
    renderer.patches
}

struct Renderer<'a> {
    message: &'a Message,
    state: &'a State,
    date: &'a str,
    patches: Vec<Patch>,
}

impl Renderer<'_> {
    /// What ends new lines: as the first of the message does.
    fn line_ending(&self) -> &'static [u8] {
        self.message.header().line_ending().as_bytes()
    }

    fn push(&mut self, range: Range<usize>, data: impl Into<Bytes>) {
        self.push_wide(range.start as u64..range.end as u64, data);
    }

    fn push_wide(&mut self, range: Range<u64>, data: impl Into<Bytes>) {
        let data = data.into();
        if !(range.is_empty() && data.is_empty()) {
            self.patches.push(Patch { range, data });
        }
    }

    /// Writes a part. `next` is the delimiter behind it, if there is one.
    fn part(&mut self, tree: &Tree, id: PartId, next: Option<Range<usize>>) {
        let Some(part) = tree.part(id) else { return };
        let (text, line_ending) = (self.message.text(), self.line_ending());
        let starts_line = |range: &Range<usize>| starts_with_line_end(text, range);
        let next_starts_line = next.as_ref().is_none_or(starts_line);
        let Some(state) = self.state.parts.get(&id) else {
            self.children(tree, part);
            return;
        };
        match &state.fate {
            Fate::Removed => {
                let end = next.map_or(part.range.end, |next| next.start);
                // The line end of the delimiter that goes may be the one the next one needs.
                let is_lost = !next_starts_line && starts_line(&part.delimiter);
                self.push(
                    part.delimiter.start.min(part.range.start)..end,
                    match is_lost {
                        true => line_ending,
                        false => b"",
                    },
                );
                return;
            }
            Fate::Replaced(new) if id != PartId::TOP => self.push(part.range.clone(), new.clone()),
            Fate::Kept if part.multipart.is_some() && state.body.is_none() => {
                self.header(id, state, false);
                self.multipart_start(part, state);
                self.children(tree, part);
                self.multipart_end(part, state);
            }
            _ => {
                if matches!(state.fate, Fate::Kept) && state.body.is_none() {
                    // An attached message may have changes of its own, between those around it.
                    self.content_start(id, state, part.range.end as u64);
                    self.children(tree, part);
                    self.content_end(state, part.range.end as u64);
                } else {
                    self.content(id, state, part.range.end as u64);
                }
            }
        }
        if !next_starts_line {
            self.push(part.range.end..part.range.end, line_ending);
        }
    }

    fn children(&mut self, tree: &Tree, part: &Part) {
        for (at, child) in part.children.iter().enumerate() {
            // Behind the last one come those that are not looked at, or nothing but the end.
            let close = || {
                let multipart = part.multipart.as_ref()?;
                let unseen = &multipart.unseen;
                Some(if unseen.is_empty() { &multipart.close } else { unseen }.clone())
            };
            let next = match part.children.get(at + 1).and_then(|next| tree.part(*next)) {
                Some(next) => Some(next.delimiter.clone()),
                None => close().filter(|close| !close.is_empty()),
            };
            self.part(tree, *child, next);
        }
    }

    /// Writes the changes of a part that holds no changes further in: it is no multipart, or what was
    /// in it goes.
    fn content(&mut self, id: PartId, state: &PartState, end: u64) {
        self.content_start(id, state, end);
        self.content_end(state, end);
    }

    fn content_start(&mut self, id: PartId, state: &PartState, end: u64) {
        let Some(view) = self.message.view(id) else { return };
        let line_ending = self.line_ending();
        let body_start = (view.start + view.header.body_start()) as u64;
        if let Fate::Replaced(new) = &state.fate {
            let section = HeaderSection::parse(new);
            let mut changed = state.clone();
            changed.header.delete_content_fields(view);
            for field in section.fields(new).filter(|f| super::header_state::is_content(f.name)) {
                let raw = new.slice_ref(field.raw);
                changed.header.bottom.push(NewField {
                    name: new.slice_ref(field.name),
                    raw: [&raw, line_ending].concat().into(),
                });
            }
            self.header(id, &changed, true);
            self.push_wide(body_start..end, new.slice(section.body_start()..));
            return;
        }
        let is_body_changed = state.body.is_some() || state.wrap.is_some();
        let Some(wrap) = &state.wrap else {
            self.header(id, state, is_body_changed);
            if let Some(body) = &state.body {
                self.push_wide(body_start..end, body.clone());
            }
            return;
        };
        let mut outer = state.clone();
        let inner = outer.header.content_fields(view, line_ending);
        outer.header.delete_content_fields(view);
        let mut value = wrap.media_type.clone().into_bytes();
        write_parameter("boundary", wrap.boundary.as_bytes(), &mut value);
        outer.header.set(view, plain_field("Content-Type", &value, line_ending));
        if id == PartId::TOP && !outer.header.has(view, b"mime-version") {
            outer.header.set(view, plain_field("MIME-Version", b"1.0", line_ending));
        }
        self.header(id, &outer, is_body_changed);
        let mut open = Vec::new();
        for new in &state.before {
            push_delimiter(&mut open, &wrap.boundary, b"", line_ending);
            open.extend_from_slice(new);
            open.extend_from_slice(line_ending);
        }
        push_delimiter(&mut open, &wrap.boundary, b"", line_ending);
        open.extend_from_slice(&inner);
        open.extend_from_slice(line_ending);
        self.push_wide(body_start..body_start, open);
        if let Some(body) = &state.body {
            self.push_wide(body_start..end, body.clone());
        }
    }

    fn content_end(&mut self, state: &PartState, end: u64) {
        let Some(wrap) = &state.wrap else { return };
        if !matches!(state.fate, Fate::Kept) {
            return;
        }
        let line_ending = self.line_ending();
        let mut tail = line_ending.to_vec();
        for new in &state.after {
            push_delimiter(&mut tail, &wrap.boundary, b"", line_ending);
            tail.extend_from_slice(new);
            tail.extend_from_slice(line_ending);
        }
        push_delimiter(&mut tail, &wrap.boundary, b"--", line_ending);
        self.push_wide(end..end, tail);
    }

    fn multipart_start(&mut self, part: &Part, state: &PartState) {
        let Some(multipart) = &part.multipart else { return };
        let line_ending = self.line_ending();
        let first = multipart.preamble.end;
        let has_line_end = starts_with_line_end(self.message.text(), &(first..part.range.end));
        if let Some(preamble) = &state.preamble {
            let mut data = preamble.to_vec();
            if !has_line_end && !data.is_empty() {
                data.extend_from_slice(line_ending);
            }
            self.push(multipart.preamble.clone(), data);
        }
        let mut data = Vec::new();
        for new in &state.before {
            push_part(&mut data, multipart, new, has_line_end, line_ending);
        }
        self.push(first..first, data);
    }

    fn multipart_end(&mut self, part: &Part, state: &PartState) {
        let Some(multipart) = &part.multipart else { return };
        let line_ending = self.line_ending();
        let close = &multipart.close;
        let is_closed = !close.is_empty();
        let has_line_end = !is_closed || starts_with_line_end(self.message.text(), close);
        let mut data = Vec::new();
        for new in &state.after {
            push_part(&mut data, multipart, new, has_line_end, line_ending);
        }
        if !is_closed && !data.is_empty() {
            data.extend_from_slice(line_ending);
            push_delimiter(&mut data, &multipart.boundary, b"--", line_ending);
        }
        self.push(close.start..close.start, data);
        if let Some(epilogue) = &state.epilogue {
            let close = self.message.text().get(close.clone()).unwrap_or_default();
            let data = match close.ends_with(b"\n") || epilogue.is_empty() {
                true => epilogue.clone(),
                false => [line_ending, epilogue].concat().into(),
            };
            self.push(multipart.epilogue.clone(), data);
        }
    }

    /// Writes the changes of a header. `is_body_new` says that a body will follow.
    fn header(&mut self, id: PartId, state: &PartState, is_body_new: bool) {
        let Some(view) = self.message.view(id) else { return };
        let line_ending = self.line_ending();
        let mut header = Cow::Borrowed(&state.header);
        if state.has_date_later && !self.date.is_empty() {
            let field = plain_field("Date", self.date.as_bytes(), line_ending);
            header.to_mut().set(view, field);
        }
        let start = view.start;
        let fields = view.header.fields_range();
        let mut top: Vec<&[u8]> = header.top.iter().rev().map(|field| &*field.raw).collect();
        let before = view.text.get(..fields.start).unwrap_or_default();
        let is_changed = !top.is_empty() || !header.bottom.is_empty();
        if !before.is_empty() && !before.ends_with(b"\n") && is_changed {
            // An mbox line is all there is, and nothing ends it.
            top.insert(0, line_ending);
        }
        self.push(start + fields.start..start + fields.start, top.concat());
        for (at, change) in &header.changed {
            let Some(span) = view.header.spans().get(*at) else { continue };
            match change {
                FieldChange::Deleted => self.push(start + span.start..start + span.end, &b""[..]),
                FieldChange::Replaced(field) => {
                    self.push(start + span.start..start + span.end, field.raw.clone());
                }
                FieldChange::Renamed(name) => {
                    self.push(start + span.start..start + span.name_end, name.clone());
                }
            }
        }
        let end = start + fields.end;
        let mut data = Vec::new();
        if ends_open(view, &header) && (is_body_new || !header.bottom.is_empty()) {
            data.extend_from_slice(line_ending);
        }
        for field in &header.bottom {
            data.extend_from_slice(&field.raw);
        }
        // Without an empty line, new fields and a body would run into each other.
        let has_body = is_body_new || view.text.len() > view.header.body_start();
        if !view.header.has_separator() && has_body && (is_body_new || header.is_changed()) {
            data.extend_from_slice(line_ending);
        }
        self.push(end..end, data);
    }
}

/// Returns whether the last field is the end of the text, without a line end, and stays so.
fn ends_open(view: View<'_>, header: &HeaderState) -> bool {
    let Some((at, last)) = view.header.spans().iter().enumerate().next_back() else {
        return false;
    };
    let is_gone =
        matches!(header.changed.get(&at), Some(FieldChange::Deleted | FieldChange::Replaced(_)));
    last.end == last.value_end && !is_gone
}

fn plain_field(name: &'static str, value: &[u8], line_ending: &[u8]) -> NewField {
    let raw = [name.as_bytes(), b": ", value, line_ending].concat();
    NewField { name: Bytes::from_static(name.as_bytes()), raw: raw.into() }
}

fn push_delimiter(out: &mut Vec<u8>, boundary: impl AsRef<[u8]>, close: &[u8], line_ending: &[u8]) {
    out.extend_from_slice(b"--");
    out.extend_from_slice(boundary.as_ref());
    out.extend_from_slice(close);
    out.extend_from_slice(line_ending);
}

/// Writes a part where a delimiter follows, which may bring its own line end or not.
fn push_part(
    out: &mut Vec<u8>,
    multipart: &Multipart,
    new: &[u8],
    has_line_end: bool,
    line_ending: &[u8],
) {
    if has_line_end {
        out.extend_from_slice(line_ending);
    }
    push_delimiter(out, &multipart.boundary, b"", line_ending);
    out.extend_from_slice(new);
    if !has_line_end {
        out.extend_from_slice(line_ending);
    }
}

fn starts_with_line_end(text: &[u8], range: &Range<usize>) -> bool {
    matches!(text.get(range.clone()), Some([b'\n', ..] | [b'\r', b'\n', ..]))
}
