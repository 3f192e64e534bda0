//! Signatures: how a function of the host is called, as text and as checks.
//!
//! The text follows the manual: `name(type parameter, type optional = default, any ...rest) -> type`.
//! Optional parameters without default stand in brackets: `name(string text [, number limit])`.
//! Types are `any none boolean number string array function object resource`, names of resource
//! types (ending in `Resource`, `Key`, `Value`, `Type`) and names of classes, joined by `or`.

use crate::value::{Array, Type, Value};

/// A set of types that a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeSet(u8);

impl TypeSet {
    /// Every type.
    pub const ANY: Self = Self(0xff);
    /// No type.
    pub const EMPTY: Self = Self(0);
    /// The type of none.
    pub const NONE: Self = Self::of(Type::None);

    /// Returns the set of one type.
    pub const fn of(kind: Type) -> Self {
        Self(1 << kind as u8)
    }

    /// Returns the union of both sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether the set holds `kind`.
    #[inline]
    pub const fn contains(self, kind: Type) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

/// A parameter of a function of the host.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The types it takes, as written.
    pub type_text: String,
    /// The types it takes.
    pub types: TypeSet,
    /// Whether it may be left out.
    pub is_optional: bool,
    /// What a missing argument is; none if nothing is said.
    pub default: Value,
    /// Whether a default was written.
    pub has_default: bool,
    /// Whether it takes all remaining arguments. Only the last one can.
    pub is_rest: bool,
}

/// How a function of the host is called.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The name of the function.
    pub name: String,
    /// The parameters in order.
    pub parameters: Vec<Parameter>,
    /// The types of the value, as written; empty if nothing is said.
    pub returns: String,
}

/// The text of a signature could not be read.
#[derive(Debug, thiserror::Error)]
#[error("signature {text:?}: {problem}")]
pub struct SignatureError {
    text: String,
    problem: &'static str,
}

impl Signature {
    /// Makes the signature of a function that takes any arguments, as plugin functions do.
    pub fn variadic(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            parameters: vec![Parameter {
                name: "arguments".to_owned(),
                type_text: "any".to_owned(),
                types: TypeSet::ANY,
                is_optional: true,
                default: Value::None,
                has_default: false,
                is_rest: true,
            }],
            returns: "any".to_owned(),
        }
    }

    /// Reads the text of a signature.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] naming what cannot be read.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let error = |problem| SignatureError { text: text.to_owned(), problem };
        let (name, rest) = text.split_once('(').ok_or_else(|| error("no parameter list"))?;
        let (list, returns) = rest.rsplit_once(')').ok_or_else(|| error("no closing bracket"))?;
        let returns = returns.trim().trim_start_matches("->").trim();
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(error("the name is no identifier"));
        }
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut bracketed = false;
        for part in split_parameters(list) {
            let mut part = part.trim();
            loop {
                if let Some(rest) = part.strip_prefix('[')
                    && !part.contains('=')
                {
                    bracketed = true;
                    part = rest.trim();
                } else if let Some(rest) = part.strip_suffix('[') {
                    // The bracket stands before the comma: it opens behind this parameter.
                    part = rest.trim();
                    let parameter =
                        parse_parameter(part, bracketed).ok_or_else(|| error("parameter"))?;
                    parameters.push(parameter);
                    bracketed = true;
                    part = "";
                } else if part.ends_with(']') && !part.contains("= [") && !part.contains("=[") {
                    part = part.trim_end_matches(']').trim();
                } else if part.ends_with("]]") {
                    part = part.strip_suffix(']').unwrap_or(part).trim();
                } else {
                    break;
                }
            }
            if part.is_empty() {
                continue;
            }
            let parameter = parse_parameter(part, bracketed)
                .ok_or_else(|| error("a parameter is no type and name"))?;
            if let Some(last) = parameters.last()
                && (last.is_rest || (last.is_optional && !parameter.is_optional))
            {
                return Err(error("optional and rest parameters stand last"));
            }
            parameters.push(parameter);
        }
        Ok(Self { name: name.to_owned(), parameters, returns: returns.to_owned() })
    }

    /// Returns the fewest arguments.
    pub fn min_arguments(&self) -> usize {
        self.parameters.iter().filter(|parameter| !parameter.is_optional).count()
    }

    /// Returns the most arguments; `None` if there is no limit.
    pub fn max_arguments(&self) -> Option<usize> {
        match self.parameters.last() {
            Some(last) if last.is_rest => None,
            _ => Some(self.parameters.len()),
        }
    }
}

