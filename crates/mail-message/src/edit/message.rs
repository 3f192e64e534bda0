//! The message: what it says, and how changes of fields are recorded.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::header_state::{HeaderState, NewField};
use super::state::{PartState, State};
use crate::header::{self, Field, HeaderError, HeaderSection, WriteOptions};
use crate::mime::{ContentType, Defect, Part, PartId, Tree};
use crate::transfer_encoding::TransferEncoding;
use crate::uuencode;
use crate::writer::{Output, Patch};

/// More of the message is needed before anything can be said: the header section does not end in
/// what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header section is longer than {given} octets")]
pub struct HeadNeeded {
    /// How many octets were given. Twice as many is a good next try.
    pub given: usize,
}

/// A change cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A field cannot be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// There is no such part, or the message is not in memory as a whole.
    #[error("there is no such part")]
    NoPart,
    /// A place outside of the message.
    #[error("the place is outside of the message")]
    OutOfRange,
    /// The text to insert holds the delimiter of the multipart it would go into.
    #[error("the part holds the delimiter of the multipart it is added to")]
    DelimiterInside,
}

/// Names a state of changes; see [`Message::snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotId(pub u32);

/// A message and the changes on record.
///
/// Everything that is asked for is read from the original. Clones share octets, parts and changes.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first octets, at least the header section; often all.
    text: Bytes,
    len: u64,
    header: HeaderSection,
    tree: Option<Arc<Tree>>,
    state: Arc<State>,
    snapshots: Vec<Arc<State>>,
}

/// A part's octets, as far as they are in memory, and its fields.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The header section; places count from the start of the part.
    pub header: &'a HeaderSection,
    /// The octets from the start of the part on. The top part may hold its header only.
    pub text: &'a [u8],
    /// Where the part starts in the message.
    pub start: usize,
}

fn view_of<'a>(
    text: &'a [u8],
    header: &'a HeaderSection,
    tree: Option<&'a Tree>,
    id: PartId,
) -> Option<View<'a>> {
    if id == PartId::TOP {
        return Some(View { header, text, start: 0 });
    }
    let part = tree?.part(id)?;
    let text = text.get(part.range.clone())?;
    Some(View { header: &part.header, text, start: part.range.start })
}

impl<'a> View<'a> {
    /// Returns field number `index` (from 0, from the top) of those called `name` in any case.
    pub fn field(self, name: &[u8], index: usize) -> Option<Field<'a>> {
        let mut fields = self.header.spans().iter().map(|span| span.of(self.text));
        let mut index = index;
        fields.find(|field| {
            let is_named = field.name.eq_ignore_ascii_case(name);
            let is_here = is_named && index == 0;
            index -= usize::from(is_named && index > 0);
            is_here
        })
    }

    /// Returns the fields, from the top.
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        self.header.spans().iter().map(move |span| span.of(self.text))
    }
}

impl Message {
    /// Makes a message of all its octets.
    pub fn new(text: Bytes) -> Self {
        let header = HeaderSection::parse(&text);
        let len = text.len() as u64;
        Self::with_header(text, len, header)
    }

    /// Makes a message of `len` octets of which the first are `head`: enough for everything that
    /// concerns the fields at the top.
    ///
    /// # Errors
    ///
    /// [`HeadNeeded`] when the header section does not end in `head`.
    pub fn from_head(head: Bytes, len: u64) -> Result<Self, HeadNeeded> {
        if head.len() as u64 >= len {
            return Ok(Self::new(head));
        }
        let given = head.len();
        let header = HeaderSection::parse_prefix(&head).ok_or(HeadNeeded { given })?;
        Ok(Self::with_header(head, len, header))
    }

    fn with_header(text: Bytes, len: u64, header: HeaderSection) -> Self {
        let (state, snapshots) = (Arc::default(), Vec::new());
        Self { text, len, header, tree: None, state, snapshots }
    }

    /// Returns whether all octets are in memory.
    pub fn is_complete(&self) -> bool {
        self.text.len() as u64 == self.len
    }

    /// Brings in all octets of a message that was made of its head. `false` when `text` is not as
    /// long as was said, or starts differently.
    pub fn complete(&mut self, text: Bytes) -> bool {
        let is_it = text.len() as u64 == self.len && text.starts_with(&self.text);
        if is_it {
            self.text = text;
        }
        is_it
    }

