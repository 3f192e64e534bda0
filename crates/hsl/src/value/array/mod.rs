//! Arrays: ordered maps that are lists most of the time.
//!
//! Keys 0..n in order live in a plain vector ("list"); any other shape switches to entries in
//! insertion order with a hash index ("map"). Removed entries leave a gap that iteration skips; gaps
//! are squeezed out when they outnumber what is left, so every operation is amortised O(1).
//! Small maps have no index at all: comparing eight keys is cheaper than hashing one.
//!
//! [`key`] knows keys, [`map`] the map shape, [`set`] sets of values.

mod key;
mod map;
mod set;

use std::borrow::Cow;

use triomphe::Arc;

pub use key::Key;
pub(crate) use set::ValueSet;

use self::key::{Probe, integer_text};
use self::map::Map;
use super::{Str, Value, number, release};

/// An ordered map with cheap clones; copied when written to while shared.
#[derive(Clone, Default)]
pub struct Array(Arc<ArrayData>);

#[derive(Clone)]
enum ArrayData {
    /// Keys 0..n in order.
    List(Vec<Value>),
    Map(Map),
}

impl Default for ArrayData {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl ArrayData {
    /// Switches to the map shape and returns it.
    fn map_mut(&mut self) -> &mut Map {
        if let Self::List(items) = self {
            let items = std::mem::take(items);
            let mut map = Map::default();
            map.entries.reserve(items.len() + 1);
            for (key, value) in (0_i32..).zip(items) {
                map.append(Key::Int(key), value);
            }
            *self = Self::Map(map);
        }
        match self {
            Self::Map(map) => map,
            Self::List(_) => unreachable!("the list was turned into a map above"),
        }
    }
}

impl Array {
    /// Makes an empty array.
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty array with room for `items` list items.
    pub fn with_capacity(items: usize) -> Self {
        Self(Arc::new(ArrayData::List(Vec::with_capacity(items))))
    }

    /// Makes a list of parts of a text; see [`Str::part`].
    pub fn of_parts(
        text: &Str,
        parts: impl ExactSizeIterator<Item = Option<(usize, usize)>>,
    ) -> Self {
        let mut items: Vec<_> = std::iter::repeat_with(Value::default).take(parts.len()).collect();
        for (place, part) in items.iter_mut().zip(parts) {
            // Written where it stays: moved as a whole just after it was written in parts, each value would
            // wait for the memory.
            place.put(Value::String(text.part(part)));
        }
        Self(Arc::new(ArrayData::List(items)))
    }

    /// Makes an array of pairs whose keys all differ, without looking for one among the others.
    pub fn from_distinct(entries: impl IntoIterator<Item = (Key, Value)>) -> Self {
        let entries: Vec<_> = entries.into_iter().map(Some).collect();
        let is_list = (0..).zip(&entries).all(|(at, entry)| match entry {
            Some((Key::Int(number), _)) => *number == at,
            _ => false,
        });
        if is_list {
            return entries.into_iter().flatten().map(|(_, value)| value).collect();
        }
        debug_assert!(
            entries.len() > 64
                || entries.iter().enumerate().all(|(at, entry)| {
                    let key = entry.as_ref().map(|(key, _)| key);
                    entries.iter().skip(at + 1).flatten().all(|(other, _)| Some(other) != key)
                }),
            "two entries have one key"
        );
        Self(Arc::new(ArrayData::Map(Map::of_distinct(entries))))
    }

