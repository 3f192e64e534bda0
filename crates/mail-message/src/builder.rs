//! New messages and parts, as scripts and reports compose them.

use std::ops::Range;

use crate::date;
use crate::header::{HeaderError, LineEnding, WriteOptions, write_field};
use crate::mime::{ContentType, write_parameter};
use crate::transfer_encoding::{BodyKind, TransferEncoding};

/// A message or part under construction.
///
/// Fields are written in the order they were added, then those about the content. As a message it
/// says `MIME-Version: 1.0`; as a part of another it does not.
#[derive(Clone, Debug)]
pub struct Builder {
    fields: Vec<u8>,
    media_type: Option<String>,
    disposition: Option<String>,
    file_name: Option<Vec<u8>>,
    boundary: String,
    body: Vec<u8>,
    parts: Vec<Vec<u8>>,
    /// About what the children occupy.
    parts_size: usize,
    /// Levels of children below it.
    depth: usize,
    /// The encoding that an added field names: `Some(None)` for one nobody knows.
    encoding: Option<Option<TransferEncoding>>,
    /// The first `Content-Type` that was added.
    content_type: Option<AddedType>,
    content: Content,
    has_disposition: bool,
    has_mime_version: bool,
}

impl Builder {
    /// Starts an empty part; `boundary` separates its children, should it get any.
    pub fn new(boundary: impl Into<String>) -> Self {
        Self {
            fields: Vec::new(),
            media_type: None,
            disposition: None,
            file_name: None,
            boundary: boundary.into(),
            body: Vec::new(),
            parts: Vec::new(),
            parts_size: 0,
            depth: 0,
            encoding: None,
            content_type: None,
            content: Content::Text,
            has_disposition: false,
            has_mime_version: false,
        }
    }

    /// Adds a field below the others. A `Content-Type` makes [`Self::set_type`] void, and its boundary
    /// is that of the children; a multipart without one gets it. A `Content-Transfer-Encoding` is what
    /// the body gets encoded with.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when the name cannot be one.
    pub fn add_header(
        &mut self,
        name: &[u8],
        value: &[u8],
        options: WriteOptions,
    ) -> Result<(), HeaderError> {
        let field = write_field(name, value, options, LineEnding::CrLf)?;
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("content-type") && self.content_type.is_none() {
            let kind = ContentType::parse(value);
            self.content = kind.as_ref().map_or(Content::Text, Content::of);
            let boundary = kind.and_then(|kind| kind.parameters.octets(b"boundary"));
            let at = self.fields.len();
            self.content_type = Some(AddedType {
                field: at..at + field.len(),
                name: name.to_vec(),
                value: value.to_vec(),
                options,
                boundary: boundary.filter(|boundary| is_boundary(boundary)),
            });
        }
        self.has_disposition |= is("content-disposition");
        self.has_mime_version |= is("mime-version");
        if is("content-transfer-encoding") {
            self.encoding = Some(TransferEncoding::parse(value));
        }
        self.fields.extend(field);
        Ok(())
    }

    /// How deep parts may be nested: each level writes the text of those below again, and readers give up
    /// long before.
    pub const MAX_DEPTH: usize = 100;

    /// Adds a child: its header and body as they are to be written, and the levels of children in it, as
    /// far as it was built ([`Self::depth`]). `false`, and nothing happens, when it nests too deep.
    pub fn append_part(&mut self, part: Vec<u8>, depth: usize) -> bool {
        if depth >= Self::MAX_DEPTH {
            return false;
        }
        self.depth = self.depth.max(depth + 1);
        self.parts_size += part.len() + size_of::<Vec<u8>>();
        self.parts.push(part);
        true
    }

    /// Returns how many levels of children there are.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Sets the body; with children it is what stands before the first.
    pub fn set_body(&mut self, body: Vec<u8>) {
        self.body = body;
    }

    /// Sets the media type. Without, it is `text/plain`; the charset of text is always UTF-8.
    pub fn set_type(&mut self, media_type: impl Into<String>) {
        let media_type = media_type.into();
        if self.content_type.is_none() {
            let kind = ContentType {
                media_type: media_type.to_ascii_lowercase(),
                ..ContentType::default()
            };
            self.content = Content::of(&kind);
        }
        self.media_type = Some(media_type);
    }

    /// Sets what separates the children. `false`, and nothing happens, when RFC 2046 §5.1.1 does
    /// not allow it.
    pub fn set_boundary(&mut self, boundary: &[u8]) -> bool {
        let is_allowed = is_boundary(boundary);
        if is_allowed {
            self.boundary = boundary.iter().map(|&byte| char::from(byte)).collect();
        }
        is_allowed
    }

    /// Adds a `Date` field; see [`date::format`].
    pub fn set_date(&mut self, seconds: i64, offset_minutes: i32) {
        let value = date::format(seconds, offset_minutes);
        self.fields.extend(format!("Date: {value}\r\n").into_bytes());
    }

    /// Sets the disposition, such as `inline`.
    pub fn set_disposition(&mut self, disposition: impl Into<String>) {
        self.disposition = Some(disposition.into());
    }

    /// Sets the file name (UTF-8); without a disposition the part is an attachment.
    pub fn set_file_name(&mut self, name: Vec<u8>) {
        self.file_name = Some(name);
    }

    /// Returns about how many octets the part occupies.
    pub fn size(&self) -> usize {
        let type_size = self.content_type.as_ref().map_or(0, |added| added.value.len());
        self.fields.len() + type_size + self.body.len() + self.parts_size
    }

