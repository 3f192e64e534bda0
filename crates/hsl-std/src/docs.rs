//! What is registered, as data: `functions.json` and `classes.json` for editors and documents.

use hsl::host::{HostSet, NativeFunction, Signature};
use hsl::value::{Key, Value};

use crate::encoding::json::{self, Style};

/// All functions of `set` as a JSON list, sorted by name; names with `__` in front are the
/// language's own and left out.
///
/// Each item has `name`, `signature` (as the manual writes it), `parameters` (`name`, `type`,
/// `optional`, `default` where there is one, `rest`), `returns` and `description`.
pub fn functions_json(set: &HostSet) -> String {
    let public = set.functions().filter(|function| !function.name().starts_with("__"));
    print(&Value::list(public.map(|function| describe(function))))
}

/// All classes of `set` as a JSON list, sorted by name: `name`, `description`, `constructor`,
/// `methods`, `static_functions`.
pub fn classes_json(set: &HostSet) -> String {
    print(&Value::list(set.classes().map(|class| {
        let list = |functions: Vec<&std::sync::Arc<NativeFunction>>| {
            Value::list(functions.into_iter().map(|function| describe(function)))
        };
        Value::map([
            ("name", Value::String(class.name().clone())),
            ("description", Value::from(class.doc())),
            ("constructor", class.constructor().map(|function| describe(function)).into()),
            ("methods", list(class.methods())),
            ("static_functions", list(class.static_functions())),
        ])
    })))
}

/// The signature as the manual writes it.
pub fn signature_text(signature: &Signature) -> String {
    let mut text = format!("{}(", signature.name);
    let mut open = 0;
    for (at, parameter) in signature.parameters.iter().enumerate() {
        if parameter.is_optional && !parameter.is_rest {
            text.push_str(if at == 0 { "[" } else { " [" });
            open += 1;
        }
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(&parameter.type_text);
        text.push_str(if parameter.is_rest { " ..." } else { " " });
        text.push_str(&parameter.name);
        if parameter.has_default {
            let mut default = Vec::new();
            hsl::ops::dump(&parameter.default, &mut default);
            text.push_str(&format!(" = {}", String::from_utf8_lossy(&default)));
        }
    }
    text.push_str(&"]".repeat(open));
    text.push(')');
    text
}

fn describe(function: &NativeFunction) -> Value {
    let signature = function.signature();
    let parameters = signature.parameters.iter().map(|parameter| {
        let mut fields = vec![
            ("name", Value::from(parameter.name.as_str())),
            ("type", Value::from(parameter.type_text.as_str())),
            ("optional", Value::Bool(parameter.is_optional)),
        ];
        if parameter.has_default {
            fields.push(("default", parameter.default.clone()));
        }
        if parameter.is_rest {
            fields.push(("rest", Value::Bool(true)));
        }
        Value::map(fields.into_iter().map(|(name, value)| (Key::from(name), value)))
    });
    Value::map([
        ("name", Value::from(function.name())),
        ("signature", Value::from(signature_text(signature))),
        ("parameters", Value::list(parameters)),
        ("returns", Value::from(signature.returns.as_str())),
        ("description", Value::from(function.doc())),
    ])
}

/// Registrations hold texts, numbers and booleans only, all of which JSON can hold.
fn print(value: &Value) -> String {
    let style = Style { ensure_ascii: false, pretty_print: true };
    let text = json::encode(value, style, usize::MAX).unwrap_or_default();
    String::from_utf8(text).unwrap_or_default()
}
