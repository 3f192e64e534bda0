//! `hsh -C SOCKET`: a script under a debugger.
//!
//! # Compatibility
//!
//! The roles of the control protocol are reversed: the debugger listens, `hsh` connects and answers.
//! The debugger waits (`e`) for a breakpoint; meanwhile it gets the lines of `echo` as `=` frames, and
//! then, as the answer, the breakpoint with the values of variables and the calls under way. It lets
//! the script go on with `f`. An exception that nobody catches is a breakpoint without an id. The
//! connection ends with the script; a debugger that hangs up ends the script.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use control::command::Program;
use control::frame::{self, RequestDecoder, Status};
use control::{Message, pb};
use hsl::diagnostic::Diagnostic;
use hsl::host::{CallContext, Clock, Echo, NativeStep, Registry};
use hsl::source::SourceMap;
use hsl::{ScriptError, Step, Value, Vm, debug};
use hsl_std::{DEFAULT_FUEL, Outcome, SystemClock};
use parking_lot::Mutex;
use script_host::hooks::values::text;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Takes down where a script stops.
#[derive(Clone, Default)]
pub(crate) struct Breakpoints(Arc<Mutex<Option<Stop>>>);

/// A script at a breakpoint.
struct Stop {
    /// The items of the statement: a stage and a number, as the debugger chose them.
    id: String,
    debugid: String,
    location: Option<pb::Location>,
    /// Variables, as JSON.
    values: String,
}

impl Breakpoints {
    /// Registers what the compiler calls at `__debug`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let stop = Arc::clone(&self.0);
        registry.function(
            &format!("{}(array items, array variables) -> none", debug::BREAKPOINT),
            "called by the compiler",
            move |context: &mut CallContext<'_>, args: &mut [Value]| {
                let items: Vec<String> = match args.first() {
                    Some(Value::Array(items)) => items.values().map(text).collect(),
                    _ => Vec::new(),
                };
                let item = |at: usize| items.get(at).cloned().unwrap_or_default();
                let values = args.get(1).cloned().unwrap_or_default();
                *stop.lock() = Some(Stop {
                    id: item(0),
                    debugid: item(1),
                    location: context.location().map(|(file, place)| {
                        location(&file, place.line.into(), place.column.into())
                    }),
                    values: hsl_std::value_to_json(&crate::data::as_data(values))
                        .unwrap_or_default(),
                });
                // The driver shows the stop and comes back when the debugger says so.
                NativeStep::suspend(std::future::ready(Ok(Value::None)))
            },
        );
    }
}

/// A debugger's connection.
pub(crate) struct Debugger {
    stream: UnixStream,
    decoder: RequestDecoder,
    input: Vec<u8>,
    breakpoints: Breakpoints,
    lines: Lines,
    /// Whether the debugger waits for a breakpoint.
    is_awaited: bool,
}

/// Lines of `echo` that the debugger has not got yet.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<Vec<u8>>>>);

impl Echo for Lines {
    fn echo(&mut self, text: &[u8]) {
        self.0.lock().push(text.to_vec());
    }
}

