//! The changed message as pieces of the original and new octets.
//!
//! Nothing of the original is copied here: pieces name ranges, and whoever holds the octets (a
//! buffer, a spool file) delivers them.

use std::ops::Range;

use bytes::Bytes;

/// A change of the original: the octets of `range` give way to `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// What goes, as offsets into the original; empty for an insertion.
    pub range: Range<u64>,
    /// What comes.
    pub data: Bytes,
}

/// A piece of a changed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These octets of the original.
    Original(Range<u64>),
    /// New octets.
    Inserted(Bytes),
}

impl Piece {
    /// Returns the number of octets.
    pub fn len(&self) -> u64 {
        match self {
            Self::Original(range) => range.end.saturating_sub(range.start),
            Self::Inserted(data) => data.len() as u64,
        }
    }

    /// Returns whether there are no octets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A changed message. Pieces are not empty, and no two neighbours could be one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pieces: Vec<Piece>,
    /// Where each piece ends in the changed message.
    ends: Vec<u64>,
    original_len: u64,
}

/// A changed message as a new start and the unchanged rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// How many octets of the original the new start replaces.
    pub skip: u64,
    /// The new start. Its pieces of the original lie before `skip`.
    pub start: Vec<Piece>,
}

impl Output {
    /// Applies `patches` to an original of `original_len` octets.
    ///
    /// Patches apply in the order of their places, those of one place in the order given. Where two
    /// replace the same octets the one that starts first wins: of the other only what lies outside
    /// counts. Ranges are cut off at the end of the original.
    pub fn new(original_len: u64, mut patches: Vec<Patch>) -> Self {
        patches.sort_by_key(|patch| patch.range.start);
        let mut output = Self { original_len, ..Self::default() };
        let mut at = 0;
        let mut last_start = 0;
        for patch in patches {
            let start = patch.range.start.min(original_len);
            let end = patch.range.end.clamp(start, original_len);
            if start < at && start > last_start {
                at = at.max(end);
                continue;
            }
            output.push_original(at..start);
            output.push_inserted(patch.data);
            at = at.max(end);
            last_start = start;
        }
        output.push_original(at..original_len);
        output
    }

    fn push_original(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        let end = self.len() + (range.end - range.start);
        if let (Some(Piece::Original(last)), Some(last_end)) =
            (self.pieces.last_mut(), self.ends.last_mut())
            && last.end == range.start
        {
            last.end = range.end;
            *last_end = end;
            return;
        }
        self.pieces.push(Piece::Original(range));
        self.ends.push(end);
    }

    fn push_inserted(&mut self, data: Bytes) {
        if !data.is_empty() {
            let end = self.len() + data.len() as u64;
            self.pieces.push(Piece::Inserted(data));
            self.ends.push(end);
        }
    }

    /// Returns the pieces in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Returns the size of the changed message in octets.
    pub fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Returns whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns whether this is the original, unchanged.
    pub fn is_original(&self) -> bool {
        match self.pieces.as_slice() {
            [] => self.original_len == 0,
            [Piece::Original(range)] => *range == (0..self.original_len),
            _ => false,
        }
    }

    /// Splits into a new start and the rest of the original that follows unchanged.
    pub fn replacement(&self) -> Replacement {
        match self.pieces.split_last() {
            Some((Piece::Original(rest), start)) if rest.end == self.original_len => {
                // A lone piece that starts later means that the first octets go.
                Replacement { skip: rest.start, start: start.to_vec() }
            }
            _ => Replacement { skip: self.original_len, start: self.pieces.clone() },
        }
    }

    /// Fills `buf` with octets of the changed message from `offset` on, and returns how many; fewer
    /// than asked only at the end. `original` fills a buffer from an offset into the original.
    ///
    /// # Errors
    ///
    /// Those of `original`.
    pub fn read_at<E>(
        &self,
        offset: u64,
        buf: &mut [u8],
        mut original: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut index = self.ends.partition_point(|end| *end <= offset);
        let mut at = offset;
        let mut rest = buf;
        let mut count = 0;
        while let (Some(piece), Some(end)) = (self.pieces.get(index), self.ends.get(index)) {
            if rest.is_empty() {
                break;
            }
            let skip = at - (end - piece.len());
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(rest.len());
            let (target, tail) = rest.split_at_mut(wanted);
            match piece {
                Piece::Original(range) => original(range.start + skip, target)?,
                Piece::Inserted(data) => {
                    let from = usize::try_from(skip).unwrap_or(usize::MAX);
                    if let Some(source) = data.get(from..from.saturating_add(wanted)) {
                        target.copy_from_slice(source);
                    }
                }
            }
            rest = tail;
            at += wanted as u64;
            count += wanted;
            index += 1;
        }
        Ok(count)
    }

