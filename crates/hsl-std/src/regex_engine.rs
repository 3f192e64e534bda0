//! PCRE2 as scripts use it: pattern texts, modifiers, limits, and a cache of compiled patterns.
//!
//! Subjects are octets; UTF-8 rules apply with the modifier `u` only. Every match has limits which
//! the pattern itself can lower but not raise, so that no pattern holds a thread for long: a match that
//! runs into them is an error, not "no match".

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::ffi::pcre2::{Code, CompileError, Groups};

/// A pattern that is no regular expression, or a match that was given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// The pattern does not compile.
    #[error("bad regular expression: {0}")]
    Compile(String),
    /// The match needs more steps or memory than is allowed.
    #[error("regular expression exceeds its match limit")]
    Limit,
}

/// A compiled pattern.
pub struct Pattern(Code);

/// The spans of one match: the whole match first, then each group that took part.
pub(crate) type Spans = SmallVec<[Option<(usize, usize)>; 4]>;

impl Pattern {
    /// Compiles `text`: a bare pattern or `/pattern/modifiers`.
    ///
    /// # Errors
    ///
    /// [`RegexError::Compile`].
    pub fn compile(text: &[u8]) -> Result<Self, RegexError> {
        let (pattern, modifiers) = split_delimited(text).unwrap_or((text, &[]));
        Self::with_modifiers(pattern, modifiers)
    }

    /// Compiles the two halves of a literal `#/pattern/modifiers`.
    ///
    /// # Errors
    ///
    /// [`RegexError::Compile`], also for a modifier that is none of `imusxUX`.
    pub fn with_modifiers(pattern: &[u8], modifiers: &[u8]) -> Result<Self, RegexError> {
        let mut options = 0;
        for modifier in modifiers {
            options |= match modifier {
                b'i' => pcre2_sys::PCRE2_CASELESS,
                b'm' => pcre2_sys::PCRE2_MULTILINE,
                b's' => pcre2_sys::PCRE2_DOTALL,
                b'x' => pcre2_sys::PCRE2_EXTENDED,
                b'u' => pcre2_sys::PCRE2_UTF,
                b'U' => pcre2_sys::PCRE2_UNGREEDY,
                // Compat: EXTRA made unknown escapes an error; PCRE2 always does.
                b'X' => 0,
                other => {
                    let message = format!("unknown modifier {:?}", char::from(*other));
                    return Err(RegexError::Compile(message));
                }
            };
        }
        Code::compile(pattern, options).map(Self).map_err(|CompileError { reason, offset }| {
            RegexError::Compile(format!("{reason} at offset {offset}"))
        })
    }

    /// Returns how many octets the pattern occupies.
    pub(crate) const fn size(&self) -> usize {
        self.0.size()
    }

    /// Says whether `subject` matches anywhere.
    ///
    /// Subjects that are no UTF-8 do not match patterns with the modifier `u`.
    ///
    /// # Errors
    ///
    /// [`RegexError::Limit`].
    pub fn is_match(&self, subject: &[u8]) -> Result<bool, RegexError> {
        Ok(self.groups_from(subject, 0, |_| ())?.is_some())
    }

    /// The first match at or after `from`.
    ///
    /// # Errors
    ///
    /// [`RegexError::Limit`].
    pub(crate) fn spans_from(
        &self,
        subject: &[u8],
        from: usize,
    ) -> Result<Option<Spans>, RegexError> {
        self.groups_from(subject, from, |groups| groups.collect())
    }

    /// The same, with the spans of the whole match and its groups given to `read` one after the other.
    ///
    /// # Errors
    ///
    /// [`RegexError::Limit`].
    #[inline]
    pub(crate) fn groups_from<R>(
        &self,
        subject: &[u8],
        from: usize,
        read: impl FnOnce(Groups<'_>) -> R,
    ) -> Result<Option<R>, RegexError> {
        match self.0.find(subject, from, read) {
            Ok(found) => Ok(found),
            Err(error) if error.is_bad_utf() => Ok(None),
            Err(_) => Err(RegexError::Limit),
        }
    }

    /// Where to look for the match after one that spanned `start..end`.
    ///
    /// `None` when the subject is used up. An empty match moves on by one character.
    pub(crate) fn next_from(&self, subject: &[u8], (start, end): (usize, usize)) -> Option<usize> {
        if end > start {
            return Some(end);
        }
        let next = end + 1;
        let rest = subject.get(next..)?;
        if !self.0.is_utf() {
            return Some(next);
        }
        Some(next + rest.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count())
    }

    /// The name of each group, by number; group 0 has none.
    pub(crate) fn names(&self) -> &[Option<String>] {
        self.0.names()
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pattern").field("groups", &self.0.names()).finish_non_exhaustive()
    }
}

/// Puts a backslash before every character that means something in a pattern.
pub(crate) fn quote(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    for &byte in text {
        if byte == 0 {
            out.extend_from_slice(b"\\x00");
            continue;
        }
        if b".\\+*?[^]$(){}=!<>|:-#/".contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}

/// Compiled patterns by text, so that a pattern in a loop or in a hook is compiled once.
///
/// Holds two generations of at most [`GENERATION`] patterns: when the young one is full it becomes
/// the old one, and what the old one held is dropped unless it was used again.
#[derive(Debug, Default)]
pub(crate) struct PatternCache {
    generations: Mutex<(Generation, Generation)>,
}

type Generation = HashMap<Box<[u8]>, Arc<Pattern>>;

impl PatternCache {
    /// The compiled pattern of `text`.
    ///
    /// # Errors
    ///
    /// [`RegexError::Compile`].
    pub(crate) fn compile(&self, text: &[u8]) -> Result<Arc<Pattern>, RegexError> {
        if let Some(pattern) = self.lookup(text) {
            return Ok(pattern);
        }
        let pattern = Arc::new(Pattern::compile(text)?);
        self.insert(text.into(), &pattern);
        Ok(pattern)
    }

    fn lookup(&self, text: &[u8]) -> Option<Arc<Pattern>> {
        let mut generations = self.generations.lock();
        if let Some(pattern) = generations.0.get(text) {
            return Some(Arc::clone(pattern));
        }
        let (key, pattern) = generations.1.remove_entry(text)?;
        generations.0.insert(key, Arc::clone(&pattern));
        Some(pattern)
    }

    fn insert(&self, text: Box<[u8]>, pattern: &Arc<Pattern>) {
        let mut generations = self.generations.lock();
        if generations.0.len() >= GENERATION {
            generations.1 = std::mem::take(&mut generations.0);
        }
        generations.0.insert(text, Arc::clone(pattern));
    }
}

/// Splits `/pattern/modifiers`; `None` for a bare pattern.
fn split_delimited(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"/")?;
    let close = memchr::memrchr(b'/', inner)?;
    let (pattern, rest) = inner.split_at(close);
    let modifiers = rest.get(1..)?;
    modifiers.iter().all(|byte| b"imusxUX".contains(byte)).then_some((pattern, modifiers))
}

/// Patterns per generation of the cache.
const GENERATION: usize = 512;
#[cfg(test)]
mod tests {
    use super::*;