    /// Returns the octets in memory: all, or the first ones.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// Returns the size of the original in octets.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether the original is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns about how many octets of memory the message occupies: what is there of the original, the
    /// places of its fields and parts, and all changes, also those that only snapshots remember.
    pub fn size(&self) -> usize {
        let parts = self.tree.as_ref().map_or(0, |tree| tree.parts().len());
        let mut total = size_of::<Self>()
            + self.text.len()
            + size_of_val(self.header.spans())
            + parts * size_of::<Part>();
        let (mut states, mut contents) = (BTreeSet::new(), BTreeSet::new());
        for state in self.snapshots.iter().chain([&self.state]) {
            total += size_of::<Arc<State>>();
            if states.insert(Arc::as_ptr(state)) {
                state.measure(&mut |octets, content: &[u8]| {
                    // Snapshots share octets.
                    let is_new = !content.is_empty() && contents.insert(content.as_ptr());
                    total += octets + if is_new { content.len() } else { 0 };
                });
            }
        }
        total
    }

    /// Returns the header section of the original.
    pub fn header(&self) -> &HeaderSection {
        &self.header
    }

    /// Returns the parts of the original, found on the first call. `None` when the message is not
    /// in memory as a whole.
    pub fn tree(&mut self) -> Option<&Arc<Tree>> {
        if self.tree.is_none() && self.is_complete() {
            self.tree = Some(Arc::new(Tree::parse(&self.text)));
        }
        self.tree.as_ref()
    }

    /// Returns the parts if they were looked for before.
    pub(super) fn known_tree(&self) -> Option<&Arc<Tree>> {
        self.tree.as_ref()
    }

    /// Returns whether there are more parts, deeper ones or more fields than are looked at, as far as it
    /// was looked.
    pub fn has_unseen(&self) -> bool {
        let unseen = [Defect::TooManyParts, Defect::TooManyHeaders];
        let top = self.known_tree().and_then(|tree| tree.part(PartId::TOP));
        self.header.has_more()
            || top.is_some_and(|top| top.defects.iter().any(|defect| unseen.contains(defect)))
    }

