//! Options of the functions that hooks end with, seen from the outside.

use std::time::Duration;

use control::command::call;
use control::pb;
use system_tests::{Setup, TestDaemon, ask, remembered, rows_where};
use testkit::dns_zone::Zone;
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink};

const MESSAGE: &str = "Subject: hello\r\n\r\nText\r\n";

const QUEUE_ALL: &str = r#"foreach ($transaction["recipients"] as $r)
    $arguments["mail"]->queue($transaction["senderaddress"], $r["address"], $r["transportid"]);
Accept();"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_options_of_try_decide_what_is_said_to_the_next_hop() {
    let mut behaviour = SinkBehaviour::default()
        .reply("AUTH PLAIN", "235 2.7.0 Ok")
        .reply("XCLIENT", "220 sink ESMTP");
    for keyword in ["AUTH PLAIN", "XCLIENT ADDR NAME", "CHUNKING"] {
        behaviour.extensions.push(keyword.to_owned());
    }
    let sink = SmtpSink::start_with(behaviour).await;
    // Nobody takes deliveries at the transport's own next hop.
    let nobody = "127.0.0.1:1".parse().ok();
    let setup = Setup { next_hop: nobody, ..Setup::default() }.hook("eod", QUEUE_ALL).hook(
        "predelivery",
        &format!(
            r#"$options = [
                   "sasl" => ["saslusername" => "u", "saslpassword" => "p"],
                   "xclient" => ["xclient" => ["ADDR" => "192.0.2.7", "NAME" => "client.example"]],
                   "data" => ["chunking" => false],
                   "bdat" => ["chunking" => true],
                   "lmtp" => ["protocol" => "lmtp", "helo" => "lmtp.example"],
                   "source" => ["sourceip" => [["address" => "127.0.0.2", "helo" => "by.source"]]],
                   "order" => ["sourceip" => [["address" => "127.0.0.3"], ["address" => "127.0.0.2"]], "sourceip_random" => false],
                   "parties" => ["sender" => "s@example.net", "recipient" => ["localpart" => "R", "domain" => "example.net"]],
                   "null" => ["sender" => ""],
                   "waits" => ["connect_timeout" => 5, "timeout" => ["BANNER" => 5, "EOD" => 5], "pooling" => false],
               ];
               Try([...$options[$message["recipientaddress"]["localpart"]], "host" => "127.0.0.1", "port" => {}]);"#,
            sink.address.port()
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let names =
        ["sasl", "xclient", "data", "bdat", "lmtp", "source", "order", "parties", "null", "waits"];
    let recipients: Vec<String> = names.iter().map(|name| format!("{name}@example.org")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let reply = client.deliver("a@client.example", &recipients, MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let messages = sink.wait_for(names.len()).await;
    let to = |wanted: &str| {
        let mut found = messages.iter().filter(|message| message.to == [wanted]);
        found.next().unwrap_or_else(|| panic!("nothing for {wanted}: {messages:?}"))
    };
    let commands = sink.commands();
    let said = |wanted: &str| commands.iter().filter(|line| line.starts_with(wanted)).count();
    assert_eq!(said("AUTH"), 1, "{commands:?}");
    // RFC 4616: NUL, name, NUL, password.
    assert_eq!(said("AUTH PLAIN AHUAcA=="), 1, "{commands:?}");
    assert_eq!(said("XCLIENT ADDR=192.0.2.7 NAME=client.example"), 1, "{commands:?}");
    assert_eq!(said("DATA"), 1, "only where chunking is off: {commands:?}");
    assert_eq!(to("<data@example.org>").content, to("<bdat@example.org>").content);
    assert_eq!(said("LHLO lmtp.example"), 1, "{commands:?}");
    assert_eq!(to("<source@example.org>").peer.ip().to_string(), "127.0.0.2");
    assert_eq!(to("<source@example.org>").helo, "by.source");
    assert_eq!(to("<order@example.org>").peer.ip().to_string(), "127.0.0.3");
    assert!(to("<R@example.net>").from.starts_with("<s@example.net>"));
    assert!(to("<null@example.org>").from.starts_with("<>"));
    assert!(to("<waits@example.org>").from.starts_with("<a@client.example>"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchangers_are_chosen_and_left_out_by_name() {
    let sink = SmtpSink::start().await;
    let zone = Zone::new()
        .mx("example.org", 10, "one.mx.test")
        .mx("example.org", 20, "two.other.test")
        .address("one.mx.test", "127.0.0.1")
        .address("two.other.test", "127.0.0.1");
    let names = zone.serve().await;
    let setup = Setup {
        name_server: Some(names.address),
        port: Some(sink.address.port()),
        ..Setup::default()
    }
    .hook("eod", QUEUE_ALL)
    .hook(
        "predelivery",
        r#"$options = [
               "first" => [],
               "in" => ["mx_include" => ["*.other.test"]],
               "out" => ["mx_exclude" => ["one.mx.test"]],
               "both" => ["mx_include" => ["*.mx.test", "*.other.test"], "mx_exclude" => ["*.mx.test"]],
               "none" => ["mx_exclude" => ["one.mx.test", "two.other.test"]],
           ];
           $context = $message["recipientaddress"]["localpart"];
           Try([...$options[$context], "host" => "lookup-mx"]);"#,
    )
    // What became of each goes to the sink in a message of its own.
    .hook(
        "postdelivery",
        &format!(
            r#"if ($context !== none) {{
                   $what = $arguments["attempt"]["connection"]["remotemx"] ?? $arguments["attempt"]["error"]["dns"] ?? "?";
                   MIME()->addHeader("X-Seen", "$context $what")->send("", ["seen@example.net"], ["host" => "127.0.0.1", "port" => {}]);
               }}
               if (isset($arguments["action"])) Delete();"#,
            sink.address.port()
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let recipients =
        ["first", "in", "out", "both", "none"].map(|name| format!("{name}@example.org"));
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let reply = client.deliver("a@client.example", &recipients, MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    // Four are delivered, and five are told of.
    let messages = sink.wait_for(9).await;
    let mut seen: Vec<&str> = messages
        .iter()
        .filter_map(|m| m.content.lines().find_map(|l| l.strip_prefix("X-Seen: ")))
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "both two.other.test",
            "first one.mx.test",
            "in two.other.test",
            "none excluded",
            "out two.other.test"
        ]
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_options_of_smtp_hooks_change_connection_and_commands() {
    let setup = Setup::default()
        .hook(
            "connect",
            r#"Accept(["reason" => "hi", "remoteip" => "192.0.2.9", "remoteptr" => "ptr.example"]);"#,
        )
        .hook(
            "proxy",
            r#"if ($arguments["command"] == "XPING") Reply(["pong", "ping"], ["next" => true]);
               if ($arguments["command"] == "SHOUT") Pass(["command" => "NOOP", "next" => true]);
               if ($arguments["command"] == "LAST") Reply("no more", ["reply_codes" => ["code" => 252, "enhanced" => [2, 5, 2]]]);
               Pass(["next" => true]);"#,
        )
        .hook(
            "helo",
            r#"Accept(["host" => "other.example", "reason" => $connection["remoteip"] . " " . $connection["remoteptr"]]);"#,
        )
        .hook(
            "mailfrom",
            r#"if ($arguments["sender"] == "bye@example.org") Reject("bye", ["disconnect" => true]);
               Accept(["sender" => ["localpart" => "new", "domain" => "example.net"], "reason" => $connection["helo"]["host"]]);"#,
        )
        .hook(
            "rcptto",
            r#"Accept(["reason" => $transaction["sender"], "reply_codes" => ["code" => 251, "enhanced" => [2, 1, 5]]]);"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, banner) = SmtpClient::connect(daemon.address()).await;
    assert!(banner.starts_with("220 hi"), "{banner}");
    assert_eq!(client.command("XPING").await, "250-2.0.0 pong\n250 2.0.0 ping");
    assert!(client.command("SHOUT").await.starts_with("250 "));
    assert_eq!(client.command("HELO client.example").await, "250 192.0.2.9 ptr.example");
    let reply = client.command("MAIL FROM:<a@example.org>").await;
    assert!(reply.starts_with("250 ") && reply.ends_with("other.example"), "{reply}");
    assert_eq!(client.command("RCPT TO:<b@example.org>").await, "251 2.1.5 new@example.net");
    // Without `next` the hook is done with this connection.
    assert_eq!(client.command("LAST").await, "252 2.5.2 no more");
    assert!(client.command("XPING").await.starts_with("500 "));
    client.command("RSET").await;
    assert!(client.command("MAIL FROM:<bye@example.org>").await.ends_with("bye"));
    assert_eq!(client.reply().await, "", "the connection is closed");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn putting_off_counts_the_retries_as_the_options_say() {
    let busy = SinkBehaviour::default().reply("RCPT TO:<BUSY@", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(busy).await;
    // Scripts put off more often than the transport would, and for less long.
    let setup = Setup { next_hop: Some(sink.address), retries: vec![3600], ..Setup::default() }
        .hook("eod", QUEUE_ALL)
        .hook(
            "predelivery",
            &format!(
                "{HOW_TO_COUNT}{}",
                r#"$seen .= $arguments["retry"];
               SetMetaData(["seen" => $seen]);
               $context = [$hook, $kind];
               if (length($seen) == 4) Try(["sender" => "$hook-$kind-$seen@example.net"]);
               if ($hook == "post") Try(["recipient" => "busy@example.org"]);
               Queue([...how($kind, $seen), "delay" => 0]);"#,
            ),
        )
        .hook(
            "postdelivery",
            &format!(
                "{HOW_TO_COUNT}{}",
                r#"if (isset($arguments["action"])) Queue([...how($kind, $seen), "delay" => 0]);"#,
            ),
        );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let mut expected = Vec::new();
    for hook in ["pre", "post"] {
        for (kind, seen) in
            [("usual", "0123"), ("keep", "0000"), ("reset", "0120"), ("both", "0120")]
        {
            let recipient = format!("{hook}-{kind}@example.org");
            let reply = client.deliver("a@client.example", &[&recipient], MESSAGE).await;
            assert!(reply.starts_with("250 "), "{reply}");
            expected.push(format!("<{hook}-{kind}-{seen}@example.net>"));
        }
    }
    let messages = sink.wait_for(expected.len()).await;
    let mut senders: Vec<_> =
        messages.iter().filter_map(|message| message.from.split(' ').next()).collect();
    senders.sort_unstable();
    expected.sort_unstable();
    assert_eq!(senders, expected);
    daemon.stop().await;
}

/// Who is written to says which hook puts the message off, and how; the retries seen so far are noted on
/// the message.
const HOW_TO_COUNT: &str = r#"function how($kind, $seen) {
        if ($kind == "keep") return ["increment_retry" => false];
        if (length($seen) != 3) return [];
        if ($kind == "reset") return ["reset_retry" => true];
        if ($kind == "both") return ["reset_retry" => true, "increment_retry" => false];
        return [];
    }
    [$hook, $kind] = $context ?? str_split($message["recipientaddress"]["localpart"], "-");
    $notes = GetMetaData();
    $seen = $notes["seen"] ?? "";
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn putting_off_moves_a_message_to_other_quotas() {
    let busy = SinkBehaviour::default().reply("RCPT TO:", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(busy).await;
    let options = r#"$who = $message["recipientaddress"]["localpart"];
        $quotas = ["pre" => ["pre-new", "shared"], "post" => ["post-new", "shared"], "none" => []];
        $options = $who == "same" ? [] : ["quotas" => $quotas[$who]];
    "#;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }
        .hook("eod", r#"foreach ($transaction["recipients"] as $r)
                $arguments["mail"]->queue($transaction["senderaddress"], $r["address"], $r["transportid"],
                    ["quotas" => [$r["address"]["localpart"] . "-old"]]);
            Accept();"#)
        .hook("predelivery", &format!(
            r#"{options}
               if ($who == "post") Try();
               Queue(["hold" => true, ...$options]);"#
        ))
        .hook("postdelivery", &format!(r#"{options} Queue(["hold" => true, ...$options]);"#));
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let recipients = ["pre", "post", "none", "same"].map(|name| format!("{name}@example.org"));
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let reply = client.deliver("a@client.example", &recipients, MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let stats = ask(&daemon, |client| client.call(call::PROCESS_STATS, &()).unwrap()).await;
        if stats.queue.unwrap().freeze.unwrap().hold.unwrap().size == 4 {
            break;
        }
        assert!(tokio::time::Instant::now() < patience, "not all are put on hold");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let expected = [
        ("pre-old", 0),
        ("pre-new", 1),
        ("post-old", 0),
        ("post-new", 1),
        ("shared", 2),
        ("none-old", 0),
        ("same-old", 1),
    ];
    for _ in 0..2 {
        let counts = ask(&daemon, move |client| {
            expected.map(|(name, _)| {
                let request = pb::QueueQuotaRequest { quota: name.into() };
                (name, client.call(call::QUEUE_QUOTA, &request).unwrap().count)
            })
        });
        assert_eq!(counts.await, expected);
        // They are noted in the spool as well.
        daemon.restart().await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_is_used_for_the_client_that_it_was_told_of() {
    let mut behaviour = SinkBehaviour::default().reply("XCLIENT", "220 sink ESMTP");
    behaviour.extensions.push("XCLIENT ADDR".to_owned());
    let sink = SmtpSink::start_with(behaviour).await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook("eod", QUEUE_ALL).hook(
        "predelivery",
        r#"Try(["pooling" => true, "xclient" => ["ADDR" => "192.0.2." . $message["recipientaddress"]["localpart"]]]);"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let mut connections = Vec::new();
    for to in ["1@example.org", "2@example.org", "1@example.org"] {
        let reply = client.deliver("a@client.example", &[to], MESSAGE).await;
        assert!(reply.starts_with("250 "), "{reply}");
        let messages = sink.wait_for(connections.len() + 1).await;
        connections.extend(messages.last().map(|message| message.connection));
    }
    assert_eq!(connections, [1, 2, 1], "{:?}", sink.commands());
    daemon.stop().await;
}

/// Who logs in, as the script of `mailfrom` sees it; nothing when the connection is closed.
async fn login(client: &mut SmtpClient) -> String {
    let reply = client.command("MAIL FROM:<a@client.example>").await;
    reply.strip_prefix("250 2.1.0 ").unwrap_or(&reply).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_options_of_the_auth_hook_decide_who_logs_in() {
    let setup = Setup::default()
        .hook(
            "helo",
            r#"$extensions = array_filter(function ($one) { return $one[0:4] != "AUTH"; }, $arguments["extensions"]);
               Accept(["extensions" => [...$extensions, "AUTH PLAIN X-STEPS"]]);"#,
        )
        .hook(
            "auth",
            r#"if ($arguments["mechanism"] == "X-STEPS") {
                   if ($arguments["state"] == 0) Reply("who?");
                   $said = $arguments["response"];
                   if ($arguments["state"] == 1) {
                       if ($said == "bye") Reply("so long", ["disconnect" => true]);
                       Reply("$said?", ["reply_codes" => ["code" => 335]]);
                   }
                   if ($said == "no") Reject("$said", ["reply_codes" => ["code" => 534]]);
                   Accept(["reason" => [$said, "it is"]]);
               }
               switch ($arguments["username"]) {
                   case "known": Accept();
                   case "named": Accept(["username" => "other", "reason" => "welcome",
                       "reply_codes" => ["code" => 236, "enhanced" => [2, 7, 9]]]);
                   case "wrong": Reject(["no", "such"], ["reply_codes" => ["code" => 550, "enhanced" => [5, 7, 9]]]);
                   case "later": Defer("busy", ["reply_codes" => ["code" => 432, "enhanced" => [4, 7, 12]]]);
                   case "gone": Reject("bye", ["disconnect" => true]);
                   case "off": Defer("off", ["disconnect" => true]);
                   case "broken": throw "error";
               }"#,
        )
        .hook("mailfrom", r#"Accept(["reason" => isset($connection["auth"]) ? json_encode($connection["auth"]) : "none"]);"#);
    let mut daemon = TestDaemon::start(setup).await;
    for (response, reply, seen) in [
        // known
        (
            "AGtub3duAHB3",
            "235 2.7.0 Authentication successful",
            r#"{"mechanism":"PLAIN","username":"known"}"#,
        ),
        // named
        ("AG5hbWVkAHB3", "236 2.7.9 welcome", r#"{"mechanism":"PLAIN","username":"other"}"#),
        // wrong
        ("AHdyb25nAHB3", "550-5.7.9 no\n550 5.7.9 such", r#"none"#),
        // later
        ("AGxhdGVyAHB3", "432 4.7.12 busy", r#"none"#),
        // nothing
        ("AG5vdGhpbmcAcHc=", "535 5.7.8 Authentication failed", r#"none"#),
        // broken
        ("AGJyb2tlbgBwdw==", "454 4.7.0 Temporary authentication failure", r#"none"#),
        // gone
        ("AGdvbmUAcHc=", "535 5.7.8 bye", r#""#),
        // off
        ("AG9mZgBwdw==", "454 4.7.0 off", r#""#),
    ] {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        assert_eq!(client.command(&format!("AUTH PLAIN {response}")).await, reply);
        match seen {
            "" => assert_eq!(client.reply().await, "", "the connection is closed"),
            seen => assert_eq!(login(&mut client).await, seen),
        }
    }
    // Base64 of "yes", "no", "bye"; the challenges are those of the script.
    for (first, answer, second, reply) in [
        ("bWU=", "335 bWU/", "eWVz", "235-2.7.0 yes\n235 2.7.0 it is"),
        ("bWU=", "335 bWU/", "bm8=", "534 5.7.8 no"),
        ("Ynll", "334 c28gbG9uZw==", "", ""),
    ] {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        assert_eq!(client.command("AUTH X-STEPS").await, "334 d2hvPw==");
        assert_eq!(client.command(first).await, answer);
        if second.is_empty() {
            assert_eq!(client.reply().await, "", "the connection is closed");
            continue;
        }
        assert_eq!(client.command(second).await, reply);
        let seen = if reply.starts_with("235") { r#"{"mechanism":"X-STEPS"}"# } else { "none" };
        assert_eq!(login(&mut client).await, seen);
    }
    // What is not announced is not taken.
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    assert!(client.command("AUTH LOGIN").await.starts_with("504 "));
    drop(client);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn try_names_parameters_and_sources_of_the_configuration() {
    let mut behaviour = SinkBehaviour::default();
    behaviour.extensions.extend(["DSN", "REQUIRETLS"].map(str::to_owned));
    let sink = SmtpSink::start_with(behaviour).await;
    let setup = Setup {
        next_hop: Some(sink.address),
        retries: vec![3600],
        running: "addresses:\n  - id: two\n    address: 127.0.0.2\n    hostname: two.example\n  - id: three\n    address: 127.0.0.3\n"
            .to_owned(),
        ..Setup::default()
    }
    .hook("eod", QUEUE_ALL)
    .hook(
        "predelivery",
        r#"$options = [
               "params" => ["sender" => ["localpart" => "s", "domain" => "example.net", "params" => ["envid" => "e1", "RET" => "HDRS"]],
                   "recipient" => ["localpart" => "r", "domain" => "example.net", "params" => ["NOTIFY" => "FAILURE", "X-FLAG" => true]]],
               "id" => ["sourceip" => ["two"]],
               "named" => ["sourceip" => [["id" => "three", "helo" => "by.script"]]],
               "mixed" => ["sourceip" => ["two"], "helo" => "for.all"],
               "empty" => ["recipient" => ""],
               "bad" => ["sender" => ["localpart" => "s", "domain" => "example.net", "params" => ["A B" => true]]],
               "absent" => ["sourceip" => ["four"]],
               "text" => ["sourceip" => "two"],
               "half" => ["saslusername" => "u"],
               "names" => ["mx_include" => "mx.example"],
               "attributes" => ["xclient" => "ADDR"],
               "wait" => ["timeout" => 5],
               "asked" => ["dsn" => "NEVER"],
               "job" => ["jobid" => []],
               "none" => ["host" => none, "port" => none, "tls" => none, "sourceip" => none, "timeout" => none, "dsn" => none,
                   "pooling" => none, "chunking" => none, "xclient" => none, "helo" => none],
           ];
           $context = $message["recipientaddress"]["localpart"];
           Try($options[$context]);"#,
    )
    .hook(
        "postdelivery",
        r#"memory_store($context, $arguments["attempt"]["connection"]["localipid"] ?? "none");"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let bad =
        ["empty", "bad", "absent", "text", "half", "names", "attributes", "wait", "asked", "job"];
    let good = ["params", "id", "named", "mixed", "none"];
    let recipients: Vec<String> =
        good.iter().chain(&bad).map(|name| format!("{name}@example.org")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let reply = client.deliver("a@client.example", &recipients, MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let messages = sink.wait_for(good.len()).await;
    let to = |wanted: &str| {
        let mut found = messages.iter().filter(|message| message.to[0].starts_with(wanted));
        found.next().unwrap_or_else(|| panic!("nothing for {wanted}: {messages:?}"))
    };
    let params = to("<r@example.net>");
    assert!(
        params.from.starts_with("<s@example.net> ") && params.from.ends_with(" ENVID=e1 RET=HDRS"),
        "{params:?}"
    );
    // What the next hop does not announce is not said to it.
    assert_eq!(params.to, ["<r@example.net> NOTIFY=FAILURE"]);
    for (who, id, ip, helo) in [
        ("id", "two", "127.0.0.2", "two.example"),
        ("named", "three", "127.0.0.3", "by.script"),
        ("mixed", "two", "127.0.0.2", "for.all"),
    ] {
        assert_eq!(remembered(&daemon, who).await, format!("\"{id}\""));
        let message = to(&format!("<{who}@"));
        assert_eq!(
            (message.peer.ip().to_string().as_str(), message.helo.as_str()),
            (ip, helo),
            "{who}"
        );
    }
    to("<none@");
    assert_eq!(remembered(&daemon, "none").await, "\"none\"");
    // A mistake of the script is one, and nothing is sent in another way than it says.
    let rows = rows_where(&daemon, |rows| {
        rows.len() == bad.len() && rows.iter().all(|row| !row.retryreason.is_empty())
    })
    .await;
    let mut left: Vec<&str> =
        rows.iter().map(|row| row.recipient.as_ref().unwrap().localpart.as_str()).collect();
    left.sort_unstable();
    let mut wanted = bad;
    wanted.sort_unstable();
    assert_eq!(left, wanted);
    daemon.stop().await;
    assert_eq!(sink.messages().len(), good.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_and_own_mechanisms_tell_the_auth_hook_what_the_client_sent() {
    let setup = Setup::default()
        .hook("helo", r#"Accept(["extensions" => ["AUTH LOGIN X-OWN"]]);"#)
        .hook(
            "auth",
            r#"if ($arguments["mechanism"] == "LOGIN") Accept(["reason" => json_encode($arguments)]);
               if ($arguments["state"] == 1) Reject(json_encode($arguments));
               Reply($arguments["response"] ?? "none");"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    // Base64 of "none", "hi", "", "me", "pw".
    for (lines, reply) in [
        (&["auth x-own", "=="][..], "501 "),
        (&["AUTH X-OWN"], "334 bm9uZQ=="),
        (&["AUTH X-OWN aGk="], "334 aGk="),
        (&["AUTH X-OWN ="], "334 "),
        (&["AUTH X-OWN", "*"], "501 "),
        (&["AUTH x-own", "aGk="], r#"535 5.7.8 {"mechanism":"X-OWN","state":1,"response":"hi"}"#),
        (
            &["AUTH LOGIN", "bWU=", "cHc="],
            r#"235 2.7.0 {"mechanism":"LOGIN","username":"me","password":"pw"}"#,
        ),
    ] {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        let mut heard = String::new();
        for line in lines {
            heard = client.command(line).await;
        }
        assert!(
            heard == reply || reply.len() == 4 && heard.starts_with(reply),
            "{lines:?}: {heard}"
        );
    }
    daemon.stop().await;
}
