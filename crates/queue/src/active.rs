//! The active queue: rows filed so that what may not go costs nothing.
//!
//! - A *lane* (sub-queue) holds the rows that agree in every policy field, first in, first out.
//! - A *class* holds the lanes that the policies treat alike: those counted by the same entries and
//!   with the same source addresses left by the suspensions. Its lanes take turns.
//! - Classes that nothing is known to stop stand in the *ready* ring and take turns too. A class
//!   that an entry stopped waits at that entry (one for each source address it could use) and is
//!   not looked at before one of them has room.
//!
//! A lane without a usable source address is in no class. So the pickup touches what may go, and
//! what it finds stopped it touches once until the reason is gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mta_types::Timestamp;
use smallvec::SmallVec;

use crate::message::Priority;
use crate::pattern::Pattern;
use crate::policy::PerField;
use crate::policy::entry::{Effective, EntryKey, Ticket};
use crate::ring::{Link, Links, Node, Ring, Slab};
use crate::rules::Rules;
use crate::suspend::{Usable, concerns};
use crate::symbol::{Names, Symbol, Values};
use crate::table::Table;

/// Source addresses to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidates {
    pub(crate) ips: Box<[Symbol]>,
    pub(crate) ordered: bool,
}

/// Rows that agree in every policy field.
#[derive(Debug)]
pub(crate) struct Lane {
    /// All but the source address.
    pub(crate) values: Values,
    pub(crate) candidates: Arc<Candidates>,
    /// Whether suspensions take away some or all of the candidates.
    restricted: bool,
    /// `None` while suspended.
    class: Option<Node>,
    /// Waiting rows by priority.
    rows: [Ring; 2],
    /// Place in the class by priority; in use while `rows` has some.
    links: [Link; 2],
    /// Rows being sent.
    sending: u32,
}

/// Lanes that the policies treat alike.
#[derive(Debug)]
struct Class {
    key: Arc<ClassKey>,
    /// Lanes with waiting rows by priority.
    lanes: [Ring; 2],
    /// Place in the ready ring by priority; in use while `lanes` has some and no ticket is held.
    links: [Link; 2],
    /// Lanes that belong here, with and without waiting rows.
    members: u32,
    /// Where the class waits.
    tickets: SmallVec<[Ticket; 2]>,
    /// The entry that woke it, until it has been looked at.
    woken_by: Option<Node>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ClassKey {
    candidates: Arc<Candidates>,
    entries: Box<[EntryKey]>,
}

/// The active queue.
#[derive(Debug, Default)]
pub(crate) struct Active {
    lanes: Slab<Lane>,
    lane_keys: HashMap<(Values, Arc<Candidates>), Node>,
    classes: Slab<Class>,
    class_keys: HashMap<Arc<ClassKey>, Node>,
    candidates: HashSet<Arc<Candidates>>,
    ready: [Ring; 2],
    /// Classes passed over because an entry was used up; total.
    pub(crate) skips: u64,
}

/// A row that may go.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) row: Node,
    pub(crate) localip: Option<Symbol>,
    /// Entries that count it.
    pub(crate) charges: Charges,
}

/// Entries that count one row.
pub(crate) type Charges = SmallVec<[Node; 4]>;

impl Active {
    /// The lane of these values, made if need be. Takes over the references to the names. The
    /// caller files a row in it at once.
    pub(crate) fn open_lane(
        &mut self,
        values: Values,
        candidates: Candidates,
        rules: &mut Rules,
        now: Timestamp,
    ) -> Node {
        let candidates = self.share_candidates(candidates, &mut rules.names);
        let key = (values, candidates);
        if let Some(lane) = self.lane_keys.get(&key) {
            rules.names.release_all(&values);
            return *lane;
        }
        let lane = self.lanes.insert(Lane {
            values,
            candidates: Arc::clone(&key.1),
            restricted: false,
            class: None,
            rows: Default::default(),
            links: Default::default(),
            sending: 0,
        });
        self.lane_keys.insert(key, lane);
        self.file_lane(lane, rules, now);
        lane
    }

    pub(crate) fn lane(&self, lane: Node) -> &Lane {
        &self.lanes[lane]
    }

    /// Files a row at the end of its lane.
    pub(crate) fn push(
        &mut self,
        table: &mut Table,
        lane: Node,
        row: Node,
        rules: &mut Rules,
        now: Timestamp,
    ) {
        let priority = table[row].priority;
        let found = &mut self.lanes[lane];
        found.rows[priority as usize].push_back(table, row);
        if found.rows[priority as usize].len() == 1
            && let Some(class) = found.class
        {
            self.join(class, lane, priority, rules, now);
        }
    }

