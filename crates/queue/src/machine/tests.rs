//! Random events against the queue's invariants, and the rules of pickup one by one.
//!
//! The file is long because all of it rests on one model of the queue; the rules of pickup could have
//! a file of their own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mta_types::{Address, JobId, QueueId, ServerId, TransactionId, TransportId};
use proptest::prelude::*;

use super::*;
use crate::message::{Priority, Transaction, TransactionParts};
use crate::metadata::Metadata;
use crate::pattern::Pattern;
use crate::pickup::{Pick, Pickup};
use crate::policy::dynamic::{DynamicError, DynamicUpdate, NewDynamic};
use crate::policy::{
    Condition, Counter, FieldSet, Limits, PerField, Policies, Properties, Property, RollUp,
};
use crate::suspend::{NewSuspend, StaticSuspend, SuspendFilter};
use crate::update::{Removal, Task, UpdateRequest, UpdateRun};
use crate::window::Algorithm;

impl Queue {
    /// Holds the queue against its own rules.
    fn check(&mut self) {
        let ids: Vec<Node> = self.table.ids().values().copied().collect();
        let mut counts = HashMap::<State, usize>::new();
        let mut symbols: Vec<Symbol> = self.rules.policies.symbols().collect();
        let mut quotas = HashMap::<Symbol, Usage>::new();
        let mut charged = HashMap::<Node, u32>::new();
        for node in &ids {
            let row = &self.table[*node];
            assert_eq!(self.table.find(row.id()), Some(*node));
            *counts.entry(row.state).or_default() += 1;
            symbols.extend(row.symbols());
            for quota in row.quotas() {
                let usage = quotas.entry(*quota).or_default();
                usage.count += 1;
                usage.bytes += row.transaction.size();
            }
            let in_defer = self.defer.contains(row.priority, row.due, *node);
            assert_eq!(in_defer, row.state == State::Defer);
            assert_eq!(self.work.contains_key(node), row.state.is_working());
            let has_lane =
                matches!(row.state, State::Active | State::Sending | State::SendingFreezing);
            assert_eq!(row.lane.is_some(), has_lane, "{:?}", row.state);
            for entry in self.work.get(node).into_iter().flat_map(|work| &work.charges) {
                *charged.entry(*entry).or_default() += 1;
            }
        }
        assert_eq!(self.table.len(), ids.len());
        for state in State::ALL {
            assert_eq!(self.table.count(state), counts.get(&state).copied().unwrap_or(0));
        }
        let working = ids.iter().filter(|node| self.table[**node].state.is_working()).count();
        assert_eq!(self.work.len(), working);
        assert_eq!(self.defer.len(), self.table.count(State::Defer));
        assert_eq!(*self.quotas.all(), quotas);
        for (node, entry) in self.rules.entries.iter() {
            assert_eq!(entry.in_flight, charged.remove(&node).unwrap_or(0));
        }
        assert!(charged.is_empty());
        symbols.extend(self.active.check(&mut self.table, &mut self.rules));
        let mut references = HashMap::<Symbol, u32>::new();
        for symbol in symbols {
            *references.entry(symbol).or_default() += 1;
        }
        assert_eq!(self.rules.names.references(), references);
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + seconds)
}

fn transaction(number: u64) -> Arc<Transaction> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(number).to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    Transaction::new(TransactionParts {
        id: TransactionId(id),
        sender: &Address::parse("sender@example.org").unwrap(),
        ts: at(0),
        size: 1000,
        serverid: &ServerId::new("inbound"),
        senderip: None,
        senderhelo: "helo.example.org",
        saslusername: None,
        subject: Some("Hello"),
        envid: None,
        ret: None,
        stageid: None,
        hqfpath: None,
        smtputf8: false,
        eightbit: false,
    })
}

fn message(number: u64, domain: &str) -> NewMessage {
    let recipient = Address::new("user", domain).unwrap();
    NewMessage::new(transaction(number), QueueId(1), recipient, TransportId::new("mx"))
}

fn route(mx: &str, localips: &[&str]) -> Route {
    Route {
        localips: localips.iter().map(|ip| ip.parse().unwrap()).collect(),
        localipsordered: true,
        remoteip: Some("203.0.113.1".parse().unwrap()),
        remotemx: Some(mx.to_owned()),
        grouping: None,
    }
}

/// Inserts a message and brings it to ACTIVE.
fn activate(queue: &mut Queue, message: NewMessage, route: &Route, now: Timestamp) -> MessageId {
    let id = message.id();
    queue.insert(message, now).unwrap();
    assert_eq!(queue.due(now, 1), [id]);
    assert_eq!(queue.activate(id, route, now), Ok(None));
    id
}

fn pick(queue: &mut Queue, now: Timestamp) -> Option<Pick> {
    let pickup = queue.next(now);
    queue.check();
    match pickup {
        Pickup::Pick(pick) => Some(pick),
        Pickup::WaitUntil(_) | Pickup::Idle => None,
    }
}

fn fields(fields: &[Field]) -> FieldSet {
    fields.iter().copied().collect()
}

fn pattern(field: Field, text: &str) -> Pattern {
    Pattern::parse(field, text).unwrap()
}

fn concurrency(limit: u32) -> Limits {
    Limits { concurrency: NonZeroU32::new(limit), ..Limits::default() }
}

fn counter(of: &[Field], default: Limits) -> Counter {
    Counter { fields: fields(of), default, ..Counter::default() }
}

fn delivered() -> Outcome {
    Outcome::End(End::Delivered)
}

fn retry(seconds: u64) -> Outcome {
    Outcome::Requeue(Requeue { delay: Duration::from_secs(seconds), ..Requeue::default() })
}

