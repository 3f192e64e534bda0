//! `Socket` and `TLSSocket` against peers in this process.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use hsl::host::Limits;
use hsl_std::services::TokioTimer;

fn report(script: &str) -> support::Report {
    let limits = Limits { memory: 8 << 20, ..Limits::default() };
    support::run_with(script.as_bytes(), limits, |services| services.timer = Arc::new(TokioTimer))
}

fn run(script: &str) -> String {
    let report = report(script);
    assert_eq!(report.error, None, "{script}");
    String::from_utf8(report.echoed).unwrap().trim_end().to_owned()
}

fn error_of(script: &str) -> String {
    report(script).error.expect("an error")
}

/// Serves one connection in a thread of its own.
fn serve(work: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, std::thread::spawn(move || work(listener.accept().unwrap().0)))
}

fn connect(address: SocketAddr) -> String {
    format!(
        "$s = Socket(\"AF_INET\", \"SOCK_STREAM\");
         if (!$s->connect(\"{}\", {})) echo \"errno \" . $s->errno();\n",
        address.ip(),
        address.port()
    )
}

#[test]
fn a_stream_is_sent_received_and_ends_with_an_empty_string() {
    let (address, peer) = serve(|mut stream| {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        stream.write_all(&text).unwrap();
    });
    let script = connect(address)
        + r#"echo $s->send("hello");
             echo is_object($s->shutdown("SHUT_WR"));
             echo $s->recv(2, "MSG_PEEK") . " " . $s->recv(100, ["MSG_WAITALL"]);
             echo $s->recv(1) === "";
             echo is_object($s->close());
             echo $s->recv(1) === none;
             echo $s->errno();
             echo $s->close() === none;"#;
    assert_eq!(run(&script), "5\ntrue\nhe hello\ntrue\ntrue\ntrue\n9\ntrue");
    peer.join().unwrap();
}

#[test]
fn waitall_collects_pieces_and_peek_leaves_them() {
    let (address, peer) = serve(|mut stream| {
        stream.set_nodelay(true).unwrap();
        for piece in ["ab", "cd", "ef"] {
            stream.write_all(piece.as_bytes()).unwrap();
            let mut go = [0];
            stream.read_exact(&mut go).unwrap();
        }
    });
    let script = connect(address)
        + r#"echo $s->recv(1);
             $s->send("1");
             echo $s->recv(3, ["MSG_PEEK", "MSG_WAITALL"]);
             $s->send("2");
             echo $s->recv(5, "MSG_WAITALL");
             $s->send("3");
             echo $s->recv(5, ["MSG_PEEK", "MSG_WAITALL"]) === "";"#;
    assert_eq!(run(&script), "a\nbcd\nbcdef\ntrue");
    peer.join().unwrap();
}

#[test]
fn a_call_that_must_not_wait_and_one_that_waited_too_long_give_none_and_an_errno() {
    let (address, peer) = serve(|mut stream| {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
    });
    let script = connect(address)
        + r#"echo $s->recv(10, "MSG_DONTWAIT") === none;
             echo $s->errno();
             echo is_object($s->settimeout(0.05));
             echo $s->recv(10) === none;
             echo $s->errno();
             echo $s->settimeout(0)->send("x");"#;
    assert_eq!(run(&script), "true\n11\ntrue\ntrue\n110\n1");
    peer.join().unwrap();
}

#[test]
fn failures_have_the_errno_of_c() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(run(&connect(free)), "errno 111");
    let script = r#"
        function try_connect($family, $address, $port = none) {
            $s = Socket($family, "SOCK_STREAM");
            return $s->connect($address, $port) === none ? $s->errno() : "connected";
        }
        echo try_connect("AF_INET", "no address", 25);
        echo try_connect("AF_INET", "127.0.0.1", 65536);
        echo try_connect("AF_INET", "::1", 25);
        echo try_connect("AF_INET6", "127.0.0.1", 25);
        echo try_connect("AF_UNIX", "/nowhere/to/be/found");
        $s = Socket("AF_INET", "SOCK_STREAM");
        echo $s->errno();
        echo $s->recv(1) === none and $s->errno() == 107;
        echo $s->send("x") === none and $s->errno() == 32;
        echo $s->bind("192.0.2.1", 0) === none and $s->errno() == 99;
        echo is_object(Socket("AF_INET", "SOCK_STREAM")->bind("192.0.2.1", 0, ["nonlocal" => true]));
        echo is_object(Socket("AF_INET6", "SOCK_STREAM")->bind("2001:db8::1", 0, ["nonlocal" => true]));
    "#;
    assert_eq!(run(script), "22\n22\n97\n97\n2\n0\ntrue\ntrue\ntrue\ntrue\ntrue");
}

#[test]
fn a_socket_that_failed_to_receive_can_still_connect() {
    let (address, peer) = serve(|mut stream| stream.write_all(b"hello").unwrap());
    let script = format!(
        "$s = Socket(\"AF_INET\", \"SOCK_STREAM\");
         echo $s->recv(1) === none and $s->send(\"x\") === none and $s->recv(1, \"MSG_PEEK\") === none;
         echo is_object($s->connect(\"{}\", {}));
         echo $s->recv(10);",
        address.ip(),
        address.port()
    );
    assert_eq!(run(&script), "true\ntrue\nhello");
    peer.join().unwrap();
}

#[test]
fn datagrams_keep_their_bounds() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 100];
        let (count, from) = peer.recv_from(&mut buffer).unwrap();
        peer.send_to(&buffer[..count], from).unwrap();
        peer.send_to(b"second", from).unwrap();
        peer.send_to(b"", from).unwrap();
    });
    let script = format!(
        r#"$s = Socket("AF_INET", "SOCK_DGRAM");
           $s->bind("127.0.0.1", 0);
           $s->connect("{}", {});
           echo $s->send("first");
           echo $s->recv(100, "MSG_WAITALL");
           echo $s->recv(3);
           echo $s->recv(10) === "";"#,
        address.ip(),
        address.port()
    );
    assert_eq!(run(&script), "5\nfirst\nsec\ntrue");
    thread.join().unwrap();
}

