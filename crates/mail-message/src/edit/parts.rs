//! Changes of bodies and of the tree of parts.

use bytes::Bytes;

use super::message::{EditError, Message};
use super::state::{Fate, Wrap};
use crate::header::WriteOptions;
use crate::mime::PartId;
use crate::transfer_encoding::{BodyKind, TransferEncoding};

/// Where a new part goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

impl Message {
    /// Replaces the body of a part by `data`, encoded as needed or as told. All that is in a
    /// multipart goes, and `data` stands there as it is: RFC 2045 §6.4 forbids to encode one, and RFC 2046
    /// §5.2.1 a whole message. Other bodies that would end the part too early are written as base64.
    ///
    /// # Errors
    ///
    /// [`EditError::NoPart`], [`EditError::DelimiterInside`].
    pub fn set_body(
        &mut self,
        id: PartId,
        data: &[u8],
        encoding: Option<TransferEncoding>,
    ) -> Result<(), EditError> {
        self.view(id).ok_or(EditError::NoPart)?;
        let kind = self.content_type(id);
        let is_multipart = kind.as_ref().is_some_and(|kind| kind.is_multipart());
        let is_message = kind.as_ref().is_some_and(|kind| kind.is_message());
        let is_text = is_message || kind.is_some_and(|kind| kind.is_text());
        let kind = if is_text { BodyKind::Text } else { BodyKind::Binary };
        let needed = || match is_multipart || is_message {
            true => TransferEncoding::choose_identity(data),
            false => TransferEncoding::choose(data, kind),
        };
        let line_ending = self.header().line_ending();
        let parent = match id {
            PartId::TOP => None,
            _ => self.part(id).and_then(|part| part.parent),
        };
        let may_encode = encoding.is_none() && !is_multipart && !is_message;
        let mut encoding = encoding.unwrap_or_else(needed);
        let mut body = encoding.encode(data, kind, line_ending);
        if let Some(parent) = parent
            && let Err(error) = self.check_delimiter(parent, &body)
        {
            if !may_encode {
                return Err(error);
            }
            encoding = TransferEncoding::Base64;
            body = encoding.encode(data, kind, line_ending);
        }
        if is_multipart {
            let part = self.part_state(id);
            (part.preamble, part.epilogue) = (None, None);
            part.before.clear();
            part.after.clear();
        }
        let field = b"Content-Transfer-Encoding";
        if encoding != TransferEncoding::SevenBit || self.has_header(id, field) {
            let count = self.state().count;
            self.set_header(id, field, encoding.name().as_bytes(), None, WriteOptions::default())?;
            // RFC 2045 §4: a message that uses MIME says so.
            if id == PartId::TOP && !self.has_header(id, b"mime-version") {
                self.set_header(id, b"MIME-Version", b"1.0", None, WriteOptions::default())?;
            }
            // All of it is one change.
            self.change().count = count;
        }
        self.part_state(id).body = Some(body.into());
        Ok(())
    }

    /// Replaces what stands before the first part of a multipart. `false` for other parts.
    pub fn set_preamble(&mut self, id: PartId, data: &[u8]) -> bool {
        let is_multipart = self.part(id).is_some_and(|part| part.multipart.is_some());
        if is_multipart {
            self.part_state(id).preamble = Some(Bytes::copy_from_slice(data));
        }
        is_multipart
    }

    /// Replaces what stands behind the last part of a multipart. `false` for other parts, and for
    /// multiparts that are not closed.
    pub fn set_epilogue(&mut self, id: PartId, data: &[u8]) -> bool {
        let multipart = self.part(id).and_then(|part| part.multipart.as_ref());
        let is_closed = multipart.is_some_and(|multipart| !multipart.close.is_empty());
        if is_closed {
            self.part_state(id).epilogue = Some(Bytes::copy_from_slice(data));
        }
        is_closed
    }