#[test]
fn a_message_goes_all_the_way() {
    let mut queue = Queue::new(Settings::default());
    let new = message(1, "Example.org");
    let id = new.id();
    queue.insert(new, at(0)).unwrap();
    assert_eq!(queue.next(at(0)), Pickup::WaitUntil(at(0)), "it is due for preparation");
    assert_eq!(queue.due(at(0), 10), [id]);
    assert_eq!(queue.view(id).unwrap().state(), State::Unknown);
    assert_eq!(queue.next(at(0)), Pickup::Idle);
    queue.activate(id, &route("mx.example.org", &["192.0.2.1"]), at(0)).unwrap();
    let picked = pick(&mut queue, at(1)).unwrap();
    assert_eq!(picked, Pick { id, localip: Some("192.0.2.1".parse().unwrap()) });
    let view = queue.view(id).unwrap();
    assert_eq!((view.state(), view.remotemx()), (State::Sending, Some("mx.example.org")));
    assert_eq!(view.recipientdomain(), "example.org");
    assert_eq!(view.working_since(), Some(at(1)));
    let changes = queue.finish(id, retry(60), at(2)).unwrap();
    assert_eq!(
        changes,
        [QueueChange::Placed { id, placement: Placement::At(at(62)), retrycount: 1, reason: None }]
    );
    queue.check();
    assert_eq!(queue.due(at(61), 10), []);
    assert_eq!(queue.next(at(61)), Pickup::WaitUntil(at(62)));
    assert_eq!(queue.due(at(62), 10), [id]);
    queue.activate(id, &route("mx.example.org", &["192.0.2.1"]), at(62)).unwrap();
    assert!(pick(&mut queue, at(62)).is_some());
    let changes = queue.finish(id, delivered(), at(63)).unwrap();
    assert_eq!(changes, [QueueChange::Ended { id, end: End::Delivered }]);
    queue.check();
    let stats = queue.stats();
    assert_eq!((stats.rows, stats.subqueues, stats.delivered, stats.delayed), (0, 0, 1, 1));
}

#[test]
fn what_is_not_allowed_is_refused_and_changes_nothing() {
    let mut queue = Queue::new(Settings::default());
    let new = message(1, "example.org");
    let id = new.id();
    assert_eq!(queue.finish(id, delivered(), at(0)), Err(QueueError::Unknown(id)));
    queue.insert(new.clone(), at(0)).unwrap();
    assert_eq!(queue.insert(new, at(0)), Err(QueueError::Duplicate(id)));
    let illegal = queue.finish(id, delivered(), at(0)).unwrap_err();
    assert_eq!(
        illegal.to_string(),
        format!("message {id}: a row in state Defer cannot make the move End")
    );
    assert!(queue.activate(id, &Route::default(), at(0)).is_err());
    assert!(queue.rewrite(id, Rewrite::default(), at(0)).is_err());
    queue.check();
}

#[test]
fn rows_come_back_from_the_spool_where_they_were() {
    let mut queue = Queue::new(Settings::default());
    for (number, placement, state) in [
        (1, Placement::Hold, State::Hold),
        (2, Placement::At(at(500)), State::Defer),
        (3, Placement::Update(at(7)), State::Update),
        (4, Placement::Now, State::Defer),
    ] {
        let new = NewMessage {
            placement,
            retrycount: 3,
            retryreason: Some("451 later".into()),
            ..message(number, "example.org")
        };
        let id = new.id();
        queue.insert(new, at(0)).unwrap();
        let view = queue.view(id).unwrap();
        assert_eq!((view.state(), view.retrycount()), (state, 3));
        assert_eq!(view.retryreason(), Some("451 later"));
        assert_eq!(view.is_on_hold(), state == State::Hold);
    }
    assert_eq!(queue.due(at(0), 10).len(), 1);
    queue.check();
}

#[test]
fn a_freeze_waits_for_the_work_to_end() {
    let mut queue = Queue::new(Settings::default());
    let id = activate(&mut queue, message(1, "example.org"), &route("mx", &[]), at(0));
    assert_eq!(pick(&mut queue, at(0)).unwrap().localip, None);
    let request = UpdateRequest { freeze: true, ..UpdateRequest::default() };
    let mut run = UpdateRun::new(request).unwrap();
    let step = run.step(&mut queue, 100_000, at(0));
    assert!(step.done && step.changes.is_empty());
    assert_eq!((run.affected(), run.working()), (0, 1));
    assert_eq!(queue.view(id).unwrap().state(), State::SendingFreezing);
    assert_eq!(queue.stats().update_pending, 1);
    let changes = queue.finish(id, retry(60), at(5)).unwrap();
    assert!(matches!(&changes[..], [QueueChange::Placed { placement: Placement::Update(due), .. }]
            if *due == at(65)));
    assert_eq!(queue.view(id).unwrap().state(), State::Update);
    queue.check();
}

#[test]
fn a_used_up_counter_lets_the_others_go() {
    let mut queue = Queue::new(Settings::default());
    let policy = counter(&[Field::RemoteMx], concurrency(2));
    queue.configure_policies(Policies { counters: vec![policy] }, at(0));
    let mut ids = HashMap::<&str, Vec<MessageId>>::new();
    for number in 0..10 {
        let mx = if number < 8 { "a.example" } else { "b.example" };
        let id = activate(&mut queue, message(number, mx), &route(mx, &["192.0.2.1"]), at(0));
        ids.entry(mx).or_default().push(id);
    }
    let mut picked = Vec::new();
    while let Some(pick) = pick(&mut queue, at(0)) {
        picked.push(pick.id);
    }
    assert_eq!(picked.len(), 4);
    assert!(ids["b.example"].iter().all(|id| picked.contains(id)));
    let stats = queue.stats();
    assert_eq!((stats.concurrency_counters, stats.concurrency_suspends), (2, 1));
    assert_eq!(stats.pickup_pending, 0);
    assert_eq!(queue.suspends(&SuspendFilter::default(), 10).len(), 1);
    // First in, first out, and as many as have ended.
    queue.finish(ids["a.example"][0], delivered(), at(1)).unwrap();
    assert_eq!(pick(&mut queue, at(1)).unwrap().id, ids["a.example"][2]);
    assert_eq!(pick(&mut queue, at(1)), None);
}

