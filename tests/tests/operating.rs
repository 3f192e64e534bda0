//! What operators do: reload, list, update, look at numbers, make mistakes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use control::command::call;
use control::pb;
use system_tests::{Setup, TestDaemon, ask};
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::SmtpSink;

const MESSAGE: &str = "Subject: hello\r\n\r\nText\r\n";

async fn send(daemon: &TestDaemon, to: &str) -> String {
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    client.deliver("a@client.example", &[to], MESSAGE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_subject_of_what_is_stored_is_listed() {
    let setup = Setup::default().hook(
        "eod",
        r#"foreach ($transaction["recipients"] as $r) {
               $arguments["mail"]->queue($transaction["senderaddress"], $r["address"], "out", ["hold" => true]);
               $arguments["mail"]->setHeader("Subject", "grüße");
           }
           Accept();"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let to = ["one@example.org", "two@example.org"];
    let reply = client.deliver("a@client.example", &to, MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let list = ask(&daemon, |client| {
        client.call(call::QUEUE_LIST, &pb::QueueListRequest::default()).unwrap()
    })
    .await;
    let mut subjects: Vec<_> = list.items.iter().map(|item| item.subject.clone()).collect();
    subjects.sort();
    assert_eq!(subjects, ["grüße", "hello"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_bounces_or_deletes_goes_through_the_script() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), dsn: true, ..Setup::default() }
        .hook(
            "eod",
            r#"foreach ($transaction["recipients"] as $r)
                   $arguments["mail"]->queue($transaction["senderaddress"], $r["address"], "out",
                       ["hold" => true]);
               Accept();"#,
        )
        .hook(
            "postdelivery",
            r#"$what = json_encode([$arguments["action"], isset($arguments["attempt"]), isset($context), $arguments["dsn"]["diagnosticcode"]]);
               if ($message["recipientaddress"]["localpart"] == "saved") Bounce(["dsn" => ["headers" => ["X-What: $what"]]]);
               if ($message["recipientaddress"]["localpart"] == "bounced") Bounce(["dsn" => ["headers" => ["X-What: $what"]]]);"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    let act = async |to: &'static str, action: pb::queue_update_request::Task| {
        assert!(send(&daemon, &format!("{to}@example.org")).await.starts_with("250 "));
        let affected = ask(&daemon, move |client| {
            let request = pb::QueueUpdateRequest {
                conditions: Some(pb::Condition {
                    recipients: vec![pb::condition::MailAddress {
                        localpart: Some(pb::StringMatch { value: to.into(), ..Default::default() }),
                        ..Default::default()
                    }],
                    ..Default::default()
                }),
                task: Some(action),
                ..Default::default()
            };
            client.call(call::QUEUE_UPDATE, &request).unwrap().affected
        })
        .await;
        assert_eq!(affected, 1);
    };
    let bounce = pb::queue_update_request::Action {
        r#type: pb::ActionType::Bounce.into(),
        dsn: Some(pb::queue_update_request::action::Dsn {
            status: Some(pb::queue_update_request::action::dsn::Status {
                class: 5,
                subject: 1,
                detail: 6,
            }),
            diagnosticcode: "the mailbox has moved".into(),
        }),
    };
    act("bounced", pb::queue_update_request::Task::Action(bounce)).await;
    let notice = sink.wait_for(1).await.remove(0).content;
    for part in [
        "\r\nX-What: [\"BOUNCE\",false,false,\"the mailbox has moved\"]\r\n",
        "\r\nAction: failed\r\nStatus: 5.1.6\r\n",
        "Diagnostic-Code: x-error; the mailbox has moved\r\n",
    ] {
        assert!(notice.contains(part), "{part}\n{notice}");
    }
    // The script may think otherwise than the operator.
    let delete = || pb::queue_update_request::Task::Actiontype(pb::ActionType::Delete.into());
    act("saved", delete()).await;
    let notice = sink.wait_for(2).await.remove(1).content;
    assert!(notice.contains("\r\nX-What: [\"DELETE\",false,false,null]\r\n"), "{notice}");
    act("gone", delete()).await;
    daemon.stop().await;
    assert_eq!(sink.messages().len(), 2, "what is deleted is not told of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_listed_held_released_and_deleted() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook(
        "eod",
        r#"foreach ($transaction["recipients"] as $r)
               $arguments["mail"]->queue($transaction["senderaddress"], $r["address"], "out",
                   ["hold" => true, "metadata" => ["k" => "v"], "jobid" => "job"]);
           Accept();"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    for to in ["one@example.org", "two@example.org"] {
        assert!(send(&daemon, to).await.starts_with("250 "));
    }
    let list = ask(&daemon, |client| {
        client.call(call::QUEUE_LIST, &pb::QueueListRequest::default()).unwrap()
    })
    .await;
    assert_eq!(list.items.len(), 2);
    let item = &list.items[0];
    assert_eq!(item.jobid, "job");
    assert_eq!(item.metadata.get("k").map(String::as_str), Some("v"));
    assert!(item.hold);
    let only = |localpart: &str| pb::Condition {
        recipients: vec![pb::condition::MailAddress {
            localpart: Some(pb::StringMatch { value: localpart.into(), ..Default::default() }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let (delete, release) = (only("one"), only("two"));
    let affected = ask(&daemon, move |client| {
        let request = pb::QueueUpdateRequest {
            conditions: Some(delete),
            task: Some(pb::queue_update_request::Task::Actiontype(pb::ActionType::Delete.into())),
            ..Default::default()
        };
        let deleted = client.call(call::QUEUE_UPDATE, &request).unwrap().affected;
        let to_active = pb::queue_update_request::Move {
            destination: Some(pb::queue_update_request::r#move::Destination::Queue(
                pb::Queue::Active.into(),
            )),
            ..Default::default()
        };
        let request = pb::QueueUpdateRequest {
            conditions: Some(release),
            task: Some(pb::queue_update_request::Task::Move(to_active)),
            ..Default::default()
        };
        (deleted, client.call(call::QUEUE_UPDATE, &request).unwrap().affected)
    })
    .await;
    assert_eq!(affected, (1, 1));
    assert_eq!(sink.wait_for(1).await[0].to, ["<two@example.org>"]);
    daemon.stop().await;
    daemon.restart().await;
    let left = ask(&daemon, |client| {
        client.call(call::QUEUE_LIST, &pb::QueueListRequest::default()).unwrap().items.len()
    })
    .await;
    assert_eq!(left, 0);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_effect_without_dropping_anybody_and_a_broken_one_does_not() {
    let mut daemon =
        TestDaemon::start(Setup::default().hook("mailfrom", r#"Reject("old");"#)).await;
    let (mut before, _) = SmtpClient::connect(daemon.address()).await;
    before.command("EHLO client.example").await;
    daemon.rewrite(|setup| setup.hooks = vec![("mailfrom", r#"Reject("new");"#.into())]);
    ask(&daemon, |client| client.call(call::CONFIG_RELOAD, &()).unwrap()).await;
    assert!(before.command("MAIL FROM:<a@b.example>").await.ends_with("old"));
    let (mut after, _) = SmtpClient::connect(daemon.address()).await;
    after.command("EHLO client.example").await;
    assert!(after.command("MAIL FROM:<a@b.example>").await.ends_with("new"));
    daemon.rewrite(|setup| setup.hooks = vec![("mailfrom", "Reject(\"broken\"".into())]);
    let error = ask(&daemon, |client| client.call(call::CONFIG_RELOAD, &()).unwrap_err()).await;
    assert!(error.to_string().contains("mailfrom/script"), "{error}");
    let (mut still, _) = SmtpClient::connect(daemon.address()).await;
    still.command("EHLO client.example").await;
    assert!(still.command("MAIL FROM:<a@b.example>").await.ends_with("new"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_control_socket_ends_that_connection_only() {
    let mut daemon = TestDaemon::start(Setup::default()).await;
    let socket = daemon.control_socket();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    })
    .await
    .unwrap();
    assert_eq!(answer.first(), Some(&b'E'));
    let stats = ask(&daemon, |client| client.call(call::PROCESS_STATS, &()).unwrap()).await;
    assert_eq!(stats.servers[0].serverid, "default");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_refuses_the_start_and_names_the_place() {
    let cases: [(&str, Setup, &str); 4] = [
        ("unknown key", Setup { startup: "nonsense: 1\n".into(), ..Setup::default() }, "nonsense"),
        (
            "wrong type",
            Setup { server: "    concurrency:\n      total: many\n".into(), ..Setup::default() },
            "servers[0].concurrency.total",
        ),
        ("script error", Setup::default().hook("eod", "Accept(;"), "eod/script"),
        (
            "unknown function",
            Setup::default().hook("rcptto", "NoSuchFunction();"),
            "NoSuchFunction",
        ),
    ];
    for (what, setup, named) in cases {
        match TestDaemon::try_start(setup).await {
            Ok(_) => panic!("{what} was accepted"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(named), "{what}: {text}");
                assert!(error.is_configuration(), "{what}");
            }
        }
    }
}