    /// Takes a waiting row out of its lane.
    pub(crate) fn remove(
        &mut self,
        table: &mut Table,
        lane: Node,
        row: Node,
        rules: &mut Rules,
        now: Timestamp,
    ) {
        self.take(table, lane, row, rules, now);
        self.close_lane(lane, rules, now);
    }

    /// A row of that lane is no longer being sent.
    pub(crate) fn sent(&mut self, lane: Node, charges: &[Node], rules: &mut Rules, now: Timestamp) {
        for entry in charges {
            rules.entries.discharge(*entry);
        }
        for entry in charges {
            self.wake(*entry, rules, now);
            rules.entries.tidy(*entry, now, &mut rules.names);
        }
        let found = &mut self.lanes[lane];
        found.sending = found.sending.saturating_sub(1);
        self.close_lane(lane, rules, now);
    }

    /// Chooses the next row, counts it, and takes it out of its lane. `random` gives a number for
    /// a row's choice among its source addresses.
    pub(crate) fn pick(
        &mut self,
        table: &mut Table,
        rules: &mut Rules,
        random: impl Fn(&Table, Node) -> u64,
        now: Timestamp,
    ) -> Option<Chosen> {
        for priority in Priority::ALL.into_iter().rev() {
            let p = priority as usize;
            while let Some(class) = self.ready[p].head() {
                // A class in the ready ring has a lane, and a lane in a class has a row.
                let lane = self.classes[class].lanes[p].head().expect("a ready class has a lane");
                let row = self.lanes[lane].rows[p].head().expect("a filed lane has a row");
                match self.try_class(class, random(table, row), rules, now) {
                    Ok((localip, charges)) => {
                        self.lanes[lane].sending += 1;
                        self.take(table, lane, row, rules, now);
                        if self.lanes[lane].rows[p].head().is_some() {
                            let lanes = &mut self.classes[class].lanes[p];
                            lanes.rotate(&mut LaneLinks(&mut self.lanes, priority));
                        }
                        if self.ready[p].head() == Some(class) {
                            self.ready[p].rotate(&mut ClassLinks(&mut self.classes, priority));
                        }
                        self.looked_at(class, rules, now);
                        return Some(Chosen { row, localip, charges });
                    }
                    Err(stopped_by) => {
                        self.skips += 1;
                        self.park(class, &stopped_by, rules, now);
                        self.looked_at(class, rules, now);
                    }
                }
            }
        }
        None
    }

    /// Lets a class that waits at `entry` go on, when there is one and it has room.
    pub(crate) fn wake(&mut self, entry: Node, rules: &mut Rules, now: Timestamp) {
        if let Some(class) = rules.entries.wake(entry, now) {
            self.unpark(class, rules, now);
            self.classes[class].woken_by = Some(entry);
            self.enqueue(class);
        }
    }

    /// Looks again at the lanes that a new suspension is about.
    pub(crate) fn suspend(
        &mut self,
        matches: &PerField<Pattern>,
        rules: &mut Rules,
        now: Timestamp,
    ) {
        let concerned = |lane: &Lane| concerns(matches, &lane.values, &rules.names, &rules.lists);
        let lanes: Vec<_> =
            self.lanes.iter().filter(|(_, lane)| concerned(lane)).map(|(node, _)| node).collect();
        for lane in lanes {
            self.file_lane(lane, rules, now);
        }
    }

    /// Looks again at the lanes that suspensions restrict, after one of those ended.
    pub(crate) fn resume(&mut self, rules: &mut Rules, now: Timestamp) {
        let restricted = self.lanes.iter().filter(|(_, lane)| lane.restricted);
        let lanes: Vec<_> = restricted.map(|(node, _)| node).collect();
        for lane in lanes {
            self.file_lane(lane, rules, now);
        }
    }

    /// Takes every lane out of its class: the rules are about to change altogether.
    pub(crate) fn unfile_all(&mut self, rules: &mut Rules, now: Timestamp) {
        let lanes: Vec<_> = self.lanes.nodes().collect();
        for lane in lanes {
            self.unfile_lane(lane, rules, now);
        }
    }

