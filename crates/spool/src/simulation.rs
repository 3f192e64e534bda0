//! Cuts the power thousands of times and counts messages.
//!
//! Each seed runs a spool on a simulated disk, step by step and without threads, until the power
//! fails at a random operation; then the spool is opened from what is left and compared with what
//! had been promised. Several failures follow each other on one disk, so that recovery itself is
//! cut off as well. What must hold:
//!
//! - a message whose commit was confirmed is there, octet for octet, with every row not ended;
//! - a row's state is the last confirmed one or a later one;
//! - a row whose end was confirmed does not come back;
//! - a message whose commit was not confirmed is there whole or not at all;
//! - nothing is there twice, and nothing that was never given.
//!
//! The last tests break a promise on purpose and see that the simulation notices.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use mta_types::{MessageId, QueueId, TransactionId};
use parking_lot::Mutex;

use crate::commit::{self, Committer};
use crate::compact;
use crate::completion::Completion;
use crate::config::Config;
use crate::disk::sim::{Faults, Lies, SimDisk, SimRandom};
use crate::keeper;
use crate::message::{Body, Commit, Durability, NewRow};
use crate::platform::{Event, Platform, SystemClock};
use crate::shared::Shared;
use crate::spool::Spool;

/// What a run is about.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    failures: u32,
    faults: Faults,
    lies: Lies,
    acknowledge_before_sync: bool,
}

impl Plan {
    const fn honest(seed: u64) -> Self {
        Self {
            seed,
            failures: 8,
            faults: Faults { write: 0, sync: 0, name: 0 },
            lies: Lies { sync: false, sync_dir: false },
            acknowledge_before_sync: false,
        }
    }
}

#[derive(Default)]
struct Model {
    messages: BTreeMap<TransactionId, ModelMessage>,
    created: u64,
}

struct ModelMessage {
    is_confirmed: bool,
    commit: Option<Completion>,
    /// The messages that this completion speaks for besides.
    set: Vec<TransactionId>,
    metadata: Vec<u8>,
    body: Vec<u8>,
    rows: BTreeMap<u32, ModelRow>,
    /// The highest number given to a row that was added.
    last: u32,
}

struct ModelRow {
    row: Vec<u8>,
    /// Every state given, oldest first; those before `confirmed` may not be seen any more.
    states: Vec<Vec<u8>>,
    confirmed: usize,
    end: End,
    /// Whether it must be there: it came with its message, or its addition was confirmed.
    is_owed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    Asked,
    Confirmed,
}

enum Waiting {
    Change(Completion, MessageId, usize),
    Add(Completion, MessageId),
    End(Completion, MessageId),
    EndAll(Completion, TransactionId),
}

struct Run {
    plan: Plan,
    random: SimRandom,
    model: Model,
    waiting: Vec<Waiting>,
    events: Arc<Mutex<Vec<Event>>>,
}

struct Open {
    spool: Spool,
    committer: Committer,
    shared: Arc<Shared>,
}

/// Numbers that show the runs did something.
#[derive(Default)]
struct Seen {
    failures: u64,
    recovered: u64,
    compacted: u64,
    confirmed: u64,
}

fn config() -> Config {
    Config {
        segment_bytes: 64 << 10,
        inline_bytes: 6 << 10,
        loader_threads: 1,
        compact_bytes_per_second: 0,
        compact_below_percent: 60,
        spare_segments: 2,
        ..Config::new("/spool")
    }
}

fn run(plan: Plan, seen: &mut Seen) -> Result<(), String> {
    let mut run = Run {
        plan,
        random: SimRandom::new(plan.seed),
        model: Model::default(),
        waiting: Vec::new(),
        events: Arc::default(),
    };
    let mut disk = SimDisk::new(run.random.next(), 64 << 20);
    disk.set_lies(plan.lies);
    // The first start makes the directories, which the simulated disk never forgets.
    for _ in 0..plan.failures {
        let reach = [20, 80, 250][run.random.below(3) as usize];
        disk.fail_after(1 + run.random.below(reach));
        if let Some(open) = run.open(&disk)? {
            disk.set_faults(plan.faults);
            seen.compacted += run.work(open, &disk);
        }
        seen.failures += 1;
        disk = disk.restart();
        run.waiting.clear();
    }
    let events: Vec<Event> = std::mem::take(&mut *run.events.lock());
    let Some(open) = run.open(&disk)? else { return Err("the last start failed".into()) };
    seen.recovered += run.model.messages.len() as u64;
    seen.confirmed += open.spool.stats().messages;
    let bad = events.iter().chain(&*run.events.lock()).find_map(|event| match event {
        // Without damage to the medium there is none to report.
        Event::SegmentDamaged { .. }
        | Event::MessageDamaged { .. }
        | Event::BodyMissing { .. }
        | Event::DuplicateTransaction { .. } => Some(format!("{event:?}")),
        _ => None,
    });
    bad.map_or(Ok(()), Err)
}

