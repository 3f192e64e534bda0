//! Memory and time of a large queue: at most 600 octets for each recipient, everything counted.
//!
//! The allocator below counts what the program asks for, rounded as a common allocator rounds:
//! eight octets of its own, and multiples of sixteen.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mta_types::{Address, JobId, QueueId, ServerId, Timestamp, TransactionId, TransportId};
use queue::{
    NewMessage, Outcome, Placement, Queue, Requeue, Route, Settings, Transaction, TransactionParts,
};

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counter has no part in it.
#[expect(unsafe_code, reason = "an allocator cannot be had otherwise; this one is a test's")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(rounded(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(rounded(layout.size()), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const fn rounded(size: usize) -> usize {
    (size + 8).next_multiple_of(16)
}

const ROWS: usize = 20_000;
const LIMIT: usize = 600;

/// A message as platforms send them: one recipient each, many domains, a job, some metadata.
fn message(number: usize, placement: Placement) -> NewMessage {
    let mut id = [0x5a; 16];
    id[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let sender = format!("bounce-{number:07}@news.sender{}.example", number % 50);
    let domain = format!("recipients{}.example", number % 4000);
    let metadata = [
        ("campaign", format!("{}", 100_000 + number % 1000)),
        ("customer", format!("c{:05}", number % 500)),
    ];
    NewMessage {
        jobid: Some(JobId::new(format!("job-{}", number % 200))),
        metadata: metadata.iter().map(|(key, value)| (*key, value.as_str())).collect(),
        placement,
        ..NewMessage::new(
            Transaction::new(TransactionParts {
                id: TransactionId(id),
                sender: &Address::parse(&sender).unwrap(),
                ts: Timestamp::from_secs(1_700_000_000),
                size: 42_000 + number as u64,
                serverid: &server(),
                senderip: Some("198.51.100.77".parse().unwrap()),
                senderhelo: "mail-out-17.sender.example",
                saslusername: Some("customer-17"),
                subject: Some("Your order 1234567 has been shipped today"),
                envid: None,
                ret: None,
                stageid: None,
                hqfpath: None,
                smtputf8: false,
                eightbit: false,
            }),
            QueueId(1),
            Address::parse(&format!("some.recipient{number}@{domain}")).unwrap(),
            TransportId::new("outbound"),
        )
    }
}

fn server() -> ServerId {
    static SERVER: std::sync::OnceLock<ServerId> = std::sync::OnceLock::new();
    SERVER.get_or_init(|| ServerId::new("submission")).clone()
}

#[test]
fn a_queued_recipient_takes_at_most_600_octets() {
    let now = Timestamp::from_secs(1_700_000_000);
    let later = Placement::At(now.saturating_add(Duration::from_secs(900)));
    // The server's name is one for all.
    let _ = server();

    // Deferred after a failure: with due time and reason.
    let before = IN_USE.load(Ordering::Relaxed);
    let mut queue = Queue::new(Settings::default());
    for number in 0..ROWS {
        queue.insert(message(number, Placement::Now), now).unwrap();
    }
    while let Some(id) = queue.due(now, 1).pop() {
        let reason = "450 4.2.1 The user you are trying to contact is receiving mail too quickly";
        let requeue = Requeue {
            delay: Duration::from_secs(900),
            reason: Some(reason.into()),
            ..Requeue::default()
        };
        queue.finish(id, Outcome::Requeue(requeue), now).unwrap();
    }
    let deferred = (IN_USE.load(Ordering::Relaxed) - before) / ROWS;
    drop(queue);

    // Waiting for policies: each of 4,000 domains with its own host and four source addresses.
    let before = IN_USE.load(Ordering::Relaxed);
    let mut queue = Queue::new(Settings::default());
    let localips: Vec<IpAddr> = (1..5).map(|n| IpAddr::from([192, 0, 2, n])).collect();
    for number in 0..ROWS {
        queue.insert(message(number, Placement::Now), now).unwrap();
    }
    let mut number = 0;
    while let Some(id) = queue.due(now, 1).pop() {
        number += 1;
        let domain = queue.view(id).unwrap().recipientdomain().to_owned();
        let route = Route {
            localips: localips.clone(),
            remoteip: Some(IpAddr::from([10, 0, (number % 250) as u8, 1])),
            remotemx: Some(format!("mx.{domain}")),
            ..Route::default()
        };
        queue.activate(id, &route, now).unwrap();
    }
    let active = (IN_USE.load(Ordering::Relaxed) - before) / ROWS;
    let subqueues = queue.stats().subqueues;
    drop(queue);

    // Not tried yet.
    let before = IN_USE.load(Ordering::Relaxed);
    let mut queue = Queue::new(Settings::default());
    for number in 0..ROWS {
        queue.insert(message(number, later), now).unwrap();
    }
    let fresh = (IN_USE.load(Ordering::Relaxed) - before) / ROWS;
    drop(queue);

    println!("fresh {fresh}, deferred {deferred}, active {active} ({subqueues} sub-queues)");
    for (what, octets) in [("fresh", fresh), ("deferred", deferred), ("active", active)] {
        assert!(octets <= LIMIT, "{what}: {octets} octets for each recipient");
    }
}
