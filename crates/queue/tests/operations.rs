//! What operators do to many rows: conditions, lists, updates, summaries.

use std::sync::Arc;
use std::time::Duration;

use mta_types::{
    Address, JobId, MessageId, QueueId, ServerId, Timestamp, TransactionId, TransportId,
};
use queue::change::QueueChange;
use queue::condition::{
    AddressMatch, AnyMatch, Case, Compare, IdMatch, MailboxMatch, MetadataMatch, Probability,
    StateMatch, TextKind, TextMatch, TimeValue,
};
use queue::grouping::{GroupingRule, Groupings, RegroupRun};
use queue::listing::{ListRequest, ListRun, Order, SortKey, Sorting};
use queue::policy::{Counter, RollUp};
use queue::state::{FreezeFacet, QueueFacet, WorkingFacet};
use queue::summary::{Count, CountResult, GroupBy, Measure, Predicate, SummaryRequest, SummaryRun};
use queue::update::{Halves, Removal, Task, UpdateRequest, UpdateRun};
use queue::{
    Condition, End, Field, NewMessage, Outcome, Pattern, Pickup, Placement, Policies, Priority,
    Queue, Route, Settings, State, Transaction, TransactionParts,
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + seconds)
}

fn id(number: u8) -> MessageId {
    MessageId::new(TransactionId([number; 16]), QueueId(1))
}

fn transaction(number: u8) -> Arc<Transaction> {
    Transaction::new(TransactionParts {
        id: TransactionId([number; 16]),
        sender: &Address::parse(&format!("s{number}@Sender{}.example", number % 2)).unwrap(),
        ts: at(u64::from(number)),
        size: u64::from(number) * 100,
        serverid: &ServerId::new(if number < 3 { "in" } else { "submission" }),
        senderip: Some(format!("192.0.2.{number}").parse().unwrap()),
        senderhelo: "helo",
        saslusername: None,
        subject: (number != 4).then_some("Hello World"),
        envid: None,
        ret: None,
        stageid: None,
        hqfpath: None,
        smtputf8: false,
        eightbit: false,
    })
}

