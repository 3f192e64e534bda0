//! `Map` and `Set` (5.5): shared containers whose keys and values have one type.
//!
//! Unlike arrays they are references: a function that gets one changes its caller's. Keys are not
//! converted as array keys are: in a `Map("any", …)` the string `"1"` and the number 1 differ.

use std::collections::HashMap;
use std::sync::LazyLock;

use hsl::host::{CallContext, ClassBuilder, Measure, Registry, Thrown};
use hsl::value::{Class, HostIterator, Key, Object, Str, Type, Value};
use parking_lot::Mutex;

use crate::args;

/// Registers both classes.
pub(super) fn register(registry: &mut Registry) {
    registry.add_class(map_type().clone());
    registry.add_class(set_type().clone());
}

/// The class `Map`, the same for every set of functions: data imports make objects of it.
fn map_type() -> &'static Class {
    static CLASS: LazyLock<Class> = LazyLock::new(|| {
        let mut class = Class::builder("Map", "values by key, of declared types");
        map_class(&mut class);
        class.build()
    });
    &CLASS
}

/// The class `Set`, likewise.
fn set_type() -> &'static Class {
    static CLASS: LazyLock<Class> = LazyLock::new(|| {
        let mut class = Class::builder("Set", "different values of a declared type");
        set_class(&mut class);
        class.build()
    });
    &CLASS
}

/// A `Map` object of the entries. Keys of one type declare it; values are of any.
///
/// # Errors
///
/// When a key is of a type that cannot be one.
pub(crate) fn map_object(entries: Vec<(Value, Value)>) -> Result<Value, Thrown> {
    let kind = Kind::common(entries.iter().map(|(key, _)| key));
    object(map_type(), MapState::new(kind, Kind::Any), entries)
}

/// A `Set` object of the members. Members of one type declare it.
///
/// # Errors
///
/// As for [`map_object`].
pub(crate) fn set_object(members: Vec<Value>) -> Result<Value, Thrown> {
    let kind = Kind::common(members.iter());
    let entries = members.into_iter().map(|member| (member, Value::None)).collect();
    object(set_type(), MapState::new(kind, Kind::Any), entries)
}

fn object(class: &Class, state: MapState, entries: Vec<(Value, Value)>) -> Result<Value, Thrown> {
    for (key, value) in entries {
        state.entries.lock().insert(MapKey::of(&key)?, value);
    }
    Ok(Value::Object(Object::new(class, state)))
}

fn map_class(class: &mut ClassBuilder) {
    class.copy_with(MapState::own_copy).iterate(|object| walk(object, MapState::pairs));
    class.measure_with(MapState::measure);
    class
        .constructor("Map(string keytype, string valuetype) -> Map", "an empty map", |ctx, args| {
            let keys = Kind::parse(args::bytes(args, 0))?;
            let values = Kind::parse(args::bytes(args, 1))?;
            ctx.new_object(MapState::new(keys, values))
        })
        .method("set(any key, any value) -> boolean", "adds or replaces a value", |ctx, args| {
            let map = ctx.state_of_this::<MapState>()?;
            let key = map.key(&args::take(args, 0))?;
            let value = args::take(args, 1);
            map.values.check("value", &value)?;
            map.insert(ctx, key, value)?;
            Ok::<_, Thrown>(true)
        })
        .method("has(any key) -> boolean", "true if there is a value for the key", |ctx, args| {
            let map = ctx.state_of_this::<MapState>()?;
            let key = map.key(&args::take(args, 0))?;
            Ok::<_, Thrown>(map.entries.lock().contains_key(&key))
        })
        .method("get(any key) -> any", "the value of the key, or none", |ctx, args| {
            let map = ctx.state_of_this::<MapState>()?;
            let key = map.key(&args::take(args, 0))?;
            Ok::<_, Thrown>(map.entries.lock().get(&key).cloned().unwrap_or_default())
        })
        .method(
            "delete(any key) -> boolean",
            "removes a value; true if there was one",
            |ctx, args| {
                let map = ctx.state_of_this::<MapState>()?;
                let key = map.key(&args::take(args, 0))?;
                Ok::<_, Thrown>(map.remove(&key))
            },
        )
        .method("merge(any key, any value) -> boolean", "adds to the value of the key", merge)
        .method("size() -> number", "how many values there are", |ctx, _| {
            let map = ctx.state_of_this::<MapState>()?;
            Ok::<_, Thrown>(map.entries.lock().len())
        })
        .method("clear() -> none", "removes all values", |ctx, _| {
            let map = ctx.state_of_this::<MapState>()?;
            map.clear();
            Ok::<_, Thrown>(())
        })
        .method("entries() -> Iterator", "all keys and values, in no order", |ctx, _| {
            let map = ctx.state_of_this::<MapState>()?;
            ctx.iterator(map.pairs())
        });
}