#[test]
fn a_limit_reached_is_touched_once_however_many_wait() {
    let mut queue = Queue::new(Settings::default());
    let policy = Counter {
        rollups: vec![RollUp {
            field: Field::RemoteMx,
            name: "big".into(),
            patterns: vec![pattern(Field::RemoteMx, "*.big.example")],
        }],
        ..counter(&[Field::RemoteMx], concurrency(1))
    };
    queue.configure_policies(Policies { counters: vec![policy] }, at(0));
    for number in 0..200 {
        // Two hundred sub-queues that count as one.
        let route = route("mx.big.example", &["192.0.2.1"]);
        activate(&mut queue, message(number, &format!("d{number}.example")), &route, at(0));
    }
    assert!(pick(&mut queue, at(0)).is_some());
    for _ in 0..10 {
        assert_eq!(pick(&mut queue, at(0)), None);
    }
    assert_eq!(queue.stats().pickup_skips, 1);
}

#[test]
fn sub_queues_take_turns_and_high_priority_goes_first() {
    let mut queue = Queue::new(Settings::default());
    let policy = counter(&[Field::RecipientDomain], Limits::default());
    queue.configure_policies(Policies { counters: vec![policy] }, at(0));
    for number in 0..6 {
        let domain = if number < 4 { "a.example" } else { "b.example" };
        activate(&mut queue, message(number, domain), &route("mx", &[]), at(0));
    }
    let high = NewMessage { priority: Priority::High, ..message(9, "a.example") };
    let high = activate(&mut queue, high, &route("mx", &[]), at(0));
    assert_eq!(queue.stats().active_priorities, [6, 1]);
    assert_eq!(pick(&mut queue, at(0)).unwrap().id, high);
    let mut domains = String::new();
    while let Some(pick) = pick(&mut queue, at(0)) {
        domains.push_str(&queue.view(pick.id).unwrap().recipientdomain()[..1]);
    }
    assert_eq!(domains, "ababaa");
}

#[test]
fn the_total_concurrency_holds() {
    let mut queue = Queue::new(Settings { concurrency: NonZeroU32::new(2), ..Settings::default() });
    for number in 0..5 {
        activate(&mut queue, message(number, "example.org"), &route("mx", &[]), at(0));
    }
    let first = pick(&mut queue, at(0)).unwrap();
    assert!(pick(&mut queue, at(0)).is_some());
    assert_eq!(queue.next(at(0)), Pickup::Idle);
    queue.finish(first.id, delivered(), at(0)).unwrap();
    assert!(pick(&mut queue, at(0)).is_some());
    assert_eq!(pick(&mut queue, at(0)), None);
}

#[test]
fn a_rate_says_when_to_come_back() {
    let mut queue = Queue::new(Settings::default());
    let rate = Limits { rate: Some("2/10".parse().unwrap()), ..Limits::default() };
    let policies = Policies { counters: vec![counter(&[Field::TransportId], rate)] };
    queue.configure_policies(policies.clone(), at(0));
    for number in 0..4 {
        activate(&mut queue, message(number, "example.org"), &route("mx", &[]), at(0));
    }
    assert!(pick(&mut queue, at(0)).is_some());
    assert!(pick(&mut queue, at(0)).is_some());
    assert_eq!(queue.next(at(0)), Pickup::WaitUntil(at(5)));
    assert_eq!(queue.next(at(4)), Pickup::WaitUntil(at(5)));
    assert!(pick(&mut queue, at(5)).is_some());
    // A reload of the same policies does not refill.
    queue.configure_policies(policies, at(5));
    queue.check();
    assert_eq!(queue.next(at(5)), Pickup::WaitUntil(at(10)));
    let values = PerField::default().with(Field::TransportId, "mx".to_owned());
    assert_eq!(queue.refill_rates(&values, Some(1.0), at(6)), 1);
    assert!(pick(&mut queue, at(6)).is_some());
}

#[test]
fn a_connect_interval_spaces_pickups() {
    let mut queue = Queue::new(Settings::default());
    let limits = Limits { connectinterval: Some(Duration::from_secs(3)), ..Limits::default() };
    let policies = Policies { counters: vec![counter(&[], limits)] };
    queue.configure_policies(policies, at(0));
    for number in 0..2 {
        activate(&mut queue, message(number, "example.org"), &route("mx", &[]), at(0));
    }
    let first = pick(&mut queue, at(0)).unwrap();
    queue.finish(first.id, delivered(), at(1)).unwrap();
    assert_eq!(queue.next(at(1)), Pickup::WaitUntil(at(3)));
    let second = pick(&mut queue, at(3)).unwrap();
    queue.finish(second.id, delivered(), at(3)).unwrap();
    assert_eq!(queue.stats().rate_buckets, 1);
    assert_eq!(queue.next(at(7)), Pickup::Idle);
    queue.check();
    assert_eq!(queue.stats().rate_buckets, 0, "what reminds of nothing is forgotten");
}

#[test]
fn a_pickup_that_is_given_back_costs_no_token() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow] {
        let mut queue = Queue::new(Settings::default());
        let rate = Limits { rate: "1/60".parse().ok(), algorithm, ..Limits::default() };
        let policies = Policies { counters: vec![counter(&[Field::TransportId], rate)] };
        queue.configure_policies(policies, at(0));
        for (number, mx) in [(1, "mx1"), (2, "mx2")] {
            activate(&mut queue, message(number, "example.org"), &route(mx, &[]), at(0));
        }
        let refused = pick(&mut queue, at(0)).unwrap();
        assert_eq!(pick(&mut queue, at(0)), None, "the one token is taken");
        let before = queue.view(refused.id).unwrap().to_message().retrycount;
        let delay = Duration::from_secs(5);
        queue.give_back(refused.id, delay, at(0)).unwrap();
        queue.check();
        assert_eq!(queue.view(refused.id).unwrap().to_message().retrycount, before);
        assert_eq!(queue.next_due(), Some(at(5)));
        let other = pick(&mut queue, at(0)).expect("the token is there for the other row");
        assert_ne!(other.id, refused.id);
        // The other one went: its token is gone, as ever.
        queue.finish(other.id, delivered(), at(1)).unwrap();
        assert_eq!(queue.due(at(5), 1), [refused.id]);
        assert_eq!(queue.activate(refused.id, &route("mx1", &[]), at(5)), Ok(None));
        assert_eq!(queue.next(at(5)), Pickup::WaitUntil(at(60)));
        assert!(queue.give_back(refused.id, delay, at(5)).is_err(), "nobody works on it");
    }
}

