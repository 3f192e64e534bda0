//! Records of calls that are over, to be used again: first by the same thread, then by any.
//!
//! Making a record takes a handful of allocations, more than most functions of plugins do themselves.
//! A record is never freed, since plugins may come back to it with the handle of a call that is over;
//! what it holds is, unless it is small and its thread keeps it.

use std::cell::RefCell;

use parking_lot::Mutex;

use super::Call;
use crate::door::door;

/// The records that one thread keeps.
struct Spare(RefCell<Vec<&'static Call>>);

/// Records that no thread keeps; they hold nothing.
static REST: Mutex<Vec<&'static Call>> = Mutex::new(Vec::new());

thread_local! {
    static SPARE: Spare = const { Spare(RefCell::new(Vec::new())) };
}

impl Drop for Spare {
    fn drop(&mut self) {
        let spare = std::mem::take(self.0.get_mut());
        spare.iter().for_each(|call| call.strip());
        REST.lock().extend(spare);
    }
}

/// Gives a record that is not in use; `None` when there cannot be one more.
#[inline]
pub(super) fn take() -> Option<&'static Call> {
    let kept = SPARE.try_with(|spare| spare.0.try_borrow_mut().ok()?.pop());
    kept.ok().flatten().or_else(take_from_rest)
}

#[cold]
fn take_from_rest() -> Option<&'static Call> {
    let rested = REST.lock().pop();
    rested.or_else(|| door().calls.add(|index| Box::leak(Box::new(Call::new(index)))))
}

/// Takes a record back that is no longer in use.
#[inline]
pub(super) fn put(call: &'static Call) {
    let is_kept = SPARE.try_with(|spare| {
        let Ok(mut spare) = spare.0.try_borrow_mut() else { return false };
        let has_room = spare.len() < LIMIT;
        if has_room {
            spare.push(call);
        }
        has_room
    });
    if !is_kept.unwrap_or(false) {
        call.strip();
        REST.lock().push(call);
    }
}

/// Records per thread: calls within calls are few, calls that wait take theirs with them.
const LIMIT: usize = 8;
