//! The last words: which plugin a thread was in when a signal ended the process.
//!
//! The handler writes one line to standard error, puts back what was there before it, and returns:
//! the instruction faults again, or the signal is sent again, and the process ends as it would have,
//! with its core dump. It runs on the alternate stack that Rust and Go give their threads, so that
//! it can speak of a stack that overflowed too. Everything here is safe in a signal handler: no
//! allocation, no lock, no formatting machinery.
//!
//! Runtimes inside of plugins set handlers of their own when they are loaded (Go does). They pass on
//! to ours what did not happen in their own code; what did, they report themselves.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{current, ranges};

/// The signals of a program that is at its end.
const SIGNALS: [(c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGABRT, "SIGABRT"),
];

/// What was there before, in the order of [`SIGNALS`].
static PREVIOUS: [OnceLock<libc::sigaction>; SIGNALS.len()] = [const { OnceLock::new() }; 5];

/// The name of the program, once the handlers are set.
static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// The line was written: an abort that follows a fault adds none.
static SPOKEN: AtomicBool = AtomicBool::new(false);

/// Sets the handlers, the first time; call it before the first library is opened.
pub(crate) fn watch(program: &'static str) {
    if PROGRAM.set(program).is_err() {
        return;
    }
    for ((signal, _), previous) in SIGNALS.iter().zip(&PREVIOUS) {
        // SAFETY: all zero is a valid value of this structure of C.
        let (mut action, mut before): (libc::sigaction, libc::sigaction) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handle;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: both structures are ours; the handler has the type that `SA_SIGINFO` asks for.
        if unsafe { libc::sigaction(*signal, &raw const action, &raw mut before) } == 0 {
            let _ = previous.set(before);
        }
    }
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let at = SIGNALS.iter().position(|(known, _)| *known == signal);
    let Some((name, previous)) =
        at.and_then(|at| Some((SIGNALS.get(at)?.1, PREVIOUS.get(at)?.get())))
    else {
        return;
    };
    if !SPOKEN.swap(true, Ordering::Relaxed) {
        let mut line = Line::default();
        describe(&mut line, name, registers(context));
        line.write();
    }
    // SAFETY: NULL or the kernel's.
    let is_sent = unsafe { info.as_ref() }.is_none_or(|info| info.si_code <= 0);
    // SAFETY: all zero is a valid value, and means the default action.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    // A fault happens again by itself, under the handler that was there before. What was sent (abort
    // does that) must be sent again, and waits until this function has returned; the handler of the
    // language would take it for a fault that happens again, and the program would go on.
    let action = previous.filter(|_| !is_sent).unwrap_or(&default);
    // SAFETY: an action that was in force before, or the default.
    unsafe {
        libc::sigaction(signal, std::ptr::from_ref(action), std::ptr::null_mut());
        if is_sent {
            libc::raise(signal);
        }
    }
}

/// What the line says.
fn describe(line: &mut Line, signal: &str, (pc, sp): (usize, usize)) {
    line.push(PROGRAM.get().copied().unwrap_or_default());
    line.push(": ");
    line.push(signal);
    if let Some((plugin, function)) = current() {
        line.push(" in plugin ");
        line.push(plugin);
        line.push(", function ");
        line.push(function);
    } else if let Some(plugin) = ranges::owner(pc).or_else(|| caller(sp)) {
        line.push(" in plugin ");
        line.push(plugin);
        line.push(", on a thread of its own");
    } else {
        line.push(" outside of plugins");
    }
    line.push(", thread ");
    let mut name = [0_u8; 16];
    // SAFETY: the kernel writes 16 octets at most, NUL included.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    line.push_octets(name.split(|octet| *octet == 0).next().unwrap_or_default());
    line.push(" (");
    // SAFETY: takes nothing.
    line.push_number(unsafe { libc::syscall(libc::SYS_gettid) }.unsigned_abs());
    line.push(")\n");
}