#[test]
fn a_pickup_that_is_given_back_costs_no_connect_interval() {
    let mut queue = Queue::new(Settings::default());
    let limits = Limits { connectinterval: Some(Duration::from_secs(30)), ..concurrency(2) };
    queue.configure_policies(Policies { counters: vec![counter(&[], limits)] }, at(0));
    for number in 1..4 {
        activate(&mut queue, message(number, "example.org"), &route("mx", &[]), at(0));
    }
    let refused = pick(&mut queue, at(0)).unwrap();
    assert_eq!(pick(&mut queue, at(1)), None);
    queue.give_back(refused.id, Duration::from_secs(100), at(1)).unwrap();
    let second = pick(&mut queue, at(1)).expect("the interval has not begun");
    let third = pick(&mut queue, at(31)).unwrap();
    // Given back late: the interval that the third began stays.
    queue.give_back(second.id, Duration::from_secs(100), at(32)).unwrap();
    queue.finish(third.id, delivered(), at(33)).unwrap();
    assert_eq!(queue.next(at(33)), Pickup::WaitUntil(at(101)));
    assert_eq!(queue.due(at(101), 9), [refused.id]);
    assert_eq!(queue.activate(refused.id, &route("mx", &[]), at(101)), Ok(None));
    assert!(pick(&mut queue, at(101)).is_some());
}

#[test]
fn who_becomes_urgent_late_does_not_lose_the_turn() {
    let mut queue = Queue::new(Settings::default());
    let limits = Limits { connectinterval: Some(Duration::from_secs(1)), ..Limits::default() };
    let policies = Policies { counters: vec![counter(&[Field::RemoteMx], limits)] };
    queue.configure_policies(policies, at(0));
    for (number, ip) in [(1, "192.0.2.1"), (2, "192.0.2.1"), (3, "192.0.2.2")] {
        activate(&mut queue, message(number, "example.org"), &route("mx", &[ip]), at(0));
    }
    assert!(pick(&mut queue, at(0)).is_some());
    assert_eq!(pick(&mut queue, at(0)), None);
    // The interval is over, but the pickup has not been asked since.
    let high = NewMessage { priority: Priority::High, ..message(4, "example.org") };
    let high = activate(&mut queue, high, &route("mx", &["192.0.2.2"]), at(2));
    queue.check();
    assert_eq!(pick(&mut queue, at(2)).map(|pick| pick.id), Some(high));
}

#[test]
fn a_suspended_source_address_gives_way_to_another() {
    let mut queue = Queue::new(Settings::default());
    let ips = ["192.0.2.1", "192.0.2.2"];
    activate(&mut queue, message(1, "example.org"), &route("mx.google.com", &ips), at(0));
    let suspend = |localip: &str, ttl| NewSuspend {
        matches: PerField::default()
            .with(Field::LocalIp, pattern(Field::LocalIp, localip))
            .with(Field::RemoteMx, pattern(Field::RemoteMx, "*.google.com")),
        ttl: Some(Duration::from_secs(ttl)),
        ..NewSuspend::default()
    };
    let id = queue.add_suspend(suspend("192.0.2.1", 100), at(0)).unwrap();
    assert_eq!(queue.add_suspend(suspend("192.0.2.1", 50), at(0)), Ok(id), "an equal one");
    let picked = pick(&mut queue, at(0)).unwrap();
    assert_eq!(picked.localip, Some("192.0.2.2".parse().unwrap()));
    queue.add_suspend(suspend("192.0.2.2", 20), at(1)).unwrap();
    activate(&mut queue, message(2, "example.org"), &route("mx.google.com", &ips), at(1));
    activate(&mut queue, message(3, "example.org"), &route("mx.other.example", &ips), at(1));
    let picked = pick(&mut queue, at(2)).unwrap();
    assert_eq!(queue.view(picked.id).unwrap().remotemx(), Some("mx.other.example"));
    assert_eq!(queue.next(at(2)), Pickup::WaitUntil(at(21)));
    assert_eq!(pick(&mut queue, at(21)).unwrap().localip, Some("192.0.2.2".parse().unwrap()));
    let infos = queue.suspends(&SuspendFilter::default(), 10);
    assert_eq!(infos.len(), 1);
    assert_eq!(infos[0].expires, Some(at(50)));
    assert_eq!(infos[0].values.get(Field::RemoteMx).map(|v| &**v), Some("*.google.com"));
}

#[test]
fn an_empty_suspension_stops_everything() {
    let mut queue = Queue::new(Settings::default());
    activate(&mut queue, message(1, "example.org"), &route("mx", &[]), at(0));
    queue.configure_suspends(vec![StaticSuspend::default()], at(0));
    assert_eq!(pick(&mut queue, at(0)), None);
    activate(&mut queue, message(2, "example.org"), &route("mx", &["192.0.2.1"]), at(0));
    assert_eq!(pick(&mut queue, at(0)), None);
    queue.configure_suspends(Vec::new(), at(0));
    assert!(pick(&mut queue, at(0)).is_some());
    assert!(pick(&mut queue, at(0)).is_some());
}

