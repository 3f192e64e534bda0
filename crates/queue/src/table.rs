//! The rows, numbered, and their index by id.
//!
//! Rows stand in blocks, so that a growing queue never copies what it has while the daemon holds
//! the lock; the index is a tree for the same reason. A block without rows gives its memory back.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use mta_types::{Address, MessageId, QueueId, Timestamp, TransactionId};

use crate::condition::{Condition, IdMatch};
use crate::message::{DsnNotify, Priority, Transaction};
use crate::metadata::{Metadata, put_length, take_length};
use crate::ring::{Link, Links, Node};
use crate::state::State;
use crate::symbol::Symbol;

/// One row. There are millions: every octet counts (see `tests/memory.rs`).
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) transaction: Arc<Transaction>,
    /// Recipient's local part, metadata, reason of the last failure.
    pub(crate) texts: Texts,
    /// What few rows have.
    pub(crate) extras: Option<Box<Extras>>,
    /// When it is due, was due, or will be once it is thawed.
    pub(crate) due: Timestamp,
    pub(crate) transportid: Symbol,
    /// The recipient's domain in lower case.
    pub(crate) domain: Symbol,
    pub(crate) jobid: Option<Symbol>,
    pub(crate) tenantid: Option<Symbol>,
    /// The sub-queue; in ACTIVE and SENDING, and only then.
    pub(crate) lane: Option<Node>,
    /// Place in the sub-queue; in ACTIVE.
    pub(crate) link: Link,
    pub(crate) queue: QueueId,
    pub(crate) retrycount: u32,
    pub(crate) state: State,
    pub(crate) priority: Priority,
    pub(crate) hold: bool,
    pub(crate) notify: DsnNotify,
}

/// What few rows have.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// The sender of this copy, where it was rewritten.
    pub(crate) sender: Option<Address>,
    /// The recipient, where its domain is not in lower case and so not what `Row::domain` says.
    pub(crate) recipient: Option<Address>,
    pub(crate) orcpt: Option<Box<str>>,
    pub(crate) tags: Box<[Symbol]>,
    pub(crate) quotas: Box<[Symbol]>,
}

impl Row {
    pub(crate) fn id(&self) -> MessageId {
        MessageId::new(self.transaction.id(), self.queue)
    }

    pub(crate) fn quotas(&self) -> &[Symbol] {
        self.extras.as_ref().map_or(&[], |extras| &extras.quotas)
    }

    pub(crate) fn tags(&self) -> &[Symbol] {
        self.extras.as_ref().map_or(&[], |extras| &extras.tags)
    }

    /// Every name that the row holds a reference to.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        [Some(self.transportid), Some(self.domain), self.jobid, self.tenantid]
            .into_iter()
            .flatten()
            .chain(self.quotas().iter().copied())
            .chain(self.tags().iter().copied())
    }
}

/// A row's own texts in one allocation: the local part's length and one more than the reason's as
/// variable-length numbers, then both, then the packed metadata.
#[derive(Clone, Debug)]
pub(crate) struct Texts(Box<[u8]>);

impl Texts {
    pub(crate) fn new(local: &str, reason: Option<&str>, metadata: &[u8]) -> Self {
        let reason_len = reason.map_or(0, |reason| reason.len() + 1);
        let len = local.len() + reason_len + metadata.len() + 4;
        let mut packed = Vec::with_capacity(len);
        put_length(&mut packed, local.len());
        put_length(&mut packed, reason_len);
        packed.extend_from_slice(local.as_bytes());
        packed.extend_from_slice(reason.unwrap_or_default().as_bytes());
        packed.extend_from_slice(metadata);
        Self(packed.into_boxed_slice())
    }

    /// Local part, reason, packed metadata.
    pub(crate) fn parts(&self) -> (&str, Option<&str>, &[u8]) {
        self.split().unwrap_or_default()
    }

