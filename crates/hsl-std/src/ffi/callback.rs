//! Functions of scripts that C calls.
//!
//! C cannot be parked, so the function runs on a machine of its own until it is done. It may not
//! wait, and what it may do is bounded. What it echoes and throws reaches the script when the
//! function of C that called it is back.

use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hsl::cache::CacheStore;
use hsl::host::{CallContext, Clock, HostSet, Limits, NativeStep, Registry, Thrown};
use hsl::shared_memory::SharedMemory;
use hsl::value::Value;
use hsl::{Compiler, Program, Setup, Step, Vm};
use libffi::low::ffi_cif;
use libffi::middle::{Cif, Closure};
use parking_lot::Mutex;

use super::types::CType;
use super::value::{ForeignValue, Free, Owner};

/// The function that is registered where FFI is allowed.
pub(super) const CALL: &str = "__ffi_callback";

/// What happened in functions that C called meanwhile.
#[derive(Default)]
pub(super) struct Calls {
    echoed: Vec<Vec<u8>>,
    thrown: Option<Thrown>,
    /// Octets that may still be kept of what they echo.
    room: usize,
}

impl Calls {
    /// Shows it to the script.
    pub(super) fn finish(self, ctx: &mut CallContext<'_>) -> Result<(), Thrown> {
        for line in self.echoed {
            ctx.echo(&line);
        }
        self.thrown.map_or(Ok(()), Err)
    }
}

