//! `hqfcat` and `hqfeml` on a message in the spool and as a file.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use bytes::Bytes;
use mta_types::{Address, QueueId, Timestamp, TransactionId};
use queue::message::{DsnNotify, DsnReturn, NewMessage, Placement, Transaction, TransactionParts};
use spool::{Body, Commit, Config, NewRow, Platform, Spool};

const MESSAGE: &[u8] = b"Subject: \xff\r\n\r\nhello\r\n";

fn transaction() -> Arc<Transaction> {
    Transaction::new(TransactionParts {
        id: TransactionId([7; 16]),
        sender: &Address::parse("from@example.org").unwrap(),
        ts: Timestamp::from_secs(1_700_000_000),
        size: MESSAGE.len() as u64,
        serverid: &"default".into(),
        senderip: Some("192.0.2.1".parse().unwrap()),
        senderhelo: "client.example",
        saslusername: None,
        subject: Some("x"),
        envid: Some("env"),
        ret: Some(DsnReturn::Headers),
        stageid: None,
        hqfpath: None,
        smtputf8: false,
        eightbit: true,
    })
}

/// A spool in `folder` with one message for two recipients.
fn fill(folder: &Path) -> Spool {
    let transaction = transaction();
    let row = |number: u32, recipient: &str| {
        let recipient = Address::parse(recipient).unwrap();
        NewMessage::new(Arc::clone(&transaction), QueueId(number), recipient, "mx".into())
    };
    let mut first = row(1, "one@example.net");
    first.placement = Placement::At(Timestamp::from_secs(1_700_000_060));
    first.retrycount = 2;
    first.retryreason = Some("later".into());
    first.metadata = [("k", "v")].into_iter().collect();
    first.jobid = Some("job".into());
    first.notify = DsnNotify::FAILURE.union(DsnNotify::DELAY);
    let mut second = row(2, "two@example.net");
    second.placement = Placement::Hold;
    let (spool, _) =
        Spool::open(Config::new(folder), Platform::system(|_| {}), &mut |_| {}).unwrap();
    let commit = Commit {
        transaction: transaction.id(),
        metadata: queue_records::encode_transaction(&transaction),
        rows: [first, second]
            .iter()
            .map(|row| NewRow {
                queue: row.queue,
                row: queue_records::encode_row(row),
                state: Box::default(),
            })
            .collect(),
        body: Body::from_pieces(vec![Bytes::from_static(MESSAGE)]),
    };
    spool.commit(commit).wait().unwrap();
    spool
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

const HQFCAT: &str = env!("CARGO_BIN_EXE_hqfcat");
const HQFEML: &str = env!("CARGO_BIN_EXE_hqfeml");
const ID: &str = "07070707-0707-0707-0707-070707070707";

#[test]
fn a_message_prints_the_same_from_the_spool_and_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let spool = fill(&folder.path().join("queue"));
    let file = folder.path().join("message.hqf");
    let queue = folder.path().join("queue");
    let (file, queue) = (file.to_str().unwrap(), queue.to_str().unwrap());
    spool.export(TransactionId([7; 16]), &mut std::fs::File::create(file).unwrap()).unwrap();

    // The spool is in use meanwhile.
    let from_spool = run(HQFCAT, &["--spool", queue, ID]);
    let from_file = run(HQFCAT, &[file]);
    assert_eq!(String::from_utf8_lossy(&from_spool.stderr), "");
    assert_eq!(from_spool.stdout, from_file.stdout);
    assert_eq!(from_spool.status.code(), Some(0));
    let items: serde_json::Value = serde_json::from_slice(&from_file.stdout).unwrap();
    assert_eq!(
        items[0],
        serde_json::json!({
            "transactionid": ID,
            "queueid": 1,
            "status": "QUEUE",
            "ts": 1_700_000_000.0,
            "retry": 2,
            "retryts": 1_700_000_060.0,
            "retryreason": "later",
            "transportid": "mx",
            "sender": { "localpart": "from", "domain": "example.org" },
            "recipient": { "localpart": "one", "domain": "example.net" },
            "serverid": "default",
            "senderip": "192.0.2.1",
            "senderhelo": "client.example",
            "subject": "x",
            "size": MESSAGE.len(),
            "jobid": "job",
            "priority": 0,
            "metadata": { "k": "v" },
            "dsn": { "envid": "env", "ret": "HDRS", "notify": ["FAILURE", "DELAY"] },
            "smtputf8": false
        })
    );
    assert_eq!(items[1]["status"], "HOLD");
    assert_eq!(items.as_array().unwrap().len(), 2);

    for arguments in [vec![file], vec!["-R", "2", file], vec!["--spool", queue, ID]] {
        let output = run(HQFEML, &arguments);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), MESSAGE));
    }
    let output = run(HQFEML, &["-R", "3", file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has no recipient 3"));
    spool.close().unwrap();
}

#[test]
fn what_is_no_message_is_told_and_damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let spool = fill(&folder.path().join("queue"));
    let file = folder.path().join("message.hqf");
    spool.export(TransactionId([7; 16]), &mut std::fs::File::create(&file).unwrap()).unwrap();
    let path = file.to_str().unwrap();
    let mut octets = std::fs::read(&file).unwrap();
    let last = octets.len() - 5;
    octets[last] ^= 1;
    std::fs::write(&file, &octets).unwrap();
    let output = run(HQFEML, &[path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty());
    std::fs::write(&file, "text").unwrap();
    for program in [HQFCAT, HQFEML] {
        let output = run(program, &[path]);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("message.hqf") && error.contains("not an hqf file"), "{error}");
        let missing = run(program, &["--spool", path, "07070707-0707-0707-0707-070707070708"]);
        assert_eq!(missing.status.code(), Some(1));
        assert_eq!(run(program, &[]).status.code(), Some(2));
    }
    spool.close().unwrap();
}
