//! What the spool keeps in memory: where each message and each row's state lies, and what of each
//! segment is still needed. About 120 octets per message with one row.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry as MapEntry, HashMap};
use std::sync::Arc;

use mta_types::{QueueId, TransactionId};

use crate::segment::format::{ALL_ROWS, BodyName, END_HEAD_LEN, Segment, record_len};

/// Where a record is. Segment 0 does not exist and stands for "nowhere".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// Octets of the whole record.
    pub(crate) len: u32,
}

impl Place {
    pub(crate) const NOWHERE: Self = Self { segment: 0, offset: 0, len: 0 };

    /// Segments are at most 1 GiB, so offsets and lengths fit.
    pub(crate) const fn new(segment: u32, offset: u64, len: u64) -> Self {
        Self { segment, offset: offset as u32, len: len as u32 }
    }
}

/// A row that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) queue: QueueId,
    /// Its last change record; nowhere when the commit record has its state.
    pub(crate) change: Place,
}

/// The rows of a message: mostly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    One(Row),
    Many(Vec<Row>),
}

impl Rows {
    pub(crate) fn from_vec(mut rows: Vec<Row>) -> Self {
        if rows.len() == 1
            && let Some(row) = rows.pop()
        {
            return Self::One(row);
        }
        rows.shrink_to_fit();
        Self::Many(rows)
    }

    pub(crate) fn as_slice(&self) -> &[Row] {
        match self {
            Self::One(row) => std::slice::from_ref(row),
            Self::Many(rows) => rows,
        }
    }

    fn push(&mut self, row: Row) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, row]),
            Self::Many(rows) => rows.push(row),
        }
    }

    fn find(&mut self, queue: QueueId) -> Option<&mut Row> {
        match self {
            Self::One(row) => Some(row).filter(|row| row.queue == queue),
            Self::Many(rows) => rows.iter_mut().find(|row| row.queue == queue),
        }
    }

    /// Takes a row out.
    fn remove(&mut self, queue: QueueId) -> Option<Row> {
        match self {
            Self::One(row) if row.queue == queue => {
                let row = *row;
                *self = Self::Many(Vec::new());
                Some(row)
            }
            Self::One(_) => None,
            Self::Many(rows) => {
                let at = rows.iter().position(|row| row.queue == queue)?;
                Some(rows.swap_remove(at))
            }
        }
    }
}

/// A message that has rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Sequence number of its first commit record: tells it from another with the same id.
    pub(crate) birth: u64,
    pub(crate) place: Place,
    pub(crate) head_len: u32,
    /// Octets of the body in the record.
    pub(crate) body_len: u32,
    pub(crate) has_file: bool,
    pub(crate) rows: Rows,
}

/// What becomes of a segment when nothing in it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its file is used again or removed.
    Free,
    /// It is damaged and `spool.corrupt` says to move it away or remove it: emptied at once.
    Discard,
}

/// What is known of a segment.
#[derive(Debug)]
pub(crate) struct SegmentState {
    pub(crate) segment: Arc<Segment>,
    /// Where its records end.
    pub(crate) used: u64,
    /// Octets of commits and changes that count.
    pub(crate) live: u64,
    /// End records for commits in other segments: how many per segment.
    pub(crate) ends: HashMap<u32, u32>,
    /// Nothing is written to it any more.
    pub(crate) is_closed: bool,
    /// It may hold older copies of records that were moved; until it is gone, end records must
    /// stay, or a crash could bring such a copy back to life.
    pub(crate) is_superseded: bool,
    /// A write or sync failed in it; its file is not used again.
    pub(crate) is_distrusted: bool,
    /// Compaction could not read all of it; it is left alone.
    pub(crate) is_stuck: bool,
    pub(crate) fate: Fate,
}

impl SegmentState {
    pub(crate) fn new(segment: Arc<Segment>) -> Self {
        Self {
            segment,
            used: 0,
            live: 0,
            ends: HashMap::new(),
            is_closed: false,
            is_superseded: false,
            is_distrusted: false,
            is_stuck: false,
            fate: Fate::Free,
        }
    }
}

