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

/// A multipart made around a content.
#[derive(Clone, Debug)]
pub(super) struct Wrap {
    pub(super) media_type: String,
    pub(super) boundary: String,
}
