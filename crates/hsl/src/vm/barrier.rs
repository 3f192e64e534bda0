//! Critical sections across executions.

use super::frame::Target;
use super::{State, Step, Vm};
use crate::host::Thrown;
use crate::shared_memory::LockGuard;
use crate::value::{Resource, Str, Value};

/// Wraps a lock, so that it lives in a register and is given back when its frame goes.
fn resource(guard: LockGuard) -> Value {
    Value::Resource(Resource::new("Barrier", guard))
}

/// Returns the shared value of a barrier that was entered; unset if there is none.
pub(super) fn value(guard: &Value) -> Value {
    guard
        .as_resource()
        .and_then(Resource::get::<LockGuard>)
        .and_then(|guard| guard.with(|place| place.get().cloned()))
        .unwrap_or(Value::Unset)
}

impl Vm {
    /// Takes the lock of `name` into a place of the stack, or waits for it.
    pub(super) fn enter_barrier(&mut self, name: &Str, place: usize) -> Option<Step> {
        let owner = self.environment.owner;
        if let Some(guard) = self.environment.shared.try_lock(name, owner) {
            if let Some(place) = self.stack.get_mut(place) {
                *place = resource(guard);
            }
            return None;
        }
        let wait = self.environment.shared.lock(name, owner);
        self.state = State::Waiting(Target::Stack(place));
        Some(Step::Suspended(Box::pin(async move { Ok(resource(wait.await)) })))
    }

    /// Stores the value of a section, if it has a variable, and gives the lock back.
    ///
    /// # Errors
    ///
    /// The shared memory has no room for the value; what was there stays, and the lock is given back.
    pub(super) fn leave_barrier(
        &mut self,
        guard: Value,
        value: Option<Value>,
    ) -> Result<(), Thrown> {
        // A section that was left before has no lock any more.
        let Some(guard) = guard.as_resource().and_then(Resource::get::<LockGuard>) else {
            return Ok(());
        };
        match value {
            None => {}
            Some(Value::Unset) => drop(guard.with(|place| place.take())),
            Some(value) => {
                let value = self.environment.stored(value);
                guard.with(|place| place.set(value))?;
            }
        }
        Ok(())
    }
}
