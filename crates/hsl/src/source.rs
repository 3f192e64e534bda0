//! Source text: the files of a program, spans into them, and lines and columns.
//!
//! A program is made of several files (the script, its includes and its imports). Each is added to a
//! [`SourceMap`] and known by a [`FileId`] from then on. A [`Span`] carries the file it points into,
//! so every later stage can pass around twelve bytes and still report the exact place.
//!
//! Text is bytes: HSL strings hold arbitrary bytes, and nothing here asks for UTF-8. This room does
//! no I/O; whoever loads a file hands its bytes over.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// Names one file of a [`SourceMap`]. Cheap to copy and compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(u32);

impl FileId {
    /// Makes the id of the file that was added as number `index`, from 0.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Returns the number of the file in its map, from 0.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// A range of bytes in one file; `end` is exclusive.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The file the range lies in.
    pub file: FileId,
    /// Offset of the first byte, from 0.
    pub start: u32,
    /// Offset behind the last byte; never less than `start`.
    pub end: u32,
}

impl Span {
    /// Makes a span over the bytes `start..end` of `file`.
    #[must_use]
    pub const fn new(file: FileId, start: u32, end: u32) -> Self {
        Self { file, start, end }
    }

    /// Returns the span from the start of `self` to the end of `other`, which lies behind it in the
    /// same file.
    #[must_use]
    pub const fn to(self, other: Self) -> Self {
        Self { file: self.file, start: self.start, end: other.end }
    }

    /// Returns the empty span right behind `self`.
    #[must_use]
    pub const fn after(self) -> Self {
        Self { file: self.file, start: self.end, end: self.end }
    }

    /// Returns the number of bytes covered.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Returns whether no byte is covered.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}..{}", self.file.0, self.start, self.end)
    }
}

/// A place for people: line and column, both from 1. The column counts characters; an octet that is part
/// of no UTF-8 character counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Line number, from 1.
    pub line: u32,
    /// Character within the line, from 1.
    pub column: u32,
}

/// One file of a program.
#[derive(Debug)]
pub struct SourceFile {
    id: FileId,
    name: Arc<str>,
    path: Option<Arc<str>>,
    text: Box<[u8]>,
    /// Offset of the first byte of each line; made when the first error asks for it.
    line_starts: OnceLock<Box<[u32]>>,
}

/// The largest file that is taken, in bytes. Offsets are 32 bits wide, and a script this big is a
/// mistake long before.
pub const MAX_FILE_BYTES: usize = 256 << 20;

impl SourceFile {
    /// Makes a file. Text behind [`MAX_FILE_BYTES`] is refused by the parser, not here.
    #[must_use]
    pub fn new(id: FileId, name: &str, path: Option<&str>, text: Vec<u8>) -> Self {
        Self {
            id,
            name: name.into(),
            path: path.map(Into::into),
            text: text.into_boxed_slice(),
            line_starts: OnceLock::new(),
        }
    }

    /// Returns the id under which the map knows this file.
    #[must_use]
    pub const fn id(&self) -> FileId {
        self.id
    }

    /// Returns the name shown in errors: the id of a configured file or the path it was imported by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of the real file, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Returns the whole text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns the bytes of `span`; empty where the span lies outside the text.
    #[must_use]
    pub fn slice(&self, span: Span) -> &[u8] {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Returns line and column of the byte at `offset`. What lies behind the end is taken to be the
    /// place behind the last byte.
    #[must_use]
    pub fn location(&self, offset: u32) -> Location {
        let offset = offset.min(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        let (line, start) = self.line_at(offset);
        let before = self.text.get(start as usize..offset as usize).unwrap_or_default();
        // Offsets are 32 bits wide, and so is what they count.
        Location { line, column: characters(before) as u32 + 1 }
    }

    /// Returns the number of the line that holds the byte at `offset`, and the offset of its first byte.
    pub(crate) fn line_at(&self, offset: u32) -> (u32, u32) {
        let starts = self.line_starts();
        // The table starts with 0, so at least one start is not behind any offset.
        let line = starts.partition_point(|&start| start <= offset).max(1);
        let start = starts.get(line - 1).copied().unwrap_or(0);
        (u32::try_from(line).unwrap_or(u32::MAX), start)
    }

    /// Returns the bytes of line `line` (from 1), without its line ending.
    #[must_use]
    pub fn line(&self, line: u32) -> Option<&[u8]> {
        let starts = self.line_starts();
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        let start = *starts.get(index)? as usize;
        let end = starts.get(index + 1).map_or(self.text.len(), |&next| next as usize);
        let text = self.text.get(start..end)?;
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        Some(text.strip_suffix(b"\r").unwrap_or(text))
    }

    /// Returns how many lines there are; an empty text has one.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.line_starts().len()
    }

    fn line_starts(&self) -> &[u32] {
        self.line_starts.get_or_init(|| {
            let mut starts = vec![0];
            starts.extend(
                memchr::memchr_iter(b'\n', &self.text).map_while(|at| u32::try_from(at + 1).ok()),
            );
            starts.into_boxed_slice()
        })
    }
}

/// Counts characters as [`Location`] does.
fn characters(text: &[u8]) -> usize {
    text.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}

/// All files of one program. Cloning shares the files.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<Arc<SourceFile>>,
}

