//! What scripts of each hook may name, for programs that check scripts without running them.
//!
//! `hooks.txt` is printed from the tables of `smtpd` (`tests/tests/compatibility.rs` writes it and
//! keeps it equal), one word a line: `hook NAME` begins a hook, then come its `variable`s, those that are
//! `yielding` to a script's own, `function`s with their signatures and `class`es. The hook `*` stands
//! before them and holds what all have.

use hsl::host::{NativeStep, Registry};

use crate::hooks::HookKind;

/// What the scripts of one hook may name beside the standard library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookWords {
    /// The manual's name of the hook.
    pub name: &'static str,
    /// Read-only variables.
    pub variables: Vec<&'static str>,
    /// Read-only variables where a script does not write them.
    pub yielding: Vec<&'static str>,
    /// Signatures of functions.
    pub functions: Vec<&'static str>,
    /// Names of classes.
    pub classes: Vec<&'static str>,
}

impl HookWords {
    /// The words of a hook, those that all hooks have included; `None` for an unknown name.
    pub fn of(name: &str) -> Option<Self> {
        let name = HookKind::of(name)?.name();
        let mut hook = parse(HOOKS).into_iter().find(|hook| hook.name == name)?;
        let common = Self::common();
        hook.variables.extend(common.variables);
        hook.functions.extend(common.functions);
        hook.classes.extend(common.classes);
        Some(hook)
    }

    /// What scripts of all hooks may name: the functions of a server. Programs that run other scripts
    /// have forms of their own.
    pub fn common() -> Self {
        parse(HOOKS).into_iter().find(|hook| hook.name == "*").unwrap_or_default()
    }

    /// Makes functions and classes known to a compiler. Calling them does nothing.
    pub fn register(&self, registry: &mut Registry) {
        for signature in &self.functions {
            registry.function(signature, "of a hook", |_, _| NativeStep::Return(hsl::Value::None));
        }
        for class in &self.classes {
            registry.class(class, "of a hook", |_| {});
        }
    }
}

/// The words as they are stored.
pub const HOOKS: &str = include_str!("../hooks.txt");

fn parse(text: &'static str) -> Vec<HookWords> {
    let mut out: Vec<HookWords> = Vec::new();
    for line in text.lines() {
        let Some((kind, rest)) = line.split_once(' ') else { continue };
        if kind == "hook" {
            out.push(HookWords { name: rest, ..HookWords::default() });
        }
        let Some(hook) = out.last_mut() else { continue };
        match kind {
            "variable" => hook.variables.push(rest),
            "yielding" => hook.yielding.push(rest),
            "function" => hook.functions.push(rest),
            "class" => hook.classes.push(rest),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_is_known_with_what_its_scripts_call() {
        let eod = HookWords::of("eodonce").unwrap();
        assert!(eod.variables.contains(&"transaction") && eod.classes.contains(&"EODMailMessage"));
        let rcptto = HookWords::of("rcptto").unwrap();
        assert!(rcptto.yielding.contains(&"senderip") && !rcptto.variables.contains(&"senderip"));
        let recipient = HookWords::of("eodrcpt").unwrap();
        assert!(recipient.variables.contains(&"actionid"));
        assert!(!recipient.variables.contains(&"arguments"));
        let mut count = 0;
        for hook in parse(HOOKS).into_iter().filter(|hook| hook.name != "*") {
            let mut registry = Registry::new();
            hsl_std::register(&mut registry, &hsl_std::Services::default());
            HookWords::of(hook.name).unwrap().register(&mut registry);
            let set = registry.freeze();
            for signature in hook.functions {
                let name = signature.split('(').next().unwrap_or_default();
                assert!(set.function(name).is_some(), "{name}");
            }
            count += 1;
        }
        assert_eq!(count, 11);
        assert_eq!(HookWords::of("*"), None);
        assert_eq!(HookWords::of("nohook"), None);
    }
}