    /// Returns the original of a part. For parts below the top, [`Self::tree`] has to be called
    /// before (their numbers come from there).
    pub fn view(&self, id: PartId) -> Option<View<'_>> {
        view_of(&self.text, &self.header, self.tree.as_deref(), id)
    }

    /// Returns a part.
    pub fn part(&mut self, id: PartId) -> Option<&Part> {
        self.tree()?.part(id)
    }

    /// Returns the media type of a part: the one given, or the default of its place; `None` when it
    /// is unreadable.
    pub fn content_type(&self, id: PartId) -> Option<ContentType> {
        if let Some(tree) = &self.tree {
            return tree.part(id)?.content_type.clone();
        }
        let view = self.view(id)?;
        match view.field(b"content-type", 0) {
            Some(field) => ContentType::parse(field.value),
            None => ContentType::parse(b"text/plain"),
        }
    }

    /// Returns the body of a part as it was sent. `None` when it is not in memory.
    pub fn raw_body(&mut self, id: PartId) -> Option<Bytes> {
        if id == PartId::TOP && self.is_complete() {
            return Some(self.text.slice(self.header.body_start()..));
        }
        let body = self.part(id)?.body();
        Some(self.text.slice(body))
    }

    /// Returns the body of a part without its transfer encoding; its charset stays. Multiparts have
    /// none, and an encoding nobody knows is left as it is, as is a text that is not in the one it names.
    pub fn body(&mut self, id: PartId) -> Option<Bytes> {
        let raw = self.raw_body(id)?;
        let is_multipart = self.content_type(id).is_some_and(|kind| kind.is_multipart());
        let field = self.view(id)?.field(b"content-transfer-encoding", 0);
        let Some(field) = field.filter(|_| !is_multipart) else { return Some(raw) };
        Some(match TransferEncoding::parse(field.value) {
            Some(encoding) if !encoding.is_identity() => encoding.decode(&raw).into_owned().into(),
            None if uuencode::is_named(field.value) => {
                uuencode::decode(&raw).map_or(raw, Bytes::from)
            }
            _ => raw,
        })
    }

    /// Returns the file name of a part: of its disposition, or else of its type. UTF-8.
    pub fn file_name(&self, id: PartId) -> Option<Vec<u8>> {
        let disposition = self.view(id)?.field(b"content-disposition", 0);
        let name = disposition
            .and_then(|field| crate::mime::parse_disposition(field.value).1.text(b"filename"));
        name.or_else(|| self.content_type(id)?.parameters.text(b"name"))
    }

    /// Adds a field above all others.
    ///
    /// # Errors
    ///
    /// [`EditError::Header`], [`EditError::NoPart`].
    pub fn add_header(
        &mut self,
        id: PartId,
        name: &[u8],
        value: &[u8],
        options: WriteOptions,
    ) -> Result<(), EditError> {
        let field = self.write_field(id, name, value, options)?;
        self.part_state(id).header.top.push(field);
        Ok(())
    }

    /// Replaces the topmost field called `name`, or adds one below the others. With `index`, the
    /// one with that number (from 0, from the top of the original). Returns how many were written.
    ///
    /// # Errors
    ///
    /// [`EditError::Header`], [`EditError::NoPart`].
    pub fn set_header(
        &mut self,
        id: PartId,
        name: &[u8],
        value: &[u8],
        index: Option<usize>,
        options: WriteOptions,
    ) -> Result<usize, EditError> {
        let field = self.write_field(id, name, value, options)?;
        self.change_header(id, |header, view| match index {
            Some(index) if header.set_at(view, field.clone(), index) => 1,
            Some(1..) => 0,
            _ => {
                header.set(view, field);
                1
            }
        })
    }

    /// Deletes all fields called `name`; with `index`, the one with that number (from 0, from the
    /// top of the original). Returns how many were deleted.
    ///
    /// # Errors
    ///
    /// [`EditError::NoPart`].
    pub fn delete_header(
        &mut self,
        id: PartId,
        name: &[u8],
        index: Option<usize>,
    ) -> Result<usize, EditError> {
        self.change_header(id, |header, view| match index {
            Some(index) => header.delete_at(view, name, index),
            None => header.delete(view, name),
        })
    }

    /// Renames all fields called `name`; their values stay as they are, octet for octet. Returns
    /// how many there were.
    ///
    /// # Errors
    ///
    /// [`EditError::Header`], [`EditError::NoPart`].
    pub fn rename_header(
        &mut self,
        id: PartId,
        name: &[u8],
        new: &[u8],
    ) -> Result<usize, EditError> {
        header::check_name(new)?;
        let new = Bytes::copy_from_slice(new);
        self.change_header(id, |header, view| header.rename(view, name, &new))
    }

    /// Has the `Date` field set when the message is written.
    pub fn set_date_later(&mut self, id: PartId) {
        self.part_state(id).has_date_later = true;
    }

    /// Replaces `count` octets of the original from `start` on, whatever they are. Where this and
    /// another change meet, the one that starts first wins.
    ///
    /// # Errors
    ///
    /// [`EditError::OutOfRange`].
    pub fn modify_content(&mut self, start: u64, count: u64, data: Bytes) -> Result<(), EditError> {
        if start > self.len {
            return Err(EditError::OutOfRange);
        }
        let end = start.saturating_add(count).min(self.len);
        self.change().raw.push(Patch { range: start..end, data });
        Ok(())
    }

    /// Drops all changes and returns how many there were. Snapshots stay.
    pub fn reset(&mut self) -> usize {
        std::mem::take(&mut self.state).count
    }

    /// Returns whether nothing was changed.
    pub fn is_unchanged(&self) -> bool {
        self.state.count == 0
    }

    /// Remembers the present changes.
    pub fn snapshot(&mut self) -> SnapshotId {
        let id = u32::try_from(self.snapshots.len()).unwrap_or(u32::MAX);
        self.snapshots.push(Arc::clone(&self.state));
        SnapshotId(id)
    }

    /// Goes back to remembered changes. `false` when there is no such snapshot.
    pub fn restore(&mut self, id: SnapshotId) -> bool {
        let state = usize::try_from(id.0).ok().and_then(|at| self.snapshots.get(at));
        let Some(state) = state else { return false };
        self.state = Arc::clone(state);
        true
    }

    /// Returns the changed message. `date` is the value of `Date` fields that were to be set later
    /// (see [`crate::date::format`]).
    pub fn output(&self, date: &str) -> Output {
        if self.is_unchanged() {
            return Output::new(self.len, Vec::new());
        }
        Output::new(self.len, super::render::patches(self, &self.state, date))
    }

    /// The state, to be changed; counts one change.
    pub(super) fn change(&mut self) -> &mut State {
        let state = Arc::make_mut(&mut self.state);
        state.count += 1;
        state
    }

    /// The changes of a part, to be changed; counts one change.
    pub(super) fn part_state(&mut self, id: PartId) -> &mut PartState {
        self.change().parts.entry(id).or_default()
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn change_header(
        &mut self,
        id: PartId,
        change: impl FnOnce(&mut HeaderState, View<'_>) -> usize,
    ) -> Result<usize, EditError> {
        let view = view_of(&self.text, &self.header, self.tree.as_deref(), id);
        let view = view.ok_or(EditError::NoPart)?;
        let state = Arc::make_mut(&mut self.state);
        let count = change(&mut state.parts.entry(id).or_default().header, view);
        state.count += usize::from(count > 0);
        Ok(count)
    }

    fn write_field(
        &self,
        id: PartId,
        name: &[u8],
        value: &[u8],
        options: WriteOptions,
    ) -> Result<NewField, EditError> {
        self.view(id).ok_or(EditError::NoPart)?;
        let raw = header::write_field(name, value, options, self.header.line_ending())?;
        Ok(NewField { name: Bytes::copy_from_slice(name), raw: raw.into() })
    }
}