    /// Files every lane anew, after [`Active::unfile_all`].
    pub(crate) fn file_all(&mut self, rules: &mut Rules, now: Timestamp) {
        let lanes: Vec<_> = self.lanes.nodes().collect();
        for lane in lanes {
            self.file_lane(lane, rules, now);
        }
    }

    /// Rows in lanes that neither a suspension nor an entry is known to stop.
    pub(crate) fn pending(&self) -> usize {
        let filed = self.lanes.iter().filter(|(_, lane)| {
            lane.class.is_some_and(|class| self.classes[class].tickets.is_empty())
        });
        filed.map(|(_, lane)| lane.rows[0].len() + lane.rows[1].len()).sum()
    }

    pub(crate) fn lanes_len(&self) -> usize {
        self.lanes.len()
    }

    /// Asks every counter whether a row of the class may go; counts it when all let it.
    ///
    /// # Errors
    ///
    /// For each source address the entry that stopped it.
    fn try_class(
        &self,
        class: Node,
        random: u64,
        rules: &mut Rules,
        now: Timestamp,
    ) -> Result<(Option<Symbol>, Charges), SmallVec<[Node; 2]>> {
        let key = Arc::clone(&self.classes[class].key);
        let mut stopped_by = SmallVec::new();
        let mut order = Order::new(&key.candidates, random);
        while let Some(localip) = order.next() {
            match try_entries(&key.entries, localip, rules, now) {
                Ok(charges) => return Ok((localip, charges)),
                Err(entry) if stopped_by.contains(&entry) => {}
                Err(entry) => stopped_by.push(entry),
            }
        }
        Err(stopped_by)
    }

    /// Takes a waiting row out of its lane, which stays for the caller to use.
    pub(crate) fn take(
        &mut self,
        table: &mut Table,
        lane: Node,
        row: Node,
        rules: &mut Rules,
        now: Timestamp,
    ) {
        let priority = table[row].priority;
        let found = &mut self.lanes[lane];
        found.rows[priority as usize].remove(table, row);
        if found.rows[priority as usize].is_empty()
            && let Some(class) = found.class
        {
            self.leave(class, lane, priority, rules, now);
        }
    }

    /// Puts a lane where its values and the suspensions want it.
    fn file_lane(&mut self, lane: Node, rules: &mut Rules, now: Timestamp) {
        let found = &self.lanes[lane];
        let candidates = &found.candidates;
        let usable =
            rules.suspends.usable(&found.values, &candidates.ips, &rules.names, &rules.lists);
        let restricted = usable != Usable::All;
        let left = match usable {
            Usable::None => None,
            Usable::All => Some(Arc::clone(candidates)),
            Usable::Some(ips) => {
                let left = Candidates { ips: ips.into(), ordered: candidates.ordered };
                for ip in &left.ips {
                    rules.names.retain(*ip);
                }
                Some(self.share_candidates(left, &mut rules.names))
            }
        };
        let class = left.map(|left| self.open_class(lane, left, rules));
        self.lanes[lane].restricted = restricted;
        if self.lanes[lane].class == class {
            return;
        }
        if let Some(class) = class {
            // Counted before the old class is left, and before anything can close the new one.
            self.classes[class].members += 1;
        }
        self.unfile_lane(lane, rules, now);
        self.lanes[lane].class = class;
        let Some(class) = class else { return };
        for priority in Priority::ALL {
            if !self.lanes[lane].rows[priority as usize].is_empty() {
                self.join(class, lane, priority, rules, now);
            }
        }
    }

    fn unfile_lane(&mut self, lane: Node, rules: &mut Rules, now: Timestamp) {
        let Some(class) = self.lanes[lane].class.take() else { return };
        for priority in Priority::ALL {
            if !self.lanes[lane].rows[priority as usize].is_empty() {
                self.leave(class, lane, priority, rules, now);
            }
        }
        self.classes[class].members -= 1;
        self.close_class(class, rules);
    }

    /// Forgets a lane that has no rows.
    fn close_lane(&mut self, lane: Node, rules: &mut Rules, now: Timestamp) {
        let found = &self.lanes[lane];
        if found.sending > 0 || !found.rows.iter().all(Ring::is_empty) {
            return;
        }
        self.unfile_lane(lane, rules, now);
        let Some(gone) = self.lanes.remove(lane) else { return };
        let key = (gone.values, gone.candidates);
        self.lane_keys.remove(&key);
        rules.names.release_all(&key.0);
        self.drop_candidates(key.1, &mut rules.names);
    }

