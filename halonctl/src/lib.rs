//! `halonctl`, the command line of the control sockets, and `halontop`, its live counters.
//!
//! A command turns flags into a request message, calls, and prints the answer as a table or as JSON;
//! it holds no other logic. Start at [`cli`]; each command has a file in [`commands`].
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod context;
mod error;
mod output;
mod settings;
mod top;

use std::{io, panic, process::ExitCode};

use crate::{
    cli::Cli,
    context::Context,
    error::{Class, Result},
};

/// Runs `halonctl` on the arguments of the process, and returns its exit code.
pub fn halonctl() -> ExitCode {
    guarded(run)
}

/// Runs `halontop` on the arguments of the process, and returns its exit code.
pub fn halontop() -> ExitCode {
    guarded(top::run)
}

fn guarded(program: fn() -> u8) -> ExitCode {
    // A panic is our bug; its message is on stderr already.
    let code = panic::catch_unwind(program).unwrap_or(Class::Internal.exit_code());
    ExitCode::from(code)
}

fn run() -> u8 {
    with_args(|cli: Cli| {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut context = Context::new(&cli.globals, &mut out);
        commands::run(&cli.command, &mut context)?;
        context.finish()
    })
}

/// Reads the arguments, does what they say, reports an error, and returns the exit code.
fn with_args<A: clap::Parser>(run: impl FnOnce(A) -> Result<()>) -> u8 {
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help that nobody reads any more (`halonctl --help | head -1`) is no failure.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(Class::Usage.exit_code());
        }
    };
    match run(args) {
        Ok(()) => 0,
        Err(error) => {
            error.report();
            error.class().exit_code()
        }
    }
}