    /// Returns the changed message as one text; `original` holds at least the octets used of it.
    pub fn to_vec(&self, original: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(usize::try_from(self.len()).unwrap_or(0));
        write_pieces(&self.pieces, original, &mut out);
        out
    }
}

impl Replacement {
    /// Returns the new start as one text; `original` holds at least the first `skip` octets.
    pub fn to_vec(&self, original: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_pieces(&self.start, original, &mut out);
        out
    }
}

fn write_pieces(pieces: &[Piece], original: &[u8], out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Original(range) => {
                let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(original.len());
                out.extend_from_slice(
                    original.get(cut(range.start)..cut(range.end)).unwrap_or(&[]),
                );
            }
            Piece::Inserted(data) => out.extend_from_slice(data),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patch(range: Range<u64>, data: &'static str) -> Patch {
        Patch { range, data: Bytes::from_static(data.as_bytes()) }
    }

    fn apply(patches: &[Patch]) -> String {
        String::from_utf8(Output::new(10, patches.to_vec()).to_vec(b"0123456789")).unwrap()
    }

    #[test]
    fn patches_apply_by_place_and_overlaps_go_to_the_first() {
        assert_eq!(apply(&[]), "0123456789");
        assert_eq!(
            apply(&[patch(5..5, "b"), patch(0..0, "a"), patch(10..10, "c")]),
            "a01234b56789c"
        );
        assert_eq!(apply(&[patch(2..4, "x"), patch(2..2, "y")]), "01xy456789");
        assert_eq!(apply(&[patch(2..5, "x"), patch(3..7, "y")]), "01x789");
        assert_eq!(apply(&[patch(2..5, "x"), patch(5..6, "y")]), "01xy6789");
        assert_eq!(apply(&[patch(8..99, "x"), patch(50..60, "y")]), "01234567xy");
        assert_eq!(apply(&[patch(0..10, "")]), "");
    }

    #[test]
    fn a_replacement_of_the_start_leaves_the_rest_alone() {
        let output = Output::new(10, vec![patch(0..0, "new "), patch(3..4, "-")]);
        let replacement = output.replacement();
        assert_eq!(replacement.skip, 4);
        assert_eq!(replacement.to_vec(b"0123"), b"new 012-");
        assert_eq!(Output::new(10, vec![]).replacement(), Replacement { skip: 0, start: vec![] });
        let cut = Output::new(10, vec![patch(0..2, "")]).replacement();
        assert_eq!((cut.skip, cut.start.len()), (2, 0));
        assert_eq!(Output::new(10, vec![patch(10..10, "z")]).replacement().skip, 10);
    }

    proptest! {
        #[test]
        fn pieces_read_at_any_place_make_up_the_whole(
            patches in prop::collection::vec((0u64..12, 0u64..4, 0usize..4), 0..6),
            step in 1usize..5,
        ) {
            let patches: Vec<_> = patches
                .into_iter()
                .map(|(at, len, new)| Patch { range: at..at + len, data: vec![b'x'; new].into() })
                .collect();
            let original = b"0123456789";
            let output = Output::new(10, patches);
            let whole = output.to_vec(original);
            prop_assert_eq!(whole.len() as u64, output.len());
            let mut read = Vec::new();
            let mut buf = vec![0; step];
            loop {
                let count = output.read_at(read.len() as u64, &mut buf, |at, target| {
                    let at = usize::try_from(at).map_err(|_| ())?;
                    target.copy_from_slice(original.get(at..at + target.len()).ok_or(())?);
                    Ok::<_, ()>(())
                });
                let count = count.unwrap();
                if count == 0 {
                    break;
                }
                read.extend_from_slice(&buf[..count]);
            }
            prop_assert_eq!(&read, &whole);
            let replacement = output.replacement();
            let skip = usize::try_from(replacement.skip).unwrap();
            let mut spliced = replacement.to_vec(&original[..skip]);
            spliced.extend_from_slice(&original[skip..]);
            prop_assert_eq!(spliced, whole);
        }
    }
}
