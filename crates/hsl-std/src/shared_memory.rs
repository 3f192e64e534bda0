//! Shared memory chapter: named values that all executions of the process share.
//!
//! The store and its locks are the language's ([`hsl::shared_memory`]), so that `barrier` and these
//! functions exclude each other. A function with a callback holds the lock of its key until the
//! callback is done, which may suspend; without one, nobody waits unless a barrier is held.

use std::sync::Arc;

use hsl::host::{CallContext, Continuation, NativeStep, Registry, Thrown};
use hsl::shared_memory::{Full, LockGuard, Place, Stored};
use hsl::value::{Str, Value};
use parking_lot::Mutex;

use crate::args;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry) {
    registry
        .function(
            "memory_add(string key, any value) -> boolean",
            "stores a value only if the key is new",
            |ctx, args| {
                let value = ctx.stored(args::take(args, 1));
                change(ctx, args::text(args, 0), move |place| Ok(place.add(value)?.into()))
            },
        )
        .function(
            "memory_store(string key, any value [, function callback]) -> boolean",
            "stores a value; true if the key existed, then callback(key, oldvalue)",
            store,
        )
        .function(
            "memory_fetch(string key [, function callback]) -> any",
            "the stored value; if missing none, or the value of callback(key)",
            fetch,
        )
        .function(
            "memory_exists(string key [, function callback]) -> boolean",
            "true if the key exists, then callback(key, value)",
            |ctx, args| observe(ctx, args, |guard| guard.with(|place| place.get().cloned())),
        )
        .function(
            "memory_delete(string key [, function callback]) -> boolean",
            "removes a value; true if it existed, then callback(key, value)",
            |ctx, args| observe(ctx, args, |guard| guard.with(|place| place.take())),
        )
        .function(
            "memory_update(string key, any value, function callback [, any initial]) -> boolean",
            "stores the value of callback(key, current, value); true if the key existed",
            update,
        )
        .function(
            "memory_inc(string key, number offset = 1) -> number or none",
            "adds to a number that starts from 0; none if it is no number",
            |ctx, args| {
                let offset = args::number(args, 1);
                add(ctx, args::text(args, 0), offset, false)
            },
        )
        .function(
            "memory_dec(string key, number offset = 1, boolean remove_if_zero = false) \
             -> number or none",
            "takes from a number that starts from 0; none if it is no number",
            |ctx, args| {
                let offset = -args::number(args, 1);
                let remove_if_zero = args.get(2).is_some_and(Value::is_truthy);
                add(ctx, args::text(args, 0), offset, remove_if_zero)
            },
        );
}

fn add(ctx: &mut CallContext<'_>, key: Str, offset: f64, remove_if_zero: bool) -> NativeStep {
    change(ctx, key, move |place| {
        let current = match place.get() {
            None => 0.0,
            Some(Value::Number(number)) => *number,
            Some(_) => return Ok(Value::None),
        };
        let sum = Value::Number(current + offset);
        if remove_if_zero && current + offset == 0.0 {
            place.take();
        } else {
            place.set(Stored::new(sum.clone()))?;
        }
        Ok(sum)
    })
}

fn store(ctx: &mut CallContext<'_>, args: &mut [Value]) -> NativeStep {
    let (key, value, callback) = (args::text(args, 0), args::take(args, 1), args::take(args, 2));
    let value = ctx.stored(value);
    if callback.is_none() {
        return change(ctx, key, move |place| {
            let existed = place.get().is_some();
            place.set(value)?;
            Ok(existed.into())
        });
    }
    locked(ctx, key, move |_, guard| {
        let replaced = guard.with(|place| {
            let old = place.get().cloned();
            place.set(value).map(|()| old)
        });
        match replaced {
            Ok(Some(old)) => call_back(callback, guard, Some(old)),
            Ok(None) => false.into(),
            Err(full) => NativeStep::Throw(full.into()),
        }
    })
}

fn fetch(ctx: &mut CallContext<'_>, args: &mut [Value]) -> NativeStep {
    let (key, callback) = (args::text(args, 0), args::take(args, 1));
    if callback.is_none() {
        return change(ctx, key, |place| Ok(place.get().cloned().unwrap_or_default()));
    }
    locked(ctx, key, move |_, guard| match guard.with(|place| place.get().cloned()) {
        Some(value) => value.into(),
        None => {
            let key = Value::String(guard.key().clone());
            NativeStep::call(callback, [key], move |_: &mut CallContext<'_>, value: Value| {
                drop(guard);
                NativeStep::Return(value)
            })
        }
    })
}