#[test]
fn sockets_of_the_system_have_paths_and_abstract_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stream");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(b"hello").unwrap();
    });
    let script = format!(
        r#"$s = Socket("AF_UNIX", "SOCK_STREAM");
           echo is_object($s->connect("{}"));
           echo $s->recv(10);"#,
        path.display()
    );
    assert_eq!(run(&script), "true\nhello");
    thread.join().unwrap();

    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let peer = UnixDatagram::bind(&theirs).unwrap();
    let script = format!(
        r#"$s = Socket("AF_UNIX", "SOCK_DGRAM");
           echo is_object($s->bind("{}"));
           echo is_object($s->connect("{}"));
           echo $s->send("text");"#,
        ours.display(),
        theirs.display()
    );
    assert_eq!(run(&script), "true\ntrue\n4");
    let mut buffer = [0; 10];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
}

#[test]
fn more_than_the_system_takes_at_once_is_sent_whole() {
    let (address, peer) = serve(|mut stream| {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        stream.write_all(text.len().to_string().as_bytes()).unwrap();
    });
    let script = connect(address)
        + r#"echo $s->send("x" * 3000000);
             $s->shutdown("SHUT_WR");
             echo $s->recv(100, "MSG_WAITALL");"#;
    assert_eq!(run(&script), "3000000\n3000000");
    peer.join().unwrap();
}

#[test]
fn what_is_received_counts_against_the_memory_of_the_script() {
    let (address, peer) = serve(|mut stream| {
        // The script ends first.
        let _ = stream.write_all(&vec![b'x'; 20 << 20]);
    });
    let script = connect(address) + "$all = []; forever { $all[] = $s->recv(1000000); }";
    assert!(error_of(&script).contains("memory"), "{}", error_of(&script));
    assert!(error_of("Socket(\"AF_INET\", \"SOCK_STREAM\")->recv(100000000);").contains("memory"));
    peer.join().unwrap();
}