#[test]
fn the_first_source_address_is_used_until_its_policy_stops_it() {
    let mut queue = Queue::new(Settings::default());
    let policies = Policies {
        counters: vec![Counter {
            conditions: vec![Condition {
                matches: PerField::default()
                    .with(Field::LocalIp, vec![pattern(Field::LocalIp, "192.0.2.0/31")]),
                then: concurrency(1),
            }],
            ..counter(&[Field::LocalIp], concurrency(2))
        }],
    };
    queue.configure_policies(policies, at(0));
    for number in 0..4 {
        let route = route("mx", &["192.0.2.1", "192.0.2.2"]);
        activate(&mut queue, message(number, "example.org"), &route, at(0));
    }
    let mut used = String::new();
    while let Some(pick) = pick(&mut queue, at(0)) {
        used += &pick.localip.unwrap().to_string()[8..];
    }
    assert_eq!(used, "122");
}

#[test]
fn dynamic_conditions_go_before_the_configured_ones_and_expire() {
    let mut queue = Queue::new(Settings::default());
    let google = || RollUp {
        field: Field::RemoteMx,
        name: "gsuite".into(),
        patterns: vec![pattern(Field::RemoteMx, "*.google.com")],
    };
    let policies = Policies {
        counters: vec![Counter {
            rollups: vec![google()],
            ..counter(&[Field::RemoteMx], Limits { tag: Some("d".into()), ..concurrency(1) })
        }],
    };
    queue.configure_policies(policies, at(0));
    for number in 0..6 {
        let route = route(&format!("mx{number}.google.com"), &[]);
        activate(&mut queue, message(number, "example.org"), &route, at(0));
    }
    let first = pick(&mut queue, at(0)).unwrap();
    assert_eq!(pick(&mut queue, at(0)), None);
    let dynamic = |limit| NewDynamic {
        fields: fields(&[Field::RemoteMx]),
        matches: PerField::default().with(Field::RemoteMx, pattern(Field::RemoteMx, "#gsuite")),
        then: Limits { tag: Some("warm".into()), ..concurrency(limit) },
        ttl: Some(Duration::from_secs(10)),
        ..NewDynamic::default()
    };
    let id = queue.add_policy(dynamic(3), at(0)).unwrap();
    queue.check();
    assert!(pick(&mut queue, at(0)).is_some());
    assert!(pick(&mut queue, at(0)).is_some());
    assert_eq!(queue.next(at(0)), Pickup::WaitUntil(at(10)));
    let applied = queue.applied_policies(first.id).unwrap();
    assert_eq!(applied.len(), 1);
    assert_eq!(applied[0].grouping.get(Field::RemoteMx).map(|v| &**v), Some("#gsuite"));
    assert_eq!(applied[0].dynamic, [(id.clone(), Some("warm".into()))]);
    assert_eq!(applied[0].tags, ["d".into(), "warm".into()]);
    assert_eq!(queue.add_policy(dynamic(2), at(1)), Ok(id.clone()), "an equal one is updated");
    assert_eq!(queue.dynamic_policies().len(), 1);
    queue.finish(first.id, delivered(), at(2)).unwrap();
    assert_eq!(pick(&mut queue, at(2)), None, "two are being sent");
    assert!(queue.update_policy(
        &id,
        DynamicUpdate { concurrency: Some(NonZeroU32::new(3)), ..DynamicUpdate::default() },
        at(2)
    ));
    assert!(pick(&mut queue, at(2)).is_some());
    assert_eq!(queue.next(at(11)), Pickup::Idle);
    assert_eq!(queue.dynamic_policies().len(), 0);
    assert!(!queue.delete_policy(&id, at(11)));
    let unknown = NewDynamic { fields: fields(&[Field::JobId]), ..NewDynamic::default() };
    assert!(matches!(queue.add_policy(unknown, at(11)), Err(DynamicError::NoCounter(_))));
}

#[test]
fn stop_ends_the_questions() {
    let mut queue = Queue::new(Settings::default());
    let policies = |stop| Policies {
        counters: vec![
            counter(&[Field::TransportId], Limits { stop, ..Limits::default() }),
            counter(&[], concurrency(1)),
        ],
    };
    for (stop, expected) in [(false, 1), (true, 3)] {
        let mut ids = Vec::new();
        queue.configure_policies(policies(stop), at(0));
        for number in 0..3 {
            let id = activate(&mut queue, message(number, "example.org"), &route("mx", &[]), at(0));
            ids.push(id);
        }
        let mut picked = 0;
        while pick(&mut queue, at(0)).is_some() {
            picked += 1;
        }
        assert_eq!(picked, expected);
        queue = Queue::new(Settings::default());
    }
}

#[test]
fn rows_being_sent_stay_counted_when_policies_change() {
    let mut queue = Queue::new(Settings::default());
    let of = |limit| Policies { counters: vec![counter(&[Field::RemoteMx], concurrency(limit))] };
    queue.configure_policies(of(2), at(0));
    for number in 0..5 {
        activate(&mut queue, message(number, "example.org"), &route("mx", &[]), at(0));
    }
    let first = pick(&mut queue, at(0)).unwrap();
    assert!(pick(&mut queue, at(0)).is_some());
    queue.configure_policies(of(1), at(0));
    queue.check();
    queue.finish(first.id, delivered(), at(0)).unwrap();
    assert_eq!(pick(&mut queue, at(0)), None, "one is still being sent");
    queue.configure_policies(of(3), at(0));
    assert!(pick(&mut queue, at(0)).is_some());
    assert!(pick(&mut queue, at(0)).is_some());
    assert_eq!(pick(&mut queue, at(0)), None);
}

#[test]
fn a_cluster_wide_limit_is_shared_by_its_hosts() {
    let hosts = NonZeroU32::new(4).unwrap();
    let mut queue = Queue::new(Settings { hosts, ..Settings::default() });
    let limits = Limits { cluster: true, ..concurrency(9) };
    queue.configure_policies(Policies { counters: vec![counter(&[], limits)] }, at(0));
    for number in 0..9 {
        activate(&mut queue, message(number, "example.org"), &route("mx", &[]), at(0));
    }
    let mut picked = 0;
    while pick(&mut queue, at(0)).is_some() {
        picked += 1;
    }
    assert_eq!(picked, 2);
    queue.configure(Settings::default(), at(0));
    while pick(&mut queue, at(0)).is_some() {
        picked += 1;
    }
    assert_eq!(picked, 9);
}

