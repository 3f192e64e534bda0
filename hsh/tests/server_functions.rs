//! The functions of a server in the shell: what goes to its control socket, and what comes back.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use control::command::Program;
use control::frame::{self, Request, RequestDecoder};
use control::{Message, pb};

/// Runs a script with the control socket `smtpd.ctl`.
fn run(folder: &Path, running: &str, script: &str) -> Output {
    let config = format!(
        "version: \"5.6\"\nservers: []\nenvironment:\n  controlsocket:\n    path: {}\n",
        folder.join("smtpd.ctl").display()
    );
    std::fs::write(folder.join("smtpd.yaml"), config).unwrap();
    std::fs::write(folder.join("app.yaml"), format!("version: \"5.6\"\n{running}")).unwrap();
    std::fs::write(folder.join("t.hsl"), script).unwrap();
    Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(folder)
        .args(["-c", "smtpd.yaml", "-A", "app.yaml", "t.hsl"])
        .output()
        .unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Takes as many requests, one a connection, and answers each by its letter.
fn serve(
    listener: UnixListener,
    count: usize,
    answer: fn(&Request) -> Result<Vec<u8>, &'static str>,
) -> std::thread::JoinHandle<Vec<Request>> {
    std::thread::spawn(move || {
        let mut requests = Vec::new();
        for _ in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            let mut decoder = RequestDecoder::new(Program::Smtpd);
            let request = loop {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "no request came");
                if let Some(request) = decoder.decode(&mut &buffer[..count]).unwrap() {
                    break request;
                }
            };
            let mut out = Vec::new();
            match answer(&request) {
                Ok(body) => frame::encode_response(frame::Status::Success, &body, &mut out),
                Err(error) => frame::encode_error(error, &mut out),
            }
            stream.write_all(&out).unwrap();
            requests.push(request);
        }
        requests
    })
}

const SCRIPT: &str = r#"
echo queue_suspend(["transportid" => "out", "remotemx" => "*.example.org"], 60, ["tag" => "slow", "id" => "s1"]);
echo queue_policy(["remotemx", "jobid"], ["remotemx" => "/mx/"],
    ["concurrency" => 3, "rate" => [10, 60], "tag" => "t", "properties" => ["k" => "v"]], 0);
echo queue_policy_delete("p1");
echo queue_quota("q");
echo server_concurrency("in");
echo server_concurrency("in", "192.0.2.1");
echo queue_policy(["jobid"], [], [], 1);
foreach ([["update" => false], ["properties" => ["a" => 1]]] as $options)
    try { queue_suspend(["jobid" => "x"], 1, $options); } catch ($e) { echo $e->message(); }
"#;

#[test]
fn rules_and_questions_go_to_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("smtpd.ctl")).unwrap();
    let server = serve(listener, 7, |request| {
        Ok(match request.command.letter {
            b't' => pb::SuspendAddResponse { id: "s1".into() }.encode_to_vec(),
            b'w' if request.body.windows(4).all(|octets| octets != b"/mx/") => {
                return Err("no policy with these fields is configured");
            }
            b'w' => pb::PolicyConditionAddResponse { id: "p1".into() }.encode_to_vec(),
            b'x' => pb::PolicyConditionDeleteResponse { affected: 1 }.encode_to_vec(),
            b'I' => pb::QueueQuotaResponse { count: 2, bytes: 30 }.encode_to_vec(),
            b'q' => {
                let connections = pb::process_stats_response::server::Connections {
                    concurrent: 5,
                    maxconcurrent: 9,
                };
                let server = pb::process_stats_response::Server {
                    serverid: "in".into(),
                    connections: Some(connections),
                    ..Default::default()
                };
                pb::ProcessStatsResponse { servers: vec![server], ..Default::default() }
                    .encode_to_vec()
            }
            b'U' => pb::ServerConnectionsListResponse {
                connections: vec![Default::default(), Default::default()],
            }
            .encode_to_vec(),
            other => panic!("{other}"),
        })
    });
    let output = run(folder.path(), "", SCRIPT);
    let wanted = "[\"id\"=>\"s1\"]\n[\"id\"=>\"p1\"]\ntrue\n[\"count\"=>2,\"bytes\"=>30]\n5\n2\n\
                  none\n\
                  queue_suspend: update works in the scripts of the server only\n\
                  queue_suspend: properties works in the scripts of the server only\n";
    assert_eq!((text(&output.stderr), text(&output.stdout)), (String::new(), wanted.to_owned()));
    let requests = server.join().unwrap();
    let suspend = pb::SuspendAddRequest::decode(requests[0].body.as_slice()).unwrap();
    let wanted = pb::SuspendAddRequest {
        id: "s1".into(),
        transportid: "out".into(),
        remotemx: "*.example.org".into(),
        ttl: 60.0,
        tag: "slow".into(),
        ..Default::default()
    };
    assert_eq!(suspend, wanted);
    let policy = pb::PolicyConditionAddRequest::decode(requests[1].body.as_slice()).unwrap();
    let fields = pb::Fields { remotemx: true, jobid: true, ..Default::default() };
    assert_eq!((policy.fields, policy.ttl), (Some(fields), 0.0));
    let remotemx = Some(pb::StringValue { value: "/mx/".into() });
    assert_eq!(policy.r#if, Some(pb::PolicyIf { remotemx, ..Default::default() }));
    let then = policy.then.unwrap();
    assert_eq!((then.concurrency, then.tag.as_str(), then.stop), (3, "t", false));
    assert_eq!(then.rate, Some(pb::PolicyRate { count: 10, interval: 60.0 }));
    assert_eq!(then.properties.get("k").map(String::as_str), Some("v"));
    let list = pb::ServerConnectionsListRequest::decode(requests[5].body.as_slice()).unwrap();
    let condition = list.condition.unwrap();
    assert_eq!((condition.serverid.as_str(), condition.remoteip.as_str()), ("in", "192.0.2.1"));
}

#[test]
fn without_the_server_questions_have_answers_and_rules_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo [queue_quota(\"q\"), server_concurrency(\"in\")];\n\
                  queue_suspend([\"jobid\" => \"x\"], 60);";
    let output = run(folder.path(), "", script);
    assert_eq!(text(&output.stdout), "[0=>[\"count\"=>0,\"bytes\"=>0],1=>none]\n");
    let error = text(&output.stderr);
    assert!(error.contains("queue_suspend: there is no control socket at"), "{error}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn metrics_are_those_of_the_running_configuration_with_their_types() {
    let folder = tempfile::tempdir().unwrap();
    let running = "monitor:\n  metrics:\n    - name: c\n      type: counter\n    \
                   - name: h\n      type: histogram\n      buckets: [1, 5]\n";
    let script = "echo [metrics_increment(\"c\", [], 2), metrics_decrement(\"c\", []),\n\
                  metrics_set(\"h\", [], 3), metrics_set(\"other\", [], 1)];\n\
                  echo [metrics_get(\"c\", [])[\"value\"], metrics_get(\"h\", [])[\"count\"]];";
    let output = run(folder.path(), running, script);
    let wanted = "[0=>true,1=>none,2=>true,3=>none]\n[0=>2,1=>1]\n";
    assert_eq!((text(&output.stderr), text(&output.stdout)), (String::new(), wanted.to_owned()));
}
