//! The virtual machine: runs one program once.
//!
//! It never recurses on the Rust stack and never blocks: [`Vm::run`] ends with a [`Step`] whenever
//! the script is done, waits, or has used up its slice of fuel.

mod barrier;
mod cached;
mod call;
mod dispatch;
mod excerpt;
mod execute;
mod frame;
mod iterate;
mod ordinary;
mod path;
pub(crate) mod quick;
mod text;
mod unwind;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::CacheStore;
use crate::diagnostic::Diagnostic;
use crate::host::{
    CallContext, Clock, Echo, Environment, HostFuture, HostSet, Limits, NativeFunction, NativeStep,
    Thrown, ThrownKind,
};
use crate::memory::{self, Budget, Tracker};
use crate::program::Program;
use crate::shared_memory::SharedMemory;
use crate::source::SourceMap;
use crate::value::{Globals, Value};
use frame::{Back, Frame, NOT_LENT, NativeFrame, Target};

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
    /// Names the cache of `per_message`: the transaction ID as scripts see it, where there is a message.
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
    stack: Vec<Value>,
    frames: Vec<Frame>,
    natives: Vec<NativeFrame>,
    environment: Environment,
    /// Frames that may be under way: the limit of the script, and the entry and module below it.
    depth: usize,
    /// Steps that the script may still take after the running slice; below 0 if it took more than it had.
    fuel_left: i64,
    state: State,
    /// The output of the future that the script waited for.
    arrived: Option<Result<Value, Thrown>>,
    /// A generator made for a native function; see [`Vm::enter`].
    ready: Option<Value>,
}

/// What an execution is doing.
enum State {
    Running,
    /// Waiting for a future whose value goes there.
    Waiting(Target),
    Over,
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

/// A number of steps as the machine counts them.
fn steps(fuel: u64) -> i64 {
    i64::try_from(fuel).unwrap_or(i64::MAX)
}

impl Vm {
    /// Prepares an execution.
    pub fn new(program: &Arc<Program>, setup: Setup) -> Self {
        let globals = Globals::new(Arc::clone(program));
        for (name, value) in setup.variables {
            let number = program
                .globals
                .iter()
                .position(|global| global.is_context && &*global.name == name);
            if let Some(place) = number.and_then(|number| globals.values.get(number)) {
                *place.lock() = value;
            }
        }
        let owner = setup.shared_memory.new_owner();
        let environment = Environment {
            host: Arc::clone(&program.host),
            states: setup.states,
            echo: setup.echo,
            started: setup.clock.monotonic(),
            clock: setup.clock,
            budget: Budget::new(setup.limits.memory),
            limits: setup.limits,
            fuel: 0,
            shared: setup.shared_memory,
            cache: setup.cache,
            owner,
            message: setup.message,
            units: vec![Arc::new(globals)],
            at: (0, 0, 0),
            tracker: Tracker::default(),
            escaped: false,
        };
        let entry = Frame {
            unit: 0,
            function: 0,
            pc: 0,
            base: 0,
            result: 0,
            back: Back::Entry,
            lent: NOT_LENT,
        };
        Self {
            stack: Vec::new(),
            frames: vec![entry],
            natives: Vec::new(),
            depth: environment.limits.depth.saturating_add(1),
            fuel_left: environment.limits.fuel.map_or(i64::MAX, steps),
            environment,
            state: State::Running,
            arrived: None,
            ready: None,
        }
    }

    /// Runs for at most `fuel` steps; calls and loop rounds are a step each, long native functions
    /// several. A script that waits goes on after [`Self::resume`] only; an execution that is over
    /// is done with none.
    pub fn run(&mut self, fuel: u64) -> Step {
        let slice = steps(fuel).max(1).min(self.fuel_left);
        self.fuel_left -= slice;
        self.environment.fuel = slice;
        let step = self.run_slice();
        // What is left of the slice comes back; what was taken beyond it is owed.
        self.fuel_left = self.fuel_left.saturating_add(self.environment.fuel);
        step
    }