#[test]
fn dynamic_conditions_stop_space_and_share_as_configured_ones_do() {
    let hosts = NonZeroU32::new(4).unwrap();
    let wide = |limits| Limits { cluster: true, ..limits };
    let rate = Limits { rate: "4/60".parse().ok(), ..Limits::default() };
    let interval = Some(Duration::from_secs(3));
    let spaced = Limits { connectinterval: interval, ..Limits::default() };
    let stop = Limits { stop: true, ..Limits::default() };
    for (then, expected) in [
        (Limits::default(), 5),
        (stop, 9),
        (spaced, 1),
        (concurrency(4), 4),
        (wide(concurrency(4)), 1),
        (rate.clone(), 4),
        (wide(rate), 1),
    ] {
        let mut queue = Queue::new(Settings { hosts, ..Settings::default() });
        let counters =
            vec![counter(&[Field::TransportId], Limits::default()), counter(&[], concurrency(5))];
        queue.configure_policies(Policies { counters }, at(0));
        let properties: Properties = Arc::new([("k".into(), Property::Number(3.0))]);
        let new = NewDynamic {
            fields: fields(&[Field::TransportId]),
            then: Limits { properties: Properties::clone(&properties), ..then.clone() },
            ..NewDynamic::default()
        };
        queue.add_policy(new, at(0)).unwrap();
        for number in 0..9 {
            activate(&mut queue, message(number, "example.org"), &route("mx", &[]), at(0));
        }
        let picked: Vec<_> = std::iter::from_fn(|| pick(&mut queue, at(0))).collect();
        assert_eq!(picked.len(), expected, "{then:?}");
        let applied = queue.applied_policies(picked[0].id).unwrap();
        assert_eq!(applied[0].limits.properties, properties);
        assert_eq!(applied.len(), if then.stop { 1 } else { 2 });
    }
}

#[test]
fn named_lists_can_change_under_policies_and_suspensions() {
    let mut queue = Queue::new(Settings::default());
    queue.configure_suspends(
        vec![StaticSuspend {
            matches: PerField::default()
                .with(Field::RecipientDomain, pattern(Field::RecipientDomain, "@stop")),
            ..StaticSuspend::default()
        }],
        at(0),
    );
    activate(&mut queue, message(1, "example.org"), &route("mx", &[]), at(0));
    let mut lists = queue.lists().clone();
    lists.add(Field::RecipientDomain, "stop", "example.org").unwrap();
    queue.configure_lists(lists.clone(), at(0));
    assert_eq!(pick(&mut queue, at(0)), None);
    lists.remove(Field::RecipientDomain, "stop", "example.org");
    queue.configure_lists(lists, at(0));
    assert!(pick(&mut queue, at(0)).is_some());
}

#[test]
fn quotas_follow_their_rows() {
    let mut queue = Queue::new(Settings::default());
    let new = NewMessage { quotas: vec!["q".into()], ..message(1, "example.org") };
    let id = activate(&mut queue, new, &route("mx", &[]), at(0));
    assert_eq!(queue.quota("q"), Usage { count: 1, bytes: 1000 });
    assert!(pick(&mut queue, at(0)).is_some());
    let rewrite = Rewrite { quotas: Some(vec!["r".into()]), ..Rewrite::default() };
    let change = queue.rewrite(id, rewrite, at(0)).unwrap();
    assert!(matches!(change, Some(QueueChange::Rewritten { .. })));
    assert_eq!((queue.quota("q").count, queue.quota("r").count), (0, 1));
    queue.finish(id, delivered(), at(0)).unwrap();
    assert_eq!(queue.quota("r"), Usage::default());
    queue.check();
}

/// One random event.
#[derive(Clone, Debug)]
enum Event {
    Insert { domain: u8, priority: bool, placement: u8, quota: bool },
    Due(u8),
    Activate { which: u8, mx: u8, ips: u8, ordered: bool },
    Next(u8),
    Finish { which: u8, how: u8 },
    Advance(u16),
    Suspend { field: u8, ttl: u8 },
    Unsuspend(u8),
    Dynamic { limit: u8, ttl: u8, mx: u8 },
    Undynamic(u8),
    Policies(u8),
    Update { task: u8, domain: u8, duplicate: bool, freeze: bool, priority: u8 },
    Refill,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..5_u8, any::<bool>(), 0..8_u8, any::<bool>()).prop_map(
            |(domain, priority, placement, quota)| {
                Event::Insert { domain, priority, placement, quota }
            }
        ),
        4 => (1..4_u8).prop_map(Event::Due),
        6 => (any::<u8>(), 0..4_u8, 0..8_u8, any::<bool>()).prop_map(
            |(which, mx, ips, ordered)| Event::Activate { which, mx, ips, ordered }
        ),
        8 => (1..4_u8).prop_map(Event::Next),
        6 => (any::<u8>(), 0..7_u8).prop_map(|(which, how)| Event::Finish { which, how }),
        3 => (0..3000_u16).prop_map(Event::Advance),
        1 => (0..8_u8, 0..20_u8).prop_map(|(field, ttl)| Event::Suspend { field, ttl }),
        1 => any::<u8>().prop_map(Event::Unsuspend),
        1 => (1..4_u8, 0..9_u8, 0..4_u8).prop_map(|(limit, ttl, mx)| {
            Event::Dynamic { limit, ttl, mx }
        }),
        1 => any::<u8>().prop_map(Event::Undynamic),
        1 => (0..4_u8).prop_map(Event::Policies),
        2 => (0..8_u8, 0..5_u8, any::<bool>(), any::<bool>(), 0..3_u8).prop_map(
            |(task, domain, duplicate, freeze, priority)| Event::Update {
                task, domain, duplicate: duplicate && freeze, freeze: freeze && !duplicate, priority
            }
        ),
        1 => Just(Event::Refill),
    ]
}

