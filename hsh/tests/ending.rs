//! The end of the program while plugins have calls: the script is ended by a signal, or at its own end.

use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs a script, on standard input, with the plugin; returns what it did, and how long it took. The
/// signal is sent when the script has printed `1` and waits.
fn run(options: &[&str], script: &str, signal: Option<&str>) -> (Output, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let compiled = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread", "-I"])
        .arg(root.join("include"))
        .arg("-o")
        .arg(folder.path().join("ending.so"))
        .arg(root.join("tests/abi/plugins/ending.c"))
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let configuration = folder.path().join("hsh.yaml");
    let text = format!(
        "version: \"5.6\"\nservers: []\nenvironment:\n  pluginspath: {}\n",
        folder.path().display()
    );
    std::fs::write(&configuration, text).unwrap();
    let begin = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(folder.path())
        .args(["-p", "ending", "-c", "hsh.yaml"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let mut seen = Vec::new();
    while signal.is_some() && !seen.ends_with(b"1\n") {
        let mut octet = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut octet).unwrap();
        seen.push(octet[0]);
    }
    if let Some(signal) = signal {
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }
    let mut output = child.wait_with_output().unwrap();
    output.stdout.splice(..0, seen);
    (output, begin.elapsed())
}

/// What a script said, and the exit code.
fn said(options: &[&str], script: &str) -> (Vec<String>, Option<i32>) {
    of(run(options, script, None))
}

fn of((output, took): (Output, Duration)) -> (Vec<String>, Option<i32>) {
    assert!(took < Duration::from_secs(20), "{took:?}");
    let lines = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    (lines, output.status.code())
}

const INTERRUPTED: Option<i32> = Some(130);
const TERMINATED: Option<i32> = Some(143);

#[test]
fn a_signal_ends_a_parked_script_and_its_plugin_may_still_answer() {
    let script = "echo 1; end(\"park\", \"early\", 0); echo 2;";
    for (signal, code) in [("TERM", TERMINATED), ("INT", INTERRUPTED), ("HUP", Some(129))] {
        let (output, took) = run(&["-"], script, Some(signal));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let ended = of((output, took));
        let lines = ["called", "1", "early_cleanup", "given back", "cleanup"];
        assert_eq!(ended, (lines.map(str::to_owned).to_vec(), code));
    }
}

#[test]
fn a_plugin_that_answers_in_its_last_call_or_never_holds_nobody_up() {
    for (when, lines) in [
        ("late", "called 1 early_cleanup given back cleanup"),
        ("never", "called 1 early_cleanup cleanup"),
    ] {
        let script = format!("echo 1; end(\"park\", \"{when}\", 0); echo 2;");
        let (output, took) = run(&["-"], &script, Some("TERM"));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(error, "hsh: calls that plugins have not given back: 1\n");
        let (found, code) = of((output, took));
        assert_eq!((found.join(" ").as_str(), code), (lines, TERMINATED));
    }
}

#[test]
fn a_script_inside_of_a_plugin_gets_the_same_time_to_come_back() {
    let script = |when: &str| {
        format!(
            "echo 1; try {{ end(\"block\", \"{when}\", 15); }} catch ($e) {{ sleep(10); }} echo 2;"
        )
    };
    let (lines, code) = said(&["-"], &script("early"));
    assert_eq!(code, TERMINATED);
    let at = |wanted: &str| lines.iter().position(|line| line == wanted);
    assert!(at("unblocked").is_some() && at("unblocked") < at("cleanup"), "{lines:?}");
    // What was printed is not lost, and at its next wait the script has ended.
    assert!(at("1").is_some() && at("2").is_none(), "{lines:?}");
    let (lines, code) = said(&["-"], &script("late"));
    assert_eq!(code, TERMINATED);
    let at = |wanted: &str| lines.iter().position(|line| line == wanted);
    assert!(at("given back").is_some() && at("1").is_some() && at("2").is_none(), "{lines:?}");
    let (mut lines, code) = said(&["-"], &script("never"));
    assert_eq!(code, TERMINATED);
    assert_eq!(lines.pop().as_deref(), Some("1"));
    assert_eq!(lines, ["called", "early_cleanup", "cleanup"]);
}

#[test]
fn a_context_may_be_used_while_the_program_ends_and_finds_nothing() {
    for (end, code) in [("", 0), ("throw \"x\";", 1)] {
        let (lines, found) = said(&["-"], &format!("echo after(); {end}"));
        assert_eq!((lines.join(" ").as_str(), found), ("true early_cleanup cleanup", Some(code)));
    }
}

#[test]
fn lines_and_tests_are_ended_by_signals_too() {
    let (lines, code) = said(&[], "echo 1;\nend(\"park\", \"early\", 15);\necho 2;\n");
    assert_eq!(lines, ["1", "called", "early_cleanup", "given back", "cleanup"]);
    assert_eq!(code, TERMINATED);
    let folder = tempfile::tempdir().unwrap();
    let script = "end(\"park\", \"early\", 2); echo 2;";
    std::fs::write(folder.path().join("a.hsl"), script).unwrap();
    let (lines, code) = said(&["--test", &folder.path().display().to_string()], "");
    let text = lines.join("\n");
    assert!(text.contains("given back") && text.ends_with("cleanup"), "{text}");
    assert!(text.contains("a signal came before its end"), "{text}");
    assert_eq!(code, INTERRUPTED);
}

#[test]
fn scripts_without_plugins_are_ended_by_signals_wherever_they_are() {
    for script in ["while (true) { }", "sleep(1000);"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_hsh"))
            .current_dir(folder.path())
            .args(["-c", "/dev/null", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let script = format!("echo \"here\"; {script}");
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        assert_eq!(line, "here\n");
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert_eq!(child.wait().unwrap().code(), TERMINATED, "{script}");
    }
}

#[test]
fn an_interrupt_ends_the_line_that_runs_and_the_prompt_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_hsh"))
        .current_dir(folder.path())
        .args(["-c", "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    for (number, endless) in
        ["forever {}", "sleep(100)", "while (true) { $m = \"\" . $n; }"].into_iter().enumerate()
    {
        writeln!(stdin, "$n = {number}; echo \"here\"; {endless};").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "here", "{endless}");
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
        // What the line did before it was interrupted stays done.
        writeln!(stdin, "\"n is \" . $n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), format!("n is {number}"), "{endless}");
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error.matches("the line was interrupted").count(), 3, "{error}");
    assert_eq!(error.matches("line:1:").count(), 3, "{error}");
}
