//! `queue()` in the shell: what goes to the server's control socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use control::command::Program;
use control::frame::{self, RequestDecoder};
use control::{Message, pb};

#[test]
fn a_message_that_is_queued_goes_to_the_server_as_a_queue_file() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("smtpd.ctl");
    let listener = UnixListener::bind(&socket).unwrap();
    let config = format!(
        "version: \"5.6\"\nservers: []\nenvironment:\n  controlsocket:\n    path: {}\n",
        socket.display()
    );
    std::fs::write(folder.path().join("smtpd.yaml"), config).unwrap();
    let script = r#"
        $id = MIME()->addHeader("Subject", "news")->setBody("hello")
            ->queue("Ann@example.org", ["localpart" => "bob", "domain" => "example.com"], "out",
                ["jobid" => "j", "metadata" => ["k" => "v"], "hold" => true]);
        echo $id;
        try { MIME()->queue("a@b", "", "out"); } catch ($e) { echo $e->message(); }"#;
    std::fs::write(folder.path().join("t.hsl"), script).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(folder.path())
        .args(["-c", "smtpd.yaml", "t.hsl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
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
    assert_eq!(request.command.letter, b'E');
    let request = pb::QueueImportRequest::decode(request.body.as_slice()).unwrap();
    let Some(pb::queue_import_request::data::Format::Hqf(file)) = request.data.unwrap().format
    else {
        panic!("no queue file");
    };
    let (stored, body) = spool::hqf::decode(&file.into()).unwrap();
    let transaction =
        queue_records::decode_transaction(stored.transaction, &stored.metadata, stored.body_len)
            .unwrap();
    let [row] = stored.rows.as_slice() else { panic!("one row") };
    let row = queue_records::decode_row(&transaction, row.queue, &row.row, &row.state).unwrap();
    assert_eq!(transaction.sender().to_string(), "Ann@example.org");
    assert_eq!(transaction.subject(), Some("news"));
    assert_eq!(
        (row.recipient.to_string().as_str(), row.transportid.as_str()),
        ("bob@example.com", "out")
    );
    assert_eq!(row.jobid.as_ref().map(|id| id.as_str()), Some("j"));
    assert_eq!(row.metadata.get("k"), Some("v"));
    assert_eq!(row.placement, queue::message::Placement::Hold);
    let body = String::from_utf8_lossy(&body);
    assert!(body.starts_with("Subject: news\r\n") && body.ends_with("hello"), "{body}");
    let mut answer = Vec::new();
    let response = pb::QueueImportResponse { transactionid: "the-id".into() };
    frame::encode_success(&response, &mut answer);
    stream.write_all(&answer).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text,
        "[\"transaction\"=>\"the-id\",\"queue\"=>1]\nnot an address: it is empty\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_server_that_is_not_there_is_an_error_of_the_script() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("absent.ctl");
    let config = format!(
        "version: \"5.6\"\nservers: []\nenvironment:\n  controlsocket:\n    path: {}\n",
        socket.display()
    );
    std::fs::write(folder.path().join("smtpd.yaml"), config).unwrap();
    std::fs::write(folder.path().join("t.hsl"), "MIME()->queue(\"a@b\", \"c@d\", \"t\");").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(folder.path())
        .args(["-c", "smtpd.yaml", "t.hsl"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("could not be queued") && error.contains("absent.ctl"), "{error}");
    assert_eq!(output.status.code(), Some(1));
}