    /// Returns the number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match &*self.0 {
            ArrayData::List(items) => items.len(),
            ArrayData::Map(map) => map.live as usize,
        }
    }

    /// Returns whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the keys are 0..n in order and the elements lie in one slice.
    pub fn as_list(&self) -> Option<&[Value]> {
        match &*self.0 {
            ArrayData::List(items) => Some(items),
            ArrayData::Map(_) => None,
        }
    }

    /// Returns the element with this key.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        match key {
            Key::Int(number) => self.get_int(*number),
            _ => self.probe(Probe::Key(key)),
        }
    }

    /// Returns the element with this numeric key.
    #[inline]
    pub fn get_int(&self, key: i32) -> Option<&Value> {
        match &*self.0 {
            ArrayData::List(items) => usize::try_from(key).ok().and_then(|at| items.get(at)),
            ArrayData::Map(_) => self.probe(Probe::Int(key)),
        }
    }

    /// Returns the element of a list with this key.
    #[inline(always)]
    pub(crate) fn list_item(&self, key: f64) -> Option<&Value> {
        let at = position(key);
        match &*self.0 {
            ArrayData::List(items) if f64::from(at) == key => items.get(at as usize),
            _ => None,
        }
    }

    /// Returns the place of an element of a list that nobody else holds.
    #[inline(always)]
    pub(crate) fn list_place(&mut self, key: f64) -> Option<&mut Value> {
        let at = position(key);
        match Arc::get_mut(&mut self.0)? {
            ArrayData::List(items) if f64::from(at) == key => items.get_mut(at as usize),
            _ => None,
        }
    }

    /// Returns the elements of a list that nobody else holds and that may grow.
    #[inline(always)]
    pub(crate) fn growable_list(&mut self) -> Option<&mut Vec<Value>> {
        match Arc::get_mut(&mut self.0)? {
            ArrayData::List(items) if items.len() < i32::MAX as usize => Some(items),
            _ => None,
        }
    }

    /// Returns the element with this text key; text that holds an integer finds the number.
    #[inline]
    pub fn get_text(&self, key: impl AsRef<[u8]>) -> Option<&Value> {
        let key = key.as_ref();
        match integer_text(key) {
            Some(number) => self.get_int(number),
            None => self.probe(Probe::Bytes(key)),
        }
    }

    /// Returns the element with this text key. One allocation used as key and for the search makes
    /// this a comparison of addresses.
    #[inline]
    pub(crate) fn get_name(&self, name: &Str) -> Option<&Value> {
        match integer_text(name) {
            Some(number) => self.get_int(number),
            None => self.probe(Probe::Name(name)),
        }
    }

    /// Returns the element with the key that `value` stands for.
    #[inline]
    pub fn get_value(&self, value: &Value) -> Option<&Value> {
        match value {
            Value::Number(number) => self.get_int(number::to_i32(*number)),
            Value::String(text) => self.get_text(text),
            Value::Bool(value) => self.get_int(i32::from(*value)),
            other => self.probe(Probe::Key(&Key::Other(Box::new(other.clone())))),
        }
    }

    fn probe(&self, probe: Probe<'_>) -> Option<&Value> {
        match &*self.0 {
            ArrayData::List(_) => None,
            ArrayData::Map(map) => {
                let at = map.find(probe)?;
                map.entries.get(at)?.as_ref().map(|(_, value)| value)
            }
        }
    }

    /// Returns whether there is an element with this key.
    pub fn contains(&self, key: &Key) -> bool {
        self.get(key).is_some()
    }

    /// Returns the place of the element with this key, copying the array first if it is shared.
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut Value> {
        match Arc::make_mut(&mut self.0) {
            ArrayData::List(items) => match key {
                Key::Int(number) => usize::try_from(*number).ok().and_then(|at| items.get_mut(at)),
                _ => None,
            },
            ArrayData::Map(map) => {
                let at = map.find(Probe::Key(key))?;
                map.entries.get_mut(at)?.as_mut().map(|(_, value)| value)
            }
        }
    }

    /// Returns the place of the element with this key; a missing one is made and holds none.
    #[inline]
    pub fn entry(&mut self, key: Key) -> &mut Value {
        let data = Arc::make_mut(&mut self.0);
        let fits = match (&*data, &key) {
            (ArrayData::List(items), Key::Int(number)) => usize::try_from(*number)
                .ok()
                .filter(|at| *at <= items.len() && i32::try_from(*at).is_ok()),
            _ => None,
        };
        if let Some(at) = fits {
            if let ArrayData::List(items) = data {
                if at == items.len() {
                    items.push(Value::None);
                }
                return &mut items[at]; // `at` is less than the length, grown above if needed
            }
            unreachable!("`fits` holds a position for lists only");
        }
        let map = data.map_mut();
        // The probe needs the key until it is found missing.
        let found = match &key {
            Key::Int(number) => map.find(Probe::Int(*number)),
            Key::Str(text) => map.find(Probe::Name(text)),
            Key::Other(_) => map.find(Probe::Key(&key)),
        };
        let at = match found {
            Some(at) => at,
            None => map.append(key, Value::None),
        };
        map.place(at)
    }

    /// Returns the place of the element with the key that `value` stands for; a missing one is made
    /// and holds none. A key that is there already is not made again.
    #[inline]
    pub(crate) fn entry_of(&mut self, value: &Value) -> &mut Value {
        if let Value::String(text) = value
            && integer_text(text).is_none()
        {
            let map = Arc::make_mut(&mut self.0).map_mut();
            let at = map.find_or_append(Probe::Name(text), || Key::Str(text.clone()));
            return map.place(at);
        }
        self.entry(Key::from_value(value))
    }

    /// Sets an element and returns the value it replaces. A new key goes to the end.
    #[inline]
    pub fn insert(&mut self, key: Key, value: Value) -> Option<Value> {
        let before = self.len();
        let slot = self.entry(key);
        let old = std::mem::replace(slot, value);
        (self.len() == before).then_some(old)
    }

    /// Appends behind the highest numeric key. Returns false, and drops the value, if that key is
    /// the largest there is.
    #[inline]
    pub fn push(&mut self, value: Value) -> bool {
        match Arc::make_mut(&mut self.0) {
            ArrayData::List(items) => {
                if items.len() > i32::MAX as usize {
                    return false;
                }
                items.push(value);
                true
            }
            ArrayData::Map(map) => {
                let Ok(next) = i32::try_from(map.next_index()) else { return false };
                map.append(Key::Int(next), value);
                true
            }
        }
    }

    /// Appends none behind the highest numeric key and returns its place.
    pub(crate) fn push_place(&mut self) -> Option<&mut Value> {
        if !self.push(Value::None) {
            return None;
        }
        match Arc::make_mut(&mut self.0) {
            ArrayData::List(items) => items.last_mut(),
            ArrayData::Map(map) => map.entries.last_mut()?.as_mut().map(|(_, value)| value),
        }
    }

    /// Returns the place of the element with this text key, copying the array first if it is shared.
    #[inline]
    pub(crate) fn get_name_mut(&mut self, name: &Str) -> Option<&mut Value> {
        if integer_text(name).is_some() {
            return self.get_mut(&Key::from(name.clone()));
        }
        match Arc::make_mut(&mut self.0) {
            ArrayData::List(_) => None,
            ArrayData::Map(map) => {
                let at = map.find(Probe::Name(name))?;
                map.entries.get_mut(at)?.as_mut().map(|(_, value)| value)
            }
        }
    }

    /// Removes an element and returns it. The other elements keep their keys and their order.
    pub fn remove(&mut self, key: &Key) -> Option<Value> {
        if !self.contains(key) {
            return None;
        }
        let data = Arc::make_mut(&mut self.0);
        if let (ArrayData::List(items), Key::Int(number)) = (&mut *data, key)
            && usize::try_from(*number).is_ok_and(|at| at + 1 == items.len())
        {
            return items.pop();
        }
        data.map_mut().remove(Probe::Key(key))
    }

    /// Returns the elements in order.
    pub fn iter(&self) -> ArrayIter<'_> {
        ArrayIter { array: self, at: 0 }
    }

    /// Returns the elements in order, with keys that are not copied where the array holds them.
    pub fn pairs(&self) -> impl Iterator<Item = (Cow<'_, Key>, &Value)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (next, key, value) = self.walk(at)?;
            at = next;
            Some((key, value))
        })
    }

    /// Returns the values in order.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        let (list, map) = match &*self.0 {
            ArrayData::List(items) => (Some(items), None),
            ArrayData::Map(map) => (None, Some(map)),
        };
        list.into_iter()
            .flatten()
            .chain(map.into_iter().flat_map(|map| map.entries.iter().flatten().map(|(_, v)| v)))
    }

    /// Returns the keys in order.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.iter().map(|(key, _)| key)
    }

    /// Returns the element at or behind the internal position `at`, and the position to go on with.
    #[inline]
    pub(crate) fn walk(&self, at: usize) -> Option<(usize, Cow<'_, Key>, &Value)> {
        match &*self.0 {
            ArrayData::List(items) => {
                items.get(at).map(|value| (at + 1, Cow::Owned(Key::Int(at as i32)), value))
            }
            ArrayData::Map(map) => {
                let rest = map.entries.get(at..)?;
                let skip = rest.iter().position(Option::is_some)?;
                let (key, value) = rest.get(skip)?.as_ref()?;
                Some((at + skip + 1, Cow::Borrowed(key), value))
            }
        }
    }

    /// Returns the places of all values, copying the array first if it is shared.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        let (list, map) = match Arc::make_mut(&mut self.0) {
            ArrayData::List(items) => (Some(items), None),
            ArrayData::Map(map) => (None, Some(map)),
        };
        list.into_iter()
            .flatten()
            .chain(map.into_iter().flat_map(|map| map.entries.iter_mut().flatten().map(|(_, v)| v)))
    }

    /// Returns whether both are the same allocation.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns an address that identifies the allocation while it lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Returns how many references there are.
    pub(crate) fn references(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Returns about how many octets it occupies, without what the elements refer to.
    pub(crate) fn shallow_size(&self) -> usize {
        match &*self.0 {
            ArrayData::List(items) => 48 + items.len() * 16,
            ArrayData::Map(map) => 96 + map.entries.len() * 40,
        }
    }

    /// Drops the array. One that nobody else holds needs no locked operation on its count.
    pub(super) fn end(self) {
        drop(Arc::try_unwrap(self.0));
    }

    /// Moves nested containers out of an unshared array; see [`release`].
    pub(super) fn unlink(&mut self, work: &mut Vec<Value>) {
        if let Some(data) = Arc::get_mut(&mut self.0) {
            data.unlink(work);
        }
    }
}