/// Everything in memory.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) messages: HashMap<TransactionId, Message>,
    /// Body files of the messages that have one, by birth.
    pub(crate) files: HashMap<u64, BodyName>,
    /// How many messages, or unconfirmed commit records not yet ended, need a body file.
    file_users: HashMap<BodyName, u32>,
    /// Rows added after their commit record was written, by birth and number, with the record that
    /// added them. Moving the commit record folds them in.
    pub(crate) added: HashMap<(u64, QueueId), Place>,
    pub(crate) segments: BTreeMap<u32, SegmentState>,
    /// A closed segment has lost something: compaction should look.
    pub(crate) is_compaction_due: bool,
}

impl Index {
    /// Adds a message; its segment must be known.
    pub(crate) fn insert(
        &mut self,
        transaction: TransactionId,
        message: Message,
        file: Option<BodyName>,
    ) {
        self.add_live(message.place);
        for row in message.rows.as_slice() {
            self.add_live(row.change);
        }
        if let Some(name) = file {
            self.files.insert(message.birth, name);
            self.use_file(name);
        }
        self.messages.insert(transaction, message);
    }

    /// Adds a row to a message. `false` when the message has ended meanwhile.
    pub(crate) fn add_row(
        &mut self,
        transaction: TransactionId,
        birth: u64,
        queue: QueueId,
        place: Place,
    ) -> bool {
        let Some(message) = self.messages.get_mut(&transaction) else { return false };
        if message.birth != birth {
            return false;
        }
        message.rows.push(Row { queue, change: Place::NOWHERE });
        self.note_added(birth, queue, place);
        true
    }

    /// Notes where the record is that added a row.
    pub(crate) fn note_added(&mut self, birth: u64, queue: QueueId, place: Place) {
        self.add_live(place);
        if let Some(old) = self.added.insert((birth, queue), place) {
            self.drop_live(old);
        }
    }

    /// Notes a row's new state. `false` when the row has ended meanwhile.
    pub(crate) fn change(
        &mut self,
        transaction: TransactionId,
        birth: u64,
        queue: QueueId,
        place: Place,
    ) -> bool {
        let Some(message) = self.messages.get_mut(&transaction) else { return false };
        if message.birth != birth {
            return false;
        }
        let Some(row) = message.rows.find(queue) else { return false };
        let old = std::mem::replace(&mut row.change, place);
        self.add_live(place);
        self.drop_live(old);
        true
    }

    /// Ends a row or all; gives the body file that is no longer needed.
    pub(crate) fn end(
        &mut self,
        transaction: TransactionId,
        birth: u64,
        queue: QueueId,
    ) -> Option<BodyName> {
        let MapEntry::Occupied(mut entry) = self.messages.entry(transaction) else { return None };
        let message = entry.get_mut();
        if message.birth != birth {
            return None;
        }
        let mut dropped = Vec::new();
        if queue == ALL_ROWS {
            for row in message.rows.as_slice() {
                dropped.push(row.change);
                dropped.extend(self.added.remove(&(birth, row.queue)));
            }
            message.rows = Rows::Many(Vec::new());
        } else {
            dropped.push(message.rows.remove(queue)?.change);
            dropped.extend(self.added.remove(&(birth, queue)));
        }
        let mut file = None;
        if message.rows.as_slice().is_empty() {
            let message = entry.remove();
            dropped.push(message.place);
            if message.has_file {
                file = self.files.remove(&birth);
                file = file.filter(|name| self.release_file(*name));
            }
        }
        for place in dropped {
            self.drop_live(place);
        }
        file
    }

    /// Notes that one more commit record names a body file.
    pub(crate) fn use_file(&mut self, name: BodyName) {
        *self.file_users.entry(name).or_default() += 1;
    }

    /// Notes that one of them has ended; whether it was the last.
    pub(crate) fn release_file(&mut self, name: BodyName) -> bool {
        let Some(users) = self.file_users.get_mut(&name) else { return true };
        *users -= 1;
        let is_last = *users == 0;
        if is_last {
            self.file_users.remove(&name);
        }
        is_last
    }

