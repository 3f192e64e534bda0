//! Plugins that need the exports of the program, refusals to start.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Program, build_plugin, command, configured};
use tempfile::TempDir;
use testkit::smtp_client::SmtpClient;

/// Threads of a process now.
fn threads(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count)
}

const TRANSPORT: &str = "transportgroups:\n  - id: group\n    transports:\n      - id: out\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_hooks_sleep_at_once_in_a_go_plugin_and_hold_no_thread() {
    let build = tempfile::tempdir().unwrap();
    let library = build_plugin("sleep-go", "sleep.so", build.path());
    let startup = format!("plugins:\n  - id: sleep\n    path: {}\n", library.display());
    let running = format!(
        "    phases:\n      rcptto:\n        hook: doze\n{TRANSPORT}\
         scripting:\n  hooks:\n    rcptto:\n      - id: doze\n        data: |\n          \
         import {{ sleep as doze }} from \"extras://sleep\";\n          \
         Accept([\"reason\" => \"slept \" . doze(2)]);\n"
    );
    let dir = configured(&startup, &running);
    let program = Program::start(dir.path());
    let mut clients = Vec::new();
    for _ in 0..200 {
        let (mut client, _) = SmtpClient::connect(program.address).await;
        client.command("EHLO client.example").await;
        client.command("MAIL FROM:<a@client.example>").await;
        clients.push(client);
    }
    let before = threads(program.id());
    let begin = Instant::now();
    for client in &mut clients {
        client.send(b"RCPT TO:<b@example.org>\r\n").await;
    }
    // All are asleep by now: the first wakes only after two seconds.
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let asleep = threads(program.id());
    for client in &mut clients {
        let reply = client.reply().await;
        assert!(reply.starts_with("250 ") && reply.contains("slept 2"), "{reply}");
    }
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(6), "{took:?}");
    // Go starts a few threads of its own; none is held per sleeper.
    assert!(asleep < before + 20, "{before} threads before, {asleep} with 200 asleep");
}

#[test]
fn what_cannot_work_refuses_the_start_with_a_clear_error() {
    let build = tempfile::tempdir().unwrap();
    let source = build.path().join("old.c");
    std::fs::write(&source, "int Halon_version() { return 1; }\n").unwrap();
    let library = build.path().join("old.so");
    let compiler =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiler.unwrap().success());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let broken = "scripting:\n  hooks:\n    eod:\n      - id: broken\n        data: \"Accept(;\"\n";
    let old = format!("plugins:\n  - id: old\n    path: {}\n", library.display());
    let on_taken_port = configured("", TRANSPORT);
    let file = on_taken_port.path().join("smtpd.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("port: 0", &format!("port: {port}"))).unwrap();
    let without_spool = configured("", TRANSPORT);
    // A file where the folder should be: not even root can write below it.
    std::fs::write(without_spool.path().join("queue"), "").unwrap();
    let cases: [(&str, TempDir, String, i32); 6] = [
        ("unknown key", configured("nonsense: 1\n", TRANSPORT), "nonsense".into(), 3),
        ("script error", configured("", &format!("{TRANSPORT}{broken}")), "eod/broken:1".into(), 3),
        ("no plugin", configured("plugins:\n  - id: absent\n", TRANSPORT), "absent".into(), 1),
        ("plugin of another version", configured(&old, TRANSPORT), "version".into(), 1),
        ("port taken", on_taken_port, format!("127.0.0.1:{port}"), 1),
        ("spool not writable", without_spool, "queue".into(), 1),
    ];
    for (what, dir, named, code) in cases {
        let output = command(dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(&named), "{what}: {text}");
        assert_eq!(output.status.code(), Some(code), "{what}: {text}");
    }
}

#[test]
fn check_judges_without_starting() {
    let good = configured("", TRANSPORT);
    let output = command(good.path()).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!good.path().join("queue").exists(), "nothing was made");
    let bad = configured("", "    phases:\n      eod:\n        hook: absent\n");
    let output = command(bad.path()).arg("--check").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
}

/// Runs a dialogue without pipelining; every reply must be positive.
async fn take(program: &Program, to: &str) {
    let (mut client, _) = SmtpClient::connect(program.address).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver("a@client.example", &[to], "Subject: hello\r\n\r\nText\r\n").await;
    assert!(reply.starts_with("250 "), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_spool_segment_is_named_and_the_rest_is_delivered() {
    let sink = testkit::smtp_sink::SmtpSink::start().await;
    let running = |hold: bool| {
        format!(
            "    phases:\n      eod:\n        hook: queue\n\
             transportgroups:\n  - id: group\n    transports:\n      - id: out\n        \
             connection:\n          server: 127.0.0.1\n          port: {}\n\
             scripting:\n  hooks:\n    eod:\n      - id: queue\n        data: |\n          \
             foreach ($transaction[\"recipients\"] as $r) $arguments[\"mail\"]->queue(\
             $transaction[\"senderaddress\"], $r[\"address\"], \"out\", [\"delay\" => {}]);\n          \
             Accept();\n",
            sink.address.port(),
            if hold { 2 } else { 0 },
        )
    };
    let dir = configured("", &running(true));
    let program = Program::start(dir.path());
    for number in 0..5 {
        take(&program, &format!("to{number}@example.org")).await;
    }
    drop(program);
    // Damage in the middle: one record is lost, the others are not.
    let log = dir.path().join("queue/log");
    let segment = std::fs::read_dir(&log)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| std::fs::read(path).unwrap().windows(3).any(|text| text == b"to2"))
        .expect("the segment with the message");
    let mut octets = std::fs::read(&segment).unwrap();
    let place = octets.windows(3).position(|text| text == b"to2").unwrap();
    octets[place] ^= 0xff;
    std::fs::write(&segment, octets).unwrap();
    let program = Program::start(dir.path());
    let named = program.log_until("spool.damaged");
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    assert!(named.contains(&name) && named.contains("offset="), "{named}");
    let mut to: Vec<_> = sink.wait_for(4).await.into_iter().flat_map(|sunk| sunk.to).collect();
    to.sort();
    assert_eq!(
        to,
        ["<to0@example.org>", "<to1@example.org>", "<to3@example.org>", "<to4@example.org>"]
    );
    // And it takes mail as before.
    take(&program, "to5@example.org").await;
    sink.wait_for(5).await;
}
