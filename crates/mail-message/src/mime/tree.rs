//! Finding the parts of a message.
//!
//! Parts are found from the outside in: the delimiters of a multipart are looked for in the whole
//! of its body, so a part that does not close its own multipart ends where the outer one says. An
//! attached message (`message/rfc822`) that is not encoded has the message as its one child.

use std::ops::Range;

use memchr::memmem::Finder;

use super::ContentType;
use crate::header::HeaderSection;
use crate::transfer_encoding::TransferEncoding;

/// A part of a message, numbered from the top in the order of the text. 0 is the message itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub u32);

impl PartId {
    /// The message itself.
    pub const TOP: Self = Self(0);
}

/// What is wrong with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A line of the header is no field.
    BadHeader,
    /// The closing delimiter of a multipart is missing.
    UnclosedBoundary,
    /// There are more parts, or deeper ones, than are looked at. They stay as they are.
    TooManyParts,
    /// There are more fields than are looked at. They stay as they are.
    TooManyHeaders,
}

impl Defect {
    /// Returns the name that scripts see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadHeader => "bad_header",
            Self::UnclosedBoundary => "unclosed_boundary",
            Self::TooManyParts => "too_many_parts",
            Self::TooManyHeaders => "too_many_headers",
        }
    }
}

/// A part. Ranges are offsets into the text of the message.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its number.
    pub id: PartId,
    /// The part it belongs to.
    pub parent: Option<PartId>,
    /// Its children, in order.
    pub children: Vec<PartId>,
    /// Header and body, without the delimiters around them.
    pub range: Range<usize>,
    /// Its fields; their offsets count from the start of `range`.
    pub header: HeaderSection,
    /// Its media type: the one given, or the default of the place; `None` when it is unreadable.
    pub content_type: Option<ContentType>,
    /// How it is divided, if it is a multipart with a delimiter.
    pub multipart: Option<Multipart>,
    /// The line end and delimiter line before a part of a multipart; empty for others.
    pub delimiter: Range<usize>,
    /// What is wrong with it. The message itself says too that something is not looked at somewhere in it.
    pub defects: Vec<Defect>,
    /// Its place among its siblings, from 0.
    position: u32,
}

/// How a multipart is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    /// What separates the parts.
    pub boundary: Vec<u8>,
    /// What stands before the first delimiter, without the line end that belongs to it.
    pub preamble: Range<usize>,
    /// The closing delimiter from the line end before it to the line end behind it, if there is
    /// one; else nothing, at the end.
    pub close: Range<usize>,
    /// What stands behind the closing delimiter.
    pub epilogue: Range<usize>,
    /// The delimiter of the first part that is not looked at, and empty if all are.
    pub unseen: Range<usize>,
}

impl Part {
    /// Returns the body.
    pub fn body(&self) -> Range<usize> {
        self.range.start + self.header.body_start()..self.range.end
    }

    /// Returns whether it is a multipart that is too deep to be taken apart.
    pub fn is_too_deep(&self) -> bool {
        self.multipart.is_none()
            && self.defects.contains(&Defect::TooManyParts)
            && self.content_type.as_ref().is_some_and(ContentType::is_multipart)
    }

    /// Returns the transfer encoding: 7bit unless another is named, `None` for unknown ones.
    pub fn transfer_encoding(&self, text: &[u8]) -> Option<TransferEncoding> {
        let text = text.get(self.range.clone()).unwrap_or_default();
        transfer_encoding(&self.header, text)
    }
}

/// Returns what the header says about the encoding of the body.
fn transfer_encoding(header: &HeaderSection, text: &[u8]) -> Option<TransferEncoding> {
    match header.first(text, b"content-transfer-encoding") {
        Some(field) => TransferEncoding::parse(field.value),
        None => Some(TransferEncoding::SevenBit),
    }
}

/// All parts of a message.
#[derive(Clone, Debug)]
pub struct Tree {
    parts: Vec<Part>,
}

impl Tree {
    /// How deep parts are looked for. Real mail seldom passes 10; each level costs one pass over
    /// its text.
    pub const MAX_DEPTH: usize = 32;
    /// How many parts are looked at.
    pub const MAX_PARTS: usize = 10_000;

    /// Finds the parts of the message `text`.
    pub fn parse(text: &[u8]) -> Self {
        let mut tree = Self { parts: Vec::new() };
        let place = Place { parent: None, depth: 0, in_digest: false, delimiter: 0..0 };
        tree.add(text, 0..text.len(), place);
        for defect in [Defect::TooManyParts, Defect::TooManyHeaders] {
            if let [top, parts @ ..] = tree.parts.as_mut_slice()
                && !top.defects.contains(&defect)
                && parts.iter().any(|part| part.defects.contains(&defect))
            {
                top.defects.push(defect);
            }
        }
        tree
    }

