//! Configuration as C sees it: nodes with terminated text.
//!
//! Trees that were handed out live as long as the process, because plugins keep pointers into them.
//! That is one small tree per plugin, and another one for every reload that changed its block.

use std::sync::Arc;

use config::node::{Node, Value};
use plugin_abi::HalonConfig;

use crate::text::CText;

/// A tree that C may keep.
#[derive(Clone, Copy)]
pub(crate) struct ConfigTree(&'static ConfigNode);

/// What a `HalonConfig *` points to.
#[repr(C)]
pub(crate) struct ConfigNode {
    tag: u64,
    node: Arc<Node>,
    kind: Kind,
}

enum Kind {
    Mapping(Vec<(ConfigNode, ConfigNode)>),
    Sequence(Vec<ConfigNode>),
    Scalar(CText),
}

impl ConfigTree {
    /// Makes a tree of a `config` block. Nothing at all is an empty mapping.
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        let node = if node.is_null() { &Node::empty_mapping() } else { node };
        Self(Box::leak(Box::new(ConfigNode::new(node))))
    }

    pub(crate) fn is_of(self, node: &Arc<Node>) -> bool {
        Arc::ptr_eq(&self.0.node, node) || self.0.node == *node
    }

    pub(crate) fn as_ptr(self) -> *mut HalonConfig {
        self.0.as_ptr()
    }
}

impl ConfigNode {
    fn new(node: &Arc<Node>) -> Self {
        let kind = match &node.value {
            Value::Mapping(entries) => Kind::Mapping(
                entries
                    .iter()
                    .map(|entry| (Self::new(&entry.key), Self::new(&entry.value)))
                    .collect(),
            ),
            Value::Sequence(elements) => Kind::Sequence(elements.iter().map(Self::new).collect()),
            Value::Scalar(scalar) => Kind::Scalar(CText::new(scalar.text.as_bytes())),
        };
        Self { tag: TAG, node: Arc::clone(node), kind }
    }

    /// Finds the node that C means; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `config` is NULL or was handed out by this host.
    pub(crate) unsafe fn from_raw(config: *const HalonConfig) -> Option<&'static Self> {
        let node = config.cast::<Self>();
        if node.is_null() || !node.is_aligned() {
            return None;
        }
        // SAFETY: the caller keeps the contract, and trees are never freed.
        let node = unsafe { &*node };
        (node.tag == TAG).then_some(node)
    }

    pub(crate) fn as_ptr(&'static self) -> *mut HalonConfig {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// The member called `key`.
    pub(crate) fn member(&self, key: &[u8]) -> Option<&Self> {
        let Kind::Mapping(entries) = &self.kind else { return None };
        entries.iter().find(|(name, _)| name.text().octets() == key).map(|(_, value)| value)
    }

    /// The key at a position, in the order of the file.
    pub(crate) fn key(&self, at: usize) -> Option<&Self> {
        let Kind::Mapping(entries) = &self.kind else { return None };
        entries.get(at).map(|(key, _)| key)
    }

    /// The element at a position.
    pub(crate) fn element(&self, at: usize) -> Option<&Self> {
        let Kind::Sequence(elements) = &self.kind else { return None };
        elements.get(at)
    }

    /// The text as written. Compat: empty on mappings and sequences, because warmup compares the
    /// items of a list as text although some are mappings.
    pub(crate) fn text(&self) -> &CText {
        static EMPTY: std::sync::LazyLock<CText> = std::sync::LazyLock::new(|| CText::new(b""));
        match &self.kind {
            Kind::Scalar(text) => text,
            Kind::Mapping(_) | Kind::Sequence(_) => &EMPTY,
        }
    }

    /// The node as JSON, with the types of YAML.
    pub(crate) fn to_json(&self) -> String {
        self.node.to_json().to_string()
    }
}

/// Marks a node.
const TAG: u64 = 0x4d54_4163_6f6e_6669;

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> &'static ConfigNode {
        let tree = ConfigTree::new(&crate::testing::yaml(text));
        // SAFETY: just handed out.
        unsafe { ConfigNode::from_raw(tree.as_ptr()) }.unwrap()
    }

    #[test]
    fn scalars_are_text_as_written_and_json_with_their_type() {
        let top = tree("mode: 0640\nflag: true\ncount: 7\ntext: \"7\"\n");
        assert_eq!(top.member(b"mode").unwrap().text().octets(), b"0640");
        assert_eq!(top.member(b"flag").unwrap().text().octets(), b"true");
        let json: String = top.to_json();
        assert!(json.contains(r#""count":7"#) && json.contains(r#""text":"7""#), "{json}");
    }

    #[test]
    fn containers_have_empty_text_and_wrong_kinds_have_nothing() {
        let top = tree("list:\n- a\n- b: 1\n");
        let list = top.member(b"list").unwrap();
        assert_eq!(list.text().octets(), b"");
        assert_eq!(list.element(1).unwrap().text().octets(), b"");
        assert_eq!(list.element(1).unwrap().key(0).unwrap().text().octets(), b"b");
        assert!(list.element(2).is_none() && list.member(b"a").is_none());
        assert!(top.element(0).is_none() && list.key(0).is_none());
        assert!(list.element(0).unwrap().member(b"a").is_none());
    }

    #[test]
    fn a_missing_block_is_an_empty_mapping() {
        assert_eq!(tree("~").to_json(), "{}");
    }
}
