//! How many messages a second the queue decides about, and what it costs that most may not go.

use std::num::NonZeroU32;
use std::time::Duration;

use divan::Bencher;
use mta_types::{Address, MessageId, QueueId, ServerId, Timestamp, TransactionId, TransportId};
use queue::condition::{MailboxMatch, TextMatch};
use queue::listing::{ListRequest, ListRun};
use queue::policy::{Counter, Limits};
use queue::suspend::StaticSuspend;
use queue::{
    Condition, End, Field, NewMessage, Outcome, Pattern, PerField, Pickup, Policies, Queue, Route,
    Settings, Transaction, TransactionParts,
};

fn main() {
    divan::main();
}

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn message(number: u64, domain: &str) -> NewMessage {
    let mut id = [0x5a; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let transaction = Transaction::new(TransactionParts {
        id: TransactionId(id),
        sender: &Address::parse("bounce-1234567@news.sender.example").unwrap(),
        ts: NOW,
        size: 42_000,
        serverid: &ServerId::new("submission"),
        senderip: None,
        senderhelo: "mail-out-17.sender.example",
        saslusername: None,
        subject: Some("Your order 1234567 has been shipped today"),
        envid: None,
        ret: None,
        stageid: None,
        hqfpath: None,
        smtputf8: false,
        eightbit: false,
    });
    let recipient = Address::new("some.recipient", domain).unwrap();
    NewMessage::new(transaction, QueueId(1), recipient, TransportId::new("outbound"))
}

fn route(mx: &str) -> Route {
    Route {
        localips: vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()],
        remoteip: Some("203.0.113.1".parse().unwrap()),
        remotemx: Some(mx.to_owned()),
        ..Route::default()
    }
}

/// Limits nobody reaches, on what operators count as a rule.
fn policies() -> Policies {
    let counter = |fields: &[Field]| Counter {
        fields: fields.iter().copied().collect(),
        default: Limits {
            concurrency: NonZeroU32::new(1_000_000),
            rate: Some("1000000/1".parse().unwrap()),
            ..Limits::default()
        },
        ..Counter::default()
    };
    Policies {
        counters: vec![
            counter(&[Field::LocalIp, Field::RemoteMx]),
            counter(&[Field::RecipientDomain]),
        ],
    }
}

fn activate(queue: &mut Queue, message: NewMessage, mx: &str) -> MessageId {
    let id = message.id();
    queue.insert(message, NOW).unwrap();
    for id in queue.due(NOW, 1) {
        queue.activate(id, &route(mx), NOW).unwrap();
    }
    id
}

/// A thousand messages from insertion to delivery.
#[divan::bench(args = [false, true])]
fn thousand_cycles(bencher: Bencher<'_, '_>, with_policies: bool) {
    let mut queue = Queue::new(Settings::default());
    if with_policies {
        queue.configure_policies(policies(), NOW);
    }
    let messages = || -> Vec<_> {
        (0..1000).map(|number| message(number, &format!("d{}.example", number % 100))).collect()
    };
    bencher.with_inputs(messages).bench_local_values(|messages| {
        for message in messages {
            activate(&mut queue, message, "mx.example");
        }
        while let Pickup::Pick(pick) = queue.next(NOW) {
            queue.finish(pick.id, Outcome::End(End::Delivered), NOW).unwrap();
        }
        assert_eq!(queue.stats().rows, 0);
    });
}

/// One pickup while 100,000 rows in 1,000 sub-queues are suspended and one is not.
#[divan::bench(args = ["suspended", "used up"])]
fn pick_among_stopped(bencher: Bencher<'_, '_>, how: &str) {
    let mut queue = Queue::new(Settings::default());
    if how == "suspended" {
        let pattern = Pattern::parse(Field::RemoteMx, "mx.stopped.example").unwrap();
        let matches = PerField::default().with(Field::RemoteMx, pattern);
        queue.configure_suspends(vec![StaticSuspend { matches, ..Default::default() }], NOW);
    } else {
        let counter = Counter {
            fields: [Field::RemoteMx].into_iter().collect(),
            default: Limits { concurrency: NonZeroU32::new(1), ..Limits::default() },
            ..Counter::default()
        };
        queue.configure_policies(Policies { counters: vec![counter] }, NOW);
    }
    for number in 0..100_000 {
        let message = message(number, &format!("d{}.example", number % 1000));
        activate(&mut queue, message, "mx.stopped.example");
    }
    let _ = queue.next(NOW);
    let mut number = 100_000;
    bencher.bench_local(|| {
        number += 1;
        activate(&mut queue, message(number, "free.example"), "mx.free.example");
        let Pickup::Pick(pick) = queue.next(NOW) else { panic!("one may go") };
        queue.finish(pick.id, Outcome::End(End::Delivered), NOW).unwrap();
    });
}

/// A million rows inserted, as at start-up.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn insert_a_million(bencher: Bencher<'_, '_>) {
    let messages = || -> Vec<_> {
        (0..1_000_000).map(|n| message(n, &format!("d{}.example", n % 20_000))).collect()
    };
    bencher.with_inputs(messages).bench_local_values(|messages| {
        let mut queue = Queue::new(Settings::default());
        for message in messages {
            queue.insert(message, NOW).unwrap();
        }
        queue
    });
}

/// A filtered list over 100,000 rows, and the longest that one of its steps holds the lock.
#[divan::bench(args = [4096, usize::MAX])]
fn list_a_hundred_thousand(bencher: Bencher<'_, '_>, step: usize) {
    let mut queue = Queue::new(Settings::default());
    for number in 0..100_000 {
        queue.insert(message(number, &format!("d{}.example", number % 1000)), NOW).unwrap();
    }
    let later = NOW.saturating_add(Duration::from_secs(1));
    bencher.bench_local(|| {
        let condition = Condition {
            recipients: vec![MailboxMatch {
                domain: Some(TextMatch::caseless("d77.example")),
                ..Default::default()
            }],
            ..Condition::default()
        };
        let request = ListRequest { condition, limit: Some(10), ..ListRequest::default() };
        let mut run = ListRun::new(request);
        while !run.step(&queue, step, later) {}
        run.finish(&queue)
    });
}
