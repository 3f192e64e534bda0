//! What a native function sees of the execution that called it.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{HostSet, NativeFunction, Thrown};
use crate::cache::CacheStore;
use crate::memory::{Budget, Tracker};
use crate::shared_memory::{OwnerId, SharedMemory, Stored};
use crate::source::{Location, SourceMap, Span};
use crate::value::{Class, Globals, HostIterator, Object, Value};

/// Where time comes from. The language never reads a clock of its own.
pub trait Clock: Send + Sync {
    /// Returns the time since the Unix epoch.
    fn unix_time(&self) -> Duration;

    /// Returns the time since some fixed point; never goes back.
    fn monotonic(&self) -> Duration;
}

/// A clock that stands still, for compile time and tests.
impl Clock for Duration {
    fn unix_time(&self) -> Duration {
        *self
    }

    fn monotonic(&self) -> Duration {
        *self
    }
}

/// Where `echo` goes.
pub trait Echo: Send {
    /// Takes the text of one `echo` statement, without a line end.
    fn echo(&mut self, text: &[u8]);
}

impl<F: FnMut(&[u8]) + Send> Echo for F {
    fn echo(&mut self, text: &[u8]) {
        self(text);
    }
}

/// What one execution may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls that may be under way at once.
    pub depth: usize,
    /// Octets that the values of the script may occupy, about.
    pub memory: usize,
    /// Steps that it may take in all, as [`crate::Vm::run`] counts them; `None` for as many as it wants.
    pub fuel: Option<u64>,
}

impl Default for Limits {
    /// 256 calls, as decided for recursion; 256 MiB, which no sane hook comes near; any number of steps, as
    /// whoever drives the machine bounds the time.
    fn default() -> Self {
        Self { depth: 256, memory: 256 << 20, fuel: None }
    }
}

/// The part of an execution that native functions can reach.
pub(crate) struct Environment {
    pub(crate) host: Arc<HostSet>,
    pub(crate) states: Vec<Box<dyn Any + Send>>,
    pub(crate) echo: Box<dyn Echo>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Duration,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    /// Steps left in this slice.
    pub(crate) fuel: i64,
    pub(crate) shared: Arc<SharedMemory>,
    pub(crate) cache: Arc<CacheStore>,
    pub(crate) owner: OwnerId,
    pub(crate) message: Option<Box<[u8]>>,
    /// The programs that functions on the stack belong to; the first is the script's own.
    pub(crate) units: Vec<Arc<Globals>>,
    /// Unit, function and instruction of the call being made.
    pub(crate) at: (u32, u32, u32),
    /// What may refer to itself, to be emptied at the end.
    pub(crate) tracker: Tracker,
    /// Whether a value that may hold references left the execution.
    pub(crate) escaped: bool,
}

impl Environment {
    /// Returns the number of a program on the stack, adding it if it is new.
    #[inline]
    pub(crate) fn unit(&mut self, unit: &Arc<Globals>) -> u32 {
        if let Some(at) = self.units.iter().position(|known| Arc::ptr_eq(known, unit)) {
            return at as u32;
        }
        self.units.push(Arc::clone(unit));
        self.units.len() as u32 - 1
    }

    /// Returns where a context variable of the script is kept.
    fn context_variable(&self, name: &str) -> Option<&Mutex<Value>> {
        let unit = self.units.first()?;
        let mut globals = unit.program.globals.iter().zip(&unit.values);
        let found = globals.find(|(global, _)| global.is_context && &*global.name == name);
        found.map(|(_, place)| place)
    }

    /// Returns the value of a context variable of the script, if it has one.
    pub(crate) fn variable(&self, name: &str) -> Option<Value> {
        let value = self.context_variable(name)?.lock().clone();
        (!matches!(value, Value::Unset)).then_some(value)
    }

    /// Measures a value for the shared memory, in which it outlives the execution.
    pub(crate) fn stored(&mut self, value: Value) -> Stored {
        let (stored, looks) = Stored::measured(value);
        self.escaped |= stored.may_grow();
        // A look takes about as long as a few steps.
        self.fuel = self.fuel.saturating_sub(i64::try_from(looks * 2).unwrap_or(i64::MAX));
        stored
    }

    /// Returns the place of an instruction.
    pub(crate) fn span(&self, (unit, function, pc): (u32, u32, u32)) -> Option<Span> {
        let unit = self.units.get(unit as usize)?;
        unit.program.functions.get(function as usize)?.span(pc)
    }
}

/// The view of an execution that a native function gets with each call.
pub struct CallContext<'a> {
    pub(crate) environment: &'a mut Environment,
    pub(crate) function: Option<&'a NativeFunction>,
    pub(crate) this: Option<&'a Object>,
    pub(crate) class: Option<&'a Class>,
    pub(crate) given: usize,
}

