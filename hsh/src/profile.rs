//! `hsh --profile`: how long each line of a script took.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsl::Value;
use hsl::debug;
use hsl::host::{CallContext, Registry};
use parking_lot::Mutex;

/// Measures scripts. Clones share what was measured.
#[derive(Clone, Default)]
pub(crate) struct Profiler(Arc<Mutex<Profile>>);

/// What was measured so far.
#[derive(Default)]
struct Profile {
    lines: HashMap<Line, Measured>,
    /// The line that is running, since when.
    running: Option<(Line, Instant)>,
}

/// File and line.
type Line = (String, u32);

/// What was measured of one line.
#[derive(Default)]
struct Measured {
    /// How often a statement of the line was begun.
    count: u64,
    /// Waits included, functions that it calls and that have lines of their own not.
    time: Duration,
}

impl Profiler {
    /// Registers what the compiler calls between lines.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for (name, counts) in [(debug::STATEMENT, 1), (debug::RESUMED, 0)] {
            let profile = Arc::clone(&self.0);
            registry.function(
                &format!("{name}() -> none"),
                "called by the compiler",
                move |context: &mut CallContext<'_>, _| -> Value {
                    profile.lock().enter(context, counts);
                    Value::None
                },
            );
        }
    }

    /// The lines by the time they took, longest first: time, share, count, place.
    pub(crate) fn report(&self) -> String {
        let mut profile = self.0.lock();
        profile.leave(Instant::now());
        let mut lines: Vec<_> = std::mem::take(&mut profile.lines).into_iter().collect();
        lines.sort_by(|(a, x), (b, y)| y.time.cmp(&x.time).then_with(|| a.cmp(b)));
        let total: Duration = lines.iter().map(|(_, measured)| measured.time).sum();
        let mut out = format!("{:>12} {:>7} {:>10}  line\n", "ms", "share", "calls");
        for ((file, line), Measured { count, time }) in &lines {
            let share = match total.as_secs_f64() {
                0.0 => 0.0,
                total => 100.0 * time.as_secs_f64() / total,
            };
            let ms = time.as_secs_f64() * 1e3;
            let _ = writeln!(out, "{ms:>12.3} {share:>6.1}% {count:>10}  {file}:{line}");
        }
        let _ = writeln!(out, "{:>12.3} 100.0%", total.as_secs_f64() * 1e3);
        out
    }
}

impl Profile {
    /// A line begins or goes on. What this takes itself counts for no line.
    fn enter(&mut self, context: &CallContext<'_>, counts: u64) {
        self.leave(Instant::now());
        if let Some((file, place)) = context.location() {
            let line = (file, place.line);
            self.lines.entry(line.clone()).or_default().count += counts;
            self.running = Some((line, Instant::now()));
        }
    }

    fn leave(&mut self, now: Instant) {
        if let Some((line, since)) = self.running.take()
            && let Some(measured) = self.lines.get_mut(&line)
        {
            measured.time += now.saturating_duration_since(since);
        }
    }
}
