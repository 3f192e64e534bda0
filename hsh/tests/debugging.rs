//! `hsh --profile` and `hsh -C`: how long lines take, and scripts under a debugger.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use control::frame::{ResponseDecoder, Status};
use control::{Message, pb};

fn hsh(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hsh"));
    command.current_dir(folder).args(["-c", "/dev/null"]);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_profile_counts_statements_and_gives_time_to_the_line_that_took_it() {
    let folder = tempfile::tempdir().unwrap();
    let script = "function f($n) {\n  sleep(0.05);\n  return $n;\n}\n\
                  for ($i = 0; $i < 3; $i++)\n  $x = f($i) . f($i);\n\
                  $y = array_map(function ($v) {\n  return $v + 1;\n}, [1, 2, 3, 4]);\necho $x;\n";
    std::fs::write(folder.path().join("t.hsl"), script).unwrap();
    let output = hsh(folder.path()).args(["--profile", "t.hsl"]).output().unwrap();
    assert_eq!(text(&output.stdout), "22\n");
    let report = text(&output.stderr);
    let mut rows = Vec::new();
    for line in report.lines().skip(1).filter(|line| line.contains("t.hsl")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [ms, share, calls, place] = words.as_slice() else { panic!("{report}") };
        let share: f64 = share.trim_end_matches('%').parse().unwrap();
        rows.push((ms.parse::<f64>().unwrap(), share, calls.parse::<u64>().unwrap(), *place));
    }
    // Sleeping is by far the longest, and it is the line of sleep() that sleeps.
    assert_eq!(rows[0].3, "t.hsl:2", "{report}");
    assert!(rows[0].0 >= 300.0 && rows[0].1 > 50.0, "{report}");
    assert!(rows.windows(2).all(|pair| pair[0].0 >= pair[1].0), "{report}");
    let calls = |place: &str| rows.iter().find(|row| row.3 == place).map(|row| row.2);
    for (line, wanted) in [(2, 6), (3, 6), (5, 1), (6, 3), (7, 1), (8, 4), (10, 1)] {
        assert_eq!(calls(&format!("t.hsl:{line}")), Some(wanted), "line {line} of\n{report}");
    }
}

/// The debugger's end of the connection.
struct Debugger {
    stream: UnixStream,
    decoder: ResponseDecoder,
    input: Vec<u8>,
}

impl Debugger {
    fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    /// The next answer; `None` at the end of the connection.
    fn receive(&mut self) -> Option<(Status, Vec<u8>)> {
        loop {
            let mut rest = self.input.as_slice();
            let response = self.decoder.decode(&mut rest).unwrap();
            self.input = rest.to_vec();
            if let Some(response) = response {
                return Some((response.status, response.body));
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).unwrap();
            if count == 0 {
                return None;
            }
            self.input.extend_from_slice(&buffer[..count]);
        }
    }

    /// Waits for the next stop; lines of `echo` before it are added to `lines`.
    fn stop(&mut self, lines: &mut Vec<String>) -> Option<pb::HslBreakPointResponse> {
        loop {
            let (status, body) = self.receive()?;
            if status == Status::Log {
                lines.push(text(&pb::HslLogResponse::decode(body.as_slice()).unwrap().text));
                continue;
            }
            assert_eq!(status, Status::Success);
            return Some(pb::HslBreakPointResponse::decode(body.as_slice()).unwrap());
        }
    }
}

#[test]
fn a_debugger_sees_breakpoints_lines_and_the_exception_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("debug.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut child = hsh(folder.path())
        .args(["-C", "debug.sock", "-A", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = "function f($a) {\n  $b = [$a];\n__debug [\"stage\", \"7\"];  return $b;\n}\n\
                  function g() { return f(1); } echo \"one\";\ng();\necho \"two\";\nthrow \"broken\";\n";
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("version: \"5.6\"\n\x04{script}\x04").as_bytes()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut debugger = Debugger { stream, decoder: ResponseDecoder::default(), input: Vec::new() };
    debugger.send(&[5, 6, b'e']);
    let mut lines = Vec::new();
    let stop = debugger.stop(&mut lines).unwrap();
    assert_eq!(lines, ["one"]);
    assert_eq!((stop.id.as_str(), stop.debugid.as_str()), ("7", "stage"));
    let values = r#"{"a":{"format":"json","value":"1"},"b":{"format":"json","value":"[1]"}}"#;
    assert_eq!(stop.values, values);
    assert_eq!(stop.location.unwrap().beginline, 3);
    let calls: Vec<&str> = stop.callstack.iter().map(|frame| frame.function.as_str()).collect();
    assert_eq!(calls, ["g", "f"], "outermost first");
    debugger.send(b"f");
    assert_eq!(debugger.receive(), Some((Status::Success, Vec::new())));
    debugger.send(b"e");
    let stop = debugger.stop(&mut lines).unwrap();
    assert_eq!(lines, ["one", "two"]);
    assert_eq!((stop.id.as_str(), stop.location.unwrap().beginline), ("", 8));
    let thrown =
        r#"{"__throw":{"format":"json","value":"\"broken\"","uncaught":true,"message":"broken"}}"#;
    assert_eq!(stop.values, thrown);
    // An empty request.
    debugger.send(b"d\0\0\0\0\0\0\0\0");
    assert_eq!(debugger.receive(), Some((Status::Error, b"No breakpoint".to_vec())));
    debugger.send(b"f");
    assert_eq!(debugger.receive(), Some((Status::Success, Vec::new())));
    assert_eq!(debugger.receive(), None);
    let output = child.wait_with_output().unwrap();
    assert_eq!((text(&output.stdout), output.status.code()), (String::new(), Some(1)));
    assert!(text(&output.stderr).contains("broken"));
}

#[test]
fn a_debugger_that_hangs_up_ends_the_script() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("debug.sock")).unwrap();
    let config = "version: \"5.6\"\n__entrypoint: '__debug [\"s\", \"1\"]; forever sleep(1);'\n";
    std::fs::write(folder.path().join("app.yaml"), config).unwrap();
    let mut command = hsh(folder.path());
    command.args(["-C", "debug.sock", "-A", "app.yaml"]).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut debugger = Debugger { stream, decoder: ResponseDecoder::default(), input: Vec::new() };
    debugger.send(&[5, 6, b'e']);
    assert_eq!(debugger.stop(&mut Vec::new()).unwrap().id, "1");
    drop(debugger);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("hung up"), "{}", text(&output.stderr));
}

