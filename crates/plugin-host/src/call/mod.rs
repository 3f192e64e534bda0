//! One call of a native function: arguments, return slot, exception slot and stage.
//!
//! The record lives until the call is over for both sides. While it is suspended, the script's side
//! holds it through the future, and the plugin's side through its handle.

mod phase;
mod spare;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hsl::Value;
use hsl::host::{NativeStep, Thrown};
use hsl::value::Object;
use plugin_abi::signatures::HalonHSLFunction;
use plugin_abi::{HalonHSLArguments, HalonHSLContext, HalonHSLValue};

use crate::calling;
use crate::door::door;
use crate::object::ObjectPointer;
use crate::plugin::{Plugin, PluginPointer};
use crate::pool::Handle;
use crate::value::{Cell, Setting, Tree, this_setting};

pub(crate) use phase::{Phase, Returned, Scheduled};

/// The record of one call.
pub(crate) struct Call {
    arguments: ArgumentList,
    /// The slot that `HalonMTA_hsl_throw` gave.
    thrown: OnceLock<u32>,
    this: Option<Object>,
    phase: Phase,
}

/// What a `HalonHSLArguments *` points to.
#[repr(C)]
pub(crate) struct ArgumentList {
    tag: u64,
    /// Arguments first, then the return slot, then whatever the plugin adds.
    tree: Arc<Tree>,
    count: u32,
}

/// Calls a function of a plugin, which scripts know as `name`. It takes the values out of
/// `arguments`.
pub(crate) fn invoke(
    plugin: &Arc<Plugin>,
    name: &str,
    function: HalonHSLFunction,
    arguments: &mut [Value],
    this: Option<&Object>,
) -> NativeStep {
    let again = spare::take().and_then(|mut call| {
        let result = Arc::get_mut(&mut call)?.begin(plugin, arguments, this)?;
        Some((call, result))
    });
    let (call, result) = again.unwrap_or_else(|| {
        let call = Arc::new(Call::new(plugin, arguments, this));
        let result = call.arguments.tree.pointer(call.arguments.count);
        (call, result)
    });
    let list = call.arguments.as_ptr();
    let handle = door().calls.insert(Arc::clone(&call));
    calling::brief(plugin, name, || {
        // SAFETY: context, arguments and slot live until the call is over for both sides; the
        // function is what the plugin registered.
        unsafe { function(handle.as_ptr(), list, result) };
    });
    match call.phase.returned() {
        Returned::Done => finish(call, handle).into(),
        Returned::Parked => NativeStep::suspend(Waiting { call: Some((call, handle)) }),
    }
}

/// Ends a call whose function has returned and that waits for nobody; gives its outcome.
fn finish(mut call: Arc<Call>, handle: Handle<Call>) -> Result<Value, Thrown> {
    door().calls.release(handle);
    let Some(record) = Arc::get_mut(&mut call) else { return call.outcome() };
    // Nobody else has it: no lock is needed, and the record can be used again.
    let (outcome, is_kept) = record.end();
    if is_kept {
        spare::put(call);
    }
    outcome
}

impl Call {
    fn new(plugin: &Arc<Plugin>, arguments: &mut [Value], this: Option<&Object>) -> Self {
        let mut values = Vec::with_capacity(arguments.len() + 1);
        values.extend(arguments.iter_mut().map(Value::take));
        let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
        values.push(Value::None);
        Self {
            arguments: ArgumentList { tag: TAG, tree: Tree::new(Some(plugin), values), count },
            thrown: OnceLock::new(),
            this: this.cloned(),
            phase: Phase::new(),
        }
    }

    /// Begins another call with a record that ended and gives its return slot; `None`, with nothing
    /// taken, if somebody still has its values.
    fn begin(
        &mut self,
        plugin: &Arc<Plugin>,
        arguments: &mut [Value],
        this: Option<&Object>,
    ) -> Option<*mut HalonHSLValue> {
        let tree = Arc::get_mut(&mut self.arguments.tree)?;
        self.arguments.count = u32::try_from(arguments.len()).unwrap_or(u32::MAX);
        let values = arguments.iter_mut().map(Value::take).chain([Value::None]);
        tree.fill(Some(plugin), values);
        self.this = this.cloned();
        Some(tree.own_pointer(self.arguments.count))
    }

