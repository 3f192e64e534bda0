//! Functions of scripts from before the options of `Accept`, `Try` and `Queue`, seen from the outside.

use std::time::Duration;

use system_tests::{Setup, TestDaemon};
use testkit::certs;
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink, SunkMessage};

const MESSAGE: &str = "Subject: hello\r\nMessage-ID: <orig@client.example>\r\n\r\nText\r\n";

async fn send(daemon: &TestDaemon, recipients: &[&str]) {
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver("a@client.example", recipients, MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
}

/// The one message to an address.
fn to<'a>(messages: &'a [SunkMessage], wanted: &str) -> &'a SunkMessage {
    let mut found = messages.iter().filter(|message| message.to == [wanted]);
    found.next().unwrap_or_else(|| panic!("nothing for {wanted}: {messages:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_smtp_hooks_set_holds_however_they_end() {
    let setup = Setup::default()
        .hook(
            "connect",
            r#"$wrong = SetSenderIP("nowhere");
               $context = [$wrong === none, SetSenderIP("2001:db8:0::9")];"#,
        )
        .hook(
            "helo",
            r#"$tls = GetTLS();
               $words = [$context, $tls, array_includes("PIPELINING", GetExtensions()), SetHELO("two words") === none];
               SetHELO("other.example");
               Accept(["reason" => json_encode($words)]);"#,
        )
        .hook(
            "mailfrom",
            r#"if (SetSender("a@not a domain") !== none) Reject("set");
               SetSender("New@example.net");
               // What is said at the end wins.
               if ($arguments["sender"] == "explicit@example.org") Accept(["sender" => "last@example.net"]);"#,
        )
        .hook(
            "rcptto",
            r#"if ($arguments["address"]["localpart"] == "show")
                   Accept(["reason" => json_encode([$connection["remoteip"], $connection["helo"]["host"],
                       $transaction["sender"], array_map(function ($r) { return $r["recipient"]; }, $transaction["recipients"])])]);
               if ($arguments["address"]["localpart"] == "broken") { SetSender("broken@example.net"); throw "broken"; }
               if (SetRecipient("") !== none) Reject("set");
               echo SetRecipient("moved@Example.net");
               if ($arguments["address"]["localpart"] == "refused") {
                   SetSender("again@example.net");
                   Reject("no");
               }"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    assert_eq!(
        client.command("HELO client.example").await,
        r#"250 [[true,"2001:db8::9"],{"started":false},false,true]"#
    );
    let reply = client.command("EHLO client.example").await;
    assert!(
        reply.starts_with(r#"250-[[true,"2001:db8::9"],{"started":false},true,true]"#),
        "{reply}"
    );
    client.command("MAIL FROM:<a@example.org>").await;
    client.command("RCPT TO:<one@example.org>").await;
    assert_eq!(
        client.command("RCPT TO:<show@example.org>").await,
        r#"250 2.1.5 ["2001:db8::9","other.example","new@example.net",["moved@example.net"]]"#
    );
    assert!(client.command("RCPT TO:<refused@example.org>").await.starts_with("554 "));
    assert!(client.command("RCPT TO:<broken@example.org>").await.starts_with("450 "));
    let reply = client.command("RCPT TO:<show@example.org>").await;
    assert!(reply.contains(r#""again@example.net""#), "the sender is that of all: {reply}");
    client.command("RSET").await;
    client.command("MAIL FROM:<explicit@example.org>").await;
    let reply = client.command("RCPT TO:<show@example.org>").await;
    assert!(reply.contains(r#""last@example.net""#), "{reply}");
    drop(client);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_for_an_attempt_is_said_to_the_next_hop() {
    let mut behaviour = SinkBehaviour::default()
        .reply("AUTH PLAIN", "235 2.7.0 Ok")
        .reply("XCLIENT", "220 sink ESMTP");
    for keyword in ["AUTH PLAIN", "XCLIENT ADDR NAME", "DSN"] {
        behaviour.extensions.push(keyword.to_owned());
    }
    let sink = SmtpSink::start_with(behaviour).await;
    // Nobody takes deliveries at the transport's own next hop.
    let setup = Setup {
        next_hop: "127.0.0.1:1".parse().ok(),
        running: "addresses:\n  - id: second\n    address: 127.0.0.2\n    hostname: two.example\n"
            .to_owned(),
        ..Setup::default()
    }
    .hook(
        "predelivery",
        &format!(
            r#"SetDestination("127.0.0.1", {});
               $what = $message["recipientaddress"]["localpart"];
               if ($what == "sasl") SetSASL("u", "p");
               if ($what == "xclient") SetXCLIENT(["ADDR" => "192.0.2.7", "NAME" => "client.example"]);
               if ($what == "lmtp") {{ SetProtocol("lmtp"); SetHELO("lmtp.example"); }}
               if ($what == "source") SetSourceIP("second");
               if ($what == "literal") SetSourceIP(["127.0.0.3"], ["nonlocal_source" => true]);
               if ($what == "parties") {{
                   SetSender(["localpart" => "S", "domain" => "example.net"]);
                   SetSenderParams(["ENVID" => "mine"]);
                   SetRecipient("R@example.net");
                   SetRecipientParams(["NOTIFY" => "NEVER"]);
               }}
               if ($what == "params") {{ SetSenderParams(["RET" => "HDRS"]); Try(); }}
               if ($what == "option") Try(["sender" => ["localpart" => "o", "domain" => "example.net", "params" => ["ENVID" => "yours"]]]);
               if ($what == "explicit") {{ SetHELO("first.example"); Try(["helo" => "last.example"]); }}
               if ($what == "ended") {{ SetHELO("ended.example"); Try(["sender" => "end@example.net"]); }}"#,
            sink.address.port()
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let names = [
        "sasl", "xclient", "lmtp", "source", "literal", "parties", "params", "option", "explicit",
        "ended",
    ];
    let recipients: Vec<String> = names.iter().map(|name| format!("{name}@example.org")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    send(&daemon, &recipients).await;
    let messages = sink.wait_for(names.len()).await;
    let commands = sink.commands();
    let said = |wanted: &str| commands.iter().filter(|line| line.starts_with(wanted)).count();
    // RFC 4616: NUL, name, NUL, password.
    for line in [
        "AUTH PLAIN AHUAcA==",
        "XCLIENT ADDR=192.0.2.7 NAME=client.example",
        "LHLO lmtp.example",
        "RCPT TO:<R@example.net> NOTIFY=NEVER",
    ] {
        assert_eq!(said(line), 1, "{line}: {commands:?}");
    }
    let source = to(&messages, "<source@example.org>");
    assert_eq!((&*source.peer.ip().to_string(), &*source.helo), ("127.0.0.2", "two.example"));
    assert_eq!(to(&messages, "<literal@example.org>").peer.ip().to_string(), "127.0.0.3");
    let from = |wanted: &str| {
        let message =
            messages.iter().find(|message| message.to.iter().any(|to| to.starts_with(wanted)));
        message.unwrap_or_else(|| panic!("{wanted}: {messages:?}")).from.clone()
    };
    for (recipient, start, param) in [
        ("<R@example.net>", "<S@example.net>", " ENVID=mine"),
        ("<params@", "<a@client.example>", " RET=HDRS"),
        ("<option@", "<o@example.net>", " ENVID=yours"),
        ("<ended@", "<end@example.net>", ""),
    ] {
        let from = from(recipient);
        assert!(from.starts_with(start) && from.contains(param), "{recipient}: {from}");
    }
    assert_eq!(to(&messages, "<explicit@example.org>").helo, "last.example");
    assert_eq!(to(&messages, "<ended@example.org>").helo, "ended.example");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_set_before_the_attempt_and_told_of_after_it() {
    let certificate = certs::certificate(&["sink.example"]);
    let behaviour = SinkBehaviour { certificate: Some(certificate), ..SinkBehaviour::default() };
    let sink = SmtpSink::start_with(behaviour).await;
    let setup = Setup {
        next_hop: Some(sink.address),
        session: "          tls:\n            mode: disabled\n".to_owned(),
        ..Setup::default()
    }
    .hook(
        "predelivery",
        r#"if ($message["recipient"] != "plain@example.org")
               SetTLS(["tls" => "require", "tls_sni" => "name.example", "host" => "192.0.2.1"]);"#,
    )
    .hook(
        "postdelivery",
        &format!(
            r#"if ($context === none and $message["sender"] != "") {{
                   $tls = GetTLS(["fingerprint" => "sha256"]);
                   $seen = [$tls["started"], $tls["protocol"] ?? none, isset($tls["keysize"]), isset($tls["peer_cert"]),
                       length($tls["fingerprint"] ?? ""), length(GetMailFile(["changes" => true])->read()),
                       str_find(GetMailFile()->read(), "Subject: hello") !== -1];
                   MIME()->addHeader("X-Seen", json_encode($seen))->send("", ["seen@example.net"], ["host" => "127.0.0.1", "port" => {}]);
               }}"#,
            sink.address.port()
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let seen = |messages: &[SunkMessage]| {
        let mut lines = messages.iter().flat_map(|message| message.content.lines());
        lines.find_map(|line| line.strip_prefix("X-Seen: ").map(str::to_owned))
    };
    send(&daemon, &["plain@example.org"]).await;
    let messages = sink.wait_for(2).await;
    assert!(!to(&messages, "<plain@example.org>").tls);
    let length = |message: &SunkMessage| message.content.len();
    let plain = length(to(&messages, "<plain@example.org>"));
    assert_eq!(seen(&messages).unwrap(), format!("[false,null,false,false,0,{plain},true]"));
    send(&daemon, &["secret@example.org"]).await;
    let messages = sink.wait_for(4).await;
    let secret = to(&messages, "<secret@example.org>");
    assert!(secret.tls);
    assert_eq!(secret.server_name.as_deref(), Some("name.example"));
    assert_eq!(
        seen(&messages[2..]).unwrap(),
        format!(r#"[true,"TLSv1.3",true,true,64,{},true]"#, length(secret))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn putting_off_by_the_old_names_counts_and_ends_at_the_last_retry() {
    let busy = SinkBehaviour::default().reply("RCPT TO:<BUSY@", "451 4.2.0 Busy");
    let sink = SmtpSink::start_with(busy).await;
    let setup = Setup {
        next_hop: Some(sink.address),
        dsn: true,
        retries: vec![3600, 3600],
        ..Setup::default()
    }
    .hook(
        "predelivery",
        r#"if ($message["recipientaddress"]["localpart"] == "later") {
               $notes = GetMetaData();
               $seen = ($notes["seen"] ?? "") . $arguments["retry"];
               SetMetaData(["seen" => $seen]);
               if (length($seen) == 1) Reschedule(0, ["increment_retry" => false]);
               if (length($seen) == 2) Reschedule(0);
               SetSender("s$seen@example.net");
           }"#,
    )
    .hook("postdelivery", r#"if (isset($arguments["action"])) Retry(["delay" => 0]);"#);
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, &["later@example.org"]).await;
    let message = sink.wait_for(1).await.remove(0);
    assert!(message.from.starts_with("<s001@example.net>"), "{}", message.from);
    // The first attempt and two retries, then the sender is told.
    send(&daemon, &["busy@example.org"]).await;
    let bounce = sink.wait_for(2).await.remove(1);
    assert_eq!(bounce.to, ["<a@client.example>"]);
    assert!(bounce.content.contains("\r\nAction: failed\r\n"), "{}", bounce.content);
    let attempts = sink.commands();
    let attempts = attempts.iter().filter(|line| line.starts_with("RCPT TO:<busy@")).count();
    assert_eq!(attempts, 3);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_is_as_either_hook_set_it() {
    let mut refusing = SinkBehaviour::default();
    for name in ["ONE", "TWO", "THREE", "FOUR"] {
        refusing = refusing.reply(&format!("RCPT TO:<{name}@"), "550 5.1.1 No such user");
    }
    let sink = SmtpSink::start_with(refusing).await;
    let setup = Setup { next_hop: Some(sink.address), dsn: true, ..Setup::default() }
        .hook(
            "predelivery",
            r#"$who = $message["recipientaddress"]["localpart"];
               if ($message["sender"] != "" and $who != "four")
                   SetDSN(["from" => ["localpart" => "pre", "domain" => "acme.example"], "from_name" => "Pre"]);"#,
        )
        .hook(
            "postdelivery",
            r#"$who = $message["recipientaddress"]["localpart"];
               if ($who == "two") SetDSN(["from_name" => "Post"]);
               if ($who == "three") { SetDSN(["from_name" => "Post"]); Bounce(["dsn" => ["from_name" => "Last"]]); }
               if ($who == "four") { SetDSN(["from_name" => "Four"]); throw "broken"; }"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    for (count, (recipient, from)) in [
        ("one", "From: Pre <pre@acme.example>"),
        ("two", "From: Post <pre@acme.example>"),
        ("three", "From: Last <pre@acme.example>"),
        // What a script that fails has set is not done.
        ("four", "From: Mail Delivery Subsystem <MAILER-DAEMON@"),
    ]
    .into_iter()
    .enumerate()
    {
        send(&daemon, &[&format!("{recipient}@example.org")]).await;
        let bounce = sink.wait_for(count + 1).await.remove(count);
        assert!(bounce.content.contains(&format!("\r\n{from}")), "{recipient}: {}", bounce.content);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_of_a_name_are_held_for_the_time_of_an_attempt() {
    let sink = SmtpSink::start_with(SinkBehaviour::default().hold("RCPT TO:<SLOW@")).await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }
        .hook(
            "predelivery",
            r#"$who = $message["recipientaddress"]["localpart"];
               // The same name again is the same slot.
               $is_free = CurrentConnections("domain", "example.org", 1) and CurrentConnections("domain", "example.org", 1);
               $is_other_free = CurrentConnections("domain", "example.com", 1) and CurrentConnections("other", "example.org", 1);
               if ($who == "given") Queue(["hold" => true]);
               if ($who != "slow") Try(["recipient" => ["localpart" => "$who-$is_free-$is_other_free", "domain" => "example.net"]]);
               $context = "slow";"#,
        )
        .hook(
            "postdelivery",
            &format!(
                r#"if ($context == "slow") MIME()->send("", ["over@example.net"], ["host" => "127.0.0.1", "port" => {}]);"#,
                sink.address.port()
            ),
        );
    let mut daemon = TestDaemon::start(setup).await;
    send(&daemon, &["given@example.org"]).await;
    send(&daemon, &["slow@example.org"]).await;
    while !sink.commands().iter().any(|line| line.starts_with("RCPT TO:<slow@")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    send(&daemon, &["second@example.org"]).await;
    assert_eq!(sink.wait_for(1).await[0].to, ["<second-false-false@example.net>"]);
    sink.behave(SinkBehaviour::default());
    let messages = sink.wait_for(3).await;
    to(&messages, "<slow@example.org>");
    to(&messages, "<over@example.net>");
    send(&daemon, &["third@example.org"]).await;
    assert_eq!(sink.wait_for(4).await[3].to, ["<third-true-true@example.net>"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flat_variables_are_there_for_scripts_that_only_read_them() {
    let who = r#"[$senderip, $serverip, $serverid, $senderport > 0, $serverport > 0, length($messageid)]"#;
    let sink =
        SmtpSink::start_with(SinkBehaviour::default().reply("RCPT TO:<GONE@", "550 5.1.1 No"))
            .await;
    let setup = Setup {
        next_hop: Some(sink.address),
        retries: vec![600, 600],
        running: "addresses:\n  - id: loop\n    address: 127.0.0.1\n".to_owned(),
        ..Setup::default()
    }
    .hook("connect", &format!("SetSenderIP(\"192.0.2.1\"); Accept([\"reason\" => json_encode({who})]);"))
    .hook(
        "helo",
        &format!("$before = $senderhelo; SetHELO(\"set.example\");\n\
                  Accept([\"reason\" => json_encode([...{who}, $senderhelotype, $before, $senderhelo, $tlsstarted, $saslauthed])]);"),
    )
    .hook(
        "auth",
        &format!("if ($saslpassword != \"p\") Reject();\n\
                  Accept([\"reason\" => json_encode([...{who}, $saslmechanism, $saslusername, $senderhelo, $saslstate])]);"),
    )
    .hook(
        "mailfrom",
        &format!("SetSender(\"Other@Example.net\");\n\
                  Accept([\"reason\" => json_encode([...{who}, $saslusername, $sender, $senderlocalpart, $senderdomain, $senderparams])]);"),
    )
    .hook(
        "rcptto",
        &format!("$recipientparams = \"own\";\n\
                  Accept([\"reason\" => json_encode([...{who}, $sender, $senderparams, $recipients, $recipientdomains, $recipient,\
                  $recipientlocalpart, $recipientdomain, $recipientparams, $transportid])]);"),
    )
    .hook(
        "predelivery",
        &format!(
            r#"SetSourceIP("loop");
               if ($sender != "") SetSender("now@$senderdomain");
               $to = [$destination, $destinationport == {}, $sourceip];
               SetDestination("127.0.0.1", {});
               $context = json_encode([$senderip, $senderhelo, $saslusername, $sender, $senderlocalpart, $recipient, $recipientlocalpart,
                   $recipientdomain, $receivedtime % 1, $receivedtime > 1500000000, $queueid, $actionid, $retry, $retries, $to,
                   $destination, $transportid, $serverid, $messageid == $message["id"]["transaction"]]);"#,
            sink.address.port(),
            sink.address.port()
        ),
    )
    .hook(
        "postdelivery",
        &format!(
            r#"$after = json_encode([$action, $errorcode, $errorndr, $errormsg, $transfertime > 0, $sourceip, $serverip, $serverport == {}, $sender, $retries]);
               MIME()->addHeader("X-Seen", "$context $after")->send("", ["seen@example.net"], ["host" => "127.0.0.1", "port" => {}]);"#,
            sink.address.port(),
            sink.address.port()
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, banner) = SmtpClient::connect(daemon.address()).await;
    let facts = r#""127.0.0.1","default",true,true,36"#;
    let who = format!(r#""192.0.2.1",{facts}"#);
    assert_eq!(banner, format!("220 [{who}]"));
    for (line, wanted) in [
        ("HELO c.example", format!(r#"250 [{who},"HELO","c.example","set.example",false,false]"#)),
        ("EHLO c.example", format!(r#"250-[{who},"EHLO","c.example","set.example",false,false]"#)),
        ("AUTH PLAIN AHUAcA==", format!(r#"[{who},"PLAIN","u","set.example",0]"#)),
        (
            "MAIL FROM:<Ann@client.example> SIZE=100",
            format!(r#"[{who},"u","other@example.net","Other","Example.net",{{"SIZE":"100"}}]"#),
        ),
        (
            "RCPT TO:<One@example.org>",
            format!(
                r#"[{who},"other@example.net",{{"SIZE":"100"}},[],[],"one@example.org","One","example.org","own","out"]"#
            ),
        ),
        (
            "RCPT TO:<gone@Example.com>",
            format!(
                r#"[{who},"other@example.net",{{"SIZE":"100"}},["one@example.org"],["example.org"],"gone@example.com","gone","Example.com","own","out"]"#
            ),
        ),
    ] {
        let reply = client.command(line).await;
        assert!(reply.contains(&wanted), "{line}: {reply}\nshould have {wanted}");
    }
    client.command("DATA").await;
    client.send(MESSAGE.as_bytes()).await;
    assert!(client.command(".").await.starts_with("250 "));
    drop(client);
    let messages = sink.wait_for(3).await;
    let content: String =
        messages.iter().map(|message| message.content.replace("\r\n ", " ")).collect();
    let queued = |local: &str, domain: &str, number: u32| {
        let lower = format!("{local}@{domain}").to_lowercase();
        format!(
            r#"["192.0.2.1","set.example","u","now@example.net","now","{lower}","{local}","{domain}",0,true,{number},{number},0,2,["127.0.0.1",true,""],"127.0.0.1","out","default",true]"#
        )
    };
    for (before, after) in [
        (
            queued("One", "example.org", 1),
            r#" ["",250,"2.0.0","Ok: sunk",true,"127.0.0.1","127.0.0.1",true,"now@example.net",2]"#,
        ),
        (
            queued("gone", "Example.com", 2),
            r#" ["DELETE",550,"5.1.1","No",true,"127.0.0.1","127.0.0.1",true,"now@example.net",2]"#,
        ),
    ] {
        let seen = format!("X-Seen: {before}{after}");
        assert!(content.contains(&seen), "{seen}\n{content}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_that_a_notification_returns_is_read() {
    let setup = Setup::default().hook(
        "eodrcpt",
        r#"Reject(json_encode([GetDSNHeader("subject"), GetDSNHeader("Subject", true), GetDSNHeader("X-None")]));"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let returned = "Received: from a\r\nSubject: =?utf-8?q?hello=21?=\r\n\tworld\r\nSubject: second\r\n\r\nSubject: body\r\n";
    for (kind, content) in [
        ("text/rfc822-headers", returned.to_owned()),
        ("message/rfc822", returned.to_owned()),
        (
            "message/global\r\nContent-Transfer-Encoding: base64",
            "U3ViamVjdDogPT91dGYtOD9xP2hlbGxvPTIxPz0NCgl3b3JsZA0KDQo=\r\n".to_owned(),
        ),
    ] {
        let message = format!(
            "Subject: Undelivered\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n\
             --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\n\
             --b\r\nContent-Type: {kind}\r\n\r\n{content}--b--\r\n"
        );
        let reply = client.deliver("", &["one@example.org"], &message).await;
        let wanted = r#"["hello!\tworld","=?utf-8?q?hello=21?=\tworld",null]"#;
        assert!(reply.contains(wanted), "{kind}: {reply}");
    }
    let reply = client.deliver("", &["one@example.org"], MESSAGE).await;
    assert!(reply.contains("[null,null,null]"), "{reply}");
    drop(client);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_of_a_script_go_before_the_old_ones() {
    let setup = Setup::default().hook(
        "mailfrom",
        r#"function SetSender($sender, $more) { return "own $sender $more"; }
           Accept(["reason" => SetSender("a", "b") . " " . builtin SetSender("c@example.net")]);"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.command("MAIL FROM:<a@example.org>").await;
    assert_eq!(reply, "250 2.1.0 own a b c@example.net");
    drop(client);
    daemon.stop().await;
}
