//! What the tests of this crate share.

use std::sync::Arc;

use config::node::Node;

/// Reads a YAML text.
pub(crate) fn yaml(text: &str) -> Arc<Node> {
    config::yaml::parse(text.as_bytes(), "test.yaml").unwrap()
}