#[test]
fn scripts_cannot_open_all_descriptors_of_the_program() {
    let script = "$all = []; forever { $all[] = Socket(\"AF_INET\", \"SOCK_STREAM\"); }";
    assert!(error_of(script).contains("sockets open already"), "{}", error_of(script));
    let script = "for ($i = 0; $i < 20000; $i += 1) Socket(\"AF_INET\", \"SOCK_STREAM\");
                  for ($i = 0; $i < 20000; $i += 1) { $s = Socket(\"AF_INET\", \"SOCK_STREAM\"); $s->close(); }
                  echo \"all were given back\";";
    assert_eq!(run(script), "all were given back");
}

#[test]
fn wrong_arguments_are_errors_that_say_what_is_known() {
    let table = [
        ("Socket(\"AF_X\", \"SOCK_STREAM\");", "Socket() knows the families"),
        ("Socket(\"AF_INET\", \"SOCK_RAW\");", "Socket() knows the types"),
        ("Socket(\"AF_INET\", \"SOCK_STREAM\")->recv(0);", "recv() needs a length"),
        ("Socket(\"AF_INET\", \"SOCK_STREAM\")->recv(1, \"MSG_X\");", "recv() knows MSG_PEEK"),
        ("Socket(\"AF_INET\", \"SOCK_STREAM\")->recv(1, [1]);", "recv() knows MSG_PEEK"),
        ("Socket(\"AF_INET\", \"SOCK_STREAM\")->shutdown(\"x\");", "shutdown() knows SHUT_RD"),
        ("Socket(\"AF_INET\", \"SOCK_STREAM\")->settimeout(-1);", "settimeout() needs"),
        ("TLSSocket(X509CRL, []);", "TLSSocket() expects parameter 1"),
    ];
    for (script, expected) in table {
        assert!(error_of(script).contains(expected), "{script}: {}", error_of(script));
    }
    let script = "echo Socket::AF(\"192.0.2.1\") . Socket::AF(\"::1\");
                  echo Socket::AF(\"x\") === none;";
    assert_eq!(run(script), "AF_INETAF_INET6\ntrue");
}

mod tls {
    use hsl_std::keys::certificates_from_pem;
    use testkit::certs::{TestCertificate, certificate};
    use tls_policy::{Identity, ServerOptions, ServerTls, Versions};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Echoes until the peer says that no more follows, `count` connections in turn.
    fn serve_tls(
        certificate: &TestCertificate,
        versions: Versions,
        count: usize,
    ) -> (SocketAddr, JoinHandle<()>) {
        let identity =
            Identity::from_pem(certificate.cert_pem.as_bytes(), certificate.key_pem.as_bytes());
        let options = ServerOptions { identity: identity.unwrap(), names: Vec::new(), versions };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let server = ServerTls::new(options);
                for _ in 0..count {
                    let (stream, _) = listener.accept().await.unwrap();
                    let Ok((mut stream, _)) = server.accept(stream.into()).await else { continue };
                    let mut buffer = [0; 1000];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        stream.write_all(&buffer[..count]).await.unwrap();
                        stream.flush().await.unwrap();
                    }
                    let _ = stream.shutdown().await;
                }
            });
        });
        (address, thread)
    }

    fn secure(address: SocketAddr, options: &str) -> String {
        connect(address) + &format!("$t = TLSSocket($s, [{options}]);\n")
    }

    #[test]
    fn text_goes_both_ways_and_both_sides_say_the_end() {
        let certificate = certificate(&["mx.example.org"]);
        let (address, peer) = serve_tls(&certificate, Versions::default(), 1);
        let script = secure(address, r#""tls_sni" => "mx.example.org""#)
            + r#"echo $t->getpeerx509() === none;
                 echo is_object($t->handshake());
                 echo $t->send("hello");
                 echo $t->recv(100);
                 echo $t->getpeerx509()->subject_alt_name();
                 $end = $t->shutdown();
                 if ($end == 0) $end = $t->shutdown();
                 echo $end;
                 echo $t->recv(1) === "";
                 echo $t->toSocket()->errno() . " " . $t->errno();"#;
        let expected = "true\ntrue\n5\nhello\n[\"DNS\"=>[0=>\"mx.example.org\"]]\n1\ntrue\n0 0";
        assert_eq!(run(&script), expected);
        peer.join().unwrap();
        assert!(certificates_from_pem(certificate.cert_pem.as_bytes()).is_ok());
    }

    #[test]
    fn nothing_is_verified_unless_asked_for() {
        let certificate = certificate(&["mx.example.org"]);
        let (address, peer) = serve_tls(&certificate, Versions::default(), 4);
        let shake = |options: &str| {
            run(&(secure(address, options)
                + "echo $t->handshake() === none ? $t->errno() : \"done\";
                   echo $t->send(\"x\") ?? \"none\";"))
        };
        assert_eq!(shake(""), "done\n1");
        assert_eq!(shake(r#""tls_verify_ca" => true, "tls_default_ca" => true"#), "71\nnone");
        assert_eq!(shake(r#""tls_verify_name" => ["a.example.org", "mx.example.org"]"#), "done\n1");
        assert_eq!(shake(r#""tls_verify_name" => ["other.example.org"]"#), "71\nnone");
        peer.join().unwrap();
    }

    #[test]
    fn protocols_and_ciphers_are_as_asked_for_or_an_exception() {
        let certificate = certificate(&["mx.example.org"]);
        let only = Versions { tls12: true, tls13: false };
        let (address, peer) = serve_tls(&certificate, only, 3);
        let shake =
            |options: &str| run(&(secure(address, options) + "echo is_object($t->handshake());"));
        assert_eq!(
            shake(r#""tls_protocols" => "TLSv1.2", "tls_ciphers" => "ECDHE+AESGCM""#),
            "true"
        );
        assert_eq!(shake(r#""tls_protocols" => "TLSv1.3""#), "false");
        // The server's key is of another kind.
        assert_eq!(shake(r#""tls_ciphers" => "aRSA""#), "false");
        peer.join().unwrap();
        let refused = |option: &str| {
            error_of(&format!("TLSSocket(Socket(\"AF_INET\", \"SOCK_STREAM\"), [{option}]);"))
        };
        assert!(
            refused(r#""tls_protocols" => "TLSv1""#)
                .contains("option \"tls_protocols\": expected TLSv1.2 or TLSv1.3 (older versions")
        );
        assert!(refused(r#""tls_ciphers" => "RC4-SHA""#).contains("RC4-SHA\" is not available"));
        assert!(
            refused(r#""tls_client_cert" => "pki:none""#).contains("pki:none names no certificate")
        );
        assert!(
            refused(r#""tls_client_cert" => "pki:bare""#).contains("pki:bare names no certificate")
        );
        assert!(refused(r#""tls_verify_name" => "x""#).contains("must be an array"));
    }

    #[test]
    fn closing_the_socket_ends_the_tls_over_it() {
        let certificate = certificate(&["mx.example.org"]);
        let (address, peer) = serve_tls(&certificate, Versions::default(), 1);
        let script = secure(address, "")
            + "echo is_object($t->handshake());
               echo is_object($s->close());
               echo $t->send(\"x\") === none and $t->errno() > 0;
               echo $t->recv(10) === none;";
        assert_eq!(run(&script), "true\ntrue\ntrue\ntrue");
        peer.join().unwrap();
    }

    #[test]
    fn a_socket_that_is_not_connected_cannot_shake_hands() {
        let script = "$t = TLSSocket(Socket(\"AF_INET\", \"SOCK_STREAM\")->settimeout(1), [\"tls_client_cert\" => \"pki:rsa\"]);
                      echo $t->handshake() === none;
                      echo $t->errno() > 0;
                      echo $t->recv(10) === none and $t->send(\"x\") === none and $t->shutdown() === none;";
        assert_eq!(run(script), "true\ntrue\ntrue");
    }
}