    /// Ends the call and drops what it held: objects and files of a call end with it. Tells whether
    /// the record is worth keeping.
    fn end(&mut self) -> (Result<Value, Thrown>, bool) {
        let early = if self.thrown.get().is_some() { Some(self.outcome()) } else { None };
        self.thrown = OnceLock::new();
        self.this = None;
        self.phase = Phase::new();
        match Arc::get_mut(&mut self.arguments.tree) {
            Some(tree) => {
                let outcome = early.unwrap_or_else(|| Ok(tree.own_value(self.arguments.count)));
                (outcome, tree.clear())
            }
            None => (early.unwrap_or_else(|| self.outcome()), false),
        }
    }

    fn tree(&self) -> &Tree {
        &self.arguments.tree
    }

    /// What the function gave: a value, or an exception.
    fn outcome(&self) -> Result<Value, Thrown> {
        if let Some(slot) = self.thrown.get() {
            if let Some(message) = self.tree().exception(*slot) {
                return Err(Thrown::new(message));
            }
            let value = self.tree().value(*slot);
            if !value.is_none() {
                return Err(Thrown::value(value));
            }
        }
        Ok(self.tree().value(self.arguments.count))
    }

    /// Finds the call that C means; `None` for NULL and calls that are over.
    ///
    /// # Safety
    ///
    /// `context` is NULL or was handed out by this host.
    pub(crate) unsafe fn find(
        context: *const HalonHSLContext,
    ) -> Option<(Handle<Self>, Arc<Self>)> {
        // SAFETY: the caller keeps the contract.
        unsafe { door().calls.find(context) }
    }

    /// The slot of the exception.
    pub(crate) fn throw_slot(&self) -> Option<Cell<'_>> {
        self.tree().cell(*self.thrown.get_or_init(|| self.tree().add().index()))
    }

    /// Suspends when the function returns.
    pub(crate) fn suspend_return(&self) {
        self.phase.suspend_return();
    }

    /// Blocks the thread until the call is scheduled.
    pub(crate) fn suspend(&self) {
        calling::apart(|| {
            door().block(|| {
                self.phase.block();
            });
        });
    }

    /// The pointer of the object that the method was called on.
    pub(crate) fn object_pointer(&self) -> Option<PluginPointer> {
        Some(self.this.as_ref()?.state::<ObjectPointer>()?.get())
    }

    /// The object that the method was called on, to set a value to.
    pub(crate) fn this_setting(&self) -> Option<Setting> {
        this_setting(self.this.as_ref())
    }
}

/// Wakes the script of a call, from any thread; an early wake-up is kept.
///
/// # Safety
///
/// As [`Call::find`].
pub(crate) unsafe fn schedule(context: *const HalonHSLContext) {
    // SAFETY: the caller keeps the contract.
    let Some((handle, call)) = (unsafe { Call::find(context) }) else {
        tracing::debug!("plugin.schedule_of_ended_call");
        return;
    };
    match call.phase.schedule() {
        Scheduled::Woken => {}
        Scheduled::GivenBack => {
            door().calls.release(handle);
        }
        Scheduled::Ignored => tracing::debug!("plugin.schedule_ignored"),
    }
}

impl ArgumentList {
    fn as_ptr(&self) -> *mut HalonHSLArguments {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Finds the list that C means; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `arguments` is NULL or that of a call which lives through `'a`.
    pub(crate) unsafe fn from_raw<'a>(arguments: *const HalonHSLArguments) -> Option<&'a Self> {
        let list = arguments.cast::<Self>();
        if list.is_null() || !list.is_aligned() {
            return None;
        }
        // SAFETY: the caller keeps the contract.
        let list = unsafe { &*list };
        (list.tag == TAG).then_some(list)
    }

    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    /// The address of an argument for C; NULL past the last one.
    pub(crate) fn pointer(&self, at: usize) -> *mut HalonHSLValue {
        match u32::try_from(at) {
            Ok(at) if at < self.count => self.tree.pointer(at),
            _ => std::ptr::null_mut(),
        }
    }
}

/// A script that waits for `schedule`.
///
/// # Cancel safety
///
/// Dropped early (a time limit, a closed connection), it leaves the record with the plugin until it
/// is scheduled; the value is lost.
struct Waiting {
    call: Option<(Arc<Call>, Handle<Call>)>,
}

impl Future for Waiting {
    type Output = Result<Value, Thrown>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.call.take() {
            Some((call, handle)) if call.phase.poll(context.waker()) => {
                Poll::Ready(finish(call, handle))
            }
            waiting => {
                self.call = waiting;
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((call, handle)) = self.call.take()
            && !call.phase.abandon()
        {
            door().calls.release(handle);
        }
    }
}

/// Marks an argument list.
const TAG: u64 = 0x4d54_4161_7267_7573;
