//! `halonctl license fetch`: kept for scripts that call it; the daemon needs no licence.

use crate::error::Result;

/// Flags, all of which are taken and none of which matters.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl license fetch")]
pub(crate) struct Args {
    /// Ignored
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(super) fn run(_args: &Args) -> Result<()> {
    Ok(())
}