    /// Notes an end record written to `segment` for a commit in `target`.
    pub(crate) fn note_end(&mut self, segment: u32, target: u32) {
        // Both would go together: such a record is never needed once the segment is empty.
        if segment != target
            && let Some(state) = self.segments.get_mut(&segment)
        {
            *state.ends.entry(target).or_default() += 1;
        }
    }

    /// Puts a message at its new place, if it is still at `from` with these rows.
    pub(crate) fn move_commit(
        &mut self,
        transaction: TransactionId,
        from: &Message,
        place: Place,
        head_len: u32,
    ) {
        let Some(message) = self.messages.get_mut(&transaction) else { return };
        if message != from {
            return;
        }
        message.place = place;
        message.head_len = head_len;
        let mut dropped = vec![from.place];
        let rows = match &mut message.rows {
            Rows::One(row) => std::slice::from_mut(row),
            Rows::Many(rows) => &mut rows[..],
        };
        for row in rows {
            dropped.push(std::mem::take(&mut row.change));
            dropped.extend(self.added.remove(&(from.birth, row.queue)));
        }
        self.add_live(place);
        for place in dropped {
            self.drop_live(place);
        }
        if let Some(state) = self.segments.get_mut(&from.place.segment) {
            state.is_superseded = true;
        }
    }

    fn add_live(&mut self, place: Place) {
        if let Some(state) = self.segments.get_mut(&place.segment) {
            state.live += u64::from(place.len);
        }
    }

    fn drop_live(&mut self, place: Place) {
        if let Some(state) = self.segments.get_mut(&place.segment) {
            state.live = state.live.saturating_sub(u64::from(place.len));
            self.is_compaction_due |= state.is_closed;
        }
    }

    /// Whether an end record in segment `within`, for a commit in `target`, must outlive it.
    pub(crate) fn is_end_needed(&self, within: u32, target: u32) -> bool {
        target != within
            && (self.segments.contains_key(&target)
                || self.segments.iter().any(|(id, state)| *id != within && state.is_superseded))
    }

    /// Octets of end records in a segment that are still needed.
    fn needed_ends(&self, state: &SegmentState, keep_all: bool) -> u64 {
        let count: u64 = state
            .ends
            .iter()
            .filter(|(target, _)| keep_all || self.segments.contains_key(target))
            .map(|(_, count)| u64::from(*count))
            .sum();
        count * record_len(END_HEAD_LEN as u64, 0)
    }

    /// The closed segment that should be emptied next: first those that must go for safety, then
    /// the emptiest below `limit` percent. `smallest` is what a segment is at least taken to hold,
    /// so that the short segments of frequent restarts are put together.
    pub(crate) fn candidate(&self, limit: u8, smallest: u64) -> Option<u32> {
        let keep_all = self.segments.values().any(|state| state.is_superseded);
        let mut best: Option<(u64, u32)> = None;
        for (id, state) in &self.segments {
            if !state.is_closed || state.is_stuck {
                continue;
            }
            if state.is_superseded || state.fate == Fate::Discard {
                return Some(*id);
            }
            let needed = state.live + self.needed_ends(state, keep_all);
            let used = state.used.max(smallest).max(1);
            let percent = needed * 100 / used;
            if percent < u64::from(limit) && best.is_none_or(|(lowest, _)| percent < lowest) {
                best = Some((percent, *id));
            }
        }
        best.map(|(_, id)| id)
    }

    /// Whether a closed segment holds nothing that is needed.
    pub(crate) fn is_empty_segment(&self, id: u32) -> bool {
        let keep_all =
            self.segments.iter().any(|(other, state)| *other != id && state.is_superseded);
        self.segments
            .get(&id)
            .is_some_and(|state| state.live == 0 && self.needed_ends(state, keep_all) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_one_row_stays_small() {
        let len = size_of::<(TransactionId, Message)>();
        // A hash table is between 7/16 and 7/8 full and has one more octet per slot.
        assert!(len <= 80, "{len}");
    }
}
