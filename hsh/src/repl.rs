//! Reads a line, runs it, and again.
//!
//! Every line is a program of its own. Variables travel from one to the next as context variables;
//! functions, classes and imports as text in front of what follows. A line without `;` at its end is
//! an expression whose value is shown.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use hsl::parser::{Limits, parse};
use hsl::source::SourceMap;
use hsl::symbol::Interner;
use hsl::{CompileError, Compiler, Program, Value, Vm};
use hsl_std::import::FileLoader;
use hsl_std::{DEFAULT_FUEL, Outcome, drive};
use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;

use crate::completion::Words;
use crate::ending::End;
use crate::history::History;
use crate::run;
use crate::settings::Settings;

/// Runs until end of input.
pub(crate) fn start(
    runtime: &tokio::runtime::Handle,
    settings: &Settings,
) -> anyhow::Result<ExitCode> {
    let mut editor =
        Editor::<Words, DefaultHistory>::new().context("cannot read from the terminal")?;
    editor.set_helper(Some(Words::of(&settings.host)));
    let history = History::open();
    for line in history.lines() {
        let _ = editor.add_history_entry(line);
    }
    let mut session = Session::default();
    let mut pending = String::new();
    loop {
        let prompt = if pending.is_empty() { "hsh> " } else { "...> " };
        match settings.ending.idle(|| editor.readline(prompt)) {
            Ok(line) => {
                let _ = editor.add_history_entry(line.as_str());
                history.append(&line);
                pending.push_str(&line);
                pending.push('\n');
                if is_open(&pending) {
                    continue;
                }
                let text = std::mem::take(&mut pending);
                if !text.trim().is_empty() {
                    if !runtime.block_on(session.run(&text, settings)) {
                        return Ok(ExitCode::FAILURE);
                    }
                    if let Some(words) = editor.helper_mut() {
                        words.add_variables(session.variables.keys());
                    }
                }
            }
            Err(ReadlineError::Interrupted) => pending.clear(),
            Err(ReadlineError::Eof) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error).context("cannot read from the terminal"),
        }
    }
}

/// What earlier lines left behind.
#[derive(Default)]
struct Session {
    /// Functions, classes and imports.
    definitions: String,
    /// Names are as many as the user types, and the machine wants them for good.
    variables: BTreeMap<&'static str, Value>,
}

impl Session {
    /// Runs a line, and shows what is wrong with it. False: a signal came that ends the program.
    async fn run(&mut self, line: &str, settings: &Settings) -> bool {
        for name in variable_names(line) {
            if !self.variables.contains_key(name.as_str()) {
                self.variables.insert(Box::leak(name.into_boxed_str()), Value::None);
            }
        }
        let program = match self.compile(line, settings) {
            Ok(program) => program,
            Err(error) => {
                run::report_compile_error(&error);
                return true;
            }
        };
        let mut setup = run::setup(settings);
        setup.variables = self
            .variables
            .iter()
            .filter(|(_, value)| !value.is_none())
            .map(|(name, value)| (*name, value.clone()))
            .collect();
        let mut vm = Vm::new(&program, setup);
        let script = drive(&mut vm, DEFAULT_FUEL, None, || settings.output.flush());
        let outcome = match settings.ending.run_line(script).await {
            End::Own(outcome) => outcome,
            End::Interrupted => Outcome::Failed(vm.interrupt("the line was interrupted")),
            End::Program => return false,
        };
        settings.output.flush();
        if let Outcome::Failed(error) = &outcome {
            run::report(error.diagnostic(), error.sources());
        } else if is_definition(line) {
            self.definitions.push_str(line);
        }
        for (name, value) in &mut self.variables {
            *value = vm.variable(name).unwrap_or_default();
        }
        true
    }

    /// Compiles a line: as an expression to show, or else as statements.
    fn compile(
        &self,
        line: &str,
        settings: &Settings,
    ) -> Result<std::sync::Arc<Program>, CompileError> {
        let mut compiler = Compiler::new(&settings.host).with_loader(&settings.loader);
        for name in self.variables.keys() {
            compiler = compiler.with_writable(name);
        }
        let folder = std::env::current_dir().unwrap_or_default();
        let identity = FileLoader::identity_of(&folder.join("line"));
        let compile = |text: &str| {
            let text = format!("{}{text}", self.definitions);
            compiler.compile(&identity, "line", text.as_bytes())
        };
        let trimmed = line.trim();
        if trimmed.ends_with(';') || is_definition(line) {
            return compile(line);
        }
        compile(&format!("echo string({trimmed});"))
            .or_else(|_| compile(&format!("{trimmed};")))
            .or_else(|_| compile(line))
    }
}

fn is_definition(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    match word {
        // A function without a name is an expression.
        "function" => !line.trim_start()["function".len()..].trim_start().starts_with('('),
        "class" | "import" => true,
        _ => false,
    }
}

/// The names behind every `$` of a line.
fn variable_names(line: &str) -> Vec<String> {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.split('$')
        .skip(1)
        .filter(|rest| rest.starts_with(is_start))
        .map(|rest| rest.chars().take_while(|c| is_name(*c)).collect())
        .collect()
}

/// Whether `text` goes on in the next line: a string, a comment or a bracket is open at its end.
fn is_open(text: &str) -> bool {
    let lacks_more = |text: String| {
        let file = SourceMap::new().add("line", None, text.into_bytes());
        let parsed = parse(&file, &mut Interner::new(), &Limits::default());
        parsed.is_err_and(|error| error.is_incomplete())
    };
    // A `;` ends what is no bracket, as the prompt does, and is wrong in round and square ones.
    lacks_more(format!("{text};")) || (open_brackets(text) > 0 && lacks_more(text.to_owned()))
}

/// Brackets that are open at the end of `text`, those in double-quoted strings aside.
fn open_brackets(text: &str) -> i32 {
    let mut open = 0;
    let mut in_string = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => drop(chars.next()),
            '"' => in_string = !in_string,
            '{' | '(' | '[' if !in_string => open += 1,
            '}' | ')' | ']' if !in_string => open -= 1,
            _ => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_are_found() {
        assert_eq!(variable_names("$a = $b_1 . \"x $c\"; $1"), ["a", "b_1", "c"]);
    }

    #[test]
    fn a_line_goes_on_while_brackets_and_strings_are_open() {
        for text in
            ["if (1) {\n", "$s = \"a\n", "f(\n", "[1,\n", "''a\n", "/* a\n", "\"{\" . \"b\n"]
        {
            assert!(is_open(text), "{text}");
        }
        for text in ["1 + 1\n", "echo \"{\\\"{\";\n", "[1, 2]\n", "1 // \"(\n", "f(1;\n", "}\n"] {
            assert!(!is_open(text), "{text}");
        }
    }

    #[test]
    fn named_functions_are_definitions_and_others_are_not() {
        assert!(is_definition("function f() {}"));
        assert!(!is_definition("function () {}()"));
        assert!(is_definition("import { f } from \"x\";"));
        assert!(!is_definition("functional()"));
    }
}
