//! The program `smtpd` as a process in a folder of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;

/// What the program has said so far.
struct Log {
    text: Mutex<String>,
    /// There will be no more: the program has ended.
    is_over: AtomicBool,
    grown: Condvar,
}

/// A running `smtpd`; killed when dropped.
pub(crate) struct Program {
    child: Child,
    log: Arc<Log>,
    /// Where its server listens.
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts the program on the configuration in `dir` and waits until it is ready.
    pub(crate) fn start(dir: &Path) -> Self {
        let mut child = command(dir).stderr(Stdio::piped()).spawn().expect("smtpd starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut seen = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("smtpd ended:\n{seen}") };
            if let Some((_, address)) = line.split_once("daemon.ready server=default address=") {
                break address.trim().parse().expect("an address");
            }
            seen.push_str(&unquoted(&line));
            seen.push('\n');
        };
        let log = Arc::new(Log {
            text: Mutex::new(seen),
            is_over: AtomicBool::new(false),
            grown: Condvar::new(),
        });
        let for_reader = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut text = for_reader.text.lock().unwrap();
                text.push_str(&unquoted(&line));
                text.push('\n');
                for_reader.grown.notify_all();
            }
            let _text = for_reader.text.lock().unwrap();
            for_reader.is_over.store(true, Ordering::Relaxed);
            for_reader.grown.notify_all();
        });
        Self { child, log, address }
    }

    /// Waits for a line of the log with `word` in it; ten seconds at most.
    pub(crate) fn log_until(&self, word: &str) -> String {
        let text = self.log.text.lock().unwrap();
        let (text, _) = self
            .log
            .grown
            .wait_timeout_while(text, Duration::from_secs(10), |text| !text.contains(word))
            .unwrap();
        match text.lines().find(|line| line.contains(word)) {
            Some(line) => line.to_owned(),
            None => panic!("no {word} in the log:\n{text}"),
        }
    }

    /// What the log says so far.
    pub(crate) fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    /// Waits until the program has ended by itself; ten seconds at most.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let goes_on = |_: &mut String| !self.log.is_over.load(Ordering::Relaxed);
        let text = self.log.text.lock().unwrap();
        let waited = self.log.grown.wait_timeout_while(text, Duration::from_secs(10), goes_on);
        let (text, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "smtpd goes on:\n{text}");
        drop(text);
        self.child.wait().expect("a child of ours")
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGKILL: nothing is written any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of the log with quotes inside of quoted fields as the script wrote them.
fn unquoted(line: &str) -> String {
    line.replace("\\\"", "\"")
}

/// The program in the foreground, on the configuration in `dir`.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smtpd"));
    command.current_dir(dir).arg("-f").arg("-c").arg(dir.join("smtpd.yaml"));
    command
}

/// A configuration; `startup` and `running` are further lines of the two files.
pub(crate) fn configured(startup: &str, running: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let text = format!(
        "version: \"5.6\"\n\
         servers:\n  - id: default\n    listeners:\n      - port: 0\n        address: 127.0.0.1\n\
         spool:\n  path: {}\n\
         environment:\n  appconf: {}\n  pluginspath: {}\n  deliveryconf: {}\n  policyconf: {}\n  controlsocket:\n    path: {}\n\
         {startup}",
        at("queue"),
        at("smtpd-app.yaml"),
        at("plugins"),
        at("smtpd-delivery.yaml"),
        at("smtpd-policy.yaml"),
        at("smtpd.ctl"),
    );
    std::fs::write(dir.path().join("smtpd.yaml"), text).expect("writable");
    let text =
        format!("version: \"5.6\"\nservers:\n  - id: default\n    transport: out\n{running}");
    std::fs::write(dir.path().join("smtpd-app.yaml"), text).expect("writable");
    let text = "version: \"5.6\"\n\
                delivery:\n  default:\n    pooling:\n      enabled: true\n      timeout: 10\n";
    std::fs::write(dir.path().join("smtpd-delivery.yaml"), text).expect("writable");
    let text = "version: \"5.6\"\npolicies: []\n";
    std::fs::write(dir.path().join("smtpd-policy.yaml"), text).expect("writable");
    dir
}

/// Builds an example plugin with its own Makefile against the header in the tree.
pub(crate) fn build_plugin(example: &str, library: &str, into: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let source = root.join("packaging/examples/plugins").join(example);
    let copy = into.join(example);
    std::fs::create_dir_all(&copy).expect("writable");
    for entry in std::fs::read_dir(&source).expect("the example").flatten() {
        std::fs::copy(entry.path(), copy.join(entry.file_name())).expect("a copy");
    }
    let include = root.join("include").canonicalize().expect("the header's folder");
    let made = Command::new("make")
        .arg("-C")
        .arg(&copy)
        .arg(format!("INCLUDE={}", include.display()))
        .args(["CC=cc -Werror", "CXX=c++ -Werror"])
        .arg(library)
        .env("GOFLAGS", "-mod=mod -buildvcs=false")
        .output()
        .expect("make runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    copy.join(library)
}

/// Compiles a plugin against the header in the tree.
pub(crate) fn compile(source: &str, id: &str, into: &Path) -> PathBuf {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include");
    let (file, library) = (into.join(format!("{id}.c")), into.join(format!("{id}.so")));
    std::fs::write(&file, source).expect("writable");
    let made = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I"])
        .arg(include)
        .arg("-o")
        .arg(&library)
        .arg(&file)
        .output()
        .expect("cc runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    library
}
