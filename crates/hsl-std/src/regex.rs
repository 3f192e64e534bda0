//! Regular expression chapter: the `pcre_*` functions and the class `Regex`.
//!
//! [`crate::regex_engine`] knows patterns and limits. Literals `#/…/` and `=~` of the language come
//! here too, as `pcre_compile` and `__regex_match`.

use std::sync::{Arc, LazyLock};

use hsl::host::{CallContext, Continuation, NativeStep, Registry, Thrown};
use hsl::value::{Array, Class, Key, Object, Str, Value};
use smallvec::smallvec;

use crate::args;
use crate::regex_engine::{Pattern, PatternCache, RegexError, Spans, quote};

/// The class `Regex`, the same for every set of functions: data imports make objects of it.
fn class() -> &'static Class {
    static CLASS: LazyLock<Class> = LazyLock::new(|| {
        let mut class = Class::builder("Regex", "a compiled regular expression; see pcre_compile");
        class.measure_with(|state: &RegexState, measure| measure.octets(state.0.size()));
        class.build()
    });
    &CLASS
}

/// A `Regex` object of a pattern, bare or as /pattern/modifiers.
///
/// # Errors
///
/// What is wrong with the pattern.
pub(crate) fn object(text: &[u8]) -> Result<Value, RegexError> {
    let pattern = Arc::new(Pattern::compile(text)?);
    Ok(Value::Object(Object::new(class(), RegexState(pattern))))
}

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry) {
    registry.add_class(class().clone());
    let cache = Arc::new(PatternCache::default());
    let patterns = Arc::clone(&cache);
    registry
        .pure_function(
            "pcre_compile(string pattern) -> Regex",
            "compiles a pattern, bare or as /pattern/modifiers",
            move |ctx, args| {
                let pattern = patterns.compile(args::bytes(args, 0)).map_err(thrown)?;
                ctx.instance_of("Regex", RegexState(pattern))
            },
        )
        .literal("pcre_compile", 0, "pcre_compile")
        .pure_function(
            "pcre_quote(string string) -> string",
            "with a backslash before every character that means something in a pattern",
            |_, args| quote(args::bytes(args, 0)),
        );
    let patterns = Arc::clone(&cache);
    registry.pure_function(
        "__regex_match(string subject, Regex or string pattern) -> boolean",
        "the operator =~",
        move |ctx, args| {
            let pattern = pattern_of(&patterns, args.get(1).copied())?;
            let subject = args::bytes(args, 0);
            charge(ctx, subject);
            pattern.is_match(subject).map_err(thrown)
        },
    );
    let patterns = Arc::clone(&cache);
    registry.pure_function(
        "pcre_match(Regex or string pattern, string subject) -> array",
        "the first match and its groups, by number and name; empty if there is none",
        move |ctx, args| {
            let pattern = pattern_of(&patterns, args.first().copied())?;
            let Some(Value::String(subject)) = args.get(1) else { return Ok(Array::new()) };
            charge(ctx, subject);
            let groups = pattern.groups_from(subject, 0, |groups| Array::of_parts(subject, groups));
            let Some(mut groups) = groups.map_err(thrown)? else { return Ok(Array::new()) };
            for (at, name) in (0..).zip(pattern.names()) {
                if let Some(name) = name {
                    let value = groups.get_int(at).cloned().unwrap_or_default();
                    add_named(&mut groups, name, value);
                }
            }
            Ok::<_, Thrown>(groups)
        },
    );
    let patterns = Arc::clone(&cache);
    registry.pure_function(
        "pcre_match_all(Regex or string pattern, string subject) -> array",
        "all matches by group; empty if there is none",
        move |ctx, args| {
            let pattern = pattern_of(&patterns, args.first().copied())?;
            let Some(Value::String(subject)) = args.get(1) else { return Ok(Array::new()) };
            match_all(ctx, &pattern, subject)
        },
    );
    registry.function(
        "pcre_replace(Regex or string pattern, function or string replace, string subject, \
         number limit = 0) -> string",
        "replaces matches by a text with $0 … $n, or by the value of a function of the groups",
        move |ctx, args| {
            let pattern = Arc::clone(&*pattern_of(&cache, args.first())?);
            charge(ctx, args::bytes(args, 2));
            let limit = match args::integer(args, 3) {
                limit if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let subject = args::text(args, 2);
            let replace =
                Replace { pattern, subject, limit, out: Vec::new(), from: Some(0), copied: 0 };
            Ok::<_, Thrown>(match args::take(args, 1) {
                Value::String(template) => replace.with_text(ctx, &template)?.into(),
                function => Box::new(WithFunction { replace, function }).step(),
            })
        },
    );
    for (name, at) in
        [("__regex_match", 1), ("pcre_match", 0), ("pcre_match_all", 0), ("pcre_replace", 0)]
    {
        registry.literal(name, at, "pcre_compile");
    }
}

/// The pattern inside a `Regex` object; `None` for any other value.
pub fn pattern_of_object(value: &Value) -> Option<Arc<Pattern>> {
    let state = value.as_object()?.state::<RegexState>()?;
    Some(Arc::clone(&state.0))
}

struct RegexState(Arc<Pattern>);

/// The pattern in an argument: that of a `Regex`, which lives as long, or of a text.
enum Given<'a> {
    Object(&'a Arc<Pattern>),
    Text(Arc<Pattern>),
}

impl std::ops::Deref for Given<'_> {
    type Target = Arc<Pattern>;

    fn deref(&self) -> &Arc<Pattern> {
        match self {
            Self::Object(pattern) => pattern,
            Self::Text(pattern) => pattern,
        }
    }
}