    /// Writes the message.
    pub fn to_message(&self) -> Vec<u8> {
        let mut out = self.start();
        if !self.has_mime_version {
            out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        self.write_content(&mut out);
        out
    }

    /// Writes it as a part of another message.
    pub fn to_part(&self) -> Vec<u8> {
        let mut out = self.start();
        self.write_content(&mut out);
        out
    }

    /// The fields that were added, with room for the rest: parts within parts are copied level by level.
    fn start(&self) -> Vec<u8> {
        let delimiters = (self.parts.len() + 1) * (self.boundary.len() + 8);
        let mut out = Vec::with_capacity(self.size() + delimiters + WRITTEN_FIELDS);
        match self.completed_type() {
            None => out.extend_from_slice(&self.fields),
            Some((field, written)) => {
                out.extend_from_slice(self.fields.get(..field.start).unwrap_or_default());
                out.extend(written);
                out.extend_from_slice(self.fields.get(field.end..).unwrap_or_default());
            }
        }
        out
    }

    /// The added type of a multipart that says nothing of the boundary: where it stands, and the same
    /// with it.
    fn completed_type(&self) -> Option<(Range<usize>, Vec<u8>)> {
        let added = self.content_type.as_ref()?;
        if self.parts.is_empty() || self.content != Content::Parts || added.boundary.is_some() {
            return None;
        }
        let mut value = added.value.trim_ascii_end();
        while let Some(shorter) = value.strip_suffix(b";") {
            value = shorter.trim_ascii_end();
        }
        let mut value = value.to_vec();
        write_parameter("boundary", self.boundary.as_bytes(), &mut value);
        let written = write_field(&added.name, &value, added.options, LineEnding::CrLf).ok()?;
        Some((added.field.clone(), written))
    }

    /// What separates the children.
    fn boundary(&self) -> &[u8] {
        let added = self.content_type.as_ref().filter(|_| self.content == Content::Parts);
        added.and_then(|added| added.boundary.as_deref()).unwrap_or(self.boundary.as_bytes())
    }

    fn write_content(&self, out: &mut Vec<u8>) {
        let media_type = self.media_type.as_deref().unwrap_or("text/plain");
        if self.content_type.is_none() {
            let mut value = media_type.as_bytes().to_vec();
            if self.content == Content::Text {
                write_parameter("charset", b"utf-8", &mut value);
            }
            if !self.parts.is_empty() {
                write_parameter("boundary", self.boundary.as_bytes(), &mut value);
            }
            push_field(out, b"Content-Type", &value);
        }
        if !self.has_disposition && (self.disposition.is_some() || self.file_name.is_some()) {
            let disposition = self.disposition.as_deref().unwrap_or("attachment");
            let mut value = disposition.as_bytes().to_vec();
            if let Some(name) = &self.file_name {
                write_parameter("filename", name, &mut value);
            }
            push_field(out, b"Content-Disposition", &value);
        }
        if !self.parts.is_empty() {
            self.write_parts(out);
            return;
        }
        let kind = match self.content {
            Content::Text | Content::Message => BodyKind::Text,
            Content::Parts | Content::Octets => BodyKind::Binary,
        };
        let encoding = match self.encoding {
            Some(encoding) => encoding.unwrap_or(TransferEncoding::Binary),
            None => {
                let encoding = match self.content {
                    Content::Text | Content::Octets => TransferEncoding::choose(&self.body, kind),
                    Content::Message | Content::Parts => {
                        TransferEncoding::choose_identity(&self.body)
                    }
                };
                push_field(out, b"Content-Transfer-Encoding", encoding.name().as_bytes());
                encoding
            }
        };
        out.extend_from_slice(b"\r\n");
        out.extend(encoding.encode(&self.body, kind, LineEnding::CrLf));
    }

    fn write_parts(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        if !self.body.is_empty() {
            out.extend_from_slice(&self.body);
            out.extend_from_slice(b"\r\n");
        }
        let delimiter = [b"--", self.boundary()].concat();
        for part in &self.parts {
            out.extend_from_slice(&delimiter);
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(part);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&delimiter);
        out.extend_from_slice(b"--\r\n");
    }
}

/// Whether RFC 2046 §5.1.1 allows the boundary.
fn is_boundary(boundary: &[u8]) -> bool {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    matches!(boundary.len(), 1..=70)
        && boundary.last() != Some(&b' ')
        && boundary.iter().all(is_good)
}

/// A `Content-Type` that was added.
#[derive(Clone, Debug)]
struct AddedType {
    /// Where its field stands.
    field: Range<usize>,
    name: Vec<u8>,
    value: Vec<u8>,
    options: WriteOptions,
    /// The boundary that it names, if it can be one.
    boundary: Option<Vec<u8>>,
}

/// What the type says of the body: what its line ends mean, and whether it may be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Lines.
    Text,
    /// A message: lines that may not be encoded.
    Message,
    /// Parts put together by somebody else, as they are.
    Parts,
    /// Anything else.
    Octets,
}

impl Content {
    fn of(kind: &ContentType) -> Self {
        if kind.is_text() {
            Self::Text
        } else if kind.is_message() {
            Self::Message
        } else if kind.is_multipart() {
            Self::Parts
        } else {
            Self::Octets
        }
    }
}

/// More than the fields are long that a message gets by itself.
const WRITTEN_FIELDS: usize = 256;

/// Writes a field folded, or raw if the value cannot be one of words (it always can be one field).
fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let field = write_field(name, value, WriteOptions::default(), LineEnding::CrLf);
    out.extend(field.unwrap_or_default());
}