    /// The class of a lane with these candidates, made if need be. The caller makes the lane a
    /// member, unless it is one.
    fn open_class(&mut self, lane: Node, candidates: Arc<Candidates>, rules: &mut Rules) -> Node {
        let entries = rules.policies.keys(&self.lanes[lane].values, &rules.names, &rules.lists);
        let key = Arc::new(ClassKey { candidates, entries });
        if let Some(class) = self.class_keys.get(&key) {
            return *class;
        }
        for entry in &key.entries {
            rules.names.retain_all(&entry.values);
        }
        let class = self.classes.insert(Class {
            key: Arc::clone(&key),
            lanes: Default::default(),
            links: Default::default(),
            members: 0,
            tickets: SmallVec::new(),
            woken_by: None,
        });
        self.class_keys.insert(key, class);
        class
    }

    /// Forgets a class without members.
    fn close_class(&mut self, class: Node, rules: &mut Rules) {
        if self.classes[class].members > 0 {
            return;
        }
        let Some(gone) = self.classes.remove(class) else { return };
        self.class_keys.remove(&gone.key);
        for entry in &gone.key.entries {
            rules.names.release_all(&entry.values);
        }
        let candidates = Arc::clone(&gone.key.candidates);
        drop(gone);
        self.drop_candidates(candidates, &mut rules.names);
    }

    /// A lane of the class got its first row of that priority.
    fn join(
        &mut self,
        class: Node,
        lane: Node,
        priority: Priority,
        rules: &mut Rules,
        now: Timestamp,
    ) {
        let p = priority as usize;
        let found = &mut self.classes[class];
        found.lanes[p].push_back(&mut LaneLinks(&mut self.lanes, priority), lane);
        if found.lanes[p].len() > 1 {
            return;
        }
        if found.tickets.is_empty() {
            self.ready[p].push_back(&mut ClassLinks(&mut self.classes, priority), class);
        } else if priority == Priority::High {
            // What waited among the ordinary waits among the urgent from now on.
            let entries: SmallVec<[Node; 2]> = found.tickets.iter().map(|t| t.entry).collect();
            for ticket in std::mem::take(&mut found.tickets) {
                rules.entries.leave(ticket);
            }
            let wait = |entry: &Node| rules.entries.wait(*entry, class, 0, now);
            self.classes[class].tickets = entries.iter().map(wait).collect();
        }
    }

    /// A lane of the class lost its last row of that priority.
    fn leave(
        &mut self,
        class: Node,
        lane: Node,
        priority: Priority,
        rules: &mut Rules,
        now: Timestamp,
    ) {
        let p = priority as usize;
        let found = &mut self.classes[class];
        found.lanes[p].remove(&mut LaneLinks(&mut self.lanes, priority), lane);
        if !found.lanes[p].is_empty() {
            return;
        }
        let idle = found.lanes.iter().all(Ring::is_empty);
        if found.tickets.is_empty() {
            self.ready[p].remove(&mut ClassLinks(&mut self.classes, priority), class);
        } else if idle {
            self.unpark(class, rules, now);
        }
        if idle {
            self.looked_at(class, rules, now);
        }
    }

    /// Lets a class wait at the entries that stopped it.
    fn park(&mut self, class: Node, stopped_by: &[Node], rules: &mut Rules, now: Timestamp) {
        for priority in Priority::ALL {
            let p = priority as usize;
            if !self.classes[class].lanes[p].is_empty() {
                self.ready[p].remove(&mut ClassLinks(&mut self.classes, priority), class);
            }
        }
        let rank = u8::from(self.classes[class].lanes[Priority::High as usize].is_empty());
        let wait = |entry: &Node| rules.entries.wait(*entry, class, rank, now);
        self.classes[class].tickets = stopped_by.iter().map(wait).collect();
    }

    /// Takes a class away from the entries it waits at; it is in no ring then.
    fn unpark(&mut self, class: Node, rules: &mut Rules, now: Timestamp) {
        for ticket in std::mem::take(&mut self.classes[class].tickets) {
            rules.entries.leave(ticket);
            // The entry that wakes a class counts it as woken, so this never forgets that one.
            rules.entries.tidy(ticket.entry, now, &mut rules.names);
        }
    }

    /// Puts a class that waits nowhere into the ready rings.
    fn enqueue(&mut self, class: Node) {
        for priority in Priority::ALL {
            let p = priority as usize;
            if !self.classes[class].lanes[p].is_empty() {
                self.ready[p].push_back(&mut ClassLinks(&mut self.classes, priority), class);
            }
        }
    }

