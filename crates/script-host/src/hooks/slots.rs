//! `CurrentConnections`: how many deliveries are under way under a name that scripts chose.
//!
//! A slot is taken by the script and given back when its attempt is over, or when the script decides
//! against an attempt. Names are the scripts' own; one that nobody holds a slot of takes no memory.

use std::collections::HashMap;
use std::sync::Arc;

use hsl::Value;
use hsl::host::{CallContext, Registry, Thrown};
use parking_lot::Mutex;

use super::values;

/// The slots that are taken now, by namespace and entry.
#[derive(Debug, Default)]
pub struct Slots {
    taken: Mutex<HashMap<Name, u32>>,
}

/// Namespace and entry.
type Name = (Box<str>, Box<str>);

/// A slot; dropping it gives it back.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    name: Name,
}

impl Slots {
    /// Takes a slot, however many are taken; says how many are then, this one included.
    fn take(self: &Arc<Self>, name: Name) -> (Slot, u32) {
        let mut taken = self.taken.lock();
        let count = taken.entry(name.clone()).or_default();
        *count += 1;
        (Slot { slots: Arc::clone(self), name }, *count)
    }

    /// How many slots of the name are taken.
    fn count(&self, name: &Name) -> u32 {
        self.taken.lock().get(name).copied().unwrap_or(0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        if let Some(count) = taken.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.name);
            }
        }
    }
}

/// The slots of one execution; lives in it.
pub struct TakenSlots {
    slots: Arc<Slots>,
    /// One for each name.
    taken: Vec<Slot>,
}

impl TakenSlots {
    /// None yet.
    pub const fn new(slots: Arc<Slots>) -> Self {
        Self { slots, taken: Vec::new() }
    }

    /// Hands the slots on to the attempt.
    pub fn into_taken(self) -> Arc<[Slot]> {
        self.taken.into()
    }
}

pub(super) fn register(registry: &mut Registry) {
    registry.function(
        "CurrentConnections(string namespace, string entry, number max) -> boolean",
        "Takes a slot of the name until the attempt is over; false when more than max are taken.",
        |context: &mut CallContext<'_>, args: &mut [Value]| {
            let text = |at: usize| args.get(at).map(values::text).unwrap_or_default().into();
            let name: Name = (text(0), text(1));
            let most = args.get(2).and_then(Value::as_number).unwrap_or(0.0);
            let run = context.state::<TakenSlots>().ok_or_else(|| {
                Thrown::new("CurrentConnections() is available in pre-delivery scripts only")
            })?;
            let count = if run.taken.iter().any(|slot| slot.name == name) {
                run.slots.count(&name)
            } else {
                let (slot, count) = run.slots.take(name);
                run.taken.push(slot);
                count
            };
            Ok::<_, Thrown>(Value::Bool(f64::from(count) <= most))
        },
    );
}