/// Splits at commas outside of brackets that belong to a default.
fn split_parameters(list: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

fn parse_parameter(text: &str, bracketed: bool) -> Option<Parameter> {
    let (declaration, default) = match text.split_once('=') {
        Some((declaration, default)) => (declaration.trim(), Some(default.trim())),
        None => (text.trim(), None),
    };
    let (type_text, name) = declaration.rsplit_once(' ')?;
    let (name, is_rest) = match name.strip_prefix("...") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let type_text = type_text.trim();
    let types = type_text
        .split(" or ")
        .map(|name| parse_type(name.trim()))
        .fold(TypeSet::EMPTY, TypeSet::or);
    Some(Parameter {
        name: name.trim_start_matches('$').to_owned(),
        type_text: type_text.to_owned(),
        types,
        is_optional: bracketed || default.is_some() || is_rest,
        has_default: default.is_some(),
        default: match default {
            Some(text) => parse_default(text)?,
            None => Value::None,
        },
        is_rest,
    })
}

fn parse_type(name: &str) -> TypeSet {
    match name {
        "any" => TypeSet::ANY,
        "none" => TypeSet::of(Type::None),
        "boolean" => TypeSet::of(Type::Boolean),
        "number" => TypeSet::of(Type::Number),
        "string" => TypeSet::of(Type::String),
        "array" => TypeSet::of(Type::Array),
        "function" => TypeSet::of(Type::Function),
        "object" => TypeSet::of(Type::Object),
        "resource" => TypeSet::of(Type::Resource),
        name if ["Resource", "Key", "Value", "Type"].iter().any(|end| name.ends_with(end)) => {
            TypeSet::of(Type::Resource)
        }
        _ => TypeSet::of(Type::Object),
    }
}

fn parse_default(text: &str) -> Option<Value> {
    Some(match text {
        "none" => Value::None,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "[]" => Value::Array(Array::new()),
        text if text.starts_with('"') => {
            let inner = text.strip_prefix('"')?.strip_suffix('"')?;
            Value::from(inner.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t"))
        }
        text => Value::Number(text.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_reads_as_the_manual_writes_it() {
        let signature =
            Signature::parse("f(string or array a [, number b, boolean c = true]) -> any").unwrap();
        assert_eq!(signature.name, "f");
        assert_eq!(signature.min_arguments(), 1);
        assert_eq!(signature.max_arguments(), Some(3));
        assert!(signature.parameters[0].types.contains(Type::Array));
        assert!(!signature.parameters[0].types.contains(Type::Number));
        assert!(signature.parameters[1].is_optional);
        assert_eq!(signature.parameters[2].default, Value::Bool(true));
        assert_eq!(signature.returns, "any");
    }

    #[test]
    fn rest_parameters_have_no_upper_limit() {
        let signature = Signature::parse("f(any ...rest)").unwrap();
        assert_eq!((signature.min_arguments(), signature.max_arguments()), (0, None));
        assert!(Signature::parse("f(any ...rest, any more)").is_err());
        assert!(Signature::parse("f").is_err());
    }

    #[test]
    fn defaults_may_be_empty_arrays_in_brackets() {
        let signature = Signature::parse("f([array options = []]) -> none").unwrap();
        assert_eq!(signature.parameters[0].default, Value::list([]));
        let signature = Signature::parse("f(array options = []) -> none").unwrap();
        assert_eq!(signature.parameters[0].default, Value::list([]));
        let signature = Signature::parse("f(string s [, string t [, array o]])").unwrap();
        assert_eq!(signature.parameters.len(), 3);
        assert_eq!(signature.min_arguments(), 1);
    }
}