/// Policy sets of growing wickedness: nested counters, crossing counters, rates, roll-ups.
fn policies(which: u8) -> Policies {
    let rate = |text: &str, algorithm| Limits {
        rate: Some(text.parse().unwrap()),
        algorithm,
        ..Limits::default()
    };
    let rollup = RollUp {
        field: Field::RemoteMx,
        name: "both".into(),
        patterns: vec![pattern(Field::RemoteMx, "/^mx[01]/")],
    };
    Policies {
        counters: match which {
            0 => Vec::new(),
            1 => vec![counter(&[Field::RemoteMx], concurrency(2))],
            2 => vec![
                counter(&[Field::LocalIp], rate("3/2", Algorithm::TokenBucket)),
                Counter {
                    rollups: vec![rollup],
                    ..counter(&[Field::LocalIp, Field::RemoteMx], concurrency(1))
                },
                counter(&[Field::RecipientDomain], rate("2/1", Algorithm::FixedWindow)),
            ],
            _ => vec![
                counter(&[Field::LocalIp], concurrency(2)),
                counter(&[Field::TransportId], rate("5/1", Algorithm::TokenBucket)),
                Counter {
                    conditions: vec![Condition {
                        matches: PerField::default()
                            .with(Field::RemoteMx, vec![pattern(Field::RemoteMx, "mx0.example")]),
                        then: Limits { stop: true, ..concurrency(1) },
                    }],
                    ..counter(
                        &[Field::RemoteMx],
                        Limits {
                            connectinterval: Some(Duration::from_millis(300)),
                            ..Limits::default()
                        },
                    )
                },
                counter(&[Field::RecipientDomain], concurrency(1)),
            ],
        },
    }
}

/// The queue beside the little that the daemon knows.
struct World {
    queue: Queue,
    now: Timestamp,
    last: u64,
    /// Rows that are somewhere: what the spool would say.
    rows: BTreeMap<MessageId, ()>,
    unknown: Vec<MessageId>,
    sending: Vec<MessageId>,
    suspends: Vec<Box<str>>,
    dynamics: Vec<Box<str>>,
}