/// Six rows: 1 due, 2 deferred, 3 on hold, 4 frozen, 5 in ACTIVE, 6 being sent.
fn queue() -> Queue {
    let mut queue = Queue::new(Settings::default());
    queue.configure_policies(
        Policies {
            counters: vec![Counter {
                fields: [Field::RemoteMx].into_iter().collect(),
                rollups: vec![RollUp {
                    field: Field::RemoteMx,
                    name: "big".into(),
                    patterns: vec![Pattern::parse(Field::RemoteMx, "*.big.example").unwrap()],
                }],
                ..Counter::default()
            }],
        },
        at(0),
    );
    for number in [6, 5, 1, 2, 3, 4_u8] {
        let recipient = Address::new(
            &format!("r{number}"),
            ["A.example", "b.example"][usize::from(number % 2)],
        )
        .unwrap();
        let new = NewMessage {
            jobid: (number % 3 == 0).then(|| JobId::new("job")),
            metadata: [("n", number.to_string())]
                .iter()
                .map(|(key, value)| (*key, value.as_str()))
                .collect(),
            tags: if number == 2 { vec!["t".into(), "u".into()] } else { Vec::new() },
            quotas: if number == 2 { vec!["q".into()] } else { Vec::new() },
            priority: Priority::from_number(u64::from(number == 5)),
            placement: match number {
                2 => Placement::At(at(1000)),
                3 => Placement::Hold,
                4 => Placement::Update(at(50)),
                _ => Placement::Now,
            },
            retrycount: u32::from(number),
            retryreason: (number == 2).then(|| "451 busy".into()),
            ..NewMessage::new(transaction(number), QueueId(1), recipient, TransportId::new("mx"))
        };
        queue.insert(new, at(0)).unwrap();
        if number >= 5 {
            let route = Route {
                localips: vec!["198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap()],
                remoteip: Some("203.0.113.5".parse().unwrap()),
                remotemx: Some("mx1.big.example".to_owned()),
                grouping: Some("big".to_owned()),
                ..Route::default()
            };
            assert_eq!(queue.due(at(0), 1), [id(number)]);
            queue.activate(id(number), &route, at(0)).unwrap();
            if number == 6 {
                assert!(matches!(queue.next(at(10)), Pickup::Pick(pick) if pick.id == id(6)));
            }
        }
    }
    queue
}

fn list(queue: &Queue, request: ListRequest) -> (Vec<u8>, u64) {
    let mut run = ListRun::new(request);
    while !run.step(queue, 2, at(20)) {}
    let page = run.finish(queue);
    (page.items.iter().map(|item| item.id.transaction.0[0]).collect(), page.total)
}

fn found(condition: Condition) -> Vec<u8> {
    list(&queue(), ListRequest { condition, ..ListRequest::default() }).0
}

fn regex(text: &str) -> TextMatch {
    TextMatch::new(text, TextKind::Regex, Case::Sensitive).unwrap()
}

#[test]
fn every_kind_of_condition_finds_its_rows() {
    let all = Condition::default;
    let net = |text: &str, exclude| AddressMatch { network: text.parse().unwrap(), exclude };
    let exact = TextMatch::exact;
    let metadata = |match_: AnyMatch| {
        vec![MetadataMatch { values: vec![("n".to_owned(), match_)], exclude: false }]
    };
    let cases: Vec<(&str, Condition, &[u8])> = vec![
        ("all", all(), &[1, 2, 3, 4, 5, 6]),
        (
            "states are or-ed",
            Condition {
                states: vec![
                    StateMatch::Queue(QueueFacet::Active),
                    StateMatch::Freeze(FreezeFacet::Update),
                    StateMatch::Working(WorkingFacet::Sending, Some(false)),
                ],
                ..all()
            },
            &[4, 5, 6],
        ),
        (
            "freezing",
            Condition {
                states: vec![StateMatch::Working(WorkingFacet::Sending, Some(true))],
                ..all()
            },
            &[],
        ),
        ("hold", Condition { hold: Some(true), ..all() }, &[3]),
        (
            "ids",
            Condition {
                ids: vec![
                    IdMatch { transaction: id(2).transaction, queue: None, exclude: false },
                    IdMatch {
                        transaction: id(3).transaction,
                        queue: Some(QueueId(1)),
                        exclude: false,
                    },
                    IdMatch { transaction: id(3).transaction, queue: None, exclude: false },
                    IdMatch {
                        transaction: id(4).transaction,
                        queue: Some(QueueId(2)),
                        exclude: false,
                    },
                ],
                ..all()
            },
            &[2, 3],
        ),
        (
            "ids excluded",
            Condition {
                ids: vec![IdMatch { transaction: id(2).transaction, queue: None, exclude: true }],
                ..all()
            },
            &[1, 3, 4, 5, 6],
        ),
        ("server", Condition { serverids: vec![exact("in")], ..all() }, &[1, 2]),
        (
            "server excluded",
            Condition { serverids: vec![exact("in").excluding()], ..all() },
            &[3, 4, 5, 6],
        ),
        (
            "sender network without one",
            Condition {
                senderips: vec![net("192.0.2.0/30", false), net("192.0.2.2", true)],
                ..all()
            },
            &[1, 3],
        ),
        ("transport", Condition { transportids: vec![regex("^m")], ..all() }, &[1, 2, 3, 4, 5, 6]),
        ("job", Condition { jobids: vec![exact("job")], ..all() }, &[3, 6]),
        ("no job", Condition { jobids: vec![exact("job").excluding()], ..all() }, &[1, 2, 4, 5]),
        ("grouping", Condition { groupings: vec![exact("&big")], ..all() }, &[5, 6]),
        (
            "sender",
            Condition {
                senders: vec![MailboxMatch {
                    domain: Some(TextMatch::caseless("sender1.example")),
                    ..MailboxMatch::default()
                }],
                ..all()
            },
            &[1, 3, 5],
        ),
        (
            "recipient",
            Condition {
                recipients: vec![MailboxMatch {
                    localpart: Some(exact("r2")),
                    domain: Some(exact("A.example")),
                    exclude: false,
                }],
                ..all()
            },
            &[2],
        ),
        (
            "received",
            Condition {
                tss: vec![Compare {
                    gt: Some(TimeValue::Absolute(at(2))),
                    lte: Some(TimeValue::Relative(-15.0)),
                    ..Compare::default()
                }],
                ..all()
            },
            &[3, 4, 5],
        ),
        (
            "due",
            Condition {
                retrytss: vec![Compare {
                    gt: Some(TimeValue::Relative(60.0)),
                    ..Compare::default()
                }],
                ..all()
            },
            &[2],
        ),
        (
            "retries",
            Condition {
                retrycounts: vec![
                    Compare { lt: Some(2), ..Compare::default() },
                    Compare { eq: Some(4), ..Compare::default() },
                ],
                ..all()
            },
            &[1, 4],
        ),
        (
            "subject",
            Condition {
                subjects: vec![TextMatch::new("WORLD", TextKind::Partial, Case::Ignored).unwrap()],
                ..all()
            },
            &[1, 2, 3, 5, 6],
        ),
        (
            "metadata text",
            Condition { metadatas: metadata(AnyMatch::Text(exact("5"))), ..all() },
            &[5],
        ),
        (
            "metadata number",
            Condition {
                metadatas: metadata(AnyMatch::Number(Compare {
                    gte: Some(4.5),
                    ..Compare::default()
                })),
                ..all()
            },
            &[5, 6],
        ),
        ("quota", Condition { quotas: vec![exact("q")], ..all() }, &[2]),
        ("tag", Condition { tags: vec![exact("u")], ..all() }, &[2]),
        (
            "size",
            Condition {
                sizes: vec![Compare { neq: Some(100), lte: Some(300), ..Compare::default() }],
                ..all()
            },
            &[2, 3],
        ),
        ("reason", Condition { retryreasons: vec![regex("busy$")], ..all() }, &[2]),
        ("local", Condition { localips: vec![net("198.51.100.2", false)], ..all() }, &[5, 6]),
        (
            "remote",
            Condition { remoteips: vec![net("203.0.113.0/24", true)], ..all() },
            &[1, 2, 3, 4],
        ),
        ("mx", Condition { remotemxs: vec![exact("#big")], ..all() }, &[]),
        (
            "mx rolled up",
            Condition {
                remotemxs: vec![exact("#big")],
                policygroupings: [Field::RemoteMx].into_iter().collect(),
                ..all()
            },
            &[5, 6],
        ),
        ("priority", Condition { priorities: vec![1], ..all() }, &[5]),
        (
            "kinds are and-ed",
            Condition { jobids: vec![exact("job")], hold: Some(false), ..all() },
            &[6],
        ),
        (
            "none",
            Condition { probability: Some(Probability { share: 0.0, seed: 1 }), ..all() },
            &[],
        ),
        (
            "any",
            Condition { probability: Some(Probability { share: 1.0, seed: 1 }), ..all() },
            &[1, 2, 3, 4, 5, 6],
        ),
    ];
    for (name, condition, expected) in cases {
        assert_eq!(found(condition), expected, "{name}");
    }
}

#[test]
fn a_probability_chooses_about_its_share_and_the_same_again() {
    let mut queue = Queue::new(Settings::default());
    for number in 0..2000_u32 {
        let recipient = Address::parse("r@example.org").unwrap();
        let new = NewMessage::new(transaction(1), QueueId(number + 1), recipient, "mx".into());
        queue.insert(new, at(0)).unwrap();
    }
    let count = |seed| {
        let probability = Some(Probability { share: 0.25, seed });
        let condition = Condition { probability, ..Condition::default() };
        list(&queue, ListRequest { condition, limit: Some(0), ..ListRequest::default() }).1
    };
    assert!((400..600).contains(&count(1)), "{}", count(1));
    assert_eq!(count(1), count(1));
}

#[test]
fn lists_are_sorted_and_paged() {
    let queue = queue();
    let by = |key, order| vec![Sorting { key, order }];
    for (sortings, expected) in [
        (by(SortKey::Size, Order::Descending), [6, 5, 4, 3, 2, 1]),
        (by(SortKey::RecipientDomain, Order::Ascending), [2, 4, 6, 1, 3, 5]),
        (
            vec![
                Sorting { key: SortKey::SenderDomain, order: Order::Descending },
                Sorting { key: SortKey::Ts, order: Order::Descending },
            ],
            [5, 3, 1, 6, 4, 2],
        ),
        (by(SortKey::WorkingDuration, Order::Descending), [6, 1, 2, 3, 4, 5]),
        (by(SortKey::RetryTs, Order::Descending), [2, 4, 1, 5, 6, 3]),
    ] {
        let request = ListRequest { sortings, ..ListRequest::default() };
        assert_eq!(list(&queue, request.clone()), (expected.to_vec(), 6));
        let page = ListRequest { offset: 1, limit: Some(3), ..request };
        assert_eq!(list(&queue, page), (expected[1..4].to_vec(), 6));
    }
}

#[test]
fn a_listed_row_shows_every_field() {
    let queue = queue();
    let item = queue.view(id(6)).unwrap().to_message();
    assert_eq!(item.state, State::Sending);
    assert_eq!(item.recipient.to_string(), "r6@A.example");
    assert_eq!(item.sender.to_string(), "s6@Sender0.example");
    assert_eq!(item.remotemx.as_deref(), Some("mx1.big.example"));
    assert_eq!(item.grouping.unwrap().as_str(), "&big");
    assert_eq!((item.localips.len(), item.localip.is_some()), (2, true));
    assert_eq!(item.metadata.get("n"), Some("6"));
    assert_eq!(item.working_since, Some(at(10)));
    assert_eq!(item.transaction.subject(), Some("Hello World"));
    let item = queue.view(id(2)).unwrap().to_message();
    assert_eq!((item.tags.len(), item.quotas.len()), (2, 1));
    assert_eq!(item.retryreason.as_deref(), Some("451 busy"));
    assert_eq!(item.retryts, at(1000));
}

/// Runs an update in small steps; returns affected, working, changes, removed.
fn update(
    queue: &mut Queue,
    request: UpdateRequest,
) -> (u64, u64, Vec<QueueChange>, Vec<MessageId>) {
    let mut run = UpdateRun::new(request).unwrap();
    let (mut changes, mut removed) = (Vec::new(), Vec::new());
    loop {
        let step = run.step(queue, 1, at(20));
        changes.extend(step.changes);
        removed.extend(step.removed);
        if step.done {
            return (run.affected(), run.working(), changes, removed);
        }
    }
}

fn states(queue: &Queue) -> Vec<State> {
    (1..7).map(|number| queue.view(id(number)).unwrap().state()).collect()
}

#[test]
fn moves_go_where_they_say_and_leave_busy_rows_alone() {
    use State::{Active, Defer, Hold, Sending, Update};
    for (task, expected) in [
        (Task::Activate, [Defer, Defer, Defer, Defer, Active, Sending]),
        (
            Task::Defer { retryts: None, jitter: Duration::ZERO },
            [Defer, Defer, Defer, Defer, Defer, Sending],
        ),
        (Task::Hold, [Hold, Hold, Hold, Hold, Hold, Sending]),
        (Task::Update, [Update, Update, Update, Update, Update, State::SendingFreezing]),
    ] {
        let mut queue = queue();
        let request = UpdateRequest { task: Some(task.clone()), ..UpdateRequest::default() };
        let (affected, working, changes, removed) = update(&mut queue, request);
        assert_eq!((affected, working, removed.len()), (5, 1, 0), "{task:?}");
        assert_eq!(states(&queue), expected, "{task:?}");
        assert!(changes.iter().all(|change| matches!(change, QueueChange::Placed { .. })));
    }
    let mut queue = queue();
    let task = Some(Task::Activate);
    update(&mut queue, UpdateRequest { task, ..UpdateRequest::default() });
    assert_eq!(queue.due(at(20), 10).len(), 4, "all but the one in ACTIVE are due at once");
}

#[test]
fn a_new_time_can_be_spread() {
    let mut queue = queue();
    let task =
        Task::Defer { retryts: Some(TimeValue::Relative(100.0)), jitter: Duration::from_secs(50) };
    update(&mut queue, UpdateRequest { task: Some(task), ..UpdateRequest::default() });
    let dues: Vec<_> = (1..6).map(|number| queue.view(id(number)).unwrap().retryts()).collect();
    assert!(dues.iter().all(|due| (at(120)..=at(170)).contains(due)), "{dues:?}");
    assert!(dues.iter().any(|due| *due != dues[0]));
}

#[test]
fn removal_hands_rows_to_the_hook() {
    let mut queue = queue();
    let task = Some(Task::Remove(Removal::Bounce { status: None, diagnosticcode: None }));
    let request = UpdateRequest { task, limit: Some(2), ..UpdateRequest::default() };
    let (affected, _, changes, removed) = update(&mut queue, request);
    assert_eq!((affected, changes.len(), removed.len()), (2, 0, 2));
    for id in removed {
        assert_eq!(queue.view(id).unwrap().state(), State::Unknown);
        let changes = queue.finish(id, Outcome::End(End::Bounced), at(21)).unwrap();
        assert_eq!(changes, [QueueChange::Ended { id, end: End::Bounced }]);
    }
    assert_eq!(queue.stats().rows, 4);
}

#[test]
fn rewriting_sends_an_active_row_back_to_the_hooks() {
    let mut queue = queue();
    let request = UpdateRequest {
        transportid: Some(TransportId::new("other")),
        metadata: [("x", "y")].into_iter().collect(),
        recipient: Halves { domain: Some("New.example".to_owned()), ..Halves::default() },
        sender: Halves { localpart: Some("new".to_owned()), ..Halves::default() },
        retrycount: Some(0),
        priority: Some(Priority::High),
        ..UpdateRequest::default()
    };
    let (affected, working, changes, _) = update(&mut queue, request);
    assert_eq!((affected, working), (5, 1));
    let view = queue.view(id(5)).unwrap();
    assert_eq!((view.state(), view.transportid(), view.retrycount()), (State::Defer, "other", 0));
    assert_eq!(view.recipient().to_string(), "r5@New.example");
    assert_eq!(view.recipientdomain(), "new.example");
    assert_eq!(view.sender().to_string(), "new@Sender1.example");
    assert_eq!(view.metadata().collect::<Vec<_>>(), [("n", "5"), ("x", "y")]);
    assert_eq!(queue.view(id(6)).unwrap().transportid(), "mx", "it is being sent");
    let rewritten = changes.iter().filter(|change| matches!(change, QueueChange::Rewritten { .. }));
    assert_eq!(rewritten.count(), 5);
    let bad = Halves { domain: Some("a b".to_owned()), ..Halves::default() };
    assert!(UpdateRun::new(UpdateRequest { sender: bad, ..UpdateRequest::default() }).is_err());
}

#[test]
fn copies_get_new_numbers_and_originals_stay() {
    let mut queue = queue();
    let request = UpdateRequest {
        duplicate: true,
        task: Some(Task::Hold),
        transportid: Some(TransportId::new("archive")),
        ..UpdateRequest::default()
    };
    let before = states(&queue);
    let (affected, _, changes, _) = update(&mut queue, request);
    assert_eq!(affected, 6);
    assert_eq!(states(&queue), before);
    assert_eq!(queue.stats().rows, 12);
    let copy = MessageId::new(id(5).transaction, QueueId(2));
    let view = queue.view(copy).unwrap();
    assert_eq!((view.state(), view.transportid()), (State::Hold, "archive"));
    let of_copy: Vec<_> = changes.iter().filter(|change| change.id() == copy).collect();
    assert!(matches!(
        of_copy[..],
        [
            QueueChange::Copied { .. },
            QueueChange::Rewritten { .. },
            QueueChange::Placed { placement: Placement::Hold, .. }
        ]
    ));
}

fn summary(request: SummaryRequest) -> Vec<(Vec<String>, Vec<u64>, u64)> {
    let queue = queue();
    let mut run = SummaryRun::new(request);
    while !run.step(&queue, 2, at(20)) {}
    let items = run.finish().items.into_iter();
    items
        .map(|item| {
            (item.groupbys.iter().map(|text| text.to_string()).collect(), item.counts, item.total)
        })
        .collect()
}

#[test]
fn groups_are_counted_in_their_columns() {
    let request = SummaryRequest {
        groupbys: vec![GroupBy::Field(Field::RecipientDomain)],
        counts: vec![
            Count {
                predicate: Predicate::Queue(QueueFacet::Defer),
                result: CountResult::Measure(Measure::Count),
            },
            Count { predicate: Predicate::All, result: CountResult::Measure(Measure::Bytes) },
            Count { predicate: Predicate::All, result: CountResult::Unique(GroupBy::SenderDomain) },
        ],
        ..SummaryRequest::default()
    };
    assert_eq!(
        summary(request),
        [
            (vec!["a.example".to_owned()], vec![1, 1200, 1], 3),
            (vec!["b.example".to_owned()], vec![1, 900, 1], 3),
        ]
    );
}

#[test]
fn groups_follow_source_addresses_and_roll_ups() {
    let request = SummaryRequest {
        groupbys: vec![GroupBy::Field(Field::LocalIp), GroupBy::Field(Field::RemoteMx)],
        policygroupings: [Field::RemoteMx].into_iter().collect(),
        measure: Measure::Bytes,
        ..SummaryRequest::default()
    };
    let group = |ip: &str, total| (vec![ip.to_owned(), "#big".to_owned()], vec![], total);
    assert_eq!(
        summary(request),
        [
            group("198.51.100.1", 1100),
            group("198.51.100.2", 1100),
            (vec![String::new(), String::new()], vec![], 1000),
        ]
    );
}

#[test]
fn new_groupings_reach_the_rows_of_active_and_no_others() {
    let mut queue = queue();
    let groupings = Groupings {
        rules: vec![GroupingRule {
            id: "large".into(),
            remotemx: vec![Pattern::parse(Field::RemoteMx, "*.big.example").unwrap()],
            ..GroupingRule::default()
        }],
        ..Groupings::default()
    };
    let mut run = RegroupRun::new(groupings);
    while !run.step(&mut queue, 1, at(20)) {}
    let grouping = |number| queue.view(id(number)).unwrap().grouping().map(str::to_owned);
    assert_eq!(grouping(5).as_deref(), Some("&large"));
    assert_eq!(grouping(6).as_deref(), Some("&big"), "being sent under the old one");
    assert_eq!(grouping(2), None);
    assert_eq!(queue.view(id(5)).unwrap().localips().count(), 2);
    assert!(matches!(queue.next(at(21)), Pickup::Pick(pick) if pick.id == id(5)));
}
