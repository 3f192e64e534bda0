//! The key tables as JSON Schema (draft-07), for editors and `halonconfig`.
//!
//! The files in `packaging/schemas` are printed from here; a test keeps them equal. What a schema
//! cannot say (references, exclusive keys, sense of a regular expression) only the loaders check.

use serde_json::{Map, Value, json};

use crate::keys::{FILES, Key, Kind};
use crate::yaml;

/// Every file's schema with its name, `smtpd` to `smtpd-delivery`.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    FILES.iter().map(|(name, keys)| (*name, file(name, keys))).collect()
}

/// The schema of one file.
#[must_use]
pub fn file(name: &str, keys: &'static [Key]) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".to_owned(), json!(format!("{name}.yaml")));
    if let Value::Object(body) = of(&Kind::Map(keys)) {
        schema.extend(body);
    }
    Value::Object(schema)
}

fn key_schema(key: &Key) -> Value {
    let mut schema = Map::new();
    schema.insert("description".to_owned(), json!(key.doc));
    if let Value::Object(body) = of(&key.kind) {
        schema.extend(body);
    }
    if let Some(default) = key.default.and_then(|text| yaml::parse(text.as_bytes(), "default").ok())
    {
        schema.insert("default".to_owned(), default.to_json());
    }
    Value::Object(schema)
}

fn of(kind: &Kind) -> Value {
    match *kind {
        Kind::Address => {
            json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})
        }
        Kind::Any => json!({}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Id | Kind::Matcher(_) => json!({"type": "string", "minLength": 1}),
        Kind::Duration { min_seconds } => json!({"anyOf": [
            {"type": "number", "minimum": min_seconds},
            {"type": "string", "pattern": concat!(
                r"^([0-9]+(\.[0-9]{1,9})?|",
                r"(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$"
            )},
        ]}),
        Kind::Dict(of_values) => json!({
            "type": "object",
            "propertyNames": {"minLength": 1},
            "additionalProperties": of(of_values),
        }),
        Kind::Either(kinds) => json!({"anyOf": kinds.iter().map(of).collect::<Vec<_>>()}),
        Kind::Host => json!({"type": "string", "pattern": r"^\S+$"}),
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::List { of: element, min: 0 } => json!({"type": "array", "items": of(element)}),
        Kind::List { of: element, min } => {
            json!({"type": "array", "minItems": min, "items": of(element)})
        }
        Kind::Map(keys) => mapping(keys),
        Kind::Mode => json!({"type": "string", "pattern": "^[0-7]{3,4}$"}),
        Kind::OneOrMany(one) => {
            json!({"anyOf": [of(one), {"type": "array", "minItems": 1, "items": of(one)}]})
        }
        Kind::Number => json!({"type": "number"}),
        Kind::NumberOf(numbers) => json!({"enum": numbers}),
        Kind::Rate => json!({"anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^[0-9]+(/[0-9dhms.]+)?$"},
        ]}),
        Kind::Size { min } => json!({"anyOf": [
            {"type": "integer", "minimum": min},
            {"type": "string", "pattern": "^[0-9]+(TiB|GiB|MiB|KiB|B)?$"},
        ]}),
        Kind::SocketAddress => json!({
            "type": "string",
            "pattern": r"^([0-9.]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}|[0-9a-fA-F:.]+)$",
        }),
        Kind::Source => json!({
            "type": "object",
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
            "properties": properties(crate::validate::SOURCE),
        }),
        Kind::Tag => json!({"type": "string", "minLength": 1, "maxLength": 32}),
        Kind::Text => json!({"type": "string"}),
        Kind::TlsProtocols => json!({
            "type": "string",
            "pattern": r"^\s*(!?(SSLv2|SSLv3|TLSv1(\.[123])?)\s*(,\s*|$))*$",
        }),
        Kind::Version => json!({"type": "string", "pattern": r"^[0-9]{1,3}\.[0-9]{1,3}$"}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
    }
}

fn mapping(keys: &'static [Key]) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("additionalProperties".to_owned(), json!(false));
    let required: Vec<_> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("properties".to_owned(), properties(keys));
    Value::Object(schema)
}

fn properties(keys: &'static [Key]) -> Value {
    keys.iter().map(|key| (key.name.to_owned(), key_schema(key))).collect::<Map<_, _>>().into()
}
