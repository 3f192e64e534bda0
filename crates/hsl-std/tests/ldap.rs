//! Class LDAP against a small directory in this process.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use hsl::host::Limits;
use hsl_std::services::Services;

/// One connection after the other, one answer after the other; each request must hold the octets
/// that are expected of it. The octets are written by hand, from RFC 4511.
struct Directory {
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Directory {
    fn start(connections: Vec<Vec<(&'static [u8], Vec<u8>)>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            for dialogue in connections {
                let (mut stream, _) = listener.accept().unwrap();
                for (expected, answer) in dialogue {
                    let request = read(&mut stream);
                    assert!(
                        request.windows(expected.len()).any(|part| part == expected),
                        "{} in {}",
                        expected.escape_ascii(),
                        request.escape_ascii()
                    );
                    stream.write_all(&answer).unwrap();
                }
            }
        });
        Self { port, thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// Fails when a request was not as expected.
    fn finish(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

/// One message; all in these tests are shorter than 128 octets.
fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body).unwrap();
    body
}

/// A message with an operation of a tag.
fn message(id: u8, tag: u8, content: &[u8]) -> Vec<u8> {
    let operation = [&[tag, content.len() as u8][..], content].concat();
    let body = [&[2, 1, id][..], &operation].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

/// The content of a result: code, no name, words.
fn result(code: u8, words: &str) -> Vec<u8> {
    [&[10, 1, code, 4, 0, 4, words.len() as u8][..], words.as_bytes()].concat()
}

/// An entry `cn=a` with `mail: x, y` and `uid: 1`.
fn entry() -> Vec<u8> {
    [
        &b"\x04\x04cn=a\x30\x1c"[..],
        b"\x30\x0e\x04\x04mail\x31\x06\x04\x01x\x04\x01y",
        b"\x30\x0a\x04\x03uid\x31\x03\x04\x011",
    ]
    .concat()
}

fn run(script: &str) -> String {
    run_with(script, |_| {})
}

fn run_with(script: &str, change: impl FnOnce(&mut Services)) -> String {
    let report = support::run_with(script.as_bytes(), Limits::default(), change);
    assert_eq!(report.error, None, "{script}");
    String::from_utf8(report.echoed).unwrap().trim_end().to_owned()
}

#[test]
fn a_bound_connection_finds_entries() {
    let found = [
        message(2, 0x64, &entry()),
        message(2, 0x73, b"\x04\x01r"),
        message(2, 0x65, &result(0, "")),
    ];
    let directory = Directory::start(vec![vec![
        (b"\x60\x0f\x02\x01\x03\x04\x04cn=m\x80\x04pass", message(1, 0x61, &result(0, ""))),
        (b"\x04\x02dc\x0a\x01\x01\x0a\x01\x00\x02\x01\x00\x02\x01\x07\x01\x01\x00\xa3\x08\x04\x03uid\x04\x011\x30\x06\x04\x04mail", found.concat()),
        (b"\x42\x00", Vec::new()),
    ]]);
    let script = format!(
        "$l = LDAP(\"{}\");
         $l->setoption(\"timelimit\", 7);
         echo $l->bind(\"cn=m\", \"pass\") === $l;
         $r = $l->search(\"dc\", [\"scope\" => \"one\", \"filter\" => \"(uid=1)\", \"attributes\" => [\"mail\"]]);
         echo $r->next();
         echo $r->next();
         echo $l->errno();
         echo $l->getpeerx509();
         $l->unbind();",
        directory.url()
    );
    let expected = "true\n[\"dn\"=>\"cn=a\",\"mail\"=>[0=>\"x\",1=>\"y\"],\"uid\"=>[0=>\"1\"]]\n\
                    false\n0\nnone";
    assert_eq!(run(&script), expected);
    directory.finish();
}

#[test]
fn a_refusal_has_its_code_and_words() {
    let directory = Directory::start(vec![vec![
        (b"\x60\x07\x02\x01\x03\x04\x00\x80\x00", message(1, 0x61, &result(49, "no"))),
        (b"\x63", message(2, 0x65, &result(32, ""))),
    ]]);
    let script = format!(
        "$l = LDAP(\"{}\");
         echo $l->bind();
         echo $l->errno() . \" \" . LDAP::err2string($l->errno());
         echo $l->getoption(\"diagnostic_message\");
         echo $l->search(\"dc=x\");
         echo LDAP::err2string($l->errno());
         echo $l->search(\"dc=x\", [\"filter\" => \"((\"]);
         echo $l->errno();",
        directory.url()
    );
    let expected = "none\n49 Invalid credentials\nno\nnone\nNo such object\nnone\n-7";
    assert_eq!(run(&script), expected);
    directory.finish();
}

#[test]
fn what_a_server_sent_before_its_size_limit_is_not_lost() {
    let found = [message(1, 0x64, &entry()), message(1, 0x65, &result(4, "enough"))];
    let directory = Directory::start(vec![vec![(b"\x63", found.concat())]]);
    let script = format!(
        "$l = LDAP(\"{}\");
         $r = $l->search(\"\");
         echo $l->errno();
         echo $r->next()[\"dn\"];
         echo $r->next();
         echo $l->errno() . \" \" . $l->getoption(\"diagnostic_message\");
         echo $r->next();",
        directory.url()
    );
    assert_eq!(run(&script), "0\ncn=a\nnone\n4 enough\nnone");
    directory.finish();
}

#[test]
fn after_an_agreement_on_tls_nothing_goes_in_clear_text() {
    let agreed = |id| (&b"1.3.6.1.4.1.1466.20037"[..], message(id, 0x78, &result(0, "")));
    // The server hangs up instead of a handshake; whatever is asked next must begin with STARTTLS.
    let directory =
        Directory::start(vec![vec![agreed(1)], vec![agreed(1)], vec![(b"\x60", Vec::new())]]);
    let script = format!(
        "$l = LDAP(\"{}\");
         echo $l->starttls();
         echo LDAP::err2string($l->errno());
         echo length($l->getoption(\"diagnostic_message\")) > 0;
         echo $l->bind(\"cn=m\", \"pass\");
         echo LDAP(\"{0}\")->bind(\"cn=m\", \"pass\");",
        directory.url()
    );
    assert_eq!(run(&script), "none\nConnect error\ntrue\nnone\nnone");
    directory.finish();
}

#[test]
fn a_server_without_starttls_is_asked_once_and_then_spoken_to_as_the_script_likes() {
    let directory = Directory::start(vec![vec![
        (b"1.3.6.1.4.1.1466.20037", message(1, 0x78, &result(2, "no TLS here"))),
        (b"\x60", message(2, 0x61, &result(0, ""))),
    ]]);
    let script = format!(
        "$l = LDAP(\"{}\"); echo $l->starttls(); echo $l->errno(); echo $l->bind() === $l;",
        directory.url()
    );
    assert_eq!(run(&script), "none\n2\ntrue");
    directory.finish();
}

#[test]
fn servers_are_tried_in_turn_and_a_lost_connection_is_made_again() {
    let bound = || (&b"\x60"[..], message(1, 0x61, &result(0, "")));
    let directory = Directory::start(vec![vec![bound()], vec![bound()]]);
    let script = format!(
        "$l = LDAP(\"ldap://127.0.0.1:1 {}\");
         echo $l->bind() === $l;
         $l->search(\"\");
         echo $l->errno();
         echo $l->bind() === $l;
         echo LDAP(\"ldap://127.0.0.1:1\")->bind();",
        directory.url()
    );
    assert_eq!(run(&script), "true\n-1\ntrue\nnone");
    directory.finish();
}

#[test]
fn hostile_answers_end_the_connection_and_not_the_process() {
    let answers: [&[u8]; 7] = [
        b"\x30\x84\x7f\xff\xff\xff",
        b"\x30\x85\x01\x01\x01\x01\x01",
        b"\x30\x00",
        b"\x31\x03\x02\x01\x01",
        b"\x30\x05\x02\x01\x01\x64\x03",
        b"\x30\x07\x02\x01\x01\x64\x02\x04\x09",
        b"\x30\x07\x02\x01\x00\x78\x02\x0a\x00",
    ];
    for answer in answers {
        let directory = Directory::start(vec![vec![(b"\x63", answer.to_vec())]]);
        let script = format!(
            "$l = LDAP(\"{}\"); $l->setoption(\"timeout\", 0.5); echo $l->search(\"\"); echo $l->errno() < 0;",
            directory.url()
        );
        assert_eq!(run(&script), "none\ntrue", "{}", answer.escape_ascii());
    }
    let many = message(1, 0x64, &entry()).repeat(10_000);
    let directory = Directory::start(vec![vec![(b"\x63", many)]]);
    let script =
        format!("$l = LDAP(\"{}\"); echo $l->search(\"\"); echo $l->errno();", directory.url());
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    let report = support::run_with(script.as_bytes(), limits, |_| {});
    assert_eq!(String::from_utf8(report.echoed).unwrap(), "none\n-10\n");
}

#[test]
fn tls_is_spoken_from_the_start_or_after_starttls() {
    let certificate = testkit::certs::certificate(&["localhost"]);
    let (chain, key) = (certificate.cert_pem.as_bytes(), certificate.key_pem.as_bytes());
    let identity = tls_policy::Identity::from_pem(chain, key).unwrap();
    let server = tls_policy::ServerTls::new(tls_policy::ServerOptions {
        identity,
        names: Vec::new(),
        versions: tls_policy::Versions::default(),
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        // The first script's connection is lost after an operation; it is made again with TLS.
        let mut remaining_starttls = 2;
        while let Ok((mut stream, _)) = listener.accept().await {
            let is_starttls = remaining_starttls > 0;
            if is_starttls {
                let mut request = [0; 31];
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(&message(1, 0x78, &result(0, ""))).await.unwrap();
                remaining_starttls -= 1;
            }
            let Ok((mut stream, _)) = server.accept(stream.into()).await else { continue };
            let mut request = [0; 14];
            stream.read_exact(&mut request).await.unwrap();
            let id = if is_starttls { 2 } else { 1 };
            stream.write_all(&message(id, 0x61, &result(0, ""))).await.unwrap();
        }
    });
    struct Configured(String);
    impl hsl_std::services::Names for Configured {
        fn source_address(&self, _: &str) -> Option<std::net::IpAddr> {
            None
        }
        fn default_authorities(&self) -> tls_policy::RootStore {
            let mut store = tls_policy::RootStore::new();
            store.add_pem(self.0.as_bytes());
            store
        }
    }
    let root = certificate.root_pem;
    let script = format!(
        "$l = LDAP(\"ldap://localhost:{port}\");
         $l->setoption(\"tls_default_ca\", true);
         echo $l->starttls() === $l;
         echo $l->bind() === $l;
         echo $l->getpeerx509() !== none;
         echo $l->bind();
         echo $l->starttls() === $l;
         echo $l->bind() === $l;
         $s = LDAP(\"ldaps://localhost:{port}\");
         echo $s->bind();
         echo LDAP::err2string($s->errno());
         echo $s->getoption(\"diagnostic_message\") =~ \"certificate\";
         $s->setoption(\"tls_verify_peer\", false);
         echo $s->bind() === $s;"
    );
    assert_eq!(
        run_with(&script, |services| services.names = Arc::new(Configured(root))),
        "true\ntrue\ntrue\nnone\ntrue\ntrue\nnone\nConnect error\ntrue\ntrue"
    );
    runtime.shutdown_background();
}
