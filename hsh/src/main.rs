//! `hsh`: runs HSL scripts from the shell.
//!
//! `main` reads the command line, `settings` what the configuration says, `run` runs a script,
//! `repl` asks for one line after the other, `test` runs a folder of scripts as tests, `hook` runs one
//! as the script of a hook, `ending` ends all that. Exit codes: 0 done, 1 the script failed, 2 usage,
//! 3 configuration, 128 and more the number of a signal.
#![forbid(unsafe_code)]

mod completion;
mod debugger;
mod ending;
mod history;
mod hook;
mod mail_client;
mod mail_queue;
mod no_queue;
mod output;
mod profile;
mod repl;
mod run;
mod server_functions;
mod settings;
mod stdin;
mod test;
mod test_server;
mod zone;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::ending::Ending;
use crate::run::Script;
use crate::settings::Settings;
use crate::stdin::StandardInput;
use anyhow::{Context, bail};
use clap::{CommandFactory, Parser};
use tokio::runtime::{Builder, Handle, Runtime};

/// Runs a script of the Halon Scripting Language.
#[derive(Parser, Debug)]
#[command(name = "hsh", version, disable_version_flag = true, after_help = EXAMPLES)]
struct Arguments {
    /// Startup configuration; /dev/null for none [default: /etc/halon/smtpd.yaml, if it is there].
    ///
    /// The plugins that a named configuration lists are loaded.
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,

    /// Become the user and group of environment.privdrop before anything else is read or loaded.
    #[arg(short = 'P', long)]
    privdrop: bool,

    /// Allow the class FFI, whatever the configuration says.
    #[arg(short = 'F', long)]
    ffi: bool,

    /// Load a native plugin; may be repeated.
    #[arg(short, long, value_name = "ID")]
    plugin: Vec<String>,

    /// Running configuration, whose files scripts can import; - for standard input.
    #[arg(short = 'A', long, value_name = "PATH")]
    appconf: Option<PathBuf>,

    /// Directory of file:// paths, instead of the configured one.
    #[arg(short = 'R', long, value_name = "PATH")]
    rootpath: Option<PathBuf>,

    /// Write control characters to a terminal as they are.
    #[arg(short = 'B', long)]
    binary: bool,

    /// Check the syntax and do not run; with --hook, as a script of that hook.
    #[arg(short, long)]
    syntax: bool,

    /// Run a script, or the scripts of a folder, as tests.
    ///
    /// A test passes when it ends without an uncaught error and prints what its first comment lines
    /// say: "//> TEXT" is a line of output (without one, any output will do), "//! TEXT" is part of the
    /// error it must end with, and "//@ NAME TYPE VALUE" is a record of the DNS it sees ("//@ NAME CODE": a
    /// name whose lookups fail so), as are the lines of a file FILE.zone beside FILE.hsl. There is no
    /// other network; sleep() moves the clock instead of waiting. Files and folders in the folder whose
    /// names begin with _ or . are left out.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["script", "syntax"])]
    test: Option<PathBuf>,

    /// Longest time that a script may take: by default none, a test 60, the script of a hook what
    /// scripting.limits.time of -A says (300 as in smtpd).
    #[arg(long, value_name = "SECONDS", value_parser = limit)]
    limit: Option<Duration>,

    /// Show how long each line of the script took, on standard error.
    ///
    /// Lines stand in the order of their time, waits included: milliseconds, share, how often a
    /// statement of the line was begun, file and line. What a line calls counts for the lines called.
    #[arg(long, conflicts_with_all = ["test", "syntax"])]
    profile: bool,

    /// Run under a debugger that listens on this socket.
    ///
    /// The script stops at its breakpoints (__debug ["session", "number"] in front of a line) and tells the
    /// debugger of variables, calls, lines of echo and of an exception that nobody catches.
    #[arg(short = 'C', long, value_name = "SOCKET", conflicts_with_all = ["test", "syntax"])]
    debugger: Option<PathBuf>,

    #[command(flatten, next_help_heading = "Scripts of hooks")]
    hook: hook::HookArguments,

    /// Print the version.
    #[arg(short, long, action = clap::ArgAction::Version)]
    version: (),

    /// Print all functions and classes of the library and of loaded plugins as JSON.
    #[arg(long)]
    json_functions: bool,