impl CallContext<'_> {
    /// Returns how many arguments the script gave.
    pub fn given(&self) -> usize {
        self.given
    }

    /// Returns the name under which the function was registered.
    pub fn name(&self) -> &str {
        self.function.map_or("", NativeFunction::name)
    }

    /// Returns the object whose method this is. Continuations keep what they need of it.
    pub fn this(&self) -> Option<&Object> {
        self.this
    }

    /// Returns the state of the object whose method this is.
    ///
    /// # Errors
    ///
    /// A builtin error if there is no object, or its state is no `T`.
    pub fn state_of_this<T: Any + Send + Sync>(&self) -> Result<Arc<T>, Thrown> {
        self.this
            .and_then(Object::state)
            .ok_or_else(|| Thrown::new(format!("{}() needs an object of its class", self.name())))
    }

    /// Returns the class whose constructor, static function or method this is.
    pub fn class(&self) -> Option<&Class> {
        self.class
    }

    /// Makes an instance of the class whose constructor, static function or method this is.
    ///
    /// # Errors
    ///
    /// A builtin error if this is a plain function; the limit error if the object is more than the
    /// execution may use.
    pub fn new_object<T: Any + Send + Sync>(&mut self, state: T) -> Result<Value, Thrown> {
        let class = self
            .class
            .ok_or_else(|| Thrown::new(format!("{}() belongs to no class", self.name())))?;
        self.charged(Object::new(class, state))
    }

    /// Makes an instance of the registered class `name`.
    ///
    /// # Errors
    ///
    /// A builtin error if there is no such class; the limit error as for [`Self::new_object`].
    pub fn instance_of<T: Any + Send + Sync>(
        &mut self,
        name: &str,
        state: T,
    ) -> Result<Value, Thrown> {
        let class = self
            .environment
            .host
            .class(name)
            .ok_or_else(|| Thrown::new(format!("class {name} is not available here")))?;
        let object = Object::new(class, state);
        self.charged(object)
    }

    /// Makes an iterator over what `source` gives.
    ///
    /// # Errors
    ///
    /// The limit error as for [`Self::new_object`].
    pub fn iterator(&mut self, source: Box<dyn HostIterator>) -> Result<Value, Thrown> {
        self.charged(Object::iterator(source))
    }

    fn charged(&mut self, object: Object) -> Result<Value, Thrown> {
        self.charge_memory(crate::memory::measure_instance(&object))?;
        Ok(Value::Object(object))
    }

    /// Returns the functions and classes that the script was compiled against.
    pub fn host(&self) -> &Arc<HostSet> {
        &self.environment.host
    }

    /// Returns the host state of type `T` of this execution.
    pub fn state<T: Any + Send>(&mut self) -> Option<&mut T> {
        self.environment.states.iter_mut().find_map(|state| state.downcast_mut())
    }

    /// Returns the value of a context variable of the script; `None` for a name that the program was
    /// not compiled with, and for one without value.
    pub fn variable(&self, name: &str) -> Option<Value> {
        self.environment.variable(name)
    }

    /// Gives a context variable of the script another value, also one that scripts only read. A name
    /// that the program was not compiled with is passed over.
    pub fn set_variable(&mut self, name: &str, value: Value) {
        if let Some(place) = self.environment.context_variable(name) {
            let old = std::mem::replace(&mut *place.lock(), value);
            drop(old); // outside of the lock
        }
    }

    /// Writes a line as `echo` does.
    pub fn echo(&mut self, text: &[u8]) {
        self.environment.echo.echo(text);
    }

    /// Returns the clock of the execution.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.environment.clock
    }

    /// Returns how long ago the execution started, by its clock.
    pub fn execution_time(&self) -> Duration {
        self.environment.clock.monotonic().saturating_sub(self.environment.started)
    }

    /// Returns the limits of the execution.
    pub fn limits(&self) -> &Limits {
        &self.environment.limits
    }

    /// Takes `steps` of fuel, for work whose length an argument decides. The machine stops at the
    /// next call or loop when the slice is used up.
    pub fn charge_fuel(&mut self, steps: u64) {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        self.environment.fuel = self.environment.fuel.saturating_sub(steps);
    }

    /// Takes `octets` from the memory budget, before a large value is made.
    ///
    /// # Errors
    ///
    /// The limit error if `octets` alone is more than the execution may use.
    pub fn charge_memory(&mut self, octets: usize) -> Result<(), Thrown> {
        self.environment.budget.charge_large(octets, self.environment.limits.memory)
    }

    /// Returns the transaction ID as scripts see it, where there is a message.
    pub fn message(&self) -> Option<&[u8]> {
        self.environment.message.as_deref()
    }

    /// Returns the shared memory of the process.
    pub fn shared_memory(&self) -> &Arc<SharedMemory> {
        &self.environment.shared
    }

    /// Returns the caches of the process.
    pub fn cache(&self) -> &Arc<CacheStore> {
        &self.environment.cache
    }

    /// Returns the identity under which this execution holds locks of the shared memory.
    pub fn owner(&self) -> OwnerId {
        self.environment.owner
    }

    /// Measures a value for the shared memory. Do it before the store is locked; [`Self::keep`] is part of it.
    pub fn stored(&mut self, value: Value) -> Stored {
        self.environment.stored(value)
    }

    /// Declares that `value` outlives the execution (it was stored elsewhere). Without this, the
    /// variables that its functions and objects share are emptied when the execution ends, because
    /// references in a circle would otherwise never be freed.
    pub fn keep(&mut self, value: &Value) {
        if crate::memory::holds_references(value) {
            self.environment.escaped = true;
        }
    }

    /// Returns the place of the call in the source.
    pub fn span(&self) -> Option<Span> {
        self.environment.span(self.environment.at)
    }

    /// Returns file name, line and column of the call.
    pub fn location(&self) -> Option<(String, Location)> {
        let span = self.span()?;
        let (unit, ..) = self.environment.at;
        let sources: &SourceMap = &self.environment.units.get(unit as usize)?.program.sources;
        let file = sources.file(span.file)?;
        Some((file.name().to_owned(), file.location(span.start)))
    }
}
