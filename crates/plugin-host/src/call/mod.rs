//! One call of a native function: arguments, return slot, exception slot and stage.
//!
//! A record serves one call after the other; a [`Ticket`] says which of them is meant. While the call
//! is suspended, the script's side holds its ticket in the future, and the plugin's side in its handle.

mod phase;
mod spare;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::task::{Context, Poll};

use hsl::Value;
use hsl::host::{NativeStep, Thrown};
use hsl::value::Object;
use parking_lot::Mutex;
use plugin_abi::signatures::HalonHSLFunction;
use plugin_abi::{HalonHSLArguments, HalonHSLContext, HalonHSLValue};

use crate::calling::{self, Site};
use crate::door::door;
use crate::object::ObjectPointer;
use crate::outstanding::clear_elsewhere;
use crate::plugin::{Plugin, PluginPointer};
use crate::table::{Handle, Kind};
use crate::value::{Cell, Head, Setting, Tree, this_setting};

pub(crate) use phase::{Phase, Returned, Scheduled};

/// The record of one call after the other. It is never freed and never moves.
pub(crate) struct Call {
    /// Its place in the table.
    index: u32,
    phase: Phase,
    arguments: ArgumentList,
    /// Arguments first, then the return slot, then whatever the plugin adds.
    tree: Tree,
    /// Whether `extra` says anything.
    has_extra: AtomicBool,
    extra: Mutex<Extra>,
}

/// What few calls have.
#[derive(Default)]
struct Extra {
    /// The object that the method was called on.
    this: Option<Object>,
    /// The slot that `HalonMTA_hsl_throw` gave, with the number of its call.
    thrown: Option<(u32, u32)>,
    /// Where the values are dropped when the script is gone before the plugin has scheduled.
    runtime: Option<tokio::runtime::Handle>,
}

/// One call of a record.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    call: &'static Call,
    number: u32,
}

/// What a `HalonHSLArguments *` points to.
#[repr(C)]
pub(crate) struct ArgumentList {
    tag: u64,
    /// The first of the cells, which lie in a row: one for each argument, then the return slot.
    first: AtomicPtr<Head>,
    count: AtomicU32,
}

/// Calls `function` of a plugin, which is `site`. It takes the values out of `arguments`.
///
/// A function that is known to wait inside C needs a place for that first; the script is parked until
/// it has one.
pub(crate) fn invoke(
    plugin: &Arc<Plugin>,
    site: &'static Site,
    function: HalonHSLFunction,
    arguments: &mut [Value],
    this: Option<&Object>,
) -> NativeStep {
    if !site.blocks.load(Ordering::Relaxed) {
        return enter(plugin, site, function, arguments, this, false).into();
    }
    if let Some(_place) = door().waits.try_enter() {
        return enter(plugin, site, function, arguments, this, true).into();
    }
    let plugin = Arc::clone(plugin);
    let mut arguments: Vec<Value> = arguments.iter_mut().map(Value::take).collect();
    let this = this.cloned();
    NativeStep::suspend(async move {
        let place = door().waits.enter().await;
        let entered = enter(&plugin, site, function, &mut arguments, this.as_ref(), true);
        // What is parked is not inside C any more.
        drop(place);
        match entered {
            Entered::Over(result) => result,
            Entered::Parked(waiting) => waiting.await,
        }
    })
}

/// What became of a call when its function had returned.
enum Entered {
    Over(Result<Value, Thrown>),
    Parked(Waiting),
}

impl From<Entered> for NativeStep {
    fn from(entered: Entered) -> Self {
        match entered {
            Entered::Over(result) => result.into(),
            Entered::Parked(waiting) => Self::suspend(waiting),
        }
    }
}

/// Runs the function.
fn enter(
    plugin: &Arc<Plugin>,
    site: &'static Site,
    function: HalonHSLFunction,
    arguments: &mut [Value],
    this: Option<&Object>,
    has_place: bool,
) -> Entered {
    let Some(call) = spare::take() else {
        return Entered::Over(Err(Thrown::new("too many calls of plugins at once")));
    };
    let ticket = call.begin(plugin, arguments, this);
    calling::of_script(plugin, site, has_place, || {
        let (list, result) = (call.arguments.as_ptr(), call.arguments.result());
        // SAFETY: context, arguments and slot live until the call is over for both sides; the
        // function is what the plugin registered.
        unsafe { function(ticket.as_ptr(), list, result) };
    });
    match call.phase.returned(ticket.number) {
        Returned::Done => Entered::Over(ticket.finish()),
        Returned::Parked if ticket.is_scheduled_soon(site) => Entered::Over(ticket.finish()),
        Returned::Parked => Entered::Parked(Waiting { call: Some(ticket) }),
    }
}

