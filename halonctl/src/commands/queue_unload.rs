//! `halonctl queue unload`.

use control::{command::call, pb};

use super::conditions::Conditions;
use crate::{context::Context, error::Result};

/// Flags.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  halonctl queue unload --transportid old --freeze")]
pub(crate) struct Args {
    /// Also unload busy messages, when their attempt ends
    #[arg(long)]
    freeze: bool,
    /// Also unload files of which only some recipients match
    #[arg(long)]
    partial: bool,
    /// Unload every message
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    conditions: Conditions,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<()> {
    let request = pb::QueueUnloadRequest {
        conditions: Some(args.conditions.build_for_change(args.all)?),
        freeze: args.freeze,
        partial: args.partial,
    };
    let Some(answer) = context.call(call::QUEUE_UNLOAD, &request)? else { return Ok(()) };
    for path in &answer.hqfpaths {
        context.line(path)?;
    }
    if answer.partial > 0 {
        context.note(format_args!("{} file(s) match only in part", answer.partial))?;
    }
    if answer.working > 0 {
        context.note(format_args!("{} message(s) are busy", answer.working))?;
    }
    Ok(())
}
