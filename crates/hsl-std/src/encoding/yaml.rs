//! YAML straight into values of the language.
//!
//! The reader bounds depth, aliases and size on its own (its default budget), so a small text
//! cannot grow into a large value.

use std::fmt;
use std::marker::PhantomData;

use hsl::value::{Array, Key, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Reads one document.
///
/// # Errors
///
/// A text with line and column.
pub(crate) fn decode(text: &[u8]) -> Result<Value, String> {
    decode_as::<Yaml>(text)
}

/// Reads one document whose items are read as `I`, which may look at tags.
///
/// # Errors
///
/// A text with line and column.
pub(crate) fn decode_as<I>(text: &[u8]) -> Result<Value, String>
where
    I: for<'de> Deserialize<'de> + Into<Value>,
{
    let text = str::from_utf8(text).map_err(|_| "yaml is no UTF-8".to_owned())?;
    // YAML 1.2: only `true` and `false` are booleans; `y`, `no` and `off` are texts.
    let options = serde_saphyr::options! { strict_booleans: true };
    match serde_saphyr::from_str_with_options::<I>(text, options) {
        Ok(item) => Ok(item.into()),
        Err(error) => Err(error.to_string()),
    }
}

struct Yaml(Value);

impl From<Yaml> for Value {
    fn from(yaml: Yaml) -> Self {
        yaml.0
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor::<Self>::new()).map(Self)
    }
}

/// Makes values, reading items of sequences and mappings as `I`.
pub(crate) struct ValueVisitor<I>(PhantomData<I>);

impl<I> ValueVisitor<I> {
    /// Makes a visitor.
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, I: Deserialize<'de> + Into<Value>> Visitor<'de> for ValueVisitor<I> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element::<I>()? {
            items.push(item.into());
        }
        Ok(Value::list(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut array = Array::new();
        while let Some((key, value)) = map.next_entry::<I, I>()? {
            array.insert(Key::from_value(&key.into()), value.into());
        }
        Ok(array.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(text: &str) -> Option<String> {
        let value = decode(text.as_bytes()).ok()?;
        Some(String::from_utf8(hsl::ops::to_text(&value).to_vec()).unwrap())
    }

    #[test]
    fn maps_lists_and_scalars_become_values() {
        let text = "a: 1\nb: [x, true, null, 1.5, '7']\nc:\n  - d: e\n";
        let expected = "[\"a\"=>1,\"b\"=>[0=>\"x\",1=>true,2=>none,3=>1.5,4=>\"7\"],\
                        \"c\"=>[0=>[\"d\"=>\"e\"]]]";
        assert_eq!(dump(text).as_deref(), Some(expected));
        assert_eq!(dump("a: [").as_deref(), None);
    }

    #[test]
    fn aliases_cannot_multiply() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{},", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(decode(text.as_bytes()).is_err());
        assert!(decode("[".repeat(100_000).as_bytes()).is_err());
    }
}
