//! Standard output: buffered while a script runs, flushed whenever it waits.

use std::io::{IsTerminal, Stdout, Write};
use std::sync::Arc;

use hsl::host::Echo;
use parking_lot::Mutex;

/// Where `echo` goes. Clones share one buffer.
#[derive(Clone)]
pub(crate) struct Output {
    inner: Arc<Mutex<std::io::BufWriter<Stdout>>>,
    /// Whether control characters are shown rather than sent.
    is_guarded: bool,
}

impl Output {
    /// Standard output. On a terminal control characters are shown as `\xhh`, so that data cannot
    /// drive the terminal, unless `binary` says otherwise.
    pub(crate) fn stdout(binary: bool) -> Self {
        let stdout = std::io::stdout();
        let is_guarded = stdout.is_terminal() && !binary;
        Self { inner: Arc::new(Mutex::new(std::io::BufWriter::new(stdout))), is_guarded }
    }

    /// Writes what is buffered. A reader that went away ends nothing: the script may have effects.
    pub(crate) fn flush(&self) {
        let _ = self.inner.lock().flush();
    }
}

impl Output {
    /// Writes a line as a script's `echo` does.
    pub(crate) fn line(&self, text: &[u8]) {
        let mut out = self.inner.lock();
        let _ = if self.is_guarded { out.write_all(&guard(text)) } else { out.write_all(text) };
        let _ = out.write_all(b"\n");
    }
}

impl Echo for Output {
    fn echo(&mut self, text: &[u8]) {
        self.line(text);
    }
}

fn guard(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'\n' | b'\t' => out.push(byte),
            byte if byte < 0x20 || byte == 0x7f => out.extend(format!("\\x{byte:02x}").bytes()),
            byte => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_on_a_terminal() {
        assert_eq!(guard("å\x1b[1m\r\n\t".as_bytes()), "å\\x1b[1m\\x0d\n\t".as_bytes());
    }
}
