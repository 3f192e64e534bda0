//! An alternate signal stack for the threads of plugins.
//!
//! A stack that overflows leaves no room for the handler of the fault: the kernel needs another one,
//! and ends the process without a word where there is none. Rust and Go give one to the threads they
//! start, `pthread_create` does not. So a thread that has none gets one when it first calls a
//! function of the host, as nearly every thread of a plugin does early, and keeps it to its end.

use std::cell::{Cell, OnceCell};
use std::ffi::c_void;
use std::ptr;

thread_local! {
    /// This thread was looked at. Constant and without a destructor: a look costs one load.
    static SEEN: Cell<bool> = const { Cell::new(false) };
    /// What it was lent.
    static LENT: OnceCell<Lent> = const { OnceCell::new() };
}

/// Memory that is this thread's signal stack until it ends.
struct Lent(*mut c_void);

/// Gives the thread an alternate signal stack if it has none.
pub(crate) fn lend() {
    if SEEN.replace(true) {
        return;
    }
    // SAFETY: all zero is a valid value of this structure of C.
    let mut current: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: asks only; the structure is ours.
    let asked = unsafe { libc::sigaltstack(ptr::null(), &raw mut current) };
    if asked != 0 || current.ss_flags & libc::SS_DISABLE == 0 {
        return;
    }
    // Nothing can be done about a failure, and little is lost: no last line when a stack overflows.
    // A thread that is about to end gets none.
    let _ = LENT.try_with(|lent| Lent::new().map(|stack| lent.set(stack)));
}

impl Lent {
    fn new() -> Option<Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, which nobody else knows.
        let memory = unsafe { libc::mmap(ptr::null_mut(), SIZE, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return None;
        }
        let this = Self(memory);
        let stack = libc::stack_t { ss_sp: memory, ss_flags: 0, ss_size: SIZE };
        // SAFETY: the memory lives until `Drop`, which takes the stack back first.
        (unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } == 0).then_some(this)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: all zero is a valid value of this structure of C.
        let mut current: libc::stack_t = unsafe { std::mem::zeroed() };
        // SAFETY: asks only; the structure is ours.
        let asked = unsafe { libc::sigaltstack(ptr::null(), &raw mut current) };
        // Somebody may have put another one in its place.
        if asked == 0 && current.ss_sp == self.0 {
            let none =
                libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: SIZE };
            // SAFETY: no handler runs on it: this thread is here.
            unsafe { libc::sigaltstack(&raw const none, ptr::null_mut()) };
        }
        // SAFETY: memory of ours that nobody uses any more.
        unsafe { libc::munmap(self.0, SIZE) };
    }
}

/// Octets of a stack: our handler needs few, the registers of large vector units some thousand.
const SIZE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn asks(_: *mut c_void) -> *mut c_void {
        // SAFETY: all zero is a valid value; `sigaltstack` asks only.
        let sizes = [(), ()].map(|()| unsafe {
            let mut current: libc::stack_t = std::mem::zeroed();
            libc::sigaltstack(ptr::null(), &raw mut current);
            lend();
            if current.ss_flags & libc::SS_DISABLE == 0 { current.ss_size } else { 0 }
        });
        ptr::without_provenance_mut(usize::from(sizes == [0, SIZE]))
    }

    #[test]
    fn a_thread_of_c_is_lent_a_stack_and_one_of_ours_keeps_its_own() {
        let (mut thread, mut answer): (libc::pthread_t, _) = (0, ptr::null_mut());
        // SAFETY: the function takes nothing and its answer is a number.
        unsafe {
            libc::pthread_create(&raw mut thread, ptr::null(), asks, ptr::null_mut());
            libc::pthread_join(thread, &raw mut answer);
        }
        assert_eq!(answer.addr(), 1);
        std::thread::spawn(|| {
            lend();
            assert!(LENT.with(|lent| lent.get().is_none()));
        })
        .join()
        .unwrap();
    }
}
