//! Completes names at the prompt: functions, classes, words of the language, variables.

use std::collections::BTreeSet;
use std::sync::Arc;

use hsl::host::{HostSet, NativeFunction};
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

/// The names there are.
pub(crate) struct Words {
    names: BTreeSet<String>,
    /// Methods of all classes: what stands in front of `->` has no known class.
    methods: BTreeSet<String>,
}

impl Words {
    /// The names of a host, and the language's words.
    pub(crate) fn of(host: &HostSet) -> Self {
        let public = host.functions().filter(|function| !function.name().starts_with("__"));
        let functions = public.map(|function| format!("{}(", function.name()));
        let classes =
            host.classes().map(|class| String::from_utf8_lossy(class.name()).into_owned());
        let statics = host.classes().flat_map(|class| {
            let name = String::from_utf8_lossy(class.name());
            let member =
                move |function: &Arc<NativeFunction>| format!("{name}::{}(", function.name());
            class.static_functions().into_iter().map(member)
        });
        let methods = host.classes().flat_map(|class| class.methods());
        let methods = methods.map(|method| format!("{}(", method.name())).collect();
        let modules = host.modules().map(|(path, _)| path.to_owned());
        let words = LANGUAGE.iter().map(|word| (*word).to_owned());
        let names = functions.chain(classes).chain(statics).chain(modules).chain(words);
        Self { names: names.collect(), methods }
    }

    /// Adds the variables of a session.
    pub(crate) fn add_variables<'a>(&mut self, names: impl Iterator<Item = &'a &'static str>) {
        self.names.extend(names.map(|name| format!("${name}")));
    }

    /// Where the word before `at` begins, and the names that begin like it.
    fn matches(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let before = line.get(..at).unwrap_or_default();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '/');
        let word = before.trim_end_matches(is_part);
        let start = word.strip_suffix('$').unwrap_or(word).len();
        let is_method = before.get(..start).is_some_and(|before| before.ends_with("->"));
        let word = before.get(start..).unwrap_or_default();
        if word.is_empty() && !is_method {
            return (at, Vec::new());
        }
        let names = if is_method { &self.methods } else { &self.names };
        let names = names.range(word.to_owned()..);
        (start, names.take_while(|name| name.starts_with(word)).cloned().collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.matches(line, at))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}

impl Validator for Words {}

impl Helper for Words {}

/// Words of the language worth completing.
const LANGUAGE: &[&str] = &[
    "and",
    "as",
    "barrier",
    "break",
    "cache",
    "case",
    "catch",
    "class",
    "closure",
    "constructor",
    "continue",
    "default",
    "echo",
    "else",
    "false",
    "foreach",
    "forever",
    "from",
    "function",
    "global",
    "import",
    "include",
    "include_once",
    "isset",
    "none",
    "not",
    "private",
    "return",
    "static",
    "switch",
    "throw",
    "true",
    "try",
    "unset",
    "while",
    "with",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_variables_and_words_are_completed_where_they_begin() {
        let mut registry = hsl::host::Registry::new();
        hsl_std::register(&mut registry, &hsl_std::Services::default());
        let mut words = Words::of(&registry.freeze());
        words.add_variables([&"message"].into_iter());
        assert_eq!(words.matches("$a = json_d", 11), (5, vec!["json_decode(".to_owned()]));
        assert_eq!(words.matches("echo $mes", 9), (5, vec!["$message".to_owned()]));
        assert_eq!(words.matches("foreac", 6), (0, vec!["foreach".to_owned()]));
        assert!(words.matches("Mail", 4).1.contains(&"MailMessage".to_owned()));
        let members = words.matches("MailMessage::", 13);
        assert!(
            members.0 == 0 && members.1.contains(&"MailMessage::String(".to_owned()),
            "{members:?}"
        );
        let members = words.matches("MIME()->addH", 12);
        assert_eq!(members, (8, vec!["addHeader(".to_owned()]));
        assert!(words.matches("$m->", 4).1.contains(&"getHeader(".to_owned()));
        assert_eq!(words.matches("f(", 2).1, Vec::<String>::new());
    }
}