    fn split(&self) -> Option<(&str, Option<&str>, &[u8])> {
        let mut rest = &*self.0;
        let local = take_length(&mut rest)?;
        let reason_len = take_length(&mut rest)?;
        let (local, rest) = rest.split_at_checked(local)?;
        let (reason, metadata) = rest.split_at_checked(reason_len.saturating_sub(1))?;
        // Only whole strings are ever packed.
        let reason = std::str::from_utf8(reason).ok()?;
        Some((std::str::from_utf8(local).ok()?, (reason_len > 0).then_some(reason), metadata))
    }

    pub(crate) fn set_local(&mut self, local: &str) {
        let (_, reason, metadata) = self.parts();
        *self = Self::new(local, reason, metadata);
    }

    pub(crate) fn set_reason(&mut self, reason: Option<&str>) {
        let (local, _, metadata) = self.parts();
        *self = Self::new(local, reason, metadata);
    }

    pub(crate) fn set_metadata(&mut self, metadata: &Metadata) {
        let (local, reason, _) = self.parts();
        *self = Self::new(local, reason, metadata.packed());
    }
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    blocks: Vec<Block>,
    /// Numbers that were given back, and those of the newest block.
    free: Vec<Node>,
    ids: BTreeMap<MessageId, Node>,
    /// Rows by state, in the order of `State::ALL`.
    counts: [usize; State::ALL.len()],
    /// Rows in ACTIVE by priority.
    active: [usize; 2],
}

#[derive(Debug, Default)]
struct Block {
    /// `BLOCK` places, or none when no row is in here.
    rows: Vec<Option<Row>>,
    used: usize,
}

impl Table {
    /// Adds a row; gives it back when its id is taken or the numbers are used up.
    pub(crate) fn insert(&mut self, row: Row) -> Result<Node, Row> {
        let std::collections::btree_map::Entry::Vacant(entry) = self.ids.entry(row.id()) else {
            return Err(row);
        };
        if self.free.is_empty() {
            let first = self.blocks.len() * BLOCK;
            let numbers = (first..first + BLOCK).rev().map_while(Node::from_index);
            self.free.extend(numbers);
            self.blocks.push(Block::default());
        }
        let Some(node) = self.free.pop() else { return Err(row) };
        entry.insert(node);
        self.counts[row.state as usize] += 1;
        if row.state == State::Active {
            self.active[row.priority as usize] += 1;
        }
        let block = &mut self.blocks[node.index() / BLOCK];
        if block.rows.is_empty() {
            block.rows.resize_with(BLOCK, || None);
        }
        block.rows[node.index() % BLOCK] = Some(row);
        block.used += 1;
        Ok(node)
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, node: Node) -> Option<Row> {
        let block = self.blocks.get_mut(node.index() / BLOCK)?;
        let row = block.rows.get_mut(node.index() % BLOCK)?.take()?;
        block.used -= 1;
        if block.used == 0 {
            block.rows = Vec::new();
        }
        self.free.push(node);
        self.ids.remove(&row.id());
        self.counts[row.state as usize] -= 1;
        if row.state == State::Active {
            self.active[row.priority as usize] -= 1;
        }
        if self.ids.is_empty() {
            self.blocks = Vec::new();
            self.free = Vec::new();
        }
        Some(row)
    }

    /// Moves a row to another state and keeps the counts.
    pub(crate) fn set_state(&mut self, node: Node, state: State) {
        let row = &mut self[node];
        let (before, priority) = (row.state, row.priority as usize);
        row.state = state;
        self.counts[before as usize] -= 1;
        self.counts[state as usize] += 1;
        self.active[priority] -= usize::from(before == State::Active);
        self.active[priority] += usize::from(state == State::Active);
    }

    /// Changes a row's priority and keeps the counts.
    pub(crate) fn set_priority(&mut self, node: Node, priority: Priority) {
        let row = &mut self[node];
        let (before, active) = (row.priority, usize::from(row.state == State::Active));
        row.priority = priority;
        self.active[before as usize] -= active;
        self.active[priority as usize] += active;
    }

