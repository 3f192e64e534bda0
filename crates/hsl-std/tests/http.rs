//! `http` against a server in this process: options, redirects, pieces, TLS, proxies, limits.

mod http_server;
mod support;

use std::net::IpAddr;
use std::sync::Arc;

use hsl::host::Limits;
use hsl_std::services::{Names, Services};
use http_server::{Scheme, Server};

fn run(script: &str) -> String {
    run_with(script, |_| {})
}

fn run_with(script: &str, change: impl FnOnce(&mut Services)) -> String {
    let report = support::run_with(script.as_bytes(), Limits::default(), change);
    assert_eq!(report.error, None, "{script}");
    String::from_utf8(report.echoed).unwrap().trim_end().to_owned()
}

fn error_of(script: &str) -> String {
    let report = support::run(script.as_bytes(), Limits::default());
    report.error.expect("an error")
}

#[test]
fn the_body_of_a_2xx_answer_is_returned_and_none_for_any_other() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    assert_eq!(run(&format!("echo http(\"{at}/status/200\");")), "status 200");
    assert_eq!(run(&format!("echo http(\"{at}/status/204\") === \"\";")), "true");
    assert_eq!(run(&format!("echo http(\"{at}/status/404\");")), "none");
    assert_eq!(run("echo http(\"http://127.0.0.1:1/\");"), "none");
}

#[test]
fn an_address_without_a_scheme_is_one_of_http() {
    let server = Server::start(Scheme::Clear);
    let at = server.url().replace("http://", "");
    assert_eq!(run(&format!("echo http(\"{at}/status/200\");")), "status 200");
    // A name that could be a scheme.
    let port = at.rsplit(':').next().unwrap();
    assert_eq!(run(&format!("echo http(\"localhost:{port}/status/200\");")), "status 200");
}

