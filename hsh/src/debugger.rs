//! `hsh -C SOCKET`: a script under a debugger.
//!
//! # Compatibility
//!
//! The roles of the control protocol are reversed: the debugger listens, `hsh` connects and answers.
//! The debugger waits (`e`) for a breakpoint; meanwhile it gets the lines of `echo` as `=` frames, and
//! then, as the answer, the breakpoint with the values of variables and the calls under way
//! ([`script_host::debugging`]). It lets the script go on with `f`. An exception that nobody catches is a
//! breakpoint without an id. A debugger that waits when the script ends hears that there is no
//! breakpoint, which debuggers take for the end; then the connection ends. A debugger that hangs up ends
//! the script.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use control::command::Program;
use control::frame::{self, RequestDecoder, Status};
use control::{Message, pb};
use hsl::host::{Clock, Echo, HostFuture, Thrown};
use hsl::{Step, Value, Vm};
use hsl_std::{DEFAULT_FUEL, Outcome, SystemClock};
use parking_lot::Mutex;
use script_host::debugging::{self, Stop};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A debugger's connection.
pub(crate) struct Debugger {
    stream: UnixStream,
    decoder: RequestDecoder,
    input: Vec<u8>,
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
    pub(crate) async fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)
            .await
            .with_context(|| format!("cannot connect to {}", path.display()))?;
        Ok(Self {
            stream,
            decoder: RequestDecoder::new(Program::Hsh),
            input: Vec::new(),
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
                    self.stop(Stop::exception(&error)).await?;
                    break Outcome::Failed(error);
                }
                Step::OutOfFuel => {
                    self.send_lines().await?;
                    tokio::task::yield_now().await;
                }
                Step::Suspended(wait) => {
                    if let Some(stop) = debugging::take_stop(vm) {
                        self.stop(stop).await?;
                    }
                    vm.resume(self.attend(wait).await?);
                }
            }
        };
        // Lines behind the last breakpoint are still owed, if somebody waits for them.
        if !self.lines.0.lock().is_empty() && !self.is_awaited {
            self.read_until(b'e').await?;
        }
        self.send_lines().await?;
        if self.is_awaited {
            let mut out = Vec::new();
            frame::encode_error(NO_BREAKPOINT, &mut out);
            self.stream.write_all(&out).await?;
        }
        self.stream.shutdown().await?;
        Ok(outcome)
    }

    /// Shows a stop to the debugger, and waits until the script may go on.
    async fn stop(&mut self, stop: Stop) -> anyhow::Result<()> {
        if !self.is_awaited {
            self.read_until(b'e').await?;
        }
        self.send_lines().await?;
        let response = stop.response(String::new(), SystemClock.unix_time());
        let mut out = Vec::new();
        frame::encode_success(&response, &mut out);
        self.is_awaited = false;
        self.stream.write_all(&out).await?;
        self.read_until(b'f').await
    }

    /// Waits with the script, and for the debugger meanwhile.
    async fn attend(&mut self, mut wait: HostFuture) -> anyhow::Result<Result<Value, Thrown>> {
        loop {
            self.send_lines().await?;
            tokio::select! {
                biased;
                result = &mut wait => return Ok(result),
                letter = self.receive() => self.answer(letter?).await?,
            }
        }
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
            let received = self.receive().await?;
            self.answer(received).await?;
            if received == letter {
                return Ok(());
            }
        }
    }

    /// Waits for a request, and tells its letter.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what came stays in the buffer.
    async fn receive(&mut self) -> anyhow::Result<u8> {
        loop {
            let mut rest = self.input.as_slice();
            let request = self.decoder.decode(&mut rest);
            self.input = rest.to_vec();
            match request {
                Ok(Some(request)) => return Ok(request.command.letter),
                Ok(None) => {
                    let count = self.stream.read_buf(&mut self.input).await?;
                    anyhow::ensure!(count > 0, "the debugger hung up");
                }
                Err(error) => {
                    let mut out = Vec::new();
                    frame::encode_error(&error.to_string(), &mut out);
                    self.stream.write_all(&out).await?;
                    return Err(error).context("the debugger speaks another protocol");
                }
            }
        }
    }

    async fn answer(&mut self, letter: u8) -> anyhow::Result<()> {
        let mut out = Vec::new();
        match letter {
            b'e' => self.is_awaited = true,
            // Nothing stops here without being shown at once, so there is none to poll for.
            b'd' => frame::encode_error(NO_BREAKPOINT, &mut out),
            _ => frame::encode_response(Status::Success, &[], &mut out),
        }
        Ok(self.stream.write_all(&out).await?)
    }
}

/// What a debugger hears that waits for a script which is over, or polls one that stands nowhere.
const NO_BREAKPOINT: &str = "No breakpoint";