    fn run_slice(&mut self) -> Step {
        let mut outcome = match std::mem::replace(&mut self.state, State::Running) {
            State::Over => {
                self.state = State::Over;
                return Step::Done(Value::None);
            }
            State::Running => self.execute(),
            State::Waiting(target) => {
                let step = match self.arrived.take() {
                    Some(Ok(value)) => NativeStep::Return(value),
                    Some(Err(thrown)) => NativeStep::Throw(thrown),
                    None => NativeStep::Throw(Thrown::new("the wait was given up")),
                };
                self.unpark();
                match self.drive(step, target, None, None) {
                    Ok(None) => self.execute(),
                    Ok(Some(step)) => Ok(step),
                    Err(thrown) => Err(thrown),
                }
            }
        };
        loop {
            match outcome {
                Ok(Step::Suspended(future)) => {
                    self.park();
                    return Step::Suspended(future);
                }
                Ok(Step::OutOfFuel) => return Step::OutOfFuel,
                Ok(step) => {
                    if let Step::Done(value) = &step {
                        self.environment.escaped |= memory::holds_references(value);
                    }
                    return match self.end() {
                        Some(thrown) => Step::Threw(self.script_error(thrown)),
                        None => step,
                    };
                }
                Err(thrown) => match self.unwind(thrown) {
                    Ok(None) => outcome = self.execute(),
                    Ok(Some(step)) => outcome = Ok(step),
                    Err(error) => {
                        if let ThrownKind::Value(value) = &error.thrown {
                            self.environment.escaped |= memory::holds_references(value);
                        }
                        self.end();
                        return Step::Threw(error);
                    }
                },
            }
        }
    }

    /// Takes the output of the future of [`Step::Suspended`].
    pub fn resume(&mut self, result: Result<Value, Thrown>) {
        self.arrived = Some(result);
    }

    /// Returns the value of a context variable as it is now, such as `context` after the end. Values
    /// handed back this way may outlive the execution.
    pub fn variable(&mut self, name: &str) -> Option<Value> {
        self.environment.variable(name)
    }

    /// Returns the host state of type `T`.
    pub fn state<T: Any + Send>(&mut self) -> Option<&mut T> {
        self.environment.states.iter_mut().find_map(|state| state.downcast_mut())
    }

    /// Takes the host state of type `T` out of the execution.
    pub fn take_state<T: Any + Send>(&mut self) -> Option<T> {
        let states = &mut self.environment.states;
        let at = states.iter().position(|state| state.is::<T>())?;
        states.swap_remove(at).downcast().ok().map(|state| *state)
    }

    /// Returns the names of the functions under way, innermost first; functions without a name have an
    /// empty one, and at most 32 are told.
    pub fn call_stack(&self) -> Vec<String> {
        let text = |name: &crate::value::Str| String::from_utf8_lossy(name.as_bytes()).into_owned();
        self.trace().iter().map(|(name, _)| text(name)).collect()
    }

    /// Returns the program.
    pub fn program(&self) -> &Arc<Program> {
        match self.environment.units.first() {
            Some(unit) => &unit.program,
            None => unreachable!("the first unit is the script's own and stays"),
        }
    }

    /// Looks why the machine stopped at a call or loop: true if the slice is used up; else the memory
    /// budget was, and has been refilled.
    fn pause(&mut self) -> Result<bool, Thrown> {
        if self.environment.fuel <= 0 {
            if let (true, Some(limit)) = (self.fuel_left <= 0, self.environment.limits.fuel) {
                return Err(Thrown::limit(format!("fuel limit of {limit} steps exceeded")));
            }
            return Ok(true);
        }
        let top = self.top();
        let stack = self.stack.get(..top).unwrap_or(&self.stack);
        let living = self.environment.tracker.living();
        let mut live = memory::measure(stack.iter().chain(&living));
        drop(living);
        for unit in &self.environment.units {
            for value in &unit.values {
                let value = value.lock().clone();
                live = live.saturating_add(memory::measure(std::iter::once(&value)));
            }
        }
        self.environment.budget.refill(live, self.environment.limits.memory)?;
        Ok(false)
    }

    /// Gives up the unused part of the stack while the script waits.
    fn park(&mut self) {
        self.stack.truncate(self.top());
        self.stack.shrink_to_fit();
    }

    /// Makes room again for the running frame.
    fn unpark(&mut self) {
        let needed = self.top() + quick::WINDOW;
        if self.stack.len() < needed {
            self.stack.resize(needed, Value::None);
        }
    }

    /// Ends the execution. Returns what went wrong when its values were stored in the shared memory; a
    /// script that failed before has its error already.
    fn end(&mut self) -> Option<Thrown> {
        let last = self.frames.last().copied();
        let failed = self.leave_all();
        let taken = self.environment.budget.taken();
        let left = self.environment.shared.leave(self.environment.owner, taken);
        self.finish(left.removed);
        failed.or_else(|| {
            let mut thrown = Thrown::from(left.full?);
            let place = last.and_then(|frame| self.place_of(&frame));
            thrown.set_place(place.or_else(|| self.program().end()));
            Some(thrown)
        })
    }