/// The plugin that an abort inside of a library was called from: the first whose code a word on the
/// stack points into. The kernel copies the words, so that a stack that ends does not matter.
fn caller(sp: usize) -> Option<&'static str> {
    const WORDS: usize = 64;
    let mut words = [0_usize; WORDS];
    let size = size_of_val(&words);
    for block in 0..DEPTH / size {
        let from = (sp & !(align_of::<usize>() - 1)).wrapping_add(block * size);
        let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: size };
        let remote =
            libc::iovec { iov_base: std::ptr::without_provenance_mut(from), iov_len: size };
        // SAFETY: the local structure is ours and as long as it says; the other one the kernel checks.
        let count = unsafe {
            libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
        };
        let count = usize::try_from(count).unwrap_or(0) / size_of::<usize>();
        let found = words.iter().take(count).find_map(|word| ranges::owner(*word));
        if found.is_some() || count < WORDS {
            return found;
        }
    }
    None
}

/// Octets of the stack that [`caller`] looks at.
const DEPTH: usize = 64 * 1024;

/// Where the thread was: its instruction and its stack; zeros where that is not known.
fn registers(context: *mut c_void) -> (usize, usize) {
    // SAFETY: NULL, or what the kernel gives to a handler with `SA_SIGINFO`.
    let Some(context) = (unsafe { context.cast::<libc::ucontext_t>().as_ref() }) else {
        return (0, 0);
    };
    #[cfg(target_arch = "x86_64")]
    {
        let [pc, sp] = [libc::REG_RIP, libc::REG_RSP]
            .map(|register| context.uc_mcontext.gregs.get(register as usize).copied());
        (pc.unwrap_or(0) as usize, sp.unwrap_or(0) as usize)
    }
    #[cfg(target_arch = "aarch64")]
    {
        (context.uc_mcontext.pc as usize, context.uc_mcontext.sp as usize)
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        (0, 0)
    }
}

/// A line of text in memory of its own; what does not fit is left out.
struct Line {
    octets: [u8; 400],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { octets: [0; 400], len: 0 }
    }
}

impl Line {
    fn push(&mut self, text: &str) {
        self.push_octets(text.as_bytes());
    }

    fn push_octets(&mut self, octets: &[u8]) {
        for (to, from) in self.octets.iter_mut().skip(self.len).zip(octets) {
            *to = *from;
            self.len += 1;
        }
    }

    fn push_number(&mut self, mut number: u64) {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            first -= 1;
            if number == 0 {
                break;
            }
        }
        self.push_octets(digits.get(first..).unwrap_or_default());
    }

    fn write(&self) {
        // SAFETY: the octets are there. There is nobody to tell that it failed.
        unsafe { libc::write(libc::STDERR_FILENO, self.octets.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::named;
    use super::*;

    fn said(describe: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::default();
        describe(&mut line);
        String::from_utf8_lossy(&line.octets[..line.len]).into_owned()
    }

    #[test]
    fn the_line_names_plugin_function_and_thread() {
        let line = named("crasher", "boom", || {
            let thread = std::thread::Builder::new().name("other".into());
            let other = thread.spawn(|| said(|line| describe(line, "SIGBUS", (0, 0)))).unwrap();
            let line = said(|line| describe(line, "SIGSEGV", (0, 0)));
            let other = other.join().unwrap();
            assert!(other.contains("SIGBUS outside of plugins, thread other ("), "{other}");
            line
        });
        assert!(line.contains("SIGSEGV in plugin crasher, function boom, thread "), "{line}");
        assert!(line.ends_with(")\n"));
    }

    #[test]
    fn numbers_are_whole_and_what_does_not_fit_is_left_out() {
        assert_eq!(said(|line| line.push_number(0)), "0");
        assert_eq!(said(|line| line.push_number(u64::MAX)), u64::MAX.to_string());
        assert_eq!(said(|line| line.push(&"x".repeat(1000))).len(), 400);
    }
}