/// The pattern in an argument, a `Regex` or a text.
fn pattern_of<'a>(cache: &PatternCache, value: Option<&'a Value>) -> Result<Given<'a>, Thrown> {
    if let Some(Value::String(text)) = value {
        return cache.compile(text).map(Given::Text).map_err(thrown);
    }
    value
        .and_then(|value| value.as_object()?.state_ref::<RegexState>())
        .map(|state| Given::Object(&state.0))
        .ok_or_else(|| Thrown::new("a pattern must be a Regex or a string"))
}

fn match_all(ctx: &mut CallContext<'_>, pattern: &Pattern, subject: &Str) -> Result<Array, Thrown> {
    charge(ctx, subject);
    let names = pattern.names();
    let mut groups: Vec<Vec<Value>> = vec![Vec::new(); names.len()];
    let mut from = Some(0);
    let (mut octets, mut charged) = (0usize, 0usize);
    while let Some(at) = from {
        let Some(spans) = pattern.spans_from(subject, at).map_err(thrown)? else { break };
        for (found, span) in groups.iter_mut().zip(&spans) {
            octets = octets.saturating_add(cut(subject, *span).len() + 64);
            found.push(Value::String(subject.part(*span)));
        }
        from = next_from(pattern, subject, &spans);
        if octets - charged > CHARGE_STEP {
            args::charge_growth(ctx, octets - charged, octets)?;
            charged = octets;
        }
    }
    let mut out = Array::new();
    if groups.first().is_none_or(Vec::is_empty) {
        return Ok(out);
    }
    let lists: Vec<Value> = groups.into_iter().map(Value::list).collect();
    for list in &lists {
        out.push(list.clone());
    }
    for (name, list) in names.iter().zip(&lists) {
        if let Some(name) = name {
            out.insert(Key::from(name.as_str()), list.clone());
        }
    }
    Ok(out)
}

/// A replacement under way.
struct Replace {
    pattern: Arc<Pattern>,
    subject: Str,
    /// Matches that may still be replaced.
    limit: usize,
    out: Vec<u8>,
    /// Where to look for the next match.
    from: Option<usize>,
    /// Octets of the subject that are in `out` or replaced.
    copied: usize,
}

impl Replace {
    /// Finds the next match and copies what is before it.
    fn next(&mut self) -> Result<Option<Spans>, Thrown> {
        let Some(from) = self.from.filter(|_| self.limit > 0) else { return Ok(None) };
        let Some(spans) = self.pattern.spans_from(&self.subject, from).map_err(thrown)? else {
            return Ok(None);
        };
        let Some((start, end)) = spans.first().copied().flatten() else { return Ok(None) };
        self.limit -= 1;
        self.out.extend_from_slice(self.subject.get(self.copied..start).unwrap_or_default());
        // `\K` in a lookahead can put the start behind what was copied.
        self.copied = end.max(self.copied);
        self.from = next_from(&self.pattern, &self.subject, &spans);
        Ok(Some(spans))
    }