impl ArrayData {
    fn unlink(&mut self, work: &mut Vec<Value>) {
        match self {
            // One walk takes it all apart: what is not a container ends here.
            Self::List(items) => {
                for value in std::mem::take(items) {
                    if value.is_container() {
                        work.push(value);
                    } else {
                        value.discard();
                    }
                }
            }
            Self::Map(map) => {
                for (key, value) in std::mem::take(&mut map.entries).into_iter().flatten() {
                    if let Key::Other(key) = key
                        && key.is_container()
                    {
                        work.push(*key);
                    }
                    if value.is_container() {
                        work.push(value);
                    }
                }
            }
        }
    }
}

impl Drop for ArrayData {
    fn drop(&mut self) {
        let mut work = Vec::new();
        self.unlink(&mut work);
        if !work.is_empty() {
            release(work);
        }
    }
}

/// The elements of an array in order.
pub struct ArrayIter<'a> {
    array: &'a Array,
    at: usize,
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = (Key, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        let (next, key, value) = self.array.walk(self.at)?;
        self.at = next;
        Some((key.into_owned(), value))
    }
}

impl<'a> IntoIterator for &'a Array {
    type Item = (Key, &'a Value);
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

impl FromIterator<Value> for Array {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self(Arc::new(ArrayData::List(items.into_iter().collect())))
    }
}

impl FromIterator<(Key, Value)> for Array {
    fn from_iter<I: IntoIterator<Item = (Key, Value)>>(items: I) -> Self {
        let mut array = Self::new();
        array.extend(items);
        array
    }
}

impl Extend<(Key, Value)> for Array {
    fn extend<I: IntoIterator<Item = (Key, Value)>>(&mut self, items: I) {
        for (key, value) in items {
            self.insert(key, value);
        }
    }
}

/// Returns the position that `key` is, if it is one; whoever asks compares. A number this far up has its
/// whole part in the lower bits, which is quicker than a conversion that knows every number.
#[inline(always)]
fn position(key: f64) -> u32 {
    (key + 4_503_599_627_370_496.0).to_bits() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_follow_the_rules_of_the_manual() {
        let key = |value: Value| Key::from_value(&value);
        assert_eq!(key(Value::from("1")), Key::Int(1));
        assert_eq!(key(Value::from("1.9")), Key::Str("1.9".into()));
        assert_eq!(key(Value::from("01")), Key::Str("01".into()));
        assert_eq!(key(Value::from("-1")), Key::Int(-1));
        assert_eq!(key(Value::from("-0")), Key::Str("-0".into()));
        assert_eq!(key(Value::Number(1.9)), Key::Int(1));
        assert_eq!(key(Value::Bool(true)), Key::Int(1));
        assert_eq!(key(Value::None), Key::Other(Box::new(Value::None)));
        assert_eq!(key(Value::from("2147483648")), Key::Str("2147483648".into()));
    }

    #[test]
    fn removing_from_the_front_keeps_order_and_stays_fast() {
        let mut array: Array = (0..100_000).map(Value::from).collect();
        for key in 0..99_990 {
            assert_eq!(array.remove(&Key::Int(key)), Some(Value::from(key)));
        }
        let keys: Vec<_> = array.keys().collect();
        assert_eq!(keys, (99_990..100_000).map(Key::Int).collect::<Vec<_>>());
    }

    #[test]
    fn appending_continues_behind_the_highest_numeric_key() {
        let mut array = Array::new();
        array.insert(Key::Int(7), Value::None);
        array.push(Value::Bool(true));
        assert!(array.contains(&Key::Int(8)));
        array.remove(&Key::Int(8));
        array.push(Value::Bool(true));
        assert!(array.contains(&Key::Int(8)));
        array.insert(Key::Int(i32::MAX), Value::None);
        assert!(!array.push(Value::None));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(i32, i32),
        InsertText(u8, i32),
        Push(i32),
        Remove(i32),
        RemoveText(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..24, 0..100).prop_map(|(k, v)| Step::Insert(k, v)),
            (0..24_u8, 0..100).prop_map(|(k, v)| Step::InsertText(k, v)),
            (0..100).prop_map(Step::Push),
            (0..24).prop_map(Step::Remove),
            (0..24_u8).prop_map(Step::RemoveText),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn an_array_is_a_list_of_pairs(steps in steps()) {
            let mut array = Array::new();
            let mut model: Vec<(Key, i32)> = Vec::new();
            let set = |model: &mut Vec<(Key, i32)>, key: Key, value: i32| {
                match model.iter_mut().find(|(known, _)| *known == key) {
                    Some(entry) => entry.1 = value,
                    None => model.push((key, value)),
                }
            };
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        array.insert(Key::Int(key), Value::from(value));
                        set(&mut model, Key::Int(key), value);
                    }
                    Step::InsertText(key, value) => {
                        let key = Key::from(format!("k{key}"));
                        array.insert(key.clone(), Value::from(value));
                        set(&mut model, key, value);
                    }
                    Step::Push(value) => {
                        array.push(Value::from(value));
                        let next = model.iter().filter_map(|(key, _)| match key {
                            Key::Int(key) => Some(key + 1),
                            _ => None,
                        }).fold(0, i32::max);
                        model.push((Key::Int(next), value));
                    }
                    Step::Remove(key) => {
                        array.remove(&Key::Int(key));
                        model.retain(|(known, _)| *known != Key::Int(key));
                    }
                    Step::RemoveText(key) => {
                        let key = Key::from(format!("k{key}"));
                        array.remove(&key);
                        model.retain(|(known, _)| *known != key);
                    }
                }
                prop_assert_eq!(array.len(), model.len());
            }
            let found: Vec<_> = array.iter().map(|(k, v)| (k, v.clone())).collect();
            let wanted: Vec<_> = model.into_iter().map(|(k, v)| (k, Value::from(v))).collect();
            for (key, value) in &wanted {
                prop_assert_eq!(array.get(key), Some(value));
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
