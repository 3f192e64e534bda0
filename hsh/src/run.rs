//! Compiles and runs one script.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use hsl::diagnostic::{Diagnostic, Style};
use hsl::host::HostSet;
use hsl::source::SourceMap;
use hsl::{CompileError, Compiler, Program, Setup, Vm};
use hsl_std::import::FileLoader;
use hsl_std::{DEFAULT_FUEL, Limit, Outcome, SystemClock, drive};
use script_host::debugging;
use script_host::hooks::{Hook, HookKind, HookSets, machine_limits};

use crate::debugger::Debugger;
use crate::hook;
use crate::settings::Settings;

/// The text of a script and what it is called.
pub(crate) struct Script {
    identity: String,
    name: String,
    text: Vec<u8>,
}

impl Script {
    /// The script in a file.
    pub(crate) fn from_file(path: &Path, text: Vec<u8>) -> Self {
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        Self {
            identity: FileLoader::identity_of(&identity),
            name: path.display().to_string(),
            text: without_interpreter(text),
        }
    }

    /// The script on standard input; its neighbours are those of the current directory.
    pub(crate) fn from_stdin(text: Vec<u8>) -> Self {
        let folder = std::env::current_dir().unwrap_or_default();
        Self {
            identity: FileLoader::identity_of(&folder.join("stdin")),
            name: "stdin".to_owned(),
            text: without_interpreter(text),
        }
    }

    /// Whether it has no text.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.trim_ascii().is_empty()
    }

    /// Compiles it with what `host` offers.
    pub(crate) fn compile(
        &self,
        host: &Arc<HostSet>,
        loader: &FileLoader,
    ) -> Result<Arc<Program>, CompileError> {
        Compiler::new(host).with_loader(loader).compile(&self.identity, &self.name, &self.text)
    }
}

impl Script {
    /// Compiles it as the script of a hook.
    pub(crate) fn compile_hook(
        &self,
        sets: &HookSets,
        kind: HookKind,
        loader: &FileLoader,
    ) -> Result<Hook, CompileError> {
        sets.compile_file(kind, &self.identity, &self.name, &self.text, loader)
    }
}

/// Compiles a script and says what is wrong with it.
pub(crate) fn check(script: &Script, settings: &Settings) -> ExitCode {
    match compile(script, settings) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            report_compile_error(&error);
            say_whose_script_it_is(script, settings);
            ExitCode::FAILURE
        }
    }
}

/// Runs a script; an error that nobody catches goes to standard error.
///
/// # Errors
///
/// Those of [`execute`].
pub(crate) async fn run(script: &Script, settings: &Settings) -> anyhow::Result<ExitCode> {
    let program = match compile(script, settings) {
        Ok(program) => program,
        Err(error) => {
            report_compile_error(&error);
            say_whose_script_it_is(script, settings);
            return Ok(ExitCode::FAILURE);
        }
    };
    let limit = settings.limit.map(|time| Limit { what: "the script", time });
    let (outcome, _) = execute(&program, setup(settings), limit, settings).await?;
    match outcome {
        Outcome::Done(_) | Outcome::Exited(_) => Ok(ExitCode::SUCCESS),
        Outcome::Failed(error) => {
            report(error.diagnostic(), error.sources());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Runs a program to its end, under the debugger and with the profiler that were asked for. Under the
/// debugger nothing is limited: it holds scripts up itself.
///
/// # Errors
///
/// The debugger cannot be reached or went away.
pub(crate) async fn execute(
    program: &Arc<Program>,
    mut setup: Setup,
    limit: Option<Limit>,
    settings: &Settings,
) -> anyhow::Result<(Outcome, Vm)> {
    let (outcome, vm) = if let Some(path) = &settings.debugger {
        let mut debugger = Debugger::connect(path).await?;
        setup.echo = Box::new(debugger.lines());
        debugging::watch(&mut setup);
        let mut vm = Vm::new(program, setup);
        (debugger.drive(&mut vm).await?, vm)
    } else {
        let mut vm = Vm::new(program, setup);
        (drive(&mut vm, DEFAULT_FUEL, limit, || settings.output.flush()).await, vm)
    };
    settings.output.flush();
    if let Some(profiler) = &settings.profiler {
        eprint!("{}", profiler.report());
    }
    Ok((outcome, vm))
}

/// What every execution starts with.
pub(crate) fn setup(settings: &Settings) -> Setup {
    Setup {
        limits: machine_limits(&settings.limits(None)),
        echo: Box::new(settings.output.clone()),
        clock: Arc::new(SystemClock),
        ..Setup::default()
    }
}

/// Shows what is wrong with a script that does not compile.
pub(crate) fn report_compile_error(error: &CompileError) {
    for diagnostic in &error.diagnostics {
        report(diagnostic, &error.sources);
    }
}

/// Says how a script can be run that is wrong on its own and right as the script of a hook.
fn say_whose_script_it_is(script: &Script, settings: &Settings) {
    let kinds = hook::kinds_of(script, settings);
    if !kinds.is_empty() {
        eprintln!(
            "hint: scripts of hooks run with --hook NAME; this may be one of {}",
            kinds.join(", ")
        );
    }
}

/// Shows one error with the line it is about.
pub(crate) fn report(diagnostic: &Diagnostic, sources: &SourceMap) {
    eprintln!("{}", diagnostic.render(sources, Style::Plain).trim_end());
}

fn compile(script: &Script, settings: &Settings) -> Result<Arc<Program>, CompileError> {
    script.compile(&settings.host, &settings.loader)
}

/// Hides a first line `#!/…/hsh`, which is the shell's; the line itself stays, so that places in
/// errors are right.
fn without_interpreter(mut text: Vec<u8>) -> Vec<u8> {
    if text.starts_with(b"#!")
        && let Some(mark) = text.get_mut(..2)
    {
        mark.copy_from_slice(b"//");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_line_becomes_a_comment() {
        let text = without_interpreter(b"#!/usr/bin/hsh\necho 1;".to_vec());
        assert_eq!(text, b"///usr/bin/hsh\necho 1;");
        assert_eq!(without_interpreter(b"#/a/;".to_vec()), b"#/a/;");
    }
}
