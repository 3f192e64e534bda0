//! Hooks run real scripts with their documented variables and verdicts.

use control::command::call;
use control::pb;
use system_tests::{Setup, TestDaemon, ask};
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::SmtpSink;

const MESSAGE: &str = "Subject: hello\r\n\r\nText\r\n";

const QUEUE_ALL: &str = r#"foreach ($transaction["recipients"] as $r)
    $arguments["mail"]->queue($transaction["senderaddress"], $r["address"], $r["transportid"]);
Accept();"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_smtp_hook_decides_with_its_own_codes() {
    let setup = Setup::default()
        .hook("connect", r#"Accept(["reason" => "welcome " . $arguments["remoteip"]]);"#)
        .hook("helo", r#"if ($arguments["host"] == "bad.example") Reject("go away");
                         Accept(["extensions" => [...$arguments["extensions"] ?? [], "X-OURS"]]);"#)
        .hook("mailfrom", r#"if ($arguments["sender"] == "defer@example.org") Defer();
                             if ($arguments["address"]["domain"] == "bad.example")
                                 Reject(["no", "thanks"], ["reply_codes" => ["code" => 551, "enhanced" => [5, 7, 1]]]);"#)
        .hook("rcptto", r#"if (length($transaction["recipients"]) > 0) Defer("one at a time");
                           if ($arguments["recipient"] == "no@example.org") Reject();"#)
        .hook("eod", r#"Reject("not today");"#);
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, banner) = SmtpClient::connect(daemon.address()).await;
    assert!(banner.starts_with("220 ") && banner.contains("welcome 127.0.0.1"), "{banner}");
    assert_eq!(client.command("EHLO bad.example").await, "554 go away");
    let hello = client.command("EHLO good.example").await;
    assert!(hello.contains("X-OURS") && hello.contains("PIPELINING"), "{hello}");
    assert!(client.command("MAIL FROM:<Defer@Example.org>").await.starts_with("450 "));
    let reply = client.command("MAIL FROM:<a@bad.example>").await;
    assert_eq!(reply, "551-5.7.1 no\n551 5.7.1 thanks");
    assert!(client.command("MAIL FROM:<a@example.org>").await.starts_with("250 "));
    assert!(client.command("RCPT TO:<no@example.org>").await.starts_with("554 "));
    assert!(client.command("RCPT TO:<yes@example.org>").await.starts_with("250 "));
    let reply = client.command("RCPT TO:<second@example.org>").await;
    assert!(reply.starts_with("450 ") && reply.ends_with("one at a time"), "{reply}");
    assert!(client.command("DATA").await.starts_with("354 "));
    client.send(MESSAGE.as_bytes()).await;
    let reply = client.command(".").await;
    assert!(reply.starts_with("550 ") && reply.ends_with("not today"), "{reply}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_script_queues_is_delivered_and_nothing_else() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }
        .hook("rcptto", r#"$context = ($context ?? 0) + 1;
                           Accept(["recipient" => ["localpart" => "n$context", "domain" => "example.net"]]);"#)
        .hook("eod", QUEUE_ALL);
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply =
        client.deliver("a@client.example", &["x@example.org", "y@example.org"], MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let mut to: Vec<_> = sink.wait_for(2).await.into_iter().flat_map(|m| m.to).collect();
    to.sort();
    assert_eq!(to, ["<n1@example.net>", "<n2@example.net>"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_fails_or_just_ends_defers_the_message() {
    for script in [r#"throw Exception("oops");"#, "$x = 1;", r#"$x = "a"; $y = $x - 1; Accept();"#]
    {
        let setup = Setup::default().hook("eod", script);
        let mut daemon = TestDaemon::start(setup).await;
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        let reply = client.deliver("a@client.example", &["x@example.org"], MESSAGE).await;
        assert!(reply.starts_with("421 ") || reply.starts_with("451 "), "{script}: {reply}");
        let stats = ask(&daemon, |client| client.call(call::PROCESS_STATS, &()).unwrap()).await;
        let eod = stats.servers[0].scripts.as_ref().unwrap().eod.as_ref().unwrap();
        let failed = u64::from(script != "$x = 1;");
        assert_eq!((eod.errors, eod.finished, eod.running), (failed, 1 - failed, 0), "{script}");
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_waits_holds_nobody_else_up() {
    let setup = Setup::default()
        .hook("mailfrom", r#"if ($arguments["sender"] == "slow@example.org") sleep(60);"#);
    let mut daemon = TestDaemon::start(setup).await;
    let mut sleepers = Vec::new();
    for _ in 0..50 {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        client.send(b"MAIL FROM:<slow@example.org>\r\n").await;
        sleepers.push(client);
    }
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    assert!(client.command("MAIL FROM:<quick@example.org>").await.starts_with("250 "));
    drop(sleepers);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_hooks_see_the_attempt_and_change_its_course() {
    let first = SmtpSink::start().await;
    let other = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(first.address), retries: vec![60], ..Setup::default() }
        .hook(
            "predelivery",
            &format!(
                r#"SetMetaData(["seen" => "yes"]);
               if ($message["recipientaddress"]["localpart"] == "gone") Delete();
               Try(["host" => "127.0.0.1", "port" => {}, "helo" => "from.script",
                    "recipient" => ["localpart" => "rewritten", "domain" => "example.net"]]);"#,
                other.address.port()
            ),
        )
        .hook(
            "postdelivery",
            r#"if (isset($arguments["action"]) and $arguments["action"] != "DELETE")
                                     Bounce();
                                 if (GetMetaData()["seen"] != "yes") throw "no metadata";"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    for to in ["gone@example.org", "to@example.org"] {
        let reply = client.deliver("a@client.example", &[to], MESSAGE).await;
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let message = other.wait_for(1).await.remove(0);
    assert_eq!(
        (message.helo.as_str(), message.to[0].as_str()),
        ("from.script", "<rewritten@example.net>")
    );
    daemon.stop().await;
    assert!(first.messages().is_empty());
    assert_eq!(other.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disconnect_hook_sees_who_closed_and_the_last_reply() {
    let setup = Setup::default()
        .hook(
            "rcptto",
            "Reject([\"no such user\", \"here\"], [\"reply_codes\" => [\"code\" => 550]]);",
        )
        .hook(
            "disconnect",
            "memory_update(\"seen\", [$arguments[\"close\"], $arguments[\"reply\"]],\n\
             function ($key, $all, $one) { return $all + [$one]; }, []);",
        );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    client.send(b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.org>\r\n").await;
    client.reply().await;
    let reply = client.reply().await;
    assert!(reply.starts_with("550-"), "{reply}");
    drop(client);
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("QUIT").await;
    let mut seen = String::new();
    while seen.matches("remote").count() + seen.matches("local").count() < 2 {
        let request = pb::HslMemoryRequest { key: "seen".into() };
        seen = ask(&daemon, move |client| client.call(call::MEMORY_FETCH, &request).unwrap().value)
            .await;
    }
    let refused = r#"["remote",{"code":550,"enhanced":[5,7,1],"reason":["no such user","here"],"state":"RCPT"}]"#;
    assert!(seen.contains(refused), "{seen}");
    assert!(seen.contains(r#""code":221"#) && seen.contains(r#""state":"QUIT""#), "{seen}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_data_script_knows_client_and_sender_for_dmarc() {
    let names = testkit::dns_zone::Zone::new()
        .txt("example.org", &["v=spf1 ip4:127.0.0.1 -all"])
        .txt("_dmarc.example.org", &["v=DMARC1; p=reject"])
        .txt("_dmarc.other.example", &["v=DMARC1; p=quarantine"])
        .serve()
        .await;
    let setup = Setup { name_server: Some(names.address), ..Setup::default() }
        .hook("eod", "Reject(string(ScanDMARC()));");
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    for (from, wanted) in [
        ("a@example.org", r#"["example.org"=>"pass"]"#),
        ("a@other.example", r#"["other.example"=>"quarantine"]"#),
    ] {
        let message = format!("From: {from}\r\n\r\nText\r\n");
        let reply = client.deliver("b@example.org", &["x@example.net"], &message).await;
        assert!(reply.starts_with("550 ") && reply.ends_with(wanted), "{reply}");
    }
    daemon.stop().await;
}
