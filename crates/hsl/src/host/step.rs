//! What a native function gives back: a value, an exception, an end, a wait, or a call.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;

use smallvec::SmallVec;

use super::CallContext;
use crate::source::Span;
use crate::value::{Str, Value};

/// A function of the host.
///
/// The slice holds one value per declared parameter (missing optional ones as their default or
/// none), then the values of a rest parameter. [`CallContext::given`] tells how many were given. The
/// function may take values out of the slice.
pub type NativeFn = dyn Fn(&mut CallContext<'_>, &mut [Value]) -> NativeStep + Send + Sync;

/// A function of the host that only looks at its arguments. Its value goes to the place given, which holds
/// none: a [`NativeStep`] is moved several times until it is there.
pub(super) type ReadingFn =
    dyn Fn(&mut CallContext<'_>, &[&Value], &mut Value) -> Result<(), Thrown> + Send + Sync;

/// What a function that only looks at its arguments gives back: a value, or a `Result` of one.
pub trait Answer {
    /// Puts the value into `place`, which holds none.
    ///
    /// # Errors
    ///
    /// What the function throws.
    fn give(self, place: &mut Value) -> Result<(), Thrown>;
}

impl<T: Into<Value>> Answer for T {
    #[inline(always)]
    fn give(self, place: &mut Value) -> Result<(), Thrown> {
        place.put(self.into());
        Ok(())
    }
}

impl<T: Into<Value>> Answer for Result<T, Thrown> {
    #[inline(always)]
    fn give(self, place: &mut Value) -> Result<(), Thrown> {
        place.put(self?.into());
        Ok(())
    }
}

/// A wait of a native function. Whoever drives the machine polls it.
pub type HostFuture = Pin<Box<dyn Future<Output = Result<Value, Thrown>> + Send>>;

/// Arguments of a call made by a native function.
pub type Arguments = SmallVec<[Value; 2]>;

/// The outcome of a native function, or of one step of it.
pub enum NativeStep {
    /// The function returns a value.
    Return(Value),
    /// The function throws.
    Throw(Thrown),
    /// The function ends the script, as `Accept()` does.
    Exit(Box<dyn Any + Send>),
    /// The function waits; the future's value is its own.
    Suspend(HostFuture),
    /// The function waits and then goes on in `then`.
    SuspendThen {
        /// The wait.
        future: HostFuture,
        /// What gets its value.
        then: Box<dyn Continuation>,
    },
    /// The function calls another one, whose value goes to `then`.
    Call {
        /// What to call.
        function: Value,
        /// Its arguments.
        arguments: Arguments,
        /// What gets its value.
        then: Box<dyn Continuation>,
    },
}

/// The rest of a native function, after a call or a wait.
///
/// A function with many callbacks keeps its state in `self` and hands the same box on, so each
/// callback costs no allocation.
pub trait Continuation: Send {
    /// Goes on with the value of the call or wait.
    fn resume(self: Box<Self>, context: &mut CallContext<'_>, value: Value) -> NativeStep;

    /// Takes the value of a call and sets all of `arguments` for the next one; what they hold before
    /// means nothing. True makes the machine repeat the call where it is, with nothing moved; it asks
    /// for simple functions only and may not ask at all. False means that [`Self::resume`] follows,
    /// with what is left in `value`.
    fn again(&mut self, value: &mut Value, arguments: &mut [Value]) -> bool {
        let _ = (value, arguments);
        false
    }

    /// Goes on after the call or wait threw. Unless overridden, the exception passes through.
    fn threw(self: Box<Self>, context: &mut CallContext<'_>, thrown: Thrown) -> NativeStep {
        let _ = context;
        NativeStep::Throw(thrown)
    }
}

/// Any function from a value to the next step is a continuation.
impl<F> Continuation for F
where
    F: FnOnce(&mut CallContext<'_>, Value) -> NativeStep + Send,
{
    fn resume(self: Box<Self>, context: &mut CallContext<'_>, value: Value) -> NativeStep {
        self(context, value)
    }
}

impl NativeStep {
    /// Suspends until `future` gives the value of the function.
    pub fn suspend<F>(future: F) -> Self
    where
        F: Future<Output = Result<Value, Thrown>> + Send + 'static,
    {
        Self::Suspend(Box::pin(future))
    }

    /// Ends the script with `outcome`.
    pub fn exit<T: Any + Send>(outcome: T) -> Self {
        Self::Exit(Box::new(outcome))
    }

    /// Calls `function` and goes on with its value in `then`. A [`Continuation`] of another type
    /// goes into [`Self::Call`].
    pub fn call<F>(function: Value, arguments: impl IntoIterator<Item = Value>, then: F) -> Self
    where
        F: FnOnce(&mut CallContext<'_>, Value) -> Self + Send + 'static,
    {
        Self::Call { function, arguments: arguments.into_iter().collect(), then: Box::new(then) }
    }
}

impl<T: Into<Value>> From<T> for NativeStep {
    fn from(value: T) -> Self {
        Self::Return(value.into())
    }
}

impl From<()> for NativeStep {
    fn from((): ()) -> Self {
        Self::Return(Value::None)
    }
}

impl<T: Into<Self>> From<Result<T, Thrown>> for NativeStep {
    fn from(result: Result<T, Thrown>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(thrown) => Self::Throw(thrown),
        }
    }
}

/// Something thrown, on its way to a `catch` or out of the script. One word wide.
#[derive(Debug)]
pub struct Thrown(Box<ThrownData>);

#[derive(Debug)]
struct ThrownData {
    kind: ThrownKind,
    place: Option<Span>,
    /// The calls that were under way, innermost first.
    trace: Vec<(Str, Option<Span>)>,
}

/// What was thrown.
#[derive(Debug)]
pub enum ThrownKind {
    /// A value, by `throw`.
    Value(Value),
    /// A builtin error; scripts catch it as `Exception`.
    Error(String),
    /// A limit was passed: the script ends and `catch` does not see it.
    Limit(String),
}

impl Thrown {
    /// Makes a builtin error. The text is one sentence without a full stop.
    #[cold]
    pub fn new(message: impl Into<String>) -> Self {
        Self::from_kind(ThrownKind::Error(message.into()))
    }

    /// Throws a value of the script.
    #[cold]
    pub fn value(value: Value) -> Self {
        Self::from_kind(ThrownKind::Value(value))
    }

    /// Ends the script because a limit was passed.
    #[cold]
    pub fn limit(message: impl Into<String>) -> Self {
        Self::from_kind(ThrownKind::Limit(message.into()))
    }

    fn from_kind(kind: ThrownKind) -> Self {
        Self(Box::new(ThrownData { kind, place: None, trace: Vec::new() }))
    }

    /// Returns what was thrown.
    pub fn kind(&self) -> &ThrownKind {
        &self.0.kind
    }

    /// Returns the text of the error.
    pub fn message(&self) -> String {
        match &self.0.kind {
            ThrownKind::Error(message) | ThrownKind::Limit(message) => message.clone(),
            ThrownKind::Value(value) => crate::exception::describe(value),
        }
    }

    /// Returns where it was thrown, once the machine has seen it.
    pub fn place(&self) -> Option<Span> {
        self.0.place
    }

    pub(crate) fn into_kind(self) -> ThrownKind {
        self.0.kind
    }

    pub(crate) fn set_place(&mut self, place: Option<Span>) {
        if self.0.place.is_none() {
            self.0.place = place;
        }
    }

    pub(crate) fn trace(&self) -> &[(Str, Option<Span>)] {
        &self.0.trace
    }

    pub(crate) fn set_trace(&mut self, trace: Vec<(Str, Option<Span>)>) {
        if self.0.trace.is_empty() {
            self.0.trace = trace;
        }
    }
}

impl std::fmt::Display for Thrown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for Thrown {}