fn new_commit(
    transaction: TransactionId,
    metadata: &[u8],
    rows: &BTreeMap<u32, ModelRow>,
    body: Body,
) -> Commit {
    let rows = rows.iter().map(|(number, row)| NewRow {
        queue: QueueId(*number),
        row: row.row.clone().into(),
        state: row.states[0].clone().into(),
    });
    Commit { transaction, metadata: metadata.into(), rows: rows.collect(), body }
}

impl Run {
    fn platform(&mut self, disk: &SimDisk) -> Platform {
        let events = Arc::clone(&self.events);
        Platform {
            disk: Arc::new(disk.clone()),
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(Mutex::new(SimRandom::new(self.random.next()))),
            on_event: Arc::new(move |event| events.lock().push(event)),
        }
    }

    /// Opens the spool and compares. `None` when the power failed while it was opened.
    fn open(&mut self, disk: &SimDisk) -> Result<Option<Open>, String> {
        let platform = self.platform(disk);
        let mut found: HashMap<TransactionId, Found> = HashMap::new();
        let mut twice = None;
        let opened = Spool::open_stepped(config(), platform, &mut |message| {
            let rows = message
                .rows
                .iter()
                .map(|row| (row.queue.0, (row.row.to_vec(), row.state.to_vec())))
                .collect();
            let known =
                Found { metadata: message.metadata.to_vec(), rows, body_len: message.body_len };
            if found.insert(message.transaction, known).is_some() {
                twice = Some(message.transaction);
            }
        });
        if let Some(id) = twice {
            return Err(format!("{id} was loaded twice"));
        }
        let (spool, mut committer, shared) = match opened {
            Ok(opened) => opened,
            Err(_) if disk.is_down() => return Ok(None),
            Err(error) => return Err(format!("cannot open: {error:?}")),
        };
        committer.acknowledge_before_sync = self.plan.acknowledge_before_sync;
        self.compare(&spool, found, disk)?;
        Ok(Some(Open { spool, committer, shared }))
    }

    /// Compares what was loaded with what was promised, and takes it as the new truth.
    fn compare(
        &mut self,
        spool: &Spool,
        mut found: HashMap<TransactionId, Found>,
        disk: &SimDisk,
    ) -> Result<(), String> {
        let ids: Vec<TransactionId> = self.model.messages.keys().copied().collect();
        for id in ids {
            let Some(message) = self.model.messages.get_mut(&id) else { continue };
            let Some(loaded) = found.remove(&id) else {
                let is_owed = message.is_confirmed
                    && message.rows.values().any(|row| row.end == End::No && row.is_owed);
                if is_owed {
                    return Err(format!("confirmed message {id} is lost"));
                }
                self.model.messages.remove(&id);
                continue;
            };
            if loaded.metadata != message.metadata || loaded.body_len != message.body.len() as u64 {
                return Err(format!("message {id} has another's metadata or length"));
            }
            let body = match spool.read_body(id).and_then(|body| body.read_all()) {
                Ok(body) => body,
                Err(_) if disk.is_down() => return Ok(()),
                Err(error) => return Err(format!("body of {id}: {error:?}")),
            };
            if body != message.body {
                return Err(format!("message {id} has another body"));
            }
            for (number, row) in &mut message.rows {
                match (loaded.rows.get(number), row.end) {
                    (None, End::No) if row.is_owed => {
                        return Err(format!("row {id}:{number} is lost"));
                    }
                    (None, _) => row.end = End::Confirmed,
                    (Some(_), End::Confirmed) => {
                        return Err(format!("ended row {id}:{number} is back"));
                    }
                    (Some((constant, state)), _) => {
                        if *constant != row.row {
                            return Err(format!("row {id}:{number} has another's octets"));
                        }
                        let allowed = &row.states[row.confirmed..];
                        if !allowed.contains(state) {
                            return Err(format!("row {id}:{number} has an old or foreign state"));
                        }
                        row.end = End::No;
                        row.is_owed = true;
                        row.states = vec![state.clone()];
                        row.confirmed = 0;
                    }
                }
            }
            message.rows.retain(|_, row| row.end == End::No);
            if loaded.rows.len() != message.rows.len() {
                return Err(format!("message {id} has rows it was not given"));
            }
            message.is_confirmed = true;
            message.commit = None;
        }
        match found.keys().next() {
            Some(id) => Err(format!("unknown message {id} was loaded")),
            None => Ok(()),
        }
    }

