//! Open connections as operators see and close them, on both sides.

use std::time::Duration;

use control::command::call;
use control::pb;
use system_tests::{Setup, TestDaemon, ask};
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink};

async fn inbound(daemon: &TestDaemon) -> Vec<pb::server_connections_list_response::Connection> {
    ask(daemon, |client| {
        let request = pb::ServerConnectionsListRequest::default();
        client.call(call::SERVER_CONNECTIONS_LIST, &request).unwrap().connections
    })
    .await
}

async fn outbound(daemon: &TestDaemon) -> Vec<pb::queue_connections_list_response::Connection> {
    ask(daemon, |client| {
        let request = pb::QueueConnectionsListRequest::default();
        client.call(call::QUEUE_CONNECTIONS_LIST, &request).unwrap().connections
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peers_connection_is_listed_and_closed_with_the_reply_that_was_asked_for() {
    let mut daemon = TestDaemon::start(Setup::default()).await;
    let (mut one, _) = SmtpClient::connect(daemon.address()).await;
    let (mut two, _) = SmtpClient::connect(daemon.address()).await;
    one.command("EHLO one.example").await;
    two.command("EHLO two.example").await;
    let open = inbound(&daemon).await;
    assert_eq!(open.len(), 2);
    assert_eq!((open[0].serverid.as_str(), open[0].remoteip.as_str()), ("default", "127.0.0.1"));
    assert_eq!(open[0].localport, u32::from(daemon.address().port()));
    let id = open[0].connectionid.clone();
    let affected = ask(&daemon, move |client| {
        let nobody = pb::ServerConnectionsCloseRequest {
            remoteip: "192.0.2.0/24".into(),
            ..Default::default()
        };
        assert_eq!(client.call(call::SERVER_CONNECTIONS_CLOSE, &nobody).unwrap().affected, 0);
        let request = pb::ServerConnectionsCloseRequest {
            connectionid: id,
            reply: Some(pb::server_connections_close_request::Reply {
                code: 451,
                reason: "come back tomorrow".into(),
            }),
            ..Default::default()
        };
        client.call(call::SERVER_CONNECTIONS_CLOSE, &request).unwrap().affected
    })
    .await;
    assert_eq!(affected, 1);
    let reply = one.reply().await;
    assert!(reply.starts_with("451 ") && reply.ends_with("come back tomorrow"), "{reply}");
    assert!(two.command("NOOP").await.starts_with("250 "), "the other one goes on");
    for _ in 0..600 {
        if inbound(&daemon).await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(inbound(&daemon).await.len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_is_closed_is_tried_again() {
    let sink = SmtpSink::start_with(SinkBehaviour::default().hold("RCPT TO:")).await;
    let setup = Setup { next_hop: Some(sink.address), retries: vec![1, 1], ..Setup::default() };
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    client.deliver("a@client.example", &["to@example.org"], "Subject: x\r\n\r\nText\r\n").await;
    while !sink.commands().iter().any(|line| line.starts_with("RCPT")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let open = outbound(&daemon).await;
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].remoteport, u32::from(sink.address.port()));
    assert_eq!(open[0].transactions, 1);
    assert!(["MAIL", "RCPT"].contains(&open[0].state.as_str()), "{}", open[0].state);
    let id = open[0].id.clone().unwrap();
    let affected = ask(&daemon, move |client| {
        let other = pb::QueueConnectionsCloseRequest {
            id: Some(pb::QueueItemId { queue: 99, ..id.clone() }),
            ..Default::default()
        };
        assert_eq!(client.call(call::QUEUE_CONNECTIONS_CLOSE, &other).unwrap().affected, 0);
        let request = pb::QueueConnectionsCloseRequest { id: Some(id), ..Default::default() };
        client.call(call::QUEUE_CONNECTIONS_CLOSE, &request).unwrap().affected
    })
    .await;
    assert_eq!(affected, 1);
    sink.behave(SinkBehaviour::default());
    assert_eq!(sink.wait_for(1).await[0].connection, 2, "on a new connection");
    daemon.stop().await;
}
