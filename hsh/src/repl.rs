//! Reads a line, runs it, and again.
//!
//! Every line is a program of its own. Variables travel from one to the next as context variables;
//! functions, classes and imports as text in front of what follows, until something else has their names. A
//! line without `;` at its end shows the value of its last expression.

mod line;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use hsl::{CompileError, Compiler, Program, Value, Vm};
use hsl_std::import::FileLoader;
use hsl_std::{DEFAULT_FUEL, Outcome, drive};
use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;

use crate::completion::Words;
use crate::ending::End;
use crate::history::History;
use crate::repl::line::{Definition, definitions, is_open, variable_names};
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
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        settings.output.line(WELCOME.as_bytes());
        settings.output.flush();
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
                match text.trim().trim_end_matches(';') {
                    "exit" | "quit" => return Ok(ExitCode::SUCCESS),
                    "help" => {
                        settings.output.line(HELP.as_bytes());
                        settings.output.flush();
                        continue;
                    }
                    _ => {}
                }
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
    /// Functions, classes and imports; no two have a name in common.
    definitions: Vec<Definition>,
    /// Names are as many as the user types, and the machine wants them for good.
    variables: BTreeMap<&'static str, Value>,
}

impl Session {
    /// Runs a line, and shows what is wrong with it. False: a signal came that ends the program.
    async fn run(&mut self, line: &str, settings: &Settings) -> bool {
        let script = line::script(line);
        let new = definitions(&script);
        // What the line defines takes the place of what had its names.
        let is_new = |known: &&Definition| new.iter().all(|new| new.name != known.name);
        let kept: Vec<Definition> = self.definitions.iter().filter(is_new).cloned().collect();
        let is_imported = |name: &str| {
            kept.iter()
                .chain(&new)
                .any(|definition| definition.name.strip_prefix('$') == Some(name))
        };
        for name in variable_names(line) {
            if !self.variables.contains_key(name.as_str()) && !is_imported(&name) {
                self.variables.insert(Box::leak(name.into_boxed_str()), Value::None);
            }
        }
        let variables: Vec<&'static str> =
            self.variables.keys().copied().filter(|name| !is_imported(name)).collect();
        let program = match compile(&kept, &variables, &script, settings) {
            Ok(program) => program,
            Err(error) => {
                run::report_compile_error(&error);
                return true;
            }
        };
        let mut setup = run::setup(settings);
        setup.variables = variables
            .iter()
            .filter_map(|name| Some((*name, self.variables.get(name)?.clone())))
            .filter(|(_, value)| !value.is_none())
            .collect();
        let mut vm = Vm::new(&program, setup);
        let script = drive(&mut vm, DEFAULT_FUEL, None, || settings.output.flush());
        let outcome = match settings.ending.run_line(script).await {
            End::Own(outcome) => outcome,
            End::Interrupted => Outcome::Failed(vm.interrupt("the line was interrupted")),
            End::Program => return false,
        };
        settings.output.flush();
        for name in &variables {
            self.variables.insert(name, vm.variable(name).unwrap_or_default());
        }
        if let Outcome::Failed(error) = &outcome {
            run::report(error.diagnostic(), error.sources());
            return true;
        }
        self.variables.retain(|name, _| variables.contains(name));
        self.definitions = kept;
        self.definitions.extend(new);
        true
    }
}

/// Compiles a line behind the definitions of those before it.
fn compile(
    definitions: &[Definition],
    variables: &[&str],
    line: &str,
    settings: &Settings,
) -> Result<Arc<Program>, CompileError> {
    let mut compiler = Compiler::new(&settings.host).with_loader(&settings.loader);
    for name in variables {
        compiler = compiler.with_writable(name);
    }
    let folder = std::env::current_dir().unwrap_or_default();
    let identity = FileLoader::identity_of(&folder.join("line"));
    let mut text = String::new();
    for definition in definitions {
        text.push_str(&definition.text);
        text.push('\n');
    }
    text.push_str(line);
    compiler.compile(&identity, "line", text.as_bytes())
}

const WELCOME: &str =
    concat!("hsh ", env!("CARGO_PKG_VERSION"), ": type help for help, Ctrl-D to leave");

const HELP: &str = "A line is run when it is complete: an expression is shown, a statement is done.
  1 + 2                    shows 3
  $x = [1, 2]; echo $x;    variables, functions, classes and imports stay for later lines
Tab completes names, the arrow keys bring earlier lines back, Ctrl-C gives up the line that is typed or
runs, Ctrl-D, exit or quit leaves. hsh --help tells how to run scripts, hsh --json-functions lists all
functions and classes.";
