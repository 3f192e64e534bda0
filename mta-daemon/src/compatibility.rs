//! What this program offers, read out of its own tables, for `COMPATIBILITY.md`.

use std::sync::Arc;

use hsl::host::Registry;
use script_host::server::{self, metric_functions};

use crate::control::dispatch;
use crate::hooks::{HookKind, HookSets, server_functions};
use crate::services::{self, CoreSlot};

/// One hook: its variables and what only its scripts can call.
#[derive(Clone, Debug)]
pub struct HookRow {
    /// The manual's name.
    pub name: &'static str,
    /// Variables, `$context` included.
    pub variables: Vec<&'static str>,
    /// Those of older manuals, where a script does not write them.
    pub old_variables: Vec<&'static str>,
    /// Signatures of its functions.
    pub functions: Vec<String>,
    /// Its classes with the signatures of their methods.
    pub classes: Vec<(String, Vec<String>)>,
}

/// Letters of the control commands that are answered.
#[must_use]
pub fn control_commands() -> &'static [u8] {
    dispatch::ANSWERED
}

/// Functions that every script may call: the standard library and the server's, as signatures.
#[must_use]
pub fn library_functions() -> Vec<String> {
    let set = library().freeze();
    set.functions().map(|function| hsl_std::docs::signature_text(function.signature())).collect()
}

/// Classes that every script may use, as `Class(…)`, `Class::function(…)` and `Class->method(…)`.
#[must_use]
pub fn library_classes() -> Vec<String> {
    let set = library().freeze();
    let text =
        |function: &hsl::host::NativeFunction| hsl_std::docs::signature_text(function.signature());
    let mut out = Vec::new();
    for class in set.classes() {
        let name = String::from_utf8_lossy(class.name()).into_owned();
        out.extend(class.constructor().map(|constructor| text(constructor)));
        out.extend(class.static_functions().into_iter().map(|f| format!("{name}::{}", text(f))));
        out.extend(class.methods().into_iter().map(|method| format!("{name}->{}", text(method))));
    }
    out
}

/// The same functions and classes as documents for editors: `functions.json` and `classes.json`.
#[must_use]
pub fn library_documents() -> [(&'static str, String); 2] {
    let set = library().freeze();
    [
        ("functions.json", hsl_std::docs::functions_json(&set)),
        ("classes.json", hsl_std::docs::classes_json(&set)),
    ]
}

/// What scripts of each hook may name beside the standard library, in the form of
/// `crates/script-host/hooks.txt`.
#[must_use]
pub fn hook_words() -> String {
    let common = library().freeze();
    let services = services::without_configuration(&CoreSlot::default());
    let mut standard = Registry::new();
    hsl_std::register(&mut standard, &services);
    let standard = standard.freeze();
    let sets = HookSets::new(&common, &services);
    let mut lines = vec!["hook *".to_owned()];
    let of_server = common.functions().filter(|f| standard.function(f.name()).is_none());
    lines.extend(of_server.map(|function| format!("function {}", plain_text(function))));
    for kind in HookKind::ALL {
        lines.push(format!("hook {}", kind.name()));
        lines.extend(kind.variables().iter().map(|name| format!("variable {name}")));
        lines.extend(kind.old_variables().map(|name| format!("yielding {name}")));
        let set = sets.set(kind);
        let own = set.functions().filter(|f| common.function(f.name()).is_none());
        lines.extend(own.map(|function| format!("function {}", plain_text(function))));
        let names = set.classes().map(|class| String::from_utf8_lossy(class.name()).into_owned());
        let own = names.filter(|name| common.class(name).is_none());
        lines.extend(own.map(|name| format!("class {name}")));
    }
    lines.join("\n") + "\n"
}

/// A signature that can be registered again: without the values of defaults.
fn plain_text(function: &hsl::host::NativeFunction) -> String {
    let signature = function.signature();
    let parameter = |parameter: &hsl::host::Parameter| {
        let rest = if parameter.is_rest { "..." } else { "" };
        let default = if parameter.is_optional && !parameter.is_rest { " = none" } else { "" };
        format!("{} {rest}{}{default}", parameter.type_text, parameter.name)
    };
    let parameters: Vec<String> = signature.parameters.iter().map(parameter).collect();
    format!("{}({})", signature.name, parameters.join(", "))
}

/// The hooks with what is theirs alone.
#[must_use]
pub fn hooks() -> Vec<HookRow> {
    let common = library().freeze();
    let sets = HookSets::new(&common, &services::without_configuration(&CoreSlot::default()));
    let text =
        |function: &hsl::host::NativeFunction| hsl_std::docs::signature_text(function.signature());
    HookKind::ALL
        .into_iter()
        .map(|kind| {
            let set = sets.set(kind);
            let own = set.functions().filter(|f| common.function(f.name()).is_none());
            let classes = set.classes().filter_map(|class| {
                let name = String::from_utf8_lossy(class.name()).into_owned();
                let methods = class.methods().into_iter().map(|method| text(method)).collect();
                common.class(&name).is_none().then_some((name, methods))
            });
            let mut variables = kind.variables().to_vec();
            variables.push("context");
            HookRow {
                name: kind.name(),
                variables,
                old_variables: kind.old_variables().collect(),
                functions: own.map(|function| text(function)).collect(),
                classes: classes.collect(),
            }
        })
        .collect()
}

fn library() -> Registry {
    let slot = CoreSlot::default();
    let mut registry = Registry::new();
    hsl_std::register(&mut registry, &services::without_configuration(&slot));
    server::register(&mut registry, &server_functions::server(&slot));
    metric_functions::register(&mut registry, &Arc::default());
    registry
}
