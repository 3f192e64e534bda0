//! YAML straight into values of the language.
//!
//! The reader bounds depth, aliases and size on its own (its default budget), so a small text
//! cannot grow into a large value.

use std::fmt;

use hsl::value::{Array, Key, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Tagged;

/// Reads one document; tags are passed over.
///
/// # Errors
///
/// A text with line and column.
pub(crate) fn decode(text: &[u8]) -> Result<Value, String> {
    let mut steps = steps(text, |_| None::<()>)?.into_iter();
    let mut values = Values::default();
    while let Some(()) = values.run(&mut steps) {}
    Ok(values.finish())
}

/// Reads one document as steps that build its value, those of its tags among them that `wanted` has
/// something for.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn steps<T>(
    text: &[u8],
    mut wanted: impl FnMut(&str) -> Option<T>,
) -> Result<Vec<Step<T>>, String> {
    let text = str::from_utf8(text).map_err(|_| "yaml is no UTF-8".to_owned())?;
    // YAML 1.2: only `true` and `false` are booleans; `y`, `no` and `off` are texts.
    let options = serde_saphyr::options! { strict_booleans: true };
    let tree = serde_saphyr::from_str_with_options::<Tree>(text, options);
    let mut steps = Vec::new();
    tree.map_err(|error| error.to_string())?.flatten(&mut wanted, &mut steps);
    Ok(steps)
}

/// A step of building a value: takes what it is made of from the top of a stack, and leaves it there.
pub(crate) enum Step<T> {
    Scalar(Value),
    List(usize),
    /// Of so many pairs.
    Map(usize),
    Tag(T),
}

/// The stack on which a value is built.
#[derive(Default)]
pub(crate) struct Values(Vec<Value>);

impl Values {
    /// Builds up to the next tag, whose value is then on top; `None` at the end.
    pub(crate) fn run<T>(&mut self, steps: &mut std::vec::IntoIter<Step<T>>) -> Option<T> {
        for step in steps {
            let value = match step {
                Step::Tag(tag) => return Some(tag),
                Step::Scalar(value) => value,
                Step::List(count) => {
                    Value::list(self.0.split_off(self.0.len().saturating_sub(count)))
                }
                Step::Map(count) => {
                    let parts = self.0.split_off(self.0.len().saturating_sub(2 * count));
                    let mut array = Array::new();
                    let mut parts = parts.into_iter();
                    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                        array.insert(Key::from_value(&key), value);
                    }
                    array.into()
                }
            };
            self.0.push(value);
        }
        None
    }

    /// Takes the value on top.
    pub(crate) fn take(&mut self) -> Value {
        self.0.pop().unwrap_or_default()
    }

    /// Puts a value on top.
    pub(crate) fn put(&mut self, value: Value) {
        self.0.push(value);
    }

    /// The value that was built.
    pub(crate) fn finish(mut self) -> Value {
        self.take()
    }
}

/// A node with its tag.
struct Tree {
    tag: Option<String>,
    node: Node,
}

/// A node without its tag.
enum Node {
    Scalar(Value),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
}

impl Tree {
    fn flatten<T>(self, wanted: &mut impl FnMut(&str) -> Option<T>, out: &mut Vec<Step<T>>) {
        match self.node {
            Node::Scalar(value) => out.push(Step::Scalar(value)),
            Node::List(items) => {
                let count = items.len();
                for item in items {
                    item.flatten(wanted, out);
                }
                out.push(Step::List(count));
            }
            Node::Map(pairs) => {
                let count = pairs.len();
                for (key, value) in pairs {
                    key.flatten(wanted, out);
                    value.flatten(wanted, out);
                }
                out.push(Step::Map(count));
            }
        }
        out.extend(self.tag.and_then(|tag| wanted(&tag)).map(Step::Tag));
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(node, tag) = Tagged::<Node>::deserialize(deserializer)?;
        Ok(Self { tag, node })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// Makes nodes.
struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::None))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Number(value as f64)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Node::Map(pairs))
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
