//! The schema of a plugin, if its package brought one, against its configuration.
//!
//! Packages install `<id>.schema.json` for the block in the startup configuration and
//! `<id>-app.schema.json` for that in the running one, both in JSON Schema (draft-07), beside the
//! folder of plugins. A plugin reads scalars as text, whatever YAML thinks of them, so one counts as
//! of the type that the schema wants when its text can be read so: `chmod: 0640` is as good as
//! `chmod: "0640"`.

use std::io;
use std::path::{Path, PathBuf};

use config::Node;
use serde_json::Value;

/// A place where the configuration of plugins stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// `plugins[].config` of the startup configuration.
    Startup,
    /// `plugins[].config` of the running configuration.
    Running,
}

/// Tells what the schema of the plugin `id` says against a block; nothing where there is no schema.
///
/// One that cannot be read or is no schema is logged and left out: the mail server does not depend
/// on it. Values are not repeated, for any of them may be a password.
#[must_use]
pub fn findings(pluginspath: &Path, id: &str, block: Block, node: &Node) -> Vec<String> {
    let file = path_of(pluginspath, id, block);
    let validator = match read(&file) {
        Ok(Some(validator)) => validator,
        Ok(None) => return Vec::new(),
        Err(error) => {
            tracing::warn!(plugin = id, file = %file.display(), error, "plugin.schema_unusable");
            return Vec::new();
        }
    };
    let mut instance = if node.is_null() { Value::Object(<_>::default()) } else { node.to_json() };
    retype(&validator, &mut instance, node);
    validator
        .iter_errors(&instance)
        .map(|error| format!("config{}: {}", error.instance_path(), error.masked()))
        .collect()
}

/// Where a package installs the schema.
fn path_of(pluginspath: &Path, id: &str, block: Block) -> PathBuf {
    let suffix = match block {
        Block::Startup => "",
        Block::Running => "-app",
    };
    pluginspath.join("../share/plugins").join(format!("{id}{suffix}.schema.json"))
}

fn read(file: &Path) -> Result<Option<jsonschema::Validator>, String> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let schema: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    jsonschema::validator_for(&schema).map(Some).map_err(|error| error.to_string())
}

/// Reads scalars that are refused in the other way; what is refused so too stays as it was.
fn retype(validator: &jsonschema::Validator, instance: &mut Value, node: &Node) {
    let refused: Vec<String> =
        validator.iter_errors(instance).map(|error| error.instance_path().to_string()).collect();
    for path in refused {
        let Some(other) = text_at(node, &path).and_then(|text| {
            let value = instance.pointer(&path)?;
            if value.is_string() { serde_json::from_str(text).ok() } else { Some(text.into()) }
        }) else {
            continue;
        };
        let Some(place) = instance.pointer_mut(&path) else { continue };
        let before = std::mem::replace(place, other);
        if validator.iter_errors(instance).any(|error| error.instance_path().as_str() == path)
            && let Some(place) = instance.pointer_mut(&path)
        {
            *place = before;
        }
    }
}

/// The text of the scalar that a JSON pointer (RFC 6901) leads to.
fn text_at<'a>(node: &'a Node, path: &str) -> Option<&'a str> {
    let mut at = node;
    for part in path.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        at = match at.member(&part) {
            Some(member) => member,
            None => at.elements().get(part.parse::<usize>().ok()?)?,
        };
    }
    at.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": false,
        "required": ["logs"],
        "properties": { "logs": { "type": "array", "items": {
            "type": "object",
            "additionalProperties": false,
            "required": ["id"],
            "properties": {
                "id": { "type": "string" },
                "chmod": { "type": "string", "pattern": "^[0-7]{4}$" },
                "fsync": { "type": "boolean" },
                "size": { "type": "integer", "minimum": 1 }
            }
        } } }
    }"#;

    fn check(schema: &str, yaml: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let share = dir.path().join("share/plugins");
        std::fs::create_dir_all(&share).unwrap();
        std::fs::create_dir_all(dir.path().join("plugins")).unwrap();
        std::fs::write(share.join("log.schema.json"), schema).unwrap();
        let node = config::yaml::parse(yaml.as_bytes(), "test").unwrap();
        let folder = dir.path().join("plugins");
        assert_eq!(findings(&folder, "log", Block::Running, &node), [""; 0], "no such schema");
        findings(&folder, "log", Block::Startup, &node)
    }

    #[test]
    fn scalars_count_as_what_the_schema_wants_if_their_text_can_be_read_so() {
        let yaml = "logs:\n- id: 7\n  chmod: 0640\n  fsync: \"false\"\n  size: \"10\"\n";
        assert_eq!(check(SCHEMA, yaml), [""; 0]);
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place_and_without_its_value() {
        let secret =
            "logs:\n- id: a\n  chmod: hunter2\n- id: b\n  size: 0\n  colour: hunter2\n- {}\n";
        let findings = check(SCHEMA, secret).join("\n");
        for place in
            ["config/logs/0/chmod: ", "config/logs/1/size: ", "config/logs/1: ", "config/logs/2: "]
        {
            assert!(findings.contains(place), "{findings}");
        }
        assert!(findings.contains("colour") && !findings.contains("hunter2"), "{findings}");
        assert_eq!(check(SCHEMA, "~").len(), 1);
    }

    #[test]
    fn a_schema_that_is_none_is_left_out() {
        assert_eq!(check("{", "logs: 1"), [""; 0]);
        assert_eq!(check(r#"{"type": 7}"#, "logs: 1"), [""; 0]);
    }
}
