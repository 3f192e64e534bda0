//! The message in scripts: read and changed at the end of data, queued by hand, read again from
//! the queue.

use system_tests::{Setup, TestDaemon};
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::SmtpSink;

/// Two parts, with line folds and white space that a writer of its own would lose.
const MIXED: &str = "Subject:  =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\
    X-Folded: one\r\n\t two \r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed;\r\n boundary=\"b\"\r\n\r\n\
    preamble\r\n\
    --b\r\nContent-Type: text/plain\r\n\r\nstays  \r\n\r\n\
    --b  \r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nMZ\r\n\
    --b--\r\nepilogue \r\n";

/// What came behind the `Received` field that every message gets.
fn without_trace(content: &str) -> &str {
    assert!(content.starts_with("Received: "), "{content}");
    let mut at = 0;
    for line in content.split_inclusive("\r\n") {
        if at > 0 && !line.starts_with([' ', '\t']) {
            break;
        }
        at += line.len();
    }
    &content[at..]
}

async fn deliver(daemon: &TestDaemon, to: &[&str], message: &str) -> String {
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    client.deliver("a@client.example", to, message).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_added_and_a_part_removed_leave_all_other_octets_alone() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook(
        "eod",
        r#"$mail = $arguments["mail"];
           if ($mail->getHeader("subject") != "grüße") Reject("subject: " . $mail->getHeader("subject"));
           if ($mail->getType() != "multipart/mixed") Reject("type");
           $mail->addHeader("X-Scanned", "yes");
           foreach ($mail->findByFileName("\\.exe$") as $part) $part->remove();
           foreach ($transaction["recipients"] as $r)
               $mail->queue($transaction["senderaddress"], $r["address"], $r["transportid"]);
           $mail->addHeader("X-Late", "not in what was queued before");
           Accept();"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let reply = deliver(&daemon, &["x@example.org"], MIXED).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let message = sink.wait_for(1).await.remove(0);
    let expected = MIXED
        .replace("--b  \r\nContent-Disposition: attachment; filename=evil.exe\r\n\r\nMZ\r\n", "");
    assert_eq!(without_trace(&message.content), format!("X-Scanned: yes\r\n{expected}"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_with_equal_content_share_a_transaction_and_others_get_their_own() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook(
        "eod",
        r#"$mail = $arguments["mail"];
           $ids = [];
           foreach ($transaction["recipients"] as $r) {
               $before = $mail->snapshot();
               if ($r["address"]["localpart"] == "b") $mail->addHeader("X-For", "b");
               $ids[] = $mail->queue($transaction["senderaddress"], $r["address"], $r["transportid"]);
               $mail->restore($before);
           }
           if ($ids[0]["transaction"] != $transaction["id"]) Reject("not the connection's");
           if ($ids[0]["transaction"] != $ids[2]["transaction"]) Reject("content is equal");
           if ($ids[0]["transaction"] == $ids[1]["transaction"]) Reject("content differs");
           if ([$ids[0]["queue"], $ids[1]["queue"], $ids[2]["queue"]] != [1, 1, 2]) Reject("numbers");
           Accept();"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let to = ["a@example.org", "b@example.org", "c@example.org"];
    let reply = deliver(&daemon, &to, MIXED).await;
    assert!(reply.starts_with("250 "), "{reply}");
    for message in sink.wait_for(3).await {
        let content = without_trace(&message.content);
        match message.to[0].as_str() {
            "<b@example.org>" => assert_eq!(content, format!("X-For: b\r\n{MIXED}")),
            _ => assert_eq!(content, MIXED),
        }
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_with_a_header_for_each_recipient_is_stored_once() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook(
        "eod",
        r#"$mail = $arguments["mail"];
           foreach ($transaction["recipients"] as $r) {
               $mail->setHeader("X-For", $r["address"]["localpart"]);
               $mail->queue($transaction["senderaddress"], $r["address"], $r["transportid"],
                            ["hold" => $r["address"]["localpart"] != "c"]);
           }
           Accept();"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let body =
        "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n".repeat(50_000);
    let message = format!("Subject: large\r\n\r\n{body}");
    let reply = deliver(&daemon, &["a@x.example", "b@x.example", "c@x.example"], &message).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let sunk = sink.wait_for(1).await.remove(0);
    let expected = format!("Subject: large\r\nX-For: c\r\n\r\n{body}");
    assert!(without_trace(&sunk.content) == expected, "other octets than were sent");
    let files = std::fs::read_dir(daemon.dir().join("queue/bodies")).unwrap().count();
    assert_eq!(files, 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_queue_messages_of_their_own_in_any_hook_and_read_them_from_the_queue() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }
        .hook(
            "rcptto",
            r#"$id = MIME()->addHeader("Subject", "made")->setBody("Hi")
                   ->queue("", "notice@example.org", "out", ["metadata" => ["from" => "rcptto"]]);
               if ($id["queue"] != 1) Reject();
               MailMessage::String("Subject: forwarded\r\n\r\nText\r\n")
                   ->queue("f@example.org", ["localpart" => "other", "domain" => "example.org"], "out");
               Reject("done");"#,
        )
        .hook(
            "predelivery",
            r#"$file = File($message["file"]["original"]);
               $first = $file->readline();
               $file->seek(0);
               $all = $file->read();
               if (length($all) != $message["size"]) Delete();
               if ($file->read(1) != "") Delete();
               $mail = MailMessage::File(File($message["file"]["modified"]));
               Try(["sender" => ["localpart" => $mail->getHeader("Subject") . "-" . (GetMetaData()["from"] ?? "none"),
                                 "domain" => "seen.example"]]);"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    client.command("MAIL FROM:<a@client.example>").await;
    assert_eq!(client.command("RCPT TO:<x@example.org>").await, "554 5.7.1 done");
    let mut from: Vec<_> = sink.wait_for(2).await.into_iter().map(|m| m.from).collect();
    from.sort();
    assert!(from[0].starts_with("<forwarded-none@seen.example>"), "{from:?}");
    assert!(from[1].starts_with("<made-rcptto@seen.example>"), "{from:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_cannot_be_queued_throws() {
    let setup = Setup::default().hook(
        "eod",
        r#"foreach ([[5, "a@b"], ["a@b", ""]] as $pair) {
               try { $arguments["mail"]->queue($pair[0], $pair[1], "out"); Reject("taken"); }
               catch ($e) {}
               try { MIME()->queue($pair[0], $pair[1], "out"); Reject("taken"); }
               catch ($e) {}
           }
           Accept(["reason" => "refused as they should be"]);"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let reply = deliver(&daemon, &["x@example.org"], MIXED).await;
    assert!(reply.starts_with("250 ") && reply.ends_with("refused as they should be"), "{reply}");
    daemon.stop().await;
}
