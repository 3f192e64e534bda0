//! `halonconfig` as the shell sees it.

use std::path::Path;
use std::process::{Command, Output};

fn halonconfig(folder: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halonconfig"));
    command.current_dir(folder).args(options).output().unwrap()
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const STARTUP: &str =
    "version: \"5.6\" # a comment\nservers:\n  - id: in\n    listeners:\n      - port: 25\n";

const RUNNING: &str = "version: \"5.6\"\nservers:\n  - id: in\n    transport: out\n    phases:\n      connect:\n        \
    hook: greet\n      rcptto:\n        hook:\n          id: rcpt\n          recipientdomains:\n            \
    a.example: rcpt-a\n            b.example: rcpt\n      eod:\n        hook: spam/main\n\
    transportgroups:\n  - id: group\n    transports:\n      - id: out\n        connection:\n          port: 25\n\
    scripting:\n  files:\n    - id: old.txt\n      data: old\n    - id: lib/kept.hsl\n      data: kept\n";

fn sources() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "src/config/smtpd.yaml", STARTUP);
    write(path, "src/config/smtpd-app.yaml", RUNNING);
    write(path, "src/hooks/connect/greet.hsl", "Accept();\n");
    write(path, "src/hooks/connect/unused.hsl", "Reject();\n");
    write(path, "src/hooks/rcptto/rcpt.hsl", "Accept();");
    write(path, "src/hooks/rcptto/rcpt-a.hsl", "Reject();");
    write(path, "src/hooks/eod/spam/main.hsl", "if (true) {\n  Accept();\n}\n");
    write(path, "src/hooks/queue/predelivery.hsl", "Try();");
    write(path, "src/files/old.txt", "new");
    write(path, "src/files/lib/a.hsl", "echo 1;\necho 2;\n");
    write(path, "src/files/logo.png", b"\x89PNG\xff");
    write(path, "src/files/.hidden/x", "x");
    write(path, "src/files/lib/notes.md", "x");
    write(path, "src/files/lib/a.bak", "x");
    write(path, "src/files/.halonignore", "# notes\nlib/*.md\n");
    write(path, "settings.yaml", "smtpd:\n  build:\n    exclude:\n      - \"*.bak\"\n");
    folder
}

#[test]
fn scripts_and_files_are_packed_and_come_out_again() {
    let folder = sources();
    let path = folder.path();
    let output = halonconfig(path, &[]);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let startup = std::fs::read_to_string(path.join("dist/smtpd.yaml")).unwrap();
    assert_eq!(startup, STARTUP, "as it is");
    let running = std::fs::read_to_string(path.join("dist/smtpd-app.yaml")).unwrap();
    let loaded = config::load_running(&running, "smtpd-app.yaml").unwrap().config;
    let hooks = &loaded.scripting.hooks;
    let ids = |hooks: &dyn Fn() -> Vec<String>| hooks();
    assert_eq!(ids(&|| hooks.connect.keys().map(ToString::to_string).collect()), ["greet"]);
    assert_eq!(ids(&|| hooks.rcptto.keys().map(ToString::to_string).collect()), ["rcpt", "rcpt-a"]);
    assert_eq!(&*hooks.eod["spam/main"], "if (true) {\n  Accept();\n}\n");
    assert_eq!(hooks.predelivery.as_deref(), Some("Try();"));
    assert!(hooks.postdelivery.is_none());
    let files: Vec<(String, Vec<u8>)> = loaded
        .scripting
        .files
        .values()
        .map(|file| match &file.source {
            config::Source::Data(data) => (file.id.to_string(), data.to_vec()),
            config::Source::Path(path) => panic!("{path:?}"),
        })
        .collect();
    let file = |id: &str, data: &[u8]| (id.to_owned(), data.to_vec());
    assert_eq!(
        files,
        [
            file("lib/kept.hsl", b"kept"),
            file("lib/a.hsl", b"echo 1;\necho 2;\n"),
            file("logo.png", b"\x89PNG\xff"),
            file("old.txt", b"new"),
        ]
    );
    assert!(running.contains("data: |\n"), "long texts are blocks: {running}");

    let output = halonconfig(path, &["--unpack", "--src-dir", "again"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    for name in
        ["hooks/connect/greet.hsl", "hooks/eod/spam/main.hsl", "hooks/queue/predelivery.hsl"]
    {
        let read = |top: &str| std::fs::read(path.join(top).join(name)).unwrap();
        assert_eq!(read("again"), read("src"), "{name}");
    }
    assert_eq!(std::fs::read(path.join("again/files/logo.png")).unwrap(), b"\x89PNG\xff");
    let left = std::fs::read_to_string(path.join("again/config/smtpd-app.yaml")).unwrap();
    assert!(!left.contains("scripting"), "{left}");
    // And packs to the same.
    let options = ["--src-dir", "again", "--dist-dir", "dist2"];
    assert_eq!(halonconfig(path, &options).status.code(), Some(0));
    let again = std::fs::read_to_string(path.join("dist2/smtpd-app.yaml")).unwrap();
    let again = config::load_running(&again, "smtpd-app.yaml").unwrap().config;
    assert_eq!(again.scripting.hooks, loaded.scripting.hooks);
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_written() {
    let folder = sources();
    let path = folder.path();
    write(
        path,
        "src/config/smtpd-app.yaml",
        RUNNING.replace("transport: out", "transport: nowhere"),
    );
    let output = halonconfig(path, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("nowhere"), "{}", text(&output.stderr));
    assert!(!path.join("dist").exists());

    write(path, "src/config/smtpd-app.yaml", RUNNING);
    std::fs::remove_file(path.join("src/hooks/rcptto/rcpt-a.hsl")).unwrap();
    let output = halonconfig(path, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("rcptto/rcpt-a.hsl"), "{}", text(&output.stderr));

    write(path, "src/hooks/rcptto/rcpt-a.hsl", "Reject();");
    write(path, "src/config/smtpd.yaml", "version: [");
    let output = halonconfig(path, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("smtpd.yaml:1"), "{}", text(&output.stderr));

    std::fs::remove_dir_all(path.join("src/config")).unwrap();
    assert!(text(&halonconfig(path, &[]).stderr).contains("no configuration file"));
}

#[test]
fn a_check_writes_nothing_and_old_files_leave_the_result() {
    let folder = sources();
    let path = folder.path();
    assert_eq!(halonconfig(path, &["--check"]).status.code(), Some(0));
    assert!(!path.join("dist").exists());
    write(path, "dist/smtpd-policy.yaml", "version: \"5.6\"\n");
    write(path, "dist/notes.txt", "mine");
    assert_eq!(halonconfig(path, &[]).status.code(), Some(0));
    assert!(!path.join("dist/smtpd-policy.yaml").exists());
    assert!(path.join("dist/notes.txt").exists());
}

#[test]
fn an_id_cannot_lead_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(
        path,
        "dist/smtpd-app.yaml",
        "version: \"5.6\"\nscripting:\n  files:\n    - id: ../../out\n      data: x\n",
    );
    let output = halonconfig(path, &["--unpack"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("../../out"));
    assert!(!path.join("out").exists());
}