    /// Works until the power fails or enough is done; says how many segments were compacted.
    fn work(&mut self, mut open: Open, disk: &SimDisk) -> u64 {
        let mut compacted = 0;
        for _ in 0..400 {
            if disk.is_down() {
                break;
            }
            match self.random.below(20) {
                0..=3 => self.commit(&open),
                4 => self.commit_set(&open),
                5..=7 => self.change(&open),
                8..=10 => self.end(&open),
                11 => self.add(&open),
                12 => {
                    let ops = std::mem::take(&mut open.shared.settling.lock().ops);
                    commit::settle(&open.shared, ops);
                }
                13 => keeper::do_chores(&open.shared),
                14 => compacted += self.compact(&mut open),
                15 => self.read(&open, disk),
                _ => {
                    open.committer.step();
                }
            }
            self.collect();
        }
        if !disk.is_down() && self.random.below(4) == 0 {
            // Closed in order this time.
            open.committer.step();
            open.committer.close();
            keeper::do_chores(&open.shared);
        }
        self.collect();
        compacted
    }

    /// Several messages made of one draft, each with a start of its own.
    fn commit_set(&mut self, open: &Open) {
        let len = if self.random.below(2) == 0 { 20_000 } else { 3000 };
        let octets = self.octets(len);
        let Ok(mut draft) = open.spool.draft(0) else { return };
        if octets.chunks(1500).any(|part| draft.write(part).is_err()) {
            return;
        }
        let Ok(draft) = draft.share() else { return };
        let mut commits = Vec::new();
        let mut made = Vec::new();
        for _ in 0..2 + self.random.below(3) {
            let (start, skip) = (self.octets(100), self.random.below(200));
            let rest = octets.get(skip as usize..).unwrap_or_default();
            let all = [start.as_slice(), rest].concat();
            let body = Body::replace_start_of(vec![Bytes::from(start)], skip, &draft);
            let (transaction, metadata, rows) = self.new_message();
            commits.push(new_commit(transaction, &metadata, &rows, body));
            made.push((transaction, metadata, rows, all));
        }
        let mut completion = Some(open.spool.commit_all(commits));
        // One completion for all: it is the last one's, and confirms those before it as well.
        let set: Vec<TransactionId> = made.iter().map(|(id, ..)| *id).collect();
        for (transaction, metadata, rows, body) in made.into_iter().rev() {
            let commit = completion.take();
            let set = if commit.is_some() { set.clone() } else { Vec::new() };
            let message =
                ModelMessage { is_confirmed: false, commit, set, metadata, body, rows, last: 3 };
            self.model.messages.insert(transaction, message);
        }
    }

