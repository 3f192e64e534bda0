//! The virtual machine: runs one program once.
//!
//! It never recurses on the Rust stack and never blocks: [`Vm::run`] ends with a [`Step`] whenever
//! the script is done, waits, or has used up its slice of fuel.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::CacheStore;
use crate::diagnostic::Diagnostic;
use crate::host::{Clock, Echo, HostFuture, Limits, Thrown, ThrownKind};
use crate::program::Program;
use crate::shared_memory::SharedMemory;
use crate::source::SourceMap;
use crate::value::Value;

/// What an execution starts with.
pub struct Setup {
    /// What it may use.
    pub limits: Limits,
    /// Where `echo` goes.
    pub echo: Box<dyn Echo>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The shared memory of the process.
    pub shared_memory: Arc<SharedMemory>,
    /// The caches of the process.
    pub cache: Arc<CacheStore>,
    /// Host state for native functions, one value per type.
    pub states: Vec<Box<dyn Any + Send>>,
    /// Values of context variables; those not named are unset.
    pub variables: Vec<(&'static str, Value)>,
    /// Names the cache of `per_message`: the transaction ID, where there is a message.
    pub message: Option<Box<[u8]>>,
}

impl Default for Setup {
    /// A silent execution with its own stores and a clock that stands still.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            echo: Box::new(|_: &[u8]| {}),
            clock: Arc::new(Duration::ZERO),
            shared_memory: SharedMemory::new(),
            cache: CacheStore::new(),
            states: Vec::new(),
            variables: Vec::new(),
            message: None,
        }
    }
}

/// One execution of a program.
pub struct Vm {
    program: Arc<Program>,
}

/// Why [`Vm::run`] came back.
pub enum Step {
    /// The script ended, with the value of a top-level `return`, or none.
    Done(Value),
    /// A native function ended the script, as `Accept()` does.
    Exited(Box<dyn Any + Send>),
    /// The script failed. It is over.
    Threw(ScriptError),
    /// The script waits. Await the future, give its output to [`Vm::resume`], and run on.
    Suspended(HostFuture),
    /// The slice is used up. Run on whenever it suits.
    OutOfFuel,
}

impl Vm {
    /// Prepares an execution.
    pub fn new(program: &Arc<Program>, setup: Setup) -> Self {
        let _ = setup;
        Self { program: Arc::clone(program) }
    }

    /// Runs for at most `fuel` steps; calls and loop rounds are a step each, long native functions
    /// several.
    pub fn run(&mut self, fuel: u64) -> Step {
        let _ = fuel;
        todo!()
    }

    /// Takes the output of the future of [`Step::Suspended`].
    pub fn resume(&mut self, result: Result<Value, Thrown>) {
        let _ = result;
        todo!()
    }

    /// Returns the value of a context variable as it is now, such as `context` after the end. Values
    /// handed back this way may outlive the execution.
    pub fn variable(&mut self, name: &str) -> Option<Value> {
        let _ = name;
        todo!()
    }

    /// Returns the host state of type `T`.
    pub fn state<T: Any + Send>(&mut self) -> Option<&mut T> {
        todo!()
    }

    /// Returns the program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }
}

/// An uncaught exception or a passed limit.
pub struct ScriptError {
    diagnostic: Diagnostic,
    thrown: ThrownKind,
    program: Arc<Program>,
}

impl ScriptError {
    /// Returns the message with its place and the calls that led there.
    pub fn diagnostic(&self) -> &Diagnostic {
        &self.diagnostic
    }

    /// Returns what was thrown.
    pub fn thrown(&self) -> &ThrownKind {
        &self.thrown
    }

    /// Returns the sources that the places of the diagnostic lie in.
    pub fn sources(&self) -> &SourceMap {
        &self.program.sources
    }
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = self.diagnostic.plain(self.sources());
        match &plain.file {
            Some(file) => {
                write!(
                    f,
                    "{} in {file} on line {}, column {}",
                    plain.message, plain.line, plain.column
                )
            }
            None => f.write_str(&plain.message),
        }
    }
}

impl std::fmt::Debug for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScriptError({self})")
    }
}

impl std::error::Error for ScriptError {}