    /// Returns the parts in the order of the text. The first is the message.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns a part.
    pub fn part(&self, id: PartId) -> Option<&Part> {
        self.parts.get(usize::try_from(id.0).ok()?)
    }

    /// Returns all parts below `id`, at any depth, in the order of the text.
    pub fn descendants(&self, id: PartId) -> impl Iterator<Item = &Part> {
        let start = id.0 as usize + 1;
        let rest = self.parts.get(start..).unwrap_or_default();
        // Numbers follow the text, so descendants are those up to the first whose parent is older.
        rest.iter().take_while(move |part| part.parent.is_some_and(|parent| parent >= id))
    }

    /// Returns the dotted place of a part: `1` for the message, `1.2` for its second child.
    pub fn path(&self, id: PartId) -> String {
        let mut places = Vec::new();
        let mut current = self.part(id);
        while let Some(part) = current {
            places.push((part.position + 1).to_string());
            current = part.parent.and_then(|parent| self.part(parent));
        }
        places.reverse();
        places.join(".")
    }

    /// Returns the part at a dotted place.
    pub fn find_path(&self, path: &str) -> Option<PartId> {
        let mut places = path.split('.');
        if places.next()? != "1" {
            return None;
        }
        let mut id = PartId::TOP;
        for place in places {
            let at = place.parse::<usize>().ok()?.checked_sub(1)?;
            id = *self.part(id)?.children.get(at)?;
        }
        Some(id)
    }

    fn add(&mut self, text: &[u8], range: Range<usize>, place: Place) -> Option<PartId> {
        if self.parts.len() >= Self::MAX_PARTS {
            return None;
        }
        let id = PartId(u32::try_from(self.parts.len()).ok()?);
        let octets = text.get(range.clone()).unwrap_or_default();
        let header = HeaderSection::parse(octets);
        let default = if place.in_digest { "message/rfc822" } else { "text/plain" };
        let content_type = match header.first(octets, b"content-type") {
            Some(field) => ContentType::parse(field.value),
            None => Some(ContentType { media_type: default.to_owned(), ..Default::default() }),
        };
        let is_identity =
            transfer_encoding(&header, octets).is_some_and(TransferEncoding::is_identity);
        let inside =
            content_type.as_ref().map_or(Inside::Nothing, |kind| Inside::of(kind, is_identity));
        let position = match place.parent.and_then(|parent| self.part_mut(parent)) {
            Some(parent) => {
                parent.children.push(id);
                parent.children.len() as u32 - 1
            }
            None => 0,
        };
        let part = Part {
            id,
            parent: place.parent,
            children: Vec::new(),
            defects: [
                header.is_malformed().then_some(Defect::BadHeader),
                header.has_more().then_some(Defect::TooManyHeaders),
            ]
            .into_iter()
            .flatten()
            .collect(),
            range,
            header,
            content_type,
            multipart: None,
            delimiter: place.delimiter,
            position,
        };
        let body = part.body();
        self.parts.push(part);
        let depth = place.depth + 1;
        let is_complete = match inside {
            Inside::Nothing => true,
            _ if depth >= Self::MAX_DEPTH => false,
            Inside::Message => {
                let place = Place { parent: Some(id), depth, in_digest: false, delimiter: 0..0 };
                self.add(text, body, place).is_some()
            }
            Inside::Parts { boundary, is_digest } => {
                let division = divide(text, body, &boundary);
                let mut unseen = division.unseen;
                for (delimiter, range) in division.parts {
                    let next = delimiter.clone();
                    let place = Place { parent: Some(id), depth, in_digest: is_digest, delimiter };
                    if self.add(text, range, place).is_none() {
                        unseen = next;
                        break;
                    }
                }
                let is_complete = unseen.is_empty();
                if let Some(part) = self.part_mut(id) {
                    if division.is_unclosed {
                        part.defects.push(Defect::UnclosedBoundary);
                    }
                    part.multipart =
                        division.ends.map(|ends| Multipart { boundary, unseen, ..ends });
                }
                is_complete
            }
        };
        if !is_complete && let Some(part) = self.part_mut(id) {
            part.defects.push(Defect::TooManyParts);
        }
        Some(id)
    }

    fn part_mut(&mut self, id: PartId) -> Option<&mut Part> {
        self.parts.get_mut(usize::try_from(id.0).ok()?)
    }
}

/// What may be inside a part.
enum Inside {
    Nothing,
    Message,
    Parts { boundary: Vec<u8>, is_digest: bool },
}

