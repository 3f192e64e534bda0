//! Hooks run real scripts with their documented variables and verdicts.

use control::command::call;
use control::pb;
use serde_json::{Value, json};
use system_tests::{Setup, TestDaemon, ask, remembered, rows_where};
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

/// A script that ends as the text in `what` says.
fn ends_by(what: &str) -> String {
    format!(
        r#"switch ({what}) {{
               case "accept": Accept();
               case "reject": Reject();
               case "defer": Defer();
               case "fail": throw "broken";
               case "unset": Reject(none, ["reply_codes" => none, "disconnect" => none]);
               case "lines": Reject("a\nb", ["disconnect" => true]);
               case "list": Defer(["a", "b"], ["disconnect" => true]);
               case "codes": Reject(["a", "b"], ["reply_codes" => ["code" => "559", "enhanced" => ["5", 7, "9"]]]);
               case "later": Defer("a", ["reply_codes" => ["code" => 459, "enhanced" => [4, 7, 9]]]);
               case "taken": Accept(["reason" => "a\nb", "reply_codes" => ["code" => 259, "enhanced" => [2, 7, 9]]]);
               case "text": Reject("a", ["reply_codes" => ["code" => "no"]]);
           }}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_have_the_codes_and_texts_of_their_hook_or_of_the_script() {
    let rcpt = ends_by(r#"$arguments["address"]["localpart"]"#);
    let setup = Setup::default()
        .hook("helo", &ends_by(r#"str_split($arguments["host"], ".")[0]"#))
        .hook("mailfrom", &ends_by(r#"$arguments["address"]["localpart"]"#))
        .hook("rcptto", &rcpt)
        .hook("eod", &ends_by(r#"$arguments["mail"]->getHeader("Subject")"#));
    let mut daemon = TestDaemon::start(setup).await;
    for (phase, [accept, reject, defer, implicit, fail]) in [
        ("helo", ["250", "554", "450", "250", "450"]),
        ("mailfrom", ["250", "554", "450", "250", "450"]),
        ("rcptto", ["250", "554", "450", "250", "450"]),
        ("eod", ["250", "550", "421", "421", "421"]),
    ] {
        for (how, code, texts, closes) in [
            ("accept", accept, &[""][..], false),
            ("reject", reject, &[""], false),
            ("defer", defer, &[""], false),
            ("nothing", implicit, &[""], false),
            ("fail", fail, &[""], false),
            // A code is a number: another text is a mistake of the script.
            ("text", fail, &[""], false),
            ("unset", reject, &[""], false),
            ("lines", reject, &["a", "b"], true),
            ("list", defer, &["a", "b"], true),
            ("codes", "559", &["-5.7.9 a", " 5.7.9 b"], false),
            ("later", "459", &[" 4.7.9 a"], false),
            ("taken", "259", &["-2.7.9 a", "2.7.9 b"], false),
        ] {
            let (mut client, _) = SmtpClient::connect(daemon.address()).await;
            let at = |wanted: &str| if phase == wanted { how } else { "accept" };
            let mut heard = client.command(&format!("EHLO {}.example", at("helo"))).await;
            if phase != "helo" {
                let sender = at("mailfrom");
                heard = client.command(&format!("MAIL FROM:<{sender}@example.org>")).await;
            }
            if phase == "rcptto" || phase == "eod" {
                let recipient = at("rcptto");
                heard = client.command(&format!("RCPT TO:<{recipient}@example.org>")).await;
            }
            if phase == "eod" {
                client.command("DATA").await;
                client.send(format!("Subject: {how}\r\n\r\n").as_bytes()).await;
                heard = client.command(".").await;
            }
            let lines: Vec<&str> = heard.lines().collect();
            // The keywords follow an accepted EHLO.
            let is_whole = lines.len() == texts.len() || heard.contains("PIPELINING");
            assert!(is_whole, "{phase} {how}: {heard}");
            for (line, text) in lines.iter().zip(texts) {
                let fits = line.starts_with(code) && (line.ends_with(text) || text.is_empty());
                assert!(fits, "{phase} {how}: {heard}");
            }
            if closes {
                assert_eq!(client.reply().await, "", "{phase} {how}: the connection is closed");
            } else {
                assert_ne!(client.command("NOOP").await, "", "{phase} {how}");
            }
        }
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_banner_is_that_of_the_connect_script() {
    for (script, banner, closes) in [
        ("$x = 1;", "220 ", false),
        ("Accept();", "220 ", false),
        (
            r#"Accept(["reason" => ["a", "b"], "reply_codes" => ["code" => 229]]);"#,
            "229-a\n229 b",
            false,
        ),
        ("Reject();", "521 ", true),
        ("Defer();", "421 ", true),
        (r#"throw "broken";"#, "421 ", true),
        (
            r#"Reject("a\nb", ["reply_codes" => ["code" => 550, "enhanced" => [5, 7, 1]]]);"#,
            "550-5.7.1 a\n550 5.7.1 b",
            true,
        ),
        (r#"Defer(["a", "b"], ["reply_codes" => ["code" => 450]]);"#, "450-a\n450 b", true),
        // What is no address is a mistake of the script.
        (r#"Accept(["remoteip" => "nowhere"]);"#, "421 ", true),
    ] {
        let mut daemon = TestDaemon::start(Setup::default().hook("connect", script)).await;
        let (mut client, heard) = SmtpClient::connect(daemon.address()).await;
        assert!(heard.starts_with(banner), "{script}: {heard}");
        if closes {
            assert_eq!(client.reply().await, "", "{script}: the connection is closed");
        } else {
            assert!(client.command("EHLO client.example").await.starts_with("250"), "{script}");
        }
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_script_passes_answers_closes_or_fails() {
    let script = r#"
        switch ($arguments["command"]) {
            case "ok": Reply(none, ["next" => true]);
            case "lines": Reply("a\nb", ["next" => true, "reply_codes" => ["code" => 554, "enhanced" => [5, 7, 1]]]);
            case "bye": Reply(["so", "long"], ["disconnect" => true]);
            case "fail": throw "broken";
            case "once": Pass();
            case "end": break;
            default: Pass(["next" => true]);
        }"#;
    let mut daemon = TestDaemon::start(Setup::default().hook("proxy", script)).await;
    for (line, reply, then) in [
        ("ok", "250 2.0.0 OK", "554-5.7.1 a\n554 5.7.1 b"),
        ("NOOP", "250 2.0.0 OK", "554-5.7.1 a\n554 5.7.1 b"),
        ("bye", "250-2.0.0 so\n250 2.0.0 long", ""),
        ("fail", "421 4.0.0 OK", ""),
        // The hook is done with this connection.
        ("once", "500 5.5.1 Command not recognized", "500 5.5.1 Command not recognized"),
        ("end", "500 5.5.1 Command not recognized", "500 5.5.1 Command not recognized"),
    ] {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        let heard = client.command(line).await;
        match line {
            // Any text, but nothing about the script.
            "fail" => assert!(heard.starts_with("421 ") && !heard.contains("broken"), "{heard}"),
            _ => assert_eq!(heard, reply, "{line}"),
        }
        match then {
            "" => assert_eq!(client.reply().await, "", "{line}: the connection is closed"),
            then => assert_eq!(client.command("lines").await, then, "{line}"),
        }
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_of_a_conversation_fill_up_as_it_goes_on() {
    let note = |hook: &str, arguments: &str| {
        format!("$context[\"{hook}\"] = [{arguments}, $connection, $transaction];\n")
    };
    let all = "$arguments";
    let names = testkit::dns_zone::Zone::new().serve().await;
    let setup = Setup { name_server: Some(names.address), ..Setup::default() }
        .hook("connect", &format!("$context = [];\n{}", note("connect", all)))
        .hook("proxy", &format!("{}Pass([\"next\" => true]);", note("proxy", all)))
        .hook(
            "helo",
            &format!(
                "{}Accept([\"extensions\" => [...$arguments[\"extensions\"] ?? [], \"DSN\", \"AUTH LOGIN\"]]);",
                note("helo", all)
            ),
        )
        .hook("auth", &format!("{}Accept();", note("auth", all)))
        .hook("mailfrom", &note("mailfrom", all))
        .hook("rcptto", &note("rcptto", all))
        .hook("eod", &format!("{}Reject();", note("eod", "array_keys($arguments)")))
        .hook(
            "disconnect",
            &format!("{}memory_store(\"seen\", $context);", note("disconnect", all)),
        );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    for (line, code) in [
        ("EHLO Client.example", "250"),
        ("AUTH LOGIN", "334"),
        ("QW5u", "334"),
        ("cHc=", "235"),
        ("MAIL FROM:<Ann@Client.example> size=100 ENVID=e1", "250"),
        ("RCPT TO:<Bob@Example.org>", "250"),
        ("RCPT TO:<Eve@Example.org> Notify=NEVER", "250"),
        ("DATA", "354"),
    ] {
        let reply = client.command(line).await;
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    client.send(MESSAGE.as_bytes()).await;
    assert!(client.command(".").await.starts_with("550 "));
    client.command("QUIT").await;
    let seen: Value = serde_json::from_str(&remembered(&daemon, "seen").await).unwrap();

    let id = &seen["connect"][2]["id"];
    let remoteport = &seen["connect"][0]["remoteport"];
    let localport = daemon.address().port();
    let mut ends = json!({
        "remoteip": "127.0.0.1", "remoteport": remoteport,
        "localip": "127.0.0.1", "localport": localport, "serverid": "default",
    });
    let with = |before: &Value, more: Value| {
        let mut all = before.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    // The machine may have a name for its own address.
    if let Some(name) = seen["connect"][0].get("remoteptr") {
        ends["remoteptr"] = name.clone();
    }
    let result = json!({ "remoteptrresult": seen["connect"][0]["remoteptrresult"] });
    assert_eq!(seen["connect"], json!([with(&ends, result), [], { "id": id }]));

    let connection = with(&ends, json!({ "id": id, "priority": 0 }));
    let extensions = seen["helo"][0]["extensions"].as_array().unwrap();
    assert!(extensions.contains(&json!("PIPELINING")), "{extensions:?}");
    let arguments = json!({ "verb": "EHLO", "host": "Client.example", "extensions": extensions });
    assert_eq!(seen["helo"], json!([arguments, connection, { "id": id }]));

    let connection =
        with(&connection, json!({ "helo": { "verb": "EHLO", "host": "Client.example" } }));
    let arguments = json!({ "mechanism": "LOGIN", "username": "Ann", "password": "pw" });
    assert_eq!(seen["auth"], json!([arguments, connection, { "id": id }]));

    let connection =
        with(&connection, json!({ "auth": { "mechanism": "LOGIN", "username": "Ann" } }));
    let address = json!({ "localpart": "Ann", "domain": "Client.example" });
    let params = json!({ "SIZE": "100", "ENVID": "e1" });
    let arguments = json!({ "sender": "ann@client.example", "address": address, "params": params });
    assert_eq!(seen["mailfrom"], json!([arguments, connection, { "id": id }]));

    let recipient = |local: &str, params: Value| {
        json!({
            "recipient": format!("{}@example.org", local.to_lowercase()),
            "address": { "localpart": local, "domain": "Example.org" },
            "params": params, "transportid": "out",
        })
    };
    let in_list = |local: &str, params: Value| {
        with(&recipient(local, params.clone()), json!({ "recipientparams": params }))
    };
    let bob = in_list("Bob", json!([]));
    let sender = json!({
        "id": id, "sender": "ann@client.example", "senderaddress": address, "senderparams": params,
    });
    let transaction = with(&sender, json!({ "recipients": [bob] }));
    let arguments = recipient("Eve", json!({ "NOTIFY": "NEVER" }));
    assert_eq!(seen["rcptto"], json!([arguments, connection, transaction]));

    let eve = in_list("Eve", json!({ "NOTIFY": "NEVER" }));
    let ts = &seen["eod"][2]["ts"];
    assert!(ts.as_f64().unwrap() > 1.7e9, "{ts}");
    let transaction = with(&sender, json!({ "recipients": [bob, eve], "ts": ts }));
    assert_eq!(seen["eod"], json!([["mail"], connection, transaction]));

    // The message is over, and its transaction with it; the connection is the same.
    let (id, next) = (id, &seen["proxy"][2]["id"]);
    assert_ne!(id, next);
    assert_eq!(seen["proxy"], json!([{ "command": "QUIT" }, connection, { "id": next }]));
    let reply = &seen["disconnect"][0]["reply"];
    let arguments = json!({ "close": "remote", "reply": reply });
    assert_eq!(seen["disconnect"], json!([arguments, connection, []]));
    daemon.stop().await;
}

/// The last word of a reply.
fn last_word(reply: &str) -> &str {
    reply.rsplit(' ').next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caches_live_as_long_as_their_options_say() {
    let script = r#"import $list from "list.txt";
function called() { return memory_inc("calls"); }
$options = [
    "plain" => [],
    "message" => ["per_message" => true],
    "named" => ["namespace" => $transaction["id"]],
    "apart" => ["namespace" => "apart"],
    "list" => ["namespace" => "file:list.txt"],
    "kept" => ["namespace" => "file:kept.txt"],
    "brief" => ["namespace" => "brief", "ttl" => 0.2],
][$arguments["address"]["localpart"]];
Reject(string(cache [...$options] called()));"#;
    let files = |list: &str| {
        format!(
            "  files:\n    - id: list.txt\n      data: {list}\n    - id: kept.txt\n      data: kept\n"
        )
    };
    let setup = Setup { running: files("first"), ..Setup::default() }.hook("mailfrom", script);
    let mut daemon = TestDaemon::start(setup).await;
    let (mut one, _) = SmtpClient::connect(daemon.address()).await;
    let (mut two, _) = SmtpClient::connect(daemon.address()).await;
    one.command("EHLO client.example").await;
    two.command("EHLO client.example").await;
    async fn ask_for(client: &mut SmtpClient, what: &str) -> u32 {
        let reply = client.command(&format!("MAIL FROM:<{what}@example.org>")).await;
        last_word(&reply).parse().unwrap_or_else(|_| panic!("{what}: {reply}"))
    }
    assert_eq!(ask_for(&mut one, "plain").await, 1);
    assert_eq!(ask_for(&mut one, "plain").await, 1);
    assert_eq!(ask_for(&mut one, "message").await, 2);
    assert_eq!(ask_for(&mut one, "named").await, 2, "the transaction names the cache");
    one.command("RSET").await;
    assert_eq!(ask_for(&mut one, "message").await, 3, "another message, another cache");
    assert_eq!(ask_for(&mut two, "plain").await, 1, "all connections share");
    assert_eq!(ask_for(&mut two, "message").await, 4);
    assert_eq!(ask_for(&mut two, "apart").await, 5);
    assert_eq!(ask_for(&mut two, "list").await, 6);
    assert_eq!(ask_for(&mut two, "kept").await, 7);
    assert_eq!(ask_for(&mut one, "list").await, 6);
    let reload = |client: &mut control::client::Client| {
        client.call(call::CONFIG_RELOAD, &()).unwrap();
    };
    daemon.rewrite(|setup| setup.running = files("second"));
    ask(&daemon, reload).await;
    // A connection keeps the scripts it began with; the caches are those of the process.
    let (mut three, _) = SmtpClient::connect(daemon.address()).await;
    three.command("EHLO client.example").await;
    assert_eq!(ask_for(&mut three, "list").await, 8, "the file is another one");
    assert_eq!(ask_for(&mut one, "list").await, 8);
    for client in [&mut one, &mut three] {
        assert_eq!(ask_for(client, "kept").await, 7);
        assert_eq!(ask_for(client, "plain").await, 1);
        assert_eq!(ask_for(client, "apart").await, 5);
    }
    assert_eq!(ask_for(&mut one, "brief").await, 9);
    let mut brief = 9;
    while brief == 9 {
        brief = ask_for(&mut one, "brief").await;
    }
    assert_eq!(brief, 10, "its time was over");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_null_sender_is_empty_text_and_helo_has_no_keywords() {
    let setup = Setup::default()
        .hook("helo", r#"Accept(["reason" => isset($arguments["extensions"]) ? "list" : "none", "extensions" => ["X"]]);"#)
        .hook("mailfrom", r#"Accept(["reason" => json_encode($arguments)]);"#)
        .hook("rcptto", r#"Accept(["reason" => json_encode([$transaction["sender"], $transaction["senderaddress"]])]);"#);
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    assert_eq!(client.command("HELO client.example").await, "250 none");
    let empty = r#"{"localpart":"","domain":""}"#;
    let reply = client.command("MAIL FROM:<>").await;
    assert_eq!(reply, format!(r#"250 2.1.0 {{"sender":"","address":{empty},"params":[]}}"#));
    let reply = client.command("RCPT TO:<x@example.org>").await;
    assert_eq!(reply, format!(r#"250 2.1.5 ["",{empty}]"#));
    drop(client);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_keeps_its_id_and_transactions_have_their_own() {
    let setup = Setup::default()
        .hook("mailfrom", r#"Accept(["reason" => $connection["id"] . " " . $transaction["id"]]);"#);
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(client.command("MAIL FROM:<a@example.org>").await);
        client.command("RSET").await;
    }
    let ids: Vec<Vec<&str>> = seen.iter().map(|reply| reply.split(' ').skip(2).collect()).collect();
    assert_eq!(ids[0][0], ids[1][0]);
    assert_ne!(ids[0][1], ids[1][1]);
    let listed = ask(&daemon, |client| {
        let request = pb::ServerConnectionsListRequest::default();
        client.call(call::SERVER_CONNECTIONS_LIST, &request).unwrap().connections
    })
    .await;
    assert_eq!(listed[0].connectionid, ids[0][0]);
    drop(client);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_greeting_leaves_the_one_before_in_force() {
    let setup = Setup::default()
        .hook("helo", r#"if ($arguments["host"] == "bad.example") Reject();"#)
        .hook("mailfrom", r#"Accept(["reason" => $connection["helo"]["host"]]);"#);
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    for (line, reply) in [
        ("EHLO good.example", "250"),
        ("EHLO bad.example", "554"),
        // RFC 5321 §4.1.4.
        ("MAIL FROM:<a@example.org>", "250 2.1.0 good.example"),
    ] {
        let heard = client.command(line).await;
        assert!(heard.starts_with(reply), "{line}: {heard}");
    }
    drop(client);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_none_is_an_error_of_the_script() {
    let setup = Setup::default()
        .hook(
            "mailfrom",
            r#"if ($arguments["sender"] == "odd@example.org") Accept(["sender" => "a@b c"]);
               if ($arguments["sender"] == "number@example.org") Accept(["sender" => 5]);
               if ($arguments["sender"] == "null@example.org") Accept(["sender" => ""]);"#,
        )
        .hook(
            "rcptto",
            r#"if ($transaction["sender"] != "") Reject($transaction["sender"]);
               if ($arguments["recipient"] == "text@example.org") Accept(["recipient" => "Other@example.net", "transportid" => "two"]);
               if ($arguments["recipient"] == "null@example.org") Accept(["recipient" => ""]);
               if ($arguments["recipient"] == "odd@example.org") Accept(["recipient" => ["localpart" => 5]]);
               if ($arguments["recipient"] == "caught@example.org") {
                   try { Accept(["recipient" => ""]); } catch ($e) { Reject("caught"); }
               }
               Reject(json_encode($transaction["recipients"]));"#,
        );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    for (line, reply) in [
        ("EHLO client.example", "250"),
        ("MAIL FROM:<odd@example.org>", "450 "),
        ("MAIL FROM:<number@example.org>", "450 "),
        ("MAIL FROM:<null@example.org>", "250 "),
        ("RCPT TO:<null@example.org>", "450 "),
        ("RCPT TO:<odd@example.org>", "450 "),
        ("RCPT TO:<caught@example.org>", "554 5.7.1 caught"),
        ("RCPT TO:<text@example.org>", "250 "),
        (
            "RCPT TO:<last@example.org>",
            r#"554 5.7.1 [{"recipient":"other@example.net","address":{"localpart":"Other","domain":"example.net"},"params":[],"recipientparams":[],"transportid":"two"}]"#,
        ),
    ] {
        let heard = client.command(line).await;
        assert!(heard.starts_with(reply), "{line}: {heard}");
    }
    let stats = ask(&daemon, |client| client.call(call::PROCESS_STATS, &()).unwrap()).await;
    let scripts = stats.servers[0].scripts.as_ref().unwrap();
    assert_eq!(scripts.mailfrom.as_ref().unwrap().errors, 2);
    assert_eq!(scripts.rcptto.as_ref().unwrap().errors, 2);
    drop(client);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hook_is_given_cannot_be_written() {
    let of_conversation = &["arguments", "connection", "transaction"][..];
    let hooks = [
        ("connect", of_conversation),
        ("disconnect", of_conversation),
        ("proxy", of_conversation),
        ("helo", of_conversation),
        ("auth", of_conversation),
        ("mailfrom", of_conversation),
        ("rcptto", of_conversation),
        ("eod", of_conversation),
        ("eodrcpt", &["senderip", "senderparams", "recipient", "transportid", "actionid"]),
        ("predelivery", &["arguments", "message"]),
        ("postdelivery", &["arguments", "message"]),
    ];
    for round in 0..5 {
        for assigned in ["", "[\"x\"]"] {
            let mut setup = Setup::default();
            for (hook, variables) in &hooks {
                let variable = variables[round % variables.len()];
                setup = setup.hook(hook, &format!("${variable}{assigned} = 1;"));
            }
            let error = TestDaemon::try_start(setup).await.err().expect("an error").to_string();
            for (hook, variables) in &hooks {
                // Each mistake is shown with its place and its line.
                let place = format!(
                    "--> {hook}{}:1:",
                    if hook.ends_with("delivery") { "" } else { "/script" }
                );
                let line = format!("${}{assigned} = 1;", variables[round % variables.len()]);
                let mut shown = error.split("error: ").filter(|one| one.contains(&place));
                assert!(shown.any(|one| one.contains(&line)), "{place} {line}\n{error}");
            }
        }
    }
    let mut setup = Setup::default();
    for (hook, _) in &hooks {
        setup = setup.hook(hook, "$context = 1;");
    }
    TestDaemon::start(setup).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_of_any_type_stays_with_its_connection() {
    let setup = Setup::default()
        .hook("connect", r#"if ($context !== none) Reject("first");
            class Count { constructor() { $this->n = 0; } function next() { $this->n += 1; return $this->n; } }
            $count = Count();
            $context = ["count" => $count, "twice" => function ($n) { return 2 * $n; }, "map" => Map("string", "number")];"#)
        .hook("mailfrom", r#"$context["map"]->set("at", $context["count"]->next());
            Accept(["reason" => "" . $context["twice"]($context["map"]->get("at"))]);"#)
        .hook("rcptto", r#"$context["count"]->next(); Reject();"#);
    let mut daemon = TestDaemon::start(setup).await;
    for _ in 0..2 {
        let (mut client, banner) = SmtpClient::connect(daemon.address()).await;
        assert!(banner.starts_with("220 "), "{banner}");
        client.command("EHLO client.example").await;
        assert_eq!(client.command("MAIL FROM:<a@example.org>").await, "250 2.1.0 2");
        client.command("RCPT TO:<b@example.org>").await;
        client.command("RSET").await;
        assert_eq!(client.command("MAIL FROM:<a@example.org>").await, "250 2.1.0 6");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_copies_become_real_only_when_the_script_accepts() {
    let sink = SmtpSink::start().await;
    let script = format!(
        "$mail = $arguments[\"mail\"];\n\
         $mail->queue(\"\", $mail->getHeader(\"Subject\") . \"@example.org\", \"out\");\n{}",
        ends_by(r#"$mail->getHeader("Subject")"#)
    );
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook("eod", &script);
    let mut daemon = TestDaemon::start(setup).await;
    for how in ["reject", "defer", "fail", "nothing", "lines", "accept"] {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        let message = format!("Subject: {how}\r\n\r\n");
        let reply = client.deliver("a@client.example", &["x@example.org"], &message).await;
        assert_eq!(reply.starts_with('2'), how == "accept", "{reply}");
    }
    assert_eq!(sink.wait_for(1).await[0].to, ["<accept@example.org>"]);
    rows_where(&daemon, <[_]>::is_empty).await;
    daemon.restart().await;
    assert!(rows_where(&daemon, |_| true).await.is_empty());
    daemon.stop().await;
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_options_of_queue_are_facts_of_the_row() {
    let setup = Setup::default().hook(
        "eod",
        r#"$mail = $arguments["mail"];
           $mail->queue("s@example.org", ["localpart" => "hold", "domain" => "example.org"], "one",
               ["hold" => true, "jobid" => "j", "metadata" => ["k" => "v", "n" => 5], "quotas" => ["q", "r"]]);
           $mail->queue("s@example.org", "delay@example.org", "two", ["delay" => "600"]);
           $dsn = ["envid" => "e1", "ret" => "HDRS", "notify" => "FAILURE,DELAY", "orcpt" => "rfc822;first@example.org"];
           $mail->queue("s@example.org", "dsn@example.org", "two", ["hold" => true, "dsn" => $dsn]);
           $dsn = ["envid" => "e2", "ret" => "FULL", "notify" => "NEVER"];
           $mail->queue("s@example.org", "other@example.org", "two", ["hold" => true, "dsn" => $dsn]);
           foreach ([["delay" => "soon"], ["jobid" => []], ["metadata" => "x"], ["quotas" => "q"], ["dsn" => "NEVER"],
                     ["dsn" => ["notify" => "SOMETIMES"]], ["dsn" => ["ret" => "HALF"]]] as $wrong) {
               try { $mail->queue("s@example.org", "wrong@example.org", "two", $wrong); Reject(json_encode($wrong)); }
               catch ($e) {}
           }
           Accept();"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver("a@client.example", &["x@example.org"], MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    for _ in 0..2 {
        let rows = rows_where(&daemon, |rows| rows.len() == 4).await;
        let of = |local: &str| {
            let is = |row: &&pb::queue_list_response::QueueItem| {
                row.recipient.as_ref().is_some_and(|recipient| recipient.localpart == local)
            };
            rows.iter().find(is).unwrap()
        };
        let (hold, delay) = (of("hold"), of("delay"));
        assert!(hold.hold && hold.jobid == "j" && hold.transportid == "one", "{hold:?}");
        assert_eq!((&*hold.metadata["k"], &*hold.metadata["n"]), ("v", "5"));
        assert_eq!(hold.quotas, ["q", "r"]);
        assert!(!delay.hold && (590.0..=600.0).contains(&delay.retrydelay), "{delay:?}");
        for (row, wanted) in [
            (of("dsn"), ["e1", "HDRS", "FAILURE,DELAY", "rfc822;first@example.org"]),
            (of("other"), ["e2", "FULL", "NEVER", ""]),
        ] {
            let dsn = row.dsn.as_ref().unwrap();
            assert_eq!([&*dsn.envid, &*dsn.ret, &*dsn.notify, &*dsn.orcpt], wanted);
        }
        daemon.restart().await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disconnect_hook_sees_what_broke_the_connection() {
    let certificate = testkit::certs::certificate(&["mx.example.org"]);
    let indented =
        |pem: &str| pem.lines().map(|line| format!("          {line}\n")).collect::<String>();
    let setup = Setup {
        server: "    tls:\n      certs:\n        cert: mx\n".to_owned(),
        running: format!(
            "pki:\n  private:\n    - id: mx\n      certificate:\n        data: |\n{}      \
             privatekey:\n        data: |\n{}",
            indented(&certificate.cert_pem),
            indented(&certificate.key_pem)
        ),
        ..Setup::default()
    }
    .hook("helo", r#"$context = $arguments["host"];"#)
    .hook("disconnect", r#"memory_store($context, $arguments); Pass();"#);
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO tls.example").await;
    client.command("STARTTLS").await;
    client.send(b"this is no handshake\r\n").await;
    let seen: Value = serde_json::from_str(&remembered(&daemon, "tls.example").await).unwrap();
    assert_eq!(seen["error"]["type"], "tls", "{seen}");
    assert!(seen["error"]["reason"].is_string() && seen["error"]["code"].is_number(), "{seen}");
    assert_eq!(
        (&seen["reply"]["code"], &seen["reply"]["state"]),
        (&json!(220), &json!("STARTTLS"))
    );

    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO reset.example").await;
    client.reset();
    let seen: Value = serde_json::from_str(&remembered(&daemon, "reset.example").await).unwrap();
    assert_eq!((&seen["close"], &seen["error"]["type"]), (&json!("remote"), &json!("socket")));
    // ECONNRESET.
    assert_eq!(seen["error"]["code"], 104, "{seen}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_option_of_cache_works_in_a_hook() {
    let script = r#"function f($a, $b = 0) { return memory_inc("calls " . $a); }
function twice($f) { return [$f(), $f()]; }
$seen = [
    "force" => twice(function () { return cache ["force" => true] f("force"); }),
    "ttl" => twice(function () { return cache ["ttl" => 0] f("ttl"); }),
    "override" => twice(function () { return cache ["ttl_override" => [1 => 0]] f("override"); }),
    "function" => twice(function () {
        return cache ["ttl_function" => function ($v) { return $v == 1 ? 0 : none; }] f("function");
    }),
    "update" => twice(function () {
        return cache ["force" => true,
            "update_function" => function ($old, $new) { return ($old ?? 0) + $new * 10; }] f("update");
    }),
    "filter" => [
        cache ["argv_filter" => [1]] f("filter", 1), cache ["argv_filter" => [1]] f("filter", 2),
        cache ["argv_filter" => [1, 2]] f("filter", 2),
    ],
];
$lru = [];
foreach ([true, false] as $on) {
    foreach (["a", "b", "a", "c", "a", "b"] as $key)
        $lru[] = cache ["size" => 2, "lru" => $on, "namespace" => "lru $on"] f("$key $on");
}
$seen["lru"] = $lru;
Reject(json_encode($seen));"#;
    let mut daemon = TestDaemon::start(Setup::default().hook("mailfrom", script)).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.command("MAIL FROM:<a@example.org>").await;
    let wanted = concat!(
        r#"{"force":[1,2],"ttl":[1,2],"override":[1,2],"function":[1,2],"update":[10,30],"#,
        r#""filter":[1,1,2],"lru":[1,1,1,1,1,2,1,1,1,1,1,1]}"#
    );
    assert_eq!(last_word(&reply), wanted);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_scripts_end_at_their_limits_and_hold_nobody_up() {
    let script = r#"function down($n) { return down($n + 1) + 1; }
function deep($n) { $a = []; for ($i = 0; $i < $n; $i++) $a = [$a]; return $a; }
$what = $arguments["address"]["localpart"];
if ($what == "loop") forever {}
if ($what == "text") { $s = "x"; forever $s .= $s; }
if ($what == "list") { $a = [0]; forever $a += $a; }
if ($what == "regex") { pcre_match("^(a+)+$", str_repeat("a", 64) . "!"); }
if ($what == "calls") down(0);
if ($what == "data") {
    $a = deep(50000);
    memory_store("deep", $a);
    $same = $a == deep(50000);
    if (json_encode($a) === none and $same) throw "deep";
}
if ($what == "memory") { $i = 0; forever memory_store("k" . $i++, str_repeat("x", 1000000) . $i); }
if ($what == "names") { $i = 0; forever memory_store(str_repeat("k", 100000) . $i++, 1); }
if ($what == "barrier") { barrier "b" => $v { $v = []; forever $v[] = str_repeat("x", 1000000) . length($v); } }
if ($what == "cache") { $i = 0; forever cache ["namespace" => "n" . $i++] str_repeat("x", 1000000); }
Accept();"#;
    let startup = "scripting:\n  sharedmemory:\n    size: 16MiB\n".to_owned();
    let setup = Setup { startup, ..Setup::default() }.hook("mailfrom", script);
    let mut daemon = TestDaemon::start(setup).await;
    let (mut honest, _) = SmtpClient::connect(daemon.address()).await;
    honest.command("EHLO client.example").await;
    let ending = ["text", "list", "regex", "calls", "data", "memory", "names", "barrier"];
    let endless = ["loop", "cache"];
    let mut hostile = Vec::new();
    for what in ending.into_iter().chain(endless) {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        client.send(format!("MAIL FROM:<{what}@example.org>\r\n").as_bytes()).await;
        hostile.push((what, client));
        // Each of these has a deadline.
        let reply = honest.command("MAIL FROM:<honest@example.org>").await;
        assert!(reply.starts_with("250 "), "beside {what}: {reply}");
        honest.command("RSET").await;
    }
    let busy = hostile.split_off(ending.len());
    let running = tokio::spawn(async move {
        for (what, client) in &mut hostile {
            let reply = client.late_reply().await;
            assert!(reply.starts_with("450 "), "{what}: {reply}");
        }
    });
    while !running.is_finished() {
        let reply = honest.command("MAIL FROM:<honest@example.org>").await;
        assert!(reply.starts_with("250 "), "{reply}");
        honest.command("RSET").await;
    }
    running.await.unwrap();
    ask(&daemon, |client| {
        let stats = client.call(call::PROCESS_STATS, &()).unwrap();
        let mailfrom = stats.servers[0].scripts.as_ref().unwrap().mailfrom.as_ref().unwrap();
        assert_eq!((mailfrom.errors, mailfrom.running), (8, 2));
        let memory = stats.scripting.unwrap().memory.unwrap();
        assert_eq!(memory.maxbytes, 16 << 20);
        assert!(memory.bytes <= memory.maxbytes && memory.size > 0, "{memory:?}");
        // The store is full of what the scripts left; it says so here too, and can be emptied.
        let store = pb::HslMemoryStoreRequest {
            key: "large".into(),
            value: format!("\"{}\"", "x".repeat(1 << 20)),
            r#return: false,
        };
        let refused = client.call(call::MEMORY_STORE, &store).unwrap_err().to_string();
        assert!(refused.contains("shared memory limit of 16777216 bytes exceeded"), "{refused}");
        let keys =
            client.call(call::MEMORY_LIST, &pb::HslMemoryListRequest::default()).unwrap().keys;
        for key in keys {
            let delete = pb::HslMemoryDeleteRequest { key, r#return: false };
            assert_eq!(client.call(call::MEMORY_DELETE, &delete).unwrap().affected, 1);
        }
        client.call(call::MEMORY_STORE, &store).unwrap();
    })
    .await;
    // So are those that cannot be compiled: the others go on.
    let deep = format!("$x = {}1{};", "(".repeat(100_000), ")".repeat(100_000));
    daemon.rewrite(|setup| setup.hooks = vec![("mailfrom", deep)]);
    let refused = ask(&daemon, |client| client.call(call::CONFIG_RELOAD, &()).unwrap_err()).await;
    assert!(refused.to_string().contains("nest"), "{refused}");
    let reply = honest.command("MAIL FROM:<honest@example.org>").await;
    assert!(reply.starts_with("250 "), "{reply}");
    drop(busy);
    daemon.stop().await;
}
