//! `hsh --hook`: what the script of each hook decides, without a server.

use std::path::Path;
use std::process::{Command, Output};

fn hsh(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hsh"));
    command.current_dir(folder).args(["-c", "/dev/null"]);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the script of a hook with further arguments.
fn hook(name: &str, script: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.hsl"), script).unwrap();
    let message = "Received: from a\n\tby b\nSubject: hello\nX-Old: 1\n\nbody\n";
    std::fs::write(folder.path().join("t.eml"), message).unwrap();
    hsh(folder.path()).args(["--hook", name]).args(arguments).arg("t.hsl").output().unwrap()
}

/// What it prints, transaction ids left out.
fn shown(name: &str, script: &str, arguments: &[&str]) -> String {
    let output = hook(name, script, arguments);
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{error}");
    out
}

const ID: &str = "11111111-2222-4333-8444-555555555555";

#[test]
fn conversations_show_the_verdict_and_what_the_client_hears() {
    let given = ["--connection", r#"{"remoteip": "192.0.2.1", "helo": {"host": "h"}}"#];
    let connect = r#"if ($arguments["remoteip"] == "192.0.2.1" and $connection == [])
        Reject(["no", "never"], ["reply_codes" => ["code" => 554, "enhanced" => [5, 7, 1]]]);"#;
    assert_eq!(
        shown("connect", connect, &given),
        "connect: Reject (decision)\n  reply_codes: [\"code\"=>554,\"enhanced\"=>[0=>5,1=>7,2=>1]]\n  \
         > 554-5.7.1 no\n  > 554 5.7.1 never\n"
    );
    let helo =
        r#"Accept(["extensions" => [...$arguments["extensions"], "DSN"], "reason" => "hi"]);"#;
    let heard =
        shown("helo", helo, &["--arguments", r#"{"verb": "EHLO", "extensions": ["SIZE"]}"#]);
    assert!(heard.ends_with("  > 250-hi\n  > 250-SIZE\n  > 250 DSN\n"), "{heard}");
    let auth = r#"if ($arguments["state"] == 0) Reply("who?"); Reject();"#;
    let heard = shown("auth", auth, &["--arguments", r#"{"mechanism": "X", "state": 0}"#]);
    assert_eq!(heard, "auth: Reply (decision)\n  disconnect: false\n  > 334 d2hvPw==\n");
    let heard = shown("auth", auth, &["--arguments", r#"{"mechanism": "X", "state": 1}"#]);
    assert!(heard.contains("\n  > 535 5.7.8 "), "{heard}");
    let mail = r#"if ($arguments["address"]["localpart"] == "Ann") Defer("later");"#;
    let heard = shown("mailfrom", mail, &["--arguments", r#"{"sender": "Ann@example.org"}"#]);
    assert_eq!(heard, "mailfrom: Defer (decision)\n  > 450 4.7.1 later\n");
    let rcpt = r#"$context["n"] += 1;
        Accept(["transportid" => $connection["helo"]["host"] . $transaction["sender"]]);"#;
    let given = [
        &given[..],
        &["--transaction", r#"{"sender": "A@b"}"#, "--context", r#"{"n": 1}"#],
        &["--arguments", r#"{"recipient": "c@d"}"#],
    ]
    .concat();
    let heard = shown("rcptto", rcpt, &given);
    assert!(heard.starts_with("rcptto: Accept (decision)\n  transportid: \"ha@b\"\n"), "{heard}");
    assert!(heard.ends_with("context: [\"n\"=>2]\n"), "{heard}");
    let proxy = r#"if ($arguments["command"] == "XYZZY") Reply("nothing happens"); Pass();"#;
    let heard = shown("proxy", proxy, &["--arguments", r#"{"command": "XYZZY"}"#]);
    assert!(heard.starts_with("proxy: Reply (decision)\n"), "{heard}");
    assert!(heard.contains("> 250 2.0.0 nothing happens\n"), "{heard}");
    assert!(!shown("proxy", "Pass();", &[]).contains('>'));
    assert_eq!(shown("disconnect", "Pass();", &[]), "disconnect: Pass (decision)\n");
}

#[test]
fn scripts_that_decide_nothing_or_fail_take_the_action_of_their_hook() {
    for (hook, action) in [
        ("connect", "Accept"),
        ("helo", "Accept"),
        ("mailfrom", "Accept"),
        ("rcptto", "Accept"),
        ("auth", "Reject"),
        ("proxy", "Pass"),
        ("disconnect", "Pass"),
        ("predelivery", "Try"),
        ("postdelivery", "Default"),
    ] {
        let out = shown(hook, "$a = 1;", &[]);
        assert!(out.starts_with(&format!("{hook}: {action} (end of script)\n")), "{out}");
    }
    for (name, action) in [
        ("connect", "Defer"),
        ("auth", "Defer"),
        ("proxy", "Reply"),
        ("predelivery", "Queue"),
        ("postdelivery", "Default"),
    ] {
        let output = hook(name, "throw \"broken\";", &[]);
        let out = text(&output.stdout);
        assert!(out.starts_with(&format!("{name}: {action} (script error)\n")), "{out}");
        assert!(out.contains("\n  error: broken"), "{out}");
        assert!(text(&output.stderr).contains("t.hsl:1"));
        assert_eq!(output.status.code(), Some(1));
    }
    let out = shown("eodonce", "$a = 1;", &["--message", "t.eml"]);
    assert!(out.starts_with("eod: Defer (end of script)\n"), "{out}");
}

#[test]
fn mistakes_in_options_are_errors_of_the_script_as_in_the_server() {
    for (name, script) in [
        ("connect", r#"Accept(["remoteip" => "nowhere"]);"#),
        ("helo", r#"Accept(["extensions" => "DSN"]);"#),
        ("auth", r#"Accept(["username" => []]);"#),
        ("mailfrom", r#"Accept(["sender" => 5]);"#),
        ("rcptto", r#"Accept(["recipient" => ""]);"#),
        ("rcptto", r#"Reject("no", ["reply_codes" => ["code" => "no"]]);"#),
        ("proxy", r#"Pass(["command" => []]);"#),
        ("predelivery", r#"Queue(["delay" => "soon"]);"#),
        ("predelivery", r#"Try(["tls" => ["require"]]);"#),
        ("predelivery", r#"Try(["jobid" => []]);"#),
        ("predelivery", r#"Bounce(["dsn" => ["headers" => "X-A: b"]]);"#),
        // Without an action the message is delivered.
        ("postdelivery", "Queue();"),
        ("postdelivery", "Bounce();"),
        ("postdelivery", "Delete();"),
        ("predelivery", r#"Try(["sourceip" => [["address" => "nowhere"]], "port" => 70000]);"#),
    ] {
        let output = hook(name, script, &["--arguments", "{}"]);
        let out = text(&output.stdout);
        assert!(out.contains(" (script error)\n"), "{script}: {out}");
        assert_eq!(output.status.code(), Some(1), "{script}");
    }
}

#[test]
fn the_end_of_data_shows_copies_and_header_changes() {
    let script = r#"
        $mail = $arguments["mail"];
        $mail->setHeader("Subject", $mail->getHeader("Subject") . " world");
        $mail->addHeader("X-Spam", "no");
        foreach ($transaction["recipients"] as $r)
            $mail->queue($transaction["senderaddress"], $r["address"], $r["transportid"],
                ["jobid" => "j", "hold" => true, "metadata" => ["k" => "v"], "dsn" => ["notify" => "NEVER"]]);
        $mail->delHeader("X-Old");
        $mail->queue("", "copy@example.org", "archive", ["delay" => 5]);
        MIME()->addHeader("Subject", "news")->queue("a@b", "c@d", "t");
        queue_suspend(["transportid" => "t"], 60);
        Accept();"#;
    let transaction = format!(
        r#"{{"id": "{ID}", "sender": "Ann@Example.org",
            "recipients": [{{"recipient": "Bob@example.com", "transportid": "out"}}]}}"#
    );
    let given = ["--message", "t.eml", "--transaction", &transaction];
    let out = shown("eod", script, &given);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "eod: Accept (decision)");
    assert_eq!(lines[1], format!("  > 250 2.0.0 Ok: queued as {ID}"));
    let first =
        format!("queued: {ID}:1 from <Ann@Example.org> to <Bob@example.com> over out, 77 octets");
    assert_eq!(lines[2], first, "{out}");
    assert_eq!(
        lines[3..11],
        [
            "  jobid: \"j\"",
            "  metadata: [\"k\"=>\"v\"]",
            "  hold: true",
            "  dsn: [\"notify\"=>\"NEVER\"]",
            "  + X-Spam: no",
            "  - Subject: hello",
            "  + Subject: hello world",
            lines[10],
        ],
        "{out}"
    );
    assert!(
        lines[10].ends_with(":1 from <> to <copy@example.org> over archive, 67 octets"),
        "{out}"
    );
    assert!(!lines[10].contains(ID), "another content has a transaction of its own: {out}");
    assert!(
        out.contains("\n  - Subject: hello\n  - X-Old: 1\n  + Subject: hello world\n"),
        "{out}"
    );
    assert!(out.contains("\ncomposed: ") && out.contains("from <a@b> to <c@d> over t,"), "{out}");
    assert!(out.contains("called: queue_suspend([\"transportid\"=>\"t\"], 60"), "{out}");
    let dropped = shown("eod", &script.replace("Accept();", "Reject();"), &given);
    assert!(dropped.contains("\ndropped: ") && !dropped.contains("\nqueued: "), "{dropped}");
    assert!(dropped.contains("\n  > 550 5.7.1 "), "{dropped}");

    let json = shown("eod", script, &[&given[..], &["--json"]].concat());
    for part in [
        r#""verdict":"Accept""#,
        r#""sender":"Ann@Example.org","recipient":"Bob@example.com","transportid":"out""#,
        r#"{"added":"X-Spam: no"},{"removed":"Subject: hello"}"#,
        r#"{"function":"queue_suspend","arguments":[{"transportid":"t"},60,"#,
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
    assert_eq!(json.lines().count(), 1);
}

#[test]
fn scripts_of_the_queue_see_the_message_and_its_metadata() {
    let script = r#"
        echo $message["recipientaddress"]["domain"] . File($message["file"]["original"])->readline();
        SetMetaData(GetMetaData() + ["tried" => "yes"]);
        if ($arguments["retry"] > 0) Bounce(["reason" => "enough"]);
        Try(["host" => "192.0.2.7", "tls" => "require"]);"#;
    let given = [
        "--message",
        "t.eml",
        "--transaction",
        r#"{"sender": "a@b", "recipient": "c@D", "transportid": "t", "metadata": {"k": "v"}}"#,
    ];
    assert_eq!(
        shown("predelivery", script, &given),
        "DReceived: from a\npredelivery: Try (decision)\n  host: \"192.0.2.7\"\n  tls: \"require\"\n\
         metadata: [\"k\"=>\"v\",\"tried\"=>\"yes\"]\n"
    );
    // What the command line does not say may be in the configuration.
    let other = r#"Try(["sourceip" => ["one"], "saslpassword" => "p"]);"#;
    assert!(shown("predelivery", other, &given).starts_with("predelivery: Try (decision)\n"));
    let again =
        shown("predelivery", script, &[&given[..], &["--arguments", r#"{"retry": 3}"#]].concat());
    assert!(again.contains("Bounce (decision)\n  reason: \"enough\"\n"), "{again}");
    let script = r#"if ($arguments["action"] == "BOUNCE") Queue(["delay" => 60]); Default();"#;
    let queue = shown("postdelivery", script, &["--arguments", r#"{"action": "BOUNCE"}"#]);
    assert_eq!(queue, "postdelivery: Queue (decision)\n  delay: 60\n");
}

#[test]
fn what_older_scripts_set_is_shown_among_the_options() {
    let given = ["--connection", r#"{"remoteip": "192.0.2.1", "tls": {"protocol": "TLSv1.3"}}"#];
    for (kind, script, options) in [
        ("connect", "SetSenderIP(\"192.0.2.2\"); $context = $senderip;", "remoteip: \"192.0.2.2\""),
        ("helo", "SetHELO(GetTLS()[\"protocol\"]);", "host: \"TLSv1.3\""),
        (
            "mailfrom",
            "SetSender(\"a@b\"); Accept();",
            "sender: [\"localpart\"=>\"a\",\"domain\"=>\"b\"]",
        ),
        (
            "rcptto",
            "SetRecipient(\"$recipientlocalpart@d\");",
            "recipient: [\"localpart\"=>\"Ann\",\"domain\"=>\"d\"]",
        ),
        ("predelivery", "SetHELO(\"h\");", "helo: \"h\""),
        ("predelivery", "SetHELO(\"h\"); Try([\"helo\" => $senderhelo]);", "helo: \"mx.example\""),
    ] {
        let arguments = ["--arguments", r#"{"recipient": "Ann@c"}"#];
        let row = ["--transaction", r#"{"senderhelo": "mx.example"}"#];
        let out = shown(kind, script, &[&given[..], &arguments, &row].concat());
        assert!(out.contains(&format!("\n  {options}\n")), "{options} in {out}");
    }
    let script = r#"SetDSN(["from" => "a@b"]); SetHELO("h");
        if (!CurrentConnections("n", "e", 1)) throw "taken";
        Reschedule(GetMailFile()->tell() + 5, ["reason" => "wait"]);"#;
    assert_eq!(
        shown("predelivery", script, &["--message", "t.eml"]),
        "predelivery: Queue (decision)\n  reason: \"wait\"\n  delay: 5\ndsn: [\"from\"=>\"a@b\"]\n"
    );
    let failed = ["--arguments", r#"{"action": "QUEUE"}"#];
    let out = shown("postdelivery", "Retry([\"delay\" => 7]);", &failed);
    assert_eq!(out, "postdelivery: Retry (decision)\n  delay: 7\n");
}

#[test]
fn scripts_come_from_the_running_configuration_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("app.yaml"),
        "version: \"5.6\"\nscripting:\n  files:\n    - id: m.hsl\n      data: 'function f() { return \"from a file\"; }'\n  \
         hooks:\n    helo:\n      - id: one\n        data: |\n          import { f } from \"m.hsl\";\n          \
         Reject(f());\n      - id: two\n        data: Accept();\n",
    )
    .unwrap();
    let run =
        |name: &str| hsh(folder.path()).args(["-A", "app.yaml", "--hook", name]).output().unwrap();
    let one = run("helo/one");
    assert!(text(&one.stdout).contains("from a file"), "{}", text(&one.stderr));
    let which = run("helo");
    assert!(text(&which.stderr).contains("one, two"), "{}", text(&which.stderr));
    assert_eq!(which.status.code(), Some(1));
    let absent = run("helo/three");
    assert_eq!(text(&absent.stderr), "hsh: there is no script helo/three; there are: one, two\n");
    let none = run("eod");
    assert_eq!(text(&none.stderr), "hsh: the running configuration has no script eod\n");
}

#[test]
fn what_is_wrong_with_the_arguments_is_named() {
    for (arguments, wanted) in [
        (vec!["--hook", "nohook"], "there is no hook nohook"),
        (vec!["--hook", "eod"], "no --message"),
        (vec!["--hook", "helo", "--arguments", "{"], "--arguments is no JSON"),
        (vec!["--hook", "helo", "--arguments", "7"], "--arguments is no JSON object"),
        (vec!["--hook", "helo", "--connection", "@absent.json"], "cannot read absent.json"),
        (vec!["--message", "t.eml"], "--hook"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.hsl"), "echo 1;").unwrap();
        let output = hsh(folder.path()).args(&arguments).arg("t.hsl").output().unwrap();
        assert!(text(&output.stderr).contains(wanted), "{}", text(&output.stderr));
        assert_ne!(output.status.code(), Some(0));
    }
}

#[test]
fn the_script_of_a_recipient_shows_its_copies_and_the_reply() {
    let transaction = format!(
        r#"{{"id": "{ID}", "sender": "Ann@Example.org", "recipients": [
            {{"recipient": "Bob@example.com", "transportid": "out", "params": {{"NOTIFY": "NEVER"}}}},
            "carl@example.net"]}}"#
    );
    let given = ["--message", "t.eml", "--transaction", &transaction];
    let script = r#"
        if ($recipients != ["bob@example.com", "carl@example.net"]) Reject("recipients");
        if ($senderip . $recipientdomain != "example.com") Reject("facts");
        AddHeader("X-Spam", "no");
        Deliver(["done" => false, "jobid" => "j"]);
        Deliver(["queue" => false, "recipient" => "copy@example.org"]);"#;
    let out = shown("eodrcpt", script, &given);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "eodrcpt: Deliver (decision)", "{out}");
    assert!(out.contains(&format!("  > 250 2.0.0 Ok: queued as {ID}\n")), "{out}");
    let queued = format!("queued: {ID}:1 from <Ann@Example.org> to <Bob@example.com> over out");
    let at = lines.iter().position(|line| line.starts_with(&queued)).expect(&out);
    assert_eq!(
        lines[at + 1..at + 4],
        ["  jobid: \"j\"", "  dsn: [\"notify\"=>\"NEVER\"]", "  + X-Spam: no"]
    );
    let in_line = format!("delivered in line: {ID}:1 from <Ann@Example.org> to <copy@example.org>");
    assert!(out.contains(&in_line), "{out}");
    let out = shown("eodrcpt", "$a = 1;", &given);
    assert!(out.starts_with("eodrcpt: Deliver (end of script)\n"), "{out}");
    let other = [&given[..], &["--arguments", r#"{"recipient": "x@y", "transportid": "t"}"#]];
    let out = shown("eodrcpt", "Quarantine($recipient);", &other.concat());
    assert!(out.starts_with("eodrcpt: Quarantine (decision)\n  > 500 "), "{out}");
    assert!(out.contains("to <x@y> over t,") && out.contains("quarantineid"), "{out}");
    let output = hook("eodrcpt", "Deliver(); ", &given[..2]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no recipient"));
    let output = hook("eodrcpt", "Deliver([\"done\" => false]); throw \"broken\";", &given);
    let out = text(&output.stdout);
    assert!(out.starts_with("eodrcpt: Defer (script error)\n") && !out.contains("queued"), "{out}");
    let out = shown("eodrcpt", "Deliver([\"done\" => false]); Defer();", &given);
    assert!(out.contains("\ndropped: ") && !out.contains("\nqueued: "), "{out}");
    assert!(shown("eodrcpt", "Done();", &given).starts_with("eodrcpt: Done (decision)\n  > 421 "));
}

#[test]
fn a_script_that_does_not_end_fails_at_its_limit_and_takes_the_action_of_a_failure() {
    for endless in ["forever {}", "sleep(1000);", "try { forever {} } catch ($e) {}"] {
        let output = hook("helo", &format!("$a = 1;\n{endless}"), &["--limit", "0.2"]);
        let out = text(&output.stdout);
        assert!(out.starts_with("helo: Defer (script error)\n"), "{endless}: {out}");
        let error = text(&output.stderr);
        assert!(error.contains("the script did not end within 0.2 s"), "{endless}: {error}");
        assert!(error.contains("t.hsl:2:"), "{endless}: {error}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn recipients_without_a_transport_have_that_of_the_configuration() {
    let script = r#"foreach ($transaction["recipients"] as $r)
        $arguments["mail"]->queue($transaction["senderaddress"], $r["address"], $r["transportid"]);
        Accept();"#;
    let given =
        ["--message", "t.eml", "--transaction", r#"{"sender": "a@b", "recipients": ["c@d"]}"#];
    let out = shown("eod", script, &given);
    assert!(out.contains("from <a@b> to <c@d> over mx,"), "{out}");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("app.yaml");
    let text = "version: \"5.6\"\nservers:\n  - id: s\n    type: smtp\n    transport: out\n\
                transportgroups:\n  - id: g\n    transports:\n      - id: out\n        connection: {}\n";
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let out = shown("eod", script, &[&["-A", &config], &given[..]].concat());
    assert!(out.contains("over out,"), "{out}");
    let out = shown(
        "rcptto",
        "echo $arguments[\"transportid\"];",
        &["--arguments", r#"{"recipient": "c@d"}"#],
    );
    assert!(out.starts_with("mx\n"), "{out}");
}

#[test]
fn a_hook_s_script_is_checked_without_running_and_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let check = |script: &str, arguments: &[&str]| {
        std::fs::write(folder.path().join("t.hsl"), script).unwrap();
        let output = hsh(folder.path()).args(arguments).arg("t.hsl").output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let right = r#"echo "runs"; Retry(["delay" => 5]);"#;
    let fine = (Some(0), String::new(), String::new());
    assert_eq!(check(right, &["-s", "--hook", "postdelivery"]), fine);
    let (code, _, error) = check(right, &["-s", "--hook", "eod"]);
    assert!(code == Some(1) && error.contains("there is no function Retry"), "{error}");
    // Without its hook the script is wrong, and the way to run it is named.
    for arguments in [&["-s"][..], &[]] {
        let (code, _, error) = check(right, arguments);
        assert!(code == Some(1) && error.contains("there is no function Retry"), "{error}");
        let hint = "hint: scripts of hooks run with --hook NAME; this may be one of postdelivery\n";
        assert!(error.ends_with(hint), "{error}");
    }
    let (_, _, error) = check("echo 1", &[]);
    assert!(!error.contains("hint"), "{error}");
}
