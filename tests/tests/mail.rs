//! The message in scripts: read and changed at the end of data, queued by hand, read again from
//! the queue.

use system_tests::{Setup, TestDaemon};
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink};

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
async fn when_one_of_the_copies_cannot_be_stored_none_of_them_is() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook(
        "eod",
        r#"$mail = $arguments["mail"];
           $r = $transaction["recipients"][0];
           if ($mail->getHeader("Subject") == "two") {
               $before = $mail->snapshot();
               $mail->setBody("small enough for the log");
               $mail->queue($transaction["senderaddress"], $r["address"], $r["transportid"]);
               $mail->restore($before);
           }
           $mail->queue($transaction["senderaddress"], $r["address"], $r["transportid"]);
           Accept();"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    for command in
        ["EHLO client.example", "MAIL FROM:<a@client.example>", "RCPT TO:<x@example.org>"]
    {
        assert!(client.command(command).await.starts_with("250"));
    }
    client.command("DATA").await;
    let line = "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n";
    client.send(format!("Subject: two\r\n\r\n{}", line.repeat(30_000)).as_bytes()).await;
    // The large body has its file; now its folder goes, and the file's name cannot be made safe.
    let bodies = daemon.dir().join("queue/bodies");
    while std::fs::read_dir(&bodies).unwrap().next().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let aside = daemon.dir().join("aside");
    std::fs::rename(&bodies, &aside).unwrap();
    let reply = client.command(".").await;
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    std::fs::rename(&aside, &bodies).unwrap();
    daemon.restart().await;
    // What comes after it has overtaken all that would have been left of it.
    let reply = deliver(&daemon, &["x@example.org"], MIXED).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let messages = sink.wait_for(1).await;
    assert_eq!(without_trace(&messages[0].content), MIXED);
    daemon.stop().await;
    assert_eq!(sink.messages().len(), 1);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_line_delivery_refuses_when_the_back_end_refuses_and_queues_nothing() {
    let refuse = SinkBehaviour::default().reply("RCPT TO:<BAD@", "550 5.1.1 No such user");
    let sink = SmtpSink::start_with(refuse).await;
    let port = sink.address.port();
    let script = format!(
        r#"$mail = $arguments["mail"];
           $mail->addHeader("X-In-Line", "yes");
           $to = array_map(function ($r) {{ return $r["address"]; }}, $transaction["recipients"]);
           $r = $mail->send($transaction["senderaddress"], $to, ["host" => "127.0.0.1", "port" => {port}]);
           if (!isset($r["result"])) Defer($r["error"]["message"]);
           $codes = ["reply_codes" => ["code" => $r["result"]["code"], "enhanced" => $r["result"]["enhanced"]]];
           if ($r["result"]["code"] >= 500) Reject($r["result"]["state"] . " " . $r["result"]["reason"][0], $codes);
           if ($r["connection"]["remoteip"] != "127.0.0.1" or $r["tls"]["started"]) Reject("facts");
           Accept([...$codes, "reason" => $r["result"]["reason"]]);"#
    );
    let mut daemon = TestDaemon::start(Setup::default().hook("eod", &script)).await;
    let reply = deliver(&daemon, &["x@example.org", "bad@example.org"], MIXED).await;
    assert_eq!(reply, "550 5.1.1 RCPT No such user");
    assert!(sink.messages().is_empty() && !sink.commands().iter().any(|line| line == "DATA"));
    let reply = deliver(&daemon, &["x@example.org", "y@example.org"], MIXED).await;
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    let message = sink.wait_for(1).await.remove(0);
    assert_eq!(message.to, ["<x@example.org>", "<y@example.org>"]);
    assert_eq!(message.content, format!("X-In-Line: yes\r\n{MIXED}"));
    drop(sink);
    let reply = deliver(&daemon, &["x@example.org"], MIXED).await;
    assert!(reply.starts_with("421 ") || reply.starts_with("451 "), "{reply}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_ask_other_servers_about_recipients_and_logins() {
    let mut behaviour = SinkBehaviour::default()
        .reply("RCPT TO:<BAD@", "550 5.1.1 No such user")
        .reply("RCPT TO:<LATER@", "451 4.2.0 Busy")
        .reply("AUTH PLAIN AGEACQ", "235 2.7.0 Welcome")
        .reply("AUTH PLAIN", "535 5.7.8 No");
    behaviour.extensions.push("AUTH PLAIN".to_owned());
    let sink = SmtpSink::start_with(behaviour).await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook(
        "mailfrom",
        &format!(
            r#"$server = ["host" => "127.0.0.1", "port" => {}, "helo" => "asks.example"];
               $ask = function ($to) closure ($server) {{ return smtp_lookup_rcpt($server, "", $to); }};
               $more = smtp_lookup_rcpt($server, "", "bad@example.org", ["extended_result" => true]);
               Reject(array_join([
                   ...array_map($ask, ["good@example.org", "bad@example.org", "later@example.org"]),
                   smtp_lookup_rcpt("out", "f@example.org", "good@example.org"),
                   smtp_lookup_rcpt(["host" => "127.0.0.1", "port" => 1], "", "good@example.org"),
                   $more["error_code"], $more["error_message"], $more["on_rcptto"] ? "rcpt" : "else",
                   smtp_lookup_auth($server, "a", "\t"), smtp_lookup_auth($server, "a", "wrong"),
               ], ","));"#,
            sink.address.port()
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.command("MAIL FROM:<a@client.example>").await;
    assert!(reply.ends_with(" 1,0,-1,1,-1,550,No such user,rcpt,1,0"), "{reply}");
    assert!(sink.commands().iter().any(|line| line == "EHLO asks.example"));
    assert!(!sink.commands().iter().any(|line| line == "DATA"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_signed_by_key_id_verifies_where_it_arrives() {
    let sink = SmtpSink::start().await;
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----";
    let setup = Setup {
        next_hop: Some(sink.address),
        running: format!(
            "pki:\n  private:\n    - id: dkim\n      privatekey:\n        data: |\n          {}\n",
            key.replace('\n', "\n          ")
        ),
        ..Setup::default()
    }
    .hook(
        "eod",
        r#"$mail = $arguments["mail"];
           $dns = function ($host) {
               if ($host != "s._domainkey.client.example") return ["error" => "permerror"];
               return ["result" => "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="];
           };
           $field = $mail->getHeader("DKIM-Signature", ["field" => true]);
           if (!$field) {
               $mail->delHeader("X-Folded");
               $options = ["algorithm" => "ed25519-sha256", "additional_headers" => ["content-type"]];
               if (!$mail->signDKIM("s", "client.example", "pki:dkim", $options)) Reject("no key");
               foreach ($transaction["recipients"] as $r)
                   $mail->queue($transaction["senderaddress"], $r["address"], $r["transportid"]);
               Accept();
           }
           $result = $mail->verifyDKIM($field, ["dns_function" => $dns]);
           Reject($result["result"] . " " . ($result["error"] ?? "") . $result["tags"]["d"]);"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let message = format!("From: a@client.example\r\n{MIXED}");
    let reply = deliver(&daemon, &["x@example.org"], &message).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let signed = sink.wait_for(1).await.remove(0).content;
    assert!(signed.contains("\r\nDKIM-Signature: v=1; a=ed25519-sha256;"), "{signed}");
    let reply = deliver(&daemon, &["x@example.org"], &signed).await;
    assert!(reply.ends_with(" pass client.example"), "{reply}");
    let reply = deliver(&daemon, &["x@example.org"], &signed.replace("stays", "goes")).await;
    assert!(reply.ends_with(" permerror body hash did not verifyclient.example"), "{reply}");
    daemon.stop().await;
}
