//! The program as the shell sees it: output, errors, exit codes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn hsh(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hsh"));
    command.current_dir(folder).args(["-c", "/dev/null"]);
    command
}

fn script(text: &str) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.hsl"), text).unwrap();
    let output = hsh(folder.path()).arg("t.hsl").output().unwrap();
    (folder, output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn each_echo_is_a_line() {
    let (_folder, output) = script("#!/usr/bin/env hsh\necho 1 + 2;\necho \"å\\x00\";");
    assert_eq!(text(&output.stdout), "3\nå\0\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_uncaught_error_shows_its_place_and_fails() {
    let (_folder, output) = script("echo 1;\nthrow \"broken\";");
    assert_eq!(text(&output.stdout), "1\n");
    let error = text(&output.stderr);
    assert!(error.contains("broken") && error.contains("t.hsl:2"), "{error}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_syntax_error_fails_without_running() {
    let (folder, output) = script("echo 1;\necho (;");
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("t.hsl:2"));
    assert_eq!(output.status.code(), Some(1));
    let checked = hsh(folder.path()).args(["-s", "t.hsl"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    std::fs::write(folder.path().join("t.hsl"), "echo 1;").unwrap();
    let checked = hsh(folder.path()).args(["-s", "t.hsl"]).output().unwrap();
    assert_eq!((checked.status.code(), text(&checked.stdout)), (Some(0), String::new()));
}

#[test]
fn a_script_on_standard_input_ends_with_eot() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        hsh(folder.path()).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"echo 7;\n\x04").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "7\n");
}

#[test]
fn imports_come_from_the_root_from_neighbours_and_from_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::create_dir(path.join("root")).unwrap();
    std::fs::write(path.join("root/a.hsl"), "function a() { return \"root\"; }").unwrap();
    std::fs::write(path.join("b.hsl"), "function b() { return \"neighbour\"; }").unwrap();
    std::fs::write(path.join("d.csv"), "n\n5\n").unwrap();
    std::fs::write(
        path.join("app.yaml"),
        "version: \"5.6\"\nscripting:\n  files:\n    - id: lib/c.hsl\n      \
         data: 'function c() { return \"configured\"; }'\n",
    )
    .unwrap();
    std::fs::write(
        path.join("t.hsl"),
        "import { a } from \"file://a.hsl\";\nimport { b } from \"./b.hsl\";\n\
         import { c } from \"lib/c.hsl\";\n\
         import $d from \"./d.csv\" with [\"schema\" => [\"n\" => [\"type\" => \"number\"]]];\n\
         echo a() . \" \" . b() . \" \" . c();\necho $d;\necho File::read(\"file://a.hsl\")[0:8];",
    )
    .unwrap();
    let output = hsh(path).args(["-R", "root", "-A", "app.yaml", "t.hsl"]).output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "root neighbour configured\n[0=>[\"n\"=>5]]\nfunction\n");
}

#[test]
fn ffi_needs_the_option_or_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(
        path.join("t.hsl"),
        "echo FFI::number(FFI::cnumber(FFI::type(\"uint8\"), 257));",
    )
    .unwrap();
    std::fs::write(path.join("smtpd.yaml"), "version: \"5.6\"\nscripting:\n  ffi: true\n").unwrap();
    let refused = hsh(path).arg("t.hsl").output().unwrap();
    assert!(text(&refused.stderr).contains("FFI is not allowed"));
    let allowed = hsh(path).args(["--ffi", "t.hsl"]).output().unwrap();
    assert_eq!(text(&allowed.stdout), "1\n");
    let configured = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(path)
        .args(["-c", "smtpd.yaml", "t.hsl"])
        .output()
        .unwrap();
    assert_eq!((text(&configured.stderr), text(&configured.stdout)), ("".into(), "1\n".into()));
}

#[test]
fn sleeping_waits_on_the_runtime() {
    let (_folder, output) = script("$t = sleep(0.01);\necho $t >= 0.01 and $t < 5;");
    assert_eq!(text(&output.stdout), "true\n");
}

#[test]
fn a_configuration_that_is_named_and_missing_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .args(["-c", "/nonexistent/smtpd.yaml", "-"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("/nonexistent/smtpd.yaml"));
}

#[test]
fn functions_are_listed_as_json() {
    let output = Command::new(env!("CARGO_BIN_EXE_hsh")).arg("--json-functions").output().unwrap();
    let listed = text(&output.stdout);
    assert!(listed.contains("\"name\": \"array_sort\"") && listed.contains("\"name\": \"File\""));
}

#[test]
fn the_version_is_printed() {
    for option in ["-v", "--version"] {
        let output = Command::new(env!("CARGO_BIN_EXE_hsh")).arg(option).output().unwrap();
        assert_eq!(text(&output.stdout), format!("hsh {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn keys_of_the_configuration_are_named_by_their_id() {
    let folder = tempfile::tempdir().unwrap();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/hsl-std/tests/keys/rsa.key");
    std::fs::copy(key, folder.path().join("rsa.key")).unwrap();
    let config = "version: \"5.6\"\npki: {private: [{id: a, privatekey: {path: rsa.key}}, {id: b, privatekey: {path: none.key}}]}";
    std::fs::write(folder.path().join("app.yaml"), config).unwrap();
    let script = "echo length(rsa_sign(\"text\", \"pki:a\", [\"id\" => true]));
                  echo rsa_sign(\"text\", \"pki:b\", [\"id\" => true]) === none;
                  echo rsa_sign(\"text\", \"pki:c\", [\"id\" => true]) === none;";
    std::fs::write(folder.path().join("t.hsl"), script).unwrap();
    let output = hsh(folder.path()).args(["-A", "app.yaml", "t.hsl"]).output().unwrap();
    assert_eq!(text(&output.stdout), "256\ntrue\ntrue\n", "{}", text(&output.stderr));
}
