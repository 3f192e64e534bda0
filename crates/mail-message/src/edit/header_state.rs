//! The changes of one header section.
//!
//! Positions are those of the original, so a script that walks the fields it read may delete some
//! of them by index without counting again. Without an index, a change looks at what the header has
//! become: a field added before is found.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::message::View;

/// Changes of a header section.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderState {
    /// What happened to fields of the original, by index.
    pub(super) changed: BTreeMap<usize, FieldChange>,
    /// Fields above those of the original, the lowest first.
    pub(super) top: Vec<NewField>,
    /// Fields below those of the original, from the top.
    pub(super) bottom: Vec<NewField>,
}

/// What happened to a field of the original.
#[derive(Clone, Debug)]
pub(super) enum FieldChange {
    Deleted,
    Replaced(NewField),
    /// Only the octets of the name change.
    Renamed(Bytes),
}

/// A new field.
#[derive(Clone, Debug)]
pub(super) struct NewField {
    pub(super) name: Bytes,
    /// The field with its line end.
    pub(super) raw: Bytes,
}

impl NewField {
    fn is_named(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn renamed(&self, name: &Bytes) -> Self {
        let rest = self.raw.get(self.name.len()..).unwrap_or_default();
        Self { name: name.clone(), raw: [name, rest].concat().into() }
    }
}

impl HeaderState {
    /// Shows what it consists of; see [`super::state::State::measure`].
    pub(super) fn measure(&self, visit: &mut impl FnMut(usize, &[u8])) {
        let replaced = self.changed.values().filter_map(|change| match change {
            FieldChange::Replaced(field) => Some(field),
            FieldChange::Deleted | FieldChange::Renamed(_) => None,
        });
        for field in replaced.chain(&self.top).chain(&self.bottom) {
            visit(size_of::<NewField>(), &field.raw);
            visit(0, &field.name);
        }
        visit(self.changed.len() * 2 * size_of::<FieldChange>(), &[]);
        for change in self.changed.values() {
            if let FieldChange::Renamed(name) = change {
                visit(0, name);
            }
        }
    }

    /// Returns whether any octets change.
    pub(super) fn is_changed(&self) -> bool {
        !(self.changed.is_empty() && self.top.is_empty() && self.bottom.is_empty())
    }

    /// Returns the name that a field of the original has now; `None` once it is deleted.
    fn name_now<'a>(&'a self, view: View<'a>, index: usize) -> Option<&'a [u8]> {
        match self.changed.get(&index) {
            Some(FieldChange::Deleted) => None,
            Some(FieldChange::Replaced(field)) => Some(&field.name),
            Some(FieldChange::Renamed(name)) => Some(name),
            None => view.header.spans().get(index).map(|span| span.of(view.text).name),
        }
    }

    /// Returns the fields of the original that are called `name` now.
    fn originals(&self, view: View<'_>, name: &[u8]) -> Vec<usize> {
        let is_named =
            |at: &usize| self.name_now(view, *at).is_some_and(|n| n.eq_ignore_ascii_case(name));
        (0..view.header.spans().len()).filter(is_named).collect()
    }

    /// Returns whether there is a field called `name` now.
    pub(super) fn has(&self, view: View<'_>, name: &[u8]) -> bool {
        self.top.iter().chain(&self.bottom).any(|field| field.is_named(name))
            || !self.originals(view, name).is_empty()
    }

    /// Replaces the topmost field of the name, in its place, or adds one below all others.
    pub(super) fn set(&mut self, view: View<'_>, field: NewField) {
        let mut originals = (0..view.header.spans().len())
            .filter(|&at| self.name_now(view, at).is_some_and(|n| field.is_named(n)));
        if let Some(at) = originals.next() {
            self.changed.insert(at, FieldChange::Replaced(field));
            return;
        }
        let mut added = self.top.iter_mut().rev().chain(&mut self.bottom);
        if let Some(known) = added.find(|known| known.is_named(&field.name)) {
            *known = field;
            return;
        }
        let name = field.name.clone();
        let mut deleted = view.header.named(view.text, &name).map(|(at, _)| at);
        let place = deleted.find(|at| matches!(self.changed.get(at), Some(FieldChange::Deleted)));
        match place {
            Some(at) => drop(self.changed.insert(at, FieldChange::Replaced(field))),
            None => self.bottom.push(field),
        }
    }

