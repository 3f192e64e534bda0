//! The terminal of `halontop`: a screen of its own, keys without Enter, and everything put back at the
//! end, also when the program panics.

use std::{
    io::{self, Write},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    stdio::{stdin, stdout},
    termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr},
};

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Left,
    Right,
    Quit,
    Other,
}

/// Says whether people look and type here.
pub(super) fn is_here() -> bool {
    isatty(stdin()) && isatty(stdout())
}

/// The terminal while it is ours.
pub(super) struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Takes the terminal over.
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut modes = before.clone();
        // Ctrl-C comes as a key, so that the terminal is put back.
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(stdin(), OptionalActions::Now, &modes)?;
        let terminal = Self { before };
        write(ENTER)?;
        Ok(terminal)
    }

    /// Shows as much of `text` as there is room for.
    pub(super) fn show(&self, text: &str) -> io::Result<()> {
        // Terminals over some serial lines and pipes do not know their size: 0.
        let rows = tcgetwinsize(stdout()).map_or(0, |size| usize::from(size.ws_row));
        let rows = if rows == 0 { 24 } else { rows };
        let lines: Vec<&str> = text.lines().take(rows).collect();
        // Each line clears what stood behind it, the last one what stood below: no flicker.
        write(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")))
    }

    /// Waits for a key; `None` after `timeout`.
    pub(super) fn key(&self, timeout: Duration) -> io::Result<Option<Key>> {
        let stdin = stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(None),
            // The window changed its size: show again.
            Err(rustix::io::Errno::INTR) => return Ok(Some(Key::Other)),
            result => result?,
        };
        let mut octet = [0; 1];
        let count = rustix::io::read(stdin, &mut octet)?;
        Ok(Some(match octet {
            _ if count == 0 => Key::Quit,
            [b'q' | b'Q' | CTRL_C] => Key::Quit,
            [b'<' | b','] => Key::Left,
            [b'>' | b'.'] => Key::Right,
            _ => Key::Other,
        }))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone.
        let _ = write(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Another screen, no cursor, no wrapping of long lines.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const CTRL_C: u8 = 3;
