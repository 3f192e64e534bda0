//! Text lines for syslog and standard error.
//!
//! A line is `[transaction:queue] event key=value …`. Values with spaces, quotes or control
//! characters are quoted, so that a line is always one line. Syslog gets them as datagrams on
//! `/dev/log` (RFC 3164 form, which both syslog daemons and the journal read).

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

/// Where lines go.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Program name in front of each syslog line.
    pub program: String,
    /// Socket of the syslog daemon; `None` sends nothing there.
    pub syslog: Option<PathBuf>,
    /// Priorities that go to syslog, one bit each: bit 0 is `emerg`, bit 7 `debug`.
    pub syslog_mask: u8,
    /// Whether lines also go to standard error.
    pub stderr: bool,
    /// Filter in the syntax of `tracing-subscriber`, such as `info` or `smtpd=debug`.
    pub filter: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            program: "smtpd".into(),
            syslog: Some("/dev/log".into()),
            syslog_mask: 0xff,
            stderr: true,
            filter: format!("info,{ECHO}=debug"),
        }
    }
}

/// Target of the lines that scripts `echo`. They are of priority `debug` and logged all the same:
/// [`Settings::syslog_mask`] can leave them out, and what else is of that priority is for developers.
pub const ECHO: &str = "script.echo";

/// Starts logging for the whole process; a second call changes nothing.
///
/// The environment variable `SMTPD_LOG` replaces the filter.
pub fn start(settings: Settings) -> Handle {
    let filter = EnvFilter::try_from_env("SMTPD_LOG")
        .or_else(|_| EnvFilter::try_new(&settings.filter))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails only when somebody else logs already, as tests do; theirs is kept.
    let lines = Lines::new(settings);
    let handle = Handle { syslog_mask: Arc::clone(&lines.syslog_mask) };
    let _ = Registry::default().with(filter).with(lines).try_init();
    handle
}

/// Changes what is logged once the configuration is known.
#[derive(Clone, Debug)]
pub struct Handle {
    syslog_mask: Arc<AtomicU8>,
}

impl Handle {
    /// Sets the priorities that go to syslog; see [`Settings::syslog_mask`].
    pub fn set_syslog_mask(&self, mask: u8) {
        self.syslog_mask.store(mask, Ordering::Relaxed);
    }
}

/// The layer that writes lines.
#[derive(Debug)]
pub struct Lines {
    settings: Settings,
    syslog_mask: Arc<AtomicU8>,
    syslog: Mutex<Option<UnixDatagram>>,
    dropped: AtomicU64,
}

impl Lines {
    /// Makes the layer; the syslog socket is opened with the first line.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let syslog_mask = Arc::new(AtomicU8::new(settings.syslog_mask));
        Self { settings, syslog_mask, syslog: Mutex::new(None), dropped: AtomicU64::new(0) }
    }

    fn write(&self, priority: u8, line: &str) {
        if self.settings.stderr {
            let now = jiff::ZonedDateTime::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
            let text = format!("{now} {} {line}\n", PRIORITIES[usize::from(priority & 7)]);
            // In one piece, so that no plugin's output gets in between. There is nobody to tell when
            // standard error is gone.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
        if self.settings.syslog.is_some()
            && self.syslog_mask.load(Ordering::Relaxed) & (1 << (priority & 7)) != 0
        {
            self.send(priority, line);
        }
    }

    fn send(&self, priority: u8, line: &str) {
        let Some(path) = &self.settings.syslog else { return };
        let Ok(mut socket) = self.syslog.lock() else { return };
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let note = if dropped > 0 { format!(" dropped_lines={dropped}") } else { String::new() };
        let datagram = format!(
            "<{}>{}[{}]: {line}{note}",
            FACILITY_MAIL << 3 | (priority & 7),
            self.settings.program,
            std::process::id()
        );
        // The daemon may have been restarted: connect again once. A full socket loses the line
        // rather than stop mail; the next line tells how many were lost.
        for _ in 0..2 {
            if socket.is_none() {
                *socket = UnixDatagram::unbound()
                    .and_then(|s| {
                        s.connect(path).and_then(|()| s.set_nonblocking(true)).map(|()| s)
                    })
                    .ok();
            }
            let Some(open) = socket.as_ref() else { break };
            match open.send(datagram.as_bytes()) {
                Ok(_) => return,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => *socket = None,
            }
        }
        self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let priority = fields.priority.unwrap_or(match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        });
        self.write(priority, &fields.line());
    }
}

/// The fields of one event on their way into a line.
#[derive(Default)]
struct Fields {
    id: String,
    queue: String,
    message: String,
    rest: String,
    priority: Option<u8>,
}

impl Fields {
    fn line(&self) -> String {
        match (self.id.is_empty(), self.queue.is_empty()) {
            (true, _) => format!("{}{}", self.message, self.rest),
            (false, true) => format!("[{}] {}{}", self.id, self.message, self.rest),
            (false, false) => format!("[{}:{}] {}{}", self.id, self.queue, self.message, self.rest),
        }
    }

    fn add(&mut self, name: &str, text: &str) {
        match name {
            "message" => text.clone_into(&mut self.message),
            "transaction" => text.clone_into(&mut self.id),
            "queue" => text.clone_into(&mut self.queue),
            _ => {
                self.rest.push(' ');
                self.rest.push_str(name);
                self.rest.push('=');
                quote(text, &mut self.rest);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(text, "{value:?}");
        self.add(field.name(), &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "priority" {
            self.priority = Some((value & 7) as u8);
        } else {
            self.add(field.name(), &value.to_string());
        }
    }
}

/// Appends a value, quoted when it is not one plain word.
fn quote(text: &str, out: &mut String) {
    let plain = !text.is_empty()
        && !text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\' | '='));
    if plain {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Facility `mail` (RFC 5424 §6.2.1).
const FACILITY_MAIL: u8 = 2;

/// Names of the priorities, by number.
const PRIORITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(mask: u8, emit: impl FnOnce()) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        server.set_nonblocking(true).unwrap();
        let settings = Settings {
            syslog: Some(path),
            syslog_mask: mask,
            stderr: false,
            ..Settings::default()
        };
        tracing::subscriber::with_default(Registry::default().with(Lines::new(settings)), emit);
        let mut lines = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok(len) = server.recv(&mut buffer) {
            lines.push(String::from_utf8_lossy(&buffer[..len]).into_owned());
        }
        lines
    }

    #[test]
    fn lines_begin_with_the_transaction_and_stay_one_line() {
        let lines = lines_of(0xff, || {
            tracing::info!(
                transaction = "abc",
                queue = 1_u64,
                error = "a \"b\"\nc",
                code = 250_u64,
                "queue.message_deferred"
            );
        });
        let pid = std::process::id();
        let expected = format!(
            "<22>smtpd[{pid}]: [abc:1] queue.message_deferred error=\"a \\\"b\\\"\\nc\" code=250"
        );
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn the_mask_and_the_priority_of_scripts_count() {
        let lines = lines_of(1 << 2, || {
            tracing::info!(priority = 2_u64, "script.logged");
            tracing::error!("spool.damaged");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("<18>"), "{lines:?}");
    }
}
