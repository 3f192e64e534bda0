//! `hsh`: runs HSL scripts from the shell.
//!
//! `main` reads the command line, `settings` what the configuration says, `run` runs a script,
//! `repl` asks for one line after the other. Exit codes: 0 done, 1 the script failed, 2 usage,
//! 3 configuration.
#![forbid(unsafe_code)]

mod output;
mod repl;
mod run;
mod settings;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::run::Script;
use crate::settings::Settings;

/// Runs a script of the Halon Scripting Language.
#[derive(Parser, Debug)]
#[command(name = "hsh", version, disable_version_flag = true)]
struct Arguments {
    /// Startup configuration; /dev/null for none.
    #[arg(short, long, value_name = "PATH", default_value = settings::DEFAULT_CONFIG)]
    config: PathBuf,

    /// Running configuration, whose files scripts can import; - for standard input.
    #[arg(short = 'A', long, value_name = "PATH")]
    appconf: Option<PathBuf>,

    /// Directory of file:// paths, instead of the configured one.
    #[arg(short = 'R', long, value_name = "PATH")]
    rootpath: Option<PathBuf>,

    /// Write control characters to a terminal as they are.
    #[arg(short = 'B', long)]
    binary: bool,

    /// Allow the class FFI, whatever the configuration says.
    #[arg(long)]
    ffi: bool,

    /// Check the syntax and do not run.
    #[arg(short, long)]
    syntax: bool,

    /// Print the version.
    #[arg(short, long, action = clap::ArgAction::Version)]
    version: (),

    /// Print all functions and classes of the library as JSON.
    #[arg(long)]
    json_functions: bool,

    /// The script; - for standard input. Without it, lines are read and run one by one.
    script: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.json_functions {
        return print_functions();
    }
    let settings = match Settings::load(&arguments) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("hsh: {error:#}");
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    match execute(&arguments, settings) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hsh: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: &Arguments, settings: Settings) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let Some(path) = &arguments.script else {
        return repl::start(&runtime, &settings);
    };
    let script = read_script(path)?;
    if arguments.syntax {
        return Ok(run::check(&script, &settings));
    }
    Ok(runtime.block_on(run::run(&script, &settings)))
}

fn read_script(path: &std::path::Path) -> anyhow::Result<Script> {
    if path.as_os_str() == "-" {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).context("cannot read standard input")?;
        // Compat: debuggers end a script on standard input with EOT.
        if text.last() == Some(&END_OF_TRANSMISSION) {
            text.pop();
        }
        return Ok(Script::from_stdin(text));
    }
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Script::from_file(path, text))
}

fn print_functions() -> ExitCode {
    let host = run::library(&hsl_std::Services { ffi: true, ..hsl_std::Services::default() });
    println!(
        "{{\"functions\": {},\n\"classes\": {}}}",
        hsl_std::docs::functions_json(&host),
        hsl_std::docs::classes_json(&host)
    );
    ExitCode::SUCCESS
}

const EXIT_CONFIGURATION: u8 = 3;
const END_OF_TRANSMISSION: u8 = 0x04;
