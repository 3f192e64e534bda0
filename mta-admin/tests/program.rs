//! The program itself: users, checks, and a start to end.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const CONFIGURATION: &str = "version: \"1.0\"\nlisteners:\n  - address: 127.0.0.1\n    port: 0\n";

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mta-admin"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses at once does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn configuration(directory: &Path) -> String {
    let file = directory.join("web.yaml");
    fs::write(&file, CONFIGURATION).unwrap();
    file.to_str().unwrap().to_owned()
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

#[test]
fn a_user_is_added_and_gets_a_new_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = configuration(directory.path());
    let check = run(&["--check", "-c", &file], "");
    assert!(text(&check.stdout).contains("no users"));
    let add = |password| run(&["user", "add", "eve", "--config", &file], password);
    let output = add("correct horse\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("\"eve\" added"));
    let users = directory.path().join("web-users.yaml");
    let first = fs::read_to_string(&users).unwrap();
    assert!(first.contains("username: \"eve\"") && first.contains("$argon2id$"));
    assert!(text(&add("another horse\n").stdout).contains("\"eve\" changed"));
    let second = fs::read_to_string(&users).unwrap();
    assert_ne!(first, second);
    assert_eq!(second.matches("username").count(), 1);
    let check = run(&["--check", "-c", &file], "");
    assert!(text(&check.stdout).contains("fine"));
}

#[test]
fn bad_names_and_passwords_write_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = configuration(directory.path());
    for (name, password, message) in [
        ("a b", "correct horse", "is no user name"),
        ("eve", "short\n", "at least 8 characters"),
        ("eve", "", "no password"),
    ] {
        let output = run(&["user", "add", name, "--config", &file], password);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn an_entry_can_be_printed_for_the_configuration() {
    let output = run(&["user", "add", "eve", "--print"], "correct horse\n");
    let printed = text(&output.stdout);
    assert!(printed.starts_with("users:\n  - username: \"eve\"\n"));
    let whole = format!("{CONFIGURATION}{printed}");
    assert_eq!(mta_admin::settings::parse(&whole, "web.yaml").unwrap().users.len(), 1);
}

#[test]
fn a_wrong_configuration_has_its_own_exit_code_and_names_the_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("web.yaml");
    fs::write(&file, format!("{CONFIGURATION}    prot: 1\n")).unwrap();
    let output = run(&["--check", "-c", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains(":5:5: error: listeners[0].prot: unknown key"));
    let output = run(&["-c", "/nonexistent/web.yaml"], "");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn the_program_serves_until_it_is_asked_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let file = configuration(directory.path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_mta-admin"))
        .args(["-c", &file])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut wait_for = |event: &str| {
        lines.find_map(|line| line.ok().filter(|line| line.contains(event))).expect("the event")
    };
    let line = wait_for("admin.listening");
    let address = line.split("address=").nth(1).unwrap().trim().to_owned();
    wait_for("admin.ready");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /login HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Nobody can log in yet"));
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    fs::write(&file, CONFIGURATION.replace("port: 0", "port: x")).unwrap();
    kill(pid, Signal::SIGHUP).unwrap();
    wait_for("admin.reload_failed");
    kill(pid, Signal::SIGTERM).unwrap();
    wait_for("admin.stopped");
    assert!(child.wait().unwrap().success());
}