impl Inside {
    fn of(kind: &ContentType, is_identity: bool) -> Self {
        if kind.is_multipart() {
            // RFC 2045 §6.4: a multipart is never encoded, whatever its header says.
            let boundary = kind.parameters.octets(b"boundary").unwrap_or_default();
            let is_digest = kind.media_type == "multipart/digest";
            return Self::Parts { boundary: boundary.trim_ascii_end().to_vec(), is_digest };
        }
        if kind.is_message() && is_identity { Self::Message } else { Self::Nothing }
    }
}

/// A multipart body taken apart.
struct Division {
    /// The delimiter before each part, and the part.
    parts: Vec<(Range<usize>, Range<usize>)>,
    /// The delimiter of the first part of more than are looked at.
    unseen: Range<usize>,
    /// What is around them (the rest is filled in later); `None` without any delimiter.
    ends: Option<Multipart>,
    is_unclosed: bool,
}

fn divide(text: &[u8], body: Range<usize>, boundary: &[u8]) -> Division {
    let mut division = Division { parts: Vec::new(), unseen: 0..0, ends: None, is_unclosed: true };
    if boundary.is_empty() {
        return division;
    }
    let mut preamble = None;
    let mut open: Option<Range<usize>> = None;
    let mut close = body.end..body.end;
    let needle = [b"--", boundary].concat();
    let finder = Finder::new(&needle);
    let octets = text.get(body.clone()).unwrap_or_default();
    for offset in finder.find_iter(octets) {
        let at = body.start + offset;
        let content_start = open.as_ref().map_or(body.start, |open| open.end);
        if at < content_start || (offset > 0 && octets.get(offset - 1) != Some(&b'\n')) {
            continue;
        }
        let behind = octets.get(offset + needle.len()..).unwrap_or_default();
        let Some((is_close, len)) = rest_of_delimiter(behind) else { continue };
        // The line end before a delimiter is part of it.
        let before = text.get(content_start..at).unwrap_or_default();
        let before = before.strip_suffix(b"\n").unwrap_or(before);
        let before = before.strip_suffix(b"\r").unwrap_or(before);
        let lead = content_start + before.len();
        let delimiter = lead..at + needle.len() + len;
        match open.take() {
            Some(open) => division.add(open, lead),
            None => preamble = Some(body.start..lead),
        }
        if is_close {
            division.is_unclosed = false;
            close = delimiter;
            break;
        }
        open = Some(delimiter);
    }
    if let Some(open) = open {
        division.add(open, body.end);
    }
    division.ends = preamble.map(|preamble| Multipart {
        boundary: Vec::new(),
        preamble,
        epilogue: close.end..body.end,
        close,
        unseen: 0..0,
    });
    division
}

impl Division {
    /// Adds the part between a delimiter and `end`, if it is to be looked at.
    fn add(&mut self, delimiter: Range<usize>, end: usize) {
        if self.parts.len() < Tree::MAX_PARTS {
            let range = delimiter.end..end;
            self.parts.push((delimiter, range));
        } else if self.unseen.is_empty() {
            self.unseen = delimiter;
        }
    }
}

/// Reads what stands behind `--boundary`: whether it closes, and the octets with the line end.
/// `None` when the line goes on, so that it is no delimiter.
fn rest_of_delimiter(text: &[u8]) -> Option<(bool, usize)> {
    let (is_close, rest) = match text.strip_prefix(b"--") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let white = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let line_end = match rest.get(white..).unwrap_or_default() {
        [] => 0,
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => return None,
    };
    Some((is_close, text.len() - rest.len() + white + line_end))
}

struct Place {
    parent: Option<PartId>,
    depth: usize,
    in_digest: bool,
    delimiter: Range<usize>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(text: &str) -> Vec<String> {
        let tree = Tree::parse(text.as_bytes());
        let show = |part: &Part| {
            let kind = part.content_type.as_ref().map_or("?", |kind| kind.media_type.as_str());
            let body = &text[part.body()];
            let body = if part.children.is_empty() { body } else { "…" };
            format!("{} {kind} {body:?}", tree.path(part.id))
        };
        tree.parts().iter().map(show).collect()
    }

    #[test]
    fn parts_are_found_between_delimiters() {
        let text = "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\npre\r\n--b\r\n\r\none\r\n\
            --b \r\nContent-Type: text/html\r\n\r\ntwo\r\n--bb\r\n\r\n--b--\r\nepi";
        assert_eq!(
            show(text),
            [
                "1 multipart/mixed \"…\"",
                "1.1 text/plain \"one\"",
                "1.2 text/html \"two\\r\\n--bb\\r\\n\""
            ]
        );
        let tree = Tree::parse(text.as_bytes());
        let multipart = tree.parts()[0].multipart.clone().unwrap();
        assert_eq!(&text[multipart.preamble], "pre");
        assert_eq!(&text[multipart.close], "\r\n--b--\r\n");
        assert_eq!(&text[multipart.epilogue], "epi");
        assert_eq!(&text[tree.parts()[1].delimiter.clone()], "\r\n--b\r\n");
    }

