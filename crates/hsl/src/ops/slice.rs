//! Slices: `x[first:last:step]`.

use crate::host::Thrown;
use crate::value::{Array, Key, Str, Value, number};

/// The parts of a slice as written; `None` where one is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// The first position.
    pub first: Option<i32>,
    /// The position behind the last one.
    pub last: Option<i32>,
    /// The distance between positions, 1 by default.
    pub step: Option<i32>,
}

impl Bounds {
    /// Reads the parts from three values; unset or none stands for a missing part.
    pub(crate) fn from_values(parts: &[Value]) -> Result<Self, Thrown> {
        let mut numbers = [None; 3];
        for (slot, value) in numbers.iter_mut().zip(parts) {
            *slot = match value {
                Value::Unset | Value::None => None,
                Value::Number(value) => Some(number::to_i32(*value)),
                other => {
                    let kind = other.type_of().name();
                    return Err(Thrown::new(format!("slice positions are numbers, {kind} given")));
                }
            };
        }
        let [first, last, step] = numbers;
        if step == Some(0) {
            return Err(Thrown::new("slice step is zero"));
        }
        Ok(Self { first, last, step })
    }

    /// Returns start, end and step within `length` items; the end is excluded and, for negative
    /// steps, may be -1.
    fn resolve(self, length: usize) -> (i64, i64, i64) {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let step = i64::from(self.step.unwrap_or(1));
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let place = |part: Option<i32>, missing: i64| match part {
            None => missing,
            Some(at) => {
                let at = i64::from(at);
                (if at < 0 { at + length } else { at }).clamp(low, high)
            }
        };
        if step > 0 {
            (place(self.first, low), place(self.last, high), step)
        } else {
            (place(self.first, high), place(self.last, low), step)
        }
    }

    fn positions(self, length: usize) -> impl Iterator<Item = usize> {
        let (start, end, step) = self.resolve(length);
        std::iter::successors(Some(start), move |at| Some(at + step))
            .take_while(move |at| if step > 0 { *at < end } else { *at > end })
            .filter_map(|at| usize::try_from(at).ok())
    }

    /// Returns the range of a slice without gaps.
    fn range(self, length: usize) -> Result<std::ops::Range<usize>, Thrown> {
        if self.step.is_some_and(|step| step != 1) {
            return Err(Thrown::new("only slices with step 1 can be assigned"));
        }
        let (start, end, _) = self.resolve(length);
        let start = usize::try_from(start).unwrap_or(0);
        Ok(start..usize::try_from(end).unwrap_or(0).max(start))
    }
}

/// Takes a slice of a string or array; arrays are re-indexed. A slice of none is none.
///
/// # Errors
///
/// A builtin error for other types.
pub fn slice(value: &Value, bounds: Bounds) -> Result<Value, Thrown> {
    match value {
        Value::String(text) => {
            let (start, end, step) = bounds.resolve(text.len());
            if step == 1 {
                let start = usize::try_from(start).unwrap_or(0);
                let end = usize::try_from(end).unwrap_or(0).max(start);
                return Ok(Value::String(Str::new(text.get(start..end).unwrap_or_default())));
            }
            let picked: Vec<u8> =
                bounds.positions(text.len()).filter_map(|at| text.get(at).copied()).collect();
            Ok(Value::from(picked))
        }
        Value::Array(array) => {
            if let Some(items) = array.as_list() {
                return Ok(Value::list(
                    bounds.positions(items.len()).filter_map(|at| items.get(at).cloned()),
                ));
            }
            let items: Vec<&Value> = array.values().collect();
            Ok(Value::list(
                bounds.positions(items.len()).filter_map(|at| items.get(at).map(|v| (*v).clone())),
            ))
        }
        Value::None => Ok(Value::None),
        other => Err(Thrown::new(format!("cannot slice {}", other.type_of().name()))),
    }
}

/// Replaces a slice by the items of an array, or of a string by a string.
pub(crate) fn replace_slice(
    target: &mut Value,
    bounds: Bounds,
    value: &Value,
) -> Result<(), Thrown> {
    if matches!(target, Value::None | Value::Unset) {
        *target = Value::Array(Array::new());
    }
    match (&mut *target, value) {
        (Value::Array(array), Value::Array(items)) => {
            let range = bounds.range(array.len())?;
            let old = std::mem::take(array);
            let mut entries = old.iter();
            let mut result = Array::with_capacity(old.len() + items.len());
            let copy = |result: &mut Array, key: Key, value: &Value| match key {
                Key::Int(_) => {
                    result.push(value.clone());
                }
                key => {
                    result.insert(key, value.clone());
                }
            };
            for (key, value) in entries.by_ref().take(range.start) {
                copy(&mut result, key, value);
            }
            for (key, value) in items {
                copy(&mut result, key, value);
            }
            for (key, value) in entries.skip(range.len()) {
                copy(&mut result, key, value);
            }
            *array = result;
            Ok(())
        }
        (Value::String(text), Value::String(part)) => {
            let range = bounds.range(text.len())?;
            let mut result = Vec::with_capacity(text.len() + part.len());
            result.extend_from_slice(&text[..range.start]); // positions lie within the text
            result.extend_from_slice(part);
            result.extend_from_slice(&text[range.end..]);
            *text = Str::from(result);
            Ok(())
        }
        (target, value) => Err(Thrown::new(format!(
            "cannot put {} into a slice of {}",
            value.type_of().name(),
            target.type_of().name()
        ))),
    }
}

/// Removes the elements of a slice; the others keep their keys. Returns whether there were any.
pub(crate) fn remove_slice(target: &mut Value, bounds: Bounds) -> Result<bool, Thrown> {
    match target {
        Value::Array(array) => {
            let keys: Vec<Key> = array.keys().collect();
            let mut any = false;
            for at in bounds.positions(keys.len()) {
                if let Some(key) = keys.get(at) {
                    any |= array.remove(key).is_some();
                }
            }
            Ok(any)
        }
        Value::String(text) => {
            let range = bounds.range(text.len())?;
            let any = !range.is_empty();
            let mut rest = text.to_vec();
            rest.drain(range);
            *text = Str::from(rest);
            Ok(any)
        }
        Value::None | Value::Unset => Ok(false),
        other => Err(Thrown::new(format!("cannot slice {}", other.type_of().name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_count_from_both_ends_and_walk_backwards() {
        let text = Value::from("abcdef");
        let cut = |first, last, step| {
            let value = slice(&text, Bounds { first, last, step }).unwrap();
            String::from_utf8(value.as_bytes().unwrap().to_vec()).unwrap()
        };
        assert_eq!(cut(Some(1), Some(3), None), "bc");
        assert_eq!(cut(Some(-2), None, None), "ef");
        assert_eq!(cut(None, Some(-1), None), "abcde");
        assert_eq!(cut(None, None, Some(-1)), "fedcba");
        assert_eq!(cut(None, None, Some(2)), "ace");
        assert_eq!(cut(Some(10), None, None), "");
        assert_eq!(cut(Some(3), Some(1), None), "");
        assert_eq!(cut(Some(4), Some(1), Some(-2)), "ec");
    }

    #[test]
    fn an_assigned_slice_may_grow_and_shrink_the_array() {
        let mut value = Value::list([1, 2, 3, 4].map(Value::from));
        let items = Value::list([7, 8, 9].map(Value::from));
        let bounds = Bounds { first: Some(1), last: Some(3), step: None };
        replace_slice(&mut value, bounds, &items).unwrap();
        assert_eq!(value, Value::list([1, 7, 8, 9, 4].map(Value::from)));
    }
}