    /// Takes a part out. Of the message itself the body goes.
    ///
    /// # Errors
    ///
    /// [`EditError::NoPart`].
    pub fn remove_part(&mut self, id: PartId) -> Result<(), EditError> {
        self.view(id).ok_or(EditError::NoPart)?;
        if id == PartId::TOP {
            self.part_state(id).fate = Fate::Replaced(Bytes::new());
        } else {
            self.part_state(id).fate = Fate::Removed;
        }
        Ok(())
    }

    /// Puts `new` (header and body) in the place of a part. In the place of the message itself its
    /// fields stay, those about the content aside.
    ///
    /// # Errors
    ///
    /// [`EditError::NoPart`], [`EditError::DelimiterInside`].
    pub fn replace_part(&mut self, id: PartId, new: Bytes) -> Result<(), EditError> {
        self.view(id).ok_or(EditError::NoPart)?;
        let parent = self.part(id).and_then(|part| part.parent);
        if let Some(parent) = parent {
            self.check_delimiter(parent, &new)?;
        }
        self.part_state(id).fate = Fate::Replaced(new);
        Ok(())
    }

    /// Adds `new` (header and body) as first child. A part that is no multipart becomes the second
    /// child of one of `media_type` that is made with `boundary`. `false` when it is a multipart too deep
    /// to be taken apart.
    ///
    /// # Errors
    ///
    /// [`EditError::NoPart`], [`EditError::DelimiterInside`].
    pub fn prepend_part(
        &mut self,
        id: PartId,
        new: Bytes,
        media_type: &str,
        boundary: &str,
    ) -> Result<bool, EditError> {
        self.add_part(id, new, Side::Before, media_type, boundary)
    }

    /// Adds `new` (header and body) as last child; see [`Self::prepend_part`].
    ///
    /// # Errors
    ///
    /// [`EditError::NoPart`], [`EditError::DelimiterInside`].
    pub fn append_part(
        &mut self,
        id: PartId,
        new: Bytes,
        media_type: &str,
        boundary: &str,
    ) -> Result<bool, EditError> {
        self.add_part(id, new, Side::After, media_type, boundary)
    }

    fn add_part(
        &mut self,
        id: PartId,
        new: Bytes,
        side: Side,
        media_type: &str,
        boundary: &str,
    ) -> Result<bool, EditError> {
        let part = self.part(id).ok_or(EditError::NoPart)?;
        if part.is_too_deep() {
            return Ok(false);
        }
        let is_multipart = part.multipart.is_some();
        let is_body_new = self.state().parts.get(&id).is_some_and(|part| part.body.is_some());
        let is_divided = is_multipart && !is_body_new;
        if is_divided {
            self.check_delimiter(id, &new)?;
        }
        let part = self.part_state(id);
        if !is_divided && part.wrap.is_none() {
            let media_type = media_type.to_owned();
            part.wrap = Some(Wrap { media_type, boundary: boundary.to_owned() });
        }
        match side {
            Side::Before => part.before.insert(0, new),
            Side::After => part.after.push(new),
        }
        Ok(true)
    }

    /// A part with the delimiter of the multipart around it would end too early.
    fn check_delimiter(&mut self, parent: PartId, new: &[u8]) -> Result<(), EditError> {
        let mut next = self.part(parent);
        let mut parents = Vec::new();
        while let Some(part) = next {
            parents.extend(part.multipart.as_ref().map(|multipart| multipart.boundary.clone()));
            next = match part.parent {
                Some(parent) => self.part(parent),
                None => None,
            };
        }
        let begins_line =
            |at: usize| at == 0 || new.get(at - 1).is_some_and(|byte| b"\r\n".contains(byte));
        let holds = |boundary: &Vec<u8>| {
            let delimiter = [b"--", boundary.as_slice()].concat();
            memchr::memmem::find_iter(new, &delimiter).any(begins_line)
        };
        if parents.iter().any(holds) { Err(EditError::DelimiterInside) } else { Ok(()) }
    }

    /// Returns whether a part has a field of that name after the changes so far.
    fn has_header(&self, id: PartId, name: &[u8]) -> bool {
        let Some(view) = self.view(id) else { return false };
        match self.state().parts.get(&id) {
            Some(part) => part.header.has(view, name),
            None => view.field(name, 0).is_some(),
        }
    }
}