    #[test]
    fn an_outer_delimiter_ends_inner_parts() {
        let text = "Content-Type: multipart/mixed; boundary=a\n\n--a\n\
            Content-Type: multipart/alternative; boundary=ab\n\n--ab\n\nx\n--a\n\ny\n--a--\n";
        assert_eq!(
            show(text),
            [
                "1 multipart/mixed \"…\"",
                "1.1 multipart/alternative \"…\"",
                "1.1.1 text/plain \"x\"",
                "1.2 text/plain \"y\""
            ]
        );
        let tree = Tree::parse(text.as_bytes());
        assert_eq!(tree.parts()[1].defects, [Defect::UnclosedBoundary]);
        assert_eq!(tree.parts()[0].defects, []);
        let below: Vec<_> = tree.descendants(PartId(1)).map(|part| part.id.0).collect();
        assert_eq!(below, [2]);
        assert_eq!(tree.descendants(PartId::TOP).count(), 3);
    }

    #[test]
    fn attached_messages_and_digests_are_looked_into() {
        let text = "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: x\n\nbody\n--a--";
        assert_eq!(
            show(text),
            ["1 multipart/digest \"…\"", "1.1 message/rfc822 \"…\"", "1.1.1 text/plain \"body\""]
        );
        let text = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAAAA";
        assert_eq!(show(text), ["1 message/rfc822 \"AAAA\""]);
    }

    #[test]
    fn empty_parts_and_missing_delimiters_do_no_harm() {
        let head = "Content-Type: multipart/mixed; boundary=a\n\n";
        assert_eq!(show(&format!("{head}--a\n--a\n--a--")).len(), 3);
        assert_eq!(show(&format!("{head}nothing")), ["1 multipart/mixed \"nothing\""]);
        assert_eq!(show(&format!("{head}--a--")), ["1 multipart/mixed \"--a--\""]);
        assert_eq!(show(&format!("{head}--a")), ["1 multipart/mixed \"…\"", "1.1 text/plain \"\""]);
        let unbound = "Content-Type: multipart/mixed\n\n--\n";
        let tree = Tree::parse(unbound.as_bytes());
        assert_eq!(tree.parts()[0].defects, [Defect::UnclosedBoundary]);
    }

    #[test]
    fn depth_and_number_of_parts_are_limited() {
        let mut text = String::new();
        for depth in 0..Tree::MAX_DEPTH + 5 {
            text += &format!("Content-Type: multipart/mixed; boundary=b{depth}x\n\n--b{depth}x\n");
        }
        let tree = Tree::parse(text.as_bytes());
        assert_eq!(tree.parts().len(), Tree::MAX_DEPTH);
        let last = tree.parts().last().unwrap();
        assert!(last.is_too_deep());
        assert!(tree.parts()[0].defects.contains(&Defect::TooManyParts), "the message says so too");
        assert!(!tree.parts()[1].defects.contains(&Defect::TooManyParts));
        let text = format!(
            "Content-Type: multipart/mixed; boundary=b\n\n{}",
            "--b\n\n".repeat(Tree::MAX_PARTS + 10)
        );
        let tree = Tree::parse(text.as_bytes());
        assert_eq!(tree.parts().len(), Tree::MAX_PARTS);
        assert!(tree.parts()[0].defects.contains(&Defect::TooManyParts));
    }

    proptest! {
        #[test]
        fn parts_lie_inside_their_parents_and_in_order(
            body in "(--a\n|--a--\n|--b\n|--b--\n|\n|x|\r|Content-Type: multipart/x; boundary=b\n\n\
                |Content-Type: message/rfc822\n\n){0,24}"
        ) {
            let text = format!("Content-Type: multipart/mixed; boundary=a\n\n{body}");
            let tree = Tree::parse(text.as_bytes());
            for part in tree.parts() {
                prop_assert!(part.range.end <= text.len());
                prop_assert!(part.body().start <= part.body().end);
                let mut at = part.body().start;
                for child in &part.children {
                    let child = tree.part(*child).unwrap();
                    prop_assert_eq!(child.parent, Some(part.id));
                    if part.multipart.is_some() {
                        prop_assert!(child.delimiter.start >= at);
                        prop_assert_eq!(child.delimiter.end, child.range.start);
                    }
                    prop_assert!(child.range.start >= at && child.range.start <= child.range.end);
                    at = child.range.end;
                }
                prop_assert!(at <= part.range.end);
                prop_assert_eq!(tree.find_path(&tree.path(part.id)), Some(part.id));
            }
        }
    }
}
