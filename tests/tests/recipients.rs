//! Scripts that run once for each recipient at the end of data.

use control::command::call;
use control::pb;
use control::pb::queue_list_response::QueueItem;
use system_tests::{Setup, TestDaemon, ask};
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink, SunkMessage};

const MESSAGE: &str = "Subject: hello\r\nX-Two: one\r\nX-Two: two\r\n\r\nText\r\n";

/// A client that has greeted and logged nowhere in.
async fn client(daemon: &TestDaemon) -> SmtpClient {
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    client
}

fn to<'a>(messages: &'a [SunkMessage], recipient: &str) -> Vec<&'a SunkMessage> {
    let path = format!("<{recipient}>");
    messages.iter().filter(|message| message.to.contains(&path)).collect()
}

async fn rows(daemon: &TestDaemon) -> Vec<QueueItem> {
    ask(daemon, |client| {
        client.call(call::QUEUE_LIST, &pb::QueueListRequest::default()).unwrap().items
    })
    .await
}

fn local(row: &QueueItem) -> &str {
    row.recipient.as_ref().map_or("", |recipient| &recipient.localpart)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_recipient_gets_what_its_own_script_made_of_the_message() {
    let sink = SmtpSink::start().await;
    let script = r#"
        if ($recipientlocalpart == "dropped") Delete();
        if ($recipientlocalpart == "plain") Deliver();
        if ($recipientlocalpart == "renamed") {
            if (SetRecipient("Other@Example.net") != "other@example.net") Reject("SetRecipient");
            if ($recipient . $recipientdomain != "other@example.netExample.net") Reject($recipient);
            if (SetRecipient("") !== none or $recipient != "other@example.net") Reject("empty");
            if (SetSender(["localpart" => "Boss", "domain" => "example.org"]) != $sender) Reject($sender);
            Deliver(["reason" => "not the first"]);
        }
        if (GetHeader("SUBJECT") != "hello" or GetHeader("no") !== none) Reject("GetHeader");
        if (GetHeaders("x-two") != ["one", "two"]) Reject("GetHeaders");
        if (length(GetHeaders(true)) != 3 or GetHeaders(true)[0] != "Subject: hello") Reject("all");
        AddHeader("X-Added", $recipient);
        AddHeader("X-Raw", "grün", false);
        AddHeader("X-Word", "grün");
        $counts = [
            SetHeader("X-Two", "three"), SetHeader("X-New", "new"),
            PrependHeader("Subject", "[tag] "), AppendHeader("X-Tail", "tail"), DelHeader("no"),
        ];
        if ($counts != [2, 1, 1, 1, 0]) Reject("" . $counts);
        GetMailMessage()->setBody("Other text\r\n");
        Deliver(["recipient" => ["localpart" => "last", "domain" => "example.net"]]);"#;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook("eodrcpt", script);
    let mut daemon = TestDaemon::start(setup).await;
    let recipients =
        ["changed", "dropped", "plain", "renamed"].map(|name| format!("{name}@example.org"));
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let mut client = client(&daemon).await;
    let reply = client.deliver("a@client.example", &recipients, MESSAGE).await;
    assert!(reply.starts_with("250 ") && reply.contains("Ok: queued as "), "{reply}");
    let messages = sink.wait_for(3).await;
    assert_eq!(messages.len(), 3, "{messages:?}");
    let changed = &to(&messages, "last@example.net")[0].content;
    for field in [
        "X-Added: changed@example.org",
        "X-Raw: grün",
        "X-Word: =?UTF-8?Q?gr=C3=BCn?=",
        "X-New: new",
        "Subject: [tag] hello",
        "X-Tail: tail",
    ] {
        assert!(changed.contains(&format!("{field}\r\n")), "{field}: {changed}");
    }
    assert_eq!(changed.matches("X-Two: three\r\n").count(), 2, "{changed}");
    assert!(changed.ends_with("Other text\r\n"), "{changed}");
    let plain = to(&messages, "plain@example.org")[0];
    assert!(plain.content.ends_with(MESSAGE), "{}", plain.content);
    assert!(plain.from.starts_with("<a@client.example>"), "{}", plain.from);
    let renamed = to(&messages, "Other@Example.net")[0];
    assert!(renamed.from.starts_with("<Boss@example.org>"), "{}", renamed.from);
    assert!(renamed.content.ends_with(MESSAGE));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_reply_is_chosen_and_nothing_happens_that_a_client_would_bring_about_again() {
    let sink = SmtpSink::start().await;
    let script = r#"
        if ($recipientlocalpart == "reject") Reject(["no", "never"], ["reply_codes" => ["enhanced" => [5, 7, 1]]]);
        if ($recipientlocalpart == "defer") Defer("later");
        if ($recipientlocalpart == "hold") Quarantine("q:1", ["metadata" => ["k" => "v"], "jobid" => "j"]);
        if ($recipientlocalpart == "keep") Quarantine("q:2", ["reject" => false, "reason" => "kept"]);
        if ($recipientlocalpart == "soft") Quarantine("q:3", ["reply_codes" => ["code" => 459]]);
        if ($recipientlocalpart == "hard") Defer("never", ["reply_codes" => ["code" => 559]]);
        if ($recipientlocalpart == "delete") Delete();
        if ($recipientlocalpart == "done") Done();
        if ($recipientlocalpart == "fail") { Deliver(["done" => false]); throw "broken"; }
        if ($recipientlocalpart == "custom") Deliver(["reason" => "thanks", "reply_codes" => ["code" => 251]]);"#;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook("eodrcpt", script);
    let mut daemon = TestDaemon::start(setup).await;
    let mut delivered = 0;
    let mut kept = 0;
    for (recipients, reply) in [
        ("deliver defer hold delete reject reject", "550-5.7.1 no\n550 5.7.1 never"),
        ("hold deliver defer", "421 "),
        ("deliver fail delete", "421 "),
        ("delete deliver hold keep", "500 "),
        ("delete keep deliver", "250 "),
        ("deliver delete", "250 "),
        ("custom deliver", "251 "),
        ("soft deliver", "459 "),
        ("hard deliver", "559 "),
        ("done", "421 "),
        ("done deliver", "250 "),
        ("delete", "250 "),
    ] {
        let names: Vec<String> =
            recipients.split(' ').map(|name| format!("{name}@example.org")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // Some replies close the connection.
        let mut client = client(&daemon).await;
        let heard = client.deliver("a@client.example", &names, MESSAGE).await;
        assert!(heard.starts_with(reply), "{recipients}: {heard}");
        // A client that is deferred sends to all of them again.
        if !reply.starts_with('4') {
            let count = |word: &str| recipients.matches(word).count();
            delivered += count("deliver") + count("custom");
            kept += count("hold") + count("keep");
        }
    }
    let messages = sink.wait_for(delivered).await;
    assert!(messages.iter().all(|message| {
        message.to.iter().all(|to| to.starts_with("<deliver@") || to.starts_with("<custom@"))
    }));
    let rows = rows(&daemon).await;
    let rows: Vec<&QueueItem> = rows.iter().filter(|row| row.hold).collect();
    assert_eq!(rows.len(), kept);
    let row = rows.iter().find(|row| local(row) == "hold").unwrap();
    assert_eq!(row.jobid, "j");
    assert_eq!((&*row.metadata["quarantineid"], &*row.metadata["k"]), ("q:1", "v"));
    daemon.stop().await;
    assert_eq!(sink.messages().len(), delivered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_see_the_conversation_and_what_was_left_by_those_before() {
    let sink = SmtpSink::start().await;
    let script = r#"
        $context = ($context ?? 0) + 1;
        if ($senderip . $serverid . $senderhelo != "127.0.0.1defaultclient.example") Reject("connection");
        if ($senderport < 1 or $serverip != "127.0.0.1" or $serverport < 1) Reject("ports");
        if ($tlsstarted !== false or $saslauthed !== false or $saslusername !== "") Reject("login");
        if (GetTLS() != ["started" => false]) Reject("GetTLS");
        if (SetSenderIP("x") !== none or SetSenderIP("192.0.2.1") != $senderip) Reject("ip");
        if (SetSenderHELO("mx.example") != "mx.example" or $senderhelo != "mx.example") Reject("helo");
        if (!($messageid =~ ''^[0-9a-f-]{36}$'')) Reject($messageid);
        if ($sender . $senderlocalpart . $senderdomain != "ann@client.exampleAnnclient.example") Reject($sender);
        if ($senderparams != ["SIZE" => "100"]) Reject("senderparams");
        if ($recipients != ["one@example.org", "two@example.com", "three@example.org"]) Reject("recipients");
        if ($recipientdomains != ["example.org", "example.com"]) Reject("domains");
        if ($recipientparams != []) Reject("recipientparams");
        if ($transportid != "out") Reject("transport");
        if ($recipientlocalpart == "one") {
            if ($actionid != 1 or GetMetaData() != []) Reject("first");
            SetMetaData(["from" => "first"]);
            SetDelayedDeliver(3600);
            Deliver(["done" => false]);
            if ($actionid != 2) Reject("second action");
            Deliver(["recipient" => "copy@example.org", "metadata" => ["own" => "x"], "delay" => 0, "done" => false]);
            Done();
        }
        if ($recipientlocalpart == "two") {
            if ($actionid != 3 or GetMetaData() != ["from" => "first"]) Reject("two " . $actionid);
            SetMailTransport("other");
            if ($transportid != "other") Reject("SetMailTransport");
            Deliver(["transportid" => "out"]);
        }
        if ($context != 3 or $actionid != 4) Reject("three");
        Deliver(["disconnect" => true]);"#;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook("eodrcpt", script);
    let mut daemon = TestDaemon::start(setup).await;
    let mut client = client(&daemon).await;
    for (line, code) in [
        ("MAIL FROM:<Ann@client.example> SIZE=100", "250 "),
        ("RCPT TO:<one@example.org>", "250 "),
        ("RCPT TO:<two@example.com>", "250 "),
        ("RCPT TO:<three@example.org>", "250 "),
        ("DATA", "354 "),
    ] {
        let reply = client.command(line).await;
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    client.send(MESSAGE.as_bytes()).await;
    let reply = client.command(".").await;
    assert!(reply.starts_with("250 "), "{reply}");
    let messages = sink.wait_for(3).await;
    let mut all: Vec<&str> = messages.iter().flat_map(|m| &m.to).map(String::as_str).collect();
    all.sort_unstable();
    assert_eq!(all, ["<copy@example.org>", "<three@example.org>", "<two@example.com>"]);
    let rows = rows(&daemon).await;
    let later = rows.iter().find(|row| local(row) == "one").unwrap();
    assert_eq!(later.metadata["from"], "first");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_line_delivery_hands_the_next_hops_answer_on_and_stores_nothing() {
    let behaviour = SinkBehaviour::default()
        .reply("RCPT TO:<bad@", "550 5.1.1 nobody here")
        .reply("RCPT TO:<busy@", "450 4.2.1 come back");
    let sink = SmtpSink::start_with(behaviour).await;
    let script = r#"if ($recipientlocalpart == "late") AddHeader("X-Other", "1");
                    if ($recipientlocalpart == "later") Defer();
                    if ($recipientlocalpart == "queued") Deliver();
                    Deliver(["queue" => false]);"#;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook("eodrcpt", script);
    let mut daemon = TestDaemon::start(setup).await;
    for (names, code, taken) in [
        ("x y", "250 ", 1),
        ("x bad", "550 5.1.1 nobody here", 1),
        ("busy", "450 4.2.1 come back", 1),
        // The same message goes to all, or to none.
        ("x late", "421 ", 1),
        // A client that comes again brings all of it again.
        ("x later", "421 ", 1),
        ("queued busy", "450 4.2.1 come back", 1),
    ] {
        let names: Vec<String> =
            names.split(' ').map(|name| format!("{name}@example.org")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut client = client(&daemon).await;
        let reply = client.deliver("a@client.example", &names, MESSAGE).await;
        assert!(reply.starts_with(code), "{names:?}: {reply}");
        assert_eq!(sink.messages().len(), taken);
    }
    let message = sink.messages().remove(0);
    assert_eq!(message.to, ["<x@example.org>", "<y@example.org>"]);
    assert!(message.content.starts_with("Received: ") && message.content.ends_with(MESSAGE));
    let stats = ask(&daemon, |client| client.call(call::PROCESS_STATS, &()).unwrap()).await;
    assert_eq!(stats.servers[0].scripts.as_ref().unwrap().eod.as_ref().unwrap().finished, 11);
    let rows = rows(&daemon).await;
    assert!(rows.is_empty(), "{rows:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_of_the_message_goes_first() {
    let sink = SmtpSink::start().await;
    let first = r#"if (length($transaction["recipients"]) > 1) Reject("one each");
                   $arguments["mail"]->setHeader("Subject", "scanned");
                   $arguments["mail"]->queue("", "archive@example.net", "out");
                   Accept();"#;
    let each = r#"if ($recipientlocalpart == "no") Reject("not " . $recipient);
                  if ($recipientlocalpart == "later") Defer();
                  AddHeader("X-Each", "1");"#;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }
        .hook("eod", first)
        .hook("eodrcpt", each);
    let mut daemon = TestDaemon::start(setup).await;
    let mut client = client(&daemon).await;
    let reply =
        client.deliver("a@client.example", &["x@example.org", "y@example.org"], MESSAGE).await;
    assert!(reply.ends_with("one each"), "{reply}");
    let reply = client.deliver("a@client.example", &["no@example.org"], MESSAGE).await;
    assert!(reply.starts_with("550 ") && reply.ends_with("not no@example.org"), "{reply}");
    let reply = client.deliver("a@client.example", &["later@example.org"], MESSAGE).await;
    assert!(reply.starts_with("421 "), "{reply}");
    let reply = client.deliver("a@client.example", &["x@example.org"], MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let messages = sink.wait_for(3).await;
    let archived = to(&messages, "archive@example.net");
    assert_eq!(archived.len(), 2);
    assert!(archived.iter().all(|message| message.content.contains("Subject: scanned\r\n")));
    assert!(archived.iter().all(|message| !message.content.contains("X-Each")));
    let own = to(&messages, "x@example.org")[0];
    assert!(own.content.contains("X-Each: 1\r\n"), "{}", own.content);
    assert!(own.content.contains("Subject: scanned\r\n"), "{}", own.content);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domains_may_have_scripts_of_their_own() {
    let sink = SmtpSink::start().await;
    let setup = Setup {
        next_hop: Some(sink.address),
        server: "    phases:\n      eod:\n        rcpt:\n          hook:\n            \
                 recipientdomains:\n              example.com: com\n"
            .into(),
        running: "scripting:\n  hooks:\n    eodrcpt:\n      - id: com\n        \
                  data: Reject($recipientdomain);\n"
            .into(),
        ..Setup::default()
    };
    let mut daemon = TestDaemon::start(setup).await;
    let mut client = client(&daemon).await;
    let reply = client.deliver("a@client.example", &["x@Example.COM"], MESSAGE).await;
    assert!(reply.starts_with("550 ") && reply.ends_with("Example.COM"), "{reply}");
    let reply = client.deliver("a@client.example", &["x@example.org"], MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    assert_eq!(sink.wait_for(1).await[0].to, ["<x@example.org>"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_recipient_says_about_its_copy_and_what_the_client_said_are_known() {
    let script = r#"
        if ($recipientlocalpart == "facts") {
            if ($recipientparams != ["NOTIFY" => "NEVER", "ORCPT" => "rfc822;o@example.org"]) Reject(json_encode($recipientparams));
            if ($saslauthed !== true or $saslusername != "Ann") Reject("login");
            if (GetHeader("X-Word") != "grün" or GetHeader("X-Word", false) != "=?utf-8?q?gr=C3=BCn?=") Reject(GetHeader("X-Word", false));
            PrependHeader("X-First", "first");
            Deliver(["jobid" => "j", "quotas" => ["q"], "metadata" => ["k" => "v"], "delay" => 600,
                "reason" => ["so", "be it"], "reply_codes" => ["code" => 259, "enhanced" => [2, 1, 9]], "disconnect" => true]);
        }
        if ($recipientlocalpart == "kept") Quarantine("q:1", ["jobid" => "j", "quotas" => ["q"], "transportid" => "other",
            "recipient" => "else@example.org", "reason" => "held", "reply_codes" => ["code" => 559], "done" => false]);
        if ($recipientlocalpart == "gone") Reject("bye", ["disconnect" => true]);
        if ($recipientlocalpart == "off") Defer("a\nb", ["disconnect" => true]);
        Done();"#;
    let setup = Setup::default()
        .hook("helo", r#"Accept(["extensions" => ["DSN", "AUTH PLAIN"]]);"#)
        .hook("auth", "Accept();")
        .hook("eodrcpt", script);
    let mut daemon = TestDaemon::start(setup).await;
    let message = "X-Word: =?utf-8?q?gr=C3=BCn?=\r\n\r\nText\r\n";
    for (name, reply, closes) in [
        ("facts", "259-2.1.9 so\n259 2.1.9 be it", true),
        ("kept", "559 5.7.1 held", false),
        ("gone", "550 5.7.1 bye", true),
        ("off", "421-4.3.0 a\n421 4.3.0 b", true),
        ("done", "421 ", false),
    ] {
        let mut client = client(&daemon).await;
        client.command("AUTH PLAIN AEFubgBwdw==").await;
        let rcpt = format!("RCPT TO:<{name}@example.org> NOTIFY=NEVER ORCPT=rfc822;o@example.org");
        for (line, code) in
            [("MAIL FROM:<a@client.example>", "250 "), (&*rcpt, "250 "), ("DATA", "354 ")]
        {
            let heard = client.command(line).await;
            assert!(heard.starts_with(code), "{line}: {heard}");
        }
        client.send(message.as_bytes()).await;
        let heard = client.command(".").await;
        assert!(heard == reply || reply.len() == 4 && heard.starts_with(reply), "{name}: {heard}");
        match closes {
            true => assert_eq!(client.reply().await, "", "{name}: the connection is closed"),
            false => assert!(client.command("NOOP").await.starts_with("250 "), "{name}"),
        }
    }
    let rows = rows(&daemon).await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    let facts = rows.iter().find(|row| local(row) == "facts").unwrap();
    assert!((590.0..=600.0).contains(&facts.retrydelay) && !facts.hold, "{facts:?}");
    assert_eq!((&*facts.jobid, &*facts.quotas[0], &*facts.metadata["k"]), ("j", "q", "v"));
    let dsn = facts.dsn.as_ref().unwrap();
    assert_eq!((&*dsn.notify, &*dsn.orcpt), ("NEVER", "rfc822;o@example.org"));
    let kept = rows.iter().find(|row| local(row) == "else").unwrap();
    assert!(kept.hold && kept.transportid == "other", "{kept:?}");
    assert_eq!((&*kept.jobid, &*kept.quotas[0]), ("j", "q"));
    daemon.stop().await;
}
