//! DANE for SMTP (RFC 7672) over whole daemons, and what post-delivery scripts hear of it.

use serde_json::{Value, json};
use system_tests::{Setup, TestDaemon};
use testkit::certs::{TestCertificate, certificate};
use testkit::dns_zone::Zone;
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink};

/// What an attempt came to.
struct Seen {
    /// `$arguments["attempt"]`.
    attempt: Value,
    /// Whether the message came in over TLS; `None` when it did not come.
    tls: Option<bool>,
}

/// Delivers one message to `example.org`, whose only exchanger is a sink with this certificate.
async fn deliver(
    mode: &str,
    offered: Option<&TestCertificate>,
    records: impl FnOnce(Zone, &str) -> Zone,
) -> Seen {
    let behaviour = SinkBehaviour { certificate: offered.cloned(), ..SinkBehaviour::default() };
    let sink = SmtpSink::start_with(behaviour).await;
    let notes = SmtpSink::start().await;
    let port = sink.address.port();
    let zone = Zone::new()
        .mx("example.org", 10, "mx.example.org")
        .address("mx.example.org", &sink.address.ip().to_string());
    let server = records(zone, &format!("_{port}._tcp.mx.example.org")).serve().await;
    let notes_port = notes.address.port();
    let setup = Setup {
        name_server: Some(server.address),
        port: Some(port),
        session: format!("          tls:\n            mode: {mode}\n"),
        ..Setup::default()
    }
    .hook(
        "postdelivery",
        &format!(
            r#"$attempt = $arguments["attempt"];
unset($attempt["connection"]["tls"]["peercert"]);
$note = json_encode($attempt);
MIME()->setBody($note)->send("a@client.example", ["notes@client.example"], ["host" => "127.0.0.1", "port" => {notes_port}]);
if (isset($arguments["action"])) Delete();"#
        ),
    );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let text = "Subject: hello\r\n\r\nText\r\n";
    let reply = client.deliver("a@client.example", &["to@example.org"], text).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let note = notes.wait_for(1).await.remove(0).content;
    let (_, body) = note.split_once("\r\n\r\n").expect("a body");
    // Quoted-printable.
    let body = body.replace("=\r\n", "").replace("=3D", "=");
    let seen = Seen {
        attempt: serde_json::from_str(body.trim()).expect("JSON in the note"),
        tls: sink.messages().first().map(|message| message.tls),
    };
    daemon.stop().await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_known_by_its_record_though_nobody_signed_its_certificate() {
    let pair = certificate(&["mx.example.org"]);
    for mode in ["dane", "dane_require", "dane_fallback_require_verify"] {
        let seen = deliver(mode, Some(&pair), |zone, name| {
            zone.tlsa(name, 3, 0, 0, &pair.cert_der).validated()
        })
        .await;
        assert_eq!(seen.tls, Some(true), "{mode}: {}", seen.attempt);
        let connection = &seen.attempt["connection"];
        assert_eq!(connection["tls"]["started"], true);
        assert_eq!(connection["tls"]["tlsrpt"], Value::Null);
        let record = &connection["tls"]["tlsa"]["records"][0];
        assert_eq!((&record["usage"], &record["selector"]), (&json!(3), &json!(0)));
        assert_eq!(record["mtype"], 0);
        let hex: String = pair.cert_der.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(record["data"], hex);
        assert!(connection["id"].as_str().is_some_and(|id| id.len() == 36), "{connection}");
        assert_eq!(connection["remotegreet"], "sink ESMTP");
        assert!(connection["helo"].as_str().is_some_and(|name| !name.is_empty()), "{connection}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_in_its_place_gets_nothing() {
    let (pair, stranger) = (certificate(&["mx.example.org"]), certificate(&["mx.example.org"]));
    let seen = deliver("dane", Some(&stranger), |zone, name| {
        zone.tlsa(name, 3, 0, 0, &pair.cert_der).validated()
    })
    .await;
    assert_eq!(seen.tls, None);
    assert_eq!(seen.attempt["error"]["type"], "tls", "{}", seen.attempt);
    assert_eq!(seen.attempt["error"]["temporary"], true);
    assert_eq!(seen.attempt["connection"]["tls"]["tlsrpt"], "validation-failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_records_that_offers_no_tls_gets_nothing() {
    let seen =
        deliver("dane", None, |zone, name| zone.tlsa(name, 3, 1, 1, &[1; 32]).validated()).await;
    assert_eq!(seen.tls, None);
    assert_eq!(seen.attempt["connection"]["tls"]["tlsrpt"], "starttls-not-supported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_nobody_vouches_for_do_not_count() {
    let (pair, stranger) = (certificate(&["mx.example.org"]), certificate(&["mx.example.org"]));
    let wrong = |zone: Zone, name: &str| zone.tlsa(name, 3, 0, 0, &stranger.cert_der);
    let seen = deliver("dane", Some(&pair), wrong).await;
    assert_eq!(seen.tls, Some(true), "opportunistic: {}", seen.attempt);
    assert_eq!(seen.attempt["connection"]["tls"]["tlsa"]["error"], "insecure");
    let seen = deliver("dane_require", Some(&pair), wrong).await;
    assert_eq!(seen.tls, None);
    assert_eq!(seen.attempt["error"]["type"], "dane", "{}", seen.attempt);
    assert_eq!(seen.attempt["connection"]["tls"]["tlsrpt"], "dnssec-invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_records_each_mode_has_its_own_way_on() {
    let pair = certificate(&["mx.example.org"]);
    let none = |zone: Zone, _: &str| zone.validated();
    let seen = deliver("dane", None, none).await;
    assert_eq!(seen.tls, Some(false), "{}", seen.attempt);
    assert_eq!(seen.attempt["connection"]["tls"]["tlsrpt"], "starttls-not-supported");
    let seen = deliver("dane_require", Some(&pair), none).await;
    assert_eq!(seen.tls, None);
    assert_eq!(seen.attempt["connection"]["tls"]["tlsrpt"], "dane-required");
    // Nobody trusts the certificate's root, which this mode wants where there are no records.
    let seen = deliver("dane_fallback_require_verify", Some(&pair), none).await;
    assert_eq!(seen.tls, None);
    assert_eq!(seen.attempt["connection"]["tls"]["tlsrpt"], "certificate-not-trusted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_cannot_be_found_out_are_not_the_same_as_none() {
    let pair = certificate(&["mx.example.org"]);
    let seen = deliver("dane", Some(&pair), |zone, name| zone.failing(name).validated()).await;
    assert_eq!(seen.tls, None);
    assert_eq!(seen.attempt["error"]["type"], "dane", "{}", seen.attempt);
    assert_eq!(seen.attempt["connection"]["tls"]["tlsrpt"], "dnssec-invalid");
}