/// Wakes the script of a call, from any thread; an early wake-up is kept.
pub(crate) fn schedule(context: *const HalonHSLContext) {
    let Some(ticket) = Call::find(context) else {
        tracing::debug!("plugin.schedule_of_ended_call");
        return;
    };
    match ticket.call.phase.schedule(ticket.number) {
        Scheduled::Woken => {}
        Scheduled::GivenBack => ticket.finish_elsewhere(),
        Scheduled::Ignored => tracing::debug!("plugin.schedule_ignored"),
    }
}

impl Call {
    fn new(index: u32) -> Self {
        Self {
            index,
            phase: Phase::new(),
            arguments: ArgumentList {
                tag: TAG,
                first: AtomicPtr::new(std::ptr::null_mut()),
                count: AtomicU32::new(0),
            },
            tree: Tree::empty(),
            has_extra: AtomicBool::new(false),
            extra: Mutex::default(),
        }
    }

    /// Begins a call. Only who took the record out of [`spare`] calls it.
    fn begin(
        &'static self,
        plugin: &Arc<Plugin>,
        arguments: &mut [Value],
        this: Option<&Object>,
    ) -> Ticket {
        let count = u32::try_from(arguments.len()).unwrap_or(u32::MAX);
        // SAFETY: the record is not in use: no call of it is live, and values of calls that are over
        // are nobody's.
        let first = unsafe { self.tree.refill(plugin, arguments) };
        self.arguments.first.store(first.cast_mut(), Ordering::Relaxed);
        self.arguments.count.store(count, Ordering::Relaxed);
        if let Some(this) = this {
            self.extra.lock().this = Some(this.clone());
            self.has_extra.store(true, Ordering::Relaxed);
        }
        Ticket { call: self, number: self.phase.begin(Kind::Call.numbers()) }
    }

    /// Finds the call that C means; `None` for NULL and calls that are over.
    pub(crate) fn find(context: *const HalonHSLContext) -> Option<Ticket> {
        let handle = Handle::from_ptr(context, Kind::Call)?;
        let call = door().calls.find(handle.index)?;
        call.phase.is_live(handle.number).then_some(Ticket { call, number: handle.number })
    }

    /// Frees what the record keeps for its next call. Only who has it alone calls it.
    fn strip(&self) {
        self.tree.strip();
    }
}

impl Ticket {
    /// The handle of the call for C.
    fn as_ptr(self) -> *mut HalonHSLContext {
        Handle { index: self.call.index, number: self.number }.as_ptr(Kind::Call)
    }

    /// Looks for a moment whether the parked call is scheduled, if that is likely: parking a script
    /// and waking its task take the system longer than many a plugin takes for its answer.
    fn is_scheduled_soon(self, site: &Site) -> bool {
        if !site.patience.is_worth_it() {
            return false;
        }
        let is_scheduled = (0..LOOKS).any(|_| {
            std::hint::spin_loop();
            self.call.phase.is_scheduled(self.number)
        });
        site.patience.learn(is_scheduled);
        is_scheduled
    }

    /// Ends the call, which waits for nobody, gives what its function gave (a value or an exception),
    /// and drops what it held: objects and files of a call end with it. Nobody else ends it.
    fn finish(self) -> Result<Value, Thrown> {
        let Self { call, number } = self;
        let thrown = if call.has_extra.load(Ordering::Relaxed) { self.take_extra() } else { None };
        let result = call.arguments.count.load(Ordering::Relaxed);
        // Over before the lock is given up: a plugin that comes too late to throw adds nothing.
        let value = call.tree.end(result, || call.phase.end(number));
        // SAFETY: the call is over, so its values are nobody's any more.
        unsafe { call.tree.clear() };
        spare::put(call);
        thrown.map_or(Ok(value), Err)
    }

