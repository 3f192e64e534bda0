//! The network of the shell: `send()`, lookups and `dns_query`, against servers on loopback.

use std::path::Path;
use std::process::Output;

use testkit::dns_zone::Zone;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink};

async fn sink() -> SmtpSink {
    let mut behaviour = SinkBehaviour::default()
        .reply("RCPT TO:<bad@", "550 5.1.1 nobody here")
        .reply("RCPT TO:<busy@", "450 4.2.1 come back")
        // User ann with the password pass; anything else is refused.
        .reply("AUTH PLAIN AGFubgBwYXNz", "235 2.7.0 welcome");
    behaviour.extensions.push("AUTH PLAIN".to_owned());
    SmtpSink::start_with(behaviour).await
}

/// Runs a script in a folder, with further arguments.
async fn run(folder: &Path, script: &str, arguments: &[&str]) -> Output {
    std::fs::write(folder.join("t.hsl"), script).unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(folder)
        .args(["-c", "/dev/null"])
        .args(arguments)
        .arg("t.hsl")
        .output();
    output.await.unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[tokio::test]
async fn a_message_is_sent_to_the_server_that_the_script_names() {
    let (sink, folder) = (sink().await, tempfile::tempdir().unwrap());
    let script = format!(
        r#"$server = ["host" => "127.0.0.1", "port" => {}, "helo" => "shell.example"];
        $mail = MIME()->addHeader("Subject", "hello")->setBody("text");
        $sent = $mail->send("ann@example.org", ["bob@example.net", "carl@example.net"], $server);
        echo $sent["result"]["code"] . " " . $sent["result"]["state"] . " " . $sent["connection"]["remoteip"];
        $sent = $mail->send("", ["bob@example.net", "bad@example.net"], $server);
        echo $sent["result"]["code"] . " " . $sent["result"]["reason"][0];
        $sent = $mail->send("", ["bob@example.net"], ["host" => "127.0.0.1", "port" => 1]);
        echo isset($sent["error"]["temporary"]) . " " . isset($sent["result"]);
        try {{ $mail->send("", ["bob@example.net"], "out"); }} catch ($e) {{ echo $e->message(); }}"#,
        sink.address.port()
    );
    let output = run(folder.path(), &script, &[]).await;
    assert_eq!(
        text(&output.stdout),
        "250 EOD 127.0.0.1\n550 nobody here\ntrue false\n\
         transport out is not in the configuration\n",
        "{}",
        text(&output.stderr)
    );
    let messages = sink.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0].to, ["<bob@example.net>", "<carl@example.net>"]);
    assert_eq!(messages[0].helo, "shell.example");
    assert!(messages[0].content.contains("Subject: hello\r\n"), "{}", messages[0].content);
}

#[tokio::test]
async fn lookups_use_transports_of_the_configuration() {
    let (sink, folder) = (sink().await, tempfile::tempdir().unwrap());
    let configuration = format!(
        "version: \"5.6\"\ntransportgroups:\n  - id: g\n    transports:\n      - id: out\n        \
         connection:\n          server: 127.0.0.1\n          port: {}\n",
        sink.address.port()
    );
    std::fs::write(folder.path().join("app.yaml"), configuration).unwrap();
    let script = r#"
        foreach (["good", "bad", "busy"] as $name)
            echo smtp_lookup_rcpt("out", "", "$name@example.net");
        $full = smtp_lookup_rcpt("out", "", "bad@example.net", ["extended_result" => true]);
        echo $full["error_code"] . " " . $full["on_rcptto"];
        echo smtp_lookup_auth("out", "ann", "pass") . " " . smtp_lookup_auth("out", "ann", "wrong");"#;
    let output = run(folder.path(), script, &["-A", "app.yaml"]).await;
    assert_eq!(text(&output.stdout), "1\n0\n-1\n550 true\n1 0\n", "{}", text(&output.stderr));
    assert!(sink.messages().is_empty());
}

#[tokio::test]
async fn name_servers_that_a_script_names_say_what_they_validated() {
    let folder = tempfile::tempdir().unwrap();
    let validating = Zone::new().txt("t.example", &["x"]).validated().serve().await;
    let other = Zone::new().txt("t.example", &["x"]).serve().await;
    for (server, dnssec) in [(&validating, "true"), (&other, "false")] {
        let script = format!(
            r#"$options = ["type" => "txt", "servers" => ["127.0.0.1"], "port" => {}];
            $answer = dns_query("t.example", $options);
            echo $answer["result"][0] . " " . $answer["dnssec"];"#,
            server.address.port()
        );
        let output = run(folder.path(), &script, &[]).await;
        assert_eq!(text(&output.stdout), format!("x {dnssec}\n"), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn tests_and_hooks_send_nothing() {
    let (sink, folder) = (sink().await, tempfile::tempdir().unwrap());
    let server = format!("[\"host\" => \"127.0.0.1\", \"port\" => {}]", sink.address.port());
    let script = format!("echo smtp_lookup_rcpt({server}, \"\", \"a@example.net\");");
    let output = run(folder.path(), &script, &["--hook", "mailfrom"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("SMTP needs a mail server"), "{}", text(&output.stderr));
    assert_eq!(sink.connections(), 0);
}
