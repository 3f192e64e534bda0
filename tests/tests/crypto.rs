//! Scripts of hooks use keys and certificates of the configuration.

use system_tests::{Setup, TestDaemon};
use testkit::smtp_client::SmtpClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_signs_with_a_key_of_the_configuration_by_its_id() {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/hsl-std/tests/keys/rsa.key");
    let script = r#"$signature = rsa_sign("text", "pki:signing", ["id" => true]);
        $good = rsa_verify("text", $signature, "pki:signing", ["id" => true]);
        $missing = rsa_sign("text", "pki:none", ["id" => true]) === none;
        Accept(["reason" => "good " . $good . " missing " . $missing]);"#;
    let running = format!("pki:\n  private:\n    - {{id: signing, privatekey: {{path: {key}}}}}");
    let setup = Setup { running, ..Setup::default() }.hook("connect", script);
    let mut daemon = TestDaemon::start(setup).await;
    let (_, banner) = SmtpClient::connect(daemon.address()).await;
    assert!(banner.contains("good true missing true"), "{banner}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_waits_for_a_socket_holds_nobody_else_up() {
    let peer = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = peer.local_addr().expect("an address").port();
    let script = format!(
        r#"if ($arguments["sender"] == "slow@example.org") {{
               $s = Socket("AF_INET", "SOCK_STREAM");
               $s->connect("127.0.0.1", {port});
               Accept(["reason" => "peer said " . $s->recv(100)]);
           }}"#
    );
    let setup = Setup::default().hook("mailfrom", &script);
    let mut daemon = TestDaemon::start(setup).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        client.send(b"MAIL FROM:<slow@example.org>\r\n").await;
        waiting.push((client, peer.accept().await.expect("a script").0));
    }
    // All of them wait: more than there are threads.
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    assert!(client.command("MAIL FROM:<quick@example.org>").await.starts_with("250 "));
    for (mut client, mut socket) in waiting {
        tokio::io::AsyncWriteExt::write_all(&mut socket, b"hello")
            .await
            .expect("a script that waits");
        let reply = client.reply().await;
        assert!(reply.starts_with("250 ") && reply.contains("peer said hello"), "{reply}");
    }
    daemon.stop().await;
}