    /// Ends a call that its script has left, on a thread of the runtime the script ran on.
    fn finish_elsewhere(self) {
        let runtime = self.call.extra.lock().runtime.take();
        clear_elsewhere(runtime, move || drop(self.finish()));
    }

    /// Takes the object back, and the exception if there is one.
    #[cold]
    fn take_extra(self) -> Option<Thrown> {
        self.call.has_extra.store(false, Ordering::Relaxed);
        let Extra { this, thrown, runtime: _ } = std::mem::take(&mut *self.call.extra.lock());
        drop(this);
        let (number, slot) = thrown?;
        if number != self.number {
            return None;
        }
        if let Some(message) = self.call.tree.exception(slot) {
            return Some(Thrown::new(message));
        }
        let value = self.call.tree.value(slot);
        if value.is_none() { None } else { Some(Thrown::value(value)) }
    }

    /// The slot of the exception.
    pub(crate) fn throw_slot(self) -> Option<Cell<'static>> {
        let Self { call, number } = self;
        let mut extra = call.extra.lock();
        if let Some((_, slot)) = extra.thrown.filter(|(of, _)| *of == number) {
            return call.tree.cell(slot);
        }
        let cell = call.tree.add_if(|| call.phase.is_live(number))?;
        extra.thrown = Some((number, cell.index()));
        call.has_extra.store(true, Ordering::Relaxed);
        Some(cell)
    }

    /// Suspends when the function returns.
    pub(crate) fn suspend_return(self) {
        self.call.phase.suspend_return(self.number);
    }

    /// Blocks the thread until the call is scheduled.
    pub(crate) fn suspend(self) {
        // The first wait of a function: from now on its calls take a place before they begin. This one
        // takes one that is free, and otherwise a thread that the runtime has for such.
        let _place = calling::takes_place().and_then(|site| {
            site.blocks.store(true, Ordering::Relaxed);
            door().waits.try_enter()
        });
        calling::apart(|| {
            door().waits.block(|| {
                self.call.phase.block(self.number);
            });
        });
    }

    fn this(self) -> Option<Object> {
        let extra = self.call.extra.lock();
        // The record may serve another call by now.
        self.call.phase.is_live(self.number).then(|| extra.this.clone()).flatten()
    }

    /// The pointer of the object that the method was called on.
    pub(crate) fn object_pointer(self) -> Option<PluginPointer> {
        Some(self.this()?.state::<ObjectPointer>()?.get())
    }

    /// The object that the method was called on, to set a value to.
    pub(crate) fn this_setting(self) -> Option<Setting> {
        this_setting(self.this())
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
        self.count.load(Ordering::Relaxed) as usize
    }

    /// The address of the return slot for C.
    fn result(&self) -> *mut HalonHSLValue {
        self.first.load(Ordering::Relaxed).wrapping_add(self.len()).cast()
    }

    /// The address of an argument for C; NULL past the last one.
    pub(crate) fn pointer(&self, at: usize) -> *mut HalonHSLValue {
        if at >= self.len() {
            return std::ptr::null_mut();
        }
        self.first.load(Ordering::Relaxed).wrapping_add(at).cast()
    }
}

/// A script that waits for `schedule`.
///
/// # Cancel safety
///
/// Dropped early (a time limit, a closed connection), it leaves the record with the plugin until it
/// is scheduled; the value is lost.
struct Waiting {
    call: Option<Ticket>,
}

impl Future for Waiting {
    type Output = Result<Value, Thrown>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.call.take() {
            Some(ticket) if ticket.call.phase.poll(ticket.number, context.waker()) => {
                Poll::Ready(ticket.finish())
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
        let Some(ticket) = self.call.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            ticket.call.extra.lock().runtime = Some(runtime);
            ticket.call.has_extra.store(true, Ordering::Relaxed);
        }
        door().outstanding.add();
        if !ticket.call.phase.abandon(ticket.number) {
            door().outstanding.remove();
            drop(ticket.finish());
        }
    }
}

/// How often [`Ticket::is_scheduled_soon`] looks: one to three microseconds, as long as it takes to
/// put a thread to sleep.
const LOOKS: u32 = 64;

/// Marks an argument list.
const TAG: u64 = 0x4d54_4161_7267_7573;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_kept_for_good_is_small() {
        assert!(size_of::<Call>() <= 320, "{} octets", size_of::<Call>());
    }
}