impl World {
    fn persist(&mut self, changes: &[QueueChange]) {
        for change in changes {
            match change {
                QueueChange::Copied { id, of } => {
                    assert!(self.rows.contains_key(of));
                    assert!(self.rows.insert(*id, ()).is_none(), "a new number");
                }
                QueueChange::Ended { id, .. } => assert!(self.rows.remove(id).is_some()),
                QueueChange::Placed { id, .. } | QueueChange::Rewritten { id, .. } => {
                    assert!(self.rows.contains_key(id));
                }
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Insert { domain, priority, placement, quota } => {
                self.last += 1;
                let new = NewMessage {
                    priority: Priority::from_number(u64::from(priority)),
                    placement: match placement {
                        0 => Placement::Hold,
                        1 => Placement::At(now.saturating_add(Duration::from_secs(2))),
                        2 => Placement::Update(now),
                        _ => Placement::Now,
                    },
                    jobid: quota.then(|| JobId::new("job")),
                    quotas: if quota { vec!["q".into()] } else { Vec::new() },
                    ..message(self.last, &format!("d{domain}.example"))
                };
                self.rows.insert(new.id(), ());
                self.queue.insert(new, now).unwrap();
            }
            Event::Due(max) => {
                let taken = self.queue.due(now, usize::from(max));
                self.unknown.extend(taken);
            }
            Event::Activate { which, mx, ips, ordered } => {
                let Some(id) = take(&mut self.unknown, which) else { return };
                let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"];
                let ips: Vec<_> =
                    all.iter().enumerate().filter(|(at, _)| ips >> at & 1 == 1).collect();
                let ips: Vec<_> = ips.into_iter().map(|(_, ip)| *ip).collect();
                let route =
                    Route { localipsordered: ordered, ..route(&format!("mx{mx}.example"), &ips) };
                let change = self.queue.activate(id, &route, now).unwrap();
                self.persist(change.as_slice());
            }
            Event::Next(times) => {
                for _ in 0..times {
                    match self.queue.next(now) {
                        Pickup::Pick(pick) => self.picked(pick),
                        Pickup::WaitUntil(_) | Pickup::Idle => self.nothing_to_pick(),
                    }
                }
            }
            Event::Finish { which, how } => {
                let from = if how % 2 == 0 { &mut self.sending } else { &mut self.unknown };
                let Some(id) = take(from, which) else { return };
                if how == 6 {
                    let delay = Duration::from_secs(1);
                    let changes = self.queue.give_back(id, delay, now).unwrap();
                    self.persist(&changes);
                    return;
                }
                let outcome = match how {
                    0 | 1 => delivered(),
                    2 | 3 => retry(1),
                    _ => Outcome::Requeue(Requeue {
                        hold: how == 5,
                        retrycount: RetryCount::Keep,
                        reason: Some("x".repeat(600).into()),
                        rewrite: Rewrite {
                            transportid: Some(TransportId::new("other")),
                            metadata: Some([("k", "v")].into_iter().collect()),
                            ..Rewrite::default()
                        },
                        ..Requeue::default()
                    }),
                };
                let changes = self.queue.finish(id, outcome, now).unwrap();
                self.persist(&changes);
            }
            Event::Advance(millis) => {
                self.now = now.saturating_add(Duration::from_millis(u64::from(millis)));
            }
            Event::Suspend { field, ttl } => {
                let (field, text) = match field {
                    0 | 1 => (Field::LocalIp, "192.0.2.1"),
                    2 => (Field::LocalIp, "192.0.2.2/31"),
                    3 => (Field::RemoteMx, "mx1.example"),
                    4 => (Field::RemoteMx, "/mx[23]/"),
                    5 => (Field::RecipientDomain, "*.example"),
                    6 => (Field::JobId, "job"),
                    _ => (Field::TransportId, "other"),
                };
                let suspend = NewSuspend {
                    matches: PerField::default().with(field, pattern(field, text)),
                    ttl: (ttl > 0).then(|| Duration::from_millis(u64::from(ttl) * 300)),
                    ..NewSuspend::default()
                };
                self.suspends.push(self.queue.add_suspend(suspend, now).unwrap());
            }
            Event::Unsuspend(which) => {
                if let Some(id) = take(&mut self.suspends, which) {
                    self.queue.delete_suspend(&id, now);
                }
            }
            Event::Dynamic { limit, ttl, mx } => {
                let text = if mx == 0 { "#both".to_owned() } else { format!("mx{mx}.example") };
                let dynamic = NewDynamic {
                    fields: fields(&[Field::RemoteMx]),
                    matches: PerField::default()
                        .with(Field::RemoteMx, pattern(Field::RemoteMx, &text)),
                    then: concurrency(u32::from(limit)),
                    ttl: (ttl > 0).then(|| Duration::from_millis(u64::from(ttl) * 400)),
                    ..NewDynamic::default()
                };
                self.dynamics.extend(self.queue.add_policy(dynamic, now).ok());
            }
            Event::Undynamic(which) => {
                if let Some(id) = take(&mut self.dynamics, which) {
                    self.queue.delete_policy(&id, now);
                }
            }
            Event::Policies(which) => self.queue.configure_policies(policies(which), now),
            Event::Update { task, domain, duplicate, freeze, priority } => {
                self.update(task, domain, duplicate, freeze, priority);
            }
            Event::Refill => {
                self.queue.refill_rates(&PerField::default(), None, now);
            }
        }
    }

    fn update(&mut self, task: u8, domain: u8, duplicate: bool, freeze: bool, priority: u8) {
        let condition = crate::Condition {
            recipients: vec![crate::condition::MailboxMatch {
                domain: Some(crate::condition::TextMatch::caseless(&format!("D{domain}.example"))),
                ..Default::default()
            }],
            ..Default::default()
        };
        let request = UpdateRequest {
            condition,
            task: match task {
                0 => Some(Task::Activate),
                1 => Some(Task::Defer { retryts: None, jitter: Duration::from_secs(1) }),
                2 => Some(Task::Hold),
                3 => Some(Task::Update),
                4 => Some(Task::Remove(Removal::Delete)),
                _ => None,
            },
            transportid: (task == 5).then(|| TransportId::new("third")),
            metadata: Metadata::default(),
            freeze,
            duplicate,
            priority: (priority > 0).then(|| Priority::from_number(u64::from(priority - 1))),
            limit: (task == 6).then_some(2),
            ..UpdateRequest::default()
        };
        let mut run = UpdateRun::new(request).unwrap();
        loop {
            let step = run.step(&mut self.queue, 3, self.now);
            self.persist(&step.changes);
            self.unknown.extend(step.removed);
            if step.done {
                break;
            }
        }
    }

    fn picked(&mut self, pick: Pick) {
        self.sending.push(pick.id);
        let queue = &mut self.queue;
        let node = queue.table.find(pick.id).unwrap();
        let work = &queue.work[&node];
        let lane = queue.active.lane(queue.table[node].lane.unwrap());
        let usable = queue.rules.suspends.usable(
            &lane.values,
            &lane.candidates.ips,
            &queue.rules.names,
            &queue.rules.lists,
        );
        let allowed = match (usable, work.localip) {
            (crate::suspend::Usable::All, _) => true,
            (crate::suspend::Usable::Some(ips), Some(localip)) => ips.contains(&localip),
            _ => false,
        };
        assert!(allowed, "what is suspended is never picked");
        for node in work.charges.clone() {
            let entry = queue.rules.entries.entry(node);
            assert!(entry.limits.concurrency.is_none_or(|limit| entry.in_flight <= limit));
        }
        assert!(queue.sending() <= 5);
    }

    fn nothing_to_pick(&mut self) {
        let queue = &mut self.queue;
        if queue.sending() < 5 {
            let (table, rules) = (&mut queue.table, &mut queue.rules);
            let overlooked = queue.active.overlooked(table, rules, self.now);
            assert_eq!(overlooked, None, "a row could go and was not picked");
        }
    }
}

fn take<T>(from: &mut Vec<T>, which: u8) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(usize::from(which) % from.len()))
}

proptest! {
    #[test]
    fn random_events_keep_every_invariant(
        start in 0..4_u8,
        events in proptest::collection::vec(event(), 1..150),
    ) {
        let settings = Settings { concurrency: NonZeroU32::new(5), ..Settings::default() };
        let mut world = World {
            queue: Queue::new(settings),
            now: at(0),
            last: 0,
            rows: BTreeMap::new(),
            unknown: Vec::new(),
            sending: Vec::new(),
            suspends: Vec::new(),
            dynamics: Vec::new(),
        };
        world.queue.configure_policies(policies(start), at(0));
        for event in events {
            world.happen(event);
            world.queue.check();
            let rows: HashSet<_> = world.queue.table.ids().keys().copied().collect();
            prop_assert_eq!(rows, world.rows.keys().copied().collect::<HashSet<_>>());
            let mut working: Vec<_> =
                world.unknown.iter().chain(&world.sending).copied().collect();
            working.sort_unstable();
            let mut found: Vec<_> =
                world.queue.work.keys().map(|node| world.queue.table[*node].id()).collect();
            found.sort_unstable();
            prop_assert_eq!(working, found);
        }
        // Everything ends, and nothing stays behind.
        world.queue.configure_suspends(Vec::new(), world.now);
        for id in std::mem::take(&mut world.sending).into_iter().chain(world.unknown.clone()) {
            world.queue.finish(id, delivered(), world.now).unwrap();
        }
        world.queue.check();
    }
}
