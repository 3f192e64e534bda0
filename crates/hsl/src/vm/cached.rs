//! `cache [options] f(…)`: a call that remembers its value.

use std::time::Duration;

use super::call::function_name;
use super::frame::Target;
use super::{Step, Vm};
use crate::cache::{CacheName, Life};
use crate::host::{CallContext, Continuation, NativeStep, Thrown};
use crate::value::{Array, Key, Str, Type, Value};

/// Seconds an entry lives unless the options say otherwise.
const DEFAULT_TTL: f64 = 60.0;
/// Entries of a cache unless the options say otherwise.
const DEFAULT_SIZE: usize = 32;

/// A call on its way through the cache.
struct Cached {
    name: CacheName,
    key: Value,
    options: Array,
    stage: Stage,
}

enum Stage {
    /// The function was called.
    Called,
    /// `update_function` was called.
    Updated,
    /// `ttl_function` was called with this value.
    Aged(Value),
}

impl Vm {
    /// Calls `callee` through its cache.
    pub(super) fn cached(
        &mut self,
        options: &Value,
        callee: Value,
        arguments: Value,
        target: Target,
    ) -> Result<Option<Step>, Thrown> {
        let (Value::Array(options), Value::Array(arguments), Value::Function(function)) =
            (options, arguments, &callee)
        else {
            return Err(Thrown::new("cache needs a function"));
        };
        check_options(options)?;
        let text =
            |name: &str| options.get_text(name).and_then(Value::as_bytes).unwrap_or_default();
        let per_message = options.get_text("per_message").is_some_and(Value::is_truthy);
        let namespace = match &self.environment.message {
            Some(message) if per_message => Str::new(message),
            _ => Str::new(text("namespace")),
        };
        let name = CacheName { namespace, function: Str::new(&function_name(function)) };
        let key = match options.get_text("argv_filter") {
            Some(Value::Array(numbers)) => Value::list(numbers.values().map(|number| {
                let at = number.as_number().map_or(0, |number| number as usize);
                at.checked_sub(1).and_then(|at| arguments.values().nth(at)).cloned().into()
            })),
            _ => Value::list(arguments.values().cloned()),
        };
        let is_forced = options.get_text("force").is_some_and(Value::is_truthy);
        let lru = options.get_text("lru").is_none_or(Value::is_truthy);
        let now = self.environment.clock.monotonic();
        if !is_forced && let Some(value) = self.environment.cache.fetch(&name, &key, now, lru) {
            return self.drive(NativeStep::Return(value), target, None, None);
        }
        let call = Cached { name, key, options: options.clone(), stage: Stage::Called };
        let step = NativeStep::Call {
            function: callee,
            arguments: arguments.values().cloned().collect(),
            then: Box::new(call),
        };
        self.drive(step, target, None, None)
    }
}

/// Refuses options of a wrong type. One that is none counts as not given, and unknown ones as for
/// later versions.
fn check_options(options: &Array) -> Result<(), Thrown> {
    for (key, value) in options {
        let Key::Str(name) = &key else { continue };
        let wanted = match name.as_bytes() {
            b"ttl" | b"size" => Type::Number,
            b"ttl_override" | b"argv_filter" => Type::Array,
            b"ttl_function" | b"update_function" => Type::Function,
            b"force" | b"per_message" | b"lru" => Type::Boolean,
            b"namespace" => Type::String,
            _ => continue,
        };
        let given = value.type_of();
        if given != wanted && given != Type::None {
            return Err(wrong(name, wanted, given));
        }
        if let (Value::Array(items), b"ttl_override" | b"argv_filter") = (value, name.as_bytes())
            && let Some(item) = items.values().find(|item| item.as_number().is_none())
        {
            let given = item.type_of().name();
            let name = name.escape_ascii();
            return Err(Thrown::new(format!(
                "the items of the option {name} of cache must be numbers, {given} given"
            )));
        }
    }
    Ok(())
}

#[cold]
fn wrong(name: &[u8], wanted: Type, given: Type) -> Thrown {
    let article = if wanted == Type::Array { "an" } else { "a" };
    let (wanted, given) = (wanted.name(), given.name());
    let name = name.escape_ascii();
    Thrown::new(format!("the option {name} of cache must be {article} {wanted}, {given} given"))
}

impl Continuation for Cached {
    fn resume(mut self: Box<Self>, context: &mut CallContext<'_>, value: Value) -> NativeStep {
        match std::mem::replace(&mut self.stage, Stage::Called) {
            Stage::Called => {
                if let Some(update) = self.options.get_text("update_function").cloned()
                    && !update.is_none()
                {
                    let old = context.cache().peek(&self.name, &self.key).unwrap_or_default();
                    self.stage = Stage::Updated;
                    return NativeStep::Call {
                        function: update,
                        arguments: [old, value].into_iter().collect(),
                        then: self,
                    };
                }
                self.age(context, value)
            }
            Stage::Updated => self.age(context, value),
            Stage::Aged(result) => match value {
                Value::Number(ttl) => self.store(context, result, Some(ttl)),
                Value::None => self.store(context, result, None),
                other => NativeStep::Throw(Thrown::new(format!(
                    "ttl_function of cache must return a number or none, {} returned",
                    other.type_of().name()
                ))),
            },
        }
    }
}

impl Cached {
    /// Finds out how long the value lives.
    fn age(mut self: Box<Self>, context: &mut CallContext<'_>, value: Value) -> NativeStep {
        if let Some(function) = self.options.get_text("ttl_function").cloned()
            && !function.is_none()
        {
            self.stage = Stage::Aged(value.clone());
            return NativeStep::Call {
                function,
                arguments: [value].into_iter().collect(),
                then: self,
            };
        }
        self.store(context, value, None)
    }

    fn store(&self, context: &mut CallContext<'_>, value: Value, ttl: Option<f64>) -> NativeStep {
        let overridden = || {
            let by_value = self.options.get_text("ttl_override")?.as_array()?;
            by_value.get_value(&value)?.as_number()
        };
        let plain = || self.options.get_text("ttl").and_then(Value::as_number);
        let ttl = ttl.or_else(overridden).or_else(plain).unwrap_or(DEFAULT_TTL);
        let size = self
            .options
            .get_text("size")
            .and_then(Value::as_number)
            .map_or(DEFAULT_SIZE, |size| size as usize);
        let life = Life {
            now: context.clock().monotonic(),
            ttl: Duration::try_from_secs_f64(ttl.max(0.0))
                .unwrap_or(Duration::from_secs(u64::from(u32::MAX))),
            size,
            lru: self.options.get_text("lru").is_none_or(Value::is_truthy),
        };
        context.keep(&value);
        context.cache().store(&self.name, &self.key, value.clone(), life);
        NativeStep::Return(value)
    }
}
