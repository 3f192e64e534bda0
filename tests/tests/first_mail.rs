//! The main path: mail in, durable queue, mail out.

use system_tests::{Setup, TestDaemon};
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::SmtpSink;

const MESSAGE: &str =
    "Subject: hello\r\nMessage-ID: <1@client.example>\r\n\r\nFirst line\r\n..dots\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_through_and_arrives_unchanged() {
    let sink = SmtpSink::start().await;
    let mut daemon =
        TestDaemon::start(Setup { next_hop: Some(sink.address), ..Setup::default() }).await;
    let (mut client, banner) = SmtpClient::connect(daemon.address()).await;
    assert!(banner.starts_with("220 "), "{banner}");
    let hello = client.command("EHLO client.example").await;
    for keyword in ["PIPELINING", "8BITMIME", "SIZE", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"]
    {
        assert!(hello.contains(keyword), "{keyword} in {hello}");
    }
    let reply =
        client.deliver("from@client.example", &["to@example.org", "b@example.org"], MESSAGE).await;
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    assert!(client.command("QUIT").await.starts_with("221 "));
    let messages = sink.wait_for(2).await;
    let mut to: Vec<_> = messages.iter().flat_map(|m| m.to.clone()).collect();
    to.sort();
    assert_eq!(to, ["<b@example.org>", "<to@example.org>"]);
    for message in &messages {
        assert!(message.from.starts_with("<from@client.example>"), "{}", message.from);
        let (received, rest) = message.content.split_at(message.content.find("Subject:").unwrap());
        assert!(received.starts_with("Received: from client.example"), "{received}");
        assert_eq!(rest, MESSAGE.replace("..dots", ".dots"));
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_live_in_one_process() {
    let sink = SmtpSink::start().await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() };
    let mut last = TestDaemon::start(setup).await;
    // The first daemon delivers to the second, the second to the sink.
    let setup = Setup { next_hop: Some(last.address()), ..Setup::default() };
    let mut first = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(first.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver("a@client.example", &["to@example.org"], MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let messages = sink.wait_for(1).await;
    assert_eq!(messages[0].content.matches("Received: ").count(), 2);
    first.stop().await;
    last.stop().await;
}