thread_local! {
    /// The calls into C under way on this thread, innermost last.
    static CALLS: RefCell<Vec<Calls>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body`, a call into C, and gathers what functions of the script do in it.
pub(super) fn during<R>(ctx: &CallContext<'_>, body: impl FnOnce() -> R) -> (R, Calls) {
    let calls = Calls { room: ctx.limits().memory, ..Calls::default() };
    CALLS.with_borrow_mut(|all| all.push(calls));
    let result = body();
    let calls = CALLS.with_borrow_mut(Vec::pop);
    (result, calls.unwrap_or_default())
}

/// Registers the function that a callback's program calls.
pub(super) fn register(registry: &mut Registry) {
    registry.function(
        &format!("{CALL}() -> any"),
        "calls the function that C asks for",
        |ctx, _| match ctx.state::<Option<Pending>>().and_then(Option::take) {
            None => NativeStep::Throw(Thrown::new("nothing is called by C here")),
            Some(Pending { function, arguments }) => {
                NativeStep::call(function, arguments, |_: &mut CallContext<'_>, value: Value| {
                    NativeStep::Return(value)
                })
            }
        },
    );
}

struct Pending {
    function: Value,
    arguments: Vec<Value>,
}

/// A function of a script with all it needs to run.
struct Callback {
    arguments: Vec<CType>,
    returns: CType,
    function: Value,
    program: Arc<Program>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    memory: Arc<SharedMemory>,
    cache: Arc<CacheStore>,
}

/// A code pointer for C with what stands behind it.
struct Code {
    /// Dropped before what it refers to.
    closure: Option<Closure<'static>>,
    callback: *mut Callback,
}

// SAFETY: the closure is immutable once it is made, and `Callback` may be used from any thread.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        self.closure = None;
        // SAFETY: made by `Box::into_raw`, and the closure that used it is gone.
        drop(unsafe { Box::from_raw(self.callback) });
    }
}

/// Makes a function pointer that runs `function`.
pub(super) fn make(
    ctx: &mut CallContext<'_>,
    arguments: Vec<CType>,
    returns: CType,
    function: Value,
) -> Result<Arc<ForeignValue>, Thrown> {
    if arguments.iter().any(|kind| matches!(kind, CType::Void | CType::Variadic))
        || returns == CType::Variadic
    {
        return Err(Thrown::new("FFI::callback() takes numbers and pointers only"));
    }
    let program = program(ctx.host())?;
    // It lives as long as C's pointer does, beyond the execution perhaps.
    ctx.keep(&function);
    let cif = Cif::try_new(arguments.iter().map(|kind| kind.to_library()), returns.to_library());
    let callback = Box::into_raw(Box::new(Callback {
        arguments,
        returns,
        function,
        program,
        limits: *ctx.limits(),
        clock: Arc::clone(ctx.clock()),
        memory: Arc::clone(ctx.shared_memory()),
        cache: Arc::clone(ctx.cache()),
    }));
    let mut code = Code { closure: None, callback };
    // SAFETY: lives until `Code` is dropped, which drops the closure first.
    let shared: &'static Callback = unsafe { &*callback };
    let closure = cif.and_then(|cif| Closure::try_new(cif, enter, shared));
    let closure = closure.map_err(|_| Thrown::new("FFI cannot make a function pointer"))?;
    let address = *closure.code_ptr() as usize;
    code.closure = Some(closure);
    Ok(ForeignValue::owning(address, Owner::new(address, None, Free::Keeper(Box::new(code)))))
}

/// The program around a callback, compiled against what the script itself sees.
fn program(host: &Arc<HostSet>) -> Result<Arc<Program>, Thrown> {
    let compiled =
        Compiler::new(host).compile("ffi:callback", "FFI::callback", b"return __ffi_callback();");
    compiled.map_err(|_| Thrown::new("FFI::callback() is not available here"))
}

/// # Safety
///
/// Called by the closure with its own user data, and arguments of the types it was made for.
unsafe extern "C" fn enter(
    _: &ffi_cif,
    result: &mut u64,
    args: *const *const c_void,
    callback: &Callback,
) {
    let word = catch_unwind(AssertUnwindSafe(|| {
        let mut arguments = Vec::with_capacity(callback.arguments.len());
        for (at, kind) in callback.arguments.iter().enumerate() {
            let mut octets = [0; 8];
            // SAFETY: one pointer per argument, each to a value of its type.
            unsafe {
                let from = (*args.add(at)).cast::<u8>();
                std::ptr::copy_nonoverlapping(from, octets.as_mut_ptr(), kind.width());
            }
            arguments.push(ForeignValue::new(*kind, octets).to_value());
        }
        match callback.run(arguments) {
            Ok(word) => word,
            Err(thrown) => {
                CALLS.with_borrow_mut(|all| {
                    if let Some(calls) = all.last_mut() {
                        calls.thrown.get_or_insert(thrown);
                    }
                });
                0
            }
        }
    }));
    if callback.returns != CType::Void {
        *result = word.unwrap_or(0);
    }
}

impl Callback {
    fn run(&self, arguments: Vec<Value>) -> Result<u64, Thrown> {
        let echoed = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&echoed);
        let pending = Pending { function: self.function.clone(), arguments };
        let setup = Setup {
            limits: self.limits,
            echo: Box::new(move |line: &[u8]| lines.lock().push(line.to_vec())),
            clock: Arc::clone(&self.clock),
            shared_memory: Arc::clone(&self.memory),
            cache: Arc::clone(&self.cache),
            states: vec![Box::new(Some(pending))],
            ..Setup::default()
        };
        let mut vm = Vm::new(&self.program, setup);
        let step = vm.run(CALLBACK_FUEL);
        CALLS.with_borrow_mut(|all| {
            let Some(calls) = all.last_mut() else { return };
            for line in std::mem::take(&mut *echoed.lock()) {
                if let Some(room) = calls.room.checked_sub(line.len() + size_of::<Vec<u8>>()) {
                    calls.room = room;
                    calls.echoed.push(line);
                }
            }
        });
        match step {
            Step::Done(value) => self.result(&value),
            Step::Threw(error) => Err(Thrown::new(error.diagnostic().message())),
            Step::Exited(_) => Err(Thrown::new("a function called by C cannot end the script")),
            Step::Suspended(_) => Err(Thrown::new("a function called by C cannot wait")),
            Step::OutOfFuel => Err(Thrown::new("a function called by C takes too long")),
        }
    }

    /// The word that C gets: whole registers, also for smaller types.
    fn result(&self, value: &Value) -> Result<u64, Thrown> {
        if self.returns == CType::Void {
            return Ok(0);
        }
        if value.is_none() && self.returns == CType::Pointer {
            return Ok(0);
        }
        let value = ForeignValue::find(Some(value)).filter(|value| value.kind() == self.returns);
        let wanted = self.returns.name();
        let value = value.ok_or_else(|| {
            Thrown::new(format!("a function called by C must return an FFI value of type {wanted}"))
        })?;
        Ok(match self.returns {
            CType::Float | CType::Double => u64::from_le_bytes(value.octets()),
            kind => kind.integer(value.octets()),
        })
    }
}

/// Steps of one call: some tenths of a second, which the thread is held.
const CALLBACK_FUEL: u64 = 5_000_000;
