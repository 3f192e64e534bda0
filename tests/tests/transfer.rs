//! Messages that leave and enter the queue as files, and what scripts share as operators see it.

use control::client::ClientError;
use control::command::call;
use control::pb;
use system_tests::{Setup, TestDaemon, ask};
use testkit::dns_zone::Zone;
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::SmtpSink;

const MESSAGE: &str = "Subject: hello\r\n\r\nText\r\n";

/// Holds every recipient, with metadata.
const HOLD: &str = r#"foreach ($transaction["recipients"] as $r)
    $arguments["mail"]->queue($transaction["senderaddress"], $r["address"], "out",
        ["hold" => true, "metadata" => ["k" => "v"], "jobid" => "job"]);
Accept();"#;

async fn send(daemon: &TestDaemon, to: &[&str]) {
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver("a@client.example", to, MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
}

async fn list(daemon: &TestDaemon) -> Vec<pb::queue_list_response::QueueItem> {
    ask(daemon, |client| {
        client.call(call::QUEUE_LIST, &pb::QueueListRequest::default()).unwrap().items
    })
    .await
}

fn import(octets: Vec<u8>, transactionid: bool) -> pb::QueueImportRequest {
    use pb::queue_import_request::{Data, Reset, data::Format};
    pb::QueueImportRequest {
        data: Some(Data { format: Some(Format::Hqf(octets)) }),
        reset: Some(Reset {
            transactionid: Some(pb::BoolValue { value: transactionid }),
            ..Default::default()
        }),
    }
}

fn activate_all() -> pb::QueueUpdateRequest {
    use pb::queue_update_request::{Move, Task, r#move::Destination};
    let destination = Some(Destination::Queue(pb::Queue::Active.into()));
    pb::QueueUpdateRequest {
        task: Some(Task::Move(Move { destination, ..Default::default() })),
        ..Default::default()
    }
}

fn only(localpart: &str) -> pb::Condition {
    pb::Condition {
        recipients: vec![pb::condition::MailAddress {
            localpart: Some(pb::StringMatch { value: localpart.into(), ..Default::default() }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unloaded_message_is_gone_and_comes_back_from_its_file() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook("eod", HOLD);
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, &["one@example.org", "two@example.org"]).await;
    let before = list(&daemon).await;
    let id = before[0].id.clone().unwrap().transaction;
    // Only one of two rows matches: left alone unless asked for.
    let (left, partial) = ask(&daemon, |client| {
        let request =
            pb::QueueUnloadRequest { conditions: Some(only("one")), ..Default::default() };
        let left = client.call(call::QUEUE_UNLOAD, &request).unwrap();
        let request = pb::QueueUnloadRequest { partial: true, ..request };
        (left, client.call(call::QUEUE_UNLOAD, &request).unwrap())
    })
    .await;
    assert_eq!((left.partial, left.hqfpaths.len()), (1, 0));
    assert_eq!((partial.partial, partial.hqfpaths.len()), (0, 1));
    assert_eq!(list(&daemon).await.len(), 1);
    let rest = ask(&daemon, |client| {
        client.call(call::QUEUE_UNLOAD, &pb::QueueUnloadRequest::default()).unwrap().hqfpaths
    })
    .await;
    assert_ne!(rest[0], partial.hqfpaths[0], "a second file of the same transaction");
    assert!(list(&daemon).await.is_empty());
    daemon.stop().await;
    daemon.restart().await;
    assert!(list(&daemon).await.is_empty(), "the rows ended durably");
    let one = std::fs::read(&partial.hqfpaths[0]).unwrap();
    let two = std::fs::read(&rest[0]).unwrap();
    let imported = ask(&daemon, move |client| {
        let mut damaged = one.clone();
        damaged[60] ^= 1;
        assert!(matches!(
            client.call(call::QUEUE_IMPORT, &import(damaged, false)),
            Err(ClientError::Failed(_))
        ));
        let first = client.call(call::QUEUE_IMPORT, &import(one, false)).unwrap().transactionid;
        // The other file is of the same transaction, so it needs an id of its own.
        let taken = client.call(call::QUEUE_IMPORT, &import(two.clone(), false)).unwrap_err();
        assert!(taken.to_string().contains("queued already"), "{taken}");
        let second = client.call(call::QUEUE_IMPORT, &import(two, true)).unwrap().transactionid;
        (first, second)
    })
    .await;
    assert_eq!(imported.0, id);
    assert_ne!(imported.1, id);
    daemon.stop().await;
    daemon.restart().await;
    let after = list(&daemon).await;
    assert_eq!(after.len(), 2);
    for item in &after {
        assert!(item.hold);
        assert_eq!((item.jobid.as_str(), item.ts), ("job", before[0].ts));
        assert_eq!(item.metadata.get("k").map(String::as_str), Some("v"));
    }
    ask(&daemon, |client| client.call(call::QUEUE_UPDATE, &activate_all()).unwrap()).await;
    let mut to: Vec<_> = sink.wait_for(2).await.into_iter().map(|m| m.to[0].clone()).collect();
    to.sort_unstable();
    assert_eq!(to, ["<one@example.org>", "<two@example.org>"]);
    assert!(sink.messages()[0].content.ends_with(MESSAGE));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_row_is_exported_and_stays() {
    let mut daemon = TestDaemon::start(Setup::default().hook("eod", HOLD)).await;
    send(&daemon, &["one@example.org", "two@example.org"]).await;
    let id = list(&daemon).await[1].id.clone().unwrap();
    let again = id.clone();
    let copy = ask(&daemon, move |client| {
        let unknown = pb::QueueItemId { queue: 77, ..id.clone() };
        let unknown = pb::QueueExportRequest { id: Some(unknown) };
        assert!(client.call(call::QUEUE_EXPORT, &unknown).is_err());
        let hqf =
            client.call(call::QUEUE_EXPORT, &pb::QueueExportRequest { id: Some(id) }).unwrap().hqf;
        client.call(call::QUEUE_IMPORT, &import(hqf, true)).unwrap().transactionid
    })
    .await;
    let rows = list(&daemon).await;
    assert_eq!(rows.len(), 3);
    let copied = rows.iter().find(|row| row.id.as_ref().unwrap().transaction == copy).unwrap();
    let original = rows.iter().find(|row| row.id.as_ref() == Some(&again)).unwrap();
    assert_eq!(copied.recipient, original.recipient);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_of_a_message_is_imported_to_its_recipients() {
    use pb::queue_import_request::{Data, data::Format};
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() };
    let mut daemon = TestDaemon::start(setup).await;
    let text =
        "From: Some One <from@example.org>\r\nTo: a@example.net,\r\n b@example.net\r\n\r\nHi\r\n";
    let request = |text: &str| pb::QueueImportRequest {
        data: Some(Data { format: Some(Format::Rfc822(text.into())) }),
        reset: None,
    };
    let (good, bad) = (request(text), request("From: a@b.example\r\n\r\nnobody\r\n"));
    ask(&daemon, move |client| {
        client.call(call::QUEUE_IMPORT, &good).unwrap();
        let error = client.call(call::QUEUE_IMPORT, &bad).unwrap_err();
        assert!(error.to_string().contains("no recipient"), "{error}");
    })
    .await;
    let mut messages = sink.wait_for(2).await;
    messages.sort_by(|a, b| a.to.cmp(&b.to));
    assert!(messages[0].from.starts_with("<from@example.org>"), "{}", messages[0].from);
    assert_eq!(messages[1].to, ["<b@example.net>"]);
    assert_eq!(messages[0].content, text);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_memory_and_caches_are_seen_and_changed_from_outside() {
    let setup = Setup::default().hook(
        "mailfrom",
        r#"function slow($n) { return $n; }
           cache [] slow($transaction["sender"] ?? "x");
           $seen = memory_fetch("limits");
           memory_store("seen", $seen["a"] ?? 0);
           Reject("done");"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    ask(&daemon, |client| {
        let store = |value: &str| pb::HslMemoryStoreRequest {
            key: "limits".into(),
            value: value.into(),
            r#return: true,
        };
        assert_eq!(client.call(call::MEMORY_STORE, &store(r#"{"a":5}"#)).unwrap().value, "");
        assert_eq!(
            client.call(call::MEMORY_STORE, &store(r#"{"a":6}"#)).unwrap().value,
            r#"{"a":5}"#
        );
        assert!(client.call(call::MEMORY_STORE, &store("{")).is_err());
    })
    .await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.command("MAIL FROM:<a@b.example>").await;
    assert!(reply.ends_with("done"), "{reply}");
    ask(&daemon, |client| {
        let request = pb::HslMemoryRequest { key: "seen".into() };
        assert_eq!(client.call(call::MEMORY_FETCH, &request).unwrap().value, "6");
        let request = pb::HslMemoryListRequest::default();
        assert_eq!(client.call(call::MEMORY_LIST, &request).unwrap().keys, ["limits", "seen"]);
        let delete = pb::HslMemoryDeleteRequest { key: "limits".into(), r#return: true };
        let gone = client.call(call::MEMORY_DELETE, &delete).unwrap();
        assert_eq!((gone.affected, gone.value.as_str()), (1, r#"{"a":6}"#));
        assert_eq!(client.call(call::MEMORY_DELETE, &delete).unwrap().affected, 0);
        let caches = client.call(call::CACHE_LIST, &()).unwrap().items;
        assert_eq!(caches.len(), 1, "{caches:?}");
        assert_eq!((caches[0].function.as_str(), caches[0].size), ("slow", 1));
        let clear = |function: &str| pb::HslCacheClearRequest {
            function: Some(pb::StringValue { value: function.into() }),
            ..Default::default()
        };
        assert_eq!(client.call(call::CACHE_CLEAR, &clear("other")).unwrap().affected, 0);
        assert_eq!(client.call(call::CACHE_CLEAR, &clear("slow")).unwrap().affected, 1);
        assert!(client.call(call::CACHE_LIST, &()).unwrap().items.is_empty());
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_of_scripts_are_listed_by_pages_and_cleared() {
    let setup = Setup::default().hook(
        "mailfrom",
        r#"rate("from", $arguments["sender"], 100, 3600);
           Reject(string(rate("from", $arguments["sender"], 0, 3600)));"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    for sender in ["b@x.example", "a@x.example", "a@x.example"] {
        client.command(&format!("MAIL FROM:<{sender}>")).await;
    }
    ask(&daemon, |client| {
        let page = |namespace: &str, entry: &str| pb::HslRateRequest {
            paging: Some(pb::hsl_rate_request::Paging {
                limit: 1,
                namespace: namespace.into(),
                entry: entry.into(),
            }),
            filter: None,
        };
        let first = client.call(call::RATE_LIST, &page("", "")).unwrap().item;
        let [item] = first.as_slice() else { panic!("{first:?}") };
        assert_eq!((item.namespace.as_str(), item.entry.as_str()), ("from", "a@x.example"));
        assert_eq!((item.count, item.localcount), (2, 2));
        assert!(item.oldest >= item.newest && item.oldest < 120.0, "{item:?}");
        let second = client.call(call::RATE_LIST, &page("from", "a@x.example")).unwrap().item;
        assert_eq!(second.len(), 1);
        assert_eq!((second[0].entry.as_str(), second[0].count), ("b@x.example", 1));
        assert!(
            client.call(call::RATE_LIST, &page("from", "b@x.example")).unwrap().item.is_empty()
        );
        let entry = |value: &str| pb::HslRateClearRequest {
            filter: Some(pb::HslRateFilter {
                namespace: None,
                entry: Some(pb::StringMatch { value: value.into(), ..Default::default() }),
            }),
        };
        assert_eq!(client.call(call::RATE_CLEAR, &entry("c@x.example")).unwrap().affected, 0);
        assert_eq!(client.call(call::RATE_CLEAR, &entry("a@x.example")).unwrap().affected, 1);
        let rest = client.call(call::RATE_LIST, &pb::HslRateRequest::default()).unwrap().item;
        assert_eq!(rest.len(), 1);
    })
    .await;
    let reply = client.command("MAIL FROM:<a@x.example>").await;
    assert!(reply.ends_with(" 1"), "it counts anew: {reply}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolver_query_shows_the_hosts_in_the_order_of_a_delivery() {
    let names = Zone::new()
        .mx("example.org", 20, "second.example.org")
        .mx("example.org", 10, "first.example.org")
        .mx("null.example", 0, ".")
        .address("first.example.org", "192.0.2.1")
        .address("second.example.org", "192.0.2.2")
        .serve()
        .await;
    let setup = Setup { name_server: Some(names.address), ..Setup::default() };
    let mut daemon = TestDaemon::start(setup).await;
    ask(&daemon, |client| {
        let request =
            |domain: &str| pb::ResolverQueryRequest { domain: domain.into(), ..Default::default() };
        let items = client.call(call::RESOLVER_QUERY, &request("example.org")).unwrap().items;
        let found: Vec<_> =
            items.iter().map(|item| (item.hostname.as_str(), item.address.as_str())).collect();
        let expected = [("first.example.org", "192.0.2.1"), ("second.example.org", "192.0.2.2")];
        assert_eq!(found, expected);
        assert!(!items[0].dnssec && items[0].tlsa.is_none());
        for (domain, named) in [("null.example", "null MX"), ("missing.example", "missing.example")]
        {
            let error = client.call(call::RESOLVER_QUERY, &request(domain)).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicated_message_is_a_row_of_its_own_that_survives_a_restart() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook("eod", HOLD);
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, &["one@example.org"]).await;
    let affected = ask(&daemon, |client| {
        let request = pb::QueueUpdateRequest {
            conditions: Some(only("one")),
            duplicate: true,
            recipient: Some(pb::queue_update_request::MailAddress {
                localpart: Some(pb::StringValue { value: "copy".into() }),
                domain: None,
            }),
            metadata: [("copied".to_owned(), "yes".to_owned())].into(),
            ..Default::default()
        };
        client.call(call::QUEUE_UPDATE, &request).unwrap().affected
    })
    .await;
    assert_eq!(affected, 1);
    daemon.stop().await;
    daemon.restart().await;
    let mut rows = list(&daemon).await;
    rows.sort_by_key(|row| row.id.as_ref().unwrap().queue);
    let numbers: Vec<_> = rows.iter().map(|row| row.id.as_ref().unwrap().queue).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(rows[1].recipient.as_ref().unwrap().localpart, "copy");
    assert_eq!(rows[1].metadata.get("copied").map(String::as_str), Some("yes"));
    assert_eq!(rows[0].metadata.get("copied"), None);
    assert!(rows[1].hold && rows[1].jobid == "job");
    ask(&daemon, |client| client.call(call::QUEUE_UPDATE, &activate_all()).unwrap()).await;
    let mut messages = sink.wait_for(2).await;
    messages.sort_by(|a, b| a.to.cmp(&b.to));
    assert_eq!(messages[0].to, ["<copy@example.org>"]);
    assert_eq!(messages[0].content, messages[1].content);
    daemon.stop().await;
    daemon.restart().await;
    assert!(list(&daemon).await.is_empty());
    daemon.stop().await;
}