    fn new_message(&mut self) -> (TransactionId, Vec<u8>, BTreeMap<u32, ModelRow>) {
        self.model.created += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.model.created.to_be_bytes());
        id[8..].copy_from_slice(&self.plan.seed.to_be_bytes());
        let transaction = TransactionId(id);
        let metadata = self.octets(40);
        let rows: BTreeMap<u32, ModelRow> = (1..=1 + self.random.below(3) as u32)
            .map(|number| {
                let row = ModelRow {
                    row: self.octets(30),
                    states: vec![self.octets(10)],
                    confirmed: 0,
                    end: End::No,
                    is_owed: true,
                };
                (number, row)
            })
            .collect();
        (transaction, metadata, rows)
    }

    fn commit(&mut self, open: &Open) {
        let (transaction, metadata, rows) = self.new_message();
        let len = if self.random.below(6) == 0 { 20_000 } else { 3000 };
        let octets = self.octets(len);
        let mut all = Vec::new();
        let body = if self.random.below(3) == 0 {
            all.extend_from_slice(&octets);
            Body::from_pieces(vec![Bytes::from(octets)])
        } else {
            let Ok(mut draft) = open.spool.draft(0) else { return };
            if octets.chunks(1500).any(|part| draft.write(part).is_err()) {
                return;
            }
            let prefix = self.octets(100);
            let skip = self.random.below(200);
            all.extend_from_slice(&prefix);
            all.extend_from_slice(octets.get(skip as usize..).unwrap_or_default());
            Body::replace_start(Bytes::from(prefix), skip, draft)
        };
        let commit = open.spool.commit(new_commit(transaction, &metadata, &rows, body));
        let (commit, set) = (Some(commit), Vec::new());
        let message =
            ModelMessage { is_confirmed: false, commit, set, metadata, body: all, rows, last: 3 };
        self.model.messages.insert(transaction, message);
    }

    /// Octets that tell themselves from others.
    fn octets(&mut self, max: u64) -> Vec<u8> {
        let len = self.random.below(max + 1) as usize;
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.random.next().to_le_bytes());
        }
        out.truncate(len);
        out
    }

    fn pick(&mut self) -> Option<MessageId> {
        let live: Vec<MessageId> = self
            .model
            .messages
            .iter()
            .filter(|(_, message)| message.is_confirmed)
            .flat_map(|(id, message)| {
                message
                    .rows
                    .iter()
                    .filter(|(_, row)| row.end == End::No)
                    .map(|(number, _)| MessageId::new(*id, QueueId(*number)))
            })
            .collect();
        live.get(self.random.below(live.len() as u64) as usize).copied()
    }

    fn durability(&mut self) -> Durability {
        if self.random.below(2) == 0 { Durability::Lazy } else { Durability::Awaited }
    }

    fn change(&mut self, open: &Open) {
        let Some(id) = self.pick() else { return };
        let state = self.octets(60);
        let durability = self.durability();
        if let Some(row) = self.row(id) {
            row.states.push(state.clone());
            let at = row.states.len() - 1;
            let completion = open.spool.change(id, state.into(), durability);
            self.waiting.push(Waiting::Change(completion, id, at));
        }
    }

    /// Adds a row to a message, and now and then changes or ends it in the same breath.
    fn add(&mut self, open: &Open) {
        let Some(id) = self.pick() else { return };
        let row = self.octets(30);
        let durability = self.durability();
        let Some(message) = self.model.messages.get_mut(&id.transaction) else { return };
        // The end of all of it may be under way already: nobody adds to what he ends.
        if message.rows.values().all(|row| row.end != End::No) {
            return;
        }
        let Some(last) = message.rows.keys().next_back() else { return };
        // A number that ended is not used again, here as in the queue.
        let number = last.max(&message.last) + 1;
        message.last = number;
        let states = vec![Vec::new()];
        let new = ModelRow { row: row.clone(), states, confirmed: 0, end: End::No, is_owed: false };
        message.rows.insert(number, new);
        let id = MessageId::new(id.transaction, QueueId(number));
        let completion = open.spool.add(id, row.into(), durability);
        self.waiting.push(Waiting::Add(completion, id));
        match self.random.below(4) {
            0 => {
                let state = self.octets(60);
                if let Some(row) = self.row(id) {
                    row.states.push(state.clone());
                }
                let completion = open.spool.change(id, state.into(), durability);
                self.waiting.push(Waiting::Change(completion, id, 1));
            }
            1 => {
                if let Some(row) = self.row(id) {
                    row.end = End::Asked;
                }
                let completion = open.spool.end(id, durability);
                self.waiting.push(Waiting::End(completion, id));
            }
            _ => {}
        }
    }

    fn end(&mut self, open: &Open) {
        let Some(id) = self.pick() else { return };
        let durability = self.durability();
        if self.random.below(3) == 0 {
            let Some(message) = self.model.messages.get_mut(&id.transaction) else { return };
            for row in message.rows.values_mut() {
                row.end = row.end.max_with(End::Asked);
            }
            let completion = open.spool.end_all(id.transaction, durability);
            self.waiting.push(Waiting::EndAll(completion, id.transaction));
        } else if let Some(row) = self.row(id) {
            row.end = End::Asked;
            let completion = open.spool.end(id, durability);
            self.waiting.push(Waiting::End(completion, id));
        }
    }

    fn row(&mut self, id: MessageId) -> Option<&mut ModelRow> {
        self.model.messages.get_mut(&id.transaction)?.rows.get_mut(&id.queue.0)
    }

    fn compact(&self, open: &mut Open) -> u64 {
        let Some(id) = compact::candidate(&open.shared) else { return 0 };
        let committer = &mut open.committer;
        let done = compact::empty(&open.shared, id, &mut || {
            // The second time fails what the first could not write.
            for _ in 0..3 {
                committer.step();
            }
            Ok(())
        });
        u64::from(done.is_ok())
    }

    fn read(&mut self, open: &Open, disk: &SimDisk) {
        let Some(id) = self.pick() else { return };
        let Some(message) = self.model.messages.get(&id.transaction) else { return };
        let mut body = Vec::new();
        match open.spool.read_body(id.transaction) {
            Ok(mut reader) => {
                let read = reader.read_to_end(&mut body);
                assert!(read.is_err() && disk.is_down() || body == message.body, "{id}: {read:?}");
            }
            Err(error) => assert!(disk.is_down(), "{id}: {error}"),
        }
    }

    /// Takes the completions that have come.
    fn collect(&mut self) {
        let mut confirmed_sets = Vec::new();
        for message in self.model.messages.values_mut() {
            if let Some(commit) = &mut message.commit
                && let Some(outcome) = commit.try_take()
            {
                message.is_confirmed = outcome.is_ok();
                message.commit = None;
                if outcome.is_ok() {
                    confirmed_sets.append(&mut message.set);
                }
            }
        }
        for id in confirmed_sets {
            if let Some(message) = self.model.messages.get_mut(&id) {
                message.is_confirmed = true;
            }
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain_mut(|one| {
            let (outcome, ends): (_, Vec<MessageId>) = match one {
                Waiting::Change(completion, id, at) => {
                    let Some(outcome) = completion.try_take() else { return true };
                    let (id, at) = (*id, *at);
                    if outcome.is_ok()
                        && let Some(row) = self.row(id)
                    {
                        row.confirmed = row.confirmed.max(at);
                        // What has a state is there.
                        row.is_owed = true;
                    }
                    return false;
                }
                Waiting::Add(completion, id) => {
                    let Some(outcome) = completion.try_take() else { return true };
                    let id = *id;
                    if outcome.is_ok()
                        && let Some(row) = self.row(id)
                    {
                        row.is_owed = true;
                    }
                    return false;
                }
                Waiting::End(completion, id) => (completion.try_take(), vec![*id]),
                Waiting::EndAll(completion, id) => {
                    let numbers = self
                        .model
                        .messages
                        .get(id)
                        .map(|message| message.rows.keys().copied().collect::<Vec<_>>());
                    let ids = numbers.unwrap_or_default();
                    let ids = ids.iter().map(|n| MessageId::new(*id, QueueId(*n))).collect();
                    (completion.try_take(), ids)
                }
            };
            let Some(outcome) = outcome else { return true };
            if outcome.is_ok() {
                for id in ends {
                    if let Some(row) = self.row(id) {
                        row.end = End::Confirmed;
                    }
                }
            }
            false
        });
        self.waiting = waiting;
    }
}