#[test]
fn an_extended_result_has_status_content_and_on_demand_headers() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    assert_eq!(
        run(&format!("echo http(\"{at}/status/404\", [\"extended_result\" => true]);")),
        "[\"status\"=>404,\"content\"=>\"status 404\"]"
    );
    let script = format!(
        "$r = http(\"{at}/status/404\", [\"response_headers\" => true]);
         foreach ($r[\"headers\"] as $h) {{
             if ($h[0] == \"x-test\") {{ echo $h[1]; echo $h[\"name\"] . $h[\"value\"]; }}
         }}
         echo http(\"http://127.0.0.1:1/\", [\"extended_result\" => true]);"
    );
    assert_eq!(run(&script), "yes\nx-testyes\nnone");
}

#[test]
fn get_values_and_forms_arrive_encoded() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    let script = format!(
        "echo http(\"{at}/echo?q=$1&r=$2\", [], [\"a b\", \"&\"]);
         echo http(\"{at}/echo\", [], [], [\"x\" => \"1 2\", \"y\" => [3, 4]]);
         echo http(\"{at}/echo\", [\"headers\" => [\"Content-Type: text/plain\"]], [], \"raw\");
         echo http(\"{at}/echo\", [\"method\" => \"PUT\"], [], \"raw\");"
    );
    assert_eq!(
        run(&script),
        "GET /echo?q=a%20b&r=%26 - \n\
         POST /echo application/x-www-form-urlencoded x=1%202&y=3&y=4\n\
         POST /echo text/plain raw\n\
         PUT /echo application/x-www-form-urlencoded raw"
    );
}

#[test]
fn headers_of_the_script_replace_and_remove_ours() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    let script = format!(
        "echo http(\"{at}/header/user-agent\", [\"headers\" => [\"User-Agent: me\"]]);
         echo http(\"{at}/header/accept\", [\"headers\" => [\"Accept:\"]]);
         echo http(\"{at}/header/x-a\", [\"headers\" => [\"X-A: 1\", \"X-A: 2\"]]);
         echo http(\"http://u:p@{}/header/authorization\");",
        server.authority()
    );
    assert_eq!(run(&script), "me\n\n1,2\nBasic dTpw");
}

#[test]
fn a_post_by_function_is_sent_piece_by_piece() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    let script = format!(
        "$n = 0;
         $f = function ($max) closure ($n) {{
             $n += 1;
             if ($n == 2) {{ sleep(0.001); }}
             return $n < 4 ? \"piece$n,\" : \"\";
         }};
         echo http(\"{at}/echo\", [\"timeout\" => 5], [], $f);
         echo $n;
         $big = 0;
         echo http(\"{at}/length\", [], [], function ($max) closure ($big) {{
             $big += 1;
             return $big <= 64 ? \"x\" * $max : \"\";
         }});
         try {{ http(\"{at}/echo\", [], [], function ($max) {{ throw \"stop\"; }}); }}
         catch ($e) {{ echo $e; }}"
    );
    assert_eq!(run(&script), "POST /echo - piece1,piece2,piece3,\n4\n4194304\nstop");
    let wrong = format!("http(\"{at}/echo\", [], [], function ($max) {{ return 1; }});");
    assert!(error_of(&wrong).contains("must return a string, number given"));
}

#[test]
fn connections_are_used_again_and_a_closed_one_is_replaced() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    run(&format!("for ($i = 0; $i < 5; $i += 1) {{ http(\"{at}/status/200\"); }}"));
    assert_eq!(server.connections(), 1);
    let script = format!(
        "for ($i = 0; $i < 3; $i += 1) {{ echo http(\"{at}/hangup\"); }}
         echo http(\"{at}/status/200\");"
    );
    assert_eq!(run(&script), "bye\nbye\nbye\nstatus 200");
}

#[test]
fn redirects_are_followed_as_far_as_allowed() {
    let server = Server::start(Scheme::Clear);
    let other = Server::start(Scheme::Clear);
    let (at, to) = (server.url(), other.url());
    let script = format!(
        "echo http(\"{at}/redirect/302/status/200\");
         echo http(\"{at}/redirect/302/status/200\", [\"extended_result\" => true])[\"status\"];
         echo http(\"{at}/redirect/302/status/200\", [\"redirects\" => 1]);
         echo http(\"{at}/loop\", [\"redirects\" => 3]);
         echo http(\"{at}/loop\", [\"redirects\" => -1]);
         echo http(\"{at}/redirect/302/echo\", [\"redirects\" => 1], [], \"b\");
         echo http(\"{at}/redirect/307/echo\", [\"redirects\" => 1], [], \"b\");
         $secret = [\"redirects\" => 1, \"headers\" => [\"Authorization: s\"]];
         echo http(\"{at}/to?{to}/header/authorization\", $secret);
         echo http(\"{at}/redirect/302/header/authorization\", $secret);"
    );
    assert_eq!(
        run(&script),
        "none\n302\nstatus 200\nnone\nnone\nGET /echo - \n\
         POST /echo application/x-www-form-urlencoded b\n\ns"
    );
}

#[test]
fn an_answer_is_bounded_by_max_file_size_and_by_the_memory_of_the_script() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    let script = format!(
        "echo http(\"{at}/bytes/1000\", [\"max_file_size\" => 999]);
         echo length(http(\"{at}/bytes/1000\", [\"max_file_size\" => 1000]));
         echo http(\"{at}/chunked/1000\", [\"max_file_size\" => 999]);
         echo length(http(\"{at}/chunked/1000\"));"
    );
    assert_eq!(run(&script), "none\n1000\nnone\n1000");
    for kind in ["bytes", "chunked"] {
        let script = format!("try {{ http(\"{at}/{kind}/3000000\"); }} catch ($e) {{ }} echo 1;");
        let limits = Limits { memory: 1 << 20, ..Limits::default() };
        let report = support::run(script.as_bytes(), limits);
        assert!(report.error.unwrap().contains("memory"), "{kind}");
    }
}

#[test]
fn a_silent_server_ends_the_call_after_the_timeout() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    let script = format!(
        "echo http(\"{at}/silent\", [\"timeout\" => 0.05]);
         echo http(\"{at}/stall\", [\"timeout\" => 0.05]);"
    );
    assert_eq!(run(&script), "none\nnone");
}

#[test]
fn tls_certificates_are_checked_as_the_options_say() {
    let server = Server::start(Scheme::Tls);
    let at = server.url();
    let by_address = at.replace("localhost", "127.0.0.1");
    let root = server.root_pem().to_owned();
    let script = format!(
        "echo http(\"{at}/status/200\");
         echo http(\"{at}/status/200\", [\"tls_verify_peer\" => false]);
         echo http(\"{at}/status/200\", [\"ssl_verify_peer\" => false]);
         echo http(\"{at}/status/200\", [\"tls_default_ca\" => true]);
         echo http(\"{at}/status/200\", [\"tls_default_ca\" => true, \"tls_verify_host\" => true]);
         echo http(\"{by_address}/status/200\", [\"tls_default_ca\" => true]);
         echo http(\"{by_address}/status/200\",
                   [\"tls_default_ca\" => true, \"tls_verify_host\" => true]);"
    );
    let names = |services: &mut Services| services.names = Arc::new(Configured { root });
    assert_eq!(
        run_with(&script, names),
        "none\nstatus 200\nstatus 200\nstatus 200\nstatus 200\nstatus 200\nnone"
    );
    let script = format!("echo http(\"{at}/status/200\", [\"tls_default_ca\" => true]);");
    assert_eq!(run(&script), "none", "the test's root is not one of the system's");
}

#[test]
fn the_client_certificate_is_the_one_of_the_options() {
    let server = Server::start(Scheme::Tls);
    let at = server.url();
    let script = format!(
        "function shown($options, $number = 0) {{
             $shown = http(\"{at}/certificate/$number\", [...$options, \"tls_verify_peer\" => false]);
             return is_string($shown) ? X509::String($shown)->subject()[1][1] : \"nobody\";
         }}
         echo shown([]);
         echo shown([\"tls_client_cert\" => \"pki:rsa\"]);
         echo shown([\"tls_client_cert\" => \"pki:rsa\"], 1);
         echo shown([\"ssl_client_cert\" => \"pki:ec\"]);
         echo shown([\"tls_client_cert\" => \"ec\", \"ssl_client_cert\" => \"pki:rsa\"]);
         echo shown([]);"
    );
    assert_eq!(
        run(&script),
        "nobody\nrsa.example.org\nTest CA\nec.example.org\nec.example.org\nnobody"
    );
    let error = error_of("http(\"https://h/\", [\"tls_client_cert\" => \"pki:bare\"]);");
    assert!(error.contains("pki:bare has no certificate with a private key"), "{error}");
}

struct Configured {
    root: String,
}

impl Names for Configured {
    fn source_address(&self, id: &str) -> Option<IpAddr> {
        (id == "second").then_some(IpAddr::from([127, 0, 0, 2]))
    }

    fn default_authorities(&self) -> tls_policy::RootStore {
        let mut store = tls_policy::RootStore::new();
        store.add_pem(self.root.as_bytes());
        store
    }
}

#[test]
fn the_source_address_is_the_one_asked_for() {
    let server = Server::start(Scheme::Clear);
    let at = server.url().replace("localhost", "127.0.0.1");
    let script = format!(
        "echo http(\"{at}/peer\", [\"sourceip\" => \"127.0.0.3\"]);
         echo http(\"{at}/peer\", [\"sourceipid\" => \"second\"]);
         echo http(\"{at}/peer\", [\"sourceip\" => \"::1\"]);"
    );
    let names = |services: &mut Services| {
        services.names = Arc::new(Configured { root: String::new() });
    };
    assert_eq!(run_with(&script, names), "127.0.0.3\n127.0.0.2\nnone");
}

#[test]
fn unix_sockets_and_proxies_are_ways_to_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let unix = Server::start(Scheme::Unix(path.clone()));
    let script = format!(
        "echo http(\"http://anything/header/host\", [\"unix_socket_path\" => \"{}\"]);",
        path.display()
    );
    assert_eq!(run(&script), "anything");
    drop(unix);

    let proxy = Server::start(Scheme::Clear);
    let tls = Server::start(Scheme::Tls);
    let through = proxy.authority();
    let script = format!(
        "$p = [\"proxy\" => \"http://u:p@{through}\", \"tls_verify_peer\" => false];
         echo http(\"http://nowhere.test/echo\", $p);
         echo http(\"{}/echo\", $p);
         echo http(\"http://nowhere.test/header/proxy-authorization\", $p);",
        tls.url()
    );
    assert_eq!(run(&script), "GET http://nowhere.test/echo - \nGET /echo - \nBasic dTpw");
    assert_eq!(proxy.tunnels(), 1);
}

#[test]
fn background_requests_are_sent_in_order_and_tried_again() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    let script = format!(
        "$o = [\"background\" => true, \"background_hash\" => 7];
         echo http(\"{at}/note/one\", $o, [], \"1\");
         $n = 0;
         echo http(\"{at}/note/two\", $o, [], function ($max) closure ($n) {{
             $n += 1;
             return $n == 1 ? \"2\" : \"\";
         }});
         $o[\"background_retry_count\"] = 2;
         echo http(\"{at}/fail-once/three\", $o);
         while (http(\"{at}/notes\") != \"one:1 two:2 three: \") {{ }}"
    );
    assert_eq!(run(&script), "true\ntrue\ntrue");
}

#[test]
fn a_background_request_that_fails_for_good_is_one_line_in_the_log() {
    let server = Server::start(Scheme::Clear);
    let at = server.url();
    let script = format!(
        "http(\"{at}/status/500?secret\", [\"background\" => true]);
         http(\"{at}/note/after\", [\"background\" => true]);
         while (http(\"{at}/notes\") != \"after: \") {{ }}"
    );
    let logged = run(&script);
    let expected = format!("syslog None 4 http background request to {at} failed: status 500");
    assert_eq!(logged, expected);
}

#[test]
fn wrong_arguments_are_errors() {
    let table = [
        ("http(\"http://h/\", [\"headers\" => [\"bad header: x\"]]);", "is no \"Name: value\""),
        (
            "http(\"http://h/\", [\"headers\" => [\"A: b\\r\\nC: d\"]]);",
            "the value of \"A\" has a line break",
        ),
        ("http(\"http://h/\", [\"method\" => \"A B\"]);", "is no HTTP method"),
        ("http(\"http://h/\", [\"timeout\" => -1]);", "must be a number of seconds"),
        ("http(\"http://h/\", [\"sourceip\" => \"x\"]);", "must be an IP address"),
        ("http(\"http://h/\", [\"connect_timeout\" => -1]);", "must be a number of seconds"),
        (
            "http(\"http://h/\", [\"connect_timeout\" => \"1\"]);",
            "\"connect_timeout\" must be a number",
        ),
        (
            "http(\"http://h/\", [\"max_file_size\" => \"1\"]);",
            "\"max_file_size\" must be a number",
        ),
        ("http(\"http://h/\", [\"redirects\" => true]);", "\"redirects\" must be a number"),
        (
            "http(\"http://h/\", [\"extended_result\" => 1]);",
            "\"extended_result\" must be a boolean",
        ),
        (
            "http(\"http://h/\", [\"response_headers\" => 1]);",
            "\"response_headers\" must be a boolean",
        ),
        ("http(\"http://h/\", [\"headers\" => \"A: b\"]);", "\"headers\" must be an array"),
        ("http(\"http://h/\", [\"background\" => 1]);", "\"background\" must be a boolean"),
        (
            "http(\"http://h/\", [\"background\" => true, \"background_hash\" => -1]);",
            "\"background_hash\" must not be negative",
        ),
        (
            "http(\"http://h/\", [\"background\" => true, \"background_retry_count\" => \"1\"]);",
            "\"background_retry_count\" must be a number",
        ),
        (
            "http(\"http://h/\", [\"background\" => true, \"background_retry_delay\" => -1]);",
            "must be a number of seconds",
        ),
        (
            "http(\"http://h/\", [\"tls_verify_peer\" => false, \"tls_verify_host\" => true]);",
            "needs \"tls_verify_peer\"",
        ),
        (
            "http(\"http://h/\", [\"unix_socket_path\" => 1]);",
            "\"unix_socket_path\" must be a string",
        ),
        ("http(\"http://h/\", [\"tls_default_ca\" => 1]);", "\"tls_default_ca\" must be a boolean"),
        ("http(\"http://h/\", [\"ssl_client_cert\" => \"pki:x\"]);", "pki:x has no certificate"),
        ("http(\"http://h/\", [\"sourceipid\" => \"x\"]);", "no address \"x\""),
        ("http(\"http://h/\", [\"proxy\" => \"socks5://h\"]);", "must be an http:// URL"),
        ("http(\"http://h/\", [\"tls_client_cert\" => \"pki:x\"]);", "pki:x has no certificate"),
        ("http(\"http://h/\", [], [], [\"a\" => function () {}]);", "value of type function"),
    ];
    for (script, expected) in table {
        let error = error_of(script);
        assert!(error.contains(expected), "{script}: {error}");
    }
}