impl Debugger {
    /// Connects to the debugger's socket.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub(crate) async fn connect(path: &Path, breakpoints: Breakpoints) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)
            .await
            .with_context(|| format!("cannot connect to {}", path.display()))?;
        Ok(Self {
            stream,
            decoder: RequestDecoder::new(Program::Hsh),
            input: Vec::new(),
            breakpoints,
            lines: Lines::default(),
            is_awaited: false,
        })
    }

    /// Where `echo` goes.
    pub(crate) fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Runs a script to its end, and stops where it says.
    ///
    /// # Errors
    ///
    /// The debugger hung up, or speaks another protocol.
    pub(crate) async fn drive(&mut self, vm: &mut Vm) -> anyhow::Result<Outcome> {
        let outcome = loop {
            match vm.run(DEFAULT_FUEL) {
                Step::Done(value) => break Outcome::Done(value),
                Step::Exited(exit) => break Outcome::Exited(exit),
                Step::Threw(error) => {
                    let stop = exception(&error);
                    self.stop(stop, Vec::new()).await?;
                    break Outcome::Failed(error);
                }
                Step::OutOfFuel => tokio::task::yield_now().await,
                Step::Suspended(wait) => {
                    let stop = self.breakpoints.0.lock().take();
                    if let Some(stop) = stop {
                        self.stop(stop, vm.call_stack()).await?;
                    }
                    self.send_lines().await?;
                    let result = wait.await;
                    vm.resume(result);
                }
            }
        };
        // Lines behind the last breakpoint are still owed, if somebody waits for them.
        if !self.lines.0.lock().is_empty() && !self.is_awaited {
            self.read_until(b'e').await?;
        }
        self.send_lines().await?;
        self.stream.shutdown().await?;
        Ok(outcome)
    }

    /// Shows a stop to the debugger, and waits until the script may go on.
    async fn stop(&mut self, stop: Stop, call_stack: Vec<String>) -> anyhow::Result<()> {
        if !self.is_awaited {
            self.read_until(b'e').await?;
        }
        self.send_lines().await?;
        let frame = |function| pb::hsl_break_point_response::Frame { function };
        let response = pb::HslBreakPointResponse {
            id: stop.id,
            debugid: stop.debugid,
            transactionid: String::new(),
            location: stop.location,
            time: SystemClock.unix_time().as_secs_f64(),
            values: stop.values,
            callstack: call_stack.into_iter().map(frame).collect(),
        };
        let mut out = Vec::new();
        frame::encode_success(&response, &mut out);
        self.is_awaited = false;
        self.stream.write_all(&out).await?;
        self.read_until(b'f').await
    }

    /// Sends what was echoed, if the debugger waits.
    async fn send_lines(&mut self) -> io::Result<()> {
        if !self.is_awaited {
            return Ok(());
        }
        let mut out = Vec::new();
        for line in std::mem::take(&mut *self.lines.0.lock()) {
            let log = pb::HslLogResponse { text: line, ..pb::HslLogResponse::default() };
            frame::encode_response(Status::Log, &log.encode_to_vec(), &mut out);
        }
        self.stream.write_all(&out).await
    }

    /// Answers requests up to one of this letter.
    async fn read_until(&mut self, letter: u8) -> anyhow::Result<()> {
        loop {
            let mut rest = self.input.as_slice();
            let request = self.decoder.decode(&mut rest);
            self.input = rest.to_vec();
            let request = match request {
                Ok(request) => request,
                Err(error) => {
                    let mut out = Vec::new();
                    frame::encode_error(&error.to_string(), &mut out);
                    self.stream.write_all(&out).await?;
                    return Err(error).context("the debugger speaks another protocol");
                }
            };
            let Some(request) = request else {
                let count = self.stream.read_buf(&mut self.input).await?;
                anyhow::ensure!(count > 0, "the debugger hung up");
                continue;
            };
            let mut out = Vec::new();
            match request.command.letter {
                b'e' => self.is_awaited = true,
                // Nothing stops here without being shown at once, so there is none to poll for.
                b'd' => {
                    frame::encode_success(&pb::HslBreakPointResponse::default(), &mut out);
                }
                _ => frame::encode_response(Status::Success, &[], &mut out),
            }
            self.stream.write_all(&out).await?;
            if request.command.letter == letter {
                return Ok(());
            }
        }
    }
}

/// An exception that nobody catches: a stop without an id, whose value is the message.
fn exception(error: &ScriptError) -> Stop {
    let message = Value::from(error.diagnostic().message().to_owned());
    Stop {
        id: String::new(),
        debugid: String::new(),
        location: place(error.diagnostic(), error.sources()),
        values: hsl_std::value_to_json(&Value::map([("exception", message)])).unwrap_or_default(),
    }
}

fn place(diagnostic: &Diagnostic, sources: &SourceMap) -> Option<pb::Location> {
    let plain = diagnostic.plain(sources);
    let file = plain.file?;
    Some(location(&file, plain.line.into(), plain.column.into()))
}

fn location(file: &str, line: u64, column: u64) -> pb::Location {
    pb::Location {
        beginline: line,
        endline: line,
        begincolumn: column,
        endcolumn: column,
        file: file.to_owned(),
    }
}