fn set_class(class: &mut ClassBuilder) {
    class.copy_with(MapState::own_copy).iterate(|object| walk(object, MapState::members));
    class.measure_with(MapState::measure);
    class
        .constructor("Set(string keytype) -> Set", "an empty set", |ctx, args| {
            let keys = Kind::parse(args::bytes(args, 0))?;
            ctx.new_object(MapState::new(keys, Kind::Any))
        })
        .method("add(any key) -> boolean", "adds a member; true if it is new", |ctx, args| {
            let set = ctx.state_of_this::<MapState>()?;
            let key = set.key(&args::take(args, 0))?;
            set.insert(ctx, key, Value::None)
        })
        .method("has(any key) -> boolean", "true if it is a member", |ctx, args| {
            let set = ctx.state_of_this::<MapState>()?;
            let key = set.key(&args::take(args, 0))?;
            Ok::<_, Thrown>(set.entries.lock().contains_key(&key))
        })
        .method(
            "delete(any key) -> boolean",
            "removes a member; true if it was one",
            |ctx, args| {
                let set = ctx.state_of_this::<MapState>()?;
                let key = set.key(&args::take(args, 0))?;
                Ok::<_, Thrown>(set.remove(&key))
            },
        )
        .method("size() -> number", "how many members there are", |ctx, _| {
            let set = ctx.state_of_this::<MapState>()?;
            Ok::<_, Thrown>(set.entries.lock().len())
        })
        .method("clear() -> none", "removes all members", |ctx, _| {
            let set = ctx.state_of_this::<MapState>()?;
            set.clear();
            Ok::<_, Thrown>(())
        })
        .method("values() -> Iterator", "all members, in no order", |ctx, _| {
            let set = ctx.state_of_this::<MapState>()?;
            ctx.iterator(set.members())
        });
}

/// What `foreach` walks: what `all` gives of the container.
fn walk(object: &Object, all: fn(&MapState) -> Box<dyn HostIterator>) -> Box<dyn HostIterator> {
    match object.state::<MapState>() {
        Some(state) => all(&state),
        None => Box::new(Vec::new().into_iter()),
    }
}

/// Compat: `stored + value` as the operator does it; a missing key stores the value itself.
fn merge(ctx: &mut CallContext<'_>, args: &mut [Value]) -> Result<bool, Thrown> {
    let map = ctx.state_of_this::<MapState>()?;
    let key = map.key(&args::take(args, 0))?;
    let value = args::take(args, 1);
    let added = {
        let mut entries = map.entries.lock();
        match entries.get_mut(&key) {
            Some(stored) => {
                let before = weight(stored);
                match sum(stored.take(), value) {
                    Ok(sum) => *stored = sum,
                    Err((old, thrown)) => {
                        *stored = old;
                        return Err(thrown);
                    }
                }
                weight(stored).saturating_sub(before)
            }
            None => {
                map.values.check("value", &value)?;
                entries.insert(key, value);
                ENTRY_OCTETS
            }
        }
    };
    ctx.charge_memory(added)?;
    Ok(true)
}

/// `stored + value`, in place where it can be: an array that was taken out is not shared. Gives the
/// stored value back when they cannot be added.
fn sum(stored: Value, value: Value) -> Result<Value, (Value, Thrown)> {
    match (stored, value) {
        (Value::Array(mut array), Value::Array(more)) => {
            for (key, value) in &more {
                match key {
                    Key::Int(_) => {
                        array.push(value.clone());
                    }
                    key => {
                        array.insert(key, value.clone());
                    }
                }
            }
            Ok(Value::Array(array))
        }
        (Value::Array(mut array), value) => {
            array.push(value);
            Ok(Value::Array(array))
        }
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a + b)),
        (old, value) => {
            let (a, b) = (old.type_of().name(), value.type_of().name());
            let thrown = Thrown::new(format!("merge() cannot add {b} to {a}"));
            Err((old, thrown))
        }
    }
}

struct MapState {
    keys: Kind,
    values: Kind,
    entries: Mutex<HashMap<MapKey, Value>>,
}

impl Drop for MapState {
    fn drop(&mut self) {
        // A map may hold a map, and so on.
        hsl::value::release(self.entries.get_mut().drain().map(|(_, value)| value).collect());
    }
}

impl MapState {
    fn new(keys: Kind, values: Kind) -> Self {
        Self { keys, values, entries: Mutex::default() }
    }

