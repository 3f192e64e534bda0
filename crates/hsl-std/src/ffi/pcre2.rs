//! Patterns of PCRE2: compiled, asked for their names, and matched.
//!
//! The library's safe wrapper calls `pcre2_match`, which looks at everything a caller might have got
//! wrong before each match, and keeps room for groups with each pattern. Scripts match short lines many
//! times, so compiled patterns are entered with `pcre2_jit_match` here, and what a match needs besides
//! (groups, limits, a stack) belongs to the thread.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use pcre2_sys as sys;

/// A compiled pattern. Threads may match it at the same time.
pub(crate) struct Code {
    code: NonNull<sys::pcre2_code_8>,
    /// There is machine code for it.
    is_native: bool,
    /// Subjects are UTF-8.
    is_utf: bool,
    /// The name of each group, by number; group 0 has none.
    names: Vec<Option<String>>,
    size: usize,
}

// SAFETY: the library changes a compiled pattern only when it is made and freed.
unsafe impl Send for Code {}
// SAFETY: as above; what a match writes to belongs to its thread.
unsafe impl Sync for Code {}

/// Why a pattern cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompileError {
    /// What the library says.
    pub(crate) reason: String,
    /// The octet of the pattern where it found that.
    pub(crate) offset: usize,
}

/// A match that was given up: the number of the library's error, below -1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MatchError(i32);

impl MatchError {
    /// Whether the subject is no UTF-8, or the start lies within a character.
    pub(crate) const fn is_bad_utf(self) -> bool {
        matches!(
            self.0,
            sys::PCRE2_ERROR_UTF8_ERR21
                ..=sys::PCRE2_ERROR_UTF8_ERR1 | sys::PCRE2_ERROR_BADUTFOFFSET
        )
    }
}

/// The spans of one match, by number of the group, read one after the other. Groups that took no part
/// have none.
pub(crate) struct Groups<'a> {
    /// Start and end of each group up to the last that took part.
    found: std::slice::Iter<'a, [usize; 2]>,
    /// Groups that are not read yet.
    left: usize,
}

impl Iterator for Groups<'_> {
    type Item = Option<(usize, usize)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(
            self.found
                .next()
                .and_then(|&[start, end]| (start != UNSET && end != UNSET).then_some((start, end))),
        )
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Groups<'_> {}

/// What the library writes for a group that took no part.
const UNSET: usize = usize::MAX;

impl Code {
    /// Compiles `pattern` with these options (`PCRE2_CASELESS` and the like).
    pub(crate) fn compile(pattern: &[u8], options: u32) -> Result<Self, CompileError> {
        let (mut number, mut offset) = (0, 0);
        // SAFETY: a pattern with its length, and places for the answer; no context is needed.
        let code = unsafe {
            sys::pcre2_compile_8(
                start_of(pattern),
                pattern.len(),
                options,
                &mut number,
                &mut offset,
                ptr::null_mut(),
            )
        };
        let Some(code) = NonNull::new(code) else {
            return Err(CompileError { reason: message(number), offset });
        };
        // Owned from here on, so that it is freed whatever follows.
        let mut code = Self { code, is_native: false, is_utf: false, names: Vec::new(), size: 0 };
        // SAFETY: a compiled pattern that nobody else knows yet. Without machine code, which is an
        // error here, the library interprets the pattern.
        unsafe { sys::pcre2_jit_compile_8(code.code.as_ptr(), sys::PCRE2_JIT_COMPLETE) };
        let native: usize = code.info(sys::PCRE2_INFO_JITSIZE);
        let size: usize = code.info(sys::PCRE2_INFO_SIZE);
        let all_options: u32 = code.info(sys::PCRE2_INFO_ALLOPTIONS);
        code.is_native = native > 0;
        code.size = size.saturating_add(native);
        code.is_utf = all_options & sys::PCRE2_UTF != 0;
        code.names = code.read_names();
        Ok(code)
    }

    /// Says whether subjects are UTF-8.
    pub(crate) const fn is_utf(&self) -> bool {
        self.is_utf
    }

    /// Returns the name of each group, by number; group 0 has none.
    pub(crate) fn names(&self) -> &[Option<String>] {
        &self.names
    }

