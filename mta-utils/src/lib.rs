//! Programs around the server: [`hqfcat`] and [`hqfeml`] print queued messages, [`hsl_lint`] checks
//! scripts for editors, [`halonconfig`] packs configuration. Each has a `main` of one line in `bin/`.
#![forbid(unsafe_code)]

pub mod halonconfig;
pub mod hqfcat;
pub mod hqfeml;
pub mod hsl_lint;
mod queued;

use std::process::ExitCode;

/// Ends a program: an error goes to standard error under its name.
fn finish(name: &str, result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{name}: {error:#}");
        ExitCode::FAILURE
    })
}

/// The command lines of all programs, for man pages and completions.
pub fn commands() -> Vec<clap::Command> {
    use clap::CommandFactory as _;
    vec![
        halonconfig::Arguments::command(),
        hqfcat::Arguments::command(),
        hqfeml::Arguments::command(),
        hsl_lint::Arguments::command(),
    ]
}