    fn find(pattern: &str, subject: &[u8]) -> Option<(usize, usize)> {
        let pattern = Pattern::compile(pattern.as_bytes()).unwrap();
        pattern.spans_from(subject, 0).unwrap().and_then(|spans| spans[0])
    }

    #[test]
    fn a_text_is_delimited_only_when_modifiers_end_it() {
        assert_eq!(split_delimited(b"/a/i"), Some((&b"a"[..], &b"i"[..])));
        assert_eq!(split_delimited(b"/[\r\n]/"), Some((&b"[\r\n]"[..], &b""[..])));
        assert_eq!(split_delimited(b"/usr/bin"), None);
        assert_eq!(split_delimited(b"/"), None);
        assert_eq!(split_delimited(b"a/b"), None);
    }

    #[test]
    fn modifiers_mean_what_the_manual_says() {
        type Row<'a> = (&'a str, &'a [u8], Option<(usize, usize)>);
        let table: [Row<'_>; 10] = [
            ("/B/i", b"ab", Some((1, 2))),
            ("/^b/m", b"a\nb", Some((2, 3))),
            ("^b", b"a\nb", None),
            ("/a.b/s", b"a\nb", Some((0, 3))),
            ("/a b/x", b"ab", Some((0, 2))),
            ("/a+/U", b"aaa", Some((0, 1))),
            ("/(*UCP)a+/U", b"aaa", Some((0, 1))),
            ("/^.$/u", "å".as_bytes(), Some((0, 2))),
            ("^.$", "å".as_bytes(), None),
            ("/^.$/u", b"\xff", None),
        ];
        for (pattern, subject, expected) in table {
            assert_eq!(find(pattern, subject), expected, "{pattern}");
        }
        assert!(Pattern::with_modifiers(b"a", b"q").is_err());
    }

    #[test]
    fn octets_that_are_no_utf8_are_matched_as_they_are() {
        let pattern = Pattern::compile(b"[\xe5\xe4]+").unwrap();
        assert_eq!(pattern.spans_from(b"a\xe4\xe5", 0).unwrap().unwrap()[0], Some((1, 3)));
    }

    #[test]
    fn a_catastrophic_pattern_is_given_up() {
        let pattern = Pattern::compile(b"^(a+)+$").unwrap();
        let mut subject = vec![b'a'; 64];
        subject.push(b'!');
        assert_eq!(pattern.is_match(&subject), Err(RegexError::Limit));
        let raised = Pattern::compile(b"(*LIMIT_MATCH=4000000000)^(a+)+$").unwrap();
        assert_eq!(raised.is_match(&subject), Err(RegexError::Limit));
    }

    #[test]
    fn compile_errors_count_from_the_start_of_the_script_s_pattern() {
        let error = Pattern::compile(b"a(b").unwrap_err().to_string();
        assert!(error.ends_with("at offset 3"), "{error}");
    }

    #[test]
    fn quoted_text_matches_itself() {
        let text = b"a.b[c](d)*\\/\x00-$^";
        let mut pattern = b"^".to_vec();
        pattern.extend_from_slice(&quote(text));
        pattern.push(b'$');
        assert!(Pattern::compile(&pattern).unwrap().is_match(text).unwrap());
    }

    #[test]
    fn the_cache_forgets_what_is_not_used() {
        let cache = PatternCache::default();
        let kept = cache.compile(b"kept").unwrap();
        for at in 0..3 * GENERATION {
            cache.compile(format!("p{at}").as_bytes()).unwrap();
            if at % 100 == 0 {
                assert!(Arc::ptr_eq(&kept, &cache.compile(b"kept").unwrap()));
            }
        }
        let generations = cache.generations.lock();
        assert!(generations.0.len() + generations.1.len() <= 2 * GENERATION);
    }
}