    /// The same entries, in a container of their own.
    fn own_copy(&self) -> Self {
        let entries = self.entries.lock();
        let copies = entries.iter().map(|(key, value)| (key.clone(), value.own_copy()));
        Self { keys: self.keys, values: self.values, entries: Mutex::new(copies.collect()) }
    }

    /// All keys and values as they are now: a loop over them does not see later changes.
    fn pairs(&self) -> Box<dyn HostIterator> {
        let entries = self.entries.lock();
        let pairs: Vec<(Value, Value)> =
            entries.iter().map(|(key, value)| (key.to_value(), value.clone())).collect();
        Box::new(pairs.into_iter())
    }

    /// All keys as they are now, numbered from 0.
    fn members(&self) -> Box<dyn HostIterator> {
        let entries = self.entries.lock();
        let members: Vec<(Value, Value)> =
            entries.keys().enumerate().map(|(at, key)| (Value::from(at), key.to_value())).collect();
        Box::new(members.into_iter())
    }

    /// Sets a value; true if the key is new.
    fn insert(&self, ctx: &mut CallContext<'_>, key: MapKey, value: Value) -> Result<bool, Thrown> {
        let old = self.entries.lock().insert(key, value);
        if old.is_none() {
            ctx.charge_memory(ENTRY_OCTETS)?;
        }
        Ok(old.is_none())
    }

    /// Tells the memory limit about the entries.
    fn measure(&self, measure: &mut Measure) {
        let entries = self.entries.lock();
        measure.octets(entries.len() * ENTRY_OCTETS);
        for (key, value) in &*entries {
            if let MapKey::Text(text) = key {
                measure.value(&Value::String(text.clone()));
            }
            measure.value(value);
        }
    }

    /// Removes a value; true if there was one.
    fn remove(&self, key: &MapKey) -> bool {
        let old = self.entries.lock().remove(key);
        old.is_some()
    }

    fn clear(&self) {
        // Dropped after the lock: values may hold the container itself.
        let old = std::mem::take(&mut *self.entries.lock());
        drop(old);
    }

    fn key(&self, key: &Value) -> Result<MapKey, Thrown> {
        self.keys.check("key", key)?;
        MapKey::of(key)
    }
}

/// A type that a container is declared for.
#[derive(Clone, Copy)]
enum Kind {
    Any,
    Only(Type),
}

impl Kind {
    fn parse(name: &[u8]) -> Result<Self, Thrown> {
        if name == b"any" {
            return Ok(Self::Any);
        }
        let types = [
            Type::None,
            Type::Boolean,
            Type::Number,
            Type::String,
            Type::Array,
            Type::Function,
            Type::Object,
            Type::Resource,
        ];
        let found = types.into_iter().find(|kind| kind.name().as_bytes() == name);
        found.map(Self::Only).ok_or_else(|| {
            Thrown::new(format!("\"{}\" is no type of a container", name.escape_ascii()))
        })
    }

    /// The type that all values have, else any.
    fn common<'a>(mut values: impl Iterator<Item = &'a Value>) -> Self {
        match values.next() {
            Some(first) if values.all(|value| value.type_of() == first.type_of()) => {
                Self::Only(first.type_of())
            }
            _ => Self::Any,
        }
    }

    fn check(self, what: &str, value: &Value) -> Result<(), Thrown> {
        match self {
            Self::Only(wanted) if value.type_of() != wanted => {
                let (wanted, given) = (wanted.name(), value.type_of().name());
                Err(Thrown::new(format!("{what} must be a {wanted}, {given} given")))
            }
            _ => Ok(()),
        }
    }
}

/// A key by type and value.
#[derive(Clone, PartialEq, Eq, Hash)]
enum MapKey {
    Text(Str),
    /// The bits of the number; minus zero is zero.
    Number(u64),
    Bool(bool),
    None,
}

impl MapKey {
    fn of(value: &Value) -> Result<Self, Thrown> {
        match value {
            Value::String(text) => Ok(Self::Text(text.clone())),
            Value::Number(number) => Ok(Self::Number((number + 0.0).to_bits())),
            Value::Bool(flag) => Ok(Self::Bool(*flag)),
            Value::None => Ok(Self::None),
            other => {
                let kind = other.type_of().name();
                Err(Thrown::new(format!("a value of type {kind} cannot be a key")))
            }
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Number(bits) => Value::Number(f64::from_bits(*bits)),
            Self::Bool(flag) => Value::Bool(*flag),
            Self::None => Value::None,
        }
    }
}

/// About what merging may make larger.
fn weight(value: &Value) -> usize {
    match value {
        Value::Array(array) => array.len() * size_of::<Value>(),
        _ => 0,
    }
}

/// About what an entry occupies: key, value, and its share of the table.
const ENTRY_OCTETS: usize = 96;