    pub(crate) fn find(&self, id: MessageId) -> Option<Node> {
        self.ids.get(&id).copied()
    }

    pub(crate) fn get(&self, node: Node) -> Option<&Row> {
        self.blocks.get(node.index() / BLOCK)?.rows.get(node.index() % BLOCK)?.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) const fn count(&self, state: State) -> usize {
        self.counts[state as usize]
    }

    pub(crate) const fn active_by_priority(&self) -> [usize; 2] {
        self.active
    }

    /// All rows of a transaction.
    pub(crate) fn transaction(&self, id: TransactionId) -> impl Iterator<Item = Node> {
        let all = MessageId::new(id, QueueId(0))..=MessageId::new(id, QueueId(u32::MAX));
        self.ids.range(all).map(|(_, node)| *node)
    }

    #[cfg(test)]
    pub(crate) const fn ids(&self) -> &BTreeMap<MessageId, Node> {
        &self.ids
    }

    fn places(&self) -> usize {
        self.blocks.len() * BLOCK
    }
}

// As for `Slab`: a number without a row is a breach of the queue's invariants.
impl Index<Node> for Table {
    type Output = Row;

    fn index(&self, node: Node) -> &Row {
        self.get(node).expect("the row is in the table")
    }
}

impl IndexMut<Node> for Table {
    fn index_mut(&mut self, node: Node) -> &mut Row {
        let block = self.blocks.get_mut(node.index() / BLOCK);
        block
            .and_then(|block| block.rows.get_mut(node.index() % BLOCK)?.as_mut())
            .expect("the row is in the table")
    }
}

impl Links for Table {
    fn link(&mut self, node: Node) -> &mut Link {
        &mut self[node].link
    }
}

/// A walk over the table in steps, between which rows may come and go: what stands still is seen
/// once, what moves or comes in between may be seen or not.
#[derive(Debug)]
pub(crate) enum Scan {
    /// Every place, from here on.
    Places(usize),
    /// The rows of these ids, from the last one on.
    Ids(Vec<IdMatch>),
    /// Over.
    Done,
}

impl Scan {
    /// Begins a walk over the rows that `condition` can be about.
    pub(crate) fn new(condition: &Condition) -> Self {
        let mut ids: Vec<_> = condition.ids.iter().copied().filter(|id| !id.exclude).collect();
        if ids.is_empty() {
            return Self::Places(0);
        }
        // A row is seen once, even when it is named twice or with its whole transaction.
        ids.sort_by_key(|id| (id.transaction, id.queue));
        ids.dedup_by(|later, earlier| {
            later.transaction == earlier.transaction
                && (earlier.queue.is_none() || later.queue == earlier.queue)
        });
        Self::Ids(ids)
    }

    /// The rows of the next `places` places (or, with ids, of some of them).
    pub(crate) fn step(&mut self, table: &Table, places: usize) -> Vec<Node> {
        let places = places.max(1);
        match self {
            Self::Done => Vec::new(),
            Self::Places(from) => {
                let to = from.saturating_add(places).min(table.places());
                let numbers = (*from..to).filter_map(Node::from_index);
                let nodes = numbers.filter(|node| table.get(*node).is_some()).collect();
                *self = if to >= table.places() { Self::Done } else { Self::Places(to) };
                nodes
            }
            Self::Ids(ids) => {
                let mut nodes = Vec::new();
                while nodes.len() < places {
                    let Some(id) = ids.pop() else {
                        *self = Self::Done;
                        break;
                    };
                    match id.queue {
                        Some(queue) => {
                            nodes.extend(table.find(MessageId::new(id.transaction, queue)));
                        }
                        None => nodes.extend(table.transaction(id.transaction)),
                    }
                }
                nodes
            }
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// Rows per block: large enough to be few, small enough that a nearly empty one wastes little.
const BLOCK: usize = 1024;