/// Takes a value with `take` and shows it to the callback, if there is one.
fn observe(
    ctx: &mut CallContext<'_>,
    args: &mut [Value],
    take: fn(&LockGuard) -> Option<Value>,
) -> NativeStep {
    let (key, callback) = (args::text(args, 0), args::take(args, 1));
    locked(ctx, key, move |_, guard| match take(&guard) {
        Some(value) if !callback.is_none() => call_back(callback, guard, Some(value)),
        found => found.is_some().into(),
    })
}

/// Calls `callback(key, value)` and then gives true.
fn call_back(callback: Value, guard: LockGuard, value: Option<Value>) -> NativeStep {
    let key = Value::String(guard.key().clone());
    let arguments = [key].into_iter().chain(value);
    NativeStep::call(callback, arguments, move |_: &mut CallContext<'_>, _: Value| {
        drop(guard);
        NativeStep::Return(Value::Bool(true))
    })
}

fn update(ctx: &mut CallContext<'_>, args: &mut [Value]) -> NativeStep {
    let has_initial = ctx.given() > 3;
    let (key, value) = (args::text(args, 0), args::take(args, 1));
    let (callback, initial) = (args::take(args, 2), args::take(args, 3));
    locked(ctx, key, move |_, guard| {
        let stored = guard.with(|place| place.get().cloned());
        let existed = stored.is_some();
        let current = match stored {
            Some(stored) => stored,
            None if has_initial => initial,
            None => return false.into(),
        };
        let key = Value::String(guard.key().clone());
        let arguments = [key, current, value];
        let then = move |ctx: &mut CallContext<'_>, new: Value| {
            let new = ctx.stored(new);
            match guard.with(|place| place.set(new)) {
                Ok(()) => NativeStep::Return(Value::Bool(existed)),
                Err(full) => NativeStep::Throw(full.into()),
            }
        };
        NativeStep::call(callback, arguments, then)
    })
}

/// Runs `body` on the place of `key` in one step.
fn change(
    ctx: &mut CallContext<'_>,
    key: Str,
    body: impl FnOnce(&mut Place<'_>) -> Result<Value, Full> + Send + 'static,
) -> NativeStep {
    let memory = Arc::clone(ctx.shared_memory());
    let owner = ctx.owner();
    let mut body = Some(body);
    let done = memory.try_with(&key, owner, |place| body.take().map(|body| body(place)));
    match (done.flatten(), body) {
        (Some(result), _) => result.map_err(Thrown::from).into(),
        (None, Some(body)) => {
            locked(ctx, key, move |_, guard| guard.with(body).map_err(Thrown::from).into())
        }
        (None, None) => NativeStep::Return(Value::None),
    }
}

/// Takes the lock of `key`, waiting for it if somebody has it, and goes on in `body`.
fn locked(
    ctx: &mut CallContext<'_>,
    key: Str,
    body: impl FnOnce(&mut CallContext<'_>, LockGuard) -> NativeStep + Send + 'static,
) -> NativeStep {
    let memory = Arc::clone(ctx.shared_memory());
    let owner = ctx.owner();
    if let Some(guard) = memory.try_lock(&key, owner) {
        return body(ctx, guard);
    }
    // A future gives values only, so the guard travels beside it.
    let slot = Arc::new(Mutex::new(None));
    let waiting = Arc::clone(&slot);
    NativeStep::SuspendThen {
        future: Box::pin(async move {
            let guard = memory.lock(&key, owner).await;
            *waiting.lock() = Some(guard);
            Ok(Value::None)
        }),
        then: Box::new(AfterLock { slot, body }),
    }
}

struct AfterLock<F> {
    slot: Arc<Mutex<Option<LockGuard>>>,
    body: F,
}

impl<F> Continuation for AfterLock<F>
where
    F: FnOnce(&mut CallContext<'_>, LockGuard) -> NativeStep + Send,
{
    fn resume(self: Box<Self>, ctx: &mut CallContext<'_>, _: Value) -> NativeStep {
        let guard = self.slot.lock().take();
        match guard {
            Some(guard) => (self.body)(ctx, guard),
            None => NativeStep::Throw(Thrown::new("the lock of the shared memory was lost")),
        }
    }
}
