//! TLS in both directions: what each mode does with what the peer offers.

use std::sync::Arc;
use std::time::Duration;

use control::command::call;
use control::pb;
use system_tests::{Setup, TestDaemon, ask};
use testkit::certs;
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::{SinkBehaviour, SmtpSink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const MESSAGE: &str = "Subject: hello\r\n\r\nText\r\n";

/// A daemon that delivers to `sink` with a TLS mode; mail that fails comes to `aside` in clear text.
async fn delivering(sink: &SmtpSink, aside: &SmtpSink, mode: &str) -> TestDaemon {
    let setup = Setup {
        next_hop: Some(sink.address),
        retries: vec![600],
        session: format!("          tls:\n            mode: {mode}\n"),
        ..Setup::default()
    }
    .hook(
        "predelivery",
        &format!(
            "$aside = [\"host\" => \"127.0.0.1\", \"port\" => {}, \"tls\" => \"disabled\"];\n\
             if ($arguments[\"retry\"] > 0) Try($aside);\nTry();",
            aside.address.port()
        ),
    )
    .hook(
        "postdelivery",
        "if (isset($arguments[\"action\"])) {\n\
         $error = $arguments[\"attempt\"][\"error\"] ?? [];\n\
         if ($arguments[\"action\"] == \"QUEUE\" and $error[\"type\"] == \"tls\") Queue([\"delay\" => 0]);\n\
         Delete();\n}",
    );
    let daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let reply = client.deliver("a@client.example", &["to@example.org"], MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    daemon
}

fn with_certificate(names: &[&str]) -> SinkBehaviour {
    SinkBehaviour { certificate: Some(certs::certificate(names)), ..SinkBehaviour::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn optional_tls_is_used_where_offered_whoever_the_peer_is() {
    let sink = SmtpSink::start_with(with_certificate(&["somebody.else.example"])).await;
    let aside = SmtpSink::start().await;
    let mut daemon = delivering(&sink, &aside, "optional").await;
    assert!(sink.wait_for(1).await[0].tls);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn optional_tls_does_without_where_it_is_not_offered() {
    let (sink, aside) = (SmtpSink::start().await, SmtpSink::start().await);
    let mut daemon = delivering(&sink, &aside, "optional").await;
    assert!(!sink.wait_for(1).await[0].tls);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabled_tls_is_not_used_though_offered() {
    let sink = SmtpSink::start_with(with_certificate(&["127.0.0.1"])).await;
    let aside = SmtpSink::start().await;
    let mut daemon = delivering(&sink, &aside, "disabled").await;
    assert!(!sink.wait_for(1).await[0].tls);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn required_tls_tells_nothing_to_a_peer_without() {
    let (sink, aside) = (SmtpSink::start().await, SmtpSink::start().await);
    let mut daemon = delivering(&sink, &aside, "require").await;
    assert!(!aside.wait_for(1).await[0].tls);
    daemon.stop().await;
    let commands = sink.commands();
    assert!(commands.iter().any(|line| line.starts_with("EHLO")), "{commands:?}");
    assert!(!commands.iter().any(|line| line.starts_with("MAIL")), "{commands:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn required_tls_takes_any_certificate_and_verified_tls_does_not() {
    let sink = SmtpSink::start_with(with_certificate(&["127.0.0.1"])).await;
    let aside = SmtpSink::start().await;
    let mut daemon = delivering(&sink, &aside, "require").await;
    assert!(sink.wait_for(1).await[0].tls);
    daemon.stop().await;
    // Nobody knows the authority behind the certificate.
    let mut daemon = delivering(&sink, &aside, "require_verify").await;
    assert_eq!(aside.wait_for(1).await.len(), 1);
    daemon.stop().await;
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starttls_encrypts_and_forgets_what_was_said_before() {
    let sink = SmtpSink::start().await;
    let certificate = certs::certificate(&["mx.example.org"]);
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, &certificate.cert_pem).unwrap();
    std::fs::write(&key, &certificate.key_pem).unwrap();
    let setup = Setup {
        next_hop: Some(sink.address),
        server: "    tls:\n      certs:\n        cert: mx\n".to_owned(),
        running: format!(
            "pki:\n  private:\n    - id: mx\n      certificate:\n        path: {}\n      \
             privatekey:\n        path: {}\n",
            cert.display(),
            key.display()
        ),
        ..Setup::default()
    }
    .hook("mailfrom", r#"Accept(["reason" => json_encode($connection["tls"] ?? "clear")]);"#);
    let mut daemon = TestDaemon::start(setup).await;

    let mut clear = TcpStream::connect(daemon.address()).await.unwrap();
    talk(&mut clear, "", "220 ").await;
    let extensions = talk(&mut clear, "EHLO client.example\r\n", "250 ").await;
    assert!(extensions.contains("STARTTLS"), "{extensions}");
    let reply = talk(&mut clear, "MAIL FROM:<a@client.example>\r\n", "250 ").await;
    assert!(reply.contains("clear"), "{reply}");
    talk(&mut clear, "RSET\r\n", "250 ").await;
    // A command that somebody slipped in behind STARTTLS must not be taken as encrypted.
    talk(&mut clear, "STARTTLS\r\nEHLO slipped.in.example\r\n", "220 ").await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.root_pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("mx.example.org").unwrap();
    let mut secret = TlsConnector::from(Arc::new(config)).connect(name, clear).await.unwrap();
    // Nothing of the clear conversation counts: without a new EHLO there is no MAIL.
    talk(&mut secret, "MAIL FROM:<a@client.example>\r\n", "503 ").await;
    let extensions = talk(&mut secret, "EHLO client.example\r\n", "250 ").await;
    assert!(!extensions.contains("STARTTLS"), "{extensions}");
    let reply = talk(&mut secret, "MAIL FROM:<a@client.example>\r\n", "250 ").await;
    for part in [
        r#""protocol":"TLSv1.3""#,
        r#""cipher":"TLS"#,
        r#""keysize":"#,
        r#""sni":"mx.example.org""#,
    ] {
        assert!(reply.contains(part), "{part}: {reply}");
    }
    assert!(!reply.contains("peercert"), "{reply}");
    talk(&mut secret, "RCPT TO:<to@example.org>\r\n", "250 ").await;
    talk(&mut secret, "DATA\r\n", "354 ").await;
    talk(&mut secret, &format!("{MESSAGE}.\r\n"), "250 ").await;
    let message = sink.wait_for(1).await.remove(0);
    assert!(message.content.contains(" with ESMTPS "), "{}", message.content);
    daemon.stop().await;
}

/// Sends `line` and reads until a whole reply with this code is there.
async fn talk<S>(stream: &mut S, line: &str, code: &str) -> String
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    stream.write_all(line.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut reply = String::new();
    let whole = async {
        loop {
            let last = reply.lines().last().unwrap_or_default().to_owned();
            if reply.ends_with("\r\n") && last.as_bytes().get(3) == Some(&b' ') {
                break;
            }
            let mut chunk = [0; 1024];
            let len = stream.read(&mut chunk).await.unwrap();
            assert!(len > 0, "closed after {reply}");
            reply.push_str(&String::from_utf8_lossy(&chunk[..len]));
        }
        reply
    };
    let reply = tokio::time::timeout(Duration::from_secs(10), whole).await.expect("a reply");
    let last = reply.lines().last().unwrap_or_default();
    assert!(last.starts_with(code), "{line:?} was answered with {reply}");
    reply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_chooses_job_protocol_and_cipher_of_an_attempt() {
    let sink = SmtpSink::start_with(with_certificate(&["mx.example.org"])).await;
    let setup = Setup { next_hop: Some(sink.address), ..Setup::default() }
        .hook(
            "predelivery",
            "$tls = [\"tls\" => \"require\", \"tls_protocols\" => \"TLSv1.2\", \"jobid\" => \"night\"];\n\
             if ($message[\"recipientaddress\"][\"localpart\"] == \"odd\")\n\
             Try($tls + [\"tls_ciphers\" => \"NULL-MD5\"]);\n\
             Try($tls + [\"tls_ciphers\" => \"ECDHE-ECDSA-AES256-GCM-SHA384\"]);",
        )
        .hook(
            "postdelivery",
            "$tls = $arguments[\"attempt\"][\"connection\"][\"tls\"];\n\
             $names = X509($tls[\"peercert\"][\"x509\"])->subject_alt_name();\n\
             memory_store(\"seen\", [$message[\"jobid\"], $tls[\"protocol\"], $tls[\"cipher\"], $names]);",
        );
    let mut daemon = TestDaemon::start(setup).await;
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    // A cipher that there is not is the script's error, never another cipher.
    for to in ["odd@example.org", "to@example.org"] {
        let reply = client.deliver("a@client.example", &[to], MESSAGE).await;
        assert!(reply.starts_with("250 "), "{reply}");
    }
    assert_eq!(sink.wait_for(1).await[0].to, ["<to@example.org>"]);
    let mut seen = String::new();
    while seen.is_empty() {
        let request = pb::HslMemoryRequest { key: "seen".into() };
        seen = ask(&daemon, move |client| client.call(call::MEMORY_FETCH, &request).unwrap().value)
            .await;
    }
    assert!(seen.starts_with("[\"night\",\"TLSv1.2\",\""), "{seen}");
    assert!(seen.contains("ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"), "{seen}");
    assert!(seen.contains("{\"DNS\":[\"mx.example.org\"]}"), "{seen}");
    daemon.stop().await;
    assert_eq!(sink.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_asked_for_its_certificate_where_the_server_wants_to_know() {
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    let server = certs::certificate(&["mx.example.org"]);
    let client = certs::certificate(&["client.example"]);
    for asks in [true, false] {
        let setup = Setup {
            server: format!("    tls:\n      clientcert: {asks}\n      certs:\n        cert: mx\n"),
            running: format!(
                "pki:\n  private:\n    - id: mx\n      certificate:\n        data: |\n{}      \
                 privatekey:\n        data: |\n{}",
                indented(&server.cert_pem),
                indented(&server.key_pem)
            ),
            ..Setup::default()
        }
        .hook(
            "mailfrom",
            r#"$peer = $connection["tls"]["peercert"] ?? false;
               if (!$peer) Reject("nobody");
               $names = X509($peer["x509"])->subject_alt_name();
               Accept(["reason" => json_encode([$names["DNS"], $peer["error"], length($peer["chain"])])]);"#,
        )
        .hook(
            "eodrcpt",
            r#"$tls = GetTLS(["fingerprint" => "sha256"]);
               if (X509($tls["peer_cert"])->subject_alt_name()["DNS"] != ["client.example"]) Reject("certificate");
               try { GetTLS(["fingerprint" => "sha3"]); Reject("fingerprint"); } catch ($e) {}
               Reject(json_encode([$tlsstarted, $tls["started"], $tls["protocol"], $tls["cipher"] != "", $tls["keysize"] > 0,
                   length($tls["fingerprint"]), $tls["peer_cert_error"]]));"#,
        );
        let mut daemon = TestDaemon::start(setup).await;
        let mut clear = TcpStream::connect(daemon.address()).await.unwrap();
        talk(&mut clear, "", "220 ").await;
        talk(&mut clear, "EHLO client.example\r\n", "250 ").await;
        talk(&mut clear, "STARTTLS\r\n", "220 ").await;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(server.root_der.clone())).unwrap();
        let chain =
            [&client.cert_der, &client.root_der].map(|der| CertificateDer::from(der.clone()));
        let key = PrivateKeyDer::from_pem_slice(client.key_pem.as_bytes()).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.to_vec(), key)
            .unwrap();
        let name = ServerName::try_from("mx.example.org").unwrap();
        let mut secret = TlsConnector::from(Arc::new(config)).connect(name, clear).await.unwrap();
        talk(&mut secret, "EHLO client.example\r\n", "250 ").await;
        if asks {
            let reply = talk(&mut secret, "MAIL FROM:<a@client.example>\r\n", "250 ").await;
            // X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: the root is not one that the system trusts.
            assert!(reply.ends_with("[[\"client.example\"],19,1]\r\n"), "{reply}");
            talk(&mut secret, "RCPT TO:<to@example.org>\r\n", "250 ").await;
            talk(&mut secret, "DATA\r\n", "354 ").await;
            let reply = talk(&mut secret, &format!("{MESSAGE}.\r\n"), "550 ").await;
            assert!(reply.contains(r#"[true,true,"TLSv1.3",true,true,64,19]"#), "{reply}");
        } else {
            talk(&mut secret, "MAIL FROM:<a@client.example>\r\n", "554 ").await;
        }
        daemon.stop().await;
    }
}

/// A block of YAML's literal style.
fn indented(pem: &str) -> String {
    pem.lines().map(|line| format!("          {line}\n")).collect()
}