    fn with_text(mut self, ctx: &mut CallContext<'_>, template: &[u8]) -> Result<Value, Thrown> {
        let pieces = parse_template(template);
        let mut charged = 0;
        while let Some(spans) = self.next()? {
            for piece in &pieces {
                match piece {
                    Piece::Text(text) => self.out.extend_from_slice(text),
                    Piece::Group(group) => {
                        let span = spans.get(*group).copied().flatten();
                        self.out.extend_from_slice(cut(&self.subject, span));
                    }
                }
            }
            if self.out.len() - charged > CHARGE_STEP {
                args::charge_growth(ctx, self.out.len() - charged, self.out.len())?;
                charged = self.out.len();
            }
        }
        Ok(self.finish())
    }

    fn finish(mut self) -> Value {
        if self.copied == 0 && self.out.is_empty() {
            return Value::String(self.subject);
        }
        self.out.extend_from_slice(self.subject.get(self.copied..).unwrap_or_default());
        Value::from(self.out)
    }
}

/// A replacement whose texts come from a function of the script.
struct WithFunction {
    replace: Replace,
    function: Value,
}

impl WithFunction {
    fn step(mut self: Box<Self>) -> NativeStep {
        match self.replace.next() {
            Ok(Some(spans)) => {
                let groups = numbered(&self.replace.subject, &spans);
                NativeStep::Call {
                    function: self.function.clone(),
                    arguments: smallvec![Value::Array(groups)],
                    then: self,
                }
            }
            Ok(None) => NativeStep::Return(self.replace.finish()),
            Err(thrown) => NativeStep::Throw(thrown),
        }
    }
}

impl Continuation for WithFunction {
    fn resume(mut self: Box<Self>, ctx: &mut CallContext<'_>, value: Value) -> NativeStep {
        let before = self.replace.out.len();
        let written = hsl::ops::write_text(&value, &mut self.replace.out);
        let total = self.replace.out.len();
        match written.and_then(|()| args::charge_growth(ctx, total - before, total)) {
            Ok(()) => self.step(),
            Err(thrown) => NativeStep::Throw(thrown),
        }
    }
}

enum Piece<'a> {
    Text(&'a [u8]),
    Group(usize),
}

/// Splits a template at `$n` and `$nn`.
fn parse_template(template: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for dollar in memchr::memchr_iter(b'$', template) {
        let digits = template.get(dollar + 1..).unwrap_or_default();
        let count = digits.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
        let number = digits.get(..count).and_then(|digits| str::from_utf8(digits).ok());
        if let Some(Ok(number)) = number.map(str::parse) {
            pieces.push(Piece::Text(template.get(start..dollar).unwrap_or_default()));
            pieces.push(Piece::Group(number));
            start = dollar + 1 + count;
        }
    }
    pieces.push(Piece::Text(template.get(start..).unwrap_or_default()));
    pieces
}

/// The whole match and the groups, by number; groups that took no part are empty texts.
fn numbered(subject: &Str, spans: &Spans) -> Array {
    Array::of_parts(subject, spans.iter().copied())
}

/// With `(?|…)` or `(?J)` several groups have one name: the one that took part counts.
fn add_named(out: &mut Array, name: &str, value: Value) {
    let slot = out.entry(Key::from(name));
    if slot.is_none() || value.is_truthy() {
        *slot = value;
    }
}

fn cut(subject: &[u8], span: Option<(usize, usize)>) -> &[u8] {
    span.and_then(|(start, end)| subject.get(start..end)).unwrap_or_default()
}

fn next_from(pattern: &Pattern, subject: &[u8], spans: &Spans) -> Option<usize> {
    pattern.next_from(subject, spans.first().copied().flatten()?)
}

/// Matching long subjects counts as several steps.
fn charge(ctx: &mut CallContext<'_>, subject: &[u8]) {
    ctx.charge_fuel((subject.len() / OCTETS_PER_STEP) as u64);
}

pub(crate) fn thrown(error: RegexError) -> Thrown {
    Thrown::new(error.to_string())
}

const OCTETS_PER_STEP: usize = 256;
/// Octets that may grow between two looks at the memory limit.
const CHARGE_STEP: usize = 1 << 20;
