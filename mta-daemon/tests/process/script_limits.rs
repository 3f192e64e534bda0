//! What a script may take is configured, and the log says where one went beyond it.

use control::client::{Client, Endpoint, Timeouts};
use control::command::call;
use testkit::smtp_client::SmtpClient;

use crate::support::{Program, configured};

const RUNNING: &str = r#"    phases:
      mailfrom:
        hook: check
transportgroups:
  - id: group
    transports:
      - id: out
scripting:
  limits:
    depth: 20
    memory: 4MiB
    time: 1
  hooks:
    mailfrom:
      - id: check
        data: |
          import { spend } from "lib.hsl";
          syslog("notice", "begins");
          echo "asked to spend " . $arguments["address"]["localpart"];
          spend($arguments["address"]["localpart"]);
          Accept();
  files:
    - id: lib.hsl
      data: |
        function deep($n) {
            return $n == 0 ? 0 : deep($n - 1) + 1;
        }
        function spend($what) {
            if ($what == "deep") deep(30);
            if ($what == "memory") { $all = []; forever $all[] = str_repeat("x", 100000) . length($all); }
            if ($what == "loop") try { forever { $x = 1; } } catch ($e) {}
            if ($what == "wait") sleep(1000);
            if ($what == "steps") { $i = 0; while ($i < 5000000) { $i += 1; } }
        }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_end_at_the_configured_limits_and_the_log_says_where() {
    let dir = configured("", RUNNING);
    let program = Program::start(dir.path());
    let (mut client, _) = SmtpClient::connect(program.address).await;
    client.command("EHLO client.example").await;
    for (what, message, place) in [
        ("deep", "recursion limit of 20 calls exceeded", "in lib.hsl on line 2, column 26"),
        ("memory", "memory limit of 4194304 bytes exceeded", "in lib.hsl on line 6, "),
        ("loop", "the script did not end within 1 s", "in lib.hsl on line 7, "),
        ("wait", "the script did not end within 1 s", "in lib.hsl on line 8, column 26"),
    ] {
        client.send(format!("MAIL FROM:<{what}@example.org>\r\n").as_bytes()).await;
        let reply = client.late_reply().await;
        assert!(reply.starts_with("450 "), "{what}: {reply}");
        let line = program.log_until(place);
        assert!(line.contains("script.failed hook=mailfrom/check"), "{line}");
        assert!(line.contains(message) && line.contains("in function spend, entered at"), "{line}");
    }
    let deep = program.log_until("recursion limit");
    assert!(
        deep.contains("in function deep, entered at lib.hsl:2:26 (18 steps alike); "),
        "{deep}"
    );
    assert!(deep.contains(" code=\"return $n == 0 ? 0 : deep($n - 1) + 1;\" "), "{deep}");
    // What a script writes is found by the transaction too, as what it fails with.
    let logged = program.log_until("script.logged");
    let id = |line: &str| {
        line.split_once('[').and_then(|(_, rest)| rest.split(']').next()).map(str::to_owned)
    };
    assert_eq!(id(&logged), id(&deep), "{logged}");
    assert!(id(&logged).is_some_and(|id| id.len() == 36), "{logged}");
    let echoed = program.log_until("asked to spend deep");
    assert!(echoed.contains(" debug [") && echoed.contains("script.echoed"), "{echoed}");
    assert_eq!(id(&echoed), id(&deep), "{echoed}");

    // A reload changes them for the connections that begin after it.
    let file = dir.path().join("smtpd-app.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("depth: 20", "hooks: {mailfrom: {depth: 40, fuel: 100000}}"),
    )
    .unwrap();
    let socket = Endpoint::Unix(dir.path().join("smtpd.ctl"));
    tokio::task::spawn_blocking(move || {
        let mut control = Client::connect(&socket, Timeouts::default()).unwrap();
        control.call(call::CONFIG_RELOAD, &()).unwrap();
    })
    .await
    .unwrap();
    let (mut later, _) = SmtpClient::connect(program.address).await;
    later.command("EHLO client.example").await;
    let reply = later.command("MAIL FROM:<steps@example.org>").await;
    assert!(reply.starts_with("450 "), "{reply}");
    program.log_until("fuel limit of 100000 steps exceeded in lib.hsl on line 9, ");
    let reply = later.command("MAIL FROM:<deep@example.org>").await;
    assert!(reply.starts_with("250 "), "{reply}");
}