#[test]
fn a_waiting_debugger_hears_of_lines_at_once_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("debug.sock")).unwrap();
    // The script is given where a debugger gives it: standard input ends with the configuration.
    let script =
        "echo \"one\"; for ($i = 0; $i < 300000; $i += 1) $x = $i; sleep(0.2); echo \"two\";";
    let mut child = hsh(folder.path())
        .args(["-C", "debug.sock", "-A", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let config = format!(
        "version: \"5.6\"\n__entrypoint: 'include \"a.hsl\";'\n\
         scripting:\n  files:\n    - id: a.hsl\n      data: '{script}'\n"
    );
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut debugger = Debugger { stream, decoder: ResponseDecoder::default(), input: Vec::new() };
    debugger.send(&[5, 7, b'e']);
    let mut line = || {
        let (status, body) = debugger.receive().unwrap();
        (status, pb::HslLogResponse::decode(body.as_slice()).map(|log| text(&log.text)).ok())
    };
    assert_eq!(line(), (Status::Log, Some("one".to_owned())));
    assert_eq!(line(), (Status::Log, Some("two".to_owned())));
    assert_eq!(debugger.receive(), Some((Status::Error, b"No breakpoint".to_vec())));
    assert_eq!(debugger.receive(), None);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_debugger_that_hangs_up_ends_a_script_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("debug.sock")).unwrap();
    std::fs::write(folder.path().join("t.hsl"), "echo 1; sleep(3600);").unwrap();
    let mut command = hsh(folder.path());
    command.args(["-C", "debug.sock", "t.hsl"]).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut debugger = Debugger { stream, decoder: ResponseDecoder::default(), input: Vec::new() };
    debugger.send(&[5, 6, b'e']);
    assert_eq!(debugger.receive().unwrap().0, Status::Log);
    drop(debugger);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("hung up"), "{}", text(&output.stderr));
}

#[test]
fn breakpoints_do_nothing_without_a_debugger() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.hsl"), "__debug [\"a\", \"1\"]; echo 1;").unwrap();
    let output = hsh(folder.path()).arg("t.hsl").output().unwrap();
    assert_eq!((text(&output.stdout), output.status.code()), ("1\n".to_owned(), Some(0)));
}