    /// Replaces the field of the original that is number `index` of those of its name.
    pub(super) fn set_at(&mut self, view: View<'_>, field: NewField, index: usize) -> bool {
        let place = view.header.named(view.text, &field.name).nth(index).map(|(at, _)| at);
        let Some(at) = place else { return false };
        self.changed.insert(at, FieldChange::Replaced(field));
        true
    }

    /// Deletes all fields of the name and returns how many there were.
    pub(super) fn delete(&mut self, view: View<'_>, name: &[u8]) -> usize {
        let originals = self.originals(view, name);
        let before = originals.len() + self.top.len() + self.bottom.len();
        self.changed.extend(originals.into_iter().map(|at| (at, FieldChange::Deleted)));
        self.top.retain(|field| !field.is_named(name));
        self.bottom.retain(|field| !field.is_named(name));
        before - self.top.len() - self.bottom.len()
    }

    /// Deletes the field of the original that is number `index` of those of its name.
    pub(super) fn delete_at(&mut self, view: View<'_>, name: &[u8], index: usize) -> usize {
        let place = view.header.named(view.text, name).nth(index);
        let Some((at, _)) = place else { return 0 };
        match self.changed.insert(at, FieldChange::Deleted) {
            Some(FieldChange::Deleted) => 0,
            _ => 1,
        }
    }

    /// Renames all fields of the name and returns how many there were.
    pub(super) fn rename(&mut self, view: View<'_>, name: &[u8], new: &Bytes) -> usize {
        let originals = self.originals(view, name);
        let mut count = originals.len();
        for at in originals {
            let change = match self.changed.get(&at) {
                Some(FieldChange::Replaced(field)) => FieldChange::Replaced(field.renamed(new)),
                _ => FieldChange::Renamed(new.clone()),
            };
            self.changed.insert(at, change);
        }
        for field in self.top.iter_mut().chain(&mut self.bottom) {
            if field.is_named(name) {
                *field = field.renamed(new);
                count += 1;
            }
        }
        count
    }

    /// Returns the fields that describe the content (`Content-…`) as they are now, with line ends.
    pub(super) fn content_fields(&self, view: View<'_>, line_ending: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for field in self.top.iter().rev().filter(|field| is_content(&field.name)) {
            out.extend_from_slice(&field.raw);
        }
        for (at, span) in view.header.spans().iter().enumerate() {
            let Some(name) = self.name_now(view, at).filter(|name| is_content(name)) else {
                continue;
            };
            if let Some(FieldChange::Replaced(field)) = self.changed.get(&at) {
                out.extend_from_slice(&field.raw);
                continue;
            }
            out.extend_from_slice(name);
            out.extend_from_slice(view.text.get(span.name_end..span.value_end).unwrap_or(&[]));
            out.extend_from_slice(line_ending);
        }
        for field in self.bottom.iter().filter(|field| is_content(&field.name)) {
            out.extend_from_slice(&field.raw);
        }
        out
    }

    /// Deletes the fields that describe the content.
    pub(super) fn delete_content_fields(&mut self, view: View<'_>) {
        for at in 0..view.header.spans().len() {
            if self.name_now(view, at).is_some_and(is_content) {
                self.changed.insert(at, FieldChange::Deleted);
            }
        }
        self.top.retain(|field| !is_content(&field.name));
        self.bottom.retain(|field| !is_content(&field.name));
    }
}

/// Returns whether a field says something about the content of a part (RFC 2045 §9).
pub(super) fn is_content(name: &[u8]) -> bool {
    name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
}
