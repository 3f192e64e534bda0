//! `halonctl reload`, `halonctl config reload`.

use control::command::{Program, call};

use crate::{context::Context, error::Result};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl config reload -P smtpd")]
pub(crate) struct Args {
    /// Program that reloads: smtpd, rated or dlpd
    #[arg(short = 'P', long, value_name = "PROGRAM", default_value_t = Program::Smtpd)]
    program: Program,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    context.call_program(args.program, call::CONFIG_RELOAD, &())?;
    Ok(())
}
