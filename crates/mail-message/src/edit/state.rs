//! All changes of a message at one moment.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::header_state::HeaderState;
use crate::mime::PartId;
use crate::writer::Patch;

/// The changes of a message. Snapshots share it; it is copied when one of several holders changes.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// How many changes led here.
    pub(super) count: usize,
    pub(super) parts: BTreeMap<PartId, PartState>,
    /// Changes of octets, in the order made.
    pub(super) raw: Vec<Patch>,
}

/// The changes of one part.
#[derive(Clone, Debug, Default)]
pub(super) struct PartState {
    pub(super) header: HeaderState,
    /// Whether the `Date` field is to be set on writing.
    pub(super) has_date_later: bool,
    /// What becomes of the part as a whole.
    pub(super) fate: Fate,
    /// The new body, encoded.
    pub(super) body: Option<Bytes>,
    pub(super) preamble: Option<Bytes>,
    pub(super) epilogue: Option<Bytes>,
    /// The multipart that is made around the content, when it was none.
    pub(super) wrap: Option<Wrap>,
    /// New parts before the content or children, in order.
    pub(super) before: Vec<Bytes>,
    /// New parts behind them.
    pub(super) after: Vec<Bytes>,
}

/// What becomes of a part as a whole.
#[derive(Clone, Debug, Default)]
pub(super) enum Fate {
    #[default]
    Kept,
    Removed,
    /// By this part, header and body.
    Replaced(Bytes),
}

impl State {
    /// Shows what it consists of: octets of its own, and contents that others may share.
    pub(super) fn measure(&self, visit: &mut impl FnMut(usize, &[u8])) {
        visit(size_of::<Self>(), &[]);
        for patch in &self.raw {
            visit(size_of::<Patch>(), &patch.data);
        }
        for part in self.parts.values() {
            visit(2 * size_of::<PartState>(), &[]);
            part.header.measure(visit);
            let replaced = match &part.fate {
                Fate::Replaced(part) => Some(part),
                Fate::Kept | Fate::Removed => None,
            };
            let texts = [&part.body, &part.preamble, &part.epilogue].into_iter().flatten();
            for content in texts.chain(replaced).chain(&part.before).chain(&part.after) {
                visit(size_of::<Bytes>(), content);
            }
        }
    }
}

/// A multipart made around a content.
#[derive(Clone, Debug)]
pub(super) struct Wrap {
    pub(super) media_type: String,
    pub(super) boundary: String,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Message;
    use crate::mime::PartId;

    #[test]
    fn the_size_counts_what_snapshots_alone_remember_and_what_they_share_once() {
        let mut message = Message::new(Bytes::from_static(b"A: b\r\n\r\nbody"));
        let set = |message: &mut Message, text: &[u8]| {
            assert_eq!(message.set_body(PartId::TOP, text, None), Ok(()));
            message.size()
        };
        let one = set(&mut message, &[b'x'; 10_000]);
        assert!((10_000..12_000).contains(&one), "{one}");
        for _ in 0..10 {
            message.snapshot();
        }
        assert!(message.size() < one + 200);
        let two = set(&mut message, &[b'y'; 10_000]);
        assert!((20_000..24_000).contains(&two), "{two}");
        message.reset();
        assert!((10_000..two).contains(&message.size()));
    }
}