    /// Returns the octets that the pattern occupies.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// Looks for the first match at or after octet `from`, and gives its groups to `read`.
    #[inline]
    pub(crate) fn find<R>(
        &self,
        subject: &[u8],
        from: usize,
        read: impl FnOnce(Groups<'_>) -> R,
    ) -> Result<Option<R>, MatchError> {
        ROOM.with(|room| match room.try_borrow_mut() {
            Ok(mut room) => self.find_in(&mut room, subject, from, read),
            Err(_) => self.find_in(&mut Room::default(), subject, from, read),
        })
    }

    #[inline]
    fn find_in<R>(
        &self,
        room: &mut Room,
        subject: &[u8],
        from: usize,
        read: impl FnOnce(Groups<'_>) -> R,
    ) -> Result<Option<R>, MatchError> {
        if from > subject.len() {
            return Ok(None);
        }
        let parts = room.parts(self.names.len())?;
        let (code, data) = (self.code.as_ptr(), parts.data.as_ptr());
        let (start, length) = (start_of(subject), subject.len());
        let (context, options) = (parts.context.as_ptr(), 0);
        let found = if self.is_native && !self.is_utf {
            // SAFETY: a pattern with machine code, a subject with its length, a start in it, room for
            // all groups. Nothing about the subject is to be looked at, as it is octets.
            unsafe { sys::pcre2_jit_match_8(code, start, length, from, options, data, context) }
        } else {
            // SAFETY: as above; the library looks at the subject itself.
            unsafe { sys::pcre2_match_8(code, start, length, from, options, data, context) }
        };
        if found == sys::PCRE2_ERROR_NOMATCH {
            return Ok(None);
        }
        let count = usize::try_from(found).map_err(|_| MatchError(found))?;
        // SAFETY: the library has written that many pairs, for which there was room.
        let pairs = unsafe { std::slice::from_raw_parts(parts.first, count.min(parts.pairs)) };
        Ok(Some(read(Groups { found: pairs.iter(), left: self.names.len() })))
    }

    /// Asks the library for a fact about the pattern; `T` is the type its manual says for it.
    fn info<T: Default + Copy>(&self, what: u32) -> T {
        let mut fact = T::default();
        // SAFETY: a compiled pattern and a place of the type that belongs to the question.
        let result = unsafe {
            sys::pcre2_pattern_info_8(self.code.as_ptr(), what, (&raw mut fact).cast::<c_void>())
        };
        if result == 0 { fact } else { T::default() }
    }

    /// Reads the table of names: number (two octets, the high one first), name and NUL for each.
    fn read_names(&self) -> Vec<Option<String>> {
        let groups: u32 = self.info(sys::PCRE2_INFO_CAPTURECOUNT);
        let count: u32 = self.info(sys::PCRE2_INFO_NAMECOUNT);
        let width: u32 = self.info(sys::PCRE2_INFO_NAMEENTRYSIZE);
        let mut names = vec![None; groups as usize + 1];
        let mut table: *const u8 = ptr::null();
        // SAFETY: a compiled pattern and a place for a pointer, which this question is answered with.
        unsafe {
            sys::pcre2_pattern_info_8(
                self.code.as_ptr(),
                sys::PCRE2_INFO_NAMETABLE,
                (&raw mut table).cast::<c_void>(),
            )
        };
        if table.is_null() || count == 0 || width < 3 {
            return names;
        }
        // SAFETY: the table has that many entries of that width and lives as long as the pattern.
        let table = unsafe { std::slice::from_raw_parts(table, count as usize * width as usize) };
        for entry in table.chunks_exact(width as usize) {
            let [high, low, name @ ..] = entry else { continue };
            let name = name.split(|octet| *octet == 0).next().unwrap_or_default();
            if let Some(place) = names.get_mut(usize::from(u16::from_be_bytes([*high, *low]))) {
                *place = Some(String::from_utf8_lossy(name).into_owned());
            }
        }
        names
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: made by the library, freed once.
        unsafe { sys::pcre2_code_free_8(self.code.as_ptr()) };
    }
}

thread_local! {
    /// What matches of this thread need besides pattern and subject.
    static ROOM: RefCell<Room> = const { RefCell::new(Room(None)) };
}

/// Room for matches, made when the first one needs it.
#[derive(Default)]
struct Room(Option<Parts>);

struct Parts {
    data: NonNull<sys::pcre2_match_data_8>,
    /// Where `data` has the spans.
    first: *const [usize; 2],
    /// Groups for which there is room in `data`, the whole match included.
    pairs: usize,
    context: NonNull<sys::pcre2_match_context_8>,
    /// `None` where the library has no machine code.
    stack: Option<NonNull<sys::pcre2_jit_stack_8>>,
}

impl Room {
    /// Returns room for `pairs` groups, the whole match included.
    #[inline]
    fn parts(&mut self, pairs: usize) -> Result<&Parts, MatchError> {
        if self.0.as_ref().is_none_or(|parts| parts.pairs < pairs) {
            self.0 = Some(Parts::new(pairs.max(USUAL_PAIRS))?);
        }
        self.0.as_ref().ok_or(NO_MEMORY)
    }
}

impl Parts {
    #[cold]
    fn new(pairs: usize) -> Result<Self, MatchError> {
        let null = ptr::null_mut();
        let count = u32::try_from(pairs).map_err(|_| NO_MEMORY)?;
        // SAFETY: nothing but a count goes in.
        let data = NonNull::new(unsafe { sys::pcre2_match_data_create_8(count, null) });
        // SAFETY: nothing goes in.
        let context = NonNull::new(unsafe { sys::pcre2_match_context_create_8(null) });
        let (data, context) = match (data, context) {
            (Some(data), Some(context)) => (data, context),
            (data, context) => {
                // SAFETY: made just now, or NULL, which the library passes over.
                unsafe {
                    sys::pcre2_match_data_free_8(data.map_or(ptr::null_mut(), NonNull::as_ptr));
                    sys::pcre2_match_context_free_8(
                        context.map_or(ptr::null_mut(), NonNull::as_ptr),
                    );
                }
                return Err(NO_MEMORY);
            }
        };
        // SAFETY: match data, in which the place of the spans does not change.
        let first = unsafe { sys::pcre2_get_ovector_pointer_8(data.as_ptr()) }.cast();
        // SAFETY: a new context; the stack is used with it only, and both end together.
        let stack = unsafe {
            sys::pcre2_set_match_limit_8(context.as_ptr(), MATCH_LIMIT);
            sys::pcre2_set_heap_limit_8(context.as_ptr(), HEAP_LIMIT_KIB);
            let stack = NonNull::new(sys::pcre2_jit_stack_create_8(
                FIRST_STACK_BYTES,
                MAX_STACK_BYTES,
                null,
            ));
            if let Some(stack) = stack {
                let stack = stack.as_ptr().cast::<c_void>();
                sys::pcre2_jit_stack_assign_8(context.as_ptr(), None, stack);
            }
            stack
        };
        Ok(Self { data, first, pairs, context, stack })
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // SAFETY: made by the library, freed once; no match goes on.
        unsafe {
            sys::pcre2_match_data_free_8(self.data.as_ptr());
            sys::pcre2_match_context_free_8(self.context.as_ptr());
            if let Some(stack) = self.stack {
                sys::pcre2_jit_stack_free_8(stack.as_ptr());
            }
        }
    }
}

/// What the library says about an error.
fn message(number: c_int) -> String {
    let mut text = [0u8; 256];
    // SAFETY: a place with its length; the library ends the text with NUL and cuts off what is longer.
    let length = unsafe { sys::pcre2_get_error_message_8(number, text.as_mut_ptr(), text.len()) };
    let length = usize::try_from(length)
        .unwrap_or_else(|_| text.iter().position(|octet| *octet == 0).unwrap_or(0));
    String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned()
}

/// A pointer to the first octet. Versions of the library have read what an empty slice points to.
fn start_of(octets: &[u8]) -> *const u8 {
    static NOTHING: [u8; 1] = [0];
    if octets.is_empty() { NOTHING.as_ptr() } else { octets.as_ptr() }
}

const NO_MEMORY: MatchError = MatchError(sys::PCRE2_ERROR_NOMEMORY);

/// Steps one match may take: some milliseconds, and enough for `.*?` over a large message. A pattern can
/// lower this and the next for itself, not raise them.
const MATCH_LIMIT: u32 = 1_000_000;
/// KiB of heap one match may take where there is no machine code.
const HEAP_LIMIT_KIB: u32 = 16_384;
const FIRST_STACK_BYTES: usize = 32 << 10;
/// The first octets are too few for alternations in long repeats.
const MAX_STACK_BYTES: usize = 1 << 20;
/// Groups for which there is room from the start.
const USUAL_PAIRS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(code: &Code, subject: &[u8], from: usize) -> Option<Vec<Option<(usize, usize)>>> {
        code.find(subject, from, |groups| groups.collect()).unwrap()
    }

    #[test]
    fn groups_have_names_and_spans() {
        let code = Code::compile(b"(?<first>a)(b)?(?<last>c)?", 0).unwrap();
        let names: Vec<_> = code.names().iter().map(Option::as_deref).collect();
        assert_eq!(names, [None, Some("first"), None, Some("last")]);
        let expected = vec![Some((1, 3)), Some((1, 2)), Some((2, 3)), None];
        assert_eq!(spans(&code, b"xab", 0), Some(expected));
        let expected = vec![Some((0, 2)), Some((0, 1)), None, Some((1, 2))];
        assert_eq!(spans(&code, b"ac", 0), Some(expected));
        assert_eq!(spans(&code, b"b", 0), None);
        assert!(code.size() > 100);
    }

    #[test]
    fn more_groups_than_there_is_room_for_get_more() {
        let few = Code::compile(b"(a)", 0).unwrap();
        let many = Code::compile("(a)".repeat(100).as_bytes(), 0).unwrap();
        assert_eq!(spans(&few, b"a", 0).unwrap().len(), 2);
        let found = spans(&many, "a".repeat(100).as_bytes(), 0).unwrap();
        assert_eq!(found.len(), 101);
        assert_eq!(found[100], Some((99, 100)));
        assert_eq!(spans(&few, b"a", 0).unwrap().len(), 2);
    }

    #[test]
    fn a_match_may_be_looked_for_while_another_one_is_read() {
        let code = Code::compile(b"a(b)", 0).unwrap();
        let both = code.find(b"ab", 0, |outer| {
            let inner =
                code.find(b"xxab", 0, |groups| groups.collect::<Vec<_>>()).unwrap().unwrap();
            (outer.collect::<Vec<_>>(), inner)
        });
        let (outer, inner) = both.unwrap().unwrap();
        assert_eq!(outer, [Some((0, 2)), Some((1, 2))]);
        assert_eq!(inner, [Some((2, 4)), Some((3, 4))]);
    }

    #[test]
    fn starts_may_be_at_and_behind_the_end_and_subjects_empty() {
        let code = Code::compile(b"$", 0).unwrap();
        assert_eq!(spans(&code, b"ab", 2), Some(vec![Some((2, 2))]));
        assert_eq!(spans(&code, b"ab", 3), None);
        assert_eq!(spans(&code, b"", 0), Some(vec![Some((0, 0))]));
        let empty = Code::compile(b"", 0).unwrap();
        assert_eq!(spans(&empty, b"", 0), Some(vec![Some((0, 0))]));
    }

    #[test]
    fn what_is_said_about_a_broken_pattern_has_its_place() {
        let error = Code::compile(b"a(b", 0).err().unwrap();
        assert_eq!(error.offset, 3);
        assert!(error.reason.contains("parenthesis"), "{}", error.reason);
    }

    #[test]
    fn patterns_are_matched_without_machine_code_too() {
        let code = Code::compile(b"(*NO_JIT)a(b)", 0).unwrap();
        assert_eq!(spans(&code, b"xab", 0), Some(vec![Some((1, 3)), Some((2, 3))]));
    }

    #[test]
    fn threads_match_one_pattern_at_the_same_time() {
        let code = Code::compile(b"(x+)y", 0).unwrap();
        std::thread::scope(|scope| {
            for length in 1..=4_usize {
                let code = &code;
                scope.spawn(move || {
                    let subject = format!("{}y", "x".repeat(length));
                    for _ in 0..1000 {
                        let found = spans(code, subject.as_bytes(), 0).unwrap();
                        assert_eq!(found[1], Some((0, length)));
                    }
                });
            }
        });
    }
}