    /// Write the man page into a folder.
    #[arg(long, value_name = "DIR", hide = true)]
    man_page: Option<PathBuf>,

    /// The script; - for standard input. Without it, lines are read and run one by one.
    script: Option<PathBuf>,
}

const EXAMPLES: &str = r#"Examples:
  hsh script.hsl              run a script
  echo 'echo 1 + 2;' | hsh -  run what comes from another program
  hsh -p geoip script.hsl     with the plugin /opt/halon/plugins/geoip.so
  hsh --hook eod --message a.eml --transaction '{"sender": "a@example.org"}' eod.hsl
                              show what a hook's script decides about a message
  hsh --test tests/           run the scripts of a folder as tests"#;

/// Reads a number of seconds.
fn limit(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    let limit = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if limit.is_zero() { Err("must be more than 0".to_owned()) } else { Ok(limit) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.man_page {
        return man_page(folder);
    }
    let failed = |error: anyhow::Error| eprintln!("hsh: {error:#}");
    let (runtime, ending) = match start() {
        Ok(started) => started,
        Err(error) => {
            failed(error);
            return ExitCode::FAILURE;
        }
    };
    let mut stdin = StandardInput::default();
    let settings = match Settings::load(&arguments, &mut stdin, Arc::clone(&ending)) {
        Ok(settings) => Arc::new(settings),
        Err(error) => {
            failed(error);
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    ending.loaded();
    let handle = runtime.handle().clone();
    let for_scripts = Arc::clone(&settings);
    ending.watch_over(runtime, &settings, move || {
        execute(&arguments, &for_scripts, &mut stdin, &handle).unwrap_or_else(|error| {
            failed(error);
            ExitCode::FAILURE
        })
    })
}

/// Starts the runtime, and to listen for signals.
fn start() -> anyhow::Result<(Runtime, Arc<Ending>)> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(plugin_host::BLOCKING_THREADS)
        .build()
        .context("cannot start the runtime")?;
    let ending = Ending::listen(&runtime)?;
    Ok((runtime, ending))
}

fn execute(
    arguments: &Arguments,
    settings: &Settings,
    stdin: &mut StandardInput,
    runtime: &Handle,
) -> anyhow::Result<ExitCode> {
    if arguments.json_functions {
        print_functions(settings);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = &arguments.test {
        return test::run_tests(path, settings);
    }
    let mut script = arguments.script.as_deref().map(|path| script(path, stdin)).transpose()?;
    if let Some(entrypoint) = &settings.entrypoint
        && script.as_ref().is_none_or(Script::is_empty)
    {
        script = Some(Script::from_stdin(entrypoint.as_bytes().to_vec()));
    }
    if let Some(name) = &arguments.hook.hook {
        if arguments.syntax {
            return hook::check(name, script, settings);
        }
        let run = hook::run(name, &arguments.hook, script, settings);
        // The exit code of a script that a signal ended is that of the signal.
        return runtime.block_on(settings.ending.run(run)).unwrap_or(Ok(ExitCode::FAILURE));
    }
    let Some(script) = script else {
        let for_scripts = [
            ("--syntax", arguments.syntax),
            ("--profile", arguments.profile),
            ("--debugger", arguments.debugger.is_some()),
        ];
        if let Some((option, _)) = for_scripts.iter().find(|(_, is_given)| *is_given) {
            bail!("{option} needs a script");
        }
        return repl::start(runtime, settings);
    };
    if arguments.syntax {
        return Ok(run::check(&script, settings));
    }
    let run = run::run(&script, settings);
    runtime.block_on(settings.ending.run(run)).unwrap_or(Ok(ExitCode::FAILURE))
}

fn script(path: &Path, stdin: &mut StandardInput) -> anyhow::Result<Script> {
    if path.as_os_str() == "-" {
        return Ok(Script::from_stdin(stdin.script()?));
    }
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Script::from_file(path, text))
}

fn man_page(folder: &Path) -> ExitCode {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hsh: cannot write to {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn print_functions(settings: &Settings) {
    let text = format!(
        "{{\"functions\": {},\n\"classes\": {}}}",
        hsl_std::docs::functions_json(&settings.host),
        hsl_std::docs::classes_json(&settings.host)
    );
    // `head` need not read it all.
    settings.output.line(text.as_bytes());
    settings.output.flush();
}

const EXIT_CONFIGURATION: u8 = 3;