    /// The class has used, or could not use, the room it was woken for: now the next may try.
    fn looked_at(&mut self, class: Node, rules: &mut Rules, now: Timestamp) {
        if let Some(entry) = self.classes[class].woken_by.take() {
            rules.entries.looked_at(entry);
            self.wake(entry, rules, now);
            rules.entries.tidy(entry, now, &mut rules.names);
        }
    }

    /// The one copy of these candidates. Takes over the references to the names.
    fn share_candidates(&mut self, candidates: Candidates, names: &mut Names) -> Arc<Candidates> {
        if let Some(shared) = self.candidates.get(&candidates) {
            for ip in &candidates.ips {
                names.release(*ip);
            }
            return Arc::clone(shared);
        }
        let shared = Arc::new(candidates);
        self.candidates.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets the candidates when nobody else has them.
    fn drop_candidates(&mut self, candidates: Arc<Candidates>, names: &mut Names) {
        // One for the set, one in hand.
        if Arc::strong_count(&candidates) == 2 {
            self.candidates.remove(&candidates);
            for ip in &candidates.ips {
                names.release(*ip);
            }
        }
    }
}

/// Counts one row in every entry, or says which one stops it.
fn try_entries(
    keys: &[EntryKey],
    localip: Option<Symbol>,
    rules: &mut Rules,
    now: Timestamp,
) -> Result<Charges, Node> {
    let mut open = SmallVec::<[(EntryKey, Result<Node, Effective>); 4]>::new();
    for key in keys {
        let key = rules.policies.with_localip(*key, localip, &rules.names, &rules.lists);
        let stop = match rules.entries.find(&key) {
            Some(node) => {
                let entry = rules.entries.entry(node);
                if entry.stopped(now).is_some() {
                    return Err(node);
                }
                open.push((key, Ok(node)));
                entry.limits.stop
            }
            None => {
                // Nothing is counted there yet, and every limit lets at least one go.
                let limits = rules.policies.limits(&key, rules.hosts, &rules.names, &rules.lists);
                open.push((key, Err(limits)));
                limits.stop
            }
        };
        if stop {
            break;
        }
    }
    let mut charges = Charges::new();
    for (key, entry) in open {
        let node = match entry {
            Ok(node) => node,
            Err(limits) => rules.entries.open(key, limits, &mut rules.names),
        };
        rules.entries.charge(node, now);
        charges.push(node);
    }
    Ok(charges)
}

/// The order in which source addresses are tried: as they stand, or shuffled. Without candidates
/// there is one try without an address.
struct Order<'a> {
    candidates: &'a Candidates,
    random: u64,
    tried: usize,
    shuffled: SmallVec<[Symbol; 8]>,
}

impl<'a> Order<'a> {
    fn new(candidates: &'a Candidates, random: u64) -> Self {
        let shuffled = if candidates.ordered {
            SmallVec::new()
        } else {
            SmallVec::from_slice(&candidates.ips)
        };
        Self { candidates, random, tried: 0, shuffled }
    }

    fn next(&mut self) -> Option<Option<Symbol>> {
        let at = self.tried;
        self.tried += 1;
        let ips = &self.candidates.ips;
        if ips.is_empty() {
            return (at == 0).then_some(None);
        }
        if self.candidates.ordered {
            return ips.get(at).map(|ip| Some(*ip));
        }
        // Shuffled only as far as it is needed: mostly the first one may be used.
        let left = self.shuffled.len().checked_sub(at).filter(|left| *left > 0)?;
        self.random = mix(self.random);
        self.shuffled.swap(at, at + (self.random % left as u64) as usize);
        Some(Some(self.shuffled[at]))
    }
}

/// A number that has nothing to do with `number` but is always the same for it.
pub(crate) const fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

struct LaneLinks<'a>(&'a mut Slab<Lane>, Priority);

impl Links for LaneLinks<'_> {
    fn link(&mut self, node: Node) -> &mut Link {
        &mut self.0[node].links[self.1 as usize]
    }
}

struct ClassLinks<'a>(&'a mut Slab<Class>, Priority);

impl Links for ClassLinks<'_> {
    fn link(&mut self, node: Node) -> &mut Link {
        &mut self.0[node].links[self.1 as usize]
    }
}

#[cfg(test)]
mod check;
