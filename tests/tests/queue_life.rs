//! What becomes of mail that is not delivered at once: retry, bounce, delay, restart.

use std::time::Duration;

use control::pb::queue_list_response::queue_item::State;
use control::pb::{Freeze, Queue};
use serde_json::{Value, json};
use system_tests::{Setup, TestDaemon, remembered, rows_where};
use testkit::dns_zone::Zone;
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink};

const MESSAGE: &str = "Subject: hello\r\nMessage-ID: <orig@client.example>\r\n\r\nText\r\n";

async fn send(daemon: &TestDaemon, from: &str, to: &str) {
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver(from, &[to], MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_refusal_is_tried_again() {
    let busy = SinkBehaviour::default().reply("RCPT TO:", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(busy).await;
    let setup = Setup { next_hop: Some(sink.address), retries: vec![1, 1], ..Setup::default() };
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "to@example.org").await;
    while !sink.commands().iter().any(|line| line.starts_with("RCPT")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sink.behave(SinkBehaviour::default());
    assert_eq!(sink.wait_for(1).await.len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_refusal_comes_back_as_a_bounce_that_threads() {
    let refuse = SinkBehaviour::default().reply("RCPT TO:<NOBODY@", "550 5.1.1 No such user");
    let sink = SmtpSink::start_with(refuse).await;
    let setup = Setup { next_hop: Some(sink.address), dsn: true, ..Setup::default() };
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "nobody@example.org").await;
    let bounce = sink.wait_for(1).await.remove(0);
    assert!(bounce.from.starts_with("<>"), "{}", bounce.from);
    assert_eq!(bounce.to, ["<a@client.example>"]);
    for part in [
        "\r\nAuto-Submitted: auto-replied\r\n",
        "\r\nIn-Reply-To: <orig@client.example>\r\n",
        "\r\nReferences: <orig@client.example>\r\n",
        "Final-Recipient: rfc822; nobody@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n",
        "\r\nSubject: hello\r\n",
    ] {
        assert!(bounce.content.contains(part), "{part}\n{}", bounce.content);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_null_sender_is_never_told() {
    let refuse = SinkBehaviour::default().reply("RCPT TO:<NOBODY@", "550 5.1.1 No such user");
    let sink = SmtpSink::start_with(refuse).await;
    let setup = Setup { next_hop: Some(sink.address), dsn: true, ..Setup::default() };
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "", "nobody@example.org").await;
    // What comes after it has overtaken any bounce of it.
    send(&daemon, "a@client.example", "somebody@example.org").await;
    let messages = sink.wait_for(1).await;
    assert_eq!(messages[0].to, ["<somebody@example.org>"]);
    daemon.stop().await;
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_is_told_when_the_interval_says_so_and_the_end_as_well() {
    let busy = SinkBehaviour::default().reply("RCPT TO:<BUSY@", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(busy).await;
    let setup = Setup {
        next_hop: Some(sink.address),
        dsn: true,
        retries: vec![1],
        notify: true,
        ..Setup::default()
    };
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "busy@example.org").await;
    let notices = sink.wait_for(2).await;
    let (delayed, failed) = (&notices[0].content, &notices[1].content);
    assert!(delayed.contains("\r\nAction: delayed\r\nStatus: 4.2.0\r\n"), "{delayed}");
    assert!(delayed.contains("\r\nWill-Retry-Until: "), "{delayed}");
    assert!(delayed.contains("\r\nIn-Reply-To: <orig@client.example>\r\n"), "{delayed}");
    // All retries are used up.
    assert!(failed.contains("\r\nAction: failed\r\n"), "{failed}");
    assert!(notices.iter().all(|notice| notice.from.starts_with("<>")));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_sees_the_notification_that_comes_and_words_it() {
    let refuse = SinkBehaviour::default()
        .reply("RCPT TO:<NOBODY@", "550 5.1.1 No such user")
        .reply("RCPT TO:<BUSY@", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(refuse).await;
    let setup = Setup { next_hop: Some(sink.address), dsn: true, retries: vec![600], ..Setup::default() }
        .hook(
            "predelivery",
            r#"if ($message["recipientaddress"]["localpart"] == "gone")
                   Bounce(["reason" => "closed account", "dsn" => ["subject_prepend" => "[acme] "]]);
               if ($message["recipientaddress"]["localpart"] == "later")
                   Queue(["delay" => 600, "reason" => "not yet", "dsn_delayed" => true, "dsn" => ["headers" => ["X-Grey: list"]]]);"#,
        )
        .hook(
            "postdelivery",
            r#"$dsn = $arguments["dsn"] ?? [];
               $note = json_encode([$dsn["action"], $dsn["status"], $dsn["diagnostictype"], $dsn["diagnosticcode"]]);
               $style = ["from" => "post@acme.example", "from_name" => "Post, Acme", "headers" => ["X-Note: $note",
                   "X-Id: " . ($dsn["id"]["transaction"] ?? "")], "jobid" => "dsn", "original_headers" => false];
               if ($message["recipientaddress"]["localpart"] == "nobody") Bounce(["dsn" => $style]);
               if ($message["recipientaddress"]["localpart"] == "busy")
                   Queue(["delay" => 600, "dsn_delayed" => true, "dsn" => $style]);"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "nobody@example.org").await;
    let failed = sink.wait_for(1).await.remove(0).content;
    for part in [
        "\r\nFrom: \"Post, Acme\" <post@acme.example>\r\n",
        "\r\nX-Note: [\"failed\",[5,1,1],\"smtp\",\"550 5.1.1 No such user\"]\r\n",
        "\r\nIn-Reply-To: <orig@client.example>\r\n",
    ] {
        assert!(failed.contains(part), "{part}\n{failed}");
    }
    assert!(!failed.contains("Subject: hello"), "{failed}");
    // What was announced is what came.
    let id = failed.split("X-Id: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    assert!(failed.contains(&format!("\r\nMessage-ID: <{id}@")), "{failed}");

    send(&daemon, "a@client.example", "busy@example.org").await;
    let delayed = sink.wait_for(2).await.remove(1).content;
    assert!(delayed.contains("\r\nAction: delayed\r\nStatus: 4.2.0\r\n"), "{delayed}");
    assert!(delayed.contains(" <post@acme.example>\r\n"), "{delayed}");

    send(&daemon, "a@client.example", "gone@example.org").await;
    let bounced = sink.wait_for(3).await.remove(2).content;
    assert!(bounced.contains("\r\nSubject: [acme] Undelivered mail"), "{bounced}");
    assert!(bounced.contains("Diagnostic-Code: x-error; closed account\r\n"), "{bounced}");

    send(&daemon, "a@client.example", "later@example.org").await;
    let delayed = sink.wait_for(4).await.remove(3).content;
    for part in
        ["\r\nAction: delayed\r\n", "\r\nX-Grey: list\r\n", "Diagnostic-Code: x-error; not yet\r\n"]
    {
        assert!(delayed.contains(part), "{part}\n{delayed}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn success_is_told_by_us_or_by_a_next_hop_that_can() {
    let script = "Accept([\"extensions\" => [...$arguments[\"extensions\"], \"DSN\"]]);";
    for can_tell in [false, true] {
        let mut behaviour = SinkBehaviour::default();
        if can_tell {
            behaviour.extensions.push("DSN".to_owned());
        }
        let sink = SmtpSink::start_with(behaviour).await;
        let setup = Setup { next_hop: Some(sink.address), dsn: true, ..Setup::default() };
        let mut daemon = TestDaemon::start(setup.hook("helo", script)).await;
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        client.command("MAIL FROM:<a@client.example>").await;
        let reply = client.command("RCPT TO:<to@example.org> NOTIFY=SUCCESS").await;
        assert!(reply.starts_with("250 "), "{reply}");
        client.command("DATA").await;
        client.send(MESSAGE.as_bytes()).await;
        assert!(client.command(".").await.starts_with("250 "));
        let messages = sink.wait_for(if can_tell { 1 } else { 2 }).await;
        assert_eq!(messages[0].to[0].contains("NOTIFY=SUCCESS"), can_tell, "{:?}", messages[0].to);
        if !can_tell {
            assert_eq!(messages[1].to, ["<a@client.example>"]);
            assert!(messages[1].content.contains("\r\nAction: relayed\r\nStatus: 2.0.0\r\n"));
        }
        daemon.stop().await;
        assert_eq!(sink.messages().len(), if can_tell { 1 } else { 2 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_says_what_is_told_of_success() {
    let mut behaviour = SinkBehaviour::default();
    behaviour.extensions.push("DSN".to_owned());
    let sink = SmtpSink::start_with(behaviour).await;
    let setup = Setup { next_hop: Some(sink.address), dsn: true, ..Setup::default() }
        .hook("helo", "Accept([\"extensions\" => [...$arguments[\"extensions\"], \"DSN\"]]);")
        .hook(
            "predelivery",
            r#"if ($message["sender"] == "") Try();
               Try(["dsn" => ["success" => "delivered", "envid" => "e1", "ret" => "HDRS",
                   "notify" => "SUCCESS,FAILURE", "orcpt" => "rfc822;first@example.org"]]);"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "to@example.org").await;
    let messages = sink.wait_for(2).await;
    // We tell of the success, so the next hop must not.
    assert_eq!(messages[0].to, ["<to@example.org> NOTIFY=FAILURE ORCPT=rfc822;first@example.org"]);
    assert!(messages[0].from.ends_with(" ENVID=e1 RET=HDRS"), "{}", messages[0].from);
    let told = &messages[1].content;
    for part in [
        "\r\nSubject: Mail delivered: success notification\r\n",
        "\r\nOriginal-Envelope-Id: e1\r\n",
        "\r\nOriginal-Recipient: rfc822; first@example.org\r\n",
        "\r\nAction: delivered\r\nStatus: 2.0.0\r\n",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_that_takes_no_mail_bounces_at_once() {
    let sink = SmtpSink::start().await;
    let names = Zone::new()
        .mx("null.example", 0, ".")
        .mx("client.example", 10, "mx.client.example")
        .address("mx.client.example", "127.0.0.1")
        .serve()
        .await;
    let setup = Setup {
        name_server: Some(names.address),
        port: Some(sink.address.port()),
        dsn: true,
        ..Setup::default()
    };
    let mut daemon = TestDaemon::start(setup).await;
    for to in ["to@null.example", "to@absent.example"] {
        send(&daemon, "a@client.example", to).await;
    }
    let notices = sink.wait_for(2).await;
    let about = |recipient: &str| {
        let field = format!("Final-Recipient: rfc822; {recipient}\r\n");
        notices.iter().find(|notice| notice.content.contains(&field)).expect("a notice")
    };
    // RFC 7505 section 4 names the code.
    assert!(about("to@null.example").content.contains("\r\nStatus: 5.1.10\r\n"));
    assert!(about("to@absent.example").content.contains("\r\nStatus: 5.1.2\r\n"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_free_space_limit_mail_is_put_off() {
    let sink = SmtpSink::start().await;
    let setup = Setup {
        next_hop: Some(sink.address),
        spool: "  minfree:\n    bytes: 1000000000000000\n".to_owned(),
        ..Setup::default()
    };
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver("a@client.example", &["to@example.org"], MESSAGE).await;
    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
    // The connection goes on, and so does the daemon.
    assert!(client.command("NOOP").await.starts_with("250 "));
    daemon.stop().await;
    assert!(sink.messages().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_mail_survives_a_restart() {
    // Bound, so that nobody else takes the port, but not listening: connections are refused.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = silent.local_addr().unwrap();
    let setup = Setup { next_hop: Some(port), retries: vec![1, 1, 1], ..Setup::default() };
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "to@example.org").await;
    daemon.stop().await;
    let sink = SmtpSink::start().await;
    daemon.rewrite(|setup| setup.next_hop = Some(sink.address));
    daemon.restart().await;
    let message = sink.wait_for(1).await.remove(0);
    assert_eq!(message.to, ["<to@example.org>"]);
    assert!(message.content.ends_with(MESSAGE));
    daemon.stop().await;
    // Delivered mail does not come back.
    daemon.restart().await;
    daemon.stop().await;
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_exchangers_are_tried_in_their_order() {
    let sink = SmtpSink::start().await;
    // 127.0.0.2 answers nothing on that port, so the second exchanger gets the mail.
    let zone = Zone::new()
        .mx("example.org", 10, "dead.example.org")
        .mx("example.org", 20, "good.example.org")
        .mx("null.example", 0, ".")
        .address("dead.example.org", "127.0.0.2")
        .address("good.example.org", "127.0.0.1");
    let names = zone.serve().await;
    let setup = Setup {
        name_server: Some(names.address),
        port: Some(sink.address.port()),
        ..Setup::default()
    };
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "to@example.org").await;
    assert_eq!(sink.wait_for(1).await[0].to, ["<to@example.org>"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_is_worded_signed_and_sent_as_the_script_says() {
    let sink = SmtpSink::start().await;
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----";
    let setup = Setup {
        next_hop: Some(sink.address),
        dsn: true,
        running: format!(
            "pki:\n  private:\n    - id: dkim\n      privatekey:\n        data: |\n          {}\n",
            key.replace('\n', "\n          ")
        ),
        ..Setup::default()
    }
    .hook(
        "predelivery",
        r#"if ($message["sender"] == "") {
               // What was noted on the notification shows where it goes.
               $notes = GetMetaData();
               Try(["sender" => $message["jobid"] . "." . $notes["why"] . "@example.net"]);
           }
           $style = ["recipient" => "post@client.example", "jobid" => "dsn", "metadata" => ["why" => "gone"],
               "from" => "mail@client.example",
               "readable_mimepart" => "Content-Type: text/html\r\nX-Part: ours\r\n\r\n<p>Closed.</p>",
               "dkim" => ["selector" => "s", "domain" => "client.example", "key" => "pki:dkim",
                   "algorithm" => "ed25519-sha256", "additional_headers" => ["auto-submitted"]]];
           if ($message["recipientaddress"]["localpart"] == "nokey") {
               $style["dkim"]["key"] = "pki:absent";
               try { Bounce(["dsn" => $style]); }
               catch ($error) { $style["dkim"] = none; $style["subject_prepend"] = "$error "; }
           }
           Bounce(["dsn" => $style]);"#,
    )
    .hook(
        "eod",
        r#"$mail = $arguments["mail"];
           if ($transaction["sender"] != "verify@client.example") {
               foreach ($transaction["recipients"] as $r)
                   $mail->queue($transaction["senderaddress"], $r["address"], $r["transportid"]);
               Accept();
           }
           $dns = function ($host) {
               if ($host != "s._domainkey.client.example") return ["error" => "permerror"];
               return ["result" => "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="];
           };
           $field = $mail->getHeader("DKIM-Signature", ["field" => true]);
           $result = $mail->verifyDKIM($field, ["dns_function" => $dns]);
           Reject($result["result"] . " " . $result["tags"]["h"]);"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "gone@example.org").await;
    let notice = sink.wait_for(1).await.remove(0);
    assert!(notice.from.starts_with("<dsn.gone@example.net>"), "{}", notice.from);
    assert_eq!(notice.to, ["<post@client.example>"]);
    let content = notice.content;
    let part = "Content-Type: text/html\r\nX-Part: ours\r\n\r\n<p>Closed.</p>\r\n";
    assert!(content.contains(part) && !content.contains("This is the mail system"), "{content}");
    assert!(content.contains("\r\nAction: failed\r\n"), "{content}");
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver("verify@client.example", &["x@example.org"], &content).await;
    assert!(reply.contains(" pass ") && reply.contains("auto-submitted"), "{reply}");
    let other = content.replace("Closed.", "Open.");
    let reply = client.deliver("verify@client.example", &["x@example.org"], &other).await;
    assert!(reply.contains(" permerror "), "{reply}");
    drop(client);
    // Without the key there is no notification in another's name, but an error of the script.
    send(&daemon, "a@client.example", "nokey@example.org").await;
    let unsigned = sink.wait_for(2).await.remove(1).content;
    assert!(!unsigned.contains("DKIM-Signature"), "{unsigned}");
    assert!(unsigned.contains("\r\nSubject: dsn: dkim has no usable private key "), "{unsigned}");
    daemon.stop().await;
}

/// A script that stores what it is given under the name of its hook and of the recipient.
fn note(hook: &str) -> String {
    format!(
        "memory_store(\"{hook} \" . $message[\"recipientaddress\"][\"localpart\"], [$arguments, $message, $context ?? none]);\n"
    )
}

async fn noted(daemon: &TestDaemon, key: &str) -> Value {
    serde_json::from_str(&remembered(daemon, key).await).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_of_the_queue_see_the_message_and_what_became_of_it() {
    let refuse =
        SinkBehaviour::default().reply("RCPT TO:<NO@", "550-5.1.1 No\r\n550 5.1.1 such user");
    let sink = SmtpSink::start_with(refuse).await;
    // Files are no JSON.
    let strip = |hook: &str| {
        note(hook).replace("$message,", "[...$message, \"file\" => length($message[\"file\"])],")
    };
    let setup = Setup { next_hop: Some(sink.address), dsn: true, ..Setup::default() }
        .hook(
            "eod",
            r#"foreach ($transaction["recipients"] as $r)
                   $arguments["mail"]->queue($transaction["senderaddress"], $r["address"], $r["transportid"],
                       ["jobid" => "j", "dsn" => ["envid" => "e1", "ret" => "HDRS", "notify" => "SUCCESS,FAILURE", "orcpt" => "rfc822;x@y"]]);
               memory_store("ts", $transaction["ts"]);
               Accept();"#,
        )
        .hook(
            "predelivery",
            &format!(
                "if ($message[\"sender\"] == \"\") Try();\n{}$context = [\"from\" => \"predelivery\"];\n\
                 if ($message[\"recipient\"] == \"yes@example.org\")\n\
                 Try([\"sender\" => \"Other@Example.net\", \"recipient\" => [\"localpart\" => \"New\", \"domain\" => \"Example.net\"]]);",
                strip("pre")
            ),
        )
        .hook("postdelivery", &format!("if ($message[\"sender\"] == \"\") Default();\n{}", strip("post")));
    let mut daemon = TestDaemon::start(setup).await;
    for to in ["Yes@Example.org", "No@Example.org"] {
        send(&daemon, "Ann@Client.example", to).await;
    }
    let before = noted(&daemon, "pre Yes").await;
    let arguments = json!({ "retry": 0 });
    let address = |local: &str, domain: &str| json!({ "localpart": local, "domain": domain });
    let mut message = json!({
        "id": { "transaction": before[1]["id"]["transaction"], "queue": 1 },
        "ts": noted(&daemon, "ts").await,
        "serverid": "default",
        "sender": "ann@client.example", "senderaddress": address("Ann", "Client.example"),
        "recipient": "yes@example.org", "recipientaddress": address("Yes", "Example.org"),
        "transportid": "out", "jobid": "j", "priority": 0,
        "size": before[1]["size"], "file": 2,
        "dsn": { "envid": "e1", "ret": "HDRS", "notify": "SUCCESS,FAILURE", "orcpt": "rfc822;x@y" },
    });
    message["ts"] = before[1]["ts"].clone();
    assert_eq!(before, json!([arguments, message, null]));
    let messages = sink.wait_for(3).await;
    let delivered = messages.iter().find(|message| message.to == ["<New@Example.net>"]).unwrap();
    assert_eq!(before[1]["size"], delivered.content.len() as f64);

    // What the script changed is what the next one sees.
    let after = noted(&daemon, "post New").await;
    message["sender"] = "other@example.net".into();
    message["senderaddress"] = address("Other", "Example.net");
    message["recipient"] = "new@example.net".into();
    message["recipientaddress"] = address("New", "Example.net");
    assert_eq!((&after[1], &after[2]), (&message, &json!({ "from": "predelivery" })));
    let attempt = &after[0]["attempt"];
    let connection = json!({
        "localip": "127.0.0.1", "remoteip": "127.0.0.1", "remotemx": "127.0.0.1",
        "transactions": 1, "id": attempt["connection"]["id"], "helo": attempt["connection"]["helo"],
        "remotegreet": "sink ESMTP", "tls": { "started": false },
    });
    let result =
        json!({ "code": 250, "enhanced": [2, 0, 0], "reason": ["Ok: sunk"], "state": "EOD" });
    let dsn = &after[0]["dsn"];
    let arguments = json!({
        "retry": 0, "expired": false,
        "attempt": { "result": result, "connection": connection, "duration": attempt["duration"] },
        "policy": { "tags": [], "policies": [] },
        "dsn": {
            "action": "relayed", "id": { "transaction": dsn["id"]["transaction"], "queue": 1 },
            "status": [2, 0, 0], "diagnostictype": "smtp", "diagnosticcode": "250 2.0.0 Ok: sunk",
        },
    });
    assert_eq!(after[0], arguments);
    assert!(attempt["duration"].is_number() && attempt["connection"]["id"].is_string());

    let after = noted(&daemon, "post No").await;
    let result = json!({ "code": 550, "enhanced": [5, 1, 1], "reason": ["No", "such user"], "state": "RCPT" });
    assert_eq!(after[0]["attempt"]["result"], result);
    assert_eq!(
        (&after[0]["action"], &after[0]["dsn"]["action"]),
        (&json!("BOUNCE"), &json!("failed"))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_an_attempt_can_fail_has_its_words() {
    let sink = SmtpSink::start_with(
        SinkBehaviour::default().reply("RCPT TO:<SLOW@", "").hold("RCPT TO:<WAIT@"),
    )
    .await;
    let garbage =
        SmtpSink::start_with(SinkBehaviour::default().reply("BANNER", "hello there")).await;
    let names = Zone::new()
        .mx("nullmx.test", 0, ".")
        .mx("ipfamily.test", 10, "six.test")
        .address("six.test", "::1")
        .mx("nodata.test", 10, "nothing.test")
        .txt("nothing.test", &["no address"])
        .failing("other.test")
        .serve()
        .await;
    let script = format!(
        r#"$who = $message["recipientaddress"]["localpart"];
           $options = [
               "network" => ["host" => "127.0.0.1", "port" => 1],
               "protocol" => ["host" => "127.0.0.1", "port" => {}],
               "tls" => ["host" => "127.0.0.1", "port" => {port}, "tls" => "require"],
               "config" => ["host" => "127.0.0.1", "port" => {port}, "tls" => "require", "tls_client_cert" => "pki:absent"],
               "dane" => ["host" => "127.0.0.1", "port" => {port}, "tls" => "dane_require"],
               "wait" => ["host" => "127.0.0.1", "port" => {port}, "timeout" => ["RCPT" => 0.1]],
               "ipfamily" => ["sourceip" => [["address" => "127.0.0.1"]]],
           ];
           Try($options[$who] ?? []);"#,
        garbage.address.port(),
        port = sink.address.port(),
    );
    let setup = Setup { name_server: Some(names.address), retries: vec![3600], ..Setup::default() }
        .hook("predelivery", &script)
        .hook(
            "postdelivery",
            r#"memory_store("post " . $message["recipientaddress"]["localpart"],
                   [$arguments["action"], $arguments["attempt"]["error"], $arguments["dsn"]["action"] ?? ""]);
               Delete();"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    for (name, kind, dns, temporary) in [
        ("network", "network", None, true),
        ("protocol", "protocol", None, true),
        ("tls", "tls", None, true),
        ("config", "config", None, true),
        ("dane", "dane", None, true),
        ("wait", "network", None, true),
        ("nullmx", "dns", Some("nullmx"), false),
        ("nxdomain", "dns", Some("nxdomain"), false),
        ("nodata", "dns", Some("nodata"), false),
        ("ipfamily", "dns", Some("ipfamily"), false),
        ("other", "dns", Some("other"), true),
    ] {
        send(&daemon, "a@client.example", &format!("{name}@{name}.test")).await;
        let seen = noted(&daemon, &format!("post {name}")).await;
        let error = &seen[1];
        assert_eq!(error["type"], kind, "{name}: {seen}");
        assert_eq!(error.get("dns").and_then(Value::as_str), dns, "{name}: {seen}");
        assert_eq!(error["temporary"], temporary, "{name}: {seen}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {seen}");
        // Without settings for notifications nobody is told.
        assert_eq!(seen[0], if temporary { "QUEUE" } else { "DELETE" }, "{name}: {seen}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_fails_before_an_attempt_puts_it_off_and_one_that_ends_tries() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), retries: vec![3600], ..Setup::default() }
        .hook(
            "predelivery",
            r#"$who = $message["recipientaddress"]["localpart"];
           SetMetaData(["who" => $who]);
           if ($who == "fail") throw "broken";
           if ($who == "option") Try(["port" => 100000]);
           if ($who == "kind") Try(["tls" => ["require"]]);
           if ($who == "delay") Queue(["delay" => "soon"]);"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    for who in ["end", "fail", "option", "kind", "delay"] {
        send(&daemon, "a@client.example", &format!("{who}@example.org")).await;
    }
    assert_eq!(sink.wait_for(1).await[0].to, ["<end@example.org>"]);
    let rows = rows_where(&daemon, |rows| {
        let deferred = Some(State::Queue(Queue::Defer.into()));
        rows.len() == 4 && rows.iter().all(|row| row.state == deferred && row.retrydelay > 0.0)
    })
    .await;
    for row in rows {
        assert!((280.0..=300.0).contains(&row.retrydelay), "{row:?}");
        assert_eq!(row.retrycount, 0, "{row:?}");
        assert!(row.metadata.is_empty(), "{row:?}");
    }
    daemon.stop().await;
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_script_says_about_putting_off_is_kept_over_a_restart() {
    let busy = SinkBehaviour::default().reply("RCPT TO:", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(busy).await;
    let options = r#"$options = [
            "usual" => [], "delay" => ["delay" => 120, "reason" => "not now"], "hold" => ["hold" => true],
            "moved" => ["transportid" => "other", "delay" => 600],
        ];
        [$hook, $who] = str_split($message["recipientaddress"]["localpart"], "-");
        if ($hook == "default") { SetMetaData([...GetMetaData(), PLACE => $message["transportid"]]); }"#;
    let setup = Setup {
        next_hop: Some(sink.address),
        retries: vec![900, 1800],
        transports: "      - id: other\n        connection:\n          server: 127.0.0.1\n          port: 1\n"
            .to_owned(),
        ..Setup::default()
    }
    .hook(
        "predelivery",
        &format!(
            "{}\nif ($hook == \"pre\") Queue($options[$who]);",
            options.replace("PLACE", "\"pre\"")
        ),
    )
    .hook(
        "postdelivery",
        &format!(
            "{}\nif ($hook == \"post\") Queue($options[$who]);",
            options.replace("PLACE", "\"post\"")
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let names: Vec<String> = ["pre", "post"]
        .iter()
        .flat_map(|hook| ["usual", "delay", "hold", "moved"].map(|who| format!("{hook}-{who}")))
        .chain(["default-usual".to_owned()])
        .collect();
    for name in &names {
        send(&daemon, "a@client.example", &format!("{name}@example.org")).await;
    }
    for _ in 0..2 {
        let rows = rows_where(&daemon, |rows| {
            rows.len() == names.len() && rows.iter().all(|row| row.retrycount == 1)
        })
        .await;
        for row in rows {
            let name = row.recipient.as_ref().unwrap().localpart.as_str();
            let (hook, who) = name.split_once('-').unwrap();
            let delay: f64 = match who {
                "usual" => 900.0,
                "delay" => 120.0,
                "moved" => 600.0,
                _ => row.retrydelay,
            };
            assert!((delay - 20.0..=delay).contains(&row.retrydelay), "{row:?}");
            let held = Some(State::Freeze(Freeze::Hold.into()));
            assert_eq!(row.state == held, who == "hold", "{row:?}");
            assert_eq!(row.transportid, if who == "moved" { "other" } else { "out" });
            let reason = match (hook, who) {
                (_, "delay") => "not now",
                ("pre", _) => "",
                _ => "451 4.2.0 Busy (in reply to RCPT)",
            };
            assert_eq!(row.retryreason, reason, "{row:?}");
            if hook == "default" {
                let noted: Vec<(&str, &str)> =
                    row.metadata.iter().map(|(key, value)| (&**key, &**value)).collect();
                assert_eq!(noted, [("post", "out"), ("pre", "out")]);
            }
        }
        daemon.restart().await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_and_context_of_attempts_are_kept_for_the_message_and_for_the_attempt() {
    let busy = SinkBehaviour::default().reply("RCPT TO:", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(busy).await;
    let setup = Setup { next_hop: Some(sink.address), retries: vec![1, 1, 1], ..Setup::default() }
        .hook(
            "predelivery",
            r#"$notes = GetMetaData();
               $seen = ($notes["seen"] ?? "") . ($context === none ? "n" : "c");
               SetMetaData(["seen" => $seen]);
               $context = ["tried" => $arguments["retry"]];
               if (length($seen) > 2) Try(["sender" => "$seen@seen.example"]);"#,
        )
        .hook(
            "postdelivery",
            r#"if (isset($arguments["action"])) SetMetaData(["seen" => GetMetaData()["seen"] . $context["tried"]]);"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "to@example.org").await;
    rows_where(&daemon, |rows| rows.iter().any(|row| row.retrycount == 1)).await;
    daemon.restart().await;
    sink.behave(SinkBehaviour::default());
    let message = sink.wait_for(1).await.remove(0);
    assert!(
        message.from.starts_with("<n0n@seen.example>") || message.from.starts_with("<n0n1n@"),
        "{}",
        message.from
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_before_an_attempt_goes_through_the_other_script() {
    let sink = SmtpSink::start().await;
    for dsn in [true, false] {
        let setup = Setup { next_hop: Some(sink.address), dsn, ..Setup::default() }
            .hook(
                "predelivery",
                r#"$context = $message["recipientaddress"]["localpart"];
                   if ($context == "bounce") Bounce(["reason" => "closed"]);
                   if ($context == "told") Bounce(["reason" => "closed", "dsn" => ["transportid" => "out"]]);
                   if ($context == "delete") Delete(["reason" => "spam"]);
                   if ($context == "saved") Delete();"#,
            )
            .hook(
                "postdelivery",
                r#"if ($message["sender"] == "") Default();
                   memory_store($context, [$arguments["action"], isset($arguments["attempt"]), $arguments["dsn"]["diagnosticcode"] ?? "",
                       $arguments["dsn"]["diagnostictype"] ?? "", $arguments["dsn"]["action"] ?? ""]);
                   if ($context == "saved") Queue(["hold" => true]);"#,
            );
        let mut daemon = TestDaemon::start(setup).await;
        let before = sink.messages().len();
        for (who, seen) in [
            (
                "bounce",
                json!(["BOUNCE", false, "closed", "x-error", if dsn { "failed" } else { "" }]),
            ),
            ("told", json!(["BOUNCE", false, "closed", "x-error", "failed"])),
            ("delete", json!(["DELETE", false, "spam", "x-error", ""])),
            ("saved", json!(["DELETE", false, "", "", ""])),
        ] {
            send(&daemon, "a@client.example", &format!("{who}@example.org")).await;
            assert_eq!(noted(&daemon, who).await, seen, "{who}");
        }
        let rows = rows_where(&daemon, |rows| rows.len() == 1 && rows[0].hold).await;
        assert_eq!(rows[0].recipient.as_ref().unwrap().localpart, "saved");
        let notices = sink.wait_for(before + if dsn { 2 } else { 1 }).await;
        assert!(notices[before..].iter().all(|notice| notice.from.starts_with("<>")));
        daemon.stop().await;
        assert_eq!(sink.messages().len(), notices.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delivered_has_no_other_future() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), dsn: true, ..Setup::default() }.hook(
        "postdelivery",
        r#"$caught = [];
           try { Queue(["delay" => 0]); } catch ($e) { $caught[] = "Queue"; }
           try { Bounce(); } catch ($e) { $caught[] = "Bounce"; }
           try { Delete(); } catch ($e) { $caught[] = "Delete"; }
           memory_store("caught", $caught);
           Queue();"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "to@example.org").await;
    assert_eq!(noted(&daemon, "caught").await, json!(["Queue", "Bounce", "Delete"]));
    rows_where(&daemon, <[_]>::is_empty).await;
    daemon.stop().await;
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_retry_is_told_to_the_script() {
    let busy = SinkBehaviour::default().reply("RCPT TO:", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(busy).await;
    let setup = Setup { next_hop: Some(sink.address), retries: vec![1], ..Setup::default() }.hook(
        "postdelivery",
        r#"memory_store("retry " . $arguments["retry"], [$arguments["action"], $arguments["expired"]]);
           if ($arguments["expired"]) throw "the default action is taken all the same";"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, "a@client.example", "to@example.org").await;
    assert_eq!(noted(&daemon, "retry 0").await, json!(["QUEUE", false]));
    assert_eq!(noted(&daemon, "retry 1").await, json!(["DELETE", true]));
    rows_where(&daemon, <[_]>::is_empty).await;
    daemon.stop().await;
}