impl SourceMap {
    /// Makes a map without files.
    #[must_use]
    pub const fn new() -> Self {
        Self { files: Vec::new() }
    }

    /// Adds a file and returns it. `name` is what errors show, `path` the real file if there is one.
    pub fn add(&mut self, name: &str, path: Option<&str>, text: Vec<u8>) -> Arc<SourceFile> {
        // Four billion files do not fit into memory, so the number never saturates.
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        let file = Arc::new(SourceFile::new(id, name, path, text));
        self.files.push(Arc::clone(&file));
        file
    }

    /// Returns the file with this id, if it is one of this map.
    #[must_use]
    pub fn file(&self, id: FileId) -> Option<&Arc<SourceFile>> {
        self.files.get(id.0 as usize)
    }

    /// Returns the files in the order in which they were added.
    #[must_use]
    pub fn files(&self) -> &[Arc<SourceFile>] {
        &self.files
    }

    /// Returns line and column of the start of `span`, if its file is one of this map.
    #[must_use]
    pub fn location(&self, span: Span) -> Option<Location> {
        Some(self.file(span.file)?.location(span.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_stop_at_the_end() {
        let file = SourceFile::new(FileId::new(0), "t", None, b"ab\r\n\n\xff$c".to_vec());
        for (offset, line, column) in
            [(0, 1, 1), (2, 1, 3), (3, 1, 4), (4, 2, 1), (5, 3, 1), (6, 3, 2), (8, 3, 4)]
        {
            assert_eq!(file.location(offset), Location { line, column }, "{offset}");
        }
        let file = SourceFile::new(FileId::new(0), "t", None, "\té$".as_bytes().to_vec());
        assert_eq!(file.location(3), Location { line: 1, column: 3 });
        let file = SourceFile::new(FileId::new(0), "t", None, b"ab\r\n\n\xff$c".to_vec());
        // Behind the end: the place behind the last byte.
        assert_eq!(file.location(u32::MAX), Location { line: 3, column: 4 });
        assert_eq!(file.line(1), Some(&b"ab"[..]));
        assert_eq!(file.line(2), Some(&b""[..]));
        assert_eq!(file.line(3), Some(&b"\xff$c"[..]));
        assert_eq!((file.line(0), file.line(4)), (None, None));
        assert_eq!(file.line_count(), 3);
    }

    #[test]
    fn spans_know_their_file() {
        let mut sources = SourceMap::new();
        let first = sources.add("a", None, b"one".to_vec());
        let second = sources.add("b", Some("/etc/b"), b"two".to_vec());
        let span = Span::new(second.id(), 1, 3);
        assert_eq!(sources.file(span.file).map(|file| file.slice(span)), Some(&b"wo"[..]));
        assert_eq!(first.slice(Span::new(first.id(), 2, 9)), b"");
        assert_eq!(sources.location(span), Some(Location { line: 1, column: 2 }));
        assert_eq!(sources.location(Span::new(FileId::new(2), 0, 0)), None);
        assert_eq!((first.path(), second.path()), (None, Some("/etc/b")));
    }
}
