//! Records of calls that are over, kept to be used again by the same thread.
//!
//! Making a record takes a handful of allocations, more than most functions of plugins do themselves.
//! Only a record that nobody else holds is kept.

use std::cell::RefCell;
use std::sync::Arc;

use super::Call;

thread_local! {
    static SPARE: RefCell<Vec<Arc<Call>>> = const { RefCell::new(Vec::new()) };
}

/// Gives a record that ended, if there is one.
pub(super) fn take() -> Option<Arc<Call>> {
    SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop()).ok().flatten()
}

/// Takes a record back that ended and that nobody else holds.
pub(super) fn put(call: Arc<Call>) {
    let _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.len() < LIMIT
        {
            spare.push(call);
        }
    });
}

/// Records per thread: calls within calls are few.
const LIMIT: usize = 8;