impl End {
    fn max_with(self, other: Self) -> Self {
        if self == Self::Confirmed { self } else { other }
    }
}

struct Found {
    metadata: Vec<u8>,
    rows: BTreeMap<u32, (Vec<u8>, Vec<u8>)>,
    body_len: u64,
}

/// Seeds per test; `SPOOL_SEEDS` sets another number and `SPOOL_SEED` a first one.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    let first = number("SPOOL_SEED").unwrap_or(0);
    first..first + number("SPOOL_SEEDS").unwrap_or(default)
}

#[test]
fn no_power_failure_loses_or_revives_a_message() {
    let mut seen = Seen::default();
    for seed in seeds(200) {
        if let Err(broken) = run(Plan::honest(seed), &mut seen) {
            panic!("seed {seed}: {broken}");
        }
    }
    // A simulation in which nothing happens proves nothing.
    println!(
        "{} failures, {} messages recovered, {} segments compacted",
        seen.failures, seen.recovered, seen.compacted
    );
    assert!(seen.compacted > seen.failures / 100 && seen.recovered > seen.failures / 2);
}

#[test]
fn failing_writes_and_syncs_lose_and_revive_nothing_confirmed() {
    let mut seen = Seen::default();
    for seed in seeds(70) {
        let faults = Faults { write: 600, sync: 1200, name: 600 };
        let plan = Plan { faults, ..Plan::honest(seed ^ 0x5EED) };
        if let Err(broken) = run(plan, &mut seen) {
            panic!("seed {seed}: {broken}");
        }
    }
}

