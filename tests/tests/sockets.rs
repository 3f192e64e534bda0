//! Connections that do not come straight from a peer in the network: through a proxy, or from a
//! program of this machine.

use std::time::Duration;

use control::command::call;
use control::pb;
use system_tests::{Setup, TestDaemon, ask};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

/// Speaks the lines in turn and gives the replies: one at the start, then one by line.
async fn talk<S>(stream: S, first: &[u8], lines: &[&str]) -> Vec<String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    stream.write_all(first).await.unwrap();
    let mut replies = vec![reply(&mut stream).await];
    for line in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        replies.push(reply(&mut stream).await);
    }
    replies
}

/// A whole reply; what there is of it when the peer closes.
async fn reply<S: tokio::io::AsyncBufRead + Unpin>(stream: &mut S) -> String {
    let mut reply = String::new();
    loop {
        let from = reply.len();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_line(&mut reply));
        let octets = read.await.expect("an answer in time").unwrap_or(0);
        if octets == 0 || reply.as_bytes()[from..].get(3) == Some(&b' ') {
            return reply;
        }
    }
}

const SHOW: &str = r#"
Accept(["reason" => json_encode($arguments)]);
"#;

/// What the connect script saw.
fn seen(banner: &str) -> serde_json::Value {
    let (_, json) = banner.trim_end().split_once('{').expect("JSON in the banner");
    serde_json::from_str(&format!("{{{json}")).expect("JSON in the banner")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_tells_who_is_behind_it() {
    let setup =
        Setup { sockets: "    proxyprotocol: [127.0.0.1]\n".to_owned(), ..Setup::default() }
            .hook("connect", SHOW)
            .hook(
                "helo",
                r#"Accept(["reason" => $connection["remoteip"] . " " . $connection["priority"]]);"#,
            );
    let mut daemon = TestDaemon::start(setup).await;
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.2 4000 25\r\n";
    let replies = talk(stream, header, &["HELO client.example"]).await;
    let arguments = seen(&replies[0]);
    assert_eq!(arguments["remoteip"], "192.0.2.7");
    assert_eq!(arguments["remoteport"], 4000);
    assert_eq!(arguments["localip"], "198.51.100.2");
    assert_eq!(arguments["localport"], 25);
    assert_eq!(arguments["proxyip"], "127.0.0.1");
    assert_eq!(arguments["proxytlv"], serde_json::Value::Null);
    assert!(replies[1].starts_with("250 192.0.2.7 0"), "{}", replies[1]);

    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10".to_vec();
    binary.extend([192, 0, 2, 8, 198, 51, 100, 2, 0x0f, 0xa0, 0, 25, 4, 0, 1, 0xfe]);
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    let arguments = seen(&talk(stream, &binary, &[]).await[0]);
    assert_eq!(arguments["remoteip"], "192.0.2.8");
    assert_eq!(arguments["proxytlv"], "040001fe");

    // A health check of the proxy: it speaks for itself.
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    let arguments = seen(&talk(stream, b"PROXY UNKNOWN\r\n", &[]).await[0]);
    assert_eq!(arguments["remoteip"], "127.0.0.1");
    assert_eq!(arguments["proxyip"], serde_json::Value::Null);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_sees_what_the_name_of_its_peer_came_from() {
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.2 4000 25\r\n";
    let proxied = |name_server| Setup {
        name_server: Some(name_server),
        sockets: "    proxyprotocol: [127.0.0.1]\n".to_owned(),
        ..Setup::default()
    };
    let zone = testkit::dns_zone::Zone::new()
        .ptr("7.2.0.192.in-addr.arpa", "client.example")
        .address("client.example", "192.0.2.7");
    let names = zone.serve().await;
    let mut daemon = TestDaemon::start(proxied(names.address).hook("connect", SHOW)).await;
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    let arguments = seen(&talk(stream, header, &[]).await[0]);
    assert_eq!(arguments["remoteptr"], "client.example");
    let result = &arguments["remoteptrresult"];
    assert_eq!(result["reverse"]["result"][0], "client.example", "{result}");
    assert_eq!(result["forward"]["result"][0], "192.0.2.7", "{result}");
    daemon.stop().await;

    let nobody = testkit::dns_zone::Zone::new().serve().await;
    let mut daemon = TestDaemon::start(proxied(nobody.address).hook("connect", SHOW)).await;
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    let arguments = seen(&talk(stream, header, &[]).await[0]);
    assert_eq!(arguments["remoteptr"], serde_json::Value::Null);
    assert_eq!(arguments["remoteptrresult"]["reverse"]["error"], "NXDOMAIN");
    assert_eq!(arguments["remoteptrresult"]["forward"], serde_json::Value::Null);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_its_header_gets_no_banner() {
    let setup =
        Setup { sockets: "    proxyprotocol: [127.0.0.1]\n".to_owned(), ..Setup::default() };
    let mut daemon = TestDaemon::start(setup).await;
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    assert_eq!(talk(stream, b"EHLO client.example\r\n", &[]).await, [""]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_than_the_proxy_cannot_name_themselves() {
    let setup =
        Setup { sockets: "    proxyprotocol: [192.0.2.1]\n".to_owned(), ..Setup::default() }
            .hook("connect", SHOW);
    let mut daemon = TestDaemon::start(setup).await;
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.2 4000 25\r\n";
    let replies = talk(stream, header, &["NOOP"]).await;
    assert_eq!(seen(&replies[0])["remoteip"], "127.0.0.1");
    assert!(replies[1].starts_with('5'), "the header is no command: {}", replies[1]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_of_this_machine_is_known_by_its_user() {
    let sink = testkit::smtp_sink::SmtpSink::start().await;
    let setup = Setup {
        sockets: "      - path: {dir}/mail.sock\n        chmod: \"0600\"\n".to_owned(),
        next_hop: Some(sink.address),
        ..Setup::default()
    }
    .hook("connect", SHOW)
    .hook("helo", r#"Accept(["reason" => "uid " . $connection["remoteuid"]]);"#);
    let mut daemon = TestDaemon::start(setup).await;
    let path = daemon.dir().join("mail.sock");
    let stream = UnixStream::connect(&path).await.unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    let lines = [
        "HELO local",
        "MAIL FROM:<a@client.example>",
        "RCPT TO:<b@example.org>",
        "DATA",
        "Subject: from here\r\n\r\nText\r\n.",
    ];
    let replies = talk(stream, b"", &lines).await;
    let arguments = seen(&replies[0]);
    assert_eq!(arguments["remoteuid"], uid);
    assert_eq!(arguments["remoteip"], serde_json::Value::Null);
    assert!(replies[1].starts_with(&format!("250 uid {uid}")), "{}", replies[1]);
    assert!(replies[5].starts_with("250 "), "{replies:?}");
    let message = sink.wait_for(1).await.remove(0);
    let text = message.content;
    assert!(text.contains("Received: from local"), "{text}");

    let open = UnixStream::connect(&path).await.unwrap();
    let mut open = BufReader::new(open);
    reply(&mut open).await;
    let listed = ask(&daemon, |client| {
        let request = pb::ServerConnectionsListRequest::default();
        client.call(call::SERVER_CONNECTIONS_LIST, &request).unwrap().connections
    })
    .await;
    assert!(listed.iter().any(|connection| connection.remoteip.is_empty()), "{listed:?}");
    daemon.stop().await;
    assert!(!path.exists(), "the socket goes with the daemon");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_script_says_for_whom_a_local_program_speaks() {
    let setup = Setup {
        sockets: "      - path: {dir}/mail.sock\n        chmod: \"0600\"\n".to_owned(),
        ..Setup::default()
    }
    .hook("connect", r#"Accept(["remoteip" => "::ffff:192.0.2.9"]);"#)
    .hook(
        "helo",
        r#"Accept(["reason" => $connection["remoteip"] . (isset($connection["remoteport"]) ? " port" : "")]);"#,
    );
    let mut daemon = TestDaemon::start(setup).await;
    let stream = UnixStream::connect(daemon.dir().join("mail.sock")).await.unwrap();
    assert_eq!(talk(stream, b"", &["HELO local"]).await[1], "250 192.0.2.9\r\n");
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    assert_eq!(talk(stream, b"", &["HELO client"]).await[1], "250 192.0.2.9 port\r\n");
    daemon.stop().await;
}

/// Takes one connection, reads its header and goes where that says; gives the header back.
async fn proxy_once(listener: tokio::net::TcpListener) -> Vec<u8> {
    use tokio::io::AsyncReadExt;
    let (mut client, _) = listener.accept().await.unwrap();
    let mut header = vec![0; 28];
    client.read_exact(&mut header).await.unwrap();
    let ip: [u8; 4] = header[20..24].try_into().unwrap();
    let port = u16::from_be_bytes([header[26], header[27]]);
    let mut server = TcpStream::connect((std::net::Ipv4Addr::from(ip), port)).await.unwrap();
    // Either end may close first.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    header
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_delivers_from_an_address_that_we_do_not_have() {
    let sink = testkit::smtp_sink::SmtpSink::start_with(
        testkit::smtp_sink::SinkBehaviour::default().hold("RCPT TO:"),
    )
    .await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = tokio::spawn(proxy_once(listener));
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }.hook(
        "predelivery",
        &format!(
            "Try([\"proxyprotocol\" => [\"server\" => \"127.0.0.1\", \"port\" => {port}],\n\
             \"sourceip\" => [[\"address\" => \"192.0.2.5\", \"helo\" => \"out.example.org\"]]]);"
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    let lines = [
        "HELO client.example",
        "MAIL FROM:<a@client.example>",
        "RCPT TO:<b@example.org>",
        "DATA",
        "Subject: x\r\n\r\nText\r\n.",
    ];
    let replies = talk(stream, b"", &lines).await;
    assert!(replies[5].starts_with("250 "), "{replies:?}");
    while !sink.commands().iter().any(|line| line.starts_with("RCPT")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let listed = ask(&daemon, |client| {
        let mut through = |proxyip: &str| {
            let condition = pb::queue_connections_list_request::Condition {
                proxyip: proxyip.into(),
                ..Default::default()
            };
            let request = pb::QueueConnectionsListRequest {
                condition: Some(condition),
                ..Default::default()
            };
            client.call(call::QUEUE_CONNECTIONS_LIST, &request).unwrap().connections
        };
        assert!(through("192.0.2.0/24").is_empty());
        through("127.0.0.1")
    })
    .await;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].localip.as_str(), listed[0].proxyip.as_str()),
        ("192.0.2.5", "127.0.0.1")
    );
    sink.behave(testkit::smtp_sink::SinkBehaviour::default());
    let message = sink.wait_for(1).await.remove(0);
    assert_eq!(message.helo, "out.example.org");
    daemon.stop().await;
    let header = proxy.await.unwrap();
    assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c");
    assert_eq!(header[16..20], [192, 0, 2, 5]);
    assert_eq!(header[26..28], sink.address.port().to_be_bytes());
}
