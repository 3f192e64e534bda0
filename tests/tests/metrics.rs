//! Metrics that scripts move, as operators read them.

use control::command::call;
use control::stats::{dotted, openmetrics};
use system_tests::{Setup, TestDaemon, ask};
use testkit::smtp_client::SmtpClient;

const METRICS: &str = "monitor:\n  metrics:\n    - name: mails_seen\n      type: counter\n      help: Mails by sender\n    \
                       - name: level\n      type: gauge\n    - name: size\n      type: histogram\n      buckets: [10, 100]\n";

async fn from(daemon: &TestDaemon, senders: &[&str]) {
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    for sender in senders {
        let reply = client.command(&format!("MAIL FROM:<{sender}>")).await;
        assert!(reply.starts_with("250 "), "{sender}: {reply}");
        client.command("RSET").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_scripts_count_stands_in_the_statistics_and_outlives_a_reload() {
    let script = r#"
        $labels = ["domain" => $arguments["address"]["domain"], "a" => 1];
        if (metrics_increment("mails_seen", $labels) !== true) Reject("increment");
        if (metrics_increment("mails_seen", $labels, 2) !== true) Reject("by two");
        if (metrics_decrement("mails_seen", $labels) !== none) Reject("a counter only rises");
        if (metrics_increment("unknown", []) !== none) Reject("unknown");
        if (metrics_set("level", [], 7) !== true or metrics_decrement("level", [], 3) !== true) Reject("gauge");
        if (metrics_get("level", []) != ["value" => 4]) Reject("" . metrics_get("level", []));
        if (metrics_get("level", ["x" => "y"]) !== none) Reject("no such series");
        foreach ([5, 50, 500] as $size) metrics_set("size", ["a" => "b"], $size);
        $size = metrics_get("size", ["a" => "b"]);
        if ($size["buckets"][1]["le"] != 100 or $size["count"] % 3 != 0) Reject("" . $size);
        try { metrics_set("level", ["no name" => 1], 1); Reject("label"); } catch ($e) { }"#;
    let setup = Setup { running: METRICS.into(), ..Setup::default() }.hook("mailfrom", script);
    let mut daemon = TestDaemon::start(setup).await;
    from(&daemon, &["x@example.org", "y@example.org", "z@example.net"]).await;
    daemon.rewrite(|setup| setup.running = METRICS.replace("[10, 100]", "[10, 100, 1000]"));
    ask(&daemon, |client| client.call(call::CONFIG_RELOAD, &()).unwrap()).await;
    from(&daemon, &["x@example.org"]).await;
    let stats = ask(&daemon, |client| client.call(call::PROCESS_STATS, &()).unwrap()).await;
    let text = openmetrics(&stats);
    for line in [
        "# TYPE mails_seen counter",
        "# HELP mails_seen Mails by sender",
        "mails_seen{a=\"1\",domain=\"example.org\"} 9",
        "mails_seen{a=\"1\",domain=\"example.net\"} 3",
        "level 4",
        // Other buckets, another histogram.
        "size_bucket{a=\"b\",le=\"10\"} 1",
        "size_bucket{a=\"b\",le=\"1000\"} 3",
        "size_bucket{a=\"b\",le=\"+Inf\"} 3",
        "size_sum{a=\"b\"} 555",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(dotted(&stats).contains("\nmetrics.level: 4\n"));
    daemon.stop().await;
}