/// Whether any of some seeds breaks a promise under this plan.
fn is_noticed(plan: impl Fn(u64) -> Plan) -> bool {
    let mut seen = Seen::default();
    (0..200).any(|seed| run(plan(seed), &mut seen).is_err())
}

#[test]
fn the_simulation_notices_an_acknowledgement_before_the_sync() {
    assert!(is_noticed(|seed| Plan { acknowledge_before_sync: true, ..Plan::honest(seed) }));
}

#[test]
fn the_simulation_notices_a_disk_that_does_not_sync() {
    let lies = Lies { sync: true, sync_dir: false };
    assert!(is_noticed(|seed| Plan { lies, ..Plan::honest(seed) }));
}

#[test]
fn the_simulation_notices_directories_that_are_not_synced() {
    let lies = Lies { sync: false, sync_dir: true };
    assert!(is_noticed(|seed| Plan { lies, ..Plan::honest(seed) }));
}

#[test]
fn a_message_that_outgrew_a_segment_stays_where_it_is() {
    let mut run = Run {
        plan: Plan::honest(8),
        random: SimRandom::new(8),
        model: Model::default(),
        waiting: Vec::new(),
        events: Arc::default(),
    };
    let disk = SimDisk::new(8, 64 << 20);
    let mut open = run.open(&disk).unwrap().unwrap();
    let transaction = TransactionId([9; 16]);
    let rows = (1..=5).map(|number| NewRow {
        queue: QueueId(number),
        row: Box::default(),
        state: Box::default(),
    });
    let body = Body::from_pieces(vec![Bytes::from_static(b"hello")]);
    let metadata = vec![1; 1000].into();
    drop(open.spool.commit(Commit { transaction, metadata, rows: rows.collect(), body }));
    open.committer.step();
    for number in 1..=5 {
        let id = MessageId::new(transaction, QueueId(number));
        drop(open.spool.change(id, vec![2; 13_000].into(), Durability::Awaited));
        open.committer.step();
    }
    let before = open.spool.stats();
    let first = *open.shared.index.lock().segments.keys().next().unwrap();
    let committer = &mut open.committer;
    let done = compact::empty(&open.shared, first, &mut || {
        committer.step();
        Ok(())
    });
    assert_eq!(done, Ok(()));
    assert!(open.shared.index.lock().segments[&first].is_stuck);
    // No segment was used up in trying, and the message is as it was.
    assert!(open.spool.stats().segments <= before.segments + 1);
    assert_eq!(open.spool.read_message(transaction).unwrap().rows.len(), 5);
    assert_eq!(&open.spool.read_body(transaction).unwrap().read_all().unwrap()[..], b"hello");
}

#[test]
fn a_full_disk_refuses_commits_and_keeps_what_it_has() {
    let mut run = Run {
        plan: Plan::honest(7),
        random: SimRandom::new(7),
        model: Model::default(),
        waiting: Vec::new(),
        events: Arc::default(),
    };
    let disk = SimDisk::new(1, 200 << 10);
    let mut open = run.open(&disk).unwrap().unwrap();
    for _ in 0..400 {
        run.commit(&open);
        let ops = std::mem::take(&mut open.shared.settling.lock().ops);
        commit::settle(&open.shared, ops);
        open.committer.step();
        keeper::do_chores(&open.shared);
        run.collect();
    }
    let confirmed = run.model.messages.values().filter(|message| message.is_confirmed).count();
    assert!(confirmed > 10 && confirmed < 300, "{confirmed}");
    assert!(disk.files().iter().map(|(_, len)| len).sum::<u64>() <= 200 << 10);
    // Ends still find room, and space comes back.
    let ids: Vec<TransactionId> =
        run.model.messages.iter().filter(|(_, m)| m.is_confirmed).map(|(id, _)| *id).collect();
    let mut ends: Vec<Completion> =
        ids.iter().map(|id| open.spool.end_all(*id, Durability::Lazy)).collect();
    for _ in 0..20 {
        open.committer.step();
        run.compact(&mut open);
        keeper::do_chores(&open.shared);
    }
    assert!(ends.iter_mut().all(|end| matches!(end.try_take(), Some(Ok(())))));
    assert_eq!(open.spool.stats().messages, 0);
    run.commit(&open);
    open.committer.step();
    assert_eq!(open.spool.stats().messages, 1);
}
