//! The prompt on a terminal: a pseudo terminal types, and `hsh` is the program in front of it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use nix::pty::openpty;

/// Somebody at a terminal.
struct Terminal {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What came since it was looked at last.
    seen: String,
    child: Child,
}

impl Terminal {
    /// Starts `hsh` with the terminal as its own, as a shell does.
    fn start(folder: &std::path::Path) -> Self {
        let pty = openpty(None, None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_hsh"), "-c", "/dev/null"])
            .current_dir(folder)
            .env("HOME", folder)
            .env("TERM", "xterm")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        drop(pty.slave);
        let keyboard = File::from(pty.master);
        let mut reader = keyboard.try_clone().unwrap();
        let (sender, screen) = sync_channel(1024);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of a terminal is an error.
            while let Ok(count) = reader.read(&mut buffer)
                && count > 0
                && sender.send(buffer[..count].to_vec()).is_ok()
            {}
        });
        Self { keyboard, screen, seen: String::new(), child }
    }

    /// Types faster than anybody can: all keys are there at once.
    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for something to be shown.
    fn look(&mut self) {
        let Ok(octets) = self.screen.recv_timeout(PATIENCE) else {
            panic!("nothing more on the screen: {:?}", self.seen);
        };
        self.seen.push_str(&String::from_utf8_lossy(&octets));
    }

    /// Waits until the screen shows a text, and forgets what stands up to it.
    fn wait_for(&mut self, text: &str) {
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            self.look();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed leaves nobody at the prompt.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

#[test]
fn ctrl_c_ends_the_line_that_runs_or_is_typed_and_not_the_shell() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for("hsh> ");
    // What is shown is not what is typed, so that the echo of the terminal is not taken for it.
    terminal.type_in("$x = 5; echo \"sta\" . \"rted\"; forever sleep(0.05);\r");
    terminal.wait_for("started");
    terminal.type_in(CTRL_C);
    terminal.wait_for("the line was interrupted");
    terminal.wait_for("hsh> ");
    // A loop that never waits ends as well.
    terminal.type_in("echo \"lo\" . \"op\"; forever { $x += 1; }\r");
    terminal.wait_for("loop");
    terminal.type_in(CTRL_C);
    terminal.wait_for("the line was interrupted");
    terminal.wait_for("hsh> ");
    // A line that is typed is given up.
    terminal.type_in("echo 1 +");
    terminal.wait_for("+");
    terminal.type_in(CTRL_C);
    terminal.wait_for("hsh> ");
    terminal.type_in("echo 40 + 2 . \"!\";\r");
    terminal.wait_for("42!");
    terminal.wait_for("hsh> ");
    terminal.type_in(CTRL_D);
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
}

#[test]
fn ctrl_c_at_an_empty_prompt_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for("hsh> ");
    // Nothing runs: the key belongs to the prompt, however often it is pressed.
    for _ in 0..3 {
        terminal.type_in(CTRL_C);
        terminal.wait_for("hsh> ");
    }
    terminal.type_in(CTRL_D);
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
}

#[test]
fn later_lines_build_on_earlier_ones_and_may_replace_them() {
    let folder = tempfile::tempdir().unwrap();
    let lib = "$list = [1]; function f() { return \"lib\"; } class C { static function s() { return 1; } }";
    std::fs::write(folder.path().join("lib.hsl"), lib).unwrap();
    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for("hsh> ");
    let mut say = |line: &str, answer: &str| {
        terminal.type_in(&format!("{line}\r"));
        terminal.wait_for("\r\n");
        terminal.wait_for(answer);
        terminal.wait_for("hsh> ");
    };
    say("function f() { return \"one\"; } f();", "");
    say("f() . \"!\" // shown", "one!");
    say("function f() { return \"two\"; }", "");
    say("f() . \"!\"", "two!");
    // Variables that a module brings, and functions in place of one's own.
    say("import { $list, f } from \"lib.hsl\"", "");
    say("$list + f()", "[0=>1,1=>\"lib\"]");
    say("import * as lib from \"lib.hsl\";", "");
    say("$a = 20; $b = $a + lib::C::s(); $b * 2", "42");
    // What fails leaves everything as it was.
    say("function f() { return $x; } throw \"no\" . \"pe\";", "nope");
    say("f() . $a", "lib20");
    // The error is about what was typed.
    say("nothing()", "there is no function nothing");
    terminal.type_in("foreach ([1, 2] as $number)\r");
    terminal.wait_for("...> ");
    terminal.type_in("echo $number . \"nd\";\r");
    terminal.wait_for("2nd");
    terminal.wait_for("hsh> ");
    terminal.type_in("exit\r");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_prompt_says_how_to_get_help_and_how_to_leave() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path());
    terminal.wait_for(": type help for help, Ctrl-D to leave");
    terminal.wait_for("hsh> ");
    terminal.type_in("help\r");
    terminal.wait_for("Tab completes names");
    terminal.wait_for("hsh> ");
    // A function of the user's own that has the name is called with brackets.
    terminal.type_in("function help() { return \"of \" . \"mine\"; }\r");
    terminal.wait_for("hsh> ");
    terminal.type_in("help()\r");
    terminal.wait_for("of mine");
    terminal.wait_for("hsh> ");
    terminal.type_in("quit;\r");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
}
