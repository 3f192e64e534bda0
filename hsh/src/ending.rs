//! The end: of scripts by signals, and of the program with plugins that still have calls.
//!
//! Scripts run on a thread of their own, and the main thread watches. SIGINT, SIGTERM or SIGHUP ends
//! the script where it waits or at its next slice. Then, as at any end, plugins hear of it
//! (`Halon_early_cleanup`), get [`GRACE`] to give back what they have, and clean up. A script that is
//! inside of a plugin cannot be ended: after the same times it is left behind. A second signal ends
//! the program at once. The exit code is that of shells: 128 and the number of the signal. At the
//! prompt SIGINT ends the line that runs, and nothing else.

use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, raise};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::settings::Settings;

/// Where the program is on its way to the end.
pub(crate) struct Ending {
    /// The exit code, once a signal has come.
    code: watch::Sender<Option<u8>>,
    /// Whether the thread of scripts has something to do; not while it waits for a line.
    is_busy: watch::Sender<bool>,
    /// Whether there may be something to clean up.
    is_loaded: AtomicBool,
    /// Whether the program ends at once.
    is_exiting: AtomicBool,
    /// What SIGINT finds at the prompt.
    line: watch::Sender<Line>,
}

/// What SIGINT finds at the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// There is no prompt, or lines come from no terminal and none runs: the program ends.
    None,
    /// Somebody types; SIGINT came just too late to interrupt the last line.
    IsTyped,
    /// A line runs: it ends, and the prompt comes back.
    Runs,
    /// It is to end. Another signal does not wait for that.
    IsInterrupted,
}

/// What ended a script.
pub(crate) enum End<T> {
    /// Its own end.
    Own(T),
    /// SIGINT, at the prompt.
    Interrupted,
    /// A signal that ends the program.
    Program,
}