    /// Frees what refers to itself, unless it may live on elsewhere. `removed` was in the shared memory.
    fn finish(&mut self, removed: Vec<Value>) {
        self.state = State::Over;
        let Some(unit) = self.environment.units.first() else { return };
        let context = unit.program.globals.iter().zip(&unit.values);
        self.environment.escaped |= context
            .filter(|(global, _)| global.is_context)
            .any(|(_, value)| memory::holds_references(&value.lock()));
        let mut living = removed;
        if self.environment.escaped {
            living.append(&mut self.environment.tracker.living());
        } else {
            unit.clear();
            self.environment.tracker.release();
        }
        if self.environment.escaped || !living.is_empty() {
            self.stack.clear();
            crate::circles::release(living, &self.environment.units);
        }
    }
}

/// An execution that is dropped half-way is over as well.
impl Drop for Vm {
    fn drop(&mut self) {
        if !matches!(self.state, State::Over) {
            self.end();
        }
    }
}

/// Calls a pure function of the host at compile time.
pub(crate) fn call_pure(
    host: &Arc<HostSet>,
    function: &Arc<NativeFunction>,
    arguments: Vec<Value>,
) -> Result<Value, Thrown> {
    let setup = Setup::default();
    let owner = setup.shared_memory.new_owner();
    let mut environment = Environment {
        host: Arc::clone(host),
        states: Vec::new(),
        echo: setup.echo,
        started: Duration::ZERO,
        clock: setup.clock,
        budget: Budget::new(setup.limits.memory),
        limits: setup.limits,
        fuel: 0,
        shared: setup.shared_memory,
        cache: setup.cache,
        owner,
        message: None,
        units: Vec::new(),
        at: (0, 0, 0),
        tracker: Tracker::default(),
        escaped: false,
    };
    let mut arguments = arguments;
    let given = arguments.len();
    arguments.resize(given.max(function.fixed()), Value::None);
    call::complete(function, &mut arguments, given)?;
    let mut context = CallContext {
        environment: &mut environment,
        function: Some(function),
        this: None,
        class: None,
        given,
    };
    match function.invoke(&mut context, &mut arguments) {
        NativeStep::Return(value) => Ok(value),
        NativeStep::Throw(thrown) => Err(thrown),
        _ => Err(Thrown::new(format!("{}() cannot be called at compile time", function.name()))),
    }
}

/// An uncaught exception or a passed limit.
pub struct ScriptError {
    diagnostic: Diagnostic,
    thrown: ThrownKind,
    program: Arc<Program>,
}

impl ScriptError {
    fn new(diagnostic: Diagnostic, thrown: ThrownKind, program: &Arc<Program>) -> Self {
        Self { diagnostic, thrown, program: Arc::clone(program) }
    }

    /// Returns the message with its place and the calls that led there.
    pub fn diagnostic(&self) -> &Diagnostic {
        &self.diagnostic
    }

    /// Returns the calls, includes and imports that led to it on one line, innermost first; `None` for an
    /// error of the script itself outside of functions.
    pub fn way(&self) -> Option<String> {
        let way = self.diagnostic.way(self.sources());
        (!way.is_empty()).then(|| way.join("; "))
    }

    /// Returns the line of code that the error is about, as a log may show it: without what its strings
    /// say.
    pub fn code(&self) -> Option<String> {
        let span = self.diagnostic.span()?;
        Some(excerpt::line(self.sources().file(span.file)?, span)).filter(|code| !code.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compiler;
    use crate::host::Registry;

    #[test]
    fn a_parked_script_takes_at_most_four_kibibytes() {
        let mut registry = Registry::new();
        registry.function("wait() -> none", "waits", |_, _| {
            NativeStep::suspend(std::future::pending())
        });
        let text = "function f($a, $b) { $c = [$a]; wait(); return $c; } $x = 1; $y = f($x, 2);";
        let host = registry.freeze();
        let program = Compiler::new(&host).compile("main", "main.hsl", text.as_bytes()).unwrap();
        let mut vm = Vm::new(&program, Setup::default());
        assert!(matches!(vm.run(1_000), Step::Suspended(_)));
        let size = size_of::<Vm>()
            + vm.stack.capacity() * size_of::<Value>()
            + vm.frames.capacity() * size_of::<Frame>()
            + vm.natives.capacity() * size_of::<NativeFrame>()
            + vm.environment.units.capacity() * size_of::<Arc<Globals>>();
        assert!(size <= 4096, "{size} octets");
        assert!(vm.stack.capacity() < quick::WINDOW);
    }
}