impl Ending {
    /// Begins to listen for signals, of those that the program was not started to ignore. Plugins are
    /// loaded later: runtimes that they bring change handlers that they find.
    pub(crate) fn listen(runtime: &Runtime) -> anyhow::Result<Arc<Self>> {
        let ending = Arc::new(Self {
            code: watch::Sender::new(None),
            is_busy: watch::Sender::new(true),
            is_loaded: AtomicBool::new(false),
            is_exiting: AtomicBool::new(false),
            line: watch::Sender::new(Line::None),
        });
        let ignored = ignored_signals();
        let _context = runtime.enter();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let number = kind.as_raw_value();
            if ignored & (1 << (number - 1)) != 0 {
                continue;
            }
            let mut signals = signal(kind).context("cannot listen for signals")?;
            let ending = Arc::clone(&ending);
            runtime.spawn(async move {
                while signals.recv().await.is_some() {
                    if kind == SignalKind::interrupt() && ending.interrupts_line() {
                        continue;
                    }
                    ending.came(128 + u8::try_from(number).unwrap_or_default());
                }
            });
        }
        Ok(ending)
    }

    /// SIGINT has come; whether that is nothing that ends the program.
    fn interrupts_line(&self) -> bool {
        let mut is_taken = false;
        self.line.send_modify(|line| match line {
            Line::Runs => (*line, is_taken) = (Line::IsInterrupted, true),
            Line::IsTyped => is_taken = true,
            Line::None | Line::IsInterrupted => {}
        });
        is_taken
    }

    /// A signal has come.
    #[expect(clippy::disallowed_methods, reason = "`main` is inside of a plugin, perhaps for ever")]
    fn came(&self, code: u8) {
        let is_first = self.code.send_replace(Some(code)).is_none();
        if is_first && self.is_loaded.load(Ordering::Relaxed) {
            return;
        }
        // What libraries do at the exit may take its time, or for ever: then the next one ends that.
        if self.is_exiting.swap(true, Ordering::Relaxed) {
            let _ = raise(Signal::SIGKILL);
        }
        std::thread::spawn(move || std::process::exit(code.into()));
    }

    /// Plugins are loaded: from now on a signal ends scripts, and the rest in good order.
    pub(crate) fn loaded(&self) {
        self.is_loaded.store(true, Ordering::Relaxed);
    }

    /// Runs a script to its end; `None` if a signal came first.
    ///
    /// # Cancel safety
    ///
    /// As `script`.
    pub(crate) async fn run<T>(&self, script: impl Future<Output = T>) -> Option<T> {
        let mut code = self.code.subscribe();
        tokio::select! {
            biased;
            _ = code.wait_for(Option::is_some) => None,
            result = script => Some(result),
        }
    }

    /// Runs a line of the prompt to its end.
    ///
    /// # Cancel safety
    ///
    /// As `line`.
    pub(crate) async fn run_line<T>(&self, line: impl Future<Output = T>) -> End<T> {
        self.line.send_replace(Line::Runs);
        let mut state = self.line.subscribe();
        let end = tokio::select! {
            biased;
            _ = state.wait_for(|state| *state == Line::IsInterrupted) => End::Interrupted,
            result = self.run(line) => result.map_or(End::Program, End::Own),
        };
        self.line.send_replace(Line::None);
        end
    }

    /// Runs `wait`, which waits for somebody who types: no script runs meanwhile.
    pub(crate) fn idle<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.is_busy.send_replace(false);
        let typed = std::io::stdin().is_terminal();
        self.line.send_replace(if typed { Line::IsTyped } else { Line::None });
        let result = wait();
        self.line.send_replace(Line::None);
        self.is_busy.send_replace(true);
        result
    }

    /// Whether a signal has come.
    pub(crate) fn has_come(&self) -> bool {
        self.code.borrow().is_some()
    }

    /// Runs `work`, which runs scripts, on a thread of its own, and brings the program to its end.
    pub(crate) fn watch_over(
        self: &Arc<Self>,
        runtime: Runtime,
        settings: &Arc<Settings>,
        work: impl FnOnce() -> ExitCode + Send + 'static,
    ) -> ExitCode {
        let (done, mut end) = oneshot::channel();
        let thread = std::thread::Builder::new().name("hsh-script".to_owned()).stack_size(STACK);
        let ending = Arc::clone(self);
        let started = thread.spawn(move || {
            // Nobody listens any more when this comes too late.
            let _ = done.send(work());
            ending.is_busy.send_replace(false);
        });
        if let Err(error) = started {
            eprintln!("hsh: cannot start a thread: {error}");
            return ExitCode::FAILURE;
        }
        let mut signalled = self.code.subscribe();
        let mut code = runtime.block_on(async {
            tokio::select! {
                biased;
                // A thread that panicked has said so.
                code = &mut end => Some(code.unwrap_or(ExitCode::from(EXIT_PANICKED))),
                _ = signalled.wait_for(Option::is_some) => None,
            }
        });
        let mut is_busy = self.is_busy.subscribe();
        let mut is_over = |within| {
            let over = is_busy.wait_for(|is_busy| !is_busy);
            code.is_some() || runtime.block_on(async { timeout(within, over).await.is_ok() })
        };
        // What waits has left its calls before plugins hear of the end, and is not woken by them.
        is_over(NOTICE);
        settings.plugins.early_cleanup();
        let deadline = Instant::now() + GRACE;
        let is_over = is_over(GRACE);
        let left = settings.plugins.settle(deadline.saturating_duration_since(Instant::now()));
        if left > 0 {
            eprintln!("hsh: calls that plugins have not given back: {left}");
        }
        settings.plugins.cleanup();
        settings.output.flush();
        if !is_over {
            // A plugin may have woken it just now.
            code = code.or(runtime.block_on(async { timeout(LAST_WAIT, end).await.ok()?.ok() }));
        }
        runtime.shutdown_timeout(LAST_WAIT);
        match (*self.code.borrow(), code) {
            (Some(signal), _) => ExitCode::from(signal),
            (None, code) => code.unwrap_or(ExitCode::FAILURE),
        }
    }
}

/// The signals that this process was started to ignore (`nohup`), one bit each, the lowest for signal 1.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// What scripts get to notice a signal: all that wait, and those between two slices.
const NOTICE: Duration = Duration::from_millis(500);

/// What plugins get to give back calls that nobody waits for.
const GRACE: Duration = Duration::from_secs(1);

/// What a thread that is inside of a plugin gets when that has cleaned up.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The room of a main thread.
const STACK: usize = 8 << 20;

/// What a Rust program gives that panicked.
const EXIT_PANICKED: u8 = 101;
